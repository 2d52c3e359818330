"""One pod's life on the node: address, volumes, init containers in turn, containers together, status, termination.

`PodRunner.run` ends when the pod object is gone. One task writes the status: whatever changed in between is one patch,
and a patch that says nothing new is not sent. The patch names the pod's uid, so it never lands on a successor.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rehearsal.node.api import STRATEGIC_MERGE_PATCH
from rehearsal.node.container import LEAST_GRACE_S, ContainerRunner, Frame, Kind, Node
from rehearsal.node.errors import ApiError, MountError
from rehearsal.node.shapes import Json, metadata, parse_time
from rehearsal.node.status import lose, pod_status
from rehearsal.node.volumes import make_volumes

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal.node.logs import ContainerLog

RETRY_FIRST_S = 0.1
RETRY_LAST_S = 5.0
MOUNT_RETRY_S = 5.0
WITHDRAW_S = 1.0
_log = logging.getLogger(__name__)


class PodRunner:
    """Runs one pod, from the moment it is bound to the node."""

    def __init__(self, node: Node, pod: Json) -> None:
        meta = metadata(pod)
        status = pod.get("status") or {}
        self.namespace: str = meta["namespace"]
        self.name: str = meta["name"]
        self.uid: str = meta["uid"]
        self._node = node
        self._dirty = asyncio.Event()
        self._frame = Frame(node=node, pod=pod, folder=node.state / "pods" / self.uid, publish=self._dirty.set)
        before = {
            item["name"]: item
            for key in ("initContainerStatuses", "containerStatuses")
            for item in status.get(key) or ()
        }
        spec = pod["spec"]
        self._init = [
            ContainerRunner(self._frame, item, _init_kind(item), before.get(item["name"]))
            for item in spec.get("initContainers") or ()
        ]
        self._main = [
            ContainerRunner(self._frame, item, Kind.MAIN, before.get(item["name"])) for item in spec["containers"]
        ]
        self._started_at = parse_time(status["startTime"]) if status.get("startTime") else datetime.now(UTC)
        self._is_over = status.get("phase") in {"Succeeded", "Failed"}
        self._is_terminal = False
        self._verdict: tuple[str, str] | None = None
        self._deletion = asyncio.Event()
        self._gone = asyncio.Event()
        self._sending = asyncio.Lock()
        self._sent: Json | None = None
        self._conditions: dict[str, Json] = {}
        self._path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self._killer: asyncio.TimerHandle | None = None
        self.update(pod)

    @property
    def pod(self) -> Json:
        """Return the pod as last seen, with the status as last computed."""
        return self._frame.pod if self._sent is None else self._frame.pod | {"status": self._sent}

    @property
    def containers(self) -> tuple[ContainerRunner, ...]:
        """Return init containers, then containers."""
        return (*self._init, *self._main)

    def find_container(self, name: str) -> ContainerRunner | None:
        """Return the container of this name, or None."""
        return next((item for item in self.containers if item.name == name), None)

    def logs_of(self, container: ContainerRunner, *, previous: bool) -> tuple[Path | None, ContainerLog | None]:
        """Return the log file a reader means and, when it is still written, its writer."""
        path = container.log_path(previous=previous)
        live = container.live_log
        return path, live if live is not None and live.path == path else None

    def update(self, pod: Json) -> None:
        """Take the pod as the API server has it now."""
        self._frame.pod = pod
        meta = metadata(pod)
        if meta.get("deletionTimestamp"):
            self._deletion.set()
            self._schedule_kill(self._grace_s)
        self._dirty.set()

    def remove(self) -> None:
        """End at once: the pod object is gone."""
        self._gone.set()
        self._deletion.set()

    def signal_all(self, number: signal.Signals) -> int:
        """Signal every process of the pod and return how many there are: SIGKILL goes to whole process groups."""
        running = [item.process for item in self.containers if item.process is not None]
        for process in running:
            if number is signal.SIGKILL:
                process.kill()
            else:
                process.send(number)
        return len(running)

    async def run(self) -> None:
        """Run the pod until its object is gone."""
        writer = asyncio.create_task(self._write_statuses())
        try:
            if not self._is_over:
                await self._run_until_deleted()
            await self._deletion.wait()
            if not self._gone.is_set():
                await self._flush()
                await self._delete()
        finally:
            writer.cancel()
            if self._killer is not None:
                self._killer.cancel()
            self.signal_all(signal.SIGKILL)
        shutil.rmtree(self._frame.folder, ignore_errors=True)

    async def _run_until_deleted(self) -> None:
        life = asyncio.create_task(self._live())
        deletion = asyncio.create_task(self._deletion.wait())
        try:
            await asyncio.wait({life, deletion}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            deletion.cancel()
            life.cancel()
            await asyncio.wait({life})
        if not life.cancelled() and (problem := life.exception()) is not None:
            _log.error("pod %s/%s failed in the agent", self.namespace, self.name, exc_info=problem)
        if self._deletion.is_set():
            await self._terminate()

    async def _live(self) -> None:
        """Run the pod's containers as its spec says, until none will run again."""
        self._frame.pod_ip = self._node.allocate_ip()
        self._dirty.set()
        deadline_s = self._frame.pod["spec"].get("activeDeadlineSeconds")
        left_s = None
        if deadline_s is not None:
            left_s = max(0.0, deadline_s - (datetime.now(UTC) - self._started_at).total_seconds())
        sidecars: list[asyncio.Task[object]] = []
        try:
            async with asyncio.timeout(left_s):
                self._frame.places = await self._make_volumes()
                if await self._initialise(sidecars):
                    async with asyncio.TaskGroup() as group:
                        for container in self._main:
                            group.create_task(container.run())
        except TimeoutError:
            self._verdict = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            self._node.events.about_pod(self._frame.pod, "Normal", *self._verdict)
        finally:
            for task in sidecars:
                task.cancel()
            if sidecars:
                await asyncio.wait(sidecars)
        await self._stop_all(self._frame.grace_s)
        self._settle()

    async def _initialise(self, sidecars: list[asyncio.Task[object]]) -> bool:
        """Run the init containers in turn, and return whether the pod is initialised."""
        for container in self._init:
            if container.kind is Kind.SIDECAR:
                sidecars.append(asyncio.create_task(container.run()))
                await container.started.wait()
            elif (await container.run()).exit_code != 0:
                return False
        return True

    async def _make_volumes(self) -> dict[str, Path]:
        while True:
            try:
                return await make_volumes(
                    self._node.api, self._frame.pod, self._frame.folder / "volumes", self._frame.facts
                )
            except MountError as problem:
                self._node.events.about_pod(self._frame.pod, "Warning", "FailedMount", problem.message)
                await asyncio.sleep(MOUNT_RETRY_S)
            except ApiError as problem:
                _log.warning("volumes of %s/%s: %s", self.namespace, self.name, problem.message)
                await asyncio.sleep(1.0)

    async def _terminate(self) -> None:
        """Take the pod out of service, then end it as its deletion asks."""
        for container in self.containers:
            container.withdraw()
        if self._gone.is_set():
            self.signal_all(signal.SIGKILL)
        # Out of service first, so that its endpoints go before it does; an absent API server holds nothing up.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WITHDRAW_S):
                await self._flush()
        await self._stop_all(self._grace_s)
        self._settle()

    async def _stop_all(self, grace_s: float) -> None:
        """End the containers, then the sidecars, within one grace."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + grace_s
        for group in (self._main, [item for item in reversed(self._init) if item.kind is not Kind.INIT], self._init):
            left_s = max(0.0, deadline_s - loop.time())
            await asyncio.gather(*(item.stop(left_s, f"Stopping container {item.name}") for item in group))

    def _settle(self) -> None:
        """No container will run again: leave each in the state that is reported from now on."""
        is_cut_short = self._deletion.is_set() or self._verdict is not None
        for container in self.containers:
            view = container.view
            if is_cut_short or container.kind is Kind.SIDECAR:
                container.settle(lose(view))
        self._is_terminal = True
        self._dirty.set()

    @property
    def _grace_s(self) -> float:
        asked = metadata(self._frame.pod).get("deletionGracePeriodSeconds")
        return self._frame.grace_s if asked is None else float(asked)

    def _schedule_kill(self, grace_s: float) -> None:
        """Kill what is left when the grace (or a shorter one that was asked for later) is over, hooks included."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + grace_s + LEAST_GRACE_S
        if self._killer is not None:
            due_s = min(due_s, self._killer.when())
            self._killer.cancel()
        self._killer = loop.call_at(due_s, self.signal_all, signal.SIGKILL)

    async def _write_statuses(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            # Changes of one moment become one patch.
            await asyncio.sleep(0)
            await self._flush()

    async def _flush(self) -> None:
        """Send the status as it is now, as often as it takes, unless the server has it or the pod is gone."""
        pause_s = RETRY_FIRST_S
        async with self._sending:
            while not self._gone.is_set():
                status = self._compute()
                if status == self._sent:
                    return
                try:
                    await self._node.api.patch(f"{self._path}/status", _patch(self.uid, status), STRATEGIC_MERGE_PATCH)
                except ApiError as problem:
                    if problem.status in {404, 409}:
                        # Gone, or another pod of this name by now.
                        return
                    _log.warning("status of %s/%s: %s", self.namespace, self.name, problem.message)
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, RETRY_LAST_S)
                else:
                    self._sent = status
                    return

    def _compute(self) -> Json:
        if self._is_over:
            over: Json = self._frame.pod["status"]
            return over
        reported = {item["type"]: item for item in (self._frame.pod.get("status") or {}).get("conditions") or ()}
        status = pod_status(
            self._frame.pod,
            [item.view for item in self._init],
            [item.view for item in self._main],
            pod_ip=self._frame.pod_ip,
            host_ip=self._node.ip,
            now=datetime.now(UTC),
            started_at=self._started_at,
            previous=(reported | self._conditions).values(),
            is_terminal=self._is_terminal,
            verdict=self._verdict,
        )
        self._conditions = {item["type"]: item for item in status["conditions"]}
        return status

    async def _delete(self) -> None:
        """Delete the pod object for good."""
        pause_s = RETRY_FIRST_S
        body: Json = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": self.uid},
        }
        while not self._gone.is_set():
            try:
                await self._node.api.delete(self._path, body)
            except ApiError as problem:
                if problem.status in {404, 409}:
                    return
                _log.warning("deletion of %s/%s: %s", self.namespace, self.name, problem.message)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_LAST_S)
            else:
                return


def _init_kind(spec: Json) -> Kind:
    return Kind.SIDECAR if spec.get("restartPolicy") == "Always" else Kind.INIT


def _patch(uid: str, status: Json) -> Json:
    """Return the strategic merge patch that brings a pod to this status; lists with a merge key are replaced."""
    body = dict(status)
    if "podIPs" in body:
        body["podIPs"] = [*body["podIPs"], {"$patch": "replace"}]
    return {"metadata": {"uid": uid}, "status": body}
