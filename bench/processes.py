"""CPU time of a process with its children, some of them left out.

Invariants: what a child used before it ended counts with the parent that waited for it; nothing is counted twice.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOOK_S: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a tree of processes."""

    time_s: float
    """By the monotonic clock."""
    root_s: float
    """CPU seconds of the root process itself."""
    all_s: float
    """With its children, ended ones too, without those left out."""
    others: int
    """How many processes were left out, each with its children."""


def look(root: psutil.Process, *, left_out: Sequence[str]) -> Look:
    """Add up a tree. Raises psutil.NoSuchProcess when its root is gone."""
    total_s, others, waiting = 0.0, 0, [root]
    while waiting:
        process = waiting.pop()
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended while this looks: the next look sees its time
            command = " ".join(process.cmdline())
            if any(words in command for words in left_out):
                others += 1
                continue
            used = process.cpu_times()
            total_s += used.user + used.system + used.children_user + used.children_system
            waiting += process.children()
    own = root.cpu_times()
    return Look(time_s=time.monotonic(), root_s=own.user + own.system, all_s=total_s, others=others)


class Watch:
    """Looks at a tree of processes several times a second, in a thread, as soon as its root is there."""

    def __init__(self, *, below: int, root: str, left_out: Sequence[str]) -> None:
        """Take the process below which the root is looked for, and words of the root's and of others' commands."""
        self._below = below
        self._root = root
        self._left_out = tuple(left_out)
        self._looks: list[Look] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        root: psutil.Process | None = None
        while not self._stop.wait(_LOOK_S):
            with contextlib.suppress(psutil.NoSuchProcess):
                root = root or find(self._root, below=self._below)
                if root is not None:
                    self._looks.append(look(root, left_out=self._left_out))

    def beside_others(self) -> tuple[Look, Look]:
        """Return the first and the last look at which all that is left out was there. Raises RuntimeError."""
        most = max((one.others for one in self._looks), default=0)
        found = [one for one in self._looks if one.others == most]
        if not most or found[0] is found[-1]:
            raise RuntimeError(f"nothing to measure: of {len(self._looks)} looks {len(found)} were beside the load")
        return found[0], found[-1]


def find(words: str, *, below: int) -> psutil.Process | None:
    """Return the process whose command has the words, in the tree below another, the nearest one."""
    for process in psutil.Process(below).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if words in " ".join(process.cmdline()):
                return process
    return None
