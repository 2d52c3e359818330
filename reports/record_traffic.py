"""What a record says of its traffic: the load and the probe by the second, shares, decisions and the way back.

Invariant: as of `reports.record`; several loads, one for each attempt, are told as one.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from cutover.runbook import proof
from reports import values
from reports.views import (
    PERCENTILES,
    DecisionView,
    LatencyView,
    LoadView,
    MarkersView,
    ProbeView,
    ShareView,
    WayBack,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reports.views import Line

PROBE = "probe"
_LATEST_S = 1e10
"""No time of a record is later: seconds since the epoch."""


def second(raw: Mapping[str, Any]) -> LoadView:
    """Return one second of a load's own file."""
    return LoadView(
        time=values.time(raw.get("time")) or datetime.fromtimestamp(0, UTC),
        attempted=values.whole(raw.get("attempted")) or 0,
        failed=values.whole(raw.get("failed")) or 0,
        by_colour={name: int(number) for name, number in values.numbers(raw.get("by_colour")).items()},
        p50_ms=values.numbers(raw.get("p50_ms")),
        p99_ms=values.numbers(raw.get("p99_ms")),
    )


def told_seconds(lines: Sequence[Line]) -> tuple[LoadView, ...]:
    """Return the load second by second as the journal tells of it, for a record whose load files are not there.

    Its lines hold sums since the load began; one that is smaller than the one before belongs to a load that began anew.
    """
    found: list[LoadView] = []
    before: Mapping[str, Any] = {}
    for line in lines:
        if line.event != "load":
            continue
        data = line.data
        if (values.whole(data.get("attempted")) or 0) < (values.whole(before.get("attempted")) or 0):
            before = {}
        then, now = values.numbers(before.get("by_colour")), values.numbers(data.get("by_colour"))
        found.append(
            LoadView(
                time=line.time,
                attempted=(values.whole(data.get("attempted")) or 0) - (values.whole(before.get("attempted")) or 0),
                failed=max(0, (values.whole(data.get("failed")) or 0) - (values.whole(before.get("failed")) or 0)),
                by_colour={name: max(0, int(number - then.get(name, 0))) for name, number in now.items()},
                p50_ms={},
                p99_ms=values.numbers(data.get("p99_ms")),
            )
        )
        before = data
    return tuple(found)


def share(raw: Mapping[str, Any]) -> ShareView:
    """Return green's share at a weight, as the verdict's proof has it."""
    return ShareView(
        clause=values.text(raw.get("clause")),
        percent=values.number(raw.get("percent")) or 0.0,
        green=values.whole(raw.get("green")) or 0,
        total=values.whole(raw.get("total")) or 0,
        low=values.number(raw.get("low")) or 0.0,
        high=values.number(raw.get("high")) or 0.0,
        inside=raw.get("inside") is True,
    )


def decision(raw: Mapping[str, Any]) -> DecisionView:
    """Return what was decided at a weight."""
    return DecisionView(
        time=values.time(raw.get("time")) or datetime.fromtimestamp(0, UTC),
        clause=values.text(raw.get("clause")),
        percent=values.whole(raw.get("percent")),
        goes_back=raw.get("decision") != proof.ADVANCE,
        gate=values.text(raw.get("gate")),
        result=values.text(raw.get("result")),
    )


def way_back(raw: Mapping[str, Any]) -> WayBack | None:
    """Return when blue was wanted back and when it was; None where nobody wanted it."""
    decided = values.time(raw.get("decided"))
    if decided is None:
        return None
    return WayBack(
        gate=values.text(raw.get("gate")),
        percent=values.whole(raw.get("percent")),
        first_bad=values.time(raw.get("first_bad")),
        decided=decided,
        serves=values.text(raw.get("serves")),
        bad_to_decision_s=values.number(raw.get("bad_to_decision_s")),
        decision_to_blue_s=values.number(raw.get("decision_to_blue_s")),
        bad_to_blue_s=values.number(raw.get("bad_to_blue_s")),
    )


def markers(raw: Mapping[str, Any]) -> MarkersView | None:
    """Return what became of the acknowledged writes; None where they were not compared."""
    if not raw:
        return None
    return MarkersView(
        compared=values.whole(raw.get("compared")) or 0,
        acknowledged=values.whole(raw.get("acknowledged")) or 0,
        missing=values.whole(raw.get("missing")) or 0,
        repeated=values.whole(raw.get("repeated")) or 0,
        last=values.time(raw.get("last")),
    )


def loads(folder: Path) -> tuple[str, ...]:
    """Return the folders of the loads, relative to the record: the first attempt's, then those of later ones."""
    later = [
        path.name for path in (folder / "load").glob("attempt-*") if path.name.removeprefix("attempt-").isdecimal()
    ]
    return ("load", *(f"load/{name}" for name in sorted(later, key=lambda name: int(name.removeprefix("attempt-")))))


def attempt_of(load: str) -> int:
    """Return the number of the attempt that a load's folder is of."""
    name = PurePosixPath(load).name
    return int(name.removeprefix("attempt-")) if name != "load" else 1


def load(judged: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all loads together sent and got; where both tell of it, the verdict's word of several stands."""
    known = [summary for summary in summaries if summary]
    if len(known) <= 1:
        return {**judged, **(known[0] if known else {})}
    total: dict[str, Any] = {}
    for name in ("planned", "attempted", "failed", "reads", "writes", "scans", "seconds", "markers_acknowledged"):
        total[name] = sum(values.number(summary.get(name)) or 0 for summary in known)
        total[name] = total[name] if name == "seconds" else int(total[name])
    colours = {name for summary in known for name in values.numbers(summary.get("by_colour"))}
    total["by_colour"] = {
        name: int(sum(values.numbers(summary.get("by_colour")).get(name, 0) for summary in known)) for name in colours
    }
    total["failures"] = [failure for summary in known for failure in values.items(summary.get("failures"))]
    return {**total, **judged}


def latencies(document: Mapping[str, Any], *, attempt: int) -> tuple[LatencyView, ...]:
    """Return a row for each colour of each phase, and one for the probe."""
    again = f" (attempt {attempt})" if attempt > 1 else ""
    found = []
    for phase in map(values.obj, values.items(document.get("phases"))):
        probe = values.obj(phase.get("probe"))
        rows = {
            **values.obj(phase.get("colours")),
            **({PROBE: {**probe, "count": probe.get("planned")}} if probe else {}),
        }
        found += [
            LatencyView(
                phase=values.text(phase.get("phase")) + again,
                colour=colour,
                count=values.whole(facts.get("count")) or 0,
                failed=values.whole(facts.get("failed")) or 0,
                ms={name: ms for name in PERCENTILES if (ms := values.number(facts.get(f"{name}_ms"))) is not None},
            )
            for colour, facts in rows.items()
            if isinstance(facts, dict)
        ]
    return tuple(found)


def probed(raws: Sequence[Mapping[str, Any]]) -> tuple[ProbeView, ...]:
    """Return the probe's requests by the second in which they were due; the first line has their schedule."""
    start = next((raw for raw in raws if "start" in raw), {})
    start_s, rate = values.number(start.get("start")), values.number(start.get("requests_per_s"))
    if start_s is None or not rate or rate < 0 or not 0 <= start_s < _LATEST_S:
        return ()
    seconds: dict[int, list[Mapping[str, Any]]] = {}
    for raw in raws:
        number = values.whole(raw.get("n"))
        if number is not None and 0 <= number / rate < _LATEST_S:
            seconds.setdefault(int(number / rate), []).append(raw)
    first = datetime.fromtimestamp(start_s, UTC)
    return tuple(_probe_second(first + timedelta(seconds=second + 0.5), seconds[second]) for second in sorted(seconds))


def _probe_second(middle: datetime, raws: Sequence[Mapping[str, Any]]) -> ProbeView:
    took_ms = sorted(ms for raw in raws if (ms := values.number(raw.get("ms"))) is not None)
    return ProbeView(
        time=middle,
        sent=len(raws),
        failed=sum(bool(raw.get("error")) for raw in raws),
        p99_ms=took_ms[math.ceil(0.99 * len(took_ms)) - 1] if took_ms else None,
    )
