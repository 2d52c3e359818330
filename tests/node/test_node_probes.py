"""Probes: thresholds and times by a fake clock; answers from servers on the loopback address."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from rehearsal.node.probes import (
    ProbeKind,
    ProbeSettings,
    ProbeTally,
    ProbeTarget,
    perform,
    read_probe,
    resolve_port,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rehearsal.node.shapes import Json


def tally(kind: ProbeKind = ProbeKind.READINESS, **settings: float) -> ProbeTally:
    spec = {
        "initialDelaySeconds": settings.get("delay", 0),
        "periodSeconds": settings.get("period", 10),
        "successThreshold": settings.get("success", 1),
        "failureThreshold": settings.get("failure", 3),
        "tcpSocket": {"port": 80},
    }
    found = read_probe({"name": "c", f"{kind.value.lower()}Probe": spec}, kind)
    assert found is not None
    return ProbeTally(found, started_at_s=100.0)


def test_defaults_are_the_apis() -> None:
    found = read_probe({"readinessProbe": {"httpGet": {"port": 80}}}, ProbeKind.READINESS)
    assert found is not None
    assert (found.initial_delay_s, found.period_s, found.timeout_s) == (0, 10, 1)
    assert (found.success_threshold, found.failure_threshold, found.grace_s) == (1, 3, None)
    assert read_probe({"readinessProbe": {}}, ProbeKind.LIVENESS) is None


@pytest.mark.parametrize(
    ("kind", "verdict"), [(ProbeKind.STARTUP, False), (ProbeKind.READINESS, False), (ProbeKind.LIVENESS, True)]
)
def test_before_the_first_answer(kind: ProbeKind, verdict: bool) -> None:
    assert tally(kind).verdict is verdict


@pytest.mark.parametrize(
    ("kind", "success", "failure", "answers", "reached"),
    [
        # Each answer (+ or -), and whether it completes a run: the verdict follows the completed runs only.
        (ProbeKind.READINESS, 1, 3, "+--+---", "*..*..*"),
        (ProbeKind.READINESS, 2, 1, "+-++", ".*.*"),
        (ProbeKind.LIVENESS, 1, 3, "--+---", "..*..*"),
        (ProbeKind.STARTUP, 1, 4, "----", "...*"),
        (ProbeKind.STARTUP, 1, 4, "---+", "...*"),
    ],
)
def test_thresholds_count_runs(kind: ProbeKind, success: int, failure: int, answers: str, reached: str) -> None:
    probe = tally(kind, success=success, failure=failure)
    seen = ""
    for at, answer in enumerate(answers):
        completes = probe.record(answer == "+", at_s=100.0 + at)
        seen += "*" if completes else "."
        if completes:
            assert probe.verdict is (answer == "+")
    assert seen == reached


def test_the_first_question_waits_for_the_delay_and_for_the_startup_probe() -> None:
    settings = ProbeSettings(kind=ProbeKind.LIVENESS, action={}, initial_delay_s=5.0)
    assert ProbeTally(settings, started_at_s=100.0).due_at_s == 105.0
    assert ProbeTally(settings, started_at_s=100.0, opened_at_s=103.0).due_at_s == 105.0
    assert ProbeTally(settings, started_at_s=100.0, opened_at_s=130.0).due_at_s == 130.0


def test_questions_keep_the_period_whatever_an_answer_takes() -> None:
    probe = tally(period=2)
    probe.record(answer=True, at_s=100.7)
    assert probe.due_at_s == 102.0
    probe.record(answer=True, at_s=103.9)
    assert probe.due_at_s == 104.0
    # An answer slower than the period: the next question is at once, not in the past.
    probe.record(answer=True, at_s=109.5)
    assert probe.due_at_s == 109.5


@pytest.mark.parametrize(("port", "number"), [(8080, 8080), ("8080", 8080), ("http", 9090)])
def test_ports_by_number_and_name(port: int | str, number: int) -> None:
    assert resolve_port(port, {"name": "c", "ports": [{"name": "http", "containerPort": 9090}]}) == number


def test_an_unknown_port_name_is_said() -> None:
    with pytest.raises(ValueError, match="couldn't find port: http in c"):
        resolve_port("http", {"name": "c"})


async def _no_command(command: tuple[str, ...], timeout_s: float) -> tuple[int | None, str]:
    raise AssertionError((command, timeout_s))


def ask(
    action: Callable[[int], Json],
    *,
    execute: Callable[[tuple[str, ...], float], Awaitable[tuple[int | None, str]]] = _no_command,
    timeout_s: float = 1.0,
) -> tuple[bool, str]:
    """Return the answer of a probe against a small server on the loopback address."""

    async def answer(status: int, request: web.Request) -> web.Response:
        if request.path == "/slow":
            await asyncio.sleep(0.5)
        if request.headers.get("X-Who") == "probe":
            return web.Response(status=204)
        return web.Response(status=status, headers={"Location": "http://127.0.0.1:1/"})

    async def run() -> tuple[bool, str]:
        application = web.Application()
        for path, status in {"/ok": 200, "/sick": 503, "/moved": 302, "/slow": 200, "/who": 403}.items():
            application.router.add_get(path, functools.partial(answer, status))
        runner = web.AppRunner(application, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port: int = runner.addresses[0][1]
        container = {"name": "c", "ports": [{"name": "http", "containerPort": port}]}
        try:
            async with aiohttp.ClientSession() as session:
                settings = ProbeSettings(kind=ProbeKind.READINESS, action=action(port), timeout_s=timeout_s)
                target = ProbeTarget(pod_ip="127.0.0.1", container=container, execute=execute, session=session)
                return await perform(settings, target)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("get", "good", "words"),
    [
        ({"path": "/ok", "port": "http"}, True, ""),
        ({"path": "ok", "port": "http"}, True, ""),
        ({"path": "/moved", "port": "http"}, True, ""),
        ({"path": "/sick", "port": "http"}, False, "HTTP probe failed with statuscode: 503"),
        ({"path": "/absent", "port": "http"}, False, "HTTP probe failed with statuscode: 404"),
        ({"path": "/who", "port": "http", "httpHeaders": [{"name": "X-Who", "value": "probe"}]}, True, ""),
        ({"path": "/ok", "port": "nope"}, False, "couldn't find port: nope in c"),
        (
            {"path": "/ok", "port": 1},
            False,
            'Get "http://127.0.0.1:1/ok": dial tcp 127.0.0.1:1: connect: connection re',
        ),
    ],
)
def test_http(get: Json, good: bool, words: str) -> None:
    answer, said = ask(lambda _: {"httpGet": get})
    assert answer is good
    assert said.startswith(words)


def test_http_in_time() -> None:
    answer, said = ask(lambda port: {"httpGet": {"path": "/slow", "port": port}}, timeout_s=0.05)
    assert not answer
    assert said.endswith("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")


def test_tcp() -> None:
    assert ask(lambda port: {"tcpSocket": {"port": port}}) == (True, "")
    assert ask(lambda _: {"tcpSocket": {"port": 1}}) == (False, "dial tcp 127.0.0.1:1: connect: connection refused")


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        ((0, "fine\n"), (True, "fine\n")),
        ((3, "bad\n"), (False, "bad\n")),
        ((None, ""), (False, 'command timed out: "test -e /x" timed out after 1s')),
    ],
)
def test_exec(outcome: tuple[int | None, str], answer: tuple[bool, str]) -> None:
    async def execute(command: tuple[str, ...], timeout_s: float) -> tuple[int | None, str]:
        assert (command, timeout_s) == (("test", "-e", "/x"), 1.0)
        return outcome

    assert ask(lambda _: {"exec": {"command": ["test", "-e", "/x"]}}, execute=execute) == answer
