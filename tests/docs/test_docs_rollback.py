"""The table of the way back says what the planner plans."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cutover import project
from cutover.clock import ManualClock
from cutover.runbook import reverse
from cutover.runbook.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

ROW = re.compile(r"^\| ([^|]+) \| (nothing|[RC][^|]*) \|$", re.MULTILINE)

GREEN = [("intent", {"action": "install green"})]
MOVING = [*GREEN, ("weight", {"percent": 10})]
PROMOTED = [*MOVING, ("intent", {"action": "promote"})]
OBSERVED = [*PROMOTED, ("fact", {"name": "observation", "facts": {"state": "complete"}})]
REMOVED = [*OBSERVED, ("intent", {"action": "decommission"})]
CONTRACTED = [*REMOVED, ("intent", {"action": "contract"})]
BACK = [*MOVING, ("rollback_finished", {"serves": "blue"})]
STANDING: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "": [],
    "g": GREEN,
    "m": MOVING,
    "p": PROMOTED,
    "o": OBSERVED,
    "r": REMOVED,
    "c": CONTRACTED,
    "b": BACK,
}


def test_every_point_is_in_the_table_with_its_clauses(tmp_path: Path) -> None:
    rows = []
    for name, lines in STANDING.items():
        journal = Journal(tmp_path / f"journal-{name}.jsonl", clock=ManualClock())
        for event, data in lines:
            journal.write(event, **data)
        made = reverse.plan(journal.entries())
        also = ", and category B is applied" if "R.2d" in made.needed else ""
        rows.append((f"{made.point}{also}", ", ".join(made.needed) or "nothing"))
    text = (project.ROOT / "docs" / "rollback.md").read_text(encoding="utf-8")
    assert ROW.findall(text) == rows
    assert {point for point, _ in rows} >= {point.value for point in reverse.Point}
