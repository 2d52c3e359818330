"""The database goes back to a schema that blue works with, and nothing that was made since is dropped (R.2d, F.10).

The record's own backup is restored beside the live database and compared with what it was made of; compatible
migrations are applied to it; a copy of the live database is mapped back through what each breaking migration ships, and
its rows are carried over; then the two change names, while nobody can write.
Invariants: nothing of the live database is changed but its name; what is lost is listed, and a person has agreed to
exactly that before anything is swapped; each attempt finds by looking how far the one before it came, and begins again
there; what the backup held and the restored database holds is compared before a row is carried.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cutover.clock import parse_rfc3339, rfc3339
from cutover.errors import ClauseFailed, CouldNotMeasure, Refused
from cutover.files import write_whole
from cutover.procedures import backups, release, sequences
from cutover.runbook import approval
from cutover.runbook.checks import expect
from cutover.site import carry, restore
from cutover.site.restore import Names, Restoration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.model import Environment
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.site.carry import Carried, Loss
    from cutover.site.database import AppliedMigration, TableFingerprint
    from cutover.site.restore import Shipped, Swapped

CLAUSE = "R.2d"
GUIDE = "Rollback Procedures, deviation F.10"
SWAP = "swap database"
"""The action after which the restored database is the live one."""
BREAKING, COMPATIBLE = "B", "A"
BEFORE_CONTRACT = "before-contract"
"""The backup that is made right before a contraction; 1.2a's is `database`."""
LOSSES = ("artifacts", "restore", "losses.json")
DIGITS = 12
"""So many of the digest's hex digits stand in an approval's meaning."""
_BEGUN, _COMPARED, _CARRIED, _SWAPPED = "restore", "restore-compared", "restore-carried", "restore-swapped"
_MIGRATION_TABLE = ".stella_migrations"
_AGAIN = frozenset({"swap-failed", "database-refused", "database-unreachable"})
"""Somebody held a table or the name for too long: the same may work a moment later."""
_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What the restore of a database came to, as the journal has it."""

    names: Names
    dumped: Mapping[str, TableFingerprint]
    """What every table held in the snapshot that the backup was made of."""
    restored: Mapping[str, TableFingerprint]
    """What it held when the backup was restored, before a row was carried."""
    given_up: Mapping[str, int]
    """By table: rows that were not carried, and that a person or the plan gave up."""
    log_notes: tuple[str, ...]
    """The checkpoints that the transparency log had published before."""


def require_needed(site: Site, upgrade: Upgrade) -> None:
    """Refuse to restore a database that blue can work with.

    Raises:
        Refused: no migration of category B of this upgrade is in it.
    """
    if not breaking(site, upgrade) and not _is_begun(site, upgrade):
        raise Refused(
            "the database need not be restored: blue works with its schema",
            code="restore-not-needed",
            seen=f"no migration of category B of {upgrade.target.upgrade.to_release} is applied",
            guide=GUIDE,
            do="go back without it: ./cutover rollback",
            state="nothing was changed",
        )


def require_approved(upgrade: Upgrade) -> None:
    """Refuse the restore while too few people allowed it, where the policy or the site asks for that.

    Raises: Refused.
    """
    approval.require_cover(upgrade, CLAUSE)


def breaking(site: Site, upgrade: Upgrade) -> tuple[AppliedMigration, ...]:
    """Return the applied migrations of the new release that the release before does not work with."""
    wanted = upgrade.target.upgrade.to_release
    return tuple(row for row in site.database.migrations() if row.release == wanted and row.category == BREAKING)


def restore_database(site: Site, upgrade: Upgrade) -> Restored:
    """Restore the backup beside, compare, carry over, swap; or find out that it was done (R.2d).

    Raises:
        Refused: another restore runs, or something would be lost that nobody gave up.
        ClauseFailed: the backup is not what was dumped; a mapping does not work; rights differ; the swap was not had.
        CouldNotMeasure: nobody here can decrypt the backup.
    """
    work = _of(site, upgrade)
    with work.alone():
        if work.is_swapped:
            upgrade.journal.write("observation", what="already", done=SWAP, replaced=work.names.replaced)
        else:
            _swap(site, upgrade, work, known=_prepare(site, upgrade, work))
        with upgrade.journal.action("keep the replaced database", database=work.names.replaced):
            work.keep_replaced(
                f"replaced by the restore of upgrade {upgrade.id}; drop it when nobody needs it any more"
            )
            work.refresh_views()
            work.clean_up()
    upgrade.deviation(
        "F.10",
        did=f"restored beside, compared, carried over, swapped; the replaced database is kept as {work.names.replaced}",
        instead_of="pg_restore over the live database",
        why="it fails on existing objects and would drop evidence made since the backup",
    )
    return _told(upgrade, work.names)


def _of(site: Site, upgrade: Upgrade) -> Restoration:
    return Restoration(site.database, Names.of(site.database.name, upgrade.id))


def _is_begun(site: Site, upgrade: Upgrade) -> bool:
    return upgrade.knows(_BEGUN) and _of(site, upgrade).is_swapped


# -- beside ------------------------------------------------------------------------------------------------------------


def _prepare(site: Site, upgrade: Upgrade, work: Restoration) -> tuple[Loss, ...]:
    """Make the restored database, as whole as it can be made while everybody works; return what was given up for it."""
    found = breaking(site, upgrade)
    kind, facts = _backup(upgrade, found)
    if not upgrade.knows(_BEGUN):
        upgrade.remember(
            _BEGUN,
            names=asdict(work.names),
            breaking=[row.id for row in found],
            log_notes=[one.note for one in site.log.checkpoints()],
        )
    with upgrade.journal.action("restore beside", database=work.names.restored, backup=kind) as done:
        work.restore_backup(site.operator, backups.put_on_host(site, upgrade, facts))
        restored = work.restored_tables()
        _compare(upgrade, kind, backups.tables_of(facts), restored)
        done(tables=len(restored))
    with upgrade.journal.action("expand the restored database") as done:
        compatible = _compatible(site, upgrade, work)
        work.expand(compatible)
        done(applied=[migration.id for migration in compatible])
    with upgrade.journal.action("copy the live database", database=work.names.copy):
        work.copy_live(site.operator)
        site.operator.discard_temp()
    losses = _carry(site, upgrade, work)
    _require_given_up(upgrade, losses)
    _require_rights(work)
    return losses


def _backup(upgrade: Upgrade, found: Sequence[AppliedMigration]) -> tuple[str, dict[str, Any]]:
    """Return the newest backup that was made before the first breaking migration, by kind and facts."""
    first = min(row.applied_at for row in found)
    for kind in (BEFORE_CONTRACT, "database"):
        if upgrade.knows(f"backup-{kind}"):
            facts = upgrade.recall(f"backup-{kind}")
            if parse_rfc3339(facts["made"]) <= first:
                return kind, facts
    raise Refused(
        "this record holds no backup from before the breaking migrations",
        code="backup-too-new",
        seen=f"{', '.join(row.id for row in found)}, applied since {rfc3339(first)}",
        guide="1.2a",
        do="restore by hand from a backup of your own, beside the live database, never over it",
        state="nothing was changed",
    )


def _compare(
    upgrade: Upgrade, kind: str, dumped: Mapping[str, TableFingerprint], restored: Mapping[str, TableFingerprint]
) -> None:
    """Demand that every table is what it was when it was dumped, before a row is carried."""
    differing = sorted(title for title in dumped.keys() | restored.keys() if dumped.get(title) != restored.get(title))
    expect(
        bool(restored) and not differing,
        "the restored database is not the one that was dumped",
        seen=f"tables that differ: {', '.join(differing[:_SHOWN]) or 'none'}; {len(restored)} tables restored",
        expected=f"{len(dumped)} equal tables",
        guide=GUIDE,
        do="restore another copy of the record's backup; the live database is untouched",
        code="restore-differs",
    )
    upgrade.remember(_COMPARED, backup=kind, dumped=backups.listed(dumped), restored=backups.listed(restored))


def _compatible(site: Site, upgrade: Upgrade, work: Restoration) -> list[Shipped]:
    """Return the compatible migrations that the live database has and the restored one lacks, as they were shipped."""
    applied = {row.id for row in work.database(work.names.restored).migrations()}
    found = []
    for row in site.database.migrations():
        if row.category != COMPATIBLE or row.id in applied:
            continue
        shipped = restore.shipped(upgrade.target.database.migrations, row.id)
        if shipped is not None and shipped.checksum == row.checksum:
            found.append(shipped)
    return found


def _carry(site: Site, upgrade: Upgrade, work: Restoration, known: Sequence[Loss] = ()) -> tuple[Loss, ...]:
    """Map a copy of what the live database holds back, and carry its rows over; return what cannot be carried.

    known: what a pass before this one could not carry.
    """
    found = breaking(site, upgrade)
    shipped = [restore.shipped(upgrade.target.database.migrations, row.id) for row in found]
    ways_back = [one for one in shipped if one is not None and one.reverse is not None]
    without = sorted({row.id for row in found} - {one.id for one in ways_back})
    restored = {row.id for row in work.database(work.names.restored).migrations()}
    compatible = {one.id for one in _compatible(site, upgrade, work)}
    lacking = {row.id for row in site.database.migrations()} - restored - compatible
    mapped_back = [one.id for one in ways_back]
    with upgrade.journal.action("carry rows over", mapped_back=mapped_back, no_way_back=without) as done:
        work.map_back(ways_back, forget=sorted(lacking))
        carried = work.carry_over(why_absent=f"{', '.join(without)} ships no way back" if without else "")
        losses = carry.together(known, carried.losses)
        done(added=carried.added, changed=carried.changed, came_back=carried.kept, losses=len(losses))
    _keep(upgrade, carried, losses, forgotten=len(lacking))
    return losses


def _keep(upgrade: Upgrade, carried: Carried, losses: Sequence[Loss], *, forgotten: int) -> None:
    """Put what was carried, and what was not, into the record. forgotten: lines of the migration table."""
    document = {
        "digest": carry.digest_of(losses),
        "losses": [asdict(loss) for loss in losses],
        "tables": [asdict(moved) for moved in carried.tables],
    }
    write_whole(upgrade.path(*LOSSES), json.dumps(document, indent=2) + "\n")
    given_up = {moved.table: forgotten for moved in carried.tables if moved.table.endswith(_MIGRATION_TABLE)}
    for loss in losses:
        if not loss.column and loss.rows:
            given_up[loss.table] = given_up.get(loss.table, 0) + loss.rows
    upgrade.remember(
        _CARRIED,
        added=carried.added,
        changed=carried.changed,
        came_back=carried.kept,
        digest=document["digest"],
        losses=[str(loss) for loss in losses],
        given_up=given_up,
    )


def _require_given_up(upgrade: Upgrade, losses: Sequence[Loss]) -> None:
    """Refuse to lose what nobody gave up: an approval that covers the clause names the digest of the list."""
    if not losses:
        return
    digest = carry.digest_of(losses)
    word = digest.removeprefix("sha256:")[:DIGITS]
    standing = approval.of_record(upgrade)
    people = {signed.name for signed in standing.approvals if CLAUSE in signed.covers and word in signed.meaning}
    if len(people) >= max(1, standing.minimum):
        upgrade.journal.write("observation", what="losses given up", digest=digest, by=sorted(people))
        return
    raise Refused(
        f"{len(losses)} things made since the backup cannot be carried over, and nobody has given them up",
        code="losses-not-given-up",
        seen="\n".join(_first(losses)),
        guide=GUIDE,
        do=f"have it approved: ./cutover approve --plan {standing.plan['digest']} --covers {CLAUSE} "
        f'--meaning "losses {word} are given up"; then repeat',
        state="the live database is untouched; what was restored lies beside it",
        digest=digest,
    )


def _first(losses: Sequence[Loss]) -> list[str]:
    more = len(losses) - _SHOWN
    return [*map(str, losses[:_SHOWN]), *([f"and {more} more, in {'/'.join(LOSSES)}"] if more > 0 else [])]


def _require_rights(work: Restoration) -> None:
    differences = work.differences()
    expect(
        not differences,
        "owners, rights or extensions of the restored database are not those of the live one",
        seen="\n".join(differences[:_SHOWN]),
        guide=GUIDE,
        do="give admin_dsn a role that may set them, then repeat; the live database is untouched",
        code="restore-rights-differ",
    )
    sequences.require_ahead_in(work.database(work.names.restored))


# -- in its place ------------------------------------------------------------------------------------------------------


def _swap(site: Site, upgrade: Upgrade, work: Restoration, *, known: Sequence[Loss]) -> None:
    """Let nobody write, carry what came since, swap; again where a table or the name was not had in time.

    known: what was given up for the restored database as it is.
    """

    def once() -> Swapped | None:
        work.discard_mapped()
        try:
            with upgrade.shield(), work.writers_stopped() as swap:
                work.refresh_copy()
                _require_given_up(upgrade, _carry(site, upgrade, work, known))
                _require_rights(work)
                with upgrade.journal.action(SWAP, live=work.names.live, replaced=work.names.replaced) as done:
                    swapped = swap()
                    done(writers_stopped_s=swapped.stopped_s, sessions_ended=swapped.sessions_ended)
                return swapped
        except (ClauseFailed, CouldNotMeasure) as error:
            if error.code not in _AGAIN:
                raise
            upgrade.journal.write("observation", what="the swap was not had", why=error.seen)
            return None

    swapped = upgrade.wait_for(
        "the restored database to take its place",
        once,
        until=lambda one: one is not None,
        bound_s=upgrade.policy.limits.ready_s,
        describe=lambda one: "swapped" if one else "somebody holds a table, or the database",
        do="see who holds it: select * from pg_stat_activity; then repeat",
        code="swap-failed",
    )
    if swapped is not None:
        upgrade.remember(_SWAPPED, stopped_s=swapped.stopped_s, sessions_ended=swapped.sessions_ended)


def _told(upgrade: Upgrade, names: Names) -> Restored:
    compared, carried = upgrade.recall(_COMPARED), upgrade.recall(_CARRIED)
    return Restored(
        names=names,
        dumped=backups.tables_of({"fingerprints": compared["dumped"]}),
        restored=backups.tables_of({"fingerprints": compared["restored"]}),
        given_up=carried["given_up"],
        log_notes=tuple(upgrade.recall(_BEGUN)["log_notes"]),
    )


# -- what must be so afterwards ----------------------------------------------------------------------------------------


def require_backup_held(restored: Restored) -> None:
    """Demand that the backup, when it was restored, held row for row what was dumped."""
    expect(
        bool(restored.dumped) and restored.dumped == restored.restored,
        "the restored database was not the one that was dumped",
        seen=f"{len(restored.restored)} tables restored",
        expected=f"{len(restored.dumped)} equal tables",
        do="swap back by hand: rename the replaced database",
        code="restore-differs",
    )


def require_nothing_missing(site: Site, upgrade: Upgrade, restored: Restored) -> None:
    """Demand of the database that serves now every row of the replaced one, but for what was given up."""
    missing = _of(site, upgrade).lost_keys()
    wrong = {table: rows for table, rows in missing.items() if rows > restored.given_up.get(table, 0)}
    expect(
        not wrong,
        "rows of the replaced database are missing",
        seen="; ".join(f"{table}: {rows}" for table, rows in sorted(wrong.items())),
        expected="; ".join(f"{table}: at most {rows}" for table, rows in sorted(restored.given_up.items())),
        do=f"compare with {restored.names.replaced}, which is kept",
        code="rows-missing",
    )


def require_schema_before(site: Site, upgrade: Upgrade) -> None:
    """Demand that no breaking migration is recorded any more, and that the next ids are free."""
    left = breaking(site, upgrade)
    expect(
        not left,
        "the database that serves still holds a breaking migration",
        seen=", ".join(row.id for row in left),
        do="see which database the connection string leads to",
        code="restore-not-in-place",
    )
    sequences.require_ahead(site)


def require_log_untouched(site: Site, restored: Restored) -> None:
    """Demand every checkpoint that the log had published before, in its order: the log lives outside (E.5)."""
    now = [one.note for one in site.log.checkpoints()]
    expect(
        bool(restored.log_notes) and now[: len(restored.log_notes)] == list(restored.log_notes),
        "the transparency log is not what it was before the restore",
        seen=f"{len(now)} checkpoints",
        expected=f"the {len(restored.log_notes)} of before, and newer ones after them",
        guide="E.5",
        do="restore the log's database from its own backup; stop writing until then",
        code="log-changed",
    )


def require_kept(site: Site, upgrade: Upgrade) -> None:
    """Demand that the replaced database is there under its dated name, and nothing else of the restore."""
    work = _of(site, upgrade)
    found = work.present()
    expect(
        found == {work.names.live, work.names.replaced},
        "the databases of the restore are not what they should be",
        seen=", ".join(sorted(found)),
        expected=f"{work.names.live}, {work.names.replaced}",
        do="repeat: what only helped is dropped, what was replaced is kept",
        code="replaced-not-kept",
    )


def require_works(site: Site, upgrade: Upgrade, environment: Environment) -> None:
    """Demand that a colour reads and writes on the database that serves now, once its connections are new.

    Raises:
        Timeout: it does not within the policy's bound.
    """

    def probe() -> bool:
        release.require_read_and_write(site, upgrade, environment)
        return True

    upgrade.wait_for(
        f"{environment.name} to read and write on the restored database",
        probe,
        until=bool,
        bound_s=upgrade.policy.limits.ready_s,
        tolerate=(ClauseFailed, CouldNotMeasure),
        do="read the log of its pods",
        code="restored-not-usable",
    )
