"""Taking a snapshot of a site, for the runbook and for the command line (1.1c, 4.1a).

Invariant: a snapshot that was interrupted is taken up where it was, by whichever of the two began it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.errors import CouldNotMeasure
from cutover.evidence import snapshot, trust
from cutover.site.executors import workers

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.evidence.snapshot import Progress, Snapshot
    from cutover.site import Site


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
