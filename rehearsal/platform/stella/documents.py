"""Makes PDF reports: a title, facts, headed tables and paragraphs, page numbers.

Invariant: text is set as text, so that a reader can search and copy it; whatever is passed in is escaped.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.platypus import LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle

if TYPE_CHECKING:
    from collections.abc import Sequence

MARGIN = 18 * mm
INK = colors.HexColor("#1f2933")
QUIET = colors.HexColor("#6b7280")
RULE = colors.HexColor("#d5dae1")
SHADE = colors.HexColor("#f3f5f8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading, a sentence, and a table if it has rows. `widths` are the columns' shares of the page's width."""

    heading: str
    text: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    widths: tuple[float, ...] = ()


def make_pdf(*, title: str, facts: Sequence[tuple[str, str]], sections: Sequence[Section]) -> bytes:
    """Return a PDF with the facts under its title, then the sections."""
    styles = getSampleStyleSheet()
    body = ParagraphStyle("body", parent=styles["BodyText"], fontSize=9.5, leading=13, textColor=INK)
    cell = ParagraphStyle("cell", parent=body, fontSize=7.8, leading=10, splitLongWords=True)
    head = ParagraphStyle("head", parent=cell, fontName="Helvetica-Bold", textColor=INK)
    heading = ParagraphStyle("heading", parent=styles["Heading2"], fontSize=12.5, spaceBefore=12, textColor=INK)
    name = ParagraphStyle("name", parent=styles["Title"], alignment=0, fontSize=19, leading=23, textColor=INK)
    width = A4[0] - 2 * MARGIN

    def table(columns: Sequence[str], rows: Sequence[Sequence[str]], shares: Sequence[float]) -> LongTable:
        cells = [[Paragraph(escape(text), head) for text in columns]] if columns else []
        cells += [[Paragraph(escape(text), cell) for text in row] for row in rows]
        made = LongTable(cells, colWidths=[width * share for share in shares], repeatRows=1 if columns else 0)
        rules: list[tuple[Any, ...]] = [
            ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("TOPPADDING", (0, 0), (-1, -1), 2.5),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
        ]
        if columns:
            rules.append(("BACKGROUND", (0, 0), (-1, 0), SHADE))
        made.setStyle(TableStyle(rules))
        return made

    story: list[Any] = [Paragraph(escape(title), name), table((), facts, (0.22, 0.78)), Spacer(1, 4 * mm)]
    for section in sections:
        story += [Paragraph(escape(section.heading), heading), Paragraph(escape(section.text), body)]
        if section.rows:
            story += [Spacer(1, 2 * mm), table(section.columns, section.rows, section.widths)]
    made = io.BytesIO()
    document = SimpleDocTemplate(
        made,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=title,
        author="stella",
    )

    def number_page(canvas: Any, _document: object) -> None:  # noqa: ANN401 -- reportlab ships no types
        canvas.setFont("Helvetica", 8)
        canvas.setFillColor(QUIET)
        canvas.drawString(MARGIN, 10 * mm, title)
        canvas.drawRightString(A4[0] - MARGIN, 10 * mm, f"page {canvas.getPageNumber()}")

    document.build(story, onFirstPage=number_page, onLaterPages=number_page)
    return made.getvalue()
