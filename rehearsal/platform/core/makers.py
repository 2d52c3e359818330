"""What a scan makes: an SBOM, an OCI manifest over it, a signed attestation about it, and a bundle of the three.

Invariants: every byte follows from the scan's id, its image, its time and the signing key, so a repeated attempt makes
the same evidence; every digest inside one item is the digest of the real bytes of another.
"""

import base64
import dataclasses
import datetime as dt
import gzip
import hashlib
import io
import json
import tarfile
import uuid
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from rehearsal.platform.core import canonical, dsse, keys, leaves

KINDS = ("oci-manifest", "sbom", "attestation", "bundle")
MEDIA_TYPES = {
    "oci-manifest": "application/vnd.oci.image.manifest.v1+json",
    "sbom": "application/vnd.cyclonedx+json",
    "attestation": "application/vnd.dsse.envelope.v1+json",
    "bundle": "application/vnd.stella.evidence-bundle.v1.tar+gzip",
}
#: What the files of a bundle are called, in their order in the archive.
BUNDLE_NAMES = {"oci-manifest": "manifest.json", "sbom": "sbom.cdx.json", "attestation": "attestation.dsse.json"}
ARTIFACT_TYPE = "application/vnd.stella.scan.v1+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://stellaops.example/attestation/scan/v1"

_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122: names that are URLs
_EMPTY = b"{}"
_PACKAGES = (
    ("deb", "debian", "libc6", "2.41-12"),
    ("deb", "debian", "libssl3t64", "3.5.1-1"),
    ("deb", "debian", "zlib1g", "1:1.3.dfsg+really1.3.1-1"),
    ("deb", "debian", "ca-certificates", "20250419"),
    ("deb", "debian", "libcurl4t64", "8.14.1-2"),
    ("deb", "debian", "libsqlite3-0", "3.46.1-7"),
    ("deb", "debian", "libxml2", "2.12.7+dfsg-2.1"),
    ("deb", "debian", "tzdata", "2025b-4"),
    ("golang", "github.com/spf13", "cobra", "v1.9.1"),
    ("golang", "github.com/prometheus", "client_golang", "v1.22.0"),
    ("golang", "golang.org/x", "crypto", "v0.41.0"),
    ("golang", "golang.org/x", "net", "v0.43.0"),
    ("golang", "google.golang.org", "grpc", "v1.74.2"),
    ("golang", "google.golang.org", "protobuf", "v1.36.7"),
    ("maven", "com.fasterxml.jackson.core", "jackson-databind", "2.19.2"),
    ("maven", "io.netty", "netty-handler", "4.2.3.Final"),
    ("maven", "org.apache.logging.log4j", "log4j-core", "2.25.1"),
    ("maven", "org.postgresql", "postgresql", "42.7.7"),
    ("maven", "org.slf4j", "slf4j-api", "2.0.17"),
    ("npm", None, "express", "5.1.0"),
    ("npm", None, "lodash", "4.17.21"),
    ("npm", None, "undici", "7.13.0"),
    ("npm", None, "ws", "8.18.3"),
    ("npm", None, "zod", "4.0.15"),
    ("pypi", None, "certifi", "2025.8.3"),
    ("pypi", None, "cryptography", "45.0.6"),
    ("pypi", None, "jinja2", "3.1.6"),
    ("pypi", None, "requests", "2.32.4"),
    ("pypi", None, "urllib3", "2.5.0"),
)
_SEVERITIES = ("critical", "high", "medium", "low")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One scan as it was asked for."""

    id: str
    image: str
    created: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One piece of evidence: its bytes, and what is written about them."""

    kind: str
    media_type: str
    content: bytes
    sha256: str
    signer_keyid: str | None

    @property
    def object_key(self) -> str:
        """Where the store keeps the content."""
        return leaves.object_key(self.sha256)


def image_digest(image: str) -> str:
    """Give the digest (64 hex digits) under which this platform resolves an image's name."""
    return hashlib.sha256(f"image {image}".encode()).hexdigest()


def components(image: str) -> list[dict[str, Any]]:
    """Give the CycloneDX components found in an image: 8 to 23 packages, fixed by its name."""
    seed = hashlib.sha256(f"packages {image}".encode()).digest()
    chosen = sorted({byte % len(_PACKAGES) for byte in seed[: 8 + seed[-1] % 16]})
    found = []
    for index in chosen:
        kind, group, name, version = _PACKAGES[index]
        path = f"{group}/{name}" if group else name
        purl = f"pkg:{kind}/{path}@{version}"
        component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        if group:
            component["group"] = group
        found.append(component)
    return found


def findings(image: str) -> dict[str, int]:
    """Give how many findings of each severity an image has, fixed by its name."""
    seed = hashlib.sha256(f"findings {image}".encode()).digest()
    return {severity: seed[index] % (1 + 2 * index) for index, severity in enumerate(_SEVERITIES)}


def make_sbom(scan: Scan) -> bytes:
    """Give the SBOM of a scan.  Source: CycloneDX 1.6, JSON."""
    name, _, tag = scan.image.rpartition(":")
    found = components(scan.image)
    root = f"pkg:oci/{(name or tag).rpartition('/')[2]}@sha256:{image_digest(scan.image)}"
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, 'stella scan ' + scan.id)}",
        "version": 1,
        "metadata": {
            "timestamp": canonical.timestamp(scan.created),
            "tools": {"components": [{"type": "application", "name": "stella-scanner", "version": "4.2.0"}]},
            "component": {
                "type": "container",
                "bom-ref": root,
                "name": name or tag,
                "version": tag if name else "latest",
                "purl": root,
                "hashes": [{"alg": "SHA-256", "content": image_digest(scan.image)}],
            },
        },
        "components": found,
        "dependencies": [{"ref": root, "dependsOn": [component["purl"] for component in found]}],
    }
    return json.dumps(document, indent=2).encode()


def make_manifest(scan: Scan, sbom: bytes) -> bytes:
    """Give the OCI artifact manifest whose layer is the SBOM.  Source: OCI image-spec 1.1, artifact usage."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPES["oci-manifest"],
        "artifactType": ARTIFACT_TYPE,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:" + leaves.digest(_EMPTY),
            "size": len(_EMPTY),
            "data": base64.b64encode(_EMPTY).decode(),
        },
        "layers": [
            {"mediaType": MEDIA_TYPES["sbom"], "digest": "sha256:" + leaves.digest(sbom), "size": len(sbom)},
        ],
        "annotations": {
            "org.opencontainers.image.created": canonical.timestamp(scan.created),
            "org.opencontainers.image.ref.name": scan.image,
            "example.stellaops.scan": scan.id,
        },
    }
    return json.dumps(manifest, separators=(",", ":")).encode()


def make_attestation(scan: Scan, sbom: bytes, manifest: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Give the signed attestation about manifest and SBOM.  Source: in-toto Statement v1 in a DSSE envelope."""
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": BUNDLE_NAMES["oci-manifest"], "digest": {"sha256": leaves.digest(manifest)}},
            {"name": BUNDLE_NAMES["sbom"], "digest": {"sha256": leaves.digest(sbom)}},
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "scan": {
                "id": scan.id,
                "image": scan.image,
                "imageDigest": {"sha256": image_digest(scan.image)},
                "startedOn": canonical.timestamp(scan.created),
            },
            "findings": findings(scan.image),
        },
    }
    return canonical.encode(dsse.sign_statement(dsse.IN_TOTO, statement, key))


def make_bundle(scan: Scan, *, manifest: bytes, sbom: bytes, attestation: bytes) -> bytes:
    """Give the gzipped tar of the three; times are the scan's, owners are nobody, so the bytes are reproducible."""
    raw = io.BytesIO()
    contents = {"oci-manifest": manifest, "sbom": sbom, "attestation": attestation}
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for kind, name in BUNDLE_NAMES.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents[kind])
            member.mtime = int(scan.created.timestamp())
            archive.addfile(member, io.BytesIO(contents[kind]))
    return gzip.compress(raw.getvalue(), compresslevel=6, mtime=0)


def make_evidence(scan: Scan, key: ec.EllipticCurvePrivateKey) -> tuple[Item, ...]:
    """Make the four items of a scan, in the order of `KINDS`."""
    sbom = make_sbom(scan)
    manifest = make_manifest(scan, sbom)
    attestation = make_attestation(scan, sbom, manifest, key)
    bundle = make_bundle(scan, manifest=manifest, sbom=sbom, attestation=attestation)
    contents = {"oci-manifest": manifest, "sbom": sbom, "attestation": attestation, "bundle": bundle}
    signer = keys.key_id(key.public_key())
    return tuple(
        Item(
            kind=kind,
            media_type=MEDIA_TYPES[kind],
            content=contents[kind],
            sha256=leaves.digest(contents[kind]),
            signer_keyid=signer if kind == "attestation" else None,
        )
        for kind in KINDS
    )
