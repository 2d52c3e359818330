"""The database's archive: encrypted in the record, plain only on the operator's host until its restore is proven."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, cast

import pyrage
import pytest

from cutover.clock import rfc3339
from cutover.errors import ClauseFailed, CouldNotMeasure, TargetInvalid
from cutover.model import Result
from cutover.procedures import backups
from cutover.procedures.backups import ObjectsBackup
from cutover.redaction import Redactor
from cutover.runbook import going_on
from cutover.site.database import TableFingerprint
from cutover.site.operator import Operator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import PurePosixPath

    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.site.operator import CommandResult

ARCHIVE = b"PGDMP rows nobody else may read " * 5000


class Database:
    """What the procedures ask of a database; an archive is a file of the operator's host."""

    def __init__(self) -> None:
        self.restored = b""

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Database]:
        yield self

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[Database]:
        assert name.startswith("cutover_scratch_")
        yield self

    def fingerprints(self) -> Mapping[str, TableFingerprint]:
        return {"public.evidence": TableFingerprint(rows=5, checksum="1/2")}

    def dump(self, operator: Operator, path: PurePosixPath, **_: object) -> CommandResult:
        return operator.run(["sh", "-c", 'cat > "$1"', "sh", str(path)], input=ARCHIVE)

    def restore(self, operator: Operator, path: PurePosixPath, **_: object) -> None:
        self.restored = operator.fetch(path)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def site(upgrade: Upgrade, database: Database) -> Iterator[Site]:
    folder = upgrade.folder / "artifacts"
    operator = Operator("local://", redactor=Redactor(), folder=folder, journal=upgrade.journal)
    yield cast("Site", SimpleNamespace(operator=operator, database=database))
    operator.close()


def _with_backup(upgrade: Upgrade, identity: pyrage.x25519.Identity, file: Path | None) -> None:
    backup = dataclasses.replace(upgrade.target.backup, age_recipient=str(identity.to_public()), age_identity_file=file)
    upgrade.target = dataclasses.replace(upgrade.target, backup=backup)


@pytest.fixture
def identity_file(upgrade: Upgrade, tmp_path: Path) -> Path:
    """Return the file of an identity that the target's recipient belongs to."""
    identity = pyrage.x25519.Identity.generate()
    path = tmp_path / "backup.agekey"
    path.write_text(f"# public key: {identity.to_public()}\n{identity}\n", "utf-8")
    _with_backup(upgrade, identity, path)
    return path


@pytest.mark.usefixtures("identity_file")
def test_the_record_holds_the_archive_encrypted_and_nothing_else_of_it(upgrade: Upgrade, site: Site) -> None:
    backup = backups.dump_database(site, upgrade)
    assert backup.path == upgrade.folder / "artifacts" / "backups" / "stellaops.dump.age"
    assert stat.S_IMODE(backup.path.stat().st_mode) == 0o600
    assert (backup.size_bytes, backup.sha256) == (len(ARCHIVE), hashlib.sha256(ARCHIVE).hexdigest())
    for path in upgrade.folder.rglob("*"):
        assert path.is_dir() or ARCHIVE[:32] not in path.read_bytes()
    facts = upgrade.recall("backup-database")
    assert facts["archive_sha256"] == backup.sha256
    assert facts["sha256"] == backups.sha256_file(backup.path)
    assert facts["made"] == rfc3339(upgrade.clock.now()), "the upgrade's clock, not the machine's"
    backups.require_dump_encrypted(upgrade, backup)
    proven = upgrade.journal.last("observation", archive_sha256=backup.sha256)
    assert proven is not None
    assert "decrypts to the archive" in proven.data["what"]


@pytest.mark.usefixtures("identity_file")
def test_the_restore_reads_the_archive_and_leaves_none_behind(upgrade: Upgrade, site: Site, database: Database) -> None:
    backup = backups.dump_database(site, upgrade)
    assert backups.restored_tables(site, upgrade, backup) == backup.tables
    assert database.restored == ARCHIVE
    assert not Path(backup.on_host).parent.exists(), "the private folder goes with what was in it"
    deviation = upgrade.journal.last("deviation", id="F.10")
    assert deviation is not None
    assert deviation.data["instead_of"] == "pg_restore over the live database"


def test_without_an_identity_the_journal_says_what_was_not_proven(upgrade: Upgrade, site: Site) -> None:
    _with_backup(upgrade, pyrage.x25519.Identity.generate(), None)
    backups.require_dump_encrypted(upgrade, backups.dump_database(site, upgrade))
    observed = upgrade.journal.last("observation")
    assert observed is not None
    assert "not decrypted here" in observed.data["what"]


def test_a_copy_that_is_not_the_archive_is_refused(upgrade: Upgrade, site: Site, identity_file: Path) -> None:
    backup = backups.dump_database(site, upgrade)
    other = pyrage.x25519.Identity.generate()
    mine = pyrage.x25519.Recipient.from_str(upgrade.target.backup.age_recipient)
    for content, seen in (
        (pyrage.encrypt(b"another archive", [mine]), hashlib.sha256(b"another archive").hexdigest()),
        (pyrage.encrypt(ARCHIVE, [other.to_public()]), "does not decrypt"),
        (backup.path.read_bytes()[:-100], "does not decrypt"),
    ):
        backup.path.write_bytes(content)
        with pytest.raises(ClauseFailed) as caught:
            backups.require_dump_encrypted(upgrade, backup)
        assert caught.value.code == "backup-not-readable"
        assert seen in caught.value.seen
    backup.path.write_bytes(ARCHIVE)
    with pytest.raises(ClauseFailed) as caught:
        backups.require_dump_encrypted(upgrade, backup)
    assert caught.value.code == "backup-in-plain-text"
    assert identity_file.exists()


@pytest.mark.usefixtures("identity_file")
def test_a_backup_of_another_kind_lies_beside_and_comes_back_as_it_was(upgrade: Upgrade, site: Site) -> None:
    backups.dump_database(site, upgrade)
    other = backups.dump_database(site, upgrade, kind="before-contract")
    assert other.path.name == "before-contract.dump.age"
    facts = upgrade.recall("backup-before-contract")
    assert backups.tables_of(facts) == other.tables
    on_host = backups.put_on_host(site, upgrade, facts)
    assert site.operator.fetch(on_host) == ARCHIVE
    other.path.write_bytes(other.path.read_bytes()[:-1])
    with pytest.raises(ClauseFailed, match="not the archive that was made"):
        backups.put_on_host(site, upgrade, facts)


def test_a_backup_that_nobody_here_can_decrypt_is_not_restored(upgrade: Upgrade, site: Site) -> None:
    _with_backup(upgrade, pyrage.x25519.Identity.generate(), None)
    backups.dump_database(site, upgrade)
    with pytest.raises(CouldNotMeasure) as caught:
        backups.put_on_host(site, upgrade, upgrade.recall("backup-database"))
    assert caught.value.code == "backup-identity-missing"


@pytest.mark.usefixtures("identity_file")
def test_a_copy_that_others_can_read_is_refused(upgrade: Upgrade, site: Site) -> None:
    backup = backups.dump_database(site, upgrade)
    backup.path.chmod(0o644)
    with pytest.raises(ClauseFailed, match="not safely encrypted"):
        backups.require_dump_encrypted(upgrade, backup)


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (None, "No such file"),
        ("# nothing\n", "no line begins with AGE-SECRET-KEY-"),
        ("AGE-SECRET-KEY-1XX\n", "invalid"),
    ],
)
def test_an_identity_that_cannot_be_read_is_wrong_input(
    upgrade: Upgrade, tmp_path: Path, content: str | None, seen: str
) -> None:
    path = tmp_path / "backup.agekey"
    if content is not None:
        path.write_text(content, "utf-8")
    _with_backup(upgrade, pyrage.x25519.Identity.generate(), path)
    secrets = ObjectsBackup(kind="Secret", path=tmp_path / "unused", manifests=())
    with pytest.raises(TargetInvalid) as caught:
        backups.require_secrets_restore(cast("Site", None), upgrade, secrets)
    assert seen in caught.value.seen
    assert "age_identity_file" in caught.value.do


def test_secrets_for_somebody_else_cannot_be_proven_here(upgrade: Upgrade, tmp_path: Path, identity_file: Path) -> None:
    path = tmp_path / "secrets.yaml.age"
    path.write_bytes(pyrage.encrypt(b"a: b", [pyrage.x25519.Identity.generate().to_public()]))
    secrets = ObjectsBackup(kind="Secret", path=path, manifests=())
    with pytest.raises(CouldNotMeasure) as caught:
        backups.require_secrets_restore(cast("Site", None), upgrade, secrets)
    assert caught.value.code == "backup-not-readable"
    assert identity_file.exists()


# -- attempts that were broken off (1.2a, 1.2b) ------------------------------------------------------------------------


@pytest.mark.usefixtures("identity_file")
def test_an_older_backup_stays_until_the_new_one_is_whole(
    upgrade: Upgrade, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = backups.dump_database(site, upgrade)
    sealed = first.path.read_bytes()

    def encrypt(reader: IO[bytes], writer: IO[bytes], _: object) -> None:
        writer.write(reader.read(1000))
        raise pyrage.EncryptError("broken off")

    monkeypatch.setattr(pyrage, "encrypt_io", encrypt)
    with pytest.raises(pyrage.EncryptError):
        backups.dump_database(site, upgrade)
    assert first.path.read_bytes() == sealed
    assert list(first.path.parent.iterdir()) == [first.path]


@pytest.mark.usefixtures("identity_file")
def test_an_archive_that_does_not_come_whole_is_no_backup(upgrade: Upgrade, site: Site, database: Database) -> None:
    dumped = database.dump

    def lost(operator: Operator, path: PurePosixPath, **options: object) -> CommandResult:
        result = dumped(operator, path, **options)
        operator.run(["rm", str(path)])
        return result

    database.dump = lost  # type: ignore[method-assign]
    with pytest.raises(CouldNotMeasure) as caught:
        backups.dump_database(site, upgrade)
    assert caught.value.code == "fetch-failed"
    assert not upgrade.knows("backup-database")
    assert list((upgrade.folder / "artifacts" / "backups").iterdir()) == []


def exporting(*names: str, fails: bool = False) -> Site:
    """Return a platform that exports these bundles, or is killed after them."""

    def call(*words: str, namespace: str) -> dict[str, object]:
        assert namespace
        folder = Path(words[-1])
        assert not folder.exists(), "what an attempt left would count as exported"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text(name)
        if fails:
            raise CouldNotMeasure("it was killed", code="command-failed")
        return {"items": len(names)}

    return cast("Site", SimpleNamespace(stella=SimpleNamespace(call=call)))


def test_an_export_that_was_broken_off_leaves_nothing_in_the_next_one(upgrade: Upgrade) -> None:
    with pytest.raises(CouldNotMeasure):
        backups.export_evidence(exporting("a", "half of b", fails=True), upgrade)
    export = backups.export_evidence(exporting("a", "b"), upgrade)
    assert sorted(path.name for path in export.folder.iterdir()) == ["a", "b"]
    with pytest.raises(CouldNotMeasure):
        backups.export_evidence(exporting("a", fails=True), upgrade)
    assert sorted(path.name for path in export.folder.iterdir()) == ["a", "b"], "the older one is still whole"
    assert backups.export_evidence(exporting("c"), upgrade).folder == export.folder
    assert [path.name for path in export.folder.iterdir()] == ["c"]
    assert [path.name for path in export.folder.parent.iterdir()] == ["evidence"]


@pytest.mark.parametrize("at", ["between the renames", "before the old one is gone"])
def test_an_export_killed_while_it_takes_its_name_is_made_again(upgrade: Upgrade, at: str) -> None:
    folder = upgrade.path("artifacts", "backups", "evidence")
    old, partial = folder.with_name("evidence.old"), folder.with_name("evidence.partial")
    for path in (old, partial if at == "between the renames" else folder):
        path.mkdir()
        (path / "a").write_text("a")
    assert backups.export_evidence(exporting("a", "b"), upgrade).reported == 2
    assert [path.name for path in folder.parent.iterdir()] == ["evidence"]
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]


# -- going on later (1.3d) ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("later_s", "gone", "outdated"), [(0, "", ""), (60, "", "1.2b"), (0, "secrets", "1.2d")])
def test_backups_that_1_3d_would_refuse_are_made_again(
    upgrade: Upgrade, later_s: float, gone: str, outdated: str
) -> None:
    clauses = dict(zip(("1.2a", "1.2b", "1.2c", "1.2d"), backups.KINDS, strict=True))
    for kind in backups.KINDS:
        upgrade.path("artifacts", "backups", kind).write_text(kind)
        if kind == "configuration":
            upgrade.clock.sleep(later_s)
        backups._record(upgrade, kind, upgrade.path("artifacts", "backups", kind))
    bound_s = upgrade.policy.limits.backup_max_age_s
    upgrade.clock.sleep(bound_s)
    if gone:
        upgrade.path("artifacts", "backups", gone).unlink()
    results = dict.fromkeys(clauses, Result.PASS)
    found = set(going_on.outdated_backups(upgrade, results))
    refused = {clause for clause, kind in clauses.items() if _refused(upgrade, kind)}
    assert found == refused
    assert not outdated or outdated in found
    assert going_on.outdated_backups(upgrade, dict.fromkeys(clauses)) == {}, "what has not passed is performed anyway"


def _refused(upgrade: Upgrade, kind: str) -> bool:
    """Whether 1.3d refuses the backups for this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backups, "KINDS", (kind,))
        try:
            backups.require_complete(upgrade)
            backups.require_recent(upgrade)
        except ClauseFailed:
            return True
    return False
