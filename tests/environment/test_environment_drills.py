"""Drills harm a site on purpose: on a target that is not disposable there is nothing to run."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from rehearsal.cli import drills, rehearse
from rehearsal.environment import layout

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = layout.PROJECT / "rehearsal" / "features"
SCENARIOS = re.findall(r"^ +Scenario: (.*)$", (FEATURES / "unsafe_forms.feature").read_text(), re.MULTILINE)


def _collected(*arguments: str, folder: Path) -> tuple[int, list[str]]:
    command = [sys.executable, "-m", "pytest", "-c", str(layout.PROJECT / "pyproject.toml"), "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--collect-only", "-q", *arguments], check=False, cwd=folder, capture_output=True, text=True
    )
    return done.returncode, [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        (None, FEATURES),
        ('name = "production"\n', FEATURES),
        ("disposable = false\n", FEATURES / "test_unsafe_forms.py"),
        ('disposable = "true"\n', FEATURES),
        ("disposable = tru", FEATURES / "test_unsafe_forms.py"),
    ],
    ids=["none given", "says nothing", "says no", "says it wrongly", "not TOML"],
)
def test_nothing_is_collected_for_a_target_that_may_not_be_harmed(
    tmp_path: Path, target: str | None, asked: Path
) -> None:
    given = []
    if target is not None:
        (tmp_path / "target.toml").write_text(target)
        given = ["--target", "target.toml"]
    code, items = _collected(str(asked), *given, folder=tmp_path)
    assert (code, items) == (pytest.ExitCode.NO_TESTS_COLLECTED, [])


def test_every_scenario_is_collected_for_a_disposable_target(tmp_path: Path) -> None:
    (tmp_path / "target.toml").write_text("disposable = true\n")
    code, items = _collected(str(FEATURES), "--target", "target.toml", folder=tmp_path)
    assert code == 0
    assert len(items) == len(SCENARIOS) == 7


def test_a_drill_names_a_module_and_brings_the_site_to_its_phase() -> None:
    for drill in drills.DRILLS.values():
        assert (FEATURES / drill.module).exists()
    told = CliRunner().invoke(rehearse, ["--dry-run", "--drill", "unsafe-forms"]).output
    assert "--until 2" in told
    assert "test_unsafe_forms.py" in told
    assert "exit code of the drill" in told


def test_a_drill_and_a_fault_are_not_for_one_site() -> None:
    result = CliRunner().invoke(rehearse, ["--drill", "unsafe-forms", "--fault", "green-slow"])
    assert result.exit_code == 2
    assert "without faults" in result.output


@pytest.mark.parametrize(("code", "wanted"), [(0, 0), (1, 1), (2, 3), (4, 3), (5, 3), (143, 3)])
def test_a_drill_that_ran_nothing_has_measured_nothing(code: int, wanted: int) -> None:
    assert drills.exit_code(code) == wanted
