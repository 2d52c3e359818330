"""Gates: whether green may have more traffic, from the guide's four metrics (3.3) and what the load generator saw.

The guide's queries are corrected: a quantile over rates summed by bucket (F.5), ratios with a denominator and a
minimum of samples (F.6), each for one colour by its namespace.
Invariants: only a number over enough samples can be PASS; no data, NaN and an unreachable Prometheus are ERROR, too
few samples INCONCLUSIVE; the worst verdict of a bake stands; every sample is in `gates/samples.jsonl` with its
resolved queries, their time and the raw answers, and every step of an observation window in `gates/window.json`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from cutover import model
from cutover.errors import ClauseFailed, CouldNotMeasure, CutoverError, Timeout, Undecided
from cutover.model import Result
from cutover.runbook import diagnosis
from cutover.runbook.journal import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from cutover.policy import Policy
    from cutover.runbook.ports import Answer, Load, LoadTotals, SitePorts
    from cutover.runbook.upgrade import Upgrade

T = TypeVar("T")

ERROR_LIMIT = 4
"""So many questions in a row without an answer make a sample ERROR (`consecutiveErrorLimit`)."""
_RETRY_S = 0.5
_LIVE_BOUND_S = 15.0
_LIVE_LOOK_S = 2.0
"""A weight counts as live when two whole seconds of load have its share."""
_LOAD_GATE = "load_failures"
_LEAST_OPERATIONS = 5.0
"""Below so many operations a rate says nothing, whatever its limit."""
_MOST_STEPS = 5000
"""So many steps at most are asked for at once; Prometheus refuses more than 11,000."""
_WINDOW_FILE = "gates/window.json"
# Probes and scrapes are no users: they would thin out an error ratio and hide a p99.
_USERS = 'route!~"/?(healthz|readyz|livez|metrics)"'


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One verdict of one gate, and what it was made from."""

    name: str
    title: str
    result: Result
    value: float | None
    """None when there was no number."""
    limit: float
    unit: str
    query: str
    """The resolved query of the value; for a count of the load generator, what was counted."""
    percent: int | None
    """Green's weight; None outside a cutover."""
    samples: int
    """How many requests, attempts or operations the value is over."""
    reason: str
    time: datetime


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
    """Its counters move slowly: it is judged over the length of a bake, not over `range_s`."""
    is_rate: bool = False
    """It is a rate of events, which may still come; a ratio that is broken stays broken."""

    def window_s(self, policy: Policy) -> float:
        """Return the seconds that a sample looks back."""
        return max(policy.gates.range_s, policy.traffic.bake_s) if self.is_slow else policy.gates.range_s

    def decides(self, value: float, samples: float, policy: Policy) -> bool:
        """Whether a value rests on enough; a rate below its limit does always, for few events are what it finds."""
        return samples >= self.minimum(policy) or (self.is_rate and not self.within(value, self.limit(policy)))

    def may_change(self, result: Result) -> bool:
        """Whether more data alone could turn this verdict into a pass."""
        return result is not Result.PASS and (self.is_rate or result is not Result.FAIL)

    def resolve(self, query: str, *, namespace: str, window_s: float) -> str:
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
            count_query="sum(increase(http_requests_total{{where}," + _USERS + "}[{range}]))",
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


# -- one sample --------------------------------------------------------------------------------------------------------


def judge(
    gate: Gate, policy: Policy, *, value: Answer, count: Answer, percent: int | None, time: datetime
) -> GateResult:
    """Return the verdict over two answers of Prometheus; pure, so that a record can be judged again."""
    limit, minimum = gate.limit(policy), gate.minimum(policy)
    number, samples = _number(value), _number(count)
    result, reason = Result.PASS, ""
    if len(value.samples) > 1 or len(count.samples) > 1:
        result, reason = Result.ERROR, "more than one series where one was expected"
    elif samples is None or number is None:
        absent = "no data" if not value.samples or not count.samples else "not a number"
        result, reason = Result.ERROR, absent
        if samples is not None and samples < minimum and value.samples:
            result, reason = Result.INCONCLUSIVE, f"{samples:.0f} samples, at least {minimum:g} are needed"
    elif not gate.decides(number, samples, policy):
        result, reason = Result.INCONCLUSIVE, f"{samples:.0f} samples, at least {minimum:g} are needed"
    elif not gate.within(number, limit):
        result, reason = Result.FAIL, f"{number:.4g} {gate.unit}, limit {limit:g}"
    return GateResult(
        name=gate.name,
        title=gate.title,
        result=result,
        value=number,
        limit=limit,
        unit=gate.unit,
        query=value.query,
        percent=percent,
        samples=int(samples) if samples is not None else 0,
        reason=reason,
        time=time,
    )


def _number(answer: Answer) -> float | None:
    """Return the one finite number of an answer, or None."""
    if len(answer.samples) != 1 or not math.isfinite(answer.samples[0].value):
        return None
    return answer.samples[0].value


def _ask(upgrade: Upgrade, question: Callable[[], T]) -> T:
    """Ask, and ask again when there is no answer, up to the limit of consecutive errors. Raises: CouldNotMeasure."""
    try:
        return upgrade.wait_for(
            "Prometheus to answer",
            question,
            until=lambda _: True,
            bound_s=(ERROR_LIMIT - 1) * _RETRY_S,
            interval_s=_RETRY_S,
            tolerate=(CouldNotMeasure,),
            describe=lambda _: "an answer",
        )
    except Timeout as error:
        if isinstance(error.__cause__, CouldNotMeasure):
            raise error.__cause__ from None
        raise


def _look(
    upgrade: Upgrade, site: SitePorts, gate: Gate, *, percent: int | None, window_s: float, at: datetime
) -> tuple[GateResult, dict[str, str], dict[str, Answer]]:
    """Sample one gate on green; return its verdict, the resolved queries and the answers, by role."""
    namespace = upgrade.roles.green.namespace
    queries = {
        "value": gate.resolve(gate.value_query, namespace=namespace, window_s=window_s),
        "count": gate.resolve(gate.count_query, namespace=namespace, window_s=window_s),
    }
    answers: dict[str, Answer] = {}
    try:
        for role, query in queries.items():
            answers[role] = _ask(upgrade, lambda query=query: site.prometheus.query(query, at=at))  # type: ignore[misc]
    except CouldNotMeasure as error:
        return _unanswered(gate, upgrade.policy, queries["value"], error, percent=percent, time=at), queries, answers
    value, count = answers["value"], answers["count"]
    return judge(gate, upgrade.policy, value=value, count=count, percent=percent, time=at), queries, answers


def _measure(
    upgrade: Upgrade,
    site: SitePorts,
    gate: Gate,
    *,
    percent: int | None,
    window_s: float | None = None,
    at: datetime | None = None,
) -> GateResult:
    """Sample one gate on green, archive it, write it to the journal, and return its verdict."""
    result, queries, answers = _look(
        upgrade,
        site,
        gate,
        percent=percent,
        window_s=gate.window_s(upgrade.policy) if window_s is None else window_s,
        at=at or upgrade.clock.now(),
    )
    _keep(upgrade, result, queries=queries, answers=answers)
    return result


def _measure_slow(upgrade: Upgrade, site: SitePorts, gate: Gate, *, percent: int, effective: datetime) -> GateResult:
    """Sample a gate whose counters move slowly over everything since a weight took effect.

    While more data can still change the verdict it waits for it, at most twice the bake time: at a small weight green
    may simply not have had its share of the work. What decides is one sample, over the whole time.
    """

    def look() -> tuple[GateResult, dict[str, str], dict[str, Answer]]:
        now = upgrade.clock.now()
        window_s = max(gate.window_s(upgrade.policy), (now - effective).total_seconds())
        return _look(upgrade, site, gate, percent=percent, window_s=window_s, at=now)

    try:
        result, queries, answers = upgrade.wait_for(
            f"enough data for the {gate.title}",
            look,
            until=lambda seen: not gate.may_change(seen[0].result),
            bound_s=2 * upgrade.policy.traffic.bake_s,
            interval_s=upgrade.policy.traffic.interval_s / 2,
            describe=lambda seen: describe((seen[0],)),
        )
    except Timeout:
        result, queries, answers = look()
    _keep(upgrade, result, queries=queries, answers=answers)
    return result


def _unanswered(
    gate: Gate, policy: Policy, query: str, error: CouldNotMeasure, *, percent: int | None, time: datetime
) -> GateResult:
    return GateResult(
        name=gate.name,
        title=gate.title,
        result=Result.ERROR,
        value=None,
        limit=gate.limit(policy),
        unit=gate.unit,
        query=query,
        percent=percent,
        samples=0,
        reason=f"{error.code}: {error.message} ({error.seen})",
        time=time,
    )


def _keep(upgrade: Upgrade, result: GateResult, *, queries: Mapping[str, str], answers: Mapping[str, Answer]) -> None:
    """Write a sample to gates/samples.jsonl and its verdict to the journal."""
    line = {
        **plain(result),
        "asked": [
            {"role": role, "query": query, "raw": answers[role].raw if role in answers else None}
            for role, query in queries.items()
        ],
    }
    with upgrade.path("gates", "samples.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    _note(upgrade, result)


def _note(upgrade: Upgrade, result: GateResult) -> None:
    """Write a verdict to the journal."""
    upgrade.journal.write("gate", **{key: value for key, value in plain(result).items() if key != "time"})


def measure(upgrade: Upgrade, site: SitePorts, name: str) -> GateResult:
    """Sample one of the guide's metrics on green, now (3.3a to 3.3d). Raises KeyError for an unknown name."""
    return _measure(upgrade, site, GATES[name], percent=None)


def sample(upgrade: Upgrade, site: SitePorts, *, percent: int | None = None) -> tuple[GateResult, ...]:
    """Sample all four metrics on green, now."""
    return tuple(_measure(upgrade, site, gate, percent=percent) for gate in GATES.values())


def evaluate(upgrade: Upgrade, site: SitePorts, *, percent: int, elapsed_s: float) -> tuple[GateResult, ...]:
    """Sample the fast metrics whose window holds nothing but data at this weight, `elapsed_s` after its effect."""
    due = [gate for gate in GATES.values() if not gate.is_slow and elapsed_s >= gate.window_s(upgrade.policy)]
    return tuple(_measure(upgrade, site, gate, percent=percent) for gate in due)


def load_gate(upgrade: Upgrade, load: Load, *, percent: int | None) -> GateResult:
    """Judge the load generator's own count: no failed request, and it still sends."""
    totals, running = load.totals(), load.running()
    limit = float(upgrade.policy.load.max_failed)
    result, reason = Result.PASS, ""
    if totals.failed > limit:
        result, reason = Result.FAIL, f"{totals.failed} of {totals.attempted} requests failed"
    elif not running:
        result, reason = Result.ERROR, "the load generator has ended"
    elif totals.attempted == 0:
        result, reason = Result.ERROR, "no data"
    verdict = GateResult(
        name=_LOAD_GATE,
        title="failed requests at the public host",
        result=result,
        value=float(totals.failed),
        limit=limit,
        unit="requests",
        query="failed requests that the load generator counted since it began",
        percent=percent,
        samples=totals.attempted,
        reason=reason,
        time=upgrade.clock.now(),
    )
    _keep(upgrade, verdict, queries={}, answers={})
    return verdict


# -- verdicts ----------------------------------------------------------------------------------------------------------


def worst(results: Iterable[Result]) -> Result:
    """Return the worst of the results; NOT_RUN when there is none, for nothing measured is not a pass."""
    found = list(results)
    return model.worst(found) if found else Result.NOT_RUN


def worst_of_each(results: Iterable[GateResult]) -> tuple[GateResult, ...]:
    """Return for each gate its worst sample; of equally bad ones the latest. In the order of first appearance."""
    found: dict[str, GateResult] = {}
    for result in results:
        held = found.get(result.name)
        if held is None or result.result.severity >= held.result.severity:
            found[result.name] = result
    return tuple(found.values())


def describe(results: Iterable[GateResult]) -> str:
    """Return gates and values in one line."""
    parts = [f"{result.title} {_shown(result)} {result.result}" for result in results]
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
    if verdict is Result.PASS:
        return
    bad = [result for result in results if result.result is not Result.PASS]
    seen = "\n".join(f"{result.title}: {result.reason or result.result}" for result in bad) or "no gate was measured"
    names = ", ".join(result.title for result in bad if result.result is verdict) or "every gate"
    facts: dict[str, Any] = {"gates": [result.name for result in bad], "queries": [result.query for result in bad]}
    if verdict is Result.FAIL:
        raise ClauseFailed(
            f"a gate does not hold: {names}",
            code="gate-failed",
            seen=seen,
            guide="3.3",
            do="read the log of green's pods; blue takes the traffic back",
            **facts,
        )
    if verdict is Result.INCONCLUSIVE:
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
        do="check that Prometheus runs and scrapes green; without data no weight is kept",
        **facts,
    )


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


# -- share -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of a number of requests green answered, and between which counts a weight can put that."""

    percent: int
    green: int
    total: int
    low: int
    high: int

    @property
    def is_inside(self) -> bool:
        """Whether the count can be what the weight means."""
        return self.total > 0 and self.low <= self.green <= self.high


def interval(total: int, percent: int, confidence: float) -> tuple[int, int]:
    """Return the central interval of the binomial distribution that holds green's count with this confidence.

    Exact, not approximated: total trials, each green with probability percent / 100.
    """
    from scipy.stats import binom  # noqa: PLC0415 (slow to import)

    if total == 0:
        return 0, 0
    low, high = binom.interval(confidence, total, percent / 100)
    # For probabilities 0 and 1 scipy gives -1 as the lower end of nothing; a count is never below zero.
    return max(0, int(low)), min(total, int(high))


def share_of(totals: LoadTotals, green: str, percent: int, confidence: float) -> Share:
    """Return green's share of what the load generator saw, with the interval of the weight.

    Requests that nobody answered are no colour's and are left out: they are failures, and the load's gate counts
    them.
    """
    answered = {colour: count for colour, count in totals.by_colour.items() if colour != "nobody"}
    total = sum(answered.values())
    low, high = interval(total, percent, confidence)
    return Share(percent=percent, green=answered.get(green, 0), total=total, low=low, high=high)


# -- a bake ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Bake:
    """A weight that was watched for the policy's time."""

    percent: int
    results: tuple[GateResult, ...]
    """The worst sample of each gate."""
    share: Share
    effective: datetime
    """From when on the load showed the weight."""
    samples: int


def bake(upgrade: Upgrade, site: SitePorts, load: Load, *, percent: int) -> Bake:
    """Watch a weight that was just set for the policy's bake time, and return what was seen.

    Starts when the load shows the weight, so that no window holds data of the weight before. Every interval the
    load's count and each fast gate whose window is full are sampled; the slow gates at the end, over the whole bake.
    A FAIL, or no answer from Prometheus, ends it at once.
    Raises: as `require_passed`, with the diagnosis of green, when it was ended early.
    """
    policy, green = upgrade.policy, upgrade.roles.green
    effective = _wait_until_live(upgrade, load, percent)
    seen: list[GateResult] = []

    def look() -> tuple[GateResult, ...]:
        elapsed_s = (upgrade.clock.now() - effective).total_seconds()
        counted = load_gate(upgrade, load, percent=percent)
        results = (counted, *evaluate(upgrade, site, percent=percent, elapsed_s=elapsed_s))
        seen.extend(results)
        current = share_of(load.window(effective), green.name, percent, policy.traffic.confidence)
        upgrade.journal.announce("share", **_share_facts(current))
        return results

    upgrade.hold(
        f"{percent} percent to bake",
        look,
        duration_s=max(policy.traffic.bake_s, policy.gates.range_s),
        interval_s=policy.traffic.interval_s,
        describe=describe,
        stop=is_decided,
    )
    for gate in GATES.values():
        if gate.is_slow and not is_decided(seen):
            seen.append(_measure_slow(upgrade, site, gate, percent=percent, effective=effective))
    results = worst_of_each(seen)
    if is_decided(results):
        _raise_diagnosed(upgrade, site, results)
    share = share_of(load.window(effective), green.name, percent, policy.traffic.confidence)
    upgrade.journal.write("share", **_share_facts(share))
    return Bake(percent=percent, results=results, share=share, effective=effective, samples=len(seen))


def is_decided(results: Sequence[GateResult]) -> bool:
    """Whether nothing that follows can make it good: a limit was broken, or Prometheus is gone."""
    return any(result.result in {Result.FAIL, Result.ERROR} for result in results)


def _raise_diagnosed(upgrade: Upgrade, site: SitePorts, results: Sequence[GateResult]) -> None:
    try:
        require_passed(results)
    except CutoverError as error:
        diagnosis.explain(site, upgrade.roles.green, error)
        raise


def _share_facts(share: Share) -> dict[str, Any]:
    total = share.total or 1
    return {
        "percent": share.percent,
        "green": share.green,
        "total": share.total,
        "low": round(share.low / total, 6),
        "high": round(share.high / total, 6),
    }


def _wait_until_live(upgrade: Upgrade, load: Load, percent: int) -> datetime:
    """Wait until the load shows the weight, and return the time from which on it did.

    A controller needs a moment to follow. When the share does not come in time the bake starts all the same: it is
    then judged over the whole window, and fails by that.
    """
    green, confidence = upgrade.roles.green.name, upgrade.policy.traffic.confidence
    started = upgrade.clock.now()

    def recent() -> Share:
        since = max(started, upgrade.clock.now() - timedelta(seconds=_LIVE_LOOK_S + 1))
        return share_of(load.window(since), green, percent, confidence)

    try:
        upgrade.wait_for(
            f"{percent} percent to take effect",
            recent,
            until=lambda share: share.is_inside and load.window(started).seconds >= _LIVE_LOOK_S,
            bound_s=_LIVE_BOUND_S,
            interval_s=0.25,
            describe=lambda share: f"{share.green} of {share.total} requests",
            code="weight-not-live",
        )
    except Timeout as error:
        upgrade.journal.write("observation", what="weight not live", percent=percent, seen=error.seen)
    return upgrade.clock.now()


# -- a window that was watched -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What Prometheus knows of one gate at one moment of a window; None where it has no finite number."""

    time: datetime
    value: float | None
    count: float | None
    is_measured: bool
    """The value is a number and rests on enough samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One gate over a whole window: its verdict and every step that it rests on."""

    name: str
    title: str
    verdict: GateResult
    """Over the window's totals and over each step: the worse of them."""
    queries: Mapping[str, str]
    """The resolved range queries, by role."""
    range_s: float
    """What each step looks back on."""
    steps: tuple[Step, ...]
    longest_gap_s: float
    """The longest time between two measured steps; the whole window when there is none."""
    allowed_gap_s: float
    """For a fast gate one step: each must be measured. A slow one may miss a step that its range spans."""

    @property
    def is_whole(self) -> bool:
        """Whether the window has no gap for this gate."""
        return self.longest_gap_s <= self.allowed_gap_s


def over_window(upgrade: Upgrade, site: SitePorts, *, began: datetime, ended: datetime) -> tuple[Watched, ...]:
    """Judge green over a whole window, afterwards, by range queries: each gate at each interval of it (5.1, F.14).

    Nothing but finite numbers that Prometheus had at the time count, so that a time without scrapes is a gap. The
    queries, steps and gaps of each gate are written to `gates/window.json`.
    Raises: CouldNotMeasure when Prometheus does not answer.
    """
    step_s = upgrade.policy.observation.interval_s
    watched = tuple(_watch(upgrade, site, gate, began=began, ended=ended, step_s=step_s) for gate in GATES.values())
    document = {"began": began, "ended": ended, "step_s": step_s, "gates": watched}
    text = json.dumps(plain(document), ensure_ascii=False, indent=1)
    upgrade.path(*_WINDOW_FILE.split("/")).write_text(text + "\n", encoding="utf-8")
    upgrade.journal.write(
        "observation",
        what="window",
        file=_WINDOW_FILE,
        steps={item.name: len(item.steps) for item in watched},
        measured={item.name: sum(step.is_measured for step in item.steps) for item in watched},
        longest_gap_s={item.name: item.longest_gap_s for item in watched},
    )
    return watched


def _watch(
    upgrade: Upgrade, site: SitePorts, gate: Gate, *, began: datetime, ended: datetime, step_s: float
) -> Watched:
    length_s = max(0.001, (ended - began).total_seconds())
    # A range shorter than a step would leave time between the steps that nothing looks at; a range longer than the
    # window would reach back before it.
    range_s = min(max(gate.window_s(upgrade.policy), step_s), length_s)
    queries = {
        role: gate.resolve(query, namespace=upgrade.roles.green.namespace, window_s=range_s)
        for role, query in (("value", gate.value_query), ("count", gate.count_query))
    }
    moments = _moments(began + timedelta(seconds=range_s), ended, step_s)
    found = {role: _range(upgrade, site, query, moments, step_s) for role, query in queries.items()}
    steps = tuple(
        _step(gate, upgrade.policy, moment, found["value"].get(_milliseconds(moment)), found["count"])
        for moment in moments
    )
    verdict = _measure(upgrade, site, gate, percent=None, window_s=length_s, at=ended)
    measured = [step.value for step in steps if step.is_measured and step.value is not None]
    broken = [value for value in measured if not gate.within(value, verdict.limit)]
    if broken and verdict.result.severity < Result.FAIL.severity:
        value = min(broken) if gate.within(math.inf, verdict.limit) else max(broken)
        reason = f"{len(broken)} of {len(steps)} steps of {step_s:g} s beyond the limit, worst {value:.4g}"
        verdict = replace(verdict, result=Result.FAIL, value=value, query=queries["value"], reason=reason)
        _note(upgrade, verdict)
    return Watched(
        name=gate.name,
        title=gate.title,
        verdict=verdict,
        queries=queries,
        range_s=range_s,
        steps=steps,
        longest_gap_s=_longest_gap_s(steps, began=began, ended=ended, first_s=step_s),
        allowed_gap_s=max(range_s, step_s) if gate.is_slow else step_s,
    )


def _longest_gap_s(steps: Sequence[Step], *, began: datetime, ended: datetime, first_s: float) -> float:
    """Return the longest time in seconds between measured steps.

    first_s: before the first step, which looks back to the window's beginning, so long a time counts as a gap.
    """
    measured = [step.time for step in steps if step.is_measured]
    if not measured:
        return round((ended - began).total_seconds(), 3)
    moments = [steps[0].time - timedelta(seconds=first_s), *measured, ended]
    return round(max((later - earlier).total_seconds() for earlier, later in pairwise(moments)), 3)


def _step(gate: Gate, policy: Policy, moment: datetime, value: float | None, counts: Mapping[int, float]) -> Step:
    count = counts.get(_milliseconds(moment))
    number = value if value is not None and math.isfinite(value) else None
    samples = count if count is not None and math.isfinite(count) else None
    measured = number is not None and samples is not None and gate.decides(number, samples, policy)
    return Step(time=moment, value=number, count=samples, is_measured=measured)


def _moments(first: datetime, ended: datetime, step_s: float) -> list[datetime]:
    """Return every step from the first on, and the end, where no step falls on it; whole milliseconds, as asked."""
    first, ended = _whole(first + timedelta(microseconds=999)), _whole(ended)
    steps = max(0, math.floor((ended - first).total_seconds() / step_s + 1e-6))
    found = [first + timedelta(seconds=step_s * number) for number in range(steps + 1)]
    return found if found[-1] >= ended else [*found, ended]


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _range(
    upgrade: Upgrade, site: SitePorts, query: str, moments: Sequence[datetime], step_s: float
) -> dict[int, float]:
    """Return a query's value at each step, by its time in milliseconds; a step without an answer is absent.

    Only a single series has one value at a step: of two, which would have to be chosen from, none is taken.
    Raises: CouldNotMeasure.
    """
    # The last moment need not lie on the grid of the others, so it is asked for by itself.
    grid = moments[:-1]
    parts = [grid[at : at + _MOST_STEPS] for at in range(0, len(grid), _MOST_STEPS)]
    found: dict[int, list[float]] = {}
    for part in (*parts, moments[-1:]):
        start, end = part[0], part[-1]
        series = _ask(
            upgrade,
            lambda start=start, end=end: site.prometheus.query_range(query, start=start, end=end, step_s=step_s),  # type: ignore[misc]
        )
        for sample in (sample for entry in series for sample in entry.samples):
            found.setdefault(_milliseconds(sample.time), []).append(sample.value)
    return {moment: values[0] for moment, values in found.items() if len(values) == 1}


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
