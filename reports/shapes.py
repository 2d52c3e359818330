"""A picture as shapes: one layout, drawn as inline SVG for a page and as vectors for a PDF.

Invariants: coordinates are in points of the drawing, y grows downwards; a shape names its look and knows no colour.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a shape looks, on paper and on a dark screen; empty colours are not painted."""

    fill: str = ""
    dark_fill: str = ""
    stroke: str = ""
    dark_stroke: str = ""
    width: float = 1.0
    dash: tuple[float, ...] = ()
    size: float = 0.0
    """Of text; 0 for shapes."""
    bold: bool = False


_INK, _DARK_INK = "#1b2430", "#e6ebf2"
_SOFT, _DARK_SOFT = "#566273", "#9aa7b8"
_RULE, _DARK_RULE = "#d9dee6", "#344052"
_BLUE, _DARK_BLUE = "#2457a7", "#6ea2f2"
_GREEN, _DARK_GREEN = "#1c8a52", "#4cc98a"
_RED, _DARK_RED = "#b3261e", "#ff7b72"
_AMBER, _DARK_AMBER = "#a15c00", "#f0b04f"
_VIOLET, _DARK_VIOLET = "#7a3fa8", "#c69bf0"

LOOKS: Mapping[str, Look] = {
    "text": Look(fill=_INK, dark_fill=_DARK_INK, size=11),
    "strong": Look(fill=_INK, dark_fill=_DARK_INK, size=11, bold=True),
    "soft": Look(fill=_SOFT, dark_fill=_DARK_SOFT, size=10),
    "alarm": Look(fill=_RED, dark_fill=_DARK_RED, size=10.5, bold=True),
    "rule": Look(stroke=_RULE, dark_stroke=_DARK_RULE, width=0.8),
    "axis": Look(stroke=_SOFT, dark_stroke=_DARK_SOFT, width=0.8),
    "limit": Look(stroke=_AMBER, dark_stroke=_DARK_AMBER, width=1.1, dash=(5, 3)),
    "limit-text": Look(fill=_AMBER, dark_fill=_DARK_AMBER, size=10),
    "band-a": Look(fill="#e9edf3", dark_fill="#253041"),
    "band-b": Look(fill="#d7dee8", dark_fill="#313e52"),
    "band-back": Look(fill="#f6d9d5", dark_fill="#5a2a28"),
    "break": Look(fill="#f3f4f7", dark_fill="#1e2733"),
    "break-edge": Look(stroke=_SOFT, dark_stroke=_DARK_SOFT, width=0.8, dash=(2, 3)),
    "weight": Look(stroke=_INK, dark_stroke=_DARK_INK, width=1.8),
    "weight-area": Look(fill="#eceff4", dark_fill="#222c3a"),
    "blue-area": Look(fill="#9dbbe8", dark_fill="#33598f"),
    "green-area": Look(fill="#8fd0ae", dark_fill="#2b7350"),
    "other-area": Look(fill="#c9c9c9", dark_fill="#666666"),
    "blue": Look(stroke=_BLUE, dark_stroke=_DARK_BLUE, width=1.5),
    "green": Look(stroke=_GREEN, dark_stroke=_DARK_GREEN, width=1.5, dash=(6, 2)),
    "probe": Look(stroke=_VIOLET, dark_stroke=_DARK_VIOLET, width=1.1, dash=(2, 2)),
    "share-band": Look(fill="#cfe3d8", dark_fill="#254a39"),
    "share-band-bad": Look(fill="#f6d9d5", dark_fill="#5a2a28"),
    "share-point": Look(fill=_GREEN, dark_fill=_DARK_GREEN),
    "share-weight": Look(stroke=_SOFT, dark_stroke=_DARK_SOFT, width=1.0, dash=(3, 2)),
    "error": Look(stroke=_RED, dark_stroke=_DARK_RED, width=1.6),
    "flag": Look(fill=_INK, dark_fill=_DARK_INK, stroke=_INK, dark_stroke=_DARK_INK, width=0.8),
    "flag-good": Look(fill=_GREEN, dark_fill=_DARK_GREEN),
    "flag-bad": Look(fill=_RED, dark_fill=_DARK_RED, stroke=_RED, dark_stroke=_DARK_RED, width=0.8),
    "good": Look(fill="#63a883", dark_fill="#3d9a6b"),
    "bad": Look(fill=_RED, dark_fill=_DARK_RED),
    "undecided": Look(fill=_AMBER, dark_fill=_DARK_AMBER),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    look: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Straight lines from point to point; filled when the look has a fill."""

    points: tuple[tuple[float, float], ...]
    look: str
    closed: bool = False
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A line of text; y is its baseline."""

    x: float
    y: float
    text: str
    look: str = "text"
    anchor: str = "start"
    """start, middle or end."""


@dataclass(slots=True, kw_only=True)
class Drawing:
    """Shapes in the order in which they are painted."""

    name: str
    """Short and unique in a document: what the parts of its SVG are called."""
    title: str
    width: float
    height: float = 0.0
    shapes: list[Box | Path | Label] = field(default_factory=list)
    description: str = ""
    """What the picture shows, for those who do not see it."""

    def box(self, x: float, y: float, width: float, height: float, *, look: str, hint: str = "") -> None:
        """Add a rectangle."""
        self.shapes.append(Box(x=x, y=y, width=width, height=height, look=look, hint=hint))

    def path(self, points: Iterable[tuple[float, float]], look: str, *, closed: bool = False, hint: str = "") -> None:
        """Add a line, or an area."""
        self.shapes.append(Path(points=tuple(points), look=look, closed=closed, hint=hint))

    def label(self, x: float, y: float, text: str, look: str = "text", anchor: str = "start") -> None:
        """Add a line of text."""
        self.shapes.append(Label(x=x, y=y, text=text, look=look, anchor=anchor))


def text_width(text: str, look: str) -> float:
    """Return about how wide a text is."""
    return len(text) * LOOKS[look].size * (0.60 if LOOKS[look].bold else 0.55)


# -- as SVG ------------------------------------------------------------------------------------------------------------


def css() -> str:
    """Return the looks as style rules, for light and for dark screens; paper is always light."""
    light = "\n".join(f".t-{name}{{{_rule(look, dark=False)}}}" for name, look in LOOKS.items())
    dark = "\n".join(f".t-{name}{{{_rule(look, dark=True)}}}" for name, look in LOOKS.items())
    return f"{light}\n@media screen and (prefers-color-scheme: dark){{\n{dark}\n}}\n"


def _rule(look: Look, *, dark: bool) -> str:
    fill = (look.dark_fill if dark else look.fill) or "none"
    stroke = look.dark_stroke if dark else look.stroke
    parts = [f"fill:{fill}"]
    if stroke:
        parts += [f"stroke:{stroke}", f"stroke-width:{look.width:g}", "stroke-linejoin:round"]
    if look.dash:
        parts.append("stroke-dasharray:" + " ".join(f"{length:g}" for length in look.dash))
    if look.size:
        parts.append(f"font-size:{look.size:g}px")
    if look.bold:
        parts.append("font-weight:600")
    return ";".join(parts)


def svg(drawing: Drawing) -> str:
    """Return a drawing as an SVG element for an HTML page; every text in it is escaped."""
    parts = [
        f'<svg viewBox="0 0 {drawing.width:g} {drawing.height:g}" class="picture" role="img" ',
        f'aria-labelledby="{drawing.name}-title {drawing.name}-text">',
        f'<title id="{drawing.name}-title">{escape(drawing.title)}</title>',
        f'<desc id="{drawing.name}-text">{escape(drawing.description)}</desc>',
    ]
    parts += [_SVG[type(shape)](shape) for shape in drawing.shapes]
    parts.append("</svg>")
    return "".join(parts)


def _svg_box(shape: Box) -> str:
    start = (
        f'<rect x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" height="{shape.height:.1f}" '
        f'class="t-{shape.look}"'
    )
    return f"{start}><title>{escape(shape.hint)}</title></rect>" if shape.hint else f"{start}/>"


def _svg_path(shape: Path) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
    name = "polygon" if shape.closed else "polyline"
    start = f'<{name} points="{points}" class="t-{shape.look}"'
    return f"{start}><title>{escape(shape.hint)}</title></{name}>" if shape.hint else f"{start}/>"


def _svg_label(shape: Label) -> str:
    anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
    return f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" class="t-{shape.look}"{anchor}>{escape(shape.text)}</text>'


_SVG: Mapping[type, Callable[..., str]] = {Box: _svg_box, Path: _svg_path, Label: _svg_label}
