"""The overview in a run: `index.html` of the folder of records, written anew when a record is finished.

Invariant: what breaks here is one line to the operator; the verdict and the exit code stay what they are.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from reports import overview

if TYPE_CHECKING:
    from pathlib import Path


@pytest.hookimpl(trylast=True)
def pytest_cutover_record(folder: Path) -> None:
    """Write the index once everything else of the record is there."""
    path = folder.parent / overview.NAME
    try:
        if overview.write(folder.parent) is None:
            sys.stderr.write(f"WARNING: {path} is another's page and was left as it is: no overview of the records\n")
    except Exception as problem:  # noqa: BLE001  # see the module's invariant
        first = str(problem).partition("\n")[0]
        sys.stderr.write(f"WARNING: {path} was not made ({type(problem).__name__}: {first})\n")
