# ruff: noqa: INP001  # a folder of pytest, as features is
"""Collects the drills of a disposable target, and nothing for any other; a drill of clauses gets a record of its own.

What is in this folder harms a site on purpose. Without a target file that says `disposable = true` itself, no module
here is even imported: there is no item to run, to select or to run by mistake.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pytest_bdd.scenario import scenario_wrapper_template_registry

from cutover import project
from cutover.runbook.catalogue import load_clauses

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pytest_bdd.parser import Step

    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from rehearsal.drilled import DrillRecord
    from rehearsal.environment.strikes import Injector

WAYS = {"nginx": "an Ingress routes the public host", "gateway": "an HTTPRoute of the Gateway API routes it"}
"""What the tags of a scenario mean: it is about this way of routing alone."""
CATALOGUE = load_clauses()
RECORD = pytest.StashKey["DrillRecord"]()
ERROR = pytest.StashKey[BaseException]()
_INSTALL_S = 15.0
"""So long helm waits for green here: what is stuck stays stuck."""
_REPORT_BOUND_S = 120.0


class Spared(pytest.Module):
    """A module that is not opened, because the target may not be harmed."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield nothing."""
        return iter(())


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the drill's name; a drill whose scenarios perform clauses writes a record (--record DIR)."""
    parser.getgroup("cutover").addoption("--drill", metavar="NAME", default="", help="the drill's name in its record")


def pytest_configure(config: pytest.Config) -> None:
    """Register the tags."""
    for tag, meaning in {**WAYS, **CATALOGUE.markers()}.items():
        config.addinivalue_line("markers", f"{tag}: {meaning}")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Give pytest's own module for a disposable target, an empty one for any other or for none."""
    if is_disposable(parent.config):
        return None
    return Spared.from_parent(parent, path=module_path)


def is_disposable(config: pytest.Config) -> bool:
    """Whether a target file was given that says so in so many words; an unreadable one does not."""
    given = config.getoption("--target", default=None)
    if not given:
        return False
    try:
        content = tomllib.loads(Path(config.invocation_params.dir, given).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return False
    return content.get("disposable") is True


# -- the record of a drill ---------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Write start and end of each scenario that performs clauses."""
    clauses = CATALOGUE.tagged(mark.name for mark in item.iter_markers())
    if not clauses:
        return (yield)
    record = _record(item.config)
    scenario = scenario_wrapper_template_registry[item.function].render({})  # type: ignore[attr-defined]
    record.open(clauses, scenario=scenario.name, feature=scenario.feature.name or "")
    try:
        return (yield)
    finally:
        record.close(item.stash.get(ERROR, None))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the first error of a scenario."""
    report = yield
    if call.excinfo is not None and ERROR not in item.stash:
        item.stash[ERROR] = call.excinfo.value
    return report


def pytest_bdd_before_step(request: pytest.FixtureRequest, step: Step) -> None:
    """Note that a step begins."""
    if RECORD in request.config.stash and step is not None:
        request.config.stash[RECORD].step_began()


def pytest_bdd_after_step(request: pytest.FixtureRequest, step: Step) -> None:
    """Write the step that passed."""
    if RECORD in request.config.stash:
        request.config.stash[RECORD].step_ended(step.keyword, step.name, "passed")


def pytest_bdd_step_error(request: pytest.FixtureRequest, step: Step) -> None:
    """Write the step that failed."""
    if RECORD in request.config.stash:
        request.config.stash[RECORD].step_ended(step.keyword, step.name, "failed")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Seal the record, build its reports, and say where it is."""
    record = session.config.stash.get(RECORD, None)
    if record is None:
        return
    judged = record.seal()
    folder = record.upgrade.folder
    for command in (["report", str(folder)], ["records", str(folder.parent), "--index"]):
        subprocess.run(
            [sys.executable, "-m", "cutover.cli", *command],
            check=False,
            capture_output=True,
            timeout=_REPORT_BOUND_S,
        )
    results = [f"{one.clause.id} {one.record.result}" for one in judged.clauses if one.clause.id in record.reported]
    sys.stdout.write(f"\n\n{', '.join(results)}\nrecord     {folder}\n")


def _record(config: pytest.Config) -> DrillRecord:
    """Return the record of this drill, begun with its first scenario."""
    if RECORD not in config.stash:
        from cutover.policy import Policy  # noqa: PLC0415  # only a drill that harms needs them
        from cutover.target import Target  # noqa: PLC0415
        from rehearsal.drilled import DrillRecord  # noqa: PLC0415

        where = config.invocation_params.dir
        loaded = Target.load(Path(where, config.getoption("--target")))
        assert loaded.disposable
        described = dataclasses.replace(loaded, chart=dataclasses.replace(loaded.chart, wait_timeout_s=_INSTALL_S))
        parent = config.getoption("--record")
        config.stash[RECORD] = DrillRecord.begin(
            config.getoption("--drill") or "unnamed",
            target=described,
            policy=Policy.read(described.policy_path),
            catalogue=CATALOGUE,
            parent=Path(where, parent) if parent else project.RECORDS,
        )
    return config.stash[RECORD]


# -- what the drills of clauses ask for --------------------------------------------------------------------------------


@pytest.fixture
def upgrade(request: pytest.FixtureRequest) -> Upgrade:
    """Return the upgrade that never is one: record, target, policy, journal, roles."""
    return _record(request.config).upgrade


@pytest.fixture
def site(upgrade: Upgrade) -> Iterator[Site]:
    """Connect to the site anew, its transcripts in the record."""
    from cutover.site import connect  # noqa: PLC0415

    connected = connect(upgrade.target, upgrade.journal)
    if not upgrade.knows_roles:
        serving = connected.public.who_serves(20).single_colour
        assert serving == "blue", f"a drill begins with blue serving, not {serving}"
        upgrade.assign_roles(serving)
    connected.assign_roles(upgrade.roles)
    yield connected
    connected.close()


@pytest.fixture
def injector(upgrade: Upgrade) -> Injector:
    """Return what strikes the site, as the rehearsal's own injector does."""
    from rehearsal.environment import layout  # noqa: PLC0415
    from rehearsal.environment.sitedata import Secrets  # noqa: PLC0415
    from rehearsal.environment.strikes import Injector  # noqa: PLC0415

    place = layout.Place.at(upgrade.target.path.parent)
    return Injector(place=place, known=Secrets.read(place.root))
