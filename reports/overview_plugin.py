"""The overview in a run: `index.html` of the folder of records, written anew when a record is finished.

Invariants: it is written whatever became of the record's own reports; what breaks here is one line to the operator, and
the verdict and the exit code stay what they are; a page that would show a secret of the target is not written.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from cutover.runbook import leaks
from fixtures.run import SESSION
from reports import overview

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cutover_record(config: pytest.Config, folder: Path) -> Generator[None, list[object], list[object]]:
    """Write the index once everything else of the record is there, or could not be made."""
    try:
        return (yield)
    finally:
        known = config.stash.get(SESSION, None)
        run = known.run if known is not None else None
        write(folder.parent, run.secrets if run is not None else {})


def write(records: Path, secrets: Mapping[str, str]) -> None:
    """Write the index of a folder of records, or say in one line why not. secrets: each secret's kind."""
    path = records / overview.NAME
    try:
        page = overview.build(overview.read(records))
        shown = leaks.search_text(overview.NAME, page, secrets)
        if shown:
            kinds = ", ".join(sorted({leak.kind for leak in shown}))
            sys.stderr.write(f"WARNING: {path} was not made: a record in this folder shows {kinds}\n")
        elif overview.keep(records, page) is None:
            sys.stderr.write(f"WARNING: {path} is another's page and was left as it is: no overview of the records\n")
    except Exception as problem:  # noqa: BLE001  # see the module's invariant
        first = str(problem).partition("\n")[0]
        sys.stderr.write(f"WARNING: {path} was not made ({type(problem).__name__}: {first})\n")
