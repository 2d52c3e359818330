"""The hand that alters evidence: it picks victims, changes objects and rows, and remembers how everything was.

Invariants: victims are items between two leaf indexes; whatever is changed through a hand can be undone, newest first,
and is then as it was, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from rehearsal.platform.core.store import NoSuchObjectError

if TYPE_CHECKING:
    import datetime as dt
    import random
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    from rehearsal.platform.core.store import Store

T = TypeVar("T")

Connection = psycopg.Connection[tuple[Any, ...]]
Names = dict[str, tuple[str, ...]]
"""What a kind altered, under the names that the table's findings hold: `item`, `own`, `root`, `crossref`, `later`."""

LEAVES = {1: "merkle_leaves", 2: "merkle_leaves_v2"}
_KEYS = {
    "evidence": "id",
    "merkle_leaves": "leaf_index",
    "merkle_leaves_v2": "leaf_index",
    "merkle_roots": "id",
    "merkle_crossrefs": "id",
    "log_entries": "log_index",
    "log_checkpoints": "size",
}
"""The primary key of each table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the evidence table."""

    id: str
    kind: str
    media_type: str
    size_bytes: int
    sha256: str
    object_key: str
    leaf_index: int
    log_index: int
    created: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What can be reached of a site by somebody who would alter it.

    `first` and `baseline` are leaf indexes: victims lie in between, the latter excluded.
    """

    database: Connection
    log: Connection
    store: Store
    trust: Path
    signing_key: ec.EllipticCurvePrivateKey
    log_key: ed25519.Ed25519PrivateKey
    baseline: int
    first: int = 0


@dataclass(slots=True, kw_only=True)
class Hand:
    """One alteration while it is done: every change goes through here and leaves its way back."""

    site: Site
    rng: random.Random
    kinds: tuple[str, ...]
    undoing: list[Callable[[], None]] = field(default_factory=list)
    thawing: list[Callable[[], None]] = field(default_factory=list)
    """What must be undone first: while a table takes no row, none can be put back."""

    def way_back(self) -> list[Callable[[], None]]:
        """Return everything that undoes the changes, in the order in which it is called."""
        return [*self.thawing, *reversed(self.undoing)]

    # choosing

    def rows(self, kinds: Iterable[str] = ()) -> list[Row]:
        """Return the items that may be struck, in the order of their ids."""
        with self.site.database.cursor(row_factory=class_row(Row)) as cursor:
            cursor.execute(
                "SELECT id, kind, media_type, size_bytes, sha256, object_key, leaf_index, log_index, created "
                "FROM evidence WHERE leaf_index >= %s AND leaf_index < %s AND kind = ANY(%s) ORDER BY id",
                (self.site.first, self.site.baseline, list(kinds or self.kinds)),
            )
            return cursor.fetchall()

    def item(self) -> Row:
        """Pick one item. Raises: LookupError."""
        return self.pick(self.rows(), "item")

    def two(self) -> tuple[Row, Row]:
        """Pick two items of one kind. Raises: LookupError."""
        kind = self.rng.choice(self.kinds)
        first = self.pick(self.rows((kind,)), kind)
        second = self.pick([row for row in self.rows((kind,)) if row.id != first.id], kind)
        return first, second

    def pick(self, among: Sequence[T], what: str) -> T:
        """Pick one. Raises: LookupError when there is none."""
        if not among:
            raise LookupError(f"the site has no {what} to alter")
        return self.rng.choice(among)

    # contents

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self._keep_object(key)
        self.site.store.put(key, content)

    def remove(self, key: str) -> None:
        """Remove an object."""
        self._keep_object(key)
        self.site.store.delete(key)

    def _keep_object(self, key: str) -> None:
        store = self.site.store
        try:
            content = store.get(key)
        except NoSuchObjectError:
            self.undoing.append(lambda: store.delete(key))
        else:
            self.undoing.append(lambda: store.put(key, content))

    # tables

    def change(self, connection: Connection, table: str, key: object, **values: object) -> None:
        """Set columns of the row with this primary key."""
        self._keep_rows(connection, table, [key])
        assignments = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in values)
        statement = sql.SQL("UPDATE {} SET {} WHERE {} = %s")
        connection.execute(
            statement.format(sql.Identifier(table), assignments, sql.Identifier(_KEYS[table])),
            (*values.values(), key),
        )

    def delete(self, connection: Connection, table: str, found: Sequence[object]) -> None:
        """Delete the rows with these primary keys."""
        self._keep_rows(connection, table, found)
        statement = sql.SQL("DELETE FROM {} WHERE {} = ANY(%s)")
        connection.execute(statement.format(sql.Identifier(table), sql.Identifier(_KEYS[table])), (list(found),))

    def insert(self, connection: Connection, table: str, **values: object) -> None:
        """Insert a row."""
        key = values[_KEYS[table]]
        removal = sql.SQL("DELETE FROM {} WHERE {} = %s").format(sql.Identifier(table), sql.Identifier(_KEYS[table]))
        self.undoing.append(lambda: _run(connection, removal, (key,)))
        _insert(connection, table, values)

    def _keep_rows(self, connection: Connection, table: str, found: Sequence[object]) -> None:
        name = sql.Identifier(_KEYS[table])
        with connection.cursor(row_factory=dict_row) as cursor:
            query = sql.SQL("SELECT * FROM {} WHERE {} = ANY(%s)").format(sql.Identifier(table), name)
            rows = cursor.execute(query, (list(found),)).fetchall()

        def restore() -> None:
            removal = sql.SQL("DELETE FROM {} WHERE {} = ANY(%s)").format(sql.Identifier(table), name)
            connection.execute(removal, (list(found),))
            for row in rows:
                _insert(connection, table, row)

        self.undoing.append(restore)

    def freeze(self, connection: Connection, table: str) -> None:
        """Let the table take no row any more, without saying so."""
        statements: tuple[LiteralString, ...] = (
            "CREATE OR REPLACE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "CREATE TRIGGER keep_out BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION keep_out()",
        )
        for statement in statements:
            connection.execute(sql.SQL(statement).format(sql.Identifier(table)))
        removal = sql.SQL("DROP TRIGGER keep_out ON {}").format(sql.Identifier(table))
        self.thawing.append(lambda: _run(connection, removal, ()))

    # trees and log

    def leaf_table(self) -> str:
        """Pick a leaf schema that the site has, and return its table."""
        return LEAVES[self.pick(self.schemas(), "table of leaves")]

    def schemas(self) -> list[int]:
        """Return the leaf schemas that have leaves."""
        return [schema for schema, table in LEAVES.items() if _has(self.site.database, table)]

    def roots(self) -> list[dict[str, Any]]:
        """Return the signed roots, by schema and size."""
        return read_all(
            self.site.database, "SELECT id, schema_version, size, root, envelope FROM merkle_roots ORDER BY 2, 3"
        )

    def root(self) -> dict[str, Any]:
        """Pick a signed root over at least the baseline. Raises: LookupError."""
        return self.pick([row for row in self.roots() if row["size"] >= self.site.baseline], "signed root")

    def crossrefs(self) -> list[dict[str, Any]]:
        """Return the cross-references, by size."""
        return read_all(self.site.database, "SELECT * FROM merkle_crossrefs ORDER BY size, id")

    def crossref(self) -> dict[str, Any]:
        """Pick a cross-reference that is not the only one. Raises: LookupError."""
        return self.pick(self.crossrefs()[:-1] or self.crossrefs(), "cross-reference")

    def checkpoints(self) -> list[dict[str, Any]]:
        """Return the log's checkpoints by size. Raises: LookupError when there is none."""
        found = read_all(self.site.log, "SELECT size, root, note, created FROM log_checkpoints ORDER BY size")
        if not found:
            raise LookupError("the log has no checkpoint to alter")
        return found

    def entry(self, index: int) -> bytes:
        """Return an entry of the log."""
        row = self.site.log.execute("SELECT leaf FROM log_entries WHERE log_index = %s", (index,)).fetchone()
        if row is None:
            raise LookupError(f"the log has no entry {index}")
        return bytes(row[0])


def _run(connection: Connection, statement: sql.Composed, parameters: Sequence[object]) -> None:
    connection.execute(statement, parameters)


def _insert(connection: Connection, table: str, values: Mapping[str, object]) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, values))
    places = sql.SQL(", ").join(sql.Placeholder() * len(values))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), columns, places)
    connection.execute(statement, [Jsonb(value) if isinstance(value, dict) else value for value in values.values()])


def read_all(connection: Connection, query: LiteralString) -> list[dict[str, Any]]:
    """Return the rows of a query by the names of their columns."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query).fetchall()


def _has(connection: Connection, table: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    if row is None or not row[0]:
        return False
    return connection.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(table))).fetchone() is not None
