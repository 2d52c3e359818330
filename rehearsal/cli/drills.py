"""Drills: what is done to a rehearsal's site beside a run, to show what a run guards against.

Invariant: a drill is features in `rehearsal/features` that need a disposable target; it is performed as any feature is,
by pytest inside the sandbox, and puts back what it changed. One that performs clauses of the guide writes a record.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rehearsal.environment import layout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BOUND = ("-o", "timeout=180")
_PASSED, _FAILED, _COULD_NOT_MEASURE = 0, 1, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """One drill."""

    name: str
    title: str
    modules: tuple[str, ...]
    """Of `rehearsal/features`, in their order."""
    until: int
    """The phase up to which a run brings the site before; 0: there is no run."""

    def command(self, place: layout.Place, record: Path) -> list[str]:
        """Return the command that performs it inside the sandbox. record: the folder that gets its record's."""
        features = [str(layout.PROJECT / "rehearsal" / "features" / module) for module in self.modules]
        settings = str(layout.PROJECT / "pyproject.toml")
        named = ("--target", str(place.target), "--record", str(record), "--drill", self.name)
        said = ("-v", "--gherkin-terminal-reporter", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly")
        return [sys.executable, "-m", "pytest", *features, "-c", settings, *named, *said, *_BOUND]


DRILLS: Mapping[str, Drill] = {
    drill.name: drill
    for drill in (
        Drill(
            name="unsafe-forms",
            title="the guide's own forms of F.2, F.3 and F.4 beside the runbook's",
            modules=("test_unsafe_forms.py",),
            until=2,
        ),
        Drill(
            name="diagnose",
            title="the guide's troubles made on the site, each to be recognised (T.1 to T.4, S.1 to S.3)",
            modules=("test_evidence_mismatch.py", "test_troubleshooting.py"),
            until=0,
        ),
    )
}


def exit_code(code: int) -> int:
    """Return the project's exit code for one of pytest's: passed, failed, and nothing else is either."""
    return code if code in {_PASSED, _FAILED} else _COULD_NOT_MEASURE
