"""Run the load generator and the open-loop probe beside the upgrade, and read what they measure.

Locust patches the interpreter, so it has a process of its own; the probe has one because nothing may hold it up. Both
write; this side only reads, and tells the generator the phase. Invariants: both end with the harness (the kernel sees
to it) and by themselves after their longest run; a second that was not written was not measured; counts are what was
seen, never what was planned; the record is complete however they end.
"""

from __future__ import annotations

import json
import sys
import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cutover import latency, project
from cutover.clock import parse_rfc3339, rfc3339
from cutover.errors import CouldNotMeasure
from cutover.policy import Probe
from cutover.runbook.ports import LoadTotals, ProbeTotals
from cutover.site.beside import Companion, GrowingFile
from cutover.site.probe import ProbeRunner
from cutover.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cutover.policy import Load
    from cutover.runbook.journal import Journal
    from cutover.runbook.upgrade import Upgrade

_STOP_S = 15.0
_STOP_TIMEOUT_S = 5
"""How long a request that is under way when the load ends may take."""
_SLOWEST_START_S = 75.0
_WORKERS_CONNECT_WITHIN_S = 60
_LONGEST_RUN_S = 6 * 3600.0
_LOOK_S = 0.05
_MOST_FAILURES = 100
_EVERYWHERE = {"*", "0.0.0.0", "::"}  # noqa: S104 (names of it, nothing listens there for that)


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


class LoadRunner:
    """The load generator and the probe of one run, and what they have measured so far."""

    def __init__(
        self,
        *,
        url: str,
        load: Load,
        folder: Path,
        run: str,
        colour_header: str,
        probe: Probe | None = None,
        journal: Journal | None = None,
        longest_run_s: float = _LONGEST_RUN_S,
    ) -> None:
        """Take where to send what, and the record's folder for the load's files. Nothing is sent yet.

        run: the name of the write markers' series.
        """
        self.run = run
        self._folder = folder
        self._journal = journal
        self._load = load
        self._url = url
        self._settings = {
            "run": run,
            "folder": str(folder),
            "colour_header": colour_header,
            "users": load.users,
            "requests_per_s": load.requests_per_s,
            "write_share": load.write_share,
            "scan_share": load.scan_share,
            "warm_up_s": load.warm_up_s,
            "think_time_s": load.think_time_s,
            "cutover_share": load.cutover_share,
            "validation_share": load.validation_share,
            "workers": load.expect_workers + (load.processes if load.processes > 1 else 0),
            "longest_run_s": longest_run_s,
        }
        self._probe = ProbeRunner(
            url=url, probe=probe or Probe(), folder=folder, colour_header=colour_header, longest_run_s=longest_run_s
        )
        self._process: Companion | None = None
        self._requests = GrowingFile(folder / "requests.jsonl")
        self._histograms = GrowingFile(folder / "latency.hlog")
        self._markers = GrowingFile(folder / "markers.jsonl")
        self._acknowledged: list[int] = []
        self._intervals = latency.HistogramReader()
        self._waiting: list[latency.Interval] = []
        self._tail: threading.Thread | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._seconds: list[LoadSecond] = []
        self._all = Tally()
        self._phases: list[_Phase] = []
        self._failures: list[Mapping[str, str]] = []
        self._lost: tuple[str, ...] = ()
        self._unread = ""
        """Why nothing more can be read of what they write; empty while it can."""
        self._finished: LoadSummary | None = None

    @staticmethod
    def of(upgrade: Upgrade) -> LoadRunner:
        """Return the load generator and probe that the policy of an upgrade describes."""
        routing = upgrade.target.routing
        return LoadRunner(
            url=routing.url,
            load=upgrade.policy.load,
            probe=upgrade.policy.probe,
            folder=upgrade.path("load", "requests.jsonl").parent,
            run=f"load-{upgrade.id}",
            colour_header=routing.colour_header,
            journal=upgrade.journal,
        )

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start both and wait until a request of each has its end.

        Raises: CouldNotMeasure `load-not-started`.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = Companion(self._argv(), log=self._folder / "locust.log")
        self._probe.start()
        self._tail = threading.Thread(target=self._follow, name="load", daemon=True)
        self._tail.start()
        wait_for(
            "the load to start",
            lambda: (self.totals().attempted, self._probe.has_begun, self.running()),
            until=lambda seen: (seen[0] > 0 and seen[1]) or not seen[2],
            bound_s=_SLOWEST_START_S,
            interval_s=0.1,
            listener=self._journal.waits() if self._journal is not None else None,
            describe=lambda seen: (
                f"{seen[0]} seconds measured, the probe {'sends' if seen[1] else 'does not yet send'}"
            ),
        )
        if not self.totals().attempted or not self._probe.has_begun:
            raise self._ended("before it measured anything", code="load-not-started")

    def _argv(self) -> list[str]:
        load = self._load
        argv = [sys.executable, "-m", "locust", "--headless", "--only-summary", "--loglevel", "WARNING"]
        argv += ["--locustfile", str(project.ROOT / "load" / "locustfile.py"), "--host", self._url]
        argv += ["--stop-timeout", str(_STOP_TIMEOUT_S), "--exit-code-on-error", "0"]
        argv += ["--cutover-settings", json.dumps(self._settings)]
        if not self._settings["workers"]:
            return argv
        argv += ["--processes", str(load.processes)] if load.processes > 1 else ["--master"]
        argv += ["--master-bind-host", load.bind, "--master-bind-port", str(load.port)]
        argv += ["--master-host", "127.0.0.1" if load.bind in _EVERYWHERE else load.bind]
        argv += ["--master-port", str(load.port), "--expect-workers", str(self._settings["workers"])]
        return [*argv, "--expect-workers-max-wait", str(_WORKERS_CONNECT_WITHIN_S)]

    def _ended(self, when: str, *, code: str) -> CouldNotMeasure:
        """Return the error for whichever of the two has ended, or for what they write when it cannot be read."""
        if self._unread:
            return CouldNotMeasure(
                "what the load generator and the probe measure cannot be read any more",
                code="load-unreadable",
                seen=self._unread,
                do="see load/ in the record: whether its files are whole, and its disk has room",
            )
        is_probe = self._process is not None and self._process.running()
        process, name = (self._probe.process, "probe") if is_probe else (self._process, "locust")
        return CouldNotMeasure(
            f"the {'open-loop probe' if is_probe else 'load generator'} ended {when}",
            code=code.replace("load", "probe") if is_probe else code,
            seen=process.last_words() if process is not None else "it was never started",
            do=f"read load/{name}.log in the record",
        )

    def ensure_running(self) -> None:
        """Start both, unless they run.

        Raises: CouldNotMeasure `load-ended` or `probe-ended` when one ran and ended by itself, `load-unreadable` when
        nothing is read of them any more.
        """
        if self._process is None:
            self.start()
        elif not self.running():
            raise self._ended("by itself", code="load-ended")

    def running(self) -> bool:
        """Whether both are alive, and what they write is read."""
        is_read = not self._unread
        return is_read and self._process is not None and self._process.running() and self._probe.running()

    @property
    def process(self) -> Companion | None:
        """The generator's process; None before it was started."""
        return self._process

    def enter(self, phase: str) -> None:
        """Say what the upgrade does from now on; the generator follows within a second, or begins with it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / "control.json.part"
        part.write_text(json.dumps({"phase": phase}) + "\n", encoding="utf-8")
        part.replace(self._folder / "control.json")

    def stop(self) -> LoadSummary:
        """Ask both to finish their requests, end them if they do not, and write the summary. Idempotent."""
        if self._finished is not None:
            return self._finished
        ended_well = True
        if self._process is not None:
            self._process.ask_to_end()
            self._probe.ask_to_end()
            ended_well = self._process.end(within_s=_STOP_S) == 0
            self._stopping.set()
            if self._tail is not None:
                self._tail.join(_STOP_S)
                ended_well = ended_well and not self._unread and not self._tail.is_alive()
            ended_well = self._probe.end() and ended_well
        self._finished = self._summary(complete=ended_well and not self._lost)
        if self._process is not None:
            self._write_summary(self._finished)
        return self._finished

    def _summary(self, *, complete: bool) -> LoadSummary:
        totals = self.totals()
        return LoadSummary(
            planned=round(totals.planned),
            attempted=totals.attempted,
            failed=totals.failed,
            by_colour=totals.by_colour,
            reads=totals.reads,
            writes=totals.writes,
            scans=totals.scans,
            seconds=self._seconds[-1].elapsed_s if self._seconds else 0.0,
            markers_acknowledged=len(self._acknowledged),
            probe=self._probe.all_totals(),
            workers_lost=self._lost,
            failures=tuple(self._failures),
            complete=complete,
        )

    def _write_summary(self, summary: LoadSummary) -> None:
        _write_json(self._folder / "summary.json", asdict(summary))
        _write_json(self._folder / "phases.json", {"phases": [self._phase_facts(phase) for phase in self._phases]})
        if self._journal is not None:
            facts = asdict(summary)
            for name in ("scans", "seconds", "failures"):
                del facts[name]
            self._journal.write("load_finished", **facts)

    def _phase_facts(self, phase: _Phase) -> dict[str, Any]:
        totals = phase.tally.totals()
        return {
            "phase": phase.name,
            "since": rfc3339(phase.since),
            "until": rfc3339(phase.until),
            "planned": round(totals.planned),
            "attempted": totals.attempted,
            "failed": totals.failed,
            "colours": {
                colour: _colour_facts(count, phase.tally.failed_by_colour[colour], phase.tally.latencies_us[colour])
                for colour, count in sorted(phase.tally.by_colour.items())
            },
            "probe": asdict(self._probe.totals(phase.since, phase.until)),
        }

    # -- what they measured ----------------------------------------------------------------------------------------

    def totals(self) -> LoadTotals:
        """Return what the generator sent and got since it began."""
        with self._lock:
            return self._all.totals()

    def window(self, since: datetime, until: datetime | None = None) -> LoadTotals:
        """Return what the generator sent and got in the whole seconds between two times."""
        with self._lock:
            return add_up(seconds_between(self._seconds, since, until))

    def probe(self, since: datetime, until: datetime | None = None) -> ProbeTotals:
        """Return what the probe got for the requests that were due between two times."""
        with self._lock:
            return self._probe.totals(since, until)

    def seconds(self) -> tuple[LoadSecond, ...]:
        """Return every second so far, oldest first."""
        with self._lock:
            return tuple(self._seconds)

    def markers(self) -> tuple[str, list[int]]:
        """Return the series' name and the numbers whose writing was acknowledged, in the order of acknowledgement."""
        with self._lock:
            return self.run, list(self._acknowledged)

    def _follow(self) -> None:
        """Read the files as they grow; from when they cannot be read, nothing is measured."""
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 (whatever it was, a load that nobody reads must not look healthy)
            self._unread = f"{type(error).__name__}: {error}"
        finally:
            for file in (self._requests, self._histograms, self._markers):
                file.close()

    def _read(self) -> None:
        """Read the files as they grow, until the load is over and read to its end."""
        while True:
            ended = self._stopping.is_set()
            with self._lock:
                self._probe.read()
            lines = self._requests.lines()
            # Markers and histograms of a second were written before its line.
            acknowledged = [int(json.loads(line)["number"]) for line in self._markers.lines()]
            with self._lock:
                self._acknowledged += acknowledged
            found = [self._intervals.take(line.decode()) for line in self._histograms.lines()]
            self._waiting += [interval for interval in found if interval is not None]
            for line in lines:
                self._take(line)
            if ended:
                return
            self._stopping.wait(_LOOK_S)

    def _take(self, line: bytes) -> None:
        second = parse_second(line)
        end_s = second.time.timestamp() + _LOOK_S
        latencies_us: dict[str, latency.Counts] = {}
        for interval in self._waiting:
            if interval.end_s <= end_s:
                latency.add(latencies_us.setdefault(interval.tag, {}), interval.counts)
        self._waiting = [interval for interval in self._waiting if interval.end_s > end_s]
        second = replace(second, latencies_us=latencies_us)
        with self._lock:
            self._seconds.append(second)
            self._all.add(second)
            if not self._phases or self._phases[-1].name != second.phase:
                since = second.time - timedelta(seconds=1)
                self._phases.append(_Phase(name=second.phase, since=since, until=second.time))
            self._phases[-1].tally.add(second)
            self._phases[-1].until = second.time
            self._failures += second.failures[: _MOST_FAILURES - len(self._failures)]
            totals, probe = self._all.totals(), self._probe.live_totals()
        if self._journal is not None:
            self._journal.write(
                "load",
                attempted=totals.attempted,
                failed=totals.failed,
                planned=round(totals.planned),
                by_colour=totals.by_colour,
                rps=second.attempted,
                users=second.users,
                phase=second.phase,
                p99_ms=second.p99_ms,
                probe=asdict(probe),
            )
        if second.workers_lost != self._lost:
            self._lost = second.workers_lost
            if self._journal is not None:
                self._journal.write("observation", what="load workers lost", workers=self._lost, left=second.workers)


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
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
