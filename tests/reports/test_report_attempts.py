"""What the first page says of an upgrade that more than one process worked on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sample_record

from reports import html, pdf, record, summary, views

if TYPE_CHECKING:
    from pathlib import Path


def attempt(number: int, procedure: str, **facts: object) -> dict[str, Any]:
    return {
        "number": number,
        "procedure": procedure,
        "operator": f"op{number}@host",
        "started": f"2026-11-2{number}T04:12:00Z",
        "finished": f"2026-11-2{number}T04:20:00Z",
        "broken_off": False,
        "stopped_by": "",
        "result": "",
        "reason": "",
        "kept": 0,
        **facts,
    }


def worked_on(records: Path, *attempts: dict[str, Any], **verdict: object) -> views.Record:
    """Return the sample of a passed run as if these had worked on it."""
    folder = sample_record.passed(records).folder
    path = folder / "verdict.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "attempts": attempts, **verdict}))
    return record.read(folder)


def test_one_attempt_is_no_story(tmp_path: Path) -> None:
    found = worked_on(tmp_path, attempt(1, "run"))
    assert "Attempts" not in summary.build(found)
    assert "op1@host, 21 Nov" not in html.build(found)


def test_an_interruption_is_told_on_the_first_page_of_each(tmp_path: Path) -> None:
    found = worked_on(tmp_path, attempt(1, "run", broken_off=True), attempt(2, "resume", kept=30))
    for text in (summary.build(found).replace("\\", ""), html.build(found)):
        assert "1. run by op1@host, 21 Nov 2026, 04:12:00 to 04:20:00, broken off" in text
        assert "2. resume by op2@host, 22 Nov 2026, 04:12:00 to 04:20:00, 30 clauses kept from before" in text
    assert pdf.build(found).startswith(b"%PDF")


def test_a_rollback_that_was_asked_for_is_no_failure_and_no_success(tmp_path: Path) -> None:
    found = worked_on(
        tmp_path,
        attempt(1, "run", result="PASSED"),
        attempt(2, "rollback", reason="one customer waits too long"),
        result="ROLLED_BACK",
        exit_code=1,
        rollback={"performed": True, "serves": "blue", "took_s": 0.4, "trigger": "asked for"},
    )
    text = summary.build(found).replace("\\", "")
    assert text.startswith("## ROLLED BACK")
    assert "The way back was asked for (one customer waits too long) and is proven: blue serves" in text
    assert "not in effect" in html.build(found)
