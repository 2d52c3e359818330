"""The contraction and the way back, on a real PostgreSQL with the platform's own schema, evidence and trees."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import psycopg
import pytest

from cutover.errors import ClauseFailed, CouldNotMeasure, Refused
from cutover.procedures import backups, contraction, restore
from cutover.runbook.ports import Served
from cutover.site import restore as acts
from rehearsal.platform.core import makers
from tests.platform.test_platform_database import verify
from tests.procedures.restore_world import APP, CONTRACT, LOG, SEEDED_SCANS, World
from tests.runbook.planned_site import SECRETS
from tests.site.postgres_world import PostgresServer, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cutover.procedures.restore import Restored

pytestmark = pytest.mark.real_programs

REPLACED = f"{APP}_replaced_2026_11_23_0412"
ITEMS = len(makers.KINDS)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with running(tmp_path_factory.mktemp("postgres")) as found:
        yield found


@pytest.fixture
def world(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    made = World(server, tmp_path)
    yield made
    made.close()


@pytest.fixture
def contracted(world: World) -> World:
    """Give a site that was backed up, expanded, worked on by both releases, and contracted by the harness."""
    backups.dump_database(world.site, world.upgrade)
    world.migrate("A")
    world.work("scan-between-a-and-b")
    world.derive()
    contraction.contract(world.site, world.upgrade)
    world.work("scan-after-b")
    return world


def prove(world: World, restored: Restored, *, scans: int) -> None:
    """Demand what the runbook demands afterwards, and recompute everything signed; then let both releases go on."""
    restore.require_backup_held(restored)
    restore.require_nothing_missing(world.site, world.upgrade, restored)
    restore.require_schema_before(world.site, world.upgrade)
    restore.require_log_untouched(world.site, restored)
    restore.require_kept(world.site, world.upgrade)
    urls = (world.server.dsn(APP), world.server.dsn(LOG))
    verify(*urls, items=(SEEDED_SCANS + scans) * ITEMS)
    assert world.rows("SELECT count(*) FROM merkle_leaves") == [((SEEDED_SCANS + scans) * ITEMS,)]
    world.work("scan-after-the-restore")
    world.derive()
    verify(*urls, items=(SEEDED_SCANS + scans + 1) * ITEMS)


def test_a_contraction_is_taken_back_and_every_item_of_both_eras_verifies(contracted: World) -> None:
    restored = restore.restore_database(contracted.site, contracted.upgrade)
    assert contracted.server.databases() == {APP, LOG, REPLACED}
    assert restored.given_up == {"public.stella_migrations": 1}
    prove(contracted, restored, scans=2)
    assert contracted.upgrade.recall("restore-compared")["backup"] == "before-contract"
    swapped = contracted.upgrade.journal.last("done", action="swap database")
    assert swapped is not None
    assert 0 < swapped.data["writers_stopped_s"] < 20
    deviation = contracted.upgrade.journal.last("deviation", id="F.10")
    assert deviation is not None
    assert REPLACED in deviation.data["did"]


def test_the_backup_of_phase_1_serves_when_somebody_else_contracted(world: World) -> None:
    backups.dump_database(world.site, world.upgrade)
    world.migrate("A")
    world.work("scan-1")
    world.derive()
    world.migrate("B")
    world.work("scan-2")
    restored = restore.restore_database(world.site, world.upgrade)
    assert world.upgrade.recall("restore-compared")["backup"] == "database"
    expanded = world.upgrade.journal.last("done", action="expand the restored database")
    assert expanded is not None
    assert expanded.data["applied"] == ["0101_expand_leaf_v2"]
    prove(world, restored, scans=2)


def test_what_has_no_way_back_is_lost_only_when_a_person_gave_up_exactly_that(contracted: World) -> None:
    upgrade = contracted.upgrade
    upgrade.target = dataclasses.replace(
        upgrade.target, database=dataclasses.replace(upgrade.target.database, migrations=None)
    )
    before = contracted.rows("SELECT id, leaf_index FROM evidence ORDER BY leaf_index")
    with pytest.raises(Refused) as caught:
        restore.restore_database(contracted.site, upgrade)
    refusal = caught.value
    assert refusal.code == "losses-not-given-up"
    assert refusal.seen == f"public.merkle_leaves: an unknown number of rows: {CONTRACT} ships no way back"
    assert REPLACED not in contracted.server.databases()
    assert contracted.rows("SELECT id, leaf_index FROM evidence ORDER BY leaf_index") == before
    contracted.allow("R.2d", meaning="restore it, whatever is lost")
    with pytest.raises(Refused, match="nobody has given them up"):
        restore.restore_database(contracted.site, upgrade)
    word = refusal.facts["digest"].removeprefix("sha256:")[: restore.DIGITS]
    assert word in refusal.do
    contracted.allow("5.2a", meaning=f"losses {word} are given up")
    with pytest.raises(Refused, match="nobody has given them up"):
        restore.restore_database(contracted.site, upgrade)
    contracted.allow("R.2d", meaning=f"losses {word} are given up")
    restored = restore.restore_database(contracted.site, upgrade)
    restore.require_nothing_missing(contracted.site, upgrade, restored)
    given_up = upgrade.journal.last("observation", what="losses given up")
    assert given_up is not None
    assert given_up.data["by"] == ["B. Person"]
    assert contracted.rows("SELECT id, leaf_index FROM evidence ORDER BY leaf_index") == before


class KilledError(BaseException):
    """The process has ended here."""


@pytest.mark.parametrize(
    ("act", "when"),
    [
        ("copy_live", "after"),
        ("carry_over", "after"),
        ("_swap", "before"),
        ("_swap", "after"),
        ("keep_replaced", "after"),
    ],
)
def test_a_restore_that_was_broken_off_anywhere_is_finished_by_the_next_attempt(
    contracted: World, monkeypatch: pytest.MonkeyPatch, act: str, when: str
) -> None:
    original = getattr(acts.Restoration, act)

    def broken(*arguments: object, **named: object) -> object:
        if when == "after":
            original(*arguments, **named)
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(acts.Restoration, act, broken)
        with pytest.raises(KilledError):
            restore.restore_database(contracted.site, contracted.upgrade)
    if not (act == "_swap" and when == "after") and act != "keep_replaced":
        contracted.work("scan-in-between")  # nobody is locked out by what was left behind
    else:
        contracted.work("scan-on-the-restored-one")
    restore.require_needed(contracted.site, contracted.upgrade)
    restored = restore.restore_database(contracted.site, contracted.upgrade)
    prove(contracted, restored, scans=3)
    actions = [entry for entry in contracted.upgrade.journal.entries() if entry.data.get("action") == "swap database"]
    assert sum(entry.event == "done" for entry in actions) == (0 if act == "_swap" and when == "after" else 1)


def test_a_restore_that_was_made_is_not_made_again(contracted: World) -> None:
    first = restore.restore_database(contracted.site, contracted.upgrade)
    oid = contracted.rows("SELECT oid FROM pg_database WHERE datname = current_database()")
    assert restore.restore_database(contracted.site, contracted.upgrade) == first
    assert contracted.rows("SELECT oid FROM pg_database WHERE datname = current_database()") == oid
    already = contracted.upgrade.journal.last("observation", what="already")
    assert already is not None
    assert already.data["replaced"] == REPLACED


def test_a_database_that_blue_works_with_is_not_restored(world: World) -> None:
    world.migrate("A")
    with pytest.raises(Refused) as caught:
        restore.require_needed(world.site, world.upgrade)
    assert caught.value.code == "restore-not-needed"


def test_a_backup_that_was_altered_or_is_too_new_restores_nothing(contracted: World) -> None:
    path = contracted.upgrade.folder / contracted.upgrade.recall("backup-before-contract")["path"]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ClauseFailed) as caught:
        restore.restore_database(contracted.site, contracted.upgrade)
    assert caught.value.code == "backup-not-readable"
    path.write_bytes(content)
    facts = contracted.upgrade.recall("backup-before-contract")
    wrong = {**facts, "fingerprints": {**facts["fingerprints"], "public.scans": [99, "1/1"]}}
    contracted.upgrade.remember("backup-before-contract", **wrong)
    with pytest.raises(ClauseFailed) as caught:
        restore.restore_database(contracted.site, contracted.upgrade)
    assert (caught.value.code, "public.scans" in caught.value.seen) == ("restore-differs", True)
    for kind in ("database", "before-contract"):
        late = {**contracted.upgrade.recall(f"backup-{kind}"), "made": "2999-01-01T00:00:00Z"}
        contracted.upgrade.remember(f"backup-{kind}", **late)
    with pytest.raises(Refused) as refused:
        restore.restore_database(contracted.site, contracted.upgrade)
    assert refused.value.code == "backup-too-new"
    assert REPLACED not in contracted.server.databases()


def test_a_row_that_goes_missing_after_the_swap_is_found(contracted: World) -> None:
    restored = restore.restore_database(contracted.site, contracted.upgrade)
    _delete(contracted, "DELETE FROM evidence WHERE leaf_index = 0")
    with pytest.raises(ClauseFailed, match="rows of the replaced database are missing") as caught:
        restore.require_nothing_missing(contracted.site, contracted.upgrade, restored)
    assert caught.value.seen.startswith("public.evidence: 1 (expected")


def test_a_checkpoint_that_goes_missing_is_found(contracted: World) -> None:
    restored = restore.restore_database(contracted.site, contracted.upgrade)
    _delete(contracted, "DELETE FROM log_checkpoints WHERE size = (SELECT max(size) FROM log_checkpoints)", name=LOG)
    with pytest.raises(ClauseFailed, match="log is not what it was"):
        restore.require_log_untouched(contracted.site, restored)


def _delete(world: World, statement: str, *, name: str = APP) -> None:
    with psycopg.connect(world.server.dsn(name), autocommit=True) as connection:
        connection.execute(statement.encode())


# -- the contraction ---------------------------------------------------------------------------------------------------


def test_the_schema_is_contracted_once_behind_a_backup_that_restores(world: World) -> None:
    world.migrate("A")
    world.work("scan-1")
    world.derive()
    found = contraction.contract(world.site, world.upgrade)
    assert (found.applied, found.held, found.pending) == ((CONTRACT,), (CONTRACT,), ())
    contraction.require_backup(found)
    contraction.require_contracted(world.upgrade, found)
    intent = world.upgrade.journal.last("intent", action="contract")
    assert intent is not None
    assert intent.data["category"] == "B"
    again = contraction.contract(world.site, world.upgrade)
    assert (again.applied, again.held) == ((), (CONTRACT,))
    contraction.require_backup(again)
    contraction.require_contracted(world.upgrade, again)
    assert world.server.databases() == {APP, LOG}


def test_the_platform_may_refuse_for_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.migrate("A")
    world.work("scan-1")
    call = world.stella.call

    def later(*words: str, namespace: str) -> dict[str, object]:
        if world.stella.refusals == 2:
            world.derive()
        return call(*words, namespace=namespace)

    monkeypatch.setattr(world.stella, "call", later)
    found = contraction.contract(world.site, world.upgrade)
    assert world.stella.refusals == 2
    contraction.require_contracted(world.upgrade, found)


def test_nothing_is_contracted_while_blue_runs_or_serves_or_nobody_allowed_it(world: World) -> None:
    contraction.require_blue_unneeded(world.site, world.upgrade)
    world.served = Served(total=100, by_colour={"green": 99, "blue": 1}, failed=0, pods={}, problems=())
    with pytest.raises(Refused) as caught:
        contraction.require_blue_unneeded(world.site, world.upgrade)
    assert caught.value.code == "green-does-not-serve-alone"
    world.pods.append(type("Pod", (), {"name": "stellaops-blue-web-1"})())
    with pytest.raises(Refused) as caught:
        contraction.require_blue_unneeded(world.site, world.upgrade)
    assert (caught.value.code, caught.value.seen) == ("blue-still-runs", "stellaops-blue-web-1")
    world.allow("5.2a")
    for require, clause in ((contraction.require_approved, "C.1"), (restore.require_approved, "R.2d")):
        with pytest.raises(Refused) as caught:
            require(world.upgrade)
        assert caught.value.code == "approval-not-covering"
        world.allow(clause)
        require(world.upgrade)


def test_without_an_identity_nothing_is_restored(contracted: World) -> None:
    upgrade = contracted.upgrade
    upgrade.target = dataclasses.replace(
        upgrade.target, backup=dataclasses.replace(upgrade.target.backup, age_identity_file=None)
    )
    with pytest.raises(CouldNotMeasure) as caught:
        restore.restore_database(contracted.site, upgrade)
    assert caught.value.code == "backup-identity-missing"
