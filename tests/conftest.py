"""What the tests need of the machine, made before the first of them runs.

A test that starts real programs carries the marker `real_programs`; when one was collected, what is missing is built or
unpacked here, with progress, and not under the deadline of a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal.tools import ensure

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_programs: starts programs that are built or unpacked once")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the programs, if a test asks for them and this run is one that runs tests."""
    if session.config.option.collectonly or session.config.option.help:
        return
    if any(item.get_closest_marker("real_programs") for item in session.items):
        capture = session.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            ensure()
