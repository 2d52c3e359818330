"""report.pdf: the record on A4, for the auditor: PDF/A-3b, signed where the site has a key.

Invariants: the same record gives the same bytes, the signature aside, and the unsigned document is the beginning of the
signed one; every glyph comes from an embedded font; verdict and attestations are inside of it; nothing is loaded from
anywhere.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.lib.utils import simpleSplit
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate

from cutover import __name__ as author
from reports import html, pdf_archive, pdf_first, pdf_sections, pdf_type
from reports import story as stories
from reports.pdf_archive import About, Attachment
from reports.pdf_parts import BOTTOM, COLOURS, HEIGHT, INK, LINE, MARGIN, SOFT, TOP, WIDTH, Heading
from reports.pdf_type import BOLD, MONO, SANS

if TYPE_CHECKING:
    from datetime import datetime

    from cutover.record.keys import SigningKey
    from reports.story import Story
    from reports.views import Record

NAME: Final = "report.pdf"
_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_ENVELOPES: Final = {".dsse.json": "application/vnd.dsse.envelope.v1+json", ".sigstore.json": _BUNDLE}
"""Attestations by the end of their name: signed with a key, or under an identity; with their media type."""
_STAMP_MARGIN: Final = 9.0
_STAMP_LEADING: Final = 1.36
_NAME_SIZE: Final = 10.5
"""Of the signer's name, in points; a longer name is written smaller, never cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A document with its signature."""

    content: bytes
    problem: str = ""
    """Why it has no timestamp although one was asked for."""


def build(record: Record, *, to_be_signed: bool = False) -> bytes:
    """Return the document without a signature; to_be_signed: with room for one, where it else says that it has none."""
    pdf_type.register()
    told, stream = stories.tell(record), io.BytesIO()
    carried = attachments(record)
    room = pdf_first.Room(to_be_signed=to_be_signed, carried=tuple(one.name for one in carried))
    flowables: list[Flowable] = [
        *pdf_first.page(record, told, room),
        *pdf_sections.every(record, html.facts(record), room.carried),
    ]
    _Document(stream).multiBuild(flowables, canvasmaker=_canvas(told))
    about = About(
        title=f"{told.outcome}: upgrade record {told.id}",
        subject=f"{told.title}, {told.site}, {told.when}",
        author=author,
        producer=" ".join((author, record.versions.get(author, ""))).strip(),
        time=record.finished,
    )
    return pdf_archive.archived(stream.getvalue(), about, carried, room.place)


def sign(record: Record, key: SigningKey, *, now: datetime, timestamp_url: str = "") -> Signed:
    """Return the document with a signature that shows name, time and meaning.

    An authority that gives no timestamp costs the timestamp alone, and is told. Raises WrongInput: it cannot be signed.
    """
    from cutover.errors import CouldNotMeasure  # noqa: PLC0415  # with the signature's library: not needed to render
    from cutover.record import pades  # noqa: PLC0415

    document, words = build(record, to_be_signed=True), meaning(record)
    try:
        stamp = _stamp(key.name, now, words, timestamp_url)
        content = pades.sign(document, key, meaning=words, now=now, appearance=stamp, timestamp_url=timestamp_url)
        return Signed(content=content)
    except CouldNotMeasure as problem:
        stamp = _stamp(key.name, now, words, "")
        content = pades.sign(document, key, meaning=words, now=now, appearance=stamp)
        return Signed(content=content, problem=f"{problem}: {problem.seen}")


def meaning(record: Record) -> str:
    """Return what a signature of the document means."""
    told = stories.tell(record)
    return f"Author of this record: upgrade {told.id} ended as {told.outcome}"


def attachments(record: Record) -> list[Attachment]:
    """Return the files that the document carries, in their order."""
    found = []
    verdict = record.folder / "verdict.json"
    if verdict.is_file():
        found.append(
            Attachment(name=verdict.name, content=verdict.read_bytes(), description="The verdict, for machines")
        )
    for path in sorted((record.folder / "attestations").glob("*.json")):
        ending = next((one for one in _ENVELOPES if path.name.endswith(one)), "")
        if ending:
            text = f"Attestation {path.name.removesuffix(ending)}, signed"
            media_type = _ENVELOPES[ending]
            found.append(Attachment(name=path.name, content=path.read_bytes(), description=text, media_type=media_type))
    return found


# -- the pages ---------------------------------------------------------------------------------------------------------


class _Document(BaseDocTemplate):  # type: ignore[misc]  # reportlab ships no types
    """Pages of one frame, with bookmarks of the sections."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(
            stream,
            pagesize=A4,
            leftMargin=MARGIN,
            rightMargin=MARGIN,
            topMargin=TOP,
            bottomMargin=BOTTOM,
            invariant=1,
            lang="en",
        )
        self.addPageTemplates(PageTemplate(frames=[Frame(MARGIN, BOTTOM, WIDTH, HEIGHT, 0, 0, 0, 0)]))

    def afterFlowable(self, flowable: Flowable) -> None:  # noqa: N802  # reportlab's name
        """Note where a section begins."""
        if isinstance(flowable, Heading):
            text, key = flowable.section
            self.canv.bookmarkPage(key)
            self.canv.addOutlineEntry(text, key, level=0, closed=False)
            self.notify("TOCEntry", (0, pdf_type.markup(text), self.page, key))


def _canvas(told: Story) -> type[Canvas]:
    """Return a canvas that writes record, verdict, digest and `page n of m` on every page, once m is known."""
    ink, ground = COLOURS[told.tone]
    name = f"Upgrade record {told.id}"
    digest = f"{told.digest_label} {told.digest}" if told.digest else "the record has no digest"

    class Numbered(Canvas):  # type: ignore[misc]  # reportlab ships no types
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **{**options, "initialFontName": SANS})
            self._pages: list[dict[str, object]] = []

        def showPage(self) -> None:  # noqa: N802  # reportlab's name
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, start=1):
                self.__dict__.update(page)
                self._head()
                self._foot(f"page {number} of {len(self._pages)}")
                super().showPage()
            super().save()

        def _head(self) -> None:
            top, right = A4[1] - 12.5 * mm, A4[0] - MARGIN
            self.setFillColor(SOFT)
            pdf_type.write(self, MARGIN, top, name, font=SANS, size=7.5)
            wide = pdf_type.width(told.outcome, BOLD, 7.2) + 10
            self.setFillColor(ground)
            self.roundRect(right - wide, top - 3.6, wide, 12, 2, stroke=0, fill=1)
            self.setFillColor(ink)
            pdf_type.write(self, right - 5, top, told.outcome, font=BOLD, size=7.2, anchor="end")
            self._rule(top - 7)

        def _foot(self, number: str) -> None:
            self._rule(BOTTOM - 5 * mm)
            self.setFillColor(SOFT)
            room = WIDTH - pdf_type.width(number, SANS, 7.2) - 12
            pdf_type.write(self, A4[0] - MARGIN, 10.4 * mm, number, font=SANS, size=7.2, anchor="end")
            pdf_type.write(self, MARGIN, 10.4 * mm, pdf_type.fitting(digest, MONO, 5.9, room), font=MONO, size=5.9)
            notice = pdf_type.fitting(told.notice, SANS, 6.8, WIDTH)
            pdf_type.write(self, MARGIN, 7 * mm, notice, font=SANS, size=6.8)

        def _rule(self, y: float) -> None:
            self.setStrokeColor(LINE)
            self.setLineWidth(0.5)
            self.line(MARGIN, y, A4[0] - MARGIN, y)

    return Numbered


def _stamp(name: str, now: datetime, words: str, timestamp_url: str) -> bytes:
    """Return the visible signature as a page of its own size: name, time and meaning (21 CFR 11.50)."""
    pdf_type.register()
    (width, height), stream = pdf_first.SIGNATURE, io.BytesIO()
    canvas = Canvas(stream, pagesize=(width, height), invariant=1, initialFontName=SANS)
    time = "the time of a timestamping authority" if timestamp_url else "the signer's own time"
    room = width - 2 * _STAMP_MARGIN
    wrapped = [line for piece in words.split("\n") for line in simpleSplit(pdf_type.legible(piece), SANS, 7.2, room)]
    lines = (
        ("Signed by", SANS, 6.6, SOFT),
        (name, BOLD, min(_NAME_SIZE, _NAME_SIZE * room / pdf_type.width(name, BOLD, _NAME_SIZE)), INK),
        (now.strftime("%-d %b %Y, %H:%M:%S UTC"), SANS, 8.0, INK),
        *((line, SANS, 7.2, INK) for line in wrapped[:2]),
        (f"PAdES, with {time}", SANS, 6.4, SOFT),
    )
    y = height - 2.0
    for text, font, size, ink in lines:
        y -= size * _STAMP_LEADING
        canvas.setFillColor(ink)
        pdf_type.write(canvas, _STAMP_MARGIN, y, text, font=font, size=size)
    canvas.showPage()
    canvas.save()
    return stream.getvalue()
