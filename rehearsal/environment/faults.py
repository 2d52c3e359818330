"""The faults that can be injected, read from `contract/faults.toml`: plain data.

Invariants: names are unique; no fault expects exit code 0; a fault strikes at the start or at a clause.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from rehearsal.environment import layout
from rehearsal.environment.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE = layout.PROJECT / "contract" / "faults.toml"
START = "start"
INSTANT = "instant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, and how a run under it ends with one strategy."""

    name: str
    title: str
    strikes_at: str
    """A clause id, or `start`."""
    phase: str
    clause: str
    """The clause that fails."""
    cause: tuple[str, ...]
    """Words that its record contains, in any case."""
    remedy: tuple[str, ...]
    exit_code: int
    serves: str
    """`blue` or `nobody`."""


@cache
def load(strategy: str = "gradual") -> tuple[Fault, ...]:
    """Every fault in the order of the file, as it is with `strategy`."""
    document = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return tuple(_fault(entry, strategy) for entry in document["fault"])


def _fault(entry: Mapping[str, Any], strategy: str) -> Fault:
    merged = {**entry, **(entry.get(INSTANT, {}) if strategy == INSTANT else {})}
    merged.pop(INSTANT, None)
    return Fault(**{**merged, "cause": tuple(merged["cause"]), "remedy": tuple(merged["remedy"])})


def named(names: Iterable[str], strategy: str = "gradual") -> tuple[Fault, ...]:
    """Return the faults called `names`, each once.

    Raises: EnvironmentFault (exit 2) with the list for a name that is none.
    """
    known = {fault.name: fault for fault in load(strategy)}
    for name in names:
        if name not in known:
            raise EnvironmentFault(
                f"there is no fault called {name!r}",
                do=f"name one of: {', '.join(known)} (./cutover faults tells what each does)",
                exit_code=2,
            )
    return tuple(known[name] for name in dict.fromkeys(names))
