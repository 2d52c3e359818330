"""Every way a sample can be good, bad, too small or absent, and what the worst of them makes of a bake."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quiet_site import FakeLoad, FakeSite, answer
from scipy.stats import binom

from cutover.errors import ClauseFailed, CouldNotMeasure, Undecided
from cutover.model import Result
from cutover.runbook import gates
from cutover.runbook.ports import LoadTotals

if TYPE_CHECKING:
    from cutover.clock import ManualClock
    from cutover.policy import Policy
    from cutover.runbook.upgrade import Upgrade

NAN = math.nan
NONE: tuple[float, ...] = ()

VERDICTS = [
    # gate, values of the value query, of the count query, verdict
    ("error_ratio", (0.0,), (20.0,), Result.PASS),
    ("error_ratio", (0.01,), (20.0,), Result.PASS),
    ("error_ratio", (0.0101,), (20.0,), Result.FAIL),
    ("error_ratio", (0.0,), (19.9,), Result.INCONCLUSIVE),
    ("error_ratio", (1.0,), (3.0,), Result.INCONCLUSIVE),
    ("error_ratio", (NAN,), (0.0,), Result.INCONCLUSIVE),
    ("error_ratio", (NAN,), (500.0,), Result.ERROR),
    ("error_ratio", (math.inf,), (500.0,), Result.ERROR),
    ("error_ratio", NONE, (500.0,), Result.ERROR),
    ("error_ratio", (0.0,), NONE, Result.ERROR),
    ("error_ratio", NONE, NONE, Result.ERROR),
    ("error_ratio", NONE, (0.0,), Result.ERROR),
    ("error_ratio", (0.0, 0.0), (500.0,), Result.ERROR),
    ("error_ratio", (0.0,), (NAN,), Result.ERROR),
    ("latency_p99", (0.25,), (20.0,), Result.PASS),
    ("latency_p99", (0.251,), (20.0,), Result.FAIL),
    ("latency_p99", (math.inf,), (500.0,), Result.ERROR),
    ("latency_p99", (NAN,), (500.0,), Result.ERROR),
    ("evidence_operations", (0.5,), (5.0,), Result.PASS),
    ("evidence_operations", (0.5,), (4.9,), Result.INCONCLUSIVE),
    ("evidence_operations", (0.49,), (4.0,), Result.FAIL),
    ("evidence_operations", (0.49,), (500.0,), Result.FAIL),
    ("evidence_operations", (0.0,), (0.0,), Result.FAIL),
    ("evidence_operations", NONE, NONE, Result.ERROR),
    ("attestation_success", (1.0,), (5.0,), Result.PASS),
    ("attestation_success", (0.98,), (500.0,), Result.FAIL),
    ("attestation_success", (1.0,), (4.0,), Result.INCONCLUSIVE),
    ("attestation_success", (NAN,), (0.0,), Result.INCONCLUSIVE),
    ("attestation_success", NONE, NONE, Result.ERROR),
]


@pytest.mark.parametrize(("name", "values", "counts", "verdict"), VERDICTS)
def test_verdict(
    policy: Policy, name: str, values: tuple[float, ...], counts: tuple[float, ...], verdict: Result
) -> None:
    value, count = answer(*values), answer(*counts)
    result = gates.judge(gates.GATES[name], policy, value=value, count=count, percent=10, time=value.time)
    assert result.result is verdict
    assert bool(result.reason) is (verdict is not Result.PASS)


@given(values=st.lists(st.floats(), max_size=2), counts=st.lists(st.floats(), max_size=2))
def test_only_one_finite_number_over_enough_samples_passes(values: list[float], counts: list[float]) -> None:
    policy = _example_policy()
    for gate in gates.GATES.values():
        given_ = {"value": answer(*values), "count": answer(*counts)}
        result = gates.judge(gate, policy, **given_, percent=10, time=given_["value"].time)
        if result.result is Result.PASS:
            assert len(values) == len(counts) == 1
            assert math.isfinite(values[0])
            assert counts[0] >= gate.minimum(policy)


def _example_policy() -> Policy:
    from cutover import project  # noqa: PLC0415
    from cutover.policy import Policy  # noqa: PLC0415

    return Policy.read(project.CONTRACT / "examples" / "policy.toml")


def test_queries_are_for_one_colour_by_rate_and_by_bucket() -> None:
    latency = gates.GATES["latency_p99"]
    resolved = latency.resolve(latency.value_query, namespace="stellaops-green", window_s=5)
    assert resolved.startswith("histogram_quantile(0.99, sum by (le) (rate(")
    assert 'http_request_duration_seconds_bucket{namespace="stellaops-green",' in resolved
    assert resolved.endswith("[5s])))")
    for gate in gates.GATES.values():
        for query in (gate.value_query, gate.count_query):
            text = gate.resolve(query, namespace="ns", window_s=2.5)
            assert text.count("{") == text.count("}") == text.count('namespace="ns"')
            assert "[2500ms]" in text


def test_no_series_of_errors_is_zero_and_not_no_data() -> None:
    assert "or vector(0)" in gates.GATES["error_ratio"].value_query


def test_operations_that_failed_are_not_counted() -> None:
    gate = gates.GATES["evidence_operations"]
    for query in (gate.value_query, gate.count_query):
        resolved = gate.resolve(query, namespace="stellaops-green", window_s=8)
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


def test_a_good_bake_passes_every_gate(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    bake = gates.bake(upgrade, site, load, percent=10)
    assert {result.name: result.result for result in bake.results} == {
        "load_failures": Result.PASS,
        **dict.fromkeys(gates.GATES, Result.PASS),
    }
    assert bake.share.is_inside
    assert bake.share.total >= 800
    gates.require_passed(bake.results)


def test_every_sample_is_archived_with_query_and_raw_answer(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    gates.bake(upgrade, site, load, percent=10)
    lines = [json.loads(line) for line in upgrade.path("gates", "samples.jsonl").read_text().splitlines()]
    journaled = [entry.data["name"] for entry in upgrade.journal.entries() if entry.event == "gate"]
    assert [line["name"] for line in lines] == journaled
    for line in lines:
        for asked in line["asked"]:
            assert 'namespace="stellaops-green"' in asked["query"]
            assert asked["raw"] is not None


def test_no_window_reaches_back_before_the_weight(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    bake = gates.bake(upgrade, site, load, percent=10)
    for line in upgrade.path("gates", "samples.jsonl").read_text().splitlines():
        sample = json.loads(line)
        if sample["name"] in {"error_ratio", "latency_p99"}:
            assert sample["time"] >= (bake.effective + timedelta(seconds=5)).isoformat()[:19]


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
    assert gates.GATES[name].title in caught.value.cause_text
    assert clock.monotonic() < 15


def test_failed_requests_end_the_bake_at_once(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock
) -> None:
    load.failed = 1
    with pytest.raises(ClauseFailed, match="failed requests"):
        gates.bake(upgrade, site, load, percent=10)
    assert clock.monotonic() < 5


def test_a_bad_sample_is_not_forgiven_by_later_good_ones(policy: Policy) -> None:
    value = answer(0.5)
    bad = gates.judge(gates.GATES["error_ratio"], policy, value=value, count=answer(500.0), percent=10, time=value.time)
    good = gates.judge(
        gates.GATES["error_ratio"], policy, value=answer(0.0), count=answer(500.0), percent=10, time=value.time
    )
    assert [result.result for result in gates.worst_of_each([good, bad, good])] == [Result.FAIL]


def test_prometheus_gone_is_an_error_and_never_a_pass(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    site.prometheus.is_down = True
    with pytest.raises(CouldNotMeasure) as caught:
        gates.bake(upgrade, site, load, percent=10)
    assert caught.value.code == "gate-not-measured"
    assert "Prometheus" in caught.value.cause_text


def test_a_short_silence_of_prometheus_is_asked_again(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    site.prometheus.failures = gates.ERROR_LIMIT - 1
    gates.require_passed(gates.bake(upgrade, site, load, percent=10).results)


def test_a_missing_metric_is_an_error(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    del site.prometheus.values["latency_p99"]
    with pytest.raises(CouldNotMeasure, match="latency p99"):
        gates.bake(upgrade, site, load, percent=10)


def test_too_few_attempts_are_waited_for_and_then_undecided(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock
) -> None:
    site.prometheus.counts["attestation_success"] = 1
    bake = gates.bake(upgrade, site, load, percent=10)
    assert clock.monotonic() > 8 + 2 * 8
    with pytest.raises(Undecided):
        gates.require_passed(bake.results)


def test_a_load_that_ended_is_an_error(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    load.is_running = False
    with pytest.raises(CouldNotMeasure):
        gates.bake(upgrade, site, load, percent=10)


def test_a_share_that_never_comes_is_judged_over_the_bake(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    load.share = 0.0
    bake = gates.bake(upgrade, site, load, percent=10)
    assert not bake.share.is_inside
    assert upgrade.journal.last("observation", what="weight not live") is not None


def test_nothing_measured_is_not_a_pass() -> None:
    with pytest.raises(CouldNotMeasure):
        gates.require_passed([])
    assert gates.worst([]) is Result.NOT_RUN


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
