"""What the journal proves of the traffic: shares, gates, decisions, write markers, load and probe.

Pure and total: lines of an older run, or of one that was cut short, give what they hold. Invariants: nothing is judged
milder than a line says it; a verdict that is none of the known ones counts as ERROR.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from cutover.clock import parse_rfc3339, rfc3339
from cutover.model import Result, worst
from cutover.runbook.attempts import RESUMED
from cutover.runbook.gates.results import is_cumulative

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

ADVANCE, ROLLBACK = "advance", "rollback"
PROBE_KEYS = ("planned", "answered", "failed", "p50_ms", "p99_ms", "max_ms")
_OBSERVATION = "5.1"
_ROUNDED = 1e-6
"""An interval's ends are written down as shares with six digits."""


class Told(Protocol):
    """A line of the journal, as whoever reads it holds it."""

    @property
    def seq(self) -> int:
        """Its number."""
        ...

    @property
    def time(self) -> datetime:
        """When it was written."""
        ...

    @property
    def event(self) -> str:
        """What it tells of."""
        ...

    @property
    def clause(self) -> str | None:
        """The clause that it belongs to; None or empty for none."""
        ...

    @property
    def data(self) -> Mapping[str, Any]:
        """Its facts."""
        ...


def document(entries: Sequence[Told]) -> dict[str, Any]:
    """Return verdict.json's `traffic`: what was measured of the cutover, by weight and as a whole."""
    return {
        "shares": [_share(entry) for entry in entries if entry.event == "share"],
        "gates": _gates(entries),
        "decisions": [_decision(entry) for entry in entries if entry.event == "gate_decision"],
        "rollback": _rollback(entries),
        "markers": _markers(entries),
        "load": _load(entries),
        "probe": _probe(entries),
    }


def contradictions(entries: Sequence[Told], *, rolled_back: bool) -> list[str]:
    """Return what speaks against passing, whatever the scenarios said."""
    found = []
    for entry in entries:
        data = entry.data
        if entry.event == "markers":
            found += [
                f"{number} acknowledged writes were found {words}"
                for number, words in ((_size(data.get("missing")), "missing"), (_size(data.get("repeated")), "doubled"))
                if number
            ]
        if rolled_back:
            continue
        if entry.event == "share" and not _share(entry)["inside"]:
            found.append(f"the share of green at {data.get('percent')} % is outside of its interval")
        if entry.event == "gate_decision" and data.get("decision") == ROLLBACK:
            found.append(f"{data.get('gate')} decided to go back at {data.get('percent')} %, and that was not done")
    return found if rolled_back else [*found, *_undecided(entries), *_failed_at_probe(entries)]


def _undecided(entries: Sequence[Told]) -> list[str]:
    """Return the weights that nobody decided to keep: each needs a bake that advanced before the next one is set."""
    found: list[str] = []
    waiting: object = None
    for entry in entries:
        if entry.event == "weight" and (_number(entry.data.get("percent")) or 0) > 0:
            if waiting is not None and waiting != entry.data.get("percent"):
                found.append(f"no gate decided to advance at {waiting} %")
            waiting = entry.data.get("percent")
        elif entry.event == "gate_decision" and entry.data.get("decision") == ADVANCE:
            waiting = None if entry.data.get("percent") == waiting else waiting
    return found if waiting is None else [*found, f"no gate decided to advance at {waiting} %"]


def cut_short(entries: Sequence[Told]) -> list[str]:
    """Return that a load generator did not end in order, or lost a worker: what it did not report was not measured.

    Of an attempt that was stopped, or killed, nobody expects that its load ended in order; what it wrote is counted.
    """
    found, was_stopped = [], False
    for entry in entries:
        if entry.event == RESUMED:
            was_stopped = False
        elif entry.event == "run_interrupted":
            was_stopped = True
        elif entry.event == "load_finished":
            lost = entry.data.get("workers_lost") or ()
            if entry.data.get("complete") is False and not was_stopped:
                found.append("the load generator did not write its own summary")
            if lost:
                found.append(f"the load lost {_size(lost)} of its workers")
    return found


def _failed_at_probe(entries: Sequence[Told]) -> list[str]:
    """Return that more requests have failed than the run bears, by the load generator and the probe together."""
    head = next((entry.data for entry in entries if entry.event == "run_started"), {})
    failed = _size((_probe(entries) or {}).get("failed"))
    together = failed + _size((_load(entries) or {}).get("failed"))
    if not failed or together <= _size(head.get("max_failed")):
        return []
    return [f"{failed} requests of the open-loop probe failed at the public host"]


def verdict_of(entry: Told) -> Result:
    """Return a gate line's verdict; no data, and a word that is no verdict, is ERROR."""
    try:
        result = Result(str(entry.data.get("result")))
    except ValueError:
        return Result.ERROR
    return Result.ERROR if result is Result.NOT_RUN else result


def bad_gates(entries: Sequence[Told]) -> list[tuple[Result, str]]:
    """Return each gate's worst verdict that is no PASS, with its sentence; the worst gate first.

    What the run's policy bears is left out: `run_started` names how many bad samples of a bake that is.
    """
    bears = _borne(entries)
    found: dict[str, tuple[Result, str]] = {}
    for (name, _, percent), lines in _by_gate(entries).items():
        counts = Counter(verdict_of(line) for line in lines)
        is_final = is_cumulative(name, str(lines[-1].data.get("source") or ""))
        bearable = not is_final and counts[Result.PASS] > 0
        for line in lines:
            result = verdict_of(line)
            if result is Result.INCONCLUSIVE and line.clause == _OBSERVATION and counts[Result.PASS]:
                continue  # a live sample over too few requests: the window itself decides
            if result is Result.PASS or (bearable and counts[result] <= bears.get(result, 0)):
                continue
            if name not in found or result.severity > found[name][0].severity:
                at = f" at {percent} %" if percent is not None else ""
                why = line.data.get("reason") or "no reason is given"
                found[name] = (result, f"gate {name} {line.data.get('result')}{at}: {why}")
    return sorted(found.values(), key=lambda pair: -pair[0].severity)


def _borne(entries: Sequence[Told]) -> Mapping[Result, int]:
    """Return how many bad samples of a gate the policy bears in a bake; none when the run does not say."""
    head = next((entry.data for entry in entries if entry.event == "run_started"), {})
    return {
        Result.FAIL: _size(head.get("failure_limit")),
        Result.INCONCLUSIVE: _size(head.get("inconclusive_limit")),
    }


def _by_gate(entries: Sequence[Told]) -> dict[tuple[str, str, Any], list[Told]]:
    """Return the gates' lines by name, clause and weight, in the order in which each first came."""
    groups: dict[tuple[str, str, Any], list[Told]] = {}
    for entry in entries:
        if entry.event == "gate":
            key = (str(entry.data.get("name")), entry.clause or "", entry.data.get("percent"))
            groups.setdefault(key, []).append(entry)
    return groups


# -- parts -------------------------------------------------------------------------------------------------------------


def _share(entry: Told) -> dict[str, Any]:
    data = entry.data
    green, total = _size(data.get("green")), _size(data.get("total"))
    low, high = _number(data.get("low")) or 0.0, _number(data.get("high")) or 0.0
    share = green / total if total else 0.0
    return {
        "time": rfc3339(entry.time),
        "clause": entry.clause or "",
        "percent": data.get("percent"),
        "green": green,
        "total": total,
        "low": low,
        "high": high,
        "inside": total > 0 and low - _ROUNDED <= share <= high + _ROUNDED,
    }


def _gates(entries: Sequence[Told]) -> list[dict[str, Any]]:
    """Return each gate at each weight: its worst verdict, and how many there were."""
    return [
        {
            "name": name,
            "source": str(found[-1].data.get("source") or ""),
            "clause": clause,
            "percent": percent,
            "worst": worst(verdict_of(entry) for entry in found).value,
            "verdicts": len(found),
        }
        for (name, clause, percent), found in _by_gate(entries).items()
    ]


def _decision(entry: Told) -> dict[str, Any]:
    data = entry.data
    first_bad = moment(data.get("first_bad"))
    return {
        "time": rfc3339(entry.time),
        "clause": entry.clause or "",
        "percent": data.get("percent"),
        "decision": str(data.get("decision") or ""),
        "gate": str(data.get("gate") or ""),
        "result": str(data.get("result") or ""),
        "decided_after_s": _number(data.get("decided_after_s")),
        "first_bad": rfc3339(first_bad) if first_bad else None,
    }


def _rollback(entries: Sequence[Told]) -> dict[str, Any] | None:
    """Return how long the way from the first bad sample to blue took; None when no gate decided to go back."""
    decided = next((e for e in reversed(entries) if e.event == "gate_decision" and _goes_back(e)), None)
    if decided is None:
        return None
    began = next((e for e in entries if e.event == "rollback_started" and e.seq > decided.seq), None)
    ended = next((e for e in entries if e.event == "rollback_finished" and e.seq > decided.seq), None)
    blue = None
    took_s = _number(ended.data.get("took_s")) if ended is not None else None
    if began is not None and took_s is not None:
        blue = began.time + timedelta(seconds=took_s)
    first_bad = moment(decided.data.get("first_bad"))
    return {
        "gate": str(decided.data.get("gate") or ""),
        "percent": decided.data.get("percent"),
        "first_bad": rfc3339(first_bad) if first_bad else None,
        "decided": rfc3339(decided.time),
        "blue": rfc3339(blue) if blue else None,
        "serves": str(ended.data.get("serves") or "") if ended is not None else "",
        "bad_to_decision_s": _between_s(first_bad, decided.time),
        "decision_to_blue_s": _between_s(decided.time, blue),
        "bad_to_blue_s": _between_s(first_bad, blue),
    }


def _goes_back(entry: Told) -> bool:
    return entry.data.get("decision") == ROLLBACK


def _between_s(start: datetime | None, end: datetime | None) -> float | None:
    return round(max(0.0, (end - start).total_seconds()), 3) if start is not None and end is not None else None


def _markers(entries: Sequence[Told]) -> dict[str, Any] | None:
    """Return every comparison of the acknowledged writes with the table; None when there was none.

    Each attempt has a series of its own: of a series the highest counts stand, of all of them the sums.
    """
    compared = [entry for entry in entries if entry.event == "markers"]
    if not compared:
        return None
    keys = ("acknowledged", "missing", "repeated")
    by_run: dict[str, Counter[str]] = {}
    for entry in compared:
        highest = by_run.setdefault(str(entry.data.get("run") or ""), Counter())
        highest |= Counter({key: _size(entry.data.get(key)) for key in keys})
    total = sum(by_run.values(), Counter[str]())
    return {
        "compared": len(compared),
        **{key: total[key] for key in keys},
        "first": rfc3339(compared[0].time),
        "last": rfc3339(compared[-1].time),
    }


def _number(value: object) -> float | None:
    """Return a finite number that is none below zero; None for anything else, as "nan"."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return value


def _size(value: object) -> int:
    """Return a number, or how many there are of a list."""
    if isinstance(value, list | tuple):
        return len(value)
    return int(_number(value) or 0)


def load_totals(entries: Sequence[Told]) -> Mapping[str, Any]:
    """Return the newest counts of the load and the probe, over every attempt; empty when nothing was ever sent."""
    newest = next((entry.data for entry in reversed(entries) if entry.event in {"load", "load_finished"}), {})
    total = newest.get("total")
    return total if isinstance(total, dict) else newest


def _load(entries: Sequence[Told]) -> dict[str, Any] | None:
    data = load_totals(entries)
    if not data:
        return None
    attempted, planned = _size(data.get("attempted")), _number(data.get("planned"))
    return {
        "planned": round(planned) if planned is not None else None,
        "attempted": attempted,
        "failed": _size(data.get("failed")),
        "attempted_ratio": round(attempted / planned, 4) if planned else None,
    }


def _probe(entries: Sequence[Told]) -> dict[str, Any] | None:
    found = load_totals(entries).get("probe")
    if not isinstance(found, dict):
        return None
    return {key: _number(found.get(key)) for key in PROBE_KEYS}


def moment(value: object) -> datetime | None:
    """Return an RFC 3339 time of a line's data; None for anything else."""
    try:
        return parse_rfc3339(value) if isinstance(value, str) else None
    except ValueError:
        return None
