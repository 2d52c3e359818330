"""The observation window (5.1, F.14): what is read of it afterwards, and everything that keeps it from being proven."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import pytest
from quiet_site import answer

from cutover.errors import ClauseFailed, CouldNotMeasure, Refused, Undecided
from cutover.procedures import decommission
from cutover.runbook import gates
from cutover.runbook.gates import GateVerdict, window

if TYPE_CHECKING:
    from datetime import datetime

    from quiet_site import FakeSite

    from cutover.clock import ManualClock
    from cutover.procedures.decommission import Window
    from cutover.runbook.gates import Watched
    from cutover.runbook.ports import Answer
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

PHASE_4_S = 40.0
"""Longer than the policy's window of 30 s: phase 4 used it up, as in a real run."""


@pytest.fixture(autouse=True)
def _green_serves(site: FakeSite) -> None:
    site.routing.answers = [{"green": 100}]


def _promote(upgrade: Upgrade) -> None:
    with upgrade.journal.action("promote") as done:
        done(percent=100)


def _observe(upgrade: Upgrade, site: FakeSite) -> Window:
    return decommission.observe_window(cast("Site", site), upgrade)


def _judge(upgrade: Upgrade, window: Window) -> None:
    decommission.require_gates_held(window)
    decommission.require_window_whole(upgrade, window)
    decommission.complete_observation(upgrade, window)


def _outage(site: FakeSite, clock: ManualClock, *, after_s: float, lasting_s: float) -> None:
    start = clock.now() + timedelta(seconds=after_s)
    site.prometheus.outage = (start, start + timedelta(seconds=lasting_s))


def _over(upgrade: Upgrade, site: FakeSite, clock: ManualClock, length_s: float = 30.0) -> dict[str, Watched]:
    began = clock.now()
    clock.advance(length_s)
    return {item.name: item for item in gates.over_window(upgrade, site, began=began, ended=clock.now())}


def test_a_good_window_is_complete_only_after_it_was_judged(
    upgrade: Upgrade, site: FakeSite, clock: ManualClock
) -> None:
    _promote(upgrade)
    clock.advance(PHASE_4_S)
    window = _observe(upgrade, site)
    deviation = upgrade.journal.last("deviation", id="F.14")
    assert deviation is not None
    assert "live once, at its end, and judged all 40 s since the cutover" in deviation.data["did"]
    facts = upgrade.recall("observation")
    assert (facts["state"], facts["window_s"]) == ("running", 30)
    with pytest.raises(Refused):
        decommission.require_window_proven(upgrade)
    _judge(upgrade, window)
    facts = upgrade.recall("observation")
    assert (facts["state"], facts["window_s"]) == ("complete", 30)
    decommission.require_window_proven(upgrade)


def test_the_rest_of_the_window_is_waited_for_under_live_samples(
    upgrade: Upgrade, site: FakeSite, clock: ManualClock
) -> None:
    _promote(upgrade)
    clock.advance(10)
    window = _observe(upgrade, site)
    assert (window.ended - window.began).total_seconds() >= 30
    deviation = upgrade.journal.last("deviation", id="F.14")
    assert deviation is not None
    assert "live for the last 20 s, 11 times" in deviation.data["did"]
    assert "all 30 s since the cutover afterwards, every 2 s, from range queries" in deviation.data["did"]
    _judge(upgrade, window)


def test_every_step_of_every_gate_is_archived(upgrade: Upgrade, site: FakeSite, clock: ManualClock) -> None:
    _over(upgrade, site, clock)
    document = json.loads(upgrade.path("gates", "window.json").read_text(encoding="utf-8"))
    assert document["step_s"] == 2
    found = {gate["name"]: gate for gate in document["gates"]}
    assert set(found) == set(gates.GATES)
    # Ranges of 5 s and of 10 s, then every 2 s, and the end of the window.
    assert {name: len(gate["steps"]) for name, gate in found.items()} == {
        "error_ratio": 14,
        "latency_p99": 14,
        "evidence_operations": 11,
        "attestation_success": 11,
    }
    assert "[5s]" in found["error_ratio"]["queries"]["value"]
    assert "[10s]" in found["attestation_success"]["queries"]["count"]
    assert all(step["is_measured"] for gate in found.values() for step in gate["steps"])
    assert {gate["longest_gap_s"] for gate in found.values()} == {2.0}
    line = upgrade.journal.last("observation", what="window")
    assert line is not None
    assert line.data["file"] == "gates/window.json"


def test_an_outage_of_prometheus_in_phase_4_is_a_gap(upgrade: Upgrade, site: FakeSite, clock: ManualClock) -> None:
    _promote(upgrade)
    _outage(site, clock, after_s=12, lasting_s=10)
    clock.advance(PHASE_4_S)
    window = _observe(upgrade, site)
    with pytest.raises(ClauseFailed) as caught:
        _judge(upgrade, window)
    assert caught.value.code == "window-has-gaps"
    assert "latency p99" in caught.value.seen
    assert upgrade.recall("observation")["state"] == "running"


@pytest.mark.parametrize(("lasting_s", "is_whole"), [(0.3, True), (1.0, False), (9.0, False)])
def test_a_fast_gate_needs_every_step(
    *, upgrade: Upgrade, site: FakeSite, clock: ManualClock, lasting_s: float, is_whole: bool
) -> None:
    _outage(site, clock, after_s=10.5, lasting_s=lasting_s)
    assert _over(upgrade, site, clock)["error_ratio"].is_whole is is_whole


@pytest.mark.parametrize(("lasting_s", "is_whole"), [(3.0, True), (11.0, False)])
def test_a_slow_gate_may_miss_what_its_range_spans(
    *, upgrade: Upgrade, site: FakeSite, clock: ManualClock, lasting_s: float, is_whole: bool
) -> None:
    _outage(site, clock, after_s=11.5, lasting_s=lasting_s)
    assert _over(upgrade, site, clock)["attestation_success"].is_whole is is_whole


@pytest.mark.parametrize("name", list(gates.GATES))
def test_a_gap_is_one_of_each_gate(upgrade: Upgrade, site: FakeSite, clock: ManualClock, name: str) -> None:
    site.prometheus.counts[name] = 1.0
    watched = _over(upgrade, site, clock)
    assert {item.name for item in watched.values() if not item.is_whole} == {name}
    assert watched[name].longest_gap_s == pytest.approx(30.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_only_finite_numbers_are_measurements(
    upgrade: Upgrade, site: FakeSite, clock: ManualClock, value: float
) -> None:
    site.prometheus.values["latency_p99"] = value
    watched = _over(upgrade, site, clock)["latency_p99"]
    assert not watched.is_whole
    assert watched.verdict.result is GateVerdict.NO_DATA
    assert {step.value for step in watched.steps} == {None}


@pytest.mark.parametrize(
    ("name", "value"),
    [("error_ratio", 0.5), ("latency_p99", 0.9), ("evidence_operations", 0.1), ("attestation_success", 0.5)],
)
def test_one_bad_step_fails_its_gate(
    *, upgrade: Upgrade, site: FakeSite, clock: ManualClock, name: str, value: float
) -> None:
    _promote(upgrade)
    clock.advance(PHASE_4_S)
    site.prometheus.bad_steps[name] = value
    window = _observe(upgrade, site)
    verdicts = {item.name: item.verdict for item in window.watched}
    assert {found for found, verdict in verdicts.items() if verdict.result is GateVerdict.FAIL} == {name}
    assert verdicts[name].value == value
    with pytest.raises(ClauseFailed) as caught:
        _judge(upgrade, window)
    assert caught.value.code == "gate-failed"


def test_a_live_sample_beyond_its_limit_fails_the_window(
    upgrade: Upgrade, site: FakeSite, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _promote(upgrade)
    clock.advance(10)
    good, slow = site.prometheus.query, [0.9]

    def slow_once(expression: str, *, at: datetime | None = None) -> Answer:
        if "histogram_quantile" in expression and slow:
            return answer(slow.pop(), query=expression, at=at)
        return good(expression, at=at)

    monkeypatch.setattr(site.prometheus, "query", slow_once)
    window = _observe(upgrade, site)
    assert {item.verdict.result for item in window.watched} == {GateVerdict.PASS}
    with pytest.raises(ClauseFailed) as caught:
        decommission.require_gates_held(window)
    assert caught.value.facts["gates"] == ["latency_p99"]
    assert clock.monotonic() < 30, "nothing is waited for once a limit is broken"


def test_a_silent_prometheus_proves_nothing(upgrade: Upgrade, site: FakeSite, clock: ManualClock) -> None:
    _promote(upgrade)
    clock.advance(PHASE_4_S)
    site.prometheus.is_down = True
    with pytest.raises(CouldNotMeasure):
        _observe(upgrade, site)
    assert upgrade.recall("observation")["state"] == "running"


def test_without_a_promotion_there_is_nothing_to_observe(upgrade: Upgrade, site: FakeSite) -> None:
    with pytest.raises(Refused) as caught:
        _observe(upgrade, site)
    assert caught.value.code == "not-promoted"


def test_a_long_window_is_asked_for_in_parts_and_its_ranges_span_the_steps(
    upgrade: Upgrade, site: FakeSite, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "_MOST_STEPS", 10)
    watched = _over(upgrade, site, clock, length_s=100.5)
    for item in watched.values():
        assert item.is_whole
        assert item.range_s >= upgrade.policy.observation.interval_s
    asked = [query for query in site.prometheus.asked if query == watched["latency_p99"].queries["value"]]
    assert len(asked) == 6


# -- gone on with by another process -----------------------------------------------------------------------------------


def _resume(upgrade: Upgrade) -> None:
    upgrade.journal.write("run_started")
    upgrade.journal.write("run_resumed", procedure="observe", attempt=2)


def _an_hour_later(upgrade: Upgrade, clock: ManualClock) -> None:
    _promote(upgrade)
    _resume(upgrade)
    clock.advance(3_600)


def test_another_process_finishes_the_window_long_after(upgrade: Upgrade, site: FakeSite, clock: ManualClock) -> None:
    _an_hour_later(upgrade, clock)
    before = clock.now()
    window = _observe(upgrade, site)
    _judge(upgrade, window)
    assert clock.now() == before, "nothing is waited for: the window has passed long ago"
    assert (window.ended - window.began).total_seconds() == 3_600
    assert upgrade.journal.last("observation", what="window begun anew") is None
    decommission.require_window_proven(upgrade)


def test_another_process_waits_for_the_rest_of_the_window(upgrade: Upgrade, site: FakeSite, clock: ManualClock) -> None:
    began = clock.now()
    _promote(upgrade)
    _resume(upgrade)
    clock.advance(10)
    window = _observe(upgrade, site)
    _judge(upgrade, window)
    assert (window.began, (clock.now() - began).total_seconds()) == (began, 30.0)


def test_a_gap_between_two_processes_begins_the_window_anew(
    upgrade: Upgrade, site: FakeSite, clock: ManualClock
) -> None:
    began = clock.now()
    _outage(site, clock, after_s=3_570, lasting_s=10)
    _an_hour_later(upgrade, clock)
    window = _observe(upgrade, site)
    _judge(upgrade, window)
    anew = upgrade.journal.last("observation", what="window begun anew")
    assert anew is not None
    assert set(anew.data["longest_gap_s"]) == set(gates.GATES)
    assert window.began > began + timedelta(seconds=3_570)
    assert (window.ended - window.began).total_seconds() >= 30
    assert decommission.window_began(upgrade) == window.began
    facts = upgrade.recall("observation")
    assert facts["state"] == "complete"
    deviation = upgrade.journal.last("deviation", id="F.14")
    assert deviation is not None
    assert "since the last gap" in deviation.data["did"]


def test_a_third_process_goes_on_with_the_window_that_was_begun_anew(
    upgrade: Upgrade, site: FakeSite, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _outage(site, clock, after_s=3_570, lasting_s=10)
    _an_hour_later(upgrade, clock)
    monkeypatch.setattr(upgrade, "hold", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # killed while it waited
        _observe(upgrade, site)
    monkeypatch.undo()
    anew = decommission.window_began(upgrade)
    upgrade.journal.write("run_resumed", procedure="observe", attempt=3)
    clock.advance(5)
    window = _observe(upgrade, site)
    assert window.began == anew
    assert (window.ended - window.began).total_seconds() == pytest.approx(30, abs=1)
    _judge(upgrade, window)


def test_a_gap_while_a_further_process_waits_begins_the_window_anew_too(
    upgrade: Upgrade, site: FakeSite, clock: ManualClock
) -> None:
    _promote(upgrade)
    _resume(upgrade)
    _outage(site, clock, after_s=12, lasting_s=8)
    window = _observe(upgrade, site)
    _judge(upgrade, window)
    assert clock.monotonic() >= 50


def test_a_gate_that_failed_while_nobody_looked_is_no_gap(upgrade: Upgrade, site: FakeSite, clock: ManualClock) -> None:
    _an_hour_later(upgrade, clock)
    site.prometheus.bad_steps["latency_p99"] = 0.9
    window = _observe(upgrade, site)
    with pytest.raises(ClauseFailed) as caught:
        _judge(upgrade, window)
    assert caught.value.code == "gate-failed"


def test_a_site_without_any_traffic_is_not_waited_for_without_end(
    upgrade: Upgrade, site: FakeSite, clock: ManualClock
) -> None:
    site.prometheus.counts.update(dict.fromkeys(site.prometheus.counts, 1.0))
    _an_hour_later(upgrade, clock)
    before_s = clock.monotonic()
    window = _observe(upgrade, site)
    assert clock.monotonic() - before_s < 300
    with pytest.raises((ClauseFailed, CouldNotMeasure, Undecided)):
        _judge(upgrade, window)


@pytest.mark.parametrize("others", [{"green": 80, "blue": 20}, {"blue": 100}, {"green": 79, "failed": 21}])
def test_another_colour_that_answers_or_requests_that_fail_end_the_window(
    upgrade: Upgrade, site: FakeSite, clock: ManualClock, others: dict[str, int]
) -> None:
    """The metrics are those of green's namespace: they do not say that users reach it."""
    _promote(upgrade)
    site.routing.answers = [{"green": 100}, {"green": 100}, others]
    began = clock.now()
    with pytest.raises(ClauseFailed) as caught:
        _observe(upgrade, site)
    assert caught.value.code == "served-by-other"
    assert 0 < (clock.now() - began).total_seconds() < upgrade.policy.observation.window_s


def test_a_failed_request_among_those_is_borne(upgrade: Upgrade, site: FakeSite, clock: ManualClock) -> None:
    _promote(upgrade)
    site.routing.answers = [{"green": 98, "failed": 2}]
    clock.advance(PHASE_4_S)
    _judge(upgrade, _observe(upgrade, site))
