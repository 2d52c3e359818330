"""A sealed record is verified offline; what is not as it was sealed is named, whatever it is and whoever changed it."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
import socket
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from cutover.errors import WrongInput
from cutover.evidence import bundle, signing, trust
from cutover.record import again, contents, findings, manifest, seal, signer
from cutover.record.keys import SigningKey
from cutover.record.verify import verify
from cutover.runbook.journal import GENESIS, Journal, _digest, _written
from tests.evidence.world import trust_file
from tests.record.edits import EDITS
from tests.record.whole_record import FAILS_AT, ID, WholeRecord, seal_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cutover.record.verify import Verified

    Copy = Callable[[Path], Path]

SEEDS = 30
"""Of each kind of edit: 270 edits in all."""


def reasons(found: Verified) -> dict[str, set[str]]:
    """Return the codes of the reasons, by file."""
    named: dict[str, set[str]] = {}
    for check in found.checks:
        for reason in check.reasons:
            named.setdefault(reason.file, set()).add(reason.code)
    return named


def test_a_record_as_it_was_sealed_is_verified(sealed: Path, signing_key: SigningKey) -> None:
    found = verify(sealed, signing_key.trust_root())
    assert reasons(found) == {}
    assert found.holds
    assert (found.record, found.result, found.signed_by) == (ID, "PASSED", "Release engineering")
    assert [check.name for check in found.checks if check.absent] == ["earlier", "before"]
    assert found.digest == seal.digest_of_record(sealed)


def test_nothing_is_asked_of_a_network_and_nothing_is_written(
    sealed: Path, signing_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = manifest.everything(sealed)
    assert verify(sealed, signing_key.trust_root()).holds
    assert manifest.everything(sealed) == before


@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.timeout(300)
def test_every_random_edit_is_found_and_its_file_named(
    tmp_path: Path, sealed: Path, signing_key: SigningKey, kind: str
) -> None:
    for number in range(SEEDS):
        folder = tmp_path / str(number) / sealed.name
        shutil.copytree(sealed, folder)
        file = EDITS[kind](folder, random.Random(f"{kind} {number}"))  # noqa: S311  # no secret
        found = verify(folder, signing_key.trust_root())
        assert not found.holds, f"{kind} {number}: {file}"
        assert file in reasons(found), f"{kind} {number}: {file} is not among {reasons(found)}"
        shutil.rmtree(folder.parent)


def test_another_s_trust_root_does_not_verify_it(sealed: Path) -> None:
    found = verify(sealed, SigningKey.make("Somebody else").trust_root())
    assert not found.holds
    assert found.signed_by == ""
    assert reasons(found)["seal.json"] == {"signer-unknown"}
    assert "report.pdf" in reasons(found)


def test_a_record_that_nobody_signed_says_so_and_is_not_verified(
    finished: Path, copy_of: Copy, signing_key: SigningKey
) -> None:
    folder = copy_of(finished)
    made = seal_folder(folder, None)
    assert not made.is_signed
    assert not (folder / manifest.ATTESTATIONS).exists()
    found = verify(folder, signing_key.trust_root())
    assert reasons(found) == {"seal.json": {"seal-unsigned"}}
    assert not found.holds
    assert "names nothing to sign with" in found.checks[0].reasons[0].what


def test_a_record_that_was_never_sealed_is_not_verified(finished: Path, signing_key: SigningKey) -> None:
    found = verify(finished, signing_key.trust_root())
    assert not found.holds
    assert {"seal-missing"} <= reasons(found)["seal.json"]


def test_an_upgrade_that_failed_has_a_record_that_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signing_key: SigningKey
) -> None:
    """What an upgrade came to, and whether its record is what was sealed, are two questions."""
    record = WholeRecord(tmp_path / ID, monkeypatch)
    record.run(fails_at=FAILS_AT)
    record.seal(signing_key)
    found = verify(record.folder, signing_key.trust_root())
    assert reasons(found) == {}
    assert (found.holds, found.result) == (True, "FAILED")
    assert sorted(path.name for path in (record.folder / "attestations").iterdir()) == [
        "test-result.dsse.json",
        "upgrade-record.dsse.json",
    ]


@pytest.mark.parametrize("nothing", ["empty", "absent"])
def test_what_is_no_record_is_wrong_input(tmp_path: Path, signing_key: SigningKey, nothing: str) -> None:
    folder = tmp_path / nothing
    if nothing == "empty":
        folder.mkdir()
    with pytest.raises(WrongInput, match="holds no record"):
        verify(folder, signing_key.trust_root())


# -- somebody who knows how a record is made, and has no key ----------------------------------------------------------


def rebuilt(folder: Path) -> None:
    """Make manifest and seal anew over a folder, as somebody without the key can: the signature stays what it was."""
    held = manifest.Manifest.parse((folder / manifest.FILE).read_bytes())
    made = manifest.Manifest(
        record=held.record,
        number=held.number,
        previous=held.previous,
        journal_entries=held.journal_entries,
        journal_head=held.journal_head,
        files=manifest.inputs(folder),
    )
    (folder / manifest.FILE).write_bytes(made.content)
    was = seal.Seal.parse((folder / manifest.SEAL).read_bytes())
    now = seal.Seal(
        record=was.record,
        number=was.number,
        sealed_at=was.sealed_at,
        manifest=made.digest,
        previous=was.previous,
        signed_by=was.signed_by,
        files=manifest.rendered(folder),
        signature=was.signature,
    )
    (folder / manifest.SEAL).write_bytes(now.content)


def edit_verdict(folder: Path, **said: object) -> None:
    """Let the verdict say something else, written as a verdict is."""
    document: dict[str, Any] = json.loads((folder / again.VERDICT).read_bytes())
    (folder / again.VERDICT).write_bytes(again.written({**document, **said}))


def test_an_edited_verdict_over_a_rebuilt_manifest_contradicts_journal_seal_and_attestations(
    sealed: Path, copy_of: Copy, signing_key: SigningKey
) -> None:
    folder = copy_of(sealed)
    edit_verdict(folder, counts={"PASS": 99, "NOT_RUN": 0, "INCONCLUSIVE": 0, "ERROR": 0, "FAIL": 0})
    rebuilt(folder)
    found = verify(folder, signing_key.trust_root())
    named = reasons(found)
    assert named["seal.json"] == {"seal-differs"}
    assert "verdict-differs" in named[again.VERDICT]
    places = {reason.where for check in found.checks for reason in check.reasons if reason.file == again.VERDICT}
    assert "counts.PASS" in places
    assert named["attestations/upgrade-record.dsse.json"] == {"attestation-untrue"}


def test_the_attacker_s_own_signature_is_somebody_unknown_s(
    sealed: Path, copy_of: Copy, signing_key: SigningKey
) -> None:
    folder = copy_of(sealed)
    edit_verdict(folder, reasons=["nothing to see"])
    seal_folder(folder, SigningKey.make("Release engineering"))
    shutil.rmtree(folder / manifest.SEALS)
    named = reasons(verify(folder, signing_key.trust_root()))
    assert "signer-unknown" in named["seal.json"]
    assert "verdict-differs" in named[again.VERDICT]


def test_a_journal_chained_anew_over_an_edit_is_not_the_sealed_one(
    sealed: Path, copy_of: Copy, signing_key: SigningKey
) -> None:
    """A chain proves order, not authorship: whoever can hash can make another; the seal is what they cannot make."""
    folder = copy_of(sealed)
    path = folder / "journal.jsonl"
    lines, previous = [], GENESIS
    for raw in path.read_bytes().splitlines():
        line = json.loads(raw)
        if line["event"] == "load_finished":
            line["data"]["attempted"] = 5_000_000
        line["previous"] = previous
        line["digest"] = previous = _digest({key: value for key, value in line.items() if key != "digest"})
        lines.append(_written(line) + b"\n")
    path.write_bytes(b"".join(lines))
    judged = again.compute(folder)
    (folder / again.VERDICT).write_bytes(judged.content)
    rebuilt(folder)
    named = reasons(verify(folder, signing_key.trust_root()))
    assert "seal.json" in named
    assert "attestations/upgrade-record.dsse.json" in named


def test_an_attestation_of_another_record_is_not_this_one_s(
    sealed: Path, copy_of: Copy, signing_key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = WholeRecord(tmp_path / "other" / ID, monkeypatch)
    other.clock.advance(60)
    other.run()
    other.seal(signing_key)
    folder = copy_of(sealed)
    name = "attestations/svr.dsse.json"
    shutil.copyfile(other.folder / name, folder / name)
    named = reasons(verify(folder, signing_key.trust_root()))
    assert named[name] >= {"file-changed", "attestation-untrue"}


def test_a_pass_attested_of_a_failed_upgrade_is_refused_even_with_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: Path, signing_key: SigningKey
) -> None:
    record = WholeRecord(tmp_path / ID, monkeypatch)
    record.run(fails_at=FAILS_AT)
    prepared = seal.prepare(record.folder, signer.KeySigner(key=signing_key))
    shutil.copyfile(sealed / "attestations/svr.dsse.json", record.folder / "attestations/svr.dsse.json")
    prepared.close(at=record.clock.now())
    named = reasons(verify(record.folder, signing_key.trust_root()))
    assert named["attestations/svr.dsse.json"] == {"attestation-untrue"}


def test_an_approval_by_somebody_else_is_named(finished: Path, copy_of: Copy, signing_key: SigningKey) -> None:
    """Even the holder of the record's key cannot put another person's approval under the plan."""
    folder = copy_of(finished)
    (path,) = (folder / "approvals").glob("*.dsse.json")
    payload = base64.b64decode(json.loads(path.read_bytes())["payload"])
    path.write_bytes(signing.sign(bundle.IN_TOTO, payload, ed25519.Ed25519PrivateKey.generate()))
    seal_folder(folder, signing_key)
    named = reasons(verify(folder, signing_key.trust_root()))
    assert named == {f"approvals/{path.name}": {"signer-unknown"}}


def test_evidence_that_was_edited_before_sealing_contradicts_its_own_roots(
    finished: Path, copy_of: Copy, signing_key: SigningKey
) -> None:
    """A snapshot whose lines, digests and journal agree must still give the roots that the site's trees had."""
    folder = copy_of(finished)
    place = folder / "evidence" / "after"
    lines = (place / "lines.jsonl").read_bytes().replace(b'"sha256":"', b'"sha256":"0', 1)
    (place / "lines.jsonl").write_bytes(lines)
    seal_folder(folder, signing_key)
    assert "evidence/after/lines.jsonl" in reasons(verify(folder, signing_key.trust_root()))


def test_who_may_seal_a_record_still_cannot_speak_for_the_log(
    finished: Path, copy_of: Copy, signing_key: SigningKey
) -> None:
    """The log's key is in the trust root that both snapshots name; a checkpoint is verified by it again."""
    folder = copy_of(finished)
    place = folder / "evidence" / "after"
    note = (place / "checkpoint.txt").read_bytes()
    *text, signature = note.decode().splitlines()
    forged = "\n".join([*text, signature[:-4] + ("AAA=" if signature[-4:] != "AAA=" else "BBB=")]) + "\n"
    (place / "checkpoint.txt").write_text(forged, "utf-8")
    described = (place / "manifest.json").read_text("utf-8")
    described = described.replace(hashlib.sha256(note).hexdigest(), hashlib.sha256(forged.encode()).hexdigest())
    (place / "manifest.json").write_text(described, "utf-8")
    seal_folder(folder, signing_key)
    named = reasons(verify(folder, signing_key.trust_root()))
    assert "checkpoint-signature-invalid" in named["evidence/after/checkpoint.txt"]


def test_another_trust_root_than_the_snapshots_name_is_refused(
    finished: Path, copy_of: Copy, signing_key: SigningKey
) -> None:
    folder = copy_of(finished)
    (folder / trust.IN_RECORD).write_bytes(trust_file(log_key=ed25519.Ed25519PrivateKey.generate()))
    seal_folder(folder, signing_key)
    assert reasons(verify(folder, signing_key.trust_root())) == {trust.IN_RECORD: {"trust-root-changed"}}


class Lineage:
    """A record that names the one before it, and that one beside it."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "2027-02-01-0000"
        (root / "2027-01-01-0000").mkdir()
        self.folder.mkdir()
        self.first = Journal(root / "2027-01-01-0000" / "journal.jsonl")
        for number in range(3):
            self.first.write("observation", what=f"line {number}")
        self.journal = Journal(self.folder / "journal.jsonl")

    def follow(self, **said: object) -> findings.Check:
        """Begin the second upgrade with what it says of the first, and check it."""
        self.journal.write("run_started", previous=said or None)
        check = findings.Check(name="before", title="Upgrade before this one")
        contents.before(check, self.folder, self.journal.entries())
        return check


@pytest.fixture
def lineage(tmp_path: Path) -> Lineage:
    return Lineage(tmp_path)


def test_the_upgrade_before_may_have_gone_on_and_must_begin_with_the_lines_it_had(lineage: Lineage) -> None:
    head = lineage.first.head
    lineage.first.write("observation", what="observed further")
    check = lineage.follow(id="2027-01-01-0000", journal={"entries": 3, "head": head})
    assert (check.reasons, check.seen) == ([], "2027-01-01-0000, 3 lines")


@pytest.mark.parametrize(("entries", "head"), [(3, "sha256:aa"), (2, ""), (9, ""), (0, "")])
def test_another_record_in_the_place_of_the_upgrade_before_is_named(lineage: Lineage, entries: int, head: str) -> None:
    said = {"entries": entries, "head": head or lineage.first.head}
    check = lineage.follow(id="2027-01-01-0000", journal=said)
    assert [(one.file, one.where, one.code) for one in check.reasons] == [
        ("journal.jsonl", "line 1", "previous-differs")
    ]


def test_the_journal_of_the_upgrade_before_is_checked_itself(lineage: Lineage) -> None:
    head, path = lineage.first.head, lineage.first.path
    path.write_bytes(path.read_bytes().replace(b"line 1", b"line 7"))
    check = lineage.follow(id="2027-01-01-0000", journal={"entries": 3, "head": head})
    assert [one.file for one in check.reasons] == ["../2027-01-01-0000/journal.jsonl"]


def test_no_upgrade_before_is_said(lineage: Lineage) -> None:
    assert lineage.follow().absent == "the site knew of none"


def test_a_record_that_is_not_beside_is_said(lineage: Lineage) -> None:
    said = {"entries": 3, "head": lineage.first.head}
    assert lineage.follow(id="2026", journal=said).absent == "the record 2026 is not beside this one"


def test_what_is_no_link_is_refused(lineage: Lineage) -> None:
    assert [one.code for one in lineage.follow(id="2026").reasons] == ["previous-unreadable"]
