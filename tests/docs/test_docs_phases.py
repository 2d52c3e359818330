"""The page on reliability shows faults that are listed, in phases in which they strike."""

from __future__ import annotations

from cutover import project
from rehearsal import matrix, tables
from rehearsal.environment import faults

PAGE = (project.ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_row_that_is_shown_is_of_a_fault_of_that_phase() -> None:
    known = {
        (f"`{fault.name}`" + (f" {strategy}" if strategy == faults.INSTANT else "")): fault
        for fault, strategy in matrix.chosen_in_phases((), None)
    }
    shown = tables.rows_of(PAGE, "fault matrix")
    assert shown
    for cells in shown:
        assert len(cells) == len(matrix.PHASES_HEAD)
        assert cells[1] == faults.PHASES[known[cells[0]].struck_in]
        assert cells[-1] != "yes" or cells[4] == known[cells[0]].clause


def test_the_grid_shows_every_fault() -> None:
    shown = tables.rows_of(PAGE, "faults by phase")
    assert [cells[0] for cells in shown] == [cells[0] for cells in matrix.grid([])]
    assert all(len(cells) == len(matrix.GRID_HEAD) for cells in shown)
