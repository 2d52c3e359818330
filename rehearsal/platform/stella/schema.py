"""Shows and runs the schema's migrations: `system migrations-status`, `system migrations-run`.

Invariants: only the category asked for runs, one runner at a time; category B, which the release before does not
survive, is refused while pods of an older release run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rehearsal.platform.core import migrations
from rehearsal.platform.stella import compatibility, database, deployment, instants
from rehearsal.platform.stella.answers import Answer, Table
from rehearsal.platform.stella.cluster import Cluster
from rehearsal.platform.stella.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from rehearsal.platform.core.migrations import Migration

LOCK_RETRY_S = 0.2


def status(namespace: str) -> Answer:
    """Return every migration that this client knows, with its state in the deployment's database."""
    settings = deployment.find(Cluster.from_kubeconfig(), namespace).settings
    with database.connect(settings.database_url) as connection:
        try:
            states = migrations.status(connection, compatibility.CLIENT)
        except migrations.MigrationError as cause:
            raise refused(cause) from cause
    listed = [
        {
            "id": state.migration.id,
            "category": state.migration.category,
            "release": state.migration.release,
            "state": "pending" if state.applied_at is None else "applied",
            "applied_at": None if state.applied_at is None else instants.rfc3339(state.applied_at),
        }
        for state in states
    ]
    pending = sum(state.applied_at is None for state in states)
    return Answer(
        ok=True,
        facts={"migrations": listed},
        summary=f"{len(listed) - pending} applied, {pending} pending",
        tables=(
            Table(
                title="Migrations",
                columns=("id", "category", "release", "state", "applied at"),
                rows=tuple(tuple(entry.values()) for entry in listed),
            ),
        ),
    )


def run(namespace: str, *, category: str, release: str | None, lock_timeout_s: float, confirm_contract: bool) -> Answer:
    """Run the pending migrations of a category, of the newest release deployed unless one is named.

    Raises: RefusedError when an older release runs (category B), when the lock is not had in time, or when a migration
    fails, which leaves the schema as it was before that one.
    """
    cluster = Cluster.from_kubeconfig()
    settings = deployment.find(cluster, namespace).settings
    wanted = release or newest(deployment.releases_deployed(cluster), default=settings.release)
    if category == "B" and not confirm_contract:
        older = [running for running in deployment.releases_running(cluster) if compatibility.is_newer(wanted, running)]
        if older:
            raise RefusedError(
                f"category B of {wanted} breaks release {', '.join(older)}, of which pods run",
                code="older-release-runs",
                remedy="remove the older release first, or give --confirm-contract",
            )
    with database.connect(settings.database_url) as connection:
        applied, skipped = _run_when_free(connection, wanted, category, lock_timeout_s)
    rows = (*((migration.id, "applied now") for migration in applied), *((m.id, "applied before") for m in skipped))
    return Answer(
        ok=True,
        facts={
            "category": category,
            "release": wanted,
            "applied": [migration.id for migration in applied],
            "skipped": [migration.id for migration in skipped],
        },
        summary=f"category {category} of {wanted}: {len(applied)} applied now, {len(skipped)} before",
        tables=(Table(title="Migrations", columns=("id", "state"), rows=rows),),
    )


def newest(deployed: Sequence[str], *, default: str) -> str:
    """Return the newest release that the compatibility matrix knows among those deployed."""
    known = [release for release in deployed if release in compatibility.RELEASES]
    return max(known, key=compatibility.RELEASES.index, default=default)


def _run_when_free(
    connection: psycopg.Connection[tuple[object, ...]], release: str, category: str, lock_timeout_s: float
) -> tuple[Sequence[Migration], Sequence[Migration]]:
    deadline_s = time.monotonic() + lock_timeout_s
    while True:
        remaining_s = deadline_s - time.monotonic()
        try:
            return migrations.run(connection, release, category, lock_timeout_s=max(remaining_s, LOCK_RETRY_S))
        except migrations.MigrationLockedError as cause:
            if remaining_s <= 0:
                raise RefusedError(
                    f"no migration lock within {lock_timeout_s:g} s: {cause}",
                    code="migration-locked",
                    remedy="let the other session end, or end it, then run again",
                ) from cause
            time.sleep(LOCK_RETRY_S)
        except migrations.MigrationError as cause:
            raise refused(cause) from cause


def refused(cause: migrations.MigrationError) -> RefusedError:
    """Return what a caller is told of migrations that cannot be told or run."""
    return RefusedError(str(cause), code="migration-refused", remedy="correct what it names, then run again")
