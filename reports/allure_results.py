"""What a scenario, or a clause without one, is called in Allure's results, and how its result is put.

Used twice: while the run goes on, for the scenario that just ended, and in the end, for the whole record. Pure.
Invariants: a scenario has one test case and one history, whatever attempt or upgrade performed it; what belongs to one
attempt alone is in no identity.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
from allure_commons.model2 import Attachment, Label, Link, Parameter, Status, TestResult, TestStepResult
from allure_commons.types import LinkType, Severity

from cutover.model import CLAUSE_TAG_PREFIX, Result, clause_tag
from reports import build, wording

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from cutover.runbook.inventory import PlannedScenario

FOLDER: Final = "allure-results"
LARGEST_ATTACHMENT_BYTES: Final = 1_000_000
GATE_COLUMNS: Final = ("time", "gate", "result", "value", "limit", "unit", "samples", "weight")
STATUS: Final = {
    Result.PASS.value: Status.PASSED,
    Result.FAIL.value: Status.FAILED,
    Result.ERROR.value: Status.BROKEN,
    Result.NOT_RUN.value: Status.SKIPPED,
}
"""INCONCLUSIVE, and anything else, is Allure's `unknown`."""
FRAMEWORK: Final = "pytest-bdd"
_CRITICAL_PHASES = frozenset({"3", "evidence", "rollback"})
_KEPT_TAGS = frozenset({"evidence", "rollback", "reversible", "compensable", "irreversible", "gradual", "instant"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Whose results they are."""

    record_id: str
    site: str
    """The target's name."""


class Stated(Protocol):
    """A clause, of the catalogue or of a record."""

    @property
    def id(self) -> str:
        """The clause's number: 3.1a."""

    @property
    def title(self) -> str:
        """What it says."""

    @property
    def phase(self) -> str:
        """The phase it belongs to."""

    @property
    def guide(self) -> str:
        """The guide's section."""

    @property
    def check(self) -> str:
        """What is observed independently."""

    @property
    def risk(self) -> str:
        """How its change is taken back."""


# -- identity ----------------------------------------------------------------------------------------------------------


def full_name(planned: PlannedScenario | None, clauses: Sequence[Stated]) -> str:
    """Return the name that is the same in every upgrade: the scenario's place and title, or the clauses'."""
    if planned is None:
        return f"clause#{' '.join(clause.id for clause in clauses)}"
    return f"{place(planned)}#{planned.template}"


def place(planned: PlannedScenario) -> str:
    """Return a scenario's feature, relative to the features' folder: 30_cutover/gradual."""
    return f"{planned.path.parent.name}/{planned.path.stem}"


def identity(book: Book, planned: PlannedScenario | None, clauses: Sequence[Stated], attempt: int) -> str:
    """Return the name of one result's file: one of each attempt that performed it, attempt 0 for none."""
    ids = [clause.id for clause in clauses]
    values = [value for _, value in planned.values] if planned is not None else []
    return digest("result", book.record_id, full_name(planned, clauses), *ids, *values, str(attempt))[:32]


def described(
    book: Book, planned: PlannedScenario | None, clauses: Sequence[Stated], *, title: str = "", attempt: int
) -> TestResult:
    """Return a result that has everything but what came of it: names, text, labels, links and parameters.

    title: of what has no scenario. attempt: that performed it, 0 when none did.
    """
    ids = [clause.id for clause in clauses]
    name = planned.name if planned is not None else title
    known_by = full_name(planned, clauses)
    values = planned.values if planned is not None else ()
    return TestResult(
        uuid=identity(book, planned, clauses, attempt),
        name=f"{' '.join(ids)} {name}".strip(),
        fullName=known_by,
        testCaseId=digest(known_by),
        historyId=digest(known_by, *ids, *(value for _, value in values)),
        stage="finished",
        description=_description(planned, clauses),
        labels=list(_labels(book, planned, clauses, attempt)),
        links=[_link(clause) for clause in clauses],
        titlePath=place(planned).split("/") if planned is not None else ["clauses"],
        parameters=[Parameter(name=name, value=value) for name, value in values],
    )


def planned_steps(planned: PlannedScenario | None) -> tuple[str, ...]:
    """Return every step's text as it is written, the background's first."""
    return tuple(f"{s.keyword} {s.text}" for s in (*planned.background, *planned.steps)) if planned is not None else ()


def _description(planned: PlannedScenario | None, clauses: Sequence[Stated]) -> str:
    lines = [f"**{clause.id}** {clause.title}. Independent check: {clause.check or 'none'}." for clause in clauses]
    return "\n\n".join([planned.description, *lines] if planned is not None and planned.description else lines)


def _labels(book: Book, planned: PlannedScenario | None, clauses: Sequence[Stated], attempt: int) -> Iterable[Label]:
    phase = wording.phase(clauses[0].phase) if clauses else "Other"
    feature = planned.feature if planned is not None else phase
    yield Label(name="epic", value=phase)
    yield Label(name="feature", value=feature)
    yield Label(name="parentSuite", value=phase)
    yield Label(name="suite", value=feature)
    if planned is not None:
        yield Label(name="story", value=planned.rule or planned.template)
        if planned.rule:
            yield Label(name="rule", value=planned.rule)
            yield Label(name="subSuite", value=planned.rule)
    yield Label(name="phase", value=clauses[0].phase if clauses else "other")
    for clause in clauses:
        yield Label(name="clause", value=clause.id)
    yield Label(name="severity", value=_severity(clauses).value)
    yield Label(name="framework", value=FRAMEWORK)
    yield Label(name="language", value="python")
    yield Label(name="host", value=book.site or "unknown")
    if attempt:
        yield Label(name="attempt", value=str(attempt))
    tags = planned.tags if planned is not None else {clause_tag(clause.id) for clause in clauses}
    for tag in sorted(tags):
        if tag.startswith((CLAUSE_TAG_PREFIX, "phase_")) or tag in _KEPT_TAGS:
            yield Label(name="tag", value=tag)


def _severity(clauses: Sequence[Stated]) -> Severity:
    """Return how bad a failure would be: what cannot be undone blocks, what users would feel is critical."""
    if any(clause.risk == "irreversible" for clause in clauses):
        return Severity.BLOCKER
    if any(clause.phase in _CRITICAL_PHASES for clause in clauses):
        return Severity.CRITICAL
    return Severity.NORMAL


def _link(clause: Stated) -> Link:
    """Return the way to the clause's row, and with it to the guide's section, in the record's own page."""
    anchor = "clause-" + clause.id.lower().replace(".", "-")
    name = f"{clause.id} · guide: {clause.guide}" if clause.guide else clause.id
    return Link(type=LinkType.TEST_CASE, url=f"../report.html#{anchor}", name=name)


# -- what came of it ---------------------------------------------------------------------------------------------------

PRODUCT, GATE, ENVIRONMENT, HARNESS, BROKEN_OFF = "product", "gate", "environment", "harness", "broken off"
KINDS: Final = {
    PRODUCT: "Product defect: the release or the platform does not do what the clause asks",
    GATE: "Gate: green did worse than the policy allows",
    ENVIRONMENT: "Environment: the site or a source could not be asked, or did not tell enough",
    HARNESS: "Harness: a defect of the runbook's own code, or a scenario that nobody ran",
    BROKEN_OFF: "Broken off: the process ended in the middle, and a later attempt or a person went on",
}
"""The kinds of results that did not pass, with what QA reads."""
_KIND_LINE = "kind: "


def kind_of(said: Mapping[str, Any], *, by_gate: bool) -> str:
    """Return which kind of failure it is. said: the facts of `clause_finished`; by_gate: a gate of the clause failed.

    Empty for what passed or was not run.
    """
    result, code = str(said.get("result", "")), str(said.get("code", ""))
    if result in {Result.PASS, Result.NOT_RUN}:
        return ""
    if code == "fault" or str(said.get("reason", "")).startswith("fault of the harness"):
        return HARNESS
    if by_gate or code.startswith("gate"):
        return GATE
    return PRODUCT if result == Result.FAIL else ENVIRONMENT


def message(said: Mapping[str, Any], kind: str) -> str:
    """Return why something did not pass, as QA reads it, its kind in the last line."""
    parts = (("cause", said.get("cause")), ("seen", said.get("seen")), ("next", said.get("remedy")))
    lines = [str(said.get("reason") or "no reason is recorded"), *(f"{name}: {text}" for name, text in parts if text)]
    return "\n".join([*lines, f"{_KIND_LINE}{kind}"] if kind else lines)


def categories() -> list[dict[str, Any]]:
    """Return Allure's categories.json: results by kind, found by the last line of their message."""
    return [
        {
            "name": title,
            "messageRegex": rf"^[\s\S]*\n{_KIND_LINE}{kind}\s*$",
            "matchedStatuses": [Status.FAILED, Status.BROKEN, Status.UNKNOWN],
        }
        for kind, title in KINDS.items()
    ]


def not_reached(texts: Iterable[str], stop_ms: int | None) -> list[TestStepResult]:
    """Return the steps that a scenario did not get to."""
    return [
        TestStepResult(name=text, status=Status.SKIPPED, stage="finished", start=stop_ms, stop=stop_ms)
        for text in texts
    ]


def gate_table(gates: Iterable[Mapping[str, Any]]) -> str:
    """Return gate measurements as CSV, with the journal's own fields."""
    rows = [",".join(GATE_COLUMNS)]
    for gate in gates:
        cells = (*(gate.get(name) for name in ("time", "name", "result", "value", "limit", "unit", "samples")),)
        rows.append(",".join(_cell(cell) for cell in (*cells, gate.get("percent"))))
    return "\n".join([*rows, ""])


def _cell(value: object) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def document(result: TestResult | Attachment) -> dict[str, Any]:
    """Return a result in JSON's own types, as Allure's readers take it."""
    found: dict[str, Any] = attrs.asdict(result, filter=lambda _, value: bool(value) or value is False)
    return found


def digest(*parts: str) -> str:
    """Return the SHA-256 of some texts, in hex."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


# -- files -----------------------------------------------------------------------------------------------------------


def write_json(path: Path, document: object) -> None:
    """Write a file of the results so that it is never seen half written. Raises OSError."""
    build.write(path, (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode())


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results of a folder by their names; what cannot be read is left out."""
    found = {}
    for path in sorted(folder.glob("*-result.json")):
        try:
            document = json.loads(path.read_bytes())
        except (ValueError, OSError):
            continue
        if isinstance(document, dict) and isinstance(document.get("uuid"), str):
            found[document["uuid"]] = document
    return found
