"""Steps about evidence: baseline, continuity, the five guarantees, agreement (1.1c, 1.3e, 4.1a, E.1 to E.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, then, when

from cutover.procedures import continuity

if TYPE_CHECKING:
    from cutover.evidence.errors import Finding
    from cutover.evidence.snapshot import Snapshot
    from cutover.evidence.verify import Guarantee
    from cutover.procedures.continuity import Continuity, Taken
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site


@when("the harness takes its own snapshot of all evidence and the platform verifies it", target_fixture="taken")
def baseline_taken(site: Site, upgrade: Upgrade) -> Taken:
    return continuity.take_baseline(site, upgrade)


@then("every item's content has the digest that the database declares")
def contents_intact(taken: Taken) -> None:
    continuity.require_intact(taken)


@then("the evidence tree and the transparency log are what the harness recomputes from them")
def baseline_bound(taken: Taken) -> None:
    continuity.require_bound(taken)


@then("the harness and the platform agree item by item")
def baseline_agreed(upgrade: Upgrade, taken: Taken) -> None:
    continuity.require_agreement(upgrade, taken)


@then("the snapshot is sealed as this upgrade's baseline")
def baseline_sealed(upgrade: Upgrade, taken: Taken) -> None:
    continuity.seal_baseline(upgrade, taken)


@given("the baseline of this upgrade is sealed")
def baseline_is_sealed(upgrade: Upgrade) -> None:
    continuity.require_sealed(upgrade)


@when("the baseline in the record is read back", target_fixture="baseline")
def baseline_read(upgrade: Upgrade) -> Snapshot:
    return continuity.require_sealed(upgrade)


@then("its digest is the one in the journal")
def baseline_digest(upgrade: Upgrade, baseline: Snapshot) -> None:
    continuity.require_digest(upgrade, baseline)


@when(
    "the harness takes a second snapshot and verifies it against the baseline, and the platform verifies continuity",
    target_fixture="compared",
)
def continuity_verified(site: Site, upgrade: Upgrade) -> Continuity:
    return continuity.verify_continuity(site, upgrade)


@then("the evidence balances against the baseline with nothing missing and nothing changed")
def evidence_balances(compared: Continuity) -> None:
    continuity.require_balance(compared)


@then("none of the five guarantees is broken")
def guarantees_unbroken(compared: Continuity) -> None:
    continuity.require_five_guarantees(compared)


@then("every item made since the baseline is accounted for")
def added_accounted(upgrade: Upgrade, compared: Continuity) -> None:
    continuity.require_accounted(upgrade, compared)


@then("the harness and the platform agree on continuity")
def continuity_agreed(compared: Continuity) -> None:
    continuity.require_continuity_agreement(compared)


@given("the second snapshot of this upgrade is taken")
def second_snapshot_taken(upgrade: Upgrade) -> None:
    continuity.snapshots(upgrade)


@when(
    "the manifests as the second snapshot hashed them from the store are compared with the baseline",
    target_fixture="guarantee",
)
def manifests_compared(site: Site, upgrade: Upgrade) -> Guarantee:
    return continuity.guarantee(site, upgrade, "E.1")


@when(
    "the SBOMs as the second snapshot hashed them from the store are compared with the baseline",
    target_fixture="guarantee",
)
def sboms_compared(site: Site, upgrade: Upgrade) -> Guarantee:
    return continuity.guarantee(site, upgrade, "E.2")


@then("none differs from the baseline")
def none_differs(guarantee: Guarantee) -> None:
    continuity.require_guarantee(guarantee)


@when("the tree of every leaf schema is recomputed from the items", target_fixture="guarantee")
def trees_recomputed(site: Site, upgrade: Upgrade) -> Guarantee:
    return continuity.guarantee(site, upgrade, "E.3")


@then("the baseline's tree is a prefix of the tree of today")
def tree_continues(guarantee: Guarantee) -> None:
    continuity.require_guarantee(guarantee)


@then("a leaf schema that the release brings is bound by a signed cross-reference of both recomputed roots")
def crossref_binds(upgrade: Upgrade, site: Site) -> None:
    continuity.require_cross_reference(site, upgrade)


@when("the signatures as the second snapshot verified them are compared with the baseline", target_fixture="guarantee")
def signatures_compared(site: Site, upgrade: Upgrade) -> Guarantee:
    return continuity.guarantee(site, upgrade, "E.4")


@then("none is invalid")
def none_invalid(guarantee: Guarantee) -> None:
    continuity.require_guarantee(guarantee)


@when("the log's tree is recomputed from its entries", target_fixture="guarantee")
def log_recomputed(site: Site, upgrade: Upgrade) -> Guarantee:
    return continuity.guarantee(site, upgrade, "E.5")


@then("the old checkpoint is consistent with the new one")
def log_consistent(upgrade: Upgrade, guarantee: Guarantee) -> None:
    continuity.require_guarantee(guarantee)
    continuity.require_log_grew(upgrade)


@then("every item's entry is included under a checkpoint signed by the log")
def entries_included(upgrade: Upgrade, guarantee: Guarantee) -> None:
    continuity.require_all_logged(upgrade, guarantee)


@when("the platform verifies all digests", target_fixture="disagreements")
def platform_digests(site: Site, upgrade: Upgrade) -> list[Finding]:
    return continuity.digest_report(site, upgrade)


@then("its report names every item with the harness's digest")
def digests_agree(disagreements: list[Finding]) -> None:
    continuity.require_agreeing(disagreements, "digest")


@when("the platform verifies all attestations since the first item", target_fixture="disagreements")
def platform_attestations(site: Site, upgrade: Upgrade) -> list[Finding]:
    return continuity.attestation_report(site, upgrade)


@then("its counts equal the harness's own")
def attestations_agree(disagreements: list[Finding]) -> None:
    continuity.require_agreeing(disagreements, "attestation")
