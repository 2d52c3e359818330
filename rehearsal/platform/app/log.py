"""The transparency log: appending with a signed checkpoint for each batch, and reading with proofs.

Invariants: entries are never changed or removed; an item is logged once however often its job is tried; a checkpoint
is signed only over entries that commit with it.
"""

import asyncio
import datetime as dt
from collections.abc import Sequence

import asyncpg
from cryptography.hazmat.primitives.asymmetric import ed25519

from rehearsal.platform.app.evidence import Logged
from rehearsal.platform.app.reading import LeafReader, LeavesError
from rehearsal.platform.core import checkpoint, leaves, makers, merkle


class TransparencyLog:
    """The log as one process sees it; the tree in memory follows the table."""

    def __init__(self, pool: asyncpg.Pool, origin: str) -> None:
        self._pool = pool
        self._origin = origin
        self._reader = LeafReader("log_entries", "log_index")
        self._tree = merkle.Tree()
        self._reading = asyncio.Lock()

    async def append(
        self, items: Sequence[makers.Item], key: ed25519.Ed25519PrivateKey, now: dt.datetime
    ) -> list[Logged]:
        """Log the items that are not logged yet, sign a checkpoint, and give all of them with their ids.

        An item's id is its number in the log, so that a repeated attempt finds the id of the first.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", leaves.LOG_LOCK_KEY)
            rows = await connection.fetch(
                "SELECT subject, log_index FROM log_entries WHERE subject = ANY($1)", [item.sha256 for item in items]
            )
            known = {row["subject"]: row["log_index"] for row in rows}
            size = int(await connection.fetchval("SELECT coalesce(max(log_index) + 1, 0) FROM log_entries"))
            frontier = await self._reader.frontier(connection, size)
            entries = []
            for item in items:
                if item.sha256 not in known:
                    index = known[item.sha256] = frontier.size
                    entry = leaves.log_entry(evidence_id=leaves.evidence_id(index), kind=item.kind, sha256=item.sha256)
                    digest = merkle.leaf_hash(entry)
                    frontier.append(digest)
                    entries.append((index, entry, digest, now, item.sha256))
            if entries:
                state = checkpoint.Checkpoint(origin=self._origin, size=frontier.size, root=frontier.root())
                await connection.executemany(
                    "INSERT INTO log_entries (log_index, leaf, leaf_hash, created, subject) "
                    "VALUES ($1, $2, $3, $4, $5)",
                    entries,
                )
                await connection.execute(
                    "INSERT INTO log_checkpoints (size, root, note, created) VALUES ($1, $2, $3, $4)",
                    state.size,
                    state.root,
                    checkpoint.sign(state, key),
                    now,
                )
        return [
            Logged(item=item, evidence_id=leaves.evidence_id(known[item.sha256]), log_index=known[item.sha256])
            for item in items
        ]

    async def newest_note(self) -> str | None:
        """Give the newest checkpoint, a signed note; None of an empty log."""
        note = await self._pool.fetchval("SELECT note FROM log_checkpoints ORDER BY size DESC LIMIT 1")
        return None if note is None else str(note)

    async def entries(self, start: int, end: int) -> list[asyncpg.Record]:
        """Give entries start..end-1: rows of log_index, leaf, leaf_hash."""
        rows: list[asyncpg.Record] = await self._pool.fetch(
            "SELECT log_index, leaf, leaf_hash FROM log_entries WHERE log_index >= $1 AND log_index < $2 "
            "ORDER BY log_index",
            start,
            end,
        )
        return rows

    async def tree(self, size: int) -> merkle.Tree:
        """Give a tree that has at least `size` leaves.

        Raises:
            ValueError: the log has fewer entries.
            LeavesError: an entry is missing.

        """
        async with self._reading, self._pool.acquire() as connection:
            have = int(await connection.fetchval("SELECT coalesce(max(log_index) + 1, 0) FROM log_entries"))
            if have < size:
                raise ValueError(f"a tree of {have} leaves has no state of {size}")
            if self._tree.size > have:  # another database than the one read so far
                self._tree = merkle.Tree()
            rows = await connection.fetch(
                "SELECT leaf_hash FROM log_entries WHERE log_index >= $1 AND log_index < $2 ORDER BY log_index",
                self._tree.size,
                have,
            )
            if len(rows) != have - self._tree.size:
                raise LeavesError(f"the log has {len(rows)} entries in {self._tree.size}..{have - 1}")
            self._tree.extend(row["leaf_hash"] for row in rows)
        return self._tree
