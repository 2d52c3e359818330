"""A container run's log on disk: one writer, fed from the process's pipes, and any number of readers.

Readers that follow are woken by the writer. A file that reaches its largest size is renamed to `.1` and begun anew;
followers finish the old one first.
"""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rehearsal.node.loglines import LogQuery, format_lines, render, select

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

LARGEST_BYTES = 16 * 1024 * 1024


class ContainerLog:
    """The log of one run of a container."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generation = 0
        self.is_open = True
        self.changed = asyncio.Event()
        self._size_bytes = 0
        self._descriptor = -1
        self._begin()

    def write(self, stream: str, lines: Iterable[bytes]) -> None:
        """Append lines, without their newlines, that came from `stream` ("stdout" or "stderr")."""
        if not self.is_open:
            return
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
        content = format_lines(lines, stream, stamp)
        os.write(self._descriptor, content)
        self._size_bytes += len(content)
        if self._size_bytes > LARGEST_BYTES:
            os.close(self._descriptor)
            self.path.rename(self.path.with_suffix(".1"))
            self._begin()
        self._wake()

    def close(self) -> None:
        """End the log: followers come to its end and stop."""
        if self.is_open:
            self.is_open = False
            os.close(self._descriptor)
            self._wake()

    def _begin(self) -> None:
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o600)
        self._size_bytes = 0
        self.generation += 1

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


async def read_log(path: Path, live: ContainerLog | None, query: LogQuery) -> AsyncIterator[bytes]:
    """Yield what the reader asked for: what is there, then, when following a `live` log, what comes until it is closed.

    Raises:
        OSError: the log is gone.
    """
    left = query.limit_bytes
    generation = live.generation if live else 0
    handle = path.open("rb")
    try:
        part = select(handle, query)
        while True:
            if left is not None:
                part = part[:left]
                left -= len(part)
            if part:
                yield part
            if left == 0 or live is None or not query.follow:
                return
            changed, is_open, current = live.changed, live.is_open, live.generation
            part = b"".join(render(line, query) for line in handle)
            if part:
                continue
            if current != generation:
                handle.close()
                handle, generation = path.open("rb"), current
            elif is_open:
                await changed.wait()
            else:
                return
    finally:
        handle.close()


def tail_of(path: Path, *, lines: int, size_bytes: int) -> str:
    """Return the end of a log as text, for a terminated container's message; empty when there is none."""
    try:
        with path.open("rb") as handle:
            handle.seek(max(0, path.stat().st_size - 4 * size_bytes))
            text = select(handle, LogQuery(tail_lines=lines))
    except OSError:
        return ""
    return text[-size_bytes:].decode(errors="replace")
