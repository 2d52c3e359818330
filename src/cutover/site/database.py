"""Read the site's PostgreSQL and prove a backup of it; what changes its data asks for a session that may.

Responsibility: what the runbook observes in the platform's database and in the transparency log's; an exported snapshot
for `pg_dump --snapshot`; scratch databases for the proof that an archive restores.
Invariants: every connection to the platform's data is read-only but `session`; every connection and statement has a
deadline; the only databases created or dropped are scratch ones, known by their prefix.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

import psycopg
from psycopg import conninfo, sql
from psycopg.rows import class_row

from cutover.errors import CouldNotMeasure, Refused, WrongInput
from cutover.evidence.sources import CrossReference, EvidenceRow, Leaf, LogEntry, SignedRoot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import PurePath

    from cutover.site.operator import CommandResult, Operator

T = TypeVar("T")

SCRATCH_PREFIX = "cutover_scratch_"
_CONNECT_TIMEOUT_S = 5
_STATEMENT_TIMEOUT_S = 30.0
_LOOK_TIMEOUT_S = 5.0
_ADMINISTRATION_TIMEOUT_S = 120.0
_BATCH = 2000
_MIGRATING_KEY = 0x6375746F_0002
_LASTING = {
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
# What `row::text` prints depends on these; both sides of a comparison are computed under the same.
_PRINTING = "-c TimeZone=UTC -c DateStyle=ISO,YMD -c IntervalStyle=postgres -c extra_float_digits=1 -c bytea_output=hex"
_DUMP_NAMES = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "sslmode": "PGSSLMODE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseIdentity:
    """Which server and which database a connection reached, as the server itself says."""

    system_identifier: str
    """Of the cluster, given at initdb; equal on every path to the same server."""
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedMigration:
    """One line of the migration table."""

    id: str
    category: str
    """`A` (expand) or `B` (contract)."""
    release: str
    checksum: str
    applied_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFingerprint:
    """What a table holds: its rows, and a checksum of them that does not depend on their order."""

    rows: int
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceState:
    """A sequence beside the ids that it gave: what it gives next, and the farthest one that is in use."""

    name: str
    """As `schema.sequence`."""
    column: str
    """That takes its ids from it, as `schema.table.column`."""
    increment: int
    following: int
    """The id that it gives next."""
    limit: int
    """The last id that it, or the type of the column, allows."""
    farthest: int | None
    """The greatest id in use, the least where the sequence counts down; None in an empty table."""

    @property
    def is_ahead(self) -> bool:
        """Whether no id that it is about to give is in use already."""
        return self.farthest is None or (self.following - self.farthest) * self.increment > 0

    @property
    def is_exhausted(self) -> bool:
        """Whether it has no id to give."""
        return (self.limit - self.following) * self.increment < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheckpoint:
    """A checkpoint that the log published: `note` is the signed text."""

    size: int
    root: bytes
    note: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session of the database, as far as every role may see it."""

    pid: int
    """0 for a prepared transaction, which no session holds."""
    application: str
    state: str
    """`active`, `idle in transaction`; empty when the role may not see it, or the session has just ended."""
    open_s: float | None
    """How long its transaction has been open; None when it has none, or the role may not see it."""

    def describe(self) -> str:
        """Return which session it is and what it does, in one line."""
        if not self.pid:
            return "a prepared transaction"
        name = f"session {self.pid} ({self.application or 'no application name'})"
        if not self.state:
            return name
        return f"{name}, {self.state}" + (f" for {self.open_s:.1f} s" if self.open_s is not None else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockWait:
    """A session that waits for a lock, and what it waits for in the end."""

    waiting: Session
    wants: str
    """`AccessExclusiveLock on evidence`."""
    waited_s: float
    blockers: tuple[Session, ...]
    """Those at the end of the queue that wait for nothing themselves; in a deadlock, those next in it."""

    def describe(self) -> str:
        """Return who waits, for how long and for what, and who is in the way, in one line."""
        behind = "; ".join(blocker.describe() for blocker in self.blockers)
        name = self.waiting.application or "no application name"
        return f"session {self.waiting.pid} ({name}) waited {self.waited_s:.1f} s for {self.wants}, held up by {behind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerCheck:
    """Acknowledged write markers against the table."""

    acknowledged: int
    present: int
    missing: tuple[int, ...]
    """Acknowledged and not there: lost writes."""
    repeated: tuple[int, ...]
    """There more than once, or acknowledged twice."""
    unacknowledged: tuple[int, ...]
    """There though no acknowledgement arrived: the answer was lost, the write was not."""

    @property
    def is_exact(self) -> bool:
        """Whether every acknowledged marker is there exactly once."""
        return not self.missing and not self.repeated


class Database:
    """One PostgreSQL database, by its connection string."""

    def __init__(
        self, dsn: str, *, admin_dsn: str = "", label: str = "database", timeout_s: float = _STATEMENT_TIMEOUT_S
    ) -> None:
        """Take the connection string and, for scratch databases, one that may create them. Nothing is opened yet.

        label: the word for it in messages. Raises: WrongInput `dsn-invalid`.
        """
        self._label = label
        self._timeout_s = timeout_s
        self._admin_dsn = admin_dsn
        try:
            self._settings = conninfo.conninfo_to_dict(dsn)
        except psycopg.ProgrammingError as error:
            raise WrongInput(
                f"the connection string of the {label} cannot be read",
                code="dsn-invalid",
                seen=str(error).splitlines()[0],
                do="write it as postgresql://USER:PASSWORD@HOST:PORT/NAME in [database] of the target",
            ) from error

    @property
    def name(self) -> str:
        """The name of the database that the connection string names."""
        return str(self._settings.get("dbname", ""))

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        return f"{self._settings.get('host', '')}:{self._settings.get('port', 5432)}"

    # -- others of the same server ---------------------------------------------------------------------------------

    def administration(self, name: str = "") -> Database:
        """Return a database of this server as the administrator reaches it; without a name, the administrator's own.

        Raises: WrongInput `admin-dsn-missing`.
        """
        if not self._admin_dsn:
            raise WrongInput(
                "the target names no connection that may create a database",
                code="admin-dsn-missing",
                do="add admin_dsn to [database] of the target: a backup is only proven by restoring it",
            )
        settings = {key: str(value) for key, value in conninfo.conninfo_to_dict(self._admin_dsn).items()}
        dsn = conninfo.make_conninfo(**{**settings, **({"dbname": name} if name else {})})
        return Database(dsn, label=f"database {name}" if name else "database's administration")

    @contextlib.contextmanager
    def session(self, *, timeout_s: float) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """Open a connection that may write, each statement with a deadline. Raises: CouldNotMeasure."""
        with self._connect(timeout_s=timeout_s, read_only=False) as connection:
            yield connection

    # -- connecting ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _connect(
        self, *, timeout_s: float | None = None, read_only: bool = True
    ) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """Open a connection with deadlines; map what goes wrong, also while it is used."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        options = f"{_PRINTING} -c statement_timeout={int(limit_s * 1000)}"
        if read_only:
            options += " -c default_transaction_read_only=on"
        settings: dict[str, Any] = {
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "application_name": "cutover",
            "tcp_user_timeout": 10_000,
            **self._settings,
            "options": options,
        }
        try:
            with psycopg.connect(**settings, autocommit=True) as connection:
                yield connection
        except psycopg.errors.QueryCanceled as error:
            raise CouldNotMeasure(
                f"the {self._label} at {self.address} did not answer within {limit_s:g} s",
                code="database-timeout",
                seen=str(error).splitlines()[0],
                do="see what it is busy with: select * from pg_stat_activity",
            ) from error
        except psycopg.OperationalError as error:
            raise CouldNotMeasure(
                f"the {self._label} at {self.address} does not answer",
                code="database-unreachable",
                seen=_first_line(error),
                do="check that PostgreSQL runs and that the connection string of the target is right",
            ) from error
        except psycopg.Error as error:
            raise CouldNotMeasure(
                f"the {self._label} at {self.address} refused a question",
                code="database-refused",
                seen=_first_line(error),
                do="check the rights of the role in the target's connection string, and the schema of the platform",
            ) from error

    def _rows(self, query: LiteralString, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with self._connect() as connection:
            return connection.execute(query, parameters).fetchall()

    def _value(self, query: LiteralString, parameters: tuple[object, ...] = ()) -> Any:  # noqa: ANN401
        rows = self._rows(query, parameters)
        return rows[0][0] if rows else None

    def _stream(
        self, record: type[T], query: LiteralString | sql.Composed, parameters: tuple[object, ...] = ()
    ) -> Iterator[T]:
        """Yield rows through a server-side cursor, so that a table of millions is never held whole."""
        with (
            self._connect(timeout_s=3600) as connection,
            connection.transaction(),
            connection.cursor(name="cutover", row_factory=class_row(record)) as cursor,
        ):
            cursor.itersize = _BATCH
            cursor.execute(query, parameters)
            yield from cursor

    # -- what it is ------------------------------------------------------------------------------------------------

    def identity(self) -> DatabaseIdentity:
        """Ask the server which one it is (P.2). Source: `pg_control_system()`, which any role may call by default."""
        rows = self._rows("SELECT system_identifier::text, current_database() FROM pg_control_system()")
        return DatabaseIdentity(system_identifier=rows[0][0], name=rows[0][1])

    def server_version(self) -> str:
        """Return the server's version, as `18.1`."""
        return str(self._value("SHOW server_version"))

    def migrations(self) -> tuple[AppliedMigration, ...]:
        """Return what the migration table says was applied, sorted by id."""
        query: LiteralString = (
            "SELECT id, category::text, release, checksum, applied_at FROM stella_migrations ORDER BY id"
        )
        return tuple(self._stream(AppliedMigration, query))

    def sequences(self) -> tuple[SequenceState, ...]:
        """Return every sequence that gives a column its ids, owned by it or named in its default, sorted by column.

        The ids in use are read first: meanwhile a sequence only moves on, so that work in progress is no finding.
        """
        found = []
        with self._connect() as connection:
            for row in connection.execute(_ID_COLUMNS).fetchall():
                sequence, table, column, increment, limit = (row[:2], row[2:4], *row[4:])
                farthest = sql.SQL("SELECT {}({}) FROM {}").format(
                    sql.SQL("max" if increment > 0 else "min"), sql.Identifier(column), sql.Identifier(*table)
                )
                in_use = connection.execute(farthest).fetchone()
                state = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(*sequence))
                last, is_called = connection.execute(state).fetchone() or (0, False)
                found.append(
                    SequenceState(
                        name=".".join(sequence),
                        column=".".join((*table, column)),
                        increment=increment,
                        following=last + increment if is_called else last,
                        limit=limit,
                        farthest=in_use[0] if in_use is not None else None,
                    )
                )
        return tuple(found)

    # -- locks -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def migrating(self, owner: str, *, wait_s: float = 2.0) -> Iterator[None]:
        """Hold the harness's own advisory lock of this database on a session of its own, as long as the block.

        The platform's migrations have a lock of theirs, which is left to them. owner: who another one is told holds it.
        Raises: Refused `migrations-locked` naming the holder after `wait_s`; CouldNotMeasure `migrations-lock-lost`
        after the block, when the lock did not hold throughout.
        """
        with self._connect(timeout_s=wait_s + _CONNECT_TIMEOUT_S) as connection:
            connection.execute("SELECT set_config('application_name', %s, false)", (f"cutover {owner}",))
            # The session is idle meanwhile; should this machine vanish, the server is to notice it.
            for name, value in _LASTING.items():
                connection.execute("SELECT set_config(name, %s, false) FROM pg_settings WHERE name = %s", (value, name))
            connection.execute("SELECT set_config('lock_timeout', %s, false)", (f"{int(wait_s * 1000)}ms",))
            try:
                connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATING_KEY,))
            except psycopg.errors.LockNotAvailable as error:
                holder = connection.execute(_LOCK_HOLDER, (_MIGRATING_KEY,)).fetchone()
                raise Refused(
                    f"another run migrates the {self._label} {self.name}",
                    code="migrations-locked",
                    seen=f"session {holder[0]} ({holder[1]}), connected {holder[2]}, from {holder[3]}"
                    if holder is not None
                    else "a session that has just ended",
                    do="wait until it ends, then ./cutover resume; should it be dead, end its session in the database",
                ) from error
            yield
            self._release(connection)

    def _release(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        """Give the advisory lock back. Raises: CouldNotMeasure `migrations-lock-lost`: it was not held any more."""
        why = "the session that gave it back is not the one that took it: is there a pooler in between?"
        try:
            row = connection.execute("SELECT pg_advisory_unlock(%s)", (_MIGRATING_KEY,)).fetchone()
            if row is not None and row[0]:
                return
        except psycopg.OperationalError as error:
            why = _first_line(error)
        raise CouldNotMeasure(
            f"the {self._label} was not locked for this run alone while it was migrated",
            code="migrations-lock-lost",
            seen=why,
            do="let [database] dsn lead to the server itself; see that nobody else migrated, then ./cutover resume",
        )

    def lock_waits(self) -> tuple[LockWait, ...]:
        """Return the sessions of this database that wait for a lock now, and behind whom; the longest wait first."""
        with self._connect(timeout_s=_LOOK_TIMEOUT_S) as connection:
            # The sessions first: who is in the way was there a moment before, and may be gone a moment after.
            sessions = connection.cursor(row_factory=class_row(Session)).execute(_SESSIONS).fetchall()
            rows = connection.execute(_LOCK_WAITS).fetchall()
        named = {session.pid: session for session in sessions}
        behind = {pid: frozenset(blockers) for pid, _, _, blockers in rows}

        def session(pid: int) -> Session:
            return named.get(pid) or Session(pid=pid, application="", state="", open_s=None)

        found = [
            LockWait(
                waiting=session(pid),
                wants=wants,
                waited_s=waited_s,
                blockers=tuple(session(each) for each in sorted(_ends_of(pid, behind))),
            )
            for pid, wants, waited_s, blockers in rows
            if blockers
        ]
        return tuple(sorted(found, key=lambda wait: -wait.waited_s))

    # -- work in progress ------------------------------------------------------------------------------------------

    def active_scans(self) -> int:
        """Count the scans that are queued or running; their attestations are made by them (1.3b)."""
        return int(self._value("SELECT count(*) FROM scans WHERE status IN ('queued', 'running')"))

    def scans_of_image(self, image: str) -> int:
        """Count the scans of one image (4.2b: a dry run adds none, whatever else goes on)."""
        return int(self._value("SELECT count(*) FROM scans WHERE image = %s", (image,)))

    def evidence_of_image(self, image: str) -> int:
        """Count the evidence that scans of one image made (4.2b)."""
        query: LiteralString = (
            "SELECT count(*) FROM evidence JOIN scans ON scans.id = evidence.scan_id WHERE image = %s"
        )
        return int(self._value(query, (image,)))

    # -- evidence --------------------------------------------------------------------------------------------------

    def evidence_count(self) -> int:
        """Count the items of evidence."""
        return int(self._value("SELECT count(*) FROM evidence"))

    def last_evidence_id(self) -> str | None:
        """Return the greatest id of an item; None when there is none."""
        return self._value('SELECT max(id COLLATE "C") FROM evidence')  # type: ignore[no-any-return]

    def evidence_rows(self, *, after: str = "", through: str | None = None) -> Iterator[EvidenceRow]:
        """Yield the items with `after` < id <= `through`, in the order of their ids, in constant memory."""
        # Snapshots are ordered by bytes, whatever the collation of the database.
        query: LiteralString = (
            f'{_EVIDENCE} WHERE id COLLATE "C" > %s AND (%s::text IS NULL OR id COLLATE "C" <= %s)'
            ' ORDER BY id COLLATE "C"'
        )
        return self._stream(EvidenceRow, query, (after, through, through))

    def leading_rows(self, count: int) -> Iterator[EvidenceRow]:
        """Yield the items of the first `count` leaves, in the order of the leaves, in constant memory."""
        return self._stream(EvidenceRow, f"{_EVIDENCE} WHERE leaf_index < %s ORDER BY leaf_index", (count,))

    def schemas(self) -> tuple[int, ...]:
        """Return the leaf schemas that have a table of leaves, ascending; the lowest is authoritative (E.3)."""
        query: LiteralString = "SELECT tablename FROM pg_tables WHERE tablename ~ '^merkle_leaves(_v[0-9]+)?$'"
        return tuple(sorted(int(name.partition("_v")[2] or 1) for (name,) in self._rows(query)))

    def leaves(self, schema: int) -> Iterator[Leaf]:
        """Yield the stored leaves of one schema by index, in constant memory."""
        table = sql.Identifier("merkle_leaves" if schema == 1 else f"merkle_leaves_v{int(schema)}")
        query = sql.SQL('SELECT leaf_index AS "index", evidence_id, leaf_hash FROM {} ORDER BY leaf_index')
        return self._stream(Leaf, query.format(table))

    def roots(self, schema: int) -> Iterator[SignedRoot]:
        """Yield the signed roots of one schema by size."""
        query: LiteralString = (
            'SELECT schema_version AS "schema", size, root, envelope FROM merkle_roots'
            " WHERE schema_version = %s ORDER BY size"
        )
        return self._stream(SignedRoot, query, (schema,))

    def cross_references(self) -> Iterator[CrossReference]:
        """Yield the signed cross-references between leaf schemas by size."""
        query: LiteralString = (
            "SELECT size, old_schema, new_schema, old_root, new_root, envelope FROM merkle_crossrefs ORDER BY size"
        )
        return self._stream(CrossReference, query)

    # -- the transparency log's database ---------------------------------------------------------------------------

    def entries(self, start: int, end: int) -> Iterator[LogEntry]:
        """Yield the log's entries with `start` <= index < `end`, in order, in constant memory."""
        query: LiteralString = (
            'SELECT log_index AS "index", leaf AS data, leaf_hash FROM log_entries'
            " WHERE log_index >= %s AND log_index < %s ORDER BY log_index"
        )
        return self._stream(LogEntry, query, (start, end))

    def checkpoint(self) -> str | None:
        """Return the log's newest checkpoint as it was signed, or None."""
        newest = next(self._stream(LogCheckpoint, f"{_CHECKPOINT} ORDER BY size DESC LIMIT 1"), None)
        return newest.note if newest else None

    def checkpoints(self) -> tuple[LogCheckpoint, ...]:
        """Return every checkpoint that the log published, smallest first."""
        return tuple(self._stream(LogCheckpoint, f"{_CHECKPOINT} ORDER BY size"))

    # -- write markers ---------------------------------------------------------------------------------------------

    def markers(self, run: str) -> list[int]:
        """Return the numbers of the write markers of a run, sorted, repetitions kept."""
        return [row[0] for row in self._rows("SELECT number FROM write_markers WHERE run = %s ORDER BY number", (run,))]

    # -- gates of the policy ---------------------------------------------------------------------------------------

    def look(self, query: str) -> list[list[Any]]:
        """Return the rows, at most two, of one SELECT of the policy's, read-only and with a short deadline.

        Prepared, so that it can be one statement alone. Raises: CouldNotMeasure.
        """
        with self._connect(timeout_s=_LOOK_TIMEOUT_S) as connection:
            return [list(row) for row in connection.execute(query.encode(), prepare=True).fetchmany(2)]

    # -- backup ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def snapshot(self, *, timeout_s: float = 600.0) -> Iterator[DatabaseSnapshot]:
        """Export a snapshot that lasts as long as the block (1.2a): the database goes on changing, it does not."""
        with self._connect(timeout_s=timeout_s) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            with connection.transaction():
                row = connection.execute("SELECT pg_export_snapshot()").fetchone()
                yield DatabaseSnapshot(id=str(row[0]) if row else "", connection=connection)

    def fingerprints(self, *, timeout_s: float = 600.0) -> dict[str, TableFingerprint]:
        """Return what every table holds now, by `schema.table`."""
        with self.snapshot(timeout_s=timeout_s) as now:
            return now.fingerprints()

    def dump(
        self, operator: Operator, destination: PurePath, *, snapshot: DatabaseSnapshot, timeout_s: float
    ) -> CommandResult:
        """Write a custom-format archive of the snapshot on the operator host (1.2a).

        Raises: ClauseFailed `command-failed`, CouldNotMeasure as `Operator.run`.
        """
        argv = ["pg_dump", "--format=custom", f"--snapshot={snapshot.id}", f"--file={destination}", self.name]
        return operator.run(argv, timeout_s=timeout_s, env=self.client_environment())

    def restore(self, operator: Operator, archive: PurePath, *, timeout_s: float) -> CommandResult:
        """Restore an archive on the operator host into this database, which must be a scratch one.

        Raises: Refused `not-scratch`, ClauseFailed `command-failed`, CouldNotMeasure as `Operator.run`.
        """
        if not self.name.startswith(SCRATCH_PREFIX):
            raise Refused(
                f"an archive is never restored over the database {self.name!r}",
                code="not-scratch",
                guide="deviation F.10",
                do="restore into a scratch database and compare",
            )
        argv = ["pg_restore", "--exit-on-error", "--no-owner", "--no-privileges", f"--dbname={self.name}", str(archive)]
        return operator.run(argv, timeout_s=timeout_s, env=self.client_environment())

    @contextlib.contextmanager
    def scratch(self, name: str = "") -> Iterator[Database]:
        """Create an empty database on the same server, and drop it afterwards; name: one of `scratch_name`.

        Raises: WrongInput `admin-dsn-missing`, CouldNotMeasure.
        """
        name = _demand_scratch(name or scratch_name())
        owner = str(self._settings.get("user", ""))
        create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {}").format(
            sql.Identifier(name), sql.Identifier(owner)
        )
        with self.administration().session(timeout_s=_ADMINISTRATION_TIMEOUT_S) as connection:
            connection.execute(create)
        try:
            dsn = conninfo.make_conninfo(**{**{k: str(v) for k, v in self._settings.items()}, "dbname": name})
            yield Database(dsn, label="scratch database", timeout_s=self._timeout_s)
        finally:
            self.remove_left(name)

    def remove_left(self, name: str) -> None:
        """Drop a scratch database, whoever is connected to it; absent is well too.

        Raises: ValueError for a name that is none of `scratch_name`; WrongInput `admin-dsn-missing`, CouldNotMeasure.
        """
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_demand_scratch(name)))
        with self.administration().session(timeout_s=_ADMINISTRATION_TIMEOUT_S) as connection:
            connection.execute(drop)

    def client_environment(self) -> dict[str, str]:
        """Return what points pg_dump and pg_restore at this server, without a word on their command lines."""
        environment = {"PGCONNECT_TIMEOUT": str(_CONNECT_TIMEOUT_S), "PGAPPNAME": "cutover"}
        for key, name in _DUMP_NAMES.items():
            if self._settings.get(key) is not None:
                environment[name] = str(self._settings[key])
        return environment


class DatabaseSnapshot:
    """One moment of a database, held by an open transaction."""

    def __init__(self, *, id: str, connection: psycopg.Connection[tuple[Any, ...]]) -> None:  # noqa: A002
        """Take the id for `pg_dump --snapshot` and the connection that exported it."""
        self.id = id
        self._connection = connection

    def fingerprints(self) -> dict[str, TableFingerprint]:
        """Return what every table holds at this moment, by `schema.table`.

        The checksum is the sum of two 64-bit hashes of each row's text: equal for equal rows in any order, and computed
        by the server alike here and in a restored copy.
        """
        found = {}
        for schema, table in self._connection.execute(_TABLES).fetchall():
            query = sql.SQL(
                "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text,"
                " coalesce(sum(hashtextextended(t::text, 1)::numeric), 0)::text FROM {} AS t"
            ).format(sql.Identifier(schema, table))
            row = self._connection.execute(query).fetchone()
            if row is not None:
                found[f"{schema}.{table}"] = TableFingerprint(rows=int(row[0]), checksum=f"{row[1]}/{row[2]}")
        return found

    def schema(self) -> dict[str, str]:
        """Return every column, constraint and index by `schema.table name`: its type or its definition.

        A column that every insert must give a value for ends in ` required`.
        """
        rows = self._connection.execute(_SCHEMA).fetchall()
        return {f"{schema}.{table} {name}": definition for schema, table, name, definition in rows}

    def sequences(self) -> dict[str, int | None]:
        """Return the last value that every sequence gave, by `schema.sequence`; None before the first."""
        return {f"{schema}.{name}": last for schema, name, last in self._connection.execute(_SEQUENCES).fetchall()}


_EVIDENCE: LiteralString = (
    "SELECT id, kind, media_type, size_bytes, sha256::text, object_key, leaf_index, log_index,"
    " signer_keyid AS signer_key_id, created FROM evidence"
)
_CHECKPOINT: LiteralString = "SELECT size, root, note, created FROM log_checkpoints"
_ID_COLUMNS: LiteralString = """
WITH gives AS (
    SELECT objid AS sequence, refobjid AS relation, refobjsubid AS attribute FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND refobjsubid > 0
        AND deptype IN ('a', 'i')
    UNION
    SELECT d.refobjid, e.adrelid, e.adnum FROM pg_attrdef AS e
    JOIN pg_depend AS d ON d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid
        AND d.refclassid = 'pg_class'::regclass
)
SELECT sn.nspname, sc.relname, tn.nspname, tc.relname, a.attname, s.seqincrement,
    CASE WHEN s.seqincrement < 0 THEN s.seqmin
        ELSE least(s.seqmax, CASE a.atttypid WHEN 'int2'::regtype THEN 32767
            WHEN 'int4'::regtype THEN 2147483647 ELSE 9223372036854775807 END) END
FROM gives JOIN pg_sequence AS s ON s.seqrelid = gives.sequence
JOIN pg_class AS sc ON sc.oid = s.seqrelid JOIN pg_namespace AS sn ON sn.oid = sc.relnamespace
JOIN pg_class AS tc ON tc.oid = gives.relation JOIN pg_namespace AS tn ON tn.oid = tc.relnamespace
JOIN pg_attribute AS a ON a.attrelid = gives.relation AND a.attnum = gives.attribute
WHERE a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) AND tn.nspname !~ '^pg_'
ORDER BY 3, 4, 5
"""
_LOCK_HOLDER: LiteralString = (
    "SELECT a.pid, a.application_name, a.backend_start::text, coalesce(a.client_addr::text, 'a local socket')"
    " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND (l.classid::bigint << 32 | l.objid::bigint) = %s"
)
# A wait has no beginning for its first moment.
_LOCK_WAITS: LiteralString = (
    "SELECT l.pid, l.mode || ' on ' || coalesce(l.relation::regclass::text, l.locktype || ' lock'),"
    " coalesce(extract(epoch FROM clock_timestamp() - l.waitstart), 0)::float8, pg_blocking_pids(l.pid)"
    " FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.datname = current_database()"
)
_SESSIONS: LiteralString = (
    "SELECT pid, coalesce(application_name, '') AS application, coalesce(state, '') AS state,"
    " extract(epoch FROM clock_timestamp() - xact_start)::float8 AS open_s FROM pg_stat_activity"
)
_TABLES: LiteralString = (
    "SELECT schemaname, tablename FROM pg_tables"
    " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
)
_SEQUENCES: LiteralString = "SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2"
_SCHEMA: LiteralString = """
WITH tables AS (
    SELECT c.oid, n.nspname AS schema, c.relname AS name FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
)
SELECT t.schema, t.name, a.attname,
    format_type(a.atttypid, a.atttypmod) || CASE
        WHEN d.adrelid IS NOT NULL THEN ' default ' || pg_get_expr(d.adbin, d.adrelid)
        WHEN a.attnotnull AND a.attidentity = '' THEN ' required' ELSE '' END
FROM tables AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = t.oid AND d.adnum = a.attnum
UNION ALL
SELECT t.schema, t.name, 'constraint ' || k.conname, pg_get_constraintdef(k.oid)
FROM tables AS t JOIN pg_constraint AS k ON k.conrelid = t.oid AND k.contype <> 'n'
UNION ALL
SELECT t.schema, t.name, 'index ' || i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
FROM tables AS t JOIN pg_index AS i ON i.indrelid = t.oid
ORDER BY 1, 2, 3
"""


def scratch_name() -> str:
    """Return a name for a scratch database that no other one has."""
    return SCRATCH_PREFIX + secrets.token_hex(6)


def _demand_scratch(name: str) -> str:
    """Return the name of a scratch database. Raises ValueError for any other."""
    if re.fullmatch(SCRATCH_PREFIX + "[0-9a-f]{12}", name) is None:
        raise ValueError(f"{name} is no name of a scratch database")
    return name


def compare_markers(acknowledged: Iterable[int], present: Iterable[int]) -> MarkerCheck:
    """Compare acknowledged marker numbers with those that are there."""
    wanted, there = list(acknowledged), list(present)
    wanted_once, there_once = set(wanted), set(there)
    return MarkerCheck(
        acknowledged=len(wanted),
        present=len(there),
        missing=tuple(sorted(wanted_once - there_once)),
        repeated=_repeated(wanted) + _repeated(there),
        unacknowledged=tuple(sorted(there_once - wanted_once)),
    )


def _ends_of(pid: int, behind: Mapping[int, frozenset[int]]) -> frozenset[int]:
    """Return whom a session waits for in the end: those in its way, directly or not, that wait for nobody.

    Where all wait for one another, those next in its way.
    """
    seen, ends, following = {pid}, set(), [*behind[pid]]
    while following:
        each = following.pop()
        if each in seen:
            continue
        seen.add(each)
        if behind.get(each):
            following += behind[each]
        else:
            ends.add(each)
    return frozenset(ends) or behind[pid]


def _repeated(numbers: list[int]) -> tuple[int, ...]:
    return tuple(sorted(number for number, times in Counter(numbers).items() if times > 1))


def _first_line(error: psycopg.Error) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
