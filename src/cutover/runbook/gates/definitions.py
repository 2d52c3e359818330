"""The gates that every run has: the guide's four metrics with their corrected queries, and the words for the others.

The guide's queries are corrected: a quantile over rates summed by bucket (F.5), ratios with a denominator and a
minimum of samples (F.6), each for one colour by its namespace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.runbook.gates.results import GateVerdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cutover.policy import Policy

_LEAST_OPERATIONS = 5.0
"""Below so many operations a rate says nothing, whatever its limit."""
# Probes and scrapes are no users: they would thin out an error ratio and hide a p99.
_USERS = 'route!~"/?(healthz|readyz|livez|metrics)"'
REQUESTS_QUERY = "sum(increase(http_requests_total{{where}," + _USERS + "}[{range}]))"
VS_BLUE = "_vs_blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One metric of the guide: its queries for a colour, and how a value is judged.

    In the queries `{where}` is the colour and `{range}` the window, both resolved when it is sampled.
    """

    name: str
    title: str
    unit: str
    value_query: str
    count_query: str
    limit: Callable[[Policy], float]
    minimum: Callable[[Policy], float]
    """The least count that can decide."""
    within: Callable[[float, float], bool]
    """Whether a value satisfies the limit."""
    is_slow: bool = False
    """Its counters move slowly: it is judged over all of a weight, not over `range_s`."""
    is_rate: bool = False
    """It is a rate of events, which may still come; a ratio that is broken stays broken."""

    @property
    def against_blue(self) -> str:
        """The name of the gate that compares it with blue."""
        return self.name + VS_BLUE

    def window_s(self, policy: Policy) -> float:
        """Return the seconds that a sample looks back."""
        return max(policy.gates.range_s, policy.traffic.bake_s) if self.is_slow else policy.gates.range_s

    def decides(self, value: float, samples: float, policy: Policy) -> bool:
        """Whether a value rests on enough; a rate below its limit does always, for few events are what it finds."""
        return samples >= self.minimum(policy) or (self.is_rate and not self.within(value, self.limit(policy)))


def resolve(query: str, *, namespace: str, window_s: float) -> str:
    """Return a query for one colour and window."""
    return query.replace("{where}", f'namespace="{namespace}"').replace("{range}", _duration(window_s))


def _duration(seconds: float) -> str:
    """Return a PromQL duration: whole milliseconds."""
    milliseconds = max(1, round(seconds * 1000))
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def _at_most(value: float, limit: float) -> bool:
    return value <= limit


def _at_least(value: float, limit: float) -> bool:
    return value >= limit


GATES: Mapping[str, Gate] = {
    gate.name: gate
    for gate in (
        Gate(
            name="error_ratio",
            title="error ratio",
            unit="ratio",
            # A colour without a single 5xx has no such series: that is zero, not "no data".
            value_query=(
                '(sum(rate(http_requests_total{{where},status=~"5..",' + _USERS + "}[{range}])) or vector(0))"
                " / sum(rate(http_requests_total{{where}," + _USERS + "}[{range}]))"
            ),
            count_query=REQUESTS_QUERY,
            limit=lambda policy: policy.gates.error_ratio.max,
            minimum=lambda policy: policy.gates.error_ratio.min_requests,
            within=_at_most,
        ),
        Gate(
            name="latency_p99",
            title="latency p99",
            unit="s",
            value_query=(
                "histogram_quantile(0.99, sum by (le)"
                " (rate(http_request_duration_seconds_bucket{{where}," + _USERS + "}[{range}])))"
            ),
            count_query="sum(increase(http_request_duration_seconds_count{{where}," + _USERS + "}[{range}]))",
            limit=lambda policy: policy.gates.latency_p99.max_s,
            minimum=lambda policy: policy.gates.error_ratio.min_requests,
            within=_at_most,
        ),
        Gate(
            name="evidence_operations",
            title="evidence operations rate",
            unit="1/s",
            # Operations that failed are no sign of a platform that works.
            value_query='sum(rate(evidence_operations_total{{where},result="success"}[{range}]))',
            count_query='sum(increase(evidence_operations_total{{where},result="success"}[{range}]))',
            limit=lambda policy: policy.gates.evidence_operations.min_per_s,
            minimum=lambda _: _LEAST_OPERATIONS,
            within=_at_least,
            is_slow=True,
            is_rate=True,
        ),
        Gate(
            name="attestation_success",
            title="attestation success ratio",
            unit="ratio",
            value_query=(
                "sum(increase(attestation_success_total{{where}}[{range}]))"
                " / sum(increase(attestation_attempts_total{{where}}[{range}]))"
            ),
            count_query="sum(increase(attestation_attempts_total{{where}}[{range}]))",
            limit=lambda policy: policy.gates.attestation_success.min_ratio,
            minimum=lambda policy: policy.gates.attestation_success.min_attempts,
            within=_at_least,
            is_slow=True,
        ),
    )
}
"""The guide's four, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How a gate is called in a record."""

    title: str
    unit: str
    source: str
    held: frozenset[GateVerdict] = frozenset()
    """Verdicts that more data alone could turn into a pass: they wait for the end of the bake."""


_LITTLE = frozenset({GateVerdict.INCONCLUSIVE, GateVerdict.NO_DATA})
_UNDECIDED = frozenset({GateVerdict.INCONCLUSIVE})
_FEW = frozenset({GateVerdict.INCONCLUSIVE, GateVerdict.FAIL})

WORDS: Mapping[str, Words] = {
    "error_ratio": Words(title="error ratio", unit="ratio", source="prometheus"),
    "latency_p99": Words(title="latency p99", unit="s", source="prometheus"),
    "evidence_operations": Words(title="evidence operations rate", unit="1/s", source="prometheus", held=_FEW),
    "attestation_success": Words(title="attestation success ratio", unit="ratio", source="prometheus", held=_UNDECIDED),
    "error_ratio_vs_blue": Words(title="error ratio against blue", unit="ratio", source="prometheus"),
    "latency_p99_vs_blue": Words(title="latency p99 against blue", unit="s", source="prometheus"),
    "evidence_operations_vs_blue": Words(
        title="evidence operations against blue", unit="a request", source="prometheus", held=_FEW
    ),
    "attestation_success_vs_blue": Words(
        title="attestation success against blue", unit="ratio", source="prometheus", held=_UNDECIDED
    ),
    "failed_requests": Words(title="failed requests at the public host", unit="requests", source="load"),
    "load_attempted": Words(title="attempted by planned requests", unit="ratio", source="load", held=_LITTLE),
    "probe_latency": Words(title="p99 of the open-loop probe", unit="s", source="load", held=_LITTLE),
    "served_by": Words(title="share served by green", unit="ratio", source="load", held=_LITTLE),
    "write_markers": Words(title="write markers lost or doubled", unit="markers", source="postgresql", held=_LITTLE),
    "route_topology": Words(title="findings of the route's lint", unit="findings", source="kubernetes"),
    "route_unchanged": Words(title="changes of the route by others", unit="changes", source="kubernetes"),
    "green_ready": Words(title="green's pods that are ready", unit="pods", source="kubernetes"),
}
"""Every gate of `policy.GATE_NAMES`."""
