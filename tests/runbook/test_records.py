"""Which record is gone on with when nobody names one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cutover.clock import ManualClock
from cutover.errors import JournalBroken, WrongInput
from cutover.runbook import records
from cutover.runbook.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

BEGAN = datetime(2026, 4, 12, 9, 30, tzinfo=UTC)
"""Long before the files of these tests are written."""


def _record(parent: Path, name: str, *, after_min: float) -> Path:
    folder = parent / name
    folder.mkdir()
    journal = Journal(folder / records.JOURNAL, clock=ManualClock(start=BEGAN + timedelta(minutes=after_min)))
    journal.write("run_started", upgrade_id=name)
    journal.write("plan", digest="sha256:0")
    journal.close()
    return folder


def test_the_newest_is_the_one_that_was_begun_last_whatever_it_is_called(tmp_path: Path) -> None:
    _record(tmp_path, "z", after_min=1)
    last = _record(tmp_path, "a", after_min=2)
    _record(tmp_path, "m", after_min=0)
    assert records.newest(tmp_path).folder == last


def test_a_damaged_newest_is_not_passed_over_for_an_older_one(tmp_path: Path) -> None:
    _record(tmp_path, "older", after_min=0)
    path = _record(tmp_path, "newer", after_min=1) / records.JOURNAL
    path.write_bytes(path.read_bytes().replace(b"sha256:0", b"sha256:1"))
    with pytest.raises(JournalBroken):
        records.newest(tmp_path)


@pytest.mark.parametrize("first", [b"", b"{", b"[]\n"])
def test_a_newest_whose_first_line_is_lost_is_not_passed_over_either(tmp_path: Path, first: bytes) -> None:
    _record(tmp_path, "older", after_min=0)
    path = _record(tmp_path, "newer", after_min=1) / records.JOURNAL
    path.write_bytes(first + path.read_bytes().partition(b"\n")[2])
    with pytest.raises(JournalBroken):
        records.newest(tmp_path)


def test_a_folder_that_was_given_up_before_its_first_line_is_no_record(tmp_path: Path) -> None:
    begun = _record(tmp_path, "begun", after_min=0)
    (tmp_path / "given-up").mkdir()
    (tmp_path / "given-up" / records.JOURNAL).touch()
    assert records.newest(tmp_path).folder == begun


def test_without_a_record_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(WrongInput, match="no record"):
        records.newest(tmp_path)
