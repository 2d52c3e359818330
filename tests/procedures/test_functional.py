"""Functional validation: what is held against a dry run, and what a bundle's attestation must say of its files."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import tarfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cutover.errors import ClauseFailed, CouldNotMeasure
from cutover.procedures import functional
from rehearsal.platform.core import keys, makers
from steps import functional as steps

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.runbook.upgrade import Upgrade

KEY = keys.derived_signing_key(7)


def bundle(**changed: bytes | None) -> bytes:
    """Return a signed bundle, with files replaced, added, or left out where None."""
    scan = makers.Scan(id="scan-1", image="example/app:1", created=dt.datetime(2026, 5, 1, tzinfo=dt.UTC))
    names = makers.BUNDLE_NAMES
    files: dict[str, bytes | None] = {
        names[item.kind]: item.content for item in makers.make_evidence(scan, KEY) if item.kind in names
    }
    files |= {names.get(kind.replace("_", "-"), kind): content for kind, content in changed.items()}
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in files.items():
            if content is not None:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return gzip.compress(raw.getvalue())


@pytest.fixture
def trust_root(tmp_path: Path) -> Path:
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    log = {"origin": "log.example", "key": keys.verifier_key("log.example", Ed25519PrivateKey.generate().public_key())}
    path = tmp_path / "trust.json"
    path.write_text(json.dumps({"attestation_keys": [pem], "log": log}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, ""),
        ({"sbom": b'{"bomFormat": "CycloneDX"}'}, "sbom.cdx.json: attested"),
        ({"oci_manifest": b"{}"}, "manifest.json: attested"),
        ({"sbom": None}, "in the bundle nothing"),
        ({"added.json": b"{}"}, "added.json: attested nothing"),
    ],
)
def test_a_bundle_holds_what_its_attestation_names(trust_root: Path, changed: dict[str, Any], reason: str) -> None:
    reasons: list[str] = []
    assert functional._harness_accepts(bundle(**changed), trust_root, reasons) is (reason == "")
    assert [one for one in reasons if reason in one] == reasons
    assert bool(reasons) is bool(reason)


def test_an_attestation_without_subjects_attests_nothing() -> None:
    for statement in (b'{"subject": []}', b'{"subject": [{"name": "a"}]}', b"not json"):
        assert functional._not_attested({functional.ATTESTATION: b"x"}, statement)


@pytest.mark.parametrize("content", [b"hello", bundle(attestation=None), bundle()[:200]])
def test_a_bundle_without_attestation_was_not_measured(content: bytes) -> None:
    with pytest.raises(CouldNotMeasure) as caught:
        functional._contents(content)
    assert caught.value.code == "bundle-unreadable"


def dry_run(
    upgrade: Upgrade, *, added: tuple[int, int] = (0, 0), changed: dict[str, object] | None = None
) -> functional.DryRun:
    """Make a dry run on a platform that answers, and writes, as the test says."""
    counts = {"scans": 3, "evidence": 12}
    answer = {
        "ok": True,
        "dry_run": True,
        "image": upgrade.target.fixtures.scan_image,
        "scan_id": None,
        "components": 9,
        "findings": {"critical": 0, "high": 1, "medium": 2, "low": 3},
        "written": 0,
    } | (changed or {})

    def call(*_: str, **__: str) -> dict[str, object]:
        counts["scans"] += added[0]
        counts["evidence"] += added[1]
        return answer

    site: Any = SimpleNamespace(
        stella=SimpleNamespace(call=call),
        database=SimpleNamespace(
            scans_of_image=lambda _image: counts["scans"], evidence_of_image=lambda _image: counts["evidence"]
        ),
    )
    return functional.scan_dry(site, upgrade)


def test_a_dry_run_answers_and_writes_nothing(upgrade: Upgrade) -> None:
    made = dry_run(upgrade)
    steps.scan_answers(made)
    steps.nothing_written(made)
    assert made.findings == 6


@pytest.mark.parametrize(
    "changed", [{"dry_run": False}, {"written": 1}, {"scan_id": "s-1"}, {"image": "other:1"}, {"components": 0}]
)
def test_a_scan_that_was_none_of_that_image_is_refused(upgrade: Upgrade, changed: dict[str, object]) -> None:
    with pytest.raises(ClauseFailed) as caught:
        steps.scan_answers(dry_run(upgrade, changed=changed))
    assert caught.value.code == "dry-run-failed"


@pytest.mark.parametrize("added", [(1, 0), (0, 4)])
def test_a_dry_run_that_wrote_is_found(upgrade: Upgrade, added: tuple[int, int]) -> None:
    with pytest.raises(ClauseFailed) as caught:
        steps.nothing_written(dry_run(upgrade, added=added))
    assert caught.value.code == "dry-run-wrote"
