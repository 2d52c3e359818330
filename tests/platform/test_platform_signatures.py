"""Envelopes and checkpoints are what the standards say, byte by byte, and no other key or text is accepted."""

import base64

import pytest

from rehearsal.platform.core import checkpoint, dsse, keys, merkle

KEY, OTHER = keys.derived_signing_key(1), keys.derived_signing_key(2)
LOG_KEY, OTHER_LOG = keys.derived_log_key(1), keys.derived_log_key(2)
STATE = checkpoint.Checkpoint(origin="log.stella.test", size=3, root=merkle.Frontier([bytes(32)] * 3).root())
VERIFIER = keys.verifier_key("log.stella.test", LOG_KEY.public_key())


def test_pae_is_the_specifications_example() -> None:
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_pae_counts_bytes_not_characters() -> None:
    assert dsse.pae("é", "€".encode()) == "DSSEv1 2 é 3 €".encode()


def test_an_envelope_verifies_and_gives_what_was_signed() -> None:
    envelope = dsse.sign(dsse.IN_TOTO, b"payload", KEY)
    payload, signer = dsse.verify(envelope, dsse.IN_TOTO, [OTHER.public_key(), KEY.public_key()])
    assert (payload, signer) == (b"payload", keys.key_id(KEY.public_key()))


def test_the_same_statement_gives_the_same_envelope() -> None:
    assert dsse.sign(dsse.IN_TOTO, b"payload", KEY) == dsse.sign(dsse.IN_TOTO, b"payload", KEY)


def test_url_safe_base64_without_padding_is_accepted() -> None:
    envelope = dsse.sign(dsse.IN_TOTO, b"\xfb\xff\xfe payload", KEY)
    envelope["payload"] = base64.urlsafe_b64encode(b"\xfb\xff\xfe payload").decode().rstrip("=")
    assert dsse.verify(envelope, dsse.IN_TOTO, [KEY.public_key()])[0] == b"\xfb\xff\xfe payload"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"payload": base64.b64encode(b"other").decode()}, "no signature by a trusted key"),
        ({"payloadType": "text/plain"}, "payload type is 'text/plain'"),
        ({"signatures": []}, "no signature by a trusted key"),
        ({"signatures": [{"sig": "!"}]}, "not a DSSE envelope"),
        ({"signatures": None}, "not a DSSE envelope"),
    ],
    ids=["payload", "type", "unsigned", "rubbish", "shape"],
)
def test_a_changed_envelope_is_refused(change: dict[str, object], reason: str) -> None:
    envelope = {**dsse.sign(dsse.IN_TOTO, b"payload", KEY), **change}
    with pytest.raises(dsse.SignatureInvalidError, match=reason):
        dsse.verify(envelope, dsse.IN_TOTO, [KEY.public_key()])


def test_a_claimed_key_id_convinces_nobody() -> None:
    envelope = dsse.sign(dsse.IN_TOTO, b"payload", OTHER)
    envelope["signatures"][0]["keyid"] = keys.key_id(KEY.public_key())
    with pytest.raises(dsse.SignatureInvalidError):
        dsse.verify(envelope, dsse.IN_TOTO, [KEY.public_key()])


def test_a_notes_key_id_is_the_one_of_the_standards_example() -> None:
    raw = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    assert keys.note_key_id("PeterNeumann", raw).hex() == "c74f20a3"


def test_a_checkpoint_is_three_lines_and_a_signature() -> None:
    lines = checkpoint.sign(STATE, LOG_KEY).split("\n")
    assert lines[:4] == ["log.stella.test", "3", base64.b64encode(STATE.root).decode(), ""]
    assert lines[4].startswith("\N{EM DASH} log.stella.test ")
    assert lines[5:] == [""]


def test_a_checkpoint_verifies_beside_unknown_signatures() -> None:
    note = checkpoint.sign(STATE, LOG_KEY)
    text, _, signature = note.partition("\n\n")
    foreign = checkpoint.sign(STATE, OTHER_LOG).partition("\n\n")[2]
    witness = f"\N{EM DASH} witness.test {base64.b64encode(b'0' * 68).decode()}\n"
    assert checkpoint.verify(f"{text}\n\n{witness}{foreign}{signature}", VERIFIER) == STATE


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        (checkpoint.sign(STATE, OTHER_LOG), "no signature"),
        (checkpoint.sign(STATE, LOG_KEY).replace("\n3\n", "\n4\n"), "does not match the text"),
        (checkpoint.sign(STATE, LOG_KEY).replace("\n3\n", "\n03\n"), "decimal"),
        (checkpoint.sign(STATE, LOG_KEY).partition("\n\n")[0], "empty line"),
        ("", "empty line"),
    ],
    ids=["other-key", "other-size", "padded-size", "unsigned", "empty"],
)
def test_another_note_is_refused(note: str, reason: str) -> None:
    with pytest.raises(checkpoint.CheckpointInvalidError, match=reason):
        checkpoint.verify(note, VERIFIER)


def test_a_note_of_another_origin_is_refused() -> None:
    other = keys.verifier_key("other.test", LOG_KEY.public_key())
    with pytest.raises(checkpoint.CheckpointInvalidError, match=r"expected 'other\.test'"):
        checkpoint.verify(checkpoint.sign(STATE, LOG_KEY), other)


def test_keys_survive_pem() -> None:
    assert keys.key_id(keys.load_signing_key(keys.private_pem(KEY)).public_key()) == keys.key_id(KEY.public_key())
    assert keys.key_id(keys.load_public_key(keys.public_pem(KEY.public_key()))) == keys.key_id(KEY.public_key())
    again = keys.load_log_key(keys.private_pem(LOG_KEY)).public_key()
    assert keys.verifier_key("log.stella.test", again) == VERIFIER


def test_a_key_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="P-256"):
        keys.load_signing_key(keys.private_pem(LOG_KEY))
    with pytest.raises(ValueError, match="Ed25519"):
        keys.load_log_key(keys.private_pem(KEY))
