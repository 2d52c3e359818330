"""The routes of a site: which colour they name, what leads to a colour at all, what is wrong, what can be made.

Invariants: looking changes nothing; what is made is ours and leads no request anywhere; nothing is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.errors import ClauseFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cutover.model import Environment, Roles
    from cutover.runbook.ports import RouteFinding
    from cutover.site import Site

SCHEMA = "cutover/lint-routing/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteReport:
    """What a look at the routes found."""

    site: str
    public_route: str
    """Kind, name and namespace."""
    roles: Roles
    findings: tuple[RouteFinding, ...]
    to_make: str
    """What would make green's way to the public host; empty when nothing is missing."""
    made: bool
    """Whether it was made."""

    def as_json(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return {
            "schema": SCHEMA,
            "site": self.site,
            "public_route": self.public_route,
            "blue": self.roles.blue.name,
            "green": self.roles.green.name,
            "sound": not self.findings,
            "to_make": self.to_make,
            "made": self.made,
            "findings": [
                {"code": finding.code, "message": finding.message, "remedy": finding.remedy}
                for finding in self.findings
            ],
        }


def look(site: Site, *, fix: bool = False) -> RouteReport:
    """Lint the routes for moving traffic to the colour that they do not name now.

    fix: first make what is missing on green's way and can be made without touching anything that is not ours.
    Raises:
        CouldNotMeasure: the cluster does not answer.
    """
    roles = roles_by_route(site)
    site.assign_roles(roles)
    to_make = site.routing.to_prepare()
    made = fix and bool(to_make)
    if made:
        site.routing.prepare()
    routing = site.target.routing
    return RouteReport(
        site=site.target.name,
        public_route=f"{routing.public_route} in namespace {routing.namespace}",
        roles=roles,
        findings=site.routing.lint(),
        to_make=to_make,
        made=made,
    )


def roles_by_route(site: Site) -> Roles:
    """Return as blue the colour that the public route names; by the colours' names where it names neither alone."""
    target = site.target
    try:
        named = site.routing.primary_backend()
    except ClauseFailed:
        return target.default_roles()
    for name, colour in target.colours.items():
        if named == site.routing.service_beside_route(colour):
            return target.roles_when_serving(name)
    return target.default_roles()


def routes_to(site: Site, environment: Environment) -> tuple[str, ...]:
    """Name every route of the allowed namespaces that leads to a colour, of whichever kind and weight, sorted (5.2).

    A route leads there by the colour's own Service, by another over the same pods, or by a Service of another namespace
    that stands for it.
    Raises:
        CouldNotMeasure: the cluster does not answer.
    """
    own = (environment.namespace, environment.service)
    services = {
        (service["metadata"]["namespace"], service["metadata"]["name"]): service["spec"]
        for service in site.cluster.of_every_namespace("Service")
    }
    pods = services.get(own, {}).get("selector") or {}
    names = {own} | {
        (namespace, name)
        for (namespace, name), spec in services.items()
        if str(spec.get("externalName", "")).startswith(f"{environment.service}.{environment.namespace}.svc")
        or (namespace == environment.namespace and _share(spec.get("selector") or {}, pods))
    }
    return tuple(
        sorted(
            f"{kind} {route['metadata']['name']} in namespace {route['metadata']['namespace']}"
            for kind, backends in (("Ingress", _of_ingress), ("HTTPRoute", _of_http_route))
            for route in site.cluster.of_every_namespace(kind)
            if names & set(backends(route))
        )
    )


def _share(selector: Mapping[str, str], pods: Mapping[str, str]) -> bool:
    """Whether one of two selectors selects all that the other does; one that names no label selects nothing."""
    return bool(selector and pods) and (selector.items() >= pods.items() or selector.items() <= pods.items())


def _of_ingress(ingress: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield namespace and name of every Service that an Ingress names."""
    spec = ingress["spec"]
    paths = [path for rule in spec.get("rules") or [] for path in (rule.get("http") or {}).get("paths") or []]
    for backend in (*(path.get("backend") for path in paths), spec.get("defaultBackend")):
        if (backend or {}).get("service"):
            yield ingress["metadata"]["namespace"], backend["service"]["name"]


def _of_http_route(route: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield namespace and name of every backend that an HTTPRoute names, and of those that it mirrors to."""
    for rule in route["spec"].get("rules") or []:
        backends = list(rule.get("backendRefs") or [])
        for holder in (rule, *backends):
            mirrors = [entry.get("requestMirror") or {} for entry in holder.get("filters") or []]
            backends += [mirror["backendRef"] for mirror in mirrors if "backendRef" in mirror]
        for backend in backends:
            yield backend.get("namespace") or route["metadata"]["namespace"], backend["name"]
