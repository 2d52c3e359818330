"""The user cache: finished units, their stamps, and the locks under which they are made.

Invariants:
- A unit's folder appears under its name in one rename, complete and stamped, or not at all.
- A unit is made or removed only by the holder of its lock. A lock ends with its process, whatever ended that.
- A folder counts as complete while its stamp's facts hold: cheaply, size and modification time of every executable
  file, or of all where none is; fully, the SHA-256 of every file.

Layout, below `${XDG_CACHE_HOME:-~/.cache}/cutover/tools`: `<name>-<version>-<key>/` with `stamp.json` each; `.staging/`
for what is not finished; `.locks/`; `.logs/`; `.work/` for caches that let an interrupted build go on; `.bin/`
for folders of links; `.found.json` with versions of programs found elsewhere.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Self

from rehearsal.tools.catalogue import Unit
from rehearsal.tools.errors import CacheUnusableError, NoSpaceError

STAMP = "stamp.json"
_SCHEMA = "cutover/tools/stamp/v1"
_CHUNK_BYTES = 1 << 20
_LOCK_POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFact:
    """What the stamp says of one file: `sha256` as 64 hex digits, `mtime_ns` as the file system gave it."""

    sha256: str
    size_bytes: int
    mtime_ns: int
    executable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What a finished unit's folder says of itself; `files` by path relative to the folder."""

    unit: str
    version: str
    key: str
    made_by: str
    made_at: str
    files: Mapping[str, FileFact]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """The cache at `root`, which need not exist yet."""

    root: Path

    @classmethod
    def locate(cls, environment: Mapping[str, str]) -> Self:
        """Return the cache that XDG_CACHE_HOME or HOME in `environment` names.

        A relative XDG_CACHE_HOME is ignored, as its specification says.

        Raises:
            CacheUnusableError: there is neither an absolute XDG_CACHE_HOME nor a home folder.
        """
        base = Path(environment.get("XDG_CACHE_HOME", ""))
        if not base.is_absolute():
            home = environment.get("HOME", "")
            if not Path(home).is_absolute():
                raise CacheUnusableError(
                    "neither XDG_CACHE_HOME nor HOME names a folder for the cache of built programs",
                    remedy="set HOME, or set XDG_CACHE_HOME to an absolute path",
                )
            base = Path(home) / ".cache"
        return cls(root=base / "cutover" / "tools")

    @property
    def logs(self) -> Path:
        """Return the folder of build logs."""
        return self.root / ".logs"

    @property
    def work(self) -> Path:
        """Return the folder of compilers' caches, kept between interrupted builds."""
        return self.root / ".work"

    def folder(self, unit: Unit) -> Path:
        """Return where the finished unit is, or will be."""
        return self.root / unit.folder_name

    def prepare(self) -> None:
        """Make the cache's folders.

        Raises:
            CacheUnusableError: one cannot be made or written.
        """
        for folder in (
            self.root,
            self.root / ".staging",
            self.root / ".locks",
            self.logs,
            self.work,
            self.root / ".bin",
        ):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._unusable(error) from error
            if not os.access(folder, os.W_OK | os.X_OK):
                raise self._unusable(PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder)))

    def _unusable(self, error: OSError) -> CacheUnusableError:
        return CacheUnusableError(
            f"the cache of built programs cannot be written: {error.filename or self.root}: {error.strerror}",
            remedy="give yourself write access to it, or set XDG_CACHE_HOME to a folder of your own",
        )

    def require_space(self, needed_bytes: int, *, purpose: str) -> None:
        """Check that the cache's file system has `needed_bytes` free for an ordinary user.

        Raises:
            NoSpaceError: it has less.
        """
        free_bytes = shutil.disk_usage(self.root).free
        if free_bytes < needed_bytes:
            raise NoSpaceError(
                f"{purpose} needs about {needed_bytes / 1e9:.1f} GB in {self.root}, "
                f"and {free_bytes / 1e9:.1f} GB are free",
                remedy="make room, or set XDG_CACHE_HOME to a folder on a larger disk; most is given back afterwards",
            )

    def stamp(self, unit: Unit) -> Stamp | None:
        """Return the unit's stamp, or None where there is no folder, no stamp, or one that cannot be read as such."""
        try:
            return _parse_stamp(json.loads((self.folder(unit) / STAMP).read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def is_complete(self, unit: Unit) -> bool:
        """Say whether the unit is there, judged by size and modification time of its executable files.

        A unit that has none is judged by all its files.
        Where only the times differ, as after a copy, the files' digests decide and the stamp is renewed.
        """
        stamp = self.stamp(unit)
        if stamp is None or stamp.key != unit.key:
            return False
        folder = self.folder(unit)
        executable = {name: fact for name, fact in stamp.files.items() if fact.executable}
        matches = {_compare(folder / name, fact) for name, fact in (executable or stamp.files).items()}
        if _Match.DIFFERENT in matches:
            return False
        if _Match.MOVED in matches:
            if self.damage(unit):
                return False
            with suppress(OSError):  # somebody else's cache: usable, just not as quickly
                _write_stamp(folder, unit, made_by=stamp.made_by, made_at=stamp.made_at)
        return True

    def damage(self, unit: Unit) -> tuple[str, ...]:
        """Return what of the unit's folder is not as its stamp says, by the SHA-256 of every file."""
        stamp = self.stamp(unit)
        folder = self.folder(unit)
        if stamp is None:
            return (f"{folder}: no readable stamp",)
        found = []
        for name, fact in stamp.files.items():
            try:
                calculated = sha256_of(folder / name)
            except OSError as error:
                found.append(f"{folder / name}: {error.strerror}")
                continue
            if calculated != fact.sha256:
                found.append(f"{folder / name}: sha256 {calculated}, expected {fact.sha256}")
        return tuple(found)

    def discard_stamp(self, unit: Unit) -> None:
        """Take the unit's stamp away, so that it is made again when it is needed next."""
        (self.folder(unit) / STAMP).unlink(missing_ok=True)

    @contextmanager
    def locked(
        self, name: str, *, waiting: Callable[[str], None], cancelled: Callable[[], bool] = bool
    ) -> Iterator[int]:
        """Hold the lock called `name`, and yield its file descriptor (a child that inherits it keeps the lock held).

        While another process holds it, `waiting` is called once with who that is. Waits without bound, as what it waits
        for is another's progress, which that one reports; `cancelled` ends the wait.

        Raises:
            CacheUnusableError: the lock file cannot be made, or the file system cannot lock.
        """
        path = self.root / ".locks" / f"{name}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            told = False
            while not self._try_lock(descriptor):
                if not told:
                    waiting(_holder(descriptor))
                    told = True
                if cancelled():
                    raise KeyboardInterrupt
                time.sleep(_LOCK_POLL_S)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield descriptor
        finally:
            os.close(descriptor)

    def _try_lock(self, descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._unusable(error) from error
        return True

    @contextmanager
    def staging(self, unit: Unit) -> Iterator[Path]:
        """Yield an empty folder on the cache's file system, and remove it afterwards; leftovers of the unit go first.

        The caller holds the unit's lock.
        """
        parent = self.root / ".staging"
        for leftover in parent.glob(f"{unit.folder_name}.*"):
            remove_tree(leftover)
        folder = Path(tempfile.mkdtemp(prefix=f"{unit.folder_name}.", dir=parent))
        try:
            yield folder
        finally:
            remove_tree(folder)

    def publish(self, unit: Unit, content: Path, *, made_by: str) -> None:
        """Put the folder `content`, stamped and synced, in the unit's place, replacing what is there.

        The caller holds the unit's lock, and `content` lies in its staging folder.
        """
        content.chmod(0o755)
        _write_stamp(content, unit, made_by=made_by, made_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        target = self.folder(unit)
        if target.exists():
            target.rename(content.parent / "replaced")
        content.rename(target)
        _sync(self.root)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_tree(folder: Path) -> None:
    """Remove `folder` with everything in it, read-only folders included; nothing happens when it is not there."""
    for parent, names, _files in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def size_of_tree(folder: Path) -> int:
    """Return the bytes that the files below `folder` hold; 0 when it is not there."""
    total = 0
    for parent, _folders, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content` in one step."""
    descriptor, temporary = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class _Match(Enum):
    """How a file compares with its fact, without reading it; MOVED is the same but for the modification time."""

    SAME = "same"
    MOVED = "moved"
    DIFFERENT = "different"


def _compare(path: Path, fact: FileFact) -> _Match:
    try:
        status = path.stat()
    except OSError:
        return _Match.DIFFERENT
    if status.st_size != fact.size_bytes or (fact.executable and not status.st_mode & stat.S_IXUSR):
        return _Match.DIFFERENT
    return _Match.SAME if status.st_mtime_ns == fact.mtime_ns else _Match.MOVED


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return f"process {text}" if text.isdigit() else "another process"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_stamp(folder: Path, unit: Unit, *, made_by: str, made_at: str) -> None:
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*")):
        if path == folder / STAMP or not path.is_file():
            continue
        status = path.stat()
        files[path.relative_to(folder).as_posix()] = {
            "sha256": sha256_of(path),
            "size_bytes": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "executable": bool(status.st_mode & stat.S_IXUSR),
        }
    document = {
        "schema": _SCHEMA,
        "unit": unit.name,
        "version": unit.version,
        "key": unit.key,
        "made_by": made_by,
        "made_at": made_at,
        "files": files,
    }
    write_atomically(folder / STAMP, json.dumps(document, indent=1).encode() + b"\n")


def _parse_stamp(document: Any) -> Stamp:  # noqa: ANN401 - JSON
    if document["schema"] != _SCHEMA:
        message = f"not a stamp of this kind: {document['schema']}"
        raise ValueError(message)
    return Stamp(
        unit=document["unit"],
        version=document["version"],
        key=document["key"],
        made_by=document["made_by"],
        made_at=document["made_at"],
        files={name: FileFact(**fact) for name, fact in document["files"].items()},
    )
