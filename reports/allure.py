"""allure-results/: the scenarios for QA's tools, watched through pytest-bdd's hooks, joined with the record at the end.

allure-pytest's own listener is left alone: it has no labels for a scenario that was skipped, no steps after a failure,
and shows an outline's values as pytest-bdd's inner parameter. The results are written in the end, when every clause has
its result.
Invariants: every clause of the record has a result, those without a scenario too; no result says anything else than
verdict.json; nothing is read from outside of the record but the scenarios themselves.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from allure_commons.model2 import Attachment, Label, Link, Parameter, Status, StatusDetails, TestResult, TestStepResult
from allure_commons.types import LinkType, Severity
from pytest_bdd.scenario import scenario_wrapper_template_registry

from cutover import errors
from cutover.model import CLAUSE_TAG_PREFIX, clause_tag
from cutover.redaction import Redactor
from reports import record as records
from reports import wording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from _pytest._code.code import Traceback
    from pytest_bdd.parser import Feature, Scenario, Step

    from reports.record import ClauseView, Record

FOLDER = "allure-results"
_STATUS = {"PASS": Status.PASSED, "FAIL": Status.FAILED, "ERROR": Status.BROKEN, "NOT_RUN": Status.SKIPPED}
"""INCONCLUSIVE, and anything else, is Allure's `unknown`."""
_CRITICAL_PHASES = frozenset({"3", "evidence", "rollback"})
_LARGEST_ATTACHMENT_BYTES = 1_000_000
_TYPES = {".json": "application/json", ".jsonl": "text/plain", ".txt": "text/plain", ".diff": "text/plain"}


@dataclass(slots=True, kw_only=True)
class _Step:
    """A step as it ran."""

    name: str
    start_ms: int
    stop_ms: int = 0
    status: str = Status.SKIPPED
    """Skipped until it ends: pytest-bdd tells nobody of a step that a skip cut short."""
    parameters: dict[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(slots=True, kw_only=True)
class _Scenario:
    """A scenario as pytest-bdd ran it, or would have."""

    feature: str
    description: str
    rule: str
    name: str
    outline: str
    """Its title before the values of an outline are put in."""
    place: str
    """Its file, relative to the features' folder, without the ending."""
    tags: frozenset[str]
    values: dict[str, str]
    planned: tuple[str, ...]
    """Every step's text."""
    steps: list[_Step] = field(default_factory=list)
    start_ms: int = 0
    stop_ms: int = 0
    trace: str = ""


class Collector:
    """Watches one run's scenarios."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Take what must not be written: texts of errors have not gone through the journal."""
        self._redactor = Redactor(secrets)
        self._scenarios: list[_Scenario] = []
        self._current: _Scenario | None = None

    # -- while the run goes on -----------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:  # noqa: ANN401  # pytest's own generator protocol
        """Open and close a scenario."""
        self._current = _scenario(item)
        if self._current is not None:
            self._current.start_ms = _now_ms()
            self._scenarios.append(self._current)
        try:
            return (yield)
        finally:
            if self._current is not None:
                self._current.stop_ms = _now_ms()
            self._current = None

    def pytest_bdd_before_step(self, step: Step) -> None:
        """Open a step."""
        if self._current is not None:
            self._current.steps.append(_Step(name=_text(step), start_ms=_now_ms()))

    def pytest_bdd_after_step(self, step_func_args: Mapping[str, object]) -> None:
        """Close a step that passed."""
        del step_func_args
        self._close(Status.PASSED)

    def pytest_bdd_step_error(self, exception: Exception) -> None:
        """Close a step that failed."""
        self._close(_STATUS.get(errors.result_of(exception), Status.UNKNOWN), str(exception))

    def pytest_bdd_before_step_call(self, step: Step, step_func_args: Mapping[str, object]) -> None:
        """Keep the values that a step takes from its sentence or the outline."""
        if self._current is not None and self._current.steps:
            values = {name: value for name, value in step_func_args.items() if isinstance(value, str | int | float)}
            self._current.steps[-1].parameters = {
                name: self._redacted(str(value)) for name, value in values.items() if str(value) in step.name
            }

    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        """Keep the first error of a scenario, as a reader of code wants it."""
        if self._current is None or call.excinfo is None or self._current.trace:
            return
        if not isinstance(call.excinfo.value, pytest.skip.Exception):
            shown = call.excinfo.getrepr(style="short", tbfilter=_own_frames)
            self._current.trace = self._redacted(str(shown))

    def _close(self, status: str, error: str = "") -> None:
        if self._current is not None and self._current.steps:
            step = self._current.steps[-1]
            step.stop_ms, step.status, step.error = _now_ms(), status, self._redacted(error)

    def _redacted(self, text: str) -> str:
        return self._redactor.redact(text)

    # -- when the record is complete -----------------------------------------------------------------------------------

    def write(self, folder: Path) -> None:
        """Write the results of a finished record. Raises OSError when they cannot be written."""
        record = records.read(folder)
        write = _writer(folder / FOLDER)
        reported: set[str] = set()
        for scenario in self._scenarios:
            clauses = [clause for clause in record.clauses if clause_tag(clause.id) in scenario.tags]
            reported |= {clause.id for clause in clauses}
            write(_result(record, clauses, scenario))
        for clause in record.clauses:
            if clause.id not in reported:
                write(_result(record, [clause], None))
        _write_environment(record, folder / FOLDER)


def _writer(folder: Path) -> Callable[[TestResult], None]:
    """Return what writes one result into an emptied folder."""
    from allure_commons.logger import AllureFileLogger  # noqa: PLC0415  # it imports a plug-in manager of its own

    logger = AllureFileLogger(str(folder), clean=True)  # type: ignore[no-untyped-call]  # it ships no types

    def write(result: TestResult) -> None:
        logger.report_result(result)  # type: ignore[no-untyped-call]

    return write


def _scenario(item: pytest.Item) -> _Scenario | None:
    """Return the scenario that an item runs, its values put in, or None when it is none."""
    template = scenario_wrapper_template_registry.get(getattr(item, "function", None))  # type: ignore[arg-type]
    if template is None:
        return None
    callspec = getattr(item, "callspec", None)
    values: dict[str, str] = callspec.params.get("_pytest_bdd_example", {}) if callspec else {}
    scenario: Scenario = template.render(values)
    feature: Feature = scenario.feature
    return _Scenario(
        feature=feature.name or "",
        description=feature.description or "",
        rule=template.rule.name if template.rule is not None else "",
        name=scenario.name,
        outline=template.name,
        place=str(Path(feature.rel_filename or feature.filename).with_suffix("")),
        tags=frozenset(mark.name for mark in item.iter_markers()),
        values={name: str(value) for name, value in values.items()},
        planned=tuple(_text(step) for step in scenario.steps),
    )


def _own_frames(error: pytest.ExceptionInfo[BaseException]) -> Traceback:
    """Return the frames of the project; all of them when the error is not of its making."""
    own = error.traceback.filter(lambda entry: "site-packages" not in Path(entry.path).parts)
    return own or error.traceback


def _text(step: Step) -> str:
    return f"{step.keyword.strip()} {step.name}"


def _now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


# -- results -----------------------------------------------------------------------------------------------------------


def _result(record: Record, clauses: list[ClauseView], scenario: _Scenario | None) -> TestResult:
    worst = next((c for name in (*wording.BAD, "PASS", "NOT_RUN") for c in clauses if c.result == name), None)
    start_ms, stop_ms = _times(record, scenario)
    ids = [clause.id for clause in clauses]
    title = scenario.name if scenario is not None else (worst.title if worst is not None else "")
    full_name = f"{scenario.place}#{scenario.outline}" if scenario is not None else f"clause#{' '.join(ids)}"
    made = TestResult(
        uuid=_digest("result", record.id, full_name, *ids)[:32],
        name=f"{' '.join(ids)} {title}".strip(),
        fullName=full_name,
        testCaseId=_digest(full_name),
        historyId=_digest(full_name, *ids),
        status=_STATUS.get(worst.result, Status.UNKNOWN) if worst is not None else Status.UNKNOWN,
        stage="finished",
        start=start_ms,
        stop=stop_ms,
        description=_description(clauses, scenario),
        labels=list(_labels(record, clauses, scenario)),
        links=[_link(clause) for clause in clauses],
    )
    if worst is not None and worst.result != "PASS":
        parts = (("cause", worst.cause), ("seen", worst.seen), ("next", worst.remedy))
        message = "\n".join([worst.reason, *(f"{name}: {text}" for name, text in parts if text)])
        made.statusDetails = StatusDetails(message=message, trace=scenario.trace or None if scenario else None)
    if scenario is not None:
        made.titlePath = [*Path(scenario.place).parts]
        made.parameters = [Parameter(name=name, value=value) for name, value in scenario.values.items()]
        made.steps = list(_steps(scenario))
    made.attachments = list(_attachments(record, clauses))
    return made


def _times(record: Record, scenario: _Scenario | None) -> tuple[int, int]:
    """Return start and end; a clause without a scenario is dated to the record's end, and took no time."""
    if scenario is not None:
        return scenario.start_ms, scenario.stop_ms
    end = int(record.finished.timestamp() * 1000) if record.finished is not None else 0
    return end, end


def _steps(scenario: _Scenario) -> Iterable[TestStepResult]:
    for step in scenario.steps:
        made = TestStepResult(
            name=step.name,
            status=step.status,
            stage="finished",
            start=step.start_ms,
            stop=step.stop_ms or step.start_ms,
        )
        made.parameters = [Parameter(name=name, value=value) for name, value in step.parameters.items()]
        if step.error:
            made.statusDetails = StatusDetails(message=step.error)
        yield made
    for name in scenario.planned[len(scenario.steps) :]:
        yield TestStepResult(
            name=name, status=Status.SKIPPED, stage="finished", start=scenario.stop_ms, stop=scenario.stop_ms
        )


def _description(clauses: list[ClauseView], scenario: _Scenario | None) -> str:
    lines = [f"**{clause.id}** {clause.title}. Independent check: {clause.check or 'none'}." for clause in clauses]
    return "\n\n".join([scenario.description, *lines] if scenario is not None and scenario.description else lines)


def _labels(record: Record, clauses: list[ClauseView], scenario: _Scenario | None) -> Iterable[Label]:
    phase = wording.phase(clauses[0].phase) if clauses else "Other"
    feature = scenario.feature if scenario is not None else phase
    yield Label(name="epic", value=phase)
    yield Label(name="feature", value=feature)
    yield Label(name="parentSuite", value=phase)
    yield Label(name="suite", value=feature)
    if scenario is not None:
        yield Label(name="story", value=scenario.rule or scenario.outline)
        if scenario.rule:
            yield Label(name="rule", value=scenario.rule)
            yield Label(name="subSuite", value=scenario.rule)
    yield Label(name="phase", value=clauses[0].phase if clauses else "other")
    for clause in clauses:
        yield Label(name="clause", value=clause.id)
    yield Label(name="severity", value=_severity(clauses).value)
    yield Label(name="framework", value="pytest-bdd")
    yield Label(name="language", value="python")
    yield Label(name="host", value=record.target_name or "unknown")
    tags = scenario.tags if scenario is not None else {clause_tag(clause.id) for clause in clauses}
    for tag in sorted(tags):
        if tag.startswith((CLAUSE_TAG_PREFIX, "phase_")) or tag in _KEPT_TAGS:
            yield Label(name="tag", value=tag)


_KEPT_TAGS = frozenset({"evidence", "rollback", "reversible", "compensable", "irreversible", "gradual", "instant"})


def _severity(clauses: list[ClauseView]) -> Severity:
    """Return how bad a failure would be: what cannot be undone blocks, what users would feel is critical."""
    if any(clause.risk == "irreversible" for clause in clauses):
        return Severity.BLOCKER
    if any(clause.phase in _CRITICAL_PHASES for clause in clauses):
        return Severity.CRITICAL
    return Severity.NORMAL


def _link(clause: ClauseView) -> Link:
    """Return the way to the clause's row, and with it to the guide's section, in the record's own page."""
    name = f"{clause.id} · guide: {clause.guide}" if clause.guide else clause.id
    return Link(type=LinkType.TEST_CASE, url=f"../report.html#{clause.anchor}", name=name)


def _attachments(record: Record, clauses: list[ClauseView]) -> Iterable[Attachment]:
    """Copy what the clauses' results rest on, and their gate measurements, beside the results."""
    folder = record.folder / FOLDER
    for name in dict.fromkeys(path for clause in clauses for path in clause.links):
        source = record.folder / name
        kind = _TYPES.get(source.suffix)
        if kind is None or name == "gates/samples.jsonl" or source.stat().st_size > _LARGEST_ATTACHMENT_BYTES:
            continue
        stored = f"{_digest('attachment', name)[:32]}-attachment{source.suffix}"
        shutil.copyfile(source, folder / stored)
        yield Attachment(name=source.name, source=stored, type=kind)
    for clause in clauses:
        gates = [gate for gate in record.gates if gate.clause == clause.id]
        if not gates:
            continue
        rows = ["time,gate,result,value,limit,unit,samples,weight"]
        rows += [
            f"{g.time.isoformat()},{g.name},{g.result},{_cell(g.value)},{_cell(g.limit)},{g.unit},{g.samples},{_cell(g.percent)}"
            for g in gates
        ]
        stored = f"{_digest('gates', clause.id)[:32]}-attachment.csv"
        (folder / stored).write_text("\n".join([*rows, ""]), "utf-8")
        yield Attachment(name=f"gate samples {clause.id}", source=stored, type="text/csv")


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _write_environment(record: Record, folder: Path) -> None:
    pairs = {
        "upgrade": record.id,
        "from": record.from_release,
        "to": record.to_release,
        "target": f"{record.target_name} ({record.target_kind})",
        "notice": record.notice,
        "strategy": record.strategy,
        "verdict": record.result,
        **record.versions,
    }
    lines = [f"{key}={' '.join(value.split())}" for key, value in pairs.items() if value]
    (folder / "environment.properties").write_text("\n".join([*lines, ""]), "utf-8")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
