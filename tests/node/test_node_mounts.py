"""A container's view of the files: volumes where nothing was, and the machine's own files untouched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.environment.errors import NamespacesRefused
from rehearsal.environment.sandbox import namespace_flags

SCRIPT = """
import sys
from pathlib import Path
from rehearsal.node.mounts import Mount, bind_all
root = Path(sys.argv[1])
bind_all(
    (
        Mount(source=root / "volume", path="/node-test/deep/place"),
        Mount(source=root / "volume", path="/node-test/deep/place/inner"),
        Mount(source=root / "volume" / "file", path="/etc/node-test/one"),
        Mount(source=root / "volume", path="/var/run/node-test/locked", is_read_only=True),
        Mount(source=root / "volume" / "file", path="/etc/passwd"),
    ),
    root / "scratch",
)
for path in ("/node-test/deep/place/file", "/node-test/deep/place/inner/file", "/etc/node-test/one", "/etc/passwd"):
    assert Path(path).read_text() == "content", path
assert Path("/etc/group").exists() and Path("/proc/self/status").exists() and Path(sys.executable).exists()
Path("/node-test/deep/place/written").write_text("by the container")
Path("/node-test-file").write_text("private")
try:
    Path("/var/run/node-test/locked/written").write_text("no")
except OSError as problem:
    print(problem.strerror)
"""


def test_volumes_appear_and_nothing_of_the_machine_changes(tmp_path: Path) -> None:
    try:
        flags = namespace_flags()
    except NamespacesRefused as refusal:
        pytest.skip(str(refusal))
    (tmp_path / "volume").mkdir()
    (tmp_path / "scratch").mkdir()
    (tmp_path / "volume" / "file").write_text("content")
    before = {folder: names(folder) for folder in ("/", "/etc", "/run")}
    done = subprocess.run(
        ["unshare", *flags, "--", sys.executable, "-c", SCRIPT, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stderr == ""
    assert done.stdout == "Read-only file system\n"
    assert {folder: names(folder) for folder in before} == before
    assert (tmp_path / "volume" / "written").read_text() == "by the container"
    assert list((tmp_path / "scratch").iterdir()) == []


def names(folder: str) -> list[str]:
    return sorted(entry.name for entry in Path(folder).iterdir())
