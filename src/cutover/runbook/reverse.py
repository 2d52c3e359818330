"""The way back from wherever an upgrade stands: which clauses, in which order, why each is needed or not.

Pure: made from the journal, and from what was seen of the site where somebody looked. What was seen overrules what the
journal says, and the plan says so.
Invariants: an action that was begun counts as done; the database is restored only where a migration of category B is in
it; where blue can take the requests at once they go back before anything is assessed; a plan has every clause of the
way back, those that are not needed with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cutover.clock import rfc3339
from cutover.model import Result
from cutover.runbook.upgrade import MOVING_ACTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from cutover.runbook.proof import Told

SCHEMA = "cutover/reverse-plan/v1"

INSTALL, REMOVE_GREEN = "install green", "remove green"
DECOMMISSION, REDEPLOY = "decommission", "redeploy blue"
CONTRACT, RESTORE = "contract", "swap database"
"""The actions that bring something or take it away: a colour, or a schema that the release before works with."""
BREAKING = "B"
"""The category of migrations that the release before does not work with."""

TRAFFIC, ASSESS, DECIDE, DATABASE, BLUE, EVIDENCE, GREEN = "R.1", "R.2a", "R.2b", "R.2d", "R.2e", "R.2c", "R.3"


class Point(StrEnum):
    """How far the upgrade has come, as far as the way back is concerned."""

    NOTHING = "nothing was changed"
    GREEN = "green is installed"
    CUTOVER = "traffic is moving to green"
    PROMOTED = "the public route names green"
    OBSERVED = "the observation window has passed"
    DECOMMISSIONED = "the removal of blue was begun"
    BACK = "blue has the traffic again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was seen of the site just now; None where nobody looked, or nothing answered."""

    serves: str | None = None
    """The colour that answers every request, `mixed` or `nobody`."""
    is_split: bool | None = None
    """Whether a second Service may answer for the public host."""
    blue_installed: bool | None = None
    green_installed: bool | None = None
    breaking: tuple[str, ...] | None = None
    """Applied migrations of category B of the new release."""
    problems: tuple[str, ...] = ()
    """Why what is None is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One clause of the way back."""

    clause: str
    needed: bool
    why: str
    changes: str = ""
    """What it changes on the site; empty when nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversePlan:
    """The way back."""

    blue: str
    green: str
    point: Point
    serves: str
    """Who serves, as it was seen; else as the journal says, with a question mark."""
    green_served_from: datetime | None
    """When a request may have reached green first."""
    steps: tuple[Step, ...]
    """Every clause of the way back, those that are needed in the order in which they are performed."""
    after: str
    """What becomes of green."""
    notes: tuple[str, ...]
    """What is not known, and where journal and site differ."""

    @property
    def needed(self) -> tuple[str, ...]:
        """The clauses to perform, in order."""
        return tuple(step.clause for step in self.steps if step.needed)

    @property
    def points_of_no_return(self) -> tuple[str, ...]:
        """The clauses to perform that cannot be undone, and need a person's approval."""
        return tuple(clause for clause in self.needed if clause == DATABASE)

    @property
    def sends_back(self) -> bool:
        """Whether a request has to go back at all."""
        return TRAFFIC in self.needed

    def step(self, clause: str) -> Step | None:
        """Return what the plan says of a clause, or None when it is none of the way back."""
        return next((step for step in self.steps if step.clause == clause), None)

    def document(self) -> dict[str, Any]:
        """Return the plan in JSON's types."""
        return {
            "schema": SCHEMA,
            "blue": self.blue,
            "green": self.green,
            "point": self.point.value,
            "serves": self.serves,
            "green_served_from": rfc3339(self.green_served_from) if self.green_served_from else None,
            "nothing_to_send_back": not self.sends_back,
            "points_of_no_return": list(self.points_of_no_return),
            "steps": [
                {"clause": step.clause, "needed": step.needed, "why": step.why, "changes": step.changes}
                for step in self.steps
            ],
            "green_afterwards": self.after,
            "notes": list(self.notes),
        }


def plan(
    entries: Sequence[Told],
    *,
    observed: Observed | None = None,
    blue: str = "blue",
    green: str = "green",
    remove_green: bool = False,
) -> ReversePlan:
    """Return the way back from where the journal ends.

    observed: what was seen of the site. blue, green: the colours, for as long as the journal does not say who served.
    remove_green: green's release is to go too, once nobody is sent to it.
    """
    told, seen = _read(entries, blue, green), observed or Observed()
    state = _State(told=told, seen=seen, remove_green=remove_green)
    return ReversePlan(
        blue=told.blue,
        green=told.green,
        point=state.point,
        serves=seen.serves or f"{told.serves}?",
        green_served_from=told.green_served_from,
        steps=tuple(state.steps()),
        after=state.after,
        notes=tuple(state.notes()),
    )


@dataclass(slots=True, kw_only=True)
class _Told:
    """What the journal says, forwards through its lines."""

    blue: str
    green: str
    green_begun: bool = False
    moved: bool = False
    """A request may reach green now."""
    promoted: bool = False
    went_back: bool = False
    verified: bool = False
    """The evidence was verified since the requests went back."""
    observed: bool = False
    blue_removed: bool = False
    breaking: bool = False
    restoring: bool = False
    """The database was swapped, or nearly, and that is not proven."""
    green_served_from: datetime | None = None

    @property
    def serves(self) -> str:
        if not self.moved:
            return self.blue
        return self.green if self.promoted else "mixed"


def _read(entries: Sequence[Told], blue: str, green: str) -> _Told:
    told = _Told(blue=blue, green=green)
    for entry in entries:
        data = entry.data
        match entry.event:
            case "observation" if data.get("what") == "roles":
                told.blue, told.green = str(data["blue"]), str(data["green"])
            case "intent" | "done":
                _act(told, entry, is_over=entry.event == "done")
            case "observation" if data.get("what") == "already":
                _act(told, entry, is_over=True)
            case "weight" if data.get("percent", 0) > 0:
                _move(told, entry)
            case "rollback_finished" if data.get("serves") == told.blue:
                told.went_back = told.went_back or told.moved
                told.moved = told.promoted = False
            case "clause_finished" if entry.clause == EVIDENCE:
                told.verified = data.get("result") == Result.PASS and not told.moved
            case "clause_finished" if entry.clause == DATABASE and data.get("result") == Result.PASS:
                told.restoring = False
            case "fact" if data.get("name") == "observation":
                told.observed = data["facts"].get("state") == "complete"
    return told


def _act(told: _Told, entry: Told, *, is_over: bool) -> None:
    """Note an action: begun is done where it takes something away, and over is done where it brings something."""
    action, data = entry.data.get("action") or entry.data.get("done"), entry.data
    if action in MOVING_ACTIONS and data.get("percent", 100) > 0:
        _move(told, entry)
        told.promoted = told.promoted or action == "promote"
    elif action == DECOMMISSION:
        told.blue_removed = True
    elif action == INSTALL:
        told.green_begun = True
    elif action == CONTRACT or data.get("category") == BREAKING:
        told.breaking = True
    elif is_over and action == REDEPLOY:
        told.blue_removed = False
    elif is_over and action == REMOVE_GREEN:
        told.green_begun = False
    elif action == RESTORE and not is_over:
        told.restoring = True
    elif is_over and action == RESTORE:
        told.breaking = False


def _move(told: _Told, entry: Told) -> None:
    told.moved, told.went_back, told.verified = True, False, False
    told.green_served_from = told.green_served_from or entry.time


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """Journal and observation together."""

    told: _Told
    seen: Observed
    remove_green: bool

    @property
    def blue_there(self) -> bool:
        return self.seen.blue_installed if self.seen.blue_installed is not None else not self.told.blue_removed

    @property
    def green_there(self) -> bool:
        return self.seen.green_installed if self.seen.green_installed is not None else self.told.green_begun

    @property
    def breaking(self) -> bool:
        return bool(self.seen.breaking) if self.seen.breaking is not None else self.told.breaking

    @property
    def restores(self) -> bool:
        """Whether the database is to be restored, or its restore to be finished."""
        return self.breaking or self.told.restoring

    @property
    def with_blue(self) -> bool:
        """Whether blue, and nobody else, answers for the public host."""
        if self.seen.serves is not None:
            return self.seen.serves == self.told.blue and not self.seen.is_split
        return not self.told.moved

    @property
    def after_cutover(self) -> bool:
        """Whether the guide's rollback after the cutover applies, and not the immediate one."""
        return self.told.promoted or not self.blue_there or self.restores

    @property
    def point(self) -> Point:
        told = self.told
        if told.blue_removed or not self.blue_there:
            return Point.DECOMMISSIONED
        if told.moved and told.promoted:
            return Point.OBSERVED if told.observed else Point.PROMOTED
        if told.moved or not self.with_blue:
            return Point.CUTOVER
        if told.went_back:
            return Point.BACK
        return Point.GREEN if self.green_there else Point.NOTHING

    @property
    def after(self) -> str:
        green = self.told.green
        if not self.green_there:
            return f"{green} is not installed"
        return f"{green} is removed" if self.remove_green else f"{green} stays, without requests"

    def steps(self) -> Iterator[Step]:
        """Yield every clause: the needed ones in order, then the others."""
        found = {step.clause: step for step in self._all()}
        at_once = self.blue_there and not self.restores
        order = (
            (DECIDE, TRAFFIC, ASSESS, DATABASE, BLUE, EVIDENCE, GREEN)
            if at_once
            else (ASSESS, DECIDE, DATABASE, BLUE, TRAFFIC, EVIDENCE, GREEN)
        )
        yield from sorted((found[clause] for clause in order), key=lambda step: not step.needed)

    def _all(self) -> Iterator[Step]:
        yield self._traffic()
        yield from self._decisions()
        yield from self._ways()
        yield self._evidence()
        yield self._green()

    def _traffic(self) -> Step:
        blue, green = self.told.blue, self.told.green
        if not self.blue_there:
            return Step(clause=TRAFFIC, needed=True, why=f"once {blue} is there again", changes=self._to_blue)
        if self.with_blue:
            return Step(clause=TRAFFIC, needed=False, why=f"nothing to send back: {blue} serves, and nobody beside it")
        serves = self.seen.serves or self.told.serves
        why = {
            green: f"{green} serves",
            blue: f"{blue} serves, and {green} still stands behind the public route",
            "nobody": "nobody serves",
        }.get(serves, f"requests reach {green}")
        return Step(clause=TRAFFIC, needed=True, why=why, changes=self._to_blue)

    @property
    def _to_blue(self) -> str:
        return f"the public route names {self.told.blue} alone"

    def _decisions(self) -> Iterator[Step]:
        if self.after_cutover and not self._is_back:
            order = "" if self.restores or not self.blue_there else "; requests go back before it"
            yield Step(clause=ASSESS, needed=True, why=f"the cutover was complete{order}")
            yield Step(clause=DECIDE, needed=True, why="the cutover was complete")
            return
        blue = self.told.blue
        why = f"the cutover was not complete: {blue} has served on this schema all the time"
        if self.told.went_back:
            why = f"{blue} has the traffic again"
        elif not self.told.green_begun:
            why = "nothing was migrated"
        for clause in (ASSESS, DECIDE):
            yield Step(clause=clause, needed=False, why=why)

    @property
    def _is_back(self) -> bool:
        return self.blue_there and not self.restores and self.with_blue

    def _ways(self) -> Iterator[Step]:
        blue = self.told.blue
        named = ", ".join(self.seen.breaking or ()) or "of category B"
        yield (
            Step(
                clause=DATABASE,
                needed=True,
                why=f"a migration that {blue} does not work with is in the schema: {named}",
                changes="the database is swapped for the restored one; the replaced one is kept",
            )
            if self.breaking
            else Step(clause=DATABASE, needed=True, why="the restore was broken off when the database had been swapped")
            if self.told.restoring
            else Step(clause=DATABASE, needed=False, why="no migration of category B of this upgrade is in the schema")
        )
        yield (
            Step(clause=BLUE, needed=False, why=f"{blue} is installed")
            if self.blue_there
            else Step(
                clause=BLUE,
                needed=True,
                why=f"{blue} is not there any more",
                changes=f"{blue} is deployed again at the release before the upgrade",
            )
        )

    def _evidence(self) -> Step:
        green = self.told.green
        if self.told.green_served_from is None and self._is_back:
            return Step(clause=EVIDENCE, needed=False, why=f"no request has reached {green}: it made nothing")
        if self.told.verified and self._is_back:
            return Step(clause=EVIDENCE, needed=False, why="verified since the requests went back")
        return Step(clause=EVIDENCE, needed=True, why=f"{green} may have made evidence, which stays valid")

    def _green(self) -> Step:
        green = self.told.green
        if not self.green_there:
            return Step(clause=GREEN, needed=False, why=f"{green} is not installed")
        if not self.remove_green:
            return Step(clause=GREEN, needed=False, why=f"{green} stays unless --remove-green is given")
        return Step(clause=GREEN, needed=True, why="asked for", changes=f"{green}'s release is uninstalled")

    def notes(self) -> Iterator[str]:
        """Say what is not known, and where journal and site differ."""
        told, seen = self.told, self.seen
        yield from seen.problems
        if seen.serves is not None and seen.serves != told.serves and not told.blue_removed:
            yield f"by the journal {told.serves} serves, by its own answers the public host is served by {seen.serves}"
        if seen.blue_installed is not None and seen.blue_installed is told.blue_removed:
            yield f"the journal {'has the removal of' if told.blue_removed else 'does not remove'} {told.blue}, " + (
                "which is still there" if seen.blue_installed else "which is not there"
            )
        if seen.breaking is not None and bool(seen.breaking) is not told.breaking:
            yield (
                f"migrations of category B are applied that this upgrade did not apply: {', '.join(seen.breaking)}"
                if seen.breaking
                else "the migrations of category B that this upgrade began are not in the migration table"
            )
