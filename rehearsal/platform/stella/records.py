"""What the deployment's databases and log say of its evidence, read once.

Invariants: everything from the evidence database is of one snapshot; the log is read after it, so that whatever the
snapshot refers to is there; nothing is verified here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from psycopg import IsolationLevel, sql

from rehearsal.platform.core.leaves import Covered
from rehearsal.platform.stella import database

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    import psycopg

    from rehearsal.platform.core.settings import Settings

Connection: TypeAlias = "psycopg.Connection[tuple[object, ...]]"

LEAF_TABLES = {1: "merkle_leaves", 2: "merkle_leaves_v2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One row of evidence."""

    id: str
    scan_id: str
    kind: str
    size_bytes: int
    sha256: str
    object_key: str
    leaf_index: int
    log_index: int
    signer_keyid: str | None
    created: dt.datetime

    @property
    def covered(self) -> Covered:
        """The columns that leaves cover."""
        return Covered(id=self.id, kind=self.kind, sha256=self.sha256, size_bytes=self.size_bytes, created=self.created)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One stored leaf; `digest` is 32 bytes."""

    index: int
    evidence_id: str
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRoot:
    """One stored root of 32 bytes over the first `size` leaves of a schema; the envelope of the newest one only."""

    schema_version: int
    size: int
    root: bytes
    envelope: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossReference:
    """One stored statement that two roots are over the same first `size` items."""

    size: int
    old_schema: int
    new_schema: int
    old_root: bytes
    new_root: bytes
    envelope: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The transparency log: entries by index, past checkpoints as (size, root of 32 bytes), and the newest note."""

    entries: tuple[tuple[bytes, bytes], ...]
    checkpoints: tuple[tuple[int, bytes], ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """All evidence of a deployment. `items` are in their leaves' order; `leaves` has a key for each schema kept."""

    items: tuple[Item, ...]
    leaves: Mapping[int, tuple[Leaf, ...]]
    roots: tuple[StoredRoot, ...]
    cross_references: tuple[CrossReference, ...]
    log: Log

    @property
    def authoritative_schema(self) -> int:
        """The leaf schema that counts: the oldest one kept, as category B drops it when the next is whole."""
        return min(self.leaves)


def read(settings: Settings) -> Records:
    """Return all evidence of a deployment.

    Raises: UnreachableError, RefusedError.
    """
    with database.connect(settings.database_url) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            items = read_items(connection)
            leaves = {schema: _leaves(connection, table) for schema, table in _kept(connection).items()}
            roots = _roots(connection)
            cross_references = _cross_references(connection)
    return Records(items=items, leaves=leaves, roots=roots, cross_references=cross_references, log=read_log(settings))


def read_items(
    connection: Connection, *, kind: str | None = None, since: dt.datetime | None = None
) -> tuple[Item, ...]:
    """Return evidence rows in the order of their leaves; of one kind, or created since an instant, where asked."""
    rows = connection.execute(
        "SELECT id, scan_id, kind, size_bytes, sha256, object_key, leaf_index, log_index, signer_keyid, created "
        "FROM evidence WHERE (%(kind)s::text IS NULL OR kind = %(kind)s) "
        "AND (%(since)s::timestamptz IS NULL OR created >= %(since)s) ORDER BY leaf_index",
        {"kind": kind, "since": since},
    )
    names = tuple(Item.__dataclass_fields__)
    return tuple(Item(**cast("dict[str, Any]", dict(zip(names, row, strict=True)))) for row in rows)


def read_log(settings: Settings) -> Log:
    """Return the transparency log: the checkpoint first, then at least the entries it covers.

    Raises: UnreachableError, RefusedError.
    """
    with database.connect(settings.log_database_url) as connection:
        checkpoints = connection.execute("SELECT size, root FROM log_checkpoints ORDER BY size").fetchall()
        newest = connection.execute("SELECT note FROM log_checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        entries = connection.execute("SELECT leaf, leaf_hash FROM log_entries ORDER BY log_index").fetchall()
    return Log(
        entries=cast("tuple[tuple[bytes, bytes], ...]", tuple(entries)),
        checkpoints=cast("tuple[tuple[int, bytes], ...]", tuple(checkpoints)),
        note=str(newest[0]) if newest else "",
    )


def _kept(connection: Connection) -> dict[int, str]:
    """Return the leaf tables there are; none at all is an incomplete schema, which the first read of it then says."""
    kept = {
        schema: table
        for schema, table in LEAF_TABLES.items()
        if (row := connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()) and row[0] is not None
    }
    return kept or {1: LEAF_TABLES[1]}


def _leaves(connection: Connection, table: str) -> tuple[Leaf, ...]:
    query = sql.SQL("SELECT leaf_index, evidence_id, leaf_hash FROM {} ORDER BY leaf_index")
    rows = connection.execute(query.format(sql.Identifier(table)))
    return tuple(
        Leaf(index=cast("int", index), evidence_id=str(evidence_id), digest=cast("bytes", digest))
        for index, evidence_id, digest in rows
    )


def _roots(connection: Connection) -> tuple[StoredRoot, ...]:
    rows = connection.execute(
        "SELECT schema_version, size, root, "
        "CASE WHEN size = max(size) OVER (PARTITION BY schema_version) THEN envelope END "
        "FROM merkle_roots ORDER BY schema_version, size"
    )
    return tuple(
        StoredRoot(**cast("dict[str, Any]", dict(zip(StoredRoot.__dataclass_fields__, row, strict=True))))
        for row in rows
    )


def _cross_references(connection: Connection) -> tuple[CrossReference, ...]:
    rows = connection.execute(
        "SELECT size, old_schema, new_schema, old_root, new_root, envelope FROM merkle_crossrefs ORDER BY size, id"
    )
    return tuple(
        CrossReference(**cast("dict[str, Any]", dict(zip(CrossReference.__dataclass_fields__, row, strict=True))))
        for row in rows
    )
