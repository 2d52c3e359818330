"""Everything that is made from a record's folder, and what could not be made.

Invariants: a builder that breaks takes nothing with it; a file is there whole or not at all; nothing but the reports'
own files is written; the verdict is never touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports import record as records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reports.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What came of one report."""

    name: str
    path: Path
    problem: str = ""
    """Empty when it was written."""


def _html(record: Record) -> bytes:
    from reports.html import build as made  # noqa: PLC0415  # templates, only when a page is made

    return made(record).encode()


def _pdf(record: Record) -> bytes:
    from reports.pdf import build as made  # noqa: PLC0415  # reportlab takes a third of a second to import

    return made(record)


def _junit(record: Record) -> bytes:
    from reports.junit import build as made  # noqa: PLC0415

    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + made(record).encode()


def _summary(record: Record) -> bytes:
    from reports.summary import build as made  # noqa: PLC0415

    return made(record).encode()


BUILDERS: dict[str, Callable[[Record], bytes]] = {
    "junit.xml": _junit,
    "summary.md": _summary,
    "report.html": _html,
    "report.pdf": _pdf,
}


def build(folder: Path, *, names: Sequence[str] = tuple(BUILDERS)) -> list[Built]:
    """Make reports of a record's folder into it, and return what came of each. Raises nothing for a broken record."""
    record = records.read(folder)
    return [_one(name, record) for name in names]


def _one(name: str, record: Record) -> Built:
    path = record.folder / name
    try:
        write(path, BUILDERS[name](record))
    except Exception as problem:  # noqa: BLE001  # a report must never take the verdict or another report with it
        first = str(problem).partition("\n")[0]
        return Built(name=name, path=path, problem=f"{type(problem).__name__}: {first}")
    return Built(name=name, path=path)


def write(path: Path, content: bytes) -> None:
    """Write a file so that it is never seen half written."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
