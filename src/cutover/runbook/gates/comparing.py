"""Green against blue of the same window: exact tests, with a tolerance and an effect size that must be exceeded too.

Green fails only when it is worse significantly, beyond the tolerance, and in its effect. Differences are compared, not
ratios, where blue may be zero: a blue without errors hides none of green's. Too little to test is INCONCLUSIVE. Pure.
Source: H. B. Mann and D. R. Whitney, 1947; for the effect, K. O. McGraw and S. P. Wong, 1992.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.runbook.gates.results import GateVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.policy import Policy

_EARLY = 10
"""Before the last look at a weight a test must be so many times surer: looking often finds differences by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One metric of both colours at one moment, with the line of the samples that holds it."""

    line: int
    green: float
    blue: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a comparison came to."""

    result: GateVerdict
    green: float | None
    blue: float | None
    limit: float
    """The worst value of green that the tolerance allows."""
    samples: int
    reason: str


def _significance(policy: Policy, *, is_last: bool) -> float:
    return policy.gates.compare.significance / (1 if is_last else _EARLY)


def error_ratios(policy: Policy, pairs: Sequence[Pair], *, is_last: bool) -> Compared:
    """Compare error ratios; their mean, for errors come in few of many windows."""
    green, blue = _means(pairs)
    limit = blue + policy.gates.error_ratio.max_increase
    return _compare_pairs(policy, pairs, green=green, blue=blue, limit=limit, is_last=is_last)


def latencies(policy: Policy, pairs: Sequence[Pair], *, is_last: bool) -> Compared:
    """Compare p99s; their median, for one hiccup does not stand for all."""
    green = statistics.median(pair.green for pair in pairs) if pairs else math.nan
    blue = statistics.median(pair.blue for pair in pairs) if pairs else math.nan
    gate = policy.gates.latency_p99
    limit = blue + max(blue * gate.max_increase_ratio, gate.min_increase_s)
    return _compare_pairs(policy, pairs, green=green, blue=blue, limit=limit, is_last=is_last)


def _means(pairs: Sequence[Pair]) -> tuple[float, float]:
    if not pairs:
        return math.nan, math.nan
    return statistics.fmean(pair.green for pair in pairs), statistics.fmean(pair.blue for pair in pairs)


def _compare_pairs(
    policy: Policy, pairs: Sequence[Pair], *, green: float, blue: float, limit: float, is_last: bool
) -> Compared:
    compare, number = policy.gates.compare, len(pairs)
    if number < compare.min_samples:
        return Compared(
            result=GateVerdict.INCONCLUSIVE,
            green=green if pairs else None,
            blue=blue if pairs else None,
            limit=limit if pairs else 0.0,
            samples=number,
            reason=f"{number} pairs of samples, at least {compare.min_samples} are needed",
        )
    p, effect = _mann_whitney([pair.green for pair in pairs], [pair.blue for pair in pairs])
    is_worse = p <= _significance(policy, is_last=is_last) and effect >= compare.min_effect_size and green > limit
    said = f"green {green:.4g}, blue {blue:.4g}, limit {limit:.4g}; p {p:.2g}, effect {effect:.2f}, {number} pairs"
    return Compared(
        result=GateVerdict.FAIL if is_worse else GateVerdict.PASS,
        green=green,
        blue=blue,
        limit=limit,
        samples=number,
        reason=said if is_worse else "",
    )


def _mann_whitney(green: Sequence[float], blue: Sequence[float]) -> tuple[float, float]:
    """Return the one-sided p that green's values are no greater, and the chance that one of green is greater."""
    from scipy.stats import mannwhitneyu  # noqa: PLC0415 (slow to import)

    if len({*green, *blue}) == 1:
        return 1.0, 0.5
    found = mannwhitneyu(green, blue, alternative="greater")
    return float(found.pvalue), float(found.statistic) / (len(green) * len(blue))


def evidence_operations(
    policy: Policy, *, green: float, blue: float, green_requests: float, blue_requests: float, is_last: bool
) -> Compared:
    """Compare operations by each colour's share of the requests: green's part of all is no smaller than its share."""
    from scipy.stats import binomtest  # noqa: PLC0415 (slow to import)

    requests, events = green_requests + blue_requests, round(green) + round(blue)
    share = green_requests / requests if requests > 0 else 0.0
    expected = min(events * share, events * (1 - share))
    each = [count / of if of > 0 else math.nan for count, of in ((green, green_requests), (blue, blue_requests))]
    allowed = 1 - policy.gates.evidence_operations.max_decrease_ratio
    limit = each[1] * allowed
    if expected < policy.gates.compare.min_events or not 0 < share < 1:
        return _too_few(each, limit, events, f"{expected:.0f} operations expected of a colour", policy)
    p = float(binomtest(round(green), events, share, alternative="less").pvalue)
    is_worse = each[0] < limit and p <= _significance(policy, is_last=is_last)
    said = f"green {each[0]:.3g}, blue {each[1]:.3g} a request, limit {limit:.3g}; p {p:.2g}"
    return Compared(
        result=GateVerdict.FAIL if is_worse else GateVerdict.PASS,
        green=each[0],
        blue=each[1],
        limit=limit,
        samples=events,
        reason=said if is_worse else "",
    )


def _too_few(each: Sequence[float], limit: float, events: int, what: str, policy: Policy) -> Compared:
    green, blue = (value if math.isfinite(value) else None for value in each)
    return Compared(
        result=GateVerdict.INCONCLUSIVE,
        green=green,
        blue=blue,
        limit=limit if math.isfinite(limit) else 0.0,
        samples=events,
        reason=f"{what}, at least {policy.gates.compare.min_events} are needed",
    )


def attestation_success(
    policy: Policy, *, green: float, green_attempts: float, blue: float, blue_attempts: float, is_last: bool
) -> Compared:
    """Compare success ratios over attempts, by Fisher's exact test on the counts behind them."""
    from scipy.stats import fisher_exact  # noqa: PLC0415 (slow to import)

    gate, attempts = policy.gates.attestation_success, (round(green_attempts), round(blue_attempts))
    limit = blue - gate.max_decrease
    if min(attempts) < gate.min_attempts:
        reason = f"{attempts[0]} attempts of green, {attempts[1]} of blue, at least {gate.min_attempts} are needed"
        return Compared(
            result=GateVerdict.INCONCLUSIVE, green=green, blue=blue, limit=limit, samples=sum(attempts), reason=reason
        )
    table = [
        [min(n, round(ratio * n)), n - min(n, round(ratio * n))]
        for ratio, n in zip((green, blue), attempts, strict=True)
    ]
    p = float(fisher_exact(table, alternative="less").pvalue)
    is_worse = green < limit and p <= _significance(policy, is_last=is_last)
    said = f"green {green:.4g}, blue {blue:.4g}, limit {limit:.4g}; p {p:.2g}"
    return Compared(
        result=GateVerdict.FAIL if is_worse else GateVerdict.PASS,
        green=green,
        blue=blue,
        limit=limit,
        samples=sum(attempts),
        reason=said if is_worse else "",
    )
