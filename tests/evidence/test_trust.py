"""The trust root's file: read whole or refused."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from cutover.evidence import dsse, trust
from cutover.evidence.errors import EvidenceError
from tests.evidence.world import ORIGIN, SIGNER, trust_file

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = json.loads(trust_file())


def test_a_trust_root_is_read_with_its_digest(tmp_path: Path):
    path = tmp_path / "trust.json"
    path.write_bytes(trust_file())
    root = trust.load(path)
    assert [dsse.key_id(key) for key in root.attestation_keys] == [dsse.key_id(SIGNER.public_key())]
    assert (root.log_origin, root.log_verifier.name) == (ORIGIN, ORIGIN)
    assert root.digest == f"sha256:{sha256(trust_file()).hexdigest()}"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"attestation_keys": []}, "trust-malformed"),
        ({"attestation_keys": None}, "trust-malformed"),
        ({"attestation_keys": [1]}, "trust-malformed"),
        ({"attestation_keys": ["rubbish"]}, "key-malformed"),
        ({"log": None}, "trust-malformed"),
        ({"log": {"origin": ORIGIN}}, "trust-malformed"),
        ({"log": {"origin": ORIGIN, "key": "rubbish"}}, "key-malformed"),
    ],
)
def test_refusals(fields: dict[str, object], code: str):
    with pytest.raises(EvidenceError) as refused:
        trust.parse(json.dumps(FIELDS | fields).encode())
    assert refused.value.code == code


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff"])
def test_what_is_no_object_is_refused(raw: bytes):
    with pytest.raises(EvidenceError) as refused:
        trust.parse(raw)
    assert refused.value.code == "trust-malformed"
