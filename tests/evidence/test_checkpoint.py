"""Checkpoints: a note's signature by a known key, its text to the byte, and all that must be refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.evidence import checkpoint
from cutover.evidence.errors import EvidenceError
from tests.evidence.world import LOG_KEY, ORIGIN, OTHER_LOG_KEY, sign_note, verifier_key

KEY, OTHER = verifier_key(LOG_KEY), verifier_key(OTHER_LOG_KEY)
ROOT = bytes(range(32))
NOTE = sign_note(7, ROOT)

# The Go checksum database's published verifier key: an id that somebody else computed.
PUBLISHED = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"


def with_text(text: str) -> str:
    """Sign any text with the log's key."""
    material = b"\x01" + LOG_KEY.public_key().public_bytes_raw()
    raw = checkpoint.key_hash(ORIGIN, material) + LOG_KEY.sign(text.encode())
    return f"{text}\n— {ORIGIN} {base64.b64encode(raw).decode()}\n"


def test_a_signed_checkpoint_is_read():
    read = checkpoint.verify(NOTE, KEY, origin=ORIGIN)
    assert (read.origin, read.size, read.root, read.signers) == (ORIGIN, 7, ROOT, (ORIGIN,))
    assert checkpoint.verify(NOTE.encode(), [OTHER, KEY]) == read


def test_a_published_key_has_the_id_we_compute():
    assert checkpoint.Verifier.parse(PUBLISHED).name == "sum.golang.org"


def test_unknown_signatures_are_ignored_and_the_known_one_demanded():
    """A witness nobody here knows may sign too; its line changes nothing."""
    witness = NOTE + "— witness.example AAAAAAAA\n"
    assert checkpoint.verify(witness, KEY).signers == (ORIGIN,)
    with pytest.raises(EvidenceError) as refused:
        checkpoint.verify(NOTE, OTHER)
    assert refused.value.code == "checkpoint-unsigned"


def test_extensions_are_kept():
    text = f"{ORIGIN}\n7\n{base64.b64encode(ROOT).decode()}\nfirst\nsecond\n"
    assert checkpoint.verify(with_text(text), KEY).extensions == ("first", "second")


ROOT64 = base64.b64encode(ROOT).decode()


@pytest.mark.parametrize(
    ("note", "code"),
    [
        ("", "checkpoint-malformed"),
        (b"\xff", "checkpoint-malformed"),
        (None, "checkpoint-malformed"),
        (NOTE[:-1], "checkpoint-malformed"),
        (NOTE.replace("\n\n", "\n"), "checkpoint-malformed"),
        (NOTE.replace("— ", "- "), "checkpoint-malformed"),
        (NOTE.replace("\n", "\r\n"), "checkpoint-malformed"),
        (NOTE + "\n", "checkpoint-malformed"),
        (NOTE + "— witness.example AAA=\n", "checkpoint-malformed"),
        (NOTE + "— witness.example AAAAAAAA\n" * 200, "checkpoint-malformed"),
        ("x" * (1 << 21), "checkpoint-malformed"),
        (NOTE.replace("\n7\n", "\n8\n"), "checkpoint-signature-invalid"),
        (NOTE.replace(ROOT64, ROOT64.swapcase()), "checkpoint-signature-invalid"),
        (sign_note(7, ROOT, name="other"), "checkpoint-unsigned"),
        (sign_note(7, ROOT, origin="another.log"), "checkpoint-origin"),
        (with_text(f"{ORIGIN}\n07\n{ROOT64}\n"), "checkpoint-malformed"),
        (with_text(f"{ORIGIN}\n-7\n{ROOT64}\n"), "checkpoint-malformed"),
        (with_text(f"{ORIGIN}\n{'9' * 19}\n{ROOT64}\n"), "checkpoint-malformed"),
        (with_text(f"{ORIGIN}\n\u0667\n{ROOT64}\n"), "checkpoint-malformed"),
        (with_text(f"{ORIGIN}\n0\n{ROOT64}\n"), "checkpoint-malformed"),
        (with_text(f"{ORIGIN}\n7\nAAAA\n"), "checkpoint-malformed"),
        (with_text(f"{ORIGIN}\n7\n"), "checkpoint-malformed"),
        (with_text(f"\n7\n{ROOT64}\n"), "checkpoint-malformed"),
    ],
)
def test_refusals(note: str, code: str):
    with pytest.raises(EvidenceError) as refused:
        checkpoint.verify(note, KEY, origin=ORIGIN)
    assert refused.value.code == code


@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(0, 255), st.sampled_from(("set", "drop", "insert")))
def test_mutated_notes_never_change_what_is_accepted(position: int, value: int, how: str):
    raw = NOTE.encode()
    middle = {"set": bytes([value]), "drop": b"", "insert": bytes([value]) + raw[position : position + 1]}[how]
    try:
        read = checkpoint.verify(raw[:position] + middle + raw[position + 1 :], KEY)
    except EvidenceError:
        return
    assert (read.origin, read.size, read.root) == (ORIGIN, 7, ROOT)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("", "key-malformed"),
        ("name", "key-malformed"),
        ("name+00000000", "key-malformed"),
        (KEY.replace("log", "lag"), "key-malformed"),
        (KEY.replace(ORIGIN, "a b"), "key-malformed"),
        (KEY.replace(ORIGIN, "log\ud800"), "key-malformed"),
        (f"{ORIGIN}+00000000+AAAA", "key-unsupported"),
        (f"{ORIGIN}+00000000+!", "key-malformed"),
    ],
)
def test_keys_refused(key: str, code: str):
    with pytest.raises(EvidenceError) as refused:
        checkpoint.verify(NOTE, key)
    assert refused.value.code == code
