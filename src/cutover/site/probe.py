"""Run the open-loop probe beside the upgrade, and read what it measures.

Its schedule is all that has to be known to see a stall: request n is due at `start + n / rate`, and one that is due
without a line in probe.jsonl is not answered. Invariants: a request counts in the window in which it was due; one that
is still under way counts with its age so far; one without an answer for longer than the timeout has failed, also when
the probe itself has died or never sent it.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cutover import latency, project
from cutover.clock import SYSTEM_CLOCK, Clock
from cutover.runbook.ports import ProbeTotals
from cutover.site.beside import Companion, GrowingFile
from cutover.site.public import SAMPLE_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cutover.policy import Probe

_LIVE_S = 10.0
"""What is shown while it runs covers so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A request of the probe that has its end."""

    latency_us: int
    """From the time at which it was due."""
    colour: str
    """Empty when nobody, or an answer that names none."""
    error: str
    """Empty for a good answer."""
    was_answered: bool


@dataclass(slots=True, kw_only=True)
class ProbeTally:
    """Requests of a probe, counted; tallies of several probes add up."""

    planned: int = 0
    answered: int = 0
    failed: int = 0
    by_colour: Counter[str] = field(default_factory=Counter)
    latencies_us: latency.Counts = field(default_factory=dict)

    def add(self, other: ProbeTally) -> None:
        """Add another one's requests."""
        self.planned += other.planned
        self.answered += other.answered
        self.failed += other.failed
        self.by_colour.update(other.by_colour)
        latency.add(self.latencies_us, other.latencies_us)

    def totals(self) -> ProbeTotals:
        """Return the counts, and the percentiles of all latencies together."""
        p50_ms, p99_ms, max_ms = latency.percentiles_ms(self.latencies_us, 0.5, 0.99, 1.0)
        return ProbeTotals(
            planned=self.planned,
            answered=self.answered,
            failed=self.failed,
            by_colour=dict(self.by_colour),
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            max_ms=max_ms,
        )


class ProbeRecord:
    """What the lines of probe.jsonl say so far. Times in seconds since the epoch."""

    def __init__(self, *, timeout_s: float) -> None:
        """Know nothing yet. timeout_s: after which a request that has no line has failed."""
        self.start_s = math.inf
        """When its first request was due."""
        self.known_until_s = 0.0
        """The end of the last request that has one, or of the probe."""
        self._timeout_s = timeout_s
        self._requests_per_s = 0.0
        self._planned: int | None = None
        self._ended: list[Ended | None] = []
        self._answered = 0
        self._failed = 0
        self._oldest_open = 0

    def take(self, line: bytes | str) -> None:
        """Take a line in. Raises ValueError or KeyError for anything else."""
        facts: Mapping[str, Any] = json.loads(line)
        if "start" in facts:
            self.start_s, self._requests_per_s = facts["start"], facts["requests_per_s"]
        elif "end" in facts:
            self._planned = facts["planned"]
            self.known_until_s = max(self.known_until_s, facts["end"])
        else:
            number = facts["n"]
            ended_s = self.start_s + number / self._requests_per_s + facts["ms"] / 1000
            self.known_until_s = max(self.known_until_s, ended_s)
            self._ended += [None] * (number + 1 - len(self._ended))
            self._ended[number] = Ended(
                latency_us=round(facts["ms"] * 1000),
                colour=facts["colour"],
                error=facts["error"],
                was_answered=facts["status"] != 0,
            )
            self._answered += not facts["error"]
            self._failed += bool(facts["error"])

    @property
    def has_begun(self) -> bool:
        """Whether a request has had its end."""
        return bool(self._ended)

    def stop(self, now_s: float) -> None:
        """Say that nothing is due after a time: the probe was ended. What it said of its end itself goes before."""
        if self._planned is None:
            self._planned = self._due_before(now_s)

    def totals(self, since_s: float, until_s: float, *, now_s: float) -> ProbeTotals:
        """Return what became of the requests that were due in a span."""
        return self.tally(since_s, until_s, now_s=now_s).totals()

    def tally(self, since_s: float, until_s: float, *, now_s: float) -> ProbeTally:
        """Count the requests that were due in a span."""
        first, last = self._due_before(since_s), self._due_before(min(until_s, now_s))
        tally = ProbeTally(planned=max(0, last - first))
        for number in range(first, last):
            ended = self._ended[number] if number < len(self._ended) else None
            if ended is None:
                age_s = now_s - self.start_s - number / self._requests_per_s
                tally.failed += age_s > self._timeout_s
                age_us = int(min(age_s, self._timeout_s) * 1_000_000)
                latency.add(tally.latencies_us, {latency.quantised(age_us): 1})
                continue
            tally.answered += not ended.error
            tally.failed += bool(ended.error)
            if ended.was_answered:
                tally.by_colour[ended.colour or "nobody"] += 1
            if not ended.error or not ended.was_answered:  # a refusal that came fast is no latency
                latency.add(tally.latencies_us, {latency.quantised(ended.latency_us): 1})
        return tally

    def counts(self, *, now_s: float) -> tuple[int, int, int]:
        """Return how many requests were due, were answered and have failed since the start."""
        while self._oldest_open < len(self._ended) and self._ended[self._oldest_open] is not None:
            self._oldest_open += 1
        overdue = range(self._oldest_open, self._due_before(now_s - self._timeout_s))
        silent = sum(number >= len(self._ended) or self._ended[number] is None for number in overdue)
        return self._due_before(now_s), self._answered, self._failed + silent

    def _due_before(self, moment_s: float) -> int:
        """Return how many requests were due before a time."""
        if moment_s <= self.start_s:
            return 0
        count = math.ceil((moment_s - self.start_s) * self._requests_per_s - 1e-6)
        return count if self._planned is None else min(count, self._planned)


class ProbeRunner:
    """The probe of one run."""

    def __init__(
        self,
        *,
        url: str,
        probe: Probe,
        folder: Path,
        colour_header: str,
        longest_run_s: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Take what to ask how often, and the record's folder for its files. Nothing is sent yet."""
        self._argv = [sys.executable, str(project.ROOT / "load" / "probe.py"), "--url", url, "--path", SAMPLE_PATH]
        self._argv += ["--folder", str(folder), "--requests-per-s", str(probe.requests_per_s)]
        self._argv += ["--timeout-s", str(probe.timeout_s), "--colour-header", colour_header]
        self._argv += ["--longest-run-s", str(longest_run_s)]
        self._folder = folder
        self._clock = clock
        self._timeout_s = probe.timeout_s
        self._record = ProbeRecord(timeout_s=probe.timeout_s)
        self._file = GrowingFile(folder / "probe.jsonl")
        self._process: Companion | None = None

    def start(self) -> None:
        """Start it."""
        self._process = Companion(self._argv, log=self._folder / "probe.log")

    @property
    def process(self) -> Companion | None:
        """Its process; None before it was started."""
        return self._process

    @property
    def has_begun(self) -> bool:
        """Whether a request has had its end."""
        return self._record.has_begun

    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.running()

    def read(self) -> None:
        """Take in what it has written since."""
        for line in self._file.lines():
            self._record.take(line)

    def ask_to_end(self) -> None:
        """Ask it to send no more; does not wait."""
        if self._process is not None:
            self._process.ask_to_end()

    def end(self) -> bool:
        """Wait for what is under way, at most the timeout, and return whether it ended as it should."""
        if self._process is None:
            return True
        ended_well = self._process.end(within_s=self._timeout_s + 1) == 0
        self.read()
        self._record.stop(self._clock.now().timestamp())
        self._file.close()
        return ended_well

    def totals(self, since: datetime, until: datetime | None = None) -> ProbeTotals:
        """Return what became of the requests that were due between two times."""
        return self.tally(since, until).totals()

    def tally(self, since: datetime, until: datetime | None = None) -> ProbeTally:
        """Count the requests that were due between two times."""
        now = self._clock.now()
        return self._record.tally(since.timestamp(), (until or now).timestamp(), now_s=now.timestamp())

    def all_totals(self) -> ProbeTotals:
        """Return what became of every request."""
        return self.totals(datetime.fromtimestamp(0, UTC))

    def live_totals(self) -> ProbeTotals:
        """Return the counts since the start, colours and latencies of the last seconds alone."""
        now = self._clock.now()
        planned, answered, failed = self._record.counts(now_s=now.timestamp())
        recent = self.totals(now - timedelta(seconds=_LIVE_S))
        return replace(recent, planned=planned, answered=answered, failed=failed)
