"""The metrics that both processes export, under the names the operators' guide uses.

Invariants: no colour label (the scraper adds it from the pod); every series that a gate reads exists from the start
at zero, so that a missing series means a missing process.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from time import perf_counter
from types import TracebackType
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
OPERATIONS = ("create", "read", "list", "content")
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The registry of one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "http_requests_total", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self._durations = Histogram(
            "http_request_duration_seconds", "Time to answer.", buckets=BUCKETS_S, registry=self.registry
        )
        self._operations = Counter(
            "evidence_operations_total", "Operations on evidence.", ("operation", "result"), registry=self.registry
        )
        self.attestation_attempts = Counter(
            "attestation_attempts_total",
            "Attempts to make an attestation that have ended, well or not.",
            registry=self.registry,
        )
        self.attestation_success = Counter("attestation_success_total", "Attestations made.", registry=self.registry)
        self.queue_depth = Gauge(
            "stella_queue_depth", "Jobs waiting and in progress in this colour's queue.", registry=self.registry
        )
        self._by_request: dict[tuple[str, str, int], Counter] = {}
        self._by_operation = {
            (operation, result): self._operations.labels(operation, result)
            for operation in OPERATIONS
            for result in ("success", "failure")
        }

    def request(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count one request."""
        key = (method, route, status)
        counter = self._by_request.get(key)
        if counter is None:
            counter = self._by_request[key] = self._requests.labels(method, route, str(status))
        counter.inc()
        self._durations.observe(duration_s)

    def operation(self, name: str, *, ok: bool, count: int = 1) -> None:
        """Count operations on evidence: one of `OPERATIONS`."""
        self._by_operation[name, "success" if ok else "failure"].inc(count)

    def counting(self, name: str) -> "_Counting":
        """Count one operation when the block ends: a failure where it raises."""
        return _Counting(self, name)

    def render(self) -> bytes:
        """Give the text exposition."""
        return generate_latest(self.registry)


class _Counting:
    __slots__ = ("_metrics", "_name")

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics = metrics
        self._name = name

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._metrics.operation(self._name, ok=error is None)


class Measured:
    """ASGI middleware: adds the pod's headers to every answer, and counts and times it.

    It wraps `send` once a request and never touches the body, so that it costs a few microseconds.
    """

    def __init__(
        self, app: App, *, metrics: Metrics, headers: tuple[tuple[bytes, bytes], ...], routes: Mapping[object, str]
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes
        self._serving = headers
        self._draining = (*headers, (b"connection", b"close"))
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        status = 500

        async def measured(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # While draining, each answer also asks the caller to give the connection up.
                message["headers"] = [*message["headers"], *(self._draining if self.draining else self._serving)]
            await send(message)

        try:
            await self._app(scope, receive, measured)
        finally:
            route = self._routes.get(scope.get("endpoint"), "other")
            self._metrics.request(scope["method"], route, status, perf_counter() - started)
