"""Latencies as counters: added up without loss, and kept as HdrHistograms.

A latency is a whole number of microseconds, cut down to the lower edge of its HdrHistogram bucket: 11 binary digits,
which is three significant decimal ones. So counters of any seconds, colours and processes add up to what one histogram
of them all would have held, and a percentile is off by less than a thousandth. Logs are in HdrHistogram's standard
interval format 1.2, a tag for each colour, values in microseconds, `Interval_Max` in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
from hdrh.log import HistogramLogWriter  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNIFICANT_DIGITS = 3
_BINARY_DIGITS = 11
_LONGEST_US = 3_600_000_000
_US_A_MS = 1000

Counts = dict[int, int]
"""How often each latency came, by its quantised microseconds."""


def quantised(latency_us: int) -> int:
    """Return the lower edge of a latency's bucket; below 0 and above an hour it is taken for 0 and an hour."""
    value = min(max(latency_us, 0), _LONGEST_US)
    shift = max(0, value.bit_length() - _BINARY_DIGITS)
    return value >> shift << shift


def add(total: Counts, more: Mapping[int, int]) -> None:
    """Add counters to others."""
    for value, count in more.items():
        total[value] = total.get(value, 0) + count


def percentiles_ms(counts: Mapping[int, int], *shares: float) -> tuple[float | None, ...]:
    """Return the nearest-rank percentiles in milliseconds for ascending shares of 1; None without a latency."""
    total = sum(counts.values())
    if not total:
        return (None,) * len(shares)
    ordered = iter(sorted(counts.items()))
    value, below = 0, 0
    found: list[float | None] = []
    for share in shares:
        rank = max(1, min(total, -int(-share * total // 1)))  # rounded up
        while below < rank:
            value, count = next(ordered)
            below += count
        found.append(value / _US_A_MS)
    return tuple(found)


def percentile_ms(counts: Mapping[int, int], share: float) -> float | None:
    """Return one nearest-rank percentile in milliseconds; None without a latency."""
    return percentiles_ms(counts, share)[0]


class HistogramLog:
    """Writes counters as interval histograms, and every line at once."""

    def __init__(self, stream: TextIO, *, started_s: float) -> None:
        """Write the log's head. started_s: seconds since the epoch that the intervals are told from."""
        self._stream = stream
        self._started_s = started_s
        self._histogram = HdrHistogram(1, _LONGEST_US, SIGNIFICANT_DIGITS)
        self._writer = HistogramLogWriter(stream)
        moment = datetime.fromtimestamp(started_s, UTC).isoformat(sep=" ", timespec="milliseconds")
        self._writer.output_log_format_version()
        self._writer.output_comment("[values are microseconds; a tag is the colour that answered]")
        self._writer.output_comment(f"[StartTime: {started_s:.3f} (seconds since epoch), {moment}]")
        self._writer.output_comment(f"[BaseTime: {started_s:.3f} (seconds since epoch)]")
        self._writer.output_legend()
        stream.flush()

    def write(self, tag: str, counts: Mapping[int, int], *, start_s: float, end_s: float) -> None:
        """Write one interval; nothing for an empty one. Times in seconds since the epoch."""
        if not counts:
            return
        self._histogram.reset()
        for value, count in counts.items():
            self._histogram.record_value(value, count)
        self._stream.write(f"Tag={tag},")
        self._writer.output_interval_histogram(
            self._histogram,
            # The library takes 0 for "as in the histogram".
            start_time_stamp_sec=max(start_s - self._started_s, 1e-6),
            end_time_stamp_sec=max(end_s - self._started_s, 2e-6),
            max_value_unit_ratio=_US_A_MS,
        )
        self._stream.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One interval histogram of a log."""

    tag: str
    end_s: float
    """Seconds since the epoch."""
    counts: Counts


class HistogramReader:
    """Reads a log line by line."""

    def __init__(self) -> None:
        self._started_s = 0.0

    def take(self, line: str) -> Interval | None:
        """Return what a line holds; None for a comment or the legend. Raises ValueError for a line that is none."""
        if line.startswith("#[BaseTime: "):
            self._started_s = float(line.split()[1])
        if line.startswith(("#", '"')) or not line.strip():
            return None
        tag, _, rest = line.strip().partition(",") if line.startswith("Tag=") else ("", "", line.strip())
        start, length, _, payload = rest.split(",", 3)
        histogram = HdrHistogram.decode(payload.encode())
        counts = {histogram.get_value_from_index(index): count for index, count in enumerate(histogram.counts) if count}
        return Interval(
            tag=tag.removeprefix("Tag="), end_s=self._started_s + float(start) + float(length), counts=counts
        )
