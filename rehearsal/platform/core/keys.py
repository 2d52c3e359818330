"""Signing keys: read from PEM, named as the outside names them, and derived for a disposable site.

Invariants: a key id is computed from the public key, never stored beside it; keys that this module derives come from a
printed seed and so protect nothing: they are for sites that say they are disposable.
"""

import base64
import hashlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def load_signing_key(pem: str) -> ec.EllipticCurvePrivateKey:
    """Read the key that signs attestations and roots.

    Raises:
        ValueError: `pem` is no private key on P-256.

    """
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("SIGNING_KEY must be a private key on P-256 in PEM form")  # noqa: TRY004
    return key


def load_log_key(pem: str) -> ed25519.Ed25519PrivateKey:
    """Read the key that signs the log's checkpoints.

    Raises:
        ValueError: `pem` is no Ed25519 private key.

    """
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ValueError("LOG_SIGNING_KEY must be an Ed25519 private key in PEM form")  # noqa: TRY004
    return key


def load_public_key(pem: str) -> ec.EllipticCurvePublicKey:
    """Read one attestation key of a trust root.

    Raises:
        ValueError: `pem` is no public key on an elliptic curve.

    """
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("an attestation key must be a public key on an elliptic curve in PEM form")  # noqa: TRY004
    return key


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """Name a key: SHA-256 of its SubjectPublicKeyInfo, 64 hex digits."""
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def public_pem(key: ec.EllipticCurvePublicKey) -> str:
    """Write a public key as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    """Write a private key as unencrypted PKCS 8 PEM, as a Secret holds it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def verifier_key(origin: str, key: ed25519.Ed25519PublicKey) -> str:
    """Write the log's public key as `name+hash+base64`.  Source: C2SP signed-note, verifier keys."""
    raw = b"\x01" + key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return f"{origin}+{note_key_id(origin, raw).hex()}+{base64.b64encode(raw).decode()}"


def note_key_id(name: str, typed_key: bytes) -> bytes:
    """Give the 4 bytes that name a note's key: SHA-256(name, 0x0A, type and key).  Source: C2SP signed-note."""
    return hashlib.sha256(name.encode() + b"\n" + typed_key).digest()[:4]


def derived_signing_key(seed: int) -> ec.EllipticCurvePrivateKey:
    """Derive the P-256 key of a disposable site from its seed number."""
    scalar = int.from_bytes(hashlib.sha512(b"stella attestation key %d" % seed).digest()) % (_P256_ORDER - 1) + 1
    return ec.derive_private_key(scalar, ec.SECP256R1())


def derived_log_key(seed: int) -> ed25519.Ed25519PrivateKey:
    """Derive the Ed25519 key of a disposable site's log from its seed number."""
    return ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"stella log key %d" % seed).digest())
