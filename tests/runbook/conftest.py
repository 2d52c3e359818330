"""Fixtures of the runbook's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cutover.clock import ManualClock
from cutover.model import Strategy
from cutover.policy import Policy
from cutover.runbook.journal import Journal
from cutover.runbook.upgrade import Upgrade
from cutover.target import Target

sys.path.insert(0, str(Path(__file__).parent))

from miniature import Miniature
from planned_site import SECRETS, PlannedSite


@pytest.fixture
def miniature(tmp_path: Path) -> Miniature:
    """Return a runbook in miniature, in a folder of its own."""
    return Miniature(tmp_path)


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlannedSite:
    """Return the files of a site, and what is planned and approved on it."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return PlannedSite(folder=tmp_path)


@pytest.fixture
def upgrade(miniature: Miniature) -> Upgrade:
    """Return an upgrade with an empty journal."""
    root = miniature.root
    return Upgrade(
        id="u",
        folder=root,
        target=Target.load(root / "target.toml"),
        policy=Policy.read(root / "policy.toml"),
        journal=Journal(root / "journal.jsonl", clock=ManualClock()),
        strategy=Strategy.GRADUAL,
    )
