"""One upgrade while it runs: its record folder, target, policy, journal, roles and remembered facts.

Invariants: everything the session learns and relies on later is in the journal, so that another process can go on with
it; nothing is written outside the folder; an existing record is never written over.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

from cutover import waiting
from cutover.errors import Refused, WrongInput
from cutover.model import Deviation, Roles
from cutover.runbook import attempts
from cutover.runbook.attempts import Procedure
from cutover.runbook.interrupts import Interrupts
from cutover.runbook.journal import Journal, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from cutover.clock import Clock
    from cutover.errors import CutoverError
    from cutover.model import Strategy
    from cutover.policy import Policy
    from cutover.target import Target

T = TypeVar("T")

MOVING_ACTIONS = ("shift", "promote")
"""The actions that may send requests to green; written ahead, so an interrupted one counts as done."""
FINAL_ACTIONS = ("decommission", "contract")
"""After the intent of one of these routing alone cannot restore blue: it is gone, or the schema is not its own."""
TAKEN_BACK_BY: Mapping[str, str] = {"redeploy blue": "decommission", "swap database": "contract"}
"""The actions of a rollback that undo a final one, and which."""


def new_record(parent: Path, *, now: datetime) -> tuple[str, Path]:
    """Make the folder of a new record, `<parent>/YYYY-MM-DD-HHMM[-n]`, and return its id and path.

    Raises WrongInput when it cannot be made.
    """
    stem = now.strftime("%Y-%m-%d-%H%M")
    number = 1
    while True:
        record_id = stem if number == 1 else f"{stem}-{number}"
        try:
            (parent / record_id).mkdir(parents=True)
        except FileExistsError:
            if not parent.is_dir():
                raise WrongInput(f"{parent} is not a folder", code="record-folder", do="give --record DIR") from None
            number += 1
            continue
        except OSError as problem:
            raise WrongInput(
                f"no record can be written in {parent}", code="record-folder", seen=str(problem), do="give --record DIR"
            ) from problem
        return record_id, parent / record_id


class Upgrade:
    """The session object that steps ask for as `upgrade`."""

    def __init__(
        self,
        *,
        id: str,  # noqa: A002  # the record's own word
        folder: Path,
        target: Target,
        policy: Policy,
        journal: Journal,
        strategy: Strategy,
        scope: str = "all",
        interrupts: Interrupts | None = None,
    ) -> None:
        self.id = id
        self.folder = folder
        self.target = target
        self.policy = policy
        self.journal = journal
        self.strategy = strategy
        self.scope = scope
        self.interrupts = interrupts or Interrupts()
        began = next((entry.time for entry in journal.entries() if entry.event == "run_started"), None)
        self.started: datetime = began or self.clock.now()
        """When the first attempt began, whichever this one is."""
        known = journal.last("observation", what="roles")
        self._roles = target.roles_when_serving(known.data["blue"]) if known else target.default_roles()
        self._deviations = {
            entry.data["id"]: Deviation(**entry.data) for entry in journal.entries() if entry.event == "deviation"
        }

    @property
    def clock(self) -> Clock:
        """The clock of this run."""
        return self.journal.clock

    @property
    def clause(self) -> str | None:
        """The clause that is running."""
        return self.journal.clause

    @property
    def attempt(self) -> int:
        """Which process this is that works on the record, from 1."""
        return max(1, sum(entry.event in attempts.BEGINNINGS for entry in self.journal.entries()))

    @property
    def procedure(self) -> Procedure:
        """What this attempt performs."""
        entries = reversed(self.journal.entries())
        begun = next((entry for entry in entries if entry.event in attempts.BEGINNINGS), None)
        return attempts.procedure_of(begun) if begun is not None else Procedure.RUN

    @property
    def roles(self) -> Roles:
        """Who was blue (served when the upgrade began) and who is green (where the upgrade goes)."""
        return self._roles

    @property
    def knows_roles(self) -> bool:
        """Whether somebody looked at who served when the upgrade began."""
        return self.journal.last("observation", what="roles") is not None

    def assign_roles(self, serving: str) -> Roles:
        """Set the roles from the colour that was seen serving (F.17), and write that down.

        Raises Refused when the target file knows no such colour.
        """
        try:
            self._roles = self.target.roles_when_serving(serving)
        except KeyError:
            raise Refused(
                f"the public host is served by {serving!r}, which the target file does not name",
                code="unknown-colour",
                seen=f"colours of the target file: {', '.join(sorted(self.target.colours))}",
                do="correct routing.colour_header or colours in the target file",
            ) from None
        self.journal.write(
            "observation", what="roles", blue=self._roles.blue.name, green=self._roles.green.name, serving=serving
        )
        return self._roles

    def path(self, *parts: str) -> Path:
        """Return a path inside the record, its parent folders made. Raises ValueError when it leads outside."""
        path = self.folder.joinpath(*parts)
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f"{path} is outside the record")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def deviation(self, id: str, *, did: str, instead_of: str, why: str) -> Deviation:  # noqa: A002
        """Say once that the harness did the safe thing instead of what the guide says; repeats are the same one."""
        deviation = Deviation(id=id, did=did, instead_of=instead_of, why=why)
        if self._deviations.get(id) != deviation:
            self._deviations[id] = deviation
            self.journal.write("deviation", **plain(deviation))
        return deviation

    def remember(self, name: str, **facts: object) -> None:
        """Keep facts for later scenarios, in the journal."""
        self.journal.write("fact", name=name, facts=facts)

    def recall(self, name: str) -> dict[str, Any]:
        """Return the newest facts kept under `name`, in JSON's types. Raises Refused when there are none."""
        entry = self.journal.last("fact", name=name)
        if entry is None:
            raise Refused(
                f"this upgrade has no {name}",
                code="fact-absent",
                seen=f"nothing in the journal of {self.id}",
                do="run the phases before this one in the same run",
            )
        return dict(entry.data["facts"])

    def knows(self, name: str) -> bool:
        """Return whether facts were kept under `name`."""
        return self.journal.last("fact", name=name) is not None

    @property
    def traffic_moved(self) -> bool:
        """Whether a request may reach green by the public host: a weight above 0 or a promotion, not taken back."""
        for entry in reversed(self.journal.entries()):
            match entry.event:
                case "rollback_finished" if entry.data.get("serves") == self.roles.blue.name:
                    return False
                case "weight" if entry.data.get("percent", 0) > 0:
                    return True
                case "intent" if entry.data.get("action") in MOVING_ACTIONS and entry.data.get("percent", 100) > 0:
                    return True
        return False

    @property
    def way_back_is_open(self) -> bool:
        """Whether a rollback was begun and not gone to its end."""
        began, ended = self.journal.last("rollback_started"), self.journal.last("rollback_finished")
        return began is not None and (ended is None or ended.seq < began.seq)

    @property
    def decommissioned(self) -> bool:
        """Whether something was begun after which blue cannot simply serve again: its removal, or a contraction.

        A rollback takes it back: blue deployed again, the database swapped for the restored one.
        """
        begun: set[str] = set()
        for entry in self.journal.entries():
            action = str(entry.data.get("action") or entry.data.get("done") or "")
            is_there = entry.event == "done" or entry.data.get("what") == "already"
            if entry.event == "intent" and action in FINAL_ACTIONS:
                begun.add(action)
            elif is_there and action in TAKEN_BACK_BY:
                begun.discard(TAKEN_BACK_BY[action])
        return bool(begun)

    @property
    def needs_rollback(self) -> bool:
        """Whether a failure now must send every request back to blue."""
        return self.traffic_moved and not self.decommissioned

    def shield(self) -> AbstractContextManager[None]:
        """Let a short change finish although the operator asks to stop; see `Interrupts.shield`."""
        return self.interrupts.shield()

    def wait_for(
        self,
        what: str,
        observe: Callable[[], T],
        *,
        until: Callable[[T], bool],
        bound_s: float,
        interval_s: float = 0.5,
        tolerate: tuple[type[CutoverError], ...] = (),
        describe: Callable[[T], str] = str,
        do: str = "",
        code: str = "timeout",
    ) -> T:
        """Wait as `waiting.wait_for` does, on this run's clock, seen in the journal and on the display."""
        return waiting.wait_for(
            what,
            observe,
            until=until,
            bound_s=bound_s,
            interval_s=interval_s,
            listener=self.journal.waits(),
            clock=self.clock,
            tolerate=tolerate,
            describe=describe,
            do=do,
            code=code,
        )

    def hold(
        self,
        what: str,
        observe: Callable[[], T],
        *,
        duration_s: float,
        interval_s: float,
        describe: Callable[[T], str] = str,
        stop: Callable[[T], bool] | None = None,
    ) -> list[T]:
        """Watch as `waiting.hold` does, on this run's clock, seen in the journal and on the display."""
        return waiting.hold(
            what,
            observe,
            duration_s=duration_s,
            interval_s=interval_s,
            listener=self.journal.waits(),
            clock=self.clock,
            describe=describe,
            stop=stop,
        )


def facts_of(record: object) -> dict[str, Any]:
    """Return the fields of a record in JSON's types, for `remember` and `write`."""
    if not dataclasses.is_dataclass(record):
        raise TypeError(f"{type(record).__name__} is not a record")
    return dict(plain(record))
