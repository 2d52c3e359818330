"""A whole Sigstore of our own, in memory: an authority, a certificate log, two kinds of Rekor, a timestamp authority.

It makes bundles as the public instance does, from the specifications and not with the verifying library's own models,
so that an error shared by both would show. Every key and every signature is deterministic: the same call makes the
same bytes. `Instance` is what a test tampers with, part by part.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.evidence import reference

IDENTITY = "https://forge.example/stella/.github/workflows/release.yaml@refs/tags/v1"
ISSUER = "https://token.forge.example"
ARTIFACT = b"a release artifact\n"
IN_TOTO = "application/vnd.in-toto+json"
SINCE = datetime(2025, 1, 1, tzinfo=UTC)
SIGNED = datetime(2025, 4, 1, 12, 0, 5, tzinfo=UTC)
BUNDLE_0_1 = "application/vnd.dev.sigstore.bundle+json;version=0.1"
BUNDLE_0_2 = "application/vnd.dev.sigstore.bundle+json;version=0.2"
BUNDLE_0_3 = "application/vnd.dev.sigstore.bundle.v0.3+json"

_FULCIO = "1.3.6.1.4.1.57264.1"
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_SHA256 = hashes.SHA256()


def key(number: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(57264_000 + number, ec.SECP256R1())


def sign(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, message: bytes) -> bytes:
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(message, padding.PKCS1v15(), _SHA256)
    return private.sign(message, ec.ECDSA(_SHA256, deterministic_signing=True))


def spki(public: Any) -> bytes:  # noqa: ANN401 - any public key of the library
    return bytes(public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def statement(artifact: bytes = ARTIFACT, **fields: object) -> bytes:
    """Return an in-toto statement about an artifact."""
    subject = [{"name": "release", "digest": {"sha256": sha256(artifact).hexdigest()}}]
    whole = {"_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicateType": "p", "predicate": {}}
    return json.dumps(whole | fields).encode()


# DER, as much of it as a timestamp needs (X.690)


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    if size < 128:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def der_integer(number: int) -> bytes:
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def der_oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    body = bytearray([first * 40 + second])
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        body += bytes(reversed(groups))
    return der(0x06, bytes(body))


SEQUENCE, SET, OCTETS = 0x30, 0x31, 0x04
SHA256_ALGORITHM = der(SEQUENCE, der_oid("2.16.840.1.101.3.4.2.1"))
TST_INFO = der_oid("1.2.840.113549.1.9.16.1.4")


@dataclass(kw_only=True)
class Authority:
    """A root and an intermediate under it. Fulcio issues with the intermediate; a timestamp authority is its leaf."""

    name: str
    number: int

    @cached_property
    def root(self) -> x509.Certificate:
        return self._authority(f"{self.name} root", f"{self.name} root", key(self.number), key(self.number))

    @cached_property
    def intermediate(self) -> x509.Certificate:
        return self._authority(
            f"{self.name} intermediate", f"{self.name} root", key(self.number + 1), key(self.number), path_length=0
        )

    @property
    def issuing_key(self) -> ec.EllipticCurvePrivateKey:
        return key(self.number + 1)

    def leaf(
        self,
        public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
        *,
        since: datetime,
        until: datetime,
        usage: x509.ObjectIdentifier,
        extensions: list[tuple[x509.ExtensionType, bool]],
        subject: str = "",
    ) -> x509.CertificateBuilder:
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subject) if subject else x509.Name([]))
            .issuer_name(self.intermediate.subject)
            .public_key(public)
            .serial_number(int.from_bytes(sha256(spki(public)).digest()[:8], "big") | 1)
            .not_valid_before(since)
            .not_valid_after(until)
            .add_extension(_key_usage(signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=usage == ExtendedKeyUsageOID.TIME_STAMPING)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.issuing_key.public_key()), critical=False
            )
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder

    def _authority(
        self,
        subject: str,
        issuer: str,
        private: ec.EllipticCurvePrivateKey,
        issuer_key: ec.EllipticCurvePrivateKey,
        *,
        path_length: int = 1,
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(issuer))
            .public_key(private.public_key())
            .serial_number(self.number + 2 - path_length)
            .not_valid_before(SINCE)
            .not_valid_after(SINCE + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
            .add_extension(_key_usage(signature=False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .sign(issuer_key, _SHA256, ecdsa_deterministic=True)
        )

    def as_json(self, *leaves: x509.Certificate) -> dict[str, Any]:
        chain = [*leaves, self.intermediate, self.root]
        return {
            "subject": {"organization": "example", "commonName": self.name},
            "uri": f"https://{self.name}.example",
            "certChain": {"certificates": [{"rawBytes": b64(_der_of(one))} for one in chain]},
            "validFor": {"start": "2025-01-01T00:00:00Z"},
        }


@dataclass(kw_only=True)
class Log:
    """A transparency log under one key. `generation` 1 signs promises with ECDSA, 2 signs checkpoints with Ed25519.

    A shard is its own tree: `before` entries stand in it ahead of the bundle's, `after` behind; `offset` counts the
    entries of the shards before this one.
    """

    host: str
    number: int
    generation: int
    before: int = 4
    after: int = 3
    offset: int = 0

    @property
    def private(self) -> ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey:
        if self.generation == 1:
            return key(self.number)
        return ed25519.Ed25519PrivateKey.from_private_bytes(self.number.to_bytes(32, "big"))

    @property
    def origin(self) -> str:
        return self.host if self.generation == 2 else f"{self.host} - {self.number}{self.offset}"

    @property
    def log_id(self) -> bytes:
        public = self.private.public_key()
        if isinstance(public, ed25519.Ed25519PublicKey):  # C2SP signed-note, over the log's name
            return sha256(self.host.encode() + b"\n\x01" + public.public_bytes_raw()).digest()
        return sha256(spki(public)).digest()

    def sign(self, message: bytes) -> bytes:
        private = self.private
        return sign(private, message) if isinstance(private, ec.EllipticCurvePrivateKey) else private.sign(message)

    def entry(self, body: bytes, kind: tuple[str, str], *, at: datetime | None) -> dict[str, Any]:
        """Append a body and return the bundle's log entry; `at` is the integrated time, with a promise over it."""
        data = [b"%d" % n for n in range(self.before)] + [body] + [b"after %d" % n for n in range(self.after)]
        leaves = [sha256(b"\x00" + one).digest() for one in data]
        root = reference.root(leaves)
        index = self.offset + self.before
        entry: dict[str, Any] = {
            "logIndex": str(index),
            "logId": {"keyId": b64(self.log_id)},
            "kindVersion": {"kind": kind[0], "version": kind[1]},
            "inclusionProof": {
                "logIndex": str(self.before),
                "rootHash": b64(root),
                "treeSize": str(len(data)),
                "hashes": [b64(one) for one in reference.inclusion(self.before, leaves)],
                "checkpoint": {"envelope": self.note(len(data), root)},
            },
            "canonicalizedBody": b64(body),
        }
        if at is not None:
            time = int(at.timestamp())
            promised = {"body": b64(body), "integratedTime": time, "logID": self.log_id.hex(), "logIndex": index}
            entry["integratedTime"] = str(time)
            entry["inclusionPromise"] = {"signedEntryTimestamp": b64(self.sign(rfc8785.dumps(promised)))}
        return entry

    def note(self, size: int, root: bytes) -> str:
        text = f"{self.origin}\n{size}\n{b64(root)}\n" + ("" if self.generation == 2 else "Timestamp: 1743508805\n")
        return f"{text}\n— {self.host} {b64(self.log_id[:4] + self.sign(text.encode()))}\n"

    def as_json(self) -> dict[str, Any]:
        details = "PKIX_ED25519" if self.generation == 2 else "PKIX_ECDSA_P256_SHA_256"
        return {
            "baseUrl": f"https://{self.host}",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": b64(spki(self.private.public_key())),
                "keyDetails": details,
                "validFor": {"start": "2025-01-01T00:00:00Z"},
            },
            "logId": {"keyId": b64(self.log_id)},
        }


@dataclass(kw_only=True)
class Instance:
    """The services, and a signer with a key of ten minutes. Replace a part to have it do wrong.

    `issuer` stands in the certificate as the newer extension has it, `older_issuer` as the older.
    """

    authority: Authority = field(default_factory=lambda: Authority(name="fulcio", number=10))
    timestamps: Authority = field(default_factory=lambda: Authority(name="tsa", number=20))
    certificate_log: Log = field(default_factory=lambda: Log(host="ct.example", number=30, generation=1))
    log_1: Log = field(default_factory=lambda: Log(host="rekor.example", number=31, generation=1, offset=1000))
    log_2: Log = field(default_factory=lambda: Log(host="log2025.example", number=32, generation=2))
    signer: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = field(default_factory=lambda: key(40))
    identity: str = IDENTITY
    issuer: str = ISSUER
    older_issuer: str = ISSUER
    issued: datetime = SIGNED - timedelta(seconds=5)
    signed: datetime = SIGNED

    def trusted_root(self, **fields: object) -> bytes:
        whole = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self.log_1.as_json(), self.log_2.as_json()],
            "certificateAuthorities": [self.authority.as_json()],
            "ctlogs": [self.certificate_log.as_json()],
            "timestampAuthorities": [self.timestamps.as_json(self.timestamp_certificate)],
        }
        return json.dumps(whole | fields, indent=2).encode()

    # Fulcio

    def certificate(self, *extra: tuple[x509.ExtensionType, bool], with_sct: bool = True) -> bytes:
        """Issue a certificate: identity and issuer in it, and a promise (SCT) that a certificate log signed."""
        oid = x509.ObjectIdentifier
        builder = self.authority.leaf(
            self.signer.public_key(),
            since=self.issued,
            until=self.issued + timedelta(minutes=10),
            usage=ExtendedKeyUsageOID.CODE_SIGNING,
            extensions=[
                (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(self.identity)]), True),
                (x509.UnrecognizedExtension(oid(f"{_FULCIO}.1"), self.older_issuer.encode()), False),
                (x509.UnrecognizedExtension(oid(f"{_FULCIO}.8"), der(0x0C, self.issuer.encode())), False),
                *extra,
            ],
        )
        if not with_sct:
            return _der_of(builder.sign(self.authority.issuing_key, _SHA256, ecdsa_deterministic=True))
        draft = self._with_sct(builder, b"\x30\x06\x02\x01\x01\x02\x01\x01")
        return _der_of(self._with_sct(builder, self._sct_signature(draft.tbs_precertificate_bytes)))

    def _with_sct(self, builder: x509.CertificateBuilder, signature: bytes) -> x509.Certificate:
        sct = b"\x00" + self.certificate_log.log_id + self._sct_time + b"\x00\x00\x04\x03" + _opaque(2, signature)
        extension = x509.UnrecognizedExtension(_SCT_LIST, der(OCTETS, _opaque(2, _opaque(2, sct))))
        signed = builder.add_extension(extension, critical=False)
        return signed.sign(self.authority.issuing_key, _SHA256, ecdsa_deterministic=True)

    def _sct_signature(self, precertificate: bytes) -> bytes:
        """RFC 6962 §3.2: version, signature type, time, entry type, hash of the issuer's key, precertificate, none."""
        issuer = sha256(spki(self.authority.issuing_key.public_key())).digest()
        return self.certificate_log.sign(
            b"\x00\x00" + self._sct_time + b"\x00\x01" + issuer + _opaque(3, precertificate) + b"\x00\x00"
        )

    @property
    def _sct_time(self) -> bytes:
        return (int(self.issued.timestamp()) * 1000).to_bytes(8, "big")

    # The timestamp authority

    @cached_property
    def timestamp_certificate(self) -> x509.Certificate:
        return self.timestamps.leaf(
            key(22).public_key(),
            since=SINCE,
            until=SINCE + timedelta(days=3000),
            usage=ExtendedKeyUsageOID.TIME_STAMPING,
            extensions=[],
            subject="timestamps",
        ).sign(self.timestamps.issuing_key, _SHA256, ecdsa_deterministic=True)

    def timestamp(self, message: bytes, *, at: datetime | None = None, granted: int = 0) -> bytes:
        """Return an RFC 3161 response over a message: a CMS signed TSTInfo (RFC 5652 §5, RFC 3161 §2.4.2)."""
        moment = (at or self.signed).strftime("%Y%m%d%H%M%SZ").encode()
        imprint = der(SEQUENCE, SHA256_ALGORITHM, der(OCTETS, sha256(message).digest()))
        info = der(SEQUENCE, der_integer(1), der_oid("1.3.6.1.4.1.57264.2"), imprint, der_integer(7), der(0x18, moment))
        attributes = der(SEQUENCE, der_oid("1.2.840.113549.1.9.3"), der(SET, TST_INFO)) + der(
            SEQUENCE, der_oid("1.2.840.113549.1.9.4"), der(SET, der(OCTETS, sha256(info).digest()))
        )
        certificate = self.timestamp_certificate
        signer = der(
            SEQUENCE,
            der_integer(1),
            der(SEQUENCE, certificate.issuer.public_bytes(), der_integer(certificate.serial_number)),
            SHA256_ALGORITHM,
            der(0xA0, attributes),
            der(SEQUENCE, der_oid("1.2.840.10045.4.3.2")),
            der(OCTETS, sign(key(22), der(SET, attributes))),
        )
        signed_data = der(
            SEQUENCE,
            der_integer(3),
            der(SET, SHA256_ALGORITHM),
            der(SEQUENCE, TST_INFO, der(0xA0, der(OCTETS, info))),
            der(0xA0, _der_of(certificate)),
            der(SET, signer),
        )
        token = der(SEQUENCE, der_oid("1.2.840.113549.1.7.2"), der(0xA0, signed_data))
        return der(SEQUENCE, der(SEQUENCE, der_integer(granted)), token)

    # Bundles

    def hashedrekord_1(self, artifact: bytes = ARTIFACT, media_type: str = BUNDLE_0_3) -> dict[str, Any]:
        """Sign an artifact, and enter it in the first generation's log."""
        certificate, signature = self.certificate(), sign(self.signer, artifact)
        body = {
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": sha256(artifact).hexdigest()}},
                "signature": {"content": b64(signature), "publicKey": {"content": b64(_pem(certificate))}},
            },
        }
        entry = self.log_1.entry(rfc8785.dumps(body), ("hashedrekord", "0.0.1"), at=self.signed)
        return _bundle(media_type, certificate, entry, _message(artifact, signature))

    def dsse_1(self, payload: bytes | None = None, media_type: str = BUNDLE_0_3) -> dict[str, Any]:
        """Sign a statement, and enter it in the first generation's log."""
        payload = statement() if payload is None else payload
        certificate, signature = self.certificate(), sign(self.signer, _pae(payload))
        envelope = _envelope(payload, signature)
        body = {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": sha256(json.dumps(envelope).encode()).hexdigest()},
                "payloadHash": {"algorithm": "sha256", "value": sha256(payload).hexdigest()},
                "signatures": [{"signature": b64(signature), "verifier": b64(_pem(certificate))}],
            },
        }
        entry = self.log_1.entry(rfc8785.dumps(body), ("dsse", "0.0.1"), at=self.signed)
        return _bundle(media_type, certificate, entry, {"dsseEnvelope": envelope})

    def hashedrekord_2(self, artifact: bytes = ARTIFACT, media_type: str = BUNDLE_0_3) -> dict[str, Any]:
        """Sign an artifact, and enter it in the second generation's log, with a timestamp."""
        signature = sign(self.signer, artifact)
        return self._second(media_type, sha256(artifact).digest(), signature, _message(artifact, signature))

    def dsse_2(self, payload: bytes | None = None, media_type: str = BUNDLE_0_3) -> dict[str, Any]:
        """Sign a statement, and enter it in the second generation's log."""
        payload = statement() if payload is None else payload
        signature = sign(self.signer, _pae(payload))
        content = {"dsseEnvelope": _envelope(payload, signature)}
        return self._second(media_type, sha256(_pae(payload)).digest(), signature, content)

    def _second(self, media_type: str, digest: bytes, signature: bytes, content: dict[str, Any]) -> dict[str, Any]:
        certificate = self.certificate()
        verifier = {"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": {"rawBytes": b64(certificate)}}
        record = {
            "data": {"algorithm": "SHA2_256", "digest": b64(digest)},
            "signature": {"content": b64(signature), "verifier": verifier},
        }
        body = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": record}}
        entry = self.log_2.entry(rfc8785.dumps(body), ("hashedrekord", "0.0.2"), at=None)
        whole = _bundle(media_type, certificate, entry, content)
        stamps = {"rfc3161Timestamps": [{"signedTimestamp": b64(self.timestamp(signature))}]}
        whole["verificationMaterial"]["timestampVerificationData"] = stamps
        return whole


def keyed(content: dict[str, Any], hint: str = "") -> dict[str, Any]:
    """Return a bundle signed with a plain key."""
    material = {"publicKey": {"hint": hint}, "tlogEntries": []}
    return {"mediaType": BUNDLE_0_3, "verificationMaterial": material} | content


def _bundle(media_type: str, certificate: bytes, entry: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    one = {"rawBytes": b64(certificate)}
    held = {"certificate": one} if media_type == BUNDLE_0_3 else {"x509CertificateChain": {"certificates": [one]}}
    return {"mediaType": media_type, "verificationMaterial": held | {"tlogEntries": [entry]}} | content


def _message(artifact: bytes, signature: bytes) -> dict[str, Any]:
    digest = {"algorithm": "SHA2_256", "digest": b64(sha256(artifact).digest())}
    return {"messageSignature": {"messageDigest": digest, "signature": b64(signature)}}


def _envelope(payload: bytes, signature: bytes) -> dict[str, Any]:
    return {"payload": b64(payload), "payloadType": IN_TOTO, "signatures": [{"sig": b64(signature)}]}


def _pae(payload: bytes) -> bytes:
    return b"DSSEv1 %d %b %d %b" % (len(IN_TOTO), IN_TOTO.encode(), len(payload), payload)


def _opaque(width: int, raw: bytes) -> bytes:
    """Return a TLS vector: its length in `width` bytes, then itself."""
    return len(raw).to_bytes(width, "big") + raw


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key_usage(*, signature: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signature,
        key_cert_sign=not signature,
        crl_sign=not signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _der_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _pem(certificate: bytes) -> bytes:
    return x509.load_der_x509_certificate(certificate).public_bytes(serialization.Encoding.PEM)
