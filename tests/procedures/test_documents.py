"""The archive: what it keeps, and for how long."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import ClauseFailed
from cutover.procedures import documents
from cutover.site.store import Archived, ArchiveLock
from steps import documents as steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cutover.runbook.upgrade import Upgrade


class MemoryArchive:
    """An archive that keeps what it is given, for the policy's time or as much shorter as a test says."""

    def __init__(self, upgrade: Upgrade, *, locked: bool, short: timedelta | None = timedelta(0)) -> None:
        self._upgrade, self._locked, self._short = upgrade, locked, short

    def archive_lock(self) -> ArchiveLock:
        return ArchiveLock(locked=self._locked, detail="object lock enabled" if self._locked else "no object lock")

    def archive_all(
        self,
        files: Iterable[Path],
        *,
        relative_to: Path,
        prefix: str,
        retain: timedelta,
        already_until: datetime | None,
    ) -> Iterator[tuple[Path, Archived]]:
        assert already_until is None, "nobody has archived before"
        for path in files:
            until: datetime | None = None
            if self._locked and self._short is not None:
                until = self._upgrade.clock.now() + retain - self._short
            content = path.read_bytes()
            yield (
                path,
                Archived(
                    key=f"{prefix}/{path.relative_to(relative_to)}",
                    size_bytes=len(content),
                    sha256="sha256:" + hashlib.sha256(content).hexdigest(),
                    version="1",
                    retained_until=until,
                ),
            )


def archived(upgrade: Upgrade, store: MemoryArchive) -> documents.Archived:
    upgrade.path("artifacts", "a.txt").write_bytes(b"one")
    upgrade.path("artifacts", "deeper", "b.txt").write_bytes(b"two")
    site: Any = SimpleNamespace(store=store)
    return documents.archive(site, upgrade)


def test_a_locked_archive_keeps_every_artifact_for_the_policys_time(upgrade: Upgrade) -> None:
    kept = archived(upgrade, MemoryArchive(upgrade, locked=True))
    steps.archive_equal(kept)
    steps.archive_retains(upgrade, kept)
    assert set(kept.retained_until) == {"artifacts/a.txt", "artifacts/deeper/b.txt"}
    assert kept.retain_until == upgrade.clock.now() + timedelta(days=upgrade.policy.limits.archive_retention_days)


@pytest.mark.parametrize("short", [timedelta(minutes=1), None])
def test_a_locked_archive_that_keeps_for_less_is_found(upgrade: Upgrade, short: timedelta | None) -> None:
    kept = archived(upgrade, MemoryArchive(upgrade, locked=True, short=short))
    with pytest.raises(ClauseFailed) as caught:
        steps.archive_retains(upgrade, kept)
    assert caught.value.code == "archive-not-retained"


def test_an_archive_without_lock_is_said_to_have_none(upgrade: Upgrade) -> None:
    kept = archived(upgrade, MemoryArchive(upgrade, locked=False))
    steps.archive_retains(upgrade, kept)
    said = upgrade.journal.last("observation", what="archive lock")
    assert said is not None
    assert (said.data["locked"], said.data["detail"]) == (False, "no object lock")
