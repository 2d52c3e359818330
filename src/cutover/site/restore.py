"""A database beside the live one: restored from an archive, given the rows made since, put in its place (R.2d).

Responsibility: the acts of a restore, each by itself, and what can be observed of how far it came; in which order, and
whether they may be done, is the procedure's business.
Invariants: the live database is never restored over, changed or dropped; writers are stopped by locks of one session,
which end with it, so that a killed harness leaves the platform working; the two renames are one transaction; only
databases with the prefixes of this module are dropped; every statement has a deadline.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql

from cutover.errors import ClauseFailed, CouldNotMeasure, Refused
from cutover.site import carry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path, PurePath

    from cutover.site.carry import Carried
    from cutover.site.database import Database, TableFingerprint
    from cutover.site.operator import Operator

    Connection = psycopg.Connection[tuple[Any, ...]]

RESTORED, COPY, MAPPED, REPLACED = "cutover_restored_", "cutover_copy_", "cutover_mapped_", "_replaced_"
_DROPPABLE = (RESTORED, COPY, MAPPED)
_NAME_BYTES = 63  # NAMEDATALEN - 1: the server cuts a longer name silently
_LOCK_KEY = 0x6375746F_0001
"""Whoever restores holds this advisory lock of the administrator's database, on its session."""
_LONG_S = 3600.0
_SHORT_S = 60.0
_WRITERS_WAIT_S = 10.0
"""How long a table may be waited for when the writers are stopped; nobody else waits longer for it than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the databases of one restore are called; the same in every attempt."""

    live: str
    restored: str
    copy: str
    """The live database as it was a moment ago, in its own schema."""
    mapped: str
    """The copy, mapped back to the schema of the restored one."""
    replaced: str
    """What the live one is called once it is replaced."""

    @staticmethod
    def of(live: str, record_id: str) -> Names:
        """Return the names for a record; ids are dated, so the replaced database's name is too."""
        stamp = re.sub(r"[^a-z0-9]+", "_", record_id.lower()).strip("_")
        ending = f"{REPLACED}{stamp}"
        return Names(
            live=live,
            restored=f"{RESTORED}{stamp}",
            copy=f"{COPY}{stamp}",
            mapped=f"{MAPPED}{stamp}",
            replaced=live[: _NAME_BYTES - len(ending)] + ending,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """The statements of one migration as the release ships them."""

    id: str
    statements: str
    reverse: str | None
    """What maps its schema back without losing a row; None where it ships nothing."""

    @property
    def checksum(self) -> str:
        """As the migration table has it: `sha256:<hex>` of the statements."""
        return "sha256:" + hashlib.sha256(self.statements.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapped:
    """How long writers stood still, and who was sent away."""

    stopped_s: float
    sessions_ended: int


def shipped(folder: Path | None, migration: str) -> Shipped | None:
    """Return a migration from the folder that the target names, or None where it is not there.

    `<id>.sql` are the statements, `<id>.reverse.sql` the way back.
    """
    if folder is None or not (folder / f"{migration}.sql").is_file():
        return None
    reverse = folder / f"{migration}.reverse.sql"
    return Shipped(
        id=migration,
        statements=(folder / f"{migration}.sql").read_text("utf-8"),
        reverse=reverse.read_text("utf-8") if reverse.is_file() else None,
    )


class Restoration:
    """The databases of one restore, and what can be done with them."""

    def __init__(self, live: Database, names: Names) -> None:
        """Take the live database, with the means to administer its server, and the names; nothing is opened."""
        self.names = names
        self._live = live
        self._admin = live.administration()
        self._copied_at = ""
        """What is written by a later transaction may be missing in the copy."""
        self._is_carried = False
        """Whether the restored database has every row that the copy had, mapped back."""
        self._outstanding = ""
        """What was written into the copy by a later transaction it has not; empty when nothing was since."""
        self._restored_at = ""
        """What was written into the restored database by a later transaction was carried there."""
        self._kept: Mapping[str, int] = {}
        """By table: rows that the restored database had of the backup alone, after the last pass."""

    def database(self, name: str) -> Database:
        """Return one of the databases as the administrator reaches it."""
        return self._live.administration(name)

    # -- how far it came -----------------------------------------------------------------------------------------------

    def present(self) -> frozenset[str]:
        """Return which of the five databases are there."""
        with self._admin.session(timeout_s=_SHORT_S) as connection:
            rows = connection.execute("SELECT datname FROM pg_database").fetchall()
        names = self.names
        known = {names.live, names.restored, names.copy, names.mapped, names.replaced}
        return frozenset(known & {row[0] for row in rows})

    @property
    def is_swapped(self) -> bool:
        """Whether the live database was replaced; the renames are one transaction, so there is nothing between."""
        return self.names.replaced in self.present()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only restore on this server for as long as the block. Raises: Refused `restore-runs`."""
        with self._admin.session(timeout_s=_SHORT_S) as connection:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK_KEY,)).fetchone()
            if row is None or not row[0]:
                holder = connection.execute(_LOCK_HOLDER, (_LOCK_KEY,)).fetchone()
                raise Refused(
                    "another restore runs on this database server",
                    code="restore-runs",
                    seen=f"session {holder[0]} from {holder[1]}, since {holder[2]}" if holder else "it has just ended",
                    do="let it end, then repeat",
                )
            yield

    # -- beside the live one -------------------------------------------------------------------------------------------

    def restore_backup(self, operator: Operator, archive: PurePath, *, timeout_s: float = _LONG_S) -> None:
        """Restore an archive of the operator's host into a new database like the live one, owners and rights included.

        What an attempt before this one left under that name is dropped first. Raises: ClauseFailed `command-failed`.
        """
        self._is_carried = False
        self._create(self.names.restored, like=self.names.live)
        self._fill(operator, self.names.restored, archive, timeout_s=timeout_s)
        self._same_rights()
        with self.database(self.names.restored).session(timeout_s=_SHORT_S) as connection:
            self._restored_at = carry.mark(connection)

    def restored_tables(self) -> Mapping[str, TableFingerprint]:
        """Return what every table of the restored database holds."""
        return self.database(self.names.restored).fingerprints()

    def expand(self, migrations: Sequence[Shipped]) -> None:
        """Apply compatible migrations to the restored database, as its owner: the newer release goes on working.

        Raises: CouldNotMeasure `database-refused`.
        """
        with self.database(self.names.restored).session(timeout_s=_LONG_S) as connection, connection.transaction():
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(self._owner(connection))))
            for migration in migrations:
                connection.execute(migration.statements.encode())

    def copy_live(self, operator: Operator, *, timeout_s: float = _LONG_S) -> None:
        """Copy the live database at one snapshot; it goes on changing, `refresh_copy` brings what it missed."""
        archive = operator.temp / "live.dump"
        with self.database(self.names.live).session(timeout_s=_SHORT_S) as connection:
            self._copied_at = carry.mark(connection)
        with self._live.snapshot(timeout_s=timeout_s) as snapshot:
            self._live.dump(operator, archive, snapshot=snapshot, timeout_s=timeout_s)
        try:
            self._create(self.names.copy, like=self.names.live)
            self._fill(operator, self.names.copy, archive, timeout_s=timeout_s)
        finally:
            operator.run(["rm", "-f", "--", str(archive)], quiet=True, check=False)

    def refresh_copy(self) -> Carried:
        """Bring the copy to what the live database holds now.

        Raises: CouldNotMeasure `copy-differs` when it cannot be brought there.
        """
        with self._both(self.names.live, self.names.copy) as (live, copy):
            now = carry.mark(live)
            carried = carry.carry(live, copy, exact=True, since=self._copied_at)
            if carried.losses:  # a new row stands where another one was: what is gone has to go first
                carried = carry.carry(live, copy, exact=True)
        if carried.losses:
            raise CouldNotMeasure(
                "the copy of the live database cannot be brought to what it holds now",
                code="copy-differs",
                seen="\n".join(map(str, carried.losses)),
                do="repeat: the copy is made again from nothing",
            )
        self._copied_at = now
        self._outstanding = self._outstanding or now
        return carried

    def map_back(self, migrations: Sequence[Shipped], *, forget: Sequence[str]) -> None:
        """Make a copy of the copy and map it back through the migrations, newest first.

        forget: migrations whose line in the migration table is not carried, for the restored schema lacks them.
        Raises: ClauseFailed `mapping-failed`.
        """
        self._drop(self.names.mapped)
        self._create(self.names.mapped, like=self.names.live, template=self.names.copy)
        with self.database(self.names.mapped).session(timeout_s=_LONG_S) as connection:
            for migration in sorted(migrations, key=lambda one: one.id, reverse=True):
                self._reverse(connection, migration)
            connection.execute("DELETE FROM stella_migrations WHERE id = ANY(%s)", (list(forget),))

    def _reverse(self, connection: Connection, migration: Shipped) -> None:
        if migration.reverse is None:
            return
        try:
            with connection.transaction():
                connection.execute(migration.reverse.encode())
        except psycopg.Error as error:
            raise ClauseFailed(
                f"the way back that migration {migration.id} ships does not work on this database",
                code="mapping-failed",
                seen=str(error).splitlines()[0],
                do="correct the reverse mapping with whoever ships it; nothing was changed",
            ) from error

    def discard_mapped(self) -> None:
        """Drop the mapped copy: it is made again, and dropping takes its time, which nobody should wait for."""
        self._drop(self.names.mapped)

    def carry_over(self, *, why_absent: str = "") -> Carried:
        """Bring the mapped rows into the restored database. why_absent: why something may not have been mapped back."""
        with self._both(self.names.mapped, self.names.restored) as (mapped, restored):
            since = self._outstanding if self._is_carried else ""
            carried = carry.carry(mapped, restored, since=since, why_absent=why_absent)
            kept = {moved.table: moved.kept for moved in carried.tables}
            if self._is_carried and (carried.losses or any(kept[table] > self._kept.get(table, 0) for table in kept)):
                # What an earlier pass brought, and was deleted since, goes again; what the backup held stays.
                carry.remove_gone(mapped, restored, since=self._restored_at)
                carried = carry.carry(mapped, restored, since=since, why_absent=why_absent)
                kept = {moved.table: moved.kept for moved in carried.tables}
        self._is_carried, self._outstanding, self._kept = True, "", kept
        return carried

    def differences(self) -> tuple[str, ...]:
        """Return in what owners, rights, extensions and settings of the restored database differ from the live one's.

        Objects that one of the two does not have are the schema's business, not this one's.
        """
        live, restored = (self._catalogue(name) for name in (self.names.live, self.names.restored))
        found = [
            f"{kind} {name}: {restored[kind, name]} (expected {live[kind, name]})"
            for kind, name in sorted(live.keys() & restored.keys())
            if live[kind, name] != restored[kind, name]
        ]
        found += [
            f"{kind} {name} is missing"
            for kind, name in sorted(live.keys() - restored.keys())
            if kind in {"extension", "setting"}
        ]
        return tuple(found)

    # -- in its place --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writers_stopped(self) -> Iterator[Callable[[], Swapped]]:
        """Let nobody write to the live database for as long as the block; readers go on.

        Yields what swaps: it ends every session of the live database, renames it, and gives its name to the restored
        one. A block left without it, or killed, changes nothing.
        Raises: CouldNotMeasure `database-refused` when a table is not had in time; ClauseFailed `swap-failed`.
        """
        with contextlib.ExitStack() as stack:
            session = stack.enter_context(self.database(self.names.live).session(timeout_s=_SHORT_S))
            stack.enter_context(session.transaction())
            session.execute("SELECT set_config('lock_timeout', %s, true)", (f"{_WRITERS_WAIT_S:g}s",))
            session.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            tables = [table.identifier for table in carry.tables(session).values()]
            session.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(sql.SQL(", ").join(tables)))
            yield lambda: self._swap(session, stack)

    def _swap(self, holder: Connection, locks: contextlib.ExitStack) -> Swapped:
        names, own = self.names, holder.info.backend_pid
        holder.execute("SELECT 1")  # a session that was ended has lost its locks: then nothing is swapped
        with (
            self._admin.session(timeout_s=_SHORT_S) as admin,
            self._admin.session(timeout_s=_SHORT_S) as renaming,
            ThreadPoolExecutor(1, thread_name_prefix="swap") as pool,
        ):
            since = admin.execute("SELECT xact_start FROM pg_stat_activity WHERE pid = %s", (own,)).fetchone()
            # The rename locks out new sessions, then waits some seconds for those that are there: so nobody can write
            # between the end of our locks and the rename, and a harness killed in between leaves nothing behind.
            renamed = pool.submit(_rename, renaming, names)
            pid = renaming.info.backend_pid
            while not renamed.done() and not admin.execute(_HOLDS_OUT, (pid, names.live)).fetchall():
                admin.execute("SELECT pg_sleep(0.01)")
            ended = admin.execute(_END_OTHERS, (names.live, own)).fetchall()
            while admin.execute(_OTHERS, (names.live, own)).fetchall() and not renamed.done():
                admin.execute("SELECT pg_sleep(0.01)")
            locks.close()
            try:
                renamed.result()
            except psycopg.Error as error:
                raise ClauseFailed(
                    f"the database {names.live} could not be put aside",
                    code="swap-failed",
                    seen=str(error).splitlines()[0],
                    do="see who holds it: select * from pg_stat_activity and pg_prepared_xacts; then repeat",
                ) from error
            row = admin.execute("SELECT extract(epoch FROM clock_timestamp() - %s)", since).fetchone()
        return Swapped(stopped_s=round(float(row[0]), 3) if row else 0.0, sessions_ended=len(ended))

    def keep_replaced(self, note: str) -> None:
        """Let nobody write to the replaced database by mistake, and say in a comment what it is."""
        replaced = sql.Identifier(self.names.replaced)
        with self._admin.session(timeout_s=_SHORT_S) as connection:
            connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(replaced))
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(replaced, sql.Literal(note)))

    def refresh_views(self) -> tuple[str, ...]:
        """Compute the materialised views of the live database again, in the order in which they were made."""
        with self.database(self.names.live).session(timeout_s=_LONG_S) as connection:
            views = connection.execute(_VIEWS).fetchall()
            for schema, name in views:
                connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier(schema, name)))
        return tuple(f"{schema}.{name}" for schema, name in views)

    def lost_keys(self) -> Mapping[str, int]:
        """Return how many rows of the replaced database have no successor in the live one, by table."""
        with self._both(self.names.replaced, self.names.live) as (replaced, live):
            return carry.absent_keys(replaced, live)

    def clean_up(self) -> None:
        """Drop what only helped."""
        for name in (self.names.copy, self.names.mapped):
            self._drop(name)

    # -- how -----------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _both(self, one: str, other: str) -> Iterator[tuple[Connection, Connection]]:
        with (
            self.database(one).session(timeout_s=_LONG_S) as first,
            self.database(other).session(timeout_s=_LONG_S) as second,
        ):
            yield first, second

    def _fill(self, operator: Operator, name: str, archive: PurePath, *, timeout_s: float) -> None:
        argv = ["pg_restore", "--exit-on-error", f"--dbname={name}", str(archive)]
        operator.run(argv, timeout_s=timeout_s, env=self.database(name).client_environment())

    def _create(self, name: str, *, like: str, template: str = "template0") -> None:
        """Create a database with owner, encoding and locale of another one; one of that name goes first."""
        self._drop(name)
        with self._admin.session(timeout_s=_LONG_S) as connection:
            row = connection.execute(_DATABASE, (like,)).fetchone()
            if row is None:
                raise CouldNotMeasure(
                    f"there is no database {like}", code="database-missing", do="check [database] dsn"
                )
            owner, facts = row
            words: list[sql.Composable] = [
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                    sql.Identifier(name), sql.Identifier(template), sql.Identifier(owner)
                )
            ]
            if template == "template0":
                words += _locale(facts)
            connection.execute(sql.SQL(" ").join(words))

    def _drop(self, name: str) -> None:
        if not name.startswith(_DROPPABLE):
            raise Refused(
                f"the database {name!r} is never dropped",
                code="not-ours",
                guide="deviation F.10",
                do="drop it by hand when nobody needs it any more",
            )
        with self._admin.session(timeout_s=_SHORT_S) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _same_rights(self) -> None:
        """Give the restored database the live one's own rights and settings, which no archive holds."""
        live, restored = self.names.live, sql.Identifier(self.names.restored)
        with self._admin.session(timeout_s=_SHORT_S) as connection, connection.transaction():
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(restored))
            for grantee, privilege, grantable in connection.execute(_RIGHTS, (live,)).fetchall():
                who = sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC")
                option = sql.SQL(" WITH GRANT OPTION" if grantable else "")
                grant = sql.SQL("GRANT {} ON DATABASE {} TO {}{}")
                connection.execute(grant.format(sql.SQL(privilege), restored, who, option))
            for role, setting in connection.execute(_SETTINGS, (live,)).fetchall():
                name, _, value = setting.partition("=")
                connection.execute("SELECT set_config(%s, %s, true)", (name, value))
                of = sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(role), restored) if role else None
                change = of or sql.SQL("ALTER DATABASE {}").format(restored)
                connection.execute(sql.SQL("{} SET {} FROM CURRENT").format(change, sql.Identifier(*name.split("."))))

    def _owner(self, connection: Connection) -> str:
        row = connection.execute(
            "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'stella_migrations'::regclass"
        ).fetchone()
        return str(row[0]) if row else ""

    def _catalogue(self, name: str) -> dict[tuple[str, str], str]:
        """Return owners, rights, extensions and settings of one database, by kind and name."""
        with self.database(name).session(timeout_s=_SHORT_S) as connection:
            found = {(kind, item): text for kind, item, text in connection.execute(_CATALOGUE).fetchall()}
            rights = connection.execute(_RIGHTS, (name,)).fetchall()
            settings = connection.execute(_SETTINGS, (name,)).fetchall()
            row = connection.execute(_DATABASE, (name,)).fetchone()
        found["database", "owner"] = str(row[0]) if row else ""
        found["database", "rights"] = ", ".join(sorted(f"{who or 'PUBLIC'} {what}" for who, what, _ in rights))
        for role, setting in settings:
            key, _, value = setting.partition("=")
            found["setting", f"{role or 'all'} {key}"] = value
        return found


def _rename(connection: Connection, names: Names) -> None:
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    with connection.transaction():
        connection.execute(rename.format(sql.Identifier(names.live), sql.Identifier(names.replaced)))
        connection.execute(rename.format(sql.Identifier(names.restored), sql.Identifier(names.live)))


def _locale(facts: Mapping[str, Any]) -> list[sql.Composable]:
    """Return the words that give a new database the locale of another; the columns differ from version to version."""
    words: list[sql.Composable] = [
        sql.SQL("ENCODING {} LC_COLLATE {} LC_CTYPE {}").format(
            sql.Literal(facts["encoding"]), sql.Literal(facts["datcollate"]), sql.Literal(facts["datctype"])
        )
    ]
    provider = {"c": "libc", "i": "icu", "b": "builtin"}.get(str(facts.get("datlocprovider", "c")), "libc")
    locale = facts.get("datlocale") or facts.get("daticulocale")
    if provider != "libc":
        words.append(sql.SQL("LOCALE_PROVIDER {}").format(sql.SQL(provider)))
        words.append(
            sql.SQL("ICU_LOCALE {}" if provider == "icu" else "BUILTIN_LOCALE {}").format(sql.Literal(str(locale)))
        )
    return words


_DATABASE: LiteralString = (
    "SELECT pg_get_userbyid(datdba), to_jsonb(d) || jsonb_build_object('encoding', pg_encoding_to_char(encoding))"
    " FROM pg_database d WHERE datname = %s"
)
_RIGHTS: LiteralString = (
    "SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable"
    " FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE d.datname = %s"
    " AND a.grantee <> d.datdba ORDER BY 1, 2"
)
_SETTINGS: LiteralString = (
    "SELECT coalesce(r.rolname, ''), unnest(s.setconfig) FROM pg_db_role_setting s JOIN pg_database d"
    " ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE d.datname = %s ORDER BY 1, 2"
)
_LOCK_HOLDER: LiteralString = (
    "SELECT a.pid, coalesce(a.client_addr::text, 'a local socket'), a.backend_start::text FROM pg_locks l"
    " JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND (l.classid::bigint << 32 | l.objid::bigint) = %s"
)
_HOLDS_OUT: LiteralString = (
    "SELECT FROM pg_locks WHERE pid = %s AND granted AND mode = 'AccessExclusiveLock'"
    " AND classid = 'pg_database'::regclass AND objid = (SELECT oid FROM pg_database WHERE datname = %s)"
)
_VIEWS: LiteralString = (
    "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'm' ORDER BY c.oid"
)
_OTHERS: LiteralString = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND pid <> %s"
_END_OTHERS: LiteralString = f"SELECT pid, pg_terminate_backend(pid) FROM ({_OTHERS}) AS others (pid)"  # noqa: S608 (constants)
_OBJECTS: LiteralString = "nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_(toast|temp_)'"
_CATALOGUE: LiteralString = (
    "SELECT 'relation', format('%I.%I', n.nspname, c.relname), pg_get_userbyid(c.relowner) || ' '"  # noqa: S608 (constants)
    " || ARRAY(SELECT x::text FROM unnest(c.relacl) x ORDER BY 1)::text FROM pg_class c"
    f" JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {_OBJECTS}"
    " UNION ALL SELECT 'function', p.oid::regprocedure::text, pg_get_userbyid(p.proowner) || ' '"
    " || ARRAY(SELECT x::text FROM unnest(p.proacl) x ORDER BY 1)::text FROM pg_proc p"
    f" JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_OBJECTS}"
    " UNION ALL SELECT 'schema', nspname, pg_get_userbyid(nspowner) || ' '"
    f" || ARRAY(SELECT x::text FROM unnest(nspacl) x ORDER BY 1)::text FROM pg_namespace WHERE {_OBJECTS}"
    " UNION ALL SELECT 'extension', e.extname, e.extversion || ' in ' || n.nspname FROM pg_extension e"
    " JOIN pg_namespace n ON n.oid = e.extnamespace"
)
