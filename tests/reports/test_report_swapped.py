"""The reports of an upgrade that began with green serving: whom blue means there, and that going back went well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sample_record

from reports import gates, record, story, timeline

if TYPE_CHECKING:
    from pathlib import Path

    from reports.views import Record


def went_back(tmp_path: Path, *, serving: str, serves: str) -> Record:
    """Return a record whose upgrade began with a colour serving, and went back to whoever serves at the end."""
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    other = {"blue": "green", "green": "blue"}[serving]
    sample.journal.write("observation", what="roles", blue=serving, green=other, serving=serving)
    sample.passes("1.1a")
    sample.weight(10)
    sample.verdict("error_ratio", result="FAIL")
    sample.clock.advance(1.5)
    sample.decide(gate="error_ratio", result="FAIL", bad_for_s=1.5)
    sample.fails("3.1a", took_s=0.1, reason="a gate does not hold", remedy="read its log")
    sample.rollback(serves=serves)
    sample.end("FAILED", exit_code=1, reasons=("3.1a FAIL: a gate does not hold",))
    return record.read(sample.folder)


def flags(read: Record) -> dict[str, bool]:
    """Return the picture's turns with whether each is a bad one."""
    return {text: bad for _, text, bad in timeline._turns(read)}


@pytest.mark.parametrize("serving", ["blue", "green"])
def test_going_back_to_who_served_before_is_a_good_end(tmp_path: Path, serving: str) -> None:
    read = went_back(tmp_path, serving=serving, serves=serving)
    assert flags(read)[f"rolled back: {serving}"] is False
    assert f"{serving} served every request" in gates.decision(read)


def test_after_going_back_the_new_colour_must_not_serve(tmp_path: Path) -> None:
    read = went_back(tmp_path, serving="green", serves="blue")
    assert flags(read)["rolled back: blue"] is True
    assert "served every request" not in gates.decision(read)


def test_the_first_page_says_whom_blue_means_only_where_the_colours_are_swapped(tmp_path: Path) -> None:
    swapped = story.tell(went_back(tmp_path / "swapped", serving="green", serves="green"))
    usual = story.tell(went_back(tmp_path / "usual", serving="blue", serves="blue"))
    said = "colours swapped: green served before, so blue in clauses and gates means the colour green"
    assert said in swapped.fact("executed").notes
    assert not any("swapped" in note for note in usual.fact("executed").notes)
