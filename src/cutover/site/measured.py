"""What a load has measured, from the lines of its files: while they grow, or long after.

Each attempt on a record has a load of its own, with files of its own: of the first in `load/`, of attempt n in
`load/attempt-n/`. Together they are the load of the upgrade. Invariants: what stands in the files is the truth, so a
load whose harness was killed counts as far as it was written; a line counts when it is whole; a request that was under
way when everything was killed has neither failed nor been answered.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cutover import latency
from cutover.clock import parse_rfc3339, rfc3339
from cutover.errors import CouldNotMeasure
from cutover.files import write_whole
from cutover.runbook.journal import Journal
from cutover.runbook.ports import LoadTotals, ProbeTotals
from cutover.site.probe import ProbeRecord, ProbeTally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

REQUESTS, HISTOGRAMS, MARKERS, PROBE = "requests.jsonl", "latency.hlog", "markers.jsonl", "probe.jsonl"
SUMMARY, PHASES = "summary.json", "phases.json"
_GROWING = (REQUESTS, HISTOGRAMS, MARKERS, PROBE, "probe.hlog")
_NEAR_S = 0.05
"""A histogram may end so much later than its second."""
_MOST_FAILURES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSecond:
    """One second of load: counts are of that second alone."""

    time: datetime
    """Its end."""
    elapsed_s: float
    users: int
    attempted: int
    failed: int
    by_colour: Mapping[str, int]
    failed_by_colour: Mapping[str, int]
    p50_ms: Mapping[str, float]
    p99_ms: Mapping[str, float]
    reads: int
    writes: int
    scans: int
    planned: float
    phase: str
    """At its start."""
    failures: tuple[Mapping[str, str], ...]
    """The first twenty, each with time, method, name, error and colour."""
    workers: int
    """Processes that send."""
    workers_lost: tuple[str, ...]
    """Of those that did, the ones that have fallen silent."""
    latencies_us: Mapping[str, latency.Counts] = field(default_factory=dict)
    """By colour; from latency.hlog."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSummary:
    """The whole run of the load generator and the probe."""

    planned: int
    """By the policy's rate in each second's phase, the warm-up left out."""
    attempted: int
    failed: int
    by_colour: Mapping[str, int]
    reads: int
    writes: int
    scans: int
    seconds: float
    markers_acknowledged: int
    probe: ProbeTotals
    workers_lost: tuple[str, ...]
    failures: tuple[Mapping[str, str], ...]
    """The first hundred, each with time, method, name, error and colour."""
    complete: bool
    """Whether generator and probe ended as they were asked to, no worker was lost, and all that they wrote was read."""


class Tally:
    """Seconds, added up."""

    def __init__(self) -> None:
        """Begin with none."""
        self._counts: Counter[str] = Counter()
        self._planned = 0.0
        self.by_colour: Counter[str] = Counter()
        self.failed_by_colour: Counter[str] = Counter()
        self.latencies_us: dict[str, latency.Counts] = {}

    def add(self, second: LoadSecond) -> None:
        """Add one."""
        for name in ("attempted", "failed", "reads", "writes", "scans"):
            self._counts[name] += getattr(second, name)
        self._counts["seconds"] += 1
        self._planned += second.planned
        self.by_colour.update(second.by_colour)
        self.failed_by_colour.update(second.failed_by_colour)
        for colour, counts in second.latencies_us.items():
            latency.add(self.latencies_us.setdefault(colour, {}), counts)

    def totals(self) -> LoadTotals:
        """Return the sum; a p99 is that of all its latencies together."""
        p99s_ms = {colour: latency.percentile_ms(counts, 0.99) for colour, counts in self.latencies_us.items()}
        return LoadTotals(
            attempted=self._counts["attempted"],
            failed=self._counts["failed"],
            by_colour=dict(self.by_colour),
            reads=self._counts["reads"],
            writes=self._counts["writes"],
            scans=self._counts["scans"],
            seconds=float(self._counts["seconds"]),
            p99_ms={colour: value for colour, value in p99s_ms.items() if value is not None},
            planned=round(self._planned, 3),
        )


@dataclass(slots=True, kw_only=True)
class _Phase:
    """Seconds of one phase on end."""

    name: str
    since: datetime
    until: datetime
    tally: Tally = field(default_factory=Tally)


class Measured:
    """What one load has measured so far. Markers and histograms of a second are taken before the second itself."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.seconds: list[LoadSecond] = []
        self.tally = Tally()
        self.acknowledged: list[int] = []
        """Numbers of the write markers, in the order of their acknowledgement."""
        self.workers_lost: tuple[str, ...] = ()
        self._phases: list[_Phase] = []
        self._failures: list[Mapping[str, str]] = []
        self._histograms = latency.HistogramReader()
        self._waiting: list[latency.Interval] = []

    def take_marker(self, line: bytes) -> None:
        """Take a line of markers.jsonl. Raises ValueError, KeyError or TypeError for anything else."""
        self.acknowledged.append(int(json.loads(line)["number"]))

    def take_histogram(self, line: bytes) -> None:
        """Take a line of latency.hlog. Raises ValueError for anything else."""
        interval = self._histograms.take(line.decode())
        if interval is not None:
            self._waiting.append(interval)

    def take_second(self, line: bytes) -> LoadSecond:
        """Take a line of requests.jsonl, and return it. Raises ValueError, KeyError or TypeError for anything else."""
        second = parse_second(line)
        end_s = second.time.timestamp() + _NEAR_S
        latencies_us: dict[str, latency.Counts] = {}
        for interval in self._waiting:
            if interval.end_s <= end_s:
                latency.add(latencies_us.setdefault(interval.tag, {}), interval.counts)
        self._waiting = [interval for interval in self._waiting if interval.end_s > end_s]
        second = replace(second, latencies_us=latencies_us)
        self.seconds.append(second)
        self.tally.add(second)
        if not self._phases or self._phases[-1].name != second.phase:
            since = second.time - timedelta(seconds=1)
            self._phases.append(_Phase(name=second.phase, since=since, until=second.time))
        self._phases[-1].tally.add(second)
        self._phases[-1].until = second.time
        self._failures += second.failures[: _MOST_FAILURES - len(self._failures)]
        self.workers_lost = second.workers_lost
        return second

    def summary(self, probe: ProbeTotals, *, complete: bool) -> LoadSummary:
        """Return all of it in numbers."""
        totals = self.tally.totals()
        return LoadSummary(
            planned=round(totals.planned),
            attempted=totals.attempted,
            failed=totals.failed,
            by_colour=totals.by_colour,
            reads=totals.reads,
            writes=totals.writes,
            scans=totals.scans,
            seconds=self.seconds[-1].elapsed_s if self.seconds else 0.0,
            markers_acknowledged=len(self.acknowledged),
            probe=probe,
            workers_lost=self.workers_lost,
            failures=tuple(self._failures),
            complete=complete,
        )

    def write(self, folder: Path, summary: LoadSummary, probe: Callable[[datetime, datetime], ProbeTotals]) -> None:
        """Write summary.json and phases.json. probe: returns its totals between two times."""
        phases = [_phase_facts(phase, probe(phase.since, phase.until)) for phase in self._phases]
        _write_json(folder / PHASES, {"phases": phases})
        _write_json(folder / SUMMARY, asdict(summary))


def _phase_facts(phase: _Phase, probe: ProbeTotals) -> dict[str, Any]:
    totals = phase.tally.totals()
    return {
        "phase": phase.name,
        "since": rfc3339(phase.since),
        "until": rfc3339(phase.until),
        "planned": round(totals.planned),
        "attempted": totals.attempted,
        "failed": totals.failed,
        "colours": {
            colour: _colour_facts(count, phase.tally.failed_by_colour[colour], phase.tally.latencies_us.get(colour, {}))
            for colour, count in sorted(phase.tally.by_colour.items())
        },
        "probe": asdict(probe),
    }


# -- earlier attempts --------------------------------------------------------------------------------------------------


def folder_of(load: Path, attempt: int) -> Path:
    """Return where the load of an attempt has its files. load: the record's folder for all of them."""
    return load if attempt == 1 else load / f"attempt-{attempt}"


def run_of(upgrade_id: str, attempt: int) -> str:
    """Return the name of an attempt's write markers: each has a series of its own, for it counts from 1 again."""
    return f"load-{upgrade_id}" if attempt == 1 else f"load-{upgrade_id}-{attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierLoad:
    """The load of an earlier attempt, as its files have it."""

    run: str
    measured: Measured
    record: ProbeRecord
    """Of its probe."""
    probed: ProbeTally
    """All requests of its probe."""

    @staticmethod
    def read(folder: Path, *, run: str, probe_timeout_s: float) -> EarlierLoad:
        """Read a load's files; where its harness was killed, mend them and write what it would have written.

        A line that was cut off is cut away. Raises: CouldNotMeasure `load-unreadable` for a whole line that is none.
        """
        was_killed = not (folder / SUMMARY).is_file()
        for name in _GROWING if was_killed else ():
            if (folder / name).is_file():
                Journal.mend(folder / name)
        measured, record = Measured(), ProbeRecord(timeout_s=probe_timeout_s)
        _take(folder / MARKERS, measured.take_marker)
        if was_killed:  # whoever ended in order has made its percentiles
            _take(folder / HISTOGRAMS, measured.take_histogram)
        _take(folder / REQUESTS, measured.take_second)
        _take(folder / PROBE, record.take)
        record.stop(record.known_until_s)
        whole = record.tally(0.0, record.known_until_s, now_s=record.known_until_s)
        earlier = EarlierLoad(run=run, measured=measured, record=record, probed=whole)
        if was_killed:
            summary = measured.summary(whole.totals(), complete=False)
            measured.write(folder, summary, lambda since, until: earlier.probe(since, until).totals())
        return earlier

    def probe(self, since: datetime, until: datetime | None = None) -> ProbeTally:
        """Return what became of its probe's requests that were due between two times."""
        since_s, end_s = since.timestamp(), self.record.known_until_s
        until_s = end_s if until is None else until.timestamp()
        if since_s >= end_s:
            return ProbeTally()
        if since_s <= self.record.start_s and until_s >= end_s:
            return self.probed
        return self.record.tally(since_s, until_s, now_s=end_s)


def read_earlier(load: Path, *, upgrade_id: str, attempt: int, probe_timeout_s: float) -> tuple[EarlierLoad, ...]:
    """Return the loads of every attempt before this one that had any, oldest first. Raises: as `EarlierLoad.read`."""
    return tuple(
        EarlierLoad.read(folder, run=run_of(upgrade_id, number), probe_timeout_s=probe_timeout_s)
        for number in range(1, attempt)
        if (folder := folder_of(load, number)).is_dir() and any((folder / name).is_file() for name in _GROWING)
    )


def _take(path: Path, take: Callable[[bytes], object]) -> None:
    """Hand over the whole lines of a file; none when it is not there."""
    if not path.is_file():
        return
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            take(line)
        except (ValueError, KeyError, TypeError, ArithmeticError) as problem:
            raise CouldNotMeasure(
                "what an earlier attempt's load measured cannot be read",
                code="load-unreadable",
                seen=f"line {number} of {path}: {type(problem).__name__}: {problem}",
                do="see who changed the record; without that file the upgrade's requests cannot be counted",
            ) from problem


# -- seconds -----------------------------------------------------------------------------------------------------------


def parse_second(line: bytes | str) -> LoadSecond:
    """Return one line of requests.jsonl. Raises ValueError, KeyError or TypeError for anything else."""
    document = json.loads(line)
    document["failures"], document["workers_lost"] = tuple(document["failures"]), tuple(document["workers_lost"])
    return LoadSecond(**{**document, "time": parse_rfc3339(document["time"])})


def seconds_between(seconds: list[LoadSecond], since: datetime, until: datetime | None) -> list[LoadSecond]:
    """Return the seconds that lie wholly between two times; they are in order."""
    first = bisect_left(seconds, since + timedelta(seconds=1), key=_end)
    last = len(seconds) if until is None else bisect_right(seconds, until, key=_end)
    return seconds[first:last]


def _end(second: LoadSecond) -> datetime:
    return second.time


def add_up(seconds: Iterable[LoadSecond]) -> LoadTotals:
    """Add seconds up."""
    tally = Tally()
    for second in seconds:
        tally.add(second)
    return tally.totals()


def _colour_facts(count: int, failed: int, counts: latency.Counts) -> dict[str, Any]:
    names = ("p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms")
    found = latency.percentiles_ms(counts, 0.5, 0.9, 0.99, 0.999, 1.0)
    return {"count": count, "failed": failed, **dict(zip(names, found, strict=True))}


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(document, indent=2) + "\n")
