"""Commands run to their end inside the sandbox, and the ends of logs."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

from rehearsal.environment import layout
from rehearsal.environment.errors import PartFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def run_logged(place: layout.Place, part: str, argv: Sequence[str], environment: dict[str, str] | None = None) -> None:
    """Run a command to its end with its output in the part's log. Raises: PartFailed with the last lines."""
    with place.logs(part).open("ab") as log:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=layout.PROJECT,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    if done.returncode != 0:
        raise PartFailed(f"{part} ended with code {done.returncode}", seen=tail(place.logs(part)))


def tail(path: Path, lines: int = 8) -> str:
    """Return the last lines of a log, '' when there is none."""
    return "\n".join(lines_of(path)[-lines:])


def lines_of(path: Path, *, whole: bool = False) -> list[str]:
    """Return the lines of a log, none when there is none; `whole` leaves out one that is still being written."""
    with contextlib.suppress(OSError):
        text = path.read_text(encoding="utf-8", errors="replace")
        return (text[: text.rfind("\n") + 1] if whole else text).splitlines()
    return []
