"""Signing an envelope (DSSE v1) with a private key, for what the harness's own people and runs sign.

Invariants: what is signed here is accepted by `dsse.verify` with the key's public half; a key that this package does
not verify with is refused before anything is signed.
"""

from __future__ import annotations

import base64
from typing import Final

import rfc8785
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from cutover.evidence import dsse
from cutover.evidence.errors import EvidenceError

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
"""A key whose public half `dsse` verifies with: ECDSA P-256, Ed25519, or RSA of at least 2048 bits."""

_PSS: Final = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)


def is_encrypted(pem: bytes) -> bool:
    """Say whether a private key in PEM needs a passphrase (RFC 7468 §11, and OpenSSL's older form)."""
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem or b"Proc-Type: 4,ENCRYPTED" in pem


def load_key(pem: bytes, passphrase: str | None = None, *, item: str = "key") -> PrivateKey:
    """Read a private key from PEM.

    Raises:
        EvidenceError: `key-malformed`, for a wrong passphrase too, or `key-unsupported`.

    """
    try:
        key = serialization.load_pem_private_key(pem, passphrase.encode() if passphrase is not None else None)
    except Exception as error:  # the loader raises several kinds, by what OpenSSL met
        expected = "a PEM private key" + (", and its passphrase" if is_encrypted(pem) else "")
        raise EvidenceError("key-malformed", item, expected=expected, actual=error) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        raise EvidenceError("key-unsupported", item, expected="ECDSA P-256, Ed25519 or RSA", actual=type(key).__name__)
    dsse.KeyRing([key.public_key()])
    return key


def sign(payload_type: str, payload: bytes, key: PrivateKey) -> bytes:
    """Return an envelope with one signature, as RFC 8785 bytes.

    Source: DSSE v1 protocol, "Signing"; the key's id is `dsse.key_id`.
    """
    message = dsse.pae(payload_type, payload)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(message, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(message, _PSS, hashes.SHA256())
    else:
        signature = key.sign(message)
    return rfc8785.dumps(
        {
            "payload": base64.b64encode(payload).decode("ascii"),
            "payloadType": payload_type,
            "signatures": [
                {"keyid": dsse.key_id(key.public_key()), "sig": base64.b64encode(signature).decode("ascii")}
            ],
        }
    )
