"""The scenarios that the features hold, read with the official Gherkin parser, and what may be wrong with them.

The runner has its own parser, and silently drops a scenario whose title another one has; so what is planned is read
independently and reconciled with what is collected.
Invariant: nothing is run; a problem is one sentence that names file and line.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.errors import RunbookInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cutover.model import Clause
    from cutover.runbook.catalogue import Catalogue

_TECHNICAL = re.compile(
    r"\w+://|[{}\[\]]|\bkubectl\b|\bhelm\b|\bselector\b|(?:^|\s)--\w|\.ya?ml\b|\.json\b", re.IGNORECASE
)
"""What a feature in the operator's language does not say: URLs, JSON, command lines, selectors."""

_CONTEXT, _ACTION, _CONJUNCTION = "Context", "Action", "Conjunction"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step as written, with its outline's values filled in."""

    keyword: str
    kind: str
    """Gherkin's own: `Context` (Given), `Action` (When), `Outcome` (Then); And and But have the one before them."""
    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedScenario:
    """One scenario, or one row of an outline."""

    path: Path
    line: int
    feature: str
    rule: str
    name: str
    template: str
    """The title as written; of a plain scenario, its name."""
    tags: frozenset[str]
    """Without `@`; the feature's, the rule's and the Examples' included."""
    background: tuple[PlannedStep, ...]
    steps: tuple[PlannedStep, ...]
    description: str = ""
    """The feature's."""
    values: tuple[tuple[str, str], ...] = ()
    """Of a row of an outline, its columns with their values."""

    @property
    def where(self) -> str:
        """Folder, file and line, for a message."""
        return f"{self.path.parent.name}/{self.path.name}:{self.line}"


def read_features(folder: Path) -> tuple[PlannedScenario, ...]:
    """Return every scenario under `folder`, by path and line. Raises RunbookInvalid naming what cannot be parsed."""
    scenarios: list[PlannedScenario] = []
    for path in sorted(folder.rglob("*.feature")):
        scenarios += _read(path)
    return tuple(scenarios)


def _read(path: Path) -> Iterator[PlannedScenario]:
    from gherkin.errors import ParserError  # noqa: PLC0415  # not needed by `--help`
    from gherkin.parser import Parser  # noqa: PLC0415

    try:
        document = Parser().parse(path.read_text("utf-8"))
    except ParserError as problem:
        raise RunbookInvalid(f"{path} is not Gherkin", code="feature-unreadable", seen=str(problem)) from problem
    feature = document.get("feature")
    if feature is None:
        raise RunbookInvalid(f"{path} holds no feature", code="feature-empty")
    yield from _children(path, feature, feature["children"], tags=_tags(feature), rule="", background=())


def _children(
    path: Path,
    feature: Mapping[str, Any],
    children: Sequence[Mapping[str, Any]],
    *,
    tags: frozenset[str],
    rule: str,
    background: tuple[PlannedStep, ...],
) -> Iterator[PlannedScenario]:
    for child in children:
        if "background" in child:
            background += _steps(child["background"], {})
        elif "rule" in child:
            inner = child["rule"]
            yield from _children(
                path, feature, inner["children"], tags=tags | _tags(inner), rule=inner["name"], background=background
            )
        elif "scenario" in child:
            scenario = child["scenario"]
            for example_tags, values, line in _rows(scenario):
                yield PlannedScenario(
                    path=path,
                    line=line,
                    feature=feature["name"],
                    rule=rule,
                    name=_render(scenario["name"], values),
                    template=scenario["name"],
                    tags=tags | _tags(scenario) | example_tags,
                    background=background,
                    steps=_steps(scenario, values),
                    description=inspect.cleandoc(feature.get("description") or ""),
                    values=tuple(values.items()),
                )


def _rows(scenario: Mapping[str, Any]) -> Iterator[tuple[frozenset[str], Mapping[str, str], int]]:
    if not scenario["examples"]:
        yield frozenset(), {}, scenario["location"]["line"]
    for examples in scenario["examples"]:
        names = [cell["value"] for cell in examples.get("tableHeader", {}).get("cells", [])]
        for row in examples.get("tableBody", []):
            values = dict(zip(names, (cell["value"] for cell in row["cells"]), strict=True))
            yield _tags(examples), values, row["location"]["line"]


def _steps(owner: Mapping[str, Any], values: Mapping[str, str]) -> tuple[PlannedStep, ...]:
    steps: list[PlannedStep] = []
    kind = _CONTEXT
    for step in owner["steps"]:
        kind = kind if step["keywordType"] == _CONJUNCTION else step["keywordType"]
        steps.append(
            PlannedStep(
                keyword=step["keyword"].strip(),
                kind=kind,
                text=_render(step["text"], values),
                line=step["location"]["line"],
            )
        )
    return tuple(steps)


def _render(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    return text


def _tags(owner: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(tag["name"].removeprefix("@") for tag in owner.get("tags", ()))


def clauses_of(scenario: PlannedScenario, catalogue: Catalogue) -> tuple[Clause, ...]:
    """Return the clauses a scenario stands for, in the order of a run."""
    return catalogue.tagged(scenario.tags)


def problems(scenarios: Sequence[PlannedScenario], catalogue: Catalogue) -> list[str]:
    """Return everything that is wrong with the features as a set, each in one sentence; empty when nothing is."""
    known = catalogue.markers()
    found: list[str] = []
    covered: set[str] = set()
    for scenario in scenarios:
        unknown = sorted(scenario.tags - set(known))
        found += [f"{scenario.where}: the tag @{tag} is not registered" for tag in unknown]
        clauses = catalogue.tagged(scenario.tags & set(known))
        covered |= {clause.id for clause in clauses}
        if not clauses:
            found.append(f"{scenario.where}: {scenario.name!r} has no clause tag")
        found += [
            f"{scenario.where}: clause {clause.id} has a scenario and is said not to be built"
            for clause in clauses
            if not clause.built
        ]
        found += _language(scenario)
    found += [
        f"clause {clause.id} ({clause.title}) has a scenario and is said to be performed by a drill"
        for clause in catalogue
        if clause.drill and clause.id in covered
    ]
    found += _duplicates(scenarios)
    found += [
        f"clause {clause.id} ({clause.title}) has neither a scenario nor a line saying why not"
        for clause in catalogue
        if clause.built and not clause.drill and clause.id not in covered
    ]
    return found


def _language(scenario: PlannedScenario) -> Iterator[str]:
    actions = [step for step in scenario.steps if step.kind == _ACTION]
    if len(actions) != 1:
        yield f"{scenario.where}: {scenario.name!r} has {len(actions)} When steps (expected 1)"
    if not any(step.kind == "Outcome" for step in scenario.steps):
        yield f"{scenario.where}: {scenario.name!r} has no Then"
    for step in scenario.background:
        if step.kind != _CONTEXT:
            yield f"{scenario.path.name}:{step.line}: a Background holds only Givens"
    for text, line in [
        (scenario.name, scenario.line),
        *((s.text, s.line) for s in (*scenario.background, *scenario.steps)),
    ]:
        match = _TECHNICAL.search(text)
        if match:
            yield f"{scenario.path.name}:{line}: {match.group().strip()!r} is not the operator's language"


def _duplicates(scenarios: Iterable[PlannedScenario]) -> Iterator[str]:
    """Find titles that the runner would keep only one of."""
    templates = {(scenario.path, scenario.template, min_line) for scenario, min_line in _first_lines(scenarios)}
    for (path, title), count in Counter((path, title) for path, title, _ in templates).items():
        if count > 1:
            yield f"{path.parent.name}/{path.name}: {count} scenarios are called {title!r}"


def _first_lines(scenarios: Iterable[PlannedScenario]) -> Iterator[tuple[PlannedScenario, int]]:
    """Pair each scenario with the line of its first step, which the rows of one outline share."""
    for scenario in scenarios:
        yield scenario, scenario.steps[0].line if scenario.steps else scenario.line
