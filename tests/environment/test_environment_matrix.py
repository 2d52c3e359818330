"""The fault matrix itself: a row must not hold by accident."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rehearsal import asked, matrix, tables
from rehearsal.environment import faults

if TYPE_CHECKING:
    from pathlib import Path

EVERY = [(fault, strategy) for strategy in ("gradual", "instant") for fault in faults.load(strategy)]


def _failing(fault: faults.Fault, **changed: str) -> list[dict[str, str]]:
    words = {"cause": " ".join(fault.cause), "remedy": " ".join(fault.remedy)}
    return [{"id": fault.clause, "result": "FAIL", "reason": "", **words, **changed}]


def _seen(fault: faults.Fault, **changed: str) -> matrix.Seen:
    lost = fault.gates[:1] == ("write_markers",)
    return matrix.Seen(
        exit_code=fault.exit_code,
        failing=tuple(_failing(fault, **changed)),
        serves=fault.serves,
        rollback=fault.rollback,
        gates=dict.fromkeys(fault.gates[:1], "FAIL"),
        diagnosis=fault.diagnosis[0],
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
        replace(seen, serves="green"),
        replace(seen, rollback=other),
        replace(seen, diagnosis=matrix.UNKNOWN),
        _seen(fault, id="P.1"),
        _seen(fault, cause="", remedy=""),
    ):
        assert list(matrix.differences_of(fault, wrong))


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
