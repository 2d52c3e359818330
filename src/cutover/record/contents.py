"""What a record says, computed again from what it says it from: verdict, inventory, approvals, gates and evidence.

None of this needs a key: a record whose verdict was edited contradicts its own journal, whoever signed it afterwards.
Invariants: nothing is written; each difference is named with file and line or field; a part that the run never came to
is absent, and no reason.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cutover.errors import CutoverError, JournalBroken, WrongInput
from cutover.evidence import checkpoint, diff, leaves, merkle, snapshot, trust
from cutover.evidence._json import parse
from cutover.evidence.errors import EvidenceError
from cutover.model import Result
from cutover.record import again
from cutover.record.manifest import digest_of
from cutover.runbook import approval, attempts
from cutover.runbook.journal import Journal
from cutover.runbook.plan import NotRunKind
from cutover.runbook.records import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cutover.evidence.snapshot import Line, Snapshot
    from cutover.record.again import Again
    from cutover.record.findings import Check
    from cutover.runbook.journal import Entry

_T = TypeVar("_T")
_SHOWN: Final = 12
"""So many fields of one document are named; of more, how many there are."""
_BEFORE, _AFTER, _DIFF = "evidence/before", "evidence/after", "evidence/diff.json"
_SAMPLES: Final = "gates/samples.jsonl"
_PLAN: Final = "plan.json"
_MOST_ITEMS: Final = 400_000
"""Of a snapshot whose trees are computed again: some ten seconds' work at the most."""


def journal(check: Check, folder: Path) -> tuple[Entry, ...]:
    """Check the journal's chain; return its lines, none when it does not hold."""
    try:
        entries = Journal.verify(folder / JOURNAL)
    except JournalBroken as broken:
        line = broken.facts.get("line")
        what = f"{broken.message}: {broken.seen}" if broken.seen else broken.message
        check.refuse(JOURNAL, broken.code, what, where=f"line {line}")
        return ()
    except (OSError, ValueError, KeyError, TypeError) as problem:
        check.refuse(JOURNAL, "journal-unreadable", f"{type(problem).__name__}: {problem}")
        return ()
    known = attempts.split(entries)
    check.seen = f"{_many(len(entries), 'line')}, {_many(len(known), 'attempt')}"
    if not entries:
        check.refuse(JOURNAL, "journal-empty", "it holds no line")
    elif known and known[-1].finished is None:
        check.refuse(
            JOURNAL,
            "attempt-open",
            f"attempt {known[-1].number} ({known[-1].procedure}) goes on, or was broken off: nobody has sealed it",
            where=f"line {known[-1].entries[0].seq + 1}",
        )
    return tuple(entries)


def verdict(check: Check, folder: Path, entries: Sequence[Entry]) -> Again | None:
    """Compute the verdict again, compare it with verdict.json field by field, and return it; None: it cannot be."""
    try:
        judged = again.of_entries(entries, folder)
    except (CutoverError, ValueError, KeyError, TypeError) as problem:
        check.refuse(JOURNAL, "verdict-not-computed", f"no verdict follows from it: {problem}")
        return None
    check.seen = f"{judged.verdict.outcome}, {_many(len(judged.verdict.clauses), 'clause')}, from the journal again"
    raw, said = _document(check, folder, again.VERDICT)
    if said is None:
        return judged
    found = list(_differences(dict(judged.document), said))
    for where, expected, actual in found[:_SHOWN]:
        what = f"it says {actual}, the journal gives {expected}"
        check.refuse(again.VERDICT, "verdict-differs", what, where=where)
    if len(found) > _SHOWN:
        check.refuse(again.VERDICT, "verdict-differs", f"and {len(found) - _SHOWN} more fields differ")
    if not found and raw != again.written(said):
        check.refuse(again.VERDICT, "verdict-form", "it says the same in other bytes than it was written in")
    return judged


def inventory(check: Check, folder: Path, judged: Again) -> None:
    """Demand that every clause and scenario that was planned was reported, and that the plan is the one begun with."""
    documents = sorted(folder.glob("plan*.json"))
    planned = [entry for entry in judged.entries if entry.event == "plan"]
    if not documents and not planned:
        check.absent = "the run was broken off before it had a plan"
        return
    kept = {_plan_digest(check, path): path for path in documents}
    scenarios = 0
    for entry in planned:
        digest = str(entry.data.get("digest"))
        if digest not in kept:
            what = f"no plan of the record has the digest {digest} of the journal's line {entry.seq + 1}"
            check.refuse(_PLAN, "plan-differs", what, where="digest")
            continue
        _, document = _document(check, folder, kept[digest].name)
        for number, clause in enumerate(document["clauses"] if document is not None else ()):
            if clause["not_run"] is None:
                where = f"clauses.{number} ({clause['id']})"
                scenarios += _account_for(check, judged, clause, file=kept[digest].name, where=where)
    counted = f"{_many(len(judged.catalogue), 'clause')}, {_many(scenarios, 'planned scenario')}"
    check.seen = f"{counted}, all accounted for" if check.holds else counted


def _account_for(check: Check, judged: Again, clause: Mapping[str, Any], *, file: str, where: str) -> int:
    """Demand that a planned clause was reported, and each of its scenarios; return how many these are."""
    clause_id = clause["id"]
    mine = [entry for entry in judged.entries if entry.clause == clause_id]
    if not any(entry.event in {"clause_finished", "clause_kept"} for entry in mine):
        if not _is_left_open(judged, clause_id):
            check.refuse(file, "clause-unreported", "it was planned, and nothing reports it", where=where)
        return 0
    if any(entry.event == "clause_finished" and entry.data.get("result") != Result.NOT_RUN for entry in mine):
        ran = {str(entry.data.get("scenario")) for entry in mine}
        for name in clause["scenarios"]:
            if name not in ran and not _came_to_a_bad_end(judged, clause_id):
                what = f"the scenario {name!r} was planned, and nothing reports it"
                check.refuse(file, "scenario-unreported", what, where=where)
    return len(clause["scenarios"])


def _is_left_open(judged: Again, clause_id: str) -> bool:
    """Whether the verdict itself says that a planned clause was not reported: it does not pass then."""
    return any(
        one.record.id == clause_id and one.kind in {NotRunKind.UNREPORTED, NotRunKind.INTERRUPTED}
        for one in judged.verdict.clauses
    )


def _came_to_a_bad_end(judged: Again, clause_id: str) -> bool:
    """Whether the clause did not pass: what was planned of it after that was not performed."""
    return any(one.record.id == clause_id and one.record.result is not Result.PASS for one in judged.verdict.clauses)


def _plan_digest(check: Check, path: Path) -> str:
    try:
        return str(approval.read_document(path)["digest"])
    except WrongInput as problem:
        check.refuse(path.name, problem.code, f"{problem.message}: {problem.seen}", where="digest")
        return ""


def inputs(check: Check, folder: Path, entries: Sequence[Entry]) -> None:
    """Compare the policy with the digest that the journal has of it."""
    head = next((entry for entry in entries if entry.event == attempts.STARTED), None)
    said = str(head.data.get("policy_sha256")) if head is not None else ""
    path = folder / "policy.toml"
    found = digest_of(path.read_bytes()) if path.is_file() else "no such file"
    if said and found != said:
        check.refuse("policy.toml", "policy-differs", f"its digest is {found}; the journal says {said}")


def before(check: Check, folder: Path, entries: Sequence[Entry]) -> None:
    """Compare the record of the upgrade before, where it lies beside this one, with what this one's journal says of it.

    It may have gone on since: its first lines are the ones that were there.
    """
    began = next((entry for entry in entries if entry.event == "run_started"), None)
    named = began.data.get("previous") if began is not None else None
    if began is None or not named:
        check.absent = "the site knew of none"
        return
    where = f"line {began.seq + 1}"
    try:
        name, count, head = str(named["id"]), int(named["journal"]["entries"]), str(named["journal"]["head"])
    except (KeyError, TypeError, ValueError) as problem:
        check.refuse(JOURNAL, "previous-unreadable", f"{type(problem).__name__}: {problem}", where=where)
        return
    place = folder.resolve().parent / name / JOURNAL
    if not place.is_file():
        check.absent = f"the record {name} is not beside this one"
        return
    try:
        known, _ = Journal.read(place)
    except JournalBroken as broken:
        check.refuse(f"../{name}/{JOURNAL}", broken.code, broken.message)
        return
    found = known[count - 1].digest if 0 < count <= len(known) else "none"
    if found != head:
        what = f"this upgrade follows on {head}; line {count} of {name} has the digest {found}"
        check.refuse(JOURNAL, "previous-differs", what, where=where)
    check.seen = f"{name}, {_many(count, 'line')}"


def approvals(check: Check, folder: Path, entries: Sequence[Entry]) -> None:
    """Verify every approval that the journal names, by the keys that the record keeps of the approvers."""
    named = [entry for entry in entries if entry.event == "approval"]
    if not named:
        check.absent = "nobody signed an approval, and the record says so"
        return
    plans = {str(entry.data.get("digest")) for entry in entries if entry.event == "plan"}
    try:
        people = approval.people_of_record(folder)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        check.refuse(
            f"{approval.FOLDER}/approvers.json", "approvers-unreadable", f"{type(problem).__name__}: {problem}"
        )
        return
    for entry in named:
        file = str(entry.data.get("file"))
        try:
            content = (folder / file).read_bytes()
            signed = approval.verify(content, people, file=file)
        except OSError as problem:
            check.refuse(file, "approval-missing", f"{problem.strerror}; the journal's line {entry.seq + 1} names it")
            continue
        except EvidenceError as problem:
            check.refuse(file, problem.code, f"expected {problem.expected}, found {problem.actual}")
            continue
        for name, value in signed.facts().items():
            if name != "file" and entry.data.get(name) != value:
                what = f"{name} is {value!r}; the journal's line {entry.seq + 1} says {entry.data.get(name)!r}"
                check.refuse(file, "approval-differs", what, where=name)
        if signed.plan_digest not in plans:
            check.refuse(
                file, "approval-plan", f"it is for the plan {signed.plan_digest}, which is none of the record's"
            )
    check.seen = (
        f"{_many(len(named), 'approval')} signed by {', '.join(sorted({str(e.data.get('name')) for e in named}))}"
    )


def gates(check: Check, folder: Path, entries: Sequence[Entry]) -> None:
    """Judge every gate again from its raw samples."""
    if not any(entry.event == "gate" for entry in entries) and not (folder / _SAMPLES).is_file():
        check.absent = "the run came to no gate"
        return
    from cutover.runbook.gates import replay  # noqa: PLC0415  # scipy takes its time to import

    try:
        judged = replay.replay(folder)
    except (CutoverError, OSError, ValueError, KeyError, TypeError) as problem:
        check.refuse(_SAMPLES, "gates-not-replayed", f"{type(problem).__name__}: {problem}")
        return
    check.seen = f"{_many(judged.verdicts, 'verdict')} and {_many(judged.decisions, 'decision')} judged again"
    for one in judged.differences[:_SHOWN]:
        where = f"line {one.line}" if one.line is not None else one.gate
        check.refuse(_SAMPLES, "gate-differs", f"{one.gate}: {one.what}" if one.gate else one.what, where=where)
    if len(judged.differences) > _SHOWN:
        check.refuse(_SAMPLES, "gate-differs", f"and {len(judged.differences) - _SHOWN} more differences")


# -- evidence ----------------------------------------------------------------------------------------------------------


def evidence(check: Check, folder: Path, entries: Sequence[Entry]) -> None:
    """Compute trees, log and balance again from the snapshots, and compare them with what journal and diff say."""
    sealed = {
        str(entry.data["name"]): entry
        for entry in entries
        if entry.event == "fact" and entry.data.get("name") in {"baseline", "second-snapshot"}
    }
    if not sealed:
        check.absent = "the run came to no evidence"
        return
    looked_at = []
    for name, place in (("baseline", _BEFORE), ("second-snapshot", _AFTER)):
        if name not in sealed:
            continue
        taken = _reading(check, place, partial(_snapshot, check, folder, place))
        said = sealed[name].data["facts"].get("digest")
        if taken is not None and taken.manifest.digest != said:
            what = f"its digest is {taken.manifest.digest}; the journal's line {sealed[name].seq + 1} says {said}"
            check.refuse(f"{place}/manifest.json", "snapshot-differs", what)
        if taken is not None:
            looked_at.append(f"{taken.manifest.items} items {place.rpartition('/')[2]}")
    check.seen = ", ".join(looked_at) + (", trees and log computed again" if looked_at else "")
    if len(looked_at) == len(("before", "after")) and check.holds:
        _reading(check, _DIFF, partial(_balance, check, folder, entries))


def _reading(check: Check, place: str, read: Callable[[], _T]) -> _T | None:
    """Return what is read; what cannot be read is refused, under the name of the file that cannot."""
    try:
        return read()
    except EvidenceError as problem:
        file = f"{place}/{problem.item}" if "." in problem.item and place != _DIFF else place
        check.refuse(file, problem.code, f"expected {problem.expected}, found {problem.actual}")
    except (OSError, ValueError, KeyError, TypeError) as problem:
        check.refuse(place, "snapshot-unreadable", f"{type(problem).__name__}: {problem}")
    return None


def _snapshot(check: Check, folder: Path, place: str) -> Snapshot:
    taken = snapshot.load(folder / place)
    note = taken.checkpoint_note()
    if (folder / trust.IN_RECORD).is_file():
        _trusted(check, trust.load(folder / trust.IN_RECORD), taken, note, place)
    for _ in taken.findings():
        pass
    if taken.manifest.items > _MOST_ITEMS:
        for _ in taken.raw_lines():
            pass
        return taken
    lines = list(taken.lines())
    if len(lines) != taken.manifest.items:
        what = f"it has {len(lines)} lines; its manifest counts {taken.manifest.items} items"
        check.refuse(f"{place}/lines.jsonl", "snapshot-count", what)
    lines.sort(key=lambda line: line.leaf_index)
    if [line.leaf_index for line in lines] == list(range(len(lines))):
        for schema, root in taken.manifest.roots.items():
            computed = merkle.root_hash(_leaf(schema, line) for line in lines).hex()
            if root is not None and computed != root:
                what = f"the tree of schema {schema} has the root {computed}; the snapshot says {root}"
                check.refuse(f"{place}/manifest.json", "root-mismatch", what, where=f"roots.{schema}")
    _log(check, taken, lines, place)
    return taken


def _trusted(check: Check, root: trust.TrustRoot, taken: Snapshot, note: bytes | None, place: str) -> None:
    """Verify the log's signature on a checkpoint again, by the key that the snapshot was taken with."""
    if root.digest != taken.manifest.trust_digest:
        what = f"the snapshot was taken with the trust root {taken.manifest.trust_digest}; this one is {root.digest}"
        check.refuse(trust.IN_RECORD, "trust-root-changed", what)
    elif note is not None and taken.manifest.checkpoint is not None:
        try:
            checkpoint.verify(note, root.log_verifier, origin=root.log_origin)
        except EvidenceError as problem:
            what = f"expected {problem.expected}, found {problem.actual}"
            check.refuse(f"{place}/checkpoint.txt", problem.code, what)


def _log(check: Check, taken: Snapshot, lines: list[Line], place: str) -> None:
    """Compute the log's root again, where it holds these items' entries and nothing speaks against one of them."""
    fact = taken.manifest.checkpoint
    lines.sort(key=lambda line: line.log_index)
    if fact is None or taken.manifest.findings or fact.size > len(lines):
        return
    covered = lines[: fact.size]
    if [line.log_index for line in covered] != list(range(fact.size)):
        return
    entry_hashes = (
        merkle.leaf_hash(leaves.log_entry(id=line.id, kind=line.kind, sha256=line.declared_sha256)) for line in covered
    )
    computed = merkle.root_hash(entry_hashes).hex()
    if computed != fact.root:
        what = f"the log's {fact.size} entries have the root {computed}; its checkpoint says {fact.root}"
        check.refuse(f"{place}/checkpoint.txt", "root-mismatch", what)


def _leaf(schema: int, line: Line) -> bytes:
    return leaves.leaf_hash(
        schema,
        id=line.id,
        kind=line.kind,
        sha256=line.declared_sha256,
        size_bytes=line.declared_size_bytes,
        created=line.created,
    )


def _balance(check: Check, folder: Path, entries: Sequence[Entry]) -> None:
    """Compare the two snapshots again with diff.json, and with the totals that the journal has."""
    found = diff.compare(folder / _BEFORE, folder / _AFTER)
    computed = json.loads(json.dumps(found.as_json()))
    totals = ("before", "after", "missing", "changed", "added")
    if (folder / _DIFF).is_file():
        _, said = _document(check, folder, _DIFF)
        for where, expected, actual in list(_differences(computed, said))[:_SHOWN] if said is not None else ():
            check.refuse(_DIFF, "balance-differs", f"it says {actual}, the snapshots give {expected}", where=where)
    last = next((entry for entry in reversed(entries) if entry.event == "evidence"), None)
    for name in totals if last is not None else ():
        if last is not None and last.data.get(name) != computed[name]:
            what = f"{name} is {last.data.get(name)}; the snapshots give {computed[name]}"
            check.refuse(JOURNAL, "balance-differs", what, where=f"line {last.seq + 1}")


# -- documents ---------------------------------------------------------------------------------------------------------


def _document(check: Check, folder: Path, name: str) -> tuple[bytes, dict[str, Any] | None]:
    """Return a JSON file's bytes and its object; None, and a reason, where there is none."""
    try:
        raw = (folder / name).read_bytes()
        said = parse(raw, code="report-malformed", item=name)
    except OSError as problem:
        check.refuse(name, "file-missing", f"it cannot be read: {problem.strerror}")
        return b"", None
    except EvidenceError as problem:
        check.refuse(name, "file-unreadable", f"expected {problem.expected}, found {problem.actual}")
        return raw, None
    if not isinstance(said, dict):
        check.refuse(name, "file-unreadable", "it holds no JSON object")
        return raw, None
    return raw, said


def _differences(expected: Any, actual: Any, where: str = "") -> Iterator[tuple[str, str, str]]:  # noqa: ANN401  # JSON
    """Yield each place where two JSON values differ: its path, what was expected, what is there."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in dict.fromkeys((*expected, *actual)):
            path = f"{where}.{key}" if where else str(key)
            yield from _differences(expected.get(key, _NOTHING), actual.get(key, _NOTHING), path)
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for number, (one, other) in enumerate(zip(expected, actual, strict=True)):
            yield from _differences(one, other, f"{where}.{number}")
    elif (expected, actual) == (None, _NOTHING):
        return  # an older release had no such field
    elif expected != actual or type(expected) is not type(actual):
        yield where, _short(expected), _short(actual)


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


_NOTHING: Final = _Nothing()


def _short(value: object, limit: int = 80) -> str:
    text = repr(value) if isinstance(value, _Nothing) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[:limit]}…"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
