"""Steps about the health of a colour (1.1a, 1.3a, 2.1b, 2.3a, 2.3b, 4.2a)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from cutover.procedures import health, release, traffic
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from cutover.procedures.health import Examination, PodsSeen, TestRun
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site


@when(parsers.parse("the platform examines {role} in full"), target_fixture="examination")
def platform_examines(site: Site, upgrade: Upgrade, role: str) -> Examination:
    return health.examine(site, upgrade.roles.playing(role))


@then(parsers.parse("the platform reports every check of {role} as good"))
def platform_reports_good(site: Site, upgrade: Upgrade, role: str, examination: Examination) -> None:
    health.require_examination_good(site, upgrade.roles.playing(role), examination)


@then(parsers.parse("every deployment of {role} is available and every pod of it ready"))
def every_deployment_available(site: Site, upgrade: Upgrade, role: str) -> None:
    health.require_available(site, upgrade.roles.playing(role))


@then("database, cache and store answer the harness itself")
def dependencies_answer(site: Site, upgrade: Upgrade) -> None:
    health.require_dependencies(site, upgrade.roles.blue)


@when("the health of blue is observed", target_fixture="pods")
def blue_observed(site: Site, upgrade: Upgrade) -> PodsSeen:
    return health.pods_of(site, upgrade.roles.blue)


@then("the public host answers from blue")
def public_host_answers_blue(site: Site, upgrade: Upgrade) -> None:
    traffic.require_served_by(site, upgrade.roles.blue, requests=20)


@when("green's pods are observed", target_fixture="pods")
def green_observed(site: Site, upgrade: Upgrade) -> PodsSeen:
    return health.pods_of(site, upgrade.roles.green)


@then("every pod is ready without a restart in green's namespace")
def pods_ready(upgrade: Upgrade, pods: PodsSeen) -> None:
    expect(
        pods.total > 0 and not pods.not_ready and not pods.restarted,
        "green's pods are not all ready at the first attempt",
        seen="; ".join([*pods.not_ready, *pods.restarted])
        or f"no pod of release {upgrade.roles.green.release} in {upgrade.roles.green.namespace}",
        do="read the previous log of the pods named",
        code="pods-not-ready",
    )


@then("the public host is still served by blue alone")
def still_blue(site: Site, upgrade: Upgrade) -> None:
    traffic.require_served_by(site, upgrade.roles.blue, requests=40)


@then("the running green shares database and store with blue and has its own cache")
def green_shares(site: Site, upgrade: Upgrade) -> None:
    health.require_shared_and_separate(site, upgrade)


@when("the platform runs its smoke tests on green", target_fixture="platform_tests")
def smoke_tests(site: Site, upgrade: Upgrade) -> TestRun:
    return health.platform_tests(site, upgrade.roles.green, "smoke")


@then("at least one smoke test ran and none failed")
def smoke_passed(platform_tests: TestRun) -> None:
    health.require_tests_passed("smoke", platform_tests)


@then("the harness's own probes of green succeed without the public host")
def own_probes(site: Site, upgrade: Upgrade) -> None:
    release.require_read_and_write(site, upgrade, upgrade.roles.green)


@when("the platform runs its integration tests", target_fixture="platform_tests")
def integration_tests(site: Site, upgrade: Upgrade) -> TestRun:
    return health.platform_tests(site, upgrade.roles.green, "integration")


@then("at least one integration test ran and none failed")
def integration_passed(platform_tests: TestRun) -> None:
    health.require_tests_passed("integration", platform_tests)
