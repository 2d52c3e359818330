"""The node: its Node object, its Lease, the pods bound to it, its server; one event loop runs it all.

Invariants: the Lease is renewed every 10 s whatever the pods do; the agent ends its pods' processes when it ends, and
at its start kills what a killed predecessor left.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import platform
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from rehearsal.node.api import STRATEGIC_MERGE_PATCH, Api, Informer, read_kubeconfig
from rehearsal.node.container import Node
from rehearsal.node.errors import ApiError
from rehearsal.node.events import EventRecorder
from rehearsal.node.mounts import adopt_orphans
from rehearsal.node.pod import PodRunner
from rehearsal.node.processes import STATE_MARK, kill_marked
from rehearsal.node.pull import ImageStore
from rehearsal.node.server import PORT, serve
from rehearsal.node.shapes import Json, format_micro_time, format_time, metadata

if TYPE_CHECKING:
    from collections.abc import Callable

LEASE_RENEWAL_S = 10.0
LEASE_S = 40
LEASE_RETRY_S = 1.0
STATUS_S = 300.0
CLOSING_S = 2.0
RETRY_S = 0.5
ADMISSION_S = 5.0
ADMISSION_LOOK_S = 0.05
NOT_READY_TAINT = "node.kubernetes.io/not-ready"
MOST_PODS = 110
_CONDITIONS = (
    ("MemoryPressure", False, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", False, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", False, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", True, "KubeletReady", "kubelet is posting ready status"),
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line says. `faults` is a folder that every container is told of (STELLA_FAULTS_DIR)."""

    kubeconfig: Path
    state: Path
    images: Path
    faults: Path
    node_ip: str
    pod_cidr: str
    name: str


class Agent:
    """The node agent."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pods: dict[str, tuple[PodRunner, asyncio.Task[None]]] = {}
        self._network = ipaddress.ip_network(settings.pod_cidr)
        self._next_address = 1
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    def find_pod(self, namespace: str, name: str) -> PodRunner | None:
        """Return the newest pod of this name that the node knows, or None."""
        found = [runner for runner, _ in self._pods.values() if (runner.namespace, runner.name) == (namespace, name)]
        return found[-1] if found else None

    def list_pods(self) -> list[Json]:
        """Return the pods the node knows, with the status it last reported."""
        return [runner.pod for runner, _ in self._pods.values()]

    async def run(self) -> None:
        """Run the node until SIGTERM or SIGINT, then end every pod's processes."""
        settings = self._settings
        settings.state.mkdir(parents=True, exist_ok=True)
        adopt_orphans()
        left = kill_marked(STATE_MARK, str(settings.state))
        if left:
            _log.warning("killed %d processes of an earlier agent", len(left))
        closing = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, closing.set)
        async with contextlib.AsyncExitStack() as stack:
            api = await stack.enter_async_context(Api(read_kubeconfig(settings.kubeconfig)))
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            events = EventRecorder(api, settings.name)
            node = Node(
                name=settings.name,
                ip=settings.node_ip,
                state=settings.state,
                base_env=_base_environment(settings.faults),
                api=api,
                events=events,
                images=ImageStore(settings.images, settings.state),
                session=session,
                allocate_ip=self._allocate_ip,
            )
            node_object = await _until_it_works(lambda: self._register(node), "register the node")
            await _await_admission(api, settings.name)
            await stack.enter_async_context(serve(self, settings.node_ip, settings.state))
            events.about_node("Normal", "Starting", "Starting kubelet.")
            informer = Informer(
                api,
                "/api/v1/pods",
                {"fieldSelector": f"spec.nodeName={settings.name}"},
                on_change=lambda pod: self._on_change(node, pod),
                on_gone=self._on_gone,
            )
            tasks = [
                asyncio.create_task(informer.run(), name="pods"),
                asyncio.create_task(events.run(), name="events"),
                asyncio.create_task(self._renew_lease(api, metadata(node_object)["uid"]), name="lease"),
                asyncio.create_task(self._report_node(node), name="node"),
            ]
            wanted = asyncio.create_task(closing.wait())
            done, _ = await asyncio.wait({*tasks, wanted}, return_when=asyncio.FIRST_COMPLETED)
            for task in (*tasks, wanted):
                task.cancel()
            await asyncio.wait({*tasks, wanted})
            await self._close()
            for task in done - {wanted}:
                # None of them ends by itself: this is a fault of the agent's, and its exit shows it.
                task.result()

    async def _close(self) -> None:
        """End every process: SIGTERM, and SIGKILL after `CLOSING_S`."""
        runners = [runner for runner, _ in self._pods.values()]
        count = sum(runner.signal_all(signal.SIGTERM) for runner in runners)
        deadline_s = time.monotonic() + CLOSING_S
        processes = [item.process for runner in runners for item in runner.containers if item.process is not None]
        if processes:
            waits = {asyncio.ensure_future(asyncio.shield(process.finished)) for process in processes}
            await asyncio.wait(waits, timeout=max(0.0, deadline_s - time.monotonic()))
            for process in processes:
                process.kill()
            await asyncio.wait(waits, timeout=1.0)
        tasks = [task for _, task in self._pods.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        _log.info("ended %d processes", count)

    def _on_change(self, node: Node, pod: Json) -> None:
        uid = metadata(pod)["uid"]
        known = self._pods.get(uid)
        if known is not None:
            known[0].update(pod)
            return
        runner = PodRunner(node, pod)
        task = asyncio.create_task(runner.run(), name=f"{runner.namespace}/{runner.name}")
        task.add_done_callback(_report_failure)
        self._pods[uid] = (runner, task)

    def _on_gone(self, pod: Json) -> None:
        uid = metadata(pod)["uid"]
        known = self._pods.get(uid)
        if known is None:
            return
        runner, task = known
        runner.remove()
        task.add_done_callback(lambda _: self._pods.pop(uid, None))

    def _allocate_ip(self) -> str:
        """Return an address of the pod network that no pod of the node uses, the next one in turn."""
        used = {str((pod.get("status") or {}).get("podIP")) for pod in self.list_pods()}
        for _ in range(self._network.num_addresses):
            self._next_address = self._next_address % (self._network.num_addresses - 2) + 1
            address = str(self._network[self._next_address])
            if address not in used:
                return address
        raise RuntimeError(f"no address is left in {self._network}")

    async def _register(self, node: Node) -> Json:
        """Create the Node object, or bring an existing one up to date."""
        body = self._node_object(node, await _server_version(node.api))
        try:
            return await node.api.create("/api/v1/nodes", body)
        except ApiError as problem:
            if problem.status != 409:
                raise
        path = f"/api/v1/nodes/{node.name}"
        await node.api.patch(path, {"metadata": {"labels": body["metadata"]["labels"]}}, STRATEGIC_MERGE_PATCH)
        status = body["status"] | {"addresses": [*body["status"]["addresses"], {"$patch": "replace"}]}
        return await node.api.patch(f"{path}/status", {"status": status}, STRATEGIC_MERGE_PATCH)

    def _node_object(self, node: Node, server_version: str) -> Json:
        system = platform.uname()
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(system.machine, system.machine)
        labels = {
            "kubernetes.io/hostname": node.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture,
        }
        now = format_time(datetime.now(UTC))
        memory_kib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
        capacity = {
            "cpu": str(os.cpu_count() or 1),
            "memory": f"{memory_kib}Ki",
            "ephemeral-storage": f"{shutil.disk_usage(node.state).total // 1024}Ki",
            "pods": str(MOST_PODS),
        }
        conditions = [
            {
                "type": kind,
                "status": "True" if truth else "False",
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
            for kind, truth, reason, message in _CONDITIONS
        ]
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node.name, "labels": labels},
            "spec": {"podCIDR": self._settings.pod_cidr, "podCIDRs": [self._settings.pod_cidr]},
            "status": {
                "capacity": capacity,
                "allocatable": capacity,
                "conditions": conditions,
                "addresses": [
                    {"type": "InternalIP", "address": node.ip},
                    {"type": "Hostname", "address": node.name},
                ],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": PORT}},
                "nodeInfo": {
                    "architecture": architecture,
                    "bootID": self._boot_id,
                    "containerRuntimeVersion": "process://1.0.0",
                    "kernelVersion": system.release,
                    "kubeProxyVersion": "",
                    "kubeletVersion": f"{server_version}+processes",
                    "machineID": "",
                    "operatingSystem": "linux",
                    "osImage": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
                    "systemUUID": "",
                },
                "images": node.images.describe(),
            },
        }

    async def _report_node(self, node: Node) -> None:
        """Refresh the Node's status now and every five minutes, as a kubelet with nothing new does."""
        while True:
            await asyncio.sleep(STATUS_S)
            now = format_time(datetime.now(UTC))
            conditions = [
                {"type": kind, "status": "True" if truth else "False", "lastHeartbeatTime": now}
                for kind, truth, _, _ in _CONDITIONS
            ]
            body = {"status": {"conditions": conditions, "images": node.images.describe()}}
            with contextlib.suppress(ApiError):
                await node.api.patch(f"/api/v1/nodes/{node.name}/status", body, STRATEGIC_MERGE_PATCH)

    async def _renew_lease(self, api: Api, node_uid: str) -> None:
        name = self._settings.name
        collection = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid}
        failing = False
        while True:
            renewal = {"holderIdentity": name, "leaseDurationSeconds": LEASE_S}
            spec = renewal | {"renewTime": format_micro_time(datetime.now(UTC))}
            try:
                try:
                    await api.patch(f"{collection}/{name}", {"spec": spec})
                except ApiError as problem:
                    if problem.status != 404:
                        raise
                    meta = {"name": name, "namespace": "kube-node-lease", "ownerReferences": [owner]}
                    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
                    await api.create(collection, body)
            except ApiError as problem:
                if not failing:
                    _log.warning("the lease is not renewed: %s", problem.message)
                failing = True
                await asyncio.sleep(LEASE_RETRY_S)
            else:
                if failing:
                    _log.info("the lease is renewed again")
                failing = False
                await asyncio.sleep(LEASE_RENEWAL_S)


async def _until_it_works(act: Callable[[], object], what: str) -> Json:
    while True:
        try:
            result: Json = await act()  # type: ignore[misc]
        except ApiError as problem:
            _log.warning("cannot %s yet: %s", what, problem.message)
            await asyncio.sleep(RETRY_S)
        else:
            return result


async def _await_admission(api: Api, name: str) -> None:
    """Wait until the controllers have taken the taint of a new node away: only then are pods scheduled to it.

    Who waits for the node's port then finds a node that works. Without controllers this ends after `ADMISSION_S`.
    """
    deadline_s = time.monotonic() + ADMISSION_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(ApiError):
            found = await api.get(f"/api/v1/nodes/{name}")
            if not any(taint["key"] == NOT_READY_TAINT for taint in found["spec"].get("taints") or ()):
                return
        await asyncio.sleep(ADMISSION_LOOK_S)


async def _server_version(api: Api) -> str:
    return str((await api.get("/version"))["gitVersion"])


def _base_environment(faults: Path) -> dict[str, str]:
    """Return what every container gets; the agent's own Python is first on PATH, so an image's `python` is that."""
    folders = [str(Path(sys.executable).parent), *os.environ.get("PATH", os.defpath).split(os.pathsep)]
    result = {
        "PATH": os.pathsep.join(dict.fromkeys(folders)),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "STELLA_FAULTS_DIR": str(faults),
    }
    # The sources may be found by these alone (a checkout that is not installed).
    kept = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
    return result | {name: os.environ[name] for name in kept if name in os.environ}


def _report_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (problem := task.exception()) is not None:
        _log.error("pod %s failed in the agent", task.get_name(), exc_info=problem)
