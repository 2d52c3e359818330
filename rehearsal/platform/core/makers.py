"""What a scan makes: an SBOM, an OCI manifest over it, a signed attestation about it, and a bundle of the three.

Where a size is asked for, every item has exactly that many bytes and is still what its kind says: manifest, SBOM and
statement carry a property of filler, the bundle a comment in its gzip header.

Invariants: every byte follows from the scan's id, its image, its time, the signing key and the size asked for, so a
repeated attempt makes the same evidence; every digest inside one item is the digest of the real bytes of another.
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
from collections.abc import Mapping
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

#: The sizes that items may be asked to have: below, a manifest with its filler or a bundle might not fit.
MIN_SIZE_BYTES, MAX_SIZE_BYTES = 4096, 65536
_FILLER = "."
_FILLER_KEY = "example.stellaops.filler"
_ENVELOPE_BYTES = 256  # an envelope but for its payload, its signature at its longest
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


def make_sbom(scan: Scan, size_bytes: int | None = None) -> bytes:
    """Give the SBOM of a scan; with a size it lists as many packages as fit.  Source: CycloneDX 1.6, JSON.

    Raises:
        ValueError: an SBOM without a package is longer.

    """
    found = components(scan.image)
    if size_bytes is None:
        return _pretty(_sbom(scan, found, {}))
    while True:
        short = size_bytes - len(_pretty(_sbom(scan, found, _property(0))))
        if short >= 0:
            return _pretty(_sbom(scan, found, _property(short)))
        if not found:
            raise ValueError(f"an SBOM of {size_bytes} bytes cannot be made")
        found.pop()


def _property(length: int) -> dict[str, Any]:
    """Give the CycloneDX properties that hold filler."""
    return {"properties": [{"name": "stellaops:filler", "value": _FILLER * length}]}


def _pretty(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2).encode()


def _sbom(scan: Scan, found: list[dict[str, Any]], more: Mapping[str, Any]) -> dict[str, Any]:
    name, _, tag = scan.image.rpartition(":")
    root = f"pkg:oci/{(name or tag).rpartition('/')[2]}@sha256:{image_digest(scan.image)}"
    return {
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
            **more,
        },
        "components": found,
        "dependencies": [{"ref": root, "dependsOn": [component["purl"] for component in found]}],
    }


def make_manifest(scan: Scan, sbom: bytes, size_bytes: int | None = None) -> bytes:
    """Give the OCI artifact manifest whose layer is the SBOM.  Source: OCI image-spec 1.1, artifact usage.

    Raises:
        ValueError: a manifest is longer than the size asked for.

    """
    if size_bytes is None:
        return _manifest(scan, sbom, {})
    short = _short(size_bytes, _manifest(scan, sbom, {_FILLER_KEY: ""}), "a manifest")
    return _manifest(scan, sbom, {_FILLER_KEY: _FILLER * short})


def _short(size_bytes: int, without: bytes, what: str) -> int:
    if len(without) > size_bytes:
        raise ValueError(f"{what} of {size_bytes} bytes cannot be made")
    return size_bytes - len(without)


def _manifest(scan: Scan, sbom: bytes, more: Mapping[str, str]) -> bytes:
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
            **more,
        },
    }
    return json.dumps(manifest, separators=(",", ":")).encode()


def make_attestation(
    scan: Scan, sbom: bytes, manifest: bytes, key: ec.EllipticCurvePrivateKey, size_bytes: int | None = None
) -> bytes:
    """Give the signed attestation about manifest and SBOM.  Source: in-toto Statement v1 in a DSSE envelope.

    Raises:
        ValueError: an attestation is longer than the size asked for.

    """
    statement = _statement(scan, sbom, manifest)
    if size_bytes is None:
        return canonical.encode(dsse.sign_statement(dsse.IN_TOTO, statement, key))
    statement["predicate"]["filler"] = ""
    # An envelope is the payload in base64, three bytes in four characters, and a signature of 92 to 96 characters: the
    # signed filler comes close, and blanks after the document, which JSON allows, do the rest.
    around = _ENVELOPE_BYTES + -(-len(canonical.encode(statement)) // 3) * 4
    statement["predicate"]["filler"] = _FILLER * (max(size_bytes - around, 0) // 4 * 3)
    envelope = canonical.encode(dsse.sign_statement(dsse.IN_TOTO, statement, key))
    return envelope + b" " * _short(size_bytes, envelope, "an attestation")


def _statement(scan: Scan, sbom: bytes, manifest: bytes) -> dict[str, Any]:
    return {
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


def make_bundle(
    scan: Scan, *, manifest: bytes, sbom: bytes, attestation: bytes, size_bytes: int | None = None
) -> bytes:
    """Give the gzipped tar of the three; times are the scan's, owners are nobody, so the bytes are reproducible.

    Raises:
        ValueError: the archive is longer than the size asked for.

    """
    raw = io.BytesIO()
    contents = {"oci-manifest": manifest, "sbom": sbom, "attestation": attestation}
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for kind, name in BUNDLE_NAMES.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents[kind])
            member.mtime = int(scan.created.timestamp())
            archive.addfile(member, io.BytesIO(contents[kind]))
    plain = gzip.compress(raw.getvalue(), compresslevel=6, mtime=0)
    return plain if size_bytes is None else _with_comment(plain, size_bytes)


def _with_comment(plain: bytes, size_bytes: int) -> bytes:
    """Put a comment into the header of a gzip file so that it has this size.  Source: RFC 1952 §2.3, FCOMMENT."""
    length = _short(size_bytes, plain + b"\0", "a bundle")
    head = plain[:3] + b"\x10" + plain[4:10]
    return head + _FILLER.encode() * length + b"\0" + plain[10:]


def make_evidence(scan: Scan, key: ec.EllipticCurvePrivateKey, size_bytes: int | None = None) -> tuple[Item, ...]:
    """Make the four items of a scan, in the order of `KINDS`; with a size, each of exactly so many bytes.

    Raises:
        ValueError: one of them is longer than the size asked for.

    """
    sbom = make_sbom(scan, size_bytes)
    manifest = make_manifest(scan, sbom, size_bytes)
    attestation = make_attestation(scan, sbom, manifest, key, size_bytes)
    bundle = make_bundle(scan, manifest=manifest, sbom=sbom, attestation=attestation, size_bytes=size_bytes)
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
