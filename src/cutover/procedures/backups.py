"""Backups that are proven by restoring them (1.2a to 1.2d, 1.3d, F.11).

Invariants: a backup counts only after its restored copy was compared with the original; a Secret never reaches the
disk in plain text, and the database's archive never reaches this machine's in it; what a proof creates (scratch
database, scratch namespace, private folder) it removes, whether it succeeds or not, and is in the journal before, so
that a later attempt can remove what a broken-off one left; a backup replaces an older one only when it is whole.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import stat
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import pyrage
import yaml

from cutover.clock import parse_rfc3339, rfc3339
from cutover.errors import CouldNotMeasure, Refused, TargetInvalid
from cutover.files import write_whole, written_whole
from cutover.procedures import leftovers
from cutover.runbook.checks import expect
from cutover.site import cluster, database

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path, PurePath

    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.site.database import TableFingerprint

DUMP_TIMEOUT_S = 3600.0
KINDS = ("database", "evidence", "configuration", "secrets")
_AGE_HEAD = b"age-encryption.org/v1"
_PRIVATE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseBackup:
    """A dump, and the state of every table inside the very snapshot that it was made from."""

    path: Path
    """In the record, encrypted."""
    on_host: PurePath
    """The archive itself, in a private folder of the operator host, until its restore is proven."""
    size_bytes: int
    """Of the archive itself."""
    sha256: str
    """Of the archive itself, hexadecimal."""
    duration_s: float
    tables: Mapping[str, TableFingerprint]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceExport:
    """The platform's export, as it lies on disk."""

    folder: Path
    reported: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectsBackup:
    """ConfigMaps or Secrets of a namespace: as they can be applied elsewhere, and the file that holds them."""

    kind: str
    path: Path
    manifests: tuple[Mapping[str, Any], ...]


def dump_database(site: Site, upgrade: Upgrade, *, kind: str = "database") -> DatabaseBackup:
    """Dump the database at an exported snapshot, and take every table's row count and checksum inside it (1.2a).

    kind: under which name the record has it; another one than 1.2a's lies beside it.

    The database is live: without one snapshot for both, the comparison would prove nothing. The record gets the
    archive encrypted to the target's recipient, mode 0600.

    Raises:
        TargetInvalid: the recipient is not an age recipient.
    """
    recipient = _recipient(upgrade)
    name = "stellaops" if kind == "database" else kind
    path = upgrade.path("artifacts", "backups", f"{name}.dump.age")
    with site.database.snapshot() as snapshot:
        tables = snapshot.fingerprints()
        on_host = site.operator.temp / "stellaops.dump"
        result = site.database.dump(site.operator, on_host, snapshot=snapshot, timeout_s=DUMP_TIMEOUT_S)

    with written_whole(path, mode=_PRIVATE) as stream:

        def encrypt(archive: IO[bytes]) -> _Digest:
            plain = _Digest(archive)
            pyrage.encrypt_io(plain, stream, [recipient])
            return plain

        plain = site.operator.read_through(on_host, encrypt, timeout_s=DUMP_TIMEOUT_S)
    backup = DatabaseBackup(
        path=path,
        on_host=on_host,
        size_bytes=plain.size_bytes,
        sha256=plain.hexdigest(),
        duration_s=result.duration_s,
        tables=tables,
    )
    _record(
        upgrade,
        kind,
        path,
        duration_s=round(backup.duration_s, 3),
        tables=len(tables),
        archive_sha256=backup.sha256,
        archive_bytes=backup.size_bytes,
        fingerprints=listed(tables),
    )
    return backup


def listed(tables: Mapping[str, TableFingerprint]) -> dict[str, list[object]]:
    """Return what tables held as the journal keeps it; `tables_of` reads it back."""
    return {title: [one.rows, one.checksum] for title, one in sorted(tables.items())}


def tables_of(facts: Mapping[str, Any]) -> dict[str, TableFingerprint]:
    """Return what a backup's tables held when it was made, from what the journal keeps of it."""
    return {
        title: database.TableFingerprint(rows=int(rows), checksum=str(checksum))
        for title, (rows, checksum) in facts["fingerprints"].items()
    }


def put_on_host(site: Site, upgrade: Upgrade, facts: Mapping[str, Any]) -> PurePath:
    """Decrypt a backup of the database onto the operator host's private folder, and return where (R.2d).

    Nothing of it reaches this machine's disk in plain text.

    Raises:
        ClauseFailed: the file is not the one that was made, or does not hold the archive that was.
        CouldNotMeasure: no identity is at hand that decrypts it.
    """
    path = upgrade.folder / facts["path"]
    identities = _identities(upgrade)
    if not identities:
        raise CouldNotMeasure(
            "the backup of the database cannot be decrypted here",
            code="backup-identity-missing",
            seen="[backup] names no age_identity_file",
            do="name one for the time of the restore, on an encrypted disk",
        )
    on_host = site.operator.temp / "restore.dump"

    def decrypt(archive: IO[bytes]) -> str:
        digest = _Digest(onto=archive)
        with path.open("rb") as file:
            pyrage.decrypt_io(file, digest, identities)
        return digest.hexdigest()

    try:
        found = site.operator.write_through(on_host, decrypt, timeout_s=DUMP_TIMEOUT_S)
    except (pyrage.DecryptError, OSError) as error:
        found = f"it does not decrypt: {error}"
    expect(
        found == facts["archive_sha256"],
        "the backup of the database is not the archive that was made",
        seen=found,
        expected=facts["archive_sha256"],
        do="take another copy of the record, or another backup, whose digest is the journal's",
        code="backup-not-readable",
    )
    return on_host


def restored_tables(site: Site, upgrade: Upgrade, backup: DatabaseBackup) -> Mapping[str, TableFingerprint]:
    """Restore the archive into a scratch database and take the same counts and checksums there (1.2a, F.10).

    The plain archive is removed from the operator host afterwards: the encrypted one is the backup.
    """
    name = database.scratch_name()
    upgrade.deviation(
        "F.10",
        did="restored the archive into a scratch database and compared it",
        instead_of="pg_restore over the live database",
        why="it fails on existing objects and would drop evidence made since the backup",
    )
    try:
        with (
            upgrade.journal.action(leftovers.SCRATCH_DATABASE, scratch=name),
            site.database.scratch(name) as scratch,
        ):
            scratch.restore(site.operator, backup.on_host, timeout_s=DUMP_TIMEOUT_S)
            return scratch.fingerprints()
    finally:
        site.operator.discard_temp()


def require_dump_encrypted(upgrade: Upgrade, backup: DatabaseBackup) -> None:
    """Demand that the record's copy is an age file, mode 0600, and decrypts to the archive that was restored (1.2a).

    Where no identity is at hand the second half is left to its holder, and the journal says so.

    Raises:
        TargetInvalid: the identity's file cannot be used.
        ClauseFailed: the copy is not encrypted, or does not decrypt to the archive.
    """
    with backup.path.open("rb") as file:
        head = file.read(len(_AGE_HEAD))
    mode = stat.S_IMODE(backup.path.stat().st_mode)
    expect(
        head == _AGE_HEAD and mode == _PRIVATE,
        "the backup of the database is not safely encrypted",
        seen=f"mode {mode:o}; begins with {head!r}",
        expected=f"mode {_PRIVATE:o}; begins with {_AGE_HEAD!r}",
        do="delete the file",
        code="backup-in-plain-text",
    )
    identities = _identities(upgrade)
    if not identities:
        upgrade.journal.write(
            "observation",
            what="the encrypted dump was not decrypted here: [backup] names no age_identity_file",
            archive_sha256=backup.sha256,
        )
        return
    digest = _Digest()
    try:
        with backup.path.open("rb") as file:
            pyrage.decrypt_io(file, digest, identities)
        found = digest.hexdigest()
    except (pyrage.DecryptError, OSError) as error:
        found = f"it does not decrypt: {error}"
    expect(
        found == backup.sha256,
        "the encrypted copy is not the archive that was restored",
        seen=found,
        expected=backup.sha256,
        do="check that [backup] age_recipient and age_identity_file belong together, and run phase 1 again",
        code="backup-not-readable",
    )
    upgrade.journal.write("observation", what="the encrypted dump decrypts to the archive", archive_sha256=found)


class _Digest:
    """A file-like object that hashes what goes through it: what is read of another one, or what is written to it."""

    def __init__(self, source: IO[bytes] | None = None, *, onto: IO[bytes] | None = None) -> None:
        self._source = source
        self._onto = onto
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def read(self, size: int = -1) -> bytes:
        """Return what the source gives."""
        content = self._source.read(size) if self._source is not None else b""
        self.write(content)
        return content

    def write(self, content: bytes) -> int:
        """Take in some bytes."""
        self._hash.update(content)
        self.size_bytes += len(content)
        if self._onto is not None:
            self._onto.write(content)
        return len(content)

    def flush(self) -> None:
        """Do nothing: pyrage asks for it."""

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far."""
        return self._hash.hexdigest()


def export_evidence(site: Site, upgrade: Upgrade) -> EvidenceExport:
    """Let the platform export all bundles; what it exported is then hashed by the harness (1.2b).

    It writes beside an older export, which goes only when the new one is whole.
    """
    folder = upgrade.path("artifacts", "backups", "evidence")
    partial, old = folder.with_name("evidence.partial"), folder.with_name("evidence.old")
    shutil.rmtree(partial, ignore_errors=True)
    answer = site.stella.call(
        "evidence", "export", "--all", "--output", str(partial), namespace=upgrade.roles.blue.namespace
    )
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    _record(upgrade, "evidence", folder, items=int(answer["items"]))
    return EvidenceExport(folder=folder, reported=int(answer["items"]))


def back_up_configuration(site: Site, upgrade: Upgrade) -> ObjectsBackup:
    """Write blue's ConfigMaps to a file, server-set fields stripped (1.2c)."""
    manifests = site.cluster.configmaps(upgrade.roles.blue.namespace)
    path = upgrade.path("artifacts", "backups", "configmaps.yaml")
    write_whole(path, yaml.safe_dump_all(manifests))
    _record(upgrade, "configuration", path, objects=len(manifests))
    return ObjectsBackup(kind="ConfigMap", path=path, manifests=manifests)


def back_up_secrets(site: Site, upgrade: Upgrade) -> ObjectsBackup:
    """Write blue's Secrets, encrypted to the target's age recipient; plain text stays in memory (1.2d, F.11).

    Raises:
        TargetInvalid: the recipient is not an age recipient.
    """
    recipient = _recipient(upgrade)
    manifests = site.cluster.secrets(upgrade.roles.blue.namespace)
    path = upgrade.path("artifacts", "backups", "secrets.yaml.age")
    write_whole(path, pyrage.encrypt(yaml.safe_dump_all(manifests).encode(), [recipient]), mode=_PRIVATE)
    upgrade.deviation(
        "F.11",
        did="encrypted the Secrets to the recipient of the target, mode 0600",
        instead_of="Secrets in a plain file",
        why="credentials on disk outlive the upgrade",
    )
    _record(upgrade, "secrets", path, objects=len(manifests))
    return ObjectsBackup(kind="Secret", path=path, manifests=manifests)


def require_configuration_restores(site: Site, upgrade: Upgrade, backup: ObjectsBackup) -> None:
    """Apply the backup file to a scratch namespace and compare what is there with what was backed up (1.2c).

    Raises:
        ClauseFailed: an object differs.
    """
    _require_same(site, upgrade, backup, backup.path.read_bytes())


def require_secrets_restore(site: Site, upgrade: Upgrade, backup: ObjectsBackup) -> None:
    """Decrypt the backup in memory, apply it to a scratch namespace and compare (1.2d).

    Raises:
        CouldNotMeasure: the identity that could decrypt it is not at hand, or is another's.
        TargetInvalid: the identity's file cannot be used.
        ClauseFailed: an object differs.
    """
    identities = _identities(upgrade)
    if not identities:
        raise CouldNotMeasure(
            "the backup of the Secrets cannot be proven: no identity to decrypt it with",
            code="backup-identity-missing",
            seen="[backup] names no age_identity_file",
            do="name one for the time of the upgrade, on an encrypted disk, or let its holder prove the restore",
        )
    try:
        content = pyrage.decrypt(backup.path.read_bytes(), identities)
    except pyrage.DecryptError as error:
        raise CouldNotMeasure(
            "the backup of the Secrets does not decrypt",
            code="backup-not-readable",
            seen=str(error),
            do="check that [backup] age_recipient and age_identity_file belong together",
        ) from error
    _require_same(site, upgrade, backup, content)


def _recipient(upgrade: Upgrade) -> pyrage.x25519.Recipient:
    """Return to whom backups are encrypted. Raises TargetInvalid."""
    try:
        return pyrage.x25519.Recipient.from_str(upgrade.target.backup.age_recipient)
    except pyrage.RecipientError as error:
        raise TargetInvalid(
            "the recipient of the encrypted backup is not an age recipient",
            code="recipient-invalid",
            seen=upgrade.target.backup.age_recipient,
            do="make one with age-keygen and put its public part into [backup] age_recipient",
        ) from error


def _identities(upgrade: Upgrade) -> list[pyrage.x25519.Identity]:
    """Return what the target names to decrypt with; nothing when it names nothing. Raises TargetInvalid."""
    path = upgrade.target.backup.age_identity_file
    if path is None:
        return []
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
        identities = [pyrage.x25519.Identity.from_str(line) for line in lines if line.startswith("AGE-SECRET-KEY-")]
        problem = "" if identities else "no line begins with AGE-SECRET-KEY-"
    except (OSError, UnicodeDecodeError, pyrage.IdentityError) as error:
        identities, problem = [], getattr(error, "strerror", None) or str(error)
    if problem:
        raise TargetInvalid(
            f"the identity that decrypts the backups cannot be read from {path}",
            code="identity-unreadable",
            seen=problem,
            do="put the file that age-keygen wrote there, or leave [backup] age_identity_file out",
        )
    return identities


def _require_same(site: Site, upgrade: Upgrade, backup: ObjectsBackup, content: bytes) -> None:
    manifests = [manifest for manifest in yaml.safe_load_all(content) if manifest]
    scratch = cluster.scratch_name()
    with upgrade.journal.action(leftovers.SCRATCH_NAMESPACE, scratch=scratch):
        differing = site.cluster.differences_when_applied(manifests, scratch=scratch)
    expect(
        list(manifests) == list(backup.manifests) != [] and not differing,
        f"the restored {backup.kind}s are not the ones that were backed up",
        seen=f"differ: {', '.join(differing) or 'none'}; {len(manifests)} of {len(backup.manifests)} restored",
        do="do not go on: there is nothing to go back to",
        code="restore-differs",
    )


def require_encrypted(backup: ObjectsBackup) -> None:
    """Demand an age file, mode 0600, in which no value of a Secret can be found.

    Raises:
        ClauseFailed: one of the three does not hold.
    """
    content = backup.path.read_bytes()
    mode = stat.S_IMODE(backup.path.stat().st_mode)
    leaked = [
        f"{manifest['metadata']['name']}/{key}"
        for manifest in backup.manifests
        for key, value in (manifest.get("data") or {}).items()
        if value.encode() in content or base64.b64decode(value) in content
    ]
    expect(
        content.startswith(_AGE_HEAD) and mode == _PRIVATE and not leaked,
        "the backup of the Secrets is not safely encrypted",
        seen=f"mode {mode:o}; found in it: {', '.join(leaked) or 'nothing'}",
        do="delete the file, and change the credentials it may have shown",
        code="secrets-in-plain-text",
    )


def require_complete(upgrade: Upgrade) -> None:
    """Demand all four backups in the record, each with the digest that was recorded when it was made (1.3d).

    Raises:
        ClauseFailed: one is missing or altered.
    """
    for kind in KINDS:
        facts = _recall(upgrade, kind)
        path = upgrade.folder / facts["path"]
        found = _digest_at(path) if path.exists() else "absent"
        expect(
            found == facts["sha256"],
            f"the {kind} backup is not what it was when it was made",
            seen=found,
            expected=facts["sha256"],
            do="make the backups again: run phase 1",
            code="backup-altered",
        )


def require_recent(upgrade: Upgrade) -> None:
    """Demand that no backup is older than the policy allows (1.3d).

    Raises:
        ClauseFailed: one is older.
    """
    bound_s = upgrade.policy.limits.backup_max_age_s
    now = upgrade.clock.now()
    for kind in KINDS:
        age_s = (now - parse_rfc3339(_recall(upgrade, kind)["made"])).total_seconds()
        expect(
            0 <= age_s <= bound_s,
            f"the {kind} backup is too old",
            seen=f"{age_s:.0f} s",
            expected=f"at most {bound_s:.0f} s",
            do="make the backups again: run phase 1",
            code="backup-too-old",
        )


def sha256_file(path: Path) -> str:
    """Hash a file's raw bytes, streamed; hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _recall(upgrade: Upgrade, kind: str) -> dict[str, Any]:
    try:
        return upgrade.recall(f"backup-{kind}")
    except Refused as error:
        error.do = "run phase 1 of this upgrade first"
        raise


def _record(upgrade: Upgrade, kind: str, path: Path, **facts: object) -> None:
    upgrade.remember(
        f"backup-{kind}",
        path=str(path.relative_to(upgrade.folder)),
        sha256=_digest_at(path),
        made=rfc3339(upgrade.clock.now()),
        **facts,
    )


def _digest_at(path: Path) -> str:
    if path.is_file():
        return sha256_file(path)
    return _digest_of({str(file.relative_to(path)): sha256_file(file) for file in path.rglob("*") if file.is_file()})


def _digest_of(digests: Mapping[str, str]) -> str:
    """One digest over many: of the sorted lines `digest  name`."""
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()
