"""The load generator itself, in its own process against a real local server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from cutover.errors import CouldNotMeasure
from cutover.policy import Load
from cutover.runbook.journal import Journal
from cutover.site.load import LoadRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Platform:
    """A public host in miniature: two colours in turn, markers kept, failures on request."""

    def __init__(self) -> None:
        self.markers: list[int] = []
        self.failing = False
        self._lock = threading.Lock()
        self._count = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, content = outer.answer(self.command, self.path, body)
                with outer._lock:
                    outer._count += 1
                    colour = "green" if outer._count % 4 == 0 else "blue"
                self.send_response(status)
                self.send_header("X-Stella-Colour", colour)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _answer  # noqa: N815 (the library's names)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body for a request."""
        if self.failing:
            return 500, b"{}"
        if method == "POST" and path == "/api/v1/markers":
            with self._lock:
                self.markers.append(json.loads(body)["number"])
            return 201, b"{}"
        if method == "POST":
            return 202, b'{"id": "s"}'
        if path.startswith("/api/v1/evidence?"):
            return 200, json.dumps({"items": [{"id": f"ev-{n}"} for n in range(5)], "next": None}).encode()
        return 200, b"{}"

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def platform() -> Iterator[Platform]:
    platform = Platform()
    yield platform
    platform.close()


POLICY = Load(users=4, requests_per_s=80, write_share=0.3, scan_share=0.1, max_failed=0)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.jsonl")
    yield journal
    journal.close()


@pytest.fixture
def runner(platform: Platform, tmp_path: Path, journal: Journal) -> Iterator[LoadRunner]:
    runner = LoadRunner(
        url=platform.url,
        load=POLICY,
        folder=tmp_path / "load",
        run="run-1",
        colour_header="X-Stella-Colour",
        journal=journal,
    )
    yield runner
    runner.stop()


def wait_until_seconds(runner: LoadRunner, count: int) -> None:
    """Wait until so many seconds were measured."""
    deadline = time.monotonic() + 30
    while len(runner.seconds()) < count and time.monotonic() < deadline:
        time.sleep(0.05)


def test_a_whole_load(runner: LoadRunner, platform: Platform, journal: Journal, tmp_path: Path) -> None:
    runner.ensure_running()
    runner.ensure_running()
    wait_until_seconds(runner, 4)
    summary = runner.stop()
    assert not runner.running()
    assert summary.complete
    assert summary.failed == 0
    assert summary.attempted == summary.reads + summary.writes == sum(summary.by_colour.values())
    assert 0.15 < summary.by_colour["green"] / summary.attempted < 0.35
    assert summary.attempted > 0.5 * summary.planned > 0
    assert summary.scans > 0
    name, acknowledged = runner.markers()
    assert name == "run-1"
    assert sorted(acknowledged) == sorted(platform.markers)
    assert summary.markers_acknowledged == len(acknowledged) > 0
    lines = [json.loads(line) for line in (tmp_path / "load" / "requests.jsonl").read_text().splitlines()]
    assert sum(line["attempted"] for line in lines) == summary.attempted == runner.totals().attempted
    assert all(0 < line["p50_ms"]["blue"] <= line["p99_ms"]["blue"] for line in lines[:-1])
    finished = journal.last("load_finished")
    assert finished is not None
    assert finished.data["attempted"] == summary.attempted
    seen = [entry for entry in journal.entries() if entry.event == "load"]
    assert seen[-1].data["attempted"] == summary.attempted


def test_failures_are_counted_and_named(runner: LoadRunner, platform: Platform) -> None:
    platform.failing = True
    runner.start()
    summary = runner.stop()
    assert summary.failed == summary.attempted > 0
    assert summary.failures[0]["error"] == "status 500"
    assert runner.markers()[1] == []


def test_a_load_that_is_killed_still_has_its_numbers(runner: LoadRunner, tmp_path: Path) -> None:
    runner.start()
    assert runner._process is not None
    os.kill(runner._process.pid, signal.SIGKILL)
    summary = runner.stop()
    assert not summary.complete
    assert summary.attempted > 0
    written = json.loads((tmp_path / "load" / "summary.json").read_text())
    assert written["attempted"] == summary.attempted
    with pytest.raises(CouldNotMeasure) as caught:
        runner.ensure_running()
    assert caught.value.code == "load-ended"


PARENT = """
import json, sys, time
from pathlib import Path
from cutover.policy import Load
from cutover.site.load import LoadRunner
runner = LoadRunner(url=sys.argv[1], load=Load(**json.loads(sys.argv[2])), folder=Path(sys.argv[3]), run="r",
    colour_header="X-Stella-Colour")
runner.start()
print(runner._process.pid, flush=True)
time.sleep(60)
"""


def test_the_load_ends_with_a_harness_that_was_killed(platform: Platform, tmp_path: Path) -> None:
    settings = json.dumps({name: getattr(POLICY, name) for name in Load.__dataclass_fields__})
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, platform.url, settings, str(tmp_path / "load")],
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _is_alive(child):
        time.sleep(0.05)
    assert not _is_alive(child)


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123 (a process, not a file)
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
