"""`cutover attest push`: who asks a registry for an image is told of its attestations, with the API and without."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cutover.cli.group import cli
from cutover.evidence import dsse
from cutover.model import ExitCode
from cutover.record import manifest
from cutover.record.registry import Registry as Client
from cutover.record.registry import fallback_tag
from cutover.record.statements import NAMES
from tests.record import whole_record
from tests.record.registry_server import Registry
from tests.record.whole_record import ID, WholeRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    from cutover.record.keys import SigningKey


@pytest.fixture(params=[True, False], ids=["referrers API", "fallback tag"])
def registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    with Registry(has_referrers_api=request.param) as made:
        yield made


@pytest.fixture
def attested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signing_key: SigningKey) -> Callable[[str], Path]:
    """Return a function that makes a sealed record of an upgrade to an image."""

    def made(image: str) -> Path:
        monkeypatch.setattr(whole_record, "IMAGE", image)
        record = WholeRecord(tmp_path / ID, monkeypatch)
        record.run()
        record.seal(signing_key)
        return record.folder

    return made


def ran(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["attest", "push", *map(str, arguments), "--plain-http"])


def test_every_attestation_is_listed_at_the_image_and_verifies_as_it_was_signed(
    registry: Registry, attested: Callable[[str], Path], signing_key: SigningKey
) -> None:
    image = registry.put_image()
    done = ran(attested(image), "--registry", registry.place, "--json")
    assert done.exit_code == ExitCode.PASSED, done.output
    said = json.loads(done.stdout)["pushed"]
    assert {one["attestation"] for one in said} == set(NAMES)
    tag = f"tag {fallback_tag(image)}"
    assert {one["listed_by"] for one in said} == {"referrers API" if registry.has_referrers_api else tag}
    client = Client(registry.place, plain_http=True)
    listed = client.referrers(image)
    client.close()
    assert {one["digest"] for one in listed} == {one["digest"] for one in said}
    assert {one["artifactType"] for one in listed} == {"application/vnd.dsse.envelope.v1+json"}
    assert {one["annotations"]["in-toto.io/predicate-type"] for one in listed} == set(NAMES.values())
    for one in listed:
        document = json.loads(registry.manifests[one["digest"]][1])
        assert document["subject"]["digest"] == image
        [layer] = document["layers"]
        verified = dsse.verify(registry.blobs[layer["digest"]], [signing_key.private.public_key()])
        subjects = {subject["digest"]["sha256"] for subject in json.loads(verified.payload)["subject"]}
        assert image.removeprefix("sha256:") in subjects


def test_pushing_twice_changes_nothing(registry: Registry, attested: Callable[[str], Path]) -> None:
    folder = attested(registry.put_image())
    assert ran(folder, "--registry", registry.place).exit_code == ExitCode.PASSED
    blobs, manifests = dict(registry.blobs), dict(registry.manifests)
    assert ran(folder, "--registry", registry.place).exit_code == ExitCode.PASSED
    assert (registry.blobs, registry.manifests) == (blobs, manifests)


def test_what_others_attached_stays_under_the_fallback_tag(attested: Callable[[str], Path]) -> None:
    with Registry(has_referrers_api=False) as registry:
        image = registry.put_image()
        other = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + "0" * 64, "size": 1}
        index = json.dumps({"schemaVersion": 2, "manifests": [other]}).encode()
        registry.manifests[fallback_tag(image)] = ("application/vnd.oci.image.index.v1+json", index)
        assert ran(attested(image), "--registry", registry.place).exit_code == ExitCode.PASSED
        listed = json.loads(registry.manifests[fallback_tag(image)][1])["manifests"]
        assert other in listed
        assert len(listed) == 1 + len(NAMES)


def test_a_token_is_had_for_a_password_that_no_output_shows(
    attested: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", "the registry's password")
    with Registry(has_referrers_api=True, password="the registry's password") as registry:
        folder = attested(registry.put_image())
        refused = ran(folder, "--registry", registry.place)
        assert refused.exit_code == ExitCode.REFUSED
        assert "does not let us write" in refused.output
        done = ran(folder, "--registry", registry.place, "--username", "pusher", "--password-env", "REGISTRY_PASSWORD")
        assert done.exit_code == ExitCode.PASSED, done.output
        assert "the registry's password" not in done.output + refused.output


def test_an_image_that_the_registry_does_not_have_gets_nothing(
    registry: Registry, attested: Callable[[str], Path]
) -> None:
    folder = attested("sha256:" + "ab" * 32)
    refused = ran(folder, "--registry", registry.place)
    assert refused.exit_code == ExitCode.REFUSED
    assert "does not have the image" in refused.output
    assert registry.blobs == {}


@pytest.mark.parametrize("spoil", ["unsealed", "changed", "unsigned"])
def test_nothing_is_handed_on_of_a_record_that_does_not_hold(
    registry: Registry, sealed: Path, finished: Path, copy_of: Callable[[Path], Path], spoil: str
) -> None:
    folder = copy_of(finished if spoil == "unsigned" else sealed)
    match spoil:
        case "unsealed":
            (folder / manifest.SEAL).unlink()
        case "changed":
            shutil.copyfile(folder / "attestations/test-result.dsse.json", folder / "attestations/svr.dsse.json")
        case "unsigned":
            whole_record.seal_folder(folder, None)
    refused = ran(folder, "--registry", registry.place)
    assert refused.exit_code == ExitCode.REFUSED
    assert "nothing is handed on" in refused.output
    assert registry.asked == []


@pytest.mark.parametrize("place", ["registry.example.org", "registry.example.org/UPPER", "https://registry/x", ""])
def test_what_names_no_repository_is_wrong_input(sealed: Path, place: str) -> None:
    assert ran(sealed, "--registry", place).exit_code == ExitCode.WRONG_INPUT


def test_a_registry_that_is_not_there_is_said_to_be_so(sealed: Path) -> None:
    done = ran(sealed, "--registry", "127.0.0.1:9/stellaops")
    assert done.exit_code == ExitCode.COULD_NOT_MEASURE
    assert "is not reached" in done.output
