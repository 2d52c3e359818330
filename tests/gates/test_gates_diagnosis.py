"""Each cause of the table from the facts that show it, with the guide's remedy where it has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from quiet_site import FakeRouting, FakeSite

from cutover.errors import ClauseFailed, CouldNotMeasure, CutoverError
from cutover.model import Environment
from cutover.runbook import causes, diagnosis
from cutover.runbook.diagnosis import Facts
from cutover.runbook.ports import Deployment, Pod, ProxyAnswer, RouteFinding
from rehearsal.environment import faults

GREEN = Environment(
    name="green",
    namespace="stellaops-green",
    release="stellaops-green",
    service="stellaops-green",
    values=(),
    cache_url="",
)
REFUSED = 5
COMPONENT = "app.kubernetes.io/component"
LABELS = {"app.kubernetes.io/instance": "stellaops-green", COMPONENT: "web"}


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


def deployment(**changes: Any) -> Deployment:  # noqa: ANN401 (fields of the record)
    found: dict[str, Any] = {
        "name": "stellaops-green-web",
        "namespace": GREEN.namespace,
        "labels": LABELS,
        "desired": 2,
        "ready": 2,
        "available": 2,
        "updated": 2,
        "images": (),
        "is_available": True,
    }
    return Deployment(**{**found, **changes})


FAILED = ClauseFailed("green is not fully available", code="not-available")


def facts(error: CutoverError = FAILED, **found: Any) -> Facts:  # noqa: ANN401 (fields of the record)
    return Facts(environment=GREEN, error=error, **found)


def gate(*names: str, seen: str, code: str = "gate-failed") -> Facts:
    return facts(CutoverError("x", code=code, seen=seen, gates=list(names)))


@dataclass(frozen=True)
class Case:
    """Facts, and what the diagnosis must say. `name` begins with the row's id."""

    name: str
    facts: Facts
    cause: tuple[str, ...]
    remedy: str
    clause: str = ""


CASES = [
    Case(
        "image-not-pulled",
        facts(pods=(pod(problem="ImagePullBackOff", problem_container="web", problem_detail="not found"),)),
        ("ImagePullBackOff", "2027.Q2"),
        "push the image",
    ),
    Case(
        "init-stuck waits",
        facts(pods=(pod(init_running="migrate", phase="Pending"),), init_log="waiting: the migration lock is held"),
        ("init", "lock"),
        "migrationTimeoutSeconds",
        "T.1",
    ),
    Case(
        "init-stuck gave up",
        facts(pods=(pod(problem="CrashLoopBackOff", problem_container="migrate", problem_in_init=True),)),
        ("init container migrate",),
        "migrationTimeoutSeconds",
        "T.1",
    ),
    Case(
        "init-without-database",
        facts(
            pods=(pod(problem="CrashLoopBackOff", problem_container="migrate", problem_in_init=True),),
            init_log="migrate: waiting: the database does not answer: timeout",
        ),
        ("init", "database"),
        "database connectivity",
        "T.2",
    ),
    Case(
        "container-crashes",
        facts(pods=(pod(problem="CrashLoopBackOff", problem_container="web"),), crash_log="a\nboom"),
        ("CrashLoopBackOff", "boom"),
        "kubectl logs",
    ),
    Case(
        "container-crashes, no loop yet, and the worker is well",
        facts(
            pods=(pod(name="worker-1", ready=True, labels={**LABELS, COMPONENT: "worker"}), pod(restarts=1)),
            selector=LABELS,
            ready_endpoints=0,
        ),
        ("started again (restarts: 1)",),
        "--previous",
    ),
    Case(
        "database-out-of-reach",
        facts(pods=(pod(),), readiness={"stellaops-green-web-1": {"database": "timeout", "schema": "timeout"}}),
        ("database",),
        "database connectivity",
        "T.2",
    ),
    Case(
        "dependency-out-of-reach",
        facts(pods=(pod(),), readiness={"stellaops-green-web-1": {"cache": "refused"}}),
        ("cache",),
        "check the cache",
    ),
    Case(
        "probe-fails",
        facts(pods=(pod(),), readiness={"stellaops-green-web-1": {"fault": "no"}}),
        ("ready", "fault: no"),
        "database connectivity",
        "T.2",
    ),
    Case(
        "selector-wrong",
        facts(pods=(pod(ready=True),), selector={"app.kubernetes.io/component": "wbe"}, ready_endpoints=0),
        ("endpoint", "component=wbe", "pods carry web"),
        "selector labels",
        "T.4",
    ),
    Case(
        "service-absent",
        facts(pods=(pod(ready=True),), ready_endpoints=0),
        ("endpoint", "no Service"),
        "selector",
        "T.4",
    ),
    Case("database-lost", facts(database_problem="connection refused"), ("shared database",), "PostgreSQL"),
    Case(
        "command-hangs",
        facts(CouldNotMeasure("x", code="command-timeout", argv="stella test smoke")),
        ("timed out", "stella test smoke"),
        "transcript",
    ),
    Case("metrics-down", facts(CouldNotMeasure("x", code="prometheus-unreachable")), ("Prometheus",), "Prometheus"),
    Case(
        "queue-does-not-drain",
        facts(ClauseFailed("x", code="queue-stuck", seen="3 active scans")),
        ("3 active scans",),
        "worker",
    ),
    Case(
        "evidence-altered",
        facts(ClauseFailed("x", code="continuity-broken", seen="1 changed")),
        ("1 changed",),
        "stella evidence reindex",
        "T.3",
    ),
    Case(
        "route-in-the-way",
        facts(
            ClauseFailed("x", code="share-outside-interval", seen="0 of 700"),
            routes=(RouteFinding(code="route-changed", message="HTTPRoute main is not as set", remedy="stop them"),)
            * 2,
        ),
        ("HTTPRoute main is not as set, and 1 more",),
        "stop them",
    ),
    Case(
        "route-in-the-way, put right since",
        facts(
            ClauseFailed(
                "x",
                code="round-trip-failed",
                seen="write 201 by blue, read 200 by blue, rows (1,) (expected write 201 by green, read 200, row 1)",
            )
        ),
        ("leads to blue instead of green",),
        "lint-routing",
    ),
    Case(
        "public-host-silent though a route lacks something",
        facts(
            ClauseFailed("x", code="served-by-other", seen="of 20 requests: {}, 20 failed"),
            routes=(RouteFinding(code="service-absent", message="no green", remedy="install it"),),
            pods=(pod(ready=True),),
            selector=LABELS,
            ready_endpoints=2,
        ),
        ("20 failed",),
        "Ingress controller",
    ),
    Case(
        "route-in-the-way, and nobody answers",
        facts(
            ClauseFailed("x", code="served-by-other", seen="of 20 requests: {}, 20 failed"),
            routes=(RouteFinding(code="route-changed", message="it is not as set", remedy="stop them"),),
            pods=(pod(ready=True),),
            selector=LABELS,
            ready_endpoints=2,
        ),
        ("not as set",),
        "stop them",
    ),
    Case("green-slow", gate("latency_p99", seen="latency p99: 0.6 s, limit 0.25"), ("green", "latency p99"), "CPU"),
    Case("gate-fails", gate("mine", seen="mine: 3, limit 2"), ("green does worse", "mine: 3"), ""),
    Case(
        "platform-report-untrue",
        facts(ClauseFailed("x", code="continuity-disagrees", seen="the platform counts 3")),
        ("not what the harness recomputed", "counts 3"),
        "do not trust",
    ),
    Case(
        "index-damaged",
        facts(ClauseFailed("x", code="row-changed", guarantees=["E.1"], findings=[{"code": "row-changed"}], seen="1")),
        ("index", "no content"),
        "stella evidence reindex",
        "T.3",
    ),
    Case(
        "evidence-altered for good",
        facts(
            ClauseFailed(
                "x",
                code="content-changed",
                guarantees=["E.1"],
                findings=[{"code": "row-changed"}, {"code": "content-changed"}],
            )
        ),
        ("not what it was",),
        "must come back from the backup",
        "T.3",
    ),
    Case(
        "evidence-altered, as the platform finds",
        facts(ClauseFailed("x", code="stella-not-ok", seen="bundle-altered: bundle ev-7 is not what is recorded")),
        ("the platform finds", "ev-7"),
        "must come back from the backup",
        "T.3",
    ),
    Case(
        "no-pods",
        facts(deployments=(deployment(desired=0),), pods=(pod(ready=True),), ready_endpoints=0, selector=LABELS),
        ("green has nobody", "stellaops-green-web wants 0"),
        "scale it up",
    ),
    Case("writes-lost", gate("write_markers", seen="write markers: 3 missing"), ("3 missing",), "load/markers.jsonl"),
    Case("route-changed", gate("route_unchanged", "served_by", seen="weight is 40"), ("somebody else",), "find out"),
    Case(
        "load-not-sent",
        gate("load_attempted", "error_ratio", seen="attempted by planned: no", code="gate-not-measured"),
        ("does not send", "attempted by planned"),
        "run again",
    ),
    Case("green-stands-still", gate("probe_latency", "latency_p99", seen="probe: 2.1 s"), ("stands still",), "pauses"),
    Case(
        "requests-fail although the probe waits too",
        gate("probe_latency", "failed_requests", seen="7 of 900 requests failed"),
        ("requests fail", "7 of 900"),
        "Ingress controller",
    ),
    Case("requests-fail", gate("failed_requests", "error_ratio", seen="7 of 900"), ("7 of 900",), "green's pods"),
    Case("green-errors", gate("error_ratio_vs_blue", seen="error ratio: 0.4"), ("answers with errors",), "500"),
    Case(
        "green-errors to the harness itself",
        facts(ClauseFailed("x", code="store-not-shared", seen="status 500, 57 bytes")),
        ("answers with errors: status 500",),
        "500",
    ),
    Case(
        "green-errors in a round trip",
        facts(ClauseFailed("x", code="round-trip-failed", seen="write 503 by green, read 404 by green, rows ()")),
        ("write 503",),
        "500",
    ),
    Case(
        "writes-lost, found by a clause",
        facts(ClauseFailed("x", code="writes-lost", seen="run-1: 3 of 90 missing")),
        ("3 of 90 missing",),
        "load/markers.jsonl",
    ),
    Case(
        "writes-lost, found by the harness's own write",
        facts(ClauseFailed("x", code="write-probe-failed", seen="status 201, rows in the database: []")),
        ("does not keep",),
        "load/markers.jsonl",
    ),
    Case("load-not-sent, still", facts(CouldNotMeasure("x", code="load-stands-still")), ("still",), "run again"),
    Case(
        "window-has-gaps",
        facts(ClauseFailed("x", code="window-has-gaps", seen="error ratio: 20 s without a measurement")),
        ("20 s without",),
        "observe a whole window",
    ),
    Case("load-not-sent, ended", facts(CouldNotMeasure("x", code="load-ended", seen="-9")), ("ended",), "run again"),
    Case(
        "requests-fail in a clause",
        facts(ClauseFailed("x", code="public-requests-failed", seen="2 of 80 requests failed")),
        ("2 of 80",),
        "Ingress controller",
    ),
    Case(
        "platform-tests-fail",
        facts(ClauseFailed("x", code="platform-tests-failed", seen="scan: no answer")),
        ("scan: no answer",),
        "log",
    ),
    Case("attestations-fail", gate("attestation_success", seen="0.1"), ("attestations",), "signing key"),
    Case("evidence-stalls", gate("evidence_operations", seen="0.1/s"), ("hardly works",), "worker"),
    Case("share-wrong", gate("served_by", seen="3 of 900"), ("share",), "lint-routing"),
    Case(
        "metric-absent",
        gate("attestation_success", seen="attestation success: no data", code="gate-not-measured"),
        ("attestation",),
        "gates check",
    ),
    Case(
        "metric-not-a-number",
        gate("latency_p99", seen="latency p99: not a number: NaN", code="gate-not-measured"),
        ("NaN",),
        "/metrics",
    ),
    Case(
        "metric-stands-still",
        gate("error_ratio", seen="error ratio: 0 samples, at least 20 are needed", code="gate-undecided"),
        ("count none",),
        "restart",
    ),
    Case(
        "too-few-samples",
        gate("served_by", "error_ratio", seen="error ratio: 0 samples, at least 20", code="gate-undecided"),
        ("too few",),
        "bake longer",
    ),
    Case(
        "too-few-samples, and not none",
        gate("error_ratio", seen="error ratio: 10 samples, at least 20", code="gate-undecided"),
        ("10 samples",),
        "bake longer",
    ),
    Case(
        "route-unsound",
        facts(ClauseFailed("x", code="sticky-sessions", seen="cookies", do="let go", topology=["sticky-sessions"])),
        ("cookies",),
        "let go",
    ),
    Case(
        "doctor-names-database",
        facts(ClauseFailed("x", code="doctor-not-ok", seen="database: no route; queue: full")),
        ("green cannot reach its database: database: no route",),
        "database connectivity",
        "T.2",
    ),
    Case(
        "migration-blocked",
        facts(ClauseFailed("x", code="lock-waited-too-long", seen="session 7 waited 9 s")),
        ("session 7",),
        "migrationTimeoutSeconds",
        "T.1",
    ),
    Case("object-changed", facts(CutoverError("x", code="changed-by-someone-else")), ("somebody else",), "stop them"),
    Case("cluster-out-of-reach", facts(CouldNotMeasure("x", code="kubernetes-unreachable")), ("API",), "kubeconfig"),
    Case("store-out-of-reach", facts(CouldNotMeasure("x", code="store-refused")), ("storage",), "[store]"),
    Case("cache-out-of-reach", facts(CouldNotMeasure("x", code="cache-unreachable")), ("cache",), "cache_url"),
    Case("platform-out-of-reach", facts(CouldNotMeasure("x", code="stella-unreadable")), ("command",), "transcript"),
    Case("operator-host", facts(CouldNotMeasure("x", code="command-missing", seen="no helm")), ("helm",), "[operator]"),
    Case("public-host-silent", facts(ClauseFailed("x", code="served-by-other")), ("public host",), "lint-routing"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cause(case: Case) -> None:
    found = diagnosis.cause_of(case.facts)
    assert found is not None
    assert found.id == case.name.partition(",")[0].split()[0]
    for word in case.cause:
        assert word in found.cause
    assert case.remedy in found.remedy
    assert found.clause == case.clause


def test_every_row_of_the_table_is_reached_and_stands_there_once() -> None:
    ids = [row.id for row in causes.CAUSES]
    assert len(ids) == len(set(ids))
    assert set(ids) == {case.name.partition(",")[0].split()[0] for case in CASES}


@pytest.mark.parametrize("strategy", ["gradual", "instant"])
def test_every_fault_has_a_cause_in_the_table(strategy: str) -> None:
    rows = {row.id: row for row in causes.CAUSES}
    for fault in (*faults.load(strategy), *(one for one in faults.elsewhere(strategy) if one.exit_code != REFUSED)):
        assert fault.diagnosis, f"{fault.name} names no row"
        assert set(fault.diagnosis) <= set(rows), fault.name
        assert all(rows[name].remedy for name in fault.diagnosis), f"{fault.name} has no remedy"


def test_the_guides_four_troubles_are_rows() -> None:
    assert {row.clause for row in causes.CAUSES} == {"", "T.1", "T.2", "T.3", "T.4"}


@pytest.mark.parametrize("seen", ["status 404, 9 bytes", "status 200, 64 bytes"])
def test_a_store_that_is_not_shared_is_no_store_out_of_reach(seen: str) -> None:
    assert diagnosis.cause_of(facts(ClauseFailed("x", code="store-not-shared", seen=seen))) is None


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


def test_the_row_is_named_in_the_facts_whoever_brought_the_cause() -> None:
    site = FakeSite()
    error = ClauseFailed("x", code="evidence-changed", cause_text="ev-1 is refused", do="restore it")
    diagnosis.explain(site, GREEN, error)
    assert (error.facts["diagnosis"], error.facts["troubleshooting"]) == ("evidence-altered", "T.3")
    assert (error.cause_text, error.do) == ("ev-1 is refused", "restore it")


def test_a_colour_is_examined_without_a_failure() -> None:
    site = FakeSite()
    found = diagnosis.examine(site, GREEN)
    assert (found.is_installed, found.diagnosis) == (False, None)
    site.database.problem = "connection refused"
    assert diagnosis.examine(site, GREEN).diagnosis.id == "database-lost"  # type: ignore[union-attr]


def test_diagnosing_survives_a_cluster_that_does_not_answer() -> None:
    class Silent:
        def __getattr__(self, _: str) -> object:
            def fail(*_: object, **__: object) -> object:
                raise CouldNotMeasure("the API server does not answer", code="kubernetes-unreachable")

            return fail

    site = FakeSite(cluster=Silent())  # type: ignore[arg-type]
    assert diagnosis.diagnose(site, GREEN, ClauseFailed("x")) is None


@pytest.mark.parametrize(("code", "row"), [("gate-failed", "database-out-of-reach"), ("not-available", None)])
def test_a_pod_that_the_cluster_still_calls_ready_is_asked_where_traffic_suffers(
    code: str, row: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = FakeSite()
    answer = ProxyAnswer(status=503, headers={}, body=b'{"checks": {"database": "no route", "cache": "ok"}}')
    monkeypatch.setattr(site.cluster, "pods", lambda *_, **__: (pod(ready=True),))
    monkeypatch.setattr(site.cluster, "service", lambda *_: {"spec": {"selector": LABELS}})
    monkeypatch.setattr(site.cluster, "ready_endpoints", lambda *_: 1)
    monkeypatch.setattr(site.cluster, "proxy_pod", lambda *_, **__: answer)
    found = diagnosis.diagnose(site, GREEN, CutoverError("x", code=code, seen="7 failed", gates=["failed_requests"]))
    assert (found.id if found else None) == row


@pytest.mark.parametrize(
    ("code", "looks"), [("share-outside-interval", True), ("round-trip-failed", True), ("not-available", False)]
)
def test_routes_are_looked_at_where_traffic_is_not_where_it_ought(code: str, looks: bool) -> None:
    changed = RouteFinding(code="route-changed", message="the canary is not as set", remedy="stop them")
    wrong = RouteFinding(code="sticky-sessions", message="sessions stick", remedy="let go")
    site = FakeSite(routing=FakeRouting(drifted=[changed], found=[wrong]))
    found = diagnosis.gather(site, GREEN, ClauseFailed("x", code=code))
    assert found.routes == ((changed, wrong) if looks else ())
