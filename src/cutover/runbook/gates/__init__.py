"""Gates: whether green may have more traffic.

From the guide's four metrics (3.3), absolute and compared with blue; from what the load generator and the open-loop
probe saw; from the database, the routes and green's pods; and from what the policy adds.
Invariants: only a number over enough samples can be PASS; no data, NaN and a silent source never are; the worst verdict
of a bake stands; every sample is in `gates/samples.jsonl` with its resolved queries, their time and the raw answers,
and a record alone gives every verdict again (`replay`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cutover.errors import ClauseFailed
from cutover.runbook.gates import archive, sampling
from cutover.runbook.gates.baking import Bake, bake, write_markers
from cutover.runbook.gates.definitions import GATES, WORDS, Gate, resolve
from cutover.runbook.gates.judging import judge
from cutover.runbook.gates.results import (
    Asked,
    GateResult,
    GateVerdict,
    Taken,
    assess,
    describe,
    is_decided,
    not_borne,
    require_passed,
    worst,
    worst_of_each,
)
from cutover.runbook.gates.share import Share, begin_to_get_ready, get_ready, interval, share_of
from cutover.runbook.gates.window import Step, Watched, has_failed, over_window, so_far, whole_since

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.runbook.ports import Load, RouteFinding, SitePorts
    from cutover.runbook.upgrade import Upgrade

__all__ = [
    "GATES",
    "WORDS",
    "Asked",
    "Bake",
    "Gate",
    "GateResult",
    "GateVerdict",
    "Share",
    "Step",
    "Taken",
    "Watched",
    "assess",
    "bake",
    "begin_to_get_ready",
    "describe",
    "has_failed",
    "interval",
    "is_decided",
    "judge",
    "look",
    "measure",
    "not_borne",
    "over_window",
    "require_load_agrees",
    "require_passed",
    "resolve",
    "route_topology",
    "sample",
    "share_of",
    "so_far",
    "whole_since",
    "worst",
    "worst_of_each",
    "write_markers",
]


def measure(upgrade: Upgrade, site: SitePorts, name: str) -> GateResult:
    """Sample one of the guide's metrics on green, now (3.3a to 3.3d). Raises KeyError for an unknown name."""
    return _measure(upgrade, site, GATES[name], archive.Archive(upgrade))


def sample(upgrade: Upgrade, site: SitePorts) -> tuple[GateResult, ...]:
    """Sample all four metrics on green, now."""
    kept = archive.Archive(upgrade)
    return tuple(_measure(upgrade, site, gate, kept) for gate in GATES.values())


def look(upgrade: Upgrade, site: SitePorts) -> tuple[GateResult, ...]:
    """Look at all four metrics on green, now, and keep nothing of it: no verdict rests on this."""
    return tuple(_measure(upgrade, site, gate, None) for gate in GATES.values())


def _measure(upgrade: Upgrade, site: SitePorts, gate: Gate, kept: archive.Archive | None) -> GateResult:
    window_s, at = gate.window_s(upgrade.policy), upgrade.clock.now()
    taken = sampling.metric(upgrade, site, gate, percent=None, at=at, window_s=window_s)
    result = judge(upgrade.policy, taken)
    if kept is not None:
        kept.keep(result, taken)
    return result


def route_topology(upgrade: Upgrade, site: SitePorts) -> tuple[RouteFinding, ...]:
    """Lint the routes, write the verdict, and return the findings. Raises: CouldNotMeasure when nobody answers.

    The last thing before a weight is set, so that everything which judges it is made ready, too.
    """
    get_ready()
    findings: tuple[RouteFinding, ...] = ()

    def lint() -> tuple[RouteFinding, ...]:
        nonlocal findings
        findings = site.routing.lint()
        return findings

    at = upgrade.clock.now()
    asked = sampling.routes(upgrade, "what keeps the routes from sending traffic to green", lint, at=at)
    taken = Taken(name="route_topology", percent=None, time=at, asked=(asked,))
    result = judge(upgrade.policy, taken)
    archive.Archive(upgrade).keep(result, taken)
    if asked.error:
        require_passed((result,))
    return findings


def require_load_agrees(upgrade: Upgrade, load: Load, name: str) -> None:
    """Demand that what the load generator measured itself does not contradict a gate.

    It sees the way from the client, which Prometheus does not: failed requests, and the p99 at the public host. For
    the other two it proves that there was work: scans that were accepted.
    Raises: ClauseFailed `load-contradicts`.
    """
    totals = load.totals()
    recent = load.window(upgrade.clock.now() - timedelta(seconds=upgrade.policy.gates.range_s + 1))
    green = upgrade.roles.green.name
    p99_ms, limit_ms = recent.p99_ms.get(green), upgrade.policy.gates.latency_p99.max_s * 1000
    contradictions: Mapping[str, tuple[bool, str]] = {
        "error_ratio": (
            totals.attempted == 0 or totals.failed > upgrade.policy.load.max_failed,
            f"{totals.failed} of {totals.attempted} requests failed",
        ),
        "latency_p99": (
            p99_ms is None or p99_ms > limit_ms,
            f"p99 of {green} at the client: {p99_ms} ms, limit {limit_ms:.0f} ms",
        ),
    }
    contradicts, seen = contradictions.get(name, (totals.scans == 0, f"{totals.scans} scans were accepted"))
    if contradicts:
        raise ClauseFailed(
            f"the load generator contradicts the {GATES[name].title}",
            code="load-contradicts",
            seen=seen,
            guide="3.3",
            do="compare load/requests.jsonl with gates/samples.jsonl in the record",
        )
