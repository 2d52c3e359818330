"""Steps of the pre-flight checklist (1.3b, 1.3c, 1.3f)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import then, when

from cutover.procedures import preflight
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from cutover.policy import Approval
    from cutover.procedures.preflight import Activity
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


@when("the approval in the policy is read", target_fixture="approval")
def approval_read(upgrade: Upgrade) -> Approval:
    return preflight.approval_of(upgrade)


@then("it names who asked, who approved, to whom it was announced and through which channel")
def approval_complete(upgrade: Upgrade, approval: Approval) -> None:
    upgrade.journal.write(
        "observation",
        clause=upgrade.clause,
        what="approval",
        requested_by=approval.requested_by,
        approved_by=approval.approved_by,
        meaning=approval.meaning,
        channel=approval.channel,
        announced_to=approval.announced_to,
    )
    named = (approval.requested_by, approval.approved_by, approval.announced_to, approval.channel, approval.meaning)
    expect(
        all(named) and approval.requested_by != approval.approved_by,
        "the approval does not name two people, the channel and the audience",
        seen=f"requested by {approval.requested_by or 'nobody'}, approved by {approval.approved_by or 'nobody'}, "
        f"announced to {approval.announced_to or 'nobody'} by {approval.channel or 'no channel'}",
        do="complete [approval] in the policy; the one who asks may not approve",
        code="approval-incomplete",
    )


@then("the present moment lies inside the window")
def inside_window(upgrade: Upgrade, approval: Approval) -> None:
    preflight.require_window(upgrade, approval)
