"""Events as a kubelet records them: one object for equal events, counted up, and no more than a pod may fill.

Recording never blocks and never fails its caller: events queue, one task sends them, and what the server refuses is
logged and dropped.

Source: client-go's event correlation as observable through the API (same source, object, reason and message count up;
25 events at once per object, then one in five minutes; a count-up costs the same as a new one).
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rehearsal.node.errors import ApiError
from rehearsal.node.shapes import Json, format_time, metadata

if TYPE_CHECKING:
    from rehearsal.node.api import Api

BURST = 25
REFILL_S = 300.0
REMEMBERED = 4096
COMPONENT = "kubelet"
_log = logging.getLogger(__name__)
_Key = tuple[str, str, str, str, str]


class EventRecorder:
    """Records events about pods and the node."""

    def __init__(self, api: Api, node_name: str) -> None:
        self._api = api
        self._node_name = node_name
        self._queue: asyncio.Queue[tuple[Json, str, str, str]] = asyncio.Queue(maxsize=1000)
        self._known: OrderedDict[_Key, tuple[str, int]] = OrderedDict()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def about_pod(self, pod: Json, kind: str, reason: str, message: str, *, field: str = "") -> None:
        """Record an event of `kind` (Normal, Warning) about a pod or, with `field`, one of its containers."""
        meta = metadata(pod)
        involved = {
            "kind": "Pod",
            "apiVersion": "v1",
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
            "resourceVersion": meta.get("resourceVersion", ""),
        }
        self._record(involved | ({"fieldPath": field} if field else {}), kind, reason, message)

    def about_node(self, kind: str, reason: str, message: str) -> None:
        """Record an event about the node itself."""
        self._record({"kind": "Node", "name": self._node_name, "uid": self._node_name}, kind, reason, message)

    async def run(self) -> None:
        """Send what is recorded, for ever."""
        while True:
            involved, kind, reason, message = await self._queue.get()
            try:
                await self._send(involved, kind, reason, message)
            except ApiError as problem:
                # A namespace that is being deleted takes no more events.
                _log.log(
                    logging.DEBUG if problem.status in {403, 404} else logging.WARNING, "event: %s", problem.message
                )
            finally:
                self._queue.task_done()

    async def flush(self, timeout_s: float) -> None:
        """Wait until what is recorded is sent, for at most `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._queue.join()
        except TimeoutError:
            _log.warning("%d events were not sent", self._queue.qsize())

    def _record(self, involved: Json, kind: str, reason: str, message: str) -> None:
        if not self._may_send(involved["uid"]):
            return
        try:
            self._queue.put_nowait((involved, kind, reason, message))
        except asyncio.QueueFull:
            _log.warning("event dropped: %s %s", reason, message)

    async def _send(self, involved: Json, kind: str, reason: str, message: str) -> None:
        key = (involved["uid"], involved.get("fieldPath", ""), kind, reason, message)
        namespace = involved.get("namespace", "default")
        collection = f"/api/v1/namespaces/{namespace}/events"
        now = format_time(datetime.now(UTC))
        known = self._known.get(key)
        if known is not None:
            name, count = known
            try:
                await self._api.patch(f"{collection}/{name}", {"count": count + 1, "lastTimestamp": now})
            except ApiError as problem:
                if problem.status != 404:
                    raise
                del self._known[key]
            else:
                self._known[key] = (name, count + 1)
                self._known.move_to_end(key)
                return
        name = f"{involved['name']}.{uuid.uuid4().hex[:16]}"
        source = {"component": COMPONENT, "host": self._node_name}
        body: Json = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "reportingComponent": COMPONENT,
            "reportingInstance": self._node_name,
        }
        await self._api.create(collection, body)
        self._known[key] = (name, 1)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _may_send(self, uid: str) -> bool:
        """Take one from the object's bucket of `BURST`, which gains one each `REFILL_S`."""
        now = time.monotonic()
        left, since = self._buckets.get(uid, (float(BURST), now))
        left = min(float(BURST), left + (now - since) / REFILL_S)
        allowed = left >= 1.0
        self._buckets[uid] = (left - 1.0 if allowed else left, now)
        self._buckets.move_to_end(uid)
        while len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return allowed
