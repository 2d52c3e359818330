"""The record's end in a run: Allure's results from the scenarios, every report, and the seal over all of it.

Invariants: what breaks here is one line to the operator, and the verdict and the exit code stay what they are; but a
secret in the record is an error, and makes the run fail. A record that is gone on with is not sealed until it ends.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from cutover.record import seal
from fixtures.run import SESSION
from reports import allure_record, sealing
from reports.allure import Collector
from reports.allure_results import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cutover.runbook.upgrade import Upgrade

_COLLECTOR = pytest.StashKey[Collector]()
_MEANS = pytest.StashKey[sealing.Means]()


@pytest.hookimpl
def pytest_cutover_start(config: pytest.Config, upgrade: Upgrade) -> None:
    """Set an earlier attempt's seal aside, and begin to watch the scenarios."""
    try:
        seal.set_aside(upgrade.folder)
    except OSError as problem:
        _complain("the earlier seal's folder", str(problem))
    config.stash[_MEANS] = sealing.Means.of_target(upgrade.target)
    known = config.stash[SESSION]
    collector = Collector.begin(config, upgrade, catalogue=known.catalogue, planned=known.planned)
    config.stash[_COLLECTOR] = collector


@pytest.hookimpl
def pytest_cutover_record(config: pytest.Config, folder: Path) -> None:
    """Make every report of a finished record, and seal it. Raises CouldNotMeasure: a secret stands in it."""
    sealing.make_inputs(folder, _complain)
    for problem in _allure(config, folder):
        _complain(FOLDER, problem)
    sealing.complete(folder, config.stash.get(_MEANS, sealing.Means()), _complain)


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
