"""Examines one deployment: `doctor`.

Invariants: every check is made whatever the one before it said, and says what it saw; only an API server that does not
answer ends the examination; nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rehearsal.platform.core import migrations, store
from rehearsal.platform.stella import database, deployment
from rehearsal.platform.stella.answers import Answer, Table
from rehearsal.platform.stella.cluster import Cluster
from rehearsal.platform.stella.errors import RefusedError, StellaError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rehearsal.platform.core.settings import Settings
    from rehearsal.platform.stella.deployment import Deployment

CACHE_TIMEOUT_S = 3.0
STORE_TIMEOUT_S = 3.0
WEB_PORT = 80
WORKER_PORT = 9100
QUEUES = ("stella:queue", "stella:inflight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing examined, and what was seen."""

    name: str
    ok: bool
    detail: str


def doctor(namespace: str, *, full: bool, export: Path | None) -> Answer:
    """Examine the deployment of a namespace; write a diagnostics archive where asked.

    Raises: UnreachableError when the API server does not answer, NotFoundError when the namespace has no deployment; an
    archive asked for is written before that.
    """
    cluster: Cluster | None = None
    try:
        cluster = Cluster.from_kubeconfig()
        checks = tuple(examine(cluster, deployment.find(cluster, namespace), full=full))
    except StellaError as error:
        if export is not None:
            _export(export, cluster, namespace, [Check(name="cluster", ok=False, detail=error.message)])
        raise
    if export is not None:
        _export(export, cluster, namespace, list(checks))
    failed = sum(not check.ok for check in checks)
    return Answer(
        ok=not failed,
        facts={
            "namespace": namespace,
            "full": full,
            "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks],
            "export": None if export is None else str(export),
        },
        summary=f"{len(checks) - failed} of {len(checks)} checks of {namespace} are good"
        + ("" if export is None else f"; diagnostics in {export}"),
        tables=(
            Table(
                title=f"Health of {namespace}",
                columns=("", "check", "seen"),
                rows=tuple((check.ok, check.name, check.detail) for check in checks),
            ),
        ),
    )


def examine(cluster: Cluster, found: Deployment, *, full: bool) -> Iterator[Check]:
    """Yield the checks of a deployment: what runs and what its probes say, then what it depends on if `full`."""
    selector = f"{deployment.SELECTOR},{deployment.INSTANCE}={found.release_name}"
    pods = cluster.find("pods", found.namespace, selector=selector)
    deployments = cluster.find("deployments", found.namespace, selector=selector)
    if not deployments:
        yield Check(name="deployments", ok=False, detail=f"release {found.release_name} has none")
    for item in deployments:
        yield check_deployment(item)
    for item in pods:
        if "deletionTimestamp" not in item["metadata"]:
            yield check_pod(item)
    worker = f"{found.release_name}-worker"
    yield _probe(cluster, found.namespace, "web alive", service=found.service, port=WEB_PORT, path="/healthz")
    yield _probe(cluster, found.namespace, "web ready", service=found.service, port=WEB_PORT, path="/readyz")
    yield _probe(cluster, found.namespace, "worker ready", service=worker, port=WORKER_PORT, path="/readyz")
    if full:
        settings = found.settings
        yield _examined("database", lambda: _database(settings))
        yield _examined("schema", lambda: _schema(settings))
        yield _examined("transparency log", lambda: _log(settings))
        yield _examined("cache", lambda: _cache(settings))
        yield _examined("queue", lambda: _queue(settings))
        yield _examined("store", lambda: _store(settings))


def check_deployment(item: dict[str, Any]) -> Check:
    """Compare what a Deployment wants with what is updated and available."""
    wanted = item["spec"].get("replicas", 1)
    status = item.get("status") or {}
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    is_observed = status.get("observedGeneration", 0) >= item["metadata"].get("generation", 0)
    return Check(
        name=f"deployment {item['metadata']['name']}",
        ok=is_observed and wanted > 0 and updated == wanted and available >= wanted,
        detail=f"{available} of {wanted} available, {updated} updated" + ("" if is_observed else ", not yet observed"),
    )


def check_pod(item: dict[str, Any]) -> Check:
    """Say whether a pod is ready, and if not, why: its containers' states in words."""
    status = item.get("status") or {}
    conditions = {entry["type"]: entry["status"] for entry in status.get("conditions") or []}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    restarts = sum(container.get("restartCount", 0) for container in containers)
    troubles = [trouble for container in containers if (trouble := _trouble(container))]
    is_ready = conditions.get("Ready") == "True"
    seen = "ready" if is_ready else "; ".join(troubles) or f"not ready, phase {status.get('phase', 'unknown')}"
    return Check(name=f"pod {item['metadata']['name']}", ok=is_ready, detail=f"{seen}, {restarts} restarts")


def _trouble(container: dict[str, Any]) -> str | None:
    state = container.get("state") or {}
    name = container["name"]
    if waiting := state.get("waiting"):
        return f"{name} waits: {waiting.get('reason', 'unknown')}"
    if (ended := state.get("terminated")) and ended.get("exitCode", 0):
        return f"{name} ended with exit code {ended['exitCode']}"
    if "running" in state and not container.get("ready", False):
        return f"{name} runs and is not ready"
    return None


def _probe(cluster: Cluster, namespace: str, name: str, *, service: str, port: int, path: str) -> Check:
    answer = cluster.call_service(namespace, service, path, port=port)
    detail = f"{service}:{port}{path} answered {answer.status}"
    if answer.status != 200:
        detail += f": {_said(answer.body)}"
    return Check(name=name, ok=answer.status == 200, detail=detail)


def _said(body: bytes) -> str:
    return " ".join(body.decode(errors="replace").split())[:300] or "nothing"


def _examined(name: str, examine_it: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=examine_it())
    except StellaError as error:
        return Check(name=name, ok=False, detail=f"{error.code}: {error.message}")


def _database(settings: Settings) -> str:
    with database.connect(settings.database_url) as connection:
        row = connection.execute(
            "SELECT current_setting('server_version'), current_database(), system_identifier::text, "
            "pg_is_in_recovery() FROM pg_control_system()"
        ).fetchone()
    if row is None or row[3]:
        raise RefusedError("the server is a standby", code="database-read-only", remedy="connect to the primary")
    return f"PostgreSQL {row[0]}, database {row[1]}, system {row[2]}"


def _schema(settings: Settings) -> str:
    with database.connect(settings.database_url) as connection:
        try:
            states = migrations.status(connection, settings.release)
        except migrations.MigrationError as cause:
            raise RefusedError(str(cause), code="schema-unknown", remedy="use the build that applied it") from cause
    pending = [s.migration.id for s in states if s.applied_at is None and s.migration.category == "A"]
    if pending:
        raise RefusedError(
            f"{', '.join(pending)} not applied, which release {settings.release} needs",
            code="schema-incomplete",
            remedy="run `stella system migrations-run --category A`",
        )
    return f"complete for release {settings.release}"


def _log(settings: Settings) -> str:
    with database.connect(settings.log_database_url) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM log_entries), coalesce(max(size), 0) FROM log_checkpoints"
        ).fetchone()
    entries, size = row or (0, 0)
    return f"{entries} entries, newest checkpoint at {size}"


def _cache(settings: Settings) -> str:
    facts = _ask_cache(settings, lambda cache: cache.info("server"))
    version = facts.get("valkey_version") or facts.get("redis_version")
    return f"{facts.get('server_name', 'redis')} {version}, run id {facts['run_id']}"


def _queue(settings: Settings) -> str:
    queued, inflight = _ask_cache(settings, lambda cache: [cache.llen(key) for key in QUEUES])
    return f"{queued} waiting, {inflight} in progress"


def _ask_cache(settings: Settings, ask: Callable[[Any], Any]) -> Any:  # noqa: ANN401 -- the client's own types are unions
    import redis  # noqa: PLC0415 -- only a full examination needs it

    try:
        with redis.Redis.from_url(
            settings.cache_url, socket_timeout=CACHE_TIMEOUT_S, socket_connect_timeout=CACHE_TIMEOUT_S
        ) as cache:
            return ask(cache)
    except redis.RedisError as cause:
        raise UnreachableError(
            f"the cache does not answer: {cause}", code="cache-unreachable", remedy="check that the cache is up"
        ) from cause


def _store(settings: Settings) -> str:
    try:
        with store.Store(settings.store, connections=1, timeout_s=STORE_TIMEOUT_S) as bucket:
            bucket.check()
    except store.StoreError as cause:
        raise UnreachableError(
            str(cause), code="store-unreachable", remedy="check that the object store is up and has the bucket"
        ) from cause
    return f"bucket {settings.store.bucket} at {settings.store.endpoint}"


def _export(path: Path, cluster: Cluster | None, namespace: str, checks: list[Check]) -> None:
    from rehearsal.platform.stella import diagnostics  # noqa: PLC0415 -- only an export needs it

    diagnostics.export(path, cluster, namespace, checks)
