"""Guards of the real runbook: features, steps and catalogue agree, and the features speak the operator's language."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from cutover import project
from cutover.runbook import inventory
from cutover.runbook.catalogue import load_clauses

DESIGN_IDS = (
    [f"P.{n}" for n in range(1, 8)]
    + ["1.1a", "1.1b", "1.1c", "1.2a", "1.2b", "1.2c", "1.2d"]
    + [f"1.3{letter}" for letter in "abcdef"]
    + ["2.1a", "2.1b", "2.2a", "2.2b", "2.3a", "2.3b"]
    + ["3.1a", "3.1b", "3.1c", "3.1d", "3.2", "3.3a", "3.3b", "3.3c", "3.3d"]
    + ["4.1a", "4.1b", "4.2a", "4.2b", "4.2c", "4.3a", "4.3b", "4.3c", "5.1", "5.2a", "5.2b"]
    + ["R.1", "R.2a", "R.2b", "R.2c", "R.2d", "R.2e"]
    + [f"E.{n}" for n in range(1, 9)]
    + ["T.1", "T.2", "T.3", "T.4", "S.1", "S.2", "S.3"]
)
OWN_IDS = {"C.1", "R.3"}
"""What the guide has no clause for, and a person may ask for all the same."""
MUST_BE_BUILT = {id_ for id_ in DESIGN_IDS if id_[0] in "PE12345"} | {"R.1", "R.2a", "R.2b", "R.2c", "R.2e"}


def test_the_catalogue_holds_every_clause_of_the_guide() -> None:
    assert sorted({clause.id for clause in load_clauses()} - OWN_IDS) == sorted(DESIGN_IDS)
    assert {clause.id for clause in load_clauses() if clause.built} >= MUST_BE_BUILT


def test_features_and_catalogue_agree() -> None:
    assert inventory.problems(inventory.read_features(project.FEATURES), load_clauses()) == []


def test_every_step_has_exactly_one_definition_and_every_definition_is_used() -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "features", "--collect-only", "-q", "-p", "no:cacheprovider"],
        cwd=project.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    number = len(inventory.read_features(project.FEATURES))
    assert f"{number} tests collected" in done.stdout


def test_a_phase_runs_in_the_order_of_its_folder() -> None:
    """The folders' numbers are the order in which an operator reads; the catalogue's order must not contradict it."""
    catalogue = load_clauses()
    stages: dict[str, set[int | None]] = {}
    for scenario in inventory.read_features(project.FEATURES):
        folder = scenario.path.parent.name
        stages.setdefault(folder, set()).update(c.stage for c in inventory.clauses_of(scenario, catalogue))
    in_order = [stages[folder] for folder in sorted(stages)]
    assert in_order == [{1}, {1}, {2}, {3}, {4}, {5}, {None}, {None}]


def test_every_feature_names_its_clauses_and_how_it_is_undone() -> None:
    for path in sorted(project.FEATURES.rglob("*.feature")):
        description = path.read_text("utf-8").split("Feature:", 1)[1].split("\n\n", 1)[0]
        assert re.search(r"[Gg]uide", description), path
        is_the_way_back = "@rollback" in path.read_text("utf-8")
        assert is_the_way_back or re.search(r"[Uu]ndone|[Nn]othing is changed", description), path


@pytest.mark.parametrize("folder", ["src", "steps", "fixtures"])
def test_the_harness_knows_one_kind_of_site(folder: str) -> None:
    word = "rehears" + "al"
    found = [
        str(path.relative_to(project.ROOT))
        for path in (project.ROOT / folder).rglob("*.py")
        if word in path.read_text("utf-8").lower()
    ]
    assert found == []
