"""Releases: what runs, what may be installed, green's installation and migrations (P.6, P.7, 1.1b, 2.1, 2.2)."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.errors import ClauseFailed, Refused, Timeout
from cutover.procedures import connections
from cutover.procedures.diagnosed import diagnosed
from cutover.procedures.migrating import migrating
from cutover.runbook.checks import expect
from cutover.site.operator import KILL_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cutover.model import Environment
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.site.helm import HelmRelease

VERSION_LABEL = "app.kubernetes.io/version"
INSTANCE_LABEL = "app.kubernetes.io/instance"
COMPONENT_LABEL = "app.kubernetes.io/component"
AT_WORK = frozenset({"pending-install", "pending-upgrade", "pending-rollback", "uninstalling"})
"""What helm calls a release that a helm works on, or worked on when it was killed."""
_OURS_ENDS_S = KILL_AFTER_S + 1
"""A helm on this machine ends with the harness that started it; the kernel and `timeout` see to it."""
_SERVED_SAMPLE = 20
_MIGRATE = "run migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningVersions:
    """The release of one colour as four sources tell it."""

    platform: str
    image_tags: frozenset[str]
    labels: frozenset[str]
    endpoint: str

    @property
    def agree(self) -> bool:
        """Whether all sources say what the platform says."""
        return self.image_tags == self.labels == {self.platform} and self.endpoint == self.platform

    def describe(self) -> str:
        """All four in one line."""
        tags, labels = (", ".join(sorted(values)) or "none" for values in (self.image_tags, self.labels))
        return f"platform {self.platform}, image tags {tags}, labels {labels}, version endpoint {self.endpoint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathAnswer:
    """The platform's answer about an upgrade path."""

    allowed: bool
    path: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One migration as the platform lists it."""

    id: str
    category: str
    release: str
    is_applied: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrations:
    """The platform's list beside the migration table."""

    reported: tuple[Migration, ...]
    table: tuple[Migration, ...]
    """What the table holds, with category and release as the table says; all are applied."""

    @property
    def reported_applied(self) -> frozenset[Migration]:
        """Those that the platform reports as applied."""
        return frozenset(item for item in self.reported if item.is_applied)

    @property
    def agree(self) -> bool:
        """Whether the platform reports as applied what the table holds, by id, category and release; not nothing."""
        return bool(self.table) and self.reported_applied == frozenset(self.table)

    def pending(self, release: str, category: str | None = None) -> list[str]:
        """Ids that the platform lists for a release and the table does not hold."""
        held = {item.id for item in self.table}
        return [item.id for item in _of(self.reported, release, category) if item.id not in held]

    def applied(self, release: str, category: str | None = None) -> list[str]:
        """Ids of a release that the table holds, whatever the platform lists."""
        return [item.id for item in _of(self.table, release, category)]


def names(migrations: Iterable[Migration]) -> str:
    """Name migrations with category and release, in order of their ids."""
    ordered = sorted(migrations, key=lambda item: item.id)
    return ", ".join(f"{item.id} ({item.category}, {item.release})" for item in ordered) or "none"


def _of(migrations: tuple[Migration, ...], release: str, category: str | None) -> list[Migration]:
    return [item for item in migrations if item.release == release and category in {None, item.category}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """Green after its installation."""

    status: str
    tags: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningImages:
    """What the containers of a colour really run, as their node reports it."""

    digests: Mapping[str, frozenset[str]]
    """By component; `sha256:<hex>`."""
    unidentified: tuple[str, ...]
    """Pods with a container whose image has no digest."""

    def describe(self) -> str:
        """All of it in one line."""
        parts = [f"{name} {', '.join(sorted(found)) or 'none'}" for name, found in sorted(self.digests.items())]
        parts += [f"pod {name} without a digest" for name in self.unidentified]
        return "; ".join(parts) or "no pod"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationRun:
    """What running category A did."""

    applied: tuple[str, ...]
    skipped: tuple[str, ...]
    category_a_held: tuple[str, ...]
    """Ids of category A of the new release that the migration table holds afterwards."""
    category_b_held: tuple[str, ...]


def running_versions(site: Site, environment: Environment) -> RunningVersions:
    """Ask the platform, the pods, their labels and the version endpoint (P.6)."""
    answer = site.stella.call("version", namespace=environment.namespace)
    pods = site.cluster.pods(environment.namespace, selector={INSTANCE_LABEL: environment.release})
    endpoint = site.cluster.proxy_get(environment.namespace, environment.service, 80, "/version").json()
    return RunningVersions(
        platform=str(answer["server"]),
        image_tags=frozenset(image.rpartition(":")[2] for pod in pods for image in pod.images),
        labels=frozenset(pod.labels.get(VERSION_LABEL, "no label") for pod in pods),
        endpoint=str(endpoint.get("version")),
    )


def check_path(site: Site, blue: Environment, release: str) -> PathAnswer:
    """Ask the platform's compatibility check; its refusal is an answer, not a failure (P.7)."""
    answer = site.stella.call("upgrade", "check", "--target", release, namespace=blue.namespace, check=False)
    return PathAnswer(
        allowed=bool(answer["ok"]), path=tuple(answer.get("path", ())), reason=str(answer.get("reason") or "")
    )


def skipping_release(release: str) -> str:
    """Name the release after the wanted one: from where the site stands it skips one.

    Releases are named `YYYY.Qn`.

    Raises:
        ClauseFailed: the name does not follow that form.
    """
    match = re.fullmatch(r"(\d{4})\.Q([1-4])", release)
    if match is None:
        raise ClauseFailed(
            f"the release name {release} is not of the form YYYY.Qn",
            code="release-name-unreadable",
            seen=release,
            do="correct [upgrade] in the target file",
        )
    year, quarter = int(match[1]), int(match[2])
    return f"{year + 1}.Q1" if quarter == 4 else f"{year}.Q{quarter + 1}"


def migrations(site: Site, environment: Environment) -> Migrations:
    """List the migrations by the platform and by the migration table (1.1b, 2.2b)."""
    answer = site.stella.call("system", "migrations-status", namespace=environment.namespace)
    return Migrations(
        reported=tuple(
            Migration(
                id=str(item["id"]),
                category=str(item["category"]),
                release=str(item["release"]),
                is_applied=item["state"] == "applied",
            )
            for item in answer["migrations"]
        ),
        table=_table(site),
    )


def _table(site: Site) -> tuple[Migration, ...]:
    return tuple(
        Migration(id=row.id, category=row.category, release=row.release, is_applied=True)
        for row in site.database.migrations()
    )


def install_green(site: Site, upgrade: Upgrade) -> Installed:
    """Install the new release as green and wait for it, unless it is there as it should be (2.1a).

    Deviation F.1: `--install`, as there is no release to upgrade yet. Deviation F.13: where the chart does not
    migrate in an init step,
    category A runs before the installation, as green's readiness may wait for it.
    """
    green, tag = upgrade.roles.green, upgrade.target.upgrade.to_release
    upgrade.deviation(
        "F.1",
        did="helm upgrade --install",
        instead_of="helm upgrade",
        why="there is no release of green yet, and helm upgrade alone refuses",
    )
    if upgrade.target.chart.migrations == "external":
        upgrade.deviation(
            "F.13",
            did="ran the category A migrations before the installation",
            instead_of="waiting for green's readiness first",
            why="green's readiness waits for the schema that is only migrated afterwards",
        )
        run_category_a(site, upgrade, release=tag)
    else:
        upgrade.deviation(
            "F.13",
            did="category A runs in the init step of green's pods; 2.2 then proves it",
            instead_of="waiting for green's readiness before any migration",
            why="green's readiness waits for the schema that is only migrated afterwards",
        )
        with migrating(site, upgrade):
            return bring(site, upgrade, green, tag=tag, action="install green")
    return bring(site, upgrade, green, tag=tag, action="install green")


def bring(site: Site, upgrade: Upgrade, environment: Environment, *, tag: str, action: str) -> Installed:
    """Bring a colour that serves nobody to a release, and wait for it; nothing when it is there with these values.

    What a helm that was killed left half done, and with it helm's own lock, is removed first.
    action: what the journal calls it.

    Raises:
        Refused: a helm that this record did not start is at work on the release, or the half-done colour serves.
    """
    release, namespace = environment.release, environment.namespace
    found = _settled(site, upgrade, environment, action=action)
    if found is not None and _is_wanted(site, environment, found, tag):
        upgrade.journal.write("observation", what="already", action=action, release=release, revision=found.revision)
        _wait_until_complete(site, upgrade, environment)
        return _installed(site, environment)
    if found is not None and not found.is_deployed:
        _remove_half_done(site, upgrade, environment, found)
    with upgrade.journal.action(action, release=release, namespace=namespace, tag=tag) as done:
        with diagnosed(site, environment):
            result = site.helm.upgrade(environment, tag=tag)
        done(duration_s=round(result.duration_s, 3))
    return _installed(site, environment)


def _wait_until_complete(site: Site, upgrade: Upgrade, environment: Environment) -> None:
    """Wait as helm did when it installed: since then pods may have been made anew. Raises: Timeout."""

    def incomplete() -> list[str]:
        return [
            f"{item.name} {item.ready}/{item.desired}"
            for item in site.cluster.deployments(environment.namespace)
            if item.labels.get(INSTANCE_LABEL) == environment.release and not item.is_complete
        ]

    with diagnosed(site, environment):
        upgrade.wait_for(
            f"{environment.name}'s deployments to be complete",
            incomplete,
            until=lambda seen: not seen,
            bound_s=upgrade.policy.limits.ready_s,
            describe=lambda seen: ", ".join(seen) or "complete",
            do="look at the pods named, and at their events",
            code="not-available",
        )


def _settled(site: Site, upgrade: Upgrade, environment: Environment, *, action: str) -> HelmRelease | None:
    """Return the release when no helm is at work on it any more, or when ours is known to be gone."""
    release, namespace = environment.release, environment.namespace
    found = site.helm.status(release, namespace)
    if found is None or found.status not in AT_WORK:
        return found
    is_ours = upgrade.journal.last("intent", action=action, release=release, namespace=namespace) is not None
    try:
        return upgrade.wait_for(
            f"helm to end its work on release {release}",
            lambda: site.helm.status(release, namespace),
            until=lambda seen: seen is None or seen.status not in AT_WORK,
            bound_s=_OURS_ENDS_S if is_ours and site.operator.is_local else upgrade.target.chart.wait_timeout_s,
            describe=lambda seen: seen.status if seen is not None else "absent",
        )
    except Timeout as timeout:
        if is_ours:
            return site.helm.status(release, namespace)
        raise Refused(
            f"somebody's helm is at work on release {release} in namespace {namespace}",
            code="release-busy",
            seen=f"status {found.status}, revision {found.revision}; this record did not begin it",
            do=f"wait for it; if it is gone, `helm uninstall {release} --namespace {namespace}`, then go on",
        ) from timeout


def _is_wanted(site: Site, environment: Environment, found: HelmRelease, tag: str) -> bool:
    """Whether a release is deployed with the tag and the values that the target gives it, and no others."""
    wanted = connections.planned_values(environment)
    given = site.helm.with_tag(found.values, site.helm.tag_of(found))
    return found.is_deployed and given == site.helm.with_tag(wanted, tag)


def _remove_half_done(site: Site, upgrade: Upgrade, environment: Environment, found: HelmRelease) -> None:
    """Uninstall what was never deployed: it holds helm's own lock, and no request depends on it."""
    served = site.routing.who_serves(_SERVED_SAMPLE)
    if served.by_colour.get(environment.name, 0):
        raise Refused(
            f"release {environment.release} is half done while {environment.name} serves requests",
            code="release-half-done",
            seen=f"status {found.status}, revision {found.revision}; {served}",
            do="send the traffic to the other colour (./cutover rollback), or repair the release by hand",
        )
    facts = {"release": environment.release, "namespace": environment.namespace, "status": found.status}
    with upgrade.journal.action("remove what was half done", **facts, revision=found.revision):
        site.helm.uninstall(environment.release, environment.namespace)


def _installed(site: Site, green: Environment) -> Installed:
    status = site.helm.status(green.release, green.namespace)
    pods = site.cluster.pods(green.namespace, selector={INSTANCE_LABEL: green.release})
    return Installed(
        status=status.status if status else "absent",
        tags=frozenset(image.rpartition(":")[2] for pod in pods for image in pod.images),
    )


def running_images(site: Site, environment: Environment) -> RunningImages:
    """Look at what every pod of a colour runs now (2.1a, 2.1b)."""
    digests: dict[str, set[str]] = {}
    unidentified = []
    for pod in site.cluster.pods(environment.namespace, selector={INSTANCE_LABEL: environment.release}):
        found = [image_id.rpartition("@")[2] for image_id in pod.image_ids]
        known = {digest for digest in found if digest.startswith("sha256:")}
        digests.setdefault(pod.labels.get(COMPONENT_LABEL, "no component"), set()).update(known)
        if not found or len(known) < len(set(found)):
            unidentified.append(pod.name)
    return RunningImages(
        digests={component: frozenset(found) for component, found in digests.items()},
        unidentified=tuple(unidentified),
    )


def require_images(upgrade: Upgrade, images: RunningImages) -> None:
    """Demand that every image is identified and is one that the target allows (2.1a, 2.1b).

    A target that names no digest allows any one for each component; then the journal says that none was wanted.

    Raises:
        ClauseFailed: an image is not identified, not allowed, or one component runs several.
    """
    wanted = frozenset(upgrade.target.upgrade.image_digests)
    upgrade.journal.write(
        "observation",
        what="images",
        running={component: sorted(found) for component, found in images.digests.items()},
        wanted=sorted(wanted) or "the target gives no [upgrade] image_digests: nothing to compare with",
    )
    expect(
        bool(images.digests) and not images.unidentified,
        "not every image of green is identified by a digest",
        seen=images.describe(),
        do="read the status of the pods named",
        code="image-digest-missing",
    )
    if wanted:
        expect(
            all(found <= wanted for found in images.digests.values()),
            f"green runs an image that is not one of {upgrade.target.upgrade.to_release}",
            seen=images.describe(),
            expected=" or ".join(sorted(wanted)),
            do="find out who pushed that tag, then pin the image by digest and deploy again",
            code="image-digest-differs",
        )
        return
    expect(
        all(len(found) == 1 for found in images.digests.values()),
        "pods of one component of green run different images",
        seen=images.describe(),
        do="pin the image by digest and deploy again",
        code="image-digest-differs",
    )


def run_category_a(site: Site, upgrade: Upgrade, *, release: str | None = None) -> MigrationRun:
    """Run the migrations of category A, and read from the table what is applied afterwards (2.2a).

    They are not run again when an earlier attempt did, and the table still holds all that they are.
    """
    about = {"category": "A", "release": release}
    earlier = upgrade.journal.last("done", action=_MIGRATE, **about)
    if earlier is not None:
        known = _migrated(site, upgrade, applied=(), skipped=(*earlier.data["applied"], *earlier.data["skipped"]))
        if known.category_a_held and set(known.skipped) <= {item.id for item in _table(site)}:
            upgrade.journal.write("observation", what="already", action=_MIGRATE, **about, held=known.category_a_held)
            return known
    extra = ("--release", release) if release else ()
    namespace = upgrade.roles.blue.namespace if release else upgrade.roles.green.namespace
    with migrating(site, upgrade), upgrade.journal.action(_MIGRATE, **about) as done:
        answer = site.stella.call("system", "migrations-run", "--category", "A", *extra, namespace=namespace)
        done(applied=answer["applied"], skipped=answer["skipped"])
    return _migrated(site, upgrade, applied=tuple(answer["applied"]), skipped=tuple(answer["skipped"]))


def _migrated(site: Site, upgrade: Upgrade, *, applied: tuple[str, ...], skipped: tuple[str, ...]) -> MigrationRun:
    wanted, table = upgrade.target.upgrade.to_release, _table(site)
    return MigrationRun(
        applied=applied,
        skipped=skipped,
        category_a_held=tuple(item.id for item in _of(table, wanted, "A")),
        category_b_held=tuple(item.id for item in _of(table, wanted, "B")),
    )


def require_expanded(upgrade: Upgrade, run: MigrationRun) -> None:
    """Demand that the migration table holds category A of the new release, and what the platform says it applied.

    Raises:
        ClauseFailed: it holds none, or not all that was reported.
    """
    missing = sorted(set(run.applied) - set(run.category_a_held))
    expect(
        bool(run.category_a_held) and not missing,
        f"the migration table does not hold category A of {upgrade.target.upgrade.to_release}",
        seen=f"it holds {', '.join(run.category_a_held) or 'none'}; "
        f"reported as applied and not there: {', '.join(missing) or 'none'}",
        do="find out what the platform ran, and on which database",
        code="migrations-not-recorded",
    )


def require_between_releases(upgrade: Upgrade, migrations: Migrations) -> None:
    """Demand that category A of the new release is applied, at least one, and none of category B (2.2b).

    Raises:
        ClauseFailed: the table says otherwise, or the platform lists one that the table lacks.
    """
    release = upgrade.target.upgrade.to_release
    held, missing = migrations.applied(release, category="A"), migrations.pending(release, category="A")
    early = migrations.applied(release, category="B")
    expect(
        bool(held) and not missing and not early,
        "the schema is not in the state between the two releases",
        seen=f"category A applied: {', '.join(held) or 'none'}, missing: {', '.join(missing) or 'none'}; "
        f"category B applied: {', '.join(early) or 'none'}",
        do="run category A again; if B was applied, blue cannot go on safely: see R.2b",
        code="schema-not-expanded",
    )


def require_read_and_write(site: Site, upgrade: Upgrade, environment: Environment) -> None:
    """Prove that a colour reads evidence and writes a row, without the public host (2.2a, 2.3b).

    The written row is read back from the database itself.

    Raises:
        ClauseFailed: an answer is not the expected one.
    """
    cluster, run = site.cluster, f"probe-{upgrade.id}-{secrets.token_hex(4)}"
    namespace, service = environment.namespace, environment.service
    listing = cluster.proxy_get(namespace, service, 80, "/api/v1/evidence?limit=5")
    expect(
        listing.status == 200,
        f"{environment.name} does not read evidence on the present schema",
        seen=f"status {listing.status}",
        do="read the log of its pods; the schema may not be compatible (R.2b)",
        code="read-probe-failed",
    )
    written = cluster.proxy("POST", namespace, service, 80, "/api/v1/markers", body={"run": run, "number": 1})
    expect(
        written.status == 201 and site.database.markers(run) == [1],
        f"{environment.name} does not write on the present schema",
        seen=f"status {written.status}, rows in the database: {site.database.markers(run)}",
        do="read the log of its pods; the schema may not be compatible (R.2b)",
        code="write-probe-failed",
    )
