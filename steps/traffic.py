"""Steps about traffic: weights, who serves, the load, rollback (3.1, 3.2, 3.3, 5.2, R.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when

from cutover.procedures import rollback as going_back
from cutover.procedures import traffic
from cutover.runbook import gates
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from cutover.procedures.traffic import GateHistory
    from cutover.runbook.gates import Bake
    from cutover.runbook.rollback import RollbackReport
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.site.load import LoadRunner

GATES = {
    "error ratio": "error_ratio",
    "latency p99": "latency_p99",
    "evidence operations rate": "evidence_operations",
    "attestation success ratio": "attestation_success",
}


@given("the load runs against the public host")
def load_runs(upgrade: Upgrade, load: LoadRunner) -> None:
    traffic.keep_load_running(upgrade, load)


@given("green is healthy and its route to the public host is sound")
def route_sound(site: Site, upgrade: Upgrade) -> None:
    traffic.require_sound_route(site, upgrade)


@when(
    parsers.parse("the weight is set to {percent:d} percent and baked for the policy's time"),
    target_fixture="bake",
)
def weight_set(site: Site, upgrade: Upgrade, load: LoadRunner, percent: int) -> Bake:
    return traffic.shift_and_bake(site, upgrade, load, percent)


@when("the public route is switched to green and baked for the policy's time", target_fixture="bake")
def route_switched(site: Site, upgrade: Upgrade, load: LoadRunner) -> Bake:
    return traffic.promote_and_bake(site, upgrade, load)


@then(parsers.parse("the share served by green lies within its interval at {percent:d} percent"))
def share_within(upgrade: Upgrade, bake: Bake, percent: int) -> None:
    expect(bake.percent == percent, "another weight was baked", seen=f"{bake.percent} percent", code="wrong-weight")
    traffic.require_share(upgrade, bake)


@then("no request has failed")
def no_request_failed(load: LoadRunner) -> None:
    traffic.require_no_failures(load)


@then("every acknowledged write is there exactly once")
def writes_there(site: Site, upgrade: Upgrade, load: LoadRunner) -> None:
    traffic.require_markers(site, upgrade, load)


@then(parsers.parse("every gate of the policy passes at {percent:d} percent"))
def gates_pass(bake: Bake, percent: int) -> None:
    expect(bake.percent == percent, "another weight was baked", seen=f"{bake.percent} percent", code="wrong-weight")
    traffic.require_gates(bake)


@then("every sampled request is served by green")
def served_by_green(site: Site, upgrade: Upgrade) -> None:
    traffic.require_served_by(site, upgrade.roles.green)


@then("one colour alone stands behind the public route")
def not_split(site: Site) -> None:
    expect(
        not site.routing.is_split(),
        "the other colour still stands behind the public route",
        seen=site.routing.split_by(),
        do="take it away: it may send requests to the other colour",
        code="route-split",
    )


@when(parsers.parse("the {metric} of green is measured"), target_fixture="history")
def metric_measured(site: Site, upgrade: Upgrade, metric: str) -> GateHistory:
    return traffic.measure(site, upgrade, GATES[metric])


@then(parsers.parse("the measurement of the {metric} passes with enough samples"))
def measurement_passes(history: GateHistory, metric: str) -> None:
    expect(
        history.now.name == GATES[metric] and history.samples > 0,
        f"the {metric} was never measured during the cutover",
        seen=f"{history.samples} samples of {history.now.name}",
        code="gate-not-measured",
    )
    gates.require_passed([history.now])


@then(parsers.parse("no sample of the {metric} during the cutover was worse than a pass"))
def history_passes(history: GateHistory, metric: str) -> None:
    expect(
        history.worst == "PASS",
        f"a sample of the {metric} during the cutover was not a pass",
        seen=f"worst {history.worst} of {history.samples} samples",
        do="read gates/samples.jsonl in the record",
        code="gate-history-not-passed",
    )


@then(parsers.parse("the load generator's own measurements do not contradict the {metric}"))
def load_agrees(upgrade: Upgrade, load: LoadRunner, metric: str) -> None:
    gates.require_load_agrees(upgrade, load, GATES[metric])


@when("the traffic is restored to blue", target_fixture="rollback_report")
def traffic_restored(site: Site, upgrade: Upgrade) -> RollbackReport:
    return going_back.go_back(site, upgrade)


@then("every sampled request is served by blue within the policy's bound")
def served_by_blue(site: Site, upgrade: Upgrade, rollback_report: RollbackReport) -> None:
    traffic.require_served_by(site, upgrade.roles.blue)
    expect(
        rollback_report.took_s <= upgrade.policy.limits.rollback_s,
        "the rollback took longer than the policy allows",
        seen=f"{rollback_report.took_s:.1f} s",
        expected=f"{upgrade.policy.limits.rollback_s} s",
        do="look at how long the ingress controller takes to follow a change",
        code="rollback-too-slow",
    )


@then("the public route names blue")
def route_names_blue(site: Site, upgrade: Upgrade) -> None:
    named, wanted = site.routing.primary_backend(), site.routing.service_beside_route(upgrade.roles.blue)
    expect(
        named == wanted,
        "the public route does not name blue",
        seen=named,
        expected=wanted,
        do="patch it by hand, then look for who changes it back",
        code="route-not-blue",
    )
