"""The web process: the REST API behind the Ingress.

Invariants: an answer 201 or 202 means that the write is committed; every answer says which colour and pod served it;
nothing on the request path logs, and nothing there waits for anything but the one query that the route needs.
"""

import asyncio
import contextlib
import datetime as dt
import json
import re
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg
import redis.exceptions
import uvloop
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router

from rehearsal.platform.app.connections import INFLIGHT, QUEUE, Connections, Health, connect
from rehearsal.platform.app.log import TransparencyLog
from rehearsal.platform.app.metrics import CONTENT_TYPE, App, Measured, Metrics
from rehearsal.platform.app.reading import LeavesError
from rehearsal.platform.app.serving import GIVE_UP_S, serve
from rehearsal.platform.app.struck import Struck
from rehearsal.platform.core.canonical import timestamp
from rehearsal.platform.core.faults import Faults
from rehearsal.platform.core.settings import Settings
from rehearsal.platform.core.store import NoSuchObjectError, StoreError

_ORIGIN_SINCE = "2027.Q3"
_CATALOGUE_EVERY_S = 2.0
_PAGE_LIMIT = 1000
_OBJECT_BYTES = 1 << 20
_BODY_BYTES = 1 << 16
_LOG_CONNECTIONS = 2
_ROW = (
    "SELECT id, scan_id, kind, media_type, size_bytes, sha256, object_key, leaf_index, log_index, signer_keyid, "
    "created FROM evidence "
)
_DATABASE_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
_OBJECT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Handler = Callable[[Request], Awaitable[Response]]


class JsonResponse(Response):
    """A JSON answer, compact."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Give the body's bytes."""
        return json.dumps(content, separators=(",", ":")).encode()


class Problem(Exception):  # noqa: N818 - it is an answer, not a failure of ours
    """An answer other than the one asked for: status, a stable code, and a sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.response = JsonResponse({"error": {"code": code, "message": message}}, status)


class Api:
    """The handlers; one instance a process."""

    def __init__(
        self, settings: Settings, connections: Connections, health: Health, metrics: Metrics, log: TransparencyLog
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._health = health
        self._metrics = metrics
        self._log = log
        self._catalogue: Response | None = None

    def routes(self) -> list[Route]:
        """Give the routes, the busiest first."""
        get, post, put = ["GET"], ["POST"], ["PUT"]
        return [
            _route("/api/v1/catalogue", self.catalogue, get),
            _route("/api/v1/evidence/{id}", self.evidence, get),
            _route("/api/v1/markers", self.make_marker, post),
            _route("/readyz", self.readyz, get),
            _route("/healthz", self.healthz, get),
            _route("/version", self.version, get),
            _route("/metrics", self.render_metrics, get),
            _route("/api/v1/evidence", self.list_evidence, get),
            _route("/api/v1/evidence/{id}/content", self.content, get),
            _route("/api/v1/scans", self.make_scan, post),
            _route("/api/v1/scans/{id}", self.scan, get),
            _route("/api/v1/markers/{run}", self.markers, get),
            _route("/api/v1/objects/{name}", self.put_object, put),
            _route("/api/v1/objects/{name}", self.get_object, get),
            _route("/api/v1/system", self.system, get),
            _route("/api/v1/log/checkpoint", self.checkpoint, get),
            _route("/api/v1/log/entries", self.log_entries, get),
            _route("/api/v1/log/proof/inclusion", self.inclusion, get),
            _route("/api/v1/log/proof/consistency", self.consistency, get),
        ]

    async def refresh_catalogue(self) -> None:
        """Keep the catalogue in memory, as it was a moment ago; while the database is away it stays as it was."""
        while True:
            with contextlib.suppress(*_DATABASE_ERRORS):
                await self._read_catalogue()
            await asyncio.sleep(_CATALOGUE_EVERY_S)

    async def _read_catalogue(self) -> None:
        async with self._connections.database.acquire() as connection:
            kinds = await connection.fetch("SELECT kind, count(*) AS items FROM evidence GROUP BY kind ORDER BY kind")
            newest = await connection.fetch(_ROW + "ORDER BY id DESC LIMIT 20")
            root = await connection.fetchrow("SELECT * FROM merkle_roots ORDER BY size DESC, schema_version LIMIT 1")
        self._catalogue = JsonResponse(
            {
                "items": sum(row["items"] for row in kinds),
                "by_kind": {row["kind"]: row["items"] for row in kinds},
                "newest": [row["id"] for row in newest],
                "root": None
                if root is None
                else {"schema_version": root["schema_version"], "size": root["size"], "root": root["root"].hex()},
            }
        )

    async def healthz(self, _request: Request) -> Response:
        """Say that the process runs."""
        return JsonResponse({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """Say whether requests should be sent here, and if not, why."""
        failing = self._health.failing()
        body = {"ready": not failing, "checks": {**self._health.checks, **failing}}
        return JsonResponse(body, 503 if failing else 200)

    async def version(self, _request: Request) -> Response:
        """Say which release this is."""
        settings = self._settings
        return JsonResponse({"version": settings.release, "colour": settings.colour, "pod": settings.pod_name})

    async def render_metrics(self, _request: Request) -> Response:
        """Give the metrics, with the queue's depth of this moment where the cache tells it."""
        return Response(self._metrics.render(), media_type=CONTENT_TYPE)

    async def system(self, _request: Request) -> Response:
        """Say which database, cache and store this process is connected to."""
        async with self._connections.database.acquire() as connection:
            row = await connection.fetchrow(
                "SELECT system_identifier::text, current_database() AS name FROM pg_control_system()"
            )
        cache = await self._connections.cache.info("server")
        return JsonResponse(
            {
                "database": {"system_identifier": row["system_identifier"], "name": row["name"]},
                "cache": {"run_id": cache["run_id"]},
                "store": {"endpoint": self._connections.store.endpoint, "bucket": self._connections.store.bucket},
            }
        )

    async def catalogue(self, _request: Request) -> Response:
        """Give the overview of all evidence, from memory."""
        if self._catalogue is None:
            raise Problem(503, "not-loaded", "the catalogue has not been read yet")
        return self._catalogue

    async def list_evidence(self, request: Request) -> Response:
        """Give a page of items after an id, in order of id."""
        limit = _number(request, "limit", 100)
        if not 1 <= limit <= _PAGE_LIMIT:
            raise Problem(400, "wrong-parameter", f"limit must be 1 to {_PAGE_LIMIT}")
        after = request.query_params.get("after", "")
        with self._metrics.counting("list"):
            rows = await self._connections.database.fetch(_ROW + "WHERE id > $1 ORDER BY id LIMIT $2", after, limit)
        return JsonResponse(
            {
                "items": [_item(row) for row in rows],
                "next": rows[-1]["id"] if len(rows) == limit else None,
            }
        )

    async def evidence(self, request: Request) -> Response:
        """Give one item."""
        with self._metrics.counting("read"):
            row = await self._one(request.path_params["id"])
        if row is None:
            return _no_such_evidence(request)
        return JsonResponse(_item(row))

    async def content(self, request: Request) -> Response:
        """Give an item's raw bytes as the store has them."""
        with self._metrics.counting("content"):
            row = await self._one(request.path_params["id"])
            if row is None:
                return _no_such_evidence(request)
            data = await asyncio.to_thread(self._connections.store.get, row["object_key"])
        return Response(data, media_type=row["media_type"])

    async def _one(self, name: str) -> asyncpg.Record | None:
        return await self._connections.database.fetchrow(_ROW + "WHERE id = $1", name)

    async def make_scan(self, request: Request) -> Response:
        """Take a scan on: its row is committed and its job is in this colour's queue."""
        body = await _body(request)
        image = body.get("image")
        if not isinstance(image, str) or not 0 < len(image) <= 255:
            raise Problem(400, "wrong-body", "image must be a string of 1 to 255 characters")
        name = f"scan-{uuid.uuid4().hex}"
        columns = {"id": name, "image": image, "status": "queued", "created": dt.datetime.now(dt.UTC)}
        if self._settings.release >= _ORIGIN_SINCE:
            columns["origin"] = _origin(body)
        places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        await self._connections.database.execute(
            f"INSERT INTO scans ({', '.join(columns)}) VALUES ({places})",  # noqa: S608
            *columns.values(),
        )
        try:
            await self._connections.cache.lpush(QUEUE, json.dumps({"scan_id": name}))
        except redis.exceptions.RedisError:
            await self._connections.database.execute(
                "UPDATE scans SET status = 'failed', finished = now() WHERE id = $1", name
            )
            raise
        return JsonResponse({"id": name, "status": "queued"}, 202)

    async def scan(self, request: Request) -> Response:
        """Give one scan with the ids of its evidence."""
        name = request.path_params["id"]
        row = await self._connections.database.fetchrow(
            "SELECT s.*, array(SELECT e.id FROM evidence e WHERE e.scan_id = s.id ORDER BY e.leaf_index) AS evidence "
            "FROM scans s WHERE s.id = $1",
            name,
        )
        if row is None:
            raise Problem(404, "no-such-scan", f"there is no scan {name}")
        return JsonResponse(
            {
                "id": row["id"],
                "image": row["image"],
                "status": row["status"],
                "created": timestamp(row["created"]),
                "finished": row["finished"] and timestamp(row["finished"]),
                "evidence": row["evidence"],
                **({"origin": row["origin"]} if self._settings.release >= _ORIGIN_SINCE else {}),
            }
        )

    async def make_marker(self, request: Request) -> Response:
        """Write a marker: committed once it is acknowledged."""
        body = await _body(request)
        run, number = body.get("run"), body.get("number")
        if not isinstance(run, str) or not 0 < len(run) <= 200 or type(number) is not int or not 0 <= number < 1 << 63:
            raise Problem(400, "wrong-body", "run must be a string of 1 to 200 characters and number a whole number")
        made = await self._connections.database.fetchval(
            "INSERT INTO write_markers (run, number, colour, pod) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING "
            "RETURNING number",
            run,
            number,
            self._settings.colour,
            self._settings.pod_name,
        )
        if made is None:
            raise Problem(409, "marker-exists", f"marker {number} of run {run} exists")
        return JsonResponse({"run": run, "number": number, "colour": self._settings.colour}, 201)

    async def markers(self, request: Request) -> Response:
        """Give the numbers of a run's markers, in order."""
        run = request.path_params["run"]
        numbers = await self._connections.database.fetchval(
            "SELECT coalesce(array_agg(number ORDER BY number), '{}') FROM write_markers WHERE run = $1", run
        )
        return JsonResponse({"run": run, "numbers": numbers})

    async def put_object(self, request: Request) -> Response:
        """Write a small scratch object to the store."""
        name = _object_name(request)
        data = await _read(request, _OBJECT_BYTES)
        await asyncio.to_thread(self._connections.store.put, f"scratch/{name}", data)
        return JsonResponse({"name": name, "size_bytes": len(data)}, 201)

    async def get_object(self, request: Request) -> Response:
        """Read a scratch object from the store."""
        data = await asyncio.to_thread(self._connections.store.get, f"scratch/{_object_name(request)}")
        return Response(data, media_type="application/octet-stream")

    async def checkpoint(self, _request: Request) -> Response:
        """Give the newest checkpoint of the log, a signed note."""
        note = await self._log.newest_note()
        if note is None:
            raise Problem(404, "empty-log", "nothing has been logged yet")
        return PlainTextResponse(note)

    async def log_entries(self, request: Request) -> Response:
        """Give log entries start..end-1, at most a page."""
        start, end = _number(request, "start", 0), _number(request, "end", None)
        if not start <= end <= start + _PAGE_LIMIT:
            raise Problem(400, "wrong-parameter", f"end must be start to start + {_PAGE_LIMIT}")
        return JsonResponse(
            {
                "entries": [
                    {
                        "log_index": row["log_index"],
                        "leaf": row["leaf"].decode(),
                        "leaf_hash": row["leaf_hash"].hex(),
                    }
                    for row in await self._log.entries(start, end)
                ]
            }
        )

    async def inclusion(self, request: Request) -> Response:
        """Prove that an entry is in the log of a size."""
        index, size = _number(request, "index", None), _number(request, "size", None)
        try:
            tree = await self._log.tree(size)
            body = {
                "index": index,
                "size": size,
                "root": tree.root(size).hex(),
                "proof": [digest.hex() for digest in tree.inclusion(index, size)],
            }
        except ValueError as error:
            raise Problem(400, "wrong-parameter", str(error)) from error
        return JsonResponse(body)

    async def consistency(self, request: Request) -> Response:
        """Prove that the log of one size is a prefix of that of another."""
        first, second = _number(request, "from", None), _number(request, "to", None)
        try:
            tree = await self._log.tree(second)
            body = {
                "from": first,
                "to": second,
                "old_root": tree.root(first).hex(),
                "new_root": tree.root(second).hex(),
                "proof": [digest.hex() for digest in tree.consistency(first, second)],
            }
        except ValueError as error:
            raise Problem(400, "wrong-parameter", str(error)) from error
        return JsonResponse(body)


def run(settings: Settings) -> int:
    """Serve until SIGTERM and the drain after it; give the exit code."""
    faults = Faults(settings.faults_dir, settings.colour)
    if faults.get("crash-loop") is not None:
        sys.stderr.write("web: cannot start: configuration key stella.tenancy.default is not known to this release\n")
        return 1
    uvloop.run(_serve(settings, faults))
    return 0


async def _serve(settings: Settings, faults: Faults) -> None:
    connections = await connect(settings, log_connections=_LOG_CONNECTIONS)
    health = Health(settings, connections, faults)
    metrics = Metrics()
    api = Api(settings, connections, health, metrics, TransparencyLog(connections.log, settings.log_origin))
    routes = api.routes()
    app: App = Router(routes)
    if settings.faults_dir is not None:
        app = Struck(app, faults, colour=settings.colour, render=metrics.render)
    headers = (
        (b"x-stella-colour", settings.colour.encode()),
        (b"x-stella-pod", settings.pod_name.encode()),
        (b"x-stella-release", settings.release.encode()),
    )
    measured = Measured(app, metrics=metrics, headers=headers, routes={route.endpoint: route.path for route in routes})

    def drain() -> None:
        health.draining = measured.draining = True
        sys.stdout.write("web: draining\n")
        sys.stdout.flush()

    background = [
        asyncio.create_task(health.watch()),
        asyncio.create_task(api.refresh_catalogue()),
        asyncio.create_task(_watch_queue(connections, metrics)),
    ]
    sys.stdout.write(f"web: {settings.colour} {settings.release} serves on {settings.pod_ip}:{settings.port}\n")
    sys.stdout.flush()
    try:
        await serve(measured, settings, port=settings.port, drain_delay_s=settings.drain_delay_s, on_drain=drain)
    finally:
        for task in background:
            task.cancel()
        await asyncio.wait(background, timeout=GIVE_UP_S)
        await connections.close()


async def _watch_queue(connections: Connections, metrics: Metrics) -> None:
    while True:
        with contextlib.suppress(redis.exceptions.RedisError, OSError, TimeoutError):
            depth = await connections.cache.llen(QUEUE) + await connections.cache.llen(INFLIGHT)
            metrics.queue_depth.set(depth)
        await asyncio.sleep(1.0)


def _route(path: str, handler: Handler, methods: list[str]) -> Route:
    """Make a route whose problems and outages become answers."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Problem as problem:
            return problem.response
        except (StoreError, LeavesError, redis.exceptions.RedisError, *_DATABASE_ERRORS) as error:
            return _outage(error).response

    return Route(path, answer, methods=methods)


def _outage(error: Exception) -> Problem:
    """Say which part behind this process failed."""
    match error:
        case NoSuchObjectError():
            return Problem(404, "no-such-object", str(error))
        case StoreError():
            return Problem(502, "store-failed", str(error))
        case LeavesError():
            return Problem(500, "log-contradicts-itself", str(error))
        case redis.exceptions.RedisError():
            return Problem(503, "cache-unreachable", f"the cache does not answer: {type(error).__name__}")
        case _:
            return Problem(503, "database-unreachable", f"the database does not answer: {type(error).__name__}")


def _no_such_evidence(request: Request) -> Response:
    return Problem(404, "no-such-evidence", f"there is no item {request.path_params['id']}").response


def _item(row: asyncpg.Record) -> dict[str, Any]:
    return {**row, "created": timestamp(row["created"])}


def _number(request: Request, name: str, default: int | None) -> int:
    text = request.query_params.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal() or len(text) > 18:
        raise Problem(400, "wrong-parameter", f"{name} must be a whole number")
    return int(text)


def _origin(body: Mapping[str, Any]) -> str:
    origin = body.get("origin", "api")
    if not isinstance(origin, str) or not 0 < len(origin) <= 100:
        raise Problem(400, "wrong-body", "origin must be a string of 1 to 100 characters")
    return origin


def _object_name(request: Request) -> str:
    name: str = request.path_params["name"]
    if not _OBJECT_NAME.fullmatch(name):
        raise Problem(400, "wrong-name", "a name has 1 to 100 letters, digits, dots, dashes or underscores")
    return name


async def _read(request: Request, bound_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > bound_bytes:
            raise Problem(413, "too-large", f"at most {bound_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


async def _body(request: Request) -> Mapping[str, Any]:
    try:
        body = json.loads(await _read(request, _BODY_BYTES))
    except ValueError as error:
        raise Problem(400, "wrong-body", f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise Problem(400, "wrong-body", "the body must be a JSON object")
    return body
