"""An upgrade without a site, on a clock that only the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cutover import project
from cutover.clock import ManualClock
from cutover.policy import Policy
from cutover.runbook.journal import Journal
from cutover.runbook.upgrade import Upgrade
from cutover.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRETS = {
    "STELLA_DSN": "postgresql://stella:not-a-real-one@db.example:5432/stellaops",
    "STELLA_LOG_DSN": "postgresql://stella:not-a-real-one@db.example:5432/stella_log",
    "STELLA_BLUE_CACHE_URL": "redis://blue.example:6379/0",
    "STELLA_GREEN_CACHE_URL": "redis://green.example:6379/0",
    "STELLA_ADMIN_DSN": "postgresql://admin:not-a-real-one@db.example:5432/postgres",
    "STELLA_STORE_ACCESS_KEY": "access-key-one",
    "STELLA_STORE_SECRET_KEY": "secret-key-one",
}


@pytest.fixture
def upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upgrade]:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    examples = project.CONTRACT / "examples"
    target, policy = Target.load(examples / "target.toml"), Policy.read(examples / "policy.toml")
    folder = tmp_path / "record"
    folder.mkdir()
    journal = Journal(folder / "journal.jsonl", clock=ManualClock(), secrets=target.secrets())
    yield Upgrade(id="t", folder=folder, target=target, policy=policy, journal=journal, strategy=policy.strategy)
    journal.close()
