"""The documents point at what is there, and show the commands as they are."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cutover import project

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = [
    project.ROOT / "README.md",
    project.ROOT / "CONTRIBUTING.md",
    project.ROOT / "CHANGELOG.md",
    *sorted((project.ROOT / "docs").rglob("*.md")),
    *sorted((project.ROOT / "contract").rglob("*.md")),
    *sorted((project.ROOT / "rehearsal").rglob("*.md")),
]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
COMMAND = re.compile(r"^ {4}(?:\./)?cutover ([a-z-]+(?: [a-z]+)?)", re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=[str(path.relative_to(project.ROOT)) for path in DOCUMENTS])
def test_every_link_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in LINK.findall(text):
        assert "://" not in link, f"{path.name} names an external address: {link}"
        assert (path.parent / link).exists(), f"{path.name} links to {link}, which is not there"


def test_every_command_of_the_readme_exists() -> None:
    named = {words.split()[0] for words in COMMAND.findall((project.ROOT / "README.md").read_text(encoding="utf-8"))}
    command = [sys.executable, "-m", "cutover.cli", "--help"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert named >= {"rehearse", "test", "plan", "run"}
    for name in named:
        assert re.search(rf"^  {name} ", listed, re.MULTILINE), f"the README names {name}, which is no command"
