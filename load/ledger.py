"""What the master of a load writes down: seconds, histograms, acknowledged markers.

Workers report each second that has ended; here those of one second become one line. Invariants: a line of
requests.jsonl is complete when it is written, and its histograms and markers were written before it; a line is written
for each second, whether or not anything was sent; a line waits for a worker at most `PATIENCE_S`, and what comes later
is counted in the next one, so that nothing is lost or counted twice; a worker that falls silent is said to be lost.
Times are seconds since the epoch, handed in.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cutover import latency
from cutover.clock import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PATIENCE_S = 0.2
LOST_AFTER_S = 3.5
"""Without a report for so long, a worker is not waited for any more."""
_MOST_FAILURES = 20
"""Named in one line; all are counted."""


@dataclass(slots=True)
class _Second:
    """What is known so far of a second that is not written yet."""

    counts: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    """By kind, colour and whether it failed."""
    latencies_us: dict[str, latency.Counts] = field(default_factory=dict)
    markers: list[int] = field(default_factory=list)
    failures: list[Mapping[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Worker:
    """One process that sends requests."""

    reported_s: float
    """When it was last heard of."""
    second: int
    """The last that it reported."""
    users: int = 0
    lost: bool = False
    has_ended: bool = False
    """Whether it has reported its last."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was asked for from a time on."""

    since_s: float
    phase: str
    requests_per_s: float


class Ledger:
    """The seconds of one load."""

    def __init__(self, folder: Path, *, run: str, began_s: float) -> None:
        """Open the files. run: the name of the markers' series."""
        folder.mkdir(parents=True, exist_ok=True)
        self._requests = (folder / "requests.jsonl").open("w", encoding="utf-8", buffering=1)
        self._markers = (folder / "markers.jsonl").open("w", encoding="utf-8", buffering=1)
        self._intervals = (folder / "latency.hlog").open("w", encoding="utf-8")
        self._histograms = latency.HistogramLog(self._intervals, started_s=began_s)
        self._run = run
        self._began_s = began_s
        self._next = math.floor(began_s)
        self._open: dict[int, _Second] = {}
        self._workers: dict[str, _Worker] = {}
        self._plans = [_Plan(began_s, "", 0.0)]
        self._ended = False

    def plan(self, phase: str, requests_per_s: float, *, now_s: float) -> None:
        """Take what is asked for from now on."""
        self._plans.append(_Plan(now_s, phase, requests_per_s))

    def take(self, worker: str, report: Mapping[str, Any], *, now_s: float) -> None:
        """Take a worker's report of one or more seconds.

        Its clock may be off by whole seconds: then its seconds are put where this side's clock has them.
        """
        off_s = round(now_s - report["sent"])
        known = self._workers.setdefault(worker, _Worker(reported_s=now_s, second=self._next - 1))
        known.reported_s, known.users, known.lost = now_s, report["users"], False
        known.has_ended = known.has_ended or report["is_last"]
        for one in report["seconds"]:
            number = one["second"] + off_s
            known.second = max(known.second, number)
            second = self._open.setdefault(max(number, self._next), _Second())
            for kind, colour, failed, latency_us, count in one["rows"]:
                second.counts[kind, colour, failed] += count
                latency.add(second.latencies_us.setdefault(colour, {}), {latency_us: count})
            second.markers += one["markers"]
            second.failures += one["failures"]

    @property
    def has_all_last_reports(self) -> bool:
        """Whether nothing more can come from any worker that is not lost."""
        return all(worker.lost or worker.has_ended for worker in self._workers.values())

    def write_due(self, *, now_s: float) -> None:
        """Write each second that has ended and that every worker has reported, or was given the time to."""
        for worker in self._workers.values():
            worker.lost = worker.lost or now_s - worker.reported_s > LOST_AFTER_S
        while self._next + 1 <= now_s:
            awaited = any(not worker.lost and worker.second < self._next for worker in self._workers.values())
            if awaited and now_s < self._next + 1 + PATIENCE_S:
                return
            self._write(end_s=self._next + 1.0)

    def finish(self, *, now_s: float) -> None:
        """Write what has begun and not ended; who has not reported its last is lost, and its counts too. Idempotent."""
        if self._ended:
            return
        for worker in self._workers.values():
            worker.lost = worker.lost or not worker.has_ended
        while self._next + 1 <= now_s:
            self._write(end_s=self._next + 1.0)
        self._write(end_s=now_s)
        while self._open:  # of a worker whose clock is ahead
            self._write(end_s=now_s)
        self._ended = True
        self.close()

    def close(self) -> None:
        """Close the files."""
        for stream in (self._requests, self._markers, self._intervals):
            stream.close()

    def _write(self, *, end_s: float) -> None:
        number, self._next = self._next, self._next + 1
        second = self._open.pop(number, None) or _Second()
        start_s = max(float(number), self._began_s)
        self._markers.writelines(
            f'{{"run":{json.dumps(self._run)},"number":{one},"time":"{_moment(end_s)}"}}\n' for one in second.markers
        )
        for colour, counts in sorted(second.latencies_us.items()):
            self._histograms.write(colour, counts, start_s=min(start_s, end_s), end_s=end_s)
        self._requests.write(json.dumps(self._line(second, start_s, end_s), separators=(",", ":")) + "\n")

    def _line(self, second: _Second, start_s: float, end_s: float) -> dict[str, Any]:
        by_colour: Counter[str] = Counter()
        by_kind: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        scans = 0
        for (kind, colour, is_failed), count in second.counts.items():
            by_colour[colour] += count
            by_kind[kind] += count
            failed[colour] += count * is_failed
            scans += count * (kind == "scan" and not is_failed)
        halves = {colour: latency.percentiles_ms(counts, 0.5, 0.99) for colour, counts in second.latencies_us.items()}
        phase, planned = self._planned(start_s, end_s)
        return {
            "time": _moment(end_s),
            "elapsed_s": round(end_s - self._began_s, 3),
            "users": sum(worker.users for worker in self._workers.values() if not worker.lost),
            "attempted": by_colour.total(),
            "failed": failed.total(),
            "by_colour": dict(by_colour),
            "failed_by_colour": dict(+failed),
            "p50_ms": {colour: value for colour, (value, _) in halves.items()},
            "p99_ms": {colour: value for colour, (_, value) in halves.items()},
            "reads": by_kind["read"],
            "writes": by_colour.total() - by_kind["read"],
            "scans": scans,
            "planned": round(planned, 3),
            "phase": phase,
            "failures": second.failures[:_MOST_FAILURES],
            "workers": sum(not worker.lost for worker in self._workers.values()),
            "workers_lost": sorted(name for name, worker in self._workers.items() if worker.lost),
        }

    def _planned(self, start_s: float, end_s: float) -> tuple[str, float]:
        """Return the phase at the start of a span, and the requests that were asked for in it."""
        planned = 0.0
        ends = [plan.since_s for plan in self._plans[1:]] + [math.inf]
        for plan, until_s in zip(self._plans, ends, strict=True):
            planned += plan.requests_per_s * max(0.0, min(until_s, end_s) - max(plan.since_s, start_s))
        while len(self._plans) > 1 and self._plans[1].since_s <= start_s:
            self._plans.pop(0)
        phase = self._plans[0].phase or (self._plans[1].phase if len(self._plans) > 1 else "")
        return phase, planned


def _moment(epoch_s: float) -> str:
    return rfc3339(datetime.fromtimestamp(epoch_s, UTC))
