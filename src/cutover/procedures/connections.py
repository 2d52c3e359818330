"""The connections that one colour was given: read from its running configuration, or from the values that it will get.

Invariants: the harness asks the servers that the colour itself would ask, never those it assumes; who asks about
a running colour is never answered from its values.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from cutover.errors import CouldNotMeasure, TargetInvalid
from cutover.site.cache import Cache
from cutover.site.database import Database
from cutover.site.store import Store

if TYPE_CHECKING:
    from cutover.model import Environment
    from cutover.site import Site


_SETTINGS = ("database_url", "cache_url", "store_endpoint", "store_bucket", "store_access_key", "store_secret_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """Drivers over one colour's own addresses and credentials."""

    database: Database
    cache: Cache
    store: Store


def of(site: Site, environment: Environment, *, running: bool = False) -> Connections:
    """Build the drivers of a colour.

    running: take the addresses from its running configuration and from nowhere else.

    Raises:
        CouldNotMeasure: its configuration lacks an address, or `running` is asked for and it has no configuration.
        TargetInvalid: the colour does not run, and its values do not name database, cache and store.
    """
    settings = _running(site, environment)
    if settings is None and running:
        raise CouldNotMeasure(
            f"the running configuration of {environment.name} is not there",
            code="configuration-missing",
            seen=f"{' and '.join(_configuration(environment))} are not both in namespace {environment.namespace}",
            do=f"look at release {environment.release}; deploy it again if it lost them",
        )
    settings = settings or _planned(environment)
    return Connections(
        database=Database(settings["database_url"]),
        cache=Cache(settings["cache_url"]),
        store=Store(
            endpoint=settings["store_endpoint"],
            bucket=settings["store_bucket"],
            access_key=settings["store_access_key"],
            secret_key=settings["store_secret_key"],
        ),
    )


def _running(site: Site, environment: Environment) -> dict[str, str] | None:
    config_name, secret_name = _configuration(environment)
    config = site.cluster.get("ConfigMap", environment.namespace, config_name)
    secret = site.cluster.get("Secret", environment.namespace, secret_name)
    if config is None or secret is None:
        return None
    merged = {
        **config.get("data", {}),
        **{key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()},
    }
    missing = [name.upper() for name in _SETTINGS if not merged.get(name.upper())]
    if missing:
        raise CouldNotMeasure(
            f"the running configuration of {environment.name} does not name its connections",
            code="configuration-incomplete",
            seen=f"no {', '.join(missing)} in {config_name} and {secret_name}",
            do=f"look at release {environment.release}; contract/platform.md says what both hold",
        )
    return {name: merged[name.upper()] for name in _SETTINGS}


def _configuration(environment: Environment) -> tuple[str, str]:
    """Return the names of a release's ConfigMap and Secret."""
    return f"{environment.release}-config", f"{environment.release}-secrets"


def planned_values(environment: Environment) -> dict[str, Any]:
    """Return the values that a colour's release is given, of all its files, the last one winning."""
    merged: dict[str, Any] = {}
    for path in environment.values:
        _merge(merged, yaml.safe_load(path.read_text()) or {})
    return merged


def _planned(environment: Environment) -> dict[str, str]:
    merged = planned_values(environment)
    try:
        return {
            "database_url": merged["database"]["url"],
            "cache_url": merged["cache"]["url"],
            "store_endpoint": merged["store"]["endpoint"],
            "store_bucket": merged["store"]["bucket"],
            "store_access_key": merged["store"]["accessKey"],
            "store_secret_key": merged["store"]["secretKey"],
        }
    except KeyError as missing:
        raise TargetInvalid(
            f"the values of {environment.name} do not name its database, cache and store",
            code="values-incomplete",
            seen=f"no {missing} in {', '.join(str(path) for path in environment.values)}",
            do=f"complete the files that [colours.{environment.name}] values lists",
        ) from missing


def _merge(base: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value
