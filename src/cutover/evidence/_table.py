"""A table of 32-byte hashes by index, in an unnamed temporary file: millions of them in constant memory.

Invariants: a cell that was never set reads as None (32 zero bytes, which no SHA-256 in use has); a full disk is an
OSError of the `put` or of the reading, whatever the order of the indexes.
"""

from __future__ import annotations

import os
import tempfile
from itertools import islice, takewhile
from struct import Struct
from typing import TYPE_CHECKING, Final, Self

from cutover.evidence.merkle import HASH_BYTES, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_EMPTY: Final = bytes(HASH_BYTES)
_CELL: Final = Struct(f"{HASH_BYTES}s")
_PAGE_CELLS: Final = 128  # 4 KiB
_PAGES_KEPT: Final = 64  # 256 KiB
_CELLS_A_READ: Final = 4096
_ROOTS_KEPT: Final = 1000


class HashTable:
    """Cells 0 to `limit` - 1; used as a context manager, which closes the file.

    Cells are set in pages in memory, the oldest of which goes to the file when there are too many: indexes come
    mostly in order, and any order works.
    """

    __slots__ = ("_file", "_pages", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - __exit__ closes it
        self._pages: dict[int, bytearray] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def put(self, index: int, value: bytes) -> bool:
        """Set a cell to a hash; False when the index is outside the table or the cell is set already."""
        if not 0 <= index < self.limit:
            return False
        number, cell = divmod(index, _PAGE_CELLS)
        page = self._pages.get(number) or self._turn_to(number)
        start, end = cell * HASH_BYTES, (cell + 1) * HASH_BYTES
        if page[start:end] != _EMPTY:
            return False
        page[start:end] = value
        return True

    def cells(self, start: int = 0, end: int | None = None) -> Iterator[bytes | None]:
        """Return the cells from `start` up to `end` (the limit by default), in order."""
        end = self.limit if end is None else min(end, self.limit)
        while start < end:
            count = min(_CELLS_A_READ, end - start)
            while self._pages:
                self._put_away()
            for (cell,) in _CELL.iter_unpack(self._read(start, count)):
                yield None if cell == _EMPTY else cell
            start += count

    def _turn_to(self, number: int) -> bytearray:
        if len(self._pages) >= _PAGES_KEPT:
            self._put_away()
        page = self._pages[number] = bytearray(self._read(number * _PAGE_CELLS, _PAGE_CELLS))
        return page

    def _put_away(self) -> None:
        """Write the oldest page to the file."""
        number = next(iter(self._pages))
        page = memoryview(self._pages[number])
        at = number * len(page)
        while page:  # a nearly full disk takes a part, and refuses the rest
            written = os.pwrite(self._file.fileno(), page, at)
            page, at = page[written:], at + written
        del self._pages[number]

    def _read(self, start: int, count: int) -> bytes:
        size_bytes = count * HASH_BYTES
        return os.pread(self._file.fileno(), size_bytes, start * HASH_BYTES).ljust(size_bytes, b"\0")


class RootCursor:
    """Roots over the first n cells: one pass over the table for any number of n that do not fall.

    The latest answers are remembered; for a smaller n that is not among them another pass begins.
    """

    __slots__ = ("_cells", "_known", "_table", "_tree")

    def __init__(self, table: HashTable) -> None:
        self._table = table
        self._known: dict[int, bytes | None] = {}
        self._cells: Iterator[bytes | None] = iter(())
        self._tree = Tree()
        self._begin()

    def root_at(self, size: int) -> bytes | None:
        """Return the root over the first `size` cells; None when one of them was never set or cannot be."""
        if size not in self._known:
            self._known[size] = self._compute(size)
            if len(self._known) > _ROOTS_KEPT:
                del self._known[next(iter(self._known))]
        return self._known[size]

    def _compute(self, size: int) -> bytes | None:
        if not 0 <= size <= self._table.limit:
            return None
        if size < self._tree.size:
            self._begin()
        self._tree.extend(takewhile(bool, islice(self._cells, size - self._tree.size)))  # type: ignore[arg-type]
        if self._tree.size < size:
            self._cells = iter(())  # nothing counts behind a gap
            return None
        return self._tree.root()

    def _begin(self) -> None:
        self._cells = self._table.cells()
        self._tree = Tree()
