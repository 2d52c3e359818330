"""Drills: what is done to a rehearsal's site beside a run, to show what a run guards against.

Invariant: a drill is a feature in `rehearsal/features` that needs a disposable target; it is performed as any feature
is, by pytest inside the sandbox, and puts back what it changed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rehearsal.environment import layout

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOUND = ("-o", "timeout=180")
_PASSED, _FAILED, _COULD_NOT_MEASURE = 0, 1, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """One drill."""

    name: str
    title: str
    module: str
    """Of `rehearsal/features`."""
    until: int
    """The phase up to which a run brings the site before."""

    def command(self, place: layout.Place) -> list[str]:
        """Return the command that performs it inside the sandbox."""
        feature = str(layout.PROJECT / "rehearsal" / "features" / self.module)
        settings = str(layout.PROJECT / "pyproject.toml")
        said = ("-v", "--gherkin-terminal-reporter", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly")
        return [sys.executable, "-m", "pytest", feature, "-c", settings, "--target", str(place.target), *said, *_BOUND]


DRILLS: Mapping[str, Drill] = {
    drill.name: drill
    for drill in (
        Drill(
            name="unsafe-forms",
            title="the guide's own forms of F.2, F.3 and F.4 beside the runbook's",
            module="test_unsafe_forms.py",
            until=2,
        ),
    )
}


def exit_code(code: int) -> int:
    """Return the project's exit code for one of pytest's: passed, failed, and nothing else is either."""
    return code if code in {_PASSED, _FAILED} else _COULD_NOT_MEASURE
