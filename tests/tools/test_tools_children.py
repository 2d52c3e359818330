"""The processes that are started while programs are made: their output, and that none outlives its purpose."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rehearsal.tools.children import Children

PARENT = """
import os
from rehearsal.tools.children import Children
command = ["sh", "-c", "echo $$; sleep 60"]
Children().run(command, environment=dict(os.environ), line=lambda text: print(text, flush=True))
"""


def _is_gone(pid: int) -> bool:
    """Wait up to ten seconds for the process to end; one that only waits to be reaped has ended."""
    status = Path(f"/proc/{pid}/status")
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        try:
            if "State:\tZ" in status.read_text(encoding="utf-8"):
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_lines_come_as_they_are_written_and_stay() -> None:
    lines: list[str] = []
    finished = Children().run(["sh", "-c", "echo a; echo b >&2; exit 4"], environment={}, line=lines.append)
    assert (finished.returncode, finished.output, lines) == (4, "a\nb\n", ["a", "b"])


def test_ending_stops_what_runs_with_its_descendants_and_refuses_more() -> None:
    children = Children()
    pids: list[int] = []
    started = threading.Event()
    outcome: list[str] = []

    def tell(text: str) -> None:
        pids.append(int(text))
        started.set()

    def run() -> None:
        try:
            children.run(["sh", "-c", "sleep 60 & echo $!; wait"], environment={"PATH": "/usr/bin:/bin"}, line=tell)
        except KeyboardInterrupt:
            outcome.append("ended")

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    children.end()
    thread.join(10)
    assert outcome == ["ended"]
    assert _is_gone(pids[0])
    with pytest.raises(KeyboardInterrupt):
        children.run(["true"], environment={})


def test_a_child_does_not_outlive_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
    assert _is_gone(child)
