"""What a process is connected to, and whether each of it answers.

Invariants: a process starts although nothing answers yet, and says so on /readyz; looking at health never waits
longer than its bound and never happens on the request path.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic

import asyncpg
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from rehearsal.platform.core import migrations
from rehearsal.platform.core.faults import Faults
from rehearsal.platform.core.settings import Settings
from rehearsal.platform.core.store import Store

QUEUE = "stella:queue"
INFLIGHT = "stella:inflight"

_CHECK_EVERY_S = 1.0
_CHECK_BOUND_S = 2.0
_CONNECT_BOUND_S = 3.0
_COMMAND_BOUND_S = 10.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """The pools of one process; each connects when it is first used."""

    database: asyncpg.Pool
    log: asyncpg.Pool
    cache: Redis
    store: Store

    async def close(self) -> None:
        """Give everything up, at once where something hangs."""
        for pool in (self.database, self.log):
            try:
                await asyncio.wait_for(pool.close(), _CHECK_BOUND_S)
            except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pool.terminate()
        await self.cache.aclose()
        self.store.close()


async def connect(settings: Settings, *, log_connections: int) -> Connections:
    """Make the pools; nothing has to answer yet."""

    async def pool(url: str, size: int) -> asyncpg.Pool:
        async def keep(_connection: asyncpg.Connection) -> None:
            """Replace the reset that would cost one more round trip a query: no session state is ever set here."""

        made: asyncpg.Pool = await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            timeout=_CONNECT_BOUND_S,
            command_timeout=_COMMAND_BOUND_S,
            max_inactive_connection_lifetime=60.0,
            reset=keep,
            server_settings={"application_name": settings.pod_name},
        )
        return made

    return Connections(
        database=await pool(settings.database_url, settings.database_pool_size),
        log=await pool(settings.log_database_url, log_connections),
        cache=Redis.from_url(
            settings.cache_url,
            decode_responses=True,
            socket_connect_timeout=_CONNECT_BOUND_S,
            socket_timeout=_COMMAND_BOUND_S,
            retry=Retry(NoBackoff(), 1),
        ),
        store=Store(settings.store),
    )


class Health:
    """The last look at everything a process needs, renewed in the background."""

    def __init__(self, settings: Settings, connections: Connections, faults: Faults) -> None:
        self._settings = settings
        self._connections = connections
        self._faults = faults
        self._started = monotonic()
        self._looked_at = 0.0
        self._in_doubt: set[str] = set()
        self.draining = False
        self.checks: Mapping[str, str] = {"startup": "not looked yet"}

    def failing(self) -> Mapping[str, str]:
        """Give what keeps the process from being ready, by check; empty when it is ready."""
        found = {name: answer for name, answer in self.checks.items() if answer != "ok"}
        fault = self._faults.get("readiness-fails")
        if fault is not None and monotonic() - self._started >= float(fault.get("after_s", 0)):
            found["fault"] = "readiness-fails is switched on"
        if self.draining:
            found["draining"] = "the process is terminating"
        if monotonic() - self._looked_at > 5 * (_CHECK_EVERY_S + _CHECK_BOUND_S):
            found.setdefault("checks", "nobody has looked for too long")
        return found

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(_CHECK_EVERY_S)

    async def look(self) -> None:
        """Look at everything once, all at the same time, each within its bound."""
        checks: Mapping[str, Callable[[], Awaitable[str]]] = {
            "database": self._database,
            "cache": self._cache,
            "store": self._store,
            "schema": self._schema,
        }
        answers = await asyncio.gather(*(_bounded(check) for check in checks.values()))
        found = dict(zip(checks, answers, strict=True))
        failed = {name for name, answer in found.items() if answer != "ok"}
        # One slow answer of a shared part must not take every pod out of service at the same moment: what was well
        # a moment ago counts as failing when it fails twice in a row.
        for name in failed - self._in_doubt:
            if self.checks.get(name) == "ok":
                found[name] = "ok"
        self._in_doubt = failed
        self.checks = found
        self._looked_at = monotonic()

    async def _database(self) -> str:
        for name, pool in (("database", self._connections.database), ("log", self._connections.log)):
            if await pool.fetchval("SELECT 1") != 1:
                return f"the {name} answers wrongly"
        return "ok"

    async def _cache(self) -> str:
        return "ok" if await self._connections.cache.ping() else "no answer to PING"

    async def _store(self) -> str:
        await asyncio.to_thread(self._connections.store.check)
        return "ok"

    async def _schema(self) -> str:
        rows = await self._connections.database.fetch("SELECT id, category, release FROM stella_migrations")
        applied = {row["id"] for row in rows}
        release = self._settings.release
        pending = [step.id for step in migrations.of_release(release, "A") if step.id not in applied]
        if pending:
            return f"pending: {', '.join(pending)}"
        later = [row["id"] for row in rows if row["category"] == "B" and row["release"] > release]
        if later:
            return f"contracted by {', '.join(later)}, which {release} cannot work on"
        return "ok"


async def _bounded(check: Callable[[], Awaitable[str]]) -> str:
    try:
        return await asyncio.wait_for(check(), _CHECK_BOUND_S)
    except TimeoutError:
        return f"no answer within {_CHECK_BOUND_S:g} s"
    except Exception as error:  # noqa: BLE001 - whatever is wrong is what the check has to say
        return f"{type(error).__name__}: {error}".splitlines()[0]
