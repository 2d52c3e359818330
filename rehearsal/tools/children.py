"""The processes this package starts: each in a group of its own, all ended when we are, however we end.

`setpriv --pdeathsig` lets the kernel end a child whose parent was killed; where there is no setpriv, an orphan
finishes its piece of work and stops.
"""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a child ended, and what it wrote to stdout and stderr together."""

    returncode: int
    output: str


@dataclass(slots=True)
class Children:
    """The running children of one job; `end` stops them and refuses new ones."""

    _running: set[subprocess.Popen[str]] = field(default_factory=set)
    _ended: threading.Event = field(default_factory=threading.Event)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def is_ended(self) -> bool:
        """Say whether `end` was called."""
        return self._ended.is_set()

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path | None = None,
        keep_open: tuple[int, ...] = (),
        line: Callable[[str], None] | None = None,
    ) -> Finished:
        """Run `command` in `folder` until it ends, handing each line it writes to `line` as it comes.

        The child inherits the descriptors `keep_open`. Raises KeyboardInterrupt once `end` was called.
        """
        setpriv = shutil.which("setpriv", path=os.defpath)
        with self._guard:
            if self._ended.is_set():
                raise KeyboardInterrupt
            process = subprocess.Popen(
                [setpriv, "--pdeathsig", "TERM", *command] if setpriv else list(command),
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                pass_fds=keep_open,
                start_new_session=True,
            )
            self._running.add(process)
        output = []
        try:
            if process.stdout is not None:
                for text in process.stdout:
                    output.append(text)
                    if line is not None:
                        line(text.rstrip("\n"))
            returncode = process.wait()
        finally:
            with self._guard:
                self._running.discard(process)
            _stop(process)
        if self._ended.is_set():
            raise KeyboardInterrupt
        return Finished(returncode=returncode, output="".join(output))

    def end(self) -> None:
        """End every child with its process group, and every later one before it starts."""
        with self._guard:
            self._ended.set()
            for process in self._running:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
