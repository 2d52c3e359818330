"""The open-loop probe: what its lines mean, and the real one against a server that freezes."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cutover import latency
from cutover.policy import Probe
from cutover.site.probe import ProbeRecord, ProbeRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.load.conftest import BareHost

START_S = 1_800_000_000.0


def ended(number: int, ms: float, *, colour: str = "blue", status: int = 200, error: str = "") -> str:
    """Return the line of a request that has its end."""
    facts = {"n": number, "ms": ms, "late_ms": 0.1, "status": status, "colour": colour, "error": error}
    return json.dumps(facts)


@pytest.fixture
def record() -> ProbeRecord:
    """Return the record of ten requests a second from START_S on, with a timeout of two seconds."""
    record = ProbeRecord(timeout_s=2.0)
    record.take(json.dumps({"start": START_S, "requests_per_s": 10.0}))
    return record


def test_before_the_schedule_is_known_nothing_is_planned() -> None:
    totals = ProbeRecord(timeout_s=1.0).totals(0.0, START_S, now_s=START_S)
    assert (totals.planned, totals.p50_ms, totals.p99_ms, totals.max_ms) == (0, None, None, None)


@pytest.mark.parametrize(
    ("since_s", "until_s", "planned"), [(0, 1, 10), (0, 0.05, 1), (0.5, 0.75, 3), (-9, 1, 10), (1, 1, 0), (2, 9, 10)]
)
def test_a_request_belongs_to_when_it_was_due(
    record: ProbeRecord, since_s: float, until_s: float, planned: int
) -> None:
    assert record.totals(START_S + since_s, START_S + until_s, now_s=START_S + 3).planned == planned


def test_answers_are_counted_by_colour_and_failures_apart(record: ProbeRecord) -> None:
    record.take(ended(0, 3.0))
    record.take(ended(2, 5.0, colour="green"))
    record.take(ended(1, 1.0, status=503, error="status 503"))
    record.take(ended(3, 2000.0, status=0, colour="", error="no answer within 2 s"))
    totals = record.totals(START_S, START_S + 0.4, now_s=START_S + 3)
    assert (totals.planned, totals.answered, totals.failed) == (4, 2, 2)
    assert totals.by_colour == {"blue": 2, "green": 1}
    assert totals.p50_ms == pytest.approx(5.0, rel=0.001)
    assert totals.max_ms == pytest.approx(2000.0, rel=0.001)


def test_a_fast_refusal_is_no_latency(record: ProbeRecord) -> None:
    record.take(ended(0, 1.0, status=503, error="status 503"))
    assert record.totals(START_S, START_S + 0.1, now_s=START_S + 1).p50_ms is None


def test_a_request_under_way_counts_with_its_age(record: ProbeRecord) -> None:
    for number in range(10):
        record.take(ended(number, 2.0))
    totals = record.totals(START_S, START_S + 2, now_s=START_S + 2)
    assert (totals.planned, totals.answered, totals.failed) == (20, 10, 0)
    assert totals.max_ms == pytest.approx(1000.0, rel=0.001)


def test_a_request_without_an_answer_for_longer_than_the_timeout_has_failed(record: ProbeRecord) -> None:
    totals = record.totals(START_S, START_S + 1, now_s=START_S + 2.55)
    assert (totals.planned, totals.failed) == (10, 6)
    assert totals.max_ms == pytest.approx(2000.0, rel=0.001)
    assert record.counts(now_s=START_S + 2.55) == (26, 0, 6)


def test_counts_since_the_start(record: ProbeRecord) -> None:
    for number in (0, 1, 3, 4):
        record.take(ended(number, 2.0))
    record.take(ended(5, 2.0, status=500, error="status 500"))
    assert record.counts(now_s=START_S + 2.65) == (27, 4, 3)
    assert record.counts(now_s=START_S + 0.65) == (7, 4, 1)


def test_after_its_end_nothing_is_due(record: ProbeRecord) -> None:
    record.take(json.dumps({"end": START_S + 1.0, "planned": 10}))
    record.stop(START_S + 5)
    assert record.totals(START_S, START_S + 60, now_s=START_S + 60).planned == 10


def test_the_schedule_of_a_probe_that_was_killed_goes_on_until_it_was_noticed(record: ProbeRecord) -> None:
    record.take(ended(0, 2.0))
    record.stop(START_S + 5)
    totals = record.totals(START_S, START_S + 60, now_s=START_S + 60)
    assert (totals.planned, totals.answered, totals.failed) == (50, 1, 49)


# -- the real one ------------------------------------------------------------------------------------------------------


@pytest.fixture
def probe(bare_host: BareHost, tmp_path: Path) -> Iterator[ProbeRunner]:
    """Run the probe: twenty requests a second."""
    runner = ProbeRunner(
        url=bare_host.url,
        probe=Probe(requests_per_s=20.0, timeout_s=5.0),
        folder=tmp_path / "load",
        colour_header="X-Stella-Colour",
        longest_run_s=60.0,
    )
    runner.start()
    deadline_s = time.monotonic() + 20
    while not runner.has_begun and time.monotonic() < deadline_s:
        time.sleep(0.02)
        runner.read()
    yield runner
    if runner.process is not None and runner.running():
        os.kill(runner.process.pid, signal.SIGCONT)
    runner.end()


def test_a_freeze_is_in_the_p99_as_computed(bare_host: BareHost, probe: ProbeRunner, tmp_path: Path) -> None:
    time.sleep(0.5)
    since = datetime.now(UTC)
    time.sleep(1)
    frozen_at_s, thawed_at_s = bare_host.freeze(2.0)
    probe.read()
    at_once = probe.totals(since)
    time.sleep(2)
    until = datetime.now(UTC)
    time.sleep(0.3)
    probe.read()
    seen = probe.totals(since, until)

    start_s = json.loads((tmp_path / "load" / "probe.jsonl").read_text().partition("\n")[0])["start"]
    dues = [start_s + number / 20 for number in range(10_000)]
    dues = [due for due in dues if since.timestamp() <= due < until.timestamp()]
    truth = sorted(thawed_at_s - due if frozen_at_s <= due <= thawed_at_s else 0.0 for due in dues)
    p99_ms = 1000 * truth[math.ceil(0.99 * len(truth)) - 1]
    assert p99_ms > 1800
    assert seen.p99_ms == pytest.approx(p99_ms, rel=0.05)
    assert seen.max_ms == pytest.approx(1000 * truth[-1], rel=0.05)
    assert (seen.planned, seen.answered, seen.failed) == (len(dues), len(dues), 0)
    assert at_once.p99_ms is not None
    assert at_once.p99_ms > 1800  # nobody has answered yet


def test_it_finishes_and_its_histograms_hold_every_request(
    bare_host: BareHost, probe: ProbeRunner, tmp_path: Path
) -> None:
    time.sleep(1.2)
    probe.ask_to_end()
    assert probe.end()
    assert not probe.running()
    totals = probe.all_totals()
    assert (totals.answered, totals.failed) == (totals.planned, 0)
    assert totals.planned == bare_host.counts()[1] > 20
    assert set(totals.by_colour) == {"blue", "green"}
    reader = latency.HistogramReader()
    lines = (tmp_path / "load" / "probe.hlog").read_text().splitlines()
    held = [interval for interval in map(reader.take, lines) if interval is not None]
    assert sum(sum(interval.counts.values()) for interval in held) == totals.planned
    assert {interval.tag for interval in held} == {"blue", "green"}


def test_a_probe_that_stands_still_is_seen(probe: ProbeRunner) -> None:
    assert probe.process is not None
    os.kill(probe.process.pid, signal.SIGSTOP)
    since = datetime.now(UTC)
    time.sleep(1)
    probe.read()
    totals = probe.totals(since + timedelta(seconds=0.1))
    assert totals.answered == 0
    assert totals.planned >= 15
    assert totals.max_ms is not None
    assert totals.max_ms > 800
