"""Clause E.5: the transparency log, rebuilt from its entries between two signed checkpoints."""

from __future__ import annotations

from collections import deque
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

from cutover.evidence import checkpoint as checkpoints
from cutover.evidence import leaves, merkle
from cutover.evidence._findings import Check, Misplaced
from cutover.evidence._table import HashTable
from cutover.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.evidence._lines import Facts
    from cutover.evidence.checkpoint import Checkpoint
    from cutover.evidence.snapshot import Snapshot
    from cutover.evidence.sources import LogSource
    from cutover.evidence.trust import TrustRoot
_MAX_ENTRIES: Final = 1 << 32


class LogCheck(Check):
    """The transparency log; see `verify.log`."""

    def __init__(self, title: str, before: Snapshot, after: Snapshot, *, trust: TrustRoot, source: LogSource) -> None:
        super().__init__("E.5", title)
        self._before, self._after = before, after
        self._source = source
        self._old = self._checkpoint(before.checkpoint_note(), trust, "the baseline's checkpoint")
        self._new = self._checkpoint(source.checkpoint(), trust, "the log's checkpoint")
        if self._old is not None and before.manifest.checkpoint is None:
            expected = "a note that was refused, or none, as the manifest says"
            self.found.add("snapshot-altered", "the baseline's checkpoint", expected=expected, actual="a valid note")
        self._demand_order()
        self._is_continued = self.found.total == 0  # both checkpoints are signed, and the second may follow the first
        self._sizes = {one.size for one in (self._old, self._new) if one is not None}
        self._end = max(self._sizes, default=0)
        self._expected = self.opened.enter_context(HashTable(min(self._end, _MAX_ENTRIES)))

    def see(self, facts: Facts, *_: bytes | None) -> None:
        """Compute the item's entry from the believed line."""
        if facts.log_index >= self._end and not self._is_continued:
            return  # the checkpoint that would cover it is refused already
        entry = leaves.log_entry(id=facts.id, kind=facts.kind, sha256=facts.declared_sha256)
        if not self._expected.put(facts.log_index, merkle.leaf_hash(entry)):
            actual = f"log index {facts.log_index} of {self._end}"
            self.found.add("log-entry-missing", facts.id, expected="a log entry of its own", actual=actual)

    def conclude(self) -> None:
        """Compare every entry with its item, and both checkpoints with the tree over the entries."""
        misplaced = Misplaced(self.found, "log_index")
        roots = self._rebuild(misplaced)
        misplaced.name(self._before, self._after)
        for name, one in (("the baseline's checkpoint", self._old), ("the log's checkpoint", self._new)):
            if one is not None and one.size in roots and roots[one.size] != one.root:
                self.found.add("log-history-rewritten", name, expected=one.root, actual=roots[one.size])

    def _checkpoint(self, note: bytes | str | None, trust: TrustRoot, item: str) -> Checkpoint | None:
        if note is None:
            expected = f"a checkpoint of {trust.log_origin}"
            self.found.add("checkpoint-missing", item, expected=expected, actual="none")
            return None
        try:
            return checkpoints.verify(note, trust.log_verifier, origin=trust.log_origin)
        except EvidenceError as error:
            self.found.refuse(error, item)
            return None

    def _demand_order(self) -> None:
        old, new, item = self._old, self._new, "the log's checkpoint"
        if old is None or new is None:
            return
        if new.size < old.size:
            expected = f"size {old.size} or more"
            self.found.add("checkpoint-rolled-back", item, expected=expected, actual=f"size {new.size}")
        elif new.size == old.size and new.root != old.root:
            self.found.add("checkpoint-forked", item, expected=old.root, actual=new.root)

    def _rebuild(self, misplaced: Misplaced) -> dict[int, bytes]:
        """Compare all entries; return the roots at the checkpoints' sizes, as far as no entry is missing."""
        hashes = self._compare(misplaced)
        tree, roots = merkle.Tree(), dict[int, bytes]()
        for size in sorted(self._sizes):
            tree.extend(takewhile(bool, islice(hashes, size - tree.size)))  # type: ignore[arg-type]
            if tree.size < size:
                break
            roots[size] = tree.root()
        deque(hashes, maxlen=0)  # behind a missing entry there is no root, but the entries are still compared
        return roots

    def _compare(self, misplaced: Misplaced) -> Iterator[bytes | None]:
        """Compare each entry with the item it stands for; return their leaf hashes, None for one that is missing."""
        upcoming = iter(self._source.entries(0, self._end))
        entry = next(upcoming, None)
        for index, ours in enumerate(self._expected.cells()):
            if entry is None or entry.index != index:
                misplaced.add("log-entry-missing", index, expected=ours or "an entry", actual="none is stored")
                yield None
                continue
            self.found.checked += 1
            computed = merkle.leaf_hash(entry.data)
            if ours is not None and computed != ours:
                misplaced.add("log-entry-changed", index, expected=ours, actual=computed)
            elif entry.leaf_hash is not None and entry.leaf_hash != computed:
                misplaced.add("log-entry-changed", index, expected=computed, actual=entry.leaf_hash)
            yield computed
            entry = next(upcoming, None)


def verify_consistency(old: Checkpoint, new: Checkpoint, proof: list[bytes]) -> None:
    """Verify by a proof of the log that `new` continues `old`.

    Raises:
        EvidenceError: `checkpoint-origin`, or as `merkle.verify_consistency`.

    """
    if old.origin != new.origin:
        raise EvidenceError("checkpoint-origin", "checkpoint", expected=old.origin, actual=new.origin)
    merkle.verify_consistency(size1=old.size, size2=new.size, proof=proof, root1=old.root, root2=new.root)
