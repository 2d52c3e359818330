"""Reading leaves from a table into a frontier that follows it.

Invariants: constant memory; only committed leaves are kept, so a transaction that fails leaves nothing behind here; a
table that became shorter (a restored database) is read again from its start.
"""

import asyncio

import asyncpg

from rehearsal.platform.core import merkle

_BATCH = 50_000


class LeavesError(Exception):
    """Stored leaves contradict themselves; the message says where."""


class LeafReader:
    """The frontier over one table of leaves, as far as it has been read."""

    def __init__(self, table: str, index_column: str) -> None:
        self._table = table
        self._query = (
            f"SELECT leaf_hash FROM {table} "  # noqa: S608 - names of ours
            f"WHERE {index_column} >= $1 AND {index_column} < $2 ORDER BY {index_column}"
        )
        self._frontier = merkle.Frontier()
        self._lock = asyncio.Lock()

    async def frontier(self, connection: asyncpg.Connection, size: int) -> merkle.Frontier:
        """Give the caller a frontier of its own over the first `size` leaves, all committed.

        Raises:
            LeavesError: a leaf is missing.

        """
        async with self._lock:
            if self._frontier.size > size:
                self._frontier = merkle.Frontier()
            while self._frontier.size < size:
                start, end = self._frontier.size, min(size, self._frontier.size + _BATCH)
                rows = await connection.fetch(self._query, start, end)
                if len(rows) != end - start:
                    raise LeavesError(f"{self._table} has {len(rows)} leaves in {start}..{end - 1}")
                for row in rows:
                    self._frontier.append(row["leaf_hash"])
            return self._frontier.copy()
