"""The master's ledger: seconds of several workers become one line each, and nothing is lost or counted twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cutover import latency
from load.ledger import LOST_AFTER_S, PATIENCE_S, Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BEGAN_S = 1_800_000_000.5
SECOND = 1_800_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "load"


@pytest.fixture
def ledger(folder: Path) -> Iterator[Ledger]:
    ledger = Ledger(folder, run="run-1", began_s=BEGAN_S)
    yield ledger
    ledger.close()


def report(*numbers: int, sent_s: float, markers: Sequence[int] = (), is_last: bool = False) -> dict[str, Any]:
    """Return a worker's report of seconds: ten reads by blue, one scan that failed by green, three of nobody."""
    rows = [["read", "blue", False, 2000, 10], ["scan", "green", True, 9000, 1], ["write", "nobody", True, 49_984, 3]]
    failure = {"time": "2027-01-15T08:00:00.000000Z", "method": "POST", "name": "scan", "error": "e", "colour": "green"}
    return {
        "sent": sent_s,
        "users": 5,
        "is_last": is_last,
        "seconds": [
            {"second": SECOND + number, "rows": rows, "markers": list(markers), "failures": [failure]}
            for number in numbers
        ],
    }


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines()]


def test_a_second_is_written_when_every_worker_has_reported_it(ledger: Ledger, folder: Path) -> None:
    ledger.plan("weight-10", 100.0, now_s=BEGAN_S)
    ledger.take("one", report(0, sent_s=SECOND + 1.01, markers=[1, 2]), now_s=SECOND + 1.01)
    ledger.take("two", report(0, sent_s=SECOND + 1.02, markers=[1_000_000_001]), now_s=SECOND + 1.02)
    ledger.write_due(now_s=SECOND + 1.03)
    (line,) = lines(folder)
    assert line == {
        "time": "2027-01-15T08:00:01.000000Z",
        "elapsed_s": 0.5,
        "users": 10,
        "attempted": 28,
        "failed": 8,
        "by_colour": {"blue": 20, "green": 2, "nobody": 6},
        "failed_by_colour": {"green": 2, "nobody": 6},
        "p50_ms": {"blue": 2.0, "green": 9.0, "nobody": 49.984},
        "p99_ms": {"blue": 2.0, "green": 9.0, "nobody": 49.984},
        "reads": 20,
        "writes": 8,
        "scans": 0,
        "planned": 50.0,
        "phase": "weight-10",
        "failures": [line["failures"][0]] * 2,
        "workers": 2,
        "workers_lost": [],
    }
    markers = [json.loads(text) for text in (folder / "markers.jsonl").read_text().splitlines()]
    assert [marker["number"] for marker in markers] == [1, 2, 1_000_000_001]
    assert {marker["run"] for marker in markers} == {"run-1"}
    reader = latency.HistogramReader()
    found = [reader.take(text) for text in (folder / "latency.hlog").read_text().splitlines()]
    assert {one.tag: one.counts for one in found if one} == {
        "blue": {2000: 20},
        "green": {9000: 2},
        "nobody": {49_984: 6},
    }


def test_a_slow_worker_is_waited_for_and_then_counted_later(ledger: Ledger, folder: Path) -> None:
    for name in ("one", "two"):
        ledger.take(name, report(0, sent_s=SECOND + 1.01), now_s=SECOND + 1.01)
    ledger.take("one", report(1, sent_s=SECOND + 2.01), now_s=SECOND + 2.01)
    ledger.write_due(now_s=SECOND + 2 + PATIENCE_S - 0.01)
    assert [line["attempted"] for line in lines(folder)] == [28]
    ledger.write_due(now_s=SECOND + 2 + PATIENCE_S)
    ledger.take("two", report(1, 2, sent_s=SECOND + 3.01), now_s=SECOND + 3.01)
    ledger.take("one", report(2, sent_s=SECOND + 3.02), now_s=SECOND + 3.02)
    ledger.write_due(now_s=SECOND + 3.03)
    assert [line["attempted"] for line in lines(folder)] == [28, 14, 42]


def test_a_worker_that_falls_silent_is_lost_and_not_waited_for(ledger: Ledger, folder: Path) -> None:
    for number in range(6):
        now_s = SECOND + number + 1.01
        ledger.take("one", report(number, sent_s=now_s), now_s=now_s)
        if number < 1:
            ledger.take("two", report(number, sent_s=now_s), now_s=now_s)
        ledger.write_due(now_s=now_s)
    found = lines(folder)
    assert [line["workers_lost"] for line in found][-1] == ["two"]
    assert (found[-1]["workers"], found[-1]["users"]) == (1, 5)
    assert found[0]["workers_lost"] == []
    lost_s = next(line["elapsed_s"] for line in found if line["workers_lost"])
    assert lost_s <= LOST_AFTER_S + 2
    ledger.take("two", report(6, sent_s=SECOND + 7.01), now_s=SECOND + 7.01)
    ledger.take("one", report(6, sent_s=SECOND + 7.01), now_s=SECOND + 7.01)
    ledger.write_due(now_s=SECOND + 7.02)
    assert lines(folder)[-1]["workers_lost"] == []


def test_a_second_without_any_report_has_its_line(ledger: Ledger, folder: Path) -> None:
    ledger.plan("prepare", 10.0, now_s=BEGAN_S)
    ledger.write_due(now_s=SECOND + 3.0)
    assert [(line["attempted"], line["planned"], line["workers"]) for line in lines(folder)] == [
        (0, 5.0, 0),
        (0, 10.0, 0),
        (0, 10.0, 0),
    ]


def test_what_is_planned_follows_the_phases(ledger: Ledger, folder: Path) -> None:
    ledger.plan("prepare", 0.0, now_s=BEGAN_S)
    ledger.plan("prepare", 100.0, now_s=SECOND + 1.0)
    ledger.plan("weight-10", 200.0, now_s=SECOND + 2.25)
    ledger.plan("weight-10", 0.0, now_s=SECOND + 4.5)
    ledger.write_due(now_s=SECOND + 4)
    ledger.finish(now_s=SECOND + 4.75)
    assert [(line["phase"], line["planned"]) for line in lines(folder)] == [
        ("prepare", 0.0),
        ("prepare", 100.0),
        ("prepare", 175.0),
        ("weight-10", 200.0),
        ("weight-10", 100.0),
    ]


def test_a_clock_that_is_hours_off_is_put_right(ledger: Ledger, folder: Path) -> None:
    ahead = report(7200, sent_s=SECOND + 7201.3)
    ledger.take("one", ahead, now_s=SECOND + 1.02)
    ledger.write_due(now_s=SECOND + 1.02)
    assert [line["attempted"] for line in lines(folder)] == [14]


def test_the_end_writes_what_is_left_and_once(ledger: Ledger, folder: Path) -> None:
    ledger.take("one", report(0, 1, sent_s=SECOND + 1.6), now_s=SECOND + 1.6)
    ledger.finish(now_s=SECOND + 1.6)
    ledger.finish(now_s=SECOND + 9.0)
    found = lines(folder)
    assert [line["time"][17:] for line in found] == ["01.000000Z", "01.600000Z"]
    assert [line["attempted"] for line in found] == [14, 14]
    assert found[-1]["elapsed_s"] == 1.1


def test_who_has_not_reported_its_last_is_lost_at_the_end(ledger: Ledger, folder: Path) -> None:
    ledger.take("one", report(0, sent_s=SECOND + 1.0), now_s=SECOND + 1.0)
    ledger.take("two", report(0, sent_s=SECOND + 1.0, is_last=True), now_s=SECOND + 1.0)
    ledger.finish(now_s=SECOND + 1.5)
    assert [line["workers_lost"] for line in lines(folder)][-1] == ["one"]


def test_the_last_reports_of_all_but_lost_workers_are_awaited(ledger: Ledger) -> None:
    for name in ("one", "two", "three"):
        ledger.take(name, report(0, sent_s=SECOND + 1.0), now_s=SECOND + 1.0)
    ledger.take("one", report(1, sent_s=SECOND + 4.0, is_last=True), now_s=SECOND + 4.0)
    ledger.take("two", report(1, sent_s=SECOND + 4.0), now_s=SECOND + 4.0)
    assert not ledger.has_all_last_reports
    ledger.take("two", report(1, sent_s=SECOND + 4.5, is_last=True), now_s=SECOND + 4.5)
    assert not ledger.has_all_last_reports
    ledger.write_due(now_s=SECOND + 5.0)
    assert ledger.has_all_last_reports  # the third has said nothing for longer than a worker may
