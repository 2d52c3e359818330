"""Functional validation (4.2): the platform's own tests, a scan that writes nothing, a forgery that is noticed."""

from __future__ import annotations

import base64
import io
import json
import secrets
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.errors import CouldNotMeasure, TargetInvalid
from cutover.evidence import dsse
from cutover.evidence import trust as trust_roots
from cutover.evidence.errors import EvidenceError
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

ATTESTATION = "attestation.dsse.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """A dry run of a scan, and what it left behind."""

    image: str
    findings: int
    is_dry: bool
    scans_before: int
    scans_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleVerdicts:
    """What the platform and the harness say of a bundle and of a tampered copy of it."""

    platform_accepts: bool
    platform_accepts_tampered: bool
    harness_accepts: bool
    harness_accepts_tampered: bool
    reasons: tuple[str, ...]


def round_trip(site: Site, upgrade: Upgrade) -> None:
    """Write a marker through the public host and read it back from the database and through the host (4.2a).

    Raises:
        ClauseFailed: it is not there, or not served by green.
    """
    run, green = f"round-trip-{upgrade.id}-{secrets.token_hex(4)}", upgrade.roles.green
    written = site.public.send("POST", "/api/v1/markers", body={"run": run, "number": 1})
    read = site.public.get(f"/api/v1/markers/{run}")
    rows = site.database.markers(run)
    expect(
        written.status == 201 and read.status == 200 and tuple(rows) == (1,) and written.colour == green.name,
        "a write through the public host does not come back",
        seen=f"write {written.status} by {written.colour}, read {read.status} by {read.colour}, rows {tuple(rows)}",
        expected=f"write 201 by {green.name}, read 200, row 1",
        do="read the log of green's pods",
        code="round-trip-failed",
    )


def scan_dry(site: Site, upgrade: Upgrade) -> DryRun:
    """Scan the target's test image as a dry run, counting that image's scans before and after (4.2b)."""
    image = upgrade.target.fixtures.scan_image
    before = site.database.scans_of_image(image)
    answer = site.stella.call("scan", "--image", image, "--dry-run", namespace=upgrade.roles.green.namespace)
    return DryRun(
        image=image,
        findings=int(answer["findings"]) if isinstance(answer["findings"], int) else len(answer["findings"]),
        is_dry=bool(answer["dry_run"]) and answer["written"] == 0,
        scans_before=before,
        scans_after=site.database.scans_of_image(image),
    )


def verify_bundle(site: Site, upgrade: Upgrade) -> BundleVerdicts:
    """Let the platform and the harness judge the test bundle and a tampered copy (4.2c)."""
    bundle = upgrade.target.fixtures.attestation_bundle
    try:
        content = bundle.read_bytes()
    except OSError as error:
        raise TargetInvalid(
            "the test bundle cannot be read",
            code="bundle-missing",
            seen=str(error),
            do="correct [fixtures] attestation_bundle in the target file",
        ) from error
    tampered = upgrade.path("artifacts", "bundles", "tampered.tar.gz")
    tampered.write_bytes(_tamper(content))
    reasons: list[str] = []
    ours = [
        _harness_accepts(data, upgrade.target.evidence.trust_root, reasons) for data in (content, tampered.read_bytes())
    ]
    theirs = [
        bool(site.stella.call("attest", "verify", "--bundle", str(path), check=False)["ok"])
        for path in (bundle, tampered)
    ]
    return BundleVerdicts(
        platform_accepts=theirs[0],
        platform_accepts_tampered=theirs[1],
        harness_accepts=ours[0],
        harness_accepts_tampered=ours[1],
        reasons=tuple(reasons),
    )


def _harness_accepts(bundle: bytes, trust_root: Path, reasons: list[str]) -> bool:
    trust = trust_roots.load(trust_root)
    try:
        dsse.verify(_attestation(bundle), trust.attestation_keys)
    except EvidenceError as error:
        reasons.append(f"{error.code}: {error}")
        return False
    return True


def _attestation(bundle: bytes) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(bundle), mode="r:gz") as archive:
            return (archive.extractfile(ATTESTATION) or io.BytesIO()).read()
    except (KeyError, tarfile.TarError, OSError, EOFError) as error:
        raise CouldNotMeasure(
            "the test bundle holds no attestation",
            code="bundle-unreadable",
            seen=str(error),
            do="correct [fixtures] attestation_bundle in the target file",
        ) from error


def _tamper(bundle: bytes) -> bytes:
    """Change one digit that was signed and pack the bundle again: well-formed, but another statement."""
    envelope = json.loads(_attestation(bundle))
    payload = bytearray(base64.b64decode(envelope["payload"]))
    position = payload.index(b"sha256") + len(b'sha256":"') + 1
    payload[position] = ord("0") if payload[position] != ord("0") else ord("1")
    envelope["payload"] = base64.b64encode(bytes(payload)).decode()
    forged = json.dumps(envelope).encode()
    target = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(bundle), mode="r:gz") as source,
        tarfile.open(fileobj=target, mode="w:gz") as copy,
    ):
        for member in source.getmembers():
            data = forged if member.name == ATTESTATION else (source.extractfile(member) or io.BytesIO()).read()
            member.size = len(data)
            copy.addfile(member, io.BytesIO(data))
    return target.getvalue()
