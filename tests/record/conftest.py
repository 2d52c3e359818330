"""One finished record, made once, and copies of it that a test may spoil."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from cutover.record.keys import SigningKey
from tests.record.whole_record import ID, WholeRecord, seal_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    return SigningKey.make("Release engineering")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a record whose run has passed, not sealed; it is not to be changed."""
    with pytest.MonkeyPatch.context() as patched:
        record = WholeRecord(tmp_path_factory.mktemp("finished") / ID, patched)
        record.run()
        yield record.folder


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory, finished: Path, signing_key: SigningKey) -> Path:
    """Seal the same record with the key; it is not to be changed."""
    folder = tmp_path_factory.mktemp("sealed") / ID
    shutil.copytree(finished, folder)
    seal_folder(folder, signing_key)
    return folder


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """Return a function that copies a record, for a test to spoil."""

    def copied(folder: Path) -> Path:
        shutil.copytree(folder, tmp_path / folder.name)
        return tmp_path / folder.name

    return copied
