"""The same load with workers of their own: on this machine, and over the network from a folder that holds nothing.

The network is that of the machine itself: the master listens on another loopback address than the public host, and the
workers know its address alone; they get even the Locust file from it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
from hdrh.log import HistogramLogReader  # type: ignore[import-untyped]

from cutover.policy import Load
from cutover.runbook.journal import Journal
from cutover.site.load import LoadRunner
from tests.load.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.load.conftest import BareHost

MASTER = "127.0.0.2"
POLICY = Load(users=8, requests_per_s=120, write_share=0.3, scan_share=0.05)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.jsonl")
    yield journal
    journal.close()


@pytest.fixture
def runner(bare_host: BareHost, tmp_path: Path, journal: Journal, policy: Load) -> Iterator[LoadRunner]:
    runner = LoadRunner(
        url=bare_host.url,
        load=policy,
        folder=tmp_path / "load",
        run="run-1",
        colour_header="X-Stella-Colour",
        journal=journal,
        longest_run_s=60,
    )
    yield runner
    runner.stop()


@pytest.fixture
def policy() -> Load:
    """Return the policy of a load with two workers over the network."""
    return replace(POLICY, expect_workers=2, bind=MASTER, port=free_port(MASTER))


@pytest.fixture
def workers(policy: Load, tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run two workers that have Locust, an empty folder and no setting but the master's address."""
    command = [sys.executable, "-I", "-m", "locust", "--worker", "--locustfile", "-"]
    command += ["--master-host", MASTER, "--master-port", str(policy.port)]
    found = []
    for number in (1, 2):
        folder = tmp_path / f"worker-{number}"
        folder.mkdir()
        with (folder / "log").open("wb") as log:
            environment = {"PATH": os.environ["PATH"], "TMPDIR": str(folder)}
            found.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))
    yield found
    for worker in found:
        worker.kill()
        worker.wait()


def seconds(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "load" / "requests.jsonl").read_text().splitlines()]


def wait_for_seconds(runner: LoadRunner, count: int) -> None:
    deadline_s = time.monotonic() + 30
    while len(runner.seconds()) < count and time.monotonic() < deadline_s:
        time.sleep(0.05)


def check_counts(runner: LoadRunner, host: BareHost, tmp_path: Path) -> None:
    """Check a load that two workers have sent and that has ended: every number against the server's own."""
    summary = runner.stop()
    assert summary.complete
    assert (summary.failed, summary.workers_lost) == (0, ())
    sent, probed, markers = host.counts()
    assert summary.attempted == sum(summary.by_colour.values()) == sent > 100
    assert summary.probe.planned == summary.probe.answered == probed
    _, acknowledged = runner.markers()
    assert sorted(acknowledged) == markers
    assert len(set(acknowledged)) == len(acknowledged) == summary.markers_acknowledged
    by_worker = Counter((number - 1) // 1_000_000_000 for number in acknowledged)
    assert len(by_worker) == 2
    assert min(by_worker.values()) > 5
    assert 0.5 <= summary.attempted / summary.planned <= 1.2
    assert {line["workers"] for line in seconds(tmp_path)[1:]} == {2}

    reader, merged = HistogramLogReader(str(tmp_path / "load" / "latency.hlog"), None), HdrHistogram(1, 3600 * 10**6, 3)
    by_colour: Counter[str] = Counter()
    while (histogram := reader.get_next_interval_histogram()) is not None:
        by_colour[histogram.get_tag()] += histogram.get_total_count()
        merged.add(histogram)
    reader.close()
    assert by_colour == Counter(summary.by_colour)
    assert merged.get_total_count() == summary.attempted


@pytest.mark.usefixtures("workers")
def test_two_workers_over_the_network(runner: LoadRunner, bare_host: BareHost, tmp_path: Path) -> None:
    runner.start()
    wait_for_seconds(runner, 4)
    check_counts(runner, bare_host, tmp_path)


@pytest.mark.parametrize("policy", [replace(POLICY, processes=2, port=free_port())])
def test_two_processes_on_this_machine(runner: LoadRunner, bare_host: BareHost, tmp_path: Path) -> None:
    runner.start()
    wait_for_seconds(runner, 4)
    check_counts(runner, bare_host, tmp_path)


def test_a_worker_that_is_killed_is_missed(
    runner: LoadRunner, workers: list[subprocess.Popen[bytes]], journal: Journal
) -> None:
    runner.start()
    wait_for_seconds(runner, 3)
    workers[0].kill()
    deadline_s = time.monotonic() + 15
    while not runner.seconds()[-1].workers_lost and time.monotonic() < deadline_s:
        time.sleep(0.1)
    lost = runner.seconds()[-1]
    assert len(lost.workers_lost) == lost.workers == 1
    wait_for_seconds(runner, len(runner.seconds()) + 2)
    recent = runner.window(lost.time)
    assert 0.3 < recent.attempted / recent.planned < 0.7
    summary = runner.stop()
    assert summary.workers_lost == lost.workers_lost
    said = [entry.data for entry in journal.entries() if entry.event == "observation"]
    assert [fact["workers"] for fact in said if fact["what"] == "load workers lost"] == [list(lost.workers_lost)]
