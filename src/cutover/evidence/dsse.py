"""Signed envelopes (DSSE v1): the payload that is verified is the payload that is returned.

Invariants: signatures are over PAE of *bytes*; a `keyid` is a hint and is never trusted; a threshold counts distinct
keys, not signatures; keys decide the algorithm, the envelope does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from cutover.evidence._json import from_base64, parse_object, standard_base64
from cutover.evidence.errors import EvidenceError

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
"""A key this package verifies with: ECDSA P-256, Ed25519, or RSA of at least 2048 bits."""

MIN_RSA_BITS: Final = 2048
MAX_SIGNATURES: Final = 64
"""More signatures than this in one envelope are refused: each costs a verification a key."""

_Parsed = tuple[str, bytes, tuple[tuple[str, bytes], ...]]  # payload type, payload, (key id, signature) each
_TEXT: Final = rb"[ !#-\[\]-~]"  # printable ASCII without quote and backslash
_CANONICAL: Final = re.compile(
    rb'\{"payload":"([^"]*)","payloadType":"(%b+)","signatures":\[\{"keyid":"(%b*)","sig":"([^"]*)"\}\]\}'
    % (_TEXT, _TEXT)
)
_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_RSA_SCHEMES: Final = (padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO), padding.PKCS1v15())


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What an envelope proved: these payload bytes, of this type, signed by these keys (each once, in order)."""

    payload: bytes
    payload_type: str
    keys: tuple[PublicKey, ...]
    key_ids: tuple[str, ...]


class KeyRing:
    """Trusted keys with their ids, made ready once: verifying a million envelopes serialises no key again."""

    __slots__ = ("_checks", "_keys")

    def __init__(self, keys: Iterable[PublicKey]) -> None:
        self._keys: dict[str, PublicKey] = {}
        for key in keys:
            _demand_supported(key)
            self._keys.setdefault(key_id(key), key)
        self._checks = {name: _check_of(key) for name, key in self._keys.items()}

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the trusted keys."""
        return tuple(self._keys)

    def verify(
        self, envelope: bytes | str | Mapping[str, object], *, threshold: int = 1, item: str = "envelope"
    ) -> Verified:
        """Verify as the module's `verify` does, naming `item` in a refusal."""
        if threshold < 1:
            raise EvidenceError("signature-threshold", item, expected="a threshold of at least 1", actual=threshold)
        payload_type, payload, signatures = _parse_canonical(envelope) or _parse(envelope, item)
        message = pae(payload_type, payload)
        signed: dict[str, PublicKey] = {}
        for hint, signature in signatures:
            hinted = self._checks.get(hint)
            if hinted is not None and hint not in signed and hinted(signature, message):
                signed[hint] = self._keys[hint]
                continue
            for name, check in self._checks.items():
                if name != hint and name not in signed and check(signature, message):
                    signed[name] = self._keys[name]
                    break
        if len(signed) < threshold:
            raise self._refusal(item, threshold, len(signed), signatures)
        if len(signed) > 1:
            signed = {name: key for name, key in self._keys.items() if name in signed}
        return Verified(payload=payload, payload_type=payload_type, keys=tuple(signed.values()), key_ids=tuple(signed))

    def _refusal(
        self, item: str, threshold: int, signed: int, signatures: Sequence[tuple[str, bytes]]
    ) -> EvidenceError:
        expected = f"{threshold} of the keys {', '.join(name[:16] for name in self._keys) or '(none)'}"
        if signed:
            return EvidenceError("signature-threshold", item, expected=expected, actual=f"{signed} signed")
        hints = [hint for hint, _ in signatures]
        # The hint chooses the words only: a hint that names a trusted key, or none, means that the bytes do not verify.
        if hints and not any(hint == "" or hint in self._keys for hint in hints):
            return EvidenceError("signer-unknown", item, expected=expected, actual=", ".join(h[:16] for h in hints))
        actual = f"{len(signatures)} signature{'s' * (len(signatures) != 1)}, none verifies"
        return EvidenceError("signature-invalid", item, expected=expected, actual=actual)


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed.

    Source: DSSE v1, PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body; LEN is ASCII decimal of the
    number of bytes, the type counted in UTF-8.
    """
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def key_id(key: PublicKey) -> str:
    """Return the SHA-256 of the key's SubjectPublicKeyInfo (DER) as 64 hex digits."""
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return sha256(spki).hexdigest()


def load_key(pem: str | bytes, *, item: str = "key") -> PublicKey:
    """Read a public key from PEM (SubjectPublicKeyInfo).

    Raises:
        EvidenceError: `key-malformed` or `key-unsupported`.

    """
    try:
        key = serialization.load_pem_public_key(pem.encode("ascii") if isinstance(pem, str) else pem)
    except Exception as error:  # the loader raises several kinds, by what OpenSSL met
        raise EvidenceError("key-malformed", item, expected="a PEM public key", actual=error) from error
    if not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        raise EvidenceError("key-unsupported", item, expected="ECDSA P-256, Ed25519 or RSA", actual=type(key).__name__)
    _demand_supported(key, item)
    return key


def verify(envelope: bytes | str | Mapping[str, object], keys: Iterable[PublicKey], threshold: int = 1) -> Verified:
    """Verify an envelope (JSON text, or the object read from it) against trusted keys.

    At least `threshold` distinct keys must have signed; unknown signatures beside them are ignored.

    Raises:
        EvidenceError: `envelope-malformed`, `key-unsupported`, `signature-invalid` (no signature verifies),
            `signer-unknown` (every signature names another key) or `signature-threshold`.

    Source: DSSE v1 protocol, "Verifying", steps 1 to 7.

    """
    return KeyRing(keys).verify(envelope, threshold=threshold)


def _parse(envelope: bytes | str | Mapping[str, object], item: str) -> _Parsed:
    code = "envelope-malformed"
    fields = parse_object(envelope, code=code, item=item)
    payload_type = fields.get("payloadType")
    if not isinstance(payload_type, str) or not payload_type or not payload_type.isprintable():
        raise EvidenceError(code, item, expected="payloadType: printable text", actual=payload_type)
    try:
        payload_type.encode("utf-8")
    except UnicodeEncodeError as error:
        raise EvidenceError(code, item, expected="payloadType in UTF-8", actual=error) from error
    payload = from_base64(fields.get("payload"), code=code, item=f"{item}, payload")
    entries = fields.get("signatures")
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_SIGNATURES:
        expected = f"signatures: 1 to {MAX_SIGNATURES}"
        raise EvidenceError(code, item, expected=expected, actual=type(entries).__name__)
    signatures = []
    for position, entry in enumerate(entries):
        where = f"{item}, signature {position}"
        if not isinstance(entry, Mapping):
            raise EvidenceError(code, where, expected="an object", actual=type(entry).__name__)
        hint = entry.get("keyid", "")
        if hint is None:
            hint = ""
        if not isinstance(hint, str):
            raise EvidenceError(code, where, expected="keyid: text", actual=type(hint).__name__)
        signatures.append((hint, from_base64(entry.get("sig"), code=code, item=where)))
    return payload_type, payload, tuple(signatures)


def _parse_canonical(envelope: object) -> _Parsed | None:
    """Read RFC 8785 bytes with one signature as `_parse` would, at twice its speed; None for all else, right or wrong.

    No string of this form has an escape, so each stands for itself (in base64 a backslash is refused).
    """
    found = _CANONICAL.fullmatch(envelope) if isinstance(envelope, bytes) else None
    if found is None:
        return None
    payload, payload_type, hint, signature = found.groups()
    try:
        signatures = ((hint.decode("ascii"), standard_base64(signature)),)
        return payload_type.decode("ascii"), standard_base64(payload), signatures
    except ValueError:
        return None


def is_signature(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Say whether a supported key signed a message; the key decides the algorithm, over SHA-256 where it needs one."""
    return _check_of(key)(signature, message)


def _check_of(key: PublicKey) -> Callable[[bytes, bytes], bool]:
    """Return what says whether the key signed, a function of (signature, message)."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return partial(_is_ecdsa_signature, key)
    if isinstance(key, rsa.RSAPublicKey):
        return partial(_is_rsa_signature, key)
    return partial(_is_ed25519_signature, key)


def _is_ecdsa_signature(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    """Accept DER, and r and s as 32 bytes each, as in the DSSE specification's own example.

    DER of 64 bytes states its own length, 62, and is left as it is.
    """
    if len(signature) == 64 and not signature.startswith(b"\x30\x3e\x02"):
        signature = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        key.verify(signature, message, _ECDSA)
    except InvalidSignature:
        return False
    return True


def _is_ed25519_signature(key: ed25519.Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _is_rsa_signature(key: rsa.RSAPublicKey, signature: bytes, message: bytes) -> bool:
    """Accept RSASSA-PSS and RSASSA-PKCS1-v1_5 over SHA-256: signers use either, and both bind the message."""
    for scheme in _RSA_SCHEMES:
        try:
            key.verify(signature, message, scheme, hashes.SHA256())
        except InvalidSignature:
            continue
        return True
    return False


def _demand_supported(key: PublicKey, item: str = "key") -> None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return
    actual = f"{type(key).__name__} of {getattr(key, 'key_size', '?')} bits"
    raise EvidenceError("key-unsupported", item, expected="ECDSA P-256, Ed25519 or RSA of 2048 bits", actual=actual)
