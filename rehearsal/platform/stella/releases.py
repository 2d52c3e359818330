"""Says which release runs and which may follow: `version`, `upgrade check`."""

from __future__ import annotations

import dataclasses

from rehearsal.platform.core import migrations
from rehearsal.platform.stella import compatibility, database, deployment, schema
from rehearsal.platform.stella.answers import Answer, Table
from rehearsal.platform.stella.cluster import Cluster
from rehearsal.platform.stella.errors import NotFoundError, UnreachableError


def version(namespace: str) -> Answer:
    """Return the release of this client, the one the server answers with, and the image of its web Deployment.

    Raises: UnreachableError when no web pod answers.
    """
    cluster = Cluster.from_kubeconfig()
    found = deployment.find(cluster, namespace)
    image = _image(cluster, found)
    server = _server(cluster, found)
    return Answer(
        ok=True,
        facts={"client": compatibility.CLIENT, "server": server, "image": image, "namespace": namespace},
        summary=f"{found.release_name} in {namespace} runs {server}",
        tables=(
            Table(
                title="Version",
                columns=("part", "runs"),
                rows=(("client", compatibility.CLIENT), ("server", server), ("image", image)),
            ),
        ),
    )


def upgrade_check(namespace: str, target: str) -> Answer:
    """Return what the matrix says of an upgrade from what runs, and whether the schema is ready for it."""
    cluster = Cluster.from_kubeconfig()
    found = deployment.find(cluster, namespace)
    verdict = compatibility.check(_server(cluster, found), target)
    if verdict.allowed and (left := _not_contracted(found, target)):
        reason = f"{target} does not work on a schema that is not contracted: category B pending: {', '.join(left)}"
        verdict = dataclasses.replace(verdict, allowed=False, reason=reason)
    return Answer(
        ok=verdict.allowed,
        facts={"from": verdict.origin, "target": target, "path": list(verdict.path), "reason": verdict.reason},
        summary=f"{' → '.join(verdict.path) or f'{verdict.origin} → {target}'}: {verdict.reason}",
    )


def _not_contracted(found: deployment.Deployment, target: str) -> list[str]:
    """Return the migrations of category B of the releases before `target` that its own must not come before."""
    if target not in migrations.RELEASES:
        return []
    with database.connect(found.settings.database_url) as connection:
        try:
            return migrations.not_contracted(migrations.status(connection, target), target)
        except migrations.MigrationError as cause:
            raise schema.refused(cause) from cause


def _image(cluster: Cluster, found: deployment.Deployment) -> str:
    web = cluster.get("deployments", found.namespace, found.web)
    containers = web["spec"]["template"]["spec"]["containers"]
    image = next((container["image"] for container in containers if container["name"] == "web"), None)
    if image is None:
        raise NotFoundError(
            f"Deployment {found.web} has no container named web", code="not-found", remedy="check the release's chart"
        )
    return str(image)


def _server(cluster: Cluster, found: deployment.Deployment) -> str:
    answer = cluster.call_service(found.namespace, found.service, "/version")
    try:
        if answer.status == 200:
            return str(answer.json()["version"])
    except (ValueError, KeyError, TypeError):
        pass
    raise UnreachableError(
        f"Service {found.service} in {found.namespace} does not say its version (status {answer.status})",
        code="platform-unreachable",
        remedy="run `stella doctor` to see which pods are not ready",
    )
