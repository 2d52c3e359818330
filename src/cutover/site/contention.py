"""Watch who waits for a lock in the database while something changes it under traffic.

Responsibility: samples of every waiting session, from before the change to after it, and of each the longest wait.
Invariants: it asks and touches nothing; a watch that could not look at its beginning or its end is no watch and says
so; what the watched block raises goes first.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from cutover.errors import CouldNotMeasure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.site.database import Database, LockWait

_INTERVAL_S = 0.5
_SAMPLES_IN_LIMIT = 10
_WORTH_NAMING_S = 1.0


class Watch:
    """What was seen so far; complete when the block is over."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.samples = 0
        self.unanswered = 0
        """Samples that the database did not answer."""
        self._longest: dict[tuple[int, str], LockWait] = {}

    def take(self, waits: tuple[LockWait, ...]) -> None:
        """Add one sample."""
        self.samples += 1
        for wait in waits:
            key = (wait.waiting.pid, wait.wants)
            before = self._longest.get(key)
            if before is None or wait.waited_s > before.waited_s:
                self._longest[key] = wait

    @property
    def waits(self) -> tuple[LockWait, ...]:
        """Every wait that was seen, each as long as it got, the longest first."""
        return tuple(sorted(self._longest.values(), key=lambda wait: -wait.waited_s))

    @property
    def too_long(self) -> tuple[LockWait, ...]:
        """Those beyond the limit."""
        return tuple(wait for wait in self.waits if wait.waited_s > self.limit_s)

    @property
    def worth_naming(self) -> tuple[LockWait, ...]:
        """Those that may have to do with what failed meanwhile."""
        return tuple(wait for wait in self.waits if wait.waited_s >= min(_WORTH_NAMING_S, self.limit_s))


@contextlib.contextmanager
def watched(database: Database, *, limit_s: float) -> Iterator[Watch]:
    """Look twice a second as long as the block, ten times in the limit at least, and once before and after it.

    What a wait grew by since the last look at it is not seen.

    Raises: CouldNotMeasure before the block when the database does not answer, and after it when it does not any more.
    """
    watch = Watch(limit_s)
    watch.take(database.lock_waits())
    interval_s, ending = min(_INTERVAL_S, limit_s / _SAMPLES_IN_LIMIT), threading.Event()

    def look() -> None:
        while not ending.wait(interval_s):
            try:
                watch.take(database.lock_waits())
            except CouldNotMeasure:
                watch.unanswered += 1

    thread = threading.Thread(target=look, name="lock waits", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        ending.set()
        thread.join()
    watch.take(database.lock_waits())
