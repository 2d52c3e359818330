"""Kills the run that it is loaded into, as `kill -9` does, at a moment chosen before: a pytest plugin.

`CUTOVER_KILL` holds an `Order` as JSON, and `PYTEST_ADDOPTS='-p rehearsal.killing'` loads it. The run knows nothing of
it. Invariants: the line that names the moment is on disk when the process dies, and nothing was done after it; nothing
is caught, flushed or put in order; without the variable nothing happens.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VARIABLE = "CUTOVER_KILL"
PLUGIN = "rehearsal.killing"
START = "start"
"""The moment is so long after the process began, and no line of the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When to kill, and whom."""

    event: str
    """Of a line of the journal, or `start`."""
    clause: str = ""
    """That the line belongs to."""
    action: str = ""
    """Of an intent, its end or its failure."""
    nth: int = 1
    """Of such lines in this process."""
    after_s: float = 0.0
    """So long after it, inside of what the run then does; 0 is right there."""
    is_whole: bool = False
    """Its process group dies with it, as when a machine stops; else what it started ends or goes on by itself."""

    def matches(self, *, event: str, clause: str | None, data: Mapping[str, Any]) -> bool:
        """Return whether a line is one of those that it counts."""
        named = not self.action or self.action == data.get("action")
        return event == self.event and (clause or "") == self.clause and named

    def __str__(self) -> str:
        """Return it in words."""
        if self.event == START:
            return f"{self.after_s:.2f} s after the start"
        which = f" {self.nth}" if self.nth > 1 else ""
        where = f"{self.clause or 'the run'}: {self.event}{f' {self.action}' if self.action else ''}{which}"
        return f"{where} + {self.after_s:.2f} s" if self.after_s else where


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The moments at which to kill: the first that comes counts."""

    moments: tuple[Moment, ...]
    told: str
    """The file that gets the number of the moment, from 0, before the process dies."""

    @classmethod
    def read(cls, text: str) -> Order:
        """Read it from JSON. Raises: ValueError, TypeError, KeyError."""
        document = json.loads(text)
        return cls(moments=tuple(Moment(**one) for one in document["moments"]), told=document["told"])

    def write(self) -> str:
        """Return it as JSON."""
        return json.dumps(dataclasses.asdict(self))


class Killer:
    """Waits for its moment."""

    def __init__(self, moment: Moment, die: Callable[[bool], None]) -> None:
        """Take the moment. die: ends this process, with its group or without."""
        self._moment = moment
        self._die = die
        self._counted = 0

    def on_entry(self, entry: Any) -> None:  # noqa: ANN401  # a line of a journal of the engine, which is not imported
        """Look at a line that was just written."""
        moment = self._moment
        if entry.seq < 0 or not moment.matches(event=entry.event, clause=entry.clause, data=entry.data):
            return
        self._counted += 1
        if self._counted == moment.nth:
            self.strike()

    def strike(self) -> None:
        """Kill now, or so long after now as the moment says."""
        moment = self._moment
        if not moment.after_s:
            self._die(moment.is_whole)
            return
        threading.Thread(target=self._later, name="killing", daemon=True).start()

    def _later(self) -> None:
        time.sleep(self._moment.after_s)
        self._die(self._moment.is_whole)


def die(is_whole: bool) -> NoReturn:
    """End this process as `kill -9` does, with its group or alone."""
    if is_whole:
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process that was killed goes on")


def killers(order: Order, die: Callable[[bool], None] = die) -> list[Killer]:
    """Return one killer a moment, those of the start at work already: of these only one that comes first is meant."""
    found = []
    for number, moment in enumerate(order.moments):

        def strike(is_whole: bool, number: int = number) -> None:
            # Only one of them may tell: a second would come between this line and the end.
            with _ONE, Path(order.told).open("w", encoding="ascii") as file:
                file.write(str(number))
                file.flush()
                die(is_whole)

        killer = Killer(moment, strike)
        found.append(killer)
        if moment.event == START and number == 0:
            killer.strike()
    return found


_ARMED: list[Killer] = []
_ONE = threading.Lock()


def pytest_configure() -> None:
    """Read the order, and begin to count when its first moment is one of the start."""
    text = os.environ.get(VARIABLE, "")
    if text:
        _ARMED.extend(killers(Order.read(text)))


@pytest.hookimpl(optionalhook=True)
def pytest_cutover_start(upgrade: Any) -> None:  # noqa: ANN401  # the engine's, which is not imported
    """Listen to the journal of the run."""
    for killer in _ARMED:
        upgrade.journal.listen(killer.on_entry)
