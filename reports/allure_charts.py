"""Charts for Allure's results: what the gates measured against their limits, and who answered the requests.

Drawn by reportlab as SVG: shapes and text, no script, no link. Pure.
Invariant: the same measurements give the same bytes; nothing measured gives no chart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reportlab.graphics import renderSVG
from reportlab.graphics.shapes import Drawing, Line, PolyLine, Rect, String
from reportlab.lib.colors import HexColor

from reports import wording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.views import GateView, LoadView, WeightView

_WIDTH = 720
_ROW = 22
_LEFT, _RIGHT = 230, 220
_HEIGHT = 220
_FONT, _SIZE = "Helvetica", 10
_PAPER = HexColor("#ffffff")
_TEXT, _FAINT, _LIMIT = HexColor("#1f2933"), HexColor("#c7ced6"), HexColor("#9b1c1c")
_COLOURS: Final = {
    "PASS": HexColor("#2f7d4f"),
    "FAIL": HexColor("#9b1c1c"),
    "blue": HexColor("#2563a8"),
    "green": HexColor("#2f7d4f"),
}
_UNSURE = HexColor("#8a6d1a")
_BEYOND = 1.25
"""How far the scale goes beyond the limit."""


def gates(measured: Sequence[GateView]) -> bytes:
    """Return a bar for each gate's last measurement, as a part of its limit; empty when none has both."""
    last = {gate.name: gate for gate in measured if gate.value is not None and gate.limit is not None}
    if not last:
        return b""
    height = _ROW * len(last) + 40
    drawing = _sheet(height)
    room = _WIDTH - _LEFT - _RIGHT
    at_limit = _LEFT + room / _BEYOND
    for number, gate in enumerate(last.values()):
        y = height - 30 - number * _ROW
        drawing.add(_text(8, y + 4, gate.title))
        drawing.add(Rect(_LEFT, y, room, 12, fillColor=_FAINT, strokeColor=None, strokeWidth=0))
        part = min(_part(gate), _BEYOND)
        colour = _COLOURS.get(gate.result, _UNSURE)
        drawing.add(Rect(_LEFT, y, max(part * room / _BEYOND, 1.5), 12, fillColor=colour, strokeColor=None))
        drawing.add(_text(_LEFT + room + 8, y + 2, _words(gate)))
    drawing.add(Line(at_limit, 14, at_limit, height - 14, strokeColor=_LIMIT, strokeWidth=1))
    drawing.add(_text(at_limit - 11, 3, "limit"))
    return _svg(drawing)


def _words(gate: GateView) -> str:
    """Return what was measured and what is asked: a gate that passes beyond its limit asks for at least that."""
    value, limit = gate.value or 0.0, gate.limit or 0.0
    asks_for_more = value > limit if gate.result == "PASS" else value < limit
    bound = "at least" if asks_for_more else "at most"
    words = f"{wording.measure(gate.value, gate.unit)}, {bound} {wording.measure(gate.limit, gate.unit)}"
    return words.replace(wording.NARROW, " ")


def _part(gate: GateView) -> float:
    """Return a measurement as a part of its limit; of a limit of zero, anything is beyond it."""
    value, limit = gate.value or 0.0, gate.limit or 0.0
    return value / limit if limit > 0 else (0.0 if value <= 0 else _BEYOND)


def requests(seconds: Sequence[LoadView], weights: Sequence[WeightView], span_ms: tuple[int, int]) -> bytes:
    """Return who answered in each second of a span, and when the weight changed; empty without two seconds of load."""
    start, stop = span_ms[0] / 1000, span_ms[1] / 1000
    inside = [second for second in seconds if start - 1 <= second.time.timestamp() <= stop + 1]
    most = max((max(second.by_colour.values(), default=0) for second in inside), default=0)
    if len(inside) < 2 or most == 0:
        return b""
    first = inside[0].time.timestamp()
    length = max(inside[-1].time.timestamp() - first, 1.0)
    drawing = _sheet(_HEIGHT)
    left, bottom, room, tall = 60, 30, _WIDTH - 160, _HEIGHT - 60

    def x(time_s: float) -> float:
        return left + min(max((time_s - first) / length, 0.0), 1.0) * room

    for line in (Line(left, bottom, left + room, bottom), Line(left, bottom, left, bottom + tall)):
        line.strokeColor = _FAINT
        drawing.add(line)
    drawing.add(_text(8, bottom + tall, f"{most} /s"))
    drawing.add(_text(left, 10, f"{wording.clock(inside[0].time)} UTC"))
    drawing.add(_text(left + room - 50, 10, wording.clock(inside[-1].time)))
    for weight in weights:
        at = weight.time.timestamp()
        if first <= at <= first + length:
            drawing.add(Line(x(at), bottom, x(at), bottom + tall, strokeColor=_UNSURE, strokeDashArray=[3, 3]))
            drawing.add(_text(x(at) + 3, bottom + tall + 6, f"green {weight.percent:g} %"))
    for number, colour in enumerate(sorted({name for second in inside for name in second.by_colour})):
        points: list[float] = []
        for second in inside:
            points += [x(second.time.timestamp()), bottom + second.by_colour.get(colour, 0) / most * tall]
        ink = _COLOURS.get(colour, _UNSURE)
        drawing.add(PolyLine(points, strokeColor=ink, strokeWidth=1.5))
        drawing.add(Rect(left + room + 12, bottom + tall - 18 * number - 8, 8, 8, fillColor=ink, strokeColor=None))
        drawing.add(_text(left + room + 26, bottom + tall - 18 * number - 8, colour))
    return _svg(drawing)


def _sheet(height: int) -> Drawing:
    """Return an empty drawing on white: a page may show it on a dark ground."""
    drawing = Drawing(_WIDTH, height)
    drawing.add(Rect(0, 0, _WIDTH, height, fillColor=_PAPER, strokeColor=None))
    return drawing


def _text(x: float, y: float, text: str) -> String:
    return String(x, y, text, fontName=_FONT, fontSize=_SIZE, fillColor=_TEXT)


def _svg(drawing: Drawing) -> bytes:
    content: str | bytes = renderSVG.drawToString(drawing)
    return content.encode() if isinstance(content, str) else content
