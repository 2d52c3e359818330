"""Back-off: the waits a crashing container sees, by a clock that the test moves."""

from __future__ import annotations

import pytest

from rehearsal.node.backoff import Backoff, format_delay


def waits(lives_s: list[float]) -> list[float]:
    """Return how long each restart waits, when each run lives as long as given and then fails."""
    backoff = Backoff()
    now_s = 1000.0
    found = []
    for life_s in lives_s:
        now_s += life_s
        failed_at_s = now_s
        wait_s = backoff.remaining(failed_at_s, now_s)
        found.append(wait_s)
        now_s += wait_s
        backoff.advance(failed_at_s, now_s)
    return found


def test_the_first_restart_is_at_once_then_ten_seconds_doubling_to_five_minutes() -> None:
    assert waits([1.0] * 9) == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_ten_minutes_without_a_failure_start_the_count_again() -> None:
    assert waits([1, 1, 1, 601, 1, 1]) == [0, 10, 20, 0, 10, 20]


def test_less_than_ten_minutes_do_not() -> None:
    assert waits([1, 1, 1, 599]) == [0, 10, 20, 40]


def test_the_wait_counts_from_the_failure() -> None:
    backoff = Backoff()
    backoff.advance(0.0, 0.0)
    assert backoff.remaining(100.0, 103.5) == 6.5
    assert backoff.remaining(100.0, 200.0) == 0


@pytest.mark.parametrize(("delay_s", "text"), [(10.0, "10s"), (80.0, "1m20s"), (300.0, "5m0s")])
def test_delays_are_written_as_kubelet_does(delay_s: float, text: str) -> None:
    assert format_delay(delay_s) == text
