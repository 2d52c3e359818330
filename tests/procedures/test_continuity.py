"""The baseline: corruption from before the upgrade is refused before anything starts (1.1c)."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import ClauseFailed, CouldNotMeasure
from cutover.evidence import snapshot
from cutover.evidence.sources import RowList
from cutover.procedures import continuity
from tests.evidence.world import World, item, trust_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.evidence.sources import EvidenceRow
    from cutover.runbook.upgrade import Upgrade
    from cutover.target import Target


class Site:
    """A world as the drivers show it, with a platform that believes its rows but for the items in `refused`."""

    def __init__(self, world: World, target: Target, *refused: str) -> None:
        self.target = target
        self.world, self.refused, self.asked = world, refused, list[str]()
        self.contents = world
        self.database: Any = SimpleNamespace(
            evidence_count=lambda: len(world.rows),
            last_evidence_id=self._last,
            evidence_rows=self._rows,
            schemas=world.schemas,
            leaves=world.leaves,
            roots=world.roots,
            cross_references=world.cross_references,
        )
        self.log: Any = SimpleNamespace(checkpoint=self._checkpoint, entries=world.entries)
        self.stella: Any = SimpleNamespace(call=self._verify_all)

    def _last(self) -> str | None:
        self.asked.append("last id")
        return self.world.rows[-1].id if self.world.rows else None

    def _rows(self, *, after: str, through: str) -> Iterator[EvidenceRow]:
        return RowList(self.world.rows).evidence_rows(after=after, through=through)

    def _checkpoint(self) -> str | None:
        self.asked.append("checkpoint")
        return self.world.checkpoint()

    def _verify_all(self, *argv: str, namespace: str, check: bool) -> dict[str, object]:
        assert not check
        self.asked.append(f"platform in {namespace}")
        results = [{"id": row.id, "sha256": row.sha256, "ok": row.id not in self.refused} for row in self.world.rows]
        size = len(results)
        report = {"items": size, "size": size, "schema_version": 1, "root": self.world.root(1, size).hex()}
        Path(argv[-1]).write_text(json.dumps(report | {"results": results}), encoding="utf-8")
        return {"ok": not self.refused, "failures": list(self.refused)}


@pytest.fixture
def upgrade(upgrade: Upgrade, tmp_path: Path) -> Upgrade:
    path = tmp_path / "trust.json"
    path.write_bytes(trust_file())
    upgrade.target = dataclasses.replace(
        upgrade.target, evidence=dataclasses.replace(upgrade.target.evidence, trust_root=path, workers=1)
    )
    return upgrade


def take(upgrade: Upgrade, world: World, *refused: str) -> continuity.Taken:
    site: Any = Site(world, upgrade.target, *refused)
    return continuity.take_baseline(site, upgrade)


def test_a_whole_site_has_a_baseline(upgrade: Upgrade) -> None:
    taken = take(upgrade, World.of(2))
    continuity.require_intact(taken)
    continuity.require_bound(taken)
    continuity.require_agreement(upgrade, taken)
    assert [found.clause for found in taken.guarantees] == ["E.3", "E.5"]
    for name in ("before-E.3.json", "before-E.5.json"):
        assert json.loads((upgrade.folder / "evidence" / name).read_text(encoding="utf-8"))["checked"] > 0


def test_the_log_is_asked_after_the_last_item_is_fixed(upgrade: Upgrade) -> None:
    site: Any = Site(World.of(1), upgrade.target)
    continuity.take_baseline(site, upgrade)
    assert site.asked[:2] == ["last id", "checkpoint"]


def test_when_green_serves_the_platform_is_asked_there(upgrade: Upgrade) -> None:
    """The roles of an upgrade are its own (F.17): before the second one, green's namespace is where the platform is."""
    upgrade.assign_roles("green")
    site: Any = Site(World.of(1), upgrade.target)
    continuity.take_baseline(site, upgrade)
    assert site.asked[-1] == f"platform in {upgrade.target.colours['green'].namespace}"


def test_the_next_upgrade_holds_a_contracted_tree_to_its_own_leaf_schema(upgrade: Upgrade) -> None:
    world = World.of(2)
    world.expand()
    del world.stored_leaves[1]
    world.scan()
    taken = take(upgrade, world)
    continuity.require_bound(taken)
    continuity.seal_baseline(upgrade, taken)
    site: Any = Site(world, upgrade.target)
    assert continuity.leaf_schemas(site, upgrade) == continuity.LeafSchemas(base=2, new=None)


def test_a_leaf_schema_that_came_since_the_baseline_is_the_new_one(upgrade: Upgrade) -> None:
    world = World.of(2)
    continuity.seal_baseline(upgrade, take(upgrade, world))
    world.expand()
    site: Any = Site(world, upgrade.target)
    assert continuity.leaf_schemas(site, upgrade) == continuity.LeafSchemas(base=1, new=2)


def test_a_tree_that_was_broken_before_is_refused(upgrade: Upgrade) -> None:
    world = World.of(2)
    world.stored_leaves[1][3] = replace(world.stored_leaves[1][3], leaf_hash=bytes(32))
    taken = take(upgrade, world, item(3))
    continuity.require_intact(taken)
    with pytest.raises(ClauseFailed) as caught:
        continuity.require_bound(taken)
    assert caught.value.code == "leaf-changed"
    assert item(3) in caught.value.seen


def test_a_log_that_was_broken_before_is_refused(upgrade: Upgrade) -> None:
    world = World.of(2)
    world.log_entries[5] = replace(world.log_entries[5], data=b"{}")
    with pytest.raises(ClauseFailed) as caught:
        continuity.require_bound(take(upgrade, world))
    assert caught.value.code == "log-entry-changed"


def test_the_platform_is_held_to_what_tree_and_log_refuse(upgrade: Upgrade) -> None:
    world = World.of(2)
    world.stored_leaves[1][3] = replace(world.stored_leaves[1][3], leaf_hash=bytes(32))
    with pytest.raises(ClauseFailed) as caught:
        continuity.require_agreement(upgrade, take(upgrade, world))
    assert caught.value.code == "agreement-verdict"


# -- a snapshot that a broken-off attempt left (1.1c, 4.1a) ------------------------------------------------------------


def observed(upgrade: Upgrade, what: str) -> dict[str, Any]:
    entry = upgrade.journal.last("observation", what=what)
    return dict(entry.data) if entry is not None else {}


def resumed(upgrade: Upgrade, procedure: str = "resume") -> None:
    """Write what a further attempt begins with."""
    upgrade.journal.write("run_resumed", procedure=procedure)


def test_a_snapshot_that_was_finished_and_never_judged_is_read_and_not_taken_again(upgrade: Upgrade) -> None:
    world = World.of(2)
    first = take(upgrade, world).snapshot.manifest
    continuity.seal_baseline(upgrade, take(upgrade, world))
    resumed(upgrade)
    world.scan()
    again = take(upgrade, world)
    assert again.snapshot.manifest == first, "what came since is behind the watermark"
    assert observed(upgrade, "already")["digest"] == first.digest
    assert len([one for one in upgrade.journal.entries() if one.event == "done"]) == 1
    assert continuity.require_sealed(upgrade).manifest == first


@pytest.mark.parametrize(
    ("since", "reason"),
    [
        ("failed", "1.1c has ended since: FAIL"),
        ("rolled back", "rollback has worked on the site since"),
        ("old", "it was begun 1 day, 0:00:01"),
    ],
)
def test_a_snapshot_that_says_nothing_of_the_site_as_it_is_is_set_aside(
    upgrade: Upgrade, since: str, reason: str
) -> None:
    world = World.of(2)
    upgrade.journal.clause = "1.1c"
    first = take(upgrade, world).snapshot.manifest
    match since:
        case "failed":
            upgrade.journal.write("clause_finished", result="FAIL")
        case "rolled back":
            resumed(upgrade, "rollback")
        case _:
            upgrade.clock.sleep(24 * 3600 + 1)
    resumed(upgrade)
    world.scan()
    second = take(upgrade, world).snapshot.manifest
    assert second.items > first.items
    noted = observed(upgrade, "a snapshot is taken anew")
    assert reason in noted["reason"]
    assert noted["kept"] == "evidence/before.1"
    assert snapshot.load(upgrade.folder / "evidence" / "before.1").manifest == first


@pytest.mark.parametrize("damage", ["none", "header", "mark"])
def test_a_pass_that_was_broken_off_is_gone_on_with_whatever_is_left_of_it(upgrade: Upgrade, damage: str) -> None:
    world = World.of(60)
    folder = upgrade.folder / "evidence" / "before"
    folder.mkdir(parents=True)
    whole = World.of(60).snapshot(upgrade.folder / "whole")
    upgrade.journal.write("intent", action="snapshot", folder="evidence/before")
    header = {"schema": "cutover/evidence-pass/v1", "site": upgrade.target.name}
    if damage != "none":
        text = json.dumps(header) if damage == "mark" else '{"schema": "cutover/evid'
        (folder / "pass.jsonl").write_text(f"{text}\n" if damage == "mark" else text, encoding="utf-8")
    (folder / "lines.partial").write_bytes(b'{"id": "half a li')
    taken = take(upgrade, world)
    assert taken.snapshot.manifest.lines_digest == snapshot.load(whole).manifest.lines_digest
    if damage == "mark":
        assert "cannot be gone on with" in observed(upgrade, "a snapshot is taken anew")["reason"]


def test_a_finished_snapshot_that_was_altered_since_is_refused(upgrade: Upgrade) -> None:
    world = World.of(2)
    take(upgrade, world)
    lines = upgrade.folder / "evidence" / "before" / "lines.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b"sbom", b"SBOM", 1))
    resumed(upgrade)
    with pytest.raises(ClauseFailed) as caught:
        take(upgrade, world)
    assert caught.value.code == "snapshot-altered"


def test_another_snapshot_in_its_place_is_refused(upgrade: Upgrade) -> None:
    take(upgrade, World.of(2))
    folder = upgrade.folder / "evidence" / "before"
    folder.rename(upgrade.folder / "moved")
    World.of(3).snapshot(folder)
    resumed(upgrade)
    with pytest.raises(ClauseFailed) as caught:
        take(upgrade, World.of(2))
    assert caught.value.code == "snapshot-altered"


def test_a_report_of_the_platform_from_an_earlier_attempt_is_not_read_again(upgrade: Upgrade) -> None:
    world = World.of(2)
    site: Any = Site(world, upgrade.target)
    continuity.take_baseline(site, upgrade)
    site.stella = SimpleNamespace(call=lambda *_, **__: {"ok": True})  # says so, and writes nothing
    taken = continuity.take_baseline(site, upgrade)
    with pytest.raises(CouldNotMeasure) as caught:
        continuity.require_agreement(upgrade, taken)
    assert caught.value.code == "report-missing"
