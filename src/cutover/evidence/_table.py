"""A table of 32-byte hashes by index, in an unnamed temporary file: millions of them in constant memory.

Invariant: a cell that was never set reads as None (32 zero bytes, which no SHA-256 in use has).
"""

from __future__ import annotations

import os
import tempfile
from itertools import islice
from typing import TYPE_CHECKING, Self

from cutover.evidence.merkle import HASH_BYTES, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_EMPTY = bytes(HASH_BYTES)
_CELLS_A_READ = 4096


class HashTable:
    """Cells 0 to `limit` - 1; used as a context manager, which closes the file."""

    __slots__ = ("_file", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - __exit__ closes it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def put(self, index: int, value: bytes) -> bool:
        """Set a cell; False when the index is outside the table or the cell is set already."""
        if not 0 <= index < self.limit or self.get(index) is not None:
            return False
        os.pwrite(self._file.fileno(), value, index * HASH_BYTES)
        return True

    def get(self, index: int) -> bytes | None:
        """Return a cell, None where nothing was put."""
        if not 0 <= index < self.limit:
            return None
        value = os.pread(self._file.fileno(), HASH_BYTES, index * HASH_BYTES)
        return value if len(value) == HASH_BYTES and value != _EMPTY else None

    def cells(self, start: int = 0, end: int | None = None) -> Iterator[bytes | None]:
        """Return the cells from `start` up to `end` (the limit by default), in order."""
        end = self.limit if end is None else min(end, self.limit)
        while start < end:
            count = min(_CELLS_A_READ, end - start)
            raw = os.pread(self._file.fileno(), count * HASH_BYTES, start * HASH_BYTES).ljust(count * HASH_BYTES, b"\0")
            for offset in range(0, len(raw), HASH_BYTES):
                cell = raw[offset : offset + HASH_BYTES]
                yield None if cell == _EMPTY else cell
            start += count


class RootCursor:
    """Roots over the first n cells, for n that never falls: one pass over the table for any number of roots."""

    __slots__ = ("_cells", "_gap", "_tree")

    def __init__(self, table: HashTable) -> None:
        self._cells = table.cells()
        self._tree = Tree()
        self._gap = False

    def root_at(self, size: int) -> bytes | None:
        """Return the root over the first `size` cells; None when one of them was never set.

        Raises:
            ValueError: a larger size was asked for before.

        """
        if size < self._tree.size:
            raise ValueError(f"asked for size {size} after {self._tree.size}")
        if not self._gap:
            self._tree.extend(self._up_to(size))
            self._gap = self._tree.size < size
        return None if self._gap else self._tree.root()

    def _up_to(self, size: int) -> Iterator[bytes]:
        for cell in islice(self._cells, size - self._tree.size):
            if cell is None:
                return
            yield cell
