"""What a gate found, and what several findings come to.

Invariants: nothing measured is not a pass; of several verdicts the worst stands, and none that comes later makes it
milder; nothing here asks anybody.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cutover.errors import ClauseFailed, CouldNotMeasure, Undecided

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from cutover.policy import Gates


class GateVerdict(StrEnum):
    """What one sample of a gate came to. Only PASS lets a weight stand."""

    PASS = "PASS"  # noqa: S105  # no password
    INCONCLUSIVE = "INCONCLUSIVE"
    """Measured, and too little or too close to decide."""
    NO_DATA = "NO_DATA"
    """There was an answer, and no number in it; at a clause it counts as ERROR."""
    ERROR = "ERROR"
    """There was no answer, or one that cannot be."""
    FAIL = "FAIL"

    @property
    def severity(self) -> int:
        """0 for PASS to 4 for FAIL."""
        return tuple(GateVerdict).index(self)


_FEW = 4
"""So many gates fit into a line."""
UNMEASURED = frozenset({GateVerdict.NO_DATA, GateVerdict.ERROR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question and its raw answer: what a verdict can be computed from again."""

    role: str
    query: str
    """As it was sent; for a source without a language of its own, what was asked in words."""
    time: datetime
    raw: Any
    """In JSON's types; None when there was no answer."""
    error: str = ""
    """Why there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One sample before it is judged."""

    name: str
    percent: int | None
    """Green's weight; None outside a cutover."""
    time: datetime
    asked: tuple[Asked, ...]
    is_last: bool = True
    """Nothing is looked at after it. Samples before the last must be surer to fail, for there are many of them."""

    def of(self, role: str) -> Asked | None:
        """Return the question of a role, or None."""
        return next((asked for asked in self.asked if asked.role == role), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One verdict of one gate, and what it was made from."""

    name: str
    title: str
    source: str
    """`prometheus`, `load`, `postgresql`, `kubernetes` or `platform`."""
    result: GateVerdict
    value: float | None
    """None when there was no number."""
    blue: float | None
    """The same of blue in the same window; None where it was not asked or did not say."""
    limit: float
    unit: str
    percent: int | None
    """Green's weight; None outside a cutover."""
    samples: int
    """How many requests, attempts, operations, pods or pairs the value is over."""
    reason: str
    query: str
    """The resolved query of the value."""
    time: datetime


# -- algebra -----------------------------------------------------------------------------------------------------------


def worst(results: Iterable[GateVerdict]) -> GateVerdict:
    """Return the worst of the verdicts; NO_DATA when there is none, for nothing measured is not a pass."""
    return max(results, key=lambda result: result.severity, default=GateVerdict.NO_DATA)


def worst_of_each(results: Iterable[GateResult]) -> tuple[GateResult, ...]:
    """Return for each gate its worst sample; of equally bad ones the latest. In the order of first appearance."""
    found: dict[str, GateResult] = {}
    for result in results:
        held = found.get(result.name)
        if held is None or result.result.severity >= held.result.severity:
            found[result.name] = result
    return tuple(found.values())


def assess(results: Sequence[GateResult], limits: Gates) -> tuple[GateResult, ...]:
    """Return what each gate came to over a bake: its worst sample, unless the policy bears so many bad ones.

    `failure_limit` and `inconclusive_limit` count whole samples of gates that are measured anew each time. What was not
    measured is never borne, nor a gate whose samples are all bad.
    """
    return tuple(_assess([result for result in results if result.name == name], limits) for name in _names(results))


def _names(results: Iterable[GateResult]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(result.name for result in results))


def _assess(samples: Sequence[GateResult], limits: Gates) -> GateResult:
    # What looks back on everything since the weight took effect does not come good by being asked again.
    if is_cumulative(samples[0].name, samples[0].source):
        return worst_of_each(samples)[0]
    kept = not_borne([sample.result for sample in samples], limits)
    (decisive,) = worst_of_each(sample for sample in samples if sample.result in kept)
    number = len(samples) - len(kept)
    if decisive.result is GateVerdict.PASS and number:
        return replace(decisive, reason=f"{number} of {len(samples)} samples were bad, which the policy bears")
    return decisive


def not_borne(verdicts: Sequence[GateVerdict], limits: Gates) -> tuple[GateVerdict, ...]:
    """Return the verdicts of a gate without those that the policy bears; without a pass among them it bears none."""
    counts = Counter(verdicts)
    bears = {GateVerdict.FAIL: limits.failure_limit, GateVerdict.INCONCLUSIVE: limits.inconclusive_limit}
    if not counts[GateVerdict.PASS]:
        return tuple(verdicts)
    return tuple(verdict for verdict in verdicts if verdict not in bears or counts[verdict] > bears[verdict])


_CUMULATIVE = frozenset(
    {
        "evidence_operations",
        "attestation_success",
        "error_ratio_vs_blue",
        "latency_p99_vs_blue",
        "evidence_operations_vs_blue",
        "attestation_success_vs_blue",
        "failed_requests",
        "load_attempted",
        "probe_latency",
        "served_by",
        "write_markers",
        "route_topology",
        "route_unchanged",
        "green_ready",
    }
)
"""Gates of which one bad sample is final, whatever the policy bears."""


def is_cumulative(name: str, source: str) -> bool:
    """Whether a gate's samples look back on the whole weight; what the load says, a gate of the policy too, does."""
    return name in _CUMULATIVE or source == "load"


def is_decided(results: Sequence[GateResult]) -> bool:
    """Whether nothing that follows can make it good: a limit was broken, or nothing could be measured."""
    return any(result.result is GateVerdict.FAIL or result.result in UNMEASURED for result in results)


def describe(results: Iterable[GateResult]) -> str:
    """Return gates and values in one line; of many, those that do not pass."""
    found = list(results)
    named = [result for result in found if len(found) <= _FEW or result.result is not GateVerdict.PASS]
    parts = [f"{result.title} {_shown(result)} {result.result}" for result in named]
    if len(named) < len(found):
        parts.insert(0, f"{len(found) - len(named)} gates pass")
    return ", ".join(parts) or "gates wait for a full window"


def _shown(result: GateResult) -> str:
    if result.value is None:
        return "-"
    match result.unit:
        case "ratio":
            return f"{result.value * 100:.2f} %"
        case "s":
            return f"{result.value * 1000:.0f} ms"
        case _:
            return f"{result.value:.3g} {result.unit}"


def require_passed(results: Sequence[GateResult]) -> None:
    """Demand that every gate passed and that there was one; the worst verdict decides.

    Raises: ClauseFailed `gate-failed`, CouldNotMeasure `gate-not-measured`, Undecided `gate-undecided`.
    """
    verdict = worst(result.result for result in results)
    if verdict is GateVerdict.PASS:
        return
    bad = [result for result in results if result.result is not GateVerdict.PASS]
    seen = "\n".join(f"{result.title}: {result.reason or result.result}" for result in bad) or "no gate was measured"
    names = ", ".join(result.title for result in bad if result.result is verdict) or "every gate"
    facts: dict[str, Any] = {"gates": [result.name for result in bad], "queries": [result.query for result in bad]}
    if verdict is GateVerdict.FAIL:
        raise ClauseFailed(
            f"a gate does not hold: {names}",
            code="gate-failed",
            seen=seen,
            guide="3.3",
            do="read the log of green's pods; blue takes the traffic back",
            **facts,
        )
    if verdict is GateVerdict.INCONCLUSIVE:
        raise Undecided(
            f"too few samples to decide: {names}",
            code="gate-undecided",
            seen=seen,
            guide="3.3, deviation F.6",
            do="bake longer, or send more load, by the policy",
            **facts,
        )
    raise CouldNotMeasure(
        f"a gate could not be measured: {names}",
        code="gate-not-measured",
        seen=seen,
        guide="3.3, deviation F.6",
        do="check that what the gate asks runs and knows green: ./cutover gates check; without data no weight is kept",
        **facts,
    )
