"""Lets the schema change under traffic: one run at a time, and nobody waits for a lock longer than the policy says.

Category A is compatible with both releases, and can still stop a site: one session that holds a table makes the
migration wait for it, and every request behind the migration.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cutover.errors import ClauseFailed, CutoverError, Refused
from cutover.site import contention
from cutover.site.lock import Holder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.site.contention import Watch

_SHOWN = 5


@contextmanager
def migrating(site: Site, upgrade: Upgrade) -> Iterator[None]:
    """Hold the database's lock of the harness and watch who waits for whom, as long as the block (2.1a, 2.2a).

    Raises:
        Refused: another run migrates.
        ClauseFailed: a session waited for a lock beyond the policy's limit; names the one in its way.
        CouldNotMeasure: the database does not answer, or the lock did not hold throughout.
    """
    here = Holder.here(record=upgrade.id, clock=upgrade.clock)
    watch: Watch | None = None
    with site.database.migrating(f"{here.record} {here.identity}"):
        try:
            with contention.watched(site.database, limit_s=upgrade.policy.limits.lock_wait_s) as watch:
                yield
        except CutoverError as error:
            if watch is not None:
                _explain(upgrade, watch, error)
            raise
        _note(upgrade, watch)
        if watch.too_long:
            raise _too_long(watch)


def _explain(upgrade: Upgrade, watch: Watch, error: CutoverError) -> None:
    """Give a failure the wait that may be its cause. Raises ClauseFailed from it when that was beyond the limit."""
    _note(upgrade, watch)
    if watch.too_long and not isinstance(error, Refused):
        raise _too_long(watch, then=error.message) from error
    if watch.worth_naming and not error.cause_text:
        error.cause_text = watch.worth_naming[0].describe()


def _note(upgrade: Upgrade, watch: Watch) -> None:
    upgrade.journal.write(
        "observation",
        what="lock waits",
        samples=watch.samples,
        unanswered=watch.unanswered,
        limit_s=watch.limit_s,
        longest_s=round(watch.waits[0].waited_s, 3) if watch.waits else 0.0,
        waits=[wait.describe() for wait in watch.waits[:_SHOWN]],
    )


def _too_long(watch: Watch, *, then: str = "") -> ClauseFailed:
    worst = watch.too_long[0]
    named = " and ".join(blocker.describe() for blocker in worst.blockers)
    pids = ", ".join(str(blocker.pid) for blocker in worst.blockers if blocker.pid)
    look = f"see in pg_stat_activity what session {pids} does and end it" if pids else "see what held it"
    soon = "soon, for whoever migrates may try again, and requests wait behind it"
    return ClauseFailed(
        f"while migrations ran, {named} kept others waiting for {worst.waited_s:.1f} s",
        code="lock-waited-too-long",
        seen="\n".join(wait.describe() for wait in watch.too_long[:_SHOWN]),
        expected=f"at most {watch.limit_s:g} s",
        cause_text=f"and so: {then}" if then else "",
        do=f"{look}, {soon}; or raise [limits] lock_wait_s; then ./cutover resume",
    )
