"""Who served: green's share of the requests, and between which counts a weight can put it."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.runbook.ports import LoadTotals

_NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of a number of requests green answered, and between which counts a weight can put that."""

    percent: int
    green: int
    total: int
    low: int
    high: int

    @property
    def is_inside(self) -> bool:
        """Whether the count can be what the weight means."""
        return self.total > 0 and self.low <= self.green <= self.high


def interval(total: int, percent: float, confidence: float) -> tuple[int, int]:
    """Return the central interval of the binomial distribution that holds green's count with this confidence.

    Exact, not approximated: total trials, each green with probability percent / 100.
    """
    from scipy.stats import binom  # noqa: PLC0415 (slow to import)

    if total == 0:
        return 0, 0
    low, high = binom.interval(confidence, total, percent / 100)
    # For probabilities 0 and 1 scipy gives -1 as the lower end of nothing; a count is never below zero.
    return max(0, int(low)), min(total, int(high))


@functools.cache
def begin_to_get_ready() -> threading.Thread:
    """Begin, once, to load what the intervals and tests are computed with, beside what is done meanwhile."""
    thread = threading.Thread(target=interval, args=(1, 50, 0.5), name="statistics", daemon=True)
    thread.start()
    return thread


def get_ready() -> None:
    """Have that loaded: a second that no weight should wait for."""
    begin_to_get_ready().join()
    interval(1, 50, 0.5)


def share_of(totals: LoadTotals, green: str, percent: int, confidence: float) -> Share:
    """Return green's share of what the load generator saw, with the interval of the weight."""
    return share_by_colour(totals.by_colour, green, percent, confidence)


def share_by_colour(by_colour: Mapping[str, int], green: str, percent: int, confidence: float) -> Share:
    """Return green's share of answers by colour, with the interval of the weight.

    Requests that nobody answered are no colour's and are left out: they are failures, and count as such.
    """
    answered = {colour: count for colour, count in by_colour.items() if colour != _NOBODY}
    total = sum(answered.values())
    low, high = interval(total, percent, confidence)
    return Share(percent=percent, green=answered.get(green, 0), total=total, low=low, high=high)
