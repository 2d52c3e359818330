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

    def gate(self, name: str, *, result: str = "PASS", **data: Any) -> Told:  # noqa: ANN401
        return self.tell("gate", "3.1a", name=name, result=result, **data)

    @property
    def board(self) -> Board:
        return self.display.board

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()

    def screen(self, *, width: int = 120) -> str:
        self.display._console.width = width
        console = Console(file=io.StringIO(), width=width, no_color=True, record=True, force_terminal=True)
        console.print(self.display._screen())
        return console.export_text()


def test_an_upgrade_that_begins_with_green_serving_says_whom_blue_means() -> None:
    told = Told().tell("observation", "P.5", what="roles", blue="green", green="blue", serving="green")
    told.tell("weight", "3.1a", percent=10, target="blue")
    assert "green serves, so blue below means the colour green, and green the colour blue" in told.lines[1]
    usual = Told().tell("observation", "P.5", what="roles", blue="blue", green="green", serving="blue")
    assert len(usual.lines) == 1


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


def cutover() -> Told:
    """Tell of a run whose second weight is being watched, with everything it measures."""
    told = Told()
    told.tell("clause_started", "P.1", scenario="Both are there")
    told.tell("clause_finished", "P.1", result="PASS", duration_s=1, reason="")
    told.tell("clause_started", "3.1a", scenario="25 percent moves to green")
    told.tell("weight", "3.1a", percent=25, target="green")
    told.tell("share", "3.1a", percent=25, green=247, total=1000, low=0.236, high=0.264)
    for name, title, value, blue, unit in (
        ("error_ratio", "error ratio", 0.0, None, "ratio"),
        ("error_ratio_vs_blue", "error ratio beside blue", 0.0, 0.0012, "ratio"),
        ("latency_p99", "latency p99", 0.019, None, "s"),
        ("latency_p99_vs_blue", "latency p99 beside blue", 0.019, 0.018, "s"),
        ("evidence_operations", "evidence operations", 80.2, None, "1/s"),
        ("served_by", "share of green", 0.247, None, "ratio"),
        ("write_markers", "write markers", 0, None, "writes"),
        ("probe_latency", "probe p99", 0.014, None, "s"),
        ("load_attempted", "load as planned", 0.99, None, "ratio"),
    ):
        told.gate(name, title=title, value=value, blue=blue, unit=unit)
    told.tell("markers", "3.1a", run="r", acknowledged=1020, missing=0, repeated=0)
    probe = {"planned": 2040, "answered": 2040, "failed": 0, "p50_ms": 4.0, "p99_ms": 14.2, "max_ms": 30.0}
    load = {"attempted": 31204, "failed": 0, "planned": 31500, "rps": 248, "p99_ms": {"green": 19}, "probe": probe}
    told.tell("load", **load, by_colour={"blue": 30957, "green": 247})
    return told.tell("wait", "3.1a", for_="25 percent to bake", waited_s=22, bound_s=30, last="x", live_only=True)


def test_the_screen_shows_phases_clause_traffic_gates_and_how_to_undo() -> None:
    rows = cutover().screen().splitlines()
    shown = [
        "upgrade Q1 → Q2   site eu   record records/2026-11-23-0412   phase 3 of 5",
        "  ✔ 1 Preparation  1/1  0:01  - 2 Green  ▶ 3 Cutover  0/1",
        "  3.1a  25 percent moves to green",
        "       25 % to green   bake 0:22 of 0:30   share 24.7% (23.6% … 26.4%) ✔   failed 0 of 31 204",
        "       error ratio blue 0.12% green 0.00% ✔   p99 blue 18 ms green 19 ms ✔   attestations ·",
        "       evidence ops green 80.2 1/s ✔",
        "       probe p99 14 ms failed 0 of 2 040 ✔   writes 1 020 acknowledged, 0 missing, 0 doubled ✔",
        "       load 248/s, 99% of planned ✔",
        "  undo now: ctrl-c   (every request goes back to blue; nothing irreversible so far)",
    ]
    assert [row[: len(part)] for row, part in zip(rows, shown, strict=True)] == shown


def test_a_narrow_screen_has_more_rows_and_none_is_wider() -> None:
    screen = cutover().screen(width=60)
    assert max(len(row) for row in screen.splitlines()) <= 60
    for part in (
        "attestations ·",
        "evidence ops green 80.2 1/s ✔",
        "1 020 acknowledged, 0 missing",
        "undo now: ctrl-c",
    ):
        assert part in screen


def test_a_mark_is_that_of_the_worst_verdict_of_the_weight() -> None:
    told = cutover()
    told.gate("latency_p99_vs_blue", result="FAIL", value=0.5, blue=0.018, unit="s", reason="too slow")
    told.gate("latency_p99_vs_blue", result="PASS", value=0.019, blue=0.018, unit="s")
    assert "p99 blue 18 ms green 19 ms ✘" in told.screen()
    told.tell("weight", "3.1b", percent=50, target="green")
    assert "p99 ·" in told.screen(), "a new weight begins anew"


def test_a_gate_that_is_no_pass_has_a_row_with_its_reason() -> None:
    told = cutover()
    told.gate("error_ratio_vs_blue", result="FAIL", value=0.18, blue=0.001, unit="ratio", reason="limit 1 %")
    told.gate("queue", result="NO_DATA", value=None, unit="jobs", reason="no data", title="queue of green")
    told.tell(
        "gate_decision",
        "3.1a",
        percent=25,
        decision="rollback",
        gate="error_ratio_vs_blue",
        result="FAIL",
        decided_after_s=7.5,
        first_bad="2026-11-23T04:12:25.750Z",
    )
    screen = told.screen(width=160)
    assert "error_ratio_vs_blue 18.00% beside blue's 0.10% ✘  limit 1 %" in screen
    assert "queue of green no data !  no data" in screen
    assert "error_ratio_vs_blue FAIL at 25 %: go back to blue, 2.2 s after the first bad sample" in screen, screen


def test_what_cannot_be_taken_back_is_named() -> None:
    told = Told()
    told.tell("plan", clauses=[{**PLAN[2], "risk": "irreversible"}])
    told.tell("clause_started", "5.1", scenario="s").tell("weight", "5.1", percent=100, target="green")
    assert "not to be taken back: 5.1" in told.screen()


def test_decisions_and_writes_have_lines() -> None:
    told = cutover()
    told.tell("gate_decision", "3.1a", percent=25, decision="advance", gate="", result="PASS", decided_after_s=0)
    told.tell("markers", "3.1a", run="r", acknowledged=1030, missing=[4], repeated=0)
    lines = [line[10:] for line in told.lines]
    assert "3.1a  ◆  every gate passes at 25 %: go on" in lines
    assert sum("✎" in line for line in lines) == 1, "no more than one in five seconds of real time"
    assert "3.1a  ✎  writes 1 020 acknowledged, 0 missing, 0 doubled" in lines


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
