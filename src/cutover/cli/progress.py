"""How far a pass over evidence is, on the error stream: a bar on a terminal, a line now and then elsewhere.

Invariant: the standard output stays the command's own. NO_COLOR is respected.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.evidence.snapshot import Progress

_LINE_EVERY_S: Final = 5.0


@contextlib.contextmanager
def shown(what: str, total: int) -> Iterator[Progress]:
    """Return what is to be called with the items and bytes so far, of `total` items."""
    with (_bar if sys.stderr.isatty() else _lines)(what, total) as told:
        yield told


@contextlib.contextmanager
def _bar(what: str, total: int) -> Iterator[Progress]:
    from rich import progress  # noqa: PLC0415 (slow to import)
    from rich.console import Console  # noqa: PLC0415

    columns = (
        progress.TextColumn(what),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[size]}"),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeRemainingColumn(),
    )
    started, first = time.monotonic(), -1
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, size="", rate="")

        def tell(items: int, size_bytes: int) -> None:
            nonlocal first
            first = items if first < 0 else first
            rate = (items - first) / max(time.monotonic() - started, 1e-3)
            bar.update(task, completed=items, size=_size(size_bytes), rate=f"{rate:,.0f} items/s")

        yield tell


@contextlib.contextmanager
def _lines(what: str, total: int) -> Iterator[Progress]:
    started = last = time.monotonic()
    first = -1

    def tell(items: int, size_bytes: int) -> None:
        nonlocal first, last
        now = time.monotonic()
        first = items if first < 0 else first
        if now - last < _LINE_EVERY_S:
            return
        last = now
        rate = (items - first) / (now - started)
        left = f", {max(total - items, 0) / rate:.0f} s left" if rate else ""
        click.echo(f"{what}: {items:,} of {total:,} items, {_size(size_bytes)}, {rate:,.0f} items/s{left}", err=True)

    yield tell


def _size(size_bytes: float) -> str:
    """Return a size for people, in powers of 1024."""
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} GiB"
