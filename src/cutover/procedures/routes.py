"""The routes of a site on their own, outside a run: which colour they name, what is wrong with them, what can be made.

Invariants: looking changes nothing; what is made is ours and leads no request anywhere; nothing is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.errors import ClauseFailed

if TYPE_CHECKING:
    from cutover.model import Roles
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
