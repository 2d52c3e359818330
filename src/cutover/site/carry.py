"""Carry rows from one database into another of the same server: what is new there, what changed, and what is lost.

Responsibility: the difference of two databases, table by table, sent in one stream; every row that cannot be carried is
named, with the reason.
Invariants: nothing is held whole in memory; what the receiving side has is sent as two 64-bit hashes a row, rows only
where they differ; a row is carried whole or is a loss; rows that the source has no more are left as they are, unless
one stands where a row of the source is to stand, or an exact copy is asked for; each call is one transaction of the
receiving side.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Connection = psycopg.Connection[tuple[Any, ...]]

_NUMBER = "cutover_number"
_FEW = 1000
"""So many rows, and a tenth of a table, are sent without asking which of them the other side has."""
KEYS_SHOWN = 20
"""Of the rows of one loss, so many are named by their key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table as its catalogue describes it."""

    schema: str
    name: str
    columns: tuple[str, ...]
    """Generated columns left out: they follow from the others."""
    key: tuple[str, ...]
    """The primary key; empty without one, and then rows are compared whole."""
    identities: frozenset[str]
    """Columns whose value the server gives always."""

    @property
    def title(self) -> str:
        """`schema.table`."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """The table's name, quoted."""
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Something of the source that has no place in the destination, or that nobody can map."""

    table: str
    column: str
    """Empty when whole rows are lost."""
    rows: int | None
    """None when nobody can tell how many."""
    why: str
    keys: tuple[str, ...] = ()
    """Of the first rows lost, in the server's own writing."""

    def __str__(self) -> str:
        what = f"{self.table}.{self.column}" if self.column else self.table
        number = "an unknown number of rows" if self.rows is None else f"{self.rows} rows"
        named = f" ({', '.join(self.keys[:3])}{', …' if len(self.keys) > 3 else ''})" if self.keys else ""
        return f"{what}: {number}{named}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What was done to one table."""

    table: str
    added: int
    changed: int
    kept: int
    """Rows that the source has no more: they stay, or went where an exact copy was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What was carried, and what was not."""

    tables: tuple[Moved, ...]
    losses: tuple[Loss, ...]

    @property
    def added(self) -> int:
        """Rows that the destination did not have."""
        return sum(moved.added for moved in self.tables)

    @property
    def changed(self) -> int:
        """Rows that the destination had otherwise."""
        return sum(moved.changed for moved in self.tables)

    @property
    def kept(self) -> int:
        """Rows that the source had no more."""
        return sum(moved.kept for moved in self.tables)


def digest_of(losses: Iterable[Loss]) -> str:
    """Return one digest over what is lost and why, whatever its order: this is what a person gives up.

    The numbers are left out: while the platform works they grow from one look to the next.
    """
    lines = {json.dumps([loss.table, loss.column, loss.why]) for loss in losses}
    return "sha256:" + hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def together(*lists: Iterable[Loss]) -> tuple[Loss, ...]:
    """Return the losses of several passes, each thing once, with its greatest number."""
    found: dict[tuple[str, str, str], Loss] = {}
    for loss in (loss for losses in lists for loss in losses):
        known = found.get((loss.table, loss.column, loss.why))
        if known is None or (known.rows or 0) <= (loss.rows or 0):
            found[loss.table, loss.column, loss.why] = loss
    return tuple(found.values())


def tables(connection: Connection) -> dict[str, Table]:
    """Return the tables that hold rows, by `schema.table`; a partitioned one by its partitions."""
    found = {}
    for schema, name, columns, key, identities in connection.execute(_TABLES).fetchall():
        table = Table(
            schema=schema, name=name, columns=tuple(columns), key=tuple(key or ()), identities=frozenset(identities)
        )
        found[table.title] = table
    return found


def mark(connection: Connection) -> str:
    """Return a transaction id of the server: whatever the connection cannot see yet is written by a later one."""
    return str(
        _first(connection, sql.SQL("SELECT (pg_snapshot_xmin(pg_current_snapshot())::text::numeric % 4294967296)"))
    )


def carry(
    source: Connection, destination: Connection, *, exact: bool = False, since: str = "", why_absent: str = ""
) -> Carried:
    """Bring the rows of `source` into `destination`.

    exact: the two have one schema, and afterwards one content; otherwise what the source has no more is kept.
    since: a mark; rows of the source that are older are known to be carried.
    why_absent: why a table or column of the destination may be absent from the source.
    In the source only temporary tables are made. Raises: psycopg.Error.
    """
    ours, theirs = tables(source), tables(destination)
    moved: list[Moved] = []
    losses = _without_place(source, ours, theirs, why_absent)
    common = [title for title in _parents_first(destination, theirs) if title in ours]
    with destination.transaction(), source.transaction():
        destination.execute("SET LOCAL lock_timeout = '30s'")
        if exact:
            _ignore_references(destination)
        if exact and not since:
            for title in reversed(common):
                _remove_gone(source, destination, theirs[title])
        triggers = [] if exact else _silence(destination, [theirs[title] for title in common])
        for title in common:
            one, lost = _carry_table(
                source, destination, ours[title], theirs[title], exact=exact, since=since, why=why_absent
            )
            moved.append(one)
            losses += lost
        if exact and since:
            for one in reversed(moved):
                if one.kept:
                    _remove_gone(source, destination, theirs[one.table])
        _carry_large_objects(source, destination)
        _raise_sequences(source, destination)
        for table, trigger in triggers:
            destination.execute(_TRIGGER.format(table, sql.SQL("ENABLE"), sql.Identifier(trigger)))
    return Carried(tables=tuple(moved), losses=tuple(losses))


def remove_gone(source: Connection, destination: Connection, *, since: str) -> int:
    """Delete rows of the destination that are newer than a mark and that the source has no more; return how many."""
    ours, theirs = tables(source), tables(destination)
    newer = sql.SQL("age(t.xmin) <= age({}::text::xid)").format(sql.Literal(since))
    removed = 0
    with destination.transaction():
        for title in reversed(_parents_first(destination, theirs)):
            table = theirs[title]
            if title not in ours or not table.key or ours[title].key != table.key:
                continue
            _send_hashes(source, ours[title], destination, table.key)
            query = sql.SQL("DELETE FROM {} AS t WHERE {} AND NOT EXISTS ({})")
            removed += destination.execute(query.format(table.identifier, newer, _known(table.key))).rowcount
    return removed


def _without_place(
    source: Connection, ours: Mapping[str, Table], theirs: Mapping[str, Table], why_absent: str
) -> list[Loss]:
    """Return the tables that only one side has: rows of the source's own have no place, the others' nobody knows."""
    losses = [
        Loss(table=title, column="", rows=None, why=why_absent or "the newer schema has no such table")
        for title in sorted(theirs.keys() - ours.keys())
    ]
    for title in sorted(ours.keys() - theirs.keys()):
        rows = _count(source, ours[title])
        if rows:
            losses.append(Loss(table=title, column="", rows=rows, why="the restored schema has no such table"))
    return losses


def _carry_large_objects(source: Connection, destination: Connection) -> None:
    """Bring the large objects that the destination lacks, with their owners; one that is there is taken to be equal."""
    query = "SELECT oid::bigint, pg_get_userbyid(lomowner) FROM pg_largeobject_metadata"
    there = {oid for oid, _ in destination.execute(query)}
    for oid, owner in source.execute(query).fetchall():
        if oid not in there:
            content = _first(source, sql.SQL("SELECT lo_get({}::oid)").format(sql.Literal(oid)))
            destination.execute("SELECT lo_from_bytea(%s::oid, %s)", (oid, content))
            change = sql.SQL("ALTER LARGE OBJECT {} OWNER TO {}")
            destination.execute(change.format(sql.Literal(oid), sql.Identifier(owner)))


def absent_keys(source: Connection, destination: Connection) -> Mapping[str, int]:
    """Return how many rows of `source` have no row of the same key in `destination`, by table that both have.

    A table without a key is compared by whole rows; one whose key is another is left out, as one without such a row.
    Nothing of the source is written, not even a temporary table.
    """
    ours, theirs = tables(source), tables(destination)
    found = {}
    for title in sorted(ours.keys() & theirs.keys()):
        if ours[title].key != theirs[title].key:
            continue
        key = theirs[title].key or _compared(theirs[title], _common(ours[title], theirs[title]))
        with destination.transaction(force_rollback=True):
            _send_hashes(source, ours[title], destination, key)
            query = sql.SQL("SELECT count(*) FROM pg_temp.known AS k WHERE NOT EXISTS (SELECT FROM {} WHERE {})")
            number = _first(destination, query.format(_rows(theirs[title], key), _is_known(key)))
        if number:
            found[title] = int(number)
    return found


# -- one table ---------------------------------------------------------------------------------------------------------


def _carry_table(
    source: Connection, destination: Connection, ours: Table, theirs: Table, *, exact: bool, since: str, why: str
) -> tuple[Moved, list[Loss]]:
    columns = _common(ours, theirs)
    losses = [
        Loss(table=ours.title, column=column, rows=rows, why="the restored schema has no such column")
        for column in ours.columns
        if column not in theirs.columns
        for rows in [int(_first(source, _FILLED.format(sql.Identifier(column), ours.identifier)))]
        if rows
    ]
    if exact and not theirs.key:
        destination.execute(sql.SQL("DELETE FROM {}").format(theirs.identifier))
    before = _count(destination, theirs)
    _stage(source, destination, ours, theirs, since=since if theirs.key else "")
    merge = _Merge(source=source, destination=destination, ours=ours, table=theirs, columns=columns)
    losses += merge.run()
    changed, added = merge.changed, merge.added
    missing = [column for column in theirs.columns if column not in ours.columns]
    losses += [
        Loss(table=ours.title, column=column, rows=added + changed, why=why or "the newer schema has no such column")
        for column in missing
        if added + changed
    ]
    kept = before - merge.gave_way + added + merge.refused - _count(source, ours) if theirs.key else 0
    return Moved(table=ours.title, added=added, changed=changed, kept=kept), losses


def _stage(source: Connection, destination: Connection, ours: Table, theirs: Table, *, since: str) -> None:
    """Send the rows that the destination may lack into its temporary table `staged`.

    Where few rows are newer than the mark, all of them are sent; else those whose hash the destination does not have.
    """
    columns = _common(ours, theirs)
    names = _names(columns)
    destination.execute("DROP TABLE IF EXISTS pg_temp.staged")
    destination.execute(
        sql.SQL("CREATE TEMP TABLE staged AS SELECT {} FROM {} WITH NO DATA").format(names, theirs.identifier)
    )
    newer: sql.Composable = sql.SQL("TRUE")
    few = False
    if since:
        newer = sql.SQL("age(t.xmin) <= age({}::text::xid)").format(sql.Literal(since))
        count = sql.SQL("SELECT count(*) FILTER (WHERE {}), count(*) FROM {} AS t").format(newer, ours.identifier)
        candidates, total = source.execute(count).fetchone() or (0, 0)
        few = candidates <= _FEW + total // 10
    if few:
        wanted = sql.SQL("COPY (SELECT {} FROM {} AS t WHERE {}) TO STDOUT").format(
            _names(columns, of="t"), ours.identifier, newer
        )
    else:
        compared = _compared(theirs, columns)
        _send_hashes(destination, theirs, source, compared)
        wanted = sql.SQL("COPY (SELECT {} FROM {} WHERE {} AND NOT EXISTS ({})) TO STDOUT").format(
            _names(columns, of="t"), _lines(ours, compared), newer, _KNOWN_LINE
        )
    _stream(source, wanted, destination, sql.SQL("COPY pg_temp.staged ({}) FROM STDIN").format(names))


@dataclass(slots=True, kw_only=True)
class _Merge:
    """Put the staged rows into their table, as one statement; where that is refused, row by row."""

    source: Connection
    destination: Connection
    ours: Table
    table: Table
    columns: tuple[str, ...]
    changed: int = 0
    added: int = 0
    refused: int = 0
    gave_way: int = 0
    """Rows that the source has no more, and that stood where a row of the source is to stand."""
    _knows_keys: bool = False

    def run(self) -> list[Loss]:
        """Do it; return the rows that cannot be there."""
        insert, update = _insert(self.table, self.columns), _update(self.table, self.columns)
        try:
            with self.destination.transaction():
                self.changed = self.destination.execute(update).rowcount if update else 0
                self.added = self.destination.execute(insert).rowcount
        except (psycopg.errors.IntegrityError, psycopg.errors.DataError):
            self.changed = self.added = 0
            return self._one_by_one(insert, update)
        return []

    def _one_by_one(self, insert: sql.Composed, update: sql.Composed | None) -> list[Loss]:
        refused: dict[str, list[str]] = {}
        key = _names(self.table.key, of="s") if self.table.key else sql.SQL("s.*")
        listing = sql.SQL("SELECT s.ctid::text, ROW({})::text FROM pg_temp.staged AS s").format(key)
        for place, name in self.destination.execute(listing).fetchall():
            error = self._one(place, insert, update)
            if isinstance(error, psycopg.errors.UniqueViolation) and self._make_room(place, error):
                error = self._one(place, insert, update)
            if error is not None:
                self.refused += 1
                refused.setdefault(str(error).splitlines()[0], []).append(name)
        return [
            Loss(table=self.table.title, column="", rows=len(names), why=why, keys=tuple(names[:KEYS_SHOWN]))
            for why, names in refused.items()
        ]

    def _one(self, place: str, insert: sql.Composed, update: sql.Composed | None) -> psycopg.Error | None:
        only = sql.SQL(" AND s.ctid = %s::tid")
        try:
            with self.destination.transaction():
                self.changed += self.destination.execute(update + only, (place,)).rowcount if update else 0
                self.added += self.destination.execute(insert + only, (place,)).rowcount
        except (psycopg.errors.IntegrityError, psycopg.errors.DataError) as error:
            return error
        return None

    def _make_room(self, place: str, error: psycopg.errors.UniqueViolation) -> bool:
        """Delete the row that has the staged row's unique values, if the source has that row no more."""
        found = self.destination.execute(_UNIQUE, (self.table.schema, error.diag.constraint_name)).fetchone()
        if not self.table.key or found is None or not found[0]:
            return False
        if not self._knows_keys:
            _send_hashes(self.source, self.ours, self.destination, self.table.key)
            self._knows_keys = True
        query = sql.SQL(
            "DELETE FROM {} AS t USING pg_temp.staged AS s WHERE s.ctid = %s::tid AND {} AND NOT EXISTS ({})"
        ).format(self.table.identifier, _same(found[0]), _known(self.table.key))
        try:
            with self.destination.transaction():
                gone = self.destination.execute(query, (place,)).rowcount
        except psycopg.errors.IntegrityError:  # others refer to it
            return False
        self.gave_way += gone
        return gone > 0


def _insert(table: Table, columns: Sequence[str]) -> sql.Composed:
    new: sql.Composable = sql.SQL("TRUE")
    if table.key:
        new = sql.SQL("NOT EXISTS (SELECT FROM {} AS t WHERE {})").format(table.identifier, _same(table.key))
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM pg_temp.staged AS s WHERE {}").format(
        table.identifier, _names(columns), _names(columns, of="s"), new
    )


def _update(table: Table, columns: Sequence[str]) -> sql.Composed | None:
    """Return what changes the rows whose key is there already, or None where no row has more than its key."""
    settable = [column for column in columns if column not in table.key and column not in table.identities]
    if not table.key or not settable:
        return None
    values = sql.SQL(", ").join(sql.SQL("{0} = s.{0}").format(sql.Identifier(column)) for column in settable)
    update = sql.SQL("UPDATE {} AS t SET {} FROM pg_temp.staged AS s WHERE {} AND ROW({})::text <> ROW({})::text")
    ours, theirs = _names(columns, of="s"), _names(columns, of="t")
    return update.format(table.identifier, values, _same(table.key), ours, theirs)


def _remove_gone(source: Connection, destination: Connection, table: Table) -> None:
    """Delete the rows of the destination whose key the source has no more."""
    if table.key:
        _send_hashes(source, table, destination, table.key)
        query = sql.SQL("DELETE FROM {} AS t WHERE NOT EXISTS ({})").format(table.identifier, _known(table.key))
        destination.execute(query)


# -- hashes and streams ------------------------------------------------------------------------------------------------


def _send_hashes(sender: Connection, table: Table, receiver: Connection, columns: Sequence[str]) -> None:
    """Give `receiver` a temporary table `known` with the hashes of some columns of every row that `sender` has."""
    receiver.execute("DROP TABLE IF EXISTS pg_temp.known")
    receiver.execute("CREATE TEMP TABLE known (h0 bigint, h1 bigint)")
    hashes = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(_HASHES, _lines(table, columns))
    _stream(sender, hashes, receiver, sql.SQL("COPY pg_temp.known FROM STDIN"))
    receiver.execute("ANALYZE pg_temp.known")


def _stream(sender: Connection, out: sql.Composed, receiver: Connection, into: sql.SQL | sql.Composed) -> None:
    with sender.cursor().copy(out) as reading, receiver.cursor().copy(into) as writing:
        for block in reading:
            writing.write(block)


def _compared(table: Table, columns: Sequence[str]) -> tuple[str, ...]:
    """Return what tells one row from another: without a key, equal rows are told apart by counting them."""
    return tuple(columns) if table.key else (*columns, _NUMBER)


def _rows(table: Table, compared: Sequence[str]) -> sql.Composed:
    """Return the rows of a table as `t`, each with its number among its equals where that is compared."""
    if _NUMBER not in compared:
        return sql.SQL("{} AS t").format(table.identifier)
    columns = _names((column for column in compared if column != _NUMBER), of="x")
    numbered = sql.SQL("(SELECT x.*, row_number() OVER (PARTITION BY ROW({})::text) AS {} FROM {} AS x) AS t")
    return numbered.format(columns, sql.Identifier(_NUMBER), table.identifier)


def _lines(table: Table, compared: Sequence[str]) -> sql.Composed:
    """Return the same rows with the text `l.line` of what is compared, made once for both hashes."""
    line = sql.SQL("{} CROSS JOIN LATERAL (SELECT ROW({})::text AS line OFFSET 0) AS l")
    return line.format(_rows(table, compared), _names(compared, of="t"))


def _known(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("SELECT FROM pg_temp.known AS k WHERE {}").format(_is_known(columns))


def _is_known(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("k.h0 = {} AND k.h1 = {}").format(_hash(columns, 0), _hash(columns, 1))


def _hash(columns: Sequence[str], seed: int) -> sql.Composed:
    return sql.SQL("hashtextextended(ROW({})::text, {})").format(_names(columns, of="t"), sql.Literal(seed))


def _names(columns: Iterable[str], *, of: str = "") -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(of, column) if of else sql.Identifier(column) for column in columns)


def _same(key: Sequence[str]) -> sql.Composed:
    return sql.SQL(" AND ").join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(column)) for column in key)


def _common(ours: Table, theirs: Table) -> tuple[str, ...]:
    return tuple(column for column in theirs.columns if column in ours.columns)


def _count(connection: Connection, table: Table) -> int:
    return int(_first(connection, sql.SQL("SELECT count(*) FROM {}").format(table.identifier)))


def _first(connection: Connection, query: sql.SQL | sql.Composed) -> Any:  # noqa: ANN401 (any value of the server's)
    row = connection.execute(query).fetchone()
    return row[0] if row else None


# -- the whole database ------------------------------------------------------------------------------------------------


def _parents_first(connection: Connection, known: Mapping[str, Table]) -> list[str]:
    """Return the tables so that a row comes after the one it refers to; in a circle, by name."""
    graph: dict[str, set[str]] = {title: set() for title in sorted(known)}
    for child, parent in connection.execute(_REFERENCES).fetchall():
        if child != parent and child in graph and parent in graph:
            graph[child].add(parent)
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError:
        return list(graph)


def _ignore_references(connection: Connection) -> None:
    """Leave foreign keys unchecked for this transaction, where the role may: an exact copy has the source's."""
    try:
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return


def _silence(connection: Connection, chosen: Sequence[Table]) -> list[tuple[sql.Identifier, str]]:
    """Switch off the platform's own triggers: the rows were made with them once. Return what was switched off."""
    titles = {table.title: table for table in chosen}
    found = []
    for title, trigger in connection.execute(_TRIGGERS).fetchall():
        if title in titles:
            table = titles[title].identifier
            connection.execute(_TRIGGER.format(table, sql.SQL("DISABLE"), sql.Identifier(trigger)))
            found.append((table, trigger))
    return found


def _raise_sequences(source: Connection, destination: Connection) -> None:
    """Let no sequence stand behind what the source's has given out: an id is never given twice."""
    given = {name: last for name, last in source.execute(_SEQUENCES).fetchall() if last is not None}
    for name, last in destination.execute(_SEQUENCES).fetchall():
        if name in given and (last is None or given[name] > last):
            destination.execute("SELECT setval(%s::regclass, %s)", (name, given[name]))


_HASHES = sql.SQL("hashtextextended(l.line, 0), hashtextextended(l.line, 1)")
_KNOWN_LINE = sql.SQL(
    "SELECT FROM pg_temp.known AS k WHERE k.h0 = hashtextextended(l.line, 0) AND k.h1 = hashtextextended(l.line, 1)"
)
_FILLED = sql.SQL("SELECT count({}) FROM {}")
_TRIGGER = sql.SQL("ALTER TABLE {} {} TRIGGER {}")
_OURS: LiteralString = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp_)'"
_TABLES: LiteralString = (
    "SELECT n.nspname, c.relname,"  # noqa: S608 (constants)
    " ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0"
    " AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum),"
    " (SELECT ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)"
    " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number ORDER BY k.place)"
    " FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),"
    " ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attidentity = 'a')"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    f" WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {_OURS} ORDER BY 1, 2"
)
_REFERENCES: LiteralString = (
    "SELECT n.nspname || '.' || c.relname, m.nspname || '.' || f.relname FROM pg_constraint x"
    " JOIN pg_class c ON c.oid = x.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_class f ON f.oid = x.confrelid JOIN pg_namespace m ON m.oid = f.relnamespace WHERE x.contype = 'f'"
)
_UNIQUE: LiteralString = (
    "SELECT ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) AS k (number)"
    " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number)"
    " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE i.indexprs IS NULL AND n.nspname = %s AND c.relname = %s"
)
_TRIGGERS: LiteralString = (
    "SELECT n.nspname || '.' || c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND t.tgenabled = 'O'"
)
_SEQUENCES: LiteralString = (
    "SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_sequences WHERE increment_by > 0"
)
