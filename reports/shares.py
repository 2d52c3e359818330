"""The served-by proof as a picture: for each weight the exact interval as a band, and green's share as a point.

On the left all shares on one axis from 0 to 100 %; on the right each interval enlarged to the same width, with its ends
in numbers, for of many requests it is too narrow to see.
Invariant: a share outside of its interval is drawn outside of its band, however far away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import wording
from reports.shapes import Drawing

if TYPE_CHECKING:
    from reports.views import Record, ShareView

_LEFT, _AXIS = 84.0, 0.44
"""The room of the rows' names, and the part of the width that the common axis takes."""
_ROW, _TOP = 30.0, 34.0
_FINE_LEFT, _FINE_BAND = 70.0, 0.18
"""Between the axis and the enlarged bands; how much of the width such a band takes."""
_FAR = 0.32
"""A share outside is drawn at most so many bands away."""
_NARROWEST = 3.0


def draw(record: Record, *, width: float = 1000.0) -> Drawing | None:
    """Return the picture, or None when no share was measured."""
    if not record.shares:
        return None
    drawing = Drawing(name="shares", title="Share served by green", width=width, description=_description(record))
    axis = width * _AXIS
    bottom = _TOP + _ROW * len(record.shares)
    drawing.label(_LEFT, 14, "on one axis", "soft")
    drawing.label(_LEFT + axis + _FINE_LEFT + width * _FINE_BAND / 2, 14, "each interval enlarged", "soft", "middle")
    for percent in (0, 25, 50, 75, 100):
        x = _LEFT + axis * percent / 100
        drawing.path([(x, _TOP - 6), (x, bottom)], "rule")
        drawing.label(x, bottom + 14, f"{percent} %", "soft", "middle")
    for number, share in enumerate(record.shares):
        _row(drawing, share, _TOP + _ROW * number, axis)
    drawing.height = bottom + 22
    return drawing


def _row(drawing: Drawing, share: ShareView, y: float, axis: float) -> None:
    """Draw one weight."""
    drawing.label(2, y + 14, f"{share.clause}  {share.percent:g} %", "strong")
    if share.share is None:
        drawing.label(_LEFT + 4, y + 14, "not measured: no request was answered in its time", "soft")
        return
    band = "share-band" if share.inside else "share-band-bad"
    ends = f"{_percent(share.low)} to {_percent(share.high)}"
    wide = max(axis * (share.high - share.low), _NARROWEST)
    left = min(_LEFT + axis * share.low, _LEFT + axis - wide)
    drawing.box(left, y, wide, 20, look=band, hint=f"interval at {share.percent:g} %: {ends}")
    _fine(drawing, share, share.share, y, axis)
    _point(drawing, _LEFT + axis * share.share, y + 10, share)


def _fine(drawing: Drawing, share: ShareView, part: float, y: float, axis: float) -> None:
    """Draw the interval enlarged, the weight as a line in it, and the numbers."""
    wide = drawing.width * _FINE_BAND
    left = _LEFT + axis + _FINE_LEFT
    drawing.box(left, y, wide, 20, look="share-band" if share.inside else "share-band-bad")
    drawing.label(left - 5, y + 14, _percent(share.low), "soft", "end")
    drawing.label(left + wide + 5, y + 14, _percent(share.high), "soft")
    span = share.high - share.low

    def place(value: float) -> float:
        along = (value - share.low) / span if span else 0.5
        return left + wide * min(1 + _FAR, max(-_FAR, along))

    middle = place(share.percent / 100)
    drawing.path([(middle, y), (middle, y + 20)], "share-weight", hint=f"{share.percent:g} %")
    right = left + wide * (1 + _FAR) + 14
    if span or share.inside:
        _point(drawing, place(part), y + 10, share)
    counts = f"{wording.count(share.green)} of {wording.count(share.total)}"
    drawing.label(right, y + 9, _percent(part), "strong" if share.inside else "alarm")
    drawing.label(right, y + 21, counts, "soft")


def _point(drawing: Drawing, x: float, y: float, share: ShareView) -> None:
    """Draw a share: a diamond, red when it is outside."""
    size = 5.0
    look = "share-point" if share.inside else "bad"
    hint = f"{_percent(share.share or 0.0)} at {share.percent:g} %, {'inside' if share.inside else 'outside'}"
    drawing.path([(x - size, y), (x, y - size), (x + size, y), (x, y + size)], look, closed=True, hint=hint)


def _percent(part: float) -> str:
    return f"{part * 100:.2f} %"


def _description(record: Record) -> str:
    rows = "; ".join(
        f"at {share.percent:g} % {_percent(share.share) if share.share is not None else 'nothing'} of "
        f"{wording.count(share.total)}, interval {_percent(share.low)} to {_percent(share.high)}"
        for share in record.shares
    )
    return f"Share of the requests that green served, against the exact binomial interval of the weight: {rows}."
