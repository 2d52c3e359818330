"""Stopping on request: once in order, twice at once.

The first SIGINT, SIGTERM or SIGHUP raises `Interrupted` in the main thread, or waits for the end of a `shield` (a
change that must not be left half done); the second ends the process.
Invariants: handlers are put back as they were; a shield never delays more than its own block.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from cutover.model import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """The operator, or the system, asked the run to stop."""


class Interrupts:
    """The process's stop requests, for as long as it is installed."""

    def __init__(self, *, last_words: Callable[[str], None] | None = None) -> None:
        """Take what to call with the signal's name before the second request ends the process."""
        self.requested: str | None = None
        """The first signal's name, once there was one."""
        self._last_words = last_words
        self._shields = 0
        self._pending = False
        self._demanded = ""
        self._before: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Take the signals over. Only in the main thread."""
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)

    def restore(self) -> None:
        """Put the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @contextlib.contextmanager
    def shield(self) -> Iterator[None]:
        """Let a short change finish: a first request that comes meanwhile takes effect when the block ends.

        Signals reach the main thread alone; in any other there is nothing to shield.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
            if self._pending and not self._shields:
                self._pending = False
                raise Interrupted(self.requested)

    def settle(self) -> None:
        """From now on a first request changes nothing any more: the run is over and is being written down."""
        self._shields += 1

    def demand(self, word: str) -> None:
        """Stop the run from any thread, as a first request would; `word` stands where a signal's name would."""
        self._demanded = word
        os.kill(os.getpid(), signal.SIGTERM)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        name = self._demanded or signal.Signals(number).name
        if self.requested is not None:
            if self._last_words is not None:
                with contextlib.suppress(Exception):
                    self._last_words(name)
            os._exit(ExitCode.UNDECIDED)
        self.requested = name
        if self._shields:
            self._pending = True
            return
        raise Interrupted(name)
