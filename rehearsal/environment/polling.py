"""Wait for what the environment does by itself, for a bounded time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def holds_within(bound_s: float, holds: Callable[[], bool], *, every_s: float = 0.05) -> bool:
    """Ask until it holds; return whether it did before the bound. It is asked at least once."""
    deadline = time.monotonic() + bound_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True
