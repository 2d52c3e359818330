"""The site inside the sandbox: every part, the objects that belong to no release, and blue, installed and serving."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rehearsal.environment import canaries, layout, parts, probes, routes
from rehearsal.environment.api import ApiClient
from rehearsal.environment.commands import run_logged
from rehearsal.environment.errors import PartFailed
from rehearsal.environment.polling import holds_within

if TYPE_CHECKING:
    from rehearsal.environment.layout import Place

Extent = Literal["whole", "bare", "data"]
"""How much of the site is started: `bare` is without the node and blue, `data` is database and store alone."""
_PUBLIC_BOUND_S = 90.0
_OK = 200


def contents(scene: parts.Scene, extent: Extent) -> tuple[list[parts.Part], list[parts.Job]]:
    """Return what the sandbox runs: the parts of the site, and the jobs that put blue on it."""
    if extent == "data":
        return [parts.postgres(scene), parts.store(scene)], []
    started = [
        *parts.control_plane(scene),
        parts.postgres(scene),
        *parts.caches(scene),
        parts.store(scene),
        parts.prometheus(scene),
        parts.ingress(scene),
        parts.service_addresses(scene),
    ]
    jobs = [parts.Job(name="namespace", work=lambda: _namespace(scene), after=("apiserver",))]
    if extent == "whole":
        started += [parts.node_agent(scene), parts.visitors(), parts.timestamps(scene)]
        stores = ("postgres", "valkey-blue", "store")
        jobs += [
            parts.Job(name="blue", work=lambda: _install_blue(scene), after=("namespace", *stores)),
            parts.Job(
                name="serving", work=lambda: _wait_for_blue(scene.place), after=("blue", "ingress", "services", "node")
            ),
        ]
    return started, jobs


def _namespace(scene: parts.Scene) -> None:
    """Make what belongs to no release: the namespace, a Secret of the operator's, and the public route."""
    with ApiClient(scene.place) as api:
        api.create("/api/v1/namespaces", {"metadata": {"name": layout.BLUE_NAMESPACE}})
        secret = canaries.Canaries.read(scene.place.root).manifest
        api.create(f"/api/v1/namespaces/{layout.BLUE_NAMESPACE}/secrets", secret)
        if scene.routing == "gateway":
            routes.define(api, Path(scene.tools["gateway-api-crds"]))
        routes.create(api, scene.routing)


def _install_blue(scene: parts.Scene) -> None:
    place = scene.place
    run_logged(
        place,
        "blue",
        (
            scene.tools["helm"],
            "upgrade",
            "--install",
            "stellaops-blue",
            str(layout.CHART),
            "--namespace",
            layout.BLUE_NAMESPACE,
            "--values",
            str(place.root / "values-blue.yaml"),
            "--set",
            f"image.tag={layout.RELEASE_FROM}",
        ),
        {**parts.operator_environment(place), "KUBECONFIG": str(place.kubeconfig)},
    )


def _wait_for_blue(place: Place) -> None:
    """Wait until every pod of blue is available and the public host answers."""
    url = f"http://{layout.PUBLIC_HOST}/readyz"
    with ApiClient(place) as api:
        if not holds_within(_PUBLIC_BOUND_S, lambda: _available(api) and probes.http_status(url) == _OK):
            raise PartFailed(
                f"blue does not serve: {url} answers {probes.http_status(url) or 'not'}; {_pods(api) or 'no pods'}"
            )


def _available(api: ApiClient) -> bool:
    items = api.get(f"/apis/apps/v1/namespaces/{layout.BLUE_NAMESPACE}/deployments")["items"]
    return all(item.get("status", {}).get("availableReplicas", 0) >= item["spec"]["replicas"] for item in items)


def _pods(api: ApiClient) -> str:
    """Return one phrase a pod of blue: its name, phase, and why its containers wait."""
    said = []
    for pod in api.get(f"/api/v1/namespaces/{layout.BLUE_NAMESPACE}/pods")["items"]:
        status = pod.get("status", {})
        containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
        waits = [each["state"]["waiting"] for each in containers if "waiting" in each.get("state", {})]
        why = ", ".join(f"{wait.get('reason', '')} {wait.get('message', '')}".strip() for wait in waits)
        said.append(f"{pod['metadata']['name']}: {status.get('phase', 'unknown')} {why}".strip())
    return "; ".join(said)
