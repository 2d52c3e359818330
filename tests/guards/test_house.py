"""The house's own rules, each by the tool that enforces it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cutover import project

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["lint-imports", "--no-cache"]],
    ids=["lint", "format", "import contracts"],
)
def test_the_house_rules_hold(command: list[str]) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], check=False, cwd=project.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
