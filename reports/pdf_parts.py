"""What report.pdf is built from: styles, paragraphs, tables, badges, boxes and pictures.

Invariants: a text of a record is never markup; every flowable starts in an embedded font; a table repeats its header
and breaks between rows, or within one that no page holds.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from reportlab.graphics import renderPDF
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_CENTER, TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, Flowable, Paragraph, Table, TableStyle

from reports import pdf_type, shapes
from reports.pdf_type import BOLD, MONO, SANS, markup
from reports.story import TONES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARGIN: Final = 15 * mm
TOP: Final = 20 * mm
BOTTOM: Final = 19 * mm
WIDTH: Final = A4[0] - 2 * MARGIN
HEIGHT: Final = A4[1] - TOP - BOTTOM
INK, SOFT, LINE, CARD = HexColor("#1b2430"), HexColor("#566273"), HexColor("#d3d9e1"), HexColor("#f4f6f9")
COLOURS: Final[Mapping[str, tuple[Any, Any]]] = {
    "good": (HexColor("#17693d"), HexColor("#e2f3e9")),
    "bad": (HexColor("#a3211a"), HexColor("#fde9e7")),
    "warn": (HexColor("#8a4b00"), HexColor("#fdf0d9")),
    "idle": (HexColor("#4d5969"), HexColor("#e9edf2")),
}
"""Ink and ground of a tone."""
_RESULT_TONES: Final = {**TONES, "PASS": "good", "FAIL": "bad"}
_RESULT_WORDS: Final = {"PASS": "pass", "FAIL": "fail", "NOT_RUN": "not run", "INCONCLUSIVE": "inconclusive"}
NONE: Final = "\N{EN DASH}"
_LONGEST: Final = 4000
"""Characters of one text; a longer one is cut, and says where the whole is."""
_LONG_CELL: Final = 1500
"""A cell of more characters might be taller than a page, so its table may break within a row."""
_TYPE_SCALE: Final = 0.96
"""Of a picture's texts: FiraGO is a little wider than what a page is read in."""
_LONG_ROWS: Final = 600
"""So many rows at most in one table of the library: its time grows faster than the rows do."""


def style(name: str, **changes: Any) -> ParagraphStyle:  # noqa: ANN401  # reportlab's own names and values
    """Return a paragraph's style: the usual one with changes."""
    usual = {"fontName": SANS, "fontSize": 8.6, "leading": 11.8, "textColor": INK, "splitLongWords": 1}
    return ParagraphStyle(name, **{**usual, **changes})


TEXT = style("text", spaceAfter=3)
SMALL = style("small", fontSize=7.3, leading=9.8, textColor=SOFT)
CELL = style("cell", fontSize=7.9, leading=10.4)
NUMBER = style("number", fontSize=7.9, leading=10.4, alignment=TA_RIGHT)
CODE = style("code", fontName=MONO, fontSize=6.6, leading=8.8)
_HEAD = style("head", fontName=BOLD, fontSize=7, leading=9, textColor=SOFT)
_HEAD_NUMBER = style("head-number", fontName=BOLD, fontSize=7, leading=9, textColor=SOFT, alignment=TA_RIGHT)
LEAD = style("lead", fontSize=10, leading=14, spaceAfter=5)
KICKER = style("kicker", fontName=BOLD, fontSize=8, leading=11, textColor=SOFT)
TITLE = style("title", fontName=BOLD, fontSize=19, leading=24)
VERDICT = {
    tone: style(f"verdict-{tone}", fontName=BOLD, fontSize=14, leading=18, textColor=ink, alignment=TA_CENTER)
    for tone, (ink, _) in COLOURS.items()
}
BOXED = {
    tone: style(f"boxed-{tone}", fontName=BOLD, fontSize=8.6, leading=11.4, textColor=ink)
    for tone, (ink, _) in COLOURS.items()
}
H1 = style("h1", fontName=BOLD, fontSize=13.5, leading=17, spaceBefore=15, spaceAfter=5)
H2 = style("h2", fontName=BOLD, fontSize=9.8, leading=12.5, spaceBefore=8, spaceAfter=3)
CONTENTS = style("contents", fontSize=8.4, leading=9.6)


# -- text --------------------------------------------------------------------------------------------------------------


def p(text: str, look: ParagraphStyle = TEXT) -> Paragraph:
    """Return a paragraph of a record's text."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]} (cut here; the whole text is in verdict.json or journal.jsonl)"
    return Paragraph(markup(text, look.fontName), look)


def rich(*parts: tuple[str, str]) -> Paragraph:
    """Return a paragraph of parts, one a line, each its text and its tone, one of those below or empty."""
    return Paragraph("<br/>".join(_toned(text[:_LONGEST], tone) for text, tone in parts if text), CELL)


def _toned(text: str, tone: str) -> str:
    font, attributes = _TONED.get(tone, (SANS, ""))
    marked = markup(text, font)
    return f'<font name="{font}"{attributes}>{marked}</font>' if tone in _TONED else marked


_TONED: Final = {
    "bold": (BOLD, ""),
    "soft": (SANS, ' size="7.1" color="#566273"'),
    "soft-warn": (SANS, ' size="7.1" color="#8a4b00"'),
    "bad": (SANS, ' color="#a3211a"'),
    "warn": (SANS, ' color="#8a4b00"'),
    "code": (MONO, ' size="6.5"'),
}


def look(commands: Sequence[tuple[Any, ...]]) -> TableStyle:
    """Return a table's style; reportlab would start every cell in a font that is not embedded."""
    return TableStyle([("FONTNAME", (0, 0), (-1, -1), SANS), *commands])


def boxed(text: str, tone: str) -> Table:
    """Return a text in a frame on its tone's colour."""
    ink, ground = COLOURS[tone]
    box = Table([[p(text, BOXED[tone])]], colWidths=[WIDTH])
    box.setStyle(
        look(
            [
                ("LINEBEFORE", (0, 0), (0, -1), 2.4, ink),
                ("BACKGROUND", (0, 0), (-1, -1), ground),
                ("TOPPADDING", (0, 0), (-1, -1), 3.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 4.5),
                ("LEFTPADDING", (0, 0), (-1, -1), 8),
            ]
        )
    )
    return box


# -- tables ------------------------------------------------------------------------------------------------------------


def table(
    heads: Sequence[str], widths: Sequence[float], rows: Sequence[Sequence[object]], *, numbers: Sequence[int] = ()
) -> list[Flowable]:
    """Return a table whose header is repeated on every page; widths: points, 0 for what is left."""
    left = (WIDTH - sum(widths)) / max(1, list(widths).count(0))
    filled = [width or left for width in widths]
    pieces = [rows[start : start + _LONG_ROWS] for start in range(0, len(rows), _LONG_ROWS)] or [rows]
    return [_table(heads, filled, piece, numbers) for piece in pieces]


def _table(
    heads: Sequence[str], widths: Sequence[float], rows: Sequence[Sequence[object]], numbers: Sequence[int]
) -> Table:
    body = [
        [
            p(cell, NUMBER if column in numbers else CELL) if isinstance(cell, str) else cell
            for column, cell in enumerate(row)
        ]
        for row in rows
    ]
    headed = any(heads)
    if headed:
        body.insert(0, [p(text, _HEAD_NUMBER if column in numbers else _HEAD) for column, text in enumerate(heads)])
    is_long = any(_length(cell) > _LONG_CELL for row in rows for cell in row)
    made = Table(body, colWidths=widths, repeatRows=int(headed), splitByRow=1, splitInRow=int(is_long), hAlign="LEFT")
    made.setStyle(
        look(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                *([("LINEBELOW", (0, 0), (-1, 0), 0.9, SOFT)] if headed else []),
                ("LINEBELOW", (0, int(headed)), (-1, -1), 0.4, LINE),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 6),
                ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 2.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3.2),
            ]
        )
    )
    return made


def _length(cell: object) -> int:
    """Return about how many characters a cell holds; a line break counts as a line."""
    if isinstance(cell, Paragraph):
        return len(cell.text) + 40 * str(cell.text).count("<br/>")
    return len(cell) if isinstance(cell, str) else 0


# -- own flowables -----------------------------------------------------------------------------------------------------


def tone_of(result: str) -> str:
    """Return the tone of a result's word: good, bad, warn or idle."""
    return _RESULT_TONES.get(result, "idle")


class Badge(Flowable):  # type: ignore[misc]  # reportlab ships no types
    """A result as a word on its colour."""

    def __init__(self, result: str, tone: str = "") -> None:
        super().__init__()
        self._text = _RESULT_WORDS.get(result, result.lower() or "unknown")
        self._ink, self._ground = COLOURS[tone or tone_of(result)]

    def wrap(self, _width: float, _height: float) -> tuple[float, float]:
        """Return the size: as wide as the word."""
        return pdf_type.width(self._text, BOLD, 7) + 9, 11

    def draw(self) -> None:
        """Draw it."""
        width, height = self.wrap(0, 0)
        self.canv.setFillColor(self._ground)
        self.canv.roundRect(0, 0, width, height, 2, stroke=0, fill=1)
        self.canv.setFillColor(self._ink)
        pdf_type.write(self.canv, 4.5, 3.2, self._text, font=BOLD, size=7)


class Picture(Flowable):  # type: ignore[misc]  # reportlab ships no types
    """A drawing as vectors, as wide as the page's text."""

    def __init__(self, drawing: shapes.Drawing) -> None:
        super().__init__()
        self._made = shapes.graphic(
            drawing, sans=SANS, bold=BOLD, legible=partial(pdf_type.legible, fonts=(SANS, BOLD)), type_scale=_TYPE_SCALE
        )
        self._scale = WIDTH / float(self._made.width)

    def wrap(self, _width: float, _height: float) -> tuple[float, float]:
        """Return the size."""
        return WIDTH, float(self._made.height) * self._scale

    def draw(self) -> None:
        """Draw it."""
        self.canv.saveState()
        self.canv.scale(self._scale, self._scale)
        renderPDF.draw(self._made, self.canv, 0, 0)
        self.canv.restoreState()


class Heading(Paragraph):  # type: ignore[misc]  # reportlab ships no types
    """A section's title: a bookmark, and a line in the contents."""

    def __init__(self, text: str, key: str) -> None:
        super().__init__(markup(text, BOLD), H1)
        self.section = (pdf_type.legible(text), key)


def section(text: str, key: str) -> list[Flowable]:
    """Return a section's title, which is never the last thing on a page."""
    return [CondPageBreak(42 * mm), Heading(text, key)]
