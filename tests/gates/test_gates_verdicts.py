"""Every way a sample can be good, bad, too small or absent, and what the worst of them makes of a bake."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quiet_site import FakeLoad, FakeSite, sampled
from scipy.stats import binom

from cutover.errors import ClauseFailed, CouldNotMeasure, Undecided
from cutover.policy import GATE_NAMES
from cutover.runbook import gates
from cutover.runbook.gates import GateVerdict, baking
from cutover.runbook.ports import LoadTotals

if TYPE_CHECKING:
    from datetime import datetime

    from cutover.clock import ManualClock
    from cutover.policy import Gates, Policy
    from cutover.runbook.ports import Answer
    from cutover.runbook.upgrade import Upgrade

NAN = math.nan
NONE: tuple[float, ...] = ()

VERDICTS = [
    # gate, values of the value query, of the count query, verdict
    ("error_ratio", (0.0,), (20.0,), GateVerdict.PASS),
    ("error_ratio", (0.01,), (20.0,), GateVerdict.PASS),
    ("error_ratio", (0.0101,), (20.0,), GateVerdict.FAIL),
    ("error_ratio", (0.0,), (19.9,), GateVerdict.INCONCLUSIVE),
    ("error_ratio", (1.0,), (3.0,), GateVerdict.INCONCLUSIVE),
    ("error_ratio", (NAN,), (0.0,), GateVerdict.INCONCLUSIVE),
    ("error_ratio", (NAN,), (500.0,), GateVerdict.NO_DATA),
    ("error_ratio", (math.inf,), (500.0,), GateVerdict.NO_DATA),
    ("error_ratio", NONE, (500.0,), GateVerdict.NO_DATA),
    ("error_ratio", (0.0,), NONE, GateVerdict.NO_DATA),
    ("error_ratio", NONE, NONE, GateVerdict.NO_DATA),
    ("error_ratio", NONE, (0.0,), GateVerdict.NO_DATA),
    ("error_ratio", (0.0, 0.0), (500.0,), GateVerdict.ERROR),
    ("error_ratio", (0.0,), (NAN,), GateVerdict.NO_DATA),
    ("latency_p99", (0.25,), (20.0,), GateVerdict.PASS),
    ("latency_p99", (0.251,), (20.0,), GateVerdict.FAIL),
    ("latency_p99", (math.inf,), (500.0,), GateVerdict.NO_DATA),
    ("latency_p99", (NAN,), (500.0,), GateVerdict.NO_DATA),
    ("evidence_operations", (0.5,), (5.0,), GateVerdict.PASS),
    ("evidence_operations", (0.5,), (4.9,), GateVerdict.INCONCLUSIVE),
    ("evidence_operations", (0.49,), (4.0,), GateVerdict.FAIL),
    ("evidence_operations", (0.49,), (500.0,), GateVerdict.FAIL),
    ("evidence_operations", (0.0,), (0.0,), GateVerdict.FAIL),
    ("evidence_operations", NONE, NONE, GateVerdict.NO_DATA),
    ("attestation_success", (1.0,), (5.0,), GateVerdict.PASS),
    ("attestation_success", (0.98,), (500.0,), GateVerdict.FAIL),
    ("attestation_success", (1.0,), (4.0,), GateVerdict.INCONCLUSIVE),
    ("attestation_success", (NAN,), (0.0,), GateVerdict.INCONCLUSIVE),
    ("attestation_success", NONE, NONE, GateVerdict.NO_DATA),
]


@pytest.mark.parametrize(("name", "values", "counts", "verdict"), VERDICTS)
def test_verdict(
    policy: Policy, name: str, values: tuple[float, ...], counts: tuple[float, ...], verdict: GateVerdict
) -> None:
    result = gates.judge(policy, sampled(name, values, counts))
    assert result.result is verdict
    assert bool(result.reason) is (verdict is not GateVerdict.PASS)


@given(values=st.lists(st.floats(), max_size=2), counts=st.lists(st.floats(), max_size=2))
def test_only_one_finite_number_over_enough_samples_passes(values: list[float], counts: list[float]) -> None:
    policy = _example_policy()
    for gate in gates.GATES.values():
        result = gates.judge(policy, sampled(gate.name, values, counts))
        if result.result is GateVerdict.PASS:
            assert len(values) == len(counts) == 1
            assert math.isfinite(values[0])
            assert counts[0] >= gate.minimum(policy)


def _example_policy() -> Policy:
    from cutover import project  # noqa: PLC0415
    from cutover.policy import Policy  # noqa: PLC0415

    return Policy.read(project.CONTRACT / "examples" / "policy.toml")


def test_queries_are_for_one_colour_by_rate_and_by_bucket() -> None:
    latency = gates.GATES["latency_p99"]
    resolved = gates.resolve(latency.value_query, namespace="stellaops-green", window_s=5)
    assert resolved.startswith("histogram_quantile(0.99, sum by (le) (rate(")
    assert 'http_request_duration_seconds_bucket{namespace="stellaops-green",' in resolved
    assert resolved.endswith("[5s])))")
    for gate in gates.GATES.values():
        for query in (gate.value_query, gate.count_query):
            text = gates.resolve(query, namespace="ns", window_s=2.5)
            assert text.count("{") == text.count("}") == text.count('namespace="ns"')
            assert "[2500ms]" in text


def test_no_series_of_errors_is_zero_and_not_no_data() -> None:
    assert "or vector(0)" in gates.GATES["error_ratio"].value_query


def test_operations_that_failed_are_not_counted() -> None:
    gate = gates.GATES["evidence_operations"]
    for query in (gate.value_query, gate.count_query):
        resolved = gates.resolve(query, namespace="stellaops-green", window_s=8)
        assert 'evidence_operations_total{namespace="stellaops-green",result="success"}[8s]' in resolved


# -- shares ------------------------------------------------------------------------------------------------------------

SHARES = [
    # green, total, percent, inside
    (100, 1000, 10, True),
    (70, 1000, 10, True),
    (60, 1000, 10, False),
    (140, 1000, 10, False),
    (0, 1000, 10, False),
    (250, 1000, 10, False),
    (1000, 1000, 100, True),
    (999, 1000, 100, False),
    (0, 1000, 0, True),
    (1, 1000, 0, False),
    (0, 0, 10, False),
]


@pytest.mark.parametrize(("green", "total", "percent", "inside"), SHARES)
def test_share_inside_the_exact_interval(green: int, total: int, percent: int, inside: bool) -> None:
    totals = _totals(blue=total - green, green=green)
    assert gates.share_of(totals, "green", percent, 0.999).is_inside is inside


def test_requests_that_nobody_answered_are_nobodys_share() -> None:
    share = gates.share_of(_totals(blue=900, green=100, nobody=500), "green", 10, 0.999)
    assert (share.green, share.total, share.is_inside) == (100, 1000, True)


@given(total=st.integers(1, 5000), percent=st.integers(0, 100))
def test_interval_holds_at_least_the_confidence(total: int, percent: int) -> None:
    low, high = gates.interval(total, percent, 0.999)
    assert 0 <= low <= high <= total
    inside = binom.cdf(high, total, percent / 100) - binom.cdf(low - 1, total, percent / 100)
    assert inside >= 0.999 - 1e-9


def _totals(**by_colour: int) -> LoadTotals:
    attempted = sum(by_colour.values())
    return LoadTotals(
        attempted=attempted, failed=0, by_colour=by_colour, reads=0, writes=0, scans=0, seconds=1.0, p99_ms={}
    )


# -- a bake ------------------------------------------------------------------------------------------------------------

IN_A_BAKE = set(GATE_NAMES) - {"route_topology"}


def test_a_good_bake_passes_every_gate(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    bake = gates.bake(upgrade, site, load, percent=10)
    assert {result.name: result.result for result in bake.results} == dict.fromkeys(IN_A_BAKE, GateVerdict.PASS)
    assert bake.share.is_inside
    assert bake.share.total >= 800
    gates.require_passed(bake.results)


def test_each_gate_is_sampled_every_interval(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    gates.bake(upgrade, site, load, percent=10)
    found = [entry.data["name"] for entry in upgrade.journal.entries() if entry.event == "gate"]
    assert found.count("failed_requests") == found.count("green_ready") == 11, "from the first second to the last"
    assert found.count("error_ratio") == found.count("served_by") == 6, "from the first full window on"
    assert found.count("error_ratio_vs_blue") == 2, "from the fifth pair on"


def test_every_sample_is_archived_with_query_and_raw_answer(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    gates.bake(upgrade, site, load, percent=10)
    lines = [json.loads(line) for line in upgrade.path("gates", "samples.jsonl").read_text().splitlines()]
    journaled = [entry.data for entry in upgrade.journal.entries() if entry.event == "gate"]
    assert [line["name"] for line in lines] == [entry["name"] for entry in journaled]
    assert [entry["line"] for entry in journaled] == list(range(1, len(lines) + 1))
    for line in lines:
        assert line["asked"]
        for asked in line["asked"]:
            assert asked["query"]
            assert asked["time"]
            assert asked["raw"] is not None


def test_blue_is_asked_the_same_at_the_same_time(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    gates.bake(upgrade, site, load, percent=10)
    lines = [json.loads(line) for line in upgrade.path("gates", "samples.jsonl").read_text().splitlines()]
    for line in (line for line in lines if line["name"] in gates.GATES):
        asked = {one["role"]: one for one in line["asked"]}
        for role in ("value", "count"):
            green, blue = asked[role], asked[f"blue_{role}"]
            assert blue["query"] == green["query"].replace("stellaops-green", "stellaops-prod")
            assert blue["time"] == green["time"]


def test_no_window_reaches_back_before_the_weight(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    bake = gates.bake(upgrade, site, load, percent=10)
    for line in upgrade.path("gates", "samples.jsonl").read_text().splitlines():
        sample = json.loads(line)
        if sample["name"] in gates.GATES:
            assert sample["time"] >= (bake.effective + timedelta(seconds=5)).isoformat()[:19]


@pytest.mark.parametrize(
    "ago_s", [0.0, 20.0], ids=["as the weight takes effect", "since the weight before was decided"]
)
def test_a_freeze_between_two_bakes_is_seen(upgrade: Upgrade, site: FakeSite, load: FakeLoad, ago_s: float) -> None:
    gates.bake(upgrade, site, load, percent=10)
    upgrade.clock.sleep(30)
    load.share, load.stalled_at = 0.25, upgrade.clock.now() - timedelta(seconds=ago_s)
    with pytest.raises(ClauseFailed) as failed:
        gates.bake(upgrade, site, load, percent=25)
    assert failed.value.facts["gates"] == ["probe_latency"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("error_ratio", 0.3), ("latency_p99", 0.6), ("attestation_success", 0.5)],
)
def test_a_broken_limit_ends_the_bake(
    *, upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock, name: str, value: float
) -> None:
    site.prometheus.values[name] = value
    with pytest.raises(ClauseFailed) as caught:
        gates.bake(upgrade, site, load, percent=10)
    assert caught.value.code == "gate-failed"
    assert caught.value.facts["gates"] == [name]
    assert not caught.value.cause_text, "nobody looks for the cause before blue serves again"
    assert clock.monotonic() < 15


def test_the_decision_is_in_the_journal_and_the_load_knows(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    gates.bake(upgrade, site, load, percent=10)
    decided = upgrade.journal.last("gate_decision")
    assert decided is not None
    assert (decided.data["decision"], decided.data["result"], decided.data["gate"]) == ("advance", "PASS", "")
    assert decided.data["first_bad"] is None
    site.prometheus.values["latency_p99"] = 0.6
    with pytest.raises(ClauseFailed):
        gates.bake(upgrade, site, load, percent=25)
    decided = upgrade.journal.last("gate_decision")
    assert decided is not None
    assert (decided.data["decision"], decided.data["gate"], decided.data["percent"]) == ("rollback", "served_by", 25)
    assert decided.data["first_bad"] is not None
    assert decided.data["decided_after_s"] > 0
    assert load.phases == ["rollback"]


def test_failed_requests_end_the_bake_at_once(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock
) -> None:
    load.failed = 1
    with pytest.raises(ClauseFailed, match="failed requests"):
        gates.bake(upgrade, site, load, percent=10)
    assert clock.monotonic() < 1


def test_failed_requests_are_looked_at_every_second_whatever_the_interval(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock
) -> None:
    load.fails_from_s = 5.5
    object.__setattr__(upgrade.policy.traffic, "interval_s", 600)
    with pytest.raises(ClauseFailed, match="failed requests"):
        gates.bake(upgrade, site, load, percent=10)
    assert clock.monotonic() <= 6.5


def test_nothing_is_sampled_while_a_weight_settles_but_failed_requests(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad
) -> None:
    upgrade.policy = replace(upgrade.policy, gates=replace(upgrade.policy.gates, initial_delay_s=7.0))
    began = upgrade.clock.now()
    bake = gates.bake(upgrade, site, load, percent=10)
    assert (bake.effective - began).total_seconds() >= 7
    lines = [json.loads(line) for line in upgrade.path("gates", "samples.jsonl").read_text().splitlines()]
    assert min(line["time"] for line in lines) >= bake.effective.isoformat()[:19]
    load.fails_from_s = upgrade.clock.monotonic() + 4
    with pytest.raises(ClauseFailed, match="failed requests"):
        gates.bake(upgrade, site, load, percent=10)
    assert upgrade.clock.monotonic() < load.fails_from_s + 2


def test_a_bad_sample_is_not_forgiven_by_later_good_ones(policy: Policy) -> None:
    bad = gates.judge(policy, sampled("error_ratio", [0.5], [500.0]))
    good = gates.judge(policy, sampled("error_ratio", [0.0], [500.0]))
    assert [result.result for result in gates.worst_of_each([good, bad, good])] == [GateVerdict.FAIL]
    assert [result.result for result in gates.assess([good, bad, good], policy.gates)] == [GateVerdict.FAIL]


@given(
    verdicts=st.lists(st.sampled_from(list(GateVerdict)), min_size=1, max_size=12),
    failures=st.integers(0, 3),
    inconclusive=st.integers(0, 3),
    more=st.lists(st.sampled_from([GateVerdict.PASS]), max_size=5),
)
def test_the_worst_is_never_overwritten(
    verdicts: list[GateVerdict], failures: int, inconclusive: int, more: list[GateVerdict]
) -> None:
    limits = _limits(failures, inconclusive)
    kept = gates.not_borne(verdicts, limits)
    verdict = gates.worst(kept)
    if {GateVerdict.ERROR, GateVerdict.NO_DATA} & set(verdicts):
        assert verdict is not GateVerdict.PASS, "what was not measured is never borne"
    if GateVerdict.PASS not in verdicts:
        assert verdict is gates.worst(verdicts), "nothing is borne of a gate that never passed"
    if verdicts.count(GateVerdict.FAIL) > failures:
        assert verdict is GateVerdict.FAIL
    if failures == inconclusive == 0:
        later = gates.worst(gates.not_borne([*verdicts, *more], limits))
        assert later is gates.worst(verdicts), "good samples that come later change nothing"


def _limits(failures: int, inconclusive: int) -> Gates:
    return replace(_example_policy().gates, failure_limit=failures, inconclusive_limit=inconclusive)


def test_a_policy_may_bear_a_bad_sample_and_says_so(policy: Policy) -> None:
    bad = gates.judge(policy, sampled("error_ratio", [0.5], [500.0]))
    good = gates.judge(policy, sampled("error_ratio", [0.0], [500.0]))
    limits = replace(policy.gates, failure_limit=1)
    (found,) = gates.assess([good, bad, good], limits)
    assert found.result is GateVerdict.PASS
    assert "1 of 3 samples" in found.reason
    assert gates.assess([good, bad, bad], limits)[0].result is GateVerdict.FAIL
    assert gates.assess([bad], limits)[0].result is GateVerdict.FAIL, "all samples are bad"


@pytest.mark.parametrize("name", ["evidence_operations", "attestation_success"])
def test_what_is_over_the_whole_weight_is_never_borne(policy: Policy, name: str) -> None:
    bad = gates.judge(policy, sampled(name, [0.1], [500.0]))
    good = gates.judge(policy, sampled(name, [1.0], [500.0]))
    limits = replace(policy.gates, failure_limit=1)
    assert gates.assess([good, good, bad], limits)[0].result is GateVerdict.FAIL


@pytest.mark.parametrize("name", [name for name in GATE_NAMES if name.endswith("_vs_blue")])
def test_a_comparison_over_the_whole_weight_is_never_borne(policy: Policy, name: str) -> None:
    empty = gates.judge(policy, replace(sampled("error_ratio", [0.0], [500.0]), name=name))
    good, bad = replace(empty, result=GateVerdict.PASS), replace(empty, result=GateVerdict.FAIL)
    limits = replace(policy.gates, failure_limit=1)
    assert gates.assess([good, good, bad], limits)[0].result is GateVerdict.FAIL


def test_a_number_of_the_load_over_the_whole_weight_is_never_borne(policy: Policy) -> None:
    empty = gates.judge(policy, sampled("error_ratio", [0.0], [500.0]))
    good = replace(empty, name="own", source="load", result=GateVerdict.PASS)
    limits = replace(policy.gates, failure_limit=1)
    assert gates.assess([good, replace(good, result=GateVerdict.FAIL)], limits)[0].result is GateVerdict.FAIL


def test_a_bake_too_short_for_the_markers_waits_for_them(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, policy: Policy
) -> None:
    upgrade.policy = replace(
        policy,
        traffic=replace(policy.traffic, bake_s=1.0, min_requests=1),
        gates=replace(policy.gates, range_s=1.0, compare=replace(policy.gates.compare, enabled=False)),
        probe=replace(policy.probe, min_answers=1),
    )
    site.database.present.remove(7)
    with pytest.raises(ClauseFailed) as raised:
        gates.bake(upgrade, site, load, percent=10)
    assert raised.value.facts["gates"] == ["write_markers"]


def test_a_gate_that_was_never_sampled_has_not_passed(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baking._Watch, "_metrics", lambda *_: iter(()))
    with pytest.raises(CouldNotMeasure) as raised:
        gates.bake(upgrade, site, load, percent=10)
    assert set(raised.value.facts["gates"]) >= set(gates.GATES)
    decided = upgrade.journal.last("gate_decision")
    assert decided is not None
    assert decided.data["decision"] == "rollback"


def test_prometheus_gone_is_an_error_and_never_a_pass(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    site.prometheus.is_down = True
    with pytest.raises(CouldNotMeasure) as caught:
        gates.bake(upgrade, site, load, percent=10)
    assert caught.value.code == "gate-not-measured"


@pytest.mark.parametrize(("failures", "passes"), [(4, True), (5, False)])
def test_a_short_silence_of_prometheus_is_asked_again(
    *, upgrade: Upgrade, site: FakeSite, load: FakeLoad, failures: int, passes: bool
) -> None:
    site.prometheus.failures = failures
    if passes:
        gates.require_passed(gates.bake(upgrade, site, load, percent=10).results)
    else:
        with pytest.raises(CouldNotMeasure):
            gates.bake(upgrade, site, load, percent=10)


def test_a_missing_metric_is_no_pass(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    del site.prometheus.values["latency_p99"]
    with pytest.raises(CouldNotMeasure, match="latency p99"):
        gates.bake(upgrade, site, load, percent=10)


def test_too_few_attempts_are_waited_for_and_then_undecided(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock
) -> None:
    site.prometheus.counts["attestation_success"] = 1
    with pytest.raises(Undecided):
        gates.bake(upgrade, site, load, percent=10)
    assert clock.monotonic() > 10 + 2 * 10
    found = [entry.data for entry in upgrade.journal.entries() if entry.event == "gate"]
    mine = [entry for entry in found if entry["name"] == "attestation_success"]
    assert [entry["result"] for entry in mine] == ["INCONCLUSIVE"], "what may still change is not written"


def test_attempts_that_come_later_are_enough(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = site.prometheus.query

    def slowly(expression: str, *, at: datetime | None = None) -> Answer:
        site.prometheus.counts["attestation_success"] = 10.0 if clock.monotonic() > 16 else 1.0
        return query(expression, at=at)

    monkeypatch.setattr(site.prometheus, "query", slowly)
    gates.require_passed(gates.bake(upgrade, site, load, percent=10).results)
    assert 16 < clock.monotonic() < 20


def test_a_load_that_ended_is_an_error(upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock) -> None:
    load.is_running = False
    with pytest.raises(CouldNotMeasure) as caught:
        gates.bake(upgrade, site, load, percent=10)
    assert caught.value.facts["gates"] == ["load_attempted"]
    assert clock.monotonic() < 5, "nobody waits for a full window of nothing"


def test_a_share_that_never_comes_fails(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    load.share = 0.0
    with pytest.raises(ClauseFailed) as caught:
        gates.bake(upgrade, site, load, percent=10)
    assert caught.value.facts["gates"] == ["served_by"]
    assert upgrade.journal.last("observation", what="weight not live") is not None
    share = upgrade.journal.last("share")
    assert share is not None
    assert share.data["green"] == 0


def test_at_100_percent_there_is_no_comparison_and_the_record_says_so(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad
) -> None:
    load.share = 1.0
    bake = gates.bake(upgrade, site, load, percent=100)
    assert not [result.name for result in bake.results if result.name.endswith("_vs_blue")]
    said = upgrade.journal.last("observation", what="no comparison with blue")
    assert said is not None
    assert said.data["why"] == "blue has no traffic"


def test_nothing_measured_is_not_a_pass() -> None:
    with pytest.raises(CouldNotMeasure):
        gates.require_passed([])
    assert gates.worst([]) is GateVerdict.NO_DATA


# -- against the load --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "contradicts"),
    [
        ("error_ratio", {}, False),
        ("error_ratio", {"failed": 1}, True),
        ("error_ratio", {"rate": 0}, True),
        ("latency_p99", {}, False),
        ("latency_p99", {"p99_ms": {"green": 251.0}}, True),
        ("latency_p99", {"p99_ms": {"blue": 1.0}}, True),
        ("evidence_operations", {}, False),
    ],
)
def test_load_contradicts(
    *, upgrade: Upgrade, load: FakeLoad, clock: ManualClock, name: str, change: dict[str, object], contradicts: bool
) -> None:
    clock.advance(30)
    for key, value in change.items():
        setattr(load, key, value)
    if contradicts:
        with pytest.raises(ClauseFailed):
            gates.require_load_agrees(upgrade, load, name)
    else:
        gates.require_load_agrees(upgrade, load, name)
