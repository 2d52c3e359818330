"""Functional validation (4.2): the platform's own tests, a scan that writes nothing, a forgery that is noticed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.errors import CouldNotMeasure, TargetInvalid
from cutover.evidence import dsse, snapshot
from cutover.evidence import trust as trust_roots
from cutover.evidence.errors import EvidenceError
from cutover.files import write_whole
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

ATTESTATION = "attestation.dsse.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTraces:
    """What the database holds of one image; other images' scans, which the load makes, do not count."""

    scans: int
    evidence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """A dry run of a scan, and what it left behind."""

    image: str
    """The image that was asked for."""
    answered_image: str
    components: int
    findings: int
    is_dry: bool
    """The platform says so: it queued no scan and wrote no item."""
    before: ImageTraces
    after: ImageTraces


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
    """Scan the target's test image as a dry run, counting that image's scans and evidence before and after (4.2b)."""
    image = upgrade.target.fixtures.scan_image
    before = _traces(site, image)
    answer = site.stella.call("scan", "--image", image, "--dry-run", namespace=upgrade.roles.green.namespace)
    return DryRun(
        image=image,
        answered_image=str(answer["image"]),
        components=int(answer["components"]),
        findings=sum(answer["findings"].values()),
        is_dry=answer["dry_run"] is True and answer["written"] == 0 and answer["scan_id"] is None,
        before=before,
        after=_traces(site, image),
    )


def _traces(site: Site, image: str) -> ImageTraces:
    return ImageTraces(scans=site.database.scans_of_image(image), evidence=site.database.evidence_of_image(image))


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
    write_whole(tampered, _tamper(content))
    reasons: list[str] = []
    ours = [
        _harness_accepts(data, upgrade.target.evidence.trust_root, reasons) for data in (content, tampered.read_bytes())
    ]
    green = upgrade.roles.green.namespace
    theirs = [
        bool(site.stella.call("attest", "verify", "--bundle", str(path), namespace=green, check=False)["ok"])
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
    contents = _contents(bundle)
    try:
        verified = snapshot.verify_attestation(
            contents[ATTESTATION], dsse.KeyRing(trust.attestation_keys), item="the test bundle"
        )
    except EvidenceError as error:
        reasons.append(f"{error.code}: {error}")
        return False
    differing = _not_attested(contents, verified.payload)
    reasons.extend(differing)
    return not differing


def _not_attested(contents: Mapping[str, bytes], statement: bytes) -> list[str]:
    """Compare a bundle's files with the subjects of its signed in-toto statement, both ways; say what differs.

    Source: in-toto Attestation Framework, Statement v1: `subject`, each with a name and a DigestSet.
    """
    try:
        attested = {str(one["name"]): str(one["digest"]["sha256"]) for one in json.loads(statement)["subject"]}
    except (ValueError, TypeError, KeyError):
        return ["the attestation names no subjects with their sha256"]
    found = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items() if name != ATTESTATION}
    return [
        f"{name}: attested {attested.get(name, 'nothing')}, in the bundle {found.get(name, 'nothing')}"
        for name in sorted(attested.keys() | found.keys())
        if attested.get(name) != found.get(name)
    ] or ([] if attested else ["the attestation names no subjects"])


def _attestation(bundle: bytes) -> bytes:
    return _contents(bundle)[ATTESTATION]


def _contents(bundle: bytes) -> dict[str, bytes]:
    """Return the files of a bundle by name; an attestation is among them."""
    try:
        with tarfile.open(fileobj=io.BytesIO(bundle), mode="r:gz") as archive:
            found = {
                member.name: (archive.extractfile(member) or io.BytesIO()).read()
                for member in archive.getmembers()
                if not member.isdir()
            }
    except (KeyError, tarfile.TarError, zlib.error, OSError, EOFError) as error:
        raise _unreadable(str(error)) from error
    if ATTESTATION not in found:
        raise _unreadable(f"no {ATTESTATION} among {', '.join(sorted(found)) or 'no files'}")
    return found


def _unreadable(seen: str) -> CouldNotMeasure:
    return CouldNotMeasure(
        "the test bundle holds no attestation",
        code="bundle-unreadable",
        seen=seen,
        do="correct [fixtures] attestation_bundle in the target file",
    )


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
