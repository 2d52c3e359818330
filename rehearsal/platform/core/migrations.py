"""The schema of the evidence database: which migrations each release has, and how they are applied.

Invariants: one runner at a time, under an advisory lock; each migration is one transaction with its own record, so it
is applied whole or not at all; an applied migration whose text has changed is refused; category B never runs unless
asked for; a release does not expand the schema before the one before it has contracted its own.
"""

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg

RELEASES = ("2027.Q1", "2027.Q2", "2027.Q3")
#: Whoever runs migrations holds this advisory lock of the evidence database, on its session.
MIGRATION_LOCK_KEY = 0x7374656C_0003

_SQL = Path(__file__).parent / "sql"
_RECORD = """
CREATE TABLE IF NOT EXISTS stella_migrations (
    id text PRIMARY KEY,
    category char(1) NOT NULL CHECK (category IN ('A', 'B')),
    release text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationError(Exception):
    """The schema cannot be brought to what the release needs; the message says why and what to do."""


class MigrationLockedError(MigrationError):
    """Another session holds the migration lock."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema.  Category A expands and keeps the release before it working; B contracts."""

    id: str
    category: str
    release: str

    @property
    def sql(self) -> str:
        """The statements that apply it."""
        return (_SQL / f"{self.id}.sql").read_text(encoding="utf-8")

    @property
    def reverse_sql(self) -> str | None:
        """The statements that map it back without losing newer rows, where it ships any."""
        path = _SQL / f"{self.id}.reverse.sql"
        return path.read_text(encoding="utf-8") if path.exists() else None

    @property
    def checksum(self) -> str:
        """`sha256:` and 64 hex digits of the statements."""
        return "sha256:" + hashlib.sha256(self.sql.encode()).hexdigest()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A migration and when it was applied here (None: pending)."""

    migration: Migration
    applied_at: dt.datetime | None


MIGRATIONS = (
    Migration(id="0001_base", category="A", release="2027.Q1"),
    Migration(id="0002_evidence", category="A", release="2027.Q1"),
    Migration(id="0003_merkle", category="A", release="2027.Q1"),
    Migration(id="0101_expand_leaf_v2", category="A", release="2027.Q2"),
    Migration(id="0102_contract_leaf_v1", category="B", release="2027.Q2"),
    Migration(id="0201_expand_scan_origin", category="A", release="2027.Q3"),
    Migration(id="0202_contract_scan_origin", category="B", release="2027.Q3"),
)


def of_release(release: str, category: str | None = None) -> tuple[Migration, ...]:
    """Give the migrations of `release` and of those before it, in order; of one category where asked.

    Raises:
        MigrationError: no such release.

    """
    if release not in RELEASES:
        raise MigrationError(f"unknown release {release}: this build knows {', '.join(RELEASES)}")
    known = RELEASES[: RELEASES.index(release) + 1]
    return tuple(
        migration for migration in MIGRATIONS if migration.release in known and category in {None, migration.category}
    )


def not_contracted(states: Sequence[State], release: str) -> list[str]:
    """Give the pending ids of category B of the releases before `release`: its category A must not come first."""
    return [
        state.migration.id
        for state in states
        if state.migration.category == "B" and state.migration.release < release and state.applied_at is None
    ]


def applied(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, tuple[str, dt.datetime]]:
    """Give what is recorded: id to (checksum, time); nothing where no migration ever ran."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('stella_migrations')")
        row = cursor.fetchone()
        if row is None or row[0] is None:
            return {}
        cursor.execute("SELECT id, checksum, applied_at FROM stella_migrations")
        found: dict[str, tuple[str, dt.datetime]] = {}
        for name, checksum, moment in cursor:
            if not isinstance(moment, dt.datetime):
                raise MigrationError(f"migration {name} has no time of application")
            found[str(name)] = (str(checksum), moment)
        return found


def status(connection: psycopg.Connection[tuple[object, ...]], release: str) -> list[State]:
    """Give every migration of `release` and before with its state, in order.

    Raises:
        MigrationError: an applied migration has another text than this build's.

    """
    record = applied(connection)
    states = []
    for migration in of_release(release):
        checksum, moment = record.get(migration.id, (migration.checksum, None))
        if checksum != migration.checksum:
            raise MigrationError(
                f"migration {migration.id} was applied with {checksum}, this build has {migration.checksum}: "
                "use the build that applied it"
            )
        states.append(State(migration=migration, applied_at=moment))
    return states


def run(
    connection: psycopg.Connection[tuple[object, ...]],
    release: str,
    category: str,
    *,
    lock_timeout_s: float = 5.0,
    report: Callable[[str], None] = lambda _line: None,
) -> tuple[Sequence[Migration], Sequence[Migration]]:
    """Apply what is pending of one category; give (applied now, applied before).

    Raises:
        MigrationLockedError: another session is migrating; the message names it.
        MigrationError: a statement failed or did not get its table lock in time, or A of this release is still pending
            when B is asked for.

    """
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (MIGRATION_LOCK_KEY,))
        row = cursor.fetchone()
        if row is None or not row[0]:
            raise MigrationLockedError(f"the migration lock is held by {_lock_holder(cursor)}")
        try:
            cursor.execute("SET client_min_messages = warning")
            cursor.execute(_RECORD)
            states = status(connection, release)
            if category == "B" and any(s.applied_at is None for s in states if s.migration.category == "A"):
                raise MigrationError("category A of this release is pending: run it before category B")
            expands = [s.migration.release for s in states if s.migration.category == "A" and s.applied_at is None]
            if category == "A" and expands and (left := not_contracted(states, max(expands))):
                raise MigrationError(f"category B of a release before is pending, run it first: {', '.join(left)}")
            wanted = [state for state in states if state.migration.category == category]
            pending = [state.migration for state in wanted if state.applied_at is None]
            for migration in pending:
                report(f"applying {migration.id} (category {migration.category}, release {migration.release})")
                _apply(connection, migration, lock_timeout_s)
            return pending, [state.migration for state in wanted if state.applied_at is not None]
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", (MIGRATION_LOCK_KEY,))


def prepare_log(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Make the log's tables in its own database unless they exist."""
    connection.autocommit = True
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL client_min_messages = warning")
        # IF NOT EXISTS alone is not safe against a second pod that starts in the same moment.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK_KEY,))
        cursor.execute((_SQL / "log.sql").read_text(encoding="utf-8").encode())


def _apply(connection: psycopg.Connection[tuple[object, ...]], migration: Migration, lock_timeout_s: float) -> None:
    try:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", (f"{int(lock_timeout_s * 1000)}ms",))
            cursor.execute(migration.sql.encode())
            cursor.execute(
                "INSERT INTO stella_migrations (id, category, release, checksum) VALUES (%s, %s, %s, %s)",
                (migration.id, migration.category, migration.release, migration.checksum),
            )
    except psycopg.errors.LockNotAvailable as error:
        raise MigrationLockedError(f"{migration.id} waits for a table that another transaction has locked") from error
    except psycopg.Error as error:
        raise MigrationError(f"{migration.id} failed and was rolled back: {str(error).strip()}") from error


def _lock_holder(cursor: psycopg.Cursor[tuple[object, ...]]) -> str:
    cursor.execute(
        "SELECT a.pid, a.application_name, a.client_addr::text FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
        "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
        "AND (l.classid::bigint << 32 | l.objid::bigint) = %s",
        (MIGRATION_LOCK_KEY,),
    )
    row = cursor.fetchone()
    if row is None:
        return "a session that has just ended"
    return f"session {row[0]} ({row[1] or 'no application name'}, from {row[2] or 'a local socket'})"
