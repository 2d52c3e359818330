"""Seconds of load: how they add up, and which of them belong to a window."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cutover.site.measured import LoadSecond, add_up, parse_second, seconds_between

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover import latency

START = datetime(2026, 1, 1, tzinfo=UTC)


def second(number: int, *, failed: int = 0, latencies_us: Mapping[str, latency.Counts] | None = None) -> LoadSecond:
    """Return the second that ends `number` seconds after the start: ten requests of twelve, one of them green's."""
    return LoadSecond(
        time=START + timedelta(seconds=number),
        elapsed_s=float(number),
        users=2,
        attempted=10,
        failed=failed,
        by_colour={"blue": 9, "green": 1},
        failed_by_colour={"green": failed},
        p50_ms={},
        p99_ms={},
        reads=8,
        writes=2,
        scans=1,
        planned=12.0,
        phase="prepare",
        failures=(),
        workers=1,
        workers_lost=(),
        latencies_us=latencies_us or {},
    )


SECONDS = [second(number) for number in range(1, 11)]


@pytest.mark.parametrize(
    ("since_s", "until_s", "count"),
    [(0, None, 10), (0, 10, 10), (0, 9.9, 9), (0.1, None, 9), (5, None, 5), (5, 6, 1), (9.5, None, 0), (11, None, 0)],
)
def test_only_whole_seconds_belong_to_a_window(since_s: float, until_s: float | None, count: int) -> None:
    until = None if until_s is None else START + timedelta(seconds=until_s)
    assert len(seconds_between(SECONDS, START + timedelta(seconds=since_s), until)) == count


def test_counts_add_up() -> None:
    totals = add_up([*SECONDS, second(11, failed=3)])
    assert (totals.attempted, totals.failed, totals.by_colour) == (110, 3, {"blue": 99, "green": 11})
    assert (totals.reads, totals.writes, totals.scans, totals.seconds, totals.rps) == (88, 22, 11, 11.0, 10.0)
    assert totals.planned == 132.0


def test_a_p99_is_that_of_all_the_latencies_together() -> None:
    first = second(1, latencies_us={"green": {1000: 99}, "blue": {7000: 1}})
    seconds = [first, second(2, latencies_us={"green": {9000: 2}})]
    assert add_up(seconds).p99_ms == {"green": 9.0, "blue": 7.0}
    assert add_up([first, second(2, latencies_us={"green": {9000: 1}})]).p99_ms["green"] == 1.0


def test_nothing_is_nothing() -> None:
    totals = add_up([])
    assert (totals.attempted, totals.planned, totals.seconds, totals.rps, totals.p99_ms) == (0, 0.0, 0.0, 0.0, {})


LINE = {
    "time": "2026-01-01T00:00:01.000000Z",
    "elapsed_s": 1.0,
    "users": 2,
    "attempted": 10,
    "failed": 0,
    "by_colour": {"blue": 10},
    "failed_by_colour": {},
    "p50_ms": {"blue": 1.0},
    "p99_ms": {"blue": 2.0},
    "reads": 9,
    "writes": 1,
    "scans": 0,
    "planned": 10.0,
    "phase": "weight-10",
    "failures": [],
    "workers": 1,
    "workers_lost": [],
}


def test_a_line_is_a_second() -> None:
    assert parse_second(json.dumps(LINE)).time == START + timedelta(seconds=1)


@pytest.mark.parametrize("key", sorted(LINE))
def test_a_line_without_a_field_is_none(key: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse_second(json.dumps({name: value for name, value in LINE.items() if name != key}))
