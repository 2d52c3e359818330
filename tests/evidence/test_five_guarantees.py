"""Every way to tamper is caught by the guarantee it breaks, under its code and on its item; nothing else is."""

from __future__ import annotations

import base64
import copy
import json
import random
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
import rfc8785

from cutover.evidence import checkpoint, snapshot, trust, verify
from cutover.evidence.errors import EvidenceError
from cutover.evidence.sources import LogEntry
from tests.evidence import reference
from tests.evidence import world as site
from tests.evidence.world import OTHER_LOG_KEY, STRANGER, TRUST, World, item

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SCANS_BEFORE, SCANS_AFTER = 3, 2
BASELINE, TOTAL = 4 * SCANS_BEFORE, 4 * (SCANS_BEFORE + SCANS_AFTER)
MANIFEST, SBOM, ATTESTATION, BUNDLE = (item(index) for index in range(4))
NEW_SBOM, NEW_ATTESTATION = item(BASELINE + 1), item(BASELINE + 2)
OLD_NOTE, NEW_NOTE = "the baseline's checkpoint", "the log's checkpoint"


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return World.of(SCANS_BEFORE).snapshot(tmp_path_factory.mktemp("baseline") / "before")


@pytest.fixture(scope="module")
def upgraded() -> World:
    """Make the same site after the upgrade: one scan by blue, the expanded schema, one scan by both trees."""
    world = World.of(SCANS_BEFORE)
    world.scan()
    world.expand()
    world.scan()
    return world


@pytest.fixture
def world(upgraded: World) -> World:
    return copy.deepcopy(upgraded)


def outcome(world: World, baseline: Path, folder: Path, trust_root: trust.TrustRoot = TRUST) -> verify.Report:
    after = world.snapshot(folder / "after", trust_root=trust_root)
    return verify.five_guarantees(baseline, after, trust=trust_root, tree_source=world, log_source=world, new_schema=2)


def named(report: verify.Report) -> set[tuple[str, str, str]]:
    return {(one.clause, found.code, found.item) for one in report.guarantees for found in one.findings}


# Ways to tamper


def flip(data: bytes, bit: int = 0) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def content(index: int) -> Callable[[World], None]:
    def tamper(world: World) -> None:
        key = world.rows[index].object_key
        world.objects[key] = flip(world.objects[key], 13)

    return tamper


def delete_content(world: World) -> None:
    del world.objects[world.rows[1].object_key]


def row(index: int, **fields: object) -> Callable[[World], None]:
    def tamper(world: World) -> None:
        world.rows[index] = replace(world.rows[index], **fields)  # type: ignore[arg-type]

    return tamper


def delete_row(world: World) -> None:
    del world.rows[1]


def signature_bit(world: World) -> None:
    key = world.rows[2].object_key
    envelope = json.loads(world.objects[key])
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    envelope["signatures"][0]["sig"] = base64.b64encode(flip(signature, 400)).decode()
    world.objects[key] = rfc8785.dumps(envelope)


def sign_again(index: int, *, everywhere: bool) -> Callable[[World], None]:
    """Sign an attestation by a stranger's key; everywhere: with row, leaf and log entry made to match."""

    def tamper(world: World) -> None:
        old = world.rows[index]
        payload = base64.b64decode(json.loads(world.objects[old.object_key])["payload"])
        raw = rfc8785.dumps(site.sign(site.IN_TOTO, payload, STRANGER))  # type: ignore[arg-type]
        world.objects[old.object_key] = raw
        if everywhere:
            world.rows[index] = replace(old, sha256=site.sha256(raw).hexdigest(), size_bytes=len(raw))
            for schema, stored in world.stored_leaves.items():
                stored[index] = replace(stored[index], leaf_hash=site.row_leaf(world.rows[index], schema))

    return tamper


def leaf_bit(schema: int, index: int) -> Callable[[World], None]:
    def tamper(world: World) -> None:
        stored = world.stored_leaves[schema]
        stored[index] = replace(stored[index], leaf_hash=flip(stored[index].leaf_hash, 77))

    return tamper


def swap_leaves(world: World) -> None:
    stored = world.stored_leaves[1]
    stored[1], stored[5] = (
        replace(stored[1], leaf_hash=stored[5].leaf_hash),
        replace(stored[5], leaf_hash=stored[1].leaf_hash),
    )


def leaf_owner(world: World) -> None:
    world.stored_leaves[1][1] = replace(world.stored_leaves[1][1], evidence_id=item(5))


def drop_leaf(world: World) -> None:
    del world.stored_leaves[1][1]


def swap_rows(world: World) -> None:
    first, second = world.rows[1], world.rows[5]
    world.rows[1] = replace(first, leaf_index=second.leaf_index)
    world.rows[5] = replace(second, leaf_index=first.leaf_index)


def root_bit(world: World) -> None:
    last = world.stored_roots[1][-1]
    world.stored_roots[1][-1] = replace(last, root=flip(last.root))


def root_by_stranger(world: World) -> None:
    world.stored_roots[1][-1] = world.signed_root(1, TOTAL, STRANGER)


def root_of_another_size(world: World) -> None:
    older, last = world.stored_roots[1][-2:]
    world.stored_roots[1][-1] = replace(last, envelope=older.envelope)


def root_as_cross_reference(world: World) -> None:
    last = world.stored_roots[1][-1]
    payload = base64.b64decode(str(last.envelope["payload"]))
    world.stored_roots[1][-1] = replace(last, envelope=site.sign(site.CROSS_REFERENCE_TYPE, payload))


def only_old_roots(world: World) -> None:
    world.stored_roots = {1: [one for one in world.stored_roots[1] if one.size < BASELINE], 2: []}


def drop_cross_reference(world: World) -> None:
    world.references.clear()


def cross_reference_by_stranger(world: World) -> None:
    world.references[0] = world.cross_reference(world.references[0].size, STRANGER)


def cross_reference_bit(world: World) -> None:
    world.references[0] = replace(world.references[0], old_root=flip(world.references[0].old_root))


def cross_reference_too_early(world: World) -> None:
    world.references[0] = world.cross_reference(BASELINE - 1)


def cross_reference_statement(world: World) -> None:
    world.references[0] = replace(world.references[0], envelope=world.cross_reference(BASELINE).envelope)


def entry_bit(world: World) -> None:
    world.log_entries[1] = replace(world.log_entries[1], data=flip(world.log_entries[1].data, 200))


def entry_and_checkpoint(world: World) -> None:
    """Rewrite an entry and have the log's own key sign the new state: what a thief of that key would do."""
    data = flip(world.log_entries[1].data, 200)
    world.log_entries[1] = LogEntry(index=1, data=data, leaf_hash=site.sha256(b"\x00" + data).digest())
    world.notes.append(world.note())


def entry_hash(world: World) -> None:
    entry = world.log_entries[1]
    world.log_entries[1] = replace(entry, leaf_hash=flip(entry.leaf_hash or b""))


def drop_entry(world: World) -> None:
    del world.log_entries[1]


def roll_back(world: World) -> None:
    del world.notes[1:]


def truncate(world: World) -> None:
    del world.notes[1:]
    del world.log_entries[4:]


def strange_checkpoint(world: World) -> None:
    world.notes.append(world.note(OTHER_LOG_KEY))


def checkpoint_bit(world: World) -> None:
    world.notes[-1] = world.notes[-1].replace(f"\n{TOTAL}\n", f"\n{TOTAL + 1}\n")


def no_checkpoint(world: World) -> None:
    world.notes.clear()


def other_log(world: World) -> None:
    world.notes.append(site.sign_note(TOTAL, bytes(32), origin="another.log"))


def fork(world: World) -> None:
    world.notes[:] = [site.sign_note(BASELINE, bytes(32))]


def unknown_schema(world: World) -> None:
    world.references[0] = replace(world.references[0], new_schema=3)


@dataclass(frozen=True, slots=True)
class Case:
    """One way to tamper and exactly the findings it must have, as (clause, code, item)."""

    what: str
    tamper: Callable[[World], None]
    expected: set[tuple[str, str, str]]


CASES = (
    Case("a bit of a manifest", content(0), {("E.1", "content-changed", MANIFEST)}),
    Case("a bit of an SBOM", content(1), {("E.2", "content-changed", SBOM)}),
    Case("a bit of a bundle", content(3), {("E.1", "content-changed", BUNDLE)}),
    Case("an SBOM deleted from the store", delete_content, {("E.2", "content-missing", SBOM)}),
    Case("a bit of an SBOM made since the baseline", content(13), {("E.2", "content-mismatch", NEW_SBOM)}),
    Case("the digest in a row only", row(1, sha256="0" * 64), {("E.2", "row-changed", SBOM)}),
    Case("the size in a row", row(1, size_bytes=7), {("E.2", "row-changed", SBOM)}),
    Case("the time in a row", row(1, created=site.START), {("E.2", "row-changed", SBOM)}),
    Case("the kind in a row", row(1, kind="bundle"), {("E.2", "row-changed", SBOM)}),
    Case("the signer in a row", row(2, signer_key_id=None), {("E.4", "row-changed", ATTESTATION)}),
    Case("a row deleted", delete_row, {("E.2", "row-missing", SBOM)}),
    Case("two rows exchange their leaves", swap_rows, {("E.2", "row-changed", SBOM), ("E.2", "row-changed", item(5))}),
    Case(
        "a bit of a signature",
        signature_bit,
        {("E.4", "content-changed", ATTESTATION), ("E.4", "signature-invalid", ATTESTATION)},
    ),
    Case(
        "signed again by a stranger",
        sign_again(2, everywhere=False),
        {("E.4", "content-changed", ATTESTATION), ("E.4", "signer-unknown", ATTESTATION)},
    ),
    Case(
        "signed again by a stranger, row and leaves made to match",
        sign_again(2, everywhere=True),
        {
            ("E.3", "leaf-changed", ATTESTATION),
            ("E.4", "content-changed", ATTESTATION),
            ("E.4", "signer-unknown", ATTESTATION),
        },
    ),
    Case(
        "an attestation since the baseline by a stranger",
        sign_again(BASELINE + 2, everywhere=False),
        {("E.4", "content-mismatch", NEW_ATTESTATION), ("E.4", "signer-unknown", NEW_ATTESTATION)},
    ),
    Case("a bit of a leaf", leaf_bit(1, 1), {("E.3", "leaf-changed", SBOM)}),
    Case("a bit of a leaf of the new schema", leaf_bit(2, 1), {("E.3", "leaf-changed", SBOM)}),
    Case("a bit of a leaf made since the baseline", leaf_bit(1, 13), {("E.3", "leaf-changed", NEW_SBOM)}),
    Case("two leaves swapped", swap_leaves, {("E.3", "leaf-changed", SBOM), ("E.3", "leaf-changed", item(5))}),
    Case("a leaf given to another item", leaf_owner, {("E.3", "leaf-changed", SBOM)}),
    Case("a leaf deleted", drop_leaf, {("E.3", "leaf-missing", SBOM)}),
    Case("a bit of a root", root_bit, {("E.3", "root-mismatch", "root of schema 1 at 20")}),
    Case("a root signed by a stranger", root_by_stranger, {("E.3", "signer-unknown", "root of schema 1 at 20")}),
    Case(
        "a root with the statement of another size",
        root_of_another_size,
        {("E.3", "root-statement-wrong", "root of schema 1 at 20")},
    ),
    Case(
        "a root signed as another type of statement",
        root_as_cross_reference,
        {("E.3", "root-statement-wrong", "root of schema 1 at 20")},
    ),
    Case("no root over the baseline", only_old_roots, {("E.3", "root-missing", "evidence tree")}),
    Case("no cross-reference", drop_cross_reference, {("E.3", "crossref-missing", "leaf schema 2")}),
    Case(
        "a cross-reference by a stranger",
        cross_reference_by_stranger,
        {("E.3", "signer-unknown", "cross-reference 1 to 2 at 16"), ("E.3", "crossref-missing", "leaf schema 2")},
    ),
    Case(
        "a bit of a cross-referenced root",
        cross_reference_bit,
        {("E.3", "crossref-wrong", "cross-reference 1 to 2 at 16"), ("E.3", "crossref-missing", "leaf schema 2")},
    ),
    Case(
        "a cross-reference whose statement is of another size",
        cross_reference_statement,
        {("E.3", "crossref-wrong", "cross-reference 1 to 2 at 16"), ("E.3", "crossref-missing", "leaf schema 2")},
    ),
    Case(
        "a cross-reference over less than the baseline",
        cross_reference_too_early,
        {("E.3", "crossref-missing", "leaf schema 2")},
    ),
    Case(
        "a cross-reference to a schema nobody knows",
        unknown_schema,
        {("E.3", "schema-unknown", "leaf schema 3"), ("E.3", "crossref-missing", "leaf schema 2")},
    ),
    Case(
        "a later row takes a leaf of the baseline",
        row(13, leaf_index=1),
        {
            ("E.3", "leaf-duplicate", NEW_SBOM),
            ("E.3", "leaf-missing", "leaf index 13"),
            ("E.3", "leaf-unknown", "leaf index 13"),
            ("E.3", "crossref-missing", "leaf schema 2"),
        },
    ),
    Case("a later row takes an entry of the baseline", row(13, log_index=1), {("E.5", "log-entry-missing", NEW_SBOM)}),
    Case("a later row names an entry nobody signed", row(13, log_index=99), {("E.5", "log-entry-missing", NEW_SBOM)}),
    Case(
        "a bit of a log entry",
        entry_bit,
        {
            ("E.5", "log-entry-changed", SBOM),
            ("E.5", "log-history-rewritten", OLD_NOTE),
            ("E.5", "log-history-rewritten", NEW_NOTE),
        },
    ),
    Case(
        "a log entry rewritten and signed by the log's own key",
        entry_and_checkpoint,
        {("E.5", "log-entry-changed", SBOM), ("E.5", "log-history-rewritten", OLD_NOTE)},
    ),
    Case("a bit of a log entry's stored hash", entry_hash, {("E.5", "log-entry-changed", SBOM)}),
    Case("a log entry deleted", drop_entry, {("E.5", "log-entry-missing", SBOM)}),
    Case("the checkpoint rolled back", roll_back, {("E.5", "checkpoint-rolled-back", NEW_NOTE)}),
    Case(
        "the log cut short",
        truncate,
        {("E.5", "checkpoint-rolled-back", NEW_NOTE)}
        | {("E.5", "log-entry-missing", item(index)) for index in range(4, BASELINE)},
    ),
    Case("a checkpoint by a strange key", strange_checkpoint, {("E.5", "checkpoint-unsigned", NEW_NOTE)}),
    Case("a checkpoint's size", checkpoint_bit, {("E.5", "checkpoint-signature-invalid", NEW_NOTE)}),
    Case("no checkpoint", no_checkpoint, {("E.5", "checkpoint-missing", NEW_NOTE)}),
    Case("the checkpoint of another log", other_log, {("E.5", "checkpoint-origin", NEW_NOTE)}),
    Case(
        "another root signed at the baseline's size",
        fork,
        {("E.5", "checkpoint-forked", NEW_NOTE), ("E.5", "log-history-rewritten", NEW_NOTE)},
    ),
)


def test_an_untouched_site_holds(world: World, baseline: Path, tmp_path: Path):
    """Nothing altered: five guarantees, each over something, and a balance with every later item added."""
    report = outcome(world, baseline, tmp_path)
    assert named(report) == set()
    assert report.holds
    assert all(guarantee.checked > 0 for guarantee in report.guarantees)
    balance = report.diff
    assert (balance.before, balance.unchanged, balance.added, balance.after) == (BASELINE, BASELINE, 8, TOTAL)


def test_a_site_holds_against_itself(baseline: Path):
    """The check of clause 1.1c, before there is anything to compare with."""
    world = World.of(SCANS_BEFORE)
    report = verify.five_guarantees(baseline, baseline, trust=TRUST, tree_source=world, log_source=world)
    assert report.holds, named(report)


def test_what_is_newer_than_the_snapshot_is_left_aside(world: World, baseline: Path, tmp_path: Path):
    """The site goes on while it is read: later leaves, roots and entries belong to no finding (F.8)."""
    after = world.snapshot(tmp_path / "after")
    world.scan()
    world.references.append(world.cross_reference(TOTAL + 4))
    report = verify.five_guarantees(baseline, after, trust=TRUST, tree_source=world, log_source=world, new_schema=2)
    assert named(report) == set()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_tampering_is_caught(case: Case, world: World, baseline: Path, tmp_path: Path):
    """Exactly the expected findings: the guarantee, the code, the item, and no innocent bystander."""
    case.tamper(world)
    report = outcome(world, baseline, tmp_path)
    assert named(report) == case.expected
    assert not report.holds
    assert all(found.remedy and found.expected != found.actual for found in report.findings)


def test_another_trust_root_is_refused(world: World, baseline: Path, tmp_path: Path):
    """Keys that came with the upgrade prove nothing about evidence from before it."""
    report = outcome(world, baseline, tmp_path, trust.parse(site.trust_file(STRANGER)))
    codes = {found.code for found in report.guarantees[3].findings}
    assert {"trust-root-changed", "signer-unknown"} <= codes


def test_a_baseline_of_another_root_is_refused(world: World, baseline: Path, tmp_path: Path):
    """The baseline's own manifest is recomputed, not believed."""
    copied = tmp_path / "before"
    shutil.copytree(baseline, copied)
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["roots"]["1"] = "0" * 64
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert named(outcome(world, copied, tmp_path)) == {("E.3", "root-mismatch", "the baseline's root")}


def test_without_a_new_schema_no_cross_reference_is_asked_for(baseline: Path, tmp_path: Path):
    """An upgrade within one leaf schema, and a tree whose new tables exist but hold nothing signed yet."""
    world = World.of(SCANS_BEFORE + 1)
    world.stored_leaves[2] = []
    after = world.snapshot(tmp_path / "after")
    report = verify.five_guarantees(baseline, after, trust=TRUST, tree_source=world, log_source=world)
    assert report.holds, named(report)


def test_after_the_contraction_the_new_schema_stands_alone(world: World, baseline: Path, tmp_path: Path):
    """Category B drops the old leaves; roots, cross-reference and the new leaves still prove the baseline."""
    del world.stored_leaves[1]
    assert named(outcome(world, baseline, tmp_path)) == set()
    world.stored_leaves[2][1] = replace(world.stored_leaves[2][1], leaf_hash=bytes(32))
    assert named(outcome(world, baseline, tmp_path / "again")) == {("E.3", "leaf-changed", SBOM)}


def test_the_next_upgrade_begins_where_the_contraction_ended(world: World, tmp_path: Path):
    """The schema before is bound up to its end; a baseline beyond it is in the new one, and needs no more binding."""
    del world.stored_leaves[1]
    world.scan()
    before = world.snapshot(tmp_path / "before")
    world.scan()
    after = world.snapshot(tmp_path / "after")

    def report(base_schema: int) -> verify.Report:
        return verify.five_guarantees(
            before, after, trust=TRUST, tree_source=world, log_source=world, base_schema=base_schema
        )

    assert report(2).holds, named(report(2))
    assert named(report(1)) == {("E.3", "crossref-missing", "leaf schema 2")}
    manifest = json.loads((before / "manifest.json").read_text())
    manifest["roots"]["2"] = "0" * 64
    (before / "manifest.json").write_text(json.dumps(manifest))
    assert named(report(2)) == {("E.3", "root-mismatch", "the baseline's root")}


def test_findings_named_are_bounded_and_counted(
    world: World, baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A site altered everywhere does not fill the memory, and hides nothing of its number."""
    monkeypatch.setattr("cutover.evidence._findings.KEEP_FINDINGS", 3)
    world.stored_leaves[1] = [replace(leaf, leaf_hash=bytes(32)) for leaf in world.stored_leaves[1]]
    guarantee = outcome(world, baseline, tmp_path).guarantees[2]
    assert (len(guarantee.findings), guarantee.findings_total) == (3, TOTAL)


def test_a_report_is_kept_as_json(world: World, baseline: Path, tmp_path: Path):
    content(1)(world)
    kept = json.loads(json.dumps(outcome(world, baseline, tmp_path).as_json()))
    assert kept["holds"] is False
    assert [one["clause"] for one in kept["guarantees"] if not one["holds"]] == ["E.2"]
    assert kept["guarantees"][1]["findings"][0]["item"] == SBOM
    assert kept["diff"]["changed"] == 1


def test_a_consistency_proof_of_the_log(world: World):
    """Where the log gives a proof, its two checkpoints are compared without its entries."""
    old, new = (checkpoint.verify(note, TRUST.log_verifier) for note in (world.notes[0], world.notes[-1]))
    hashed = [site.sha256(b"\x00" + entry.data).digest() for entry in world.log_entries]
    verify.verify_consistency(old, new, reference.consistency(old.size, hashed))
    with pytest.raises(EvidenceError, match="proof-length"):
        verify.verify_consistency(old, new, [])
    with pytest.raises(EvidenceError, match="checkpoint-origin"):
        verify.verify_consistency(old, replace(new, origin="another.log"), [])


def test_an_empty_site_proves_nothing(tmp_path: Path):
    """Zero items never pass."""
    world = World()
    world.notes.append(world.note())
    folder = world.snapshot(tmp_path / "empty")
    report = verify.five_guarantees(folder, folder, trust=TRUST, tree_source=world, log_source=world)
    assert not report.holds
    assert {found.code for found in report.findings} == {"evidence-empty"}


def test_an_empty_baseline_proves_nothing(world: World, tmp_path: Path):
    """Everything would be new, and nothing could have been lost."""
    empty = World()
    empty.notes.append(empty.note())
    folder = empty.snapshot(tmp_path / "empty")
    report = verify.five_guarantees(
        folder, world.snapshot(tmp_path / "after"), trust=TRUST, tree_source=world, log_source=world
    )
    assert not any(found.holds for found in report.guarantees)
    assert {(found.code, found.item) for found in report.findings} >= {("evidence-empty", "the baseline")}


def test_a_tree_without_stored_leaves_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, world: World, baseline: Path, tmp_path: Path
):
    """Dropped tables are no tables to compare."""
    monkeypatch.setattr(World, "schemas", lambda _self: ())
    taken = (snapshot.load(baseline), snapshot.load(world.snapshot(tmp_path / "after")))
    found = verify.tree(*taken, trust=TRUST, source=world)
    assert [(one.code, one.item) for one in found.findings] == [("leaf-missing", "evidence tree")]


def test_a_checkpoint_that_the_baseline_did_not_have_is_refused(world: World, tmp_path: Path):
    """The manifest names none, because none was good; a good one put there later proves nothing of then."""
    notes, world.notes = world.notes, []
    before = world.snapshot(tmp_path / "before")
    world.notes = notes
    (before / "checkpoint.txt").write_text(notes[-1], encoding="utf-8")
    after = world.snapshot(tmp_path / "after")
    found = verify.log(snapshot.load(before), snapshot.load(after), trust=TRUST, source=world)
    assert [(one.code, one.item) for one in found.findings] == [("snapshot-altered", "the baseline's checkpoint")]


@pytest.mark.parametrize("seed", range(60))
def test_any_single_bit_is_caught(seed: int, world: World, baseline: Path, tmp_path: Path):
    """One bit of one content, leaf or entry, drawn from a seed: the guarantee falls and names the very item."""
    draw = random.Random(seed)  # noqa: S311 - cases, not secrets
    index = draw.randrange(TOTAL)
    layer = draw.choice(("content", "leaf", "entry"))
    if layer == "content":
        key = world.rows[index].object_key
        world.objects[key] = flip(world.objects[key], draw.randrange(8 * len(world.objects[key])))
    elif layer == "leaf":
        stored = world.stored_leaves[draw.choice((1, 2))]
        stored[index] = replace(stored[index], leaf_hash=flip(stored[index].leaf_hash, draw.randrange(256)))
    else:
        entry = world.log_entries[index]
        world.log_entries[index] = replace(entry, data=flip(entry.data, draw.randrange(8 * len(entry.data))))
    report = outcome(world, baseline, tmp_path)
    clauses = {"content": {"E.1", "E.2", "E.4"}, "leaf": {"E.3"}, "entry": {"E.5"}}[layer]
    assert {one.clause for one in report.guarantees if not one.holds} <= clauses
    assert item(index) in {found.item for found in report.findings}
