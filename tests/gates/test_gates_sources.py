"""The gates of the load, the probe, the database, the cluster and a policy: each rule, and each silence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover import project
from cutover.clock import ManualClock
from cutover.errors import ClauseFailed, CouldNotMeasure, CutoverError, Undecided
from cutover.policy import CustomGate, LoadMetric, Policy, Source
from cutover.runbook import gates
from cutover.runbook.gates import Asked, GateVerdict, Taken, reading
from cutover.runbook.ports import RouteFinding

if TYPE_CHECKING:
    from collections.abc import Callable

    from quiet_site import FakeLoad, FakeSite

    from cutover.runbook.ports import ProxyAnswer
    from cutover.runbook.upgrade import Upgrade

PASS, FAIL, INCONCLUSIVE = GateVerdict.PASS, GateVerdict.FAIL, GateVerdict.INCONCLUSIVE
NO_DATA, ERROR = GateVerdict.NO_DATA, GateVerdict.ERROR
POLICY = Policy.read(project.CONTRACT / "examples" / "policy.toml")
NOW = ManualClock().now()


def take(name: str, percent: int = 10, *, is_last: bool = True, **raw: object) -> Taken:
    asked = tuple(Asked(role=role, query="q", time=NOW, raw=answer) for role, answer in raw.items())
    return Taken(name=name, percent=percent, time=NOW, asked=asked, is_last=is_last)


def load_raw(**facts: object) -> dict[str, Any]:
    return {
        "attempted": 2000,
        "planned": 2000.0,
        "failed": 0,
        "by_colour": {"blue": 1800, "green": 200},
        "running": True,
        "green": "green",
        "reads": 1800,
        "writes": 200,
        "scans": 20,
        "seconds": 10.0,
        "elapsed_s": 10.0,
        "p99_ms": {"green": 20.0},
        **facts,
    }


def probe_raw(**facts: object) -> dict[str, Any]:
    return {"planned": 200, "answered": 200, "failed": 0, "p50_ms": 5.0, "p99_ms": 20.0, "max_ms": 30.0, **facts}


def pods_raw(*pods: tuple[int, int, int], gone: tuple[str, ...] = ()) -> dict[str, Any]:
    """Each pod: status, restarts, restarts before."""
    found = [
        {"name": f"green-{at}", "status": status, "said": "", "restarts": now, "restarts_before": before}
        for at, (status, now, before) in enumerate(pods)
    ]
    return {"pods": found, "gone": list(gone)}


def markers(acknowledged: list[int], present: list[int]) -> dict[str, Any]:
    return {
        "load": {"run": "r", "acknowledged": reading.as_ranges(acknowledged)},
        "database": {"present": reading.as_ranges(present)},
    }


FINDING = {"code": "x", "message": "the weight is 50", "remedy": "look"}
RULES: list[tuple[str, dict[str, Any], GateVerdict]] = [
    ("failed_requests", {"load": load_raw(), "probe": probe_raw()}, PASS),
    ("failed_requests", {"load": load_raw(failed=1), "probe": probe_raw()}, FAIL),
    ("failed_requests", {"load": load_raw(), "probe": probe_raw(failed=1)}, FAIL),
    ("failed_requests", {"load": load_raw(attempted=0), "probe": probe_raw()}, NO_DATA),
    ("failed_requests", {"load": load_raw()}, ERROR),
    ("failed_requests", {"load": load_raw(failed="none"), "probe": probe_raw()}, ERROR),
    ("load_attempted", {"load": load_raw()}, PASS),
    ("load_attempted", {"load": load_raw(attempted=1800)}, PASS),
    ("load_attempted", {"load": load_raw(attempted=1799)}, INCONCLUSIVE),
    ("load_attempted", {"load": load_raw(elapsed_s=14.0)}, PASS),
    ("load_attempted", {"load": load_raw(elapsed_s=16.0)}, INCONCLUSIVE),
    ("load_attempted", {"load": load_raw(running=False)}, ERROR),
    ("load_attempted", {"load": load_raw(attempted=0)}, NO_DATA),
    ("load_attempted", {"load": load_raw(planned=0.0)}, NO_DATA),
    ("load_attempted", {}, ERROR),
    ("probe_latency", {"probe": probe_raw(p99_ms=1000.0)}, PASS),
    ("probe_latency", {"probe": probe_raw(p99_ms=1000.1)}, FAIL),
    ("probe_latency", {"probe": probe_raw(answered=19)}, INCONCLUSIVE),
    ("probe_latency", {"probe": probe_raw(answered=0, p99_ms=None)}, NO_DATA),
    ("probe_latency", {"probe": probe_raw(p99_ms="nan")}, NO_DATA),
    ("served_by", {"load": load_raw()}, PASS),
    ("served_by", {"load": load_raw(by_colour={"blue": 1700, "green": 300})}, FAIL),
    ("served_by", {"load": load_raw(by_colour={"blue": 2000})}, FAIL),
    ("served_by", {"load": load_raw(by_colour={"blue": 900, "green": 99})}, INCONCLUSIVE),
    ("served_by", {"load": load_raw(by_colour={"nobody": 2000})}, NO_DATA),
    ("served_by", {"load": load_raw(by_colour={})}, NO_DATA),
    ("write_markers", markers([1, 2, 3], [1, 2, 3, 4]), PASS),
    ("write_markers", markers([1, 2, 3], [1, 2]), FAIL),
    ("write_markers", markers([1, 2, 3], [1, 2, 3, 3]), FAIL),
    ("write_markers", markers([1, 2, 2], [1, 2]), FAIL),
    ("write_markers", markers([], [1]), NO_DATA),
    ("route_topology", {"routes": []}, PASS),
    ("route_topology", {"routes": [FINDING]}, FAIL),
    ("route_unchanged", {"routes": []}, PASS),
    ("route_unchanged", {"routes": [FINDING, FINDING]}, FAIL),
    ("route_unchanged", {}, ERROR),
    ("green_ready", {"pods": pods_raw((200, 0, 0), (200, 3, 3))}, PASS),
    ("green_ready", {"pods": pods_raw((200, 0, 0), (503, 0, 0))}, FAIL),
    ("green_ready", {"pods": pods_raw((200, 1, 0))}, FAIL),
    ("green_ready", {"pods": pods_raw((200, 0, 0), gone=("green-9",))}, FAIL),
    ("green_ready", {"pods": pods_raw()}, ERROR),
]


@pytest.mark.parametrize(("name", "raw", "verdict"), RULES)
def test_rule(name: str, raw: dict[str, Any], verdict: GateVerdict) -> None:
    result = gates.judge(POLICY, take(name, **raw))
    assert result.result is verdict
    assert bool(result.reason) is (verdict is not PASS)


@pytest.mark.parametrize("name", sorted(gates.WORDS))
def test_nothing_asked_or_nonsense_never_passes(name: str) -> None:
    for raw in ({}, {"load": None}, {"load": [], "probe": 3, "database": {}, "routes": None, "pods": "x", "value": 1}):
        assert gates.judge(POLICY, take(name, **raw)).result is not PASS


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "failed", "x"]), inner),
    max_leaves=6,
)


@given(name=st.sampled_from(sorted(gates.WORDS)), raw=JSON)
def test_judging_is_total(name: str, raw: object) -> None:
    roles = ("value", "count", "load", "probe", "database", "routes", "pods", "pairs")
    result = gates.judge(POLICY, take(name, **dict.fromkeys(roles, raw)))
    assert result.result is not PASS or name in {"route_topology", "route_unchanged"}


@given(numbers=st.lists(st.integers(0, 60)))
def test_ranges_keep_every_number(numbers: list[int]) -> None:
    assert reading.of_ranges(reading.as_ranges(numbers)) == sorted(numbers)


def test_a_share_is_judged_more_strictly_before_the_last_look() -> None:
    """Some 4.4 standard deviations: outside of 99.9 percent, inside of 99.9999."""
    raw = load_raw(by_colour={"blue": 1740, "green": 260})
    assert gates.judge(POLICY, take("served_by", load=raw, is_last=True)).result is FAIL
    assert gates.judge(POLICY, take("served_by", load=raw, is_last=False)).result is PASS


# -- in a bake ---------------------------------------------------------------------------------------------------------


def drop_markers(site: FakeSite, load: FakeLoad) -> None:
    del load
    site.database.present.remove(7)


def change_route(site: FakeSite, load: FakeLoad) -> None:
    del load
    site.routing.drifted.append(RouteFinding(code="drift", message="the weight is 50", remedy="look who did it"))


def freeze(site: FakeSite, load: FakeLoad) -> None:
    del site
    load.probe_p99_ms = 1900.0


def unready(site: FakeSite, load: FakeLoad) -> None:
    del load
    site.cluster.statuses["green-2"] = 503


def too_little(site: FakeSite, load: FakeLoad) -> None:
    del site
    load.planned_ratio = 2.0


def no_probe(site: FakeSite, load: FakeLoad) -> None:
    del site
    load.probe_rate = 0


def no_service(site: FakeSite, load: FakeLoad) -> None:
    del load
    site.cluster.has_service = False


def no_database(site: FakeSite, load: FakeLoad) -> None:
    del load
    site.database.problem = "connection refused"


def no_writes(site: FakeSite, load: FakeLoad) -> None:
    del site
    load.acknowledged.clear()


def few_requests(site: FakeSite, load: FakeLoad) -> None:
    del site
    load.rate = 6


ALONE = [
    # what happens, which gate sees it, and nothing else does
    (drop_markers, "write_markers", ClauseFailed),
    (change_route, "route_unchanged", ClauseFailed),
    (freeze, "probe_latency", ClauseFailed),
    (unready, "green_ready", ClauseFailed),
    (too_little, "load_attempted", Undecided),
    (no_probe, "probe_latency", CouldNotMeasure),
    (no_service, "green_ready", CouldNotMeasure),
    (no_database, "write_markers", CouldNotMeasure),
    (no_writes, "write_markers", CouldNotMeasure),
    (few_requests, "served_by", Undecided),
]


@pytest.mark.parametrize(("happens", "name", "error"), ALONE, ids=lambda value: getattr(value, "__name__", value))
def test_each_gate_sees_what_it_is_there_for_and_alone(
    *,
    upgrade: Upgrade,
    site: FakeSite,
    load: FakeLoad,
    happens: Callable[[FakeSite, FakeLoad], None],
    name: str,
    error: type[CutoverError],
) -> None:
    happens(site, load)
    with pytest.raises(error) as caught:
        gates.bake(upgrade, site, load, percent=10)
    assert caught.value.facts["gates"] == [name]
    decided = upgrade.journal.last("gate_decision")
    assert decided is not None
    assert (decided.data["decision"], decided.data["gate"]) == ("rollback", name)


def test_a_pod_that_restarts_at_this_weight_is_seen(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    site.cluster.restarts["green-1"] = 4
    proxy = site.cluster.proxy_pod

    def later(*arguments: Any, **more: Any) -> ProxyAnswer:  # noqa: ANN401 (passed on)
        site.cluster.restarts["green-1"] = 5 if clock.monotonic() > 6 else 4
        return proxy(*arguments, **more)

    monkeypatch.setattr(site.cluster, "proxy_pod", later)
    with pytest.raises(ClauseFailed) as caught:
        gates.bake(upgrade, site, load, percent=10)
    assert "restarted 1 times" in caught.value.seen
    assert clock.monotonic() < 9


def test_every_comparison_of_the_markers_is_in_the_journal(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    gates.bake(upgrade, site, load, percent=10)
    entries = upgrade.journal.entries()
    written = [entry.data for entry in entries if entry.event == "markers"]
    judged = [entry for entry in entries if entry.event == "gate" and entry.data["name"] == "write_markers"]
    assert len(written) == len(judged) > 5
    assert written[-1] == {"run": "load-t", "acknowledged": 199, "missing": [], "repeated": []}


# -- gates of the policy -----------------------------------------------------------------------------------------------


def custom(**facts: Any) -> CustomGate:  # noqa: ANN401 (fields of the record)
    known = {"name": "mine", "title": "mine", "unit": "s", "source": Source.POSTGRESQL, "query": "SELECT 1, 1"}
    return CustomGate(**{**known, "success_max": 2.0, **facts})


def with_gate(policy: Policy, gate: CustomGate) -> Policy:
    return replace(policy, gates=replace(policy.gates, custom=(gate,)))


CONDITIONS = [
    # conditions, value, verdict
    ({}, 2.0, PASS),
    ({}, 2.1, FAIL),
    ({"failure_above": 5.0}, 2.1, INCONCLUSIVE),
    ({"failure_above": 5.0}, 5.0, INCONCLUSIVE),
    ({"failure_above": 5.0}, 5.1, FAIL),
    ({"success_max": None, "success_min": 1.0}, 1.0, PASS),
    ({"success_max": None, "success_min": 1.0}, 0.9, FAIL),
    ({"success_max": None, "success_min": 1.0, "failure_below": 0.5}, 0.9, INCONCLUSIVE),
    ({"success_max": None, "success_min": 1.0, "failure_below": 0.5}, 0.4, FAIL),
    ({"success_min": 1.0}, 0.9, FAIL),
    ({"success_min": 1.0}, 1.5, PASS),
]


@pytest.mark.parametrize(("conditions", "value", "verdict"), CONDITIONS)
def test_success_failure_and_between(conditions: dict[str, Any], value: float, verdict: GateVerdict) -> None:
    policy = with_gate(POLICY, custom(**conditions))
    assert gates.judge(policy, take("mine", rows=[[value, 5]])).result is verdict


ROWS: list[tuple[Any, GateVerdict]] = [
    ([[1, 4]], PASS),
    ([["1.5", 4]], PASS),
    ([[1, 3]], INCONCLUSIVE),
    ([[1, 0]], INCONCLUSIVE),
    ([], NO_DATA),
    ([[None, 4]], NO_DATA),
    ([[1, None]], NO_DATA),
    ([["nan", 4]], NO_DATA),
    ([["many", 4]], NO_DATA),
    ([[True, 4]], NO_DATA),
    ([[1]], ERROR),
    ([[1, 4, 5]], ERROR),
    ([[1, 4], [1, 4]], ERROR),
    ("1, 4", ERROR),
]


@pytest.mark.parametrize(("rows", "verdict"), ROWS)
def test_a_query_of_the_database(rows: object, verdict: GateVerdict) -> None:
    assert gates.judge(with_gate(POLICY, custom(min_samples=4)), take("mine", rows=rows)).result is verdict


def pod(at: int, body: object, status: int = 200) -> Asked:
    return Asked(role="pod", query="GET /x", time=NOW, raw={"pod": f"green-{at}", "status": status, "body": body})


PODS: list[tuple[list[Asked], GateVerdict, float | None]] = [
    ([pod(1, {"a": [{"b": 1}]}), pod(2, {"a": [{"b": 2}]})], PASS, 2.0),
    ([pod(1, {"a": [{"b": 1}]}), pod(2, {"a": [{"b": 9}]})], FAIL, 9.0),
    ([pod(1, {"a": [{"b": 1}]}), pod(2, {"a": []})], NO_DATA, None),
    ([pod(1, {"a": [{"b": 1}]}), pod(2, None, status=503)], ERROR, None),
    ([], ERROR, None),
]


@pytest.mark.parametrize(("asked", "verdict", "value"), PODS)
def test_a_field_of_greens_api(asked: list[Asked], verdict: GateVerdict, value: float | None) -> None:
    gate = custom(source=Source.PLATFORM, query="", path="/x", field="a.0.b")
    taken = Taken(name="mine", percent=10, time=NOW, asked=tuple(asked))
    result = gates.judge(with_gate(POLICY, gate), taken)
    assert (result.result, result.value) == (verdict, value)


METRICS = {
    LoadMetric.FAILED: 0.0,
    LoadMetric.FAILED_RATIO: 0.0,
    LoadMetric.ATTEMPTED: 2000.0,
    LoadMetric.ATTEMPTED_RATIO: 1.0,
    LoadMetric.REQUESTS_PER_S: 200.0,
    LoadMetric.SCANS: 20.0,
    LoadMetric.WRITES: 200.0,
    LoadMetric.GREEN_P99_S: 0.02,
    LoadMetric.PROBE_FAILED: 0.0,
    LoadMetric.PROBE_P50_S: 0.005,
    LoadMetric.PROBE_P99_S: 0.02,
    LoadMetric.PROBE_MAX_S: 0.03,
}


@pytest.mark.parametrize("metric", list(LoadMetric))
def test_a_number_of_the_load(metric: LoadMetric) -> None:
    gate = custom(source=Source.LOAD, query="", metric=metric, success_max=1e9)
    policy = with_gate(POLICY, gate)
    result = gates.judge(policy, take("mine", load=load_raw(), probe=probe_raw()))
    assert (result.result, result.value) == (PASS, METRICS[metric])
    nothing = load_raw(attempted=0, planned=0.0, seconds=0.0, by_colour={}, p99_ms={})
    silent = probe_raw(answered=0, p50_ms=None, p99_ms=None, max_ms=None)
    assert gates.judge(policy, take("mine", load=nothing, probe=silent)).result is not PASS


@pytest.mark.parametrize("source", list(Source))
def test_a_gate_of_each_source_in_a_bake(upgrade: Upgrade, site: FakeSite, load: FakeLoad, source: Source) -> None:
    facts: dict[Source, dict[str, Any]] = {
        Source.PROMETHEUS: {
            "query": "max(http_requests_total{{where}})",
            "count_query": "increase(http_requests_total{{where}}[{range}])",
        },
        Source.POSTGRESQL: {},
        Source.PLATFORM: {"query": "", "path": "/x", "field": "items", "success_max": 5.0},
        Source.LOAD: {"query": "", "metric": LoadMetric.PROBE_P99_S},
    }
    upgrade.policy = with_gate(upgrade.policy, custom(source=source, **facts[source]))
    bake = gates.bake(upgrade, site, load, percent=10)
    (mine,) = (result for result in bake.results if result.name == "mine")
    assert (mine.result, mine.source) == (PASS, source.value)


def test_a_gate_of_the_policy_decides_too(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    upgrade.policy = with_gate(upgrade.policy, custom())
    site.database.rows = [[9, 1]]
    with pytest.raises(ClauseFailed) as caught:
        gates.bake(upgrade, site, load, percent=10)
    assert caught.value.facts["gates"] == ["mine"]


def test_an_unknown_metric_of_a_policy_is_no_pass(upgrade: Upgrade, site: FakeSite, load: FakeLoad) -> None:
    gate = custom(source=Source.PROMETHEUS, query="evidence_operations_typo", count_query="increase(attestation_typo)")
    upgrade.policy = with_gate(upgrade.policy, gate)
    del site.prometheus.values["evidence_operations"]
    with pytest.raises(CouldNotMeasure) as caught:
        gates.bake(upgrade, site, load, percent=10)
    assert "mine" in caught.value.facts["gates"]
