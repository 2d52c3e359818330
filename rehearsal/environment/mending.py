"""Takes back what some faults do to the site, so that the next scenario of a drill finds it well.

Runs inside the sandbox, in the process that struck. Invariant: mending what is well changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import rt_type

from rehearsal.environment import layout
from rehearsal.environment.api import ApiClient

if TYPE_CHECKING:
    from rehearsal.environment.strikes import Injector

_LOCAL_TABLE = 255
_GREEN = f"/api/v1/namespaces/{layout.GREEN_NAMESPACE}/services/stellaops-green"
_COMPONENT = "/spec/selector/app.kubernetes.io~1component"


def free_migration_lock(injector: Injector) -> None:
    """End the sessions that hold the migration lock (init-stuck)."""
    while injector.held:
        injector.held.pop().close()


def reconnect_green(injector: Injector) -> None:
    """Open green's path to the database again (database-down)."""
    rules = injector.place.data("postgres") / "pg_hba.conf"
    rejecting = f"host all all {layout.POSTGRES_GREEN}/32 reject\n"
    rules.write_text(rules.read_text(encoding="ascii").replace(rejecting, ""), encoding="ascii")
    with psycopg.connect(injector.known.dsn("postgres", admin=True), autocommit=True) as connection:
        connection.execute("select pg_reload_conf()")
    with IPRoute() as route:
        for found in route.route("dump", table=_LOCAL_TABLE, type=rt_type["unreachable"]):
            if found.get_attr("RTA_DST") == layout.POSTGRES_GREEN:
                route.route("del", dst=f"{layout.POSTGRES_GREEN}/32", table=_LOCAL_TABLE, type=rt_type["unreachable"])


def select_green(injector: Injector) -> None:
    """Let green's Service select its pods again (selector-wrong)."""
    with ApiClient(injector.place) as api:
        api.patch(_GREEN, [{"op": "replace", "path": _COMPONENT, "value": "web"}])
