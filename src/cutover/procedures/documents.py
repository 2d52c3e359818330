"""Documents and the archive (4.1b, 4.3a to 4.3c, E.8).

Invariants: what was there before is kept in the record, whole and as a difference; an upgrade stands in a document
once, however often it is written down; what was archived is read back before it counts, and not brought twice.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import re
import stat
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cutover import pdf_text
from cutover.errors import ClauseFailed
from cutover.files import write_whole
from cutover.procedures import leftovers
from cutover.procedures.backups import sha256_file
from cutover.site.store import RETENTION_STEP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from cutover.runbook.journal import Entry
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

_UPDATE = "update document"
_PUT_BACK = "put document back"
_ARCHIVE = "archive artifacts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A document's change: its text afterwards, and its unified difference in the record.

    Beside the difference, under the document's name and `.before`, is the text that it had before this upgrade.
    """

    path: Path
    text: str
    difference: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A document of the platform, kept in the record."""

    path: Path
    pages: int
    characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What was put into the archive, by name in the record."""

    expected: Mapping[str, str]
    """The sha256 of the file, as hex digits."""
    read_back: Mapping[str, str]
    """The sha256 of what the archive gave back."""
    retained_until: Mapping[str, datetime | None]
    """Until when the archive says that nobody may remove it; None where it says nothing."""
    retain_until: datetime
    """The least that the policy demands where the archive has a lock."""
    locked: bool
    lock_detail: str


def update_current_version(upgrade: Upgrade) -> Change:
    """Write the new release into the document of the current version (4.3a)."""
    target = upgrade.target
    if (already := _already(upgrade, target.documents.current_version)) is not None:
        return already
    text = (
        "# Current version\n\n"
        f"{target.upgrade.to_release}\n\n"
        f"Upgraded from {target.upgrade.from_release} on {upgrade.clock.now():%Y-%m-%d} (record {upgrade.id}).\n"
    )
    return _change(upgrade, target.documents.current_version, text)


def add_to_changelog(upgrade: Upgrade) -> Change:
    """Add the upgrade at the top of the changelog, below its title (4.3b)."""
    path, target = upgrade.target.documents.changelog, upgrade.target
    if (already := _already(upgrade, path)) is not None:
        return already
    before = path.read_text("utf-8") if path.exists() else "# Changelog\n"
    title, _, rest = before.partition("\n")
    entry = (
        f"## {target.upgrade.to_release} - {upgrade.clock.now():%Y-%m-%d}\n\n"
        f"- Upgraded {target.name} from {target.upgrade.from_release},"
        f" {upgrade.strategy} cutover, record {upgrade.id}.\n"
    )
    return _change(upgrade, path, f"{title}\n\n{entry}\n{rest.lstrip()}")


def _already(upgrade: Upgrade, path: Path) -> Change | None:
    """Return the change that an earlier attempt of this upgrade made; None when the document does not name it."""
    text = path.read_text("utf-8") if path.exists() else ""
    difference = _difference_of(upgrade, path)
    if (
        not text
        or not _names(upgrade, path)
        or upgrade.target.upgrade.to_release not in text
        or not difference.exists()
    ):
        return None
    upgrade.journal.write("observation", what="already", action=_UPDATE, document=path.name)
    return Change(path=path, text=text, difference=difference)


def _names(upgrade: Upgrade, path: Path) -> bool:
    """Whether a document names this upgrade's record."""
    return re.search(rf"\brecord {re.escape(upgrade.id)}(?![\w-])", path.read_text("utf-8")) is not None


def _difference_of(upgrade: Upgrade, path: Path) -> Path:
    return upgrade.path("artifacts", "documents", f"{path.name}.diff")


def _change(upgrade: Upgrade, path: Path, text: str) -> Change:
    """Write a document whole; its earlier text and the difference are in the record before."""
    place = path.resolve()
    before = place.read_text("utf-8") if place.exists() else ""
    difference = _difference_of(upgrade, path)
    kept = difference.with_name(f"{path.name}.before")
    with upgrade.journal.action(_UPDATE, document=path.name) as done:
        if not kept.exists():
            write_whole(kept, before)
        lines = difflib.unified_diff(
            before.splitlines(keepends=True),
            text.splitlines(keepends=True),
            f"{path.name} before",
            f"{path.name} after",
        )
        write_whole(difference, "".join(lines))
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, text, mode=stat.S_IMODE(place.stat().st_mode) if place.exists() else None)
        done(difference=str(difference.relative_to(upgrade.folder)), sha256=_sha256(text))
    return Change(path=path, text=path.read_text("utf-8"), difference=difference)


def put_back(upgrade: Upgrade) -> None:
    """Give both documents the text that they had before this upgrade, where they still hold what it wrote.

    One that somebody changed since is left alone, and that is written down: what it says is theirs to correct.
    """
    for path in (upgrade.target.documents.current_version, upgrade.target.documents.changelog):
        kept = _difference_of(upgrade, path).with_name(f"{path.name}.before")
        if not kept.exists() or not path.exists() or not _names(upgrade, path):
            continue
        if not _is_as_written(upgrade, path):
            upgrade.journal.write("observation", what="left alone", document=path.name, why="it was changed since")
            continue
        before, place = kept.read_text("utf-8"), path.resolve()
        # What cannot be written keeps nobody from blue: `require_put_back` says it.
        with contextlib.suppress(OSError), upgrade.journal.action(_PUT_BACK, document=path.name):
            if before:
                write_whole(place, before, mode=stat.S_IMODE(place.stat().st_mode))
            else:
                place.unlink()


def require_put_back(upgrade: Upgrade) -> None:
    """Demand that neither document holds what this upgrade wrote into it. Raises ClauseFailed."""
    for path in (upgrade.target.documents.current_version, upgrade.target.documents.changelog):
        if path.exists() and _names(upgrade, path) and _is_as_written(upgrade, path):
            raise ClauseFailed(
                f"{path.name} still says what this upgrade wrote, and blue serves again",
                code="document-not-put-back",
                seen=str(path),
                do=f"put back the text in artifacts/documents/{path.name}.before of the record",
            )


def _is_as_written(upgrade: Upgrade, path: Path) -> bool:
    """Whether a document holds the very text that this upgrade wrote; not to be known of an attempt that was killed."""
    wrote = upgrade.journal.last("done", action=_UPDATE, document=path.name)
    return wrote is None or wrote.data.get("sha256") == _sha256(path.read_text("utf-8"))


def _sha256(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def audit_report(site: Site, upgrade: Upgrade) -> Report:
    """Let the platform report on everything since this upgrade began (4.1b, F.9)."""
    path = leftovers.fresh_output(upgrade, "artifacts/platform/upgrade-audit.pdf")
    upgrade.deviation(
        "F.9",
        did=f"asked for the time since {upgrade.started:%Y-%m-%d %H:%M:%S} UTC, when this upgrade began",
        instead_of="the last hour",
        why="an upgrade that takes longer than an hour would lose its beginning",
    )
    since = upgrade.started.isoformat(timespec="seconds")
    green = upgrade.roles.green.namespace
    site.stella.call("evidence", "audit-report", "--since", since, "--output", str(path), namespace=green)
    return read_report(path)


def compliance_report(site: Site, upgrade: Upgrade) -> Report:
    """Let the platform write its compliance report (E.8)."""
    path = leftovers.fresh_output(upgrade, "artifacts/platform/compliance-report.pdf")
    green = upgrade.roles.green.namespace
    site.stella.call("evidence", "compliance-report", "--format", "pdf", "--output", str(path), namespace=green)
    return read_report(path)


def read_report(path: Path) -> Report:
    """Read a PDF as an auditor's reader would.

    Raises:
        ClauseFailed: it is absent or not a readable PDF.
    """
    try:
        pages = pdf_text.pages(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ClauseFailed(
            f"the platform's report {path.name} is not a readable PDF",
            code="report-unreadable",
            seen=str(error) or type(error).__name__,
            do="run the platform's command by hand and look at what it writes",
        ) from error
    return Report(path=path, pages=len(pages), characters=sum(len(page.strip()) for page in pages))


def archive(site: Site, upgrade: Upgrade) -> Archived:
    """Put every artifact into the store's archive and read each back (4.3c).

    What an attempt that was broken off brought there whole is read back, and not brought again.
    """
    folder = upgrade.folder / "artifacts"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    retain = timedelta(days=upgrade.policy.limits.archive_retention_days)
    earlier = next((entry.time for entry in upgrade.journal.entries() if _begins_archive(entry)), None)
    now = upgrade.clock.now()
    least = (earlier or now) + retain
    expected: dict[str, str] = {}
    read_back: dict[str, str] = {}
    retained_until: dict[str, datetime | None] = {}
    with upgrade.journal.action(_ARCHIVE, files=len(files)) as done:
        for path, kept in site.store.archive_all(
            files,
            relative_to=upgrade.folder,
            prefix=f"upgrades/{upgrade.id}",
            retain_until=now + retain,
            already_until=least if earlier is not None else None,
        ):
            name = str(path.relative_to(upgrade.folder))
            expected[name] = sha256_file(path)
            read_back[name] = kept.sha256.removeprefix("sha256:")
            retained_until[name] = kept.retained_until
        lock = site.store.archive_lock()
        done(files=len(files), locked=lock.locked)
    upgrade.journal.write(
        "observation", what="archive lock", locked=lock.locked, detail=lock.detail, retention_days=retain.days
    )
    return Archived(
        expected=expected,
        read_back=read_back,
        retained_until=retained_until,
        retain_until=least,
        locked=lock.locked,
        lock_detail=lock.detail,
    )


def _begins_archive(entry: Entry) -> bool:
    return entry.event == "intent" and entry.data.get("action") == _ARCHIVE


def not_retained(archived: Archived) -> list[str]:
    """Name the artifacts that a locked archive keeps for less than the policy's retention; to the second."""
    least = archived.retain_until - RETENTION_STEP
    return [name for name, until in archived.retained_until.items() if until is None or until < least]
