"""The archive: what it keeps, and for how long."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from reportlab.pdfgen.canvas import Canvas

from cutover.errors import ClauseFailed
from cutover.procedures import documents
from cutover.runbook.upgrade import Upgrade
from cutover.site.store import Archived, ArchiveLock
from steps import documents as steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


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
        retain_until: datetime,
        already_until: datetime | None,
    ) -> Iterator[tuple[Path, Archived]]:
        assert already_until is None, "nobody has archived before"
        for path in files:
            until: datetime | None = None
            if self._locked and self._short is not None:
                until = retain_until - self._short
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


# -- attempts that were broken off (4.3a to 4.3c) ----------------------------------------------------------------------


@pytest.fixture
def papers(upgrade: Upgrade, tmp_path: Path) -> tuple[Path, Path]:
    """Return the changelog, with an older entry, and the document of the current version, which is not there yet."""
    changelog, version = tmp_path / "CHANGELOG.md", tmp_path / "docs" / "CURRENT_VERSION.md"
    changelog.write_text("# Changelog\n\n## 2027.Q1 - 2026-08-01\n\n- Before.\n", encoding="utf-8")
    changelog.chmod(0o640)
    papers = dataclasses.replace(upgrade.target.documents, changelog=changelog, current_version=version)
    upgrade.target = dataclasses.replace(upgrade.target, documents=papers)
    return changelog, version


def test_an_upgrade_stands_in_each_document_once_however_often_it_is_written_down(
    upgrade: Upgrade, papers: tuple[Path, Path]
) -> None:
    changelog, version = papers
    first = (documents.add_to_changelog(upgrade), documents.update_current_version(upgrade))
    written = [path.read_bytes() for path in papers]
    differences = [change.difference.read_bytes() for change in first]
    upgrade.clock.sleep(2 * 24 * 3600)  # the next attempt is days later
    again = (documents.add_to_changelog(upgrade), documents.update_current_version(upgrade))
    assert [path.read_bytes() for path in papers] == written
    assert [change.difference.read_bytes() for change in again] == differences
    assert again == first
    for change in again:
        steps.names_release(upgrade, change)
    assert changelog.read_text("utf-8").count("## 2027.Q2") == 1
    assert changelog.stat().st_mode & 0o777 == 0o640
    already = [one for one in upgrade.journal.entries() if one.data.get("what") == "already"]
    assert [one.data["document"] for one in already] == [changelog.name, version.name]


def test_both_documents_are_put_back_with_blue(upgrade: Upgrade, papers: tuple[Path, Path]) -> None:
    changelog, version = papers
    before = changelog.read_bytes()
    documents.put_back(upgrade)
    assert changelog.read_bytes() == before, "nothing was written yet"
    documents.add_to_changelog(upgrade)
    documents.update_current_version(upgrade)
    with pytest.raises(ClauseFailed, match=r"still says what this upgrade wrote"):
        documents.require_put_back(upgrade)
    documents.put_back(upgrade)
    documents.put_back(upgrade)
    assert (changelog.read_bytes(), version.exists()) == (before, False)
    assert changelog.stat().st_mode & 0o777 == 0o640
    steps.documents_put_back(upgrade)


def test_a_document_that_somebody_changed_since_is_left_to_them(upgrade: Upgrade, papers: tuple[Path, Path]) -> None:
    changelog, _ = papers
    documents.add_to_changelog(upgrade)
    theirs = changelog.read_text("utf-8") + "\n- A line of theirs.\n"
    changelog.write_text(theirs, "utf-8")
    documents.put_back(upgrade)
    assert changelog.read_text("utf-8") == theirs
    left = upgrade.journal.last("observation", what="left alone")
    assert left is not None
    assert left.data["document"] == changelog.name
    documents.require_put_back(upgrade)


@pytest.mark.parametrize("difference", ["written", "half written", "not written"])
def test_an_attempt_killed_before_the_document_is_made_good(
    upgrade: Upgrade, papers: tuple[Path, Path], difference: str
) -> None:
    changelog, _ = papers
    before = changelog.read_text("utf-8")
    if difference != "not written":
        documents.add_to_changelog(upgrade)
        changelog.write_text(before, "utf-8")  # the difference is written first
    if difference == "half written":
        place = upgrade.path("artifacts", "documents", f".{changelog.name}.diff.partial")
        place.write_text("--- CHANGE", "utf-8")
    change = documents.add_to_changelog(upgrade)
    steps.names_release(upgrade, change)
    assert change.text.count("## 2027.Q2") == 1
    assert change.difference.with_name("CHANGELOG.md.before").read_text("utf-8") == before
    assert not list(change.difference.parent.glob(".*"))


@pytest.mark.parametrize("other", ["t-2", "t2", "a-t", "T"])
def test_another_upgrades_entry_is_not_taken_for_this_ones(
    upgrade: Upgrade, papers: tuple[Path, Path], other: str
) -> None:
    changelog, _ = papers
    mine, upgrade.id = upgrade.id, other
    documents.add_to_changelog(upgrade)
    upgrade.id = mine
    assert documents.add_to_changelog(upgrade).text.count("## 2027.Q2") == 2
    assert changelog.read_text("utf-8").count(f"record {mine}.") == 1


def test_the_audit_report_is_of_every_attempt(upgrade: Upgrade) -> None:
    begun = upgrade.journal.write("run_started").time
    upgrade.clock.sleep(2 * 24 * 3600)
    upgrade.journal.write("run_resumed", procedure="resume")
    further = Upgrade(
        id=upgrade.id,
        folder=upgrade.folder,
        target=upgrade.target,
        policy=upgrade.policy,
        journal=upgrade.journal,
        strategy=upgrade.strategy,
    )
    asked: list[str] = []

    def call(*words: str, namespace: str) -> None:
        assert namespace == upgrade.roles.green.namespace
        asked.append(words[words.index("--since") + 1])
        canvas = Canvas(words[-1])
        canvas.drawString(72, 700, "an audit")
        canvas.save()

    site: Any = SimpleNamespace(stella=SimpleNamespace(call=call))
    assert documents.audit_report(site, further).pages == 1
    assert [datetime.fromisoformat(text) for text in asked] == [begun]


def test_what_an_earlier_attempt_archived_counts_from_when_it_began(upgrade: Upgrade) -> None:
    begun = upgrade.clock.now()
    upgrade.journal.write("intent", action="archive artifacts", files=2)
    upgrade.clock.sleep(7200)
    asked: list[datetime | None] = []

    class Second(MemoryArchive):
        def archive_all(self, *arguments: Any, already_until: datetime | None, **options: Any) -> Any:  # noqa: ANN401
            asked.append(already_until)
            return super().archive_all(*arguments, already_until=None, **options)

    kept = archived(upgrade, Second(upgrade, locked=True))
    retention = timedelta(days=upgrade.policy.limits.archive_retention_days)
    assert asked == [kept.retain_until] == [begun + retention]
    assert documents.not_retained(kept) == []
