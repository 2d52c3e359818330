"""Time, as something that is handed in.

Invariants: `now` is aware and in UTC; `monotonic` never goes back; only `cutover.waiting` calls `sleep`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


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


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the wall time."""
        return datetime.now(UTC)

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


SYSTEM_CLOCK = SystemClock()


def rfc3339(moment: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC with microseconds and `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> datetime:
    """Return the aware UTC time that `text` names. Raises ValueError for a naive or unreadable one."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} names no time zone")
    return moment.astimezone(UTC)
