"""What the platform's own reports say of the evidence, beside what the harness found (1.1c, 4.1a, E.6, E.7).

Invariants: the comparison is `cutover.evidence.agreement`'s, made again from the record's files; nothing is settled
here, and a report or an answer that the record does not have is named as absent, never as agreeing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cutover.clock import parse_rfc3339
from cutover.evidence import agreement
from cutover.evidence.errors import EvidenceError, Finding
from reports import wording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from cutover.evidence.diff import Diff
    from cutover.evidence.snapshot import Snapshot
    from reports.views import Record

BASELINE: Final = "artifacts/platform/pre-upgrade-baseline.json"
DIGESTS: Final = "artifacts/platform/digests.json"
_BEGINS: Final = "# ---- standard output\n"
_ENDS: Final = "\n# ---- standard error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One of the platform's reports against ours."""

    clause: str
    title: str
    command: str
    result: str
    """The clause's in this run; empty when the record has no such clause."""
    theirs: str
    """What the platform said, in words."""
    compared: str
    """What of it was compared with what of ours."""
    findings: tuple[Finding, ...]
    problem: str
    """Why it could not be compared; empty when it was."""
    word: str
    """What agreeing means here, for a report that is compared in part."""
    file: str
    """Where the platform's answer is, relative to the record; empty when nowhere."""

    @property
    def agrees(self) -> bool:
        """Whether both were compared and say the same."""
        return not self.problem and not self.findings


def compare(
    record: Record, before: Snapshot, after: Snapshot, balance: Diff, *, refused: Iterable[str]
) -> tuple[Agreement, ...]:
    """Return the four comparisons. `refused` are the items that tree and log refused in the baseline alone."""
    return (
        _verify_all(record, before, frozenset(refused)),
        _verify_continuity(record, balance),
        _verify_digests(record, after),
        _verify_attestations(record, after),
    )


def _verify_all(record: Record, before: Snapshot, refused: frozenset[str]) -> Agreement:
    report, problem = _report(record.folder / BASELINE)
    found, problem = _refusing(lambda: agreement.compare(before, report, refused=refused), problem)
    failures = sum(1 for one in _list(report, "results") if isinstance(one, dict) and one.get("ok") is not True)
    return _made(
        record,
        "1.1c",
        "evidence verify-all",
        theirs=f"{_count(report, 'items')} items, {wording.count(failures)} not accepted, root {_root(report)}",
        compared="each item's digest and verdict, and the root, with the baseline",
        findings=found,
        problem=problem,
        file=BASELINE,
    )


def _verify_continuity(record: Record, balance: Diff) -> Agreement:
    answer, problem, file = _answer(record, "verify-continuity")
    found, problem = _refusing(lambda: agreement.compare_totals(balance, answer), problem)
    names = ("before", "after", "missing", "changed", "added")
    return _made(
        record,
        "4.1a",
        "evidence verify-continuity",
        theirs=f"{_ok(answer)}: {', '.join(f'{_count(answer, name)} {name}' for name in names)}",
        compared="missing and changed exactly; what was added may have grown before it answered",
        word="counts agree",
        findings=found,
        problem=problem,
        file=file,
    )


def _verify_digests(record: Record, after: Snapshot) -> Agreement:
    report, problem = _report(record.folder / DIGESTS)
    found, problem = _refusing(lambda: agreement.compare_digests(after, report), problem)
    return _made(
        record,
        "E.6",
        "evidence verify-digests",
        theirs=f"{_count(report, 'items')} items, {_count(report, 'mismatched')} mismatched",
        compared="the digest that each side computed of each item, in the second snapshot",
        findings=found,
        problem=problem,
        file=DIGESTS,
    )


def _verify_attestations(record: Record, after: Snapshot) -> Agreement:
    answer, problem, file = _answer(record, "verify-all", first="attest")
    since = answer.get("since")
    if not problem and not isinstance(since, str):
        problem = "its answer does not say since when"
    found, problem = _refusing(
        lambda: agreement.compare_attestations(after, answer, since=parse_rfc3339(str(since))), problem
    )
    invalid = len(_list(answer, "invalid"))
    return _made(
        record,
        "E.7",
        "attest verify-all",
        theirs=f"{_ok(answer)}: {_count(answer, 'attestations')} attestations, {wording.count(invalid)} invalid",
        compared="which attestations are valid, in the second snapshot",
        findings=found,
        problem=problem,
        file=file,
    )


def _made(
    record: Record,
    clause: str,
    command: str,
    *,
    theirs: str,
    compared: str,
    findings: tuple[Finding, ...],
    problem: str,
    file: str,
    word: str = "agrees",
) -> Agreement:
    view = record.clause(clause)
    return Agreement(
        clause=clause,
        title=view.title if view is not None else "",
        command=f"stella {command}",
        result=view.result if view is not None else "",
        theirs="" if problem else theirs,
        compared=compared,
        findings=findings,
        problem=problem,
        word=word,
        file=file if (record.folder / file).is_file() else "",
    )


def _refusing(compare_them: Callable[[], list[Finding]], problem: str) -> tuple[tuple[Finding, ...], str]:
    if problem:
        return (), problem
    try:
        return tuple(compare_them()), ""
    except (EvidenceError, ValueError) as refusal:
        return (), f"it cannot be compared: {refusal}"


def _report(path: Path) -> tuple[dict[str, Any], str]:
    """Return one of the platform's report files, or why there is none."""
    try:
        document = json.loads(path.read_bytes())
    except OSError:
        return {}, "its report is not in the record"
    except (ValueError, RecursionError):
        document = None
    return (document, "") if isinstance(document, dict) else ({}, "its report cannot be read")


def _answer(record: Record, name: str, *, first: str = "evidence") -> tuple[dict[str, Any], str, str]:
    """Return the last answer of a command, from its transcript, or why there is none; and the transcript's path."""
    wanted = ("stella", first, name)
    ran = [one for one in record.commands if one.argv[:3] == wanted and one.transcript]
    if not ran:
        return {}, "the platform was not asked in this run", ""
    file = ran[-1].transcript
    path = (record.folder / file).resolve()
    if not path.is_relative_to(record.folder.resolve()) or not path.is_file():
        return {}, "its transcript is not in the record", ""
    text = path.read_text("utf-8", "replace")
    try:
        document = json.loads(text.partition(_BEGINS)[2].partition(_ENDS)[0])
    except (ValueError, RecursionError):
        document = None
    return (document, "", file) if isinstance(document, dict) else ({}, "its answer was not what it promises", file)


def _ok(answer: Mapping[str, Any]) -> str:
    if "ok" not in answer:
        return "no verdict"
    return "all well" if answer["ok"] is True else "not well"


def _count(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return wording.count(value) if isinstance(value, int) and not isinstance(value, bool) else "unknown"


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    return value if isinstance(value, list) else []


def _root(report: Mapping[str, Any]) -> str:
    root = report.get("root")
    return f"{root[:12]}…" if isinstance(root, str) else "unknown"
