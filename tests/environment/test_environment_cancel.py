"""Stopping a rehearsal: what is passed on, what must not end, and what the cases of `rehearsal.cancel` demand."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rehearsal import cancel
from rehearsal.environment import sandbox

if TYPE_CHECKING:
    from pathlib import Path

_ATTENDING = """
import os, signal, sys
from rehearsal.cli import rehearse
told, answer = os.pipe()
command = os.fork()
if command == 0:
    got = []
    def note(number, frame):
        got.append(signal.Signals(number).name)
        if len(got) == 2:
            os.write(answer, ",".join(got).encode())
            os._exit(4)
        os.kill(os.getppid(), signal.SIGHUP)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, note)
    caught = 0
    while not caught >> (signal.SIGHUP - 1) & 1:
        lines = open(f"/proc/{os.getppid()}/status").read().splitlines()
        caught = int(next(line for line in lines if line.startswith("SigCgt")).split()[1], 16)
    sys.stdout.write("listening\\n")
    sys.stdout.flush()
    while True:
        signal.pause()
attend = sys.modules["rehearsal.cli.rehearse"]._attend
code = attend(command, command)
sys.stdout.write(f"{os.read(told, 100).decode()} {code}\\n")
"""


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_very_signal_is_passed_to_the_run_and_a_second_one_as_second(first: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", _ATTENDING], stdout=subprocess.PIPE, text=True) as attending:
        assert attending.stdout is not None
        assert attending.stdout.readline() == "listening\n"
        attending.send_signal(first)
        assert attending.communicate(timeout=20)[0] == f"{first.name},SIGHUP 4\n"


def test_no_signal_to_a_group_ends_the_go_between() -> None:
    """Its end would be the end of the run: both die with their parent."""
    assert {*cancel.SIGNALS, signal.SIGQUIT, signal.SIGTSTP} == {*sandbox._NOT_FOR_THE_GO_BETWEEN}


def _outcome(case: cancel.Case) -> cancel.Outcome:
    return cancel.Outcome(
        took_s=3.0,
        exit_code=4,
        serves="mixed" if case.is_twice else "blue",
        rollback="-" if case.is_twice else "PASS",
        record="journal left" if case.is_twice else "written",
        left=(),
    )


@pytest.mark.parametrize("case", cancel.CASES, ids=[case.name for case in cancel.CASES])
def test_a_case_holds_only_as_designed(case: cancel.Case) -> None:
    sound = _outcome(case)
    assert not list(sound.differences(case))
    wrong = [
        replace(sound, took_s=5.1),
        replace(sound, exit_code=0),
        replace(sound, record="with 1 verdicts"),
        replace(sound, left=("locust",)),
    ]
    if not case.is_twice:
        wrong += [replace(sound, serves="mixed"), replace(sound, rollback="NOT_RUN")]
    for outcome in wrong:
        assert len(list(outcome.differences(case))) == 1
    assert len(cancel.cells(case, sound, [])) == len(cancel.HEAD)


def test_a_terminal_that_is_closed_hangs_up(tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    script = "import signal, sys; signal.signal(signal.SIGHUP, lambda *_: sys.exit(7)); print('here'); signal.pause()"
    with cancel.Terminal(shown) as terminal:
        run = subprocess.Popen(
            [sys.executable, "-u", "-c", script],
            stdin=terminal.line,
            stdout=terminal.line,
            start_new_session=True,
            preexec_fn=cancel._take_terminal,  # noqa: PLW1509
        )
        deadline = time.monotonic() + 20
        while (not shown.exists() or b"here" not in shown.read_bytes()) and time.monotonic() < deadline:
            time.sleep(0.01)
        terminal.close()
        assert run.wait(20) == 7


def _lines(*told: str) -> str:
    return "".join(json.dumps({"event": event, "data": {}}) + "\n" for event in told)


@pytest.mark.parametrize(
    ("told", "verdict", "state"),
    [
        (_lines("weight", "run_interrupted", "run_finished"), True, ("PASS", "written")),
        (_lines("weight", "run_interrupted"), False, ("-", "journal left")),
        (_lines("weight") + '{"event": "cut', False, ("-", "journal left")),
        (_lines("weight", "run_finished"), True, ("PASS", "with 1 verdicts, journal ends with run_finished")),
        ("", False, ("-", "with 0 verdicts, journal ends with nothing")),
    ],
)
def test_a_record_is_written_or_its_journal_is_left(
    tmp_path: Path, told: str, state: tuple[str, str], *, verdict: bool
) -> None:
    folder = tmp_path / "2027-01-01-0000"
    folder.mkdir()
    (folder / "journal.jsonl").write_text(told)
    if verdict:
        clauses = [{"id": "3.1b", "result": "NOT_RUN"}, {"id": "R.1", "result": "PASS"}]
        (folder / "verdict.json").write_text(json.dumps({"clauses": clauses}))
    assert cancel._record(tmp_path) == state


def test_a_run_that_ends_before_the_weight_is_told(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as run:
        run.wait()
        with pytest.raises(LookupError, match="never came to weight 25"):
            cancel._wait_for_weight(tmp_path, run)
