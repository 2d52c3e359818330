"""The platform's own reports against ours, item by item (clauses 1.1c, 1.2b, 4.1a, E.6, E.7).

Invariant: no disagreement is settled here. Each is a finding that names the item, ours as `expected`, theirs as
`actual`; the upgrade fails on it, whichever of the two is right. A report was made a moment before or after our
snapshot, so items that only the later of the two can know are left aside, by the size of the tree that each has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import file_digest
from typing import TYPE_CHECKING, Final

from cutover.evidence._json import parse_object
from cutover.evidence._table import HashTable, RootCursor
from cutover.evidence.errors import EvidenceError, Finding
from cutover.evidence.leaves import SCHEMAS, leaf_hash, timestamp

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from cutover.evidence.diff import Diff
    from cutover.evidence.snapshot import Line, Snapshot

_CODE: Final = "report-malformed"


def compare(ours: Snapshot, theirs: Mapping[str, object], *, refused: Iterable[str] = ()) -> list[Finding]:
    """Compare with the file of `stella evidence verify-all --output`: every item's digest and verdict, count and root.

    The platform judges leaf and log entry of an item with its content. `refused` are the items that our guarantees
    refused (the items of a `verify.Report`'s findings), beside those that the snapshot itself did.

    Raises:
        EvidenceError: `report-malformed`; `snapshot-altered`, `snapshot-malformed`.

    """
    results = _by_id(theirs)
    size = _number(theirs, "size")
    rejected = {*refused, *(one.finding.item for one in ours.findings() if one.kind)}
    found: list[Finding] = []
    for line in ours.lines():
        result = results.pop(line.id, None)
        if result is None:
            if line.leaf_index < size:
                found.append(Finding.of("agreement-missing", line.id, expected="a result for it", actual="none"))
            continue
        if result.get("sha256") != line.declared_sha256:
            found.append(_digest(line, line.declared_sha256, result.get("sha256")))
        found.extend(_verdict(line, rejected, result))
    found.extend(_unknown(results, size - ours.manifest.watermark.leaves))
    if _number(theirs, "items") != len(_results(theirs)):
        actual = f"items {theirs['items']}, results {len(_results(theirs))}"
        found.append(
            Finding.of("agreement-count", "the platform's report", expected="as many as results", actual=actual)
        )
    found.extend(_root(ours, theirs, size))
    return found


def compare_digests(ours: Snapshot, theirs: Mapping[str, object]) -> list[Finding]:
    """Compare with the file of `stella evidence verify-digests --report`: the digests both sides computed (E.6).

    Items that only one of the two has are left aside up to the difference of the totals.

    Raises:
        EvidenceError: `report-malformed`; `snapshot-altered`, `snapshot-malformed`.

    """
    results = _by_id(theirs)
    total = len(results)
    absent: list[Finding] = []
    found: list[Finding] = []
    for line in ours.lines():
        result = results.pop(line.id, None)
        if result is None:
            absent.append(Finding.of("agreement-missing", line.id, expected="a result for it", actual="none"))
            continue
        expected = f"sha256:{line.sha256}" if line.sha256 is not None else None
        if result.get("actual") != expected:
            found.append(_digest(line, expected, result.get("actual")))
        is_ours = line.sha256 == line.declared_sha256
        if result.get("ok") is not is_ours:
            found.append(Finding.of("agreement-verdict", line.id, expected=is_ours, actual=result.get("ok")))
    if len(absent) > ours.manifest.items - total:
        found.extend(absent)
    found.extend(_unknown(results, total - ours.manifest.items))
    return found


def compare_answer(report: Mapping[str, object], answer: Mapping[str, object]) -> list[Finding]:
    """Compare what a command of the platform says with the report that it wrote: whoever reads one must not be misled.

    What both name and is one value must be equal; `schema` and `created` are of each by itself.
    """
    named = sorted((report.keys() & answer.keys()) - {"schema", "created"})
    return [
        Finding.of("agreement-answer", name, expected=report[name], actual=answer[name])
        for name in named
        if not isinstance(report[name], list | dict) and answer[name] != report[name]
    ]


def compare_attestations(ours: Snapshot, theirs: Mapping[str, object], *, since: datetime) -> list[Finding]:
    """Compare with the answer of `stella attest verify-all --since`: which attestations are not valid (E.7).

    `since` is the instant given to the command.

    Raises:
        EvidenceError: `report-malformed`; `snapshot-altered`, `snapshot-malformed`.

    """
    named = theirs.get("invalid")
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise EvidenceError(_CODE, "the platform's report", expected="invalid: a list of ids", actual=named)
    start = timestamp(since)
    invalid, count, found = set(named), 0, list[Finding]()
    for line in ours.lines():
        if line.kind != "attestation" or line.created < start:
            continue
        count += 1
        if (not line.signer_key_ids) != (line.id in invalid):
            expected, actual = ("valid", "invalid") if line.signer_key_ids else ("invalid", "valid")
            found.append(Finding.of("agreement-verdict", line.id, expected=expected, actual=actual))
    if _number(theirs, "attestations") < count:
        found.append(
            Finding.of("agreement-count", "attestations", expected=f"{count} or more", actual=theirs["attestations"])
        )
    return found


def compare_totals(ours: Diff, theirs: Mapping[str, object]) -> list[Finding]:
    """Compare with the answer of `stella evidence verify-continuity`: the balance of items (4.1a, R.2a).

    What was there before is exact; what was added may have grown between our snapshot and their answer.

    Raises:
        EvidenceError: `report-malformed`.

    """
    found = [
        Finding.of("agreement-count", name, expected=getattr(ours, name), actual=theirs[name])
        for name in ("missing", "changed")
        if _number(theirs, name) != getattr(ours, name)
    ]
    if _number(theirs, "before") - _number(theirs, "missing") + _number(theirs, "added") != _number(theirs, "after"):
        actual = ", ".join(f"{name} {theirs[name]}" for name in ("before", "missing", "added", "after"))
        expected = "before - missing + added = after"
        found.append(Finding.of("agreement-count", "the platform's balance", expected=expected, actual=actual))
    return found


def verify_export(ours: Snapshot, folder: Path) -> list[Finding]:
    """Re-hash every bundle of `stella evidence export --all` and compare with the snapshot's bundles (1.2b).

    Raises:
        EvidenceError: `report-malformed`; `snapshot-altered`, `snapshot-malformed`.

    """
    path = folder / "manifest.json"
    try:
        listed = _by_id(parse_object(path.read_bytes(), code=_CODE, item="the export's manifest.json"), name="bundles")
    except OSError as error:
        raise EvidenceError(_CODE, "the export", expected="manifest.json", actual=error) from error
    found: list[Finding] = []
    for line in ours.lines():
        if line.kind != "bundle":
            continue
        entry = listed.pop(line.id, None)
        if entry is None:
            found.append(Finding.of("agreement-missing", line.id, expected="a bundle file", actual="none listed"))
            continue
        computed = _hash_inside(folder, entry.get("file"))
        if computed is None:
            found.append(Finding.of("content-missing", line.id, expected=entry.get("file"), actual="no such file"))
        elif computed != line.sha256:
            found.append(Finding.of("content-changed", line.id, expected=line.sha256, actual=computed))
    for name, entry in listed.items():  # made after our snapshot: the export must still be whole
        computed = _hash_inside(folder, entry.get("file"))
        if computed is None or computed != entry.get("sha256"):
            actual = computed or "no such file"
            found.append(Finding.of("content-changed", name, expected=entry.get("sha256"), actual=actual))
    return found


def _root(ours: Snapshot, theirs: Mapping[str, object], size: int) -> Iterable[Finding]:
    """Compare the root at their size, where our snapshot has that many leaves."""
    schema, leaves = _number(theirs, "schema_version"), ours.manifest.watermark.leaves
    if schema not in SCHEMAS:
        yield Finding.of("schema-unknown", "the platform's report", expected=SCHEMAS, actual=schema)
        return
    if size > leaves:
        return
    with HashTable(leaves) as table:
        for line in ours.lines():
            value = leaf_hash(
                schema,
                id=line.id,
                kind=line.kind,
                sha256=line.declared_sha256,
                size_bytes=line.declared_size_bytes,
                created=line.created,
            )
            table.put(line.leaf_index, value)
        root = RootCursor(table).root_at(size)
    if root is None or root.hex() != theirs.get("root"):
        item = f"root of schema {schema} at {size}"
        yield Finding.of("agreement-root", item, expected=root or "a leaf is missing", actual=theirs.get("root"))


def _verdict(line: Line, refused: set[str], result: Mapping[str, object]) -> Iterable[Finding]:
    """Compare the two verdicts on one item."""
    if line.id in refused and result.get("ok") is not False:
        yield Finding.of("agreement-verdict", line.id, expected="refused", actual=f"ok {result.get('ok')}")
    elif line.id not in refused and result.get("ok") is not True:
        actual = f"ok {result.get('ok')}, {result.get('code')}"
        yield Finding.of("agreement-verdict", line.id, expected="accepted", actual=actual)


def _unknown(results: Mapping[str, Mapping[str, object]], allowed: int) -> Iterable[Finding]:
    """Refuse the platform's items that we do not have, unless its report is later by at least as many."""
    if len(results) <= allowed:
        return
    for name in results:
        yield Finding.of("agreement-unknown", name, expected="an item of the snapshot", actual="only in the report")


def _digest(line: Line, expected: object, actual: object) -> Finding:
    return Finding.of("agreement-digest", line.id, expected=expected, actual=actual)


def _hash_inside(folder: Path, name: object) -> str | None:
    """Hash a file that a list names; None when it is not a file inside the folder."""
    if not isinstance(name, str) or not name:
        return None
    try:
        path = (folder / name).resolve(strict=True)
    except (OSError, ValueError):
        return None
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _results(theirs: Mapping[str, object], name: str = "results") -> list[Mapping[str, object]]:
    value = theirs.get(name)
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise EvidenceError(_CODE, "the platform's report", expected=f"{name}: a list of objects", actual=type(value))
    return value


def _by_id(theirs: Mapping[str, object], name: str = "results") -> dict[str, Mapping[str, object]]:
    listed = _results(theirs, name)
    by_id = {one["id"]: one for one in listed if isinstance(one.get("id"), str)}
    if len(by_id) != len(listed):
        raise EvidenceError(_CODE, "the platform's report", expected=f"{name} with an id each, once", actual="not so")
    return by_id  # type: ignore[return-value]  # the keys were just seen to be text


def _number(theirs: Mapping[str, object], name: str) -> int:
    value = theirs.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise EvidenceError(_CODE, "the platform's report", expected=f"{name}: a whole number", actual=value)
    return value
