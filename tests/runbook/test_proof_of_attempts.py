"""What a journal of several attempts proves of the traffic: sums, markers by series, loads that were broken off."""

from __future__ import annotations

from typing import Any

import pytest
from test_verdict import Lines

from cutover.model import Outcome


def begun() -> Lines:
    """Return a first attempt that was killed under load, and the beginning of the next."""
    lines = Lines().evidence().add("clause_started", "3.1a", scenario="s")
    lines.add("load", attempted=40, failed=0, planned=50, by_colour={"blue": 40}, probe={"planned": 8, "failed": 0})
    return lines.add("run_resumed", procedure="resume", attempt=2)


def total(**facts: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"planned": 150, "attempted": 130, "failed": 0, "by_colour": {"blue": 130}} | facts


def test_a_killed_attempt_counts_as_far_as_it_was_written() -> None:
    judged = begun().result("3.1a", "PASS").judge("3.1a")
    assert judged.load == {"planned": 50, "attempted": 40, "failed": 0, "by_colour": {"blue": 40}}
    assert judged.traffic["probe"]["planned"] == 8


def test_the_totals_of_the_newest_attempt_are_those_of_all() -> None:
    lines = begun().add("load_finished", attempted=90, failed=0, planned=100, complete=True, total=total())
    judged = lines.result("3.1a", "PASS").judge("3.1a")
    assert judged.outcome is Outcome.PASSED
    assert judged.load["attempted"] == judged.traffic["load"]["attempted"] == 130
    assert judged.load["planned"] == 150


@pytest.mark.parametrize("of_probe", [False, True])
def test_what_failed_in_an_earlier_attempt_forbids_passing(*, of_probe: bool) -> None:
    facts = {"probe": {"planned": 9, "failed": 1}} if of_probe else {"failed": 1}
    lines = begun().add("load_finished", attempted=90, failed=0, planned=100, complete=True, total=total(**facts))
    judged = lines.result("3.1a", "PASS").judge("3.1a")
    assert judged.outcome is Outcome.FAILED
    assert "failed at the public host" in judged.reasons[0]


@pytest.mark.parametrize(
    ("stopped", "result", "outcome"), [(True, "NOT_RUN", Outcome.PASSED), (False, "PASS", Outcome.ERROR)]
)
def test_a_load_that_did_not_end_in_order_counts_against_an_attempt_that_nobody_stopped(
    *, stopped: bool, result: str, outcome: Outcome
) -> None:
    lines = Lines().evidence().result("3.1a", result, kind="interrupted")
    if stopped:
        lines.add("run_interrupted", signal="SIGINT")
    lines.add("load_finished", attempted=9, complete=False).add("run_finished", result="INCOMPLETE")
    lines.add("run_resumed", procedure="resume", attempt=2)
    lines.add("load_finished", attempted=90, failed=0, complete=True, total=total())
    judged = lines.result("3.1b", "PASS").result("3.1a", "PASS").judge("3.1a", "3.1b")
    assert judged.outcome is outcome


def test_the_writes_of_each_series_are_counted_once() -> None:
    lines = begun()
    for run, acknowledged, missing in (("r", 4, []), ("r", 9, []), ("r-2", 5, []), ("r-2", 6, [3])):
        lines.add("markers", run=run, acknowledged=acknowledged, missing=missing, repeated=[])
    judged = lines.result("3.1a", "PASS").judge("3.1a")
    markers = judged.traffic["markers"]
    assert (markers["compared"], markers["acknowledged"], markers["missing"], markers["repeated"]) == (4, 15, 1, 0)
    assert judged.outcome is Outcome.FAILED


def test_a_weight_that_was_broken_off_needs_its_decision_in_the_next_attempt() -> None:
    lines = Lines().traffic().evidence().add("clause_started", "3.1a", scenario="s").add("weight", "3.1a", percent=10)
    lines.add("run_resumed", procedure="resume", attempt=2).result("3.1a", "PASS")
    assert lines.judge("3.1a").reasons[0] == "no gate decided to advance at 10 %"
    lines.add("weight", "3.1a", percent=10).add("gate_decision", "3.1a", percent=10, decision="advance")
    assert lines.judge("3.1a").outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("clause_id", "results", "outcome"),
    [
        ("5.1", ("INCONCLUSIVE", "PASS"), Outcome.PASSED),
        ("5.1", ("INCONCLUSIVE", "INCONCLUSIVE"), Outcome.INCONCLUSIVE),
        ("5.1", ("FAIL", "PASS"), Outcome.FAILED),
        ("3.3a", ("INCONCLUSIVE", "PASS"), Outcome.INCONCLUSIVE),
    ],
)
def test_a_live_sample_of_the_observation_over_too_few_requests_decides_nothing(
    clause_id: str, results: tuple[str, ...], outcome: Outcome
) -> None:
    lines = Lines().traffic().evidence()
    for result in results:
        lines.add("gate", clause_id, name="error_ratio", source="prometheus", result=result, percent=None)
    assert lines.result(clause_id, "PASS").judge(clause_id).outcome is outcome
