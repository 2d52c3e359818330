"""Time, as something that is handed in.

Where a site may come to harm, the wall clock may be put ahead by `CUTOVER_CLOCK_AHEAD_S`, so that a person need not
wait a day to see what an upgrade does on the next one. It is read here and nowhere else; `Target.load` refuses it for
any other site, and the record says by how much.
Invariants: `now` is aware and in UTC; `monotonic` never goes back, and runs as the machine's does; only
`cutover.waiting` calls `sleep`; whatever is ahead is ahead for the whole process and those that it starts.
"""

from __future__ import annotations

import math
import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Clock(Protocol):
    """What the harness asks of time."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some moment; only differences mean anything."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Let `duration_s` seconds pass."""
        ...


AHEAD = "CUTOVER_CLOCK_AHEAD_S"
"""The environment variable: by how many seconds the wall clock is put ahead."""
MOST_AHEAD = timedelta(days=30)


class SystemClock:
    """The machine's own clock, put ahead by a time that is mostly none."""

    def __init__(self, ahead: timedelta = timedelta(0)) -> None:
        """Take by how much."""
        self.ahead = ahead
        self.since = datetime.now(UTC)
        """By the machine; what it says itself is later, by as much as it is ahead."""

    def now(self) -> datetime:
        """Return the wall time."""
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        """Sleep; a signal handler that raises ends it early."""
        time.sleep(duration_s)


class ManualClock:
    """A clock that moves only when something sleeps on it or advances it; for windows of hours in a test."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        """Return the time that was set."""
        return self._now + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        """Return the seconds that were let pass."""
        return self._elapsed_s

    def sleep(self, duration_s: float) -> None:
        """Move forward at once."""
        self._elapsed_s += duration_s

    def advance(self, duration_s: float) -> None:
        """Move forward, as `sleep` does; reads better where nothing sleeps."""
        self._elapsed_s += duration_s


def asked_ahead(environment: Mapping[str, str]) -> timedelta:
    """Return by how much the wall clock is to be put ahead. Raises ValueError for what is no time from 0 to 30 days."""
    text = environment.get(AHEAD, "")
    seconds = float(text) if text else 0.0
    if not (math.isfinite(seconds) and 0 <= seconds <= MOST_AHEAD.total_seconds()):
        raise ValueError(f"{text} is not from 0 to {MOST_AHEAD.total_seconds():.0f}")
    return timedelta(seconds=seconds)


def _ahead() -> timedelta:
    """Return it for this process; what cannot be read is none here, and refused with the target."""
    try:
        return asked_ahead(os.environ)
    except ValueError:
        return timedelta(0)


SYSTEM_CLOCK = SystemClock(_ahead())


def rfc3339(moment: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC with microseconds and `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> datetime:
    """Return the aware UTC time that `text` names. Raises ValueError for a naive or unreadable one."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} names no time zone")
    return moment.astimezone(UTC)
