"""The pre-flight checklist (1.3b, 1.3c, 1.3f): nothing is in progress, and people know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.errors import Refused
from cutover.procedures import connections
from cutover.runbook import approval

if TYPE_CHECKING:
    from datetime import datetime

    from cutover.runbook.approval import Consent
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

QUIET_S = 1.0
"""Between two readings of the queue that must both be zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What is in progress, by the database and by the queue."""

    active_scans: int
    queued: int

    @property
    def is_quiet(self) -> bool:
        """Whether both know of nothing."""
        return self.active_scans == 0 and self.queued == 0


def activity(site: Site, upgrade: Upgrade) -> Activity:
    """Look at both sources now."""
    cache = connections.of(site, upgrade.roles.blue).cache
    return Activity(active_scans=site.database.active_scans(), queued=cache.queue_depth())


def wait_until_quiet(site: Site, upgrade: Upgrade) -> Activity:
    """Wait for active scans to finish, bounded by the policy (1.3b).

    Raises:
        Timeout: something is still in progress at the bound.
    """
    return upgrade.wait_for(
        "active scans and queued jobs to finish",
        lambda: activity(site, upgrade),
        until=lambda seen: seen.is_quiet,
        bound_s=upgrade.policy.limits.queue_drain_s,
        describe=lambda seen: f"{seen.active_scans} active scans, {seen.queued} queued jobs",
        do="stop whoever starts scans; a stuck worker leaves its queue full: read its log, then restart it",
        code="queue-stuck",
    )


def queue_depths(site: Site, upgrade: Upgrade) -> tuple[int, int]:
    """Read blue's queue depth twice from its cache, a moment apart (1.3c)."""
    cache = connections.of(site, upgrade.roles.blue).cache
    first, *_, last = upgrade.hold(
        "the queue to be read again", cache.queue_depth, duration_s=QUIET_S, interval_s=QUIET_S
    )
    return first, last


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """What was agreed for this upgrade, and how that is known."""

    requested_by: str
    approved_by: tuple[str, ...]
    """Who signed the plan; where nobody needs to, and nobody did, the policy's name."""
    meaning: str
    channel: str
    announced_to: str
    window_start: datetime
    window_end: datetime
    signature: str
    """By what each is known, in words; or that nothing proves it."""
    consent: Consent


def agreed(upgrade: Upgrade) -> Agreed:
    """Return what was agreed, from the policy and from the approvals in the record, verified again (1.3f).

    Raises:
        Refused: the policy carries no approval, or the record's plan is not the one that it began with.
    """
    asked = upgrade.policy.approval
    if asked is None:
        raise Refused(
            "nobody has approved this upgrade",
            code="approval-missing",
            seen=f"no [approval] in {upgrade.policy.path.name}",
            guide="1.3, maintenance window communicated",
            do="have it approved, and put who, when and where announced into [approval] of the policy",
            state="nothing was changed",
        )
    consent = approval.of_record(upgrade)
    facts = consent.facts(upgrade.policy)
    return Agreed(
        requested_by=asked.requested_by,
        approved_by=consent.people or ((asked.approved_by,) if asked.approved_by else ()),
        meaning=facts["meaning"],
        channel=asked.channel,
        announced_to=asked.announced_to,
        window_start=asked.window_start,
        window_end=asked.window_end,
        signature=facts["signature"],
        consent=consent,
    )


def require_window(upgrade: Upgrade, window: Agreed) -> None:
    """Refuse outside the approved window (1.3f).

    Raises:
        Refused: it is too early or too late.
    """
    now = upgrade.clock.now()
    if not window.window_start <= now <= window.window_end:
        raise Refused(
            "the upgrade is outside its approved window",
            code="outside-window",
            seen=f"now {now:%Y-%m-%d %H:%M} UTC",
            guide="1.3, maintenance window communicated",
            do=f"wait for the window ({window.window_start:%Y-%m-%d %H:%M} to {window.window_end:%Y-%m-%d %H:%M}"
            " UTC), or have another one approved in the policy",
            state="nothing was changed",
        )


def require_approved(upgrade: Upgrade) -> None:
    """Refuse to begin the clause that is running, which cannot be undone, unless approvals in the record cover it.

    Raises:
        Refused: too few people allowed it.
    """
    approval.require_cover(upgrade, upgrade.clause or "")
