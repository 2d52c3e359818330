"""What the tests need of the machine, made before the first of them runs.

A test that starts real programs carries the marker `real_programs`; when one was collected, what is missing is built or
unpacked here, with progress, and not under the deadline of a test. Such a test measures time on a machine that does
other work too: when it fails it is run once more, and the run names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rehearsal.tools import ensure

if TYPE_CHECKING:
    from collections.abc import Sequence

_TIMED = ("tests/load/",)
"""Where tests measure time though they start no programs."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_programs: starts programs that are built or unpacked once")


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Let what depends on the machine's speed be measured twice."""
    for item in items:
        if item.get_closest_marker("real_programs") or item.nodeid.startswith(_TIMED):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the programs, if a test asks for them and this run is one that runs tests."""
    if session.config.option.collectonly or session.config.option.help:
        return
    if any(item.get_closest_marker("real_programs") for item in session.items):
        capture = session.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            ensure()
