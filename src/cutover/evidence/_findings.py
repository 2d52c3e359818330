"""Collecting findings in bounded memory, and the lines that the guarantees believe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from cutover.evidence import diff
from cutover.evidence.errors import EvidenceError, Finding
from cutover.evidence.snapshot import Line, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

KEEP_FINDINGS: Final = 10_000
"""How many findings a guarantee names; its total always counts all of them."""

Position = Literal["leaf_index", "log_index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """One guarantee's outcome: how many things were checked, what was refused (at most `KEEP_FINDINGS` named)."""

    clause: str
    title: str
    checked: int
    findings: tuple[Finding, ...]
    findings_total: int

    @property
    def holds(self) -> bool:
        """Whether something was checked and nothing refused."""
        return self.checked > 0 and self.findings_total == 0


class Findings:
    """The findings of one guarantee while it is being verified; `checked` counts what was looked at."""

    def __init__(self, clause: str, title: str) -> None:
        self.checked = 0
        self.total = 0
        self._clause = clause
        self._title = title
        self._kept: list[Finding] = []

    def add(self, code: str, item: str, *, expected: object, actual: object) -> None:
        """Add a finding by its facts."""
        self.take(Finding.of(code, item, expected=expected, actual=actual))

    def take(self, finding: Finding) -> None:
        """Add a finding."""
        self.total += 1
        if len(self._kept) < KEEP_FINDINGS:
            self._kept.append(finding)

    def refuse(self, error: EvidenceError, item: str | None = None) -> None:
        """Add a refusal, under another item's name where the caller knows it better."""
        self.take(error.finding(item))

    def guarantee(self) -> Guarantee:
        """Return the outcome; nothing to check is a refusal of its own."""
        if self.checked == 0 and self.total == 0:
            self.add("evidence-empty", self._title, expected="at least one item", actual="none")
        return Guarantee(
            clause=self._clause,
            title=self._title,
            checked=self.checked,
            findings=tuple(self._kept),
            findings_total=self.total,
        )


class Misplaced:
    """Findings known by a position only; one more pass over the lines gives them the ids of their items."""

    def __init__(self, found: Findings, position: Position) -> None:
        self._found = found
        self._position = position
        self._pending: list[tuple[str, int, object, object]] = []

    def add(self, code: str, index: int, *, expected: object, actual: object) -> None:
        """Add a finding at a position."""
        if len(self._pending) < KEEP_FINDINGS:
            self._pending.append((code, index, expected, actual))
        else:
            self._found.total += 1

    def name(self, before: Snapshot, after: Snapshot) -> None:
        """Hand every finding over, under its item's id where an item has that position."""
        if not self._pending:
            return
        indexes = {index for _, index, _, _ in self._pending}
        names = {
            index: line.id for line in believed(before, after) if (index := getattr(line, self._position)) in indexes
        }
        for code, index, expected, actual in self._pending:
            item = names.get(index, f"{self._position.replace('_', ' ')} {index}")
            self._found.add(code, item, expected=expected, actual=actual)


def believed(before: Snapshot, after: Snapshot) -> Iterator[Line]:
    """Return one line an item, ascending by id: the baseline's for its items, the later snapshot's for the others."""
    for old, new in diff.pairs(before, after):
        raw = new if old is None else old
        if raw is not None:
            yield Line.decode(raw)
