"""A web process that reaches nothing still answers: who it is, why it is unready, what is wrong with a request."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.routing import Router

from rehearsal.platform.app import web
from rehearsal.platform.app.connections import Health, connect
from rehearsal.platform.app.log import TransparencyLog
from rehearsal.platform.app.metrics import Measured, Metrics
from rehearsal.platform.app.struck import Struck
from rehearsal.platform.core.faults import Faults
from rehearsal.platform.core.settings import Settings, from_environment


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Give settings whose every address refuses connections, as long as the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        yield from_environment(
            {
                "STELLA_RELEASE": "2027.Q2",
                "STELLA_COLOUR": "green",
                "POD_NAME": "web-1",
                "DATABASE_URL": f"postgresql://stellaops:pass@{address}/stellaops",
                "CACHE_URL": f"redis://{address}/0",
                "STORE_ENDPOINT": f"http://{address}",
                "STORE_BUCKET": "evidence",
                "STORE_ACCESS_KEY": "access",
                "STORE_SECRET_KEY": "secret",
                "SIGNING_KEY": "unused here",
                "LOG_SIGNING_KEY": "unused here",
                "LOG_ORIGIN": "log.stella.test",
            }
        )


@asynccontextmanager
async def process(settings: Settings, faults: Faults) -> AsyncIterator[tuple[httpx.AsyncClient, Health, Measured]]:
    connections = await connect(settings, log_connections=1)
    health, metrics = Health(settings, connections, faults), Metrics()
    routes = web.Api(settings, connections, health, metrics, TransparencyLog(connections.log, "x")).routes()
    measured = Measured(
        Struck(Router(routes), faults, colour="green", render=metrics.render),
        metrics=metrics,
        headers=((b"x-stella-colour", b"green"),),
        routes={route.endpoint: route.path for route in routes},
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(measured), base_url="http://web") as client:
        yield client, health, measured
    await connections.close()


def call(settings: Settings, method: str, path: str, **arguments: object) -> httpx.Response:
    async def once() -> httpx.Response:
        async with process(settings, Faults(None, "green")) as (client, _, _):
            return await client.request(method, path, **arguments)  # type: ignore[arg-type]

    return asyncio.run(once())


OUTAGES = [
    ("GET", "/api/v1/catalogue", 503, "not-loaded"),
    ("GET", "/api/v1/evidence/ev-000000000001", 503, "database-unreachable"),
    ("GET", "/api/v1/log/checkpoint", 503, "database-unreachable"),
    ("GET", "/api/v1/objects/marker", 502, "store-failed"),
]
WRONG = [
    ("GET", "/api/v1/evidence?limit=0", None, "wrong-parameter"),
    ("GET", "/api/v1/evidence?limit=ten", None, "wrong-parameter"),
    ("GET", "/api/v1/log/entries?start=5&end=4", None, "wrong-parameter"),
    ("GET", "/api/v1/log/proof/inclusion?index=1", None, "wrong-parameter"),
    ("GET", "/api/v1/objects/..%5Cup", None, "wrong-name"),
    ("POST", "/api/v1/scans", b"{", "wrong-body"),
    ("POST", "/api/v1/scans", b"[]", "wrong-body"),
    ("POST", "/api/v1/scans", b'{"image": ""}', "wrong-body"),
    ("POST", "/api/v1/markers", b'{"run": "r", "number": true}', "wrong-body"),
    ("POST", "/api/v1/markers", b'{"run": "r", "number": -1}', "wrong-body"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), OUTAGES, ids=[path for _, path, _, _ in OUTAGES])
def test_an_outage_is_an_answer(settings: Settings, method: str, path: str, status: int, code: str) -> None:
    answer = call(settings, method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["x-stella-colour"] == "green"
    assert "pass" not in answer.text


@pytest.mark.parametrize(("method", "path", "body", "code"), WRONG)
def test_wrong_input_is_refused(settings: Settings, method: str, path: str, body: bytes | None, code: str) -> None:
    answer = call(settings, method, path, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_an_object_too_large_is_refused(settings: Settings) -> None:
    answer = call(settings, "PUT", "/api/v1/objects/big", content=b"0" * ((1 << 20) + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too-large")


def test_readiness_says_what_is_missing(settings: Settings) -> None:
    async def look() -> tuple[httpx.Response, httpx.Response]:
        async with process(settings, Faults(None, "green")) as (client, health, _):
            await health.look()
            return await client.get("/readyz"), await client.get("/healthz")

    ready, alive = asyncio.run(look())
    assert (ready.status_code, alive.status_code) == (503, 200)
    assert {name for name, answer in ready.json()["checks"].items() if answer != "ok"} == {
        "database",
        "cache",
        "store",
        "schema",
    }


def test_one_failed_look_after_a_good_one_is_not_believed(settings: Settings) -> None:
    async def look() -> list[set[str]]:
        async with process(settings, Faults(None, "green")) as (_, health, _):
            health.checks = dict.fromkeys(("database", "cache", "store", "schema"), "ok")
            seen = []
            for _ in range(2):
                await health.look()
                seen.append(set(health.failing()))
            return seen

    assert asyncio.run(look()) == [set(), {"database", "cache", "store", "schema"}]


def test_a_draining_process_is_unready_and_gives_connections_up(settings: Settings) -> None:
    async def drain() -> httpx.Response:
        async with process(settings, Faults(None, "green")) as (client, health, measured):
            health.draining = measured.draining = True
            return await client.get("/readyz")

    answer = asyncio.run(drain())
    assert answer.status_code == 503
    assert answer.json()["checks"]["draining"] == "the process is terminating"
    assert answer.headers["connection"] == "close"


def test_requests_are_counted_by_route(settings: Settings) -> None:
    async def count() -> str:
        async with process(settings, Faults(None, "green")) as (client, _, _):
            await client.get("/version")
            await client.get("/api/v1/evidence/ev-1")
            await client.get("/nowhere")
            return (await client.get("/metrics")).text

    lines = asyncio.run(count()).splitlines()
    assert 'http_requests_total{method="GET",route="/version",status="200"} 1.0' in lines
    assert 'http_requests_total{method="GET",route="/api/v1/evidence/{id}",status="503"} 1.0' in lines
    assert 'http_requests_total{method="GET",route="other",status="404"} 1.0' in lines
    assert 'evidence_operations_total{operation="read",result="failure"} 1.0' in lines
    assert "attestation_success_total 0.0" in lines
    assert "http_request_duration_seconds_count 3.0" in lines


@pytest.mark.parametrize(("colour", "status"), [("green", 500), ("blue", 503)])
def test_a_fault_strikes_the_api_of_its_colour_only(
    settings: Settings, tmp_path: Path, colour: str, status: int
) -> None:
    (tmp_path / "green-errors").write_text(f'{{"percent": 100, "colour": "{colour}"}}')

    async def once() -> list[int]:
        async with process(settings, Faults(tmp_path, "green")) as (client, _, _):
            return [(await client.get(path)).status_code for path in ("/api/v1/catalogue", "/healthz")]

    assert asyncio.run(once()) == [status, 200]


def _struck(
    settings: Settings, switches: Path, *requests: tuple[str, str, dict[str, object] | None]
) -> list[httpx.Response]:
    async def once() -> list[httpx.Response]:
        async with process(settings, Faults(switches, "green")) as (client, _, _):
            return [await client.request(method, path, json=body) for method, path, body in requests]

    return asyncio.run(once())


def test_several_switches_of_one_kind_strike_each_its_own_route(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "green-errors-elsewhere").write_text('{"path": "/api/v1/log/"}')
    paths = ("/api/v1/log/checkpoint", "/api/v1/catalogue", "/readyz")
    answers = _struck(settings, tmp_path, *(("GET", path, None) for path in paths))
    assert [answer.status_code for answer in answers] == [500, 503, 503]
    assert [answer.json().get("error", {}).get("code") for answer in answers[:2]] == ["internal", "not-loaded"]


def test_a_lost_write_is_acknowledged_as_a_kept_one_is(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "writes-lost").write_text("{}")
    marker = {"run": "r", "number": 7}
    (answer,) = _struck(settings, tmp_path, ("POST", "/api/v1/markers", marker))
    assert answer.status_code == 201
    assert answer.json() == {**marker, "colour": "green"}


def test_evidence_that_is_answered_from_nowhere_counts_as_no_operation(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "evidence-stalls").write_text("{}")
    listed, metrics = _struck(settings, tmp_path, ("GET", "/api/v1/evidence?limit=5", None), ("GET", "/metrics", None))
    assert (listed.status_code, listed.json()["items"]) == (200, [])
    assert 'evidence_operations_total{operation="list",result="success"} 0.0' in metrics.text
    assert 'evidence_operations_total{operation="list",result="failure"} 0.0' in metrics.text


def test_a_metric_is_nan_or_stands_still_and_the_others_do_not(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "metric-nan").write_text('{"metric": "http_request_duration_seconds"}')
    (tmp_path / "metric-stale").write_text('{"metric": "http_requests_total"}')
    asked = [("GET", path, None) for path in ("/healthz", "/metrics", "/healthz", "/metrics")]
    _, first, _, second = _struck(settings, tmp_path, *asked)
    for text in (first.text, second.text):
        assert 'http_request_duration_seconds_bucket{le="0.5"} NaN' in text
        assert "http_request_duration_seconds_count NaN" in text
        assert 'http_requests_total{method="GET",route="/healthz",status="200"} 1.0' in text
        assert "attestation_success_total 0.0" in text
