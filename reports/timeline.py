"""The timeline as a picture.

Rows on one time axis: phases as bands, flags, green's weight as a step line, what the gates decided, requests by colour
as areas, failed requests as ticks, p99 of both colours and of the open-loop probe, every gate as a lane of marks.
Invariants: a second that was not measured leaves a gap; a failed request is always visible, however many seconds share
a pixel, and so is a gate that was no pass. The time between two attempts, in which nobody worked on the record, is
drawn as a break of one width, with its length written to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, TypeVar

from cutover.runbook.attempts import RESUMED
from reports import gates, wording
from reports.shapes import LOOKS, Drawing, text_width

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from reports.views import GateView, LoadView, ProbeView, Record

S = TypeVar("S", "LoadView", "ProbeView")

_MOST_COLUMNS = 480
"""A long run's seconds are put together into so many columns at most."""
_GAP_COLUMNS = 3.5
_LEFT, _RIGHT = 124.0, 14.0
_TITLES = 2.0
"""Where the rows' titles begin."""
_COLOURS = ("blue", "green")
_BREAK_WIDTH = 26.0
_LONG_PAUSE = 0.1
"""A pause between two attempts is a break when it is longer than this part of the time in which something was done."""
_MOST_BREAKS = 12
_LABEL_ROOM = 92.0
"""From the middle of a break's label to that of the next tick's."""
_MOST_FLAG_ROWS = 5
"""A flag for which no row has room is a mark without words; the tables have them."""
_LIMIT_IN_SCALE = 2.5
"""The latency's limit is drawn when it is at most so many times the highest value."""


# -- layout ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """Time as x."""

    start: datetime
    end: datetime
    left: float
    right: float
    stretch: float
    """Of the heights of the panels: 1 on a screen, less on paper."""
    breaks: tuple[tuple[datetime, datetime], ...] = ()
    """Times that all have the same width, in order."""

    def x(self, moment: datetime) -> float:
        """Return where a moment is, kept inside of the picture."""
        moment = min(max(moment, self.start), self.end)
        width = self.right - self.left - _BREAK_WIDTH * len(self.breaks)
        passed_s, x = (moment - self.start).total_seconds(), self.left
        for start, end in self.breaks:
            skipped_s = (min(max(moment, start), end) - start).total_seconds()
            passed_s -= skipped_s
            x += _BREAK_WIDTH * skipped_s / (end - start).total_seconds()
        return x + width * passed_s / self.shown_s

    @property
    def shown_s(self) -> float:
        """How many seconds are drawn to scale."""
        broken_s = sum((end - start).total_seconds() for start, end in self.breaks)
        return max((self.end - self.start).total_seconds() - broken_s, 0.001)

    def is_shown(self, moment: datetime) -> bool:
        """Whether a moment is in no break."""
        return not any(start < moment < end for start, end in self.breaks)


def _breaks(record: Record) -> tuple[tuple[datetime, datetime], ...]:
    """Return the times between two attempts that are long beside the time in which something was done."""
    pauses = [
        (before.time, line.time)
        for before, line in pairwise(record.lines)
        if line.event == RESUMED and line.time > before.time
    ]
    if record.started is None or record.finished is None:
        return ()
    paused_s = sum((end - start).total_seconds() for start, end in pauses)
    active_s = max((record.finished - record.started).total_seconds() - paused_s, 0.001)
    long = [(start, end) for start, end in pauses if (end - start).total_seconds() > _LONG_PAUSE * active_s]
    return tuple(long[:_MOST_BREAKS])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """Some seconds of load together."""

    time: datetime
    """The middle."""
    length_s: float
    by_colour: Mapping[str, float]
    """Requests per second."""
    failed: int
    p99_ms: Mapping[str, float]
    """The worst second."""


def draw(record: Record, *, width: float = 1000.0, stretch: float = 1.0) -> Drawing | None:
    """Return the timeline of a record, or None when it has no time to show. stretch: of the panels' heights."""
    if record.started is None or record.finished is None or record.finished <= record.started:
        return None
    drawing = Drawing(name="timeline", title="Timeline", width=width, description=_description(record))
    axis = _Axis(
        start=record.started,
        end=record.finished,
        left=_LEFT,
        right=width - _RIGHT,
        stretch=stretch,
        breaks=_breaks(record),
    )
    columns = _columns(record.seconds)
    y = _legend(drawing, record, 14)
    y = _bands(drawing, record, axis, y)
    y = top = _flags(drawing, record, axis, y)
    y = _weight(drawing, record, axis, y + 6)
    y = _decisions(drawing, record, axis, y + 6)
    if columns:
        y = _requests(drawing, columns, axis, y + 16)
        y = _errors(drawing, record, columns, axis, y + 8)
        y = _latency(drawing, record, columns, axis, y + 16)
    else:
        y += 22
        drawing.label(axis.left, y, "no request was measured in this run", "soft")
    y = _gates(drawing, record, axis, y + 14)
    _draw_breaks(drawing, axis, top, y + 2)
    drawing.height = _time_axis(drawing, axis, y + 2)
    return drawing


def _description(record: Record) -> str:
    load = wording.traffic(record)[0]
    weights = ", ".join(f"{weight.percent:g} % at {wording.clock(weight.time)}" for weight in record.weights)
    return (
        f"Timeline of the upgrade from {wording.clock(record.started)} to {wording.clock(record.finished)} UTC. "
        f"Weight of green: {weights or 'never changed'}. {load}. "
        f"{wording.many(len(record.gates), 'gate measurement')}. The tables of this report hold the same data."
    )


def _columns(seconds: Sequence[LoadView]) -> list[_Column]:
    if not seconds:
        return []
    columns = []
    for some in _together(seconds, max(1, math.ceil(len(seconds) / _MOST_COLUMNS))):
        names = {name for second in some for name in second.by_colour}
        measured = {name for second in some for name in second.p99_ms}
        columns.append(
            _Column(
                time=some[0].time + (some[-1].time - some[0].time) / 2,
                length_s=float(len(some)),
                by_colour={name: sum(s.by_colour.get(name, 0) for s in some) / len(some) for name in names},
                failed=sum(second.failed for second in some),
                p99_ms={name: max(s.p99_ms[name] for s in some if name in s.p99_ms) for name in measured},
            )
        )
    return columns


def _together(seconds: Sequence[S], per: int) -> list[list[S]]:
    """Return the seconds in groups of so many at most; none reaches over a gap."""
    groups: list[list[S]] = []
    for second in seconds:
        is_new = not groups or len(groups[-1]) >= per
        if is_new or second.time - groups[-1][-1].time > timedelta(seconds=_GAP_COLUMNS):
            groups.append([])
        groups[-1].append(second)
    return groups


def _draw_breaks(drawing: Drawing, axis: _Axis, top: float, bottom: float) -> None:
    """Draw where time was left out, and write how much of it."""
    for start, end in axis.breaks:
        x, right = axis.x(start), axis.x(end)
        length = wording.duration((end - start).total_seconds())
        drawing.box(x, top, right - x, bottom - top, look="break", hint=f"{length} between two attempts")
        for edge in (x, right):
            drawing.path([(edge, top), (edge, bottom)], "break-edge")
        drawing.label((x + right) / 2, bottom + 15, f"{length} later", "soft", "middle")


def _legend(drawing: Drawing, record: Record, y: float) -> float:
    x = _LEFT
    entries = (
        ("area", "blue-area", "requests served by blue"),
        ("area", "green-area", "by green"),
        ("line", "weight", "weight of green"),
        ("line", "blue", "p99 blue"),
        ("line", "green", "p99 green"),
        *([("line", "probe", "p99 of the probe")] if record.probed else []),
        ("line", "limit", "limit"),
        ("tick", "error", "failed requests"),
        ("area", "good", "gate passes"),
        ("area", "bad", "fails"),
        *([("area", "undecided", "undecided")] if any(g.result not in {"PASS", "FAIL"} for g in record.gates) else []),
    )
    for kind, look, text in entries:
        wide = text_width(text, "soft") + 30
        if x + wide > drawing.width - _RIGHT + 16:
            x, y = _LEFT, y + 15
        if kind == "area":
            drawing.box(x, y - 8, 14, 8, look=look)
        elif kind == "line":
            drawing.path([(x, y - 4), (x + 16, y - 4)], look)
        else:
            drawing.path([(x + 7, y - 9), (x + 7, y + 1)], look)
        drawing.label(x + 20, y, text, "soft")
        x += wide
    return y + 10


def _bands(drawing: Drawing, record: Record, axis: _Axis, y: float) -> float:
    """Draw the phases: neighbours in time of one phase are one band."""
    height = 20.0
    ran = sorted((c for c in record.clauses if c.started and c.finished), key=lambda c: (c.started, c.finished))
    spans = []
    for name, group in groupby(ran, key=lambda clause: clause.phase):
        some = list(group)
        spans.append((name, some[0].started, max(c.finished for c in some if c.finished), [c.id for c in some]))
    drawing.label(_TITLES, y + 14, "Phases", "strong")
    for number, (name, start, end, ids) in enumerate(spans):
        if start is None:
            continue
        x, right = axis.x(start), axis.x(end)
        look = "band-back" if name == "rollback" else ("band-a", "band-b")[number % 2]
        title = wording.phase(name)
        drawing.box(x, y, max(right - x, 1.0), height, look=look, hint=f"{title}: {', '.join(ids)}")
        for text in (title, title.partition(" ")[0] if title[:1].isdigit() else title[:1]):
            if text_width(text, "text") + 6 <= right - x:
                drawing.label((x + right) / 2, y + 14, text, "text", "middle")
                break
    return y + height


def _flags(drawing: Drawing, record: Record, axis: _Axis, y: float) -> float:
    """Draw what turned the run: promotion, failures, the way back, removal of blue."""
    flags = _turns(record)
    if not flags:
        return y
    height = 16.0
    ends = [axis.left - 1000.0] * _MOST_FLAG_ROWS
    crowded: list[tuple[float, str, bool]] = []
    for moment, text, bad in flags:
        x = axis.x(moment)
        wide = text_width(text, "alarm") + 12
        start = x if x + wide <= drawing.width else x - wide
        row = next((number for number, end in enumerate(ends) if end + 6 < start), None)
        if row is None:
            crowded.append((x, f"{wording.clock(moment)} {text}", bad))
            continue
        ends[row] = start + wide
        top = y + 6 + row * height
        look = "flag-bad" if bad else "flag"
        drawing.path([(x, y), (x, top + 10)], look)
        tip = 6.0 if start == x else -6.0
        drawing.path([(x, top), (x + tip, top + 4), (x, top + 8)], look, closed=True)
        anchor = "start" if tip > 0 else "end"
        drawing.label(x + (9 if tip > 0 else -9), top + 8, text, "alarm" if bad else "text", anchor)
    for x, hint, bad in crowded:
        drawing.path([(x, y), (x, y + 6)], "flag-bad" if bad else "flag", hint=hint)
    used = max(number for number, end in enumerate(ends) if end > axis.left - 1000.0) + 1
    return y + 8 + used * height


def _turns(record: Record) -> list[tuple[datetime, str, bool]]:
    found: list[tuple[datetime, str, bool]] = []
    for line in record.events("done"):
        if line.data.get("action") == "promote":
            found.append((line.time, "promoted", False))
        elif line.data.get("action") == "decommission":
            found.append((line.time, f"{record.serving_first or 'blue'} removed", False))
    for line in record.events(RESUMED):
        was_broken_off = line.data.get("interrupted") is True
        text = f"broken off, {line.data.get('procedure', 'resume')}" if was_broken_off else ""
        found.append((line.time, text or str(line.data.get("procedure", "resume")), was_broken_off))
    found += [
        (clause.finished, f"{clause.id} {clause.result.lower()}", True)
        for clause in record.clauses
        if clause.finished is not None and clause.result in wording.BAD
    ]
    for line in record.events("rollback_finished"):
        serves = str(line.data.get("serves") or "who serves is unknown")
        found.append((line.time, f"rolled back: {serves}", serves != (record.serving_first or "blue")))
    return sorted(found)


def _frame(
    drawing: Drawing, axis: _Axis, y: float, height: float, *, title: str, marks: Sequence[tuple[float, str]]
) -> None:
    """Draw a panel's title, its horizontal rules and their labels; marks: position from 0 (bottom) to 1, text."""
    drawing.label(_TITLES, y + 9, title, "strong")
    for part, text in marks:
        level = y + height * (1 - part)
        drawing.path([(axis.left, level), (axis.right, level)], "rule")
        drawing.label(axis.left - 6, level + 4, text, "soft", "end")


def _weight(drawing: Drawing, record: Record, axis: _Axis, y: float) -> float:
    height = 62.0 * axis.stretch
    points = [(axis.left, y + height)]
    level = y + height
    for weight in record.weights:
        x, new = axis.x(weight.time), y + height * (1 - min(100.0, max(0.0, weight.percent)) / 100)
        points += [(x, level), (x, new)]
        level = new
    points.append((axis.right, level))
    drawing.path([*points, (axis.right, y + height), (axis.left, y + height)], "weight-area", closed=True)
    _frame(drawing, axis, y, height, title="Weight", marks=[(0, "0 %"), (0.5, "50 %"), (1, "100 %")])
    drawing.path(points, "weight")
    free = axis.left
    for weight in record.weights:
        x, text = axis.x(weight.time), f"{weight.percent:g} %"
        position = x + 4
        if position >= free and position + text_width(text, "soft") < axis.right and 0 < weight.percent < 100:
            drawing.label(position, y + height * (1 - weight.percent / 100) - 4, text, "soft")
            free = position + text_width(text, "soft") + 4
    return y + height


def _decisions(drawing: Drawing, record: Record, axis: _Axis, y: float) -> float:
    """Draw what the gates decided at the end of each bake: a triangle forward, or one back with the gate's name."""
    if not record.decisions:
        return y
    drawing.label(_TITLES, y + 10, "Decisions", "strong")
    places, deep = [axis.x(one.time) for one in record.decisions], 0.0
    for one in record.decisions:
        x = axis.x(one.time)
        hint = f"{wording.clock(one.time)} at {one.percent} %: {'go back to blue' if one.goes_back else 'advance'}"
        tip = -7.0 if one.goes_back else 7.0
        look = "flag-bad" if one.goes_back else "flag-good"
        drawing.path([(x, y + 2), (x + tip, y + 6.5), (x, y + 11)], look, closed=True, hint=hint)
        if one.goes_back:
            text = f"back: {one.gate} {one.result}"
            wide = text_width(text, "alarm") + 8
            fits = x + wide < drawing.width
            start, end = (x, x + wide) if fits else (x - wide, x)
            is_free = all(not start < other < end for other in places if other != x)
            below = 0.0 if is_free else 12.0
            deep = max(deep, below)
            anchor = "start" if fits else "end"
            drawing.label(x + 5 if fits else x - 11, y + 10.5 + below, text, "alarm", anchor)
    return y + 14 + deep


def _requests(drawing: Drawing, columns: Sequence[_Column], axis: _Axis, y: float) -> float:
    height = 86.0 * axis.stretch
    names = sorted({name for column in columns for name in column.by_colour}, key=_rank)
    top = _nice(max(sum(column.by_colour.values()) for column in columns))
    for run in _runs(columns):
        base = [0.0] * len(run)
        for name in names:
            upper = [low + column.by_colour.get(name, 0.0) for low, column in zip(base, run, strict=True)]
            if upper != base:
                outline = [(axis.x(c.time), y + height * (1 - v / top)) for c, v in zip(run, upper, strict=True)]
                back = [(axis.x(c.time), y + height * (1 - v / top)) for c, v in zip(run, base, strict=True)]
                look = f"{name}-area" if name in _COLOURS else "other-area"
                drawing.path([*outline, *reversed(back)], look, closed=True, hint=f"served by {name}")
            base = upper
    _frame(drawing, axis, y, height, title="Requests/s", marks=[(0, "0"), (0.5, f"{top / 2:g}"), (1, f"{top:g}")])
    return y + height


def _rank(name: str) -> tuple[int, str]:
    return (_COLOURS.index(name) if name in _COLOURS else len(_COLOURS), name)


def _errors(drawing: Drawing, record: Record, columns: Sequence[_Column], axis: _Axis, y: float) -> float:
    height = 16.0
    probed = [second for second in record.probed if second.failed]
    total = sum(column.failed for column in columns) + len(probed)
    drawing.label(_TITLES, y + 12, "Failed", "strong")
    drawing.path([(axis.left, y + height), (axis.right, y + height)], "rule")
    for column in columns:
        if column.failed:
            x = axis.x(column.time)
            hint = f"{column.failed} failed, {wording.clock(column.time)}"
            drawing.path([(x, y), (x, y + height)], "error", hint=hint)
    for second in probed:
        x = axis.x(second.time)
        hint = f"{second.failed} of the probe failed, {wording.clock(second.time)}"
        drawing.path([(x, y + height / 2), (x, y + height)], "error", hint=hint)
    if not total:
        drawing.label(axis.left + 4, y + 12, "no request failed", "soft")
    return y + height


def _latency(drawing: Drawing, record: Record, columns: Sequence[_Column], axis: _Axis, y: float) -> float:
    height = 78.0 * axis.stretch
    probe = _probe_points(record)
    values = [value for column in columns for value in column.p99_ms.values()]
    values += [value for run in probe for _, value in run]
    gates = [gate for gate in record.gates if gate.name == "latency_p99" and gate.limit]
    limit_ms = gates[0].limit * 1000 if gates and gates[0].limit else None
    highest = max([*values, 1.0])
    # A limit far above everything measured would press the curves flat.
    in_scale = limit_ms is not None and limit_ms <= _LIMIT_IN_SCALE * highest
    top = _nice(max(highest, (limit_ms or 0) * 1.1) if in_scale else highest)
    for run in _runs(columns):
        for name in _COLOURS:
            for part in _measured(run, name):
                points = [(axis.x(c.time), y + height * (1 - c.p99_ms[name] / top)) for c in part]
                if len(points) == 1:
                    points.append((points[0][0] + 1.5, points[0][1]))
                drawing.path(points, name)
    for stretch in probe:
        drawing.path([(axis.x(moment), y + height * (1 - value / top)) for moment, value in stretch], "probe")
    _frame(drawing, axis, y, height, title="p99", marks=[(0, "0"), (0.5, f"{top / 2:g}"), (1, f"{top:g} ms")])
    if limit_ms and not in_scale:
        drawing.label(axis.left + 4, y - 3, f"limit {limit_ms:g} ms, above this scale", "limit-text")
    elif limit_ms:
        level = y + height * (1 - limit_ms / top)
        drawing.path([(axis.left, level), (axis.right, level)], "limit")
        drawing.label(axis.left + 4, level - 4, f"limit {limit_ms:g} ms", "limit-text")
    return y + height


def _probe_points(record: Record) -> list[list[tuple[datetime, float]]]:
    """Return the probe's p99 in stretches without a gap; of seconds that share a column the worst."""
    size = max(1, math.ceil(len(record.probed) / _MOST_COLUMNS))
    runs: list[list[tuple[datetime, float]]] = []
    previous: datetime | None = None
    for some in _together(record.probed, size):
        group = [second for second in some if second.p99_ms is not None]
        if not group:
            previous = None
            continue
        moment = group[len(group) // 2].time
        if previous is None or moment - previous > timedelta(seconds=_GAP_COLUMNS * size):
            runs.append([])
        runs[-1].append((moment, max(second.p99_ms or 0.0 for second in group)))
        previous = moment
    return runs


def _measured(run: Sequence[_Column], name: str) -> list[list[_Column]]:
    """Return the stretches in which a colour's latency was measured."""
    return [list(group) for known, group in groupby(run, key=lambda column: name in column.p99_ms) if known]


def _runs(columns: Sequence[_Column]) -> list[list[_Column]]:
    """Return the stretches without a gap in the measurements."""
    runs: list[list[_Column]] = []
    for column in columns:
        previous = runs[-1][-1] if runs else None
        if previous is None or column.time - previous.time > timedelta(seconds=_GAP_COLUMNS * previous.length_s):
            runs.append([])
        runs[-1].append(column)
    return runs


_MARKS = {"FAIL": "bad"}
_MARK_WIDTH = 3.2
_JOINED = 2.0
"""Passes so near to each other are one mark."""


def _gates(drawing: Drawing, record: Record, axis: _Axis, y: float) -> float:
    """Draw a lane for every gate: passes as bars, what was no pass as marks of their own, painted last."""
    drawing.label(_TITLES, y + 9, "Gates", "strong")
    found = gates.blocks(record)
    if not found:
        drawing.label(axis.left + 4, y + 9, "no gate was measured", "soft")
        return y + 14
    lane = _LANE if len(found) <= _FEW_LANES else max(_NARROWEST_LANE, _NARROW_LANE * axis.stretch)
    y += 3
    for block in found:
        y += lane
        mine = [gate for gate in record.gates if gate.name == block.name]
        drawing.path([(axis.left, y + 5), (axis.right, y + 5)], "rule")
        inset = _INSET if block.is_comparison else 0.0
        drawing.label(_TITLES + inset, y + 8.5, _short(block.name, block.title), "soft")
        for start, end, number in _passes(mine, axis):
            hint = f"{block.title}: {wording.many(number, 'pass', 'passes')}"
            drawing.box(start, y + 1, end - start, 8, look="good", hint=hint)
        for gate in mine:
            if gate.result != "PASS":
                value = wording.measure(gate.value, gate.unit)
                hint = f"{block.title}: {value}, {gate.result}, {wording.clock(gate.time)}"
                look = _MARKS.get(gate.result, "undecided")
                drawing.box(axis.x(gate.time) - 1.6, y - 0.5, _MARK_WIDTH, 11, look=look, hint=hint)
    return y + 14


def _passes(mine: Sequence[GateView], axis: _Axis) -> list[tuple[float, float, int]]:
    """Return the passes of a lane as bars: where each starts and ends, and how many it stands for."""
    bars: list[tuple[float, float, int]] = []
    for gate in mine:
        if gate.result == "PASS":
            start = axis.x(gate.time) - _MARK_WIDTH / 2
            if bars and start - bars[-1][1] < _JOINED:
                bars[-1] = (bars[-1][0], start + _MARK_WIDTH, bars[-1][2] + 1)
            else:
                bars.append((start, start + _MARK_WIDTH, 1))
    return bars


def _short(name: str, title: str) -> str:
    """Return a gate's title as it fits beside its lane."""
    text = _SHORT.get(name, title)
    room = int((_LEFT - _TITLES - 6) / (LOOKS["soft"].size * 0.55))
    return text if len(text) <= room else text[: room - 1] + "…"


_SHORT = {
    "load_failures": "failed requests",
    "failed_requests": "failed requests",
    "load_attempted": "load as planned",
    "probe_latency": "probe p99",
    "served_by": "share of green",
    "write_markers": "write markers",
    "route_topology": "route topology",
    "route_unchanged": "route unchanged",
    "green_ready": "green is ready",
    "error_ratio": "error ratio",
    "error_ratio_vs_blue": "beside blue",
    "latency_p99": "latency p99",
    "latency_p99_vs_blue": "beside blue",
    "evidence_operations": "evidence operations",
    "evidence_operations_vs_blue": "beside blue",
    "attestation_success": "attestation success",
    "attestation_success_vs_blue": "beside blue",
}
_INSET = 8.0
"""Of the lane of a comparison, below the lane of what it compares."""
_LANE, _NARROW_LANE, _NARROWEST_LANE, _FEW_LANES = 14.0, 12.0, 9.5, 10


def _time_axis(drawing: Drawing, axis: _Axis, y: float) -> float:
    drawing.path([(axis.left, y), (axis.right, y)], "axis")
    whole_s = axis.shown_s
    step_s = _step(whole_s, most=int((axis.right - axis.left) // 74))
    taken = [(axis.x(start) + axis.x(end)) / 2 for start, end in axis.breaks]
    at = _first_tick(axis.start, step_s)
    while at <= axis.end:
        gap = next((end for start, end in axis.breaks if start < at < end), None)
        if gap is not None:
            at = _first_tick(gap, step_s)
            continue
        x = axis.x(at)
        drawing.path([(x, y), (x, y + 4)], "axis")
        text = at.strftime("%H:%M:%S" if step_s < 60 else "%H:%M" if whole_s < 86_400 else "%d %b %H:%M")
        is_free = all(abs(x - other) > _LABEL_ROOM for other in taken)
        if axis.left + 12 <= x <= axis.right - 12 and is_free:
            drawing.label(x, y + 15, text, "soft", "middle")
        at += timedelta(seconds=step_s)
    drawing.label(_TITLES, y + 15, "UTC", "soft")
    return y + 20


def _first_tick(start: datetime, step_s: int) -> datetime:
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    passed_s = (start - midnight).total_seconds()
    return midnight + timedelta(seconds=math.ceil(passed_s / step_s) * step_s)


_STEPS_S = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)


def _step(whole_s: float, *, most: int) -> int:
    return next((step for step in _STEPS_S if whole_s / step <= max(2, most)), max(_STEPS_S[-1], int(whole_s / 6)))


def _nice(value: float) -> float:
    """Return a round number not below a value, for an axis with a mark in its middle."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(factor * unit for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if factor * unit >= value * 0.999)
