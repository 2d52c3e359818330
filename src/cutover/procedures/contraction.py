"""The schema is contracted: category B, after which the release before cannot work any more (C.1).

Invariants: nothing of blue runs and green alone serves before it begins; a backup of the very moment before is proven
by restoring it, so that the way back (R.2d) carries over as little as possible; each attempt looks first whether it is
done already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.errors import ClauseFailed, Refused
from cutover.procedures import backups, release
from cutover.procedures.migrating import migrating
from cutover.procedures.release import INSTANCE_LABEL
from cutover.procedures.restore import BEFORE_CONTRACT, BREAKING
from cutover.runbook import approval
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.site.database import TableFingerprint

CLAUSE = "C.1"
ACTION = "contract"
_LOOK = 100
"""Requests, each on a connection of its own, that green alone must answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contracted:
    """What the contraction came to."""

    applied: tuple[str, ...]
    """By the platform now; empty when it was done before."""
    held: tuple[str, ...]
    """Migrations of category B of the new release that the migration table holds afterwards."""
    pending: tuple[str, ...]
    """Those that it lacks."""
    dumped: Mapping[str, TableFingerprint]
    """What every table held in the snapshot that the backup right before was made of."""
    restored: Mapping[str, TableFingerprint]
    """What the restored copy of that backup held."""


def require_approved(upgrade: Upgrade) -> None:
    """Refuse the contraction while too few people allowed it, where the policy or the site asks for that.

    Raises: Refused.
    """
    approval.require_cover(upgrade, CLAUSE)


def require_blue_unneeded(site: Site, upgrade: Upgrade) -> None:
    """Refuse to contract the schema while anybody may need the release before.

    Raises:
        Refused: something of blue runs, or green does not answer every request.
    """
    blue, green = upgrade.roles.blue, upgrade.roles.green
    pods = site.cluster.pods(blue.namespace, selector={INSTANCE_LABEL: blue.release})
    if pods:
        raise Refused(
            f"the schema may not be contracted while {blue.name} runs: its release cannot work on it",
            code="blue-still-runs",
            seen=", ".join(pod.name for pod in pods),
            guide="2.2",
            do="let the observation end, remove blue: ./cutover decommission; then repeat",
            state="nothing was changed",
        )
    served = site.routing.who_serves(_LOOK)
    if not served.only(green.name):
        raise Refused(
            f"the schema may not be contracted before {green.name} alone serves",
            code="green-does-not-serve-alone",
            seen=str(served),
            guide="2.2",
            do="finish the cutover first",
            state="nothing was changed",
        )


def contract(site: Site, upgrade: Upgrade) -> Contracted:
    """Back the database up, prove the backup, and let the platform run category B; or find it done (C.1).

    Raises:
        Timeout: the platform refuses it up to the policy's bound, as while it still derives what B relies on.
        Refused, ClauseFailed: another run migrates, or somebody waited too long for a lock; see `migrating`.
    """
    green, wanted = upgrade.roles.green, upgrade.target.upgrade.to_release
    applied: tuple[str, ...] = ()
    pending = release.migrations(site, green).pending(wanted, BREAKING)
    if pending:
        backup = backups.dump_database(site, upgrade, kind=BEFORE_CONTRACT)
        restored = backups.restored_tables(site, upgrade, backup)
        upgrade.remember("contract-backup", restored=backups.listed(restored))
        _require_same(backup.tables, restored)
        with (
            migrating(site, upgrade),
            upgrade.journal.action(ACTION, category=BREAKING, migrations=pending) as done,
        ):
            applied = _run(site, upgrade)
            done(applied=list(applied))
    else:
        upgrade.journal.write("observation", what="already", done=ACTION)
    after = release.migrations(site, green)
    known = upgrade.knows("contract-backup")
    return Contracted(
        applied=applied,
        held=tuple(after.applied(wanted, BREAKING)),
        pending=tuple(after.pending(wanted, BREAKING)),
        dumped=backups.tables_of(upgrade.recall(f"backup-{BEFORE_CONTRACT}")) if known else {},
        restored=backups.tables_of({"fingerprints": upgrade.recall("contract-backup")["restored"]}) if known else {},
    )


def _run(site: Site, upgrade: Upgrade) -> tuple[str, ...]:
    """Let the platform apply category B; it refuses while the new tree does not cover the newest items yet."""
    answer = upgrade.wait_for(
        "the platform to contract the schema",
        lambda: site.stella.call(
            "system", "migrations-run", "--category", BREAKING, namespace=upgrade.roles.green.namespace
        ),
        until=lambda answer: bool(answer["ok"]),
        bound_s=upgrade.policy.limits.ready_s,
        tolerate=(ClauseFailed,),
        describe=lambda answer: str(answer.get("applied")),
        do="read what the platform refuses, in its transcript; nothing was contracted",
        code="contraction-refused",
    )
    return tuple(str(item) for item in answer["applied"])


def _require_same(dumped: Mapping[str, TableFingerprint], restored: Mapping[str, TableFingerprint]) -> None:
    differing = sorted(title for title in dumped.keys() | restored.keys() if dumped.get(title) != restored.get(title))
    expect(
        bool(restored) and not differing,
        "the backup made right before the contraction does not restore",
        seen=f"tables that differ: {', '.join(differing) or 'none'}; {len(restored)} tables restored",
        expected=f"{len(dumped)} equal tables",
        do="do not go on: there would be nothing to go back to; nothing was contracted",
        code="restore-differs",
    )


def require_backup(contracted: Contracted) -> None:
    """Demand that there is a backup from right before, whose restored copy was compared."""
    expect(
        bool(contracted.dumped) and contracted.dumped == contracted.restored,
        "no backup from right before the contraction is proven",
        seen=f"{len(contracted.restored)} tables restored",
        expected=f"{len(contracted.dumped) or 'some'} equal tables",
        do="the way back (R.2d) uses the backup of phase 1; keep this record until nobody needs it",
        code="contract-backup-missing",
    )


def require_contracted(upgrade: Upgrade, contracted: Contracted) -> None:
    """Demand that the migration table holds category B of the new release, all of it, and what was reported."""
    missing = sorted({*contracted.pending, *(set(contracted.applied) - set(contracted.held))})
    expect(
        bool(contracted.held) and not missing,
        f"the migration table does not hold category B of {upgrade.target.upgrade.to_release}",
        seen=f"it holds {', '.join(contracted.held) or 'none'}; missing: {', '.join(missing) or 'none'}",
        do="find out what the platform ran, and on which database",
        code="migrations-not-recorded",
    )
