"""The folder of a verification: what is in it already is neither overwritten nor taken for the site as it is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import CouldNotMeasure
from cutover.evidence import snapshot
from cutover.procedures import snapshots
from tests.evidence.world import World, trust_file
from tests.procedures.test_continuity import Site

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.runbook.upgrade import Upgrade


@pytest.fixture
def world() -> World:
    return World.of(3)


@pytest.fixture
def site(world: World, upgrade: Upgrade, tmp_path: Path) -> Any:  # noqa: ANN401 - drivers, as far as they are asked
    path = tmp_path / "trust.json"
    path.write_bytes(trust_file())
    settings = dataclasses.replace(upgrade.target.evidence, trust_root=path, workers=1)
    return Site(world, dataclasses.replace(upgrade.target, evidence=settings))


@pytest.fixture
def baseline(world: World, tmp_path: Path) -> Path:
    return world.snapshot(tmp_path / "baseline")


def test_a_verification_keeps_both_snapshots_and_nothing_of_the_baselines_folder_besides(
    site: Any,  # noqa: ANN401
    baseline: Path,
):
    """The folder may even be inside the baseline's."""
    proof = baseline / "proof"
    proof.mkdir()
    assert snapshots.verify_site(site, baseline, proof).holds
    assert sorted(path.name for path in (proof / "before").iterdir()) == [
        "checkpoint.txt",
        "findings.jsonl",
        "lines.jsonl",
        "manifest.json",
    ]
    assert snapshot.load(proof / "before").manifest == snapshot.load(baseline).manifest


@pytest.mark.parametrize("finished", ["before it was altered", "the baseline itself"])
def test_a_finished_second_snapshot_is_not_taken_for_the_site_as_it_is(
    finished: str,
    site: Any,  # noqa: ANN401
    world: World,
    baseline: Path,
    tmp_path: Path,
):
    proof = tmp_path / "proof"
    world.snapshot(proof / "after")
    if finished == "the baseline itself":
        baseline = proof / "after"
    world.objects[world.rows[5].object_key] += b"!"
    with pytest.raises(FileExistsError, match="after"):
        snapshots.verify_site(site, baseline, proof)
    assert not snapshots.verify_site(site, baseline, tmp_path / "another").holds


def test_another_baseline_in_the_folder_is_left_alone(
    site: Any,  # noqa: ANN401
    baseline: Path,
    tmp_path: Path,
):
    proof = tmp_path / "proof"
    other = World.of(2).snapshot(proof / "before")
    kept = snapshot.load(other).manifest
    with pytest.raises(FileExistsError, match="before"):
        snapshots.verify_site(site, baseline, proof)
    assert snapshot.load(other).manifest == kept
    (other / "manifest.json").unlink()  # a pass that is under way
    with pytest.raises(FileExistsError, match="before"):
        snapshots.verify_site(site, baseline, proof)
    assert (other / "lines.jsonl").exists()


def test_a_site_without_evidence_leaves_no_snapshot_of_nothing(
    site: Any,  # noqa: ANN401
    world: World,
    tmp_path: Path,
):
    world.rows.clear()
    with pytest.raises(CouldNotMeasure) as refused:
        snapshots.take(site, tmp_path / "s")
    assert refused.value.code == "no-evidence"
    assert not (tmp_path / "s").exists()
