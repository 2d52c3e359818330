"""Which Go will do, how a build is set up, and what its failures mean."""

from pathlib import Path

import pytest

from rehearsal.tools.catalogue import GO_MODULES, UNITS, GoSource
from rehearsal.tools.children import Children
from rehearsal.tools.errors import (
    BuildFailedError,
    ChecksumMismatchError,
    DownloadFailedError,
    NoSpaceError,
    ToolsError,
)
from rehearsal.tools.golang import Go, build_environment, explain_go, find_go, go_directive, required_version


def test_the_go_line_is_read() -> None:
    assert go_directive("module x\n\ngo 1.26.7\n\ntoolchain go1.27.0\n") == (1, 26, 7)
    with pytest.raises(ValueError, match="no go line"):
        go_directive("module x\n")


def test_the_newest_go_line_counts() -> None:
    assert required_version(tuple(unit for unit in UNITS if isinstance(unit.source, GoSource))) == (1, 26, 7)
    assert required_version(tuple(unit for unit in UNITS if unit.name == "etcd")) == (1, 26, 0)


def test_each_compiled_unit_has_its_module_pinned() -> None:
    for unit in UNITS:
        if isinstance(unit.source, GoSource):
            assert unit.source.module in GO_MODULES
            assert (unit.source.folder / "go.mod").is_file()
            assert (unit.source.folder / "go.sum").is_file()


def _fake_go(folder: Path, answer: str) -> None:
    folder.mkdir()
    program = folder / "go"
    program.write_text(f"#!/bin/sh\n{answer}\n", encoding="utf-8")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("echo go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("echo go version go1.27rc1 linux/amd64", (1, 27)),
        ("echo something else", None),
        ("exit 1", None),
        ('[ "$GOTOOLCHAIN" = local ] && echo go version go1.20 linux/amd64', (1, 20)),
    ],
)
def test_go_on_path_is_asked_for_its_version(tmp_path: Path, answer: str, version: tuple[int, ...] | None) -> None:
    _fake_go(tmp_path / "bin", answer)
    go = find_go({"PATH": str(tmp_path / "bin")}, children=Children())
    assert (None if go is None else go.version) == version


def test_no_go_on_path_is_none(tmp_path: Path) -> None:
    assert find_go({"PATH": str(tmp_path)}, children=Children()) is None


def test_a_build_keeps_the_users_settings_and_none_of_their_targets(tmp_path: Path) -> None:
    users = {
        "GOPROXY": "p",
        "GOFLAGS": "-f",
        "GONOSUMDB": "n",
        "GOOS": "plan9",
        "GOARCH": "arm",
        "GOROOT": "/r",
        "HOME": "/h",
    }
    wheel = Go(command=Path("/w/go"), version=(1, 27, 3), origin="its wheel")
    made = build_environment(users, work=tmp_path, go=wheel)
    assert {name: made.get(name) for name in users} == {
        **users,
        "GOOS": None,
        "GOARCH": None,
        "GOROOT": None,
    }
    assert made["GOTOOLCHAIN"] == "local"
    assert all(Path(made[name]).is_relative_to(tmp_path) for name in ("GOCACHE", "GOMODCACHE", "GOPATH", "GOTMPDIR"))
    of_path = Go(command=Path("/r/bin/go"), version=(1, 27, 3), origin="PATH")
    assert build_environment(users, work=tmp_path, go=of_path)["GOROOT"] == "/r"


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ("go: x@v1: Get https://p/x: dial tcp: lookup p: no such host", DownloadFailedError),
        ("verifying x@v1: checksum mismatch\nSECURITY ERROR", ChecksumMismatchError),
        ("write /c: no space left on device", NoSpaceError),
        ("pkg/x.go:1:2: undefined: y", BuildFailedError),
    ],
)
def test_what_go_says_becomes_one_clear_error(tmp_path: Path, output: str, kind: type[ToolsError]) -> None:
    noise = "go: downloading a v1\ninternal/abi\nk8s.io/api/core/v1\n"
    error = explain_go(noise + output, module="etcd", log=tmp_path / "log")
    assert type(error) is kind
    assert output.splitlines()[-1] in error.message
    assert str(tmp_path / "log") in error.message
    assert "internal/abi" not in error.message
