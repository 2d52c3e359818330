"""A site in memory: what gates, rollback and diagnosis ask of one, each answer set by the test."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from cutover.clock import ManualClock
from cutover.errors import CouldNotMeasure
from cutover.runbook.gates import Asked, Taken
from cutover.runbook.ports import (
    Answer,
    LoadTotals,
    ProbeTotals,
    ProxyAnswer,
    RouteFinding,
    Sample,
    Series,
    Served,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
bake_s = 10
interval_s = 1
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
    result = [{"metric": {}, "value": [moment.timestamp(), _text(value)]} for value in values]
    raw = {"status": "success", "data": {"resultType": "vector", "result": result}}
    return Answer(query=query, time=moment, samples=samples, raw=raw)


def _text(value: float) -> str:
    """Write a value as Prometheus does."""
    return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(str(value), str(value))


def sampled(
    name: str,
    values: Iterable[float],
    counts: Iterable[float],
    *,
    blue: tuple[Iterable[float], Iterable[float]] = ((), ()),
    percent: int = 10,
) -> Taken:
    """Return a sample of one of the guide's metrics, before it is judged."""
    given = {"value": values, "count": counts, "blue_value": blue[0], "blue_count": blue[1]}
    moment = ManualClock().now()
    asked = tuple(Asked(role=role, query="q", time=moment, raw=answer(*numbers).raw) for role, numbers in given.items())
    return Taken(name=name, percent=percent, time=moment, asked=asked)


@dataclass
class FakePrometheus:
    """Answers by metric: `values` of the value queries, `counts` of the count queries; an absent key is no data."""

    values: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    blue_values: dict[str, float] = field(default_factory=dict)
    """What blue has instead, by metric; where nothing is said, the same as green."""
    blue_counts: dict[str, float] = field(default_factory=dict)
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
        is_count, name = self._is_count(expression), self._name(expression)
        table = self.counts if is_count else self.values
        blue = self.blue_counts if is_count else self.blue_values
        if "stellaops-prod" in expression and name in blue:
            return answer(blue[name], query=expression, at=at)
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
    """A load that sends at a rate since the clock's start, with a share for green, and a probe beside it."""

    clock: ManualClock
    rate: int = 100
    share: float = 0.10
    failed: int = 0
    fails_from_s: float = math.inf
    is_running: bool = True
    p99_ms: Mapping[str, float] = field(default_factory=lambda: {"blue": 20.0, "green": 20.0})
    planned_ratio: float = 1.0
    probe_p99_ms: float | None = 20.0
    probe_rate: int = 20
    stalled_at: datetime | None = None
    """A moment at which every request of the probe took 3 s."""
    acknowledged: list[int] = field(default_factory=lambda: list(range(1, 200)))
    phases: list[str] = field(default_factory=list)

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
            failed=self.failed + (self.clock.monotonic() >= self.fails_from_s),
            by_colour={"blue": attempted - green, "green": green},
            reads=attempted,
            writes=0,
            scans=whole,
            seconds=float(whole),
            p99_ms=self.p99_ms,
            planned=attempted * self.planned_ratio,
        )

    def probe(self, since: datetime, until: datetime | None = None) -> ProbeTotals:
        end = until or self.clock.now()
        answered = self.probe_rate * math.floor(max(0.0, (end - since).total_seconds()))
        stalled = self.stalled_at is not None and since <= self.stalled_at <= end
        p99_ms = 3000.0 if stalled else self.probe_p99_ms
        return ProbeTotals(
            planned=answered,
            answered=answered,
            failed=0,
            by_colour={"blue": answered},
            p50_ms=self.probe_p99_ms,
            p99_ms=p99_ms,
            max_ms=p99_ms,
        )

    def markers(self) -> tuple[str, list[int]]:
        return "load-t", list(self.acknowledged)

    def enter(self, phase: str) -> None:
        self.phases.append(phase)


@dataclass
class FakeRouting:
    """Who serves, look by look; the last answer stays."""

    answers: list[Mapping[str, int]] = field(default_factory=lambda: [{"blue": 100}])
    restored: int = 0
    error: Exception | None = None
    found: list[RouteFinding] = field(default_factory=list)
    drifted: list[RouteFinding] = field(default_factory=list)

    def who_serves(self, requests: int) -> Served:
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        total = sum(found.values())
        scaled = {colour: round(requests * count / total) for colour, count in found.items() if colour != "failed"}
        failed = requests - sum(scaled.values())
        return Served(total=requests, by_colour=scaled, failed=failed, pods={}, problems=("status 503",) * bool(failed))

    def lint(self) -> tuple[RouteFinding, ...]:
        return tuple(self.found)

    def drift(self) -> tuple[RouteFinding, ...]:
        return tuple(self.drifted)

    def restore(self) -> None:
        self.restored += 1
        if self.error is not None:
            raise self.error


@dataclass
class FakeDatabase:
    """A database that answers, unless it is told not to."""

    problem: str = ""
    present: list[int] = field(default_factory=lambda: list(range(1, 200)))
    rows: list[list[Any]] = field(default_factory=lambda: [[1, 1]])

    def identity(self) -> object:
        self._answer()
        return "one"

    def markers(self, run: str) -> list[int]:
        del run
        self._answer()
        return list(self.present)

    def look(self, query: str) -> list[list[Any]]:
        del query
        self._answer()
        return [list(row) for row in self.rows]

    def _answer(self) -> None:
        if self.problem:
            raise CouldNotMeasure("the database does not answer", code="database-unreachable", seen=self.problem)


@dataclass
class FakeCluster:
    """A cluster with green's Service and pods that answer; none of either where a test takes them away."""

    restarts: dict[str, int] = field(default_factory=lambda: {"green-1": 0, "green-2": 0})
    statuses: dict[str, int] = field(default_factory=dict)
    body: bytes = b'{"items": 5}'
    has_service: bool = True

    def pods(self, namespace: str, *, selector: Mapping[str, str] | None = None) -> tuple[Any, ...]:
        if selector is not None and "component" not in selector:
            return ()
        return tuple(
            SimpleNamespace(name=name, namespace=namespace, restarts=number, container_port=8080)
            for name, number in self.restarts.items()
        )

    def deployments(self, *_: object) -> tuple[Any, ...]:
        return ()

    def service(self, *_: object) -> dict[str, Any] | None:
        return {"spec": {"selector": {"component": "web"}}} if self.has_service else None

    def ready_endpoints(self, *_: object) -> int:
        return 0

    def events(self, *_: object) -> tuple[Any, ...]:
        return ()

    def proxy_pod(self, namespace: str, pod: str, port: int, path: str, **_: object) -> ProxyAnswer:
        del namespace, port
        status = self.statuses.get(pod, 200)
        return ProxyAnswer(status=status, headers={}, body=b"" if path == "/readyz" else self.body)


@dataclass
class FakeSite:
    """The ports that the runbook needs."""

    prometheus: FakePrometheus = field(default_factory=FakePrometheus)
    routing: FakeRouting = field(default_factory=FakeRouting)
    database: FakeDatabase = field(default_factory=FakeDatabase)
    cluster: FakeCluster = field(default_factory=FakeCluster)


GOOD_VALUES = {"error_ratio": 0.0, "latency_p99": 0.02, "evidence_operations": 4.0, "attestation_success": 1.0}
GOOD_COUNTS = {"error_ratio": 500.0, "latency_p99": 500.0, "evidence_operations": 40.0, "attestation_success": 10.0}
