"""What a record says in words: numbers, times, and the sentences of the first page.

Invariants: every number comes from the record; a sentence never says more than the record does, and "unknown" is a word
it uses; text is plain, escaping is the business of whoever renders it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cutover.clock import parse_rfc3339
from reports.views import PHASES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from reports.views import AttemptView, ClauseView, GateView, Record

BAD = ("FAIL", "ERROR", "INCONCLUSIVE")
RESULT_WORDS = {"PASS": "pass", "FAIL": "fail", "ERROR": "not measurable", "INCONCLUSIVE": "inconclusive"}
VERBS = {"FAIL": "failed", "ERROR": "could not be measured", "INCONCLUSIVE": "was inconclusive"}
_LAST_SECONDS = 5
_NOBODY = "nobody"
"""The colour of a request that no colour answered."""
_MILLISECONDS_BELOW_S = 1.0
_MINUTE_S = 60
_HOUR_S = 3600
NOT_MOVED = "no traffic was moved; "
NARROW = "\N{NARROW NO-BREAK SPACE}"


def count(number: float | None) -> str:
    """Return a whole number with its thousands apart: 118 204."""
    return "unknown" if number is None else f"{int(number):,}".replace(",", "\N{NO-BREAK SPACE}")


def many(number: int, one: str, more: str = "") -> str:
    """Return a number with its noun: 1 request, 2 requests."""
    return f"{count(number)} {one if number == 1 else more or one + 's'}"


def duration(seconds: float | None) -> str:
    """Return a duration for people: 42 ms, 3.1 s, 4 min 05 s, 1 h 02 min."""
    if seconds is None:
        return "unknown"
    if seconds < _MILLISECONDS_BELOW_S:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < _HOUR_S:
        return f"{int(seconds // _MINUTE_S)} min {int(seconds % _MINUTE_S):02d} s"
    return f"{int(seconds // _HOUR_S)} h {int(seconds % _HOUR_S // _MINUTE_S):02d} min"


def clock(time: datetime | None) -> str:
    """Return a time of day in UTC: 04:12:07."""
    return time.strftime("%H:%M:%S") if time is not None else "unknown"


def moment(text: str) -> str:
    """Return an RFC 3339 time for people, to the second; anything else as it is."""
    try:
        return parse_rfc3339(text).strftime("%-d %b %Y, %H:%M:%S UTC")
    except ValueError:
        return text


def capital(text: str) -> str:
    """Return a text that begins with a capital; the rest stays as it is."""
    return text[:1].upper() + text[1:]


def bare(text: str) -> str:
    """Return a text on one line without its full stop: as part of a sentence."""
    return " ".join(text.split()).rstrip(".")


def until(text: object) -> str:
    """Return `until` and a time, or nothing."""
    return f"until {moment(text)}" if isinstance(text, str) and text else ""


def window(observation: Mapping[str, Any]) -> str:
    """Return how long was observed, beside what the guide asks for (5.1)."""
    length_s = observation.get("window_s")
    if not isinstance(length_s, int | float):
        return ""
    text = f"{length_s / 3600:g} hours" if length_s >= 3600 else f"{length_s:g} s"
    return f"a window of {text}" + ("" if length_s >= 72 * 3600 else ", scaled: the guide asks for 72 hours")


def date(day: datetime | None) -> str:
    """Return a day: 23 November 2026."""
    return f"{day.day} {day.strftime('%B %Y')}" if day is not None else "unknown"


def measure(value: float | None, unit: str) -> str:
    """Return a gate's value or limit in the unit people read it in."""
    if value is None:
        return "no data"
    match unit:
        case "ratio":
            return f"{value * 100:.2f}{NARROW}%"
        case "s":
            return f"{value * 1000:.0f}{NARROW}ms"
        case "1/s":
            return f"{value:.1f}{NARROW}/s"
        case _:
            number = count(value) if value.is_integer() else f"{value:.3g}"
            return f"{number} {unit}".rstrip()


def span(record: Record) -> str:
    """Return when the run was: 04:12:07 to 04:31:55 UTC (19 min 48 s)."""
    if record.started is None or record.finished is None:
        return "when it ran is unknown"
    same_day = record.started.date() == record.finished.date()
    end = clock(record.finished) if same_day else f"{date(record.finished)} {clock(record.finished)}"
    return f"{date(record.started)}, {clock(record.started)} to {end} UTC ({duration(record.duration_s)})"


def title(record: Record) -> str:
    """Return the upgrade in a few words."""
    return f"Stella Ops {record.from_release or 'unknown'} → {record.to_release or 'unknown'}"


def phase(name: str) -> str:
    """Return a phase's title."""
    return PHASES.get(name, name or "Other")


def counts(record: Record) -> str:
    """Return how many clauses have which result: 67 clauses: 54 pass, 0 fail, 13 not run."""
    parts = [f"{record.count('PASS')} pass", f"{record.count('FAIL')} fail"]
    parts += [f"{record.count(name)} {RESULT_WORDS[name]}" for name in ("ERROR", "INCONCLUSIVE") if record.count(name)]
    parts.append(f"{record.count('NOT_RUN')} not run")
    return f"{many(len(record.clauses), 'clause')}: {', '.join(parts)}"


def attempts(record: Record) -> list[str]:
    """Return a line for each process that worked on the record; none when there was one alone."""
    return [_attempt(one) for one in record.attempts] if len(record.attempts) > 1 else []


def _attempt(one: AttemptView) -> str:
    end = f"stopped by {one.stopped_by}" if one.stopped_by else one.result
    ending = "broken off" if one.broken_off else end
    parts = [
        f"{one.number}. {one.procedure} by {one.operator or 'unknown'}",
        f"{moment_of(one.started)} to {clock(one.finished)}",
        ending,
        f"{many(one.kept, 'clause')} kept from before" if one.kept else "",
        f"“{one.reason}”" if one.reason else "",
    ]
    return ", ".join(part for part in parts if part)


def moment_of(time: datetime | None) -> str:
    """Return a time for people, to the second: 23 Nov 2026, 04:12:07."""
    return time.strftime("%-d %b %Y, %H:%M:%S") if time is not None else "unknown"


def not_run_reasons(record: Record) -> list[tuple[str, int]]:
    """Return the reasons for which clauses were not run with their numbers, the most frequent first."""
    found: dict[str, int] = {}
    for clause in record.clauses:
        if clause.result == "NOT_RUN":
            reason = clause.reason or "no reason is recorded"
            found[reason] = found.get(reason, 0) + 1
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))


def evidence(record: Record) -> tuple[str, str]:
    """Return the evidence balance, and what was added."""
    balance = record.evidence
    if not balance:
        return "not compared in this run", ""
    sums = balance["unchanged"] + balance["changed"] + balance["missing"] == balance["before"]
    first = (
        f"before {count(balance['before'])} = unchanged {count(balance['unchanged'])}"
        f" + changed {count(balance['changed'])} + missing {count(balance['missing'])}"
    )
    added = f"added {count(balance['added'])}, after {count(balance['after'])}"
    return (first if sums else first.replace(" = ", ": ", 1) + " (the sum does not match)"), added


def traffic(record: Record) -> tuple[str, str]:
    """Return requests at the public host, then by whom, the write markers and the probe."""
    attempted = record.load.get("attempted") or 0
    if not attempted:
        return "no request was sent", ""
    colours = record.load.get("by_colour") or {}
    served = ", ".join(f"{name} {count(number)}" for name, number in sorted(colours.items()))
    first = f"{many(attempted, 'request')}, {count(record.load.get('failed') or 0)} failed"
    return first, " · ".join(part for part in (served, writes(record), probe(record)) if part)


def writes(record: Record) -> str:
    """Return how many writes were acknowledged, and what the comparisons with the table found."""
    known = record.markers
    if known is not None:
        last = f", compared {many(known.compared, 'time')}, last at {clock(known.last)}" if known.last else ""
        return (
            f"{many(known.acknowledged, 'write')} acknowledged: {count(known.missing)} missing, "
            f"{count(known.repeated)} doubled{last}"
        )
    markers = record.load.get("markers_acknowledged")
    written = f"{many(int(markers), 'write')} acknowledged" if markers is not None else ""
    return " · ".join(part for part in (written, _writes_found(record)) if part)


def probe(record: Record) -> str:
    """Return what the open-loop probe saw."""
    if not record.probe.get("planned"):
        return ""
    p99, sent = record.probe.get("p99_ms"), many(int(record.probe["planned"]), "request")
    ending = f", p99 {p99:.0f}{NARROW}ms" if p99 is not None else ""
    return f"probe: {sent} by the clock, {count(record.probe.get('failed', 0))} failed{ending}"


_WRITES_FOUND = "every acknowledged write is there exactly once"


def _writes_found(record: Record) -> str:
    """Return until when acknowledged writes were looked for and found; nothing when they never were, or not all."""
    looked = [line for line in record.events("step") if line.data.get("text") == _WRITES_FOUND]
    if not looked or any(line.data.get("status") != "passed" for line in looked):
        return ""
    return f"all acknowledged by {clock(looked[-1].time)} were found exactly once"


def approved(record: Record) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return who approved, each with time, meaning, what it covers and by what it is known to be theirs."""
    said = record.approval
    if not record.approvals:
        meaning = said.get("meaning", "")
        lines = (moment(said.get("approved_at", "")), f"“{meaning}”" if meaning else "", said.get("signature", ""))
        return ((said.get("approved_by") or "not recorded", tuple(line for line in lines if line)),)
    return tuple(
        (
            one.name,
            (
                moment(one.at),
                f"“{one.meaning}”",
                f"covers {', '.join(one.covers)}" if one.covers else "covers no point of no return",
                f"signed with {one.signed_with}",
            ),
        )
        for one in record.approvals
    )


def undo(record: Record) -> tuple[str, str]:
    """Return what became of the way back, and the points of no return."""
    back = record.rollback
    if back.performed:
        took = f", {duration(back.took_s)}" if back.took_s is not None else ""
        proof = f", proven by {many(back.verified_requests, 'request')}" if back.verified_requests else ", not proven"
        first = f"performed{took}; {serves(back.serves)}{proof if back.serves else ''}"
    else:
        first = "not needed in this run"
    points = []
    for name in record.points_of_no_return:
        clause = record.clause(name)
        reached = clause is not None and clause.started is not None and clause.result != "NOT_RUN"
        when = f"reached {clock(clause.started)}" if clause is not None and reached else "not reached"
        points.append(f"{name} ({when})")
    return first, ("points of no return: " + ", ".join(points)) if points else "no point of no return in the plan"


def serves(name: str) -> str:
    """Return who serves, as a clause of a sentence."""
    match name:
        case "":
            return "who serves is unknown"
        case "nobody":
            return "nobody serves"
        case "mixed":
            return "blue and green serve both"
        case _:
            return f"{name} serves"


def who_serves_now(record: Record) -> str:
    """Return who served at the end, as far as the record knows."""
    if record.rollback.performed:
        return f"{serves(record.rollback.serves)} now"
    last = record.seconds[-_LAST_SECONDS:]
    answered: dict[str, int] = {}
    for second in last:
        for name, number in second.by_colour.items():
            answered[name] = answered.get(name, 0) + number
    failed = sum(second.failed for second in last)
    attempted = sum(second.attempted for second in last)
    total = sum(number for name, number in answered.items() if name != _NOBODY)
    if attempted and failed >= attempted:
        return "nobody answered in the last seconds that were measured"
    if total:
        names = " and ".join(sorted(name for name, number in answered.items() if number and name != _NOBODY))
        also = f", while {many(failed, 'request')} failed" if failed else ""
        return f"{names} served in the last seconds that were measured{also}"
    if not any(weight.percent for weight in record.weights) and record.serving_first:
        return f"{NOT_MOVED}{record.serving_first} served when the run began"
    return "who serves now is not in the record"


def decisive(record: Record) -> ClauseView | None:
    """Return the clause that decided a run which did not pass, the worst and then the first."""
    for result in BAD:
        found = next((clause for clause in record.clauses if clause.result == result), None)
        if found is not None:
            return found
    return None


def serves_all(record: Record, name: str) -> bool:
    """Whether a colour answered every request of the last seconds that were measured."""
    last = record.seconds[-_LAST_SECONDS:]
    served = [{colour for colour, number in second.by_colour.items() if number} for second in last]
    return bool(last) and all(colours <= {name} for colours in served) and any(served)


# -- gates -------------------------------------------------------------------------------------------------------------


def deciding(found: Sequence[GateView]) -> GateView:
    """Return the measurement that decides: the last of the worst."""
    for result in BAD:
        bad = [gate for gate in found if gate.result == result]
        if bad:
            return bad[-1]
    return next((gate for gate in reversed(found) if gate.result != "PASS"), found[-1])
