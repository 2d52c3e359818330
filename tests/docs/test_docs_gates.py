"""The page on gates names the gates there are, the faults that they must catch, and shows tables of real runs."""

from __future__ import annotations

import re

from cutover import project
from cutover.policy import GATE_NAMES
from rehearsal import cancel, matrix, tables
from rehearsal.environment import faults

PAGE = (project.ROOT / "docs" / "gates.md").read_text(encoding="utf-8")
ROWS = {
    cells[0].strip("` "): cells
    for cells in re.findall(r"^\| (`\w+`) \| .* \| .* \| .* \| (.*) \|$", PAGE, re.MULTILINE)
}


def test_every_gate_is_told_with_the_faults_that_it_must_catch() -> None:
    found = {name: set(re.findall(r"`([a-z0-9-]+)`", cells[1])) for name, cells in ROWS.items() if name in GATE_NAMES}
    wanted = {name: {fault.name for fault in faults.load() if fault.gates[:1] == (name,)} for name in GATE_NAMES}
    assert found == wanted


def test_the_suite_knows_the_gates_that_a_run_has() -> None:
    named = {name for fault in faults.load() for name in (*fault.gates, *fault.also)}
    assert named == set(GATE_NAMES)


def test_every_row_that_is_shown_is_of_a_fault_there_is_and_as_listed() -> None:
    for strategy in ("gradual", "instant"):
        listed = {fault.name for fault in faults.load(strategy) if fault.gates}
        shown = tables.rows_of(PAGE, f"gates {strategy}")
        assert {cells[0].strip("`") for cells in shown} <= listed, strategy
        for cells in shown:
            assert len(cells) == len(matrix.HEAD)
            assert cells[-1] == "yes", cells


def test_every_way_of_stopping_a_run_is_shown_as_designed() -> None:
    shown = tables.rows_of(PAGE, "cancelled")
    assert {cells[0] for cells in shown} <= {case.name for case in cancel.CASES}
    assert {cells[-1] for cells in shown} <= {"yes"}
