"""Drills: what is done to a rehearsal's site beside a run, to show what a run guards against.

Invariants: a drill is features in `rehearsal/features` that need a disposable target, performed as any feature is, by
pytest inside the sandbox, which put back what they change and, where they perform clauses of the guide, write a record;
or it is commands of the harness, as a person gives them, that go on with the record of the run before.
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
_PASSED, _FAILED, _COULD_NOT_MEASURE, _INCOMPLETE = 0, 1, 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """One drill."""

    name: str
    title: str
    modules: tuple[str, ...] = ()
    """Of `rehearsal/features`, in their order."""
    procedures: tuple[tuple[str, ...], ...] = ()
    """Commands on the record of the run before, in their order."""
    until: int | None = None
    """The phase up to which a run brings the site before; 0: there is no run; None: the run goes to its end."""

    @property
    def code_before(self) -> int:
        """The exit code with which the run before must end."""
        return _PASSED if self.until is None else _INCOMPLETE

    def commands(self, place: layout.Place, record: Path) -> list[list[str]]:
        """Return what performs it inside the sandbox, one after the other. record: the folder of records."""
        if self.procedures:
            ours = [sys.executable, "-m", "cutover.cli"]
            return [[*ours, *words, "--record", str(record)] for words in self.procedures]
        features = [str(layout.PROJECT / "rehearsal" / "features" / module) for module in self.modules]
        settings = str(layout.PROJECT / "pyproject.toml")
        named = ("--target", str(place.target), "--record", str(record), "--drill", self.name)
        said = ("-v", "--gherkin-terminal-reporter", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly")
        return [[sys.executable, "-m", "pytest", *features, "-c", settings, *named, *said, *_BOUND]]

    def exit_code(self, code: int) -> int:
        """Return the project's exit code for that of a command: pytest's own means passed, failed, or neither."""
        return code if self.procedures or code in {_PASSED, _FAILED} else _COULD_NOT_MEASURE


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
        Drill(
            name="rollback",
            title="the way back from green, asked for by a person (R.1, R.2)",
            procedures=(("rollback", "--reason", "a drill of the way back"),),
            until=3,
        ),
        Drill(
            name="restore",
            title="the schema contracted past no return, and the way back with a restored database (C.1, R.2d)",
            procedures=(("contract",), ("rollback", "--reason", "a drill of the way back from a breaking migration")),
        ),
    )
}
