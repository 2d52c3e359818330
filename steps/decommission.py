"""Steps about the observation window and blue's decommission (5.1, 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, then, when

from cutover.procedures import decommission, preflight, traffic
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from cutover.procedures.decommission import NamespaceUse, Window
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.site.load import LoadRunner


@when("the observation window of the policy has passed under watch", target_fixture="window")
def window_passed(site: Site, upgrade: Upgrade) -> Window:
    return decommission.observe_window(site, upgrade)


@then("every gate passed over the whole window and in every live sample")
def window_gates(window: Window) -> None:
    decommission.require_gates_held(window)


@then("the metrics prove the whole window without a gap")
def window_without_gap(upgrade: Upgrade, window: Window) -> None:
    decommission.require_window_whole(upgrade, window)


@then("blue's deployments are still there to go back to")
def blue_still_there(site: Site, upgrade: Upgrade) -> None:
    decommission.require_blue_available(site, upgrade)


@then("the observation is recorded as complete")
def observation_complete(upgrade: Upgrade, window: Window) -> None:
    decommission.complete_observation(upgrade, window)


@given("the observation window has been proven")
def window_proven(upgrade: Upgrade) -> None:
    decommission.require_window_proven(upgrade)


@given("this point of no return is approved")
def point_approved(upgrade: Upgrade) -> None:
    preflight.require_approved(upgrade)


@given("blue's queue is drained and proven empty")
def blue_drained(site: Site, upgrade: Upgrade) -> None:
    decommission.drain_blue(site, upgrade)


@given("green serves every request at this moment")
def green_holds(site: Site, upgrade: Upgrade) -> None:
    decommission.require_green_holds(site, upgrade)


@given("nothing of the load has failed or been lost until now")
def nothing_lost(site: Site, upgrade: Upgrade, load: LoadRunner) -> None:
    traffic.require_sending(upgrade, load)
    traffic.require_no_failures(load)
    traffic.require_markers(site, upgrade, load)


@when("blue's release is uninstalled", target_fixture="release_state")
def blue_uninstalled(site: Site, upgrade: Upgrade) -> str:
    return decommission.uninstall_blue(site, upgrade)


@then("the release is gone")
def release_gone(release_state: str) -> None:
    expect(release_state == "absent", "blue's release is still there", seen=release_state, code="release-left")


@when("blue's namespace is deleted unless something in it is in use", target_fixture="namespace_use")
def namespace_examined(site: Site, upgrade: Upgrade) -> NamespaceUse:
    return decommission.clean_namespace(site, upgrade)


@then("the namespace is there exactly if something in it is in use")
def namespace_fate(site: Site, namespace_use: NamespaceUse) -> None:
    exists = namespace_use.namespace in site.cluster.namespaces()
    expect(
        exists == bool(namespace_use.in_use),
        "blue's namespace was not treated as its use demands",
        seen=f"{'exists' if exists else 'is gone'}, in use: {', '.join(namespace_use.in_use) or 'nothing'}",
        do="look at what is in it by hand",
        code="namespace-mistreated",
    )


@then("none of blue's workloads is left")
def workloads_gone(site: Site, upgrade: Upgrade) -> None:
    decommission.require_workloads_gone(site, upgrade)
