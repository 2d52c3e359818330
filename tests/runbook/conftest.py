"""Fixtures of the runbook's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

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
