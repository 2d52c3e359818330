"""Verifies attestations: all since an instant, or the one in a bundle.

Invariants: an attestation counts as valid when a trusted key signed it and its subjects are what the site, or the
bundle, holds; a bundle is hostile until it is verified: bounded in size, nothing of it is written to disk.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from typing import TYPE_CHECKING

from rehearsal.platform.core import dsse, leaves, makers
from rehearsal.platform.stella import database, deployment, instants, records, verification
from rehearsal.platform.stella.answers import Answer, Table
from rehearsal.platform.stella.cluster import Cluster
from rehearsal.platform.stella.objects import ObjectStore

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from rehearsal.platform.stella.verification import Finding, Trust

BUNDLE_LIMIT_BYTES = 64 * 1024 * 1024
MEMBER_LIMIT_BYTES = 32 * 1024 * 1024


class BundleError(Exception):
    """A bundle is not what its attestation says; the message says why."""


def verify_all(namespace: str, since: dt.datetime) -> Answer:
    """Verify every attestation created since an instant."""
    settings = deployment.find(Cluster.from_kubeconfig(), namespace).settings
    with database.connect(settings.database_url) as connection, connection.transaction():
        attestations = records.read_items(connection, kind="attestation", since=since)
        recorded: dict[str, dict[str, str]] = {}
        for item in records.read_items(connection):
            recorded.setdefault(item.scan_id, {})[item.kind] = item.sha256
    trust = verification.trust_of(settings)
    contents = ObjectStore(settings.store).get_many(item.object_key for item in attestations)
    found: list[Finding] = []
    for item, content in zip(attestations, contents, strict=True):
        finding = verification.verify_content(item, content)
        if finding is None and content is not None:
            finding = verification.verify_attestation(item, content, recorded[item.scan_id], trust)
        if finding is not None:
            found.append(finding)
    valid = len(attestations) - len(found)
    rows = tuple((finding.id, finding.code, finding.detail) for finding in found)
    return Answer(
        ok=not found,
        facts={
            "since": instants.rfc3339(since),
            "attestations": len(attestations),
            "valid": valid,
            "invalid": [finding.id for finding in found],
        },
        summary=f"{valid} of {len(attestations)} attestations since {instants.rfc3339(since)} are valid",
        tables=(Table(title="Invalid", columns=("id", "code", "detail"), rows=rows),) if rows else (),
    )


def verify_bundle(namespace: str, bundle: Path) -> Answer:
    """Verify the attestation in a bundle file with the keys of a deployment."""
    settings = deployment.find(Cluster.from_kubeconfig(), namespace).settings
    try:
        keyid = check_bundle(bundle.read_bytes(), verification.trust_of(settings))
    except BundleError as fault:
        return Answer(
            ok=False, facts={"valid": False, "keyid": None, "reason": str(fault)}, summary=f"{bundle}: {fault}"
        )
    reason = "a trusted key signed the attestation, and its subjects are the bundle's files"
    return Answer(
        ok=True,
        facts={"valid": True, "keyid": keyid, "reason": reason},
        summary=f"{bundle}: {reason} (key {keyid[:16]}…)",
    )


def check_bundle(content: bytes, trust: Trust) -> str:
    """Verify a bundle and return the id of the key that signed its attestation.

    Raises: BundleError.
    """
    files = read_bundle(content)
    names = makers.BUNDLE_NAMES
    if set(files) != set(names.values()):
        raise BundleError(f"it holds {', '.join(sorted(files)) or 'nothing'}, expected {', '.join(names.values())}")
    try:
        payload, keyid = dsse.verify(dsse.read(files[names["attestation"]]), dsse.IN_TOTO, trust.signers)
        subjects = verification.subjects_of(payload)
    except (dsse.SignatureInvalidError, ValueError) as cause:
        raise BundleError(f"the attestation is not valid: {cause}") from cause
    for kind in ("oci-manifest", "sbom"):
        name = names[kind]
        actual = leaves.digest(files[name])
        if subjects.get(name) != actual:
            raise BundleError(f"{name} has sha256:{actual}, the attestation says sha256:{subjects.get(name)}")
    return keyid


def read_bundle(content: bytes) -> dict[str, bytes]:
    """Return the files of a bundle by name. Raises: BundleError when it is no bundle, or too large."""
    try:
        inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        raw = inflate.decompress(content, BUNDLE_LIMIT_BYTES)
        if not inflate.eof:
            over = "it is longer than a bundle may be" if inflate.unconsumed_tail else "it ends early"
            raise BundleError(f"not a whole bundle: {over}")
        if inflate.unused_data:
            raise BundleError(f"{len(inflate.unused_data)} bytes follow the archive")
        files: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file is None or member.size > MEMBER_LIMIT_BYTES or member.name in files:
                    raise BundleError(f"member {member.name!r} is not one regular file of a bundle")
                files[member.name] = file.read()
    except (zlib.error, tarfile.TarError, EOFError, OSError) as cause:
        raise BundleError(f"not a tar.gz archive: {cause}") from cause
    return files
