"""Waiting: every wait is bounded, and says what it saw last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cutover.clock import ManualClock
from cutover.errors import CouldNotMeasure, Timeout
from cutover.waiting import hold, wait_for

if TYPE_CHECKING:
    from cutover.waiting import Wait


@pytest.mark.parametrize(
    ("ready_at_s", "bound_s", "interval_s", "waited_s"),
    [
        (0, 10, 1, 0),
        (3, 10, 1, 3),
        (10, 10, 3, 10),
        (2.5, 10, 1, 3),
    ],
)
def test_returns_the_observation_that_satisfied_it(
    ready_at_s: float, bound_s: float, interval_s: float, waited_s: float
) -> None:
    clock = ManualClock()
    found = wait_for(
        "it", clock.monotonic, until=lambda s: s >= ready_at_s, bound_s=bound_s, interval_s=interval_s, clock=clock
    )
    assert found == clock.monotonic() == waited_s


def test_a_bound_that_passes_names_what_was_seen_last() -> None:
    clock = ManualClock()
    with pytest.raises(Timeout) as raised:
        wait_for("queue empty", lambda: 7, until=lambda n: n == 0, bound_s=5, interval_s=2, clock=clock, do="look")
    error = raised.value
    assert str(error) == "queue empty: not within 5 s"
    assert error.facts == {"waited_s": 5.0, "bound_s": 5, "last": "7"}
    assert (error.seen, error.do) == ("after 5.0 s: 7", "look")


def test_the_bound_itself_is_observed() -> None:
    clock = ManualClock()
    seen: list[float] = []

    def observe() -> float:
        seen.append(clock.monotonic())
        return seen[-1]

    with pytest.raises(Timeout):
        wait_for("it", observe, until=lambda _: False, bound_s=5, interval_s=2, clock=clock)
    assert seen == [0, 2, 4, 5]


def test_a_slow_observation_is_not_cut_short_but_ends_the_wait() -> None:
    clock = ManualClock()

    def observe() -> str:
        clock.advance(30)
        return "slow"

    with pytest.raises(Timeout):
        wait_for("it", observe, until=lambda _: False, bound_s=5, interval_s=1, clock=clock)
    assert clock.monotonic() == 60, "one at the start, one when the bound had passed"


def test_a_tolerated_error_is_an_observation_and_the_cause() -> None:
    clock = ManualClock()

    def observe() -> int:
        raise CouldNotMeasure("connection refused")

    with pytest.raises(Timeout) as raised:
        wait_for("it", observe, until=bool, bound_s=1, clock=clock, tolerate=(CouldNotMeasure,))
    assert raised.value.facts["last"] == "connection refused"
    assert isinstance(raised.value.__cause__, CouldNotMeasure)


def test_any_other_error_goes_through() -> None:
    def observe() -> int:
        raise CouldNotMeasure("gone")

    with pytest.raises(CouldNotMeasure):
        wait_for("it", observe, until=bool, bound_s=1, clock=ManualClock())


def test_the_listener_hears_every_observation() -> None:
    clock = ManualClock()
    heard: list[Wait] = []
    wait_for("it", clock.monotonic, until=lambda s: s >= 1, bound_s=9, listener=heard.append, clock=clock)
    assert [(wait.waited_s, wait.last, wait.done) for wait in heard] == [
        (0.0, "0.0", False),
        (0.5, "0.5", False),
        (1.0, "1.0", True),
    ]


def test_holding_observes_the_whole_window_both_ends_included() -> None:
    clock = ManualClock()
    assert hold("bake", clock.monotonic, duration_s=8, interval_s=3, clock=clock) == [0, 3, 6, 8]


def test_holding_stops_with_the_observation_that_decided() -> None:
    clock = ManualClock()
    seen = hold("bake", clock.monotonic, duration_s=3600, interval_s=60, clock=clock, stop=lambda s: s >= 120)
    assert seen == [0, 60, 120]
