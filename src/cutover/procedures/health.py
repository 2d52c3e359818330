"""Health of a colour: what the platform says, and what the harness sees itself (1.1a, 1.3a, 2.1b, 2.3a, 2.3b)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.errors import CouldNotMeasure
from cutover.procedures import connections
from cutover.procedures.diagnosed import diagnosed
from cutover.procedures.release import INSTANCE_LABEL
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.model import Environment
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.site.database import DatabaseIdentity


_SYSTEM = (("database", "system_identifier"), ("database", "name"), ("cache", "run_id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """The platform's full examination of a colour."""

    colour: str
    checks: int
    bad: tuple[str, ...]
    """The failed checks, each with its detail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsSeen:
    """The pods of a colour at one moment."""

    total: int
    not_ready: tuple[str, ...]
    restarted: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """A run of the platform's own tests."""

    run: int
    passed: int
    failed: int
    failures: tuple[str, ...]


def examine(site: Site, environment: Environment) -> Examination:
    """Let the platform examine a colour in full; a bad check is an answer, not an error (1.1a, 2.3a)."""
    with diagnosed(site, environment):
        answer = site.stella.call("doctor", "--full", namespace=environment.namespace, check=False)
    checks: list[Mapping[str, Any]] = answer["checks"]
    return Examination(
        colour=environment.name,
        checks=len(checks),
        bad=tuple(f"{check['name']}: {check['detail']}" for check in checks if not check["ok"]),
    )


def require_examination_good(site: Site, environment: Environment, examination: Examination) -> None:
    """Demand at least one check and no bad one.

    Raises:
        ClauseFailed: with the diagnosis of the colour.
    """
    with diagnosed(site, environment):
        expect(
            examination.checks > 0 and not examination.bad,
            f"the platform reports {environment.name} as not healthy",
            seen="; ".join(examination.bad) or "no check was made",
            do=f"mend what the checks name, then examine {environment.name} again",
            code="doctor-not-ok",
        )


def require_available(site: Site, environment: Environment) -> None:
    """Demand every deployment of a colour available and every pod ready, as the cluster says (1.1a, 1.3a, 2.3a).

    Raises:
        ClauseFailed: with the diagnosis of the colour.
    """
    deployments = [
        deployment
        for deployment in site.cluster.deployments(environment.namespace)
        if deployment.labels.get(INSTANCE_LABEL) == environment.release
    ]
    short = [f"{item.name} {item.ready}/{item.desired}" for item in deployments if not item.is_complete]
    pods = pods_of(site, environment)
    with diagnosed(site, environment):
        expect(
            bool(deployments) and not short and not pods.not_ready,
            f"{environment.name} is not fully available",
            seen="; ".join([*short, *pods.not_ready]) or f"no deployment of release {environment.release}",
            do="look at the pods named, and at their events",
            code="not-available",
        )


def pods_of(site: Site, environment: Environment) -> PodsSeen:
    """Look at the pods of a colour now."""
    pods = site.cluster.pods(environment.namespace, selector={INSTANCE_LABEL: environment.release})
    return PodsSeen(
        total=len(pods),
        not_ready=tuple(f"pod {pod.name} {pod.problem or 'not ready'}" for pod in pods if not pod.ready),
        restarted=tuple(f"pod {pod.name} {pod.restarts} restarts" for pod in pods if pod.restarts),
    )


def require_dependencies(site: Site, environment: Environment) -> None:
    """Reach database, cache and store of a running colour from here, each by asking it something (1.1a).

    Raises:
        CouldNotMeasure: one of them does not answer, or the colour does not run.
    """
    reached = connections.of(site, environment, running=True)
    with diagnosed(site, environment):
        reached.database.identity()
        reached.cache.run_id()
        reached.store.check()


def require_shared_and_separate(site: Site, upgrade: Upgrade) -> None:
    """Assert P.2, P.3 and P.4 of the running green (2.3a).

    Raises:
        ClauseFailed: green's database or store is not blue's, its cache is, or green itself says otherwise.
        CouldNotMeasure: the configuration of one of them is not there.
    """
    blue, green = (connections.of(site, role, running=True) for role in (upgrade.roles.blue, upgrade.roles.green))
    expect(
        blue.database.identity() == green.database.identity(),
        "the running green does not use blue's database",
        seen=f"green {green.database.identity()}",
        expected=f"{blue.database.identity()}",
        do="correct green's values and deploy again (P.2)",
        code="database-not-shared",
    )
    expect(
        blue.cache.run_id() != green.cache.run_id(),
        "the running green uses blue's cache",
        seen=f"both run id {blue.cache.run_id()}",
        do="correct green's values and deploy again (P.3)",
        code="cache-shared",
    )
    namespace, service = upgrade.roles.green.namespace, upgrade.roles.green.service
    name, content = f"cutover-{upgrade.id}-green", secrets.token_bytes(64)
    try:
        blue.store.put(f"scratch/{name}", content)
        answer = site.cluster.proxy_get(namespace, service, 80, f"/api/v1/objects/{name}")
    finally:
        blue.store.delete(f"scratch/{name}")
    expect(
        answer.status == 200 and answer.body == content,
        "the running green does not read what blue's credentials wrote to the store",
        seen=f"status {answer.status}, {len(answer.body)} bytes",
        do="correct green's values and deploy again (P.4)",
        code="store-not-shared",
    )
    _require_system(site, upgrade.roles.green, database=blue.database.identity(), cache_run_id=green.cache.run_id())


def _require_system(site: Site, green: Environment, *, database: DatabaseIdentity, cache_run_id: str) -> None:
    """Demand that green's own process is connected to what its configuration names."""
    answer = site.cluster.proxy_get(green.namespace, green.service, 80, "/api/v1/system")
    expect(
        answer.status == 200,
        "the running green does not say what it is connected to",
        seen=f"status {answer.status}: {answer.body[:200]!r}",
        do="read the log of its web pods",
        code="system-not-ok",
    )
    said = answer.json()
    try:
        found = tuple(str(said[part][key]) for part, key in _SYSTEM)
    except (KeyError, TypeError) as error:
        raise CouldNotMeasure(
            "the running green does not say what it is connected to in the contract's form",
            code="system-unreadable",
            seen=f"{answer.body[:200]!r}",
            do="contract/platform.md says what /api/v1/system answers",
        ) from error
    wanted = (database.system_identifier, database.name, cache_run_id)
    expect(
        found == wanted,
        "the running green is connected to other servers than its configuration names",
        seen="database {} {}, cache {}".format(*found),
        expected="database {} {}, cache {}".format(*wanted),
        do="restart green's pods, so that they read their configuration, and run again (P.2, P.3)",
        code="system-differs",
    )


def platform_tests(site: Site, environment: Environment, suite: str, *, timeout_s: float | None = None) -> TestRun:
    """Run one of the platform's own test suites: `smoke` or `integration` (2.3b, 4.2a).

    Raises:
        CouldNotMeasure: it does not end within its time, or its answer is unreadable.
    """
    with diagnosed(site, environment):
        namespace = environment.namespace
        answer = site.stella.call("test", suite, namespace=namespace, timeout_s=timeout_s, check=False)
    return TestRun(
        run=int(answer["run"]),
        passed=int(answer["passed"]),
        failed=int(answer["failed"]),
        failures=tuple(f"{test['name']}: {test['detail']}" for test in answer["tests"] if not test["ok"]),
    )


def require_tests_passed(suite: str, result: TestRun) -> None:
    """Demand that tests ran and that none failed, by count and by list.

    Raises:
        ClauseFailed: zero tests, a failed one, or counts that do not add up.
    """
    expect(
        result.run > 0 and not result.failed and not result.failures and result.passed == result.run,
        f"the platform's {suite} tests do not pass",
        seen="; ".join(result.failures) or f"{result.run} run, {result.passed} passed, {result.failed} failed",
        do="mend what the failed tests name; zero tests prove nothing",
        code="platform-tests-failed",
    )
