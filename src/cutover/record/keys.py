"""Who signs a site's records, and whom a reader of them trusts.

A signing key is an ECDSA P-256 key with an X.509 certificate under an authority of its own: the key signs envelopes,
the certificate lets a PDF reader say who signed. The authority signs that one certificate and its key is forgotten, so
nothing else will ever be under it. A trust root is what the reader holds: public keys, authorities, timestamping
authorities, and Sigstore identities with the root that vouches for them.
Invariants: a private key is written with mode 0600; a key whose certificate is another's, or leads to no authority that
came with it, is refused before anything is signed; a trust root holds nothing secret.

File of a trust root (JSON): `{"schema": "cutover/trust-root/v1", "notice": text, "keys": [{"name", "key": PEM}, …],
"certificates": [PEM, …], "timestamping": [PEM, …], "identities": [{"identity", "issuer"}, …],
"sigstore": the instance's trusted_root.json as an object, or null}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cutover import _documents, files
from cutover.errors import WrongInput
from cutover.evidence import dsse, signing
from cutover.evidence._json import parse_object
from cutover.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SCHEMA: Final = "cutover/trust-root/v1"
KEY_FILE: Final = "record-signing.key"
CERTIFICATE_FILE: Final = "record-signing.crt"
TRUST_ROOT_FILE: Final = "record-trust-root.json"
VALID: Final = timedelta(days=3653)
"""Ten years: as long as records are kept."""

_PRIVATE: Final = 0o600
_BEFORE: Final = timedelta(hours=1)
"""A certificate is valid from a little earlier: clocks differ."""
_MOST_BYTES: Final = 1 << 20
_LONGEST_NAME: Final = 64
"""Of a common name: RFC 5280, ub-common-name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key, its certificate, and the certificates above it, the authority's last."""

    private: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]

    @property
    def name(self) -> str:
        """Who signs, as the certificate names them."""
        return _common_name(self.certificate)

    @property
    def key_id(self) -> str:
        """As in `dsse.key_id`."""
        return dsse.key_id(self.private.public_key())

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Return a DSSE envelope with this key's signature, as RFC 8785 bytes."""
        return signing.sign(payload_type, payload, self.private)

    def trust_root(self, *, notice: str = "") -> TrustRoot:
        """Return what a reader needs to verify what this key signs."""
        public = self.private.public_key()
        return TrustRoot(
            notice=notice,
            keys=(TrustedKey(name=self.name, key=public),),
            certificates=self.chain[-1:] or (self.certificate,),
        )

    @staticmethod
    def make(name: str, *, now: datetime | None = None) -> SigningKey:
        """Return a new key, certified by an authority that signs this one certificate and is forgotten.

        name: who signs, as a reader will see it. Raises WrongInput: it is no name.
        """
        if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise WrongInput(
                "a key needs the name of who signs with it",
                code="key-name",
                seen=repr(name),
                do=f"give one line of at most {_LONGEST_NAME} characters",
            )
        began = (now or datetime.now(UTC)) - _BEFORE
        authority, private = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        above = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
                x509.NameAttribute(NameOID.COMMON_NAME, "Authority of one record signing key"),
            ]
        )
        root = (
            _certificate(above, above, authority.public_key(), began)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(is_authority=True), critical=True)
            .sign(authority, hashes.SHA256())
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _certificate(subject, above, private.public_key(), began)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(is_authority=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
            .sign(authority, hashes.SHA256())
        )
        return SigningKey(private=private, certificate=certificate, chain=(root,))

    @staticmethod
    def load(key: Path, certificate: Path, *, passphrase: str | None = None) -> SigningKey:
        """Read a key and its certificates, all PEM, the key's own certificate first.

        Raises WrongInput: one of them cannot be read, the passphrase is not the key's, or they do not belong together.
        """
        try:
            private = signing.load_key(_read(key, "signing key"), passphrase, item=key.name)
        except EvidenceError as problem:
            raise WrongInput(
                f"the signing key {key} cannot be used",
                code="signing-key",
                seen=f"{problem.actual} (expected {problem.expected})",
                do="give its passphrase, or make a key: ./cutover keys init",
            ) from problem
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise WrongInput(
                f"the signing key {key} cannot be used",
                code="signing-key",
                seen=f"{type(private).__name__} (expected ECDSA P-256)",
                do="make one: ./cutover keys init",
            )
        first, *above = _certificates(_read(certificate, "certificate"), str(certificate))
        _demand_chain(private, first, above, str(certificate))
        return SigningKey(private=private, certificate=first, chain=tuple(above))

    def save(self, key: Path, certificate: Path, *, passphrase: str | None = None) -> None:
        """Write the key (mode 0600; encrypted where a passphrase is given) and the certificates. Raises OSError."""
        protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            protection = serialization.BestAvailableEncryption(passphrase.encode())
        content = self.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
        files.write_whole(key, content, mode=_PRIVATE)
        files.write_whole(certificate, b"".join(_pem(one) for one in (self.certificate, *self.chain)).decode())


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A public key, and whose it is."""

    name: str
    key: dsse.PublicKey

    @property
    def key_id(self) -> str:
        """As in `dsse.key_id`."""
        return dsse.key_id(self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIdentity:
    """Who may sign without a key of their own, exactly as a Sigstore certificate names them and who vouches."""

    identity: str
    issuer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRoot:
    """Whose signatures a reader believes."""

    notice: str = ""
    """Shown beside every result that rests on it."""
    keys: tuple[TrustedKey, ...] = ()
    certificates: tuple[x509.Certificate, ...] = ()
    """Authorities of the certificates that documents are signed with."""
    timestamping: tuple[x509.Certificate, ...] = ()
    """Authorities of timestamps (RFC 3161)."""
    identities: tuple[TrustedIdentity, ...] = ()
    sigstore: bytes = field(default=b"", repr=False)
    """The trusted_root.json of the Sigstore instance that vouches for the identities; empty where there are none."""

    def ring(self) -> dsse.KeyRing:
        """Return the keys made ready to verify envelopes with."""
        return dsse.KeyRing(one.key for one in self.keys)

    def name_of(self, key_id: str) -> str:
        """Return whose a key is; the beginning of its id where nobody said."""
        return next((one.name for one in self.keys if one.key_id == key_id), key_id[:16])

    def with_timestamping(self, *certificates: x509.Certificate) -> TrustRoot:
        """Return this root with more timestamping authorities."""
        return replace(self, timestamping=(*self.timestamping, *certificates))

    def joined(self, other: TrustRoot) -> TrustRoot:
        """Return a root that believes both, so that records of an earlier key stay verifiable."""
        return TrustRoot(
            notice=" · ".join(dict.fromkeys(filter(None, (self.notice, other.notice)))),
            keys=tuple({one.key_id: one for one in (*self.keys, *other.keys)}.values()),
            certificates=tuple(dict.fromkeys((*self.certificates, *other.certificates))),
            timestamping=tuple(dict.fromkeys((*self.timestamping, *other.timestamping))),
            identities=tuple(dict.fromkeys((*self.identities, *other.identities))),
            sigstore=other.sigstore or self.sigstore,
        )

    @property
    def content(self) -> bytes:
        """The file's bytes."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "notice": self.notice,
            "keys": [{"name": one.name, "key": _public_pem(one.key)} for one in self.keys],
            "certificates": [_pem(one).decode() for one in self.certificates],
            "timestamping": [_pem(one).decode() for one in self.timestamping],
            "identities": [{"identity": one.identity, "issuer": one.issuer} for one in self.identities],
            "sigstore": json.loads(self.sigstore) if self.sigstore else None,
        }
        return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over the file's bytes."""
        return "sha256:" + sha256(self.content).hexdigest()

    def save(self, path: Path) -> None:
        """Write the file. Raises OSError."""
        files.write_whole(path, self.content)

    @staticmethod
    def load(path: Path) -> TrustRoot:
        """Read a trust root. Raises WrongInput: it is none, or believes nobody."""
        return TrustRoot.parse(_read(path, "trust root"), item=str(path))

    @staticmethod
    def parse(raw: bytes, *, item: str = "the trust root") -> TrustRoot:
        """Read a trust root from its file's bytes; raises as `load` does."""
        try:
            document = parse_object(raw, code="trust-malformed", item=item)
            seen = _documents.first_problem("trust-root", document)
            if seen:
                raise _not_a_trust_root(item, seen)
            root = _root_of(document, item)
        except (EvidenceError, ValueError) as problem:
            seen = (
                f"{problem.actual} (expected {problem.expected})"
                if isinstance(problem, EvidenceError)
                else f"{problem}"
            )
            raise _not_a_trust_root(item, seen) from problem
        if root.identities and not root.sigstore:
            raise _not_a_trust_root(item, "identities, and no sigstore root that could vouch for them")
        if not root.keys and not root.identities:
            raise _not_a_trust_root(item, "neither a key nor an identity")
        return root


def _root_of(document: Mapping[str, Any], item: str) -> TrustRoot:
    def certificates(name: str) -> tuple[x509.Certificate, ...]:
        return tuple(one for pem in document.get(name, ()) for one in _certificates(pem.encode(), f"{item}, {name}"))

    return TrustRoot(
        notice=document.get("notice", ""),
        keys=tuple(
            TrustedKey(name=one["name"], key=dsse.load_key(one["key"], item=f"{item}, key of {one['name']}"))
            for one in document.get("keys", ())
        ),
        certificates=certificates("certificates"),
        timestamping=certificates("timestamping"),
        identities=tuple(TrustedIdentity(**one) for one in document.get("identities", ())),
        sigstore=json.dumps(document["sigstore"]).encode() if document.get("sigstore") else b"",
    )


def _not_a_trust_root(item: str, seen: str) -> WrongInput:
    return WrongInput(
        f"{item} is no trust root for records",
        code="trust-root",
        seen=seen,
        do=f"give the {TRUST_ROOT_FILE} that ./cutover keys init wrote; see contract/trust-root.schema.json",
    )


def _demand_chain(
    private: ec.EllipticCurvePrivateKey, first: x509.Certificate, above: Sequence[x509.Certificate], item: str
) -> None:
    """Demand that a certificate is the key's, and each is issued by the next. Raises WrongInput."""
    seen = "" if first.public_key() == private.public_key() else "it certifies another key"
    for one, issuer in zip((first, *above), above, strict=False):
        try:
            one.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            seen = seen or f"{_common_name(one)} was not issued by {_common_name(issuer)}"
    if seen:
        raise WrongInput(
            f"the certificate {item} does not belong to the signing key",
            code="signing-certificate",
            seen=seen,
            do="give the certificate that was made with the key, its own first, then those above it",
        )


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Read certificates from a file, PEM or one in DER. Raises WrongInput: it holds none."""
    raw = _read(path, "certificate")
    try:
        return (x509.load_der_x509_certificate(raw),)
    except ValueError:
        return tuple(_certificates(raw, str(path)))


def _certificates(pem: bytes, item: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as problem:
        raise WrongInput(f"{item} holds no certificate", code="signing-certificate", seen=str(problem)) from problem


def _read(path: Path, noun: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_MOST_BYTES)
    except OSError as problem:
        raise WrongInput(
            f"there is no {noun} that could be read at {path}",
            code=f"{noun.replace(' ', '-')}-absent",
            seen=str(problem),
            do="give its path, or make one: ./cutover keys init",
        ) from problem


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, began: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    """Return what a certificate is for: signing documents (digital signature, non-repudiation), or certificates."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=not is_authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _public_pem(key: dsse.PublicKey) -> str:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
