"""Evidence as both releases write it: rows, leaves and signed root in one transaction, and the second tree beside.

Invariants: leaf indexes are dense and follow the order of commit (allocated under one advisory lock, in both
colours); a scan is recorded once however often its job is tried; schema 1 is authoritative until its table is gone; a
cross-reference is signed only over two roots that were both recomputed from their leaves, at the same size.
"""

import dataclasses
import datetime as dt
import json
from collections.abc import Sequence

import asyncpg
from cryptography.hazmat.primitives.asymmetric import ec

from rehearsal.platform.app.reading import LeafReader, LeavesError
from rehearsal.platform.core import dsse, leaves, makers

_DERIVE_BATCH = 5000
_TABLES = {1: "merkle_leaves", 2: "merkle_leaves_v2"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """An item with the id and the place that the transparency log gave it."""

    item: makers.Item
    evidence_id: str
    log_index: int


class EvidenceTree:
    """The trees over all evidence as this process has read them; two readers each, since recording runs ahead."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, *, knows: int = max(_TABLES)) -> None:
        """Take the key that signs roots, and the newest leaf schema that this release knows."""
        self._key = key
        self._knows = knows
        self._recorded = {schema: LeafReader(table, "leaf_index") for schema, table in _TABLES.items()}
        self._derived = {schema: LeafReader(table, "leaf_index") for schema, table in _TABLES.items()}

    async def record(
        self, connection: asyncpg.Connection, scan: makers.Scan, logged: Sequence[Logged], now: dt.datetime
    ) -> bool:
        """Write a scan's evidence and finish the scan; give False where an earlier attempt did.

        Raises:
            LeavesError: the leaf schema in force is newer than this release.

        """
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", leaves.TREE_LOCK_KEY)
            status = await connection.fetchval("SELECT status FROM scans WHERE id = $1", scan.id)
            if status == "done":
                return False
            schema = await authoritative_schema(connection)
            if schema > self._knows:
                raise LeavesError(f"leaf schema {schema} is in force, this release knows none after {self._knows}")
            start = int(await connection.fetchval("SELECT coalesce(max(leaf_index) + 1, 0) FROM evidence"))
            frontier = await self._recorded[schema].frontier(connection, start)
            hashed = []
            for offset, entry in enumerate(logged):
                covered = leaves.Covered(
                    id=entry.evidence_id,
                    kind=entry.item.kind,
                    sha256=entry.item.sha256,
                    size_bytes=len(entry.item.content),
                    created=now,
                )
                digest = leaves.leaf_hash(covered, schema)
                frontier.append(digest)
                hashed.append((start + offset, entry.evidence_id, digest))
            await connection.executemany(
                "INSERT INTO evidence (id, scan_id, kind, media_type, size_bytes, sha256, object_key, leaf_index, "
                "log_index, signer_keyid, created) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                [
                    (
                        entry.evidence_id,
                        scan.id,
                        entry.item.kind,
                        entry.item.media_type,
                        len(entry.item.content),
                        entry.item.sha256,
                        entry.item.object_key,
                        start + offset,
                        entry.log_index,
                        entry.item.signer_keyid,
                        now,
                    )
                    for offset, entry in enumerate(logged)
                ],
            )
            await connection.executemany(
                f"INSERT INTO {_TABLES[schema]} (leaf_index, evidence_id, leaf_hash) VALUES ($1, $2, $3)",  # noqa: S608
                hashed,
            )
            await self._sign_root(connection, schema, frontier.size, frontier.root(), now)
            await connection.execute("UPDATE scans SET status = 'done', finished = $2 WHERE id = $1", scan.id, now)
        return True

    async def derive(self, connection: asyncpg.Connection, now: dt.datetime) -> int | None:
        """Bring the schema 2 tree to the newest size and cross-reference it; give the size, or None if nothing is new.

        Raises:
            LeavesError: the leaves of schema 1 do not lead to the root that was signed for them.

        """
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            if await authoritative_schema(connection) != 1:
                return None
            size = int(await connection.fetchval("SELECT coalesce(max(leaf_index) + 1, 0) FROM evidence"))
            done = await connection.fetchval("SELECT max(size) FROM merkle_crossrefs WHERE old_schema = 1")
            if size in {0, done}:
                return None
            old_root = (await self._derived[1].frontier(connection, size)).root()
            signed = await connection.fetchval(
                "SELECT root FROM merkle_roots WHERE schema_version = 1 AND size = $1", size
            )
        if signed is not None and bytes(signed) != old_root:
            raise LeavesError(f"schema 1 leaves 0..{size - 1} lead to {old_root.hex()}, signed is {signed.hex()}")
        await self._derive_leaves(connection, size)
        new_root = (await self._derived[2].frontier(connection, size)).root()
        statement = leaves.crossref_statement(
            size=size, old_schema=1, new_schema=2, old_root=old_root, new_root=new_root
        )
        envelope = dsse.sign_statement(dsse.MERKLE_CROSSREF, statement, self._key)
        async with connection.transaction():
            await self._sign_root(connection, 2, size, new_root, now)
            await connection.execute(
                "INSERT INTO merkle_crossrefs (size, old_schema, new_schema, old_root, new_root, envelope, created) "
                "VALUES ($1, 1, 2, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                size,
                old_root,
                new_root,
                json.dumps(envelope),
                now,
            )
        return size

    async def _derive_leaves(self, connection: asyncpg.Connection, size: int) -> None:
        """Write the schema 2 leaves that are missing below `size`; another pod may do the same at once."""
        while True:
            start = await connection.fetchval("SELECT coalesce(max(leaf_index) + 1, 0) FROM merkle_leaves_v2")
            rows = await connection.fetch(
                "SELECT leaf_index, id, kind, sha256, size_bytes, created FROM evidence "
                "WHERE leaf_index >= $1 AND leaf_index < $2 ORDER BY leaf_index LIMIT $3",
                start,
                size,
                _DERIVE_BATCH,
            )
            if not rows:
                return
            derived = [
                (
                    row["leaf_index"],
                    row["id"],
                    leaves.leaf_hash(
                        leaves.Covered(
                            id=row["id"],
                            kind=row["kind"],
                            sha256=row["sha256"],
                            size_bytes=row["size_bytes"],
                            created=row["created"],
                        ),
                        2,
                    ),
                )
                for row in rows
            ]
            await connection.executemany(
                "INSERT INTO merkle_leaves_v2 (leaf_index, evidence_id, leaf_hash) VALUES ($1, $2, $3) "
                "ON CONFLICT DO NOTHING",
                derived,
            )

    async def _sign_root(
        self, connection: asyncpg.Connection, schema: int, size: int, root: bytes, now: dt.datetime
    ) -> None:
        statement = leaves.root_statement(schema_version=schema, size=size, root=root, created=now)
        envelope = dsse.sign_statement(dsse.MERKLE_ROOT, statement, self._key)
        await connection.execute(
            "INSERT INTO merkle_roots (schema_version, size, root, created, envelope) VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT DO NOTHING",
            schema,
            size,
            root,
            now,
            json.dumps(envelope),
        )


async def authoritative_schema(connection: asyncpg.Connection) -> int:
    """Give the leaf schema in force: 1 until category B of 2027.Q2 has dropped its table, then 2."""
    return 2 if await connection.fetchval("SELECT to_regclass('merkle_leaves') IS NULL") else 1
