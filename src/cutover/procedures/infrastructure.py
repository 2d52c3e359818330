"""Infrastructure requirements (guide, P.1 to P.5): who are the database, the caches, the store and the balancer really.

Invariant: an identity is what the server itself answers, never a comparison of two addresses.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.errors import CouldNotMeasure, TargetInvalid
from cutover.procedures import connections
from cutover.procedures.release import INSTANCE_LABEL

if TYPE_CHECKING:
    from cutover.model import Environment
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.site.database import DatabaseIdentity
    from cutover.site.routing import Served


COMMANDS = ("helm", "stella", "pg_dump", "pg_restore")


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces:
    """What the cluster says of the two colours' namespaces."""

    green_exists: bool
    green_foreign: tuple[str, ...]
    """Deployments in green's namespace that do not belong to green's release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """The same question answered along each colour's own path."""

    blue: DatabaseIdentity
    green: DatabaseIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheIdentities:
    """The run ids of the two caches, and how many keys green's holds."""

    blue: str
    green: str
    green_keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerRead:
    """A scratch object, by now removed: the bytes that were written, and what each path gave back."""

    key: str
    written: bytes
    by_green: bytes
    by_blue_service: bytes


def require_commands(site: Site) -> None:
    """Look for every command of the runbook before anything is done.

    Raises:
        CouldNotMeasure: one is missing on the operator's host.
    """
    looking = 'for name in "$@"; do command -v "$name"; done; true'
    found = site.operator.run(["sh", "-c", looking, "sh", *COMMANDS]).stdout.split()
    missing = [name for name in COMMANDS if name not in {path.rpartition("/")[2] for path in found}]
    if missing:
        raise CouldNotMeasure(
            f"the operator's host has no {', '.join(missing)}",
            code="command-missing",
            seen=f"looked for {', '.join(COMMANDS)} in PATH there",
            do="install it, or name its folder in path of [operator] in the target file",
            state="nothing was changed",
        )


def namespaces(site: Site, blue: Environment, green: Environment) -> Namespaces:
    """Look the namespaces of both colours up (P.1).

    Raises:
        TargetInvalid: blue's namespace does not exist.

    """
    existing = site.cluster.namespaces()
    if blue.namespace not in existing:
        raise TargetInvalid(
            f"blue's namespace {blue.namespace} does not exist",
            code="namespace-missing",
            seen="the cluster lists no such namespace",
            do=f"correct namespace of [colours.{blue.name}] in the target file",
            state="nothing was changed",
        )
    foreign: tuple[str, ...] = ()
    if green.namespace in existing:
        foreign = tuple(
            deployment.name
            for deployment in site.cluster.deployments(green.namespace)
            if deployment.labels.get(INSTANCE_LABEL) != green.release
        )
    return Namespaces(green_exists=green.namespace in existing, green_foreign=foreign)


def database_identities(site: Site, blue: Environment, green: Environment) -> Identities:
    """Ask the server behind each colour's database address for its system identifier (P.2).

    Blue's address is read from the Secret of its running release; green's from the values it will be installed
    with, or from its own Secret
    once it runs.
    """
    return Identities(
        blue=connections.of(site, blue, running=True).database.identity(),
        green=connections.of(site, green).database.identity(),
    )


def cache_identities(site: Site, blue: Environment, green: Environment) -> CacheIdentities:
    """Ask each colour's cache for its run id (P.3)."""
    cache = connections.of(site, green).cache
    return CacheIdentities(
        blue=connections.of(site, blue, running=True).cache.run_id(),
        green=cache.run_id(),
        green_keys=cache.key_count(),
    )


def read_marker_back(site: Site, upgrade: Upgrade) -> MarkerRead:
    """Put a marker object with blue's credentials, read it along both colours' paths, and remove it in any case (P.4).

    Green's credentials read it straight from the store; blue's running service through the API server's proxy. Its
    name is the upgrade's own, so that one which a broken-off attempt left is written over and removed.
    """
    blue, green = upgrade.roles.blue, upgrade.roles.green
    name, content = f"cutover-{upgrade.id}-shared", secrets.token_bytes(64)
    key, store = f"scratch/{name}", connections.of(site, blue, running=True).store
    try:
        store.put(key, content)
        return MarkerRead(
            key=key,
            written=content,
            by_green=connections.of(site, green).store.get(key),
            by_blue_service=site.cluster.proxy_get(blue.namespace, blue.service, 80, f"/api/v1/objects/{name}").body,
        )
    finally:
        store.delete(key)


def ask_public_host(site: Site, requests: int) -> Served:
    """Ask the public host on fresh connections and count who answered (P.5)."""
    return site.routing.who_serves(requests)
