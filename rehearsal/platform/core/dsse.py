"""DSSE envelopes signed with ECDSA P-256 over SHA-256.

Invariants: what is signed is the PAE of bytes, never of text; signatures are deterministic (RFC 6979), so that the same
statement gives the same envelope on every attempt.  Source: the DSSE protocol, version 1.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from rehearsal.platform.core import canonical, keys

IN_TOTO = "application/vnd.in-toto+json"
MERKLE_ROOT = "application/vnd.stella.merkle-root+json"
MERKLE_CROSSREF = "application/vnd.stella.merkle-crossref+json"

_SIGN = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_VERIFY = ec.ECDSA(hashes.SHA256())


class SignatureInvalidError(Exception):
    """An envelope that no key of the trust root vouches for; the message says why."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """Encode what is signed: `DSSEv1 SP len SP type SP len SP body`, lengths in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    """Give the envelope of `payload`, with standard base64 and the key's id as a hint."""
    signature = key.sign(pae(payload_type, payload), _SIGN)
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": keys.key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}],
    }


def sign_statement(payload_type: str, statement: Mapping[str, Any], key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    """Sign the RFC 8785 bytes of a JSON statement."""
    return sign(payload_type, canonical.encode(statement), key)


def verify(
    envelope: Mapping[str, Any], payload_type: str, trusted: Sequence[ec.EllipticCurvePublicKey]
) -> tuple[bytes, str]:
    """Give the payload that was verified and the id of the key that vouches for it.

    The `keyid` in the envelope is ignored: every trusted key is tried.

    Raises:
        SignatureInvalidError: malformed, of another type, or signed by no trusted key.

    """
    try:
        payload = _decode(envelope["payload"])
        signatures = [_decode(entry["sig"]) for entry in envelope["signatures"]]
        kind = envelope["payloadType"]
    except (KeyError, TypeError, AttributeError, binascii.Error, ValueError) as error:
        raise SignatureInvalidError(f"not a DSSE envelope: {error!r}") from error
    if kind != payload_type:
        raise SignatureInvalidError(f"payload type is {kind!r}, expected {payload_type!r}")
    message = pae(payload_type, payload)
    for signature in signatures:
        for key in trusted:
            try:
                key.verify(signature, message, _VERIFY)
            except InvalidSignature:
                continue
            return payload, keys.key_id(key)
    raise SignatureInvalidError("no signature by a trusted key")


def read(data: bytes) -> Mapping[str, Any]:
    """Read an envelope from its JSON bytes.

    Raises:
        SignatureInvalidError: the bytes are no JSON object.

    """
    try:
        return canonical.decode(data)
    except (json.JSONDecodeError, UnicodeDecodeError, ValueError) as error:
        raise SignatureInvalidError(f"not a DSSE envelope: {error}") from error


def _decode(text: str) -> bytes:
    """Accept standard and URL-safe base64, with or without padding, and nothing else."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
