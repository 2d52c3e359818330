"""A chain of upgrades: what the target asks for next, and that a record which does not follow the last one is found."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cutover.clock import ManualClock
from cutover.runbook.journal import Journal
from rehearsal import succession
from rehearsal.cli import rehearse
from rehearsal.environment import layout
from rehearsal.node.catalogue import RELEASES, platform_images
from rehearsal.node.images import build_layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TARGET = """
name = "embedded"

[upgrade]
from = "2027.Q1"
to = "2027.Q2"
image_digests = ["sha256:{zeros}"]

[chart]
image_tag_key = "image.tag"
"""


@pytest.fixture
def place(tmp_path: Path) -> layout.Place:
    place = layout.Place(name="chain", root=tmp_path / "site")
    place.root.mkdir()
    place.target.write_text(TARGET.format(zeros="0" * 64))
    return place


def upgraded(
    folder: Path,
    place: layout.Place,
    number: int,
    *,
    previous: dict[str, Any] | None = None,
    result: str = "PASSED",
    serving: str = "",
) -> Path:
    """Write the record of one upgrade of the chain, as short as one can be."""
    record = folder / f"2027-0{number}"
    record.mkdir(parents=True)
    clock = ManualClock()
    clock.sleep(3600 * number)
    step = succession.STEPS[number - 1]
    blue = serving or ("blue", "green")[(number - 1) % 2]
    green = {"blue": "green", "green": "blue"}[blue]
    with contextlib.closing(Journal(record / "journal.jsonl", clock=clock)) as journal:
        journal.write("run_started", upgrade_id=record.name, target={"file": str(place.target)}, previous=previous)
        journal.write("observation", what="roles", blue=blue, green=green, serving=blue)
        journal.write("run_finished", result=result)
    upgrade = {"id": record.name, "from": step.origin, "to": step.wanted}
    verdict = {"result": result, "upgrade": upgrade, "previous": previous}
    (record / "verdict.json").write_text(json.dumps(verdict))
    return record


def link(record: Path) -> dict[str, Any]:
    """Return how the next record names this one."""
    lines = (record / "journal.jsonl").read_text().splitlines()
    verdict = (record / "verdict.json").read_bytes()
    return {
        "id": record.name,
        "to": json.loads(verdict)["upgrade"]["to"],
        "journal": {"entries": len(lines), "head": json.loads(lines[-1])["digest"]},
        "verdict_sha256": f"sha256:{hashlib.sha256(verdict).hexdigest()}",
        "contracted": True,
        "problem": "",
    }


def test_every_release_follows_the_one_before() -> None:
    assert [str(step) for step in succession.STEPS] == ["2027.Q1 → 2027.Q2", "2027.Q2 → 2027.Q3"]


def test_the_target_asks_for_the_next_release_and_nothing_else_of_it_changes(place: layout.Place) -> None:
    digests = build_layout(place.images, platform_images())
    step = succession.STEPS[-1]
    succession.point_at(place, step)
    found = tomllib.loads(place.target.read_text())
    wanted = next(digest for name, digest in digests.items() if name.endswith(RELEASES[-1]))
    assert found.pop("upgrade") == {"from": step.origin, "to": step.wanted, "image_digests": [wanted]}
    assert found == {"name": "embedded", "chart": {"image_tag_key": "image.tag"}}


def test_the_newest_record_of_this_very_site_is_contracted(tmp_path: Path, place: layout.Place) -> None:
    first = upgraded(tmp_path, place, 1)
    upgraded(tmp_path, layout.Place(name="other", root=tmp_path / "other"), 2)
    assert succession.contraction(tmp_path, place)[-2:] == ["contract", str(first)]


def test_linked_records_are_sound(tmp_path: Path, place: layout.Place) -> None:
    first = upgraded(tmp_path, place, 1)
    upgraded(tmp_path, place, 2, previous=link(first))
    done = succession.told(tmp_path, place)
    assert succession.is_sound(done), [one.problem for one in done]
    first_line, second_line = succession.lines(done)
    assert "2027.Q1 → 2027.Q2  PASSED       blue → green" in first_line
    assert second_line.endswith("record 2027-02, follows 2027-01")


def _cut(record: Path) -> None:
    path = record / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _edit(record: Path) -> None:
    path = record / "verdict.json"
    path.write_bytes(path.read_bytes() + b"\n")


def _flip(record: Path) -> None:
    path = record / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"roles", b"rules", 1))


@pytest.mark.parametrize("harm", [_cut, _edit, _flip])
def test_a_first_record_that_changed_since_is_found(
    tmp_path: Path, place: layout.Place, harm: Callable[[Path], None]
) -> None:
    first = upgraded(tmp_path, place, 1)
    upgraded(tmp_path, place, 2, previous=link(first))
    harm(first)
    assert not succession.is_sound(succession.told(tmp_path, place))


@pytest.mark.parametrize(
    "changes",
    [{"result": "FAILED"}, {"serving": "blue"}, {"previous": None}],
    ids=["not passed", "colours not swapped", "not linked"],
)
def test_a_second_upgrade_that_is_not_as_it_should_be_is_found(
    tmp_path: Path, place: layout.Place, changes: dict[str, Any]
) -> None:
    first = upgraded(tmp_path, place, 1)
    upgraded(tmp_path, place, 2, **{"previous": link(first), **changes})
    assert not succession.is_sound(succession.told(tmp_path, place))


def test_one_upgrade_is_no_chain(tmp_path: Path, place: layout.Place) -> None:
    upgraded(tmp_path, place, 1)
    assert not succession.is_sound(succession.told(tmp_path, place))


@pytest.mark.parametrize("other", [("--drill", "rollback"), ("--fault", "crash-loop")])
def test_a_chain_is_performed_alone(other: tuple[str, str]) -> None:
    done = CliRunner().invoke(rehearse, ["--chain", *other])
    assert done.exit_code == 2
    assert "without drills and faults" in done.output


def test_a_dry_run_names_every_command_of_the_chain(tmp_path: Path) -> None:
    done = CliRunner().invoke(rehearse, ["--chain", "--dry-run", "--record", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "cutover.cli contract" in done.output
    assert "2027.Q2 → 2027.Q3, approved anew, with the colours swapped" in done.output
    assert list(tmp_path.iterdir()) == []
