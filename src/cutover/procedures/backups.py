"""Backups that are proven by restoring them (1.2a to 1.2d, 1.3d, F.11).

Invariants: a backup counts only after its restored copy was compared with the original; a Secret never reaches the
disk in plain text; what a
proof creates (scratch database, scratch namespace) it removes, whether it succeeds or not.
"""

from __future__ import annotations

import base64
import hashlib
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyrage
import yaml

from cutover.errors import CouldNotMeasure, Refused, TargetInvalid
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path, PurePath

    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.site.database import TableFingerprint

DUMP_TIMEOUT_S = 3600.0
KINDS = ("database", "evidence", "configuration", "secrets")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseBackup:
    """A dump, and the state of every table inside the very snapshot that it was made from."""

    path: Path
    on_host: PurePath
    """The same archive on the operator host."""
    size_bytes: int
    sha256: str
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


def dump_database(site: Site, upgrade: Upgrade) -> DatabaseBackup:
    """Dump the database at an exported snapshot, and take every table's row count and checksum inside it (1.2a).

    The database is live: without one snapshot for both, the comparison would prove nothing.
    """
    path = upgrade.path("artifacts", "backups", "stellaops.dump")
    with site.database.snapshot() as snapshot:
        tables = snapshot.fingerprints()
        on_host = site.operator.temp / "stellaops.dump"
        result = site.database.dump(site.operator, on_host, snapshot=snapshot, timeout_s=DUMP_TIMEOUT_S)
        site.operator.fetch_to(on_host, path, timeout_s=DUMP_TIMEOUT_S)
    backup = DatabaseBackup(
        path=path,
        on_host=on_host,
        size_bytes=path.stat().st_size,
        sha256=sha256_file(path),
        duration_s=result.duration_s,
        tables=tables,
    )
    _record(upgrade, "database", path, duration_s=round(backup.duration_s, 3), tables=len(tables))
    return backup


def restored_tables(site: Site, backup: DatabaseBackup) -> Mapping[str, TableFingerprint]:
    """Restore the dump into a scratch database and take the same counts and checksums there (1.2a)."""
    with site.database.scratch() as scratch:
        scratch.restore(site.operator, backup.on_host, timeout_s=DUMP_TIMEOUT_S)
        return scratch.fingerprints()


def export_evidence(site: Site, upgrade: Upgrade) -> EvidenceExport:
    """Let the platform export all bundles; what it exported is then hashed by the harness (1.2b)."""
    folder = upgrade.path("artifacts", "backups", "evidence")
    answer = site.stella.call("evidence", "export", "--all", "--output", str(folder))
    _record(upgrade, "evidence", folder, items=int(answer["items"]))
    return EvidenceExport(folder=folder, reported=int(answer["items"]))


def back_up_configuration(site: Site, upgrade: Upgrade) -> ObjectsBackup:
    """Write blue's ConfigMaps to a file, server-set fields stripped (1.2c)."""
    manifests = site.cluster.configmaps(upgrade.roles.blue.namespace)
    path = upgrade.path("artifacts", "backups", "configmaps.yaml")
    path.write_text(yaml.safe_dump_all(manifests))
    _record(upgrade, "configuration", path, objects=len(manifests))
    return ObjectsBackup(kind="ConfigMap", path=path, manifests=manifests)


def back_up_secrets(site: Site, upgrade: Upgrade) -> ObjectsBackup:
    """Write blue's Secrets, encrypted to the target's age recipient; plain text stays in memory (1.2d, F.11).

    Raises:
        TargetInvalid: the recipient is not an age recipient.
    """
    manifests = site.cluster.secrets(upgrade.roles.blue.namespace)
    try:
        recipient = pyrage.x25519.Recipient.from_str(upgrade.target.backup.age_recipient)
    except pyrage.RecipientError as error:
        raise TargetInvalid(
            "the recipient of the encrypted backup is not an age recipient",
            code="recipient-invalid",
            seen=upgrade.target.backup.age_recipient,
            do="make one with age-keygen and put its public part into [backup] age_recipient",
        ) from error
    path = upgrade.path("artifacts", "backups", "secrets.yaml.age")
    path.touch(mode=0o600)
    path.write_bytes(pyrage.encrypt(yaml.safe_dump_all(manifests).encode(), [recipient]))
    upgrade.deviation(
        "F.11",
        did="encrypted the Secrets to the recipient of the target, mode 0600",
        instead_of="Secrets in a plain file",
        why="credentials on disk outlive the upgrade",
    )
    _record(upgrade, "secrets", path, objects=len(manifests))
    return ObjectsBackup(kind="Secret", path=path, manifests=manifests)


def require_configuration_restores(site: Site, backup: ObjectsBackup) -> None:
    """Apply the backup file to a scratch namespace and compare what is there with what was backed up (1.2c).

    Raises:
        ClauseFailed: an object differs.
    """
    _require_same(site, backup, backup.path.read_bytes())


def require_secrets_restore(site: Site, upgrade: Upgrade, backup: ObjectsBackup) -> None:
    """Decrypt the backup in memory, apply it to a scratch namespace and compare (1.2d).

    Raises:
        CouldNotMeasure: the identity that could decrypt it is not at hand, so the restore cannot be proven here.
        ClauseFailed: an object differs.
    """
    identity_path = upgrade.target.backup.age_identity_file
    if identity_path is None:
        raise CouldNotMeasure(
            "the backup of the Secrets cannot be proven: no identity to decrypt it with",
            code="backup-identity-missing",
            seen="[backup] names no age_identity_file",
            do="name one for the time of the upgrade, on an encrypted disk, or let its holder prove the restore",
        )
    lines = [line for line in identity_path.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-")]
    identities = [pyrage.x25519.Identity.from_str(line) for line in lines]
    _require_same(site, backup, pyrage.decrypt(backup.path.read_bytes(), identities))


def _require_same(site: Site, backup: ObjectsBackup, content: bytes) -> None:
    manifests = [manifest for manifest in yaml.safe_load_all(content) if manifest]
    differing = site.cluster.differences_when_applied(manifests)
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
        content.startswith(b"age-encryption.org/v1") and mode == 0o600 and not leaked,
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
        age_s = (now - datetime.fromisoformat(_recall(upgrade, kind)["made"])).total_seconds()
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
        made=datetime.now(UTC).isoformat(),
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
