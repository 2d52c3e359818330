"""The record's builders in a run: Allure's results from the scenarios, every other report from the finished record.

Invariant: what breaks here is one line to the operator; the verdict and the exit code stay what they are.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from reports import build
from reports.allure import Collector

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.runbook.upgrade import Upgrade

_COLLECTOR = "cutover-allure"


@pytest.hookimpl
def pytest_cutover_start(config: pytest.Config, upgrade: Upgrade) -> None:
    """Begin to watch the scenarios."""
    config.pluginmanager.register(Collector(upgrade.target.secrets()), _COLLECTOR)


@pytest.hookimpl
def pytest_cutover_record(config: pytest.Config, folder: Path) -> None:
    """Make every report of a finished record."""
    for made in build.build(folder):
        if made.problem:
            _complain(made.name, made.problem)
    collector: object = config.pluginmanager.get_plugin(_COLLECTOR)
    try:
        if isinstance(collector, Collector):
            collector.write(folder)
    except Exception as problem:  # noqa: BLE001  # see the module's invariant
        _complain("allure-results", f"{type(problem).__name__}: {problem}")


def _complain(name: str, problem: str) -> None:
    sys.stderr.write(f"WARNING: {name} was not made ({problem.partition(chr(10))[0]}); the verdict is not affected\n")
