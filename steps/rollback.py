"""Steps about the way back beside the traffic: impact, database, blue again, evidence, green's removal (R.2, R.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, then, when

from cutover.procedures import rollback, traffic
from cutover.runbook import fingerprint

if TYPE_CHECKING:
    from cutover.procedures.rollback import Decision, GreenEra, Impact, Redeployed
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site


@when("the evidence is verified from the baseline to now", target_fixture="impact")
def impact_assessed(site: Site, upgrade: Upgrade) -> Impact:
    return rollback.assess(site, upgrade)


@then("every guarantee was looked at and the items add up")
def all_looked_at(impact: Impact) -> None:
    rollback.require_assessed(impact)


@then("the platform counts what the harness counts")
def counts_agree(impact: Impact) -> None:
    rollback.require_numbers_agree(impact)


@then("the impact is in the record")
def impact_kept(upgrade: Upgrade) -> None:
    rollback.require_impact_kept(upgrade)


@when("the applied migrations are read and blue is tried on the schema", target_fixture="decision")
def database_decided(site: Site, upgrade: Upgrade) -> Decision:
    return rollback.decide(site, upgrade)


@then("what the migrations declare agrees with what blue does")
def decision_agrees(site: Site, upgrade: Upgrade, decision: Decision) -> None:
    rollback.require_decided(site, upgrade, decision)


@then("no id that the next writer would be given is in use")
def ids_ahead(site: Site) -> None:
    rollback.require_ids_ahead(site)


@when("blue is deployed again at the release before the upgrade", target_fixture="redeployed")
def blue_redeployed(site: Site, upgrade: Upgrade) -> Redeployed:
    return rollback.redeploy_blue(site, upgrade)


@then("blue is at the release before the upgrade")
def blue_at_release(upgrade: Upgrade, redeployed: Redeployed) -> None:
    rollback.require_redeployed(upgrade, redeployed)


@then("blue runs the images that it ran before the upgrade")
def blue_same_images(upgrade: Upgrade, redeployed: Redeployed) -> None:
    rollback.require_same_images(upgrade, redeployed)


@then("blue is available and reads and writes on the present schema")
def blue_works(site: Site, upgrade: Upgrade) -> None:
    rollback.require_blue_works(site, upgrade)


@when("the evidence is verified after the way back", target_fixture="green_era")
def evidence_afterwards(site: Site, upgrade: Upgrade) -> GreenEra:
    return rollback.verify_green_era(site, upgrade)


@then("the evidence of the baseline is whole")
def baseline_whole(green_era: GreenEra) -> None:
    rollback.require_baseline_whole(green_era)


@then("the evidence made while green could serve is all there and valid")
def green_era_valid(upgrade: Upgrade, green_era: GreenEra) -> None:
    rollback.require_green_era_valid(upgrade, green_era)


@then("nothing beside the evidence differs from before green came but what a rollback leaves")
def state_as_before(site: Site, upgrade: Upgrade) -> None:
    rollback.require_as_before(site, upgrade, with_evidence=False)


@then("nothing else differs from before green came but what a rollback leaves")
def whole_state_as_before(site: Site, upgrade: Upgrade) -> None:
    rollback.require_as_before(site, upgrade, with_evidence=True)


@given("the state of the site before green comes is kept")
def state_kept(site: Site, upgrade: Upgrade) -> None:
    fingerprint.take(upgrade, site)


@given("nobody is sent to green and its queue is empty")
def nobody_sent(site: Site, upgrade: Upgrade) -> None:
    rollback.require_nobody_sent(site, upgrade)


@when("green's release is uninstalled", target_fixture="green_state")
def green_removed(site: Site, upgrade: Upgrade) -> str:
    return rollback.remove_green(site, upgrade)


@then("green's release and its pods are gone")
def green_gone(site: Site, upgrade: Upgrade, green_state: str) -> None:
    rollback.require_green_gone(site, upgrade, green_state)


@then("every sampled request is served by blue")
def served_by_blue_still(site: Site, upgrade: Upgrade) -> None:
    traffic.require_served_by(site, upgrade.roles.blue)
