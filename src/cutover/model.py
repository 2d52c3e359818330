"""The words of the runbook as plain data: results, outcomes, colours, clauses.

Invariants: every record is frozen, slotted and keyword-only; times are aware and in UTC; nothing here touches a file,
a network or a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

CLAUSE_TAG_PREFIX = "clause_"


class Result(StrEnum):
    """What one clause came to. Only PASS lets the run go on."""

    PASS = "PASS"  # noqa: S105  # no password
    NOT_RUN = "NOT_RUN"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"
    FAIL = "FAIL"

    @property
    def severity(self) -> int:
        """0 for PASS to 4 for FAIL; the worst of several results has the highest."""
        return tuple(Result).index(self)


def worst(results: Iterable[Result]) -> Result:
    """Return the most severe of one or more results; a milder one never overwrites it.

    Raises ValueError when there is none: nothing measured is not a result.
    """
    return max(results, key=lambda result: result.severity)


class Outcome(StrEnum):
    """What the whole run came to."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    INCONCLUSIVE = "INCONCLUSIVE"
    INCOMPLETE = "INCOMPLETE"
    ERROR = "ERROR"
    ROLLED_BACK = "ROLLED_BACK"
    """A person asked for the way back after a run, and blue is proven to serve: the upgrade is not in effect."""


class ExitCode(IntEnum):
    """What the process tells its caller."""

    PASSED = 0
    FAILED = 1
    WRONG_INPUT = 2
    COULD_NOT_MEASURE = 3
    UNDECIDED = 4
    REFUSED = 5


class Risk(StrEnum):
    """How a clause's change is taken back."""

    REVERSIBLE = "reversible"
    """Taking it back restores exactly what was there; a clause that changes nothing is reversible."""
    COMPENSABLE = "compensable"
    """It is undone by another action whose traces remain."""
    IRREVERSIBLE = "irreversible"
    """A point of no return."""


class Strategy(StrEnum):
    """How traffic moves to green."""

    GRADUAL = "gradual"
    INSTANT = "instant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One colour of the site, as the target file names it."""

    name: str
    namespace: str
    release: str
    service: str
    values: tuple[Path, ...]
    cache_url: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Who plays which part in this upgrade; read from who serves, not from the colour's name (F.17)."""

    blue: Environment
    """Serves now."""
    green: Environment
    """Where the new release goes."""

    def playing(self, role: str) -> Environment:
        """Return the environment that plays `blue` or `green` in this upgrade. Raises KeyError."""
        return {"blue": self.blue, "green": self.green}[role]

    def named(self, name: str) -> Environment:
        """Return the environment whose own name is `name`. Raises KeyError."""
        for environment in (self.blue, self.green):
            if environment.name == name:
                return environment
        raise KeyError(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One clause of the guide, as `contract/clauses.toml` states it."""

    id: str
    title: str
    phase: str
    """`prerequisites`, `1` to `5`, `evidence`, `rollback`, `troubleshooting` or `support`."""
    stage: int | None
    """The phase number that `--phase` selects it with: P with 1, E with 4; None for R, T, S."""
    guide: str
    """The guide's section."""
    performed_by: str
    check: str
    """What the harness observes itself."""
    risk: Risk
    changes: str
    """What it changes on the site, with the target's names as `{green.namespace}`; empty when nothing."""
    undo: str
    """How the change is taken back; empty when there is nothing to undo."""
    built: bool
    not_built_reason: str
    drill: str = ""
    """Which drill on a disposable site performs it, where no run does: its scenarios are not the runbook's."""

    @property
    def tag(self) -> str:
        """The Gherkin tag of its scenarios: 3.1a is `clause_3_1a`."""
        return clause_tag(self.id)


def clause_tag(clause_id: str) -> str:
    """Return the Gherkin tag of a clause id: `R.2a` gives `clause_R_2a`."""
    return CLAUSE_TAG_PREFIX + clause_id.replace(".", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseRecord:
    """What became of one clause in a run; of several scenarios of one clause, the worst."""

    id: str
    result: Result
    scenario: str
    started: datetime | None
    finished: datetime | None
    reason: str
    remedy: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One place where the harness does the safe thing instead of what the guide says (F.1 to F.17)."""

    id: str
    did: str
    instead_of: str
    why: str
