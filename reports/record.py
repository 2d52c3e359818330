"""A record's folder, read into plain data: what every builder is made from.

Invariants: nothing outside the folder is read; a file that is absent, cut short or unreadable leaves its part empty and
is named in `Record.problems`, for a run that was stopped has a record too; nothing is judged here, results are
verdict.json's. Without verdict.json the journal's own words are shown and the outcome is NONE.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cutover.clock import parse_rfc3339
from cutover.errors import CutoverError
from cutover.model import Result
from cutover.runbook import proof
from cutover.runbook.attempts import RESUMED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cutover.runbook.journal import Entry

NO_VERDICT = "NONE"
"""The outcome of a record without a readable verdict."""
PHASES: Mapping[str, str] = {
    "prerequisites": "Prerequisites",
    "1": "1 Preparation",
    "2": "2 Green",
    "3": "3 Cutover",
    "4": "4 Validation",
    "evidence": "Evidence",
    "5": "5 Cleanup",
    "contract": "Contraction",
    "rollback": "Rollback",
    "troubleshooting": "Troubleshooting",
    "support": "Support",
}
PROBE = "probe"
_STATE_BEFORE = "artifacts/state/before.json"
"""The site's state before anything was changed, the images of the release before among it."""
_LATEST_S = 1e10
"""No time of a record is later: seconds since the epoch."""
PERCENTILES = ("p50", "p90", "p99", "p99_9", "max")
_BOOKS = ("artifacts/", "evidence/", "gates/", "load/")
"""The folders of a record that hold what its results rest on."""
CONTINUITY = "evidence/continuity.html"
"""The page on evidence before and after, where the record has one."""
_OF_CONTINUITY = frozenset({"4.1a", "E.1", "E.2", "E.3", "E.4", "E.5"})
_MOST_LINKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the journal."""

    seq: int
    time: datetime
    event: str
    clause: str
    """Empty where the line belongs to none."""
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """A step of a scenario as it ran."""

    keyword: str
    text: str
    status: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandView:
    """A command that was run on the operator's host."""

    number: int
    """From 1, in the journal's order."""
    time: datetime
    clause: str
    argv: tuple[str, ...]
    exit_code: int | None
    """None when it never ended by itself."""
    duration_s: float
    transcript: str
    """Relative to the record; empty when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateView:
    """One measurement of a gate."""

    time: datetime
    clause: str
    name: str
    title: str
    result: str
    value: float | None
    """None when nothing was measured."""
    limit: float | None
    unit: str
    query: str
    percent: int | None
    """The weight at which it was measured; None for a whole window."""
    samples: int
    reason: str
    source: str = ""
    """Who answered: prometheus, load, postgresql, kubernetes or platform; empty in older records."""
    blue: float | None = None
    """Blue's value over the same window, where the two were compared."""
    line: int | None = None
    """Of gates/samples.jsonl, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseView:
    """A clause with everything the record says of it."""

    id: str
    title: str
    phase: str
    result: str
    scenario: str
    started: datetime | None
    finished: datetime | None
    reason: str
    cause: str
    remedy: str
    guide: str
    """The guide's section."""
    check: str
    """What the harness observes itself."""
    risk: str
    changes: str
    undo: str
    seen: str
    """What was observed when it failed."""
    state: str
    """What the failure left behind, where the error says so."""
    kind: str
    """Why it was not run: not-built, strategy, not-needed, observation, scope, not-reached, interrupted, skipped."""
    steps: tuple[StepView, ...]
    links: tuple[str, ...]
    """Files of the record that its result rests on, relative to the record."""

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to finish; None when it did not run to its end."""
        if self.started is None or self.finished is None:
            return None
        return (self.finished - self.started).total_seconds()

    @property
    def anchor(self) -> str:
        """The name by which a page links to it."""
        return "clause-" + self.id.lower().replace(".", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviationView:
    """Where the harness did something else than the guide says."""

    id: str
    did: str
    instead_of: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadView:
    """One second of load; counts are of that second, or of the time since the one before where the journal tells it."""

    time: datetime
    attempted: int
    failed: int
    by_colour: Mapping[str, int]
    p50_ms: Mapping[str, float]
    p99_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightView:
    """The public route after a change that was read back."""

    time: datetime
    percent: float
    """How much of the traffic green gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareView:
    """What green served at a weight; low and high are the ends of the weight's exact interval, as shares."""

    clause: str
    percent: float
    green: int
    total: int
    low: float
    high: float
    inside: bool = True

    @property
    def share(self) -> float | None:
        """Green's part of the requests; None when there were none."""
        return self.green / self.total if self.total else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView:
    """What the gates decided at the end of a bake."""

    time: datetime
    clause: str
    percent: int | None
    goes_back: bool
    gate: str
    """The gate that decided; empty where all of them agreed."""
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """How long it took from the first bad sample to blue."""

    gate: str
    percent: int | None
    first_bad: datetime | None
    decided: datetime
    serves: str
    bad_to_decision_s: float | None
    decision_to_blue_s: float | None
    bad_to_blue_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkersView:
    """The acknowledged writes, over every comparison with the table."""

    compared: int
    acknowledged: int
    missing: int
    repeated: int
    last: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyView:
    """The requests of one phase that one colour answered; latencies by the name of their percentile."""

    phase: str
    colour: str
    count: int
    failed: int
    ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeView:
    """One second of the open-loop probe, by the intended start."""

    time: datetime
    sent: int
    failed: int
    p99_ms: float | None
    """None when nothing was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """The way back, when it was taken."""

    performed: bool = False
    took_s: float | None = None
    serves: str = ""
    trigger: str = ""
    verified_requests: int = 0
    began: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalView:
    """A signed approval."""

    name: str
    at: str
    meaning: str
    covers: tuple[str, ...]
    """The points of no return that it allows."""
    signed_with: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisView:
    """A cause that was looked for and found, or that none was."""

    time: datetime
    clause: str
    id: str
    """Of contract/causes; empty when no known cause fits."""
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBackStep:
    """A clause of the way back from where the journal ends."""

    clause: str
    needed: bool
    why: str
    changes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One process's work on the record."""

    number: int
    procedure: str
    operator: str
    started: datetime | None
    finished: datetime | None
    """The time of its last line."""
    broken_off: bool
    """It never ended in order."""
    stopped_by: str
    result: str
    """Empty of the newest: the verdict is its result."""
    reason: str
    """Why a person asked for it."""
    kept: int
    """Clauses whose earlier result stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record's folder."""

    folder: Path
    verdict: Mapping[str, Any]
    """verdict.json; empty when there is none."""
    verdict_sha256: str
    """Of verdict.json as it is in the folder; empty when there is none."""
    plan: Mapping[str, Any]
    lines: tuple[Line, ...]
    journal_head: str
    """The digest of the journal's last line."""
    journal_problem: str
    """Empty when the chain holds and ends where the verdict says."""
    id: str
    result: str
    """verdict.json's result, or NONE."""
    exit_code: int | None
    from_release: str
    to_release: str
    target_name: str
    target_kind: str
    notice: str
    strategy: str
    scope: str
    operator: str
    approval: Mapping[str, str]
    approvals: tuple[ApprovalView, ...]
    """Those that are signed, further attempts' too."""
    started: datetime | None
    finished: datetime | None
    reasons: tuple[str, ...]
    clauses: tuple[ClauseView, ...]
    deviations: tuple[DeviationView, ...]
    commands: tuple[CommandView, ...]
    gates: tuple[GateView, ...]
    seconds: tuple[LoadView, ...]
    load: Mapping[str, Any]
    """The sums of every attempt's summary.json, or what the verdict holds of them."""
    evidence: Mapping[str, int]
    weights: tuple[WeightView, ...]
    shares: tuple[ShareView, ...]
    decisions: tuple[DecisionView, ...]
    way_back: WayBack | None
    """None when no gate decided to go back."""
    markers: MarkersView | None
    """None when they were never compared, or an older record does not say so."""
    probe: Mapping[str, float]
    """The open-loop probe's totals; empty without one."""
    probed: tuple[ProbeView, ...]
    latencies: tuple[LatencyView, ...]
    """By phase and colour; empty in older records."""
    rollback: Rollback
    observation: Mapping[str, Any]
    points_of_no_return: tuple[str, ...]
    serving_first: str
    """The colour that served when the run began; empty when unknown."""
    versions: Mapping[str, str]
    attempts: tuple[AttemptView, ...] = ()
    """Every process that worked on the record; empty in older ones."""
    images_from: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The digests that the release before ran, by colour; empty where nobody looked."""
    images_to: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The digests that the new release ran when it was looked at last."""
    diagnoses: tuple[DiagnosisView, ...] = ()
    standing: str = ""
    """How far the upgrade has come, as far as the way back is concerned; empty when the journal does not hold."""
    way_back_now: tuple[WayBackStep, ...] = ()
    """Every clause of the way back from where the journal ends, those that are needed in their order."""
    manifest_sha256: str = ""
    """Of manifest.json, which names every input's digest; empty as long as there is none."""
    attested: tuple[str, ...] = ()
    """The attestations' files that are signed, by their names."""
    signed_with: tuple[str, ...] = ()
    """The ids of the keys that signed them, as the envelopes give them: a hint, proven by `cutover verify` alone."""
    sealed: int = 0
    """How many times it was sealed, this time included, by the manifest's number; 0 without a manifest."""
    sealed_before: str = ""
    """The digest of the seal before this one; empty where there is none."""
    clock_ahead_s: float = 0.0
    """By how much the harness's clock was put ahead at the most, in any attempt; then its times are not the site's."""
    previous: Mapping[str, str] = field(default_factory=dict)
    """The upgrade before on the same site, where this one names it: id, from, to, result, journal, verdict."""
    problems: tuple[str, ...] = field(default=())

    def count(self, result: str) -> int:
        """Return how many clauses have a result."""
        return sum(clause.result == result for clause in self.clauses)

    def clause(self, clause_id: str) -> ClauseView | None:
        """Return a clause by its id."""
        return next((clause for clause in self.clauses if clause.id == clause_id), None)

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to finish."""
        if self.started is None or self.finished is None:
            return None
        return (self.finished - self.started).total_seconds()

    def events(self, *names: str) -> Iterator[Line]:
        """Yield the journal's lines of some events."""
        return (line for line in self.lines if line.event in names)


def _attempt(raw: Mapping[str, Any]) -> AttemptView:
    return AttemptView(
        number=_whole(raw.get("number")) or 0,
        procedure=_text(raw.get("procedure")),
        operator=_text(raw.get("operator")),
        started=_time(raw.get("started")),
        finished=_time(raw.get("finished")),
        broken_off=raw.get("broken_off") is True,
        stopped_by=_text(raw.get("stopped_by")),
        result=_text(raw.get("result")),
        reason=_text(raw.get("reason")),
        kept=_whole(raw.get("kept")) or 0,
    )


class _Reader:
    """Reads files of a folder and remembers what was wrong with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []

    def json(self, name: str, *, expected: bool = True) -> dict[str, Any]:
        """Return a JSON object; empty when the file is absent or no JSON object."""
        path = self.folder / name
        if not path.is_file():
            if expected:
                self.problems.append(f"{name} is not in the record")
            return {}
        try:
            document = json.loads(path.read_bytes())
        except (ValueError, OSError) as problem:
            self.problems.append(f"{name} cannot be read: {problem}")
            return {}
        if not isinstance(document, dict):
            self.problems.append(f"{name} is no JSON object")
            return {}
        return document

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the JSON objects of a file, one a line; a line that is none is named and left out."""
        path = self.folder / name
        found: list[dict[str, Any]] = []
        if not path.is_file():
            return found
        try:
            raw = path.read_bytes().splitlines()
        except OSError as problem:
            self.problems.append(f"{name} cannot be read: {problem}")
            return found
        for number, line in enumerate(raw, start=1):
            try:
                document = json.loads(line)
            except ValueError:
                document = None
            if isinstance(document, dict):
                found.append(document)
            else:
                self.problems.append(f"{name} line {number} is no JSON object")
        return found


def read(folder: Path) -> Record:
    """Return what a record's folder holds. Raises nothing for what is missing in it: see `Record.problems`."""
    reader = _Reader(folder)
    verdict = reader.json("verdict.json")
    plan = reader.json(_newest_plan(folder))
    lines = tuple(_line(raw) for raw in reader.lines("journal.jsonl"))
    if not lines:
        reader.problems.append("journal.jsonl holds no line")
    head = next((line.data for line in lines if line.event == "run_started"), {})
    target = _object(verdict.get("target")) or _object(head.get("target"))
    upgrade = _object(verdict.get("upgrade"))
    result = _text(verdict.get("result")) or NO_VERDICT
    journal_head, journal_problem = _chain(folder / "journal.jsonl", verdict)
    standing, way_back_now = ("", ()) if journal_problem else _standing(lines)
    manifest = reader.json("manifest.json", expected=False)
    envelopes = {
        path.name: _signers(reader.json(f"attestations/{path.name}"))
        for path in sorted((folder / "attestations").glob("*.json"))
    }
    commands = _commands(lines)
    traffic = _object(verdict.get("traffic")) or proof.document(lines)
    loads = _loads(folder)
    return Record(
        folder=folder,
        verdict=verdict,
        verdict_sha256=_digest(folder / "verdict.json") if verdict else "",
        plan=plan,
        lines=lines,
        journal_head=journal_head,
        journal_problem=journal_problem,
        id=_text(upgrade.get("id")) or _text(head.get("upgrade_id")) or folder.name,
        result=result,
        exit_code=_whole(verdict.get("exit_code")),
        from_release=_text(upgrade.get("from")) or _text(head.get("from")),
        to_release=_text(upgrade.get("to")) or _text(head.get("to")),
        target_name=_text(target.get("name")),
        target_kind=_text(target.get("kind")),
        notice=_text(verdict.get("notice")) or _text(_object(head.get("target")).get("notice")),
        strategy=_text(verdict.get("strategy")) or _text(head.get("strategy")),
        scope=_text(verdict.get("scope")) or _text(head.get("scope")),
        operator=_text(verdict.get("operator")) or _text(head.get("operator")),
        approval=_texts(verdict.get("approval") or head.get("approval")),
        approvals=tuple(
            _approval(raw) for raw in _list(_object(verdict.get("approval") or head.get("approval")).get("approvals"))
        ),
        started=_time(verdict.get("started")) or (lines[0].time if lines else None),
        finished=_time(verdict.get("finished")) or (lines[-1].time if lines else None),
        reasons=tuple(_text(reason) for reason in _list(verdict.get("reasons"))),
        clauses=_clauses(verdict, plan, lines, folder),
        deviations=_deviations(verdict, lines),
        commands=commands,
        gates=tuple(_gate(line) for line in lines if line.event == "gate"),
        seconds=tuple(
            _second(raw)
            for load in loads
            for raw in reader.lines(f"{load}/requests.jsonl")
            if _time(raw.get("time")) is not None
        )
        or _told_seconds(lines),
        load=_load(
            _object(verdict.get("load")), [reader.json(f"{load}/summary.json", expected=False) for load in loads]
        ),
        evidence=_evidence(verdict, lines),
        weights=tuple(
            WeightView(time=line.time, percent=_number(line.data.get("percent")) or 0.0)
            for line in lines
            if line.event == "weight"
        ),
        shares=tuple(_share(raw) for raw in map(_object, _list(traffic.get("shares")))),
        decisions=tuple(_decision(raw) for raw in map(_object, _list(traffic.get("decisions")))),
        way_back=_way_back(_object(traffic.get("rollback"))),
        markers=_markers(_object(traffic.get("markers"))),
        probe=_numbers(traffic.get("probe")),
        probed=tuple(second for load in loads for second in _probed(reader.lines(f"{load}/probe.jsonl"))),
        latencies=tuple(
            view
            for load in loads
            for view in _latencies(reader.json(f"{load}/phases.json", expected=False), attempt=_attempt_of(load))
        ),
        rollback=_rollback(verdict, lines),
        observation=_object(verdict.get("observation")),
        points_of_no_return=tuple(_text(name) for name in _list(plan.get("points_of_no_return"))),
        serving_first=_serving_first(lines),
        versions=_texts(verdict.get("versions") or head.get("versions")),
        attempts=tuple(_attempt(raw) for raw in map(_object, _list(verdict.get("attempts")))),
        images_from=_images_before(reader.json(_STATE_BEFORE, expected=False)),
        images_to=_images(lines),
        diagnoses=tuple(_diagnosis(line) for line in lines if line.event == "diagnosis"),
        standing=standing,
        way_back_now=way_back_now,
        manifest_sha256=_digest(folder / "manifest.json"),
        attested=tuple(name for name, keys in envelopes.items() if keys),
        signed_with=tuple(dict.fromkeys(key for keys in envelopes.values() for key in keys)),
        sealed=_whole(manifest.get("number")) or 0,
        sealed_before=_text(_object(manifest.get("previous")).get("sha256")),
        clock_ahead_s=max(
            (_number(line.data.get("ahead_s")) or 0.0 for line in lines if line.data.get("what") == "clock ahead"),
            default=0.0,
        ),
        previous=_previous(_object(verdict.get("previous")) or _object(head.get("previous"))),
        problems=tuple(reader.problems),
    )


# -- parts -------------------------------------------------------------------------------------------------------------


def _line(raw: Mapping[str, Any]) -> Line:
    return Line(
        seq=_whole(raw.get("seq")) or 0,
        time=_time(raw.get("time")) or datetime.fromtimestamp(0, UTC),
        event=_text(raw.get("event")),
        clause=_text(raw.get("clause")),
        data=_object(raw.get("data")),
    )


def _chain(path: Path, verdict: Mapping[str, Any]) -> tuple[str, str]:
    """Return the digest of the journal's last line, and what is wrong with its chain."""
    from cutover.runbook.journal import Journal  # noqa: PLC0415  # the only part of the engine that is needed

    sealed = _object(verdict.get("journal"))
    expected = _text(sealed.get("head")) or None
    try:
        entries = Journal.verify(path)
        if expected is not None and not _is_gone_on_with(entries, expected, _whole(sealed.get("entries")) or 0):
            Journal.verify(path, head=expected)
    except CutoverError as problem:
        return "", str(problem)
    except OSError as problem:
        return "", f"it cannot be read: {problem.strerror or problem}"
    return (entries[-1].digest if entries else "", "")


def _is_gone_on_with(entries: Sequence[Entry], head: str, count: int) -> bool:
    """Whether a later attempt, which has no verdict, went on from the end that the verdict names."""
    sealed, later = entries[max(0, count - 1) : count], entries[count : count + 1]
    return bool(sealed and later) and sealed[0].digest == head and later[0].event == RESUMED


def _digest(path: Path) -> str:
    try:
        return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _clauses(
    verdict: Mapping[str, Any], plan: Mapping[str, Any], lines: Sequence[Line], folder: Path
) -> tuple[ClauseView, ...]:
    planned = {_text(raw.get("id")): raw for raw in map(_object, _list(plan.get("clauses")))}
    judged = {_text(raw.get("id")): raw for raw in map(_object, _list(verdict.get("clauses")))}
    mine: dict[str, list[Line]] = {}
    for line in lines:
        if line.clause:
            mine.setdefault(line.clause, []).append(line)
    names = list(dict.fromkeys([*(judged or planned), *planned, *judged]))
    return tuple(
        _clause(name, judged.get(name), planned.get(name, {}), mine.get(name, ()), folder) for name in names if name
    )


def _clause(
    name: str, judged: Mapping[str, Any] | None, planned: Mapping[str, Any], lines: Sequence[Line], folder: Path
) -> ClauseView:
    finished = [line for line in lines if line.event == "clause_finished"]
    words = judged if judged is not None else _from_journal(lines)
    decisive = next((line for line in finished if line.data.get("result") == words.get("result")), None)
    said = decisive.data if decisive is not None else {}
    scenarios = " · ".join(_text(title) for title in _list(planned.get("scenarios")))
    return ClauseView(
        id=name,
        title=_text(words.get("title")) or _text(planned.get("title")),
        phase=_text(words.get("phase")) or _text(planned.get("phase")),
        result=_text(words.get("result")) or Result.NOT_RUN.value,
        scenario=_text(words.get("scenario")) or scenarios,
        started=_time(words.get("started")),
        finished=_time(words.get("finished")),
        reason=_text(words.get("reason")) or _text(_object(planned.get("not_run")).get("reason")),
        cause=_text(words.get("cause")),
        remedy=_text(words.get("remedy")),
        guide=_text(planned.get("guide")),
        check=_text(planned.get("check")),
        risk=_text(planned.get("risk")),
        changes=_text(planned.get("changes")),
        undo=_text(planned.get("undo")),
        seen=_text(said.get("seen")),
        state=_text(said.get("state")),
        kind=_text(said.get("kind")) or _text(_object(planned.get("not_run")).get("kind")),
        steps=tuple(_step(line) for line in lines if line.event == "step"),
        links=_links(name, lines, folder),
    )


def _from_journal(lines: Sequence[Line]) -> dict[str, Any]:
    """Return a clause's words as the journal has them: the record has no verdict."""
    started = next((line for line in lines if line.event == "clause_started"), None)
    finished = next((line for line in reversed(lines) if line.event == "clause_finished"), None)
    words: dict[str, Any] = dict(finished.data) if finished is not None else {}
    if finished is None:
        words["reason"] = "started and never finished" if started is not None else "the run ended before it"
    if started is not None:
        words["started"] = started.time.isoformat()
        words["finished"] = finished.time.isoformat() if finished is not None else None
        words["scenario"] = started.data.get("scenario")
    return words


def _step(line: Line) -> StepView:
    data = line.data
    return StepView(
        keyword=_text(data.get("keyword")).strip(),
        text=_text(data.get("text")),
        status=_text(data.get("status")),
        duration_s=_number(data.get("duration_s")) or 0.0,
    )


def _links(name: str, lines: Sequence[Line], folder: Path) -> tuple[str, ...]:
    """Return the files of the record that a clause's lines name, and the file of its own that it may have."""
    found: dict[str, None] = {}
    for line in lines:
        if line.event in {"evidence", "gate"}:
            found["evidence/diff.json" if line.event == "evidence" else "gates/samples.jsonl"] = None
        for text in _strings(line.data):
            path = _inside(text, folder)
            if path:
                found[path] = None
    found[f"evidence/{name}.json"] = None
    if name in _OF_CONTINUITY:
        found[CONTINUITY] = None
    files = [path for path in found if (folder / path).exists()]
    return tuple(files[:_MOST_LINKS])


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _inside(text: str, folder: Path) -> str:
    """Return a path relative to the record when the text names something in one of its folders, else nothing."""
    candidate = text.rpartition(f"/{folder.name}/")[2]
    if not candidate.startswith(_BOOKS) or any(mark in candidate for mark in "\n\r\0"):
        return ""
    path = PurePosixPath(candidate)
    if ".." in path.parts:
        return ""
    manifest = path / "manifest.json"
    return str(manifest) if (folder / manifest).is_file() else str(path)


def _deviations(verdict: Mapping[str, Any], lines: Sequence[Line]) -> tuple[DeviationView, ...]:
    found: Iterable[Mapping[str, Any]]
    if verdict:
        found = map(_object, _list(verdict.get("deviations")))
    else:
        found = {_text(line.data.get("id")): line.data for line in lines if line.event == "deviation"}.values()
    return tuple(
        DeviationView(
            id=_text(raw.get("id")),
            did=_text(raw.get("did")),
            instead_of=_text(raw.get("instead_of")),
            why=_text(raw.get("why")),
        )
        for raw in found
    )


def _commands(lines: Sequence[Line]) -> tuple[CommandView, ...]:
    return tuple(
        CommandView(
            number=number,
            time=line.time,
            clause=line.clause,
            argv=tuple(_text(word) for word in _list(line.data.get("argv"))),
            exit_code=_whole(line.data.get("exit_code")),
            duration_s=_number(line.data.get("duration_s")) or 0.0,
            transcript=_text(line.data.get("transcript")),
        )
        for number, line in enumerate((line for line in lines if line.event == "command"), start=1)
    )


def _gate(line: Line) -> GateView:
    data = line.data
    return GateView(
        time=line.time,
        clause=line.clause,
        name=_text(data.get("name")),
        title=_text(data.get("title")) or _text(data.get("name")),
        result=_text(data.get("result")),
        value=_number(data.get("value")),
        limit=_number(data.get("limit")),
        unit=_text(data.get("unit")),
        query=_text(data.get("query")),
        percent=_whole(data.get("percent")),
        samples=_whole(data.get("samples")) or 0,
        reason=_text(data.get("reason")),
        source=_text(data.get("source")),
        blue=_number(data.get("blue")),
        line=_whole(data.get("line")),
    )


def _second(raw: Mapping[str, Any]) -> LoadView:
    return LoadView(
        time=_time(raw.get("time")) or datetime.fromtimestamp(0, UTC),
        attempted=_whole(raw.get("attempted")) or 0,
        failed=_whole(raw.get("failed")) or 0,
        by_colour={name: int(number) for name, number in _numbers(raw.get("by_colour")).items()},
        p50_ms=_numbers(raw.get("p50_ms")),
        p99_ms=_numbers(raw.get("p99_ms")),
    )


def _told_seconds(lines: Sequence[Line]) -> tuple[LoadView, ...]:
    """Return the load second by second as the journal tells of it, for a record whose load files are not there.

    Its lines hold sums since the load began; one that is smaller than the one before belongs to a load that began anew.
    """
    found: list[LoadView] = []
    before: Mapping[str, Any] = {}
    for line in lines:
        if line.event != "load":
            continue
        data = line.data
        if (_whole(data.get("attempted")) or 0) < (_whole(before.get("attempted")) or 0):
            before = {}
        then, now = _numbers(before.get("by_colour")), _numbers(data.get("by_colour"))
        found.append(
            LoadView(
                time=line.time,
                attempted=(_whole(data.get("attempted")) or 0) - (_whole(before.get("attempted")) or 0),
                failed=max(0, (_whole(data.get("failed")) or 0) - (_whole(before.get("failed")) or 0)),
                by_colour={name: max(0, int(number - then.get(name, 0))) for name, number in now.items()},
                p50_ms={},
                p99_ms=_numbers(data.get("p99_ms")),
            )
        )
        before = data
    return tuple(found)


def _share(raw: Mapping[str, Any]) -> ShareView:
    return ShareView(
        clause=_text(raw.get("clause")),
        percent=_number(raw.get("percent")) or 0.0,
        green=_whole(raw.get("green")) or 0,
        total=_whole(raw.get("total")) or 0,
        low=_number(raw.get("low")) or 0.0,
        high=_number(raw.get("high")) or 0.0,
        inside=raw.get("inside") is True,
    )


def _decision(raw: Mapping[str, Any]) -> DecisionView:
    return DecisionView(
        time=_time(raw.get("time")) or datetime.fromtimestamp(0, UTC),
        clause=_text(raw.get("clause")),
        percent=_whole(raw.get("percent")),
        goes_back=raw.get("decision") != proof.ADVANCE,
        gate=_text(raw.get("gate")),
        result=_text(raw.get("result")),
    )


def _way_back(raw: Mapping[str, Any]) -> WayBack | None:
    decided = _time(raw.get("decided"))
    if decided is None:
        return None
    return WayBack(
        gate=_text(raw.get("gate")),
        percent=_whole(raw.get("percent")),
        first_bad=_time(raw.get("first_bad")),
        decided=decided,
        serves=_text(raw.get("serves")),
        bad_to_decision_s=_number(raw.get("bad_to_decision_s")),
        decision_to_blue_s=_number(raw.get("decision_to_blue_s")),
        bad_to_blue_s=_number(raw.get("bad_to_blue_s")),
    )


def _markers(raw: Mapping[str, Any]) -> MarkersView | None:
    if not raw:
        return None
    return MarkersView(
        compared=_whole(raw.get("compared")) or 0,
        acknowledged=_whole(raw.get("acknowledged")) or 0,
        missing=_whole(raw.get("missing")) or 0,
        repeated=_whole(raw.get("repeated")) or 0,
        last=_time(raw.get("last")),
    )


def _loads(folder: Path) -> tuple[str, ...]:
    """Return the folders of the loads, relative to the record: the first attempt's, then those of later ones."""
    later = [
        path.name for path in (folder / "load").glob("attempt-*") if path.name.removeprefix("attempt-").isdecimal()
    ]
    return ("load", *(f"load/{name}" for name in sorted(later, key=lambda name: int(name.removeprefix("attempt-")))))


def _attempt_of(load: str) -> int:
    name = PurePosixPath(load).name
    return int(name.removeprefix("attempt-")) if name != "load" else 1


def _load(judged: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all loads together sent and got; where both tell of it, the verdict's word of several stands."""
    known = [summary for summary in summaries if summary]
    if len(known) <= 1:
        return {**judged, **(known[0] if known else {})}
    total: dict[str, Any] = {}
    for name in ("planned", "attempted", "failed", "reads", "writes", "scans", "seconds", "markers_acknowledged"):
        total[name] = sum(_number(summary.get(name)) or 0 for summary in known)
        total[name] = total[name] if name == "seconds" else int(total[name])
    colours = {name for summary in known for name in _numbers(summary.get("by_colour"))}
    total["by_colour"] = {
        name: int(sum(_numbers(summary.get("by_colour")).get(name, 0) for summary in known)) for name in colours
    }
    total["failures"] = [failure for summary in known for failure in _list(summary.get("failures"))]
    return {**total, **judged}


def _latencies(document: Mapping[str, Any], *, attempt: int) -> tuple[LatencyView, ...]:
    """Return a row for each colour of each phase, and one for the probe."""
    again = f" (attempt {attempt})" if attempt > 1 else ""
    found = []
    for phase in map(_object, _list(document.get("phases"))):
        probe = _object(phase.get("probe"))
        rows = {**_object(phase.get("colours")), **({PROBE: {**probe, "count": probe.get("planned")}} if probe else {})}
        found += [
            LatencyView(
                phase=_text(phase.get("phase")) + again,
                colour=colour,
                count=_whole(facts.get("count")) or 0,
                failed=_whole(facts.get("failed")) or 0,
                ms={name: ms for name in PERCENTILES if (ms := _number(facts.get(f"{name}_ms"))) is not None},
            )
            for colour, facts in rows.items()
            if isinstance(facts, dict)
        ]
    return tuple(found)


def _probed(raws: Sequence[Mapping[str, Any]]) -> tuple[ProbeView, ...]:
    """Return the probe's requests by the second in which they were due; the first line has their schedule."""
    start = next((raw for raw in raws if "start" in raw), {})
    start_s, rate = _number(start.get("start")), _number(start.get("requests_per_s"))
    if start_s is None or not rate or rate < 0 or not 0 <= start_s < _LATEST_S:
        return ()
    seconds: dict[int, list[Mapping[str, Any]]] = {}
    for raw in raws:
        number = _whole(raw.get("n"))
        if number is not None and 0 <= number / rate < _LATEST_S:
            seconds.setdefault(int(number / rate), []).append(raw)
    first = datetime.fromtimestamp(start_s, UTC)
    return tuple(_probe_second(first + timedelta(seconds=second + 0.5), seconds[second]) for second in sorted(seconds))


def _probe_second(middle: datetime, raws: Sequence[Mapping[str, Any]]) -> ProbeView:
    values = sorted(value for raw in raws if (value := _number(raw.get("ms"))) is not None)
    return ProbeView(
        time=middle,
        sent=len(raws),
        failed=sum(bool(raw.get("error")) for raw in raws),
        p99_ms=values[math.ceil(0.99 * len(values)) - 1] if values else None,
    )


def _evidence(verdict: Mapping[str, Any], lines: Sequence[Line]) -> dict[str, int]:
    """Return the balance; `unchanged` comes from the journal alone. Empty when nothing was compared."""
    last: Mapping[str, Any] = next((line.data for line in reversed(lines) if line.event == "evidence"), {})
    judged = _object(verdict.get("evidence"))
    if not last and not any(_whole(number) for number in judged.values()):
        return {}
    keys = ("before", "after", "unchanged", "changed", "missing", "added")
    return {key: _whole(judged.get(key, last.get(key))) or 0 for key in keys}


def _rollback(verdict: Mapping[str, Any], lines: Sequence[Line]) -> Rollback:
    began = next((line for line in reversed(lines) if line.event == "rollback_started"), None)
    ended: Mapping[str, Any] = next((line.data for line in reversed(lines) if line.event == "rollback_finished"), {})
    judged = _object(verdict.get("rollback"))
    if began is None and not judged.get("performed"):
        return Rollback()
    return Rollback(
        performed=True,
        took_s=_number(judged.get("took_s", ended.get("took_s"))),
        serves=_text(judged.get("serves")) or _text(ended.get("serves")),
        trigger=_text(judged.get("trigger")) or (_text(began.data.get("trigger")) if began else ""),
        verified_requests=_whole(ended.get("verified_requests")) or 0,
        began=began.time if began else None,
    )


def _images_before(document: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the images that the colour ran which served before the upgrade; it tells of all its pods together."""
    state = _object(document.get("state"))
    digests = tuple(map(_text, _list(state.get("images"))))
    return {_text(state.get("blue")) or "blue": digests} if digests else {}


def _images(lines: Sequence[Line]) -> dict[str, tuple[str, ...]]:
    """Return the new release's images as they were looked at last, by component."""
    said = (line.data for line in reversed(lines) if line.event == "observation" and line.data.get("what") == "images")
    running = _object(next(said, {}).get("running"))
    return {name: tuple(map(_text, _list(digests))) for name, digests in running.items()}


def _diagnosis(line: Line) -> DiagnosisView:
    return DiagnosisView(
        time=line.time,
        clause=line.clause,
        id=_text(line.data.get("id")),
        cause=_text(line.data.get("cause")),
        remedy=_text(line.data.get("remedy")),
    )


def _standing(lines: Sequence[Line]) -> tuple[str, tuple[WayBackStep, ...]]:
    """Return how far the upgrade has come by its journal, and the way back from there."""
    from cutover.runbook import reverse  # noqa: PLC0415  # as `_chain`: not needed to read a folder's other files

    if not lines:
        return "", ()
    try:
        plan = reverse.plan(lines)
    except (AttributeError, KeyError, TypeError, ValueError):  # lines of another version than this one
        return "", ()
    return plan.point.value, tuple(
        WayBackStep(clause=step.clause, needed=step.needed, why=step.why, changes=step.changes) for step in plan.steps
    )


def _previous(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return what a record says of the upgrade before it."""
    found = {name: _text(raw.get(name)) for name in ("id", "from", "to", "result", "problem")}
    found["journal"] = _text(_object(raw.get("journal")).get("head"))
    found["verdict"] = _text(raw.get("verdict_sha256"))
    return {name: value for name, value in found.items() if value}


def _signers(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the keys that signed an envelope; of a Sigstore bundle, that an identity did."""
    if "dsseEnvelope" in document:
        return ("a Sigstore identity",) if _list(_object(document["dsseEnvelope"]).get("signatures")) else ()
    envelope = document
    return tuple(_text(_object(raw).get("keyid")) or "unnamed key" for raw in _list(envelope.get("signatures")))


def _serving_first(lines: Sequence[Line]) -> str:
    roles = (line.data for line in lines if line.event == "observation" and line.data.get("what") == "roles")
    return _text(next(roles, {}).get("serving"))


# -- JSON's values, whatever they are ----------------------------------------------------------------------------------


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _newest_plan(folder: Path) -> str:
    """Return the name of the last plan that was begun with: a further attempt may perform more than the first."""
    numbers = [path.stem.partition("-")[2] for path in folder.glob("plan-*.json")]
    newest = max((int(number) for number in numbers if number.isdecimal()), default=0)
    return f"plan-{newest}.json" if newest else "plan.json"


def _approval(value: object) -> ApprovalView:
    raw = _object(value)
    return ApprovalView(
        name=_text(raw.get("name")),
        at=_text(raw.get("approved_at")),
        meaning=_text(raw.get("meaning")),
        covers=tuple(_text(clause_id) for clause_id in _list(raw.get("covers"))),
        signed_with=_text(raw.get("signed_with")),
    )


def _texts(value: object) -> dict[str, str]:
    return {str(key): _text(inner) for key, inner in _object(value).items()}


def _numbers(value: object) -> dict[str, float]:
    found = {str(key): _number(inner) for key, inner in _object(value).items()}
    return {key: number for key, number in found.items() if number is not None}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _whole(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None else None


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return parse_rfc3339(value)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
