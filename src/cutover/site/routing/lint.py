"""Rules about routes that hold however a site routes: pure functions over what was read.

Invariant: rules read, and only the facts handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cutover.runbook.ports import RouteFinding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cutover.model import Environment

_RECONCILERS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}


def annotations_of(manifest: Mapping[str, Any]) -> Mapping[str, str]:
    """Return an object's annotations."""
    return manifest["metadata"].get("annotations") or {}


def name_of(manifest: Mapping[str, Any]) -> tuple[str, str]:
    """Return an object's namespace and name."""
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def is_within(inner: tuple[str, str], outer: tuple[str, str]) -> bool:
    """Whether every request of one path is one of the other's; a path is its kind and value, `Exact` or a prefix."""
    (inner_kind, inside), (outer_kind, around) = inner, outer
    if outer_kind == "Exact":
        return inner_kind == "Exact" and inside == around
    return f"{inside.rstrip('/')}/".startswith(f"{around.rstrip('/')}/")


def green_can_serve(green: Environment, service: Mapping[str, Any] | None, endpoints: int) -> Iterator[RouteFinding]:
    """Green's Service exists and has ready endpoints: without, its share of the requests fails (F.3).

    endpoints: how many are ready behind it.
    """
    where = f"Service {green.service} in namespace {green.namespace}"
    if service is None:
        yield RouteFinding(
            code="service-absent",
            message=f"green cannot take the traffic: {where} does not exist",
            remedy="install green, or correct [colours] service of the target (F.3)",
        )
    elif endpoints == 0:
        yield RouteFinding(
            code="service-without-endpoints",
            message=f"green cannot take the traffic: {where} has no ready endpoints",
            remedy="verify the selector labels of the Service and the readiness of its pods (T.4)",
        )


def kept_by_reconciler(public_route: Mapping[str, Any]) -> Iterator[RouteFinding]:
    """Nobody keeps the public route as it is: a reconciler would revert the cutover."""
    marks = {**(public_route["metadata"].get("labels") or {}), **annotations_of(public_route)}
    for mark, tool in _RECONCILERS.items():
        if mark in marks:
            yield RouteFinding(
                code="reconciled",
                message=f"the public route is kept by {tool}, which would revert the cutover",
                remedy=f"pause {tool} for this object until the upgrade is over",
            )
            return
