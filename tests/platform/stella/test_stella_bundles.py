"""A bundle is accepted whole and as signed, or refused with the reason."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from rehearsal.platform.core import keys, makers
from rehearsal.platform.stella import attestations
from rehearsal.platform.stella.verification import Trust
from tests.platform.stella.stella_world import CREATED, SIGNING_KEY, World

SCAN = makers.Scan(id="scan-b", image="registry.test/bundle:1", created=CREATED)
FILES = {makers.BUNDLE_NAMES[item.kind]: item.content for item in makers.make_evidence(SCAN, SIGNING_KEY)[:3]}
BUNDLE = makers.make_evidence(SCAN, SIGNING_KEY)[3].content


def packed(files: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(raw.getvalue())


def test_a_whole_bundle_gives_the_key_that_signed(world: World):
    assert attestations.check_bundle(BUNDLE, world.trust) == keys.key_id(SIGNING_KEY.public_key())
    assert attestations.check_bundle(packed(FILES), world.trust) == keys.key_id(SIGNING_KEY.public_key())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it ends early"),
        (b"hello", "not a tar.gz archive"),
        (BUNDLE[:-5], "it ends early"),
        (BUNDLE + b"zz", "2 bytes follow the archive"),
        (gzip.compress(b"no tar"), "not a tar.gz archive"),
        (packed({}), "it holds nothing"),
        (packed({name: FILES[name] for name in list(FILES)[:2]}), "it holds manifest.json, sbom.cdx.json, expected"),
        (packed({**FILES, "extra.txt": b"x"}), "extra.txt"),
        (packed({**FILES, "sbom.cdx.json": FILES["sbom.cdx.json"] + b" "}), "sbom.cdx.json has sha256:"),
        (packed({**FILES, "manifest.json": b"{}"}), "manifest.json has sha256:"),
        (packed({**FILES, "attestation.dsse.json": b"{}"}), "the attestation is not valid"),
        (
            packed(
                {**FILES, "attestation.dsse.json": FILES["attestation.dsse.json"].replace(b'"sig":"M', b'"sig":"N')}
            ),
            "the attestation is not valid: no signature by a trusted key",
        ),
    ],
)
def test_a_tampered_bundle_is_refused_with_the_reason(world: World, content: bytes, reason: str):
    with pytest.raises(attestations.BundleError) as refusal:
        attestations.check_bundle(content, world.trust)
    assert reason in str(refusal.value)


def test_a_bundle_of_another_signer_is_refused(world: World):
    forged = makers.make_evidence(SCAN, keys.derived_signing_key(2))[3].content
    with pytest.raises(attestations.BundleError, match="no signature by a trusted key"):
        attestations.check_bundle(forged, world.trust)
    other = Trust(signers=(keys.derived_signing_key(2).public_key(),), log_key=world.trust.log_key)
    assert attestations.check_bundle(forged, other)


def test_a_bundle_that_inflates_too_far_is_refused(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attestations, "BUNDLE_LIMIT_BYTES", 1024)
    with pytest.raises(attestations.BundleError, match="longer than a bundle may be"):
        attestations.check_bundle(BUNDLE, world.trust)


def test_a_link_in_a_bundle_is_refused(world: World):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        member = tarfile.TarInfo("manifest.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(attestations.BundleError, match="not one regular file"):
        attestations.check_bundle(gzip.compress(raw.getvalue()), world.trust)
