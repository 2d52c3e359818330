"""Locks in a real PostgreSQL: one run migrates at a time; who waits for whom is seen while it goes on."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from cutover.errors import CouldNotMeasure, Refused
from cutover.site import contention
from cutover.site.database import Database, LockWait, Session, _ends_of
from cutover.waiting import wait_for
from tests.site import postgres_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.site.postgres_world import PostgresServer

pytestmark = pytest.mark.real_programs

BOUND_S = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_world.running(tmp_path_factory.mktemp("postgres")) as server:
        server.create("stellaops", "other")
        with psycopg.connect(server.dsn("stellaops")) as connection:
            connection.execute("CREATE TABLE evidence (id int)")
        yield server


@pytest.fixture
def database(server: PostgresServer) -> Database:
    return Database(server.dsn("stellaops"))


@contextlib.contextmanager
def session(server: PostgresServer, name: str, statement: str = "") -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Give a connection of that application name, in a transaction when it is given a statement."""
    with psycopg.connect(server.dsn("stellaops"), application_name=name, autocommit=not statement) as connection:
        if statement:
            connection.execute(statement.encode())
        yield connection
        connection.rollback()


@contextlib.contextmanager
def waiting(server: PostgresServer, database: Database, name: str, statement: str, *, count: int) -> Iterator[None]:
    """Run a statement in a session of its own until the end of the block; begin when `count` sessions wait."""
    connection = psycopg.connect(server.dsn("stellaops"), application_name=name)

    def run() -> None:
        with contextlib.suppress(psycopg.Error), connection:
            connection.execute(statement.encode())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_for(
            "the wait",
            database.lock_waits,
            until=lambda seen: len(seen) == count and seen[-1].waited_s > 0,
            bound_s=BOUND_S,
            interval_s=0.02,
        )
        yield
    finally:
        connection.cancel_safe()
        thread.join()


# -- one run migrates at a time ----------------------------------------------------------------------------------------


def test_a_second_run_is_refused_and_told_who(database: Database) -> None:
    began_s = time.monotonic()
    with database.migrating("2027-01-02-0304 ann@far pid 7"):
        with pytest.raises(Refused) as caught, database.migrating("another", wait_s=0.2):
            pytest.fail("two at once")
        assert time.monotonic() - began_s < BOUND_S / 4
    assert caught.value.code == "migrations-locked"
    assert "cutover 2027-01-02-0304 ann@far pid 7" in caught.value.seen
    with database.migrating("another"):
        pass


def test_a_second_run_waits_for_a_moment(database: Database) -> None:
    told: list[str] = []
    held = threading.Event()

    def first() -> None:
        with database.migrating("first"):
            held.set()
            wait_for("the second to ask", database.lock_waits, until=bool, bound_s=BOUND_S, interval_s=0.02)
            told.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert held.wait(BOUND_S)
    with database.migrating("second", wait_s=BOUND_S):
        told.append("second")
    thread.join()
    assert told == ["first", "second"]


def test_the_lock_is_free_again_whatever_the_block_does(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.migrating("first"):
        raise ZeroDivisionError
    with database.migrating("second", wait_s=0.2):
        pass


def test_another_database_of_the_server_has_a_lock_of_its_own(server: PostgresServer, database: Database) -> None:
    with database.migrating("first"), Database(server.dsn("other")).migrating("second", wait_s=0.2):
        pass


def test_a_lock_that_was_lost_meanwhile_is_told(server: PostgresServer, database: Database) -> None:
    with pytest.raises(CouldNotMeasure) as caught, database.migrating("first"):
        end_sessions(server, "cutover first")
    assert caught.value.code == "migrations-lock-lost"


def test_what_the_block_raises_goes_before_a_lock_that_was_lost(server: PostgresServer, database: Database) -> None:
    def lose_and_fail() -> None:
        end_sessions(server, "cutover first")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), database.migrating("first"):
        lose_and_fail()


def test_a_lock_that_another_session_gave_back_is_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a pooler does: the statements of one client run in several sessions.
    monkeypatch.setattr("cutover.site.database._MIGRATING_KEY", 1)
    with pytest.raises(CouldNotMeasure, match="not locked for this run alone"), database.migrating("first"):
        monkeypatch.setattr("cutover.site.database._MIGRATING_KEY", 2)


def test_the_session_outlives_a_limit_for_idle_ones(server: PostgresServer, database: Database) -> None:
    with session(server, "setting") as connection:
        connection.execute("ALTER ROLE stellaops SET idle_session_timeout = '100ms'")
        try:
            with database.migrating("first"):
                time.sleep(0.5)
        finally:
            connection.execute("ALTER ROLE stellaops RESET idle_session_timeout")


def test_a_migration_lock_of_the_platform_is_left_to_it(server: PostgresServer, database: Database) -> None:
    with session(server, "stella") as connection:
        connection.execute("SELECT pg_advisory_lock(126943754977283)")
        with database.migrating("first", wait_s=0.2):
            pass


def end_sessions(server: PostgresServer, name: str) -> None:
    with session(server, "ending") as connection:
        query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s"
        assert connection.execute(query, (name,)).fetchall() == [(True,)]


# -- who waits for whom ------------------------------------------------------------------------------------------------


def test_nobody_waits(server: PostgresServer, database: Database) -> None:
    with session(server, "busy", "LOCK TABLE evidence"):
        assert database.lock_waits() == ()


def test_the_one_at_the_end_of_the_queue_is_named(server: PostgresServer, database: Database) -> None:
    with (
        session(server, "forgotten psql", "SELECT count(*) FROM evidence") as forgotten,
        waiting(server, database, "migration", "ALTER TABLE evidence ADD COLUMN x int", count=1),
        waiting(server, database, "traffic", "INSERT INTO evidence VALUES (1)", count=2),
    ):
        migration, traffic = database.lock_waits()
        pid = forgotten.info.backend_pid
    assert (migration.waiting.application, migration.wants) == ("migration", "AccessExclusiveLock on evidence")
    assert (traffic.waiting.application, traffic.wants) == ("traffic", "RowExclusiveLock on evidence")
    assert migration.waited_s > traffic.waited_s > 0
    for each in (migration, traffic):
        (blocker,) = each.blockers
        assert (blocker.pid, blocker.application) == (pid, "forgotten psql")
        assert blocker.state == "idle in transaction"
        assert blocker.open_s
    told = traffic.describe()
    assert f"held up by session {pid} (forgotten psql), idle in transaction for" in told
    assert "insert" not in told.lower(), "what a statement says is nobody's business"


def test_what_a_role_may_not_see_is_left_out(server: PostgresServer, database: Database) -> None:
    with (
        psycopg.connect(server.admin_dsn("stellaops"), application_name="a superuser's") as connection,
        contextlib.ExitStack() as stack,
    ):
        connection.execute("LOCK TABLE evidence")
        stack.enter_context(waiting(server, database, "traffic", "INSERT INTO evidence VALUES (1)", count=1))
        (wait,) = database.lock_waits()
        (blocker,) = wait.blockers
        assert (blocker.application, blocker.state, blocker.open_s) == ("a superuser's", "", None)
        connection.rollback()


def test_another_database_is_none_of_ours(server: PostgresServer, database: Database) -> None:
    with (
        session(server, "busy", "LOCK TABLE evidence"),
        waiting(server, database, "traffic", "INSERT INTO evidence VALUES (1)", count=1),
    ):
        assert Database(server.dsn("other")).lock_waits() == ()


@pytest.mark.parametrize(
    ("behind", "ends"),
    [
        ({1: {2}}, {2}),
        ({1: {2}, 2: {3}}, {3}),
        ({1: {2, 4}, 2: {3}}, {3, 4}),
        ({1: {2}, 2: {3}, 3: {2}}, {2}),
        ({1: {2}, 2: {1}}, {2}),
        ({1: {0}}, {0}),
    ],
)
def test_the_ends_of_a_queue(behind: dict[int, set[int]], ends: set[int]) -> None:
    assert _ends_of(1, {pid: frozenset(before) for pid, before in behind.items()}) == ends


def test_words_of_a_wait() -> None:
    def known(pid: int, state: str = "", open_s: float | None = None) -> Session:
        return Session(pid=pid, application="", state=state, open_s=open_s)

    assert known(0).describe() == "a prepared transaction"
    assert known(3).describe() == "session 3 (no application name)"
    assert known(3, "active", 2.04).describe() == "session 3 (no application name), active for 2.0 s"
    wait = LockWait(waiting=known(4), wants="ShareLock on t", waited_s=1, blockers=(known(0), known(3)))
    assert wait.describe() == (
        "session 4 (no application name) waited 1.0 s for ShareLock on t, held up by a prepared transaction; "
        "session 3 (no application name)"
    )


# -- a watch -----------------------------------------------------------------------------------------------------------


def test_a_watch_keeps_each_wait_as_long_as_it_got(server: PostgresServer, database: Database) -> None:
    with contention.watched(database, limit_s=0.3) as watch:
        with (
            session(server, "busy", "LOCK TABLE evidence"),
            waiting(server, database, "traffic", "INSERT INTO evidence VALUES (1)", count=1),
        ):
            wait_for("it to be too long", lambda: watch.too_long, until=bool, bound_s=BOUND_S, interval_s=0.02)
        samples = watch.samples
        wait_for("more samples", lambda: watch.samples, until=lambda now: now > samples, bound_s=BOUND_S)
    (wait,) = watch.waits
    assert wait.waited_s > 0.3
    assert watch.too_long == watch.worth_naming == (wait,)
    assert watch.unanswered == 0


def test_short_waits_are_seen_and_no_offence(server: PostgresServer, database: Database) -> None:
    with contention.watched(database, limit_s=BOUND_S) as watch, contextlib.ExitStack() as stack:
        stack.enter_context(session(server, "busy", "LOCK TABLE evidence"))
        stack.enter_context(waiting(server, database, "traffic", "INSERT INTO evidence VALUES (1)", count=1))
        wait_for("a sample of it", lambda: watch.waits, until=bool, bound_s=BOUND_S, interval_s=0.02)
    assert watch.waits
    assert (watch.too_long, watch.worth_naming) == ((), ())


def test_a_database_that_does_not_answer_is_not_watched(closed_port: int) -> None:
    with (
        pytest.raises(CouldNotMeasure),
        contention.watched(Database(f"postgresql://x@127.0.0.1:{closed_port}/x"), limit_s=1),
    ):
        pytest.fail("nothing was looked at")


def test_a_watch_that_cannot_see_the_end_says_so(database: Database, closed_port: int) -> None:
    gone = Database(f"postgresql://x@127.0.0.1:{closed_port}/x")

    def lose() -> None:
        with contention.watched(database, limit_s=1) as watch:
            database._settings = gone._settings
            wait_for("no answer", lambda: watch.unanswered, until=bool, bound_s=BOUND_S, interval_s=0.02)

    with pytest.raises(CouldNotMeasure):
        lose()


@pytest.fixture
def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
