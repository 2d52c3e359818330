"""An environment's life but for its beginning (`assembly`): what is known of it, its end, which there are.

Invariants: one lock an environment, held while it comes up or goes down. Imports little: every `env exec` passes here.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from rehearsal.environment import layout, sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def held(place: layout.Place, *, wait: bool = True) -> Iterator[bool]:
    """Hold the environment's lock; yields whether it is held, False only when it is another's and `wait` is False."""
    place.lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with place.lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            if not _is_still(place.lock, file.fileno()):
                continue  # removed by whoever held it
            yield True
            return


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def status_of(place: layout.Place) -> dict[str, Any]:
    """Return what the supervisor last said, with `state` corrected to `down` when nothing holds the sandbox."""
    document: dict[str, Any] = {"state": "down", "reason": "", "parts": {}}
    with contextlib.suppress(OSError, ValueError):
        document = json.loads(place.status.read_text(encoding="utf-8"))
    if sandbox.pid_of(place) is None and document["state"] != "failed":
        document["state"] = "down"
    return document


def plan_of(place: layout.Place) -> dict[str, Any]:
    """Return what the environment was made as, `{}` when there is none."""
    with contextlib.suppress(OSError, ValueError):
        document: dict[str, Any] = json.loads(place.plan.read_text(encoding="utf-8"))
        return document
    return {}


def down(place: layout.Place) -> bool:
    """End everything and remove the folder; whether there was anything."""
    with held(place):
        was = sandbox.end(place) or place.root.exists()
        remove(place.root)
        place.lock.unlink(missing_ok=True)
    return was


def remove_dead(prefix: str) -> None:
    """Remove what is left of environments called `prefix…` whose processes were killed."""
    for place in every():
        if place.name.startswith(prefix) and sandbox.pid_of(place) is None:
            with held(place, wait=False) as ours:
                if ours and sandbox.pid_of(place) is None:
                    remove(place.root)
                    place.lock.unlink(missing_ok=True)


def log_text(place: layout.Place, part: str) -> str:
    """Return the log of a part, '' when there is none."""
    try:
        return place.logs(part).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def remove(folder: Path) -> None:
    """Remove a folder, also where a part took a permission away."""
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(folder)


def every() -> list[layout.Place]:
    """Every environment that has a folder, by name."""
    home = layout.environments_folder()
    if not home.is_dir():
        return []
    return [layout.Place.at(entry) for entry in sorted(home.iterdir()) if entry.is_dir()]
