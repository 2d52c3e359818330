"""Acknowledged writes against the database (3.2, 4.2a, 5.2a)."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import pytest

from cutover import waiting
from cutover.clock import ManualClock
from cutover.errors import ClauseFailed, CouldNotMeasure
from cutover.procedures import traffic
from cutover.runbook import gates
from steps import traffic as steps


def check(
    acknowledged: list[int],
    present: list[int],
    asked: list[str],
    written: list[dict[str, Any]] | None = None,
    earlier: dict[str, list[int]] | None = None,
) -> None:
    written = [] if written is None else written

    def series() -> dict[str, list[int]]:
        asked.append("load")
        return {**(earlier or {}), "run": acknowledged}

    def rows(run: str) -> list[int]:
        asked.append("database")
        return present if run == "run" else [1, 2]

    site: Any = SimpleNamespace(database=SimpleNamespace(markers=rows))
    load: Any = SimpleNamespace(markers=lambda: ("run", acknowledged), series=series)
    journal: Any = SimpleNamespace(write=lambda *_, **facts: written.append(facts))
    wait_for = functools.partial(waiting.wait_for, clock=ManualClock())
    upgrade: Any = SimpleNamespace(journal=journal, wait_for=wait_for)
    steps.writes_there(site, upgrade, load)


def test_a_write_acknowledged_while_it_is_checked_is_no_loss() -> None:
    asked: list[str] = []
    written: list[dict[str, Any]] = []
    check([1, 2], [1, 2, 3], asked, written)
    assert asked == ["load", "database"]
    assert written == [{"run": "run", "acknowledged": 2, "missing": (), "repeated": ()}]


@pytest.mark.parametrize(("acknowledged", "present"), [([1, 2], [1]), ([1, 2], [1, 2, 2]), ([], [])])
def test_a_lost_or_doubled_write_or_none_at_all_is_refused(acknowledged: list[int], present: list[int]) -> None:
    with pytest.raises(ClauseFailed) as caught:
        check(acknowledged, present, [])
    assert caught.value.code == "writes-lost"


def test_the_writes_of_an_earlier_attempt_are_looked_for_too() -> None:
    written: list[dict[str, Any]] = []
    check([1], [1], [], written, {"run-1": [1, 2]})
    assert [(facts["run"], facts["acknowledged"]) for facts in written] == [("run-1", 2), ("run", 1)]
    with pytest.raises(ClauseFailed) as caught:
        check([1], [1], [], written, {"run-1": [1, 2, 3]})
    assert caught.value.seen.startswith("run-1: 1 of 3 missing, first [3]")
    assert (written[-2]["missing"], written[-1]["missing"]) == ((3,), ())


def test_a_load_that_has_only_just_begun_is_given_time_for_its_first_write() -> None:
    acknowledged: list[int] = []
    looks = iter([0, 0, 1])

    def look() -> tuple[str, list[int]]:
        acknowledged.extend([7] * next(looks, 0))
        return "run", acknowledged

    wait_for = functools.partial(waiting.wait_for, clock=ManualClock())
    written: list[dict[str, Any]] = []
    journal: Any = SimpleNamespace(write=lambda *_, **facts: written.append(facts))
    site: Any = SimpleNamespace(database=SimpleNamespace(markers=lambda _: [7]))
    load: Any = SimpleNamespace(markers=look, series=lambda: {"run": list(acknowledged)})
    upgrade: Any = SimpleNamespace(journal=journal, wait_for=wait_for)
    steps.writes_there(site, upgrade, load)
    assert [facts["acknowledged"] for facts in written] == [1]


def test_writes_of_earlier_attempts_do_not_stand_for_this_one() -> None:
    with pytest.raises(ClauseFailed):
        check([], [], [], None, {"run-1": [1, 2]})


@pytest.mark.parametrize(
    ("attempt", "said", "looks"),
    [
        (1, ["INCONCLUSIVE"] * 9, 0),
        (2, ["PASS"], 1),
        (2, ["FAIL"], 1),
        (2, ["NO_DATA", "INCONCLUSIVE", "PASS"], 3),
    ],
)
def test_behind_an_interruption_a_metric_is_measured_once_it_rests_on_enough(
    monkeypatch: pytest.MonkeyPatch, attempt: int, said: list[str], looks: int
) -> None:
    answers, looked = iter(said), []

    def look(*_: object) -> list[Any]:
        looked.append(1)
        return [SimpleNamespace(name="error_ratio", result=gates.GateVerdict(next(answers)))]

    monkeypatch.setattr(gates, "look", look)
    monkeypatch.setattr(gates, "measure", lambda *_: looked.append(0))
    policy = SimpleNamespace(traffic=SimpleNamespace(bake_s=8), gates=SimpleNamespace(range_s=5))
    entries = (SimpleNamespace(event="deviation", data={"id": "F.5"}),)
    journal = SimpleNamespace(last=lambda *_, **__: entries[0], entries=lambda: (), write=lambda *_, **__: None)
    monkeypatch.setattr(gates, "worst", lambda _: gates.GateVerdict.PASS)
    monkeypatch.setattr(gates, "not_borne", lambda *_: [])
    wait_for = functools.partial(waiting.wait_for, clock=ManualClock())
    upgrade: Any = SimpleNamespace(attempt=attempt, policy=policy, journal=journal, wait_for=wait_for)
    site: Any = SimpleNamespace()
    traffic.measure(site, upgrade, "error_ratio")
    assert looked == [1] * looks + [0]


@pytest.mark.parametrize("sends", [True, False])
def test_a_load_that_stands_still_proves_nothing(*, sends: bool) -> None:
    sent = iter(range(100, 200))
    totals = (lambda: SimpleNamespace(attempted=next(sent))) if sends else (lambda: SimpleNamespace(attempted=100))
    upgrade: Any = SimpleNamespace(wait_for=functools.partial(waiting.wait_for, clock=ManualClock()))
    load: Any = SimpleNamespace(totals=totals)
    if sends:
        traffic.require_sending(upgrade, load)
        return
    with pytest.raises(CouldNotMeasure) as caught:
        traffic.require_sending(upgrade, load)
    assert caught.value.code == "load-stands-still"
    assert "0 requests" in caught.value.seen
