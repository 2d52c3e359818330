"""The two ways in which the site may be routed, and all that differs between them.

`nginx`: Ingress objects, of class nginx. `gateway`: an HTTPRoute of the Gateway API, whose definitions are part of the
tools. Traefik is the controller of either.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from rehearsal.environment import layout
from rehearsal.environment.errors import PartFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rehearsal.environment.api import ApiClient, Object

Kind = Literal["nginx", "gateway"]
KINDS: tuple[Kind, ...] = ("nginx", "gateway")
DEFAULT: Kind = "nginx"

ROUTE = "stellaops-main"
_GATEWAY = "stellaops"
_BACKEND = "stellaops-blue"
_GATEWAY_API = "/apis/gateway.networking.k8s.io/v1"
_DEFINED_BOUND_S = 30.0


def programs(kind: Kind) -> tuple[str, ...]:
    """Return what it needs of the tools besides the programs of every site."""
    return ("gateway-api-crds",) if kind == "gateway" else ()


def controller_options(kind: Kind) -> tuple[str, ...]:
    """Return what makes Traefik the controller."""
    return (
        ("--providers.kubernetesgateway=true",) if kind == "gateway" else ("--providers.kubernetesingressnginx=true",)
    )


def target_table(kind: Kind) -> Mapping[str, Any]:
    """Return `[routing]` of the target file."""
    public = {
        "kind": kind,
        "url": f"http://{layout.PUBLIC_HOST}",
        "host": layout.PUBLIC_HOST,
        "namespace": layout.BLUE_NAMESPACE,
        "colour_header": "X-Stella-Colour",
        "pod_header": "X-Stella-Pod",
    }
    if kind == "gateway":
        return {**public, "gateway": _GATEWAY, "route": ROUTE}
    return {
        **public,
        "primary": ROUTE,
        "canary": "stellaops-canary",
        "bridge": "stellaops-green",
        "ingress_class": "nginx",
    }


def create(api: ApiClient, kind: Kind) -> None:
    """Make the public route, which names blue, and what it belongs to; what is there already is left as it is."""
    if kind == "nginx":
        api.create("/apis/networking.k8s.io/v1/ingressclasses", _ingress_class())
        api.create(f"/apis/networking.k8s.io/v1/namespaces/{layout.BLUE_NAMESPACE}/ingresses", _ingress())
        return
    api.create(f"{_GATEWAY_API}/gatewayclasses", _gateway_class())
    inside = f"{_GATEWAY_API}/namespaces/{layout.BLUE_NAMESPACE}"
    api.create(f"{inside}/gateways", _gateway())
    api.create(f"{inside}/httproutes", _http_route())


def define(api: ApiClient, definitions: Path) -> None:
    """Install the Gateway API from the folder of its definitions, and wait until it is served."""
    for file in sorted(definitions.glob("*_*.yaml")):
        text = file.read_text(encoding="utf-8")
        if "kind: CustomResourceDefinition" in text:
            api.create_text("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", text)
    for collection in ("gatewayclasses", "gateways", "httproutes"):
        _wait_until_served(api, f"{_GATEWAY_API}/{collection}")


def _wait_until_served(api: ApiClient, path: str) -> None:
    import httpx  # noqa: PLC0415 - help, which passes here, does without

    deadline = time.monotonic() + _DEFINED_BOUND_S
    while True:
        try:
            api.get(path)
        except httpx.HTTPStatusError as error:
            if time.monotonic() > deadline:
                raise PartFailed(f"{path} is not served within {_DEFINED_BOUND_S:.0f} s", seen=str(error)) from error
        else:
            return
        time.sleep(0.05)


def _ingress_class() -> Object:
    return {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}


def _ingress() -> Object:
    backend = {"service": {"name": _BACKEND, "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {
        "metadata": {"name": ROUTE},
        "spec": {
            "ingressClassName": "nginx",
            "rules": [{"host": layout.PUBLIC_HOST, "http": {"paths": [path]}}],
        },
    }


def _gateway_class() -> Object:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": "traefik"},
        "spec": {"controllerName": "traefik.io/gateway-controller"},
    }


def _gateway() -> Object:
    listener = {
        "name": "web",
        "protocol": "HTTP",
        "port": 80,
        "hostname": layout.PUBLIC_HOST,
        "allowedRoutes": {"namespaces": {"from": "Same"}},
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": _GATEWAY},
        "spec": {"gatewayClassName": "traefik", "listeners": [listener]},
    }


def _http_route() -> Object:
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "backendRefs": [{"name": _BACKEND, "port": 80}],
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": ROUTE},
        "spec": {"parentRefs": [{"name": _GATEWAY}], "hostnames": [layout.PUBLIC_HOST], "rules": [rule]},
    }
