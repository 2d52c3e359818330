"""Which Go will do, how a build is set up, and what its failures mean."""

from pathlib import Path

import pytest

from rehearsal.tools.cache import Cache
from rehearsal.tools.catalogue import GO_MODULES, UNITS, GoFiles, GoPinned, GoSource
from rehearsal.tools.children import Children
from rehearsal.tools.errors import (
    BuildFailedError,
    ChecksumMismatchError,
    DownloadFailedError,
    NoSpaceError,
    ToolsError,
)
from rehearsal.tools.golang import (
    Go,
    build_environment,
    explain_go,
    find_go,
    go_directive,
    make_with_go,
    required_version,
)
from rehearsal.tools.provision import select


def test_the_go_line_is_read() -> None:
    assert go_directive("module x\n\ngo 1.26.7\n\ntoolchain go1.27.0\n") == (1, 26, 7)
    with pytest.raises(ValueError, match="no go line"):
        go_directive("module x\n")


def test_the_newest_go_line_counts() -> None:
    assert required_version(tuple(unit for unit in UNITS if isinstance(unit.source, GoSource))) == (1, 26, 7)
    assert required_version(tuple(unit for unit in UNITS if unit.name == "etcd")) == (1, 26, 0)


def test_each_compiled_unit_has_its_module_pinned() -> None:
    for unit in UNITS:
        if isinstance(unit.source, GoPinned):
            assert unit.source.module in GO_MODULES
            assert (unit.source.folder / "go.mod").is_file()
            assert (unit.source.folder / "go.sum").is_file()


def test_a_units_version_is_the_one_that_its_module_pins() -> None:
    for unit in UNITS:
        if isinstance(unit.source, GoFiles):
            pinned = (unit.source.folder / "go.mod").read_text(encoding="utf-8")
            assert f"require {unit.source.path} v{unit.version}\n" in pinned


FETCHES = """\
case "$1 $2" in
"mod download") mkdir -p "$GOMODCACHE/{path}@v{version}/{subfolder}" &&
    echo "kind: X" > "$GOMODCACHE/{path}@v{version}/{subfolder}/x.yaml" ;;
*) exit 1 ;;
esac
"""


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (FETCHES, None),
        ("echo 'verifying module: checksum mismatch'; exit 1", ChecksumMismatchError),
        ("echo 'dial tcp: no such host'; exit 1", DownloadFailedError),
    ],
)
def test_files_of_a_module_are_taken_as_they_are(tmp_path: Path, cache: Cache, answer: str, error: type | None) -> None:
    (unit,) = select(["gateway-api"])
    assert isinstance(unit.source, GoFiles)
    for name, value in (("path", unit.source.path), ("version", unit.version), ("subfolder", unit.source.subfolder)):
        answer = answer.replace(f"{{{name}}}", value)
    _fake_go(tmp_path / "bin", answer)

    def make() -> None:
        make_with_go(
            (unit,),
            go=Go(command=tmp_path / "bin" / "go", version=(1, 26), origin="PATH"),
            cache=cache,
            children=Children(),
            environment={"PATH": "/usr/bin:/bin"},
            lock=0,
            advance=lambda _fraction, _text: None,
        )

    if error is not None:
        with pytest.raises(error):
            make()
        assert not cache.is_complete(unit)
        return
    make()
    assert cache.is_complete(unit)
    assert (cache.folder(unit) / "crds" / "x.yaml").read_text(encoding="utf-8") == "kind: X\n"


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
