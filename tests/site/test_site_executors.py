"""Who reads evidence: processes that end with their parent, or a real Dask cluster; the same bytes either way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cutover.errors import CouldNotMeasure
from cutover.evidence import snapshot
from cutover.evidence.sources import RowList
from cutover.site import executors
from cutover.target import EvidenceSettings
from tests.evidence.world import TRUST, World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}


def settings(executor: str = executors.LOCAL, workers: int = 2) -> EvidenceSettings:
    return EvidenceSettings(trust_root=Path("trust.json"), executor=executor, workers=workers, readers=2)


class Contents:
    """A world's contents alone; unreachable for the keys it is told."""

    def __init__(self, world: World, *unreachable: str) -> None:
        self.objects, self.unreachable = world.objects, unreachable

    def open(self, key: str) -> Iterable[bytes]:
        if key in self.unreachable:
            raise CouldNotMeasure("the store does not answer", code="store-unreachable", seen=key, do="start it")
        return [self.objects[key]]


def take(world: World, contents: Contents, folder: Path, workers: snapshot.Workers | None) -> dict[str, bytes]:
    rows = RowList(world.rows)
    snapshot.take(rows, contents, folder, trust=TRUST, log=world, workers=workers, readers=2)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def cluster(folder: Path, *, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Run a scheduler and its workers on loopback; return its address and the workers' processes."""
    with ExitStack() as stack:

        def start(log: str, *arguments: str) -> subprocess.Popen[bytes]:
            out = stack.enter_context((folder / log).open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]],
                cwd=ROOT,
                env=ENVIRONMENT,
                stdout=out,
                stderr=out,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        start("scheduler.log", "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        address = _wait_for(folder / "scheduler.log", r"Scheduler at:\s+(tcp://\S+)")
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder))
        started = [start(f"worker-{n}.log", "dask_worker", address, *options) for n in range(workers)]
        for number in range(workers):
            _wait_for(folder / f"worker-{number}.log", r"(Registered to)")
        yield address, started


def _wait_for(log: Path, pattern: str) -> str:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        if found := re.search(pattern, log.read_text(encoding="utf-8")):
            return found[1]
        time.sleep(0.05)
    raise TimeoutError(f"{pattern} never came: {log.read_text(encoding='utf-8')[-2000:]}")


@pytest.mark.timeout(150)
def test_a_cluster_gives_the_bytes_of_this_machine(tmp_path: Path):
    """A real scheduler with two workers; then one of them is killed, and the other does its work again."""
    world = World.of(150)
    expected = take(world, Contents(world), tmp_path / "here", None)
    with executors.workers(settings()) as hands:
        assert hands.count == 2
        assert take(world, Contents(world), tmp_path / "processes", hands) == expected
    with cluster(tmp_path, workers=2) as (address, started):
        with executors.workers(settings(address)) as hands:
            assert hands.count == 2
            assert take(world, Contents(world), tmp_path / "cluster", hands) == expected
        with executors.workers(settings(address)) as hands, pytest.raises(CouldNotMeasure) as refused:
            take(world, Contents(world, world.rows[9].object_key), tmp_path / "failing", hands)
        assert (refused.value.code, refused.value.seen) == ("store-unreachable", world.rows[9].object_key)
        with executors.workers(settings(address)) as hands:
            started[0].kill()
            assert take(world, Contents(world), tmp_path / "one-left", hands) == expected


@pytest.mark.timeout(60)
def test_a_scheduler_that_is_not_there_or_has_no_worker_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(executors, "_CONNECT_TIMEOUT_S", 1.0)
    with pytest.raises(CouldNotMeasure) as refused, executors.workers(settings("tcp://127.0.0.1:1")):
        raise AssertionError("there is no such scheduler")
    assert refused.value.code == "scheduler-unreachable"
    with (
        cluster(tmp_path, workers=0) as (address, _),
        pytest.raises(CouldNotMeasure) as refused,
        executors.workers(settings(address)),
    ):
        raise AssertionError("it has no worker")
    assert refused.value.code == "scheduler-idle"


@pytest.mark.timeout(90)
def test_a_cluster_that_differs_or_is_lost_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A worker of another version might accept what this one refuses."""
    with cluster(tmp_path, workers=1) as (address, _):
        monkeypatch.setattr(executors, "_CODE", "another")
        with pytest.raises(CouldNotMeasure) as refused, executors.workers(settings(address)):
            raise AssertionError("its worker has other code")
        assert refused.value.code == "worker-differs"
        assert refused.value.seen.startswith("tcp://127.0.0.1:")
        monkeypatch.undo()
        with pytest.raises(CouldNotMeasure) as refused, executors.workers(settings(address)):
            raise CancelledError
        assert refused.value.code == "worker-lost"


@pytest.mark.timeout(100)
def test_a_cluster_without_workers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its scheduler would keep the work for ever."""
    monkeypatch.setattr(executors, "_PATIENCE_S", 2.0)
    world = World.of(20)
    with (  # noqa: PT012
        cluster(tmp_path, workers=1) as (address, started),
        pytest.raises(CouldNotMeasure) as refused,
        executors.workers(settings(address)) as hands,
    ):
        started[0].kill()
        take(world, Contents(world), tmp_path / "s", hands)
    assert refused.value.code == "worker-lost"


_HOLDING = """
import os, sys, time
from pathlib import Path
from tests.site import test_site_executors as tested
from cutover.site import executors
if __name__ == "__main__":
    with executors.workers(tested.settings()) as hands:
        print(*{one.result() for one in [hands.executor.submit(tested.pid_after, 0.3) for _ in range(8)]}, flush=True)
        time.sleep(60)
"""


def pid_after(delay_s: float) -> int:
    """Return the worker's process id, after a while."""
    time.sleep(delay_s)
    return os.getpid()


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path):
    script = tmp_path / "holding.py"
    script.write_text(_HOLDING, encoding="utf-8")
    with subprocess.Popen([sys.executable, str(script)], env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        pids = [int(word) for word in holder.stdout.readline().split()]
        holder.send_signal(signal.SIGKILL)
    assert pids
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_ctrl_c_reaches_no_worker():
    """A terminal sends it to all of its processes, those that are just starting included."""
    with executors.workers(settings()) as hands:
        masks = [hands.executor.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result() for _ in range(4)]
    assert all(signal.SIGINT in mask for mask in masks)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def die() -> None:
    """End the worker process at once."""
    os._exit(9)


def test_a_worker_that_is_lost_is_said():
    with pytest.raises(CouldNotMeasure) as refused, executors.workers(settings(workers=1)) as hands:
        hands.executor.submit(die).result()
    assert refused.value.code == "worker-lost"
