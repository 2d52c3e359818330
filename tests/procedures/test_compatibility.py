"""The expand and contract matrix: both releases' real processes, on a real PostgreSQL, before A, after A, after B."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cutover import project, waiting
from cutover.procedures import compatibility
from cutover.procedures.compatibility import Probed, SchemaState
from cutover.runbook.ports import ProxyAnswer
from rehearsal.platform.core import keys
from rehearsal.tools import ensure
from tests.local_server import LocalServer
from tests.procedures.restore_world import APP, CONTRACT, KEY, LOG, LOG_KEY, ORIGIN, World
from tests.runbook.planned_site import SECRETS
from tests.site.postgres_world import PostgresServer, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

pytestmark = [pytest.mark.real_programs, pytest.mark.timeout(240)]

FIRST = {"blue": "2027.Q1", "green": "2027.Q2"}
SECOND = {"green": "2027.Q2", "blue": "2027.Q3"}
"""The next upgrade: green serves, and blue gets the new release (F.17)."""
READY_S = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def object_store() -> Iterator[str]:
    """Keep objects in memory: what a bucket does is not what is tried here."""
    objects: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_PUT(self) -> None:
            objects[self.path] = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(200)

        def do_GET(self) -> None:
            known = objects.get(self.path)
            self._answer(
                200 if known is not None or self.path.count("/") < 2 or "?" in self.path else 404, known or b""
            )

        do_HEAD = do_GET  # noqa: N815 (the library's name)

        def log_message(self, *_: object) -> None:
            return

    server = LocalServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(kw_only=True)
class Processes:
    """Both colours, each a web and a worker process, reached as the API server's proxy reaches their Services."""

    world: World
    folder: Path
    store: str
    ports: dict[str, int] = field(default_factory=dict)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, releases: Mapping[str, str]) -> None:
        valkey = ensure(["valkey-server"]).path("valkey-server")
        for colour, release in releases.items():
            cache, port, metrics = free_port(), free_port(), free_port()
            arguments = [
                str(valkey),
                "--port",
                str(cache),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
                str(self.folder),
            ]
            self._run(f"{colour}-valkey", arguments, {})
            self.ports[f"stellaops-{colour}"] = port
            settings = {
                "STELLA_RELEASE": release,
                "STELLA_COLOUR": colour,
                "POD_NAME": f"{colour}-1",
                "PORT": str(port),
                "METRICS_PORT": str(metrics),
                "DATABASE_URL": self.world.server.dsn(APP),
                "LOG_DATABASE_URL": self.world.server.dsn(LOG),
                "CACHE_URL": f"redis://127.0.0.1:{cache}/0",
                "STORE_ENDPOINT": self.store,
                "STORE_BUCKET": "evidence",
                "STORE_ACCESS_KEY": "access",
                "STORE_SECRET_KEY": "secret",
                "SIGNING_KEY": keys.private_pem(KEY),
                "LOG_SIGNING_KEY": keys.private_pem(LOG_KEY),
                "LOG_ORIGIN": ORIGIN,
                "DRAIN_DELAY_SECONDS": "0",
            }
            for part in ("web", "worker"):
                self._run(f"{colour}-{part}", [sys.executable, "-m", "rehearsal.platform.app", part], settings)

    def _run(self, name: str, arguments: list[str], settings: dict[str, str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(arguments, env={**os.environ, **settings}, stdout=log, stderr=log)
        self.running.append(process)

    def stop(self) -> None:
        for process in self.running:
            process.send_signal(signal.SIGKILL)
        for process in self.running:
            process.wait(20)

    # -- as the cluster's driver ---------------------------------------------------------------------------------------

    def proxy_get(self, namespace: str, service: str, port: int, path: str) -> ProxyAnswer:
        return self.proxy("GET", namespace, service, port, path)

    def proxy(
        self, method: str, _namespace: str, service: str, _port: int, path: str, *, body: object = None
    ) -> ProxyAnswer:
        answer = httpx.request(
            method, f"http://127.0.0.1:{self.ports[service]}{path}", json=body, timeout=15, trust_env=False
        )
        return ProxyAnswer(status=answer.status_code, headers=dict(answer.headers), body=answer.content)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with running(tmp_path_factory.mktemp("postgres")) as found:
        yield found


@pytest.fixture
def processes(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    world = World(server, tmp_path)
    with object_store() as store:
        made = Processes(world=world, folder=tmp_path, store=store)
        try:
            yield made
        finally:
            made.stop()
            world.close()


def settle(processes: Processes, service: str, *, status: int) -> None:
    """Wait until a colour has looked at the schema as it is now."""

    def look() -> int:
        try:
            return processes.proxy_get("", service, 80, "/readyz").status
        except httpx.TransportError:
            return 0

    waiting.wait_for(f"{service} to be {status}", look, until=lambda seen: seen == status, bound_s=READY_S)


def probe_all(processes: Processes, contract: Callable[[], bool], migrate: Callable[[], None]) -> list[Probed]:
    """Probe both colours on each state of the schema, the one that served before first."""
    world, roles, found = processes.world, processes.world.upgrade.roles, list[Probed]()
    monkeyed: Any = world.site
    monkeyed.cluster = processes

    def look(state: SchemaState, *, blue: int, green: int) -> None:
        settle(processes, roles.blue.service, status=blue)
        settle(processes, roles.green.service, status=green)
        for one, other in ((roles.blue, roles.green), (roles.green, roles.blue)):
            found.append(compatibility.probe(world.site, world.upgrade, one, other, state=state, bound_s=30.0))

    look(SchemaState.BEFORE_A, blue=200, green=503)
    migrate()
    look(SchemaState.AFTER_A, blue=200, green=200)
    waiting.wait_for("green to derive the second tree and contract", contract, until=bool, bound_s=READY_S)
    look(SchemaState.AFTER_B, blue=503, green=200)
    return found


def works(found: list[Probed]) -> list[tuple[str, str, bool]]:
    return [(one.state, one.release, one.works) for one in found]


def test_each_release_works_exactly_where_the_guide_says(processes: Processes) -> None:
    world = processes.world
    processes.start(FIRST)
    found = probe_all(processes, lambda: _contract(world), lambda: world.migrate("A"))
    assert works(found) == [
        ("before A", "2027.Q1", True),
        ("before A", "2027.Q2", False),
        ("after A", "2027.Q1", True),
        ("after A", "2027.Q2", True),
        ("after B", "2027.Q1", False),
        ("after B", "2027.Q2", True),
    ], compatibility.table(found)
    early, late = found[1], found[4]
    assert early.not_ready == "schema: pending: 0101_expand_leaf_v2"
    assert (early.reads_and_writes, early.makes_evidence, early.is_read_by_other) == ("", "", "")
    assert late.not_ready == f"schema: contracted by {CONTRACT}, which 2027.Q1 cannot work on"
    assert (late.reads_and_writes, late.makes_evidence) == ("", "its scan is failed")
    told = compatibility.table(found)
    assert told in (project.ROOT / "docs" / "schema.md").read_text("utf-8")
    assert len(told.splitlines()) == 2 + len(found)
    assert f"| after B | blue | 2027.Q1 | no: schema: contracted by {CONTRACT}" in told


def test_each_release_of_the_next_upgrade_works_exactly_there_too(processes: Processes) -> None:
    world = processes.world
    world.migrate("A")
    processes.start(SECOND)
    settle(processes, "stellaops-green", status=200)
    waiting.wait_for("the second tree to cover every item", lambda: _contract(world), until=bool, bound_s=READY_S)
    world.upgrade.assign_roles("green")
    found = probe_all(processes, lambda: _contract(world, "2027.Q3"), lambda: world.migrate("A", release="2027.Q3"))
    assert works(found) == [
        ("before A", "2027.Q2", True),
        ("before A", "2027.Q3", False),
        ("after A", "2027.Q2", True),
        ("after A", "2027.Q3", True),
        ("after B", "2027.Q2", False),
        ("after B", "2027.Q3", True),
    ], compatibility.table(found)
    assert found[1].not_ready == "schema: pending: 0201_expand_scan_origin"
    assert found[4].not_ready == "schema: contracted by 0202_contract_scan_origin, which 2027.Q2 cannot work on"
    assert found[4].makes_evidence == "green takes no scan: status 503"
    assert compatibility.table(found) in (project.ROOT / "docs" / "schema.md").read_text("utf-8")


def _contract(world: World, release: str = "2027.Q2") -> bool:
    from rehearsal.platform.core import migrations  # noqa: PLC0415  # the refusal is what is waited for

    try:
        world.migrate("B", release=release)
    except migrations.MigrationError:
        return False
    return True
