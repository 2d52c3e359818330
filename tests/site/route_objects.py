"""Routes of either kind for the tests: two colours, the target's names, the objects as a sound site has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cutover.model import Environment, Roles
from cutover.target import GatewayRoutes, NginxRoutes

if TYPE_CHECKING:
    from memory_cluster import MemoryCluster

BLUE = Environment(
    name="blue", namespace="prod", release="stellaops-blue", service="stellaops-blue", values=(), cache_url=""
)
GREEN = Environment(
    name="green", namespace="green", release="stellaops-green", service="stellaops-green", values=(), cache_url=""
)
ROLES = Roles(blue=BLUE, green=GREEN)
NGINX = NginxRoutes(
    kind="nginx",
    url="http://public.example",
    host="public.example",
    namespace="prod",
    primary="main",
    canary="canary",
    bridge="to-green",
    ingress_class="nginx",
    colour_header="X-Stella-Colour",
    pod_header="X-Stella-Pod",
)
GATEWAY = GatewayRoutes(
    kind="gateway",
    url="http://public.example",
    host="public.example",
    namespace="prod",
    gateway="public",
    gateway_namespace="prod",
    route="main",
    colour_header="X-Stella-Colour",
    pod_header="X-Stella-Pod",
)
WEIGHT = "nginx.ingress.kubernetes.io/canary-weight"
CANARY = "nginx.ingress.kubernetes.io/canary"
API = "gateway.networking.k8s.io"


def services(cluster: MemoryCluster) -> None:
    """Put both colours' Services with two ready endpoints each."""
    cluster.put(service("stellaops-blue", "prod"))
    cluster.put(service("stellaops-green", "green"))
    cluster.endpoints = {("prod", "stellaops-blue"): 2, ("green", "stellaops-green"): 2}


def service(name: str, namespace: str, **spec: Any) -> Any:  # noqa: ANN401
    """Return a Service."""
    return {"kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


# -- nginx -------------------------------------------------------------------------------------------------------------


def ingress(name: str = "main", *, namespace: str = "prod", backend: str = "stellaops-blue", **changes: Any) -> Any:  # noqa: ANN401
    """Return an Ingress; changes: annotations, labels, cls, host, path, path_type, created."""
    path = {
        "path": changes.get("path", "/"),
        "pathType": changes.get("path_type", "Prefix"),
        "backend": {"service": {"name": backend, "port": {"number": 80}}},
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": changes.get("annotations", {}),
            "labels": changes.get("labels", {}),
            "creationTimestamp": changes.get("created", "2026-01-01T00:00:00Z"),
        },
        "spec": {
            "ingressClassName": changes.get("cls", "nginx"),
            "rules": [{"host": changes.get("host", "public.example"), "http": {"paths": [path]}}],
        },
    }


def canary(**changes: Any) -> Any:  # noqa: ANN401
    """Return the canary of the target with changes; marks: annotations besides the usual two."""
    marks = {CANARY: "true", WEIGHT: "10", **changes.pop("marks", {})}
    return ingress("canary", **{"backend": "to-green", "annotations": marks, **changes})


# -- Gateway API -------------------------------------------------------------------------------------------------------


def condition(kind: str, *, status: str = "True", generation: int = 1) -> dict[str, Any]:
    """Return a condition as a controller writes it."""
    return {"type": kind, "status": status, "reason": kind, "message": "said so", "observedGeneration": generation}


def gateway(*, conditions: list[Any] | None = None, generation: int = 1, **listener: Any) -> Any:  # noqa: ANN401
    """Return the Gateway with one listener."""
    usual = {"name": "web", "protocol": "HTTP", "port": 80, "allowedRoutes": {"namespaces": {"from": "Same"}}}
    said = [condition("Accepted"), condition("Programmed")] if conditions is None else conditions
    return {
        "kind": "Gateway",
        "metadata": {"name": "public", "namespace": "prod", "generation": generation},
        "spec": {"listeners": [{**usual, **listener}]},
        "status": {"conditions": said},
    }


def backend(name: str = "stellaops-blue", **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a backendRef as the API server stores it."""
    return {"group": "", "kind": "Service", "name": name, "port": 80, "weight": 1, **changes}


def http_route(name: str = "main", *, namespace: str = "prod", **changes: Any) -> Any:  # noqa: ANN401
    """Return an HTTPRoute; changes: rules, rule, match, backends, hosts, parents, labels, created, conditions."""
    match = {"path": {"type": "PathPrefix", "value": "/"}, **changes.get("match", {})}
    rule = {
        "matches": [match],
        "backendRefs": changes.get("backends", [backend()]),
        **changes.get("rule", {}),
    }
    parents = changes.get("parents", [{"group": API, "kind": "Gateway", "name": "public"}])
    said = changes.get("conditions", [condition("Accepted"), condition("ResolvedRefs")])
    return {
        "apiVersion": f"{API}/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"{name}-1",
            "generation": changes.get("generation", 1),
            "labels": changes.get("labels", {}),
            "creationTimestamp": changes.get("created", "2026-01-01T00:00:00Z"),
        },
        "spec": {
            "parentRefs": parents,
            "hostnames": changes.get("hosts", ["public.example"]),
            "rules": changes.get("rules", [rule]),
        },
        "status": {
            "parents": [{"parentRef": {"name": "public"}, "controllerName": "a.test/gateway", "conditions": said}]
        },
    }


def grant(name: str = "theirs", *, labels: dict[str, str] | None = None, **changes: Any) -> Any:  # noqa: ANN401
    """Return a ReferenceGrant beside green's Service; changes: to, kind, namespace."""
    comes = {"group": API, "kind": changes.get("kind", "HTTPRoute"), "namespace": changes.get("namespace", "prod")}
    goes: dict[str, Any] = {"group": "", "kind": "Service"}
    if "to" in changes:
        goes["name"] = changes["to"]
    return {
        "kind": "ReferenceGrant",
        "metadata": {"name": name, "namespace": "green", "labels": labels or {}},
        "spec": {"from": [comes], "to": [goes]},
    }
