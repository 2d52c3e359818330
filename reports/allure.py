"""allure-results/ while the run goes on: allure-pytest's listener, driven from pytest-bdd's hooks.

The listener keeps the tree of test, steps and attachments, and ends each scenario's result; this module opens and
closes the steps, gives them their parameters and what was run in them, and writes the result once the journal has the
clause's. So a killed run leaves the results of what it performed; `reports.allure_record` completes them in the end.
Invariants: nothing here can break the run, what goes wrong is kept in `problem`; no secret is written; a result never
says anything else than the journal.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import allure
import allure_commons
import pytest
from allure_commons.logger import AllureFileLogger
from allure_commons.model2 import Parameter, Status, StatusDetails, TestResult, TestStepResult
from allure_commons.types import AttachmentType
from allure_pytest.listener import AllureListener
from pytest_bdd.scenario import scenario_wrapper_template_registry

from cutover import errors
from cutover.model import Result
from cutover.redaction import Redactor
from cutover.runbook.attempts import BEGINNINGS
from reports import allure_results as results

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from _pytest._code.code import Traceback
    from pytest_bdd.parser import Scenario, Step

    from cutover.model import Clause
    from cutover.runbook.catalogue import Catalogue
    from cutover.runbook.inventory import PlannedScenario
    from cutover.runbook.journal import Entry
    from cutover.runbook.upgrade import Upgrade

_HEARD = frozenset({"command", "gate", "clause_finished", "clause_kept"})
_GUARDED = (
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_runtest_call",
    "pytest_runtest_teardown",
    "pytest_runtest_makereport",
    "pytest_runtest_logfinish",
)


# -- allure-pytest, tamed ----------------------------------------------------------------------------------------------


def _guarded(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook wrapper of the listener that cannot break what it wraps."""

    @functools.wraps(hook)
    def wrapper(self: Listener, *args: object, **names: object) -> Generator[None, object, None]:
        inner: Any = hook(self, *args, **names)
        try:
            next(inner)
        except Exception as problem:  # noqa: BLE001  # see the module's invariant
            self.note(problem)
            inner = None
        outcome = yield
        if inner is None:
            return
        try:
            inner.send(outcome)
        except StopIteration:
            pass
        except Exception as problem:  # noqa: BLE001  # the same
            self.note(problem)

    return wrapper


class Listener(AllureListener):  # type: ignore[misc]  # it ships no types
    """allure-pytest's listener without what it makes of fixtures, and unable to break the run.

    For a fixture it would replace the finalizers by its own, and write its traceback as it is.
    """

    pytest_fixture_setup = None
    pytest_fixture_post_finalizer = None

    def __init__(self, config: pytest.Config, note: Callable[[Exception], None]) -> None:
        """Take what hears of a defect."""
        super().__init__(config)
        self.note = note

    def _update_fixtures_children(self, item: pytest.Item) -> None:
        """Fixtures have no containers here."""


for _name in _GUARDED:
    setattr(Listener, _name, _guarded(getattr(AllureListener, _name)))


class Keeper(AllureFileLogger):
    """Writes attachments redacted, and holds a result back until the journal has the clause's."""

    def __init__(self, folder: Path, redactor: Redactor) -> None:
        """Take the folder, which may hold the results of earlier attempts."""
        super().__init__(str(folder))  # type: ignore[no-untyped-call]  # it ships no types
        self._folder = folder
        self._redactor = redactor
        self._held: TestResult | None = None

    def take(self) -> TestResult | None:
        """Return the result that ended last, once."""
        held, self._held = self._held, None
        return held

    def write(self, result: TestResult) -> None:
        """Write a result. Raises OSError."""
        results.write_json(
            self._folder / f"{result.uuid}-result.json", self._redactor.redact_all(results.document(result))
        )

    @allure_commons.hookimpl
    def report_result(self, result: TestResult) -> None:
        """Hold a result back."""
        self._held = result

    @allure_commons.hookimpl
    def report_container(self, container: object) -> None:
        """Write no fixtures."""

    @allure_commons.hookimpl
    def report_attached_data(self, body: str | bytes, file_name: str) -> None:
        """Write an attachment; of text, what is secret is masked."""
        if isinstance(body, str):
            body = self._redactor.redact(body).encode("utf-8", "replace")
        (self._folder / file_name).write_bytes(body)

    @allure_commons.hookimpl
    def report_attached_file(self, source: str, file_name: str) -> None:
        """Write a text file as an attachment, what is secret masked."""
        text = Path(source).read_text("utf-8", "replace")
        (self._folder / file_name).write_text(self._redactor.redact(text), "utf-8")


# -- the driver --------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Running:
    """The scenario that runs."""

    planned: PlannedScenario
    clauses: tuple[Clause, ...]
    heard: list[Entry] = field(default_factory=list)
    """What the journal said of it."""
    attached: int = 0
    """How many of them belong to steps that are over."""
    begun: int = 0
    """Steps."""
    step: Any = None
    """Allure's context of the step that runs."""
    trace: str = ""


class Collector:
    """Watches one run's scenarios; a plug-in of pytest."""

    def __init__(
        self,
        *,
        book: results.Book,
        folder: Path,
        attempt: int,
        catalogue: Catalogue,
        planned: Sequence[PlannedScenario],
        secrets: Iterable[str],
    ) -> None:
        """Take what the run knows. attempt: its number in the record, from 1."""
        self.planned = tuple(planned)
        self.problem = ""
        """The first thing that went wrong here; empty when nothing did."""
        self._book = book
        self._folder = folder
        self._attempt = attempt
        self._catalogue = catalogue
        self._redactor = Redactor(secrets)
        self._running: _Running | None = None
        self._keeper: Keeper | None = None
        self._listener: Listener | None = None

    @staticmethod
    def begin(
        config: pytest.Config, upgrade: Upgrade, *, catalogue: Catalogue, planned: Sequence[PlannedScenario]
    ) -> Collector:
        """Begin to watch a run, which has its record and journal. Raises nothing: see `problem`."""
        entries = upgrade.journal.entries()
        collector = Collector(
            book=results.Book(record_id=upgrade.id, site=upgrade.target.name),
            folder=upgrade.folder,
            attempt=sum(entry.event in BEGINNINGS for entry in entries),
            catalogue=catalogue,
            planned=planned,
            secrets=upgrade.target.secrets(),
        )
        with collector._careful():
            collector._connect(config)
            upgrade.journal.listen(collector.hear)
        return collector

    def _connect(self, config: pytest.Config) -> None:
        """Put allure-pytest's listener, what writes for it, and this driver into their places.

        The driver is registered last, so that it is around both the listener and the run: when it ends a scenario, the
        listener has its result and the journal the clause's.
        """
        config.option.attach_capture = False  # the transcripts say it, redacted
        self._keeper = Keeper(self._folder / results.FOLDER, self._redactor)
        self._listener = Listener(config, self._note)
        for plugin in (self._keeper, self._listener):
            allure_commons.plugin_manager.register(plugin)
            config.add_cleanup(functools.partial(allure_commons.plugin_manager.unregister, plugin))
        config.pluginmanager.register(self._listener, "cutover-allure-listener")
        config.pluginmanager.register(self, "cutover-allure")

    # -- scenarios -----------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:  # noqa: ANN401  # pytest's own generator protocol
        """Open and close a scenario."""
        with self._careful():
            self._running = self._of(item)
        try:
            return (yield)
        finally:
            running, self._running = self._running, None
            with self._careful():
                self._finish(running)

    def _of(self, item: pytest.Item) -> _Running | None:
        """Return the scenario that an item runs, or None when it is none."""
        template = scenario_wrapper_template_registry.get(getattr(item, "function", None))  # type: ignore[arg-type]
        if template is None:
            return None
        callspec = getattr(item, "callspec", None)
        scenario: Scenario = template.render(callspec.params.get("_pytest_bdd_example", {}) if callspec else {})
        wanted = Path(scenario.feature.filename).resolve(), scenario.name
        planned = next(one for one in self.planned if (one.path.resolve(), one.name) == wanted)
        return _Running(planned=planned, clauses=self._catalogue.tagged(planned.tags))

    def _finish(self, running: _Running | None) -> None:
        """Write the result of a scenario that is over; of one that an earlier attempt performed, nothing."""
        held = self._keeper.take() if self._keeper is not None else None
        if running is None or held is None or self._keeper is None:
            return
        self._close_step(running, Status.SKIPPED)
        if any(entry.event == "clause_kept" for entry in running.heard):
            return
        said = _worst(running.heard)
        performed = running.begun > 0 or (said is not None and said.get("result") != Result.NOT_RUN)
        made = results.described(
            self._book, running.planned, running.clauses, attempt=self._attempt if performed else 0
        )
        made.start, made.stop = held.start, held.stop
        made.steps, made.attachments = held.steps, held.attachments
        made.steps += results.not_reached(results.planned_steps(running.planned)[running.begun :], held.stop)
        made.status = held.status
        if said is not None:
            made.status = results.STATUS.get(str(said.get("result")), Status.UNKNOWN)
            kind = results.kind_of(said, by_gate=_failed_gate(running.heard))
            if made.status != Status.PASSED:
                made.statusDetails = StatusDetails(message=results.message(said, kind), trace=running.trace or None)
        self._keeper.write(made)

    # -- steps ---------------------------------------------------------------------------------------------------------

    def pytest_bdd_before_step(self, step: Step) -> None:
        """Open a step."""
        with self._careful():
            if self._running is not None:
                self._close_step(self._running, Status.SKIPPED)
                self._running.begun += 1
                self._running.step = allure.step(f"{step.keyword.strip()} {step.name}")
                self._running.step.__enter__()

    def pytest_bdd_before_step_call(self, step: Step, step_func_args: Mapping[str, object]) -> None:
        """Keep the values that a step takes from its sentence or the outline."""
        with self._careful():
            made = self._step(self._running)
            if made is not None:
                values = {name: value for name, value in step_func_args.items() if isinstance(value, str | int | float)}
                made.parameters = [
                    Parameter(name=name, value=str(value)) for name, value in values.items() if str(value) in step.name
                ]

    def pytest_bdd_after_step(self, step_func_args: Mapping[str, object]) -> None:
        """Close a step that passed."""
        del step_func_args
        with self._careful():
            self._close_step(self._running, Status.PASSED)

    def pytest_bdd_step_error(self, exception: Exception) -> None:
        """Close a step that failed."""
        with self._careful():
            status = results.STATUS.get(errors.result_of(exception), Status.UNKNOWN)
            self._close_step(self._running, status, str(exception))

    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        """Keep the first error of a scenario, as a reader of code wants it, and close a step that a skip cut short."""
        with self._careful():
            running = self._running
            if running is None or call.excinfo is None:
                return
            skipped = isinstance(call.excinfo.value, pytest.skip.Exception)
            self._close_step(running, Status.SKIPPED if skipped else Status.BROKEN, str(call.excinfo.value))
            if not skipped and not running.trace:
                running.trace = str(call.excinfo.getrepr(style="short", tbfilter=_own_frames))

    def _step(self, running: _Running | None) -> TestStepResult | None:
        """Return what the listener has of the step that runs; None when none does."""
        if running is None or running.step is None or self._listener is None:
            return None
        made: TestStepResult | None = self._listener.allure_logger.get_item(running.step.uuid)
        return made

    def _close_step(self, running: _Running | None, status: str, error: str = "") -> None:
        """Close the step that runs, if one does, with everything that was run and measured in it."""
        made = self._step(running)
        if running is None or made is None:
            return
        self._attach(running)
        running.step.__exit__(None, None, None)
        running.step = None
        made.status, made.stage = status, "finished"
        made.statusDetails = StatusDetails(message=error) if error else None

    def _attach(self, running: _Running) -> None:
        """Attach to the step that runs what the journal said since the one before."""
        heard, running.attached = running.heard[running.attached :], len(running.heard)
        for entry in heard:
            name = str(entry.data.get("transcript") or "")
            path = self._folder / name
            if entry.event == "command" and name and path.is_file() and _is_small(path):
                allure.attach.file(  # type: ignore[no-untyped-call]  # it ships no types
                    str(path), name=path.name, attachment_type=AttachmentType.TEXT
                )
        gates = [{**entry.data, "time": entry.time.isoformat()} for entry in heard if entry.event == "gate"]
        if gates:
            allure.attach(results.gate_table(gates), name="gate samples", attachment_type=AttachmentType.CSV)

    # -- hearing -------------------------------------------------------------------------------------------------------

    def hear(self, entry: Entry) -> None:
        """Keep a line of the journal that belongs to the scenario that runs; a listener of the journal."""
        running = self._running
        if running is None or entry.seq < 0 or entry.event not in _HEARD:
            return
        if any(clause.id == entry.clause for clause in running.clauses):
            running.heard.append(entry)

    @contextlib.contextmanager
    def _careful(self) -> Iterator[None]:
        try:
            yield
        except Exception as problem:  # noqa: BLE001  # see the module's invariant
            self._note(problem)

    def _note(self, problem: Exception) -> None:
        text = self._redactor.redact(f"{type(problem).__name__}: {problem}")
        self.problem = self.problem or text.partition("\n")[0]


def _worst(heard: Sequence[Entry]) -> Mapping[str, Any] | None:
    """Return the facts of the worst end of a clause; None when none was written."""
    ends = [entry.data for entry in heard if entry.event == "clause_finished"]
    return max(ends, key=lambda data: Result(data["result"]).severity) if ends else None


def _failed_gate(heard: Sequence[Entry]) -> bool:
    return any(entry.event == "gate" and entry.data.get("result") in {"FAIL", "INCONCLUSIVE"} for entry in heard)


def _is_small(path: Path) -> bool:
    return path.stat().st_size <= results.LARGEST_ATTACHMENT_BYTES


def _own_frames(error: pytest.ExceptionInfo[BaseException]) -> Traceback:
    """Return the frames of the project; all of them when the error is not of its making."""
    own = error.traceback.filter(lambda entry: "site-packages" not in Path(entry.path).parts)
    return own or error.traceback
