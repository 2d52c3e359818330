"""A file is written whole or not at all, with its mode from the first byte on."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cutover.files import write_whole, written_whole

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
import os, signal, sys
from pathlib import Path
from cutover.files import written_whole
with written_whole(Path(sys.argv[1])) as stream:
    stream.write(b"new, but not all of it")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_old_content_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_whole(path, "old")
    with pytest.raises(ZeroDivisionError), written_whole(path) as stream:
        stream.write(b"ne" * (1 // 0))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_whole(path, b"new")
    assert path.read_text() == "new"


def test_a_killed_writer_leaves_the_old_content_and_the_next_one_its_own(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_whole(path, "old")
    ended = subprocess.run([sys.executable, "-c", WRITER, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    write_whole(path, "newer")
    assert path.read_text() == "newer"
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_file_is_private_before_anything_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml.age"
    path.write_text("for all to read", "utf-8")
    with written_whole(path, mode=0o600) as stream:
        assert stat.S_IMODE(os.fstat(stream.fileno()).st_mode) == 0o600
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_mode_is_the_one_that_was_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_whole(tmp_path / "document.md", "text", mode=0o644)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "document.md").stat().st_mode) == 0o644
