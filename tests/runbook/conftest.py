"""Fixtures of the runbook's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from miniature import Miniature


@pytest.fixture
def miniature(tmp_path: Path) -> Miniature:
    """Return a runbook in miniature, in a folder of its own."""
    return Miniature(tmp_path)
