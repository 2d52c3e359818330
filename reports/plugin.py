"""The record's builders in a run: Allure's results from the scenarios, every other report from the finished record.

Invariant: what breaks here is one line to the operator; the verdict and the exit code stay what they are.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from fixtures.run import SESSION
from reports import allure_page, allure_record, build
from reports.allure import Collector
from reports.allure_results import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cutover.runbook.upgrade import Upgrade

_COLLECTOR = pytest.StashKey[Collector]()


@pytest.hookimpl
def pytest_cutover_start(config: pytest.Config, upgrade: Upgrade) -> None:
    """Begin to watch the scenarios."""
    known = config.stash[SESSION]
    collector = Collector.begin(config, upgrade, catalogue=known.catalogue, planned=known.planned)
    config.stash[_COLLECTOR] = collector


@pytest.hookimpl
def pytest_cutover_record(config: pytest.Config, folder: Path) -> None:
    """Make every report of a finished record."""
    for made in build.build(folder):
        if made.problem:
            _complain(made.name, made.problem)
    for problem in _allure(config, folder):
        _complain(FOLDER, problem)
    page = allure_page.build_page(folder)
    if page is not None and page.problem:
        _complain(page.name, page.problem)


def _allure(config: pytest.Config, folder: Path) -> Iterator[str]:
    """Complete allure-results/, and yield what went wrong with them."""
    collector = config.stash.get(_COLLECTOR, None)
    if collector is not None and collector.problem:
        yield collector.problem
    try:
        allure_record.write(folder, config.stash[SESSION].planned)
    except Exception as problem:  # noqa: BLE001  # see the module's invariant
        yield f"{type(problem).__name__}: {problem}"


def _complain(name: str, problem: str) -> None:
    sys.stderr.write(f"WARNING: {name} was not made ({problem.partition(chr(10))[0]}); the verdict is not affected\n")
