"""What the tests of the environment share: state and cache folders of their own, and a place in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rehearsal.environment import layout

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def place() -> layout.Place:
    """Return the place of an environment whose folder exists and is empty."""
    found = layout.Place.named("trial")
    found.root.mkdir(parents=True)
    return found
