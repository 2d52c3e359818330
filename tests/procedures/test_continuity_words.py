"""What an operator reads when the evidence was altered: the guarantee, the code, the item, and what to do (4.1a)."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import ClauseFailed, CouldNotMeasure, render
from cutover.evidence import diff
from cutover.procedures import continuity
from tests.evidence.test_five_guarantees import drop_cross_reference, roll_back
from tests.evidence.world import World, item, trust_file
from tests.procedures.test_continuity import Site

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cutover.procedures.continuity import Continuity
    from cutover.runbook.upgrade import Upgrade

SCANS = 3


@pytest.fixture
def upgrade(upgrade: Upgrade, tmp_path: Path) -> Upgrade:
    path = tmp_path / "trust.json"
    path.write_bytes(trust_file())
    upgrade.target = dataclasses.replace(
        upgrade.target, evidence=dataclasses.replace(upgrade.target.evidence, trust_root=path)
    )
    return upgrade


@pytest.fixture
def world(upgrade: Upgrade) -> World:
    """Seal a baseline, then let the site go on: one scan, the new leaf schema, one more."""
    world = World.of(SCANS)
    taken = continuity.take_baseline(as_site(world, upgrade), upgrade)
    continuity.seal_baseline(upgrade, taken)
    world.scan()
    world.expand()
    world.scan()
    return world


def as_site(world: World, upgrade: Upgrade) -> Any:  # noqa: ANN401 - drivers, as far as they are asked
    return Site(world, upgrade.target)


def compare(world: World, upgrade: Upgrade, platform: Mapping[str, object] | Exception | None = None) -> Continuity:
    """Take the second snapshot beside a platform that says what it is told to say."""
    site = as_site(world, upgrade)

    def answer(*_argv: str, **_options: object) -> object:
        if isinstance(platform, Exception):
            raise platform
        return platform

    site.stella.call = answer
    return continuity.verify_continuity(site, upgrade)


def demands(upgrade: Upgrade, compared: Continuity) -> None:
    """Make the demands of 4.1a on ourselves, in the order of its scenario."""
    continuity.require_balance(compared)
    continuity.require_five_guarantees(compared)
    continuity.require_accounted(upgrade, compared)


def text_of(failed: ClauseFailed) -> str:
    return render(failed, "4.1a")


def test_a_whole_site_passes_and_each_guarantee_is_kept(upgrade: Upgrade, world: World) -> None:
    compared = compare(world, upgrade, {})
    demands(upgrade, compared)
    for number in range(1, 6):
        kept = json.loads((upgrade.folder / "evidence" / f"E.{number}.json").read_text(encoding="utf-8"))
        assert kept["clause"] == f"E.{number}"
        assert kept["checked"] > 0
        assert kept["findings_total"] == 0
    balance = json.loads((upgrade.folder / "evidence" / "diff.json").read_text(encoding="utf-8"))
    assert (balance["before"], balance["added"]) == (4 * SCANS, 8)


def test_an_altered_content_is_named_with_its_guarantee_code_and_remedy(upgrade: Upgrade, world: World) -> None:
    world.objects[world.rows[1].object_key] += b" "
    with pytest.raises(ClauseFailed) as caught:
        demands(upgrade, compare(world, upgrade, {}))
    failed = caught.value
    assert failed.code == "evidence-changed"
    assert "E.2 SBOM content hashes unchanged" in failed.message
    assert f"E.2 SBOM content hashes unchanged: content-changed {item(1)}, expected sha256:" in failed.cause_text
    assert f"1 changed of 12: {item(1)} (sbom) changed" in failed.seen
    assert "restore the item's bytes from the backup" in failed.do
    assert "stella evidence reindex" in failed.do
    assert failed.facts["guarantees"] == ["E.2"]
    assert [one["item"] for one in failed.facts["findings"]] == [item(1)]
    assert f"content-changed {item(1)}" in text_of(failed)


def test_an_altered_tree_is_named_though_the_evidence_balances(upgrade: Upgrade, world: World) -> None:
    drop_cross_reference(world)
    with pytest.raises(ClauseFailed) as caught:
        demands(upgrade, compare(world, upgrade, {}))
    failed = caught.value
    assert failed.code == "evidence-guarantee-broken"
    title = "E.3 Merkle roots recomputed, cross-reference kept"
    assert f"{title}: crossref-missing leaf schema 2" in failed.cause_text
    assert "1 of 5 guarantees are broken" in failed.seen
    assert "reindex" not in failed.do


def test_several_broken_guarantees_are_all_named_each_code_once_before_any_twice(
    upgrade: Upgrade, world: World
) -> None:
    roll_back(world)
    world.stored_leaves[1] = [replace(leaf, leaf_hash=bytes(32)) for leaf in world.stored_leaves[1]]
    del world.stored_leaves[1][0]
    with pytest.raises(ClauseFailed) as caught:
        demands(upgrade, compare(world, upgrade, {}))
    lines = caught.value.cause_text.splitlines()[1:]
    tree = [line for line in lines if line.startswith("E.3")]
    assert f"leaf-missing {item(0)}" in tree[0]
    assert f"leaf-changed {item(1)}" in tree[1]
    assert "and 15 more, in evidence/E.3.json" in tree[-1]
    assert [line for line in lines if line.startswith("E.5")] == [
        line for line in lines if "checkpoint-rolled-back the log's checkpoint" in line
    ]


def test_an_item_from_the_past_is_not_accounted_for(upgrade: Upgrade, world: World) -> None:
    """With an entry of the log to its name too, only the balance's watermark is left to see it."""
    compared = compare(world, upgrade, {})
    early = diff.Change(id=item(4 * SCANS), kind="sbom", what="added", fields={})
    balance = replace(compared.balance, unaccounted=1, items=(early,))
    compared = replace(compared, balance=balance)
    with pytest.raises(ClauseFailed) as caught:
        demands(upgrade, compared)
    assert caught.value.code == "evidence-unaccounted"
    assert item(4 * SCANS) in caught.value.seen


def test_a_platform_without_an_answer_hides_no_broken_guarantee(upgrade: Upgrade, world: World) -> None:
    silent = CouldNotMeasure("stella does not answer")
    world.notes.clear()
    compared = compare(world, upgrade, silent)
    with pytest.raises(ClauseFailed, match=r"E\.5 Log entries immutable"):
        demands(upgrade, compared)


def test_a_platform_without_an_answer_is_an_error_of_its_own(upgrade: Upgrade, world: World) -> None:
    with pytest.raises(CouldNotMeasure, match="does not answer"):
        compare(world, upgrade, CouldNotMeasure("stella does not answer"))


def test_a_baseline_altered_in_the_record_is_told_so(upgrade: Upgrade, world: World) -> None:
    lines = upgrade.folder / "evidence" / "before" / "lines.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b"sbom", b"mobs", 1))
    with pytest.raises(ClauseFailed) as caught:
        compare(world, upgrade, {})
    assert caught.value.code == "baseline-altered"


def test_another_second_snapshot_in_the_record_is_told_so(upgrade: Upgrade, world: World) -> None:
    """One that is whole in itself, and was put there after 4.1a."""
    demands(upgrade, compare(world, upgrade, {}))
    world.scan()
    shutil.rmtree(upgrade.folder / "evidence" / "after")
    world.snapshot(upgrade.folder / "evidence" / "after")
    with pytest.raises(ClauseFailed) as caught:
        continuity.guarantee(as_site(world, upgrade), upgrade, "E.1")
    assert caught.value.code == "snapshot-altered"


def test_each_guarantee_is_verified_again_by_itself(upgrade: Upgrade, world: World) -> None:
    """What happens to tree and log between 4.1a and the guarantee's own scenario is found there."""
    demands(upgrade, compare(world, upgrade, {}))
    site = as_site(world, upgrade)
    for clause in ("E.1", "E.2", "E.3", "E.4", "E.5"):
        continuity.require_guarantee(continuity.guarantee(site, upgrade, clause))
    world.log_entries[2] = replace(world.log_entries[2], data=b"{}")
    with pytest.raises(ClauseFailed) as caught:
        continuity.require_guarantee(continuity.guarantee(site, upgrade, "E.5"))
    assert caught.value.code == "log-entry-changed"
    assert f"E.5 Log entries immutable: log-entry-changed {item(2)}" in caught.value.cause_text
