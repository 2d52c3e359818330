"""Run the load generator beside the upgrade, and read what it measures.

Locust patches the interpreter, so it has a process of its own. It writes one line a second; this side only reads them.
Invariants: the process ends with the harness (the kernel sees to it) and by itself after its longest run; a second that
was not written was not measured; counts are what the generator saw, never what was planned.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO, TYPE_CHECKING, Any

from cutover import project
from cutover.clock import parse_rfc3339
from cutover.errors import CouldNotMeasure
from cutover.runbook.ports import LoadTotals
from cutover.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cutover.policy import Load
    from cutover.runbook.journal import Journal
    from cutover.runbook.upgrade import Upgrade

_STOP_S = 15.0
_SLOWEST_START_S = 60.0
_LONGEST_RUN_S = 6 * 3600.0
_PR_SET_PDEATHSIG = 1
_SETTINGS = "CUTOVER_LOAD_SETTINGS"


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
    p50_ms: Mapping[str, float]
    p99_ms: Mapping[str, float]
    reads: int
    writes: int
    scans: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSummary:
    """The whole run of the load generator."""

    planned: int
    """The rate that the policy sets, by the seconds that it ran."""
    attempted: int
    failed: int
    by_colour: Mapping[str, int]
    reads: int
    writes: int
    scans: int
    markers_acknowledged: int
    failures: tuple[Mapping[str, Any], ...]
    """The first hundred, each with time, method, name and error."""
    complete: bool
    """Whether the generator wrote it itself when it was asked to stop."""


class LoadRunner:
    """The load generator of one run, and what it has measured so far."""

    def __init__(
        self,
        *,
        url: str,
        load: Load,
        folder: Path,
        run: str,
        colour_header: str,
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
        self._longest_run_s = longest_run_s
        self._settings = {
            "run": run,
            "folder": str(folder),
            "colour_header": colour_header,
            "users": load.users,
            "requests_per_s": load.requests_per_s,
            "write_share": load.write_share,
            "scan_share": load.scan_share,
            "longest_run_s": longest_run_s,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._tail: threading.Thread | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._seconds: list[LoadSecond] = []
        self._finished: LoadSummary | None = None

    @staticmethod
    def of(upgrade: Upgrade) -> LoadRunner:
        """Return the load generator that the policy of an upgrade describes."""
        routing = upgrade.target.routing
        return LoadRunner(
            url=routing.url,
            load=upgrade.policy.load,
            folder=upgrade.path("load", "requests.jsonl").parent,
            run=f"load-{upgrade.id}",
            colour_header=routing.colour_header,
            journal=upgrade.journal,
        )

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait until it has measured its first second.

        Raises: CouldNotMeasure `load-not-started`.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        settings, users = json.dumps(self._settings), str(self._load.users)
        argv = [sys.executable, "-m", "locust", "--headless", "--only-summary", "--loglevel", "WARNING"]
        argv += ["--locustfile", str(project.ROOT / "load" / "locustfile.py"), "--host", self._url]
        argv += ["--users", users, "--spawn-rate", users, "--run-time", f"{self._longest_run_s:.0f}s"]
        argv += ["--stop-timeout", "5"]
        self._log = (self._folder / "locust.log").open("wb")
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, _SETTINGS: settings},
            preexec_fn=_end_with_parent,  # noqa: PLW1509 (two calls, safe before exec)
            start_new_session=True,
        )
        self._tail = threading.Thread(target=self._follow, name="load", daemon=True)
        self._tail.start()
        wait_for(
            "the load to start",
            lambda: (len(self._seconds), self.running()),
            until=lambda seen: seen[0] > 0 or not seen[1],
            bound_s=_SLOWEST_START_S,
            interval_s=0.1,
            describe=lambda seen: f"{seen[0]} seconds measured",
        )
        if not self._seconds:
            raise CouldNotMeasure(
                "the load generator ended before it measured anything",
                code="load-not-started",
                seen=self._last_words(),
                do="read load/locust.log in the record",
            )

    def ensure_running(self) -> None:
        """Start it, unless it runs. Raises: CouldNotMeasure `load-ended` when it ran and ended by itself."""
        if self._process is None:
            self.start()
        elif not self.running():
            raise CouldNotMeasure(
                "the load generator ended by itself",
                code="load-ended",
                seen=self._last_words(),
                do="read load/locust.log in the record",
            )

    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> LoadSummary:
        """Ask it to finish its requests and write its summary; end it if it does not. Idempotent."""
        if self._finished is not None:
            return self._finished
        if self._process is not None:
            if self.running():
                self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(_STOP_S)
        self._stopping.set()
        if self._tail is not None:
            self._tail.join(_STOP_S)
        if self._log is not None:
            self._log.close()
        self._finished = self._summary()
        if self._journal is not None and self._process is not None:
            summary = self._finished
            self._journal.write(
                "load_finished",
                planned=summary.planned,
                attempted=summary.attempted,
                failed=summary.failed,
                by_colour=summary.by_colour,
                reads=summary.reads,
                writes=summary.writes,
                markers_acknowledged=summary.markers_acknowledged,
            )
        return self._finished

    def _summary(self) -> LoadSummary:
        """Return the generator's own summary; where it could not write one, what its seconds add up to."""
        try:
            document = json.loads((self._folder / "summary.json").read_text(encoding="utf-8"))
            return LoadSummary(
                **{key: document[key] for key in ("planned", "attempted", "failed", "by_colour", "reads", "writes")},
                scans=document["scans"],
                markers_acknowledged=document["markers_acknowledged"],
                failures=tuple(document["failures"]),
                complete=True,
            )
        except (OSError, ValueError, KeyError):
            totals = self.totals()
            return LoadSummary(
                planned=math.floor(self._load.requests_per_s * totals.seconds),
                attempted=totals.attempted,
                failed=totals.failed,
                by_colour=totals.by_colour,
                reads=totals.reads,
                writes=totals.writes,
                scans=totals.scans,
                markers_acknowledged=len(self.markers()[1]),
                failures=(),
                complete=False,
            )

    def _last_words(self) -> str:
        try:
            text = (self._folder / "locust.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "it wrote nothing"
        return "\n".join(text.strip().splitlines()[-5:])[-1000:] or "it wrote nothing"

    # -- what it measured ------------------------------------------------------------------------------------------

    def totals(self) -> LoadTotals:
        """Return what it sent and got since it began."""
        with self._lock:
            return add_up(self._seconds)

    def window(self, since: datetime, until: datetime | None = None) -> LoadTotals:
        """Return what it sent and got in the whole seconds between two times."""
        with self._lock:
            return add_up(seconds_between(self._seconds, since, until))

    def seconds(self) -> tuple[LoadSecond, ...]:
        """Return every second so far, oldest first."""
        with self._lock:
            return tuple(self._seconds)

    def markers(self) -> tuple[str, list[int]]:
        """Return the series' name and the numbers whose writing was acknowledged, in the order of acknowledgement."""
        path = self._folder / "markers.jsonl"
        try:
            lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # the last one may be half written
        except FileNotFoundError:
            lines = []
        return self.run, [int(json.loads(line)["number"]) for line in lines]

    def _follow(self) -> None:
        """Read the file as it grows, until the load is over and read to its end."""
        path = self._folder / "requests.jsonl"
        position, rest = 0, b""
        while True:
            ended = self._stopping.is_set() or not self.running()
            try:
                with path.open("rb") as stream:
                    stream.seek(position)
                    content = stream.read()
                    position += len(content)
            except FileNotFoundError:
                content = b""
            *lines, rest = (rest + content).split(b"\n")
            for line in lines:
                self._take(line)
            if ended:
                return
            self._stopping.wait(0.2)

    def _take(self, line: bytes) -> None:
        second = parse_second(line)
        with self._lock:
            self._seconds.append(second)
            totals = add_up(self._seconds)
        if self._journal is not None:
            self._journal.write(
                "load",
                attempted=totals.attempted,
                failed=totals.failed,
                by_colour=totals.by_colour,
                rps=second.attempted,
                p99_ms=second.p99_ms,
            )


def parse_second(line: bytes | str) -> LoadSecond:
    """Return one line of requests.jsonl. Raises ValueError or KeyError for anything else."""
    document = json.loads(line)
    return LoadSecond(**{**document, "time": parse_rfc3339(document["time"])})


def seconds_between(seconds: Iterable[LoadSecond], since: datetime, until: datetime | None) -> list[LoadSecond]:
    """Return the seconds that lie wholly between two times."""
    return [
        second
        for second in seconds
        if second.time - timedelta(seconds=1) >= since and (until is None or second.time <= until)
    ]


def add_up(seconds: Iterable[LoadSecond]) -> LoadTotals:
    """Add seconds up; the p99 of a colour is the median of its seconds' p99: one hiccup does not stand for all."""
    found = list(seconds)
    colours: Counter[str] = Counter()
    p99s: dict[str, list[float]] = {}
    for second in found:
        colours.update(second.by_colour)
        for colour, value in second.p99_ms.items():
            p99s.setdefault(colour, []).append(value)
    return LoadTotals(
        attempted=sum(second.attempted for second in found),
        failed=sum(second.failed for second in found),
        by_colour=dict(colours),
        reads=sum(second.reads for second in found),
        writes=sum(second.writes for second in found),
        scans=sum(second.scans for second in found),
        seconds=float(len(found)),
        p99_ms={colour: statistics.median(values) for colour, values in p99s.items()},
    )


def _end_with_parent() -> None:
    """Have the kernel end this process when the harness dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
