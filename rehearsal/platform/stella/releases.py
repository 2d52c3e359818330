"""Says which release runs and which may follow: `version`, `upgrade check`."""

from __future__ import annotations

from rehearsal.platform.stella import compatibility, deployment
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
    """Return what the compatibility matrix says of an upgrade from the release that answers."""
    cluster = Cluster.from_kubeconfig()
    verdict = compatibility.check(_server(cluster, deployment.find(cluster, namespace)), target)
    return Answer(
        ok=verdict.allowed,
        facts={"from": verdict.origin, "target": target, "path": list(verdict.path), "reason": verdict.reason},
        summary=f"{' → '.join(verdict.path) or f'{verdict.origin} → {target}'}: {verdict.reason}",
    )


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
