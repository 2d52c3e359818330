"""What the runbook asks of a site: protocols, and the plain data that travels over them.

The runbook owns these; drivers in `cutover.site` implement them. A test may, too.
Invariant: nothing here does anything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cutover.errors import CouldNotMeasure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

# -- metrics -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of one series; NaN and infinities are kept as they are."""

    labels: Mapping[str, str]
    value: float
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one instant query gave."""

    query: str
    time: datetime
    """When the query was evaluated."""
    samples: tuple[Sample, ...]
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series of a range query, oldest sample first."""

    labels: Mapping[str, str]
    samples: tuple[Sample, ...]


class Metrics(Protocol):
    """Prometheus, as the gates ask it."""

    def query(self, expression: str, *, at: datetime | None = None) -> Answer:
        """Evaluate an expression at a time, by default now. Raises: CouldNotMeasure."""
        ...

    def query_range(self, expression: str, *, start: datetime, end: datetime, step_s: float) -> tuple[Series, ...]:
        """Evaluate an expression every `step_s` seconds. Raises: CouldNotMeasure."""
        ...

    def is_ready(self) -> bool:
        """Whether it answers at all."""
        ...


# -- traffic -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Who answered a number of requests at the public host."""

    total: int
    """Requests sent."""
    by_colour: Mapping[str, int]
    """Answers with status 200, by the colour that they name."""
    failed: int
    """No answer, another status, or no colour named."""
    pods: Mapping[str, int]
    problems: tuple[str, ...]
    """What the failed ones said, each once."""

    def only(self, colour: str) -> bool:
        """Whether that colour, and nobody else, answered every request."""
        return self.failed == 0 and self.total > 0 and self.by_colour.get(colour, 0) == self.total

    @property
    def single_colour(self) -> str | None:
        """The colour that answered every request, or None."""
        return next((colour for colour in self.by_colour if self.only(colour)), None)

    def __str__(self) -> str:
        parts = [f"{colour} {count}" for colour, count in sorted(self.by_colour.items())]
        if self.failed:
            parts.append(f"failed {self.failed} ({'; '.join(self.problems[:2])})")
        return f"of {self.total} requests: {', '.join(parts) or 'none answered'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFinding:
    """One reason why the routes cannot do what the runbook wants of them."""

    code: str
    message: str
    remedy: str


class Routing(Protocol):
    """Moving traffic between the colours. A weight is what the public host's answers show, not what an object says."""

    def prepare(self) -> None:
        """Make what green's way to the public host needs; moves no traffic."""
        ...

    def lint(self) -> tuple[RouteFinding, ...]:
        """Return what cannot work; empty when the topology is sound."""
        ...

    def shift(self, percent: int) -> None:
        """Send this share of the requests to green, and read it back."""
        ...

    def promote(self) -> None:
        """Let the public route name green alone."""
        ...

    def restore(self) -> None:
        """Send every request to blue, which the public route names alone from then on (R.1, F.4)."""
        ...

    def drift(self) -> tuple[RouteFinding, ...]:
        """Return in what the routes differ from what this run set last: somebody else changed them, or a reconciler."""
        ...

    def who_serves(self, requests: int) -> Served:
        """Send requests to the public host, each on a connection of its own, and count who answered."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTotals:
    """What the load generator sent and got, over a window or since it began."""

    attempted: int
    failed: int
    by_colour: Mapping[str, int]
    """Answers by the colour they name, failed ones included."""
    reads: int
    writes: int
    scans: int
    """Scans that were accepted; each is a write too."""
    seconds: float
    p99_ms: Mapping[str, float]
    """By colour: the p99 of the window's histogram."""
    planned: float = 0.0
    """By the policy's rate in the phase of each second."""

    @property
    def rps(self) -> float:
        """Requests a second."""
        return self.attempted / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTotals:
    """What the open-loop probe sent and got; latencies are from the intended start, so that a stall shows."""

    planned: int
    """By its schedule, whether or not it was sent."""
    answered: int
    """Good answers."""
    failed: int
    """Wrong answers and none within the timeout; those not due yet are in neither."""
    by_colour: Mapping[str, int]
    p50_ms: float | None
    """None without an answer, as the others."""
    p99_ms: float | None
    max_ms: float | None


class Load(Protocol):
    """The load generator."""

    def running(self) -> bool:
        """Whether it still sends."""
        ...

    def totals(self) -> LoadTotals:
        """Return what it sent and got since it began."""
        ...

    def window(self, since: datetime, until: datetime | None = None) -> LoadTotals:
        """Return what it sent and got in the whole seconds between two times."""
        ...

    def probe(self, since: datetime, until: datetime | None = None) -> ProbeTotals:
        """Return what the open-loop probe got for the requests that were meant to be sent between two times."""
        ...

    def markers(self) -> tuple[str, list[int]]:
        """Return the series' name and the numbers of the acknowledged write markers, in that order."""
        ...

    def enter(self, phase: str) -> None:
        """Say what the upgrade does now: `prepare`, `weight-10`, `promoted`, `validate`, `observe` or `rollback`."""
        ...


# -- workloads ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A Deployment and how far it is."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    desired: int
    ready: int
    available: int
    updated: int
    images: tuple[str, ...]
    """Images of its containers, init containers left out."""
    is_available: bool
    """The condition Available, for the generation that was last asked for."""

    @property
    def is_complete(self) -> bool:
        """Whether every wanted replica is updated, ready and available."""
        return self.is_available and self.desired == self.ready == self.available == self.updated


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A Pod and what is wrong with it."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    phase: str
    ready: bool
    restarts: int
    """Of all its containers, init containers too."""
    images: tuple[str, ...]
    image_ids: tuple[str, ...]
    """What its containers really run; empty strings for containers that have not started."""
    ip: str
    container_port: int | None
    """The first port its containers declare."""
    init_running: str
    """The init container that has started and not finished; empty otherwise."""
    problem: str
    """Why a container does not run, in the kubelet's word (`ImagePullBackOff`, `CrashLoopBackOff`); empty when none."""
    problem_container: str
    problem_in_init: bool
    problem_detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterEvent:
    """One event of a namespace."""

    kind: str
    name: str
    reason: str
    message: str
    count: int
    is_warning: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyAnswer:
    """What a Service or Pod answered through the API server."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 (any JSON)
        """Return the body as JSON. Raises: CouldNotMeasure `answer-unreadable`."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise CouldNotMeasure(
                "a service of the site did not answer JSON",
                code="answer-unreadable",
                seen=f"{self.status}: {self.body[:200]!r}",
                do="read the log of its pods",
            ) from error


class Workloads(Protocol):
    """The cluster, as a diagnosis looks at it."""

    def pods(self, namespace: str, *, selector: Mapping[str, str] | None = None) -> tuple[Pod, ...]:
        """Return the Pods that carry the labels."""
        ...

    def deployments(self, namespace: str) -> tuple[Deployment, ...]:
        """Return the Deployments of a namespace."""
        ...

    def pod_log(
        self, namespace: str, pod: str, container: str, *, previous: bool = False, tail_lines: int = 200
    ) -> str:
        """Return the end of a container's log; empty when there is none."""
        ...

    def service(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Return a Service, or None."""
        ...

    def ready_endpoints(self, namespace: str, name: str) -> int:
        """Count the ready addresses behind a Service."""
        ...

    def events(self, namespace: str) -> tuple[ClusterEvent, ...]:
        """Return the events of a namespace, oldest first."""
        ...

    def proxy_pod(
        self, namespace: str, pod: str, port: int, path: str, *, timeout_s: float | None = None
    ) -> ProxyAnswer:
        """GET a path of one Pod through the API server, ready or not."""
        ...


class Dependency(Protocol):
    """A server that answers who it is, or raises CouldNotMeasure."""

    def identity(self) -> object:
        """Ask it."""
        ...


class Tables(Dependency, Protocol):
    """The platform's database, as the gates ask it. Each question is read-only and has a deadline."""

    def markers(self, run: str) -> list[int]:
        """Return the numbers of the write markers of a run, sorted, repetitions kept."""
        ...

    def look(self, query: str) -> list[list[Any]]:
        """Return the rows of one SELECT of the policy's. Raises: CouldNotMeasure."""
        ...


class SitePorts(Protocol):
    """The site, as far as gates, rollback and diagnosis need it."""

    @property
    def prometheus(self) -> Metrics:
        """Its metrics."""
        ...

    @property
    def routing(self) -> Routing:
        """Its traffic."""
        ...

    @property
    def cluster(self) -> Workloads:
        """Its workloads."""
        ...

    @property
    def database(self) -> Tables:
        """Its database, on the operator's path."""
        ...
