"""The first page of report.pdf: the story, who and what, the digests, the room for the signature, the timeline.

Invariant: it says what `reports.story` tells and nothing else; what the signature will cover is named beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reportlab.platypus import CondPageBreak, Flowable, KeepTogether, Paragraph, Spacer, Table
from reportlab.platypus.tableofcontents import TableOfContents

from reports import pdf_type, timeline
from reports.pdf_archive import Place
from reports.pdf_parts import (
    CARD,
    COLOURS,
    CONTENTS,
    H2,
    HEIGHT,
    KICKER,
    LEAD,
    LINE,
    SMALL,
    SOFT,
    TITLE,
    VERDICT,
    WIDTH,
    Heading,
    Picture,
    boxed,
    look,
    p,
    rich,
    style,
)
from reports.pdf_sections import PICTURE
from reports.pdf_type import BOLD, SANS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reports.story import Change, Fact, Story
    from reports.views import Record

_STRETCHES: Final = (0.78, 0.66, 0.56)
"""Of the heights of the timeline's panels: the first that the first page holds is taken."""
_VERDICT_WIDTH: Final = 128.0
SIGNATURE: Final = (222.0, 68.0)
"""Width and height of the room for the signature, in points."""
_CONTENTS_HEIGHT: Final = 200.0
_MOST_IMAGES: Final = 6
"""So many digests of a release are on the first page; the others are in the record."""
_HEAD_ROOM: Final = 38.0
"""What the timeline's title takes."""


@dataclass(slots=True, kw_only=True)
class Room:
    """The room for the signature."""

    to_be_signed: bool
    carried: tuple[str, ...] = ()
    """The names of the files inside of the document."""
    place: Place | None = None
    """Where it came to lie; known once the page was drawn, and only for a document that is to be signed."""

    @property
    def words(self) -> tuple[str, ...]:
        """Return what stands in it where there will be no signature."""
        if any(name.endswith(".sigstore.json") for name in self.carried):
            return (
                "Not signed itself",
                "The attestations inside of it are, under an identity",
                "that Sigstore vouches for.",
            )
        if self.carried[1:]:
            return ("Not signed itself", "The attestations inside of it are, with a key.")
        return ("Not signed", "The site names no key that signs its records.", "No signature proves what stands here.")


class _SignatureRoom(Flowable):  # type: ignore[misc]  # reportlab ships no types
    """A frame that a signature fills, or that says that there is none."""

    def __init__(self, room: Room) -> None:
        super().__init__()
        self._room = room

    def wrap(self, _width: float, _height: float) -> tuple[float, float]:
        """Return the size."""
        return SIGNATURE

    def draw(self) -> None:
        """Draw the frame, and remember where it is."""
        width, height = SIGNATURE
        self.canv.setStrokeColor(LINE)
        self.canv.setLineWidth(0.8)
        self.canv.setDash(*([] if self._room.to_be_signed else [3, 2]))
        self.canv.roundRect(0, 0, width, height, 3, stroke=1, fill=0)
        self.canv.setDash()
        if self._room.to_be_signed:
            left, bottom = self.canv.absolutePosition(0, 0)
            self._room.place = Place(
                page=self.canv.getPageNumber() - 1, left=left, bottom=bottom, right=left + width, top=bottom + height
            )
            return
        self.canv.setFillColor(SOFT)
        for number, text in enumerate(self._room.words):
            font, size = (SANS, 7.2) if number else (BOLD, 9.0)
            pdf_type.write(self.canv, 10, height - 20 - 13 * number, text, font=font, size=size)


def page(record: Record, story: Story, room: Room) -> Iterator[Flowable]:
    """Yield the first page, and the contents after it."""
    top = [*_top(story), _people_and_facts(story), Spacer(1, 5), _seal(story, room)]
    yield from top
    left = HEIGHT - sum(_height(one) for one in top)
    drawings = (timeline.draw(record, width=PICTURE, stretch=stretch) for stretch in _STRETCHES)
    drawn = [Picture(drawing) for drawing in drawings if drawing is not None]
    contents = TableOfContents()
    contents.levelStyles = [CONTENTS]
    contents.dotsMinLevel = 0
    contents.tableStyle = look(
        [
            *((f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT")),
            *((f"{side}PADDING", (0, 0), (-1, -1), 1.2) for side in ("TOP", "BOTTOM")),
        ]
    )
    # The contents cannot be kept together with their title: reportlab finds them at the top level alone.
    listed = [CondPageBreak(_CONTENTS_HEIGHT), p("Contents", H2), contents]
    fitting = next((one for one in drawn if one.wrap(WIDTH, HEIGHT)[1] + _HEAD_ROOM <= left), None)
    if fitting is not None:
        yield from [Heading("Timeline", "timeline"), fitting, *listed]
    elif drawn and left < _CONTENTS_HEIGHT:
        yield from [KeepTogether([Heading("Timeline", "timeline"), drawn[0]]), *listed]
    else:
        yield from listed
        if drawn:
            yield KeepTogether([Heading("Timeline", "timeline"), drawn[0]])


def _height(flowable: Flowable) -> float:
    return float(flowable.wrap(WIDTH, HEIGHT)[1]) + float(flowable.getSpaceBefore()) + float(flowable.getSpaceAfter())


def _top(story: Story) -> Iterator[Flowable]:
    ground = COLOURS[story.tone][1]
    banner = Table(
        [[[p(f"UPGRADE RECORD {story.id}", KICKER), p(story.title, TITLE)], p(story.outcome, VERDICT[story.tone])]],
        colWidths=[WIDTH - _VERDICT_WIDTH, _VERDICT_WIDTH],
    )
    banner.setStyle(
        look(
            [
                ("BACKGROUND", (1, 0), (1, 0), ground),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("LEFTPADDING", (0, 0), (0, 0), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 0),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
                ("ROUNDEDCORNERS", [3, 3, 3, 3]),
            ]
        )
    )
    yield banner
    yield p(f"{story.site} · {story.when}", _WHERE)
    if story.notice:
        yield boxed(story.notice, "warn")
        yield Spacer(1, 4)
    for sentence in story.sentences:
        yield p(sentence, LEAD)
    if story.decision:
        yield boxed(story.decision, "bad")
        yield Spacer(1, 4)
    if story.problems:
        yield boxed("This record is not complete: " + "; ".join(story.problems), "warn")
        yield Spacer(1, 4)


_WHERE: Final = style("where", fontSize=8.8, leading=12, textColor=SOFT, spaceAfter=5)


def _people_and_facts(story: Story) -> Table:
    """Return the answers as a grid: who; from what to what; then what came of it."""
    half = Table([[_change(change) for change in story.changes]], colWidths=[WIDTH / 2] * 2)
    half.setStyle(look([*_CELLS, ("LINEAFTER", (0, 0), (0, 0), 0.5, LINE)]))
    third = WIDTH / 3
    rows = [
        [_answer(fact) for fact in story.people],
        [half, "", ""],
        *([_answer(fact) for fact in story.facts[at : at + 3]] for at in range(0, len(story.facts), 3)),
    ]
    grid = Table(rows, colWidths=[third] * 3)
    grid.setStyle(
        look(
            [
                ("BACKGROUND", (0, 0), (-1, -1), CARD),
                ("GRID", (0, 0), (-1, -1), 0.5, LINE),
                ("SPAN", (0, 1), (2, 1)),
                *_CELLS,
                *((f"{side}PADDING", (0, 1), (2, 1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")),
            ]
        )
    )
    return grid


_CELLS: Final = (
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 6),
    ("RIGHTPADDING", (0, 0), (-1, -1), 6),
    ("TOPPADDING", (0, 0), (-1, -1), 3),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 4.5),
)
_LABEL: Final = style("label", fontName=BOLD, fontSize=6.6, leading=9, textColor=SOFT)


def _answer(fact: Fact) -> Sequence[Paragraph]:
    tone = fact.tone if fact.tone in {"bad", "warn"} else ""
    return [p(fact.label.upper(), _LABEL), rich((fact.value, tone), *((note, "soft") for note in fact.notes))]


def _change(change: Change) -> Sequence[Paragraph]:
    lines = [(digest, components) for digest, components in change.images[:_MOST_IMAGES]]
    told = [part for digest, names in lines for part in ((digest, "code"), (", ".join(names), "soft"))]
    more = len(change.images) - len(lines)
    if not told:
        told = [(text, "soft") for text in change.told]
    if more > 0:
        told.append((f"and {more} more, in journal.jsonl", "soft"))
    return [p(f"{change.role.upper()} {change.release}", _LABEL), rich(*told)]


def _seal(story: Story, room: Room) -> Table:
    digests = ((story.digest_label, story.digest or "none"), *story.digests)
    told: list[Flowable] = [p("WHAT THIS DOCUMENT TELLS OF, BY ITS SHA-256", _LABEL)]
    for number, (name, digest) in enumerate(digests):
        if digest not in {other for _, other in digests[:number]}:
            told.append(rich((name, "soft"), (digest.removeprefix("sha256:"), "code")))
    told.append(p(story.signature, SMALL))
    told.append(p(f"inside of this file: {', '.join(room.carried) or 'nothing'}", SMALL))
    width, _ = SIGNATURE
    band = Table([[told, _SignatureRoom(room)]], colWidths=[WIDTH - width, width])
    band.setStyle(
        look(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                *((f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")),
            ]
        )
    )
    return band
