"""The catalogue of clauses: `contract/clauses.toml`, parsed once.

Invariants: ids are unique; the file's order is the order of a run; a clause has scenarios, is
performed by a drill, or has a line saying why not.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from cutover import project
from cutover.errors import RunbookInvalid
from cutover.model import CLAUSE_TAG_PREFIX, Clause, Risk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

STAGES = (1, 2, 3, 4, 5)

MARKERS: Mapping[str, str] = MappingProxyType(
    {
        **{f"phase_{stage}": f"performed in phase {stage}" for stage in STAGES},
        "reversible": "taking it back restores exactly what was there",
        "compensable": "undone by another action whose traces remain",
        "irreversible": "a point of no return",
        "gradual": "part of a gradual cutover only",
        "instant": "part of an instant cutover only",
        "phase_0": "a prerequisite; performed with phase 1",
        "phase_contract": "performed by no phase: only by ./cutover contract",
        "phase_rollback": "performed by no phase: only when traffic has to go back to blue",
        "evidence": "a guarantee on the evidence; performed with phase 4",
        "rollback": "takes traffic back to blue",
    }
)
"""The tags a feature may carry besides its clauses', with their meaning; any other is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Every clause, in the order of a run."""

    clauses: tuple[Clause, ...]
    phase_titles: Mapping[str, str]
    """In the order of a run."""

    def __iter__(self) -> Iterator[Clause]:
        return iter(self.clauses)

    def __len__(self) -> int:
        return len(self.clauses)

    def __getitem__(self, clause_id: str) -> Clause:
        for clause in self.clauses:
            if clause.id == clause_id:
                return clause
        raise KeyError(clause_id)

    def position(self, clause_id: str) -> int:
        """Return where a clause stands in a run, from 0. Raises KeyError."""
        return self.clauses.index(self[clause_id])

    def tagged(self, tags: Iterable[str]) -> tuple[Clause, ...]:
        """Return the clauses that a scenario's tags name, in the order of a run.

        Raises RunbookInvalid for a clause tag that no clause has.
        """
        wanted = {tag for tag in tags if tag.startswith(CLAUSE_TAG_PREFIX)}
        found = tuple(clause for clause in self.clauses if clause.tag in wanted)
        unknown = wanted - {clause.tag for clause in found}
        if unknown:
            raise RunbookInvalid(
                f"the catalogue has no clause for the tag @{min(unknown)}",
                code="tag-unknown",
                do="correct the tag, or add the clause to contract/clauses.toml",
            )
        return found

    def markers(self) -> Mapping[str, str]:
        """Return every tag a feature may carry, with its meaning."""
        return {**MARKERS, **{clause.tag: f"guide {clause.id}: {clause.title}" for clause in self.clauses}}


def load_clauses(path: Path = project.CLAUSES) -> Catalogue:
    """Read the catalogue. Raises RunbookInvalid with one sentence."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
        clauses = tuple(
            Clause(
                id=item["id"],
                title=item["title"],
                phase=item["phase"],
                stage=item.get("stage"),
                guide=item["guide"],
                performed_by=item["performed_by"],
                check=item["check"],
                risk=Risk(item["risk"]),
                changes=item.get("changes", ""),
                undo=item.get("undo", ""),
                built="not_built" not in item,
                not_built_reason=item.get("not_built", ""),
                drill=item.get("drill", ""),
            )
            for item in content["clause"]
        )
        titles = MappingProxyType({str(key): str(title) for key, title in content["phases"].items()})
    except (OSError, tomllib.TOMLDecodeError, ValueError) as problem:
        raise RunbookInvalid(
            f"the catalogue {path} cannot be read", code="catalogue-unreadable", seen=str(problem)
        ) from problem
    except KeyError as problem:
        raise RunbookInvalid(f"the catalogue {path} lacks {problem}", code="catalogue-incomplete") from problem
    _check(clauses, titles, path)
    return Catalogue(clauses=clauses, phase_titles=titles)


def _check(clauses: tuple[Clause, ...], titles: Mapping[str, str], path: Path) -> None:
    seen: set[str] = set()
    for clause in clauses:
        problem = ""
        if clause.id in seen:
            problem = "stands there twice"
        elif clause.phase not in titles:
            problem = f"belongs to phase {clause.phase!r}, which has no title"
        elif clause.stage not in (None, *STAGES):
            problem = f"has stage {clause.stage}, which is none"
        elif not clause.built and not clause.not_built_reason:
            problem = "is not built and does not say why"
        elif clause.changes and not clause.undo:
            problem = "changes something and does not say how that is undone"
        if problem:
            raise RunbookInvalid(f"the catalogue {path}: clause {clause.id} {problem}", code="catalogue-inconsistent")
        seen.add(clause.id)
