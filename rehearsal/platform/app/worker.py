"""The worker process: takes scan jobs from its colour's queue and makes their evidence.

Invariants: a job stays in the cache until its evidence is committed, so it is done at least once; whatever a first
attempt did is found and not repeated (content by digest, log entries by subject, the scan by its status); on SIGTERM
no job is taken any more, those in hand are finished, and what is left goes back to the queue.
"""

import asyncio
import contextlib
import datetime as dt
import json
import random
import sys

import asyncpg
import redis.exceptions
import uvloop
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from rehearsal.platform.app.connections import INFLIGHT, QUEUE, Connections, Health, connect
from rehearsal.platform.app.evidence import EvidenceTree
from rehearsal.platform.app.log import TransparencyLog
from rehearsal.platform.app.metrics import CONTENT_TYPE, Measured, Metrics
from rehearsal.platform.app.reading import LeavesError
from rehearsal.platform.app.serving import GIVE_UP_S, serve
from rehearsal.platform.app.web import JsonResponse
from rehearsal.platform.core import keys, leaves, makers
from rehearsal.platform.core.faults import Faults
from rehearsal.platform.core.settings import Settings
from rehearsal.platform.core.store import StoreError

_TAKE_BOUND_S = 1
_RETRY_AFTER_S = 1.0
_DERIVE_EVERY_S = 1.0

_OUTAGES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    redis.exceptions.RedisError,
    StoreError,
    OSError,
    TimeoutError,
)


class AttestationError(Exception):
    """The attestation of a scan could not be made."""


class Worker:
    """The jobs of one process."""

    def __init__(self, settings: Settings, connections: Connections, metrics: Metrics, faults: Faults) -> None:
        self._settings = settings
        self._connections = connections
        self._metrics = metrics
        self._faults = faults
        self._key = keys.load_signing_key(settings.signing_key_pem)
        self._log_key = keys.load_log_key(settings.log_signing_key_pem)
        self._log = TransparencyLog(connections.log, settings.log_origin)
        self._tree = EvidenceTree(self._key, knows=leaves.SCHEMA_OF_RELEASE[settings.release])
        self.stopping = asyncio.Event()

    async def work(self) -> None:
        """Take and do jobs, one at a time, until stopping."""
        while not self.stopping.is_set():
            try:
                if self._faults.get("queue-stuck") is not None:
                    await self._pause(_TAKE_BOUND_S)
                    continue
                job = await self._connections.cache.blmove(QUEUE, INFLIGHT, _TAKE_BOUND_S, "RIGHT", "LEFT")
                if job is not None:
                    await self._attempt(str(job))
            except _OUTAGES as error:
                _say(f"waiting: {_first_line(error)}")
                await self._pause(_RETRY_AFTER_S)
                if isinstance(error, redis.exceptions.RedisError):  # a job in hand could not be put back then
                    await self.recover()

    async def recover(self) -> None:
        """Put jobs in progress back into the queue; one that another pod has in hand is then found done."""
        while not self.stopping.is_set():
            try:
                while await self._connections.cache.lmove(INFLIGHT, QUEUE, "RIGHT", "RIGHT") is not None:
                    _say("put back a job that nobody finished")
            except _OUTAGES:
                await self._pause(_RETRY_AFTER_S)
            else:
                return

    async def derive(self) -> None:
        """Keep the schema 2 tree and its signed cross-reference at the newest size, where this release has it."""
        if leaves.SCHEMA_OF_RELEASE[self._settings.release] < 2:
            return
        while not self.stopping.is_set():
            try:
                async with self._connections.database.acquire() as connection:
                    size = await self._tree.derive(connection, dt.datetime.now(dt.UTC))
                if size is not None:
                    _say(f"cross-referenced the roots of schema 1 and 2 at size {size}")
            except LeavesError as error:
                _say(f"no cross-reference is signed: {error}")
            except _OUTAGES as error:
                _say(f"cannot derive schema 2 now: {_first_line(error)}")
            await self._pause(_DERIVE_EVERY_S)

    async def watch_queue(self) -> None:
        """Keep the gauge of the queue's depth."""
        while True:
            with contextlib.suppress(*_OUTAGES):
                cache = self._connections.cache
                self._metrics.queue_depth.set(await cache.llen(QUEUE) + await cache.llen(INFLIGHT))
            await asyncio.sleep(_TAKE_BOUND_S)

    async def _attempt(self, job: str) -> None:
        """Do one job and take it off the list; in an outage it goes back to the queue and the outage is raised."""
        try:
            await self._do(job)
        except (AttestationError, LeavesError, KeyError, ValueError) as error:
            _say(f"failed: {job[:200]}: {error!r}")
            self._metrics.operation("create", ok=False, count=len(makers.KINDS))
            with contextlib.suppress(KeyError, ValueError, TypeError):
                await self._connections.database.execute(
                    "UPDATE scans SET status = 'failed', finished = now() WHERE id = $1 AND status <> 'done'",
                    json.loads(job)["scan_id"],
                )
        except _OUTAGES:
            self._metrics.operation("create", ok=False, count=len(makers.KINDS))
            async with self._connections.cache.pipeline(transaction=True) as both:
                both.lrem(INFLIGHT, 1, job)
                both.rpush(QUEUE, job)
                await both.execute()
            raise
        await self._connections.cache.lrem(INFLIGHT, 1, job)

    async def _do(self, job: str) -> None:
        name = json.loads(job)["scan_id"]
        row = await self._connections.database.fetchrow(
            "UPDATE scans SET status = 'running' WHERE id = $1 AND status <> 'done' RETURNING image, created", name
        )
        if row is None:  # an earlier attempt finished it
            return
        try:
            await self._make(makers.Scan(id=name, image=row["image"], created=row["created"]))
        finally:
            # With its outcome, so that one still under way is no failed one.
            self._metrics.attestation_attempts.inc()

    async def _make(self, scan: makers.Scan) -> None:
        refused = self._faults.get("attestations-fail")
        if refused is not None and random.random() * 100 < float(refused.get("percent", 100)):  # noqa: S311
            raise AttestationError("the signing service refused")
        items = makers.make_evidence(scan, self._key)
        store = self._connections.store
        await asyncio.gather(
            *(asyncio.to_thread(store.put, item.object_key, item.content, item.media_type) for item in items)
        )
        now = dt.datetime.now(dt.UTC)
        logged = await self._log.append(items, self._log_key, now)
        async with self._connections.database.acquire() as connection:
            await self._tree.record(connection, scan, logged, now)
        self._metrics.attestation_success.inc()
        self._metrics.operation("create", ok=True, count=len(items))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)


def run(settings: Settings) -> int:
    """Work until SIGTERM; give the exit code."""
    faults = Faults(settings.faults_dir, settings.colour)
    uvloop.run(_work(settings, faults))
    return 0


async def _work(settings: Settings, faults: Faults) -> None:
    connections = await connect(settings, log_connections=settings.worker_concurrency)
    health = Health(settings, connections, faults)
    metrics = Metrics()
    worker = Worker(settings, connections, metrics, faults)
    await worker.recover()

    async def healthz(_request: Request) -> Response:
        return JsonResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        failing = health.failing()
        return JsonResponse({"ready": not failing, "checks": {**health.checks, **failing}}, 503 if failing else 200)

    async def version(_request: Request) -> Response:
        return JsonResponse({"version": settings.release, "colour": settings.colour, "pod": settings.pod_name})

    async def render(_request: Request) -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    routes = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/version", version),
        Route("/metrics", render),
    ]
    headers = (
        (b"x-stella-colour", settings.colour.encode()),
        (b"x-stella-pod", settings.pod_name.encode()),
        (b"x-stella-release", settings.release.encode()),
    )
    measured = Measured(
        Router(routes), metrics=metrics, headers=headers, routes={route.endpoint: route.path for route in routes}
    )

    def drain() -> None:
        health.draining = measured.draining = True
        worker.stopping.set()
        _say("draining")

    jobs = [asyncio.create_task(worker.work()) for _ in range(settings.worker_concurrency)]
    jobs.append(asyncio.create_task(worker.derive()))
    watching = [asyncio.create_task(health.watch()), asyncio.create_task(worker.watch_queue())]
    _say(f"{settings.colour} {settings.release} takes {settings.worker_concurrency} jobs at a time")
    try:
        # Nobody routes requests to a worker: nothing has to notice before the socket closes.
        await serve(measured, settings, port=settings.metrics_port, drain_delay_s=0, on_drain=drain)
        worker.stopping.set()
        await asyncio.wait(jobs, timeout=settings.drain_timeout_s)
    finally:
        tasks = (*jobs, *watching)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=GIVE_UP_S)
        await connections.close()


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _say(line: str) -> None:
    sys.stdout.write(f"worker: {line}\n")
    sys.stdout.flush()
