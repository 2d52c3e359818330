"""A site in memory: what gates, rollback and diagnosis ask of one, each answer set by the test."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cutover.clock import ManualClock
from cutover.errors import CouldNotMeasure
from cutover.runbook.ports import Answer, LoadTotals, Sample, Series, Served

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRETS = {
    "STELLA_DSN": "postgresql://stella:not-a-real-one@db.example:5432/stellaops",
    "STELLA_LOG_DSN": "postgresql://stella:not-a-real-one@db.example:5432/stella_log",
    "STELLA_BLUE_CACHE_URL": "redis://blue.example:6379/0",
    "STELLA_GREEN_CACHE_URL": "redis://green.example:6379/0",
    "STELLA_ADMIN_DSN": "postgresql://admin:not-a-real-one@db.example:5432/postgres",
    "STELLA_STORE_ACCESS_KEY": "access-key-one",
    "STELLA_STORE_SECRET_KEY": "secret-key-one",
}
POLICY = """
schema = "cutover/policy/v1"
strategy = "gradual"
[traffic]
weights = [10, 25, 50, 100]
bake_s = 8
interval_s = 2
confidence = 0.999
min_requests = 200
[gates]
range_s = 5
[gates.error_ratio]
max = 0.01
min_requests = 20
[gates.latency_p99]
max_s = 0.25
[gates.evidence_operations]
min_per_s = 0.5
[gates.attestation_success]
min_ratio = 0.99
min_attempts = 5
[load]
users = 4
requests_per_s = 100
write_share = 0.1
scan_share = 0.02
max_failed = 0
[limits]
queue_drain_s = 20
ready_s = 60
backup_max_age_s = 3600
rollback_s = 5
[observation]
window_s = 30
interval_s = 2
in_run = true
"""


def answer(*values: float, query: str = "q", at: datetime | None = None) -> Answer:
    """Return an answer of one series a value; no value is an empty vector."""
    moment = at or ManualClock().now()
    samples = tuple(Sample(labels={}, value=value, time=moment) for value in values)
    return Answer(query=query, time=moment, samples=samples, raw={"values": [str(value) for value in values]})


@dataclass
class FakePrometheus:
    """Answers by metric: `values` of the value queries, `counts` of the count queries; an absent key is no data."""

    values: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    is_down: bool = False
    failures: int = 0
    outage: tuple[datetime, datetime] | None = None
    """No step of a range query between these moments has a value: nothing was scraped."""
    bad_steps: dict[str, float] = field(default_factory=dict)
    """A value by metric that the last step of every range query has."""

    def query(self, expression: str, *, at: datetime | None = None) -> Answer:
        self.asked.append(expression)
        if self.is_down or self.failures > 0:
            self.failures -= 1
            raise CouldNotMeasure("Prometheus does not answer", code="prometheus-unreachable", seen="refused")
        table = self.counts if self._is_count(expression) else self.values
        name = self._name(expression)
        return answer(*([table[name]] if name in table else []), query=expression, at=at)

    def query_range(self, expression: str, *, start: datetime, end: datetime, step_s: float) -> tuple[Series, ...]:
        self.asked.append(expression)
        if self.is_down:
            raise CouldNotMeasure("Prometheus does not answer", code="prometheus-unreachable", seen="refused")
        is_count, name = self._is_count(expression), self._name(expression)
        table = self.counts if is_count else self.values
        if name not in table:
            return ()
        moments = [
            start + timedelta(seconds=step_s * n) for n in range(int((end - start).total_seconds() / step_s) + 1)
        ]
        values = dict.fromkeys(moments, table[name])
        if not is_count and name in self.bad_steps:
            values[moments[-1]] = self.bad_steps[name]
        samples = tuple(
            Sample(labels={}, value=value, time=moment)
            for moment, value in values.items()
            if self.outage is None or not self.outage[0] <= moment <= self.outage[1]
        )
        return (Series(labels={}, samples=samples),)

    def is_ready(self) -> bool:
        return not self.is_down

    @staticmethod
    def _is_count(expression: str) -> bool:
        return "increase(" in expression and " / " not in expression

    @staticmethod
    def _name(expression: str) -> str:
        for pattern, name in (
            ("duration_seconds", "latency_p99"),
            ("http_requests", "error_ratio"),
            ("evidence_operations", "evidence_operations"),
            ("attestation", "attestation_success"),
        ):
            if re.search(pattern, expression):
                return name
        raise AssertionError(expression)


@dataclass
class FakeLoad:
    """A load that sends at a rate since the clock's start, with a share for green; failures from a moment on."""

    clock: ManualClock
    rate: int = 100
    share: float = 0.10
    failed: int = 0
    is_running: bool = True
    p99_ms: Mapping[str, float] = field(default_factory=lambda: {"blue": 20.0, "green": 20.0})

    def running(self) -> bool:
        return self.is_running

    def totals(self) -> LoadTotals:
        return self._over(self.clock.monotonic())

    def window(self, since: datetime, until: datetime | None = None) -> LoadTotals:
        end = until or self.clock.now()
        return self._over((end - since).total_seconds())

    def _over(self, seconds: float) -> LoadTotals:
        whole = math.floor(max(0.0, seconds))
        attempted = self.rate * whole
        green = round(attempted * self.share)
        return LoadTotals(
            attempted=attempted,
            failed=self.failed,
            by_colour={"blue": attempted - green, "green": green},
            reads=attempted,
            writes=0,
            scans=whole,
            seconds=float(whole),
            p99_ms=self.p99_ms,
        )


@dataclass
class FakeRouting:
    """Who serves, look by look; the last answer stays."""

    answers: list[Mapping[str, int]] = field(default_factory=lambda: [{"blue": 100}])
    restored: int = 0
    error: Exception | None = None

    def who_serves(self, requests: int) -> Served:
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        total = sum(found.values())
        scaled = {colour: round(requests * count / total) for colour, count in found.items() if colour != "failed"}
        failed = requests - sum(scaled.values())
        return Served(total=requests, by_colour=scaled, failed=failed, pods={}, problems=("status 503",) * bool(failed))

    def restore(self) -> None:
        self.restored += 1
        if self.error is not None:
            raise self.error


class FakeDatabase:
    """A database that answers, unless it is told not to."""

    problem = ""

    def identity(self) -> object:
        if self.problem:
            raise CouldNotMeasure("the database does not answer", code="database-unreachable", seen=self.problem)
        return "one"


class EmptyCluster:
    """A cluster in which nothing is."""

    def pods(self, *_: object, **__: object) -> tuple[Any, ...]:
        return ()

    def service(self, *_: object) -> None:
        return None

    def ready_endpoints(self, *_: object) -> int:
        return 0

    def events(self, *_: object) -> tuple[Any, ...]:
        return ()


@dataclass
class FakeSite:
    """The ports that the runbook needs."""

    prometheus: FakePrometheus = field(default_factory=FakePrometheus)
    routing: FakeRouting = field(default_factory=FakeRouting)
    database: FakeDatabase = field(default_factory=FakeDatabase)
    cluster: EmptyCluster = field(default_factory=EmptyCluster)


GOOD_VALUES = {"error_ratio": 0.0, "latency_p99": 0.02, "evidence_operations": 4.0, "attestation_success": 1.0}
GOOD_COUNTS = {"error_ratio": 500.0, "latency_p99": 500.0, "evidence_operations": 40.0, "attestation_success": 10.0}
