"""Releases: what runs, what may be installed, green's installation and migrations (P.6, P.7, 1.1b, 2.1, 2.2, F.16)."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.errors import ClauseFailed
from cutover.procedures.diagnosed import diagnosed
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from cutover.model import Environment
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

VERSION_LABEL = "app.kubernetes.io/version"
INSTANCE_LABEL = "app.kubernetes.io/instance"
COMPONENT_LABEL = "app.kubernetes.io/component"


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
    table: frozenset[str]

    @property
    def reported_applied(self) -> frozenset[str]:
        """Ids that the platform reports as applied."""
        return frozenset(item.id for item in self.reported if item.is_applied)

    def pending(self, release: str, category: str | None = None) -> list[str]:
        """Ids of a release that the table does not hold."""
        return [item.id for item in self._of(release, category) if item.id not in self.table]

    def applied(self, release: str, category: str | None = None) -> list[str]:
        """Ids of a release that the table holds."""
        return [item.id for item in self._of(release, category) if item.id in self.table]

    def _of(self, release: str, category: str | None) -> list[Migration]:
        return [item for item in self.reported if item.release == release and category in {None, item.category}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """Green after its installation."""

    status: str
    tags: frozenset[str]
    digests: frozenset[str]
    unidentified: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationRun:
    """What running category A did."""

    applied: tuple[str, ...]
    skipped: tuple[str, ...]
    category_b_applied: tuple[str, ...]


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


def check_path(site: Site, release: str) -> PathAnswer:
    """Ask the platform's compatibility check; its refusal is an answer, not a failure (P.7)."""
    answer = site.stella.call("upgrade", "check", "--target", release, check=False)
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
        table=frozenset(row.id for row in site.database.migrations()),
    )


def install_green(site: Site, upgrade: Upgrade) -> Installed:
    """Install the new release as green and wait for it (2.1a).

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
    with upgrade.journal.action("install green", release=green.release, namespace=green.namespace, tag=tag) as done:
        with diagnosed(site, green):
            result = site.helm.upgrade(green, tag=tag)
        done(duration_s=round(result.duration_s, 3))
    return _installed(site, green)


def _installed(site: Site, green: Environment) -> Installed:
    status = site.helm.status(green.release, green.namespace)
    pods = site.cluster.pods(green.namespace, selector={INSTANCE_LABEL: green.release})
    digests = [image_id.rpartition("@")[2] for pod in pods for image_id in pod.image_ids]
    return Installed(
        status=status.status if status else "absent",
        tags=frozenset(image.rpartition(":")[2] for pod in pods for image in pod.images),
        digests=frozenset(digest for digest in digests if digest.startswith("sha256:")),
        unidentified=sum(not digest.startswith("sha256:") for digest in digests),
    )


def run_category_a(site: Site, upgrade: Upgrade, *, release: str | None = None) -> MigrationRun:
    """Run the migrations of category A, and read from the table what is applied afterwards (2.2a)."""
    extra = ("--release", release) if release else ()
    namespace = upgrade.roles.blue.namespace if release else upgrade.roles.green.namespace
    with upgrade.journal.action("run migrations", category="A") as done:
        answer = site.stella.call("system", "migrations-run", "--category", "A", *extra, namespace=namespace)
        done(applied=answer["applied"], skipped=answer["skipped"])
    return MigrationRun(
        applied=tuple(answer["applied"]),
        skipped=tuple(answer["skipped"]),
        category_b_applied=tuple(
            row.id
            for row in site.database.migrations()
            if row.category == "B" and row.release == upgrade.target.upgrade.to_release
        ),
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


def require_capacity(site: Site, upgrade: Upgrade) -> None:
    """Refuse a green that is smaller than blue, deployment by deployment (F.16).

    Raises:
        ClauseFailed: green has fewer ready replicas or smaller requests than blue.
    """
    blue, green = upgrade.roles.blue, upgrade.roles.green
    capacity = {
        environment.name: {
            deployment.labels.get(COMPONENT_LABEL, deployment.name): deployment
            for deployment in site.cluster.deployments(environment.namespace)
            if deployment.labels.get(INSTANCE_LABEL) == environment.release
        }
        for environment in (blue, green)
    }
    for component, ours in capacity[blue.name].items():
        theirs = capacity[green.name].get(component)
        ready = theirs.ready if theirs else 0
        expect(
            ready >= ours.desired,
            f"green's {component} is smaller than blue's",
            seen=f"{ready} ready replicas of green, {ours.desired} of blue",
            do="raise green's replicas in its values before more traffic moves (F.16)",
            code="green-too-small",
        )
    if upgrade.journal.last("deviation", id="F.16") is None:
        upgrade.deviation(
            "F.16",
            did="proved that green has at least blue's ready replicas before traffic moved",
            instead_of="moving traffic without looking at capacity",
            why="a smaller green is overrun at 50 percent",
        )
