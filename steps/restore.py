"""Steps about the database's schema after the cutover: its contraction, and its way back (C.1, R.2d)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, then, when

from cutover.procedures import contraction, release, restore

if TYPE_CHECKING:
    from cutover.procedures.contraction import Contracted
    from cutover.procedures.restore import Restored
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site


@given("nothing of blue runs and green alone serves")
def blue_unneeded(site: Site, upgrade: Upgrade) -> None:
    contraction.require_blue_unneeded(site, upgrade)


@given("the contraction is allowed by those who must allow it")
def contraction_allowed(upgrade: Upgrade) -> None:
    contraction.require_approved(upgrade)


@when("the platform contracts the schema behind a proven backup", target_fixture="contracted")
def schema_contracted(site: Site, upgrade: Upgrade) -> Contracted:
    return contraction.contract(site, upgrade)


@then("the backup right before it restores to what was dumped")
def contract_backup(contracted: Contracted) -> None:
    contraction.require_backup(contracted)


@then("the migration table holds category B of the new release")
def category_b_held(upgrade: Upgrade, contracted: Contracted) -> None:
    contraction.require_contracted(upgrade, contracted)


@then("green reads and writes on the contracted schema")
def green_works(site: Site, upgrade: Upgrade) -> None:
    release.require_read_and_write(site, upgrade, upgrade.roles.green)


@given("the database needs to be restored before blue can work")
def restore_needed(site: Site, upgrade: Upgrade) -> None:
    restore.require_needed(site, upgrade)


@given("the restore is allowed by those who must allow it")
def restore_allowed(upgrade: Upgrade) -> None:
    restore.require_approved(upgrade)


@when(
    "the backup is restored beside the live database, given what was made since, and put in its place",
    target_fixture="restored_database",
)
def database_restored(site: Site, upgrade: Upgrade) -> Restored:
    return restore.restore_database(site, upgrade)


@then("the backup held row for row what was dumped")
def backup_held(restored_database: Restored) -> None:
    restore.require_backup_held(restored_database)


@then("every row of the replaced database is there, but for what a person gave up")
def nothing_missing(site: Site, upgrade: Upgrade, restored_database: Restored) -> None:
    restore.require_nothing_missing(site, upgrade, restored_database)


@then("no breaking migration is left and the next ids are free")
def schema_is_before(site: Site, upgrade: Upgrade) -> None:
    restore.require_schema_before(site, upgrade)


@then("the transparency log holds every checkpoint of before")
def log_untouched(site: Site, restored_database: Restored) -> None:
    restore.require_log_untouched(site, restored_database)


@then("green reads and writes on the restored database")
def green_works_again(site: Site, upgrade: Upgrade) -> None:
    restore.require_works(site, upgrade, upgrade.roles.green)


@then("the replaced database is kept under a dated name")
def replaced_kept(site: Site, upgrade: Upgrade) -> None:
    restore.require_kept(site, upgrade)
