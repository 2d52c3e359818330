"""A run that dies right after any line of its journal is gone on with, over a runbook in miniature.

The real thing, on real sites, is `python -m rehearsal.chaos`; this is its small sister, for every change of the code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cutover.runbook.journal import Journal
from rehearsal.killing import PLUGIN, VARIABLE, Moment, Order

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from miniature import Miniature, Ran

pytestmark = pytest.mark.timeout(240)

KILLED = -9
MOMENTS = (
    Moment(event="lock_taken"),
    Moment(event="clause_started", clause="P.1"),
    Moment(event="step", clause="1.1a", nth=2),
    Moment(event="clause_finished", clause="1.1a"),
    Moment(event="clause_finished", clause="2.1a"),
    Moment(event="intent", clause="3.1a", action="shift"),
    Moment(event="done", clause="3.1a", action="shift"),
    Moment(event="weight", clause="3.1a"),
    Moment(event="gate_decision", clause="3.1a"),
    Moment(event="intent", clause="3.2", action="promote"),
    Moment(event="weight", clause="3.2"),
    Moment(event="clause_finished", clause="3.2"),
    Moment(event="evidence", clause="4.1a"),
    Moment(event="clause_started", clause="5.1"),
    Moment(event="intent", clause="5.2a", action="decommission"),
    Moment(event="done", clause="5.2a", action="decommission"),
    Moment(event="clause_finished", clause="R.1"),
    Moment(event="run_finished"),
)
"""A boundary of each kind, in the order of a run."""


def killed(miniature: Miniature, moments: Sequence[Moment], folder: Path | None, told: Path, serves: str) -> Ran:
    """Run, or go on with a record, until one of the moments comes, or to the end."""
    order = Order(moments=tuple(moments), told=str(told))
    arguments = ["-p", PLUGIN] + (["--continue", str(folder)] if folder is not None else [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, order.write())
        return miniature.run(*arguments, do={"serves": serves})


def serving(lines: Sequence[dict[str, Any]]) -> str:
    """Return who serves, as the site would say it, by what was done to it."""
    return "green" if any(line["event"] == "weight" and line["data"]["percent"] == 100 for line in lines) else "blue"


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_one_kill_anywhere_and_the_upgrade_ends_as_if_there_had_been_none(
    miniature: Miniature, tmp_path: Path, moment: Moment
) -> None:
    first = killed(miniature, [moment], None, tmp_path / "told", "blue")
    if not (tmp_path / "told").exists():
        assert first.code == 0, "the run has no such moment, and passed"
        return
    assert first.code == KILLED
    assert first.folder is not None
    ran = miniature.run("--continue", str(first.folder), do={"serves": serving(first.journal)})
    assert (ran.code, ran.verdict["result"]) == (0, "PASSED"), ran.out + ran.err
    assert set(ran.results().values()) == {"PASS", "NOT_RUN"}
    if moment.event != "run_finished":
        assert any("was broken off" in reason for reason in ran.verdict["reasons"])
    entries = Journal.verify(first.folder / "journal.jsonl", head=ran.verdict["journal"]["head"])
    assert [entry.event for entry in entries].count("run_started") == 1
    resumed = [entry for entry in entries if entry.event == "run_resumed"]
    assert [entry.data["interrupted"] for entry in resumed] == [True]
    assert resumed[0].data["last"]["event"] == moment.event


def test_many_kills_in_one_upgrade_and_it_ends_as_if_there_had_been_none(miniature: Miniature, tmp_path: Path) -> None:
    moments = list(MOMENTS[1::3])
    told = tmp_path / "told"
    ran, kills = killed(miniature, moments, None, told, "blue"), 0
    while ran.code == KILLED:
        kills += 1
        moments.pop(int(told.read_text()))
        ran = killed(miniature, moments, ran.folder, told, serving(ran.journal))
    assert (ran.code, ran.verdict["result"]) == (0, "PASSED"), ran.out + ran.err
    assert kills >= len(MOMENTS[1::3]) - 1
    assert ran.folder is not None
    entries = Journal.verify(ran.folder / "journal.jsonl", head=ran.verdict["journal"]["head"])
    assert sum(entry.event == "run_resumed" for entry in entries) == kills
    assert len(ran.verdict["attempts"]) == kills + 1
