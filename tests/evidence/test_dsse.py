"""Envelopes: the specification's PAE, every supported key, thresholds over keys, and all that must be refused."""

from __future__ import annotations

import base64
import copy
import json
from contextlib import suppress
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from cutover.evidence import dsse
from cutover.evidence._json import from_base64
from cutover.evidence.errors import EvidenceError
from tests.evidence.world import SIGNER, STRANGER, pem, sign

TYPE = "http://example.com/HelloWorld"
KEY, OTHER = SIGNER.public_key(), STRANGER.public_key()
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
RSA = rsa.generate_private_key(65537, 2048)


def test_the_specification_s_example():
    """Source: DSSE v1 protocol, the test vector of its "Hello World" example."""
    assert dsse.pae(TYPE, b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_lengths_are_of_bytes_not_characters():
    assert dsse.pae("é", "é".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xa9"


@given(st.tuples(st.text(), st.binary()), st.tuples(st.text(), st.binary()))
def test_pae_is_injective(one: tuple[str, bytes], other: tuple[str, bytes]):
    """No two (type, payload) pairs sign the same bytes."""
    assert (dsse.pae(*one) == dsse.pae(*other)) == (one == other)


@given(st.binary(max_size=200), st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=30))
def test_what_is_signed_is_what_is_returned(payload: bytes, kind: str):
    verified = dsse.verify(sign(kind, payload), [OTHER, KEY])
    assert (verified.payload, verified.payload_type, verified.keys) == (payload, kind, (KEY,))
    assert verified.key_ids == (dsse.key_id(KEY),)


def envelope_by(signature: bytes, payload: bytes = b"hello world") -> dict[str, Any]:
    return {
        "payloadType": TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }


MESSAGE = dsse.pae(TYPE, b"hello world")
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


@pytest.mark.parametrize(
    ("signature", "key"),
    [
        (SIGNER.sign(MESSAGE, ec.ECDSA(hashes.SHA256())), KEY),
        (ED25519.sign(MESSAGE), ED25519.public_key()),
        (RSA.sign(MESSAGE, PSS, hashes.SHA256()), RSA.public_key()),
        (RSA.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256()), RSA.public_key()),
    ],
    ids=["P-256", "Ed25519", "RSA-PSS", "RSA-PKCS1"],
)
def test_supported_keys(signature: bytes, key: dsse.PublicKey):
    envelope = envelope_by(signature)
    assert dsse.verify(envelope, [key]).payload == b"hello world"
    envelope["payload"] = base64.b64encode(b"hello World").decode()
    with pytest.raises(EvidenceError) as refused:
        dsse.verify(envelope, [key])
    assert refused.value.code == "signature-invalid"


def test_text_bytes_and_object_are_the_same_envelope():
    envelope = sign(TYPE, b"x")
    text = json.dumps(envelope)
    assert dsse.verify(text, [KEY]) == dsse.verify(text.encode(), [KEY]) == dsse.verify(envelope, [KEY])


def test_url_safe_base64_is_accepted():
    envelope = sign(TYPE, b"\xfb\xff\xfe")
    envelope["payload"] = base64.urlsafe_b64encode(b"\xfb\xff\xfe").decode()
    assert dsse.verify(envelope, [KEY]).payload == b"\xfb\xff\xfe"


@pytest.mark.parametrize("hint", ["", None, "somebody", dsse.key_id(OTHER)])
def test_a_key_id_is_a_hint_only(hint: str | None):
    """Absent, empty, null or wrong: the key that verifies counts."""
    envelope = sign(TYPE, b"x")
    envelope["signatures"][0]["keyid"] = hint
    assert dsse.verify(envelope, [OTHER, KEY]).keys == (KEY,)
    del envelope["signatures"][0]["keyid"]
    assert dsse.verify(envelope, [OTHER, KEY]).keys == (KEY,)


def test_a_threshold_counts_keys_not_signatures():
    """The same key twice, by two signatures or by two entries among the trusted keys, is one."""
    twice = sign(TYPE, b"x")
    again = SIGNER.sign(dsse.pae(TYPE, b"x"), ec.ECDSA(hashes.SHA256()))
    twice["signatures"].append({"keyid": "another", "sig": base64.b64encode(again).decode()})
    with pytest.raises(EvidenceError) as refused:
        dsse.verify(twice, [KEY, dsse.load_key(pem(SIGNER)), OTHER], threshold=2)
    assert refused.value.code == "signature-threshold"
    both = sign(TYPE, b"x")
    both["signatures"] += sign(TYPE, b"x", STRANGER)["signatures"]
    assert dsse.verify(both, [KEY, OTHER], threshold=2).keys == (KEY, OTHER)


@pytest.mark.parametrize("threshold", [0, -1])
def test_a_threshold_of_nothing_is_refused(threshold: int):
    with pytest.raises(EvidenceError):
        dsse.verify(sign(TYPE, b"x"), [KEY], threshold=threshold)


def test_no_trusted_key_accepts_nothing():
    with pytest.raises(EvidenceError) as refused:
        dsse.verify(sign(TYPE, b"x"), [])
    assert refused.value.code == "signer-unknown"


def altered(**fields: object) -> dict[str, Any]:
    return copy.deepcopy(sign(TYPE, b"payload")) | fields


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (sign(TYPE, b"x", STRANGER), "signer-unknown"),
        (altered(payloadType="other"), "signature-invalid"),
        (altered(payload="cGF5bG9hZA"), "envelope-malformed"),
        (altered(payload="cGF5bG9hZB=="), "envelope-malformed"),
        (altered(payload="+_=="), "envelope-malformed"),
        (altered(payload=None), "envelope-malformed"),
        (altered(payload="é"), "envelope-malformed"),
        (altered(payloadType=""), "envelope-malformed"),
        (altered(payloadType="\ud800"), "envelope-malformed"),
        (altered(payloadType=3), "envelope-malformed"),
        (altered(signatures=[]), "envelope-malformed"),
        (altered(signatures={}), "envelope-malformed"),
        (altered(signatures=["x"]), "envelope-malformed"),
        (altered(signatures=[{"sig": 1}]), "envelope-malformed"),
        (altered(signatures=[{"sig": "AA==", "keyid": 1}]), "envelope-malformed"),
        (altered(signatures=[{"sig": "AA=="}] * 65), "envelope-malformed"),
        (altered(signatures=[{"sig": ""}]), "signature-invalid"),
        ("[]", "envelope-malformed"),
        ("", "envelope-malformed"),
        (b"\xff", "envelope-malformed"),
        ('{"payload": "", "payload": ""}', "envelope-malformed"),
        ('{"payload": NaN}', "envelope-malformed"),
        ("[" * 100_000, "envelope-malformed"),
        ('{"payload": ' + "9" * 5000 + "}", "envelope-malformed"),
    ],
)
def test_refusals(envelope: object, code: str):
    with pytest.raises(EvidenceError) as refused:
        dsse.verify(envelope, [KEY])  # type: ignore[arg-type]
    assert refused.value.code == code


RAW = json.dumps(sign(TYPE, b"hello world")).encode()


@given(st.integers(0, len(RAW) - 1), st.integers(0, 255), st.sampled_from(("set", "drop", "insert")))
def test_mutated_envelopes_never_change_what_is_accepted(position: int, value: int, how: str):
    """An EvidenceError, or the very payload that was signed (a mutation of the hint is no forgery)."""
    middle = {"set": bytes([value]), "drop": b"", "insert": bytes([value]) + RAW[position : position + 1]}[how]
    mutated = RAW[:position] + middle + RAW[position + 1 :]
    try:
        verified = dsse.verify(mutated, [KEY])
    except EvidenceError:
        return
    assert (verified.payload, verified.payload_type) == (b"hello world", TYPE)


CANONICAL = rfc8785.dumps(sign(TYPE, b"hello world?>"))  # type: ignore[arg-type]
Text = st.text(max_size=8) | st.sampled_from(('"', "\\", "\x7f", "\n", ""))
Base64 = st.binary(max_size=9).map(lambda raw: base64.b64encode(raw).decode())


@given(Base64 | Text, Base64 | Text, Text, Text)
def test_the_fast_reading_is_the_strict_one(payload: str, signature: str, kind: str, hint: str):
    """Of an envelope in canonical form, whatever stands in it: the same reading, or none."""
    envelope = {"payload": payload, "payloadType": kind, "signatures": [{"keyid": hint, "sig": signature}]}
    raw = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
    fast = dsse._parse_canonical(raw)
    assert fast is None or fast == dsse._parse(raw, "envelope")


@given(st.integers(0, len(CANONICAL) - 1), st.binary(max_size=2), st.integers(0, 2))
def test_the_fast_reading_of_mutated_bytes_is_the_strict_one(position: int, inserted: bytes, dropped: int):
    mutated = CANONICAL[:position] + inserted + CANONICAL[position + dropped :]
    fast = dsse._parse_canonical(mutated)
    assert fast is None or fast == dsse._parse(mutated, "envelope")


def test_signers_envelopes_are_read_fast():
    assert dsse._parse_canonical(CANONICAL) == dsse._parse(CANONICAL, "envelope")


@given(st.text("AQghwxyz089+/-_=\n ", max_size=12) | Base64)
def test_base64_has_one_spelling(text: str):
    """Accepted is exactly what encodes back to itself in one of the two alphabets."""
    try:
        decoded = from_base64(text, code="envelope-malformed", item="text")
    except EvidenceError:
        decoded = None
    spellings = set()
    with suppress(ValueError):
        plain = base64.b64decode(text.replace("-", "+").replace("_", "/"))
        spellings = {base64.b64encode(plain).decode(), base64.urlsafe_b64encode(plain).decode()}
    assert (decoded is not None) == (text in spellings)
    assert decoded is None or decoded == plain


def spki(key: Any) -> bytes:  # noqa: ANN401 - any private key of the library
    return bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


@pytest.mark.parametrize(
    ("pem_bytes", "code"),
    [
        (b"", "key-malformed"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "key-malformed"),
        ("-----BEGIN PUBLIC KEY-----é", "key-malformed"),
        (spki(ec.generate_private_key(ec.SECP384R1())), "key-unsupported"),
        (spki(rsa.generate_private_key(65537, 1024)), "key-unsupported"),  # noqa: S505 - refused is the point
        (spki(dsa.generate_private_key(2048)), "key-unsupported"),
    ],
    ids=["empty", "rubbish", "not ASCII", "P-384", "RSA 1024", "DSA"],
)
def test_keys_refused(pem_bytes: bytes | str, code: str):
    with pytest.raises(EvidenceError) as refused:
        dsse.load_key(pem_bytes)
    assert refused.value.code == code
