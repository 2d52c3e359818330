"""Which controls a record speaks to: `contract/controls.toml`, and what this record answers to each of its questions.

Invariants: nothing is judged that the record does not say, and no compliance is claimed: an answer is where to look and
what stands there; only the record's inputs are read, never a report, so that a page made again says the same; every
clause and field that the file names is known, else nothing is returned.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from cutover import project
from cutover.errors import RunbookInvalid
from cutover.runbook import leaks
from reports import wording
from reports.views import NO_VERDICT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from reports.views import ClauseView, Record

FILE: Final = project.CONTRACT / "controls.toml"
SCHEMA: Final = "cutover/controls/v1"
_FINE_TO_LEAVE_OUT = frozenset({"strategy", "not-needed"})
"""Why a clause may not have been run without leaving a question open: this upgrade had no use for it."""


class State(StrEnum):
    """How far a record answers a question, the best first."""

    ANSWERED = "answered"
    EXCEPTIONS = "with exceptions"
    """It is answered, and not all of it is as it should be: a clause that did not pass, an approver who executed."""
    PARTLY = "in part"
    """A clause was not run, or a field is not there."""
    OPEN = "not answered"

    @property
    def rank(self) -> int:
        """0 for the best."""
        return tuple(State).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a control asks of a change."""

    asks: str
    clauses: tuple[str, ...]
    fields: tuple[str, ...]
    """Names in FIELDS."""
    look: str
    """Where else to look, in words; empty when there is nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One control of a framework."""

    id: str
    framework: str
    title: str
    source: str
    elsewhere: str
    """What a record of one upgrade cannot show."""
    questions: tuple[Question, ...]

    @property
    def name(self) -> str:
        """As people quote it: SOC 2 CC8.1."""
        return f"{self.framework} {self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a record says of a field."""

    text: str
    """Empty when it says nothing."""
    against: bool = False
    """It says so, and it is not as the control wants it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Something that a record says besides what its clauses came to."""

    title: str
    place: str
    """File and field, for whoever looks it up."""
    read: Callable[[Record], Said]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldAnswer:
    """A field with what this record says of it."""

    title: str
    place: str
    text: str
    against: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseAnswer:
    """A clause with what it came to in this record."""

    id: str
    title: str
    result: str
    reason: str
    anchor: str
    """Its row in the page's matrix; empty when the record has no such clause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a record answers to one question."""

    asks: str
    look: str
    state: State
    fields: tuple[FieldAnswer, ...]
    clauses: tuple[ClauseAnswer, ...]
    gaps: tuple[str, ...]
    """What is missing or not as it should be, each in a few words; empty when the state is ANSWERED."""

    @property
    def counted(self) -> tuple[tuple[str, int], ...]:
        """How many clauses came to which result, PASS first."""
        found = [clause.result for clause in self.clauses]
        order = ("PASS", *wording.BAD, "NOT_RUN")
        return tuple((name, found.count(name)) for name in order if name in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlView:
    """A control with this record's answers."""

    control: Control
    answers: tuple[Answer, ...]

    @property
    def state(self) -> State:
        """The worst of its answers."""
        return max((answer.state for answer in self.answers), key=lambda state: state.rank)

    @property
    def summary(self) -> str:
        """How many questions are answered, and how: 8 of 9 questions answered, 1 in part."""
        found = [answer.state for answer in self.answers]
        full = found.count(State.ANSWERED)
        rest = [f"{found.count(state)} {state}" for state in State if state is not State.ANSWERED and state in found]
        return ", ".join([f"{full} of {wording.many(len(found), 'question')} answered", *rest])


# -- the file ----------------------------------------------------------------------------------------------------------


@cache
def load(path: Path = FILE) -> tuple[Control, ...]:
    """Read the controls. Raises RunbookInvalid with one sentence."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
        found = tuple(_control(item) for item in content["control"])
    except (OSError, tomllib.TOMLDecodeError, ValueError, TypeError, AttributeError) as problem:
        raise RunbookInvalid(
            f"the controls {path} cannot be read", code="controls-unreadable", seen=str(problem)
        ) from problem
    except KeyError as problem:
        raise RunbookInvalid(f"the controls {path} lack {problem}", code="controls-incomplete") from problem
    if content.get("schema") != SCHEMA:
        raise RunbookInvalid(
            f"the controls {path} are of another kind",
            code="controls-unreadable",
            seen=f"schema {content.get('schema')!r} (expected {SCHEMA!r})",
        )
    _check(found, path)
    return found


def _control(item: Mapping[str, Any]) -> Control:
    return Control(
        id=item["id"],
        framework=item["framework"],
        title=item["title"],
        source=item["source"],
        elsewhere=item["elsewhere"],
        questions=tuple(
            Question(
                asks=one["asks"],
                clauses=tuple(one.get("clauses", ())),
                fields=tuple(one.get("fields", ())),
                look=one.get("look", ""),
            )
            for one in item["question"]
        ),
    )


def _check(controls: Sequence[Control], path: Path) -> None:
    from cutover.runbook.catalogue import load_clauses  # noqa: PLC0415  # only when controls are read

    known = {clause.id for clause in load_clauses()}
    problems = [f"{control.id} stands there twice" for control in controls if _times(controls, control.id) > 1]
    for control in controls:
        for question in control.questions:
            where = f"{control.id}: “{question.asks}”"
            problems += [
                f"{where} names clause {name}, which is none" for name in question.clauses if name not in known
            ]
            problems += [f"{where} names field {name}, which is none" for name in question.fields if name not in FIELDS]
            if not question.clauses and not question.fields:
                problems.append(f"{where} is answered by nothing")
    if problems:
        raise RunbookInvalid(
            f"the controls {path} are inconsistent",
            code="controls-inconsistent",
            seen="\n".join(dict.fromkeys(problems)),
            do="correct contract/controls.toml; clauses are those of contract/clauses.toml",
        )


def _times(controls: Iterable[Control], control_id: str) -> int:
    return sum(control.id == control_id for control in controls)


def by_clause(controls: Sequence[Control] | None = None) -> dict[str, tuple[str, ...]]:
    """Return for each clause the ids of the controls that it answers (1.3f: CC8.1, A.8.32), in the file's order."""
    found: dict[str, dict[str, None]] = {}
    for control in load() if controls is None else controls:
        for question in control.questions:
            for name in question.clauses:
                found.setdefault(name, {})[control.id] = None
    return {name: tuple(ids) for name, ids in found.items()}


# -- a record's answers ------------------------------------------------------------------------------------------------


def assess(record: Record, controls: Sequence[Control] | None = None) -> tuple[ControlView, ...]:
    """Return what a record answers to each control."""
    wanted = load() if controls is None else controls
    names = {name for control in wanted for question in control.questions for name in question.fields}
    said = {name: FIELDS[name].read(record) for name in sorted(names)}
    clauses = {clause.id: clause for clause in record.clauses}
    return tuple(
        ControlView(control=control, answers=tuple(_answer(question, said, clauses) for question in control.questions))
        for control in wanted
    )


def _answer(question: Question, said: Mapping[str, Said], known: Mapping[str, ClauseView]) -> Answer:
    fields = tuple(
        FieldAnswer(
            title=FIELDS[name].title, place=FIELDS[name].place, text=said[name].text, against=said[name].against
        )
        for name in question.fields
    )
    clauses = tuple(_clause(name, known.get(name)) for name in question.clauses)
    absent = [f"{field.title}: not in this record" for field in fields if not field.text]
    left_out = [name for name in question.clauses if _is_left_out(known.get(name))]
    bad = [clause for clause in clauses if clause.result in wording.BAD]
    exceptions = [f"{clause.id} {wording.RESULT_WORDS[clause.result]}" for clause in bad]
    exceptions += [f"{field.title}: {field.text}" for field in fields if field.against]
    gaps = [*exceptions, *absent, *([f"not run: {', '.join(left_out)}"] if left_out else [])]
    is_empty = len(absent) == len(fields) and len(left_out) == len(clauses)
    state = State.ANSWERED
    if is_empty:
        state = State.OPEN
    elif absent or left_out:
        state = State.PARTLY
    elif exceptions:
        state = State.EXCEPTIONS
    return Answer(asks=question.asks, look=question.look, state=state, fields=fields, clauses=clauses, gaps=tuple(gaps))


def _clause(name: str, view: ClauseView | None) -> ClauseAnswer:
    if view is None:
        return ClauseAnswer(id=name, title="", result="NOT_RUN", reason="the record has no such clause", anchor="")
    return ClauseAnswer(id=name, title=view.title, result=view.result, reason=view.reason, anchor=view.anchor)


def _is_left_out(view: ClauseView | None) -> bool:
    return view is None or (view.result == "NOT_RUN" and view.kind not in _FINE_TO_LEAVE_OUT)


# -- what a record says of a field -------------------------------------------------------------------------------------


def _requested(record: Record) -> Said:
    return Said(text=record.approval.get("requested_by", ""))


def _approvers(record: Record) -> list[str]:
    names = [one.name for one in record.approvals] or [record.approval.get("approved_by", "")]
    return [name for name in dict.fromkeys(names) if name]


def _approved(record: Record) -> Said:
    return Said(text=", ".join(_approvers(record)))


def _approved_at(record: Record) -> Said:
    times = [one.at for one in record.approvals] or [record.approval.get("approved_at", "")]
    return Said(text=", ".join(wording.moment(time) for time in dict.fromkeys(times) if time))


def _meaning(record: Record) -> Said:
    said = [one.meaning for one in record.approvals] or [record.approval.get("meaning", "")]
    return Said(text=", ".join(f"“{meaning}”" for meaning in dict.fromkeys(said) if meaning))


def _signature(record: Record) -> Said:
    if record.approvals:
        found = dict.fromkeys(f"{one.name}: {one.signed_with}" for one in record.approvals)
        return Said(text=", ".join(found), against=not all(one.signed_with for one in record.approvals))
    if not record.approval:
        return Said(text="")
    return Said(text=record.approval.get("signature") or "not signed", against=True)


def _beforehand(record: Record) -> Said:
    from cutover.clock import parse_rfc3339  # noqa: PLC0415  # times of approvals are kept as they were written

    written = [one.at for one in record.approvals] or [record.approval.get("approved_at", "")]
    times = []
    for text in written:
        try:
            times.append(parse_rfc3339(text))
        except ValueError:
            continue
    if not times or record.started is None:
        return Said(text="")
    ahead_s = (record.started - min(times)).total_seconds()
    if ahead_s < 0:
        return Said(text=f"no: {wording.duration(-ahead_s)} after the first line of the journal", against=True)
    return Said(text=f"yes: {wording.duration(ahead_s)} before the first line of the journal")


def _apart(record: Record) -> Said:
    """Say whether whoever approved neither asked for it nor executed it; of an unsigned name, nothing is known."""
    requested = record.approval.get("requested_by", "")
    executors = {record.operator, *(one.operator for one in record.attempts)} - {""}
    accounts = {name: account for name, account in _accounts(record) if account}
    if not _approvers(record) or not requested:
        return Said(text="")
    same = [f"{name} also asked for it" for name in _approvers(record) if name == requested]
    same += [
        f"{name} signed as {account}, who also executed it"
        for name, account in accounts.items()
        if account in executors
    ]
    same += [f"{name} also executed it" for name in _approvers(record) if name in executors]
    if same:
        return Said(text=f"no: {'; '.join(same)}", against=True)
    if not record.approvals:
        return Said(text="by their names alone, which nothing proves", against=True)
    return Said(text="yes")


def _accounts(record: Record) -> list[tuple[str, str]]:
    raw = record.verdict.get("approval")
    signed = raw.get("approvals") if isinstance(raw, dict) else None
    return [
        (str(one.get("name", "")), str(one.get("account", "")))
        for one in (signed if isinstance(signed, list) else [])
        if isinstance(one, dict)
    ]


def _announced(record: Record) -> Said:
    to, channel = record.approval.get("announced_to", ""), record.approval.get("channel", "")
    return Said(text=f"{to} ({channel})" if to and channel else to)


def _window(record: Record) -> Said:
    begin, end = (record.approval.get(name, "") for name in ("window_start", "window_end"))
    return Said(text=f"{wording.moment(begin)} to {wording.moment(end)}" if begin and end else "")


def _executed(record: Record) -> Said:
    names = dict.fromkeys([record.operator, *(one.operator for one in record.attempts)])
    return Said(text=", ".join(name for name in names if name))


def _when(record: Record) -> Said:
    return Said(text=wording.span(record) if record.started and record.finished else "")


def _releases(record: Record) -> Said:
    known = record.from_release and record.to_release
    return Said(text=f"{record.from_release} → {record.to_release}" if known else "")


def _images(record: Record) -> Said:
    found: dict[str, None] = {}
    for line in record.events("observation"):
        running = line.data.get("running") if line.data.get("what") == "images" else None
        if isinstance(running, dict):
            found |= {str(digest): None for digests in running.values() for digest in digests}
    return Said(text=", ".join(found))


def _plan(record: Record) -> Said:
    plan = record.verdict.get("plan")
    digest = plan.get("digest") if isinstance(plan, dict) else record.plan.get("digest")
    return Said(text=str(digest or ""))


def _digest_in(name: str) -> Callable[[Record], Said]:
    def read(record: Record) -> Said:
        part = record.verdict.get(name)
        return Said(text=str(part.get("sha256") or "") if isinstance(part, dict) else "")

    return read


def _deviations(record: Record) -> Said:
    if record.deviations:
        return Said(
            text=f"{len(record.deviations)}, each with its reason: {', '.join(d.id for d in record.deviations)}"
        )
    return Said(text="" if record.result == NO_VERDICT else "none")


def _commands(record: Record) -> Said:
    return Said(
        text=f"{wording.many(len(record.commands), 'command')}, each with its transcript" if record.commands else ""
    )


def _traffic(record: Record) -> Said:
    if not record.load.get("attempted"):
        return Said(text="")
    return Said(text=wording.traffic(record)[0], against=bool(record.load.get("failed")))


def _gates(record: Record) -> Said:
    if not record.gates:
        return Said(text="")
    bad = sum(gate.result != "PASS" for gate in record.gates)
    ending = f", {bad} of them not passed" if bad else ", all passed"
    return Said(text=f"{wording.many(len(record.gates), 'measurement')}{ending}", against=bool(bad))


def _evidence(record: Record) -> Said:
    if not record.evidence:
        return Said(text="")
    return Said(
        text=wording.evidence(record)[0], against=bool(record.evidence.get("missing") or record.evidence.get("changed"))
    )


def _observation(record: Record) -> Said:
    state = str(record.observation.get("state") or "")
    if state in {"", "none"}:
        return Said(text="")
    until = wording.until(record.observation.get("until")) if state == "running" else ""
    return Said(text=", ".join(part for part in (state, until, wording.window(record.observation)) if part))


def _result(record: Record) -> Said:
    if record.result == NO_VERDICT:
        return Said(text="")
    return Said(text=f"{record.result}; {wording.counts(record)}", against=record.result != "PASSED")


def _undo(record: Record) -> Said:
    changing = [clause for clause in record.clauses if clause.changes]
    if not changing:
        return Said(text="")
    silent = [clause.id for clause in changing if not clause.undo]
    of = f"{len(changing) - len(silent)} of {wording.many(len(changing), 'clause')}"
    return Said(text=f"{of} that change something say how that is undone", against=bool(silent))


def _no_return(record: Record) -> Said:
    if not record.plan:
        return Said(text="")
    return Said(text=wording.undo(record)[1])


def _rollback(record: Record) -> Said:
    if record.result == NO_VERDICT:
        return Said(text="")
    return Said(text=wording.undo(record)[0])


def _journal(record: Record) -> Said:
    if not record.lines:
        return Said(text="")
    if record.journal_problem:
        return Said(text=f"its chain does not hold: {record.journal_problem}", against=True)
    return Said(text=f"{wording.many(len(record.lines), 'line')}, each naming the one before, to {record.journal_head}")


def _manifest(record: Record) -> Said:
    path = record.folder / "manifest.json"
    try:
        return Said(text="sha256:" + hashlib.sha256(path.read_bytes()).hexdigest())
    except OSError:
        return Said(text="")


def _attestations(record: Record) -> Said:
    names = sorted(path.name for path in (record.folder / "attestations").glob("*.json"))
    return Said(text=", ".join(names))


def _masked(record: Record) -> Said:
    """Say whether the record was searched for the target's secrets before its verdict, and what was found."""
    searched = [line.data for line in record.events("observation") if line.data.get("what") == leaks.SEARCHED]
    if not searched:
        return Said(text="")
    last, found = searched[-1], sum(int(data.get("found") or 0) for data in searched)
    files, secrets = (wording.many(int(last.get(name) or 0), name[:-1]) for name in ("files", "secrets"))
    came = f"{wording.many(found, 'place')} found" if found else "none found"
    return Said(text=f"{files} searched for {secrets} of the target: {came}", against=bool(found))


FIELDS: Final[Mapping[str, Field]] = {
    "requested-by": Field(title="requested by", place="verdict.json approval.requested_by", read=_requested),
    "approved-by": Field(title="approved by", place="verdict.json approval.approvals[].name", read=_approved),
    "approved-at": Field(title="approved at", place="verdict.json approval.approvals[].approved_at", read=_approved_at),
    "approval-meaning": Field(title="meaning", place="verdict.json approval.approvals[].meaning", read=_meaning),
    "approval-signature": Field(
        title="signed with", place="verdict.json approval.approvals[].signed_with; the approvals", read=_signature
    ),
    "approved-beforehand": Field(
        title="approved beforehand", place="verdict.json approval.approvals[].approved_at and started", read=_beforehand
    ),
    "approver-apart": Field(
        title="by somebody else", place="verdict.json approval, operator, attempts[].operator", read=_apart
    ),
    "announced": Field(title="announced to", place="verdict.json approval.announced_to and channel", read=_announced),
    "window": Field(
        title="maintenance window", place="verdict.json approval.window_start and window_end", read=_window
    ),
    "executed-by": Field(title="executed by", place="verdict.json operator and attempts[].operator", read=_executed),
    "when": Field(title="when", place="verdict.json started and finished", read=_when),
    "releases": Field(title="from and to", place="verdict.json upgrade.from and upgrade.to", read=_releases),
    "images": Field(title="images of the new release", place="journal.jsonl observation “images”", read=_images),
    "target": Field(title="target file", place="verdict.json target.sha256", read=_digest_in("target")),
    "policy": Field(title="policy file with the limits", place="verdict.json policy.sha256", read=_digest_in("policy")),
    "plan": Field(title="plan", place="plan.json; verdict.json plan.digest", read=_plan),
    "points-of-no-return": Field(title="points of no return", place="plan.json points_of_no_return", read=_no_return),
    "undo": Field(title="way back of each step", place="plan.json clauses[].undo", read=_undo),
    "rollback": Field(title="way back taken", place="verdict.json rollback", read=_rollback),
    "deviations": Field(title="deviations from the guide", place="verdict.json deviations", read=_deviations),
    "commands": Field(title="commands", place="journal.jsonl command; artifacts/commands", read=_commands),
    "traffic": Field(title="requests meanwhile", place="verdict.json load", read=_traffic),
    "gates": Field(title="gates", place="gates/samples.jsonl; verdict.json traffic.gates", read=_gates),
    "evidence": Field(title="evidence balance", place="verdict.json evidence", read=_evidence),
    "observation": Field(title="observation", place="verdict.json observation; gates/window.json", read=_observation),
    "result": Field(title="result", place="verdict.json result and counts", read=_result),
    "journal": Field(title="journal", place="journal.jsonl; verdict.json journal.head", read=_journal),
    "manifest": Field(title="manifest of the record", place="manifest.json", read=_manifest),
    "attestations": Field(title="attestations", place="attestations", read=_attestations),
    "secrets-masked": Field(title="secrets", place="journal.jsonl observation “leak search”", read=_masked),
}
"""Every field that a question may name."""
