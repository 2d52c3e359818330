"""The letters of report.pdf: the fonts that it embeds, and text made ready for them.

Invariants: every character that is written has a glyph in an embedded font; one that no font has is written as its
number, as [U+4E2D], and never left out; a text of a record is never markup.
"""

from __future__ import annotations

import io
import unicodedata
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

import pymupdf_fonts
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reportlab.pdfgen.canvas import Canvas

SANS: Final = "RecordSans"
BOLD: Final = "RecordSans-Bold"
MONO: Final = "RecordMono"
_FILES: Final = {SANS: "figo", BOLD: "figbo", MONO: "cascadia"}
"""FiraGO for text and Cascadia Mono for what is code, or has a character that FiraGO lacks: both SIL OFL 1.1."""
_SUBSTITUTES: Final = {
    "✔": "✓",
    "✘": "\N{MULTIPLICATION SIGN}",
    "✗": "\N{MULTIPLICATION SIGN}",
    "▶": "►",
    "▸": "►",
    "\N{NON-BREAKING HYPHEN}": "-",
}


@cache
def register() -> dict[str, frozenset[int]]:
    """Register the fonts, once, and return the characters that each has."""
    found = {}
    for name, file in _FILES.items():
        font = TTFont(name, io.BytesIO(pymupdf_fonts.myfont(file)))
        pdfmetrics.registerFont(font)
        found[name] = frozenset(code for code, glyph in font.face.charToGlyph.items() if glyph)
    pdfmetrics.registerFontFamily(SANS, normal=SANS, bold=BOLD, italic=SANS, boldItalic=BOLD)
    pdfmetrics.registerFontFamily(MONO, normal=MONO, bold=MONO, italic=MONO, boldItalic=MONO)
    return found


def legible(text: str, fonts: tuple[str, ...] = ()) -> str:
    """Return a text in characters that a font has; fonts: that each of these has."""
    return "".join(_legible(character, fonts) for character in text)


@cache
def _legible(character: str, fonts: tuple[str, ...]) -> str:
    if character in "\n\t":
        return " "
    if unicodedata.category(character) == "Zs":
        return "\N{NO-BREAK SPACE}" if character in "\u00a0\u202f\u2007" else " "
    for one in (character, _SUBSTITUTES.get(character, "")):
        if one and unicodedata.category(one)[0] != "C" and _is_known(ord(one), fonts):
            return one
    return f"[U+{ord(character):04X}]"


def _is_known(code: int, fonts: tuple[str, ...]) -> bool:
    """Whether each of some fonts has a character; without any, whether text can be written with it."""
    known = register()
    if fonts:
        return all(code in known[name] for name in fonts)
    return code in known[MONO] or (code in known[SANS] and code in known[BOLD])


def runs(text: str, font: str = SANS) -> Iterator[tuple[str, str]]:
    """Yield a text in pieces, each with the font that has all of it."""
    known = register()[font]
    for is_known, piece in groupby(legible(text), key=lambda character: ord(character) in known):
        yield (font if is_known else MONO), "".join(piece)


def markup(text: str, font: str = SANS) -> str:
    """Return a text as reportlab's paragraph markup; nothing in it is markup of its own."""
    return "".join(
        escape(piece) if name == font else f'<font name="{name}">{escape(piece)}</font>'
        for name, piece in runs(text, font)
    )


def width(text: str, font: str, size: float) -> float:
    """Return how wide a line of text is, in points."""
    return float(sum(pdfmetrics.stringWidth(piece, name, size) for name, piece in runs(text, font)))


def fitting(text: str, font: str, size: float, room: float) -> str:
    """Return a line of text, cut with an ellipsis where it is wider than its room."""
    if width(text, font, size) <= room:
        return text
    while text and width(f"{text}…", font, size) > room:
        text = text[:-1]
    return f"{text.rstrip()}…"


def write(canvas: Canvas, x: float, y: float, text: str, *, font: str, size: float, anchor: str = "start") -> None:
    """Write a line of text; anchor: start, middle or end of it is at x."""
    x -= {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * width(text, font, size)
    for name, piece in runs(text, font):
        canvas.setFont(name, size)
        canvas.drawString(x, y, piece)
        x += pdfmetrics.stringWidth(piece, name, size)
