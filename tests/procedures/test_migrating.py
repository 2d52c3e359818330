"""Migrations under traffic on a real PostgreSQL: a lock that is waited for too long fails the clause, by name."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from cutover.errors import ClauseFailed, CouldNotMeasure, CutoverError, Refused
from cutover.procedures import release
from cutover.procedures.migrating import migrating
from cutover.site.database import Database
from cutover.waiting import wait_for
from tests.site import postgres_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.runbook.upgrade import Upgrade
    from tests.site.postgres_world import PostgresServer

pytestmark = pytest.mark.real_programs

BOUND_S = 20.0
LIMIT_S = 0.3
TOO_LONG_S = 2 * LIMIT_S


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_world.running(tmp_path_factory.mktemp("postgres")) as server:
        server.create("stellaops")
        with psycopg.connect(server.dsn("stellaops")) as connection:
            connection.execute("CREATE TABLE evidence (id int)")
            connection.execute("CREATE TABLE stella_migrations (id text, category char, release text, checksum text)")
            connection.execute("ALTER TABLE stella_migrations ADD COLUMN applied_at timestamptz DEFAULT now()")
            connection.execute("INSERT INTO stella_migrations VALUES ('0101', 'A', '2027.Q2', 'sha256:00')")
        yield server


@pytest.fixture
def site(server: PostgresServer, upgrade: Upgrade) -> Any:  # noqa: ANN401
    limits = dataclasses.replace(upgrade.policy.limits, lock_wait_s=LIMIT_S)
    upgrade.policy = dataclasses.replace(upgrade.policy, limits=limits)
    return SimpleNamespace(database=Database(server.dsn("stellaops")))


@contextlib.contextmanager
def held_up(server: PostgresServer, database: Database, until_s: float) -> Iterator[int]:
    """Let a forgotten session hold the table and traffic wait for it so long; give the forgotten one's pid."""
    with (
        psycopg.connect(server.dsn("stellaops"), application_name="forgotten psql") as forgotten,
        psycopg.connect(server.dsn("stellaops"), application_name="traffic") as traffic,
    ):
        forgotten.execute("LOCK TABLE evidence")

        def write() -> None:
            with contextlib.suppress(psycopg.Error):
                traffic.execute("INSERT INTO evidence VALUES (1)")

        thread = threading.Thread(target=write)
        thread.start()
        wait_for(
            "the wait to last",
            database.lock_waits,
            until=lambda seen: bool(seen) and seen[0].waited_s > until_s,
            bound_s=BOUND_S,
            interval_s=0.02,
        )
        try:
            yield forgotten.info.backend_pid
        finally:
            traffic.cancel_safe()
            thread.join()
            forgotten.rollback()


def noted(upgrade: Upgrade) -> dict[str, Any]:
    entry = upgrade.journal.last("observation", what="lock waits")
    assert entry is not None
    return dict(entry.data)


def test_migrations_without_a_wait_pass_and_are_noted(site: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    with migrating(site, upgrade):
        pass
    assert noted(upgrade) == {
        "what": "lock waits",
        "samples": 2,
        "unanswered": 0,
        "limit_s": LIMIT_S,
        "longest_s": 0.0,
        "waits": [],
    }


def test_a_wait_beyond_the_limit_fails_the_clause_and_names_who_is_in_the_way(
    server: PostgresServer,
    site: Any,  # noqa: ANN401
    upgrade: Upgrade,
) -> None:
    with (
        pytest.raises(ClauseFailed) as caught,
        migrating(site, upgrade),
        held_up(server, site.database, TOO_LONG_S) as pid,
    ):
        pass
    error = caught.value
    assert error.code == "lock-waited-too-long"
    assert f"session {pid} (forgotten psql), idle in transaction" in error.message
    assert "traffic" in error.seen
    assert f"session {pid}" in error.do
    assert noted(upgrade)["longest_s"] > LIMIT_S
    with migrating(site, upgrade):
        pass


def test_a_failure_meanwhile_is_explained_by_the_wait(server: PostgresServer, site: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    def fail(error: CutoverError, until_s: float) -> None:
        with migrating(site, upgrade), held_up(server, site.database, until_s):
            raise error

    with pytest.raises(ClauseFailed) as caught:
        fail(ClauseFailed("the platform says not ok", code="stella-not-ok"), TOO_LONG_S)
    assert caught.value.code == "lock-waited-too-long"
    assert "the platform says not ok" in caught.value.cause_text
    assert isinstance(caught.value.__cause__, ClauseFailed)
    with pytest.raises(Refused) as refused:
        fail(Refused("helm is at work", code="release-busy"), TOO_LONG_S)
    assert refused.value.code == "release-busy"
    assert "forgotten psql" in refused.value.cause_text

    upgrade.policy = dataclasses.replace(
        upgrade.policy, limits=dataclasses.replace(upgrade.policy.limits, lock_wait_s=BOUND_S)
    )
    with pytest.raises(CouldNotMeasure) as slow:
        fail(CouldNotMeasure("timed out", code="command-timeout"), 1.2)
    assert slow.value.code == "command-timeout"
    assert "held up by session" in slow.value.cause_text


def test_a_failure_without_a_wait_stays_as_it_is(site: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    def fail() -> None:
        with migrating(site, upgrade):
            raise ClauseFailed("no", code="stella-not-ok")

    with pytest.raises(ClauseFailed) as caught:
        fail()
    assert (caught.value.code, caught.value.cause_text) == ("stella-not-ok", "")


# -- where it is used --------------------------------------------------------------------------------------------------


def test_category_a_runs_under_the_lock(site: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    asked: list[str] = []

    def call(*arguments: str, namespace: str) -> dict[str, Any]:
        asked.append(f"{' '.join(arguments)} in {namespace}")
        with pytest.raises(Refused) as caught, site.database.migrating("another", wait_s=0.1):
            pytest.fail("two at once")
        assert f"cutover {upgrade.id} " in caught.value.seen
        return {"applied": ["0101"], "skipped": []}

    site.stella = SimpleNamespace(call=call)
    run = release.run_category_a(site, upgrade)
    assert asked
    assert (run.applied, run.category_a_held) == (("0101",), ("0101",))
    with site.database.migrating("another", wait_s=0.1):
        pass


def test_category_a_is_not_run_while_another_run_migrates(site: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    site.stella = SimpleNamespace(call=lambda *_, **__: pytest.fail("it ran"))
    with site.database.migrating("2027-01-01-0000 ann@far pid 7"), pytest.raises(Refused) as caught:
        release.run_category_a(site, upgrade)
    assert caught.value.code == "migrations-locked"
    assert "ann@far pid 7" in caught.value.seen
    assert upgrade.journal.last("intent") is None


@pytest.mark.parametrize("mode", ["init", "external"])
def test_green_comes_under_the_lock_where_its_pods_migrate(
    mode: str,
    site: Any,  # noqa: ANN401
    upgrade: Upgrade,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chart = dataclasses.replace(upgrade.target.chart, migrations=mode)
    upgrade.target = dataclasses.replace(upgrade.target, chart=chart)
    seen: list[tuple[str, bool]] = []

    def is_locked() -> bool:
        try:
            with site.database.migrating("another", wait_s=0.1):
                return False
        except Refused:
            return True

    def call(*_: str, **__: object) -> dict[str, Any]:
        seen.append(("migrations", is_locked()))
        return {"applied": [], "skipped": []}

    site.stella = SimpleNamespace(call=call)
    monkeypatch.setattr(release, "bring", lambda *_, **__: seen.append(("green", is_locked())))
    release.install_green(site, upgrade)
    assert seen == ([("green", True)] if mode == "init" else [("migrations", True), ("green", False)])
