"""A scan's evidence is reproducible, valid by its standards, and names its parts by their real digests."""

import dataclasses
import datetime as dt
import gzip
import hashlib
import io
import json
import tarfile
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from rehearsal.platform.core import dsse, keys, leaves, makers
from rehearsal.platform.stella import attestations
from rehearsal.platform.stella.verification import Trust

KEY = keys.derived_signing_key(1)
SCAN = makers.Scan(
    id="scan-000000000001",
    image="registry.stella.test/payments/api:1.2.3",
    created=dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC),
)
ITEMS = {item.kind: item for item in makers.make_evidence(SCAN, KEY)}
# What these bytes were when they were first released; evidence made once must never be made differently.
SEALED = {
    "oci-manifest": "3587c98c154febb138e032184d29d0d03b440b0afff8659e01428f656014f270",
    "sbom": "4c95bf08cc64c68fffef89105695958e7827b16c69ce785004d089ed3b767e0c",
    "attestation": "07dc853ed87358f689467623fdd12d8de021716d8d7f58473854e380792de72b",
}


def read(kind: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(ITEMS[kind].content)
    return value


@pytest.mark.parametrize("kind", SEALED)
def test_the_bytes_are_the_released_ones(kind: str) -> None:
    assert ITEMS[kind].sha256 == SEALED[kind]


def test_a_repeated_attempt_makes_the_same_evidence() -> None:
    assert list(ITEMS.values()) == list(makers.make_evidence(SCAN, KEY))


@pytest.mark.parametrize("kind", makers.KINDS)
def test_digest_and_key_follow_from_the_content(kind: str) -> None:
    item = ITEMS[kind]
    digest = hashlib.sha256(item.content).hexdigest()
    assert (item.sha256, item.object_key) == (digest, f"evidence/{digest[:2]}/{digest}")


@pytest.mark.parametrize("image", [SCAN.image, "test-image:latest", "untagged", "a.test/team/x:1"])
def test_the_sbom_is_valid_cyclonedx(image: str) -> None:
    sbom = makers.make_sbom(makers.Scan(id="scan-x", image=image, created=SCAN.created))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.decode()) is None


def test_the_manifests_layer_is_the_sbom() -> None:
    manifest, sbom = read("oci-manifest"), ITEMS["sbom"]
    assert manifest["layers"] == [
        {"mediaType": sbom.media_type, "digest": f"sha256:{sbom.sha256}", "size": len(sbom.content)}
    ]
    assert manifest["config"]["digest"] == "sha256:" + hashlib.sha256(b"{}").hexdigest()


def test_the_attestation_is_about_manifest_and_sbom() -> None:
    payload, signer = dsse.verify(read("attestation"), dsse.IN_TOTO, [KEY.public_key()])
    statement = json.loads(payload)
    assert [subject["digest"]["sha256"] for subject in statement["subject"]] == [
        ITEMS["oci-manifest"].sha256,
        ITEMS["sbom"].sha256,
    ]
    assert statement["predicate"]["scan"]["id"] == SCAN.id
    assert signer == ITEMS["attestation"].signer_keyid


def test_the_bundle_holds_the_other_three() -> None:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(ITEMS["bundle"].content))) as archive:
        contents = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    assert contents == {name: ITEMS[kind].content for kind, name in makers.BUNDLE_NAMES.items()}


SIZES = (4096, 4097, 4098, 4099, 5000, 65536)
LONGEST = next(
    scan
    for scan in (dataclasses.replace(SCAN, image=f"registry.stella.test/payments/api:1.{n}.0") for n in range(1000))
    if len(makers.components(scan.image)) >= 17
)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scan", [SCAN, LONGEST], ids=["usual", "many packages"])
def test_evidence_of_one_size_is_still_what_its_kind_says(scan: makers.Scan, size: int) -> None:
    made = {item.kind: item for item in makers.make_evidence(scan, KEY, size)}
    assert {len(item.content) for item in made.values()} == {size}
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made["sbom"].content.decode()) is None
    manifest = json.loads(made["oci-manifest"].content)
    assert manifest["layers"][0]["digest"] == f"sha256:{made['sbom'].sha256}"
    payload, _ = dsse.verify(json.loads(made["attestation"].content), dsse.IN_TOTO, [KEY.public_key()])
    assert json.loads(payload)["subject"][0]["digest"]["sha256"] == made["oci-manifest"].sha256
    # The platform's own check of a bundle: three files and nothing after them, signed, digests as the statement says.
    trust = Trust(signers=(KEY.public_key(),), log_key="")
    assert attestations.check_bundle(made["bundle"].content, trust) == made["attestation"].signer_keyid


@pytest.mark.parametrize(("size", "what"), [(200, "an SBOM"), (1600, "a bundle")])
def test_a_size_that_an_item_cannot_have_is_an_error(size: int, what: str) -> None:
    with pytest.raises(ValueError, match=f"{what} of {size} bytes cannot be made"):
        makers.make_evidence(SCAN, KEY, size)


def test_two_scans_share_no_content() -> None:
    other = makers.make_evidence(makers.Scan(id="scan-2", image=SCAN.image, created=SCAN.created), KEY)
    assert not {item.sha256 for item in other} & {item.sha256 for item in ITEMS.values()}


def test_leaves_cover_what_their_schema_says() -> None:
    item = leaves.Covered(id="ev-000000000007", kind="sbom", sha256="ab" * 32, size_bytes=9, created=SCAN.created)
    assert leaves.leaf_data_v1(item) == b'{"id":"ev-000000000007","kind":"sbom","sha256":"' + b"ab" * 32 + b'"}'
    assert leaves.leaf_data_v2(item) == (
        b'{"created":"2026-01-02T03:04:05.678901Z","id":"ev-000000000007","kind":"sbom","sha256":"'
        + b"ab" * 32
        + b'","size_bytes":9}'
    )
    assert leaves.leaf_hash(item, 1) == hashlib.sha256(b"\0" + leaves.leaf_data_v1(item)).digest()
