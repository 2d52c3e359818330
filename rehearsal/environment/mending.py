"""Takes back what some faults do to the site, so that the next scenario of a drill finds it well.

Runs inside the sandbox, in the process that struck; `python -m rehearsal.environment.mending --state FOLDER` brings a
killed PostgreSQL back, so that what it held can be looked at. Invariant: mending what is well changes nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import rt_type

from rehearsal.environment import layout, parts
from rehearsal.environment.api import ApiClient
from rehearsal.environment.polling import holds_within

if TYPE_CHECKING:
    from rehearsal.environment.strikes import Injector

_LOCAL_TABLE = 255
_READY_BOUND_S = 30.0
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


def start_database(place: layout.Place) -> bool:
    """Start PostgreSQL as the supervisor does, unless it answers; return whether it answers then (database-lost)."""
    part = parts.postgres(parts.Scene.planned(place))
    answers = part.ready or (lambda: True)
    if answers():
        return True
    with place.logs(part.name).open("ab") as log:
        subprocess.Popen(
            part.argv, cwd=place.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    return holds_within(_READY_BOUND_S, answers)


def main() -> None:
    """Bring a killed PostgreSQL back."""
    parser = argparse.ArgumentParser(prog="rehearsal.environment.mending")
    parser.add_argument("--state", type=Path, required=True)
    sys.exit(0 if start_database(layout.Place.at(parser.parse_args().state)) else 1)


if __name__ == "__main__":
    main()
