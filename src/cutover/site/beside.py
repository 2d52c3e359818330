"""Processes that run beside the upgrade, and the files that they write while it goes on.

Invariants: such a process ends with the harness, however that ends (the kernel sees to it), and leaves no child of its
own behind; what it says goes to a file of the record; a line is taken from a growing file once, and only when it is
whole.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PR_SET_PDEATHSIG = 1
_KILLED_WITHIN_S = 5.0


class Companion:
    """One process beside the upgrade."""

    def __init__(self, argv: Sequence[str], *, log: Path) -> None:
        """Start it in a session of its own. log: where its output goes."""
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 (two calls, safe before exec)
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def running(self) -> bool:
        """Whether it is alive."""
        return self._process.poll() is None

    def ask_to_end(self) -> None:
        """Ask it to finish; does not wait."""
        if self.running():
            self._process.terminate()

    def end(self, *, within_s: float) -> int:
        """Wait until it has ended, kill it when the time is over, and return its exit code. Idempotent."""
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_KILLED_WITHIN_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its children, where it left any
        return self._process.returncode

    def last_words(self) -> str:
        """Return the end of what it said."""
        try:
            text = self._log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "it wrote nothing"
        return "\n".join(text.strip().splitlines()[-5:])[-1000:] or "it wrote nothing"


class GrowingFile:
    """The lines of a file that somebody else writes."""

    def __init__(self, path: Path) -> None:
        """Take its path; it need not exist yet."""
        self._path = path
        self._stream: IO[bytes] | None = None
        self._rest = b""

    def lines(self) -> list[bytes]:
        """Return the whole lines that have come since the last call, without their ends."""
        if self._stream is None:
            try:
                self._stream = self._path.open("rb")
            except FileNotFoundError:
                return []
        content = b"" if self._stream.closed else self._stream.read()
        if not content:
            return []
        *lines, self._rest = (self._rest + content).split(b"\n")
        return lines

    def close(self) -> None:
        """Close it: no line comes any more."""
        if self._stream is not None:
            self._stream.close()


def _end_with_parent() -> None:
    """Have the kernel end this process when the harness dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
