"""Clauses E.1, E.2 and E.4: the contents of some kinds of item, before against after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cutover.evidence._findings import Check
from cutover.evidence.errors import Finding
from cutover.evidence.snapshot import FIELDS, Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutover.evidence._lines import Facts
    from cutover.evidence.snapshot import Snapshot

_NOT_OF_CONTENTS: Final = frozenset({"leaf-duplicate", "leaf-missing"})
_CONTENT_FIELDS: Final = frozenset({"sha256", "size_bytes", "signer_key_ids"})


class ContentsCheck(Check):
    """The items whose kind `concerns` the guarantee; what the later snapshot refused of them is taken over."""

    def __init__(self, clause: str, title: str, after: Snapshot, concerns: Callable[[str], bool]) -> None:
        super().__init__(clause, title)
        self._after = after
        self._concerns = concerns
        self._explained: set[str] = set()

    def see(self, facts: Facts, old: bytes | None, new: bytes | None) -> None:
        """Compare the item's two lines."""
        if not self._concerns(facts.kind):
            return
        self.found.checked += 1
        if old is None or old == new:
            return
        finding = _changed(Line.decode(old), Line.decode(new) if new is not None else None)
        if finding is not None:
            self._explained.add(facts.id)
            self.found.take(finding)

    def conclude(self) -> None:
        """Take over what the later snapshot refused."""
        for one in self._after.findings():
            # The empty kind is of no item: tree and log judge it themselves.
            if not one.kind or not self._concerns(one.kind) or one.finding.code in _NOT_OF_CONTENTS:
                continue
            # What content and row say of each other at one moment is explained by what they said before.
            if one.finding.code in {"content-mismatch", "size-mismatch"} and one.finding.item in self._explained:
                continue
            self.found.take(one.finding)


def _changed(old: Line, new: Line | None) -> Finding | None:
    """Say which layer of an item changed; None when the later snapshot's own finding says it (content missing)."""
    if new is None:
        return Finding.of("row-missing", old.id, expected="the row of the baseline", actual="no row")
    if new.sha256 is not None and old.sha256 is not None and new.sha256 != old.sha256:
        return Finding.of("content-changed", old.id, expected=f"sha256:{old.sha256}", actual=f"sha256:{new.sha256}")
    for name in FIELDS:
        expected, actual = getattr(old, name), getattr(new, name)
        if name not in _CONTENT_FIELDS and expected != actual:
            return Finding.of("row-changed", old.id, expected=f"{name} {expected}", actual=f"{name} {actual}")
    return None
