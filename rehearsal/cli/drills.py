"""Drills: what is done to a rehearsal's site beside a run, to show what a run guards against.

Invariants: a drill is features in `rehearsal/features` that need a disposable target, performed as any feature is, by
pytest inside the sandbox, which put back what they change and, where they perform clauses of the guide, write a record;
or it is commands of the harness, as a person gives them, that go on with the record of the run before, each with the
exit code that it must end with.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rehearsal.environment import layout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import click

_BOUND = ("-o", "timeout=180")
_PASSED, _FAILED, _COULD_NOT_MEASURE, _INCOMPLETE, _REFUSED = 0, 1, 3, 4, 5
_KILLED = 128 + signal.SIGKILL
_DAY_S = 86400
_CLOCK = "CUTOVER_CLOCK_AHEAD_S"
"""What the harness reads by how much its clock is ahead from."""
ALL = "all"
"""Every drill after the other, each on a site of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One command of a drill."""

    words: tuple[str, ...]
    """Of the harness, on the record of the run before; for a deed, of `rehearsal.held`."""
    ends: int = _PASSED
    """The exit code that it must end with."""
    ahead_s: int = 0
    """By so much the harness's clock is ahead meanwhile."""
    is_deed: bool = False
    """Done to the site by somebody else than the harness."""

    def command(self, place: layout.Place, record: Path) -> list[str]:
        """Return what performs it inside the sandbox."""
        if self.is_deed:
            return [sys.executable, "-m", "rehearsal.held", "--state", str(place.root), *self.words]
        clock = ["env", f"{_CLOCK}={self.ahead_s}"] if self.ahead_s else []
        return [*clock, sys.executable, "-m", "cutover.cli", *self.words, "--record", str(record)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """One drill."""

    name: str
    title: str
    modules: tuple[str, ...] = ()
    """Of `rehearsal/features`, in their order."""
    acts: tuple[Act, ...] = ()
    """Commands on the record of the run before, in their order."""
    until: int | None = None
    """The phase up to which a run brings the site before; 0: there is no run; None: the run goes to its end."""

    killed_after: str = ""
    """The clause after which the run before is killed, its whole process group, as when a machine stops."""
    is_widened: bool = False
    """What follows performs more than the run before, and the plan of the whole is approved too."""

    @property
    def code_before(self) -> int:
        """The exit code with which the run before must end."""
        if self.killed_after:
            return _KILLED
        return _PASSED if self.until is None else _INCOMPLETE

    def commands(self, place: layout.Place, record: Path) -> list[list[str]]:
        """Return what performs it inside the sandbox, one after the other. record: the folder of records."""
        if self.acts:
            return [act.command(place, record) for act in self.acts]
        features = [str(layout.PROJECT / "rehearsal" / "features" / module) for module in self.modules]
        settings = str(layout.PROJECT / "pyproject.toml")
        named = ("--target", str(place.target), "--record", str(record), "--drill", self.name)
        said = ("-v", "--gherkin-terminal-reporter", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly")
        return [[sys.executable, "-m", "pytest", *features, "-c", settings, *named, *said, *_BOUND]]

    def exit_code(self, number: int, code: int) -> int:
        """Return the project's exit code for that of a command, the n-th from 0.

        pytest's own means passed, failed, or neither; of an act, one that it had to end with is a success, and a
        success that it should not have been is a failure.
        """
        if not self.acts:
            return code if code in {_PASSED, _FAILED} else _COULD_NOT_MEASURE
        if code == self.acts[number].ends:
            return _PASSED
        return code or _FAILED

    def armed(self, place: layout.Place) -> contextlib.AbstractContextManager[None]:
        """Let the run that is started meanwhile be killed where this drill says so."""
        if not self.killed_after:
            return contextlib.nullcontext()
        from rehearsal import killing, upgrades  # noqa: PLC0415  # not needed by --help

        moment = killing.Moment(event="clause_finished", clause=self.killed_after, is_whole=True)
        return upgrades.armed(killing.Order(moments=(moment,), told=str(place.root / "killed")))


def options(parameters: Sequence[click.Parameter], given: Mapping[str, object]) -> list[str]:
    """Return a command line's options as they were given, those left out that have no value."""
    found: list[str] = []
    for parameter in parameters:
        value = given.get(parameter.name or "")
        if value is True:
            found.append(parameter.opts[0])
        elif value not in {None, False, ()}:
            found += [parameter.opts[0], str(value)]
    return found


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
            title="the way back from green, asked for by a person, and green removed (R.1, R.2, R.3)",
            acts=(Act(words=("rollback", "--remove-green", "--reason", "a drill of the way back")),),
            until=3,
        ),
        Drill(
            name="restore",
            title="the schema contracted past no return, and the way back with a restored database (C.1, R.2d)",
            acts=(
                Act(words=("contract",)),
                Act(words=("rollback", "--reason", "a drill of the way back from a breaking migration")),
            ),
        ),
        Drill(
            name="next-day",
            title="the run killed while it moves traffic, and gone on with by another process a day later",
            acts=(Act(words=("resume",), ahead_s=_DAY_S),),
            until=3,
            killed_after="3.2",
            is_widened=True,
        ),
        Drill(
            name="removal",
            title="blue's removal asked for too early, then with jobs in its queue, then when they are done",
            acts=(
                Act(words=("decommission",), ends=_REFUSED),
                Act(words=("observe",), ends=_INCOMPLETE),
                Act(words=("hold",), is_deed=True),
                Act(words=("decommission",), ends=_REFUSED),
                Act(words=("release",), is_deed=True),
                Act(words=("decommission",)),
            ),
            until=4,
            is_widened=True,
        ),
    )
}
