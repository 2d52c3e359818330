"""Steps about releases: versions, compatibility, deployment, migrations (P.6, P.7, 1.1b, 2.1, 2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, then, when

from cutover.procedures import capacity, release, sequences
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from cutover.procedures.release import Installed, MigrationRun, Migrations, PathAnswer, RunningVersions
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site


@when("the platform is asked for its version", target_fixture="versions")
def version_asked(site: Site, upgrade: Upgrade) -> RunningVersions:
    return release.running_versions(site, upgrade.roles.blue)


@then("the version is the release that the upgrade starts from")
def version_is_start(upgrade: Upgrade, versions: RunningVersions) -> None:
    expect(
        versions.platform == upgrade.target.upgrade.from_release,
        "the platform does not run the release that the upgrade starts from",
        seen=f"the platform says {versions.platform}",
        expected=upgrade.target.upgrade.from_release,
        do="correct [upgrade] in the target file",
        code="wrong-start-release",
    )


@then("blue's image tag, labels and version endpoint say the same")
def version_everywhere(versions: RunningVersions) -> None:
    expect(
        versions.agree,
        "the version that the platform reports is not the one that runs",
        seen=versions.describe(),
        expected=f"{versions.platform} everywhere",
        do="find out which of them is wrong before upgrading",
        code="version-mismatch",
    )


@when("the platform checks the path to the release that the upgrade goes to", target_fixture="path")
def path_checked(site: Site, upgrade: Upgrade) -> PathAnswer:
    return release.check_path(site, upgrade.roles.blue, upgrade.target.upgrade.to_release)


@then("the path starts at the running release and ends at the wanted one")
def path_is_right(upgrade: Upgrade, path: PathAnswer) -> None:
    wanted = (upgrade.target.upgrade.from_release, upgrade.target.upgrade.to_release)
    expect(
        path.allowed and path.path == wanted,
        f"the compatibility matrix does not lead from {wanted[0]} to {wanted[1]} in one step",
        seen=f"path {' → '.join(path.path) or 'none'} {path.reason}".rstrip(),
        do="upgrade through the releases in between, one at a time",
        code="path-not-supported",
    )


@then("a path that skips a release is refused")
def skipping_refused(site: Site, upgrade: Upgrade) -> None:
    skipping = release.skipping_release(upgrade.target.upgrade.to_release)
    answer = release.check_path(site, upgrade.roles.blue, skipping)
    expect(
        not answer.allowed,
        f"the compatibility check allows {skipping}, which skips a release",
        seen=f"path {' → '.join(answer.path)}",
        do="do not trust the platform's check: consult the compatibility matrix",
        code="path-check-too-lax",
    )


@when("the platform lists the migrations", target_fixture="migrations")
def migrations_listed(site: Site, upgrade: Upgrade) -> Migrations:
    return release.migrations(site, upgrade.roles.blue)


@when("the platform lists the migrations of the new release", target_fixture="migrations")
def new_migrations_listed(site: Site, upgrade: Upgrade) -> Migrations:
    return release.migrations(site, upgrade.roles.green)


@then("the list equals the migration table")
def list_equals_table(migrations: Migrations) -> None:
    expect(
        migrations.agree,
        "the platform's list of migrations is not what the database records",
        seen=f"reported as applied: {release.names(migrations.reported_applied)}",
        expected=f"as the table says, not nothing: {release.names(migrations.table)}",
        do="find out which migration was recorded but not run, or run but not recorded",
        code="migrations-disagree",
    )


@then("no migration of blue's release is pending")
def none_pending(upgrade: Upgrade, migrations: Migrations) -> None:
    pending = migrations.pending(upgrade.target.upgrade.from_release)
    expect(
        not pending,
        "migrations of the running release are pending",
        seen=", ".join(pending),
        do="finish the previous upgrade first",
        code="migrations-pending",
    )


@then("every category A migration of the new release is applied and none of category B")
def expanded_only(upgrade: Upgrade, migrations: Migrations) -> None:
    release.require_between_releases(upgrade, migrations)


@given("no id that the database is about to give is in use")
def ids_ahead(site: Site) -> None:
    sequences.require_ahead(site)


@given("green has at least blue's capacity")
def green_capacity(site: Site, upgrade: Upgrade) -> None:
    capacity.require_not_smaller(site, upgrade)


@when("the new release is installed as green and waited for", target_fixture="installed")
def green_installed(site: Site, upgrade: Upgrade) -> Installed:
    return release.install_green(site, upgrade)


@then("the release is deployed with the wanted tag")
def release_deployed(upgrade: Upgrade, installed: Installed) -> None:
    expect(
        installed.status == "deployed" and installed.tags == {upgrade.target.upgrade.to_release},
        "green's release is not deployed with the wanted tag",
        seen=f"status {installed.status}, tags {', '.join(sorted(installed.tags)) or 'none'}",
        expected=f"deployed, {upgrade.target.upgrade.to_release}",
        do="read the release's history, uninstall green and run again",
        code="release-not-deployed",
    )


@then("every running image of green has a digest that the target allows")
def images_have_digest(site: Site, upgrade: Upgrade) -> None:
    release.require_images(upgrade, release.running_images(site, upgrade.roles.green))


@when("the platform runs the migrations of category A", target_fixture="migration_run")
def category_a_run(site: Site, upgrade: Upgrade) -> MigrationRun:
    return release.run_category_a(site, upgrade)


@then("no migration of category B is applied")
def no_category_b(migration_run: MigrationRun) -> None:
    expect(
        not migration_run.category_b_held,
        "a category B migration was applied before the cutover",
        seen=", ".join(migration_run.category_b_held),
        do="blue may no longer work on this schema: decide on R.2b before any traffic moves",
        code="contract-too-early",
    )


@then("the migration table holds category A of the new release")
def category_a_held(upgrade: Upgrade, migration_run: MigrationRun) -> None:
    release.require_expanded(upgrade, migration_run)


@then("blue still reads and writes on the new schema")
def blue_works(site: Site, upgrade: Upgrade) -> None:
    release.require_read_and_write(site, upgrade, upgrade.roles.blue)
