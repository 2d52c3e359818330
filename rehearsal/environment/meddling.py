"""What somebody else does to the routes of the site while a run moves its traffic, for either way of routing.

Invariants: each deed is what a colleague or a controller could do with kubectl; none of it asks what the run does.
"""

from __future__ import annotations

import contextlib
import tomllib
from typing import TYPE_CHECKING, Any

import httpx

from rehearsal.environment import layout
from rehearsal.environment.api import ApiClient
from rehearsal.environment.polling import holds_within

if TYPE_CHECKING:
    from collections.abc import Mapping

_INGRESSES = f"/apis/networking.k8s.io/v1/namespaces/{layout.BLUE_NAMESPACE}/ingresses"
_HTTP_ROUTES = f"/apis/gateway.networking.k8s.io/v1/namespaces/{layout.BLUE_NAMESPACE}/httproutes"
_SERVICES = f"/api/v1/namespaces/{layout.BLUE_NAMESPACE}/services"
_ENDPOINTS = f"/api/v1/namespaces/{layout.BLUE_NAMESPACE}/endpoints"
_ENDPOINTS_BOUND_S = 5.0
_ANNOTATION = "nginx.ingress.kubernetes.io/"
_BLUE = "stellaops-blue"
_PORT = 80
_SHADOWED = "/api/v1/catalogue"
"""What most of the load's reads ask for."""
_SHADOW = "reporting"
_EDITED_PERCENT = 60


def edit_route(place: layout.Place) -> None:
    """Change the weight; where nothing is weighted any more, point the public route back at blue."""
    routing = _routing(place)
    with ApiClient(place) as api:
        if routing["kind"] == "gateway":
            backends: list[dict[str, Any]] = [
                {"name": _BLUE, "port": _PORT, "weight": 100 - _EDITED_PERCENT},
                *_but_blue(api.get(f"{_HTTP_ROUTES}/{routing['route']}"), weight=_EDITED_PERCENT),
            ]
            operation = {"op": "replace", "path": "/spec/rules/0/backendRefs", "value": backends}
            api.patch(f"{_HTTP_ROUTES}/{routing['route']}", [operation])
            return
        there = {found["metadata"]["name"] for found in api.get(_INGRESSES)["items"]}
        if routing["canary"] in there:
            _annotate(api, routing["canary"], {"canary-weight": str(_EDITED_PERCENT)})
            return
        where = "/spec/rules/0/http/paths/0/backend"
        api.patch(f"{_INGRESSES}/{routing['primary']}", [{"op": "replace", "path": where, "value": _ingress_backend()}])


def _but_blue(route: Mapping[str, Any], *, weight: int) -> list[dict[str, Any]]:
    backends = route["spec"]["rules"][0]["backendRefs"]
    return [{**backend, "weight": weight} for backend in backends if backend["name"] != _BLUE]


def shadow_route(place: layout.Place) -> None:
    """Make a route of somebody else for the same host, with a more specific path, that leads to blue.

    By a Service of their own over blue's pods: a canary counts for every route that names the Service beside it.
    """
    routing = _routing(place)
    with ApiClient(place) as api:
        blue = api.get(f"{_SERVICES}/{_BLUE}")["spec"]
        shadow = {
            "selector": blue["selector"],
            "ports": [{"port": _PORT, "targetPort": blue["ports"][0]["targetPort"]}],
        }
        api.create(_SERVICES, {"metadata": {"name": _SHADOW}, "spec": shadow})
        _await_endpoints(api)
        if routing["kind"] == "gateway":
            rule: dict[str, Any] = {
                "matches": [{"path": {"type": "PathPrefix", "value": _SHADOWED}}],
                "backendRefs": [{"name": _SHADOW, "port": _PORT}],
            }
            manifest: dict[str, Any] = {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "HTTPRoute",
                "metadata": {"name": _SHADOW},
                "spec": {
                    "parentRefs": [{"name": routing["gateway"]}],
                    "hostnames": [layout.PUBLIC_HOST],
                    "rules": [rule],
                },
            }
            api.create(_HTTP_ROUTES, manifest)
            return
        path = {"path": _SHADOWED, "pathType": "Prefix", "backend": _ingress_backend(_SHADOW)}
        rules = [{"host": layout.PUBLIC_HOST, "http": {"paths": [path]}}]
        manifest = {"metadata": {"name": _SHADOW}, "spec": {"ingressClassName": "nginx", "rules": rules}}
        api.create(_INGRESSES, manifest)


def _await_endpoints(api: ApiClient) -> None:
    """Wait as a careful colleague would: a route to a Service without endpoints fails requests by itself."""

    def has_some() -> bool:
        with contextlib.suppress(httpx.HTTPStatusError):
            return any(part.get("addresses") for part in api.get(f"{_ENDPOINTS}/{_SHADOW}").get("subsets") or ())
        return False

    holds_within(_ENDPOINTS_BOUND_S, has_some)


def stick_sessions(place: layout.Place) -> None:
    """Let a client stay at the colour that it met first: by a cookie, or by a header that is matched before weights."""
    routing = _routing(place)
    with ApiClient(place) as api:
        if routing["kind"] == "gateway":
            match: dict[str, Any] = {
                "path": {"type": "PathPrefix", "value": "/"},
                "headers": [{"name": "x-session", "value": "kept"}],
            }
            rule: dict[str, Any] = {"matches": [match], "backendRefs": [{"name": _BLUE, "port": _PORT}]}
            operation = {"op": "add", "path": "/spec/rules/0", "value": rule}
            api.patch(f"{_HTTP_ROUTES}/{routing['route']}", [operation])
            return
        _annotate(api, routing["primary"], {"affinity": "cookie", "affinity-mode": "persistent"})


def _routing(place: layout.Place) -> Mapping[str, Any]:
    document = tomllib.loads(place.target.read_text(encoding="utf-8"))
    return dict(document["routing"])


def _annotate(api: ApiClient, ingress: str, annotations: Mapping[str, str]) -> None:
    """Add annotations of the Ingress controller to an Ingress; what was there stays."""
    path = f"{_INGRESSES}/{ingress}"
    kept = api.get(path)["metadata"].get("annotations") or {}
    wanted = kept | {_ANNOTATION + name: value for name, value in annotations.items()}
    api.patch(path, [{"op": "add", "path": "/metadata/annotations", "value": wanted}])


def _ingress_backend(service: str = _BLUE) -> dict[str, Any]:
    return {"service": {"name": service, "port": {"number": _PORT}}}
