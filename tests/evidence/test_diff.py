"""Diff: the totals balance, whatever the two snapshots, and memory does not grow with them."""

from __future__ import annotations

import copy
import json
import tracemalloc
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.evidence import diff, snapshot
from cutover.evidence.errors import EvidenceError
from tests.evidence.world import World, item


def line(name: str, value: int) -> snapshot.Line:
    digest = sha256(b"%d" % value).hexdigest()
    return snapshot.Line(
        id=name,
        kind="sbom",
        media_type="application/json",
        size_bytes=1,
        sha256=digest,
        declared_size_bytes=1,
        declared_sha256=digest,
        declared_signer_key_id=None,
        signer_key_ids=(),
        leaf_index=0,
        log_index=0,
        created="2027-04-01T08:00:00.000000Z",
    )


def write(folder: Path, items: dict[str, int]) -> Path:
    """Write a snapshot with these items straight to disk."""
    World().snapshot(folder)
    raw = b"".join(line(name, value).encode() for name, value in sorted(items.items()))
    (folder / "lines.jsonl").write_bytes(raw)
    describe(folder, raw, len(items), max(items, default=None))
    return folder


def describe(folder: Path, raw: bytes, count: int, last_id: str | None) -> None:
    """Make a manifest agree with lines that were written beside it."""
    path = folder / "manifest.json"
    fields = {
        "items": count,
        "watermark": {"at": None, "last_id": last_id, "leaves": count},
        "by_kind": {"sbom": count} if count else {},
        "lines_digest": f"sha256:{sha256(raw).hexdigest()}",
    }
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


Items = st.dictionaries(st.integers(0, 30).map(item), st.integers(0, 2), max_size=30)


@settings(max_examples=60)
@given(Items, Items)
def test_a_diff_is_what_two_dictionaries_say(before: dict[str, int], after: dict[str, int]):
    with TemporaryDirectory() as folder:
        one, two = write(Path(folder, "one"), before), write(Path(folder, "two"), after)
        result = diff.compare(one, two)
        streamed = list(diff.changes(one, two))
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert result.unchanged == len(before.keys() & after.keys()) - len(changed)
    assert {change.id for change in result.items if change.what == "changed"} == changed
    assert {change.id for change in result.items if change.what == "missing"} == before.keys() - after.keys()
    assert {change.id for change in streamed if change.what == "added"} == after.keys() - before.keys()
    assert [change.id for change in streamed] == sorted(change.id for change in streamed)
    assert result.before == result.unchanged + result.changed + result.missing == len(before)
    assert result.after == result.before - result.missing + result.added == len(after)


def test_a_change_names_its_fields(tmp_path: Path):
    world = World.of(1)
    later = copy.deepcopy(world)
    later.rows[1] = replace(later.rows[1], log_index=9)
    later.objects[later.rows[3].object_key] += b"!"
    later.scan()
    result = diff.compare(world.snapshot(tmp_path / "before"), later.snapshot(tmp_path / "after"))
    assert [(change.id, set(change.fields)) for change in result.items] == [
        (item(1), {"log_index"}),
        (item(3), {"sha256", "size_bytes"}),
    ]
    assert result.items[0].fields == {"log_index": (1, 9)}
    assert (result.before, result.unchanged, result.changed, result.added, result.after) == (4, 2, 2, 4, 8)
    assert json.loads(json.dumps(result.as_json()))["items"][0]["fields"]["log_index"] == {"before": 1, "after": 9}


def test_a_file_with_other_items_than_its_manifest_does_not_balance(tmp_path: Path):
    one, two = write(tmp_path / "one", {item(1): 1}), write(tmp_path / "two", {item(1): 1})
    describe(two, (two / "lines.jsonl").read_bytes(), 2, item(1))
    with pytest.raises(EvidenceError) as refused:
        diff.compare(one, two)
    assert refused.value.code == "balance-wrong"


def write_lines(folder: Path, names: list[int]) -> Path:
    """Write a snapshot whose lines stand in this order."""
    write(folder, {})
    raw = b"".join(line(item(name), 1).encode() for name in names)
    (folder / "lines.jsonl").write_bytes(raw)
    describe(folder, raw, len(names), item(names[-1]) if names else None)
    return folder


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([2, 1], [0, 3]),
        ([1, 2, 3], [1, 3, 2]),
        ([1, 3, 2], [1, 3, 4]),
        ([], [2, 1]),
        ([1, 1], []),
        ([1], [1, 1]),
        ([5], [5, 4]),
    ],
)
def test_lines_out_of_order_are_refused(tmp_path: Path, before: list[int], after: list[int]):
    """Two lists merged by id must be sorted, or items would pass each other unseen; behind equal lines too."""
    one, two = write_lines(tmp_path / "one", before), write_lines(tmp_path / "two", after)
    for read in (diff.compare, lambda *folders: list(diff.changes(*folders))):
        with pytest.raises(EvidenceError) as refused:
            read(one, two)
        assert refused.value.code == "snapshot-malformed"


def test_memory_does_not_grow_with_the_items(tmp_path: Path):
    peaks = []
    for count in (2_000, 20_000):
        items = {item(index): 0 for index in range(count)}
        one, two = write(tmp_path / f"one{count}", items), write(tmp_path / f"two{count}", items | {"zz": 1})
        tracemalloc.start()
        diff.compare(one, two)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_the_names_kept_are_bounded_and_the_totals_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diff, "KEEP_ITEMS", 3)
    one = write(tmp_path / "one", {item(index): 0 for index in range(10)})
    result = diff.compare(one, write(tmp_path / "two", {}))
    assert (result.missing, len(result.items)) == (10, 3)


def test_an_item_that_slipped_in_before_the_watermark_is_unaccounted(tmp_path: Path):
    """It is added, so the totals balance; and it should have been in the first snapshot (F.8)."""
    world = World.of(2)
    late = world.rows.pop(3)
    before = world.snapshot(tmp_path / "before")
    world.rows.insert(3, late)
    world.scan()
    found = diff.compare(before, world.snapshot(tmp_path / "after"))
    assert (found.added, found.unaccounted, found.holds) == (5, 1, False)
    assert [(one.id, one.what) for one in found.items] == [(late.id, "added")]
    assert found.as_json()["unaccounted"] == 1
