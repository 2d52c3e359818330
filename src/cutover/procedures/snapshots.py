"""Snapshots of a site and their verification, for the runbook and for the command line (1.1c, 4.1a, E.1 to E.5).

    FOLDER/before/, after/   two snapshots
    FOLDER/diff.json         their balance, and the items that are not the same
    FOLDER/E.n.json          each guarantee: what was checked, what was refused

Invariants: a snapshot that was interrupted is taken up where it was, whoever began it; one that is finished is never
written over, only set aside.
"""

from __future__ import annotations

import itertools
import json
import shutil
from typing import TYPE_CHECKING, Final

from cutover.errors import CouldNotMeasure
from cutover.evidence import snapshot, trust, verify
from cutover.files import write_whole
from cutover.site.executors import workers

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.evidence.diff import Diff
    from cutover.evidence.snapshot import Progress, Snapshot
    from cutover.evidence.verify import Guarantee, Report
    from cutover.site import Site

BEFORE: Final = "before"
AFTER: Final = "after"


def take(site: Site, folder: Path, *, progress: Progress | None = None) -> Snapshot:
    """Take a snapshot of everything the site holds, with the workers that its target names.

    Raises:
        CouldNotMeasure: `no-evidence`, when there is not one item; as the drivers of database, log and store.
        EvidenceError, FileExistsError: as `snapshot.take`.

    """
    if site.database.evidence_count() == 0:
        raise CouldNotMeasure(
            "the site holds no evidence: continuity of nothing proves nothing",
            code="no-evidence",
            seen="0 items",
            do="point [database] of the target at the platform's database",
        )
    settings = site.target.evidence
    with workers(settings) as hands:
        snapshot.take(
            site.database,
            site.contents,
            folder,
            trust=trust.load(settings.trust_root),
            log=site.log,
            site=site.target.name,
            workers=hands,
            readers=settings.readers,
            progress=progress,
        )
    return snapshot.load(folder)


def verify_site(
    site: Site,
    baseline: Path,
    folder: Path,
    *,
    new_schema: int | None = None,
    base_schema: int = verify.BASE_SCHEMA,
    progress: Progress | None = None,
) -> Report:
    """Take a snapshot of the site as it is, and verify the five guarantees from a baseline to it; all into `folder`.

    A snapshot that was interrupted in `folder` is gone on with; one that is finished is of another time, or of another
    site, and never taken for the site as it is. `new_schema`, `base_schema`: as `verify.five_guarantees`.

    Raises: as `take`; FileExistsError, when the folder holds a second snapshot, or another baseline than this one;
    EvidenceError, when the baseline is not whole.
    """
    before, after = folder / BEFORE, folder / AFTER
    _copy(snapshot.load(baseline), before)
    take(site, after, progress=progress)
    report = verify.five_guarantees(
        before,
        after,
        trust=trust.load(site.target.evidence.trust_root),
        tree_source=site.database,
        log_source=site.log,
        new_schema=new_schema,
        base_schema=base_schema,
    )
    keep_balance(folder, report.diff)
    for guarantee in report.guarantees:
        keep_guarantee(folder / f"{guarantee.clause}.json", guarantee)
    return report


def _copy(baseline: Snapshot, before: Path) -> None:
    """Put the baseline beside what is compared with it, so that the folder stands for itself."""
    if before.exists():
        if not is_finished(before) or snapshot.load(before).manifest.digest != baseline.manifest.digest:
            raise FileExistsError(before)
        return
    partial = before.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for path in baseline.files():
        shutil.copy2(path, partial)
    partial.rename(before)


def is_finished(folder: Path) -> bool:
    """Whether a folder holds a snapshot, and not only a pass that is under way."""
    return (folder / "manifest.json").exists()


def verified(folder: Path) -> Snapshot:
    """Return a finished snapshot, every byte of it read and found to be what its manifest names.

    Raises:
        EvidenceError: `snapshot-altered`, `snapshot-malformed`.

    """
    found = snapshot.load(folder)
    found.checkpoint_note()
    for _ in found.raw_lines():
        pass
    for _ in found.findings():
        pass
    return found


def set_aside(folder: Path) -> Path | None:
    """Make room for another snapshot under this name; return where the one that was there is now.

    A pass that never became a snapshot is removed: it says nothing by itself.
    """
    if not is_finished(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    aside = next(
        path for number in itertools.count(1) if not (path := folder.with_name(f"{folder.name}.{number}")).exists()
    )
    folder.rename(aside)
    return aside


def keep_balance(folder: Path, balance: Diff) -> None:
    """Put a balance into an evidence folder."""
    write_whole(folder / "diff.json", json.dumps(balance.as_json(), indent=1))


def keep_guarantee(path: Path, found: Guarantee) -> None:
    """Put what was verified into an evidence folder."""
    about = {"before_digest": found.before_digest, "after_digest": found.after_digest}
    write_whole(path, json.dumps(found.as_json() | about, indent=1))
