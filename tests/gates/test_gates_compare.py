"""Green against blue: worse only significantly, beyond the tolerance and in its effect; too little never passes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover import project
from cutover.errors import ClauseFailed, Undecided
from cutover.policy import Policy
from cutover.runbook import gates
from cutover.runbook.gates import GateVerdict, comparing
from cutover.runbook.gates.comparing import Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiet_site import FakeLoad, FakeSite

    from cutover.clock import ManualClock
    from cutover.runbook.upgrade import Upgrade

PASS, FAIL, INCONCLUSIVE = GateVerdict.PASS, GateVerdict.FAIL, GateVerdict.INCONCLUSIVE
POLICY = Policy.read(project.CONTRACT / "examples" / "policy.toml")
"""Tolerances: errors 0.005, p99 half as much more and 0.05 s, operations a half, attestations 0.05; five pairs."""


def pairs(green: Sequence[float], blue: Sequence[float]) -> list[Pair]:
    return [Pair(line=at, green=one, blue=other) for at, (one, other) in enumerate(zip(green, blue, strict=True), 1)]


ERRORS = [
    # green, blue, verdict
    ([0.0] * 6, [0.0] * 6, PASS),
    ([0.01] * 6, [0.01] * 6, PASS),
    ([0.004] * 6, [0.0] * 6, PASS),  # within the tolerance, however sure
    ([0.006] * 6, [0.0] * 6, FAIL),  # a blue without errors hides none
    ([0.0] * 6, [0.2] * 6, PASS),  # better than blue
    ([0.3, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0] * 6, PASS),  # one bad window is not significant; its own limit sees it
    ([0.02, 0.03, 0.0, 0.04, 0.02, 0.03], [0.0] * 6, FAIL),
    ([0.006] * 4, [0.0] * 4, INCONCLUSIVE),
    ([0.0] * 4, [0.0] * 4, INCONCLUSIVE),
    ([], [], INCONCLUSIVE),
]


@pytest.mark.parametrize(("green", "blue", "verdict"), ERRORS)
def test_error_ratios(green: list[float], blue: list[float], verdict: GateVerdict) -> None:
    found = comparing.error_ratios(POLICY, pairs(green, blue), is_last=True)
    assert found.result is verdict
    assert bool(found.reason) is (verdict is not PASS)


LATENCIES = [
    ([0.020, 0.021, 0.019, 0.020, 0.022, 0.020], [0.020, 0.019, 0.021, 0.020, 0.018, 0.021], PASS),
    ([0.009] * 6, [0.003] * 6, PASS),  # three times as slow, and six milliseconds are nothing
    ([0.060, 0.061, 0.062, 0.063, 0.064, 0.065], [0.020, 0.021, 0.019, 0.020, 0.022, 0.018], PASS),  # below the floor
    ([0.300, 0.301, 0.302, 0.303, 0.304, 0.305], [0.020, 0.021, 0.019, 0.020, 0.022, 0.018], FAIL),
    ([1.400, 1.401, 1.402, 1.403, 1.404, 1.405], [1.000, 1.001, 1.002, 1.003, 1.004, 1.005], PASS),  # not half as much
    ([0.300, 0.020, 0.020, 0.020, 0.020, 0.020], [0.020] * 6, PASS),  # one hiccup
    ([9.0, 9.0], [0.01, 0.01], INCONCLUSIVE),
]


@pytest.mark.parametrize(("green", "blue", "verdict"), LATENCIES)
def test_latencies(green: list[float], blue: list[float], verdict: GateVerdict) -> None:
    assert comparing.latencies(POLICY, pairs(green, blue), is_last=True).result is verdict


@given(
    green=st.lists(st.floats(0, 10), max_size=30),
    blue=st.lists(st.floats(0, 10), max_size=30),
    is_last=st.booleans(),
)
def test_too_few_pairs_never_pass_nor_fail(green: list[float], blue: list[float], is_last: bool) -> None:
    number = min(len(green), len(blue))
    found = comparing.latencies(POLICY, pairs(green[:number], blue[:number]), is_last=is_last)
    assert (found.result is INCONCLUSIVE) is (number < POLICY.gates.compare.min_samples)
    if found.result is FAIL:
        assert found.green is not None
        assert found.green > found.limit


def test_before_the_last_look_a_test_must_be_surer() -> None:
    green, blue = [0.30, 0.31, 0.32, 0.33, 0.34], [0.01, 0.02, 0.03, 0.04, 0.05]
    assert comparing.latencies(POLICY, pairs(green, blue), is_last=False).result is PASS
    assert comparing.latencies(POLICY, pairs(green, blue), is_last=True).result is FAIL


def test_an_effect_that_is_small_does_not_fail() -> None:
    green = [0.02] * 40 + [0.9] * 60
    blue = [0.02] * 60 + [0.9] * 40
    strict = replace(POLICY, gates=replace(POLICY.gates, compare=replace(POLICY.gates.compare, min_effect_size=0.55)))
    assert comparing.latencies(strict, pairs(green, blue), is_last=True).result is FAIL
    assert comparing.latencies(POLICY, pairs(green, blue), is_last=True).result is PASS


OPERATIONS = [
    # operations of green and blue, requests of green and blue, verdict
    (50, 450, 100, 900, PASS),
    (20, 450, 100, 900, FAIL),  # less than half of blue's, a request
    (30, 450, 100, 900, PASS),  # more than half
    (0, 450, 100, 900, FAIL),
    (0, 450, 0, 900, INCONCLUSIVE),  # no requests, so nothing could be expected
    (3, 40, 100, 900, INCONCLUSIVE),  # four were expected of green
    (0, 0, 100, 900, INCONCLUSIVE),
    (100, 5, 100, 900, PASS),
]


@pytest.mark.parametrize(("green", "blue", "green_requests", "blue_requests", "verdict"), OPERATIONS)
def test_operations_by_share_of_the_requests(
    green: int, blue: int, green_requests: int, blue_requests: int, verdict: GateVerdict
) -> None:
    found = comparing.evidence_operations(
        POLICY, green=green, blue=blue, green_requests=green_requests, blue_requests=blue_requests, is_last=True
    )
    assert found.result is verdict


ATTESTATIONS = [
    # ratio and attempts of green, of blue, verdict
    (1.0, 20, 1.0, 200, PASS),
    (0.0, 20, 1.0, 200, FAIL),
    (0.9, 20, 1.0, 200, FAIL),
    (0.96, 50, 1.0, 200, PASS),  # within the tolerance
    (0.9, 20, 0.9, 200, PASS),
    (0.0, 19, 1.0, 200, INCONCLUSIVE),
    (1.0, 20, 1.0, 19, INCONCLUSIVE),
    (1.0, 20, 0.0, 200, PASS),
]


@pytest.mark.parametrize(("green", "green_attempts", "blue", "blue_attempts", "verdict"), ATTESTATIONS)
def test_attestations_by_an_exact_test(
    green: float, green_attempts: int, blue: float, blue_attempts: int, verdict: GateVerdict
) -> None:
    found = comparing.attestation_success(
        POLICY,
        green=green,
        green_attempts=green_attempts,
        blue=blue,
        blue_attempts=blue_attempts,
        is_last=True,
    )
    assert found.result is verdict


# -- in a bake ---------------------------------------------------------------------------------------------------------

WORSE = [
    # metric, of green, of blue: all within the metric's own limit
    ("error_ratio", 0.009, 0.0),
    ("latency_p99", 0.24, 0.02),
    ("attestation_success", 0.995, 1.0),
]


@pytest.mark.parametrize(("name", "green", "blue"), WORSE[:2])
def test_only_the_comparison_fails_what_the_limit_allows(
    *, upgrade: Upgrade, site: FakeSite, load: FakeLoad, name: str, green: float, blue: float
) -> None:
    site.prometheus.values[name], site.prometheus.blue_values[name] = green, blue
    with pytest.raises(ClauseFailed) as caught:
        gates.bake(upgrade, site, load, percent=10)
    assert caught.value.facts["gates"] == [f"{name}_vs_blue"]


def test_operations_that_lag_behind_blues_fail(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    site.prometheus.blue_counts["evidence_operations"] = 400.0
    with pytest.raises(ClauseFailed) as caught:
        gates.bake(upgrade, site, load, percent=10)
    assert caught.value.facts["gates"] == ["evidence_operations_vs_blue"]


def test_a_blue_that_hardly_answers_makes_no_pairs(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock
) -> None:
    site.prometheus.blue_counts["latency_p99"] = 3.0
    with pytest.raises(Undecided) as caught:
        gates.bake(upgrade, site, load, percent=10)
    assert caught.value.facts["gates"] == ["latency_p99_vs_blue"]
    assert clock.monotonic() > 30, "it was waited for"


def test_a_policy_may_do_without(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    compare = replace(upgrade.policy.gates.compare, enabled=False)
    upgrade.policy = replace(upgrade.policy, gates=replace(upgrade.policy.gates, compare=compare))
    site.prometheus.blue_values["latency_p99"] = 0.0001
    bake = gates.bake(upgrade, site, load, percent=10)
    assert not [result for result in bake.results if result.name.endswith("_vs_blue")]
    assert not [query for query in site.prometheus.asked if "stellaops-prod" in query]
    said = upgrade.journal.last("observation", what="no comparison with blue")
    assert said is not None
    assert said.data["why"] == "the policy does not ask for it"
