"""Continuity against a baseline: totals balance, and what is lost, altered or discontinued is named."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rehearsal.platform.core import checkpoint, keys
from rehearsal.platform.stella import continuity, verification
from rehearsal.platform.stella.errors import RefusedError
from tests.platform.stella.stella_world import World, make_world

if TYPE_CHECKING:
    from pathlib import Path

CREATED = "2027-04-01T12:00:00.000000Z"
EMPTY = {
    "schema": continuity.BASELINE_SCHEMA,
    "created": CREATED,
    "items": 0,
    "results": [],
    "root": "",
    "size": 0,
    "schema_version": 1,
    "checkpoint": "",
}


def baseline_of(world: World, folder: Path) -> continuity.Baseline:
    """Give what `verify-all` would have written, read back from a file."""
    path = folder / "baseline.json"
    found = verification.verify(world.records, world.listed(), world.trust)
    path.write_text(json.dumps(continuity.baseline_document(found, CREATED)))
    return continuity.read_baseline(path)


def compared(before: continuity.Baseline, world: World) -> continuity.Comparison:
    found = verification.verify(world.records, world.listed(), world.trust)
    seen = continuity.compare(before, found, world.records, world.trust)
    assert seen.before - len(seen.missing) + len(seen.added) == seen.after
    return seen


def test_evidence_that_only_grew_is_continued(world: World, tmp_path: Path):
    seen = compared(baseline_of(world, tmp_path), make_world(scans=5))
    assert seen.findings == ()
    assert (seen.before, seen.after, len(seen.added)) == (12, 20, 8)


def test_a_change_of_schema_is_continued_by_its_cross_reference(world: World, tmp_path: Path):
    before = baseline_of(world, tmp_path)
    assert compared(before, make_world(schemas=(1, 2))).findings == ()
    contracted = make_world(schemas=(1, 2))
    contracted.records = replace(contracted.records, leaves={2: contracted.records.leaves[2]})
    assert compared(before, contracted).findings == ()


def test_a_change_of_schema_without_cross_reference_is_named(world: World, tmp_path: Path):
    before = baseline_of(world, tmp_path)
    contracted = make_world(schemas=(1, 2))
    contracted.records = replace(contracted.records, leaves={2: contracted.records.leaves[2]}, cross_references=())
    assert [finding.code for finding in compared(before, contracted).findings] == ["crossref-missing"]


def test_a_lost_item_is_missing(world: World, tmp_path: Path):
    before = baseline_of(make_world(scans=4), tmp_path)
    seen = compared(before, world)
    assert len(seen.missing) == 4
    assert {"item-missing", "root-ahead", "checkpoint-ahead"} == {finding.code for finding in seen.findings}


def test_altered_content_is_a_change(world: World, tmp_path: Path):
    before = baseline_of(world, tmp_path)
    item = world.item("sbom")
    world.contents[item.object_key] += b" "
    seen = compared(before, world)
    assert seen.changed == (item.id,)
    assert [finding.code for finding in seen.findings] == ["digest-mismatch"]


def test_an_item_made_again_with_other_content_is_a_change(world: World, tmp_path: Path):
    """The site is consistent in itself: only the baseline knows what the item was."""
    before = baseline_of(world, tmp_path)
    item = world.item("bundle")
    altered = replace(before, digests={**before.digests, item.id: "0" * 64})
    seen = compared(altered, world)
    assert seen.changed == (item.id,)
    assert [finding.code for finding in seen.findings] == ["item-changed"]


def test_a_root_that_the_items_no_longer_give_is_named(world: World, tmp_path: Path):
    before = replace(baseline_of(world, tmp_path), root=b"r" * 32)
    assert [finding.code for finding in compared(before, world).findings] == ["root-discontinued"]


def test_the_baselines_checkpoint_must_be_the_logs(world: World, tmp_path: Path):
    before = baseline_of(world, tmp_path)
    forged = checkpoint.sign(checkpoint.read(before.note), keys.derived_log_key(2))
    seen = compared(replace(before, note=forged), world)
    assert [finding.code for finding in seen.findings] == ["checkpoint-invalid"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError"),
        (json.dumps({**EMPTY, "schema": "x"}), "its schema is 'x'"),
        (json.dumps({**EMPTY, "items": 2}), "it says 2 items and has 0 lines of 0 items"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path, text: str, why: str):
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(RefusedError, match="is no baseline") as refusal:
        continuity.read_baseline(path)
    assert why in refusal.value.message
    assert refusal.value.code == "baseline-unreadable"
