"""The load generator itself, in its own process against a real local server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import CouldNotMeasure
from cutover.policy import Load
from cutover.runbook.journal import Journal
from cutover.site.load import LoadRunner
from tests.load.conftest import free_port
from tests.local_server import LocalServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.load.conftest import BareHost


class Platform:
    """A public host in miniature: two colours in turn, markers kept, failures on request."""

    def __init__(self) -> None:
        self.markers: list[int] = []
        self.failing = False
        self.redirecting = False
        self.cut_off_bytes = 0
        """Of each answer's body: never sent."""
        self.held_s = 0.0
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._count = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer: two would wait for each other's acknowledgement

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, content = outer.answer(self.command, self.path, body)
                with outer._lock:
                    outer._count += 1
                    colour = "green" if outer._count % 4 == 0 else "blue"
                self.send_response(status)
                self.send_header("X-Stella-Colour", colour)
                if status == 302:
                    self.send_header("Location", "/maintenance")
                self.send_header("Content-Length", str(len(content) + outer.cut_off_bytes))
                self.close_connection = self.close_connection or outer.cut_off_bytes > 0
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _answer  # noqa: N815 (the library's names)

            def log_message(self, *_: object) -> None:
                return

        self._server = LocalServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body for a request."""
        self._closed.wait(self.held_s)
        if self.failing:
            return 500, b"{}"
        if self.redirecting and path != "/maintenance":
            return 302, b"{}"
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
        self._closed.set()
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
    assert all(0 < line["p50_ms"][colour] <= line["p99_ms"][colour] for line in lines for colour in line["by_colour"])
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


@pytest.mark.parametrize(("redirects", "errors"), [(True, {"status 302"}), (False, {"the answer was cut off"})])
def test_an_answer_that_is_not_whole_or_not_the_platforms_has_failed(
    *, runner: LoadRunner, platform: Platform, redirects: bool, errors: set[str]
) -> None:
    platform.redirecting, platform.cut_off_bytes = redirects, 0 if redirects else 5
    runner.start()
    summary = runner.stop()
    assert summary.failed == summary.attempted > 0
    assert {failure["error"] for failure in summary.failures} == errors
    assert runner.markers()[1] == []


def test_a_load_whose_seconds_cannot_be_read_is_not_healthy(runner: LoadRunner, tmp_path: Path) -> None:
    runner.start()
    with (tmp_path / "load" / "markers.jsonl").open("a") as file:
        file.write("{}\n")
    deadline = time.monotonic() + 10
    while runner.running() and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(CouldNotMeasure) as caught:
        runner.ensure_running()
    assert (caught.value.code, caught.value.seen) == ("load-unreadable", "KeyError: 'number'")
    assert not runner.stop().complete


def test_a_load_that_is_killed_still_has_its_numbers(runner: LoadRunner, tmp_path: Path) -> None:
    runner.start()
    assert runner._process is not None
    os.kill(runner._process.pid, signal.SIGKILL)
    summary = runner.stop()
    assert not summary.complete
    assert summary.attempted > 0
    written = json.loads((tmp_path / "load" / "summary.json").read_text())
    assert written["attempted"] == summary.attempted
    assert written["complete"] is False
    assert sum(phase["attempted"] for phase in _phases(tmp_path)) == summary.attempted
    with pytest.raises(CouldNotMeasure) as caught:
        runner.ensure_running()
    assert caught.value.code == "load-ended"


def test_a_probe_that_is_killed_is_missed(runner: LoadRunner) -> None:
    runner.start()
    probe = runner._probe.process
    assert probe is not None
    os.kill(probe.pid, signal.SIGKILL)
    probe.end(within_s=5)
    assert not runner.running()
    with pytest.raises(CouldNotMeasure) as caught:
        runner.ensure_running()
    assert caught.value.code == "probe-ended"
    assert not runner.stop().complete


def test_a_second_is_known_soon_after_it_has_ended(runner: LoadRunner) -> None:
    runner.start()
    late_s: list[float] = []
    known = len(runner.seconds())
    while len(late_s) < 3:
        if len(seconds := runner.seconds()) > known:
            late_s.append(datetime.now(UTC).timestamp() - seconds[-1].time.timestamp())
            known = len(seconds)
        time.sleep(0.005)
    assert median(late_s) <= 0.3


def test_the_load_follows_the_phase(bare_host: BareHost, tmp_path: Path) -> None:
    policy = replace(POLICY, users=8, requests_per_s=60, warm_up_s=2, cutover_share=2.0, validation_share=0.5)
    runner = _runner(bare_host.url, policy, tmp_path)
    runner.start()
    wait_until_seconds(runner, 4)
    for phase in ("weight-10", "validate"):
        runner.enter(phase)
        wait_until_seconds(runner, len(runner.seconds()) + 3)
    summary = runner.stop()
    lines = [json.loads(line) for line in (tmp_path / "load" / "requests.jsonl").read_text().splitlines()]
    warming = [line for line in lines if line["elapsed_s"] <= 2]
    assert {line["planned"] for line in warming} == {0.0}
    assert 0 < warming[-1]["attempted"] < 60
    assert warming[0]["users"] < 8
    planned = {(line["phase"], line["planned"]) for line in lines}
    assert planned >= {("prepare", 60.0), ("weight-10", 120.0), ("validate", 30.0)}
    phases = _phases(tmp_path)
    assert [phase["phase"] for phase in phases] == ["prepare", "weight-10", "validate"]
    by_name = {phase["phase"]: phase for phase in phases}
    assert by_name["weight-10"]["attempted"] > 1.2 * by_name["validate"]["attempted"]
    assert 0.4 < by_name["weight-10"]["attempted"] / by_name["weight-10"]["planned"] < 1.3
    assert summary.planned == pytest.approx(sum(line["planned"] for line in lines), abs=1)
    assert sum(phase["attempted"] for phase in phases) == summary.attempted
    for one in phases:
        blue = one["colours"]["blue"]
        assert 0 < blue["p50_ms"] <= blue["p90_ms"] <= blue["p99_ms"] <= blue["p99_9_ms"] <= blue["max_ms"]
        assert one["probe"]["planned"] > 0
    load_count, probe_count, markers = bare_host.counts()
    assert (load_count, probe_count) == (summary.attempted, summary.probe.planned)
    assert markers == sorted(runner.markers()[1])


def test_users_who_think_send_less(bare_host: BareHost, tmp_path: Path) -> None:
    runner = _runner(bare_host.url, replace(POLICY, users=2, requests_per_s=100, think_time_s=0.2), tmp_path)
    runner.start()
    wait_until_seconds(runner, 3)
    totals = runner.window(runner.seconds()[0].time, runner.seconds()[-1].time)
    runner.stop()
    assert 0 < totals.attempted <= 11 * totals.seconds
    assert totals.planned == 100 * totals.seconds


def test_what_is_under_way_when_the_load_ends_is_waited_for(
    runner: LoadRunner, platform: Platform, tmp_path: Path
) -> None:
    runner.start()
    platform.held_s = 1.0
    time.sleep(0.5)
    summary = runner.stop()
    assert (summary.complete, summary.failed) == (True, 0)
    assert _phases(tmp_path)[-1]["colours"]["blue"]["max_ms"] > 900
    assert sorted(runner.markers()[1]) == sorted(platform.markers)


def test_nobody_is_cut_off_in_the_moment_in_which_a_request_would_begin(bare_host: BareHost, tmp_path: Path) -> None:
    runner = _runner(bare_host.url, replace(POLICY, users=80, requests_per_s=1500), tmp_path)
    runner.start()
    for phase, count in (("weight-10", 1), ("prepare", 1)):
        runner.enter(phase)
        wait_until_seconds(runner, len(runner.seconds()) + count)
    summary = runner.stop()
    assert (summary.failed, summary.failures) == (0, ())
    sent, _, markers = bare_host.counts()
    assert sent == summary.attempted
    assert markers == sorted(runner.markers()[1])


def test_what_is_never_answered_has_failed(runner: LoadRunner, platform: Platform) -> None:
    runner.start()
    platform.held_s = 30.0
    time.sleep(0.5)
    summary = runner.stop()
    assert summary.complete
    assert summary.failed == POLICY.users == summary.by_colour["nobody"]
    assert {failure["error"] for failure in summary.failures} == {"no answer before the load ended"}


def _runner(url: str, policy: Load, folder: Path) -> LoadRunner:
    return LoadRunner(
        url=url, load=policy, folder=folder / "load", run="run-1", colour_header="X-Stella-Colour", longest_run_s=60
    )


def _phases(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "load" / "phases.json").read_text())["phases"]
    return found


PARENT = """
import json, sys, time
from pathlib import Path
from cutover.policy import Load
from cutover.site.load import LoadRunner
def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
runner = LoadRunner(url=sys.argv[1], load=Load(**json.loads(sys.argv[2])), folder=Path(sys.argv[3]), run="r",
    colour_header="X-Stella-Colour")
runner.start()
print(runner._process.pid, runner._probe.process.pid, *children(runner._process.pid), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_the_load_ends_with_a_harness_that_was_killed(bare_host: BareHost, tmp_path: Path, processes: int) -> None:
    policy = replace(POLICY, processes=processes, port=free_port())
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, bare_host.url, json.dumps(asdict(policy)), str(tmp_path / "load")],
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2 + (processes if processes > 1 else 0)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(map(_is_alive, pids)):
        time.sleep(0.05)
    assert not any(map(_is_alive, pids))


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123 (a process, not a file)
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
