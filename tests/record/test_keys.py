"""A signing key is read back as it was written, belongs to its certificate, and is trusted by its own root alone."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from cutover.errors import WrongInput
from cutover.evidence import dsse
from cutover.evidence.errors import EvidenceError
from cutover.record.keys import SigningKey, TrustedIdentity, TrustRoot

if TYPE_CHECKING:
    from pathlib import Path

KIND = "application/vnd.in-toto+json"


def saved(folder: Path, key: SigningKey, passphrase: str | None = None) -> tuple[Path, Path]:
    """Write a key; return its two files."""
    key.save(folder / "signing.key", folder / "signing.crt", passphrase=passphrase)
    return folder / "signing.key", folder / "signing.crt"


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_a_key_is_read_back_as_it_was_written_and_is_private(tmp_path: Path, passphrase: str | None) -> None:
    made = SigningKey.make("Release engineering")
    key, certificate = saved(tmp_path, made, passphrase)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert (b"ENCRYPTED" in key.read_bytes()) == (passphrase is not None)
    read = SigningKey.load(key, certificate, passphrase=passphrase)
    assert (read.key_id, read.name, read.certificate, read.chain) == (
        made.key_id,
        "Release engineering",
        made.certificate,
        made.chain,
    )


def test_what_a_key_signs_is_verified_by_its_own_trust_root_and_by_no_other(tmp_path: Path) -> None:
    mine, other = SigningKey.make("Mine"), SigningKey.make("Other")
    mine.trust_root(notice="for a test").save(tmp_path / "root.json")
    root = TrustRoot.load(tmp_path / "root.json")
    assert root.notice == "for a test"
    assert root.certificates == mine.chain
    verified = root.ring().verify(mine.sign(KIND, b"{}"))
    assert [root.name_of(key_id) for key_id in verified.key_ids] == ["Mine"]
    with pytest.raises(EvidenceError, match="signer-unknown"):
        root.ring().verify(other.sign(KIND, b"{}"))
    both = TrustRoot.parse(root.joined(other.trust_root()).content)
    assert both.name_of(other.key_id) == "Other"
    assert both.ring().verify(other.sign(KIND, b"{}")).key_ids == (other.key_id,)


def test_the_certificate_is_for_signing_documents_and_leads_to_its_authority() -> None:
    made = SigningKey.make("Release engineering")
    made.certificate.verify_directly_issued_by(made.chain[0])
    usage = made.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.content_commitment
    assert not usage.key_cert_sign
    assert made.chain[0].extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    ("spoil", "seen"),
    [
        ("passphrase", "PEM private key"),
        ("certificate", "certifies another key"),
        ("chain", "was not issued by"),
        ("empty", "certificate"),
        ("absent", "No such file"),
        ("kind", "expected ECDSA P-256"),
    ],
)
def test_what_does_not_belong_together_is_refused_before_anything_is_signed(
    tmp_path: Path, spoil: str, seen: str
) -> None:
    mine, other = SigningKey.make("Mine"), SigningKey.make("Other")
    key, certificate = saved(tmp_path, mine, "right")
    (tmp_path / "other").mkdir()
    _, foreign = saved(tmp_path / "other", other)
    match spoil:
        case "certificate":
            certificate.write_bytes(foreign.read_bytes())
        case "chain":
            from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

            pem = [one.public_bytes(Encoding.PEM) for one in (mine.certificate, other.chain[0])]
            certificate.write_bytes(b"".join(pem))
        case "empty":
            certificate.write_text("", "utf-8")
        case "absent":
            key.unlink()
        case "kind":
            from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
            from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
                BestAvailableEncryption,
                Encoding,
                PrivateFormat,
            )

            private = ed25519.Ed25519PrivateKey.generate()
            key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"right")))
    with pytest.raises(WrongInput) as refusal:
        SigningKey.load(key, certificate, passphrase="wrong" if spoil == "passphrase" else "right")
    assert seen in refusal.value.message + refusal.value.seen


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"", "strict JSON"),
        (b"[]", "a JSON object"),
        (b"{}", "required"),
        (b'{"schema":"cutover/trust-root/v1","keys":[]}', "neither a key nor an identity"),
        (b'{"schema":"cutover/trust-root/v1","keys":[{"name":"x","key":"none"}]}', "a PEM public key"),
        (b'{"schema":"cutover/trust-root/v1","keys":[],"keys":[]}', "twice"),
        (b'{"schema":"cutover/trust-root/v1","keys":[],"more":1}', "unknown key: more"),
        (
            b'{"schema":"cutover/trust-root/v1","keys":[],"identities":[{"identity":"a","issuer":"b"}]}',
            "could vouch for them",
        ),
    ],
)
def test_what_is_no_trust_root_is_refused_with_what_is_wrong(content: bytes, seen: str) -> None:
    with pytest.raises(WrongInput) as refusal:
        TrustRoot.parse(content, item="root.json")
    assert seen in refusal.value.seen
    assert "root.json" in refusal.value.message


def test_a_trust_root_keeps_identities_and_timestamping_authorities() -> None:
    key, authority = SigningKey.make("Mine"), SigningKey.make("Clock")
    root = TrustRoot(
        keys=key.trust_root().keys,
        identities=(TrustedIdentity(identity="ci@example.org", issuer="https://issuer.example.org"),),
        sigstore=json.dumps({"mediaType": "trusted root"}).encode(),
    ).with_timestamping(authority.chain[0])
    again = TrustRoot.parse(root.content)
    assert again.identities == root.identities
    assert again.timestamping == root.timestamping
    assert json.loads(again.sigstore) == {"mediaType": "trusted root"}
    assert again.digest == root.digest


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "x" * 65])
def test_a_key_without_a_usable_name_is_not_made(name: str) -> None:
    with pytest.raises(WrongInput, match="name of who signs"):
        SigningKey.make(name)


def test_a_key_id_is_that_of_the_envelopes_it_signs() -> None:
    made = SigningKey.make("Mine")
    assert made.key_id == dsse.key_id(made.certificate.public_key())  # type: ignore[arg-type]
