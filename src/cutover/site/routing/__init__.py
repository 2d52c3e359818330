"""Moving traffic between the colours: one interface, and one implementation for each way in which a site routes.

`SiteRouting` is what the runbook's procedures speak to; `routing_of` picks the implementation that the target names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.runbook.ports import RouteFinding, Served
from cutover.site.routing.gateway import GatewayRouting
from cutover.site.routing.interface import SiteRouting
from cutover.site.routing.nginx import NginxRouting
from cutover.target import NginxRoutes

if TYPE_CHECKING:
    from cutover.model import Roles
    from cutover.runbook.journal import Journal
    from cutover.site.cluster import Cluster
    from cutover.site.public import PublicHost
    from cutover.target import GatewayRoutes

__all__ = ["GatewayRouting", "NginxRouting", "RouteFinding", "Served", "SiteRouting", "routing_of"]


def routing_of(
    settings: NginxRoutes | GatewayRoutes,
    *,
    cluster: Cluster,
    public: PublicHost,
    roles: Roles,
    journal: Journal | None = None,
) -> SiteRouting:
    """Return the implementation for what a target says of its routes."""
    if isinstance(settings, NginxRoutes):
        return NginxRouting(settings, cluster=cluster, public=public, roles=roles, journal=journal)
    return GatewayRouting(settings, cluster=cluster, public=public, roles=roles, journal=journal)
