"""A record's verdict computed once more from its journal, with the catalogue of clauses that the record keeps.

Invariants: nothing but the folder is read; what comes out is what the run itself computed when it closed the journal,
so any difference from `verdict.json` means that one of the two was changed, or that another release computed it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cutover import files, project
from cutover.runbook import attempts, verdict
from cutover.runbook.catalogue import load_clauses
from cutover.runbook.journal import Journal
from cutover.runbook.records import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cutover.runbook.catalogue import Catalogue
    from cutover.runbook.journal import Entry
    from cutover.runbook.verdict import Verdict

CATALOGUE: Final = "clauses.toml"
"""In a record: the clauses that its verdict was computed over."""
VERDICT: Final = "verdict.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A verdict, and the document that belongs to it."""

    entries: tuple[Entry, ...]
    """Of the whole journal."""
    catalogue: Catalogue
    verdict: Verdict
    document: Mapping[str, Any]
    """As verdict.json would be."""

    @property
    def content(self) -> bytes:
        """The bytes of verdict.json."""
        return written(self.document)

    @property
    def images(self) -> Mapping[str, tuple[str, ...]]:
        """The digests of the images that green ran, by component; empty before green was installed."""
        for entry in reversed(self.entries):
            if entry.event == "observation" and entry.data.get("what") == "images":
                running = entry.data.get("running") or {}
                return {str(name): tuple(map(str, found)) for name, found in sorted(running.items())}
        return {}


def written(document: Mapping[str, Any]) -> bytes:
    """Return a verdict's document as verdict.json has it."""
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def keep_catalogue(folder: Path) -> None:
    """Put the catalogue into the record: whoever has it can compute the verdict again. Raises OSError."""
    files.write_whole(folder / CATALOGUE, project.CLAUSES.read_bytes())


def compute(folder: Path) -> Again:
    """Compute a record's verdict again.

    Raises JournalBroken: its chain does not hold. CouldNotMeasure: the journal is no run's. RunbookInvalid: the
    record's catalogue is none. OSError.
    """
    return of_entries(Journal.verify(folder / JOURNAL), folder)


def of_entries(entries: Sequence[Entry], folder: Path) -> Again:
    """Compute the verdict of a journal's lines; raises as `compute` does."""
    kept = folder / CATALOGUE
    catalogue = load_clauses(kept if kept.is_file() else project.CLAUSES)
    # The line that ends an attempt says what the verdict is, and so is not among what it is computed from.
    judged = entries[:-1] if entries and entries[-1].event == attempts.FINISHED else entries
    found = verdict.compute(judged, catalogue)
    head = entries[-1].digest if entries else ""
    return Again(
        entries=tuple(entries),
        catalogue=catalogue,
        verdict=found,
        document=found.document(entries=len(entries), journal_head=head),
    )
