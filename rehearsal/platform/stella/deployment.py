"""Finds the deployment of a namespace and what it is configured with.

Invariants: configuration is read from the very ConfigMap and Secret that the pods read; secrets are in `Settings` only,
which keeps them out of its text.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rehearsal.platform.core import settings as core_settings
from rehearsal.platform.stella.errors import NotFoundError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal.platform.core.settings import Settings
    from rehearsal.platform.stella.cluster import Cluster

SELECTOR = "app.kubernetes.io/name=stellaops"
INSTANCE = "app.kubernetes.io/instance"
VERSION = "app.kubernetes.io/version"
COMPONENT = "app.kubernetes.io/component"
COLOUR = "stellaops.io/colour"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One installation of the platform: a Helm release in a namespace."""

    namespace: str
    release_name: str
    settings: Settings

    @property
    def service(self) -> str:
        """The Service of its web pods."""
        return self.release_name

    @property
    def web(self) -> str:
        """The Deployment of its web pods."""
        return f"{self.release_name}-web"


def find(cluster: Cluster, namespace: str) -> Deployment:
    """Return the deployment of a namespace.

    Raises: NotFoundError when there is none, RefusedError when its configuration is not complete.
    """
    found = cluster.find("configmaps", namespace, selector=SELECTOR)
    names = [str(item["metadata"]["name"]) for item in found]
    configuration = next((item for item in found if item["metadata"]["name"].endswith("-config")), None)
    if configuration is None:
        seen = f" (it has {', '.join(names)})" if names else ""
        raise NotFoundError(
            f"no Stella Ops deployment in namespace {namespace}{seen}",
            code="deployment-missing",
            remedy="name the namespace of a deployment with --namespace",
        )
    release_name = str(configuration["metadata"]["name"]).removesuffix("-config")
    secret = cluster.get("secrets", namespace, f"{release_name}-secrets")
    labels = configuration["metadata"].get("labels") or {}
    environment = {
        "STELLA_RELEASE": labels.get(VERSION, ""),
        "STELLA_COLOUR": labels.get(COLOUR, ""),
        **(configuration.get("data") or {}),
        **{key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()},
    }
    try:
        settings = core_settings.from_environment(environment)
    except core_settings.SettingsError as cause:
        raise RefusedError(
            f"the configuration of {release_name} in {namespace} is not complete: {cause}",
            code="configuration-incomplete",
            remedy="correct the release's values and upgrade it",
        ) from cause
    return Deployment(namespace=namespace, release_name=release_name, settings=settings)


def releases_deployed(cluster: Cluster) -> tuple[str, ...]:
    """Return the release of every web or worker Deployment in the cluster, once each."""
    return _versions(cluster.find("deployments", None, selector=SELECTOR))


def releases_running(cluster: Cluster) -> tuple[str, ...]:
    """Return the release of every pod of the platform that has not ended, once each."""
    pods = cluster.find("pods", None, selector=SELECTOR)
    return _versions([pod for pod in pods if pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}])


def _versions(objects: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    named = (item["metadata"].get("labels", {}).get(VERSION) for item in objects)
    return tuple(sorted({str(version) for version in named if version}))
