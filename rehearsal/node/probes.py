"""Probes: their settings, when they are due, and what their answers add up to.

Pure but for `perform`, which asks the container once. A `ProbeTally` is told the time by its caller, in seconds on one
monotonic clock, so a fake clock tests it. Success and failure count in runs: only as many equal answers in a row as the
threshold says change the verdict.

Source: Kubernetes API reference, Probe v1; messages as kubelet 1.36 words them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from rehearsal.node.shapes import Json

USER_AGENT = "kube-probe/1.36"
Execute = Callable[[tuple[str, ...], float], Awaitable[tuple[int | None, str]]]


class ProbeKind(StrEnum):
    """Which question a probe answers, in the word kubelet's events use."""

    STARTUP = "Startup"
    READINESS = "Readiness"
    LIVENESS = "Liveness"


SPEC_FIELDS = {
    ProbeKind.STARTUP: "startupProbe",
    ProbeKind.READINESS: "readinessProbe",
    ProbeKind.LIVENESS: "livenessProbe",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """A probe as its container's spec has it, with the API's defaults."""

    kind: ProbeKind
    action: Json
    initial_delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3
    grace_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTarget:
    """Where a probe asks: the pod's address, the container's ports, and how to run a command in the container."""

    pod_ip: str
    container: Json
    execute: Execute
    session: aiohttp.ClientSession


def read_probe(container: Json, kind: ProbeKind) -> ProbeSettings | None:
    """Return the container's probe of this kind, or None."""
    spec = container.get(SPEC_FIELDS[kind])
    if not spec:
        return None
    grace = spec.get("terminationGracePeriodSeconds")
    return ProbeSettings(
        kind=kind,
        action={name: spec[name] for name in ("httpGet", "tcpSocket", "exec", "grpc") if name in spec},
        initial_delay_s=float(spec.get("initialDelaySeconds") or 0),
        period_s=float(spec.get("periodSeconds") or 10),
        timeout_s=float(spec.get("timeoutSeconds") or 1),
        success_threshold=int(spec.get("successThreshold") or 1),
        failure_threshold=int(spec.get("failureThreshold") or 3),
        grace_s=None if grace is None else float(grace),
    )


class ProbeTally:
    """One probe of one run of a container: its verdict, and when to ask next.

    `started_at_s` is when the container started; `opened_at_s` when the probe may begin (the startup probe's success).
    """

    __slots__ = ("_run", "_run_of", "due_at_s", "settings", "verdict")

    def __init__(self, settings: ProbeSettings, *, started_at_s: float, opened_at_s: float | None = None) -> None:
        self.settings = settings
        # Not ready until proven; alive until proven otherwise; not started until proven.
        self.verdict = settings.kind is ProbeKind.LIVENESS
        first = started_at_s + settings.initial_delay_s
        self.due_at_s = first if opened_at_s is None else max(first, opened_at_s)
        self._run_of: bool | None = None
        self._run = 0

    def record(self, answer: bool, *, at_s: float) -> bool:
        """Count an answer given at `at_s` and return whether the threshold of its run is reached.

        The next question is due one period after this one was, or at once when the answer took longer than that.
        """
        self._run = self._run + 1 if answer is self._run_of else 1
        self._run_of = answer
        self.due_at_s = max(self.due_at_s + self.settings.period_s, at_s)
        wanted = self.settings.success_threshold if answer else self.settings.failure_threshold
        if self._run < wanted:
            return False
        self.verdict = answer
        return True


async def perform(settings: ProbeSettings, target: ProbeTarget) -> tuple[bool, str]:
    """Ask once, within the probe's timeout, and return the answer and kubelet's words for it."""
    action = settings.action
    if "httpGet" in action:
        return await get(action["httpGet"], target, settings.timeout_s, what="probe")
    if "tcpSocket" in action:
        return await _connect(action["tcpSocket"], target, settings.timeout_s)
    if "exec" in action:
        command = tuple(action["exec"].get("command") or ())
        code, output = await target.execute(command, settings.timeout_s)
        if code is None:
            return False, f'command timed out: "{" ".join(command)}" timed out after {settings.timeout_s:g}s'
        return code == 0, output
    return False, "this node performs httpGet, tcpSocket and exec probes"


async def get(action: Json, target: ProbeTarget, timeout_s: float, *, what: str) -> tuple[bool, str]:
    """Perform an httpGet action of a probe or a hook: 200 to 399 is success; certificates are not checked."""
    try:
        port = resolve_port(action["port"], target.container)
    except ValueError as problem:
        return False, str(problem)
    host = action.get("host") or target.pod_ip
    path = action.get("path") or "/"
    url = f"{(action.get('scheme') or 'HTTP').lower()}://{host}:{port}{path if path.startswith('/') else '/' + path}"
    headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
    headers |= {header["name"]: header["value"] for header in action.get("httpHeaders") or ()}
    try:
        async with target.session.get(
            URL(url, encoded=True),
            headers=headers,
            ssl=False,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as response:
            status = response.status
    except TimeoutError:
        failure = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    except aiohttp.ClientConnectorError as problem:
        failure = f"dial tcp {host}:{port}: connect: {_words(problem.os_error)}"
    except aiohttp.ServerDisconnectedError:
        failure = "EOF"
    except (aiohttp.ClientError, OSError, ValueError) as problem:
        failure = str(problem) or type(problem).__name__
    else:
        if 200 <= status < 400:
            return True, ""
        return False, f"HTTP {what} failed with statuscode: {status}"
    return False, f'Get "{url}": {failure}'


def resolve_port(port: int | str, container: Json) -> int:
    """Return a numeric port, looking a name up among the container's ports.

    Raises:
        ValueError: the container has no port of that name.
    """
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for declared in container.get("ports") or ():
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise ValueError(f"couldn't find port: {port} in {container.get('name')}")


async def _connect(action: Json, target: ProbeTarget, timeout_s: float) -> tuple[bool, str]:
    try:
        port = resolve_port(action["port"], target.container)
    except ValueError as problem:
        return False, str(problem)
    host = action.get("host") or target.pod_ip
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return False, f"dial tcp {host}:{port}: i/o timeout"
    except OSError as problem:
        return False, f"dial tcp {host}:{port}: connect: {_words(problem)}"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True, ""


def _words(problem: OSError) -> str:
    return os.strerror(problem.errno).lower() if problem.errno else str(problem)
