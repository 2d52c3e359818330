"""Latencies as counters: the buckets are HdrHistogram's, and its own reader reads the logs."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
from hdrh.log import HistogramLogReader  # type: ignore[import-untyped]

from cutover import latency

if TYPE_CHECKING:
    from pathlib import Path

REFERENCE = HdrHistogram(1, 3_600_000_000, 3)


@pytest.mark.parametrize("value", [0, 1, 999, 2047, 2048, 2049, 4095, 4097, 123_456, 2_000_001, 3_599_999_999])
def test_a_bucket_is_hdrhistograms(value: int) -> None:
    assert latency.quantised(value) == REFERENCE.get_lowest_equivalent_value(value)
    assert value * 0.999 <= latency.quantised(value) <= value


@pytest.mark.parametrize(("value", "kept"), [(-5, 0), (10**12, latency.quantised(3_600_000_000))])
def test_what_no_histogram_holds_is_kept_at_its_ends(value: int, kept: int) -> None:
    assert latency.quantised(value) == kept


@pytest.mark.parametrize("size", [1, 2, 99, 100, 101, 1000])
def test_percentiles_are_by_nearest_rank(size: int) -> None:
    counts: latency.Counts = {}
    for value in range(1, size + 1):
        latency.add(counts, {value * 1000: 1})
    found = latency.percentiles_ms(counts, 0.01, 0.5, 0.99, 1.0)
    assert found == tuple(float(max(1, -(-percent * size // 100))) for percent in (1, 50, 99, 100))


def test_nothing_has_no_percentile() -> None:
    assert latency.percentiles_ms({}, 0.5, 0.99) == (None, None)
    assert latency.percentile_ms({}, 0.5) is None


def test_a_log_is_read_by_the_library_and_by_us(tmp_path: Path) -> None:
    choice = random.Random(1)  # noqa: S311 (not a secret)
    stream = io.StringIO()
    log = latency.HistogramLog(stream, started_s=1_800_000_000.25)
    whole = HdrHistogram(1, 3_600_000_000, 3)
    seconds: list[tuple[str, latency.Counts]] = []
    for number in range(6):
        counts: latency.Counts = {}
        for _ in range(500):
            value = int(choice.lognormvariate(8.5, 1.0))
            latency.add(counts, {latency.quantised(value): 1})
            whole.record_value(value)
        colour = ("blue", "green")[number % 2]
        seconds.append((colour, counts))
        log.write(colour, counts, start_s=1_800_000_000.25 + number, end_s=1_800_000_001.25 + number)
    log.write("blue", {}, start_s=0, end_s=1)

    reader = latency.HistogramReader()
    read = [interval for interval in map(reader.take, stream.getvalue().splitlines()) if interval is not None]
    assert [(one.tag, one.counts) for one in read] == seconds
    assert [one.end_s for one in read] == pytest.approx([1_800_000_001.25 + number for number in range(6)], abs=1e-3)

    path = tmp_path / "latency.hlog"
    path.write_text(stream.getvalue(), encoding="utf-8")
    library, merged = HistogramLogReader(str(path), None), HdrHistogram(1, 3_600_000_000, 3)
    tags = []
    while (histogram := library.get_next_interval_histogram()) is not None:
        tags.append(histogram.get_tag())
        merged.add(histogram)
    library.close()
    assert tags == [colour for colour, _ in seconds]
    assert library.get_start_time_sec() == 1_800_000_000.25
    assert merged.get_total_count() == 3000
    assert merged.get_value_at_percentile(99) == whole.get_value_at_percentile(99)

    total: latency.Counts = {}
    for one in read:
        latency.add(total, one.counts)
    p99_ms = latency.percentile_ms(total, 0.99)
    assert p99_ms == pytest.approx(whole.get_value_at_percentile(99) / 1000, rel=0.001)


def test_a_line_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (whatever it says)
        latency.HistogramReader().take("1,2,3")
