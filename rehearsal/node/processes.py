"""Container processes: started in a session of their own, watched by pidfd, ended with everything they started.

Invariants: a process is forked by the agent's main thread and dies with it (PR_SET_PDEATHSIG is bound to the thread);
when a container's first process ends, everything it started is killed: its process group, and what left the group but
still carries the container's mark in its environment; both pipes are read to their end, or for `DRAIN_S`, before the
run counts as finished.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.node.mounts import Mount, bind_all, die_with_parent, join_mounts, name_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal.node.logs import ContainerLog

DRAIN_S = 0.5
STATE_MARK = "NODE_AGENT_STATE"
CONTAINER_MARK = "NODE_AGENT_CONTAINER"
LARGEST_OUTPUT_BYTES = 10 * 1024
_BLOCK_BYTES = 64 * 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to start. `scratch` is an empty folder for putting the container's root together."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str
    hostname: str
    mounts: tuple[Mount, ...]
    scratch: Path


class Process:
    """A started container process. `finished` resolves to its exit code, negative for a signal."""

    def __init__(self, launch: Launch, log: ContainerLog) -> None:
        """Start it. Raises OSError when the program, the working folder or a mount cannot be had."""
        self.launch = launch
        self.log = log
        loop = asyncio.get_running_loop()
        self.finished: asyncio.Future[int] = loop.create_future()
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(2)]
        failure, report = os.pipe2(os.O_CLOEXEC)
        try:
            self._child = subprocess.Popen(
                launch.argv,
                env=dict(launch.env),
                stdin=subprocess.DEVNULL,
                stdout=pipes[0][1],
                stderr=pipes[1][1],
                start_new_session=True,
                restore_signals=True,
                preexec_fn=lambda: _enter(launch, report),  # noqa: PLW1509 - the agent has one thread
            )
        except (OSError, subprocess.SubprocessError) as problem:
            for reader, _ in pipes:
                os.close(reader)
            os.close(report)
            report = -1
            said = os.read(failure, _BLOCK_BYTES).decode(errors="replace")
            log.close()
            raise OSError(said or _explain(problem, launch)) from problem
        finally:
            for _, writer in pipes:
                os.close(writer)
            os.close(failure)
            if report >= 0:
                os.close(report)
        self.pid = self._child.pid
        self._pumps = [_Pump(reader, name, log) for (reader, _), name in zip(pipes, ("stdout", "stderr"), strict=True)]
        self._pidfd = os.pidfd_open(self.pid)
        loop.add_reader(self._pidfd, self._on_exit)

    @property
    def is_running(self) -> bool:
        """Whether the first process has not ended yet."""
        return self._pidfd >= 0

    def send(self, number: signal.Signals) -> None:
        """Signal the first process, as a container runtime does."""
        if self.is_running:
            signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """Kill the whole process group at once."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _on_exit(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        # The dead leader still holds the group's number: only then is killing by number safe.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        os.close(self._pidfd)
        self._pidfd = -1
        code = self._child.wait()
        strays = kill_marked(CONTAINER_MARK, self.launch.env[CONTAINER_MARK])
        drained = asyncio.gather(*(pump.drained for pump in self._pumps))
        task = loop.create_task(self._finish(code, drained, strays))
        task.add_done_callback(lambda done: done.exception())

    async def _finish(self, code: int, drained: asyncio.Future[list[None]], strays: list[int]) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(drained, DRAIN_S)
        for pump in self._pumps:
            pump.close()
        _reap(self.pid, strays)
        self.log.close()
        if not self.finished.done():
            self.finished.set_result(code)


async def execute(inside: Process, argv: tuple[str, ...], timeout_s: float) -> tuple[int | None, str]:
    """Run a command in a container (its environment, folder and files) and return its exit code and output.

    The exit code is None when the time was up; then the command and what it started were killed.
    """
    if not inside.is_running:
        return 137, "container not running"
    launch = inside.launch
    try:
        child = await asyncio.create_subprocess_exec(
            *argv,
            env=dict(launch.env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: _join(inside.pid, launch),
        )
    except (OSError, subprocess.SubprocessError) as problem:
        return 126, f"exec failed: {problem}"
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await child.communicate()
    except TimeoutError:
        return None, ""
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
    return child.returncode, output[:LARGEST_OUTPUT_BYTES].decode(errors="replace")


def kill_marked(name: str, value: str) -> list[int]:
    """Kill every process whose environment was given `name`=`value`, whatever its session, and return their ids.

    A process that changed its environment's memory, or that belongs to another user, is left alone.
    """
    mark = f"{name}={value}".encode()
    killed = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            content = Path(entry.path, "environ").read_bytes()
            if mark in content and mark in content.split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
                killed.append(int(entry.name))
        except OSError:
            continue
    return killed


class _Pump:
    """Reads one pipe into the log, whole lines at a time."""

    def __init__(self, descriptor: int, stream: str, log: ContainerLog) -> None:
        self._descriptor = descriptor
        self._stream = stream
        self._container_log = log
        self._rest = b""
        loop = asyncio.get_running_loop()
        self.drained: asyncio.Future[None] = loop.create_future()
        os.set_blocking(descriptor, False)
        loop.add_reader(descriptor, self._read)

    def close(self) -> None:
        """Stop reading; what is left of a line is its end."""
        if self._descriptor < 0:
            return
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        if self._rest:
            self._container_log.write(self._stream, [self._rest])
            self._rest = b""
        if not self.drained.done():
            self.drained.set_result(None)

    def _read(self) -> None:
        try:
            content = os.read(self._descriptor, _BLOCK_BYTES)
        except BlockingIOError:
            return
        if not content:
            self.close()
            return
        *lines, self._rest = (self._rest + content).split(b"\n")
        if len(self._rest) > _BLOCK_BYTES:
            lines.append(self._rest)
            self._rest = b""
        if lines:
            try:
                self._container_log.write(self._stream, lines)
            except OSError as problem:
                _log.warning("cannot write %s: %s", self._container_log.path, problem)


def _enter(launch: Launch, report: int) -> None:
    """Become the container's process, between fork and exec. What goes wrong is written to `report`."""
    try:
        die_with_parent(signal.SIGKILL)
        name_host(launch.hostname)
        if launch.mounts:
            bind_all(launch.mounts, launch.scratch)
        os.chdir(launch.working_dir)
    except OSError as problem:
        os.write(report, (problem.strerror or str(problem)).encode())
        raise


def _join(pid: int, launch: Launch) -> None:
    die_with_parent(signal.SIGKILL)
    if launch.mounts:
        join_mounts(pid)
    os.chdir(launch.working_dir)


def _reap(group: int, strays: list[int]) -> None:
    """Reap what the agent adopted of a container: the process group, and strays outside it. Does not wait."""
    with contextlib.suppress(ChildProcessError):
        while os.waitid(os.P_PGID, group, os.WEXITED | os.WNOHANG) is not None:
            pass
    for stray in strays:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(stray, os.WNOHANG)


def _explain(problem: BaseException, launch: Launch) -> str:
    if isinstance(problem, FileNotFoundError):
        return f'exec: "{launch.argv[0]}": executable file not found in $PATH'
    if isinstance(problem, PermissionError):
        return f'exec: "{launch.argv[0]}": permission denied'
    return str(problem)
