"""Sealing: everything is named once, earlier seals are kept, and a kill between two steps leaves no half seal."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import jsonschema
import pytest

from cutover import files, project
from cutover.errors import CouldNotMeasure, WrongInput
from cutover.evidence import dsse
from cutover.record import again, manifest, seal, signer, statements
from cutover.record.verify import verify
from tests.record.whole_record import AT, FAILS_AT, ID, IMAGE, WholeRecord, seal_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from cutover.record.keys import SigningKey
    from cutover.record.verify import Verified

    Copy = Callable[[Path], Path]


def codes(found: Verified) -> set[tuple[str, str]]:
    """Return file and code of each reason."""
    return {(reason.file, reason.code) for check in found.checks for reason in check.reasons}


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WholeRecord:
    made = WholeRecord(tmp_path / ID, monkeypatch)
    made.run()
    return made


# -- the files ---------------------------------------------------------------------------------------------------------


def test_every_file_is_named_once_by_the_manifest_or_the_seal(sealed: Path) -> None:
    held = manifest.Manifest.parse((sealed / manifest.FILE).read_bytes())
    made = seal.Seal.parse((sealed / manifest.SEAL).read_bytes())
    there = {name for name, _ in manifest.paths(sealed)}
    assert set(held.files) | set(made.files) | {manifest.FILE, manifest.SEAL} == there
    assert not set(held.files) & set(made.files)
    assert {name.partition("/")[0] for name in made.files} == {*manifest.RENDERED, manifest.ATTESTATIONS}
    assert made.manifest == held.digest


def test_the_same_record_gives_the_same_manifest_and_the_same_statements(
    finished: Path, tmp_path: Path, signing_key: SigningKey
) -> None:
    made = []
    for name in ("one", "other"):
        shutil.copytree(finished, tmp_path / name)
        prepared = seal.prepare(tmp_path / name, signer.KeySigner(key=signing_key))
        made.append((prepared.manifest.content, statements.make(again.compute(tmp_path / name), prepared.manifest)))
    assert made[0] == made[1]


def test_what_a_killed_process_left_half_written_is_not_sealed(record: WholeRecord, signing_key: SigningKey) -> None:
    record.write(".report.html.part", "<html>")
    record.write("evidence/.diff.json.partial", "{")
    record.seal(signing_key)
    assert not list(record.folder.rglob(".*"))
    assert verify(record.folder, signing_key.trust_root()).holds


def test_a_link_is_no_part_of_a_record(record: WholeRecord, signing_key: SigningKey) -> None:
    (record.folder / "artifacts" / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(CouldNotMeasure, match="no file") as refusal:
        record.seal(signing_key)
    assert refusal.value.seen == "artifacts/passwd"


def test_a_record_without_a_verdict_is_not_sealed(record: WholeRecord, signing_key: SigningKey) -> None:
    (record.folder / again.VERDICT).unlink()
    with pytest.raises(WrongInput, match="no verdict"):
        record.seal(signing_key)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../x", ".", "a//b", ""])
def test_a_name_that_leads_out_of_the_record_is_none(name: str) -> None:
    assert not manifest.is_inside(name)
    with pytest.raises(ValueError, match="no file of a record"):
        manifest.items_of({name: {"size": 1, "sha256": "sha256:" + "0" * 64}})


# -- statements --------------------------------------------------------------------------------------------------------


def said(folder: Path, name: str, key: SigningKey) -> dict[str, Any]:
    """Return an attestation's statement, once its signature holds."""
    raw = (folder / manifest.ATTESTATIONS / f"{name}.dsse.json").read_bytes()
    verified = dsse.verify(raw, [key.private.public_key()])
    assert verified.payload_type == "application/vnd.in-toto+json"
    statement: dict[str, Any] = json.loads(verified.payload)
    return statement


def test_each_statement_is_about_the_manifest_and_every_image_of_green(sealed: Path, signing_key: SigningKey) -> None:
    digest = seal.digest_of_record(sealed).removeprefix("sha256:")
    for name, kind in statements.NAMES.items():
        statement = said(sealed, name, signing_key)
        assert set(statement) == {"_type", "subject", "predicateType", "predicate"}
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        assert statement["predicateType"] == kind
        assert statement["subject"] == [
            {"name": f"{ID}/manifest.json", "digest": {"sha256": digest}},
            {"name": "web 2027.Q2", "digest": {"sha256": IMAGE.removeprefix("sha256:")}},
            {"name": "worker 2027.Q2", "digest": {"sha256": IMAGE.removeprefix("sha256:")}},
        ]


def test_the_test_result_has_the_form_of_its_specification(sealed: Path, signing_key: SigningKey) -> None:
    """in-toto attestation, spec/predicates/test-result.md, version 0.1."""
    statement = said(sealed, "test-result", signing_key)
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    predicate = statement["predicate"]
    assert set(predicate) == {"result", "configuration", "passedTests", "warnedTests", "failedTests"}
    assert predicate["result"] == "PASSED"
    assert "1.1a Blue is healthy" in predicate["passedTests"]
    assert (predicate["warnedTests"], predicate["failedTests"]) == ([], [])
    names = [one["name"] for one in predicate["configuration"]]
    assert names == ["plan.json", "policy.toml", "target.redacted.toml", "clauses.toml"]
    assert all(set(one["digest"]) == {"sha256"} for one in predicate["configuration"])


def test_the_verification_result_has_the_form_of_its_specification(sealed: Path, signing_key: SigningKey) -> None:
    """in-toto attestation, spec/predicates/svr.md, version 0.2: `policies` is required."""
    statement = said(sealed, "svr", signing_key)
    assert statement["predicateType"] == "https://in-toto.io/attestation/svr/v0.2"
    predicate = statement["predicate"]
    assert set(predicate) == {"verifier", "timeCreated", "properties"}
    assert predicate["verifier"]["id"].startswith("https://")
    assert [one["name"] for one in predicate["verifier"]["policies"]] == ["policy.toml", "clauses.toml"]
    assert datetime.fromisoformat(predicate["timeCreated"]).tzinfo is not None
    assert set(predicate["properties"]) == {
        "CUTOVER_UPGRADE_PASSED",
        "CUTOVER_EVIDENCE_UNCHANGED",
        "CUTOVER_NO_FAILED_REQUEST",
        "CUTOVER_NO_LOST_WRITE",
        "CUTOVER_BACKUPS_RESTORED",
        "CUTOVER_APPROVED_BY_SIGNATURE",
    }


def test_our_own_predicate_satisfies_its_schema(sealed: Path, record: WholeRecord, signing_key: SigningKey) -> None:
    schema = json.loads((project.CONTRACT / "upgrade-record.schema.json").read_text("utf-8"))
    record.seal(signing_key)
    for folder in (sealed, record.folder):
        statement = said(folder, "upgrade-record", signing_key)
        assert statement["predicateType"] == schema["$id"]
        jsonschema.Draft202012Validator(schema).validate(statement["predicate"])


def test_what_did_not_pass_has_no_verification_result_and_its_missing_clauses_are_failed_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signing_key: SigningKey
) -> None:
    record = WholeRecord(tmp_path / ID, monkeypatch)
    record.run(fails_at=FAILS_AT)
    record.seal(signing_key)
    assert not (record.folder / manifest.ATTESTATIONS / "svr.dsse.json").exists()
    predicate = said(record.folder, "test-result", signing_key)["predicate"]
    assert predicate["result"] == "FAILED"
    failed = [name.partition(" ")[0] for name in predicate["failedTests"]]
    assert FAILS_AT in failed
    assert {"3.1a", "4.1a", "5.1"} <= set(failed), "required clauses that were not run"
    assert "1.1a Blue is healthy" in predicate["passedTests"]


# -- sealing again -----------------------------------------------------------------------------------------------------


def test_a_record_that_is_gone_on_with_keeps_its_earlier_seals(record: WholeRecord, signing_key: SigningKey) -> None:
    first = record.seal(signing_key)
    kept = {name: (record.folder / name).read_bytes() for name in (manifest.SEAL, manifest.FILE, again.VERDICT)}
    for number in (2, 3):
        seal.set_aside(record.folder)
        record.resume()
        made = record.seal(signing_key, at=AT + timedelta(days=number))
        assert made.number == number
    for name, content in kept.items():
        assert (record.folder / manifest.SEALS / "1" / name).read_bytes() == content
    assert sorted(path.name for path in (record.folder / manifest.SEALS).iterdir()) == ["1", "2"]
    held = manifest.Manifest.parse((record.folder / manifest.FILE).read_bytes())
    assert held.previous == manifest.digest_of((record.folder / manifest.SEALS / "2" / manifest.SEAL).read_bytes())
    assert first.previous == ""
    found = verify(record.folder, signing_key.trust_root())
    assert codes(found) == set()
    assert found.holds


def test_while_a_record_is_gone_on_with_it_is_not_sealed_and_says_which_attempt(
    record: WholeRecord, signing_key: SigningKey
) -> None:
    record.seal(signing_key)
    assert seal.set_aside(record.folder) == 1
    record.resume(finishes=False)
    record.journal.close()
    found = verify(record.folder, signing_key.trust_root())
    assert not found.holds
    assert {("seal.json", "seal-missing"), ("journal.jsonl", "attempt-open")} <= codes(found)
    told = " ".join(reason.what for check in found.checks for reason in check.reasons)
    assert "gone on with after seal 1" in told
    assert "attempt 2 (observe)" in told


def test_lines_that_an_earlier_seal_covers_cannot_be_rewritten_even_with_the_key(
    record: WholeRecord, signing_key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record.seal(signing_key)
    other = WholeRecord(tmp_path / "other", monkeypatch)
    other.clock.advance(5)
    other.run()
    seal.set_aside(record.folder)
    for name in ("journal.jsonl", again.VERDICT, "plan.json"):
        shutil.copyfile(other.folder / name, record.folder / name)
    shutil.rmtree(record.folder / "approvals")
    for name in ("approvals", "gates", "evidence"):
        shutil.copytree(other.folder / name, record.folder / name, dirs_exist_ok=True)
    seal_folder(record.folder, signing_key)
    found = verify(record.folder, signing_key.trust_root())
    assert ("journal.jsonl", "journal-rewritten") in codes(found)


@pytest.mark.parametrize("spoilt", ["dropped", "edited", "swapped", "all dropped"])
def test_earlier_seals_are_verified_too(record: WholeRecord, signing_key: SigningKey, spoilt: str) -> None:
    record.seal(signing_key)
    for _ in range(2):
        seal.set_aside(record.folder)
        record.resume()
        record.seal(signing_key)
    place = record.folder / manifest.SEALS
    match spoilt:
        case "dropped":
            shutil.rmtree(place / "1")
        case "all dropped":
            shutil.rmtree(place)
        case "edited":
            (place / "1" / again.VERDICT).write_text("{}", "utf-8")
        case "swapped":
            (place / "1").rename(place / "x")
            (place / "2").rename(place / "1")
            (place / "x").rename(place / "2")
    found = verify(record.folder, signing_key.trust_root())
    assert not found.holds
    assert any(reason.file.startswith("seals/1/") for check in found.checks for reason in check.reasons)
    earlier = next(check for check in found.checks if check.name == "earlier")
    assert not earlier.holds


# -- killed ------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.timeout(300)
def test_killed_at_any_write_a_record_is_never_half_sealed_and_is_sealed_by_the_next_attempt(
    record: WholeRecord, signing_key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealing again is cut short at each of its writes: the record is then not sealed, and going on seals it."""
    record.seal(signing_key)
    writes = 0
    for limit in range(1, 40):
        folder = tmp_path / "killed" / str(limit) / ID
        shutil.copytree(record.folder, folder)
        left = [limit]
        with monkeypatch.context() as patched:
            _kill_after(patched, left)
            try:
                seal_folder(folder, signing_key)
            except Killed:
                writes += 1
                found = verify(folder, signing_key.trust_root())
                named = {reason.file for check in found.checks for reason in check.reasons}
                if (folder / manifest.SEAL).is_file():  # the earlier one, until it is put away
                    assert all(file.startswith("seals/") or file in {manifest.SEAL, manifest.FILE} for file in named)
                else:
                    assert (manifest.SEAL, "seal-missing") in codes(found)
            else:
                break
        seal_folder(folder, signing_key)
        found = verify(folder, signing_key.trust_root())
        assert codes(found) == set()
        assert [path.name for path in (folder / manifest.SEALS).iterdir()] == ["1"]
    assert writes >= 10


def _kill_after(patched: pytest.MonkeyPatch, left: list[int]) -> None:
    """Let the process end before a write, a rename or a removal, once so many were made."""

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  # as the original
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return original(*arguments, **named)

        return do

    patched.setattr(files, "write_whole", counted(files.write_whole))
    for name in ("copy2", "copytree", "rmtree"):
        patched.setattr(shutil, name, counted(getattr(shutil, name)))
    from pathlib import Path as Paths  # noqa: PLC0415

    for name in ("unlink", "rename", "mkdir", "write_bytes", "write_text"):
        patched.setattr(Paths, name, counted(getattr(Paths, name)))


def test_seal_times_are_utc(sealed: Path) -> None:
    made = seal.Seal.parse((sealed / manifest.SEAL).read_bytes())
    assert datetime.fromisoformat(made.sealed_at).astimezone(UTC) == AT
