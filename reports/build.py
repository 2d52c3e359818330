"""Everything that is made from a record's folder, and what could not be made.

Invariants: a builder that breaks takes nothing with it; a file is there whole or not at all; nothing but the reports'
own files is written; the verdict is never touched. The continuity report is made first, because the others link to it,
and only where both snapshots are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reports import record as records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reports.views import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What came of one report."""

    name: str
    path: Path
    problem: str = ""
    """Empty when it was written."""


def _continuity(record: Record) -> bytes:
    from reports.continuity import FOLDER  # noqa: PLC0415  # as the other builders: loaded when it is made
    from reports.continuity import build as made  # noqa: PLC0415

    return made(record.folder / FOLDER, record)


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


CONTINUITY: Final = "continuity.html"
PLACES: Final = {CONTINUITY: f"evidence/{CONTINUITY}"}
"""Where in a record a report is, if not at its top."""
BUILDERS: dict[str, Callable[[Record], bytes]] = {
    CONTINUITY: _continuity,
    "junit.xml": _junit,
    "summary.md": _summary,
    "report.html": _html,
    "report.pdf": _pdf,
}


def build(folder: Path, *, names: Sequence[str] = tuple(BUILDERS)) -> list[Built]:
    """Make reports of a record's folder into it, and return what came of each. Raises nothing for a broken record.

    The continuity report of a record without two snapshots is passed over.
    """
    from reports.evidence import is_complete  # noqa: PLC0415

    record = records.read(folder)
    wanted = sorted(names, key=lambda name: name != CONTINUITY)
    return [_one(name, record) for name in wanted if name != CONTINUITY or is_complete(folder / "evidence")]


def build_continuity(folder: Path) -> Built:
    """Make the continuity report of an evidence folder that belongs to no record."""
    from reports.continuity import build as made  # noqa: PLC0415

    return _written(CONTINUITY, folder / CONTINUITY, lambda: made(folder))


def _one(name: str, record: Record) -> Built:
    return _written(name, record.folder / PLACES.get(name, name), lambda: BUILDERS[name](record))


def _written(name: str, path: Path, made: Callable[[], bytes]) -> Built:
    try:
        write(path, made())
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
