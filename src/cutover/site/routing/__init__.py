"""Moving traffic between the colours: one interface, and one implementation for each way in which a site routes.

`SiteRouting` is what the runbook's procedures speak to; `routing_of` picks the implementation that the target names.
"""

from __future__ import annotations

from cutover.runbook.ports import RouteFinding, Served
from cutover.site.routing.interface import SiteRouting
from cutover.site.routing.nginx import NginxRouting

__all__ = ["NginxRouting", "RouteFinding", "Served", "SiteRouting"]
