"""Clause E.5: the transparency log, rebuilt from its entries between two signed checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cutover.evidence import checkpoint as checkpoints
from cutover.evidence import leaves, merkle
from cutover.evidence._findings import Findings, Guarantee, Misplaced, believed
from cutover.evidence._table import HashTable
from cutover.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cutover.evidence.checkpoint import Checkpoint
    from cutover.evidence.snapshot import Snapshot
    from cutover.evidence.sources import LogEntry, LogSource
    from cutover.evidence.trust import TrustRoot

_MAX_ENTRIES: Final = 1 << 32


def verify_log(title: str, before: Snapshot, after: Snapshot, *, trust: TrustRoot, source: LogSource) -> Guarantee:
    """Verify the log; see `verify.log`."""
    found = Findings("E.5", title)
    note = before.checkpoint_note()
    old = _checkpoint(found, note, trust, "the baseline's checkpoint")
    new = _checkpoint(found, source.checkpoint(), trust, "the log's checkpoint")
    if old is not None and new is not None:
        if new.size < old.size:
            actual = f"size {new.size}"
            found.add(
                "checkpoint-rolled-back", "the log's checkpoint", expected=f"size {old.size} or more", actual=actual
            )
        elif new.size == old.size and new.root != old.root:
            found.add("checkpoint-forked", "the log's checkpoint", expected=old.root, actual=new.root)
    is_continued = found.total == 0  # both checkpoints are signed, and the second may follow the first
    end = max((one.size for one in (old, new) if one is not None), default=0)
    with HashTable(_MAX_ENTRIES) as expected:
        misplaced = Misplaced(found, "log_index")
        for line in believed(before, after):
            entry = leaves.log_entry(id=line.id, kind=line.kind, sha256=line.declared_sha256)
            if line.log_index >= end and not is_continued:
                continue  # the checkpoint that would cover it is refused already
            if line.log_index >= end or not expected.put(line.log_index, merkle.leaf_hash(entry)):
                actual = f"log index {line.log_index} of {end}"
                found.add("log-entry-missing", line.id, expected="a log entry of its own", actual=actual)
        sizes = {one.size for one in (old, new) if one is not None}
        roots = _rebuild(found, misplaced, source.entries(0, end), expected=expected, sizes=sizes)
        misplaced.name(before, after)
    for name, one in (("the baseline's checkpoint", old), ("the log's checkpoint", new)):
        if one is not None and one.size in roots and roots[one.size] != one.root:
            found.add("log-history-rewritten", name, expected=one.root, actual=roots[one.size])
    return found.guarantee()


def verify_consistency(old: Checkpoint, new: Checkpoint, proof: list[bytes]) -> None:
    """Verify by a proof of the log that `new` continues `old`.

    Raises:
        EvidenceError: `checkpoint-origin`, or as `merkle.verify_consistency`.

    """
    if old.origin != new.origin:
        raise EvidenceError("checkpoint-origin", "checkpoint", expected=old.origin, actual=new.origin)
    merkle.verify_consistency(size1=old.size, size2=new.size, proof=proof, root1=old.root, root2=new.root)


def _checkpoint(found: Findings, note: bytes | str | None, trust: TrustRoot, item: str) -> Checkpoint | None:
    if note is None:
        found.add("checkpoint-missing", item, expected=f"a checkpoint of {trust.log_origin}", actual="none")
        return None
    try:
        return checkpoints.verify(note, trust.log_verifier, origin=trust.log_origin)
    except EvidenceError as error:
        found.refuse(error, item)
        return None


def _rebuild(
    found: Findings,
    misplaced: Misplaced,
    entries: Iterable[LogEntry],
    *,
    expected: HashTable,
    sizes: set[int],
) -> dict[int, bytes]:
    """Compare each entry with the item it stands for; return the roots at `sizes`, as far as no entry is missing."""
    tree = merkle.Tree()
    roots = {0: tree.root()} if 0 in sizes else {}
    upcoming = iter(entries)
    entry = next(upcoming, None)
    is_whole = True
    for index, ours in enumerate(expected.cells(0, max(sizes, default=0))):
        if entry is None or entry.index != index:
            misplaced.add("log-entry-missing", index, expected=ours or "an entry", actual="none is stored")
            is_whole = False
            continue
        found.checked += 1
        computed = merkle.leaf_hash(entry.data)
        if ours is not None and computed != ours:
            misplaced.add("log-entry-changed", index, expected=ours, actual=computed)
        elif entry.leaf_hash is not None and entry.leaf_hash != computed:
            misplaced.add("log-entry-changed", index, expected=computed, actual=entry.leaf_hash)
        tree.append(computed)
        if is_whole and tree.size in sizes:
            roots[tree.size] = tree.root()
        entry = next(upcoming, None)
    return roots
