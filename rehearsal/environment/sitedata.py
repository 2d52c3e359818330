"""Seeded data of the site: made once for each set of inputs, kept in the user cache, copied into every environment.

Invariants: a cached set appears under its digest in one rename, complete or not at all; the digest covers whatever
decides the bytes (the sources that seed, the versions of database and store, how many items of which size); the
servers that wrote it were stopped in order. Data are made in a sandbox of their own, like everything else. Sets of one
size never push those of another out of the cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from rehearsal.environment import layout, parts, sandbox
from rehearsal.environment.commands import lines_of
from rehearsal.environment.errors import EnvironmentFault, PartFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

EVIDENCE_BUCKET = "evidence"
ARCHIVE_BUCKET = "archive"
ROLE = "stellaops"
DATABASE = "stellaops"
LOG_DATABASE = "stella_log"
LOG_ORIGIN = "log.stella.test"
ITEMS = 2000
"""Evidence items of the history, four a scan."""
ITEMS_PER_SCAN = 4
MAX_ITEMS = 1_000_000
OBJECT_BYTES = (4096, 65536)
"""The shortest and the longest that every item may be asked to be."""
_FORMAT = 2
_BOUND_S = 300.0
_BOUND_S_PER_ITEM = 0.01
_KEPT_SETS = 4
_KEPT_LARGE_SETS = 1
_LARGE_ITEMS = 20_000
_DISK_BYTES_PER_ITEM = 8192
"""What an item takes besides its content, in database, log and store, generously: the cached set and one copy of it."""
_LOOK_S = 0.5
_AWKWARD = "/+&='%"
"""What a connection string, a page or a shell escapes: whoever passes a password on has to know how."""
_MAKING = ".making-"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How much evidence a site has from the start; `object_bytes` is the size of every item, None as it comes."""

    items: int = ITEMS
    object_bytes: int | None = None

    @classmethod
    def wanted(cls, items: int | None, object_bytes: int | None) -> History | None:
        """Return the history that was asked for, None for the usual one.

        Raises: EnvironmentFault (exit 2) for one that cannot be made.
        """
        if items is None and object_bytes is None:
            return None
        items = ITEMS if items is None else items
        shortest, longest = OBJECT_BYTES
        if not ITEMS_PER_SCAN <= items <= MAX_ITEMS or items % ITEMS_PER_SCAN:
            raise EnvironmentFault(
                f"a site cannot have {items} items",
                do=f"give --items a multiple of {ITEMS_PER_SCAN} (four a scan), {ITEMS_PER_SCAN} to {MAX_ITEMS}",
                exit_code=2,
            )
        if object_bytes is not None and not shortest <= object_bytes <= longest:
            raise EnvironmentFault(
                f"items cannot have {object_bytes} bytes each",
                do=f"give --object-bytes {shortest} to {longest}",
                exit_code=2,
            )
        return cls(items=items, object_bytes=object_bytes)

    @classmethod
    def read(cls, folder: Path) -> History:
        """Read which history a folder holds. Raises: OSError, ValueError, TypeError when it does not say."""
        return cls(**json.loads((folder / "history.json").read_text(encoding="utf-8")))

    def write(self, folder: Path) -> None:
        """Write it beside the data."""
        (folder / "history.json").write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @property
    def bound_s(self) -> float:
        """How long making it may take."""
        return _BOUND_S + _BOUND_S_PER_ITEM * self.items

    @property
    def disk_bytes(self) -> int:
        """What the cached set and one environment made from it take at most, about."""
        return 2 * self.items * ((self.object_bytes or OBJECT_BYTES[0]) + _DISK_BYTES_PER_ITEM)

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.items} items" + (f" of {self.object_bytes} bytes" if self.object_bytes is not None else "")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Passwords and keys that the seeded data were made with."""

    admin_password: str
    password: str
    access_key: str
    secret_key: str

    @classmethod
    def fresh(cls) -> Secrets:
        """Make new random ones."""
        return cls(
            admin_password=secrets.token_urlsafe(18) + _AWKWARD,
            password=secrets.token_urlsafe(18) + _AWKWARD,
            access_key=secrets.token_hex(10),
            secret_key=secrets.token_hex(20),
        )

    @classmethod
    def read(cls, folder: Path) -> Secrets:
        """Read those that lie in `folder`."""
        return cls(**json.loads((folder / "secrets.json").read_text(encoding="utf-8")))

    def write(self, folder: Path) -> None:
        """Write them to `folder`, readable by their owner only."""
        path = folder / "secrets.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    def dsn(self, database: str, *, host: str = "postgres.stella.test", admin: bool = False) -> str:
        """Return a connection URL."""
        user, password = ("postgres", self.admin_password) if admin else (ROLE, self.password)
        return f"postgresql://{user}:{quote(password, safe='')}@{host}:5432/{database}"


def digest(tools: parts.Tools, history: History | None = None) -> str:
    """Twenty hex digits over whatever decides the seeded bytes."""
    wanted = history or History()
    total = hashlib.sha256(f"{_FORMAT} {wanted.items} {wanted.object_bytes}\n".encode())
    platform = layout.PROJECT / "rehearsal" / "platform"
    sources = [
        Path(__file__),
        Path(__file__).with_name("seeding.py"),
        platform / "app" / "seed.py",
        *sorted((platform / "core").rglob("*")),
    ]
    for source in sources:
        if source.suffix in {".py", ".sql"}:
            total.update(
                f"{source.relative_to(layout.PROJECT)} {hashlib.sha256(source.read_bytes()).hexdigest()}\n".encode()
            )
    for program in ("postgres", "weed"):
        total.update(f"{program} {Path(tools[program]).stat().st_size}\n".encode())
    return total.hexdigest()[:20]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure(
    tools: parts.Tools, flags: Sequence[str], say: Callable[[str], None], history: History | None = None
) -> Path:
    """Return the folder of the seeded data, making them first if need be.

    The folder holds `postgres/`, `store/`, `secrets.json`, `history.json` and what the platform's seeding tells
    (`seed/`).

    Raises: PartFailed naming the log when they cannot be made; EnvironmentFault when the disk is too small.
    """
    wanted = history or History()
    home = layout.cache_folder() / "data"
    name = digest(tools, wanted)
    made = home / name
    if not made.is_dir():
        with _locked(home / ".lock"):
            if not made.is_dir():
                say(f"making the site's history of {wanted} (once; kept in the cache)")
                _clear(home, wanted)
                _demand_disk(home, wanted)
                _make(layout.Place.at(home / f"{_MAKING}{name}"), tools, flags, made, history=wanted, say=say)
                say(f"the history takes {size_bytes(made) / 1e6:.0f} MB in {made}")
    os.utime(made)
    return made


def size_bytes(folder: Path) -> int:
    """Return what the files of a folder take."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _demand_disk(home: Path, wanted: History) -> None:
    free = shutil.disk_usage(home).free
    if free < wanted.disk_bytes:
        raise EnvironmentFault(
            f"a site of {wanted} may need {wanted.disk_bytes / 1e9:.1f} GB",
            seen=f"{free / 1e9:.1f} GB free for {home}",
            do="make room, ask for fewer items, or set XDG_CACHE_HOME to a larger disk",
        )


def _clear(home: Path, wanted: History) -> None:
    """Remove what a killed process left half made, and of the sets of this size all but those used last."""
    folders = [entry for entry in home.iterdir() if entry.is_dir()]
    alike = sorted(
        (each for each in folders if not each.name.startswith(".") and _history_of(each) == wanted),
        key=lambda each: each.stat().st_mtime,
    )
    others = max((_KEPT_LARGE_SETS if wanted.items >= _LARGE_ITEMS else _KEPT_SETS) - 1, 0)
    for folder in [each for each in folders if each.name.startswith(_MAKING)] + alike[: len(alike) - others]:
        shutil.rmtree(folder, ignore_errors=True)


def _history_of(folder: Path) -> History:
    """Return which history a set is; one that does not say is of the usual size."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return History.read(folder)
    return History()


def _make(
    place: layout.Place,
    tools: parts.Tools,
    flags: Sequence[str],
    made: Path,
    *,
    history: History,
    say: Callable[[str], None],
) -> None:
    shutil.rmtree(place.root, ignore_errors=True)
    place.root.mkdir(parents=True)
    known = Secrets.fresh()
    known.write(place.root)
    write_store_identities(place, known)
    (place.root / "seed").mkdir()
    history.write(place.root)
    plan = {"purpose": "data", "tools": dict(tools.programs), "user_namespaces": "--user" in flags}
    place.plan.write_text(json.dumps(plan), encoding="utf-8")
    holder = sandbox.start(place, flags, tied=True)
    try:
        code = _attend(holder, place, history, say)
    finally:
        sandbox.end(place)
    if code != 0:
        reason = ""
        with contextlib.suppress(OSError, ValueError):
            reason = str(json.loads(place.status.read_text(encoding="utf-8"))["reason"])
        raise PartFailed("the site's history could not be made", seen=reason, do=f"see {place.logs()}")
    ready = place.root / "ready"
    ready.mkdir()
    for name in ("seed", "secrets.json", "history.json"):
        (place.root / name).rename(ready / name)
    for part in ("postgres", "store"):
        place.data(part).rename(ready / part)
    ready.rename(made)
    shutil.rmtree(place.root)


def _attend(holder: subprocess.Popen[bytes], place: layout.Place, history: History, say: Callable[[str], None]) -> int:
    """Wait until the data are made and pass on what the seeding says; return the exit code. Raises: PartFailed."""
    deadline = time.monotonic() + history.bound_s
    told = 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return holder.wait(timeout=_LOOK_S)
        lines = lines_of(place.logs("seed"), whole=True)
        for line in lines[told:]:
            say(f"  {line}")
        told = len(lines)
        if time.monotonic() > deadline:
            raise PartFailed(
                f"the site's history was not made within {history.bound_s:.0f} s", do=f"see {place.logs()}"
            )


def write_store_identities(place: layout.Place, known: Secrets) -> None:
    """Tell SeaweedFS who may use it."""
    folder = place.data("store")
    folder.mkdir(parents=True, exist_ok=True)
    identity = {
        "name": "stellaops",
        "credentials": [{"accessKey": known.access_key, "secretKey": known.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
