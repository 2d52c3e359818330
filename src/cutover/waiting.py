"""The one way to wait, and the only place that sleeps.

Invariants: every wait has a bound and names what it waits for; the last observation is always reported; the first
observation is made at once, and one more is made when the bound has passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cutover.clock import SYSTEM_CLOCK, Clock
from cutover.errors import CutoverError, Timeout

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One observation of a wait, as its listener gets it."""

    what: str
    waited_s: float
    bound_s: float
    last: str
    done: bool


def _no_listener(wait: Wait) -> None:
    """Tell nobody."""


def wait_for(
    what: str,
    observe: Callable[[], T],
    *,
    until: Callable[[T], bool],
    bound_s: float,
    interval_s: float = 0.5,
    listener: Callable[[Wait], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
    tolerate: tuple[type[CutoverError], ...] = (),
    describe: Callable[[T], str] = str,
    do: str = "",
    code: str = "timeout",
) -> T:
    """Observe every `interval_s` until `until` holds, and return the observation that satisfied it.

    what: completes "waiting for ..."; an error of a class in `tolerate` counts as an observation that does not satisfy.
    Raises Timeout (a ClauseFailed) with `waited_s`, `bound_s` and `last` when `bound_s` passes; what `observe` raises
    otherwise goes through.
    """
    tell = listener or _no_listener
    start_s = clock.monotonic()
    problem: CutoverError | None = None
    while True:
        began_s = clock.monotonic() - start_s
        try:
            value = observe()
            satisfied, last, problem = until(value), describe(value), None
        except tolerate as error:
            satisfied, last, problem = False, str(error), error
        waited_s = clock.monotonic() - start_s
        tell(Wait(what=what, waited_s=waited_s, bound_s=bound_s, last=last, done=satisfied))
        if satisfied:
            return value
        if began_s >= bound_s:
            raise Timeout(
                f"{what}: not within {bound_s:g} s",
                code=code,
                seen=f"after {waited_s:.1f} s: {last}",
                do=do,
                waited_s=round(waited_s, 3),
                bound_s=bound_s,
                last=last,
            ) from problem
        clock.sleep(max(0.0, min(interval_s, bound_s - waited_s)))


def hold(
    what: str,
    observe: Callable[[], T],
    *,
    duration_s: float,
    interval_s: float,
    listener: Callable[[Wait], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
    describe: Callable[[T], str] = str,
    stop: Callable[[T], bool] | None = None,
) -> list[T]:
    """Observe every `interval_s` for the whole of `duration_s` and return every observation, oldest first.

    For bakes and observation windows. The interval is from the beginning of one observation to that of the next. There
    is an observation at the start and one at the end; `stop` ends it early with the observation that decided it. What
    `observe` raises goes through.
    """
    tell = listener or _no_listener
    start_s = clock.monotonic()
    seen: list[T] = []
    while True:
        began_s = clock.monotonic() - start_s
        value = observe()
        seen.append(value)
        waited_s = clock.monotonic() - start_s
        over = began_s >= duration_s or (stop is not None and stop(value))
        tell(Wait(what=what, waited_s=waited_s, bound_s=duration_s, last=describe(value), done=over))
        if over:
            return seen
        clock.sleep(max(0.0, min(began_s + interval_s, duration_s) - waited_s))
