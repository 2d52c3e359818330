"""Two snapshots compared in one merge pass, in constant memory, with totals that balance.

Invariants: before = unchanged + changed + missing; after = before - missing + added; an item made after the first
snapshot's watermark is `added`, one that appeared before it `unaccounted` too (F.8). Equal lines are compared as bytes
and not parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cutover.evidence import snapshot
from cutover.evidence._lines import facts
from cutover.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

KEEP_ITEMS: Final = 10_000
"""How many changed, missing and unaccounted items a `Diff` names; its totals always count all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One item that is not the same: `what` is changed, missing or added; `fields` maps names to (before, after)."""

    id: str
    kind: str
    what: str
    fields: Mapping[str, tuple[object, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """The balance. `items` names all but the unchanged and the accounted ones, at most `KEEP_ITEMS`.

    `unaccounted` of the added ones have an id that is not behind the first snapshot's watermark: they should have been
    in it. `changes` streams everything.
    """

    before: int
    after: int
    unchanged: int
    changed: int
    missing: int
    added: int
    unaccounted: int = 0
    items: tuple[Change, ...]

    @property
    def holds(self) -> bool:
        """Whether there was something, and it is all there, unchanged, with nothing slipped in beside it."""
        return self.before > 0 and not (self.changed or self.missing or self.unaccounted)

    def as_json(self) -> dict[str, object]:
        """Return totals and items, as the record keeps them."""
        return {
            "before": self.before,
            "after": self.after,
            "unchanged": self.unchanged,
            "changed": self.changed,
            "missing": self.missing,
            "added": self.added,
            "unaccounted": self.unaccounted,
            "items": [
                {
                    "id": change.id,
                    "kind": change.kind,
                    "what": change.what,
                    "fields": {name: {"before": old, "after": new} for name, (old, new) in change.fields.items()},
                }
                for change in self.items
            ],
        }


def compare(before_dir: Path, after_dir: Path) -> Diff:
    """Compare two snapshots.

    Raises:
        EvidenceError: `snapshot-altered`, `snapshot-malformed`, or `balance-wrong` when a file does not hold as many
            items as its manifest says.

    """
    before, after = snapshot.load(before_dir), snapshot.load(after_dir)
    counts = dict.fromkeys(("unchanged", "changed", "missing", "added", "unaccounted"), 0)
    watermark = before.manifest.watermark.last_id or ""
    kept: list[Change] = []
    for old, new in pairs(before, after):
        if old == new:
            counts["unchanged"] += 1
            continue
        what = _what(old, new)
        counts[what] += 1
        if what == "added":
            if facts(new or b"").id > watermark:
                continue
            counts["unaccounted"] += 1
        if len(kept) < KEEP_ITEMS:
            kept.append(_change(old, new))
    result = Diff(before=before.manifest.items, after=after.manifest.items, **counts, items=tuple(kept))
    _demand_balance(result)
    return result


def changes(before_dir: Path, after_dir: Path) -> Iterator[Change]:
    """Return every changed, missing and added item, ascending by id; raises as `compare` does, but for the balance."""
    for old, new in pairs(snapshot.load(before_dir), snapshot.load(after_dir)):
        if old != new:
            yield _change(old, new)


def pairs(before: snapshot.Snapshot, after: snapshot.Snapshot) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Merge two snapshots: the raw lines of each id, None on the side that does not have it, ascending by id.

    Raises:
        EvidenceError: `snapshot-altered` or `snapshot-malformed`, a file out of order included.

    """
    left, right = _Side(before.raw_lines()), _Side(after.raw_lines())
    while left.raw is not None or right.raw is not None:
        if left.raw == right.raw:
            yield left.raw, right.raw
            left.advance()
            right.advance()
            continue
        first, second = left.id, right.id
        is_left = second is None or (first is not None and first <= second)
        is_right = first is None or (second is not None and second <= first)
        yield left.raw if is_left else None, right.raw if is_right else None
        if is_left:
            left.advance()
        if is_right:
            right.advance()


class _Side:
    """One snapshot's lines with one in hand; a line is parsed only when somebody asks for its id."""

    __slots__ = ("_id", "_last", "_lines", "_passed", "raw")

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._passed: bytes | None = None
        self._last: str | None = ""
        self._id: str | None = None
        self.raw = next(lines, None)

    @property
    def id(self) -> str | None:
        """The id of the line in hand, which is after the one before it; None at the end."""
        if self._id is None and self.raw is not None:
            self._id = facts(self.raw).id
            if self._last is None:
                self._last = facts(self._passed or b"").id
            if self._id <= self._last:
                raise EvidenceError(
                    "snapshot-malformed", self._id, expected=f"an id after {self._last}", actual=self._id
                )
        return self._id

    def advance(self) -> None:
        self._passed, self.raw = self.raw, next(self._lines, None)
        self._last, self._id = self._id, None


def _what(old: bytes | None, new: bytes | None) -> str:
    return "added" if old is None else "missing" if new is None else "changed"


def _change(old: bytes | None, new: bytes | None) -> Change:
    present = facts(old or new or b"")
    fields: dict[str, tuple[object, object]] = {}
    if old is not None and new is not None:
        before, after = snapshot.Line.decode(old), snapshot.Line.decode(new)
        values = ((name, getattr(before, name), getattr(after, name)) for name in snapshot.FIELDS)
        fields = {name: (left, right) for name, left, right in values if left != right}
    return Change(id=present.id, kind=present.kind, what=_what(old, new), fields=fields)


def _demand_balance(diff: Diff) -> None:
    if diff.before != diff.unchanged + diff.changed + diff.missing:
        actual = f"{diff.unchanged} unchanged, {diff.changed} changed, {diff.missing} missing"
        raise EvidenceError("balance-wrong", "before", expected=diff.before, actual=actual)
    if diff.after != diff.before - diff.missing + diff.added:
        actual = f"{diff.before} - {diff.missing} missing + {diff.added} added"
        raise EvidenceError("balance-wrong", "after", expected=diff.after, actual=actual)
