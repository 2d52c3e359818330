"""Steps about backups (1.2a to 1.2d, 1.3d)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import then, when

from cutover.procedures import backups, continuity
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from cutover.procedures.backups import DatabaseBackup, EvidenceExport, ObjectsBackup
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site


@when("the database is dumped at one snapshot", target_fixture="database_backup")
def database_dumped(site: Site, upgrade: Upgrade) -> DatabaseBackup:
    return backups.dump_database(site, upgrade)


@then("the archive restores into a scratch database", target_fixture="restored")
def archive_restores(site: Site, upgrade: Upgrade, database_backup: DatabaseBackup) -> object:
    return backups.restored_tables(site, upgrade, database_backup)


@then("row counts and checksums equal those taken in the snapshot")
def tables_equal(database_backup: DatabaseBackup, restored: dict[str, object]) -> None:
    differing = [name for name, state in database_backup.tables.items() if restored.get(name) != state]
    expect(
        bool(restored) and not differing and restored.keys() == database_backup.tables.keys(),
        "the restored database is not the one that was dumped",
        seen=f"tables that differ: {', '.join(differing) or 'none'}; {len(restored)} tables restored",
        expected=f"{len(database_backup.tables)} equal tables",
        do="do not go on: there is nothing to go back to",
        code="restore-differs",
    )


@then("the copy in the record is encrypted and decrypts to that archive")
def dump_encrypted(upgrade: Upgrade, database_backup: DatabaseBackup) -> None:
    backups.require_dump_encrypted(upgrade, database_backup)


@when("the platform exports all evidence bundles", target_fixture="export")
def evidence_exported(site: Site, upgrade: Upgrade) -> EvidenceExport:
    return backups.export_evidence(site, upgrade)


@then("every bundle of the baseline is in the export with the baseline's digest")
def export_whole(upgrade: Upgrade, export: EvidenceExport) -> None:
    continuity.require_export(upgrade, export.folder, export.reported)


@when("blue's configuration is backed up", target_fixture="objects")
def configuration_backed_up(site: Site, upgrade: Upgrade) -> ObjectsBackup:
    return backups.back_up_configuration(site, upgrade)


@then("the backup applied to a scratch namespace holds the same data")
def configuration_restores(site: Site, upgrade: Upgrade, objects: ObjectsBackup) -> None:
    backups.require_configuration_restores(site, upgrade, objects)


@when("blue's secrets are backed up for the recipient of the target", target_fixture="objects")
def secrets_backed_up(site: Site, upgrade: Upgrade) -> ObjectsBackup:
    return backups.back_up_secrets(site, upgrade)


@then("the file is encrypted, private to its owner and holds no secret in plain text")
def secrets_encrypted(objects: ObjectsBackup) -> None:
    backups.require_encrypted(objects)


@then("the decrypted backup applied to a scratch namespace holds the same data")
def secrets_restore(site: Site, upgrade: Upgrade, objects: ObjectsBackup) -> None:
    backups.require_secrets_restore(site, upgrade, objects)


@when("the backups in the record are read back", target_fixture="backups_read")
def backups_read(upgrade: Upgrade) -> Upgrade:
    return upgrade


@then("all four backups are there with the digests that were recorded")
def backups_complete(backups_read: Upgrade) -> None:
    backups.require_complete(backups_read)


@then("none is older than the policy allows")
def backups_recent(backups_read: Upgrade) -> None:
    backups.require_recent(backups_read)
