"""Snapshots: one pass that keeps going, the same bytes for the same site, and no half snapshot."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import jsonschema
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from cutover import project
from cutover.evidence import dsse, leaves, snapshot
from cutover.evidence.errors import EvidenceError
from cutover.evidence.sources import EvidenceRow, RowList
from tests.evidence.world import SIGNER, START, TRUST, World, item

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def world() -> World:
    return World.of(3)


def found(folder: Path) -> list[tuple[str, str, str]]:
    return [(one.kind, one.finding.code, one.finding.item) for one in snapshot.load(folder).findings()]


def test_a_manifest_says_what_was_recomputed(world: World, tmp_path: Path):
    manifest = snapshot.load(world.snapshot(tmp_path / "s")).manifest
    assert manifest.items == 12
    assert manifest.by_kind == {"attestation": 3, "bundle": 3, "oci-manifest": 3, "sbom": 3}
    assert manifest.size_bytes == sum(len(content) for content in world.objects.values())
    assert manifest.roots == {1: world.root(1, 12).hex(), 2: world.root(2, 12).hex()}
    assert manifest.watermark == snapshot.Watermark(at="2027-04-01T08:00:11.000011Z", last_id=item(11), leaves=12)
    assert manifest.checkpoint is not None
    assert (manifest.checkpoint.size, manifest.findings_total) == (12, 0)
    assert manifest.trust_digest == TRUST.digest


def test_lines_hold_facts_of_the_content_and_of_the_row(world: World, tmp_path: Path):
    """Recomputed beside declared; the signer is one whose signature was verified."""
    world.rows[2] = replace(world.rows[2], signer_key_id="claimed")
    lines = list(snapshot.load(world.snapshot(tmp_path / "s")).lines())
    assert [line.id for line in lines] == [item(index) for index in range(12)]
    assert lines[2].signer_key_ids == (dsse.key_id(SIGNER.public_key()),)
    assert lines[2].declared_signer_key_id == "claimed"
    assert lines[1].sha256 == sha256(world.objects[world.rows[1].object_key]).hexdigest()


def test_a_snapshot_is_as_the_contract_says(world: World, tmp_path: Path):
    """Its manifest, every line and every finding."""
    world.objects[world.rows[3].object_key] += b"!"
    del world.objects[world.rows[5].object_key]
    schema = json.loads((project.CONTRACT / "snapshot.schema.json").read_text("utf-8"))
    folder = world.snapshot(tmp_path / "s")
    jsonschema.validate(json.loads((folder / "manifest.json").read_text("utf-8")), schema)
    for name, definition in (("lines.jsonl", "line"), ("findings.jsonl", "finding")):
        lines = (folder / name).read_text("utf-8").splitlines()
        assert lines
        for line in lines:
            jsonschema.validate(json.loads(line), {**schema["$defs"][definition], "$defs": schema["$defs"]})


def test_the_same_site_gives_the_same_bytes(world: World, tmp_path: Path):
    one, two = world.snapshot(tmp_path / "one"), world.snapshot(tmp_path / "two")
    names = sorted(path.name for path in one.iterdir())
    assert names == ["checkpoint.txt", "findings.jsonl", "lines.jsonl", "manifest.json"]
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_the_pass_goes_on_after_a_refusal(world: World, tmp_path: Path):
    """Every bad item is a finding with its kind; the others are whole."""
    del world.objects[world.rows[1].object_key]
    world.objects[world.rows[3].object_key] += b"!"
    world.objects[world.rows[6].object_key] = b"no envelope"
    world.rows[8] = replace(world.rows[8], size_bytes=1)
    folder = world.snapshot(tmp_path / "s")
    assert found(folder) == [
        ("sbom", "content-missing", item(1)),
        ("bundle", "content-mismatch", item(3)),
        ("attestation", "content-mismatch", item(6)),
        ("attestation", "envelope-malformed", item(6)),
        ("oci-manifest", "size-mismatch", item(8)),
    ]
    manifest = snapshot.load(folder).manifest
    assert manifest.items == 12
    assert manifest.findings["content-mismatch"] == 2
    missing = list(snapshot.load(folder).lines())[1]
    assert (missing.sha256, missing.size_bytes) == (None, None)


def test_a_manifest_that_is_none_is_a_finding(world: World, tmp_path: Path):
    """Its digest matches its row: only its form is wrong."""
    world.add("oci-manifest", b"{}")
    assert found(world.snapshot(tmp_path / "s")) == [("oci-manifest", "manifest-malformed", item(12))]


def test_an_attestation_of_another_payload_type_is_a_finding(world: World, tmp_path: Path):
    """A signed root is no attestation, though the same key signed it."""
    world.add("attestation", rfc8785.dumps(dict(world.stored_roots[1][0].envelope)))  # type: ignore[arg-type]
    assert found(world.snapshot(tmp_path / "s")) == [("attestation", "envelope-malformed", item(12))]


def test_blobs_that_a_manifest_names_are_read_where_stored(world: World, tmp_path: Path):
    """With the store's key of a digest, the layer is re-hashed under the manifest that names it."""
    sbom = world.rows[1]
    world.objects["layer"] = world.objects[sbom.object_key] + b"!"
    where = {f"sha256:{sbom.sha256}": "layer", "sha256:absent": "nowhere"}
    snapshot.take(RowList(world.rows), world, tmp_path, trust=TRUST, blob_key=where.get)
    assert found(tmp_path) == [("oci-manifest", "size-mismatch", item(0))]


def test_leaves_that_overlap_or_leave_gaps_are_findings(world: World, tmp_path: Path):
    world.rows[5] = replace(world.rows[5], leaf_index=4)
    folder = world.snapshot(tmp_path / "s")
    assert found(folder) == [("sbom", "leaf-duplicate", item(5)), ("", "leaf-missing", "leaf index 5")]
    assert snapshot.load(folder).manifest.roots == {1: None, 2: None}


@pytest.mark.parametrize(("note", "expected"), [(None, []), ("rubbish", [("", "checkpoint-malformed", "checkpoint")])])
def test_the_checkpoint_is_verified_too(
    note: str | None, expected: list[tuple[str, str, str]], world: World, tmp_path: Path
):
    world.notes = [] if note is None else [note]
    world.snapshot(tmp_path)
    assert found(tmp_path) == expected
    assert snapshot.load(tmp_path).manifest.checkpoint is None


def test_progress_is_told_items_and_bytes(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    world = World.of(36)
    snapshot.take(
        RowList(world.rows),
        world,
        tmp_path,
        trust=TRUST,
        progress=lambda items, size_bytes: seen.append((items, size_bytes)),
    )
    assert [items for items, _ in seen] == [128, 144]
    assert seen == sorted(seen)


@pytest.mark.parametrize("order", [(1, 0), (0, 0)])
def test_rows_out_of_order_are_refused(order: tuple[int, int], world: World, tmp_path: Path):
    rows = [world.rows[index] for index in order]
    with pytest.raises(EvidenceError) as refused:
        snapshot.take(RowList(rows), world, tmp_path, trust=TRUST)
    assert refused.value.code == "rows-unordered"


class Unreachable:
    """A store that is gone in the middle."""

    def open(self, key: str) -> bytes:
        raise ConnectionError(key)


def test_an_interrupted_pass_is_no_snapshot(world: World, tmp_path: Path):
    """A store that cannot be reached is no finding: nothing was measured, nothing is left to be taken for a result."""
    with pytest.raises(ConnectionError):
        snapshot.take(RowList(world.rows), Unreachable(), tmp_path, trust=TRUST)
    with pytest.raises(EvidenceError) as refused:
        snapshot.load(tmp_path)
    assert refused.value.code == "snapshot-malformed"
    world.snapshot(tmp_path)
    with pytest.raises(FileExistsError):
        world.snapshot(tmp_path)


@pytest.mark.parametrize("name", ["lines.jsonl", "findings.jsonl"])
def test_a_snapshot_changed_on_disk_is_refused(name: str, world: World, tmp_path: Path):
    world.objects[world.rows[3].object_key] += b"!"
    folder = world.snapshot(tmp_path / "s")
    path = folder / name
    path.write_bytes(path.read_bytes().replace(item(3).encode(), item(4).encode()))
    taken = snapshot.load(folder)
    with pytest.raises(EvidenceError) as refused:
        list(taken.lines() if name == "lines.jsonl" else taken.findings())
    assert refused.value.code == "snapshot-altered"
    path.unlink()
    with pytest.raises(EvidenceError) as refused:
        list(taken.lines() if name == "lines.jsonl" else taken.findings())
    assert refused.value.code == "snapshot-malformed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", None),
        ("leaf_index", "1"),
        ("leaf_index", True),
        ("size_bytes", 1.5),
        ("sha256", []),
        ("created", 7),
        ("signer_key_ids", [1]),
        ("signer_key_ids", "ab"),
        ("more", 1),
    ],
)
def test_a_line_of_other_types_is_refused(name: str, value: object, world: World, tmp_path: Path):
    line = next(snapshot.load(world.snapshot(tmp_path / "s")).raw_lines())
    assert snapshot.Line.decode(line).encode() == line
    with pytest.raises(EvidenceError) as refused:
        snapshot.Line.decode(json.dumps(json.loads(line) | {name: value}).encode())
    assert refused.value.code == "snapshot-malformed"


def test_a_checkpoint_changed_on_disk_is_refused(world: World, tmp_path: Path):
    """An older one, which the log did sign: the log could be cut back to it unseen."""
    taken = snapshot.load(world.snapshot(tmp_path / "s"))
    path = taken.folder / "checkpoint.txt"
    assert taken.checkpoint_note() == path.read_bytes() == world.notes[-1].encode()
    path.write_text(world.notes[0], encoding="utf-8")
    with pytest.raises(EvidenceError, match=r"snapshot-altered: checkpoint\.txt"):
        taken.checkpoint_note()
    path.unlink()
    with pytest.raises(EvidenceError, match=r"snapshot-altered: checkpoint\.txt"):
        taken.checkpoint_note()


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "other"},
        {"items": None, "more": 1},
        {"items": 11},
        {"size_bytes": -1},
        {"roots": 1},
        {"roots": {"1": 5}},
        {"watermark": {}},
        {"watermark": {"at": None, "last_id": item(11), "leaves": "12"}},
        {"watermark": {"at": None, "last_id": item(11), "leaves": 0}},
        {"watermark": {"at": None, "last_id": None, "leaves": 12}},
        {"findings": []},
        {"findings": {"content-missing": "1"}},
        {"by_kind": {"sbom": True}},
        {"checkpoint": {"origin": "o", "size": 1.0, "root": "", "note_digest": ""}},
        {"trust_digest": None},
    ],
    ids=str,
)
def test_another_manifest_is_refused(change: dict[str, object], world: World, tmp_path: Path):
    path = world.snapshot(tmp_path / "s") / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EvidenceError) as refused:
        snapshot.load(path.parent)
    assert refused.value.code == "snapshot-malformed"


class Generated:
    """Rows that are made as they are read."""

    def __init__(self, count: int) -> None:
        self.count = count

    def last_evidence_id(self) -> str | None:
        return item(self.count - 1)

    def evidence_rows(self, *, after: str = "", through: str | None = None) -> Iterator[EvidenceRow]:
        del after, through
        for index in range(self.count):
            yield EvidenceRow(
                id=item(index),
                kind="sbom",
                media_type="application/json",
                size_bytes=0,
                sha256=sha256(b"").hexdigest(),
                object_key="empty",
                leaf_index=index,
                log_index=index,
                signer_key_id=None,
                created=START,
            )


class Empty:
    """A store whose objects are empty."""

    def open(self, key: str) -> bytes:
        return key[:0].encode()


def test_memory_does_not_grow_with_the_items(tmp_path: Path):
    """Eight times the items, the same peak (within what an interpreter's own caches take)."""
    peaks = []
    for count in (1_000, 8_000):
        tracemalloc.start()
        snapshot.take(Generated(count), Empty(), tmp_path / str(count), trust=TRUST)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(text, text, text, st.integers(0, 2**53 - 1), text)
def test_leaf_data_is_rfc_8785(id_: str, kind: str, digest: str, size_bytes: int, created: str):
    """The encoder used for speed writes the same bytes as the reference one."""
    fields: dict[str, object] = {"id": id_, "kind": kind, "sha256": digest}
    later = fields | {"created": created, "size_bytes": size_bytes}
    for schema, expected in ((1, fields), (2, later)):
        made = leaves.leaf_data(schema, id=id_, kind=kind, sha256=digest, size_bytes=size_bytes, created=created)
        assert made == rfc8785.dumps(expected)  # type: ignore[arg-type]
    entry = {"evidence_id": id_, "kind": kind, "sha256": digest}
    assert leaves.log_entry(id=id_, kind=kind, sha256=digest) == rfc8785.dumps(entry)  # type: ignore[arg-type]


def test_an_unknown_leaf_schema_and_a_time_without_a_zone_are_refused():
    with pytest.raises(ValueError, match="leaf schema 3"):
        leaves.leaf_data(3, id="", kind="", sha256="", size_bytes=0, created="")
    with pytest.raises(ValueError, match="zone"):
        leaves.timestamp(START.replace(tzinfo=None))
