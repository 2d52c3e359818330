"""A database restored beside the live one on a real PostgreSQL, with writers that go on until the swap and after it."""

# ruff: noqa: S608  # statements of the test itself

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from cutover import project
from cutover.errors import ClauseFailed, CouldNotMeasure, Refused
from cutover.redaction import Redactor
from cutover.site import carry, restore
from cutover.site.database import Database
from cutover.site.operator import Operator
from cutover.site.restore import Names, Restoration, Shipped
from tests.site.postgres_world import MANAGER, OWNER, PostgresServer, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path, PurePath

    from cutover.site.carry import Carried
    from cutover.site.database import TableFingerprint

pytestmark = pytest.mark.real_programs

RECORD = "2026-11-23-0412"

BEFORE = """
CREATE TABLE stella_migrations (id text PRIMARY KEY, checksum text);
CREATE TABLE parents (id integer PRIMARY KEY, word text NOT NULL UNIQUE);
CREATE TABLE children (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent integer NOT NULL REFERENCES parents, size bigint,
    double bigint GENERATED ALWAYS AS (size * 2) STORED);
CREATE TABLE lines (text text);
CREATE TABLE olds (id integer PRIMARY KEY, old text NOT NULL);
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.word = upper(NEW.word); RETURN NEW; END $$;
INSERT INTO parents VALUES (1, 'one'), (2, 'two'), (3, 'three');
CREATE TRIGGER loud BEFORE INSERT ON parents FOR EACH ROW EXECUTE FUNCTION shout();
INSERT INTO children (parent, size) VALUES (1, 10), (2, 20);
INSERT INTO lines VALUES ('same'), ('same');
INSERT INTO olds VALUES (1, 'first');
INSERT INTO stella_migrations VALUES ('1_base', 'x');
GRANT SELECT ON parents TO PUBLIC;
"""
EXPAND = Shipped(
    id="2_expand",
    statements="CREATE TABLE news (id integer PRIMARY KEY); ALTER TABLE parents ADD COLUMN note text;",
    reverse=None,
)
CONTRACT = Shipped(
    id="3_contract",
    statements="ALTER TABLE olds ADD COLUMN renamed text; UPDATE olds SET renamed = old; ALTER TABLE olds DROP old;",
    reverse="ALTER TABLE olds ADD COLUMN old text; UPDATE olds SET old = renamed; ALTER TABLE olds DROP renamed;",
)

CHILDREN = (
    'public.children: 1 rows ((4)): insert or update on table "children" violates foreign key constraint'
    ' "children_parent_fkey"'
)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with running(tmp_path_factory.mktemp("postgres")) as found:
        yield found


@pytest.fixture
def operator(server: PostgresServer, tmp_path: Path) -> Iterator[Operator]:
    made = Operator("local://", path=[str(server.programs)], redactor=Redactor(), folder=tmp_path / "artifacts")
    yield made
    made.close()


@pytest.fixture
def live(server: PostgresServer) -> Iterator[Database]:
    """Give a database of the older release, and remove everything of it afterwards."""
    server.create("app")
    database = Database(server.dsn("app"), admin_dsn=server.admin_dsn())
    execute(server, BEFORE)
    yield database
    with psycopg.connect(server.admin_dsn(), autocommit=True) as connection:
        for name in server.databases():
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def execute(server: PostgresServer, statements: str, *, name: str = "app") -> list[tuple[Any, ...]]:
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        cursor = connection.execute(statements.encode())
        return cursor.fetchall() if cursor.description else []


def back_up(live: Database, operator: Operator) -> tuple[PurePath, Mapping[str, TableFingerprint]]:
    with live.snapshot() as snapshot:
        path = operator.temp / "backup"
        live.dump(operator, path, snapshot=snapshot, timeout_s=60)
        return path, snapshot.fingerprints()


def upgrade(server: PostgresServer, *migrations: Shipped) -> None:
    for migration in migrations:
        execute(server, migration.statements)
        execute(server, f"INSERT INTO stella_migrations VALUES ('{migration.id}', '{migration.checksum}')")


def work(server: PostgresServer, number: int, *, column: str = "renamed") -> None:
    """Write what a platform on the newer schema writes."""
    execute(server, f"INSERT INTO parents VALUES ({number}, 'word {number}', 'note')")
    execute(server, f"INSERT INTO children (parent, size) VALUES ({number}, {number})")
    execute(server, f"INSERT INTO olds (id, {column}) VALUES ({number}, 'made since')")
    execute(server, f"INSERT INTO news VALUES ({number}); INSERT INTO lines VALUES ('same')")


def passed(restoration: Restoration, *migrations: Shipped, forget: tuple[str, ...] = ("3_contract",)) -> Carried:
    restoration.map_back(migrations, forget=forget)
    return restoration.carry_over(why_absent="3_contract ships no way back")


def test_everything_made_since_the_backup_is_there_after_the_swap(
    server: PostgresServer, live: Database, operator: Operator
) -> None:
    execute(server, "ALTER DATABASE app SET statement_timeout = '77s'; GRANT CREATE ON DATABASE app TO pg_monitor")
    archive, dumped = back_up(live, operator)
    upgrade(server, EXPAND, CONTRACT)
    work(server, 10)
    execute(server, "UPDATE parents SET note = 'changed' WHERE id = 1; DELETE FROM parents WHERE id = 3")
    restoration = Restoration(live, Names.of("app", RECORD))
    with restoration.alone():
        restoration.restore_backup(operator, archive)
        assert restoration.restored_tables() == dumped
        restoration.expand([EXPAND])
        restoration.copy_live(operator)
        first = passed(restoration, CONTRACT)
        assert (first.losses, first.kept) == ((), 1)
        work(server, 11)
        execute(server, "UPDATE parents SET word = 'two again' WHERE id = 2; DELETE FROM children WHERE parent = 10")
        assert not restoration.is_swapped
        with restoration.writers_stopped() as swap:
            refreshed = restoration.refresh_copy()
            assert (refreshed.added, refreshed.changed, refreshed.kept) == (8, 1, 1)
            assert passed(restoration, CONTRACT).losses == ()
            assert restoration.differences() == ()
            swapped = swap()
    restoration.clean_up()
    restoration.keep_replaced("kept for a while")
    assert restoration.is_swapped
    assert 0 < swapped.stopped_s < 30
    assert server.databases() == {"app", "app_replaced_2026_11_23_0412"}
    assert execute(server, "SELECT * FROM parents ORDER BY id") == [
        (1, "one", "changed"),
        (2, "two again", None),
        (3, "three", None),
        (10, "WORD 10", "note"),
        (11, "WORD 11", "note"),
    ], "the trigger did not shout a second time, and the row that was deleted is back"
    assert execute(server, "SELECT id, old FROM olds ORDER BY id") == [
        (1, "first"),
        (10, "made since"),
        (11, "made since"),
    ]
    assert execute(server, "SELECT parent, double FROM children WHERE parent > 9 ORDER BY 1") == [(11, 22)], (
        "what was carried and then deleted is gone"
    )
    assert execute(server, "SELECT count(*) FROM lines") == [(4,)], "rows without a key are counted, not merged"
    assert execute(server, "SELECT id FROM stella_migrations ORDER BY id") == [("1_base",), ("2_expand",)]
    assert restoration.lost_keys() == {"public.stella_migrations": 1}
    execute(server, "INSERT INTO children (parent, size) VALUES (1, 1)")  # the sequence is not behind
    assert execute(server, "SHOW statement_timeout") == [("77s",)]
    assert execute(server, "SELECT tableowner FROM pg_tables WHERE tablename = 'news'") == [(OWNER,)]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        execute(server, "DELETE FROM lines", name="app_replaced_2026_11_23_0412")


def test_whoever_may_create_databases_and_act_as_the_owner_may_restore(
    server: PostgresServer, live: Database, operator: Operator
) -> None:
    live = Database(server.dsn("app"), admin_dsn=server.dsn("postgres", user=MANAGER))
    archive, dumped = back_up(live, operator)
    upgrade(server, EXPAND, CONTRACT)
    work(server, 10)
    restoration = Restoration(live, Names.of("app", RECORD))
    with restoration.alone():
        restoration.restore_backup(operator, archive)
        assert restoration.restored_tables() == dumped
        restoration.expand([EXPAND])
        restoration.copy_live(operator)
        passed(restoration, CONTRACT)
        execute(server, "INSERT INTO parents VALUES (50, 'parent'); INSERT INTO children (parent) VALUES (50)")
        execute(server, "DELETE FROM children WHERE parent = 10; DELETE FROM parents WHERE id = 10")
        execute(server, "INSERT INTO parents VALUES (60, 'word 10')")  # a word that is to be unique
        with psycopg.connect(server.dsn("app"), autocommit=True) as other, restoration.writers_stopped() as swap:
            restoration.refresh_copy()
            assert passed(restoration, CONTRACT).losses == ()
            assert restoration.differences() == ()
            assert swap().sessions_ended == 1
            with pytest.raises(psycopg.OperationalError):
                other.execute("SELECT 1")
    restoration.keep_replaced("kept")
    restoration.clean_up()
    assert execute(server, "SELECT id FROM parents WHERE id >= 10 ORDER BY id") == [(50,), (60,)]
    assert restoration.lost_keys() == {"public.stella_migrations": 1}


def test_what_cannot_be_mapped_back_is_listed_with_its_number_and_reason(
    server: PostgresServer, live: Database, operator: Operator
) -> None:
    archive, _ = back_up(live, operator)
    upgrade(server, EXPAND, CONTRACT)
    work(server, 10)
    execute(server, "ALTER TABLE parents DROP CONSTRAINT parents_word_key; INSERT INTO parents VALUES (20, 'two', 'n')")
    execute(server, "UPDATE parents SET word = 'two' WHERE id = 20")
    execute(server, "INSERT INTO children (parent, size) VALUES (20, 1)")
    execute(server, "DELETE FROM parents WHERE id = 3; INSERT INTO parents (id, word) VALUES (30, 'x')")
    execute(server, "UPDATE parents SET word = 'three' WHERE id = 30")
    restoration = Restoration(live, Names.of("app", RECORD))
    restoration.restore_backup(operator, archive)
    restoration.copy_live(operator)
    carried = passed(restoration, forget=("2_expand", "3_contract"))
    assert [str(loss) for loss in sorted(carried.losses, key=str)] == [
        CHILDREN,
        "public.news: 1 rows: the restored schema has no such table",
        "public.olds.renamed: 2 rows: the restored schema has no such column",
        'public.olds: 1 rows ((10)): null value in column "old" of relation "olds" violates not-null constraint',
        "public.parents.note: 2 rows: the restored schema has no such column",
        'public.parents: 1 rows ((20)): duplicate key value violates unique constraint "parents_word_key"',
    ]
    again = passed(restoration, forget=("2_expand", "3_contract"))
    assert carry.digest_of(again.losses) == carry.digest_of(carried.losses)
    assert carry.digest_of(again.losses[1:]) != carry.digest_of(carried.losses)
    assert (again.added, again.changed) == (0, 0), "carried once"
    restored = execute(server, "SELECT id FROM parents ORDER BY id", name=restoration.names.restored)
    assert restored == [(1,), (2,), (10,), (30,)], "who is deleted gives way to who has its word now"


def test_a_way_back_that_does_not_work_is_a_failure_and_changes_nothing(
    server: PostgresServer, live: Database, operator: Operator
) -> None:
    upgrade(server, EXPAND, CONTRACT)
    restoration = Restoration(live, Names.of("app", RECORD))
    restoration.copy_live(operator)
    with pytest.raises(ClauseFailed) as caught:
        restoration.map_back([Shipped(id="3", statements="", reverse="SELECT nothing FROM nowhere")], forget=())
    assert caught.value.code == "mapping-failed"
    assert "nowhere" in caught.value.seen


def test_writers_wait_and_nothing_is_left_behind_when_the_swap_is_not_made(
    server: PostgresServer, live: Database, operator: Operator
) -> None:
    archive, _ = back_up(live, operator)
    restoration = Restoration(live, Names.of("app", RECORD))
    restoration.restore_backup(operator, archive)
    waiting = threading.Thread(target=execute, args=(server, "INSERT INTO lines VALUES ('waited')"))
    with contextlib.suppress(KeyError), restoration.writers_stopped():
        waiting.start()
        assert execute(server, "SELECT count(*) FROM lines") == [(2,)], "readers go on"
        waiting.join(0.3)
        assert waiting.is_alive()
        raise KeyError
    waiting.join(10)
    assert execute(server, "SELECT count(*) FROM lines") == [(3,)]
    assert not restoration.is_swapped
    assert restoration.present() == {"app", "cutover_restored_2026_11_23_0412"}


def test_a_busy_platform_loses_no_acknowledged_row_to_the_swap(
    server: PostgresServer, live: Database, operator: Operator
) -> None:
    archive, _ = back_up(live, operator)
    restoration = Restoration(live, Names.of("app", RECORD))
    restoration.restore_backup(operator, archive)
    restoration.copy_live(operator)
    acknowledged: list[int] = []
    enough, stop = threading.Event(), threading.Event()

    def write(first: int) -> None:
        number = first
        while not stop.is_set():
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(server.dsn("app")) as connection:
                connection.autocommit = True
                while not stop.is_set():
                    number += 10
                    connection.execute("INSERT INTO parents VALUES (%s, %s)", (number, f"w{number}"))
                    acknowledged.append(number)
                    if len(acknowledged) > 300:
                        enough.set()

    threads = [threading.Thread(target=write, args=(1000 + place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert enough.wait(20)
        with restoration.writers_stopped() as swap:
            before = len(acknowledged)
            restoration.refresh_copy()
            passed(restoration, forget=())
            swapped = swap()
        deadline = threading.Event()
        while len(acknowledged) < before + 100 and not deadline.wait(0.02):
            assert all(thread.is_alive() for thread in threads)
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert swapped.sessions_ended >= 1
    there = {row[0] for row in execute(server, "SELECT id FROM parents")}
    assert set(acknowledged) <= there
    assert restoration.lost_keys() == {}


ODD = """
CREATE TYPE mood AS ENUM ('sad', 'o"k');
CREATE TABLE "Odd ""table" (
    "a key" text, "b key" timestamptz, j json, b jsonb, n numeric, f float8, t text, y bytea, a text[], m mood,
    r int4range, i interval, PRIMARY KEY ("a key", "b key"));
CREATE TABLE parted (day date, word text, PRIMARY KEY (day, word)) PARTITION BY RANGE (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2027-01-01') TO ('2027-02-01');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2027-02-01') TO ('2027-03-01');
CREATE TABLE keyless (x float8, y text);
"""
ODD_ROWS = r"""
INSERT INTO "Odd ""table" VALUES
    (E'tab\t new\nline \\ ''quote''', '2027-03-28 01:59:59.999999+01', '{"a" :  1}', '{"a": [1, null]}', 'NaN', '-inf',
     E'\x01\u00e4 \\N', decode('00ff5c', 'hex'), ARRAY['', NULL, 'a,b'], 'o"k', '[1,5)', '1 mon -2 days'),
    ('', '-infinity', NULL, NULL, 1e100, 0.1, NULL, '', '{}', NULL, 'empty', NULL);
INSERT INTO parted VALUES ('2027-01-05', 'one'), ('2027-02-05', 'two');
INSERT INTO keyless VALUES ('NaN', NULL), ('NaN', NULL), (1, '');
"""
CHANGE = """
UPDATE "Odd ""table" SET j = '{"a" : 2}';
UPDATE parted SET day = '2027-01-31' WHERE word = 'two';
DELETE FROM keyless WHERE ctid = (SELECT min(ctid) FROM keyless);
"""


def test_every_kind_of_value_goes_over_as_it_is(server: PostgresServer, live: Database, operator: Operator) -> None:
    execute(server, ODD)
    archive, _ = back_up(live, operator)
    execute(server, ODD_ROWS)
    restoration = Restoration(live, Names.of("app", RECORD))
    restoration.restore_backup(operator, archive)
    restoration.copy_live(operator)
    assert passed(restoration, forget=()).losses == ()
    assert restoration.restored_tables() == live.fingerprints()
    execute(server, CHANGE)
    restoration.refresh_copy()
    assert restoration.database(restoration.names.copy).fingerprints() == live.fingerprints()
    passed(restoration, forget=())
    restored = restoration.restored_tables()
    differing = {title for title, one in live.fingerprints().items() if restored[title] != one}
    assert differing == {"public.keyless"}, "of equal rows without a key nobody can say which one is gone"


def test_what_is_kept_beside_the_tables_goes_over_too(
    server: PostgresServer, live: Database, operator: Operator
) -> None:
    execute(server, "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM lines")
    archive, _ = back_up(live, operator)
    execute(server, "INSERT INTO lines VALUES ('new'); SELECT lo_from_bytea(4711, 'large')")
    restoration = Restoration(live, Names.of("app", RECORD))
    restoration.restore_backup(operator, archive)
    restoration.copy_live(operator)
    passed(restoration, forget=())
    execute(server, "SELECT lo_from_bytea(4712, 'later')")
    with restoration.writers_stopped() as swap:
        restoration.refresh_copy()
        assert passed(restoration, forget=()).losses == ()
        swap()
    assert execute(server, "SELECT lo_get(4711), lo_get(4712)") == [(b"large", b"later")]
    assert execute(server, "SELECT DISTINCT pg_get_userbyid(lomowner) FROM pg_largeobject_metadata") == [(OWNER,)]
    assert execute(server, "SELECT n FROM counted") == [(2,)]
    assert restoration.refresh_views() == ("public.counted",)
    assert execute(server, "SELECT n FROM counted") == [(3,)]


def test_an_interrupted_restore_begins_again_over_what_it_left(
    server: PostgresServer, live: Database, operator: Operator
) -> None:
    archive, dumped = back_up(live, operator)
    for _ in range(2):
        restoration = Restoration(live, Names.of("app", RECORD))
        restoration.restore_backup(operator, archive)
        assert restoration.restored_tables() == dumped
        restoration.copy_live(operator)
        passed(restoration, forget=())
    restoration.clean_up()
    restoration.clean_up()
    assert server.databases() == {"app", "cutover_restored_2026_11_23_0412"}


def test_one_restore_at_a_time(live: Database) -> None:
    one, other = (Restoration(live, Names.of("app", RECORD)) for _ in range(2))
    with one.alone(), pytest.raises(Refused) as caught, other.alone():
        pass
    assert caught.value.code == "restore-runs"
    assert "session" in caught.value.seen
    with other.alone():
        pass


def test_a_table_that_somebody_holds_stops_nobody_for_long(
    server: PostgresServer, live: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "_WRITERS_WAIT_S", 0.3)
    restoration = Restoration(live, Names.of("app", RECORD))
    with psycopg.connect(server.dsn("app")) as other:
        other.execute("INSERT INTO lines VALUES ('open')")
        with pytest.raises(CouldNotMeasure), restoration.writers_stopped():
            pass


def test_owners_and_rights_that_differ_are_named(server: PostgresServer, live: Database, operator: Operator) -> None:
    archive, _ = back_up(live, operator)
    execute(server, "REVOKE SELECT ON parents FROM PUBLIC; ALTER DATABASE app SET lock_timeout = '1s'")
    restoration = Restoration(live, Names.of("app", RECORD))
    restoration.restore_backup(operator, archive)
    execute(server, "ALTER DATABASE app SET work_mem = '8MB'")
    found = restoration.differences()
    assert [line.partition(":")[0] for line in found] == ["relation public.parents", "setting all work_mem is missing"]


def test_only_databases_of_a_restore_are_dropped(live: Database) -> None:
    names = Names.of("app", RECORD)
    wrong = Names(live=names.live, restored="app", copy="app", mapped="app", replaced="x")
    with pytest.raises(Refused, match="never dropped"):
        Restoration(live, wrong).clean_up()


@pytest.mark.parametrize("live_name", ["stellaops", "a" * 63])
def test_names_fit_the_server_and_tell_the_record(live_name: str) -> None:
    names = Names.of(live_name, "2026-11-23-0412-2")
    found = [names.restored, names.copy, names.mapped, names.replaced]
    assert len(set(found)) == 4
    assert all(len(name.encode()) <= 63 and name.endswith("2026_11_23_0412_2") for name in found)
    assert names == Names.of(live_name, "2026-11-23-0412-2")


def test_migrations_are_read_from_the_folder_of_the_target() -> None:
    folder = project.ROOT / "rehearsal" / "platform" / "core" / "sql"
    contract = restore.shipped(folder, "0102_contract_leaf_v1")
    assert contract is not None
    assert contract.reverse is not None
    assert contract.checksum.startswith("sha256:")
    assert restore.shipped(folder, "0999_unknown") is None
    assert restore.shipped(None, "0102_contract_leaf_v1") is None
