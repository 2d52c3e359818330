"""The cutover benchmark: what it reads from a record, whose CPU time it counts, and what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from bench import cutover, cutover_record, processes

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 11, 23, 4, 12, 7, tzinfo=UTC)
KEYS = {"breach_to_blue_s", "gate_interval_s", "load_ratio", "harness_cpu_share", "freeze_p99_error", "step_overhead"}


def test_the_keys_are_those_that_were_asked_for() -> None:
    assert set(cutover.KEYS) == KEYS
    assert len(cutover.KEYS) == len(KEYS)


# -- the breach --------------------------------------------------------------------------------------------------------


def record(folder: Path, answers: list[tuple[str, str, float]], *, failures_s: tuple[float, ...] = ()) -> Path:
    """Write what a breach is read from: each answer's colour, error and milliseconds, one every tenth of a second."""
    (folder / "load").mkdir()
    lines: list[dict[str, Any]] = [{"start": START.timestamp(), "requests_per_s": 10.0}]
    for number, (colour, error, ms) in enumerate(answers):
        lines.append({"n": number, "ms": ms, "status": 500 if error else 200, "colour": colour, "error": error})
    lines.append({"end": START.timestamp() + 1, "planned": len(answers)})
    (folder / "load" / "probe.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    failures = [{"time": (START + timedelta(seconds=after_s)).isoformat()} for after_s in failures_s]
    (folder / "load" / "summary.json").write_text(json.dumps({"failures": failures}))
    (folder / "policy.toml").write_text("[traffic]\ninterval_s = 2\n")
    return folder


GOOD, BAD, OTHER = ("blue", "", 5.0), ("green", "status 500", 7.0), ("green", "", 5.0)


@pytest.mark.parametrize(
    ("answers", "failures_s", "took_s"),
    [
        ([GOOD, BAD, OTHER, BAD, GOOD], (), 0.2),
        ([GOOD, BAD, GOOD, OTHER, GOOD], (), 0.198),
        ([OTHER, BAD, GOOD], (), 0.0),
        ([GOOD, BAD, ("", "no answer", 5000.0), GOOD], (), 5.093),
        ([GOOD, GOOD, GOOD, BAD, GOOD], (0.107,), 0.2),
        ([GOOD, BAD, GOOD], (0.2, 2.107), 2.0),
        ([GOOD, OTHER], (0.05, 0.055), 0.055),
    ],
)
def test_a_breach_lasts_from_the_first_bad_answer_to_the_last_that_was_not_blues(
    tmp_path: Path, answers: list[tuple[str, str, float]], failures_s: tuple[float, ...], took_s: float
) -> None:
    found = cutover_record.breach(record(tmp_path, answers, failures_s=failures_s))
    assert found.took_s == pytest.approx(took_s, abs=1e-5)
    assert found.answers == len(answers)


def test_without_a_bad_answer_there_is_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the probe had 2 answers, and nobody had a bad one"):
        cutover_record.breach(record(tmp_path, [GOOD, OTHER]))


# -- the overhead ------------------------------------------------------------------------------------------------------


def line(after_s: float, event: str, clause: str | None = None, **data: Any) -> str:  # noqa: ANN401 (any JSON)
    moment = (START + timedelta(seconds=after_s)).isoformat()
    return json.dumps({"time": moment, "event": event, "clause": clause, "data": data})


def test_the_overhead_is_what_no_command_bake_or_wait_covers() -> None:
    found = cutover_record.overhead(
        [
            line(0, "run_started"),
            line(1, "clause_started", "1.1a"),
            line(5, "command", "1.1a", duration_s=3.0),
            line(6, "wait", "1.1a", for_="pods to be ready", waited_s=3.0, done=True),
            line(6.5, "clause_finished", "1.1a"),
            line(7, "clause_started", "3.1a"),
            line(12, "wait", "3.1a", for_="10 percent to bake", waited_s=5.0, done=False),
            line(17, "wait", "3.1a", for_="10 percent to bake", waited_s=10.0, done=True),
            line(16, "command", "3.1a", duration_s=1.0),
            line(18, "wait", "3.1a", for_="enough data at 10 percent", waited_s=1.0, done=True),
            line(18.75, "done", "3.1a", action="shift", duration_s=0.5),
            line(16.5, "failed", "3.1a", action="other", duration_s=0.25),
            line(19, "clause_finished", "3.1a"),
            line(20, "run_finished"),
            line(99, "later"),
        ]
    )
    assert (found.total_s, found.commands_s, found.waits_s) == pytest.approx((20, 4, 1))
    assert (found.actions_s, found.bakes_s) == pytest.approx((0.75, 9.75)), "an action in a bake is counted once"
    assert (found.own_s, found.share) == pytest.approx((4.5, 0.225))
    assert found.share_with_actions == pytest.approx(5.25 / 20)
    assert found.by_clause_s == pytest.approx({"1.1a": 1.5, "3.1a": 0.5})


# -- CPU time ----------------------------------------------------------------------------------------------------------

BURN = "import time\nwhile time.process_time() < {}: pass\n"
TREE = f"""
import subprocess, sys, time
other = subprocess.Popen([sys.executable, "-c", {BURN.format(0.4)!r} + "time.sleep(60)", "left" + "-out"])
subprocess.run([sys.executable, "-c", {BURN.format(0.3)!r}])
{BURN.format(0.2)}
print("burnt", flush=True)
other.wait()
"""


def test_the_children_count_and_what_is_left_out_does_not() -> None:
    process = subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "burnt\n"
        root = psutil.Process(process.pid)
        other = root.children()[0]
        while sum(other.cpu_times()[:2]) < 0.35:
            time.sleep(0.02)
        found = processes.look(root, left_out=("left-out",))
        assert found.others == 1
        assert 0.15 <= found.root_s < found.all_s
        assert 0.4 <= found.all_s < 1.5, "the interpreters' own start is the rest"
        whole = processes.look(root, left_out=())
        assert whole.all_s >= found.all_s + 0.3
        assert processes.find("burnt", below=os.getpid()) == root
        assert processes.find("never there at all", below=os.getpid()) is None
    finally:
        for one in [*psutil.Process(process.pid).children(), process]:
            one.kill()
        process.communicate()


def test_a_look_with_nothing_beside_measures_nothing() -> None:
    with pytest.raises(RuntimeError, match="nothing to measure: of 0 looks"):
        processes.Watch(below=os.getpid(), root="x", left_out=()).beside_others()


def test_the_share_is_of_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    first = processes.Look(time_s=10, root_s=1, all_s=5, others=2)
    last = processes.Look(time_s=60, root_s=4, all_s=15, others=2)
    found = cutover.cpu_share(first, last)
    assert (found["value"], found["ours"], found["anchor"], found["met"]) == (0.1, 10, 100, True)
    assert (found["harness_process_s"], found["commands_s"]) == (3, 7)


# -- what is printed ---------------------------------------------------------------------------------------------------


def test_rehearsals_are_told_apart_and_the_slowest_way_back_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, ...]] = []

    def rehearse(folder: Path, *arguments: str, expected: int) -> tuple[Path, tuple[object, object]]:
        asked.append((*arguments, str(expected)))
        folder.mkdir(parents=True)
        failures_s = (0.107, 7.0 if len(asked) == 2 else 1.107)
        return record(folder, [GOOD, BAD, GOOD], failures_s=failures_s), (None, None)

    monkeypatch.setattr(cutover, "rehearse", rehearse)
    arguments = ["cutover.py", "--only", "gate_interval_s", "breach_to_blue_s", "--keep", str(tmp_path / "a")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--json"])
    cutover.main()
    found = json.loads(capsys.readouterr().out)
    assert asked == [("--fault", "green-errors", "1")] * 2
    assert list(found) == ["breach_to_blue_s", "gate_interval_s"]
    value = found["breach_to_blue_s"]
    assert (value["value"], value["anchor"], value["met"]) == (6.893, 7.0, True)
    assert value["rounds"] == [1.0, 6.893]
    assert found["gate_interval_s"]["value"] == 2
    monkeypatch.setattr(sys, "argv", [*arguments[:-1], str(tmp_path / "b"), "--rounds", "1"])
    cutover.main()
    rows = capsys.readouterr().out.splitlines()
    assert rows[1].startswith("breach_to_blue_s")
    assert rows[1].endswith("met: at most 2 gate intervals and 3 s")
