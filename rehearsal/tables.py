"""Tables in Markdown documents that a command keeps: each between two comments, replaced row by row.

Invariants: what stands outside the comments is never touched; a row is known by its first cell; rows that were not
measured now stay as they were, in their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def opening(name: str) -> str:
    """Return the comment above a table."""
    return f"<!-- table {name}: made by a real run, see above -->"


CLOSING = "<!-- end of table -->"


def written(path: Path, name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Put rows into the table `name` of a document; a document without it, or none at all, gets it at its end.

    rows: the first cell of each is its key.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    begin = text.find(opening(name))
    if begin < 0:
        text = f"{text.rstrip()}\n\n{opening(name)}\n{CLOSING}\n".lstrip()
        begin = text.find(opening(name))
    begin += len(opening(name))
    end = text.index(CLOSING, begin)
    path.write_text(text[:begin] + _merged(text[begin:end], head, rows) + text[end:], encoding="utf-8")


def line(cells: Sequence[str]) -> str:
    """Return one row."""
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def rows_of(text: str, name: str) -> list[list[str]]:
    """Return the cells of a document's table `name`, its head left out; empty when there is none."""
    begin = text.find(opening(name))
    if begin < 0:
        return []
    lines = text[begin : text.index(CLOSING, begin)].splitlines()
    return [[cell.strip() for cell in each.strip("|").split("|")] for each in lines if each.startswith("|")][2:]


def _merged(held: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    fresh = {row[0]: line(row) for row in rows}
    lines = [line(head), f"|{'---|' * len(head)}"]
    for old in [each for each in held.splitlines() if each.startswith("|")][2:]:
        key = old.strip("|").split("|")[0].strip()
        lines.append(fresh.pop(key, old))
    return "\n" + "\n".join([*lines, *fresh.values()]) + "\n"
