"""From a sample to its verdict: the one way, for a run and for its record.

Pure and total: the same policy and the same raw answers give the same verdict; an answer that cannot be what it should
is ERROR, none at all NO_DATA or ERROR, too little INCONCLUSIVE. Nothing but a number over enough is ever a PASS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.policy import LoadMetric, Source
from cutover.runbook.gates import comparing, reading
from cutover.runbook.gates.definitions import GATES, VS_BLUE, WORDS, Words
from cutover.runbook.gates.results import GateResult, GateVerdict
from cutover.runbook.gates.share import share_by_colour

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cutover.policy import CustomGate, Policy
    from cutover.runbook.gates.comparing import Compared, Pair
    from cutover.runbook.gates.definitions import Gate
    from cutover.runbook.gates.reading import Reading
    from cutover.runbook.gates.results import Asked, Taken

_LATE_S = 3.0
"""So far may the load generator's seconds be behind the clock."""
_EARLY_CONFIDENCE = 1000
"""Before the last look at a weight a share must be so many times less likely: many looks find outliers by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a sample came to, before it is put into words."""

    result: GateVerdict
    value: float | None
    limit: float
    samples: float = 0
    reason: str = ""
    blue: float | None = None


def words_of(policy: Policy, name: str) -> Words:
    """Return how a gate is called, one of the policy's own too. Raises KeyError for an unknown name."""
    if name in WORDS:
        return WORDS[name]
    gate = _custom_of(policy, name)
    held = _LITTLE if gate.source is Source.LOAD else frozenset()
    return Words(title=gate.title, unit=gate.unit, source=gate.source.value, held=held)


_LITTLE = frozenset({GateVerdict.INCONCLUSIVE, GateVerdict.NO_DATA})


def judge(policy: Policy, taken: Taken, pairs: Sequence[Pair] = ()) -> GateResult:
    """Return the verdict of a sample. pairs: of the same metric at the same weight, for a comparison with blue.

    Raises KeyError for a name that neither the runbook nor the policy knows.
    """
    words = words_of(policy, taken.name)
    try:
        found = _found(policy, taken, pairs)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, IndexError) as problem:
        found = _Found(
            result=GateVerdict.ERROR,
            value=None,
            limit=0.0,
            reason=f"the answer is not what was asked for: {type(problem).__name__}: {problem}",
        )
    main = next((asked for asked in taken.asked if asked.role in _MAIN), taken.asked[0] if taken.asked else None)
    return GateResult(
        name=taken.name,
        title=words.title,
        source=words.source,
        result=found.result,
        value=found.value,
        blue=found.blue,
        limit=found.limit,
        unit=words.unit,
        percent=taken.percent,
        samples=int(found.samples),
        reason=found.reason,
        query=main.query if main is not None else "",
        time=taken.time,
    )


_MAIN = ("value", "pairs", "rows", "load")


def _found(policy: Policy, taken: Taken, pairs: Sequence[Pair]) -> _Found:
    name = taken.name
    unanswered = next((asked for asked in taken.asked if asked.error and not asked.role.startswith("blue_")), None)
    if name in GATES:
        return _metric(GATES[name], policy, taken)
    if name.endswith(VS_BLUE) and name.removesuffix(VS_BLUE) in GATES:
        return _against_blue(policy, taken, pairs)
    if unanswered is not None:
        return _Found(result=GateVerdict.ERROR, value=None, limit=0.0, reason=unanswered.error)
    if name in _JUDGES:
        return _JUDGES[name](policy, taken)
    return _custom(_custom_of(policy, name), taken)


def _custom_of(policy: Policy, name: str) -> CustomGate:
    found = next((gate for gate in policy.gates.custom if gate.name == name), None)
    if found is None:
        raise KeyError(name)
    return found


def _missing(found: Reading, limit: float, *, samples: float = 0) -> _Found:
    return _Found(result=found.verdict, value=None, limit=limit, samples=samples, reason=found.reason)


# -- the guide's metrics -----------------------------------------------------------------------------------------------


def _metric(gate: Gate, policy: Policy, taken: Taken) -> _Found:
    limit, minimum = gate.limit(policy), gate.minimum(policy)
    value, count = reading.prometheus(taken.of("value")), reading.prometheus(taken.of("count"))
    blue = reading.prometheus(taken.of("blue_value")).number
    few = f"{count.number or 0:.0f} samples, at least {minimum:g} are needed"
    if GateVerdict.ERROR in {value.verdict, count.verdict}:
        found = _missing(value if value.verdict is GateVerdict.ERROR else count, limit)
    elif count.number is None:
        found = _missing(count, limit)
    elif value.number is None:
        # Nothing divided by nothing is no number: there were too few to divide.
        little = count.number < minimum and not value.is_empty
        found = (
            _Found(result=GateVerdict.INCONCLUSIVE, value=None, limit=limit, samples=count.number, reason=few)
            if little
            else _missing(value, limit, samples=count.number)
        )
    elif not gate.decides(value.number, count.number, policy):
        found = _Found(
            result=GateVerdict.INCONCLUSIVE, value=value.number, limit=limit, samples=count.number, reason=few
        )
    elif not gate.within(value.number, limit):
        reason = f"{value.number:.4g} {gate.unit}, limit {limit:g}"
        found = _Found(result=GateVerdict.FAIL, value=value.number, limit=limit, samples=count.number, reason=reason)
    else:
        found = _Found(result=GateVerdict.PASS, value=value.number, limit=limit, samples=count.number)
    found = _over_steps(gate, policy, taken, found)
    return _Found(
        result=found.result,
        value=found.value,
        limit=limit,
        samples=found.samples,
        reason=found.reason,
        blue=blue,
    )


def _over_steps(gate: Gate, policy: Policy, taken: Taken, found: _Found) -> _Found:
    """Let one broken step of a window fail what its totals do not. Steps: milliseconds, value and count."""
    steps = taken.of("steps")
    if steps is None or found.result is GateVerdict.FAIL:
        return found
    limit = gate.limit(policy)
    numbers = [(reading.number_of(value).number, reading.number_of(count).number) for _, value, count in steps.raw]
    measured = [
        value
        for value, count in numbers
        if value is not None and count is not None and gate.decides(value, count, policy)
    ]
    broken = [value for value in measured if not gate.within(value, limit)]
    if not broken:
        return found
    value = min(broken) if gate.within(math.inf, limit) else max(broken)
    reason = f"{len(broken)} of {len(steps.raw)} steps beyond the limit, worst {value:.4g}"
    return _Found(result=GateVerdict.FAIL, value=value, limit=limit, samples=found.samples, reason=reason)


def pair_of(policy: Policy, taken: Taken, line: int) -> Pair | None:
    """Return the pair that a sample of a metric holds; None where a colour had no number over enough."""
    gate = GATES.get(taken.name)
    if gate is None or gate.is_slow:
        return None
    found = [reading.prometheus(taken.of(role)).number for role in ("value", "count", "blue_value", "blue_count")]
    green, samples, blue, blue_samples = found
    if green is None or blue is None or samples is None or blue_samples is None:
        return None
    if min(samples, blue_samples) < gate.minimum(policy):
        return None
    return comparing.Pair(line=line, green=green, blue=blue)


# -- against blue ------------------------------------------------------------------------------------------------------


def _against_blue(policy: Policy, taken: Taken, pairs: Sequence[Pair]) -> _Found:
    match taken.name.removesuffix(VS_BLUE):
        case "error_ratio":
            return _compared(comparing.error_ratios(policy, pairs, is_last=taken.is_last))
        case "latency_p99":
            return _compared(comparing.latencies(policy, pairs, is_last=taken.is_last))
        case "evidence_operations":
            roles = ("green", "blue", "green_requests", "blue_requests")
        case _:
            roles = ("green", "green_attempts", "blue", "blue_attempts")
    readings = {role: reading.prometheus(taken.of(role)) for role in roles}
    numbers = {role: found.number for role, found in readings.items()}
    if roles[1] == "green_attempts":
        # Nothing attempted has no ratio; that is too few, not no data.
        for colour in ("green", "blue"):
            if numbers[colour] is None and numbers[f"{colour}_attempts"] == 0 and not readings[colour].is_empty:
                numbers[colour] = 0.0
    bad = next((found for role, found in readings.items() if numbers[role] is None), None)
    if bad is not None:
        return _missing(bad, 0.0)
    known = {role: number for role, number in numbers.items() if number is not None}
    if roles[1] == "green_attempts":
        return _compared(comparing.attestation_success(policy, **known, is_last=taken.is_last))
    return _compared(comparing.evidence_operations(policy, **known, is_last=taken.is_last))


def _compared(found: Compared) -> _Found:
    return _Found(
        result=found.result,
        value=found.green,
        blue=found.blue,
        limit=found.limit,
        samples=found.samples,
        reason=found.reason,
    )


# -- the load generator and the probe ----------------------------------------------------------------------------------


def _raw(taken: Taken, role: str) -> Any:  # noqa: ANN401 (any JSON)
    asked = taken.of(role)
    if asked is None or asked.raw is None:
        raise KeyError(role)
    return asked.raw


def _failed_requests(policy: Policy, taken: Taken) -> _Found:
    load, probe, limit = _raw(taken, "load"), _raw(taken, "probe"), float(policy.load.max_failed)
    failed = reading.whole(load, "failed") + reading.whole(probe, "failed")
    total = reading.whole(load, "attempted") + reading.whole(probe, "answered") + reading.whole(probe, "failed")
    if failed > limit:
        reason = f"{failed} of {total} requests failed"
        return _Found(result=GateVerdict.FAIL, value=failed, limit=limit, samples=total, reason=reason)
    if not reading.whole(load, "attempted"):
        return _Found(result=GateVerdict.NO_DATA, value=None, limit=limit, reason="no request was sent")
    return _Found(result=GateVerdict.PASS, value=float(failed), limit=limit, samples=total)


def _load_attempted(policy: Policy, taken: Taken) -> _Found:
    load, limit = _raw(taken, "load"), policy.load.min_attempted_ratio
    attempted, planned, seconds = reading.whole(load, "attempted"), float(load["planned"]), float(load["seconds"])
    # A generator that stands still writes no seconds; what it should have sent in them was planned all the same.
    due_s = float(load.get("elapsed_s", 0.0)) - _LATE_S
    if 0 < seconds < due_s:
        planned *= due_s / seconds
    value = attempted / planned if planned > 0 else None
    if load["running"] is not True:
        result, reason = GateVerdict.ERROR, "the load generator has ended"
    elif value is None or not math.isfinite(value) or not attempted:
        result, reason = GateVerdict.NO_DATA, f"{attempted} requests attempted, {planned:.0f} planned"
    elif value < limit:
        result, reason = GateVerdict.INCONCLUSIVE, f"{attempted} of {planned:.0f} planned requests, limit {limit:g}"
    else:
        result, reason = GateVerdict.PASS, ""
    return _Found(result=result, value=value, limit=limit, samples=attempted, reason=reason)


def _probe_latency(policy: Policy, taken: Taken) -> _Found:
    probe, limit, minimum = _raw(taken, "probe"), policy.probe.max_p99_s, policy.probe.min_answers
    answered, p99 = reading.whole(probe, "answered"), reading.number_of(probe["p99_ms"])
    if not answered or p99.number is None:
        return _Found(result=GateVerdict.NO_DATA, value=None, limit=limit, reason=p99.reason or "no answer")
    value = p99.number / 1000
    if answered < minimum:
        result, reason = GateVerdict.INCONCLUSIVE, f"{answered} answers, at least {minimum} are needed"
    elif value > limit:
        result, reason = GateVerdict.FAIL, f"{value:.3f} s from the intended start, limit {limit:g}"
    else:
        result, reason = GateVerdict.PASS, ""
    return _Found(result=result, value=value, limit=limit, samples=answered, reason=reason)


def _served_by(policy: Policy, taken: Taken) -> _Found:
    load, percent = _raw(taken, "load"), taken.percent or 0
    confidence = policy.traffic.confidence
    if not taken.is_last:
        confidence = 1 - (1 - confidence) / _EARLY_CONFIDENCE
    counts = {str(colour): reading.whole(load["by_colour"], colour) for colour in load["by_colour"]}
    share = share_by_colour(counts, str(load["green"]), percent, confidence)
    value = share.green / share.total if share.total else None
    minimum = policy.traffic.min_requests
    if value is None:
        result, reason = GateVerdict.NO_DATA, "no request was answered"
    elif share.total < minimum:
        result, reason = GateVerdict.INCONCLUSIVE, f"{share.total} requests, at least {minimum} are needed"
    elif not share.is_inside:
        result = GateVerdict.FAIL
        reason = f"{share.green} of {share.total} requests, {share.low} to {share.high} are {percent} percent"
    else:
        result, reason = GateVerdict.PASS, ""
    return _Found(result=result, value=value, limit=percent / 100, samples=share.total, reason=reason)


# -- the database ------------------------------------------------------------------------------------------------------


def _write_markers(_policy: Policy, taken: Taken) -> _Found:
    acknowledged = reading.of_ranges(str(_raw(taken, "load")["acknowledged"]))
    present = reading.of_ranges(str(_raw(taken, "database")["present"]))
    missing, repeated = lost_or_doubled(acknowledged, present)
    bad = len(missing) + len(repeated)
    if bad:
        reason = f"{len(missing)} of {len(acknowledged)} missing, {len(repeated)} doubled"
        return _Found(result=GateVerdict.FAIL, value=float(bad), limit=0.0, samples=len(acknowledged), reason=reason)
    if not acknowledged:
        return _Found(result=GateVerdict.NO_DATA, value=None, limit=0.0, reason="no write was acknowledged")
    return _Found(result=GateVerdict.PASS, value=0.0, limit=0.0, samples=len(acknowledged))


def lost_or_doubled(acknowledged: Sequence[int], present: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the acknowledged numbers that are not there, and those that are there, or were acknowledged, twice."""
    wanted, there = set(acknowledged), set(present)
    doubled = {number for numbers in (acknowledged, present) for number in _twice(numbers)}
    return sorted(wanted - there), sorted(doubled)


def _twice(numbers: Sequence[int]) -> set[int]:
    seen: set[int] = set()
    return {number for number in numbers if number in seen or seen.add(number)}  # type: ignore[func-returns-value]


# -- the cluster -------------------------------------------------------------------------------------------------------


def _findings(_policy: Policy, taken: Taken) -> _Found:
    found = list(_raw(taken, "routes"))
    reason = "; ".join(str(finding["message"]) for finding in found)
    result = GateVerdict.FAIL if found else GateVerdict.PASS
    return _Found(result=result, value=float(len(found)), limit=0.0, samples=1, reason=reason)


def _green_ready(_policy: Policy, taken: Taken) -> _Found:
    raw = _raw(taken, "pods")
    pods, gone = list(raw["pods"]), list(raw["gone"])
    if not pods:
        return _Found(result=GateVerdict.ERROR, value=None, limit=0.0, reason="green's Service has no pods")
    problems = [problem for problem in (_pod_problem(pod) for pod in pods) if problem]
    problems += [f"pod {name} is gone" for name in gone]
    ready = sum(not _pod_problem(pod) for pod in pods)
    return _Found(
        result=GateVerdict.FAIL if problems else GateVerdict.PASS,
        value=float(ready),
        limit=float(len(pods) + len(gone)),
        samples=len(pods),
        reason="; ".join(problems),
    )


def _pod_problem(pod: Mapping[str, Any]) -> str:
    """Return what is wrong with one pod of green; empty when it is ready and has not restarted."""
    if pod["status"] != 200:
        return f"pod {pod['name']} is not ready: {pod['said'] or pod['status']}"
    restarts = reading.whole(pod, "restarts") - reading.whole(pod, "restarts_before")
    return f"pod {pod['name']} restarted {restarts} times at this weight" if restarts > 0 else ""


_JUDGES: Mapping[str, Callable[[Policy, Taken], _Found]] = {
    "failed_requests": _failed_requests,
    "load_attempted": _load_attempted,
    "probe_latency": _probe_latency,
    "served_by": _served_by,
    "write_markers": _write_markers,
    "route_topology": _findings,
    "route_unchanged": _findings,
    "green_ready": _green_ready,
}


# -- the policy's own --------------------------------------------------------------------------------------------------


def _custom(gate: CustomGate, taken: Taken) -> _Found:
    match gate.source:
        case Source.PROMETHEUS:
            value, count = reading.prometheus(taken.of("value")), reading.prometheus(taken.of("count"))
        case Source.POSTGRESQL:
            value, count = _row(_raw(taken, "rows"))
        case Source.PLATFORM:
            value, count = _pods(gate, taken.asked)
        case Source.LOAD:
            value, count = _of_load(gate.metric, _raw(taken, "load"), _raw(taken, "probe"))
    limit = gate.success_max if gate.success_max is not None else gate.success_min or 0.0
    for found in (value, count):
        if found.number is None:
            return _missing(found, limit)
    number, samples = value.number or 0.0, count.number or 0.0
    result, reason = _conditions(gate, number)
    if samples < gate.min_samples:
        result, reason = GateVerdict.INCONCLUSIVE, f"{samples:.0f} samples, at least {gate.min_samples} are needed"
    return _Found(result=result, value=number, limit=limit, samples=samples, reason=reason)


def _conditions(gate: CustomGate, value: float) -> tuple[GateVerdict, str]:
    too_much = gate.success_max is not None and value > gate.success_max
    too_little = gate.success_min is not None and value < gate.success_min
    if not too_much and not too_little:
        return GateVerdict.PASS, ""
    above = gate.failure_above if gate.failure_above is not None else gate.success_max
    below = gate.failure_below if gate.failure_below is not None else gate.success_min
    if too_much and above is not None and value > above:
        return GateVerdict.FAIL, f"{value:.4g} {gate.unit}, fails above {above:g}"
    if too_little and below is not None and value < below:
        return GateVerdict.FAIL, f"{value:.4g} {gate.unit}, fails below {below:g}"
    return GateVerdict.INCONCLUSIVE, f"{value:.4g} {gate.unit} is between success and failure"


def _row(rows: Sequence[Sequence[object]]) -> tuple[Reading, Reading]:
    if not rows:
        return reading.number_of(None), reading.number_of(None)
    if len(rows) > 1 or len(rows[0]) != 2:
        wrong = reading.no_answer("one row of a number and a count was expected")
        return wrong, wrong
    return reading.number_of(rows[0][0]), reading.number_of(rows[0][1])


def _pods(gate: CustomGate, asked: Sequence[Asked]) -> tuple[Reading, Reading]:
    """Return the worst value of all pods, and their counts together; a pod without a number is no number at all."""
    pods = [one for one in asked if one.role == "pod"]
    if not pods:
        return reading.no_answer("green's Service has no pods"), reading.number_of(0)
    values = [reading.number_of(reading.field(one.raw["body"], gate.field)) for one in pods]
    refused = next((one for one in pods if one.raw["status"] != 200), None)
    if refused is not None:
        return reading.no_answer(f"pod {refused.raw['pod']} answered {refused.raw['status']}"), reading.number_of(0)
    absent = next((value for value in values if value.number is None), None)
    if absent is not None:
        return absent, reading.number_of(0)
    numbers = [value.number for value in values if value.number is not None]
    counts = (
        [reading.number_of(reading.field(one.raw["body"], gate.count_field)) for one in pods]
        if gate.count_field
        else [reading.number_of(1)] * len(pods)
    )
    missing = next((count for count in counts if count.number is None), None)
    # Of numbers that must be neither too great nor too small, the one that satisfies least.
    order = (GateVerdict.PASS, GateVerdict.INCONCLUSIVE, GateVerdict.FAIL)
    value = max(numbers, key=lambda number: (order.index(_conditions(gate, number)[0]), abs(number)))
    if gate.success_max is None or gate.success_min is None:
        value = max(numbers) if gate.success_max is not None else min(numbers)
    return reading.number_of(value), missing or reading.number_of(sum(count.number or 0 for count in counts))


def _of_load(metric: LoadMetric | None, load: Mapping[str, Any], probe: Mapping[str, Any]) -> tuple[Reading, Reading]:
    """Return a named number of the load generator or the probe, and over how many requests it is."""
    attempted, answered = reading.whole(load, "attempted"), reading.whole(probe, "answered")
    probed = answered + reading.whole(probe, "failed")
    green = load["p99_ms"].get(load["green"])
    match metric:
        case LoadMetric.FAILED | LoadMetric.ATTEMPTED | LoadMetric.SCANS | LoadMetric.WRITES:
            value, count = load[metric.value], attempted
        case LoadMetric.FAILED_RATIO:
            value, count = (load["failed"] / attempted if attempted else None), attempted
        case LoadMetric.ATTEMPTED_RATIO:
            value, count = (attempted / load["planned"] if load["planned"] else None), attempted
        case LoadMetric.REQUESTS_PER_S:
            value, count = (attempted / load["seconds"] if load["seconds"] else None), attempted
        case LoadMetric.GREEN_P99_S:
            value, count = (green / 1000 if green is not None else None), load["by_colour"].get(load["green"], 0)
        case LoadMetric.PROBE_FAILED:
            value, count = probe["failed"], probed
        case LoadMetric.PROBE_P50_S | LoadMetric.PROBE_P99_S | LoadMetric.PROBE_MAX_S:
            found = probe[metric.value.removeprefix("probe_").replace("_s", "_ms")]
            value, count = (found / 1000 if found is not None else None), answered
        case None:
            value, count = None, 0
    return reading.number_of(value), reading.number_of(count)
