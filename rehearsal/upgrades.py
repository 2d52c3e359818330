"""One upgrade of a site for a matrix: the processes that work on it, its record, and what the site is like afterwards.

Invariants: each has a site of its own, from nothing, in the fast profile, which ends with this process; what the engine
is asked to do is asked by its command line alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rehearsal import asked, killing, survey
from rehearsal.environment import layout, lifecycle, sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ITEMS = 100
LONGEST_ATTEMPT_S = 240.0
KILLED = 128 + signal.SIGKILL
STRATEGIES = ("gradual", "instant")
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One process that worked on the upgrade."""

    exit_code: int
    duration_s: float
    output: str
    """Its file, by name."""


@contextlib.contextmanager
def site(name: str, strategy: str) -> Iterator[tuple[layout.Place, float]]:
    """Bring a site up for as long as the block, the plan of its upgrade approved.

    Yields its place, and after how many seconds it was up.
    """
    from rehearsal.environment import approving, assembly, sitedata, target  # noqa: PLC0415 - bring much along

    place = layout.Place.named(name[:40].rstrip("-"))
    shape = target.Shape(strategy=strategy, profile="fast")
    history = sitedata.History(items=ITEMS)
    try:
        came_up_s = assembly.up(place, lambda _: None, tied=True, history=history, shape=shape)
        approving.approve(place, ("--strategy", strategy))
        yield place, round(came_up_s, 1)
    finally:
        lifecycle.down(place)


def attempt(place: layout.Place, command: Sequence[str], *, output: Path, order: killing.Order) -> Attempt:
    """Perform a command of the engine inside the site, with kills armed. output: the file for what it says."""
    began = time.monotonic()
    with armed(order):
        words = [sys.executable, "-m", "cutover.cli", *command]
        between, inner = sandbox.spawn(place, words, new_group=True, log=output)
    code = _wait(between, inner, began + LONGEST_ATTEMPT_S)
    return Attempt(exit_code=code, duration_s=round(time.monotonic() - began, 2), output=output.name)


@contextlib.contextmanager
def armed(order: killing.Order) -> Iterator[None]:
    """Let processes that are started meanwhile load the plugin that kills."""
    said = {killing.VARIABLE: order.write(), "PYTEST_ADDOPTS": f"-p {killing.PLUGIN}"} if order.moments else {}
    before = {name: os.environ.get(name) for name in said}
    os.environ.update(said)
    try:
        yield
    finally:
        for name, text in before.items():
            os.environ.pop(name, None)
            if text is not None:
                os.environ[name] = text


def _wait(between: int, inner: int, deadline_s: float) -> int:
    """Return the exit code of a command; one that does not end in time is ended, and then -1."""
    while time.monotonic() < deadline_s:
        ended, status = os.waitpid(between, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_LOOK_S)
    os.kill(inner, signal.SIGKILL)
    os.waitpid(between, 0)
    return -1


def record_in(own: Path) -> Path:
    """Return the record in a case's folder, one with a line; a path that does not exist when there is none yet."""
    journals = [path for path in sorted(own.glob("*/journal.jsonl")) if b"\n" in path.read_bytes()]
    return journals[-1].parent if journals else own / "no-record"


def commit() -> str:
    """Return the commit of the checkout; empty when there is none."""
    command = ["git", "-C", str(layout.PROJECT), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def keep_little(own: Path) -> None:
    """Remove of a sound case what takes room: its journal, verdict and outputs stay."""
    record = record_in(own)
    for path in record.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def look_at(place: layout.Place) -> survey.Facts:
    """Return what a site is like now. Raises: LookupError when it cannot be looked at."""
    module = ("-m", "rehearsal.survey", "--state", str(place.root))
    code, said = asked.inside(place.name, sys.executable, *module, environment=dict(os.environ))
    if code != 0:
        raise LookupError(f"the site {place.name} cannot be looked at")
    found: survey.Facts = json.loads(said)
    return found


def read_document(path: Path) -> dict[str, Any]:
    """Return a JSON document; an empty one when there is none, or it cannot be read."""
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    return {}
