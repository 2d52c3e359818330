"""The page on diagnosis is the table of causes, row by row, and every fault is on it."""

from __future__ import annotations

from cutover.runbook import causes
from rehearsal import causes_page
from rehearsal.environment import faults


def test_the_page_is_what_the_table_says() -> None:
    told = "python -m rehearsal.causes_page writes it anew"
    assert causes_page.PAGE.read_text(encoding="utf-8") == causes_page.page(), told


def test_every_row_and_every_fault_is_on_the_page() -> None:
    text = causes_page.page()
    assert all(f"| `{row.id}` |" in text for row in causes.CAUSES)
    plain = [fault for fault in faults.load() if not fault.kind or fault.name == faults.ALTERED]
    assert all(f"| `{fault.name}` |" in text for fault in plain)
