"""The fault matrix itself: a row must not hold by accident."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click
import pytest

from rehearsal import asked, matrix, tables
from rehearsal.environment import faults

if TYPE_CHECKING:
    from pathlib import Path

EVERY = [
    (fault, strategy)
    for strategy in ("gradual", "instant")
    for fault in (*faults.load(strategy), *faults.elsewhere(strategy))
]


def _failing(fault: faults.Fault, **changed: str) -> list[dict[str, str]]:
    words = {"cause": " ".join(fault.cause), "remedy": " ".join(fault.remedy)}
    return [{"id": fault.clause, "result": "FAIL", "reason": "", **words, **changed}]


def _seen(fault: faults.Fault, **changed: str) -> matrix.Seen:
    lost = fault.base == "writes-lost" and fault.clause[:1] in faults.AFTER_TRAFFIC
    return matrix.Seen(
        exit_code=fault.exit_code,
        failing=tuple(_failing(fault, **changed)),
        serves=fault.serves,
        rollback=fault.rollback,
        gates=dict.fromkeys(fault.gates[:1], "FAIL"),
        diagnosis=fault.diagnosis[0],
        evidence="exit code 1: changed" if fault.kind else asked.INTACT,
        markers="3 missing" if lost else asked.EXACT,
    )


@pytest.mark.parametrize(("fault", "strategy"), EVERY, ids=[f"{fault.name}-{strategy}" for fault, strategy in EVERY])
def test_a_row_holds_only_for_what_is_listed(fault: faults.Fault, strategy: str) -> None:
    assert strategy
    seen = _seen(fault)
    assert not list(matrix.differences_of(fault, seen))
    other = "FAIL" if fault.rollback != "FAIL" else "PASS"
    for wrong in (
        replace(seen, exit_code=0),
        replace(seen, failing=()),
        replace(seen, serves="mixed"),
        replace(seen, evidence=asked.INTACT if fault.kind else "exit code 1"),
        replace(seen, markers=asked.EXACT if seen.markers != asked.EXACT else "1 missing"),
        replace(seen, rollback=other),
        replace(seen, diagnosis="gate-fails"),
        _seen(fault, id="P.1"),
        *([_seen(fault, cause="", remedy="")] if fault.cause or fault.remedy else []),
    ):
        assert list(matrix.differences_of(fault, wrong))


def test_before_the_cutover_there_may_be_no_write_and_no_baseline_yet() -> None:
    early, late = faults.named(["database-down@1", "database-down@4"])
    for fault, told in ((early, []), (late, ["evidence: no baseline", "write markers: none was acknowledged"])):
        seen = replace(_seen(fault), evidence="no baseline", markers="none was acknowledged")
        assert list(matrix.differences_of(fault, seen)) == told


def test_who_serves_once_the_database_is_back_counts_too() -> None:
    (fault,) = faults.named(["database-lost@4"])
    assert not list(matrix.differences_of(fault, replace(_seen(fault), then="blue")))
    told = list(matrix.differences_of(fault, replace(_seen(fault), then="green")))
    assert told == ["served by green once the database is back"]


def test_each_fault_in_each_phase_is_a_row_with_one_strategy() -> None:
    chosen = matrix.chosen_in_phases((), None)
    names = [fault.name for fault, _ in chosen]
    assert len(names) == len(set(names))
    every = {fault.name for fault, _ in EVERY if ":" not in fault.name or "@" in fault.name}
    assert set(names) == every
    assert [fault.struck_in for fault, _ in chosen] == sorted(fault.struck_in for fault, _ in chosen)
    strategies = {fault.name: strategy for fault, strategy in chosen}
    assert (strategies["crash-loop@3"], strategies["crash-loop@4"]) == ("gradual", "instant")
    assert strategies["queue-stuck@2"] == "instant"
    (one,) = matrix.chosen_in_phases(("crash-loop@3",), "instant")
    assert one[0].clause == "3.2"
    with pytest.raises(click.UsageError):
        matrix.chosen_in_phases(("nothing-*",), None)


def test_a_kept_row_is_read_again_and_the_newest_counts(tmp_path: Path) -> None:
    first, second = faults.named(["database-down@4", "crash-loop@2"])
    for fault, seen in ((first, replace(_seen(first), serves="mixed")), (second, _seen(second)), (first, _seen(first))):
        row = matrix.Row(
            fault=fault.name,
            strategy="instant",
            seen=seen,
            duration_s=40.2,
            differences=("as it was then",),
            struck=matrix.struck(fault),
        )
        matrix.keep(row, tmp_path)
    matrix.keep(replace(row, fault="gone@4"), tmp_path)
    found = matrix.results_in(tmp_path)
    assert [matrix.known(told) for told in found] == [("crash-loop@2", "instant"), ("database-down@4", "instant")]
    assert [told["differences"] for told in found] == [[], []]
    cells = matrix.phase_cells(found[1])
    assert len(cells) == len(matrix.PHASES_HEAD)
    assert cells[:2] == ["`database-down@4` instant", "Validation"]
    assert cells[-1] == "yes"
    assert matrix.results_in(None) == matrix.results_in(tmp_path / "none") == []


def test_a_kept_row_is_compared_with_the_list_as_it_is_now() -> None:
    (fault,) = faults.named(["evidence-altered@2"])
    row = matrix.Row(
        fault=fault.name,
        strategy="gradual",
        seen=replace(_seen(fault), exit_code=3),
        duration_s=1,
        differences=(),
        own=("left running: x",),
        struck=matrix.struck(fault),
    )
    told = json.loads(json.dumps(asdict(row)))
    assert matrix.compared(fault, told)["differences"] == ["exit code 3, listed 1", "left running: x"]
    assert matrix.compared(replace(fault, exit_code=3), told)["differences"] == ["left running: x"]
    (other,) = matrix.compared(replace(fault, exit_code=3, strikes_at="2.2a"), {**told, "own": []})["differences"]
    assert "struck otherwise" in other


def test_the_grid_shows_every_fault_in_every_phase() -> None:
    (fault,) = faults.named(["database-lost@4"])
    row = matrix.Row(
        fault=fault.name,
        strategy="instant",
        seen=_seen(fault),
        duration_s=1,
        differences=(),
        struck=matrix.struck(fault),
    )
    shown = {cells[0]: cells for cells in matrix.grid([json.loads(json.dumps(asdict(row)))])}
    assert set(shown) == {f"`{name}`" for name in (one.name for one in faults.load()) if ":" not in name}
    assert all(len(cells) == len(matrix.GRID_HEAD) and all(cells) for cells in shown.values())
    cells = shown["`database-lost`"]
    assert cells[4] == "4.1a, exit 1, nobody"
    assert cells[3] == "3.1b, not measured yet"
    assert shown["`init-stuck`"][3] == "-"


FOR_GATES = [fault for fault in faults.load() if fault.gates]


@pytest.mark.parametrize("fault", FOR_GATES, ids=[fault.name for fault in FOR_GATES])
def test_the_wrong_gate_and_a_gate_that_stays_green_are_told(fault: faults.Fault) -> None:
    seen = _seen(fault)
    coupled = dict.fromkeys((*fault.gates, *fault.also), "INCONCLUSIVE")
    assert not list(matrix.differences_of(fault, replace(seen, gates=coupled)))
    (green,) = matrix.differences_of(fault, replace(seen, gates={}))
    assert fault.gates[0] in green
    (foreign,) = matrix.differences_of(fault, replace(seen, gates={**seen.gates, "custom": "ERROR"}))
    assert foreign == "the gate custom is not listed, and was ERROR"


@pytest.mark.parametrize(
    ("name", "changed", "told"),
    [
        ("green-errors", {"evidence": "exit code 1"}, "evidence: exit code 1"),
        ("green-errors", {"markers": "1 missing"}, "write markers: 1 missing"),
        ("writes-lost", {"markers": asked.EXACT}, "write markers: exact"),
    ],
)
def test_what_the_gates_protect_is_looked_at_too(name: str, changed: dict[str, str], told: str) -> None:
    (fault,) = faults.named([name])
    assert list(matrix.differences_of(fault, replace(_seen(fault), **changed))) == [told]  # type: ignore[arg-type]


def test_a_gate_counts_with_its_worst_verdict(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    told = [("a", "PASS"), ("b", "INCONCLUSIVE"), ("b", "FAIL"), ("b", "ERROR"), ("a", "PASS"), ("c", "NO_DATA")]
    lines = [{"event": "gate", "clause": "3.1a", "data": {"name": name, "result": result}} for name, result in told]
    journal.write_text("".join(json.dumps(each) + "\n" for each in [{"event": "load", "data": {}}, *lines]))
    assert matrix.gates_of(journal) == {"b": "FAIL", "c": "NO_DATA"}


def test_only_the_faults_that_are_there_for_a_gate_are_chosen() -> None:
    chosen = matrix.chosen_faults((), "gradual", kinds=False, gates=True)
    assert [fault.name for fault in chosen] == [fault.name for fault in FOR_GATES]


def test_a_row_of_a_document_is_replaced_and_nothing_else_of_it(tmp_path: Path) -> None:
    path = tmp_path / "gates.md"
    path.write_text("# Gates\n\nWhy.\n")
    tables.written(path, "one", ("fault", "s"), [["`a`", "1"], ["`b`", "2|3"]])
    path.write_text(path.read_text() + "\nAfter.\n")
    tables.written(path, "one", ("fault", "s"), [["`b`", "4"], ["`c`", "5"]])
    tables.written(path, "two", ("fault", "s"), [["`z`", "9"]])
    text = path.read_text()
    assert tables.rows_of(text, "one") == [["`a`", "1"], ["`b`", "4"], ["`c`", "5"]]
    assert tables.rows_of(text, "two") == [["`z`", "9"]]
    assert tables.rows_of(text, "three") == []
    assert text.startswith("# Gates\n\nWhy.\n")
    assert "\nAfter.\n" in text


def test_the_cells_of_a_row_show_the_gate_that_the_fault_is_there_for_first() -> None:
    (fault,) = faults.named(["green-errors:5"])
    seen = replace(_seen(fault), gates={"error_ratio": "INCONCLUSIVE", "failed_requests": "FAIL"})
    row = matrix.Row(fault="green-errors:5", strategy="gradual", seen=seen, duration_s=40.2, differences=())
    assert len(matrix.cells(row)) == len(matrix.HEAD)
    assert matrix.cells(row)[:3] == ["`green-errors:5`", "`failed_requests` FAIL", "`error_ratio` INCONCLUSIVE"]
    assert "failed_requests=FAIL" in matrix.line(row)


def _said(fault: faults.Fault, *findings: str) -> str:
    return "\n".join(f"    {fault.name} {faults.MUST_LEAD_TO} {finding}" for finding in findings)


def test_an_alteration_must_be_named_in_the_record_and_in_what_was_printed() -> None:
    (fault,) = faults.named(["evidence-altered:row-digest"])
    told = f"E.2 {faults.guarantees()['E.2']}: row-changed ev-1, expected this, found that"
    said = _said(fault, "E.2 row-changed ev-1")
    assert not list(matrix.unnamed(fault, f"{told}\n{said}", _failing(fault, cause=told)))
    assert len(list(matrix.unnamed(fault, said, _failing(fault, cause=told)))) == 1
    assert len(list(matrix.unnamed(fault, told + "\n" + said, _failing(fault, cause="something")))) == 1
    other = told.replace("ev-1", "ev-2")
    assert len(list(matrix.unnamed(fault, f"{other}\n{said}", _failing(fault, cause=other)))) == 2
    assert list(matrix.unnamed(fault, told, _failing(fault, cause=told)))


def test_the_kinds_of_altered_evidence_are_runs_of_their_own() -> None:
    plain = {fault.name for fault in matrix.chosen_faults((), "gradual", kinds=False)}
    assert "evidence-altered" in plain
    assert not [name for name in plain if ":" in name]
    kinds = [fault for fault in matrix.chosen_faults(("stella-lies",), "gradual", kinds=True) if fault.kind]
    assert {fault.kind for fault in kinds} == set(faults.alterations())
    assert len(matrix.chosen_faults(("evidence-altered:log-*",), "gradual", kinds=False)) >= 5


def test_a_process_that_was_left_is_found() -> None:
    mark = f"test-{os.getpid()}"
    # The kernel shows a process's environment a moment after the program was put in its place.
    waiting = "import sys; print(flush=True); sys.stdin.read()"
    environment = {**os.environ, matrix.MARK: mark}
    command, pipe = [sys.executable, "-c", waiting], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as left:
        assert left.stdout is not None
        assert left.stdout.readline() == b"\n"
        assert len(asked.processes_marked(matrix.MARK, mark)) == 1
        left.communicate()
    assert asked.processes_marked(matrix.MARK, mark) == []
