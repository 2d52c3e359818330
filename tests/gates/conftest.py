"""A run without a site: a real upgrade and journal on a clock that only the test moves."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cutover import project
from cutover.clock import ManualClock
from cutover.policy import Policy
from cutover.runbook.journal import Journal
from cutover.runbook.upgrade import Upgrade
from cutover.target import Target

sys.path.insert(0, str(Path(__file__).parent))

from quiet_site import GOOD_COUNTS, GOOD_VALUES, POLICY, SECRETS, FakeLoad, FakePrometheus, FakeSite

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY, encoding="utf-8")
    return Policy.read(path)


@pytest.fixture
def upgrade(tmp_path: Path, clock: ManualClock, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upgrade]:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    # Hundreds of lines a bake: what a disk does with them is the journal's own tests' business.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    target = Target.load(project.CONTRACT / "examples" / "target.toml")
    folder = tmp_path / "record"
    folder.mkdir()
    journal = Journal(folder / "journal.jsonl", clock=clock, secrets=target.secrets())
    yield Upgrade(id="t", folder=folder, target=target, policy=policy, journal=journal, strategy=policy.strategy)
    journal.close()


@pytest.fixture
def site() -> FakeSite:
    return FakeSite(prometheus=FakePrometheus(values=dict(GOOD_VALUES), counts=dict(GOOD_COUNTS)))


@pytest.fixture
def load(clock: ManualClock) -> FakeLoad:
    return FakeLoad(clock=clock)
