"""A small site in memory: evidence, its tree, its log, and the keys; every test owns a copy and may tamper with it.

`World` implements the protocols of `cutover.evidence.sources` itself. It signs, which the package under test never
does.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import rfc8785
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from cutover.evidence import checkpoint, dsse, snapshot, trust
from cutover.evidence.sources import ContentMissing, CrossReference, EvidenceRow, Leaf, LogEntry, RowList, SignedRoot
from tests.evidence import reference

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = "log.stella.test"
START = datetime(2027, 4, 1, 8, 0, tzinfo=UTC)
SIGNER = ec.derive_private_key(20270401, ec.SECP256R1())
STRANGER = ec.derive_private_key(20270402, ec.SECP256R1())
LOG_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_LOG_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
ROOT_TYPE = "application/vnd.stella.merkle-root+json"
CROSS_REFERENCE_TYPE = "application/vnd.stella.merkle-crossref+json"
IN_TOTO = "application/vnd.in-toto+json"


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def verifier_key(key: ed25519.Ed25519PrivateKey, name: str = ORIGIN) -> str:
    material = b"\x01" + key.public_key().public_bytes_raw()
    key_id = sha256(name.encode() + b"\n" + material).digest()[:4]
    return f"{name}+{key_id.hex()}+{base64.b64encode(material).decode()}"


def trust_file(key: ec.EllipticCurvePrivateKey = SIGNER, log_key: ed25519.Ed25519PrivateKey = LOG_KEY) -> bytes:
    log = {"origin": ORIGIN, "key": verifier_key(log_key)}
    return json.dumps({"attestation_keys": [pem(key)], "log": log}).encode()


TRUST = trust.parse(trust_file())


def sign(kind: str, payload: bytes, key: ec.EllipticCurvePrivateKey = SIGNER) -> dict[str, Any]:
    """Make a DSSE envelope by one key, its keyid included."""
    message = b"DSSEv1 %d %b %d %b" % (len(kind.encode()), kind.encode(), len(payload), payload)
    signature = key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return {
        "payloadType": kind,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": dsse.key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}],
    }


def sign_note(
    size: int, root: bytes, key: ed25519.Ed25519PrivateKey = LOG_KEY, *, name: str = ORIGIN, origin: str = ORIGIN
) -> str:
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    material = b"\x01" + key.public_key().public_bytes_raw()
    signature = checkpoint.key_hash(name, material) + key.sign(text.encode())
    return f"{text}\n— {name} {base64.b64encode(signature).decode()}\n"


def leaf(data: object) -> bytes:
    return sha256(b"\x00" + rfc8785.dumps(data)).digest()  # type: ignore[arg-type]


def row_leaf(row: EvidenceRow, schema: int) -> bytes:
    fields: dict[str, object] = {"id": row.id, "kind": row.kind, "sha256": row.sha256}
    if schema == 2:
        created = row.created.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        fields |= {"created": created, "size_bytes": row.size_bytes}
    return leaf(fields)


def item(index: int) -> str:
    return f"ev-{index:012d}"


@dataclass
class World:
    """The site. Lists are in index order; `notes` are the log's checkpoints, the newest last."""

    rows: list[EvidenceRow] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    stored_leaves: dict[int, list[Leaf]] = field(default_factory=lambda: {1: []})
    stored_roots: dict[int, list[SignedRoot]] = field(default_factory=lambda: {1: [], 2: []})
    references: list[CrossReference] = field(default_factory=list)
    log_entries: list[LogEntry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, scans: int) -> World:
        world = cls()
        for _ in range(scans):
            world.scan()
        return world

    # What the platform does

    def scan(self) -> None:
        """Make the four items of one scan, their leaves, a signed root, their log entries, a checkpoint."""
        number = len(self.rows) // 4
        sbom = json.dumps({"bomFormat": "CycloneDX", "serialNumber": f"urn:uuid:{number}"}, indent=1).encode()
        digest = f"sha256:{sha256(sbom).hexdigest()}"
        config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": f"sha256:{sha256(b'{}').hexdigest()}"}
        layer = {"mediaType": "application/vnd.cyclonedx+json", "digest": digest, "size": len(sbom)}
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": kind, "config": config | {"size": 2}, "layers": [layer]}
        ).encode()
        statement = {"_type": "https://in-toto.io/Statement/v1", "predicate": {"scan": number}}
        attestation = rfc8785.dumps(sign(IN_TOTO, rfc8785.dumps(statement)))  # type: ignore[arg-type]
        self.add("oci-manifest", manifest)
        self.add("sbom", sbom)
        self.add("attestation", attestation)
        self.add("bundle", b"bundle %d " % number + sbom)
        self.sign_roots()
        self.notes.append(self.note())

    def add(self, kind: str, content: bytes) -> None:
        index = len(self.rows)
        digest = sha256(content).hexdigest()
        key = f"evidence/{digest[:2]}/{digest}"
        row = EvidenceRow(
            id=item(index),
            kind=kind,
            media_type=f"application/x-{kind}",
            size_bytes=len(content),
            sha256=digest,
            object_key=key,
            leaf_index=index,
            log_index=index,
            signer_key_id=dsse.key_id(SIGNER.public_key()) if kind == "attestation" else None,
            created=START + timedelta(seconds=index, microseconds=index),
        )
        self.objects[key] = content
        self.rows.append(row)
        for schema, stored in self.stored_leaves.items():
            stored.append(Leaf(index=index, evidence_id=row.id, leaf_hash=row_leaf(row, schema)))
        data = rfc8785.dumps({"evidence_id": row.id, "kind": kind, "sha256": digest})
        self.log_entries.append(LogEntry(index=index, data=data, leaf_hash=sha256(b"\x00" + data).digest()))

    def sign_roots(self) -> None:
        for schema in self.stored_leaves:
            self.stored_roots[schema].append(self.signed_root(schema, len(self.rows)))

    def signed_root(self, schema: int, size: int, key: ec.EllipticCurvePrivateKey = SIGNER) -> SignedRoot:
        root = self.root(schema, size)
        statement = {
            "schema_version": schema,
            "size": size,
            "root": root.hex(),
            "created": "2027-04-01T08:00:00.000000Z",
        }
        envelope = sign(ROOT_TYPE, rfc8785.dumps(statement), key)  # type: ignore[arg-type]
        return SignedRoot(schema=schema, size=size, root=root, envelope=envelope)

    def root(self, schema: int, size: int) -> bytes:
        return reference.root([row_leaf(row, schema) for row in self.rows[:size]])

    def expand(self) -> None:
        """Add leaf schema 2 beside schema 1: derive its leaves, sign its root and the cross-reference."""
        self.stored_leaves[2] = [
            Leaf(index=row.leaf_index, evidence_id=row.id, leaf_hash=row_leaf(row, 2)) for row in self.rows
        ]
        self.stored_roots[2].append(self.signed_root(2, len(self.rows)))
        self.references.append(self.cross_reference(len(self.rows)))

    def cross_reference(self, size: int, key: ec.EllipticCurvePrivateKey = SIGNER) -> CrossReference:
        old, new = self.root(1, size), self.root(2, size)
        statement = {"size": size, "old_schema": 1, "new_schema": 2, "old_root": old.hex(), "new_root": new.hex()}
        envelope = sign(CROSS_REFERENCE_TYPE, rfc8785.dumps(statement), key)  # type: ignore[arg-type]
        return CrossReference(size=size, old_schema=1, new_schema=2, old_root=old, new_root=new, envelope=envelope)

    def note(self, key: ed25519.Ed25519PrivateKey = LOG_KEY) -> str:
        hashed = [sha256(b"\x00" + entry.data).digest() for entry in self.log_entries]
        return sign_note(len(hashed), reference.root(hashed), key)

    # What the harness reads: ContentSource, TreeSource, LogSource

    def open(self, key: str) -> list[bytes]:
        content = self.objects.get(key)
        if content is None:
            raise ContentMissing(key)
        return [content[start : start + 64] for start in range(0, len(content), 64)]

    def schemas(self) -> tuple[int, ...]:
        return tuple(sorted(self.stored_leaves))

    def leaves(self, schema: int) -> list[Leaf]:
        return self.stored_leaves[schema]

    def roots(self, schema: int) -> list[SignedRoot]:
        return self.stored_roots.get(schema, [])

    def cross_references(self) -> list[CrossReference]:
        return self.references

    def checkpoint(self) -> str | None:
        return self.notes[-1] if self.notes else None

    def entries(self, start: int, end: int) -> list[LogEntry]:
        return [entry for entry in self.log_entries if start <= entry.index < end]

    def snapshot(self, folder: Path, *, trust_root: trust.TrustRoot = TRUST) -> Path:
        snapshot.take(RowList(self.rows), self, folder, trust=trust_root, log=self)
        return folder
