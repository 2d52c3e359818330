"""Collecting findings in bounded memory, and the one pass over two snapshots that all guarantees share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self

from cutover.evidence import _lines, diff
from cutover.evidence.errors import EvidenceError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cutover.evidence._lines import Facts
    from cutover.evidence.snapshot import Snapshot

KEEP_FINDINGS: Final = 10_000
"""How many findings a guarantee names; its total always counts all of them."""

Position = Literal["leaf_index", "log_index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """One guarantee's outcome: how many things were checked, what was refused (at most `KEEP_FINDINGS` named).

    The digests are those of the manifests of the two snapshots that it is about.
    """

    clause: str
    title: str
    before_digest: str
    after_digest: str
    checked: int
    findings: tuple[Finding, ...]
    findings_total: int

    @property
    def holds(self) -> bool:
        """Whether something was checked and nothing refused."""
        return self.checked > 0 and self.findings_total == 0

    def as_json(self) -> dict[str, object]:
        """Return what was checked and refused, without what it is about."""
        return {
            "clause": self.clause,
            "title": self.title,
            "checked": self.checked,
            "findings_total": self.findings_total,
            "findings": [finding.as_json() for finding in self.findings],
        }


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

    def guarantee(self, before: Snapshot, after: Snapshot) -> Guarantee:
        """Return the outcome over two snapshots; nothing to check is a refusal of its own."""
        if self.checked == 0 and self.total == 0:
            self.add("evidence-empty", self._title, expected="at least one item", actual="none")
        return Guarantee(
            clause=self._clause,
            title=self._title,
            before_digest=before.manifest.digest,
            after_digest=after.manifest.digest,
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


class Check(ABC):
    """One guarantee while it is verified: it sees every item of two snapshots once, ascending by id, then concludes.

    Used as a context manager, which closes what the check has `opened`.
    """

    def __init__(self, clause: str, title: str) -> None:
        self.found = Findings(clause, title)
        self.opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()

    @abstractmethod
    def see(self, facts: Facts, old: bytes | None, new: bytes | None) -> None:
        """Take in one item: its lines before and after, None where there is none, and what the believed one says."""

    @abstractmethod
    def conclude(self) -> None:
        """Make the findings that need all of the items."""


def verified(before: Snapshot, after: Snapshot, checks: Iterable[Check]) -> tuple[Guarantee, ...]:
    """Verify any number of guarantees in one pass over two snapshots.

    Raises:
        EvidenceError: as `diff.pairs`.

    """
    with ExitStack() as stack:
        entered = [stack.enter_context(check) for check in checks]
        sees = [check.see for check in entered]
        for old, new in diff.pairs(before, after):
            facts = _lines.facts(old or new or b"")
            for see in sees:
                see(facts, old, new)
        for check in entered:
            if before.manifest.items == 0:
                check.found.add("evidence-empty", "the baseline", expected="at least one item", actual="none")
            check.conclude()
        return tuple(check.found.guarantee(before, after) for check in entered)


def believed(before: Snapshot, after: Snapshot) -> Iterator[Facts]:
    """Return one line an item, ascending by id: the baseline's for its items, the later snapshot's for the others."""
    return (_lines.facts(old or new or b"") for old, new in diff.pairs(before, after))
