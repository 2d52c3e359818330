"""Container processes: output to the log, exit codes, and nothing left behind. Real processes, no namespace needed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import uuid
from pathlib import Path

import pytest

from rehearsal.node.loglines import LogQuery, select
from rehearsal.node.logs import ContainerLog
from rehearsal.node.processes import CONTAINER_MARK, STATE_MARK, Launch, Process, execute, kill_marked


def launch(tmp_path: Path, *argv: str, **env: str) -> Launch:
    marks = {STATE_MARK: str(tmp_path), CONTAINER_MARK: uuid.uuid4().hex}
    return Launch(
        argv=argv,
        env={"PATH": os.environ["PATH"], **env, **marks},
        working_dir=str(tmp_path),
        hostname="pod",
        mounts=(),
        scratch=tmp_path,
    )


def run_to_end(tmp_path: Path, *argv: str, **env: str) -> tuple[int, bytes]:
    async def run() -> tuple[int, bytes]:
        process = Process(launch(tmp_path, *argv, **env), ContainerLog(tmp_path / "0.log"))
        code = await asyncio.wait_for(process.finished, 10)
        with (tmp_path / "0.log").open("rb") as handle:
            return code, select(handle, LogQuery())

    return asyncio.run(run())


def test_output_of_both_streams_reaches_the_log_to_the_last_byte(tmp_path: Path) -> None:
    code, seen = run_to_end(tmp_path, "sh", "-c", "echo $WORD; pwd; echo err >&2; printf unended; exit 7", WORD="hi")
    assert code == 7
    assert sorted(seen.splitlines()) == sorted([b"hi", str(tmp_path).encode(), b"err", b"unended"])


def test_a_signal_is_a_negative_exit_code(tmp_path: Path) -> None:
    assert run_to_end(tmp_path, "sh", "-c", "kill -TERM $$")[0] == -signal.SIGTERM


@pytest.mark.parametrize(
    ("argv", "words"),
    [(("/no/such/program",), "executable file not found in"), (("/",), "permission denied")],
)
def test_what_cannot_start_says_why(tmp_path: Path, argv: tuple[str, ...], words: str) -> None:
    with pytest.raises(OSError, match=words):
        run_to_end(tmp_path, *argv)


def test_a_missing_working_folder_is_said(tmp_path: Path) -> None:
    async def run() -> None:
        wanted = launch(tmp_path / "absent", "true")
        Process(wanted, ContainerLog(tmp_path / "0.log"))

    with pytest.raises(OSError, match="No such file or directory"):
        asyncio.run(run())


def test_nothing_a_container_started_outlives_it(tmp_path: Path) -> None:
    word = uuid.uuid4().hex
    stray = f"import time; time.sleep(60)  # {word}"
    script = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {stray!r}])\n"
        f"subprocess.Popen([sys.executable, '-c', {stray!r}], start_new_session=True)\n"
    )
    code, _ = run_to_end(tmp_path, sys.executable, "-c", script)
    assert code == 0
    deadline = time.monotonic() + 5
    while (found := command_lines(word)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found == []


def test_commands_run_in_a_container_and_end_in_time(tmp_path: Path) -> None:
    async def run() -> tuple[tuple[int | None, str], tuple[int | None, str], tuple[int | None, str]]:
        process = Process(launch(tmp_path, "sleep", "60", WORD="hi"), ContainerLog(tmp_path / "0.log"))
        good = await execute(process, ("sh", "-c", "echo $WORD; pwd; exit 3"), 5)
        slow = await execute(process, ("sleep", "60"), 0.1)
        process.send(signal.SIGTERM)
        await asyncio.wait_for(process.finished, 10)
        late = await execute(process, ("true",), 5)
        return good, slow, late

    good, slow, late = asyncio.run(run())
    assert good == (3, f"hi\n{tmp_path}\n")
    assert slow == (None, "")
    assert late == (137, "container not running")


def test_an_earlier_agents_processes_are_known_by_their_mark(tmp_path: Path) -> None:
    async def run() -> tuple[list[int], int, int]:
        process = Process(launch(tmp_path, "sleep", "60"), ContainerLog(tmp_path / "0.log"))
        untouched = kill_marked(STATE_MARK, f"{tmp_path}/other")
        killed = kill_marked(STATE_MARK, str(tmp_path))
        code = await asyncio.wait_for(process.finished, 10)
        assert killed == [process.pid]
        return untouched, len(killed), code

    assert asyncio.run(run()) == ([], 1, -signal.SIGKILL)


def command_lines(word: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if word in text:
                found.append(text)
    return found
