"""report.pdf: the record on A4, for the auditor.

Invariants: the same record gives the same bytes; every glyph comes from an embedded font, a character that it lacks is
written as its number, never left out; tables repeat their headers and break between rows, or within one that no
page holds; nothing is loaded from anywhere.
"""

from __future__ import annotations

import io
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import reportlab
from reportlab.graphics import renderPDF
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)
from reportlab.platypus.tableofcontents import TableOfContents

from reports import html, shapes, shares, timeline, wording
from reports.record import NO_VERDICT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reports.gates import GateBlock, GateRow
    from reports.record import ClauseView, GateView, Record

NAME = "report.pdf"
_SANS, _BOLD = "RecordSans", "RecordSans-Bold"
_MARGIN = 15 * mm
_TOP, _BOTTOM = 21 * mm, 18 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_PICTURE = 790.0
"""The timeline is laid out in this width and scaled down to the page's: its smallest text is 6.5 points then."""
_CHART_TYPE = 0.92
"""Of the sizes of a picture's texts: the font is wider than a browser's."""
_PAPER = 0.78
"""Of the heights of the timeline's panels, so that the first page holds it."""
_INK, _SOFT, _LINE, _CARD = HexColor("#1b2430"), HexColor("#566273"), HexColor("#d3d9e1"), HexColor("#f4f6f9")
_TONES: Mapping[str, tuple[Any, Any]] = {
    "good": (HexColor("#17693d"), HexColor("#e2f3e9")),
    "bad": (HexColor("#a3211a"), HexColor("#fde9e7")),
    "warn": (HexColor("#8a4b00"), HexColor("#fdf0d9")),
    "idle": (HexColor("#4d5969"), HexColor("#e9edf2")),
}
_TONE_OF = {
    "PASS": "good",
    "PASSED": "good",
    "FAIL": "bad",
    "FAILED": "bad",
    "ERROR": "bad",
    "INCONCLUSIVE": "warn",
    "INCOMPLETE": "warn",
    "ROLLED_BACK": "warn",
}
_BADGES = {"PASS": "pass", "NOT_RUN": "not run", "INCONCLUSIVE": "inconclusive"}
_WINDOW = re.compile(r"\[(\d+(?:ms|s|m|h|d))\]")
_SINCE = re.compile(r"since \d{4}-\S+Z")
_SUBSTITUTES = {"→": "->", "✔": "yes", "✘": "no", "▶": ">"}
_NONE = "\N{EN DASH}"
_LONGEST = 4000
"""Characters of one text; a longer one is cut, and says where the whole is."""
_WORTH_TELLING_S = 0.1
"""A step that passed faster is shown without its duration."""
_LONG_CELL = 1500
"""A cell of more characters might be taller than a page, so its table may break within a row."""


@cache
def _fonts() -> frozenset[int]:
    """Register the fonts and return the characters that both have."""
    folder = Path(reportlab.__file__).parent / "fonts"
    known: set[int] = set()
    for name, file in ((_SANS, "Vera.ttf"), (_BOLD, "VeraBd.ttf")):
        font = TTFont(name, str(folder / file))
        pdfmetrics.registerFont(font)
        glyphs = set(font.face.charToGlyph)
        known = glyphs if not known else known & glyphs
    pdfmetrics.registerFontFamily(_SANS, normal=_SANS, bold=_BOLD, italic=_SANS, boldItalic=_BOLD)
    return frozenset(known)


def legible(text: str) -> str:
    """Return a text in characters that the font has; others become a substitute or their number, as [U+4E2D]."""
    known = _fonts()
    parts = []
    for character in text:
        if character in "\n\t":
            parts.append(" ")
        elif unicodedata.category(character) == "Zs":
            parts.append("\N{NO-BREAK SPACE}" if character in "\u00a0\u202f\u2007" else " ")
        elif ord(character) in known and ord(character) >= ord(" "):
            parts.append(character)
        else:
            parts.append(_SUBSTITUTES.get(character, f"[U+{ord(character):04X}]"))
    return "".join(parts)


# -- styles ------------------------------------------------------------------------------------------------------------


def _style(name: str, **changes: Any) -> ParagraphStyle:  # noqa: ANN401  # reportlab's own names and values
    base = {"fontName": _SANS, "fontSize": 8.5, "leading": 11.2, "textColor": _INK, "splitLongWords": 1}
    return ParagraphStyle(name, **{**base, **changes})


_TEXT = _style("text")
_SMALL = _style("small", fontSize=7.2, leading=9.4, textColor=_SOFT)
_CELL = _style("cell", fontSize=7.8, leading=10)
_NUMBER = _style("number", fontSize=7.8, leading=10, alignment=TA_RIGHT)
_HEAD = _style("head", fontName=_BOLD, fontSize=7, leading=9, textColor=_SOFT)
_HEAD_NUMBER = _style("head-number", fontName=_BOLD, fontSize=7, leading=9, textColor=_SOFT, alignment=TA_RIGHT)
_LEAD = _style("lead", fontSize=9.6, leading=13, spaceAfter=7)
_TITLE = _style("title", fontName=_BOLD, fontSize=19, leading=23)
_H1 = _style("h1", fontName=_BOLD, fontSize=13, leading=16, spaceBefore=14, spaceAfter=5)
_H2 = _style("h2", fontName=_BOLD, fontSize=9.6, leading=12, spaceBefore=8, spaceAfter=3)


def _p(text: str, style: ParagraphStyle = _TEXT) -> Paragraph:
    """Return a paragraph of a record's text: nothing in it is markup."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]} (cut here; the whole text is in verdict.json or journal.jsonl)"
    return Paragraph(escape(legible(text)), style)


def _rich(*parts: tuple[str, str]) -> Paragraph:
    """Return a paragraph of parts, each its text and its tone: bold, soft or plain, one a line."""
    marked = []
    for text, tone in parts:
        if not text:
            continue
        plain = escape(legible(text[:_LONGEST]))
        if tone == "bold":
            plain = f'<font name="{_BOLD}">{plain}</font>'
        elif tone == "soft":
            plain = f'<font size="7" color="#566273">{plain}</font>'
        elif tone == "bad":
            plain = f'<font color="#a3211a">{plain}</font>'
        marked.append(plain)
    return Paragraph("<br/>".join(marked), _CELL)


def _look(commands: Sequence[tuple[Any, ...]]) -> TableStyle:
    """Return a table's style; reportlab would start every cell in a font that is not embedded."""
    return TableStyle([("FONTNAME", (0, 0), (-1, -1), _SANS), *commands])


# -- own flowables -----------------------------------------------------------------------------------------------------


class _Badge(Flowable):  # type: ignore[misc]  # reportlab ships no types
    """A result as a word on its colour."""

    def __init__(self, result: str) -> None:
        super().__init__()
        self._text = legible(_BADGES.get(result, result or "unknown"))
        self._ink, self._ground = _TONES[_TONE_OF.get(result, "idle")]

    def wrap(self, _width: float, _height: float) -> tuple[float, float]:
        """Return the size: as wide as the word."""
        return pdfmetrics.stringWidth(self._text, _BOLD, 7) + 8, 10.5

    def draw(self) -> None:
        """Draw it."""
        width, height = self.wrap(0, 0)
        self.canv.setFillColor(self._ground)
        self.canv.roundRect(0, 0, width, height, 2, stroke=0, fill=1)
        self.canv.setFillColor(self._ink)
        self.canv.setFont(_BOLD, 7)
        self.canv.drawString(4, 3.1, self._text)


class _Picture(Flowable):  # type: ignore[misc]  # reportlab ships no types
    """A drawing as vectors, as wide as the page's text."""

    def __init__(self, drawing: shapes.Drawing) -> None:
        super().__init__()
        self._drawing = drawing
        self._scale = _WIDTH / drawing.width

    def wrap(self, _width: float, _height: float) -> tuple[float, float]:
        """Return the size."""
        return _WIDTH, self._drawing.height * self._scale

    def draw(self) -> None:
        """Draw it."""
        made = shapes.graphic(self._drawing, sans=_SANS, bold=_BOLD, legible=legible, type_scale=_CHART_TYPE)
        self.canv.saveState()
        self.canv.scale(self._scale, self._scale)
        renderPDF.draw(made, self.canv, 0, 0)
        self.canv.restoreState()


class _Heading(Paragraph):  # type: ignore[misc]  # reportlab ships no types
    """A section's title: a bookmark, and a line in the contents."""

    def __init__(self, text: str, key: str) -> None:
        super().__init__(escape(legible(text)), _H1)
        self.section = (legible(text), key)


# -- the document ------------------------------------------------------------------------------------------------------


class _Document(BaseDocTemplate):  # type: ignore[misc]  # reportlab ships no types
    """Pages with a header and a footer, and bookmarks of the sections."""

    def __init__(self, stream: io.BytesIO, record: Record) -> None:
        outcome = _outcome(record)
        super().__init__(
            stream,
            pagesize=A4,
            leftMargin=_MARGIN,
            rightMargin=_MARGIN,
            topMargin=_TOP,
            bottomMargin=_BOTTOM,
            title=legible(f"{outcome}: upgrade record {record.id}"),
            author="cutover",
            subject=legible(_title(record)),
            invariant=1,
            lang="en",
        )
        frame = Frame(_MARGIN, _BOTTOM, _WIDTH, A4[1] - _TOP - _BOTTOM, 0, 0, 0, 0)
        self.addPageTemplates(PageTemplate(frames=[frame]))

    def afterFlowable(self, flowable: Flowable) -> None:  # noqa: N802  # reportlab's name
        """Note where a section begins."""
        if isinstance(flowable, _Heading):
            text, key = flowable.section
            self.canv.bookmarkPage(key)
            self.canv.addOutlineEntry(text, key, level=0, closed=False)
            self.notify("TOCEntry", (0, text, self.page, key))


def _canvas(record: Record) -> type[Canvas]:
    """Return a canvas that writes `page n of m` and the record's name on every page, once m is known."""
    outcome, name = _outcome(record), legible(f"Upgrade record {record.id}")
    ink, ground = _TONES[_TONE_OF.get(outcome, "idle")]
    notice = legible(record.notice)

    class Numbered(Canvas):  # type: ignore[misc]  # reportlab ships no types
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **{**options, "initialFontName": _SANS})
            self._pages: list[dict[str, object]] = []

        def showPage(self) -> None:  # noqa: N802  # reportlab's name
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, start=1):
                self.__dict__.update(page)
                self._furniture(number, len(self._pages))
                super().showPage()
            super().save()

        def _furniture(self, number: int, pages: int) -> None:
            top = A4[1] - 12.5 * mm
            self.setFont(_SANS, 7.5)
            self.setFillColor(_SOFT)
            self.drawString(_MARGIN, top, name)
            wide = pdfmetrics.stringWidth(outcome, _BOLD, 7.5) + 10
            self.setFillColor(ground)
            self.roundRect(A4[0] - _MARGIN - wide, top - 3.6, wide, 12, 2, stroke=0, fill=1)
            self.setFillColor(ink)
            self.setFont(_BOLD, 7.5)
            self.drawString(A4[0] - _MARGIN - wide + 5, top, outcome)
            self.setStrokeColor(_LINE)
            self.setLineWidth(0.5)
            self.line(_MARGIN, top - 6.5, A4[0] - _MARGIN, top - 6.5)
            self.setFillColor(_SOFT)
            self.setFont(_SANS, 7.2)
            self.drawRightString(A4[0] - _MARGIN, 10 * mm, f"page {number} of {pages}")
            room = _WIDTH - 70
            words = notice
            while words and pdfmetrics.stringWidth(words, _SANS, 7.2) > room:
                words = words[:-2]
            self.drawString(_MARGIN, 10 * mm, words)

    return Numbered


def _outcome(record: Record) -> str:
    return "NO VERDICT" if record.result == NO_VERDICT else legible(record.result)


def _title(record: Record) -> str:
    return wording.title(record).replace(" → ", " to ")


def build(record: Record) -> bytes:
    """Return the document."""
    _fonts()
    stream = io.BytesIO()
    facts = html.facts(record)
    story: list[Flowable] = [
        *_first_page(record, facts),
        *_failures(facts["troubled"], record, facts["decision"]),
        *_matrix(facts["phases"]),
        *_served(record),
        *_gates(facts["gates"], facts["decisions"]),
        *_deviations(record),
        *_evidence(record, facts),
        *_load(record, facts),
        *_commands(record),
        *_journal(record, facts["events"]),
        *_plan(record),
    ]
    _Document(stream, record).multiBuild(story, canvasmaker=_canvas(record))
    return stream.getvalue()


def _first_page(record: Record, facts: Mapping[str, Any]) -> Iterable[Flowable]:
    outcome = _outcome(record)
    ink, ground = _TONES[_TONE_OF.get(outcome, "idle")]
    where = " · ".join(part for part in (record.target_name, record.target_kind, wording.span(record)) if part)
    verdict = _style("verdict", fontName=_BOLD, fontSize=14, leading=18, textColor=ink, alignment=1)
    banner = Table([[_p(_title(record), _TITLE), _p(outcome, verdict)]], colWidths=[_WIDTH - 120, 120])
    banner.setStyle(
        _look(
            [
                ("BACKGROUND", (1, 0), (1, 0), ground),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("LEFTPADDING", (0, 0), (0, 0), 0),
                ("ROUNDEDCORNERS", [3, 3, 3, 3]),
            ]
        )
    )
    yield banner
    yield _p(where, _style("where", fontSize=8.6, leading=12, textColor=_SOFT, spaceAfter=4))
    if record.notice:
        yield _boxed(record.notice, "warn")
    yield Spacer(1, 5)
    yield _p(facts["lead"], _LEAD)
    if facts["decision"]:
        yield _boxed(facts["decision"], "bad")
        yield Spacer(1, 6)
    problems = [
        *record.problems,
        *([f"the journal's chain does not hold: {record.journal_problem}"] if record.journal_problem else []),
    ]
    if problems:
        yield _p(
            "This record is not complete: " + "; ".join(problems),
            _style("problems", textColor=_TONES["warn"][0], spaceAfter=6),
        )
    yield _summary(record, facts)
    yield Spacer(1, 4)
    yield _p(f"verdict.json {record.verdict_sha256 or 'absent'}", _SMALL)
    yield _p(f"journal head {record.journal_head or 'unknown'}", _SMALL)
    drawing = timeline.draw(record, width=_PICTURE, stretch=_PAPER)
    contents = TableOfContents()
    contents.levelStyles = [_style("contents", fontSize=8.4, leading=12.5)]
    contents.dotsMinLevel = 0
    contents.tableStyle = _look([("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 0)])
    # The contents cannot be kept together with their title: reportlab finds them at the top level alone.
    listed = [CondPageBreak(70 * mm), _p("Contents", _H2), contents]
    shown = [KeepTogether([_Heading("Timeline", "timeline"), _Picture(drawing)])] if drawing is not None else []
    fits = drawing is not None and drawing.height * _WIDTH / drawing.width <= _left_on_page(record, facts)
    yield from [*shown, *listed] if fits else [*listed, *shown]


def _left_on_page(record: Record, facts: Mapping[str, Any]) -> float:
    """Return about how much of the first page is left for a picture."""
    used = 152 if facts["decision"] or record.problems else 104
    _, summary = _summary(record, facts).wrap(_WIDTH, A4[1])
    return float(A4[1] - _TOP - _BOTTOM - used - summary - 35)


def _boxed(text: str, tone: str) -> Table:
    """Return a text in a frame on its tone's colour."""
    ink, ground = _TONES[tone]
    box = Table([[_p(text, _style(f"boxed-{tone}", fontName=_BOLD, fontSize=8.6, leading=11, textColor=ink))]])
    box.setStyle(_look([("BOX", (0, 0), (-1, -1), 0.7, ink), ("BACKGROUND", (0, 0), (-1, -1), ground)]))
    return box


def _summary(record: Record, facts: Mapping[str, Any]) -> Table:
    reasons = facts["not_run"]
    shown = [(f"{number} not run: {reason}", "soft") for reason, number in reasons[:3]]
    if len(reasons) > len(shown):
        left = sum(number for _, number in reasons[3:])
        shown.append((f"and {left} more, with their reasons, below", "soft"))
    balance, added = wording.evidence(record)
    requests, markers = wording.traffic(record)
    back, points = wording.undo(record)
    cells = [
        ("REQUESTED BY", [(record.approval.get("requested_by") or "not recorded", "")]),
        (
            "APPROVED BY",
            [
                line
                for name, said in wording.approved(record)
                for line in ((name, ""), *((text, "soft") for text in said))
            ],
        ),
        (
            "EXECUTED BY",
            [
                (record.operator or "not recorded", ""),
                (f"{record.strategy or 'unknown'} strategy, scope: {record.scope or 'unknown'}", "soft"),
                *((line, "soft") for line in wording.attempts(record)),
            ],
        ),
        ("CLAUSES", [(wording.counts(record), ""), *shown]),
        ("EVIDENCE", [(balance, ""), (added, "soft")]),
        ("TRAFFIC", [(requests, ""), (markers, "soft")]),
        ("UNDO", [(back, ""), (points, "soft")]),
        (
            "DEVIATIONS FROM THE GUIDE",
            [(f"{len(record.deviations)}, each with its reason" if record.deviations else "none", "")],
        ),
        (
            "OBSERVATION",
            [
                (str(record.observation.get("state") or "unknown"), ""),
                (wording.until(record.observation.get("until")), "soft"),
                (wording.window(record.observation), "soft"),
            ],
        ),
    ]
    filled = [[_p(name, _HEAD), _rich(*parts)] for name, parts in cells]
    table = Table([filled[row : row + 3] for row in range(0, 9, 3)], colWidths=[_WIDTH / 3] * 3)
    table.setStyle(
        _look(
            [
                ("BACKGROUND", (0, 0), (-1, -1), _CARD),
                ("GRID", (0, 0), (-1, -1), 0.5, _LINE),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ]
        )
    )
    return table


# -- sections ----------------------------------------------------------------------------------------------------------


def _table(
    heads: Sequence[str], widths: Sequence[float], rows: Sequence[Sequence[object]], *, numbers: Sequence[int] = ()
) -> Table:
    """Return a table whose header is repeated on every page; widths: points, 0 for what is left."""
    left = (_WIDTH - sum(widths)) / max(1, list(widths).count(0))
    head = [_p(text, _HEAD_NUMBER if column in numbers else _HEAD) for column, text in enumerate(heads)]
    body = [
        [
            _p(cell, _NUMBER if column in numbers else _CELL) if isinstance(cell, str) else cell
            for column, cell in enumerate(row)
        ]
        for row in rows
    ]
    long = any(_length(cell) > _LONG_CELL for row in rows for cell in row)
    widths = [width or left for width in widths]
    table = Table([head, *body], colWidths=widths, repeatRows=1, splitByRow=1, splitInRow=int(long))
    table.hAlign = "LEFT"
    table.setStyle(
        _look(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, 0), 0.9, _SOFT),
                ("LINEBELOW", (0, 1), (-1, -1), 0.4, _LINE),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 6),
                ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 2.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
            ]
        )
    )
    return table


def _length(cell: object) -> int:
    """Return about how many characters a cell holds; a line break counts as a line."""
    if isinstance(cell, Paragraph):
        return len(cell.text) + 40 * str(cell.text).count("<br/>")
    return len(cell) if isinstance(cell, str) else 0


def _section(text: str, key: str) -> list[Flowable]:
    return [CondPageBreak(42 * mm), _Heading(text, key)]


def _failures(troubled: Sequence[ClauseView], record: Record, decision: str) -> Iterable[Flowable]:
    if not troubled:
        return
    yield from _section("What failed", "failures")
    for clause in troubled:
        yield Paragraph(escape(legible(f"{clause.id} {clause.title}: {clause.result}")), _H2)
        rows = (
            ("Reason", clause.reason or "none is recorded"),
            ("Cause", clause.cause),
            ("Seen", clause.seen),
            ("Next", clause.remedy),
            ("State", clause.state),
            ("Guide", clause.guide),
        )
        yield _table(["", ""], [52, 0], [[_p(name, _SMALL), text] for name, text in rows if text])
    if decision:
        yield Spacer(1, 4)
        yield _p(f"Decision. {decision}")
    if record.rollback.performed:
        yield Spacer(1, 4)
        yield _p(f"Rollback. Trigger: {record.rollback.trigger or 'unknown'}. It was {wording.undo(record)[0]}.")


def _matrix(phases: Sequence[tuple[str, Sequence[ClauseView]]]) -> Iterable[Flowable]:
    yield from _section("Clauses", "clauses")
    yield _p(
        "Every clause of the guide, in the order of a run, with what performed it and what its result rests on. "
        "A clause that was not run says why. Steps passed unless they say otherwise. "
        "File names are relative to the record's folder."
    )
    if not phases:
        yield _p("The record names no clause.")
    for title, clauses in phases:
        yield CondPageBreak(52 * mm)
        yield _p(title, _H2)
        yield _table(
            ["CLAUSE", "SCENARIO AND STEPS", "RESULT", "TOOK", "EVIDENCE"],
            [42, 0, 62, 48, 128],
            [_clause_row(clause) for clause in clauses],
            numbers=(3,),
        )


def _clause_row(clause: ClauseView) -> list[object]:
    parts = [(clause.title or clause.scenario or clause.id, "bold")]
    if clause.result != "PASS":
        parts.append((clause.reason, "bad" if clause.result in wording.BAD else ""))
    parts.append((f"risk: {clause.risk}" if clause.risk not in {"", "reversible"} else "", "soft"))
    for step in clause.steps:
        good = step.status == "passed"
        notes = [] if good else [step.status]
        if not good or step.duration_s >= _WORTH_TELLING_S:
            notes.append(wording.duration(step.duration_s))
        ending = f" ({', '.join(notes)})".replace(" ", "\N{NO-BREAK SPACE}") if notes else ""
        parts.append((f"{step.keyword} {step.text}{ending.replace(chr(160), ' ', 1)}", "soft" if good else "bad"))
    evidence = "\n".join(clause.links) or (_NONE if clause.result == "NOT_RUN" else "journal.jsonl")
    took = wording.duration(clause.duration_s) if clause.duration_s is not None else _NONE
    files = _rich(*((line, "soft") for line in evidence.split("\n")))
    return [_rich((clause.id, "bold")), _rich(*parts), _Badge(clause.result), took, files]


def _served(record: Record) -> Iterable[Flowable]:
    yield from _section("Served by", "served")
    drawing = shares.draw(record, width=_PICTURE)
    if drawing is None:
        yield _p("No weight was held long enough to measure who served it.")
    else:
        yield _p(
            "Every answer at the public host names its colour. At each weight the share that green served must lie "
            "inside the exact binomial interval of that weight, or the route does something else than it says."
        )
        yield Spacer(1, 4)
        yield _Picture(drawing)
        yield _table(
            ["CLAUSE", "WEIGHT", "GREEN", "OF", "SHARE", "INTERVAL", "INSIDE"],
            [50, 60, 70, 70, 70, 0, 60],
            [
                [
                    share.clause,
                    f"{share.percent:g} %",
                    wording.count(share.green),
                    wording.count(share.total),
                    f"{share.share * 100:.2f} %" if share.share is not None else "no data",
                    f"{share.low * 100:.2f} to {share.high * 100:.2f} %" if share.total else _NONE,
                    _Badge("PASS" if share.inside else "FAIL") if share.total else "not measured",
                ]
                for share in record.shares
            ],
            numbers=(1, 2, 3, 4, 5),
        )
    writes = wording.writes(record) or "The acknowledged writes were not compared with the table in this run"
    yield _p("Write markers", _H2)
    yield _p(f"{writes}.")


def _gates(blocks: Sequence[GateBlock], decisions: Sequence[Sequence[str]]) -> Iterable[Flowable]:
    yield from _section("Gates", "gates")
    if not blocks:
        yield _p("No gate was measured in this run.")
        return
    yield _p(
        "By gate: each weight with the measurement that decides, the worst, else the last. Every verdict is in "
        "gates/samples.jsonl with its queries and raw answers."
    )
    if decisions:
        yield _p("Decisions", _H2)
        yield _table(
            ["AT", "WEIGHT", "DECISION", "BY"],
            [60, 50, 90, 160],
            [list(one) for one in decisions],
        )
    for block in blocks:
        facts = " · ".join(part for part in (block.name, block.source, block.absent) if part)
        yield CondPageBreak(26 * mm)
        yield _p(block.title, _H2)
        yield _p(facts, _SMALL)
        yield _table(
            ["CLAUSE", "WEIGHT", "WORST", "", "GREEN", "BLUE", "LIMIT", "SAMPLES", "TAKEN", "LINE"],
            [38, 44, 62, 0, 58, 50, 50, 44, 34, 30],
            [_gate_row(row) for row in block.rows],
            numbers=(4, 5, 6, 7, 8, 9),
        )
    yield _p("Queries", _H2)
    yield _p("The windows are those over which the measurements above were taken, in the same place of the query.")
    yield _table(
        ["GATE", "QUERY", "WINDOWS"],
        [92, 0, 92],
        [
            [title, _rich((query, "soft")), _rich((", ".join(windows) or _NONE, "soft"))]
            for (title, query), windows in _queries([row.gate for block in blocks for row in block.rows]).items()
        ],
    )


def _gate_row(row: GateRow) -> list[object]:
    gate = row.gate
    return [
        gate.clause or _NONE,
        row.weight,
        _Badge(gate.result),
        _rich((gate.reason, "bad")),
        wording.measure(gate.value, gate.unit),
        wording.measure(gate.blue, gate.unit) if gate.blue is not None else _NONE,
        wording.measure(gate.limit, gate.unit) if gate.limit is not None else _NONE,
        wording.count(gate.samples),
        str(row.measured),
        str(gate.line) if gate.line is not None else _NONE,
    ]


def _queries(gates: Sequence[GateView]) -> dict[tuple[str, str], list[str]]:
    """Return every gate's query with its window left open, and the windows it was asked with."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for gate in gates:
        asked = _SINCE.sub("since the weight took effect", _WINDOW.sub("[window]", gate.query))
        windows = found.setdefault((gate.title, asked), {})
        windows.update(dict.fromkeys(_WINDOW.findall(gate.query)))
    return {key: list(windows) for key, windows in found.items()}


def _deviations(record: Record) -> Iterable[Flowable]:
    yield from _section("Deviations from the guide", "deviations")
    if not record.deviations:
        yield _p("None is recorded.")
        return
    yield _table(
        ["ID", "DID", "INSTEAD OF", "BECAUSE"],
        [30, 0, 0, 0],
        [[d.id, d.did, d.instead_of, d.why or _NONE] for d in record.deviations],
    )


def _evidence(record: Record, facts: Mapping[str, Any]) -> Iterable[Flowable]:
    yield from _section("Evidence", "evidence")
    if record.evidence:
        names = list(record.evidence)
        counts = [wording.count(record.evidence[name]) for name in names]
        yield _table(
            [name.upper() for name in names], [_WIDTH / len(names)] * len(names), [counts], numbers=range(len(names))
        )
        yield Spacer(1, 6)
    else:
        yield _p("Evidence was not compared in this run.")
    checked = facts["checked"]
    if facts["guarantees"]:
        yield _table(
            ["ID", "GUARANTEE", "RESULT", "CHECKED", "FINDINGS", "FILES"],
            [30, 0, 62, 50, 52, 130],
            [
                [
                    clause.id,
                    _rich(
                        (clause.title, "bold"),
                        (clause.reason if clause.result != "PASS" else "", "bad"),
                        (clause.check, "soft"),
                    ),
                    _Badge(clause.result),
                    wording.count(checked[clause.id][0]) if clause.id in checked else _NONE,
                    wording.count(checked[clause.id][1]) if clause.id in checked else _NONE,
                    _rich(*((name, "soft") for name in clause.links or (_NONE,))),
                ]
                for clause in facts["guarantees"]
            ],
            numbers=(3, 4),
        )


def _load(record: Record, facts: Mapping[str, Any]) -> Iterable[Flowable]:
    yield from _section("Load", "load")
    if not facts["load"]:
        yield _p("No request was sent to the public host in this run.")
        return
    yield _table(["", ""], [170, 190], [list(row) for row in facts["load"]], numbers=(1,))
    if facts["latencies"]:
        yield CondPageBreak(30 * mm)
        yield _p("Latency by phase and colour", _H2)
        heads = [head.upper() for head in facts["latency_heads"]]
        yield _table(heads, [0, 50, *([52] * 7)], facts["latencies"], numbers=range(2, 9))
    failures = [one for one in record.load.get("failures") or [] if isinstance(one, dict)][:20]
    if failures:
        yield _p("First failed requests", _H2)
        yield _table(
            ["TIME", "REQUEST", "ERROR"],
            [110, 150, 0],
            [
                [str(f.get("time", "")), f"{f.get('method', '')} {f.get('name', '')}", str(f.get("error", ""))]
                for f in failures
            ],
        )


def _commands(record: Record) -> Iterable[Flowable]:
    yield from _section("Commands", "commands")
    if not record.commands:
        yield _p("No command was run.")
        return
    yield _table(
        ["NO.", "AT", "CLAUSE", "COMMAND AND TRANSCRIPT", "EXIT", "TOOK"],
        [24, 46, 40, 0, 32, 48],
        [
            [
                str(command.number),
                wording.clock(command.time),
                command.clause or _NONE,
                _rich((" ".join(command.argv), ""), (command.transcript, "soft")),
                str(command.exit_code) if command.exit_code is not None else "none",
                wording.duration(command.duration_s),
            ]
            for command in record.commands
        ],
        numbers=(4, 5),
    )


def _journal(record: Record, events: Sequence[tuple[str, int]]) -> Iterable[Flowable]:
    yield from _section("Journal", "journal")
    yield _p(
        f"journal.jsonl holds {wording.many(len(record.lines), 'line')}, each naming the digest of the one before."
    )
    if record.journal_problem:
        yield _p(f"The chain does not hold: {record.journal_problem}.")
    elif record.lines:
        yield _p(
            f"The chain was checked when this document was made, from its first line to its head {record.journal_head}."
        )
    yield _p(", ".join(f"{name} {number}" for name, number in events), _SMALL)


def _plan(record: Record) -> Iterable[Flowable]:
    yield from _section("Plan", "plan")
    digest = record.plan.get("digest")
    yield _p(
        f"Strategy {record.strategy or 'unknown'}, scope {record.scope or 'unknown'}"
        + (f", digest {digest}" if digest else "")
        + ". What each clause was meant to change, and how that is undone; "
        "clauses that change nothing are left out here."
    )
    changing = [clause for clause in record.clauses if clause.changes]
    if changing:
        yield _table(
            ["CLAUSE", "CHANGES", "UNDONE BY", "RISK"],
            [40, 0, 0, 84],
            [
                [
                    c.id,
                    c.changes,
                    c.undo or _NONE,
                    _rich((c.risk, ""), ("point of no return" if c.id in record.points_of_no_return else "", "soft")),
                ]
                for c in changing
            ],
        )
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    yield Spacer(1, 4)
    yield _p(
        "Inputs: plan.json, policy.toml, target.redacted.toml." + (f" Made by {versions}." if versions else ""), _SMALL
    )
