"""allure-results/ of a finished record: what the attempts left there, reconciled with journal and verdict.

A scenario has one result for each attempt that performed it: Allure shows the newest, and the others as its retries.
One that a killed process left without a result is made from the journal. A scenario that is planned and that nobody
reported is a failure, and so it is said.
Invariants: every clause and every planned scenario has a result; the newest of each says what verdict.json says;
nothing is read from outside of the record but the features, as they are planned; written twice from the same record,
the folder is the same but for what the run itself attached.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from allure_commons.model2 import Attachment, Status, StatusDetails, TestResult, TestStepResult

from cutover.model import Result, clause_tag
from cutover.runbook.attempts import BEGINNINGS, RESUMED
from reports import allure_charts, allure_context, wording
from reports import allure_results as results
from reports import record as records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cutover.runbook.inventory import PlannedScenario
    from reports.views import ClauseView, Line, Record

_NOTE: Final = "Attempt "
"""What begins the steps that are told about attempts; a step of a scenario begins with Given, When, Then."""
_TYPES: Final = {".json": "application/json", ".jsonl": "text/plain", ".txt": "text/plain", ".diff": "text/plain"}
_TRANSCRIPTS = "artifacts/commands/"
UNREPORTED: Final = "planned, and no run has reported it"


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """A process's work on the record, as far as results tell of it."""

    number: int
    procedure: str


@dataclass(slots=True, kw_only=True)
class _Performance:
    """A scenario, or a clause without one, as one attempt performed it, by the journal."""

    attempt: _Attempt
    scenario: str
    clauses: list[str]
    started: Line
    lines: list[Line] = field(default_factory=list)
    """Steps, commands, gates and ends."""
    last: Line
    """The last line of it, or of the attempt that was broken off in it."""

    @property
    def said(self) -> Mapping[str, Any] | None:
        """The facts of its worst end; None when it has none: it was broken off."""
        ends = [line.data for line in self.lines if line.event == "clause_finished"]
        return max(ends, key=lambda data: _severity(data.get("result"))) if ends else None

    @property
    def has_failed_gate(self) -> bool:
        """Whether a gate did not pass in it."""
        return any(line.event == "gate" and line.data.get("result") in {"FAIL", "INCONCLUSIVE"} for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A later attempt that let a result stand."""

    attempt: _Attempt
    line: Line


def write(folder: Path, planned: Sequence[PlannedScenario]) -> None:
    """Complete a record's results, or make them where there are none. Raises OSError.

    planned: every scenario of the runbook that the record is of.
    """
    _Writer(records.read(folder), planned).write()


class _Writer:
    def __init__(self, record: Record, planned: Sequence[PlannedScenario]) -> None:
        self.record = record
        self.folder = record.folder / results.FOLDER
        self.book = results.Book(record_id=record.id, site=record.target_name)
        self.planned = tuple(planned)
        self.views = {clause.id: clause for clause in record.clauses}
        self.performances, self.kept = _performances(record.lines)
        self.before: dict[str, dict[str, Any]] = {}
        self.written: dict[str, dict[str, Any]] = {}

    def write(self) -> None:
        """Write every result and what belongs to all of them, and remove what no longer counts."""
        self.folder.mkdir(exist_ok=True)
        self.before = results.read_results(self.folder)
        performed: set[str] = set()
        for performance in self.performances:
            clauses = [self.views[name] for name in performance.clauses if name in self.views]
            if clauses:
                performed |= {clause.id for clause in clauses}
                self._write(self._performed(performance, clauses))
        for scenario in self.planned:
            clauses = [view for view in self.record.clauses if clause_tag(view.id) in scenario.tags]
            if not clauses:
                continue  # the record is of a runbook that had no such clause
            if not any(self._scenario_of(p) is scenario for p in self.performances):
                performed |= {clause.id for clause in clauses}
                self._write(self._not_performed(scenario, clauses))
        for clause in self.record.clauses:
            if clause.id not in performed:
                self._write(self._not_performed(None, [clause]))
        allure_context.write(self.record, self.folder)
        self._clean()

    def _write(self, made: dict[str, Any]) -> None:
        results.write_json(self.folder / f"{made['uuid']}-result.json", made)
        self.written[made["uuid"]] = made

    def _clean(self) -> None:
        """Remove results that no longer count, and attachments that nothing names."""
        named = set(allure_context.GLOBAL_ATTACHMENTS) | {
            source for made in self.written.values() for source in _sources(made)
        }
        for path in self.folder.iterdir():
            name = path.name
            stale = name.endswith("-result.json") and name.removesuffix("-result.json") not in self.written
            if stale or name.endswith("-container.json") or ("-attachment." in name and name not in named):
                path.unlink()

    # -- what was performed --------------------------------------------------------------------------------------------

    def _scenario_of(self, performance: _Performance) -> PlannedScenario | None:
        """Return the scenario that was performed, or that the safety net stood in for; None where there is none."""
        tags = {clause_tag(name) for name in performance.clauses}
        of_clause = [scenario for scenario in self.planned if tags & scenario.tags]
        named = [scenario for scenario in of_clause if scenario.name == performance.scenario]
        return next(iter(named or of_clause if len(of_clause) == 1 else named), None)

    def _performed(self, performance: _Performance, clauses: list[ClauseView]) -> dict[str, Any]:
        """Return the result of one performance: as the run left it, or made from the journal, then made to agree."""
        scenario = self._scenario_of(performance)
        made = results.described(
            self.book, scenario, clauses, title=performance.scenario, attempt=performance.attempt.number
        )
        later = [p for p in self._after(performance) if set(p.clauses) & set(performance.clauses)]
        self._judge(made, performance, clauses, later)
        document = results.document(made)
        before = self.before.get(made.uuid)
        if before is not None:
            told = [step for step in before.get("steps", ()) if not str(step.get("name")).startswith(_NOTE)]
            document |= {"steps": told, "start": before.get("start"), "stop": before.get("stop")}
            trace = before.get("statusDetails", {}).get("trace")
            if trace and "statusDetails" in document:
                document["statusDetails"]["trace"] = trace
        else:
            drawn = TestResult(steps=list(self._steps(performance, scenario)))
            document |= {"steps": results.document(drawn).get("steps", [])}
            document |= {"start": _ms(performance.started), "stop": _ms(performance.last)}
        first, last = self._notes(performance, clauses, later)
        if scenario is not None and scenario.name != performance.scenario:
            first.append(_note(f"{performance.attempt.number}: {performance.scenario}", _ms(performance.started)))
        document["steps"] = [*first, *document["steps"], *last]
        span = (document["start"], document["stop"])
        attachments = [*self._evidence(clauses, document), *self._charts(performance, span)]
        document["attachments"] = [results.document(one) for one in attachments]
        return document

    def _after(self, performance: _Performance) -> Iterator[_Performance]:
        return iter(self.performances[self.performances.index(performance) + 1 :])

    def _judge(
        self, made: TestResult, performance: _Performance, clauses: list[ClauseView], later: list[_Performance]
    ) -> None:
        """Give a result its status and why: the verdict's when it is the newest, else what its own attempt said."""
        said = dict(performance.said or {})
        if not said:
            made.status = Status.BROKEN
            end = f"the process ended in the middle; its last line is {performance.last.seq}"
            said = {"result": "", "reason": f"attempt {performance.attempt.number} was broken off here", "seen": end}
            kind = results.BROKEN_OFF
        else:
            if not later:
                said |= _judged(clauses)
            made.status = results.STATUS.get(str(said["result"]), Status.UNKNOWN)
            kind = results.kind_of(said, by_gate=performance.has_failed_gate)
        if made.status != Status.PASSED:
            made.statusDetails = StatusDetails(message=results.message(said, kind))

    def _notes(
        self, performance: _Performance, clauses: list[ClauseView], later: list[_Performance]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return what is told before and after the steps: which attempt performed it again, and which kept it."""
        number = performance.attempt.number
        first, last = [], []
        earlier = [
            p
            for p in self.performances[: self.performances.index(performance)]
            if set(p.clauses) & set(performance.clauses)
        ]
        if earlier:
            came_to = _came_to(earlier[-1])
            text = f"{number} ({performance.attempt.procedure}) performs it again: {came_to}"
            first.append(_note(text, _ms(performance.started)))
        if later:
            text = f"{later[0].attempt.number} ({later[0].attempt.procedure}) performed it again"
            last.append(_note(text, _ms(performance.last)))
        else:
            names = {clause.id for clause in clauses}
            for kept in self.kept:
                if kept.line.clause in names and kept.attempt.number > number:
                    text = f"{kept.attempt.number} ({kept.attempt.procedure}) kept the result of attempt {number}"
                    last.append(_note(text, _ms(kept.line)))
        return first, last

    def _steps(self, performance: _Performance, scenario: PlannedScenario | None) -> Iterator[TestStepResult]:
        """Draw the steps from the journal, each with the commands and gates that came before its end."""
        pending: list[Line] = []
        done = 0
        for line in performance.lines:
            if line.event != "step":
                pending.append(line)
                continue
            stop = _ms(line)
            status = Status.PASSED if line.data.get("status") == "passed" else _failed(performance)
            step = TestStepResult(
                name=f"{str(line.data.get('keyword')).strip()} {line.data.get('text')}",
                status=status,
                stage="finished",
                start=stop - int(float(line.data.get("duration_s") or 0) * 1000),
                stop=stop,
            )
            step.attachments = list(self._attached(performance, done, pending))
            pending = []
            done += 1
            yield step
        has_passed = (performance.said or {}).get("result") == Result.PASS
        texts = results.planned_steps(scenario)[done:] if not has_passed else ()
        if performance.said is None and texts:
            stop = _ms(performance.last)
            cut = TestStepResult(name=texts[0], status=Status.BROKEN, stage="finished", start=stop, stop=stop)
            cut.attachments = list(self._attached(performance, done, pending))
            yield cut
            texts = texts[1:]
        yield from results.not_reached(texts, _ms(performance.last))

    def _attached(self, performance: _Performance, number: int, lines: Sequence[Line]) -> Iterator[Attachment]:
        """Attach the transcripts of commands, and gate measurements."""
        for line in lines:
            name = str(line.data.get("transcript") or "")
            if line.event == "command" and name:
                yield from self._copied(name)
        gates = [dict(line.data) | {"time": line.time.isoformat()} for line in lines if line.event == "gate"]
        if gates:
            key = f"{performance.attempt.number} {performance.clauses[0]} {number}"
            yield self._stored("gate samples", results.gate_table(gates).encode(), "csv", "text/csv", key)

    def _copied(self, name: str) -> Iterator[Attachment]:
        source = self.record.folder / name
        kind = _TYPES.get(source.suffix)
        if kind is None or not source.is_file() or source.stat().st_size > results.LARGEST_ATTACHMENT_BYTES:
            return
        stored = f"{results.digest('attachment', name)[:32]}-attachment{source.suffix}"
        shutil.copyfile(source, self.folder / stored)
        yield Attachment(name=source.name, source=stored, type=kind)

    def _stored(self, name: str, content: bytes, suffix: str, kind: str, key: str) -> Attachment:
        stored = f"{results.digest('made', name, key)[:32]}-attachment.{suffix}"
        (self.folder / stored).write_bytes(content)
        return Attachment(name=name, source=stored, type=kind)

    def _evidence(self, clauses: list[ClauseView], document: Mapping[str, Any]) -> Iterator[Attachment]:
        """Attach what the clauses' results rest on; transcripts belong to their steps, if one has them."""
        has_own = any(step.get("attachments") for step in document["steps"])
        for name in dict.fromkeys(path for clause in clauses for path in clause.links):
            if name != "gates/samples.jsonl" and not (has_own and name.startswith(_TRANSCRIPTS)):
                yield from self._copied(name)

    def _charts(self, performance: _Performance, span: tuple[int, int]) -> Iterator[Attachment]:
        """Draw the gates against their limits, and the requests while it ran."""
        key = f"{performance.attempt.number} {performance.clauses[0]}"
        gates = [
            gate
            for gate in self.record.gates
            if gate.clause in performance.clauses and span[0] - 1000 <= gate.time.timestamp() * 1000 <= span[1] + 1000
        ]
        drawn = allure_charts.gates(gates)
        if drawn:
            yield self._stored("gates against their limits", drawn, "svg", "image/svg+xml", key)
            drawn = allure_charts.requests(self.record.seconds, self.record.weights, span)
            if drawn:
                yield self._stored("requests by colour", drawn, "svg", "image/svg+xml", key)

    # -- what was not --------------------------------------------------------------------------------------------------

    def _not_performed(self, scenario: PlannedScenario | None, clauses: list[ClauseView]) -> dict[str, Any]:
        """Return the result of what no attempt performed: skipped and why, or failed when nobody said why."""
        title = clauses[0].title if clauses else ""
        made = results.described(self.book, scenario, clauses, title=title, attempt=0)
        end = int(self.record.finished.timestamp() * 1000) if self.record.finished is not None else 0
        made.start = made.stop = end
        reason = self._reason(scenario, clauses)
        if reason:
            made.status, made.statusDetails = Status.SKIPPED, StatusDetails(message=reason)
            bad = next((clause for clause in clauses if clause.result in wording.BAD), None)
            if bad is not None and scenario is None:
                said = _judged([bad])
                made.status = results.STATUS.get(bad.result, Status.UNKNOWN)
                made.statusDetails = StatusDetails(message=results.message(said, results.kind_of(said, by_gate=False)))
        else:
            said = {"result": "ERROR", "reason": UNREPORTED, "remedy": "find out why the run left it out"}
            made.status = Status.FAILED
            made.statusDetails = StatusDetails(message=results.message(said, results.HARNESS))
        made.steps = results.not_reached(results.planned_steps(scenario), end)
        return results.document(made)

    def _reason(self, scenario: PlannedScenario | None, clauses: list[ClauseView]) -> str:
        """Return why something was not performed, as the record says it; empty when it does not say."""
        names = {clause.id for clause in clauses}
        ends = [line.data for line in self.record.events("clause_finished") if line.clause in names]
        if scenario is not None:
            own = [data for data in ends if data.get("scenario") == scenario.name]
            general = [data for data in ends if not data.get("scenario")]
            ends = own or general
        if ends:
            return str(ends[-1].get("reason") or "no reason is recorded")
        if not self.record.verdict:
            return "the run ended before it"
        # A clause that nothing is built for, and that no line tells of, has its reason in the plan.
        return clauses[0].reason if scenario is None and clauses and clauses[0].kind else ""


# -- the journal -------------------------------------------------------------------------------------------------------


def _performances(lines: Iterable[Line]) -> tuple[list[_Performance], list[_Kept]]:
    """Return what was performed, in order, and what was kept."""
    attempt = _Attempt(number=0, procedure="run")
    found: list[_Performance] = []
    kept: list[_Kept] = []
    current: _Performance | None = None
    for line in lines:
        if line.event in BEGINNINGS:
            procedure = str(line.data.get("procedure") or "run") if line.event == RESUMED else "run"
            attempt, current = _Attempt(number=attempt.number + 1, procedure=procedure), None
        elif line.event == "clause_kept":
            kept.append(_Kept(attempt=attempt, line=line))
        elif line.event == "clause_started":
            scenario = str(line.data.get("scenario") or "")
            if current is not None and current.scenario == scenario and not current.lines:
                current.clauses.append(line.clause)
            else:
                current = _Performance(
                    attempt=attempt, scenario=scenario, clauses=[line.clause], started=line, last=line
                )
                found.append(current)
        elif current is not None:
            current.last = line
            if line.clause in current.clauses and line.event in {"step", "command", "gate", "clause_finished"}:
                current.lines.append(line)
                if line.event == "clause_finished" and _is_over(current):
                    current = None
    return found, kept


def _is_over(performance: _Performance) -> bool:
    ended = {line.clause for line in performance.lines if line.event == "clause_finished"}
    return ended >= set(performance.clauses)


def _judged(clauses: list[ClauseView]) -> dict[str, Any]:
    """Return the verdict's words on the worst of some clauses."""
    worst = max(clauses, key=lambda clause: _severity(clause.result))
    words = {"reason": worst.reason, "cause": worst.cause, "seen": worst.seen, "remedy": worst.remedy}
    return {"result": worst.result, **{name: text for name, text in words.items() if text}}


def _severity(result: object) -> int:
    try:
        return Result(str(result)).severity
    except ValueError:
        return len(Result)


def _failed(performance: _Performance) -> str:
    said = performance.said
    status: str = results.STATUS.get(str(said.get("result")), Status.UNKNOWN) if said else Status.BROKEN
    return status if status not in {Status.PASSED, Status.SKIPPED} else Status.BROKEN


def _came_to(performance: _Performance) -> str:
    said = performance.said
    number = performance.attempt.number
    return f"it was {said.get('result')} in attempt {number}" if said else f"attempt {number} was broken off here"


def _note(text: str, at_ms: int) -> dict[str, Any]:
    return {"name": f"{_NOTE}{text}", "status": Status.PASSED, "stage": "finished", "start": at_ms, "stop": at_ms}


def _ms(line: Line) -> int:
    return int(line.time.timestamp() * 1000)


def _sources(made: Mapping[str, Any]) -> Iterator[str]:
    """Yield the attachments of a result and of its steps."""
    yield from (str(one["source"]) for one in made.get("attachments", ()))
    for step in made.get("steps", ()):
        yield from _sources(step)
