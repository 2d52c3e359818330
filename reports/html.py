"""report.html: the record as one page that needs nothing else.

Invariants: no URL leads out of the record's folder and the page's own policy forbids loading anything; every text of
the record is escaped; everything can be read without scripts, which only filter and unfold; what a transcript is cut by
is said, with the file that has the whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from cutover.errors import CutoverError
from reports import controls, gates, shapes, shares, story, timeline, wording
from reports.record import CONTINUITY
from reports.views import PERCENTILES, PHASES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import jinja2

    from reports.controls import ControlView
    from reports.views import Record

TEMPLATES = Path(__file__).parent / "templates"
NAME = "report.html"
_HEAD, _TAIL = 12_000, 4_000
"""Characters of a transcript that the page shows from its beginning and, of a longer one, from its end."""
_MOST_TRANSCRIPTS = 1_500_000
"""Characters of all transcripts together; those behind are linked alone."""
_UNPRINTABLE = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What would do something in a page or a terminal instead of being seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What the page shows of a command's transcript."""

    text: str
    left_out: int
    """Characters between its beginning and its end that are in the file alone."""


@cache
def environment() -> jinja2.Environment:
    """Return the templates' environment: everything is escaped, an unknown name is an error."""
    import jinja2  # noqa: PLC0415  # 60 ms that a run does not need before its end

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(("html", "html.j2")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "clock": wording.clock,
        "count": wording.count,
        "duration": wording.duration,
        "phase": wording.phase,
        "link": link,
        "capitalize_first": wording.capital,
    }
    made.globals |= {"measure": wording.measure, "many": wording.many}
    return made


def link(path: str) -> str:
    """Return a path of the record as a relative URL."""
    return quote(path)


def build(record: Record) -> str:
    """Return the page."""
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            record=record,
            words=wording,
            picture=_svg(timeline.draw(record)),
            share_picture=_svg(shares.draw(record)),
            looks=Markup(shapes.css()),  # noqa: S704  # constants of ours
            transcripts=transcripts(record),
            **facts(record),
        )
    )


def _svg(drawing: shapes.Drawing | None) -> Markup | None:
    return Markup(shapes.svg(drawing)) if drawing is not None else None  # noqa: S704  # svg() escapes its texts


def facts(record: Record) -> dict[str, Any]:
    """Return what page, PDF and summary say alike."""
    told = story.tell(record)
    return {
        "story": told,
        "title": told.title,
        "lead": told.lead,
        "outcome": told.outcome,
        "phases": [
            (wording.phase(name), [clause for clause in record.clauses if clause.phase == name])
            for name in dict.fromkeys([*PHASES, *(clause.phase for clause in record.clauses)])
            if any(clause.phase == name for clause in record.clauses)
        ],
        "gates": gates.blocks(record),
        "decision": told.decision,
        "decisions": gates.decisions(record),
        "guarantees": [clause for clause in record.clauses if clause.phase == "evidence"],
        "checked": checked(record),
        "troubled": [clause for clause in record.clauses if clause.result in wording.BAD],
        "not_run": wording.not_run_reasons(record),
        "continuity": CONTINUITY if (record.folder / CONTINUITY).is_file() else "",
        "load": load_rows(record),
        "latencies": latency_rows(record),
        "latency_heads": LATENCY_HEADS,
        "events": event_counts(record),
        "controls": controls_of(record),
        "controls_by_clause": controls_by_clause(),
        "kept": kept(record),
    }


def controls_of(record: Record) -> tuple[ControlView, ...]:
    """Return what the record answers to each control; nothing when the map of controls cannot be read."""
    try:
        return controls.assess(record)
    except CutoverError:
        return ()


def controls_by_clause() -> Mapping[str, tuple[str, ...]]:
    """Return for each clause the controls that it answers; nothing when the map of controls cannot be read."""
    try:
        return controls.by_clause()
    except CutoverError:
        return {}


def kept(record: Record) -> Mapping[str, int]:
    """Return for each clause whose result a later attempt kept, how many attempts did."""
    found: dict[str, int] = {}
    for line in record.events("clause_kept"):
        found[line.clause] = found.get(line.clause, 0) + 1
    return found


def transcripts(record: Record) -> Mapping[int, Transcript]:
    """Return what the page shows of the commands' transcripts, by the commands' numbers."""
    found: dict[int, Transcript] = {}
    room = _MOST_TRANSCRIPTS
    inside = record.folder.resolve()
    for command in record.commands:
        path = (record.folder / command.transcript).resolve() if command.transcript else inside
        if room <= 0 or not path.is_relative_to(inside) or not path.is_file():
            continue
        shown = _transcript(path)
        found[command.number] = shown
        room -= len(shown.text)
    return found


def _transcript(path: Path) -> Transcript:
    whole = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", path.read_text("utf-8", "replace").replace("\r\n", "\n"))
    left_out = len(whole) - _HEAD - _TAIL
    if left_out <= 0:
        return Transcript(text=whole, left_out=0)
    mark = f"\n\n[{wording.count(left_out)} characters are left out here; the file has them]\n\n"
    return Transcript(text=f"{whole[:_HEAD]}{mark}{whole[-_TAIL:]}", left_out=left_out)


def checked(record: Record) -> Mapping[str, tuple[int, int]]:
    """Return for each evidence clause how many items were checked, and with how many findings."""
    return {
        line.clause: (int(line.data.get("checked") or 0), int(line.data.get("findings") or 0))
        for line in record.events("observation")
        if line.clause and "checked" in line.data
    }


def load_rows(record: Record) -> list[tuple[str, str]]:
    """Return the load's statistics as rows; empty when no request was sent."""
    load = record.load
    if not load.get("attempted"):
        return []
    rows = [(name, wording.count(load[key])) for name, key in _LOAD if load.get(key) is not None]
    if load.get("planned"):
        rows.insert(2, ("sent of planned", f"{load['attempted'] / float(load['planned']):.1%}"))
    rows += [
        (f"served by {name}", wording.count(number)) for name, number in sorted((load.get("by_colour") or {}).items())
    ]
    if load.get("seconds"):
        rows.append(("measured for", wording.duration(float(load["seconds"]))))
        rows.append(("mean rate", f"{load['attempted'] / float(load['seconds']):.0f} requests/s"))
    for name in sorted({colour for second in record.seconds for colour in second.p99_ms}):
        values = sorted(second.p99_ms[name] for second in record.seconds if name in second.p99_ms)
        rows.append(
            (f"p99 of a second, {name}", f"median {values[len(values) // 2]:.0f} ms, worst {values[-1]:.0f} ms")
        )
    rows += [(f"probe, {name}", wording.count(record.probe[key])) for name, key in _PROBE_COUNTS if key in record.probe]
    latencies = [f"{name} {record.probe[key]:.1f} ms" for name, key in _PROBE_LATENCIES if key in record.probe]
    if latencies:
        rows.append(("probe, from the intended start", ", ".join(latencies)))
    return rows


def latency_rows(record: Record) -> list[list[str]]:
    """Return the table of latencies by phase and colour; empty when the record has none."""
    return [
        [
            view.phase,
            view.colour,
            wording.count(view.count),
            wording.count(view.failed),
            *(f"{view.ms[name]:.1f}" if name in view.ms else "" for name in PERCENTILES),
        ]
        for view in record.latencies
    ]


LATENCY_HEADS = ("phase", "colour", "requests", "failed", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms")
_PROBE_COUNTS = (("requests by the clock", "planned"), ("good answers", "answered"), ("failed", "failed"))
_PROBE_LATENCIES = (("p50", "p50_ms"), ("p99", "p99_ms"), ("max", "max_ms"))
_LOAD = (
    ("requests planned", "planned"),
    ("requests sent", "attempted"),
    ("requests failed", "failed"),
    ("reads", "reads"),
    ("writes", "writes"),
    ("scans", "scans"),
    ("write markers acknowledged", "markers_acknowledged"),
)


def event_counts(record: Record) -> list[tuple[str, int]]:
    """Return how many lines of each event the journal holds, the most frequent first."""
    found: dict[str, int] = {}
    for line in record.lines:
        found[line.event] = found.get(line.event, 0) + 1
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
