"""Each cause of the table from the facts that show it, with the guide's remedy where it has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from quiet_site import FakeRouting, FakeSite

from cutover.errors import ClauseFailed, CouldNotMeasure, CutoverError
from cutover.model import Environment
from cutover.runbook import diagnosis
from cutover.runbook.diagnosis import Facts
from cutover.runbook.ports import Pod, RouteFinding

GREEN = Environment(
    name="green",
    namespace="stellaops-green",
    release="stellaops-green",
    service="stellaops-green",
    values=(),
    cache_url="",
)
LABELS = {"app.kubernetes.io/instance": "stellaops-green", "app.kubernetes.io/component": "web"}


def pod(**changes: Any) -> Pod:  # noqa: ANN401 (fields of the record)
    facts: dict[str, Any] = {
        "name": "stellaops-green-web-1",
        "namespace": GREEN.namespace,
        "labels": LABELS,
        "phase": "Running",
        "ready": False,
        "restarts": 0,
        "images": ("registry.example/stellaops:2027.Q2",),
        "image_ids": ("",),
        "ip": "10.0.0.1",
        "container_port": 8080,
        "init_running": "",
        "problem": "",
        "problem_container": "",
        "problem_in_init": False,
        "problem_detail": "",
    }
    return Pod(**{**facts, **changes})


FAILED = ClauseFailed("green is not fully available", code="not-available")


def facts(error: CutoverError = FAILED, **found: Any) -> Facts:  # noqa: ANN401 (fields of the record)
    return Facts(environment=GREEN, error=error, **found)


@dataclass(frozen=True)
class Case:
    """Facts, and what the diagnosis must say."""

    name: str
    facts: Facts
    cause: tuple[str, ...]
    remedy: str
    clause: str = ""


CASES = [
    Case(
        "image",
        facts(pods=(pod(problem="ImagePullBackOff", problem_container="web", problem_detail="not found"),)),
        ("ImagePullBackOff", "2027.Q2"),
        "push the image",
    ),
    Case(
        "init waits",
        facts(pods=(pod(init_running="migrate", phase="Pending"),), init_log="waiting: the migration lock is held"),
        ("init", "lock"),
        "migrationTimeoutSeconds",
        "T.1",
    ),
    Case(
        "init gave up",
        facts(pods=(pod(problem="CrashLoopBackOff", problem_container="migrate", problem_in_init=True),)),
        ("init container migrate",),
        "migrationTimeoutSeconds",
        "T.1",
    ),
    Case(
        "init without database",
        facts(
            pods=(pod(problem="CrashLoopBackOff", problem_container="migrate", problem_in_init=True),),
            init_log="migrate: waiting: the database does not answer: timeout",
        ),
        ("init", "database"),
        "database connectivity",
        "T.2",
    ),
    Case(
        "crash loop",
        facts(pods=(pod(problem="CrashLoopBackOff", problem_container="web"),), crash_log="a\nboom"),
        ("CrashLoopBackOff", "boom"),
        "kubectl logs",
    ),
    Case(
        "database check",
        facts(pods=(pod(),), readiness={"stellaops-green-web-1": {"database": "timeout", "schema": "timeout"}}),
        ("database",),
        "database connectivity",
        "T.2",
    ),
    Case(
        "cache check",
        facts(pods=(pod(),), readiness={"stellaops-green-web-1": {"cache": "refused"}}),
        ("cache",),
        "check the cache",
    ),
    Case(
        "readiness",
        facts(pods=(pod(),), readiness={"stellaops-green-web-1": {"fault": "no"}}),
        ("ready", "fault: no"),
        "database connectivity",
        "T.2",
    ),
    Case(
        "selector",
        facts(pods=(pod(ready=True),), selector={"app.kubernetes.io/component": "wbe"}, ready_endpoints=0),
        ("endpoint", "component=wbe", "pods carry web"),
        "selector labels",
        "T.4",
    ),
    Case(
        "no service", facts(pods=(pod(ready=True),), ready_endpoints=0), ("endpoint", "no Service"), "selector", "T.4"
    ),
    Case("database lost", facts(database_problem="connection refused"), ("shared database",), "PostgreSQL"),
    Case(
        "command hangs",
        facts(CouldNotMeasure("x", code="command-timeout", argv="stella test smoke")),
        ("timed out", "stella test smoke"),
        "transcript",
    ),
    Case("prometheus", facts(CouldNotMeasure("x", code="prometheus-unreachable")), ("Prometheus",), "Prometheus"),
    Case("queue", facts(ClauseFailed("x", code="queue-stuck", seen="3 active scans")), ("3 active scans",), "worker"),
    Case(
        "continuity",
        facts(ClauseFailed("x", code="continuity-broken", seen="1 changed")),
        ("1 changed",),
        "stella evidence reindex",
        "T.3",
    ),
    Case(
        "routes",
        facts(
            ClauseFailed("x", code="share-outside-interval", seen="0 of 700"),
            routes=(RouteFinding(code="route-changed", message="HTTPRoute main is not as set", remedy="stop them"),)
            * 2,
        ),
        ("HTTPRoute main is not as set, and 1 more",),
        "stop them",
    ),
    Case(
        "gate",
        facts(ClauseFailed("x", code="gate-failed", seen="latency p99: 0.6 s, limit 0.25")),
        ("green", "latency p99"),
        "",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cause(case: Case) -> None:
    found = diagnosis.cause_of(case.facts)
    assert found is not None
    for word in case.cause:
        assert word in found.cause
    assert case.remedy in found.remedy
    assert found.clause == case.clause


def test_nothing_wrong_is_no_cause() -> None:
    healthy = facts(pods=(pod(ready=True),), selector=LABELS, ready_endpoints=1)
    assert diagnosis.cause_of(healthy) is None


def test_an_error_is_explained_once() -> None:
    site = FakeSite()
    site.database.problem = "connection refused"
    error = ClauseFailed("x", do="look")
    diagnosis.explain(site, GREEN, error)
    assert "shared database" in error.cause_text
    assert "PostgreSQL" in error.do
    site.database.problem = ""
    before = error.cause_text
    diagnosis.explain(site, GREEN, error)
    assert error.cause_text == before


def test_diagnosing_survives_a_cluster_that_does_not_answer() -> None:
    class Silent:
        def __getattr__(self, _: str) -> object:
            def fail(*_: object, **__: object) -> object:
                raise CouldNotMeasure("the API server does not answer", code="kubernetes-unreachable")

            return fail

    site = FakeSite(cluster=Silent())  # type: ignore[arg-type]
    assert diagnosis.diagnose(site, GREEN, ClauseFailed("x")) is None


@pytest.mark.parametrize(("code", "looks"), [("share-outside-interval", True), ("not-available", False)])
def test_routes_are_looked_at_where_traffic_is_not_where_it_ought(code: str, looks: bool) -> None:
    changed = RouteFinding(code="route-changed", message="the canary is not as set", remedy="stop them")
    wrong = RouteFinding(code="sticky-sessions", message="sessions stick", remedy="let go")
    site = FakeSite(routing=FakeRouting(drifted=[changed], found=[wrong]))
    found = diagnosis.gather(site, GREEN, ClauseFailed("x", code=code))
    assert found.routes == ((changed, wrong) if looks else ())
