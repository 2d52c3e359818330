"""Snapshots of a site and their verification, for the runbook and for the command line (1.1c, 4.1a, E.1 to E.5).

    FOLDER/before/, after/   two snapshots
    FOLDER/diff.json         their balance, and the items that are not the same
    FOLDER/E.n.json          each guarantee: what was checked, what was refused

Invariant: a snapshot that was interrupted is taken up where it was, whoever began it.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Final

from cutover.errors import CouldNotMeasure
from cutover.evidence import snapshot, trust, verify
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
    settings = site.target.evidence
    with workers(settings) as hands:
        manifest = snapshot.take(
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
    if manifest.items == 0:
        raise CouldNotMeasure(
            "the site holds no evidence: continuity of nothing proves nothing",
            code="no-evidence",
            seen="0 items",
            do="point [database] of the target at the platform's database",
        )
    return snapshot.load(folder)


def verify_site(
    site: Site, baseline: Path, folder: Path, *, new_schema: int | None = None, progress: Progress | None = None
) -> Report:
    """Take a snapshot of the site as it is, and verify the five guarantees from a baseline to it; all into `folder`.

    A `folder` in which that was interrupted is gone on with. `new_schema`: as `verify.five_guarantees`.

    Raises: as `take`; FileExistsError, when the folder holds a finished verification; EvidenceError, when the baseline
    is not whole.
    """
    before, after, last = folder / BEFORE, folder / AFTER, folder / "E.5.json"
    if last.exists():
        raise FileExistsError(last)
    _copy(baseline, before)
    if not (after / "manifest.json").exists():
        take(site, after, progress=progress)
    report = verify.five_guarantees(
        before,
        after,
        trust=trust.load(site.target.evidence.trust_root),
        tree_source=site.database,
        log_source=site.log,
        new_schema=new_schema,
    )
    keep_balance(folder, report.diff)
    for guarantee in report.guarantees:
        keep_guarantee(folder / f"{guarantee.clause}.json", guarantee)
    return report


def _copy(baseline: Path, before: Path) -> None:
    """Put the baseline beside what is compared with it, so that the folder stands for itself."""
    expected = snapshot.load(baseline).manifest.digest
    if (before / "manifest.json").exists() and snapshot.load(before).manifest.digest == expected:
        return
    partial = before.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(baseline, partial)
    shutil.rmtree(before, ignore_errors=True)
    partial.rename(before)


def keep_balance(folder: Path, balance: Diff) -> None:
    """Put a balance into an evidence folder."""
    (folder / "diff.json").write_text(json.dumps(balance.as_json(), indent=1), encoding="utf-8")


def keep_guarantee(path: Path, found: Guarantee) -> None:
    """Put what was verified into an evidence folder."""
    document = {
        "clause": found.clause,
        "title": found.title,
        "checked": found.checked,
        "findings_total": found.findings_total,
        "findings": [finding.as_json() for finding in found.findings],
    }
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
