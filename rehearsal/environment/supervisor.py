"""The first process of the sandbox: makes its network and mounts, starts the parts, and watches them.

Started by `rehearsal.environment.sandbox` as pid 1 of the new namespaces. Invariants: parts start as soon as those
they come after are ready; nothing is restarted; every part's output is in its log; what is known of every part is in
`status.json`, replaced atomically at each change. When this process dies, the kernel ends everything in the sandbox.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import rt_scope, rt_type

from rehearsal.environment import installation, layout, parts
from rehearsal.environment.errors import PartFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rehearsal.environment.parts import Job, Part

READY_BOUND_S = 90.0
_PROBE_INTERVAL_S = 0.05
_MS_BIND = 4096


@dataclass(slots=True, kw_only=True)
class PartState:
    """What is known of a part or job; one entry of `status.json`."""

    state: str = "waiting"  # waiting | starting | ready | done | ended
    pid: int | None = None
    address: str = ""
    ready_after_s: float | None = None
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """Starts parts and jobs and keeps their state."""

    place: layout.Place
    parts: Sequence[Part]
    jobs: Sequence[Job]
    began: float = field(default_factory=time.monotonic)
    state: str = "starting"
    reason: str = ""
    states: dict[str, PartState] = field(default_factory=dict)
    _ready: dict[str, asyncio.Event] = field(default_factory=dict)
    _processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def bring_up(self) -> None:
        """Start everything; return when every part is ready and every job done.

        Raises: PartFailed as soon as one part ends or is late, or one job fails.
        """
        addresses = {part.name: part.address for part in self.parts} | {job.name: "" for job in self.jobs}
        for name, address in addresses.items():
            self.states[name] = PartState(address=address)
            self._ready[name] = asyncio.Event()
        self.report()
        async with asyncio.TaskGroup() as group:
            for part in self.parts:
                group.create_task(self._start(part))
            for job in self.jobs:
                group.create_task(self._work(job))
        self.state = "up"
        self.report()

    async def _start(self, part: Part) -> None:
        await self._dependencies(part.after)
        entry = self.states[part.name]
        entry.state = "starting"
        self.place.data(part.name).mkdir(parents=True, exist_ok=True)
        with self.place.logs(part.name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *part.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **part.environment},
                cwd=part.folder or self.place.root,
                start_new_session=True,
            )
        self._processes[part.name] = process
        entry.pid = process.pid
        deadline = time.monotonic() + READY_BOUND_S
        while part.ready is not None and not await asyncio.to_thread(part.ready):
            if process.returncode is not None:
                raise PartFailed(f"{part.name} ended before it was ready ({_ended(process.returncode)})")
            if time.monotonic() > deadline:
                raise PartFailed(f"{part.name} was not ready within {READY_BOUND_S:.0f} s")
            await asyncio.sleep(_PROBE_INTERVAL_S)
        self._became(part.name, "ready")

    async def _work(self, job: Job) -> None:
        await self._dependencies(job.after)
        self.states[job.name].state = "starting"
        try:
            await asyncio.to_thread(job.work)
        except Exception as error:
            with self.place.logs(job.name).open("a", encoding="utf-8") as log:
                log.write(f"{type(error).__name__}: {error}\n")
            raise PartFailed(f"{job.name} failed: {error}") from error
        self._became(job.name, "done")

    async def _dependencies(self, names: Iterable[str]) -> None:
        for name in names:
            await self._ready[name].wait()

    def _became(self, name: str, state: str) -> None:
        entry = self.states[name]
        entry.state = state
        entry.ready_after_s = round(time.monotonic() - self.began, 2)
        self._ready[name].set()
        self.report()

    async def watch(self) -> None:
        """Note every part that ends from now on; never returns."""

        async def wait(name: str, process: asyncio.subprocess.Process) -> None:
            code = await process.wait()
            entry = self.states[name]
            entry.state, entry.pid, entry.detail = "ended", None, _ended(code)
            self.report()

        await asyncio.gather(*(wait(name, process) for name, process in self._processes.items()))
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """End every part in the reverse order of their start, each with its own signal."""
        known = {part.name: part for part in self.parts}
        for name, process in reversed(self._processes.items()):
            if process.returncode is not None:
                continue
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(known[name].stop_signal)
            try:
                await asyncio.wait_for(process.wait(), known[name].stop_bound_s)
            except TimeoutError as error:
                if not known[name].survives_kill:
                    raise PartFailed(f"{name} did not end within {known[name].stop_bound_s:.0f} s") from error
                process.kill()
                await process.wait()

    def report(self) -> None:
        """Replace `status.json`."""
        document: dict[str, Any] = {
            "state": self.state,
            "reason": self.reason,
            "parts": {
                name: {
                    "state": entry.state,
                    "pid": entry.pid,
                    "address": entry.address,
                    "ready_after_s": entry.ready_after_s,
                    "detail": entry.detail,
                }
                for name, entry in self.states.items()
            },
        }
        fresh = self.place.status.with_suffix(".new")
        fresh.write_text(json.dumps(document, indent=1), encoding="utf-8")
        fresh.replace(self.place.status)


def _ended(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def make_network() -> None:
    """Bring up loopback, make the three ranges local, and let port 80 be anybody's."""
    with IPRoute() as route:
        loopback = route.link_lookup(ifname="lo")[0]
        route.link("set", index=loopback, state="up")
        for destination in (layout.POD_RANGE, layout.SERVICE_RANGE, layout.INFRASTRUCTURE_RANGE):
            route.route("add", dst=destination, oif=loopback, table=255, type=rt_type["local"], scope=rt_scope["host"])
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0", encoding="ascii")


def _bind(source: Path, target: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND, None) != 0:
        number = ctypes.get_errno()
        raise PartFailed(f"cannot put {source.name} over {target}: {os.strerror(number)}")


def make_mounts(place: layout.Place) -> None:
    """Put the environment's host names over `/etc/hosts`, and a resolver that refuses over `/etc/resolv.conf`."""
    place.hosts.write_text(layout.hosts_text(), encoding="ascii")
    _bind(place.hosts, Path("/etc/hosts").resolve())
    resolver = Path("/etc/resolv.conf").resolve()
    if resolver.exists():
        ours = place.root / "resolv.conf"
        ours.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", encoding="ascii")
        _bind(ours, resolver)


def _reap(known: Supervisor) -> None:
    """Bury orphans: whatever lost its parent in the sandbox is a child of pid 1."""
    ours = {process.pid for process in known._processes.values()}  # noqa: SLF001
    while True:
        try:
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if seen is None or seen.si_pid in ours:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(seen.si_pid, os.WNOHANG)


async def _bury_orphans(supervisor: Supervisor) -> None:
    while True:
        await asyncio.sleep(1)
        _reap(supervisor)


async def _run(supervisor: Supervisor, *, once: bool) -> int:
    code = 0
    try:
        await supervisor.bring_up()
        if once:
            await supervisor.stop()
            supervisor.state = "done"
            supervisor.report()
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(supervisor.watch())
                group.create_task(_bury_orphans(supervisor))
    except* PartFailed as failures:
        supervisor.state = "failed"
        supervisor.reason = str(failures.exceptions[0])
        supervisor.report()
        code = 1
    return code


def main() -> int:
    """Set the sandbox up and stay until killed (or, for `--data`, until the seeded data are made)."""
    parser = argparse.ArgumentParser(prog="rehearsal.environment.supervisor")
    parser.add_argument("--state", type=Path, required=True)
    arguments = parser.parse_args()
    place = layout.Place.at(arguments.state)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    plan = json.loads(place.plan.read_text(encoding="utf-8"))
    scene = parts.Scene.planned(place)
    make_network()
    make_mounts(place)
    os.environ["PATH"] = parts.path_variable(place)
    if plan["purpose"] == "data":
        from rehearsal.environment import seeding  # noqa: PLC0415 - brings drivers along that nothing else needs

        started, jobs = seeding.contents(scene)
    else:
        started, jobs = installation.contents(scene, plan["extent"])
    supervisor = Supervisor(place=place, parts=started, jobs=jobs)
    return asyncio.run(_run(supervisor, once=plan["purpose"] == "data"))


if __name__ == "__main__":
    sys.exit(main())
