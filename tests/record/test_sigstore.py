"""A record signed without a key: under an identity that a Sigstore instance vouches for, verified offline."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cutover.errors import CouldNotMeasure, WrongInput
from cutover.record import manifest, seal, signer
from cutover.record.keys import TrustedIdentity, TrustRoot
from cutover.record.verify import verify
from tests.evidence.sigstore_instance import IDENTITY, ISSUER, Instance
from tests.record.whole_record import AT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRUST = TrustRoot(identities=(TrustedIdentity(identity=IDENTITY, issuer=ISSUER),), sigstore=Instance().trusted_root())


class InstanceSigner:
    """Signs as the instance of the tests does: certificate, log entry and timestamp without a network."""

    kind = signer.SIGSTORE
    name = IDENTITY

    def sign(self, statement: bytes) -> bytes:
        """Return a bundle."""
        return json.dumps(Instance().dsse_2(statement)).encode()


@pytest.fixture
def signed(finished: Path, copy_of: Callable[[Path], Path]) -> Path:
    """Return a record that is sealed under an identity."""
    folder = copy_of(finished)
    prepared = seal.prepare(folder, InstanceSigner())
    (folder / "summary.md").write_text(prepared.manifest.digest, "utf-8")
    prepared.close(at=AT)
    return folder


def codes(folder: Path, trust: TrustRoot) -> dict[str, set[str]]:
    """Return the codes of the reasons by file."""
    named: dict[str, set[str]] = {}
    for check in verify(folder, trust).checks:
        for reason in check.reasons:
            named.setdefault(reason.file, set()).add(reason.code)
    return named


def test_an_identity_of_the_trust_root_is_believed(signed: Path) -> None:
    found = verify(signed, TRUST)
    assert [str(reason) for check in found.checks for reason in check.reasons] == []
    assert found.holds
    assert found.signed_by == f"{IDENTITY} ({ISSUER})"
    names = sorted(path.name for path in (signed / manifest.ATTESTATIONS).iterdir())
    assert names == ["svr.sigstore.json", "test-result.sigstore.json", "upgrade-record.sigstore.json"]


def test_another_identity_is_not(signed: Path) -> None:
    other = TrustRoot(
        identities=(TrustedIdentity(identity="somebody@else.example", issuer=ISSUER),), sigstore=TRUST.sigstore
    )
    assert codes(signed, other)["seal.json"] == {"identity-mismatch"}


def test_a_bundle_of_another_statement_is_not_this_seal_s(signed: Path) -> None:
    document = json.loads((signed / manifest.SEAL).read_bytes())
    document["signature"]["bundle"] = json.loads((signed / manifest.ATTESTATIONS / "svr.sigstore.json").read_bytes())
    (signed / manifest.SEAL).write_bytes(manifest.written(document))
    assert codes(signed, TRUST)["seal.json"] == {"seal-differs"}


def test_a_key_s_trust_root_says_that_it_knows_no_identity(signed: Path, sealed: Path) -> None:
    from cutover.record.keys import SigningKey  # noqa: PLC0415

    assert codes(signed, SigningKey.make("A key").trust_root())["seal.json"] == {"signer-unknown"}
    assert codes(sealed, TRUST)["seal.json"] >= {"signer-unknown"}


def test_a_trust_configuration_that_is_none_is_wrong_input(tmp_path: Path) -> None:
    (tmp_path / "instance.json").write_text("{}", "utf-8")
    with pytest.raises(WrongInput, match="no trust configuration"):
        signer.SigstoreSigner(trust_config=tmp_path / "instance.json", token="a.b.c").sign(b"{}")
    with pytest.raises((WrongInput, CouldNotMeasure)):
        signer.SigstoreSigner(trust_config=tmp_path / "absent.json", token="").sign(b"{}")
