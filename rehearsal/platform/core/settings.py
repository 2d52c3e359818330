"""What a process of the platform is told through its environment, parsed once at the edge.

Invariants: a missing or unreadable variable is one error that names it; secrets never appear in `repr`.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

LOG_DATABASE_NAME = "stella_log"


class SettingsError(Exception):
    """An environment variable is missing or wrong; the message names it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where evidence content lives."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a web, worker or migrate process knows when it starts."""

    release: str
    colour: str
    pod_name: str
    pod_ip: str
    port: int
    metrics_port: int
    database_url: str = dataclasses.field(repr=False)
    log_database_url: str = dataclasses.field(repr=False)
    cache_url: str = dataclasses.field(repr=False)
    store: StoreSettings
    signing_key_pem: str = dataclasses.field(repr=False)
    log_signing_key_pem: str = dataclasses.field(repr=False)
    log_origin: str
    migrations_mode: str
    migration_timeout_s: float
    worker_concurrency: int
    database_pool_size: int
    drain_delay_s: float
    drain_timeout_s: float
    faults_dir: Path | None


def log_database_url(database_url: str) -> str:
    """Give the log's database on the same server as the evidence."""
    parts = urlsplit(database_url)
    return urlunsplit(parts._replace(path=f"/{LOG_DATABASE_NAME}"))


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Read all settings.

    Raises:
        SettingsError: a variable is missing or cannot be read.

    """
    env = os.environ if environment is None else environment

    def need(name: str) -> str:
        value = env.get(name, "")
        if not value:
            raise SettingsError(f"{name} is not set")
        return value

    def number(name: str, default: float) -> float:
        text = env.get(name, "") or str(default)
        try:
            return float(text)
        except ValueError as error:
            raise SettingsError(f"{name} must be a number, not {text!r}") from error

    database_url = need("DATABASE_URL")
    mode = env.get("MIGRATIONS_MODE", "init")
    if mode not in {"init", "external"}:
        raise SettingsError(f"MIGRATIONS_MODE must be init or external, not {mode!r}")
    faults = env.get("STELLA_FAULTS_DIR", "")
    return Settings(
        release=need("STELLA_RELEASE"),
        colour=need("STELLA_COLOUR"),
        pod_name=env.get("POD_NAME", "") or "unnamed",
        pod_ip=env.get("POD_IP", "") or "127.0.0.1",
        port=int(number("PORT", 8080)),
        metrics_port=int(number("METRICS_PORT", 9100)),
        database_url=database_url,
        log_database_url=env.get("LOG_DATABASE_URL", "") or log_database_url(database_url),
        cache_url=need("CACHE_URL"),
        store=StoreSettings(
            endpoint=need("STORE_ENDPOINT").rstrip("/"),
            bucket=need("STORE_BUCKET"),
            access_key=need("STORE_ACCESS_KEY"),
            secret_key=need("STORE_SECRET_KEY"),
        ),
        signing_key_pem=need("SIGNING_KEY"),
        log_signing_key_pem=need("LOG_SIGNING_KEY"),
        log_origin=need("LOG_ORIGIN"),
        migrations_mode=mode,
        migration_timeout_s=number("MIGRATION_TIMEOUT_SECONDS", 60),
        worker_concurrency=int(number("WORKER_CONCURRENCY", 2)),
        database_pool_size=int(number("DATABASE_POOL_SIZE", 8)),
        drain_delay_s=number("DRAIN_DELAY_SECONDS", 4),
        drain_timeout_s=number("DRAIN_TIMEOUT_SECONDS", 15),
        faults_dir=Path(faults) if faults else None,
    )
