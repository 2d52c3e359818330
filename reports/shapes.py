"""A picture as shapes: one layout, drawn by reportlab's graphics, as inline SVG for a page and as vectors for a PDF.

Invariants: coordinates are in points of the drawing, y grows downwards; a shape names its look and knows no colour: in
the page the looks are style rules, for light and dark, on paper they are always light; the same drawing gives the same
bytes; of each shape there is one element, in the order of the drawing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

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
    """Return a drawing as an SVG element for an HTML page; every text in it is escaped.

    What reportlab writes for a file of its own is made fit for a page: colours by the style rules instead of in each
    element, a title and a description, hints, and no name that a second picture has too.
    """
    from reportlab.graphics import renderSVG  # noqa: PLC0415  # a third of a second that only a report needs

    made = ET.fromstring(renderSVG.drawToString(graphic(drawing, for_page=True)))  # noqa: S314  # reportlab wrote it
    width, height = drawing.width, math.ceil(drawing.height)
    root = ET.Element("svg", {"viewBox": f"0 0 {width:g} {height}", "class": "picture", "role": "img"})
    root.set("aria-labelledby", f"{drawing.name}-title {drawing.name}-text")
    ET.SubElement(root, "title", id=f"{drawing.name}-title").text = drawing.title
    ET.SubElement(root, "desc", id=f"{drawing.name}-text").text = drawing.description
    group = ET.SubElement(root, "g", transform=f"scale(1,-1) translate(0,{-height})")
    painted = [one for one in made.iter() if one.tag.removeprefix(_SVG) in _PAINTED and one.get("style")]
    for shape, element in zip(drawing.shapes, painted, strict=True):
        group.append(_themed(shape, element))
    return ET.tostring(root, encoding="unicode")


_SVG = "{http://www.w3.org/2000/svg}"
_PAINTED = frozenset({"rect", "polygon", "polyline", "text"})


def _themed(shape: Box | Path | Label, element: ET.Element) -> ET.Element:
    """Return what reportlab painted of a shape, with its look as a class."""
    kept = {name: value for name, value in element.attrib.items() if name not in {"style", "fill"}}
    themed = ET.Element(element.tag.removeprefix(_SVG), {**kept, "class": f"t-{shape.look}"})
    themed.text = element.text
    if isinstance(shape, Label):
        themed.set("transform", f"translate(0,{2 * float(element.get('y', 0)):g}) scale(1,-1)")
    elif shape.hint:
        ET.SubElement(themed, "title").text = shape.hint
    return themed


# -- as reportlab's graphics -------------------------------------------------------------------------------------------


def graphic(
    drawing: Drawing,
    *,
    sans: str = "Helvetica",
    bold: str = "Helvetica-Bold",
    legible: Callable[[str], str] = str,
    type_scale: float = 1.0,
    for_page: bool = False,
) -> Any:  # noqa: ANN401  # reportlab ships no types
    """Return a drawing as reportlab's own, in the light looks: `renderPDF.draw` puts it on a canvas.

    sans, bold: fonts by the names under which they are registered. legible: makes a text one that the fonts can write.
    type_scale: of the texts' sizes, for fonts that are wider than a browser's.
    for_page: texts are aligned by the browser, which has other fonts than reportlab.
    """
    from reportlab.graphics import shapes as library  # noqa: PLC0415  # as in `svg`

    height = math.ceil(drawing.height)
    made = library.Drawing(drawing.width, height, initialFontName=sans)
    for shape in drawing.shapes:
        if isinstance(shape, Label):
            look = LOOKS[shape.look]
            text = library.String(round(shape.x, 1), round(height - shape.y, 1), legible(shape.text))
            text.fontName, text.fontSize = (bold if look.bold else sans), look.size * type_scale
            text.fillColor = _colour(look.fill)
            if for_page and shape.anchor != "start":
                text._svgAttrs = {"text-anchor": shape.anchor}  # noqa: SLF001  # reportlab's way to give an attribute
            else:
                text.textAnchor = shape.anchor
            made.add(text)
        else:
            made.add(_area(shape, height))
    return made


def _area(shape: Box | Path, height: float) -> Any:  # noqa: ANN401  # reportlab ships no types
    from reportlab.graphics import shapes as library  # noqa: PLC0415  # as in `svg`

    look = LOOKS[shape.look]
    if isinstance(shape, Box):
        low = round(height - shape.y - shape.height, 1)
        made = library.Rect(round(shape.x, 1), low, round(shape.width, 1), round(shape.height, 1))
    else:
        points = [value for x, y in shape.points for value in (round(x, 1), round(height - y, 1))]
        made = library.Polygon(points) if shape.closed else library.PolyLine(points)
    if not isinstance(made, library.PolyLine):
        made.fillColor = _colour(look.fill)
    made.strokeColor = _colour(look.stroke)
    made.strokeWidth = look.width
    made.strokeLineJoin = 1
    made.strokeDashArray = list(look.dash) or None
    return made


def _colour(name: str) -> Any:  # noqa: ANN401  # reportlab ships no types
    from reportlab.lib.colors import HexColor  # noqa: PLC0415  # as in `svg`

    return HexColor(name) if name else None
