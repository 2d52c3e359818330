"""Steps of the pre-flight checklist (1.3b, 1.3c, 1.3f)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import then, when

from cutover.procedures import preflight
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from cutover.procedures.preflight import Activity, Agreed
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site


@when("the harness waits for active scans to finish within the policy's bound", target_fixture="activity")
def waits_for_scans(site: Site, upgrade: Upgrade) -> Activity:
    return preflight.wait_until_quiet(site, upgrade)


@then("neither the database nor the queue knows of an active scan")
def no_active_scan(site: Site, upgrade: Upgrade, activity: Activity) -> None:
    again = preflight.activity(site, upgrade)
    expect(
        activity.is_quiet and again.is_quiet,
        "scans are in progress",
        seen=f"{again.active_scans} active in the database, {again.queued} in the queue",
        do="stop whoever starts scans, or upgrade at a quieter time",
        code="scans-active",
    )


@when("the queue depth is read twice from the cache itself", target_fixture="depths")
def depth_read(site: Site, upgrade: Upgrade) -> tuple[int, int]:
    return preflight.queue_depths(site, upgrade)


@then("both readings are zero")
def depth_zero(depths: tuple[int, int]) -> None:
    expect(
        depths == (0, 0),
        "the queue is not empty and stable",
        seen=f"depth {depths[0]}, then {depths[1]}",
        expected="0, then 0",
        do="see what the worker does: a stuck worker leaves its queue full",
        code="queue-not-empty",
    )


@when("the approvals of this plan are read", target_fixture="agreed")
def approvals_read(upgrade: Upgrade) -> Agreed:
    return preflight.agreed(upgrade)


@then("they name who asked, who approved, to whom it was announced and through which channel")
def approval_complete(upgrade: Upgrade, agreed: Agreed) -> None:
    approved_by = ", ".join(agreed.approved_by)
    upgrade.journal.write(
        "observation",
        clause=upgrade.clause,
        what="approval",
        requested_by=agreed.requested_by,
        approved_by=approved_by,
        meaning=agreed.meaning,
        channel=agreed.channel,
        announced_to=agreed.announced_to,
        signature=agreed.signature,
    )
    named = (agreed.requested_by, approved_by, agreed.announced_to, agreed.channel, agreed.meaning)
    expect(
        all(named) and agreed.requested_by not in agreed.approved_by,
        "the approval does not name two people, the channel and the audience",
        seen=f"requested by {agreed.requested_by or 'nobody'}, approved by {approved_by or 'nobody'}, "
        f"announced to {agreed.announced_to or 'nobody'} by {agreed.channel or 'no channel'}",
        do="complete [approval] in the policy; the one who asks may not approve",
        code="approval-incomplete",
    )


@then("as many people as the policy wants have signed this very plan, and its points of no return")
def approvals_signed(agreed: Agreed) -> None:
    agreed.consent.require()


@then("the present moment lies inside the window")
def inside_window(upgrade: Upgrade, agreed: Agreed) -> None:
    preflight.require_window(upgrade, agreed)
