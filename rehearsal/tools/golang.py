"""Units from Go modules: finding a Go that is new enough, one `go build` for the programs of a module, or its files.

The versions come from our go.mod and the checksums from our go.sum (`-mod=readonly`); the user's GOPROXY, GOFLAGS,
GONOSUMDB and the like stay as they are. Compiler and module caches are our own, below the cache's work folder: an
interrupted build goes on where it stopped, and they are removed once nothing is left to build.
"""

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rehearsal.tools.cache import Cache, remove_tree
from rehearsal.tools.catalogue import GO_MODULES, GoFiles, GoPinned, GoSource, Unit
from rehearsal.tools.children import Children
from rehearsal.tools.errors import (
    BuildFailedError,
    ChecksumMismatchError,
    DownloadFailedError,
    NoSpaceError,
    ToolsError,
)
from rehearsal.tools.fit import Version, format_version, parse_version

_TAIL_LINES = 12
_COMPILING_SHARE = 0.75
_PACKAGE = re.compile(r"[A-Za-z0-9_.~-]+(?:/[A-Za-z0-9_.~-]+)*")
_UNREACHED = (
    "dial tcp",
    "no such host",
    "i/o timeout",
    "TLS handshake timeout",
    "connection refused",
    "network is unreachable",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """A Go toolchain: its `go` command, its version, and where it is from."""

    command: Path
    version: Version
    origin: str


def required_version(units: tuple[Unit, ...]) -> Version:
    """Return the newest `go` directive among the modules of `units`."""
    folders = {unit.source.folder for unit in units if isinstance(unit.source, GoPinned)}
    return max(go_directive((folder / "go.mod").read_text(encoding="utf-8")) for folder in folders)


def go_directive(text: str) -> Version:
    """Return the version that the `go` line of a go.mod asks for.

    Raises:
        ValueError: there is no such line.
    """
    line = re.search(r"^go\s+(\S+)\s*$", text, re.MULTILINE)
    if line is None:
        message = "go.mod has no go line"
        raise ValueError(message)
    return parse_version(line[1])


def find_go(environment: Mapping[str, str], *, children: Children) -> Go | None:
    """Return the Go on PATH, or None where there is none that answers."""
    command = shutil.which("go", path=environment.get("PATH", os.defpath))
    return None if command is None else probe_go(Path(command), environment, children=children, origin="PATH")


def probe_go(command: Path, environment: Mapping[str, str], *, children: Children, origin: str) -> Go | None:
    """Return what `command` says of itself, or None where it does not answer as Go does."""
    try:
        finished = children.run([str(command), "version"], environment={**environment, "GOTOOLCHAIN": "local"})
    except OSError:
        return None
    answer = re.search(r"go version go(\d\S*)", finished.output)
    if finished.returncode or answer is None:
        return None
    return Go(command=command, version=parse_version(answer[1]), origin=origin)


def build_environment(environment: Mapping[str, str], *, work: Path, go: Go) -> dict[str, str]:
    """Return a build's environment: the user's settings, our caches, this machine's platform, no other toolchain."""
    dropped = {"GOOS", "GOARCH", "GOROOT", "GOBIN", "GOEXPERIMENT", "GODEBUG"}
    result = {name: value for name, value in environment.items() if name not in dropped}
    if go.origin == "PATH" and "GOROOT" in environment:
        result["GOROOT"] = environment["GOROOT"]
    return {
        **result,
        "CGO_ENABLED": "0",
        "GOCACHE": str(work / "build"),
        "GOMODCACHE": str(work / "modules"),
        "GOPATH": str(work / "path"),
        "GOTMPDIR": str(work / "temporary"),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def make_with_go(
    units: tuple[Unit, ...],
    *,
    go: Go,
    cache: Cache,
    children: Children,
    environment: Mapping[str, str],
    lock: int,
    advance: Callable[[float, str], None],
) -> None:
    """Make and publish `units`, all of one module. The caller holds the lock for builds, `lock` being its descriptor.

    Raises:
        BuildFailedError, DownloadFailedError, NoSpaceError: as their names say.
    """
    work = cache.work / "go"
    remove_tree(work / "temporary")  # of a build that was killed
    for name in ("build", "modules", "path", "temporary", "out"):
        (work / name).mkdir(parents=True, exist_ok=True)
    for unit in units:
        if isinstance(unit.source, GoFiles):
            _take_files(unit, unit.source, go=go, cache=cache, children=children, environment=environment, lock=lock)
    compiled = tuple(unit for unit in units if isinstance(unit.source, GoSource))
    if compiled:
        _compile(compiled, go=go, cache=cache, children=children, environment=environment, lock=lock, advance=advance)


def _take_files(
    unit: Unit,
    source: GoFiles,
    *,
    go: Go,
    cache: Cache,
    children: Children,
    environment: Mapping[str, str],
    lock: int,
) -> None:
    """Download a module, which Go compares with our go.sum, and publish a folder of it."""
    work = cache.work / "go"
    log = cache.logs / f"build-{source.module}.log"
    command = [str(go.command), "mod", "download", "-modcacherw", source.path]
    finished = children.run(
        command,
        environment=build_environment(environment, work=work, go=go),
        folder=source.folder,
        keep_open=(lock,),
    )
    log.write_text(f"{' '.join(command)}\n{finished.output}", encoding="utf-8")
    if finished.returncode:
        raise explain_go(finished.output, module=source.module, log=log)
    found = work / "modules" / f"{source.path}@v{unit.version}" / source.subfolder
    with cache.staging(unit) as staging:
        (into,) = unit.programs.values()
        shutil.copytree(found, staging / "content" / into)
        cache.publish(unit, staging / "content", made_by=f"module {source.path}@v{unit.version}")


def _compile(
    units: tuple[Unit, ...],
    *,
    go: Go,
    cache: Cache,
    children: Children,
    environment: Mapping[str, str],
    lock: int,
    advance: Callable[[float, str], None],
) -> None:
    sources = [unit.source for unit in units if isinstance(unit.source, GoSource)]
    first = sources[0]
    work = cache.work / "go"
    output = work / "out" / first.module
    output.mkdir(exist_ok=True)
    command = [
        *(str(go.command), "build", "-v", "-trimpath", "-mod=readonly", "-modcacherw", "-buildvcs=false"),
        *((f"-tags={','.join(first.tags)}",) if first.tags else ()),
        f"-ldflags={' '.join(('-s', '-w', *(f'-X {variable}' for variable in first.variables)))}",
        *("-o", f"{output}{os.sep}", *(source.package for source in sources)),
    ]
    count = _Count(
        compiled=work / f"{first.module}.compiled", expected=GO_MODULES[first.module].packages, advance=advance
    )
    log = cache.logs / f"build-{first.module}.log"
    with log.open("w", encoding="utf-8") as file, count.compiled.open("a", encoding="utf-8") as compiled:
        file.write(f"{' '.join(command)}\n")

        def line(text: str) -> None:
            file.write(f"{text}\n")
            file.flush()
            if count.saw(text):
                compiled.write(f"{text}\n")
                compiled.flush()

        finished = children.run(
            command,
            environment=build_environment(environment, work=work, go=go),
            folder=first.folder,
            keep_open=(lock,),
            line=line,
        )
    if finished.returncode:
        raise explain_go(finished.output, module=first.module, log=log)
    for unit in units:
        _publish(
            unit, output, cache=cache, made_by=f"go{format_version(go.version)} from {go.origin}, module {first.module}"
        )


def remove_work(cache: Cache) -> None:
    """Give back what the builds' caches took. The caller holds the lock for builds."""
    remove_tree(cache.work / "go")


def _publish(unit: Unit, output: Path, *, cache: Cache, made_by: str) -> None:
    with cache.staging(unit) as staging:
        content = staging / "content"
        for name, path in unit.programs.items():
            target = content / path
            target.parent.mkdir(parents=True, mode=0o755)
            (output / _built_name(unit, name)).rename(target)
            target.chmod(0o755)
        cache.publish(unit, content, made_by=made_by)


def _built_name(unit: Unit, program: str) -> str:
    """Return the name `go build` gives: the last element of the package's path that is not a major version."""
    if not isinstance(unit.source, GoSource):
        return program
    elements = [part for part in unit.source.package.split("/") if not re.fullmatch(r"v\d+", part)]
    return elements[-1]


@dataclass(slots=True, kw_only=True)
class _Count:
    """Packages compiled so far, those of an interrupted build before included."""

    compiled: Path
    expected: int
    advance: Callable[[float, str], None]
    seen: set[str] | None = None
    fetched: int = 0

    @property
    def fraction(self) -> float:
        """Return how much of the build is done, 0 to 1: the last and largest packages and linking take a while."""
        return _COMPILING_SHARE * min(len(self.seen or ()) / self.expected, 1.0)

    def saw(self, text: str) -> bool:
        """Take up a line of `go build -v`; say whether it names a package that was compiled."""
        if self.seen is None:
            self.seen = set(self.compiled.read_text(encoding="utf-8").split())
        if text.startswith("go: downloading "):
            self.fetched += 1
            self.advance(self.fraction, f"{self.fetched} modules downloaded")
            return False
        if not _PACKAGE.fullmatch(text):
            return False
        self.seen.add(text)
        count = len(self.seen)
        whole = f" of about {self.expected}" if count <= self.expected else ""
        self.advance(self.fraction, f"{count}{whole} packages compiled")
        return True


def explain_go(output: str, *, module: str, log: Path) -> ToolsError:
    """Return the error that the `output` of a failed `go build` tells of."""
    lines = [line for line in output.strip().splitlines() if not _PACKAGE.fullmatch(line)]
    told = [line for line in lines if not line.startswith("go: downloading ")][-_TAIL_LINES:]
    tail = "\n".join(f"    {line}" for line in told)
    if "no space left on device" in output:
        return NoSpaceError(
            f"no space left while building {module}\n{tail}\n  log: {log}",
            remedy="make room, or set XDG_CACHE_HOME to a folder on a larger disk, then run it again",
        )
    if "SECURITY ERROR" in output or "checksum mismatch" in output:
        return ChecksumMismatchError(
            f"a module for {module} is not the one that go.sum pins\n{tail}\n  log: {log}",
            remedy="check the module proxy that GOPROXY names; nothing of it was used",
        )
    if any(sign in output for sign in _UNREACHED):
        return DownloadFailedError(
            f"the modules of {module} could not be downloaded: the module proxy was not reached\n{tail}\n  log: {log}",
            remedy="check the network and GOPROXY, then run it again: it goes on where it stopped",
        )
    return BuildFailedError(
        f"building {module} failed\n{tail}\n  log: {log}", remedy="see the log; what was built before is kept"
    )
