"""Run the load generator and the open-loop probe beside the upgrade, and read what they measure.

Locust patches the interpreter, so it has a process of its own; the probe has one because nothing may hold it up. Both
write; this side only reads, and tells the generator the phase. Invariants: both end with the harness (the kernel sees
to it) and by themselves after their longest run; a second that was not written was not measured; counts are what was
seen, never what was planned; the record is complete however they end; totals are those of the upgrade, with what the
loads of earlier attempts have measured, by their files.
"""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cutover import project
from cutover.clock import SYSTEM_CLOCK
from cutover.errors import CouldNotMeasure
from cutover.policy import Probe
from cutover.site.beside import Companion, GrowingFile
from cutover.site.measured import (
    HISTOGRAMS,
    MARKERS,
    REQUESTS,
    LoadSecond,
    LoadSummary,
    Measured,
    Tally,
    add_up,
    folder_of,
    read_earlier,
    run_of,
    seconds_between,
)
from cutover.site.probe import ProbeRunner
from cutover.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cutover.policy import Load
    from cutover.runbook.journal import Journal
    from cutover.runbook.ports import LoadTotals, ProbeTotals
    from cutover.runbook.upgrade import Upgrade
    from cutover.site.measured import EarlierLoad

_STOP_S = 15.0
_STOP_TIMEOUT_S = 5
"""How long a request that is under way when the load ends may take."""
_SLOWEST_START_S = 75.0
_WORKERS_CONNECT_WITHIN_S = 60
_LONGEST_RUN_S = 6 * 3600.0
_LOOK_S = 0.05
_EPOCH = datetime.fromtimestamp(0, UTC)
_EVERYWHERE = {"*", "0.0.0.0", "::"}  # noqa: S104 (names of it, nothing listens there for that)


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
        read_earlier: Callable[[], Sequence[EarlierLoad]] = tuple,
    ) -> None:
        """Take where to send what, and the record's folder for the load's files. Nothing is sent yet.

        run: the name of the write markers' series. read_earlier: returns the loads of the attempts before this one,
        oldest first; asked when they are needed, once.
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
            "clock_ahead_s": SYSTEM_CLOCK.ahead.total_seconds(),
        }
        self._probe = ProbeRunner(
            url=url, probe=probe or Probe(), folder=folder, colour_header=colour_header, longest_run_s=longest_run_s
        )
        self._process: Companion | None = None
        self._requests = GrowingFile(folder / REQUESTS)
        self._histograms = GrowingFile(folder / HISTOGRAMS)
        self._markers = GrowingFile(folder / MARKERS)
        self._tail: threading.Thread | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._measured = Measured()
        self._read_earlier = read_earlier
        self._earlier: tuple[EarlierLoad, ...] | None = None
        self._all = Tally()
        """Of every attempt; latencies are this one's."""
        self._unread = ""
        """Why nothing more can be read of what they write; empty while it can."""
        self._finished: LoadSummary | None = None

    @staticmethod
    def of(upgrade: Upgrade) -> LoadRunner:
        """Return the load generator and probe that the policy of an upgrade describes, for this attempt."""
        routing, number, load = upgrade.target.routing, upgrade.attempt, upgrade.path("load")
        return LoadRunner(
            url=routing.url,
            load=upgrade.policy.load,
            probe=upgrade.policy.probe,
            folder=folder_of(load, number),
            run=run_of(upgrade.id, number),
            colour_header=routing.colour_header,
            journal=upgrade.journal,
            read_earlier=lambda: read_earlier(
                load, upgrade_id=upgrade.id, attempt=number, probe_timeout_s=upgrade.policy.probe.timeout_s
            ),
        )

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start both and wait until a request of each has its end.

        Raises: CouldNotMeasure `load-not-started`, `load-unreadable` for what an earlier attempt wrote.
        """
        self._know_earlier()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = Companion(self._argv(), log=self._folder / "locust.log")
        self._probe.start()
        self._tail = threading.Thread(target=self._follow, name="load", daemon=True)
        self._tail.start()
        wait_for(
            "the load to start",
            lambda: (self._attempted(), self._probe.has_begun, self.running()),
            until=lambda seen: (seen[0] > 0 and seen[1]) or not seen[2],
            bound_s=_SLOWEST_START_S,
            interval_s=0.1,
            listener=self._journal.waits() if self._journal is not None else None,
            describe=lambda seen: (
                f"{seen[0]} seconds measured, the probe {'sends' if seen[1] else 'does not yet send'}"
            ),
        )
        if not self._attempted() or not self._probe.has_begun:
            raise self._ended("before it measured anything", code="load-not-started")

    def _attempted(self) -> int:
        with self._lock:
            return self._measured.tally.totals().attempted

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
        lost = self._measured.workers_lost
        self._finished = self._measured.summary(self._probe.all_totals(), complete=ended_well and not lost)
        if self._process is not None:
            self._measured.write(self._folder, self._finished, self._probe.totals)
            self._write_finished(self._finished)
        return self._finished

    def _write_finished(self, summary: LoadSummary) -> None:
        if self._journal is None:
            return
        facts = asdict(summary)
        for name in ("scans", "seconds", "failures"):
            del facts[name]
        totals, earlier = self.totals(), self._know_earlier()
        total = {
            "planned": round(totals.planned),
            "attempted": totals.attempted,
            "failed": totals.failed,
            "by_colour": totals.by_colour,
            "reads": totals.reads,
            "writes": totals.writes,
            "markers_acknowledged": sum(len(numbers) for numbers in self.series().values()),
            "probe": asdict(self.probe()),
            "loads": len(earlier) + 1,
        }
        self._journal.write("load_finished", **facts, total=total)

    # -- what they measured ----------------------------------------------------------------------------------------

    def _know_earlier(self) -> tuple[EarlierLoad, ...]:
        """Return the loads of earlier attempts, which are in the totals from then on. Raises: CouldNotMeasure."""
        if self._earlier is None:
            earlier = tuple(self._read_earlier())
            with self._lock:
                self._earlier = earlier
                for second in (second for load in earlier for second in load.measured.seconds):
                    self._all.add(replace(second, latencies_us={}))
        return self._earlier

    def totals(self) -> LoadTotals:
        """Return what was sent and got since the load of the upgrade began; a p99 is of this attempt."""
        self._know_earlier()
        with self._lock:
            return self._all.totals()

    def window(self, since: datetime, until: datetime | None = None) -> LoadTotals:
        """Return what was sent and got in the whole seconds between two times."""
        earlier = self._know_earlier()
        with self._lock:
            loads = [*(load.measured.seconds for load in earlier), self._measured.seconds]
            return add_up(second for seconds in loads for second in seconds_between(seconds, since, until))

    def probe(self, since: datetime | None = None, until: datetime | None = None) -> ProbeTotals:
        """Return what became of the probe's requests that were due between two times; from the first on, by default."""
        since = since or _EPOCH
        earlier = self._know_earlier()
        with self._lock:
            tally = self._probe.tally(since, until)
        for load in earlier:
            tally.add(load.probe(since, until))
        return tally.totals()

    def seconds(self) -> tuple[LoadSecond, ...]:
        """Return every second of this attempt so far, oldest first."""
        with self._lock:
            return tuple(self._measured.seconds)

    def markers(self) -> tuple[str, list[int]]:
        """Return the series' name and the numbers whose writing was acknowledged, in the order of acknowledgement."""
        with self._lock:
            return self.run, list(self._measured.acknowledged)

    def series(self) -> Mapping[str, Sequence[int]]:
        """Return the acknowledged numbers of every attempt's series by its name, oldest first."""
        earlier = {load.run: load.measured.acknowledged for load in self._know_earlier()}
        run, numbers = self.markers()
        return {**earlier, run: numbers}

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
            markers, histograms = self._markers.lines(), self._histograms.lines()
            with self._lock:
                for line in markers:
                    self._measured.take_marker(line)
                for line in histograms:
                    self._measured.take_histogram(line)
            for line in lines:
                self._take(line)
            if ended:
                return
            self._stopping.wait(_LOOK_S)

    def _take(self, line: bytes) -> None:
        with self._lock:
            known = self._measured.workers_lost
            second = self._measured.take_second(line)
            self._all.add(second)
            totals, probe = self._all.totals(), self._probed_live()
        if self._journal is None:
            return
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
        if second.workers_lost != known:
            self._journal.write(
                "observation", what="load workers lost", workers=second.workers_lost, left=second.workers
            )

    def _probed_live(self) -> ProbeTotals:
        """Return the probe's counts of the upgrade; colours and latencies are those of the last seconds."""
        live = self._probe.live_totals()
        probed = [load.probed for load in self._earlier or ()]
        return replace(
            live,
            planned=live.planned + sum(tally.planned for tally in probed),
            answered=live.answered + sum(tally.answered for tally in probed),
            failed=live.failed + sum(tally.failed for tally in probed),
        )
