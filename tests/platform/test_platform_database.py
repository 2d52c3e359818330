"""On a real PostgreSQL: migrations apply whole or not at all; what both colours write keeps every invariant."""

import asyncio
import datetime as dt
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import asyncpg
import psycopg
import pytest

from cutover.errors import CouldNotMeasure
from cutover.site.database import Database
from rehearsal.platform.app import seed
from rehearsal.platform.app.evidence import EvidenceTree
from rehearsal.platform.app.log import TransparencyLog
from rehearsal.platform.app.reading import LeavesError
from rehearsal.platform.core import checkpoint, dsse, keys, leaves, makers, merkle, migrations
from rehearsal.tools import ensure

pytestmark = pytest.mark.real_programs

KEY, LOG_KEY = keys.derived_signing_key(1), keys.derived_log_key(1)
ORIGIN = "log.stella.test"
SEEDED_SCANS = 5
START_BOUND_S = 20.0


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run PostgreSQL on a port of its own; give the prefix of its databases' URLs."""
    binaries = ensure(["postgres", "initdb"]).postgres.bin
    data = tmp_path_factory.mktemp("postgres") / "data"
    # PostgreSQL refuses to run as uid 0: then it gets a user namespace in which it is somebody else.
    other = ["unshare", "-U", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    subprocess.run(
        [
            *other,
            str(binaries / "initdb"),
            "-D",
            str(data),
            "-U",
            "stellaops",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["-p", str(port), "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    with (data.parent / "log").open("wb") as log:
        process = subprocess.Popen([*other, str(binaries / "postgres"), "-D", str(data), *options], stderr=log)
    prefix = f"postgresql://stellaops@127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_BOUND_S
        while True:
            try:
                psycopg.connect(f"{prefix}/postgres").close()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (data.parent / "log").read_text()
                time.sleep(0.05)
        yield prefix
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@pytest.fixture
def urls(server: str, request: pytest.FixtureRequest) -> tuple[str, str]:
    """Give the URLs of two empty databases: evidence and log."""
    name = f"t{abs(hash(request.node.nodeid))}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        for database in (name, f"{name}_log"):
            connection.execute(f'CREATE DATABASE "{database}"'.encode())
    return f"{server}/{name}", f"{server}/{name}_log"


@pytest.fixture
def seeded(urls: tuple[str, str]) -> tuple[str, str]:
    """Give a site with a small history, on the schema of 2027.Q1."""
    rows = [row for n in range(SEEDED_SCANS) for row, _ in seed.make_scan(n, seed.History(scans=SEEDED_SCANS))]
    with psycopg.connect(urls[0]) as database, psycopg.connect(urls[1]) as log:
        migrations.run(database, "2027.Q1", "A")
        migrations.prepare_log(log)
        seed.write_log(log, rows, origin=ORIGIN, seed=1)
        seed.write_evidence(database, rows, seed=1)
    return urls


def names(found: object) -> list[str]:
    return [migration.id for migration in found]  # type: ignore[attr-defined]


def test_a_release_applies_its_own_category_once(urls: tuple[str, str]) -> None:
    with psycopg.connect(urls[0]) as connection:
        assert migrations.applied(connection) == {}
        done, before = migrations.run(connection, "2027.Q1", "A")
        assert (names(done), names(before)) == (["0001_base", "0002_evidence", "0003_merkle"], [])
        done, before = migrations.run(connection, "2027.Q2", "A")
        assert (names(done), names(before)) == (["0101_expand_leaf_v2"], ["0001_base", "0002_evidence", "0003_merkle"])
        pending = [state.migration.id for state in migrations.status(connection, "2027.Q2") if not state.applied_at]
        assert pending == ["0102_contract_leaf_v1"]


def test_a_held_lock_is_named_and_nothing_is_applied(urls: tuple[str, str]) -> None:
    with psycopg.connect(urls[0], application_name="somebody") as other, psycopg.connect(urls[0]) as connection:
        other.execute("SELECT pg_advisory_lock(%s)", (migrations.MIGRATION_LOCK_KEY,))
        with pytest.raises(migrations.MigrationLockedError, match=r"held by session \d+ \(somebody"):
            migrations.run(connection, "2027.Q1", "A")
        assert migrations.applied(connection) == {}


def test_a_migration_with_another_text_is_refused(urls: tuple[str, str]) -> None:
    with psycopg.connect(urls[0]) as connection:
        migrations.run(connection, "2027.Q1", "A")
        connection.execute("UPDATE stella_migrations SET checksum = 'sha256:other' WHERE id = '0002_evidence'")
        with pytest.raises(migrations.MigrationError, match="0002_evidence was applied with sha256:other"):
            migrations.run(connection, "2027.Q2", "A")


def test_a_locked_table_leaves_the_migration_pending(seeded: tuple[str, str]) -> None:
    with psycopg.connect(seeded[0]) as other, psycopg.connect(seeded[0]) as connection:
        other.execute("LOCK TABLE scans IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(migrations.MigrationLockedError, match="0101_expand_leaf_v2 waits for a table"):
            migrations.run(connection, "2027.Q2", "A", lock_timeout_s=0.2)
        row = connection.execute("SELECT to_regclass('merkle_leaves_v2')").fetchone()
        assert row == (None,)


def test_contract_waits_for_the_second_tree_and_its_reverse_gives_every_leaf_back(seeded: tuple[str, str]) -> None:
    with psycopg.connect(seeded[0]) as connection:
        with pytest.raises(migrations.MigrationError, match="category A of this release is pending"):
            migrations.run(connection, "2027.Q2", "B")
        migrations.run(connection, "2027.Q2", "A")
        with pytest.raises(migrations.MigrationError, match="does not cover every item"):
            migrations.run(connection, "2027.Q2", "B")
        asyncio.run(derive(seeded[0]))
        query = "SELECT leaf_index, evidence_id, schema_version, leaf_hash FROM merkle_leaves ORDER BY leaf_index"
        before = connection.execute(query).fetchall()
        done, _ = migrations.run(connection, "2027.Q2", "B")
        reverse = done[0].reverse_sql
        assert reverse is not None
        connection.execute(reverse.encode())
        assert connection.execute(query).fetchall() == before


def test_a_release_expands_only_after_the_one_before_has_contracted(seeded: tuple[str, str]) -> None:
    with psycopg.connect(seeded[0]) as connection:
        migrations.run(connection, "2027.Q2", "A")
        with pytest.raises(migrations.MigrationError, match="is pending, run it first: 0102_contract_leaf_v1"):
            migrations.run(connection, "2027.Q3", "A")
        asyncio.run(derive(seeded[0]))
        migrations.run(connection, "2027.Q2", "B")
        done, _ = migrations.run(connection, "2027.Q3", "A")
        assert names(done) == ["0201_expand_scan_origin"]
        assert migrations.not_contracted(migrations.status(connection, "2027.Q3"), "2027.Q3") == []


def test_an_origin_is_optional_until_the_third_release_contracts_and_again_after_its_reverse(
    seeded: tuple[str, str],
) -> None:
    ask = "INSERT INTO scans (id, image, status) VALUES (%s, 'an-image', 'queued')"
    with psycopg.connect(seeded[0], autocommit=True) as connection:
        migrations.run(connection, "2027.Q2", "A")
        asyncio.run(derive(seeded[0]))
        migrations.run(connection, "2027.Q2", "B")
        migrations.run(connection, "2027.Q3", "A")
        connection.execute(ask, ("by-the-second",))
        done, _ = migrations.run(connection, "2027.Q3", "B")
        with pytest.raises(psycopg.errors.NotNullViolation):
            connection.execute(ask, ("by-the-second-again",))
        connection.execute("INSERT INTO scans (id, image, status, origin) VALUES ('third', 'i', 'queued', 'ci')")
        reverse = done[0].reverse_sql
        assert reverse is not None
        connection.execute(reverse.encode())
        connection.execute(ask, ("by-the-second-again",))
        rows = connection.execute("SELECT id, origin FROM scans WHERE image IN ('an-image', 'i') ORDER BY id")
        assert rows.fetchall() == [("by-the-second", "unknown"), ("by-the-second-again", "unknown"), ("third", "ci")]


def test_both_colours_write_at_once_and_everything_verifies(seeded: tuple[str, str]) -> None:
    with psycopg.connect(seeded[0]) as connection:
        migrations.run(connection, "2027.Q2", "A")
    asyncio.run(write_as_both_colours(*seeded, scans=12))
    verify(*seeded, items=(SEEDED_SCANS + 12) * len(makers.KINDS))


def test_a_repeated_job_logs_and_records_its_scan_once(seeded: tuple[str, str]) -> None:
    async def twice() -> None:
        async with asyncpg.create_pool(seeded[0]) as database, asyncpg.create_pool(seeded[1]) as log:
            scan = await ask(database, "scan-repeated")
            items = makers.make_evidence(scan, KEY)
            # The first attempt ends after the log took its entries; another scan comes in between.
            first = await TransparencyLog(log, ORIGIN).append(items, LOG_KEY, scan.created)
            await work(database, log, await ask(database, "scan-between"))
            assert await work(database, log, scan)
            assert not await work(database, log, scan)
            again = await TransparencyLog(log, ORIGIN).append(items, LOG_KEY, scan.created)
            assert again == first

    asyncio.run(twice())
    verify(*seeded, items=(SEEDED_SCANS + 2) * len(makers.KINDS))


def test_no_cross_reference_is_signed_over_altered_leaves(seeded: tuple[str, str]) -> None:
    with psycopg.connect(seeded[0]) as connection:
        migrations.run(connection, "2027.Q2", "A")
        connection.execute("UPDATE merkle_leaves SET leaf_hash = sha256('altered') WHERE leaf_index = 3")
        with pytest.raises(LeavesError, match="signed is"):
            asyncio.run(derive(seeded[0]))
        row = connection.execute("SELECT count(*) FROM merkle_crossrefs").fetchone()
        assert row == (0,)


async def ask(database: asyncpg.Pool, name: str) -> makers.Scan:
    scan = makers.Scan(id=name, image="registry.stella.test/team/app:1.0", created=dt.datetime.now(dt.UTC))
    await database.execute("INSERT INTO scans VALUES ($1, $2, 'queued', $3)", scan.id, scan.image, scan.created)
    return scan


async def work(database: asyncpg.Pool, log: asyncpg.Pool, scan: makers.Scan) -> bool:
    now = dt.datetime.now(dt.UTC)
    logged = await TransparencyLog(log, ORIGIN).append(makers.make_evidence(scan, KEY), LOG_KEY, now)
    async with database.acquire() as connection:
        return await EvidenceTree(KEY).record(connection, scan, logged, now)


async def write_as_both_colours(database_url: str, log_url: str, scans: int) -> None:
    async with asyncpg.create_pool(database_url) as database, asyncpg.create_pool(log_url) as log:
        trees = [EvidenceTree(KEY), EvidenceTree(KEY)]
        logs = [TransparencyLog(log, ORIGIN), TransparencyLog(log, ORIGIN)]

        async def do(number: int) -> None:
            scan = await ask(database, f"scan-{number}")
            now = dt.datetime.now(dt.UTC)
            logged = await logs[number % 2].append(makers.make_evidence(scan, KEY), LOG_KEY, now)
            async with database.acquire() as connection:
                assert await trees[number % 2].record(connection, scan, logged, now)
                if number % 3 == 0:
                    await trees[1].derive(connection, now)

        await asyncio.gather(*(do(number) for number in range(scans)))
        async with database.acquire() as connection:
            await trees[1].derive(connection, dt.datetime.now(dt.UTC))
            assert await trees[1].derive(connection, dt.datetime.now(dt.UTC)) is None


async def derive(database_url: str) -> int | None:
    async with asyncpg.create_pool(database_url) as database, database.acquire() as connection:
        return await EvidenceTree(KEY).derive(connection, dt.datetime.now(dt.UTC))


def verify(database_url: str, log_url: str, *, items: int) -> None:
    """Recompute everything that is signed from the rows alone."""
    with psycopg.connect(database_url) as database, psycopg.connect(log_url) as log:
        rows = database.execute(
            "SELECT id, kind, sha256, size_bytes, created, leaf_index, log_index FROM evidence ORDER BY leaf_index"
        ).fetchall()
        covered = [
            leaves.Covered(id=row[0], kind=row[1], sha256=row[2], size_bytes=row[3], created=row[4]) for row in rows
        ]
        assert [row[5] for row in rows] == list(range(items))
        trees = {schema: merkle.Tree(leaves.leaf_hash(item, schema) for item in covered) for schema in (1, 2)}
        signed = database.execute("SELECT schema_version, size, root, envelope FROM merkle_roots").fetchall()
        for schema, size, root, envelope in signed:
            assert trees[schema].root(size) == root
            dsse.verify(envelope, dsse.MERKLE_ROOT, [KEY.public_key()])
        crossed = database.execute("SELECT size, old_root, new_root, envelope FROM merkle_crossrefs").fetchall()
        for size, old_root, new_root, envelope in crossed:
            assert (trees[1].root(size), trees[2].root(size)) == (old_root, new_root)
            dsse.verify(envelope, dsse.MERKLE_CROSSREF, [KEY.public_key()])
        entries = log.execute("SELECT log_index, leaf FROM log_entries ORDER BY log_index").fetchall()
        assert [row[0] for row in entries] == list(range(items))
        named = {row[6]: leaves.log_entry(evidence_id=row[0], kind=row[1], sha256=row[2]) for row in rows}
        assert named == dict(entries)
        tree = merkle.Tree(merkle.leaf_hash(leaf) for _, leaf in entries)
        verifier = keys.verifier_key(ORIGIN, LOG_KEY.public_key())
        for (note,) in log.execute("SELECT note FROM log_checkpoints").fetchall():
            state = checkpoint.verify(note, verifier)
            assert state.root == tree.root(state.size)


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ("SELECT count(*), count(*) FROM evidence", ""),
        ("DELETE FROM evidence RETURNING 1, 1", "read-only transaction"),
        ("SET TRANSACTION READ WRITE; DELETE FROM evidence", "multiple commands"),
        ("SELECT nothing FROM nowhere", "nowhere"),
    ],
)
def test_a_gate_of_a_policy_asks_one_question_and_changes_nothing(
    seeded: tuple[str, str], query: str, refusal: str
) -> None:
    database = Database(seeded[0])
    before = database.evidence_count()
    if refusal:
        with pytest.raises(CouldNotMeasure) as caught:
            database.look(query)
        assert refusal in caught.value.seen
    else:
        assert database.look(query) == [[before, before]]
    assert database.evidence_count() == before > 0


def test_a_gate_of_a_policy_has_a_short_deadline(seeded: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.site.database._LOOK_TIMEOUT_S", 0.2)
    with pytest.raises(CouldNotMeasure) as caught:
        Database(seeded[0]).look("SELECT pg_sleep(20)::text, 1")
    assert caught.value.code == "database-timeout"
