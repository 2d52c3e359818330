"""Bringing an environment up.

Invariants: `up` of one that is up changes nothing; whatever ends `up` early ends the sandbox too and leaves only
the logs of the failure.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rehearsal.environment import parts, routes, sandbox, site, sitedata, target
from rehearsal.environment.commands import tail
from rehearsal.environment.errors import EnvironmentFault, PartFailed
from rehearsal.environment.lifecycle import held, plan_of, status_of
from rehearsal.tools import ensure

if TYPE_CHECKING:
    from collections.abc import Callable

    from rehearsal.environment import layout
    from rehearsal.environment.installation import Extent

UP_BOUND_S = 150.0
_LOOK_S = 0.05
_PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "prometheus",
    "kubectl",
    "helm",
    "nginx",
    "traefik",
    "valkey-server",
    "weed",
    "postgres",
    "initdb",
    "pg_isready",
    "pg_dump",
    "pg_restore",
    "psql",
)


def find_tools(routing: routes.Kind = routes.DEFAULT) -> parts.Tools:
    """Every program of the site, made first if it is missing.

    Raises: rehearsal.tools.ToolsError, which says what to do.
    """
    wanted = (*_PROGRAMS, *routes.programs(routing))
    made = ensure(wanted)
    return parts.Tools(programs={program: str(made.path(program)) for program in wanted})


def up(
    place: layout.Place,
    say: Callable[[str], None],
    *,
    extent: Extent = "whole",
    tied: bool = False,
    history: sitedata.History | None = None,
    shape: target.Shape | None = None,
) -> float:
    """Bring the environment up and return after how many seconds it was; 0.0 when it was up already.

    `tied`: it ends with this process. `history`: what it has from the start, and `shape`: how it is routed and what
    its policy says; None is the usual one, and with an environment that is up already whichever it has.
    Raises: EnvironmentFault, with exit 2 when it is up with another history or shape; ToolsError.
    """
    with held(place):
        if status_of(place)["state"] == "up":
            _demand_history(place, history)
            _demand_shape(place, shape)
            return 0.0
        shape = shape or target.USUAL
        tools = find_tools(shape.routing)
        flags = sandbox.namespace_flags()
        data = sitedata.ensure(tools, flags, say, history)
        began = time.monotonic()
        sandbox.end(place)
        shutil.rmtree(place.root, ignore_errors=True)
        place.root.mkdir(parents=True, mode=0o700)
        try:
            site.prepare(place, tools, data, flags, extent=extent, shape=shape)
            sandbox.start(place, flags, tied=tied)
            _follow(place, say, began)
        except BaseException:
            sandbox.end(place)
            raise
        return time.monotonic() - began


def _demand_history(place: layout.Place, wanted: sitedata.History | None) -> None:
    found = sitedata.History(**plan_of(place).get("history", {}))
    if wanted is not None and wanted != found:
        raise EnvironmentFault(
            f"{place.name} is up already, with {found}",
            do=f"./cutover env down --name {place.name}, or another --name",
            exit_code=2,
        )


def _demand_shape(place: layout.Place, wanted: target.Shape | None) -> None:
    plan = plan_of(place)
    found = target.Shape(**{field.name: plan[field.name] for field in fields(target.Shape) if field.name in plan})
    if wanted is not None and wanted != found:
        raise EnvironmentFault(
            f"{place.name} is up already, with routing {found.routing}",
            do=f"./cutover env down --name {place.name}, or another --name",
            exit_code=2,
        )


def _follow(place: layout.Place, say: Callable[[str], None], began: float) -> None:
    """Say when each part is ready, until all are. Raises: PartFailed with the end of a log."""
    told: set[str] = set()
    deadline = time.monotonic() + UP_BOUND_S
    while True:
        alive = sandbox.pid_of(place) is not None
        document = status_of(place)
        for name, part in document["parts"].items():
            if part["state"] in {"ready", "done"} and name not in told:
                told.add(name)
                word = "ready" if part["state"] == "ready" else "done"
                say(f"{time.monotonic() - began:5.1f} s  {name} {word}  {part['address']}".rstrip())
        if document["state"] == "up":
            return
        if document["state"] == "failed" or not alive or time.monotonic() > deadline:
            raise _failure(place, document)
        time.sleep(_LOOK_S)


def _failure(place: layout.Place, document: dict[str, Any]) -> PartFailed:
    reason = document["reason"] or "the supervisor ended"
    part = reason.split(" ", 1)[0]
    log = place.logs(part) if place.logs(part).exists() else place.logs("supervisor")
    return PartFailed(
        f"the environment did not come up: {reason}", seen=tail(log), do=f"read the logs in {place.logs()}"
    )
