"""What the operator sees: lines where nothing redraws, one screen on a terminal, and the end."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from cutover.runbook.journal import Entry
from fixtures.display import Board, Display

START = datetime(2026, 11, 23, 4, 12, 7, tzinfo=UTC)
PLAN = [
    {"id": "P.1", "title": "t", "phase": "prerequisites", "stage": 1, "risk": "reversible", "not_run": None},
    {"id": "3.1a", "title": "t", "phase": "3", "stage": 3, "risk": "reversible", "not_run": None},
    {"id": "5.1", "title": "t", "phase": "5", "stage": 5, "risk": "reversible", "not_run": "observation"},
]


class Told:
    """A board and a display that were told the same lines."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401
        self.stream = io.StringIO()
        self.display = Display(stream=self.stream, environ={"NO_COLOR": "1"}, **settings)
        self.after_s = 0.0
        self.tell(
            "run_started", **{"from": "Q1", "to": "Q2"}, target={"name": "eu"}, record="/r/records/2026-11-23-0412"
        )
        self.tell("plan", clauses=PLAN)

    def tell(self, event: str, clause: str | None = None, *, live_only: bool = False, **data: Any) -> Told:  # noqa: ANN401
        moment = START + timedelta(seconds=self.after_s)
        self.after_s += 1
        seq = -1 if live_only else 1
        self.display.on_entry(
            Entry(seq=seq, time=moment, event=event, clause=clause, data=data, previous="", digest="")
        )
        return self

    @property
    def board(self) -> Board:
        return self.display.board

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()

    def screen(self) -> str:
        console = Console(file=io.StringIO(), width=120, no_color=True, record=True, force_terminal=True)
        console.print(self.display._screen())
        return console.export_text()


def test_lines_have_times_and_say_start_and_end() -> None:
    told = Told().tell("clause_started", "P.1", scenario="Both are there")
    told.tell("clause_finished", "P.1", result="PASS", duration_s=1.25, reason="")
    assert told.lines == [
        "04:12:07  upgrade Q1 → Q2  site eu  record /r/records/2026-11-23-0412",
        "04:12:09  P.1   ▶  Both are there",
        "04:12:10  P.1   ✔  PASS  1.2 s",
    ]


def test_a_clause_that_was_not_reached_has_no_line_of_its_own() -> None:
    told = Told().tell(
        "clause_finished", "3.1a", result="NOT_RUN", kind="not-reached", reason="not reached: P.1 failed"
    )
    assert len(told.lines) == 1


def test_what_goes_on_is_a_heartbeat() -> None:
    told = Told()
    for second in range(50):
        told.tell("load", attempted=second, failed=0, by_colour={"blue": second}, rps=1, p99_ms={})
        told.tell("wait", "P.1", for_="ready", waited_s=5.0 + second, bound_s=60, last="0 of 2", live_only=True)
    assert sum("load" in line for line in told.lines) == 1, "no more than one in five seconds of real time"
    assert [line for line in told.lines if "ready" in line] == ["04:12:10  P.1   …  ready  0:05 of 1:00  0 of 2"]


def test_a_gate_is_named_when_its_result_changes() -> None:
    told = Told()
    for result in ("PASS", "PASS", "FAIL", "FAIL"):
        told.tell("gate", "3.1a", name="error_ratio", title="error ratio", result=result, value=0.25, unit="ratio")
    assert [line.split("◆")[1] for line in told.lines[1:]] == ["  error ratio 25.00% ✔", "  error ratio 25.00% ✘"]


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0123, "s", "p 12 ms ✔"),
        ("nan", "s", "p no data ✔"),
        (None, "", "p no data ✔"),
        (1.5, "per s", "p 1.5 per s ✔"),
    ],
)
def test_values_have_their_units(value: object, unit: str, shown: str) -> None:
    told = Told().tell("gate", "3.1a", name="p", title="p", result="PASS", value=value, unit=unit)
    assert told.lines[-1].endswith(shown)


def test_the_screen_shows_phases_clause_wait_traffic_and_how_to_undo() -> None:
    told = Told()
    told.tell("clause_started", "P.1", scenario="Both are there")
    told.tell("clause_finished", "P.1", result="PASS", duration_s=1, reason="")
    told.tell("clause_started", "3.1a", scenario="10 percent moves to green")
    told.tell("weight", "3.1a", percent=10, target="green")
    told.tell("share", "3.1a", percent=10, green=247, total=1000, low=0.236, high=0.264)
    told.tell("gate", "3.1a", name="e", title="error ratio", result="PASS", value=0.0, unit="ratio")
    told.tell("load", attempted=31204, failed=0, by_colour={"blue": 30957, "green": 247}, rps=180, p99_ms={"green": 19})
    told.tell("wait", "3.1a", for_="bake", waited_s=22, bound_s=30, last="steady", live_only=True)
    screen = told.screen()
    for part in (
        "upgrade Q1 → Q2   site eu   record records/2026-11-23-0412   phase 3 of 5",
        "✔ 1 Preparation  1/1",
        "▶ 3 Cutover  0/1",
        "- 5 Cleanup",
        "3.1a  10 percent moves to green",
        "bake  0:22 of 0:30  steady",
        "weight 10 % to green   share 24.7% (23.6% … 26.4%) of 1 000 requests",
        "error ratio 0.00% ✔",
        "load 180/s   failed 0 of 31 204   blue 30 957  green 247   p99 green 19 ms",
        "undo now: ctrl-c",
    ):
        assert part in screen, screen


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ([], "no traffic was moved away from blue"),
        ([("weight", {"percent": 25, "target": "green"})], "25 % of the traffic goes to green"),
        ([("rollback_started", {"trigger": "x"})], "the way back to blue was begun and did not end"),
        ([("rollback_finished", {"serves": "blue", "took_s": 1.0})], "blue serves every request again"),
        (
            [("rollback_finished", {"serves": "nobody", "took_s": 1.0})],
            "blue is not proven to serve; after the way back: nobody",
        ),
        (
            [("observation", {"what": "roles", "blue": "green", "green": "blue"}), ("weight", {"percent": 100})],
            "100 % of the traffic goes to blue",
        ),
    ],
)
def test_the_state_in_one_line(lines: list[tuple[str, dict[str, Any]]], state: str) -> None:
    told = Told()
    for event, data in lines:
        told.tell(event, "R.1", **data)
    assert told.board.state() == state


def test_a_terminal_that_goes_away_stops_nothing() -> None:
    told = Told()
    told.stream.close()
    told.tell("clause_started", "P.1", scenario="s")
    assert told.board.clause == "P.1"
