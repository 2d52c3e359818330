"""Drills harm a site on purpose: on a target that is not disposable there is nothing to run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cutover import project
from cutover.clock import AHEAD
from cutover.model import ExitCode, Outcome, Result
from cutover.policy import Policy
from cutover.runbook.catalogue import load_clauses
from cutover.runbook.journal import Journal
from cutover.target import Target
from rehearsal import drilled, every, held, killing
from rehearsal.cli import drills, rehearse
from rehearsal.environment import layout
from tests.local_server import LocalServer

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = layout.PROJECT / "rehearsal" / "features"
SCENARIOS = [
    title
    for path in sorted(FEATURES.glob("*.feature"))
    for title in re.findall(r"^ +Scenario: (.*)$", path.read_text(), re.MULTILINE)
]


def _collected(*arguments: str, folder: Path) -> tuple[int, list[str]]:
    command = [sys.executable, "-m", "pytest", "-c", str(layout.PROJECT / "pyproject.toml"), "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--collect-only", "-q", *arguments], check=False, cwd=folder, capture_output=True, text=True
    )
    return done.returncode, [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        (None, FEATURES),
        ('name = "production"\n', FEATURES),
        ("disposable = false\n", FEATURES / "test_unsafe_forms.py"),
        ('disposable = "true"\n', FEATURES),
        ("disposable = tru", FEATURES / "test_unsafe_forms.py"),
    ],
    ids=["none given", "says nothing", "says no", "says it wrongly", "not TOML"],
)
def test_nothing_is_collected_for_a_target_that_may_not_be_harmed(
    tmp_path: Path, target: str | None, asked: Path
) -> None:
    given = []
    if target is not None:
        (tmp_path / "target.toml").write_text(target)
        given = ["--target", "target.toml"]
    code, items = _collected(str(asked), *given, folder=tmp_path)
    assert (code, items) == (pytest.ExitCode.NO_TESTS_COLLECTED, [])


def test_every_scenario_is_collected_for_a_disposable_target(tmp_path: Path) -> None:
    (tmp_path / "target.toml").write_text("disposable = true\n")
    code, items = _collected(str(FEATURES), "--target", "target.toml", folder=tmp_path)
    assert code == 0
    assert len(items) == len(SCENARIOS) >= 16


def test_a_drill_names_a_module_and_brings_the_site_to_its_phase() -> None:
    for drill in drills.DRILLS.values():
        assert all((FEATURES / module).exists() for module in drill.modules)
    told = CliRunner().invoke(rehearse, ["--dry-run", "--drill", "unsafe-forms"]).output
    assert "--until 2" in told
    assert "test_unsafe_forms.py" in told
    assert "exit code of the drill" in told


def test_a_drill_without_a_run_says_so() -> None:
    told = CliRunner().invoke(rehearse, ["--dry-run", "--drill", "diagnose"]).output
    assert "--until" not in told
    assert "--drill diagnose" in told


def test_every_clause_of_a_drill_has_scenarios_there_and_no_other_is_claimed() -> None:
    catalogue = load_clauses()
    performed = drilled.scenarios_of(FEATURES, catalogue)
    assert set(performed) == {clause.id for clause in catalogue if clause.drill}
    for clause_id, titles in performed.items():
        assert titles, f"no scenario of a drill performs {clause_id}"
    for clause in catalogue:
        if clause.drill:
            assert clause.drill.rpartition(" ")[2] in drills.DRILLS, clause.drill


def test_a_drill_has_a_record_that_proves_its_clauses_and_never_an_upgrade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, policy = described(tmp_path, monkeypatch)
    catalogue = load_clauses()
    record = drilled.DrillRecord.begin(
        "diagnose", target=target, policy=policy, catalogue=catalogue, parent=tmp_path / "records"
    )
    record.open([catalogue["T.1"]], scenario="one", feature="f")
    record.step_began()
    record.step_ended("When", "something is done", "passed")
    record.close(None)
    record.open([catalogue["S.1"], catalogue["S.2"]], scenario="two", feature="f")
    record.upgrade.journal.write("rollback_started", trigger="a drill")
    record.upgrade.journal.write("rollback_finished", took_s=1.0, serves="blue", verified_requests=100)
    record.close(None)
    judged = record.seal()
    results = {one.clause.id: one.record.result for one in judged.clauses if one.record.result is not Result.NOT_RUN}
    assert results == dict.fromkeys(("T.1", "S.1", "S.2"), Result.PASS)
    assert (judged.outcome, judged.exit_code) == (Outcome.INCOMPLETE, ExitCode.UNDECIDED)
    assert "scope: drill diagnose" in judged.reasons
    assert Journal.verify(record.upgrade.folder / "journal.jsonl")[-1].event == "run_finished"


def test_a_clause_that_fails_in_a_drill_fails_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, policy = described(tmp_path, monkeypatch)
    record = drilled.DrillRecord.begin(
        "diagnose", target=target, policy=policy, catalogue=load_clauses(), parent=tmp_path / "records"
    )
    record.open([record.catalogue["T.4"]], scenario="one", feature="f")
    record.close(AssertionError("the selector is not named"))
    judged = record.seal()
    assert (judged.outcome, judged.exit_code) == (Outcome.FAILED, ExitCode.FAILED)
    assert (record.upgrade.folder / "artifacts" / "faults" / "T.4.txt").is_file()


def described(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Target, Policy]:
    """Return the examples' target and policy, with what the target names."""
    for name in ("STELLA_DSN", "STELLA_LOG_DSN", "STELLA_ADMIN_DSN"):
        monkeypatch.setenv(name, "postgresql://u:not-a-real-one@db.example/x")
    for name in ("STELLA_BLUE_CACHE_URL", "STELLA_GREEN_CACHE_URL"):
        monkeypatch.setenv(name, "redis://cache.example:6379/0")
    for name in ("STELLA_STORE_ACCESS_KEY", "STELLA_STORE_SECRET_KEY"):
        monkeypatch.setenv(name, "some-key-of-the-store")
    shutil.copytree(project.CONTRACT / "examples", folder / "examples")
    target = Target.load(folder / "examples" / "target.toml")
    return target, Policy.read(target.policy_path)


def test_a_drill_and_a_fault_are_not_for_one_site() -> None:
    result = CliRunner().invoke(rehearse, ["--drill", "unsafe-forms", "--fault", "green-slow"])
    assert result.exit_code == 2
    assert "without faults" in result.output


@pytest.mark.parametrize(("code", "wanted"), [(0, 0), (1, 1), (2, 3), (4, 3), (5, 3), (143, 3)])
def test_a_drill_that_ran_nothing_has_measured_nothing(code: int, wanted: int) -> None:
    assert drills.DRILLS["unsafe-forms"].exit_code(0, code) == wanted
    assert drills.DRILLS["restore"].exit_code(0, code) == code, "the harness's own commands say what they came to"


@pytest.mark.parametrize(("code", "wanted"), [(5, 0), (0, 1), (1, 1), (4, 4)])
def test_a_command_that_must_be_refused_and_is_not_fails_its_drill(code: int, wanted: int) -> None:
    removal = drills.DRILLS["removal"]
    too_early = next(number for number, act in enumerate(removal.acts) if act.ends)
    assert removal.exit_code(too_early, code) == wanted


def test_a_drill_may_kill_its_run_and_go_on_a_day_later(tmp_path: Path) -> None:
    drill, place = drills.DRILLS["next-day"], layout.Place.at(tmp_path)
    assert drill.code_before == 128 + 9
    with drill.armed(place):
        order = killing.Order.read(os.environ[killing.VARIABLE])
    assert killing.VARIABLE not in os.environ
    assert [(moment.event, moment.clause) for moment in order.moments] == [("clause_finished", "3.2")]
    (command,) = drill.commands(place, tmp_path)
    assert command[:2] == ["env", f"{AHEAD}=86400"]
    assert command[-3:] == ["resume", "--record", str(tmp_path)]


def test_jobs_are_held_in_blues_queue_and_let_go(tmp_path: Path) -> None:
    asked: list[str] = []

    class Blue(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            assert (place.faults / held.SWITCH).exists(), "the worker is stopped before the first job comes"
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    place = layout.Place.at(tmp_path)
    place.faults.mkdir()
    with LocalServer(("127.0.0.1", 0), Blue) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert held.hold(place, f"http://127.0.0.1:{server.server_port}") == held.JOBS
        server.shutdown()
    assert asked == ["/api/v1/scans"] * held.JOBS
    assert json.loads((place.faults / held.SWITCH).read_text()) == {"colour": "blue"}
    held.release(place)
    held.release(place)
    assert not list(place.faults.iterdir())


def test_all_drills_are_performed_with_the_options_that_were_given(tmp_path: Path) -> None:
    given = ["--drill", "all", "--dry-run", "--strategy", "instant", "--routing", "gateway", "--record", str(tmp_path)]
    told = CliRunner().invoke(rehearse, given)
    assert told.exit_code == 0
    lines = told.output.splitlines()
    assert len(lines) == len(drills.DRILLS)
    for name, line in zip(drills.DRILLS, lines, strict=True):
        assert f"--drill {name} --record {tmp_path} " in line
        assert "--strategy instant" in line
        assert "--routing gateway" in line
        assert "--dry-run" not in line


def _done(drill: str, code: int, **results: str) -> every.Done:
    return every.Done(
        drill=drill,
        exit_code=code,
        duration_s=1.0,
        records=(),
        results={name.replace("_", "."): result for name, result in results.items()},
    )


def test_the_table_is_written_for_machines_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(every, "_rehearse", lambda *_: 3)
    said: list[str] = []
    found, code = every.perform(["rollback"], [], tmp_path, said.append)
    told = json.loads((tmp_path / every.RESULTS).read_text("utf-8"))
    assert (told["exit_code"], [one["drill"] for one in told["drills"]]) == (code, ["rollback"])
    assert {one["id"]: one["result"] for one in told["clauses"]} == dict.fromkeys(every.clauses_of_drills(), "NOT_RUN")
    assert found[0].exit_code == 3
    assert said[-1] == f"also as {tmp_path / every.RESULTS}"


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ([_done("a", 0, R_1="PASS"), _done("b", 0, T_1="PASS")], 0),
        ([_done("a", 0, R_1="PASS")], 4),
        ([_done("a", 0, R_1="PASS"), _done("b", 0, R_1="FAIL", T_1="PASS")], 1),
        ([_done("a", 5, R_1="PASS"), _done("b", 3, T_1="PASS")], 3),
        ([_done("a", 130)], 130),
        ([_done("a", 139, R_1="PASS"), _done("b", 0, T_1="PASS")], 139),
    ],
    ids=["all passed", "one was not performed", "worst of two", "worst code", "stopped", "died"],
)
def test_the_exit_code_of_all_drills_is_the_worst(found: list[every.Done], wanted: int) -> None:
    assert every.exit_code(found, {"R.1": "one", "T.1": "another"}) == wanted


def test_the_table_of_all_drills_names_every_clause_and_who_performed_it() -> None:
    clauses = every.clauses_of_drills()
    assert {clause.id for clause in load_clauses() if clause.id[0] in "TRSC"} == set(clauses)
    lines = list(every.table([_done("rollback", 0, R_1="PASS"), _done("restore", 0, R_1="PASS")], clauses))
    assert any(line.startswith("R.1 ") and line.endswith("rollback, restore") for line in lines)
    assert sum("NOT_RUN" in line for line in lines) == len(clauses) - 1
    assert lines[-1] == f"1 of {len(clauses)} clauses passed"


def test_what_a_clause_came_to_is_read_from_journals_and_the_worst_counts() -> None:
    said = [("R.1", "NOT_RUN"), ("R.2a", "PASS"), ("R.2a", "ERROR"), ("R.2a", "PASS")]
    entries = [{"event": "clause_finished", "clause": name, "data": {"result": result}} for name, result in said]
    assert every.results_of(iter(entries)) == {"R.2a": "ERROR"}


def test_a_drill_of_commands_goes_on_with_the_record_of_its_run(tmp_path: Path) -> None:
    told = CliRunner().invoke(rehearse, ["--dry-run", "--drill", "restore", "--record", str(tmp_path)]).output
    assert "--until" not in told
    run, contract, rollback = (line for line in told.splitlines() if f"--record {tmp_path}" in line)
    assert "cutover.cli run " in run
    assert "cutover.cli contract " in contract
    assert "cutover.cli rollback --reason " in rollback
    told = CliRunner().invoke(rehearse, ["--dry-run", "--drill", "rollback"]).output
    assert "--until 3" in told
