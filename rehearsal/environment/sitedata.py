"""Seeded data of the site: made once for each set of inputs, kept in the user cache, copied into every environment.

Invariants: a cached set appears under its digest in one rename, complete or not at all; the digest covers whatever
decides the bytes (the platform's sources, the versions of database and store, the size of the history); the
servers that wrote it were stopped in order. Data are made in a sandbox of their own, like everything else.
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
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.environment import layout, parts, sandbox
from rehearsal.environment.errors import PartFailed

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
_FORMAT = 1
_BOUND_S = 600.0
_KEPT_SETS = 4
_MAKING = ".making-"


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
            admin_password=secrets.token_urlsafe(18),
            password=secrets.token_urlsafe(18),
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
        return f"postgresql://{user}:{password}@{host}:5432/{database}"


def digest(tools: parts.Tools) -> str:
    """Twenty hex digits over whatever decides the seeded bytes."""
    total = hashlib.sha256(f"{_FORMAT} {ITEMS}\n".encode())
    sources = [
        Path(__file__),
        Path(__file__).with_name("seeding.py"),
        *sorted((layout.PROJECT / "rehearsal" / "platform").rglob("*")),
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


def ensure(tools: parts.Tools, flags: Sequence[str], say: Callable[[str], None]) -> Path:
    """Return the folder of the seeded data, making them first if need be.

    The folder holds `postgres/`, `store/`, `secrets.json` and what the platform's seeding tells (`seed/`).

    Raises: PartFailed naming the log when they cannot be made.
    """
    home = layout.cache_folder() / "data"
    name = digest(tools)
    made = home / name
    if not made.is_dir():
        with _locked(home / ".lock"):
            if not made.is_dir():
                say("making the site's history (once; kept in the cache)")
                _clear(home)
                _make(layout.Place.at(home / f"{_MAKING}{name}"), tools, flags, made)
    os.utime(made)
    return made


def _clear(home: Path) -> None:
    """Remove what a killed process left half made, and all but the sets used last."""
    folders = [entry for entry in home.iterdir() if entry.is_dir()]
    sets = sorted((each for each in folders if not each.name.startswith(".")), key=lambda each: each.stat().st_mtime)
    for folder in [each for each in folders if each.name.startswith(_MAKING)] + sets[: 1 - _KEPT_SETS]:
        shutil.rmtree(folder, ignore_errors=True)


def _make(place: layout.Place, tools: parts.Tools, flags: Sequence[str], made: Path) -> None:
    shutil.rmtree(place.root, ignore_errors=True)
    place.root.mkdir(parents=True)
    known = Secrets.fresh()
    known.write(place.root)
    write_store_identities(place, known)
    (place.root / "seed").mkdir()
    place.plan.write_text(
        json.dumps(
            {"purpose": "data", "bare": False, "tools": dict(tools.programs), "user_namespaces": "--user" in flags}
        ),
        encoding="utf-8",
    )
    holder = sandbox.start(place, flags, tied=True)
    try:
        code = holder.wait(timeout=_BOUND_S)
    except subprocess.TimeoutExpired as error:
        raise PartFailed(
            f"the site's history was not made within {_BOUND_S:.0f} s", do=f"see {place.logs()}"
        ) from error
    finally:
        sandbox.end(place)
    if code != 0:
        reason = ""
        with contextlib.suppress(OSError, ValueError):
            reason = str(json.loads(place.status.read_text(encoding="utf-8"))["reason"])
        raise PartFailed("the site's history could not be made", seen=reason, do=f"see {place.logs()}")
    ready = place.root / "ready"
    ready.mkdir()
    for source in (place.data("postgres"), place.data("store"), place.root / "seed", place.root / "secrets.json"):
        source.rename(ready / source.name)
    ready.rename(made)
    shutil.rmtree(place.root)


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
