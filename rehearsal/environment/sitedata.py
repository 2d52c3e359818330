"""Seeded data of the site: made once for each set of inputs, kept in the user cache, copied into every environment.

Invariants: a cached set appears under its digest in one rename, complete or not at all; the digest covers whatever decides the
bytes (the platform's sources, the versions of database and store, the size of the history); the servers that wrote
it were stopped in order. Data are made in a sandbox of their own, like everything else.
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
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
from botocore.config import Config
from psycopg import sql

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
_HBA = "host all all 10.0.0.0/8 scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Passwords and keys that the seeded data were made with."""

    admin_password: str
    password: str
    access_key: str
    secret_key: str

    @classmethod
    def fresh(cls) -> Secrets:
        """New random ones."""
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
        """A connection URL."""
        user, password = ("postgres", self.admin_password) if admin else (ROLE, self.password)
        return f"postgresql://{user}:{password}@{host}:5432/{database}"


def digest(tools: parts.Tools) -> str:
    """Twenty hex digits over whatever decides the seeded bytes."""
    total = hashlib.sha256(f"{_FORMAT} {ITEMS}\n".encode())
    sources = [Path(__file__), *sorted((layout.PROJECT / "rehearsal" / "platform").rglob("*"))]
    for source in sources:
        if source.suffix in {".py", ".sql"}:
            total.update(f"{source.relative_to(layout.PROJECT)} {hashlib.sha256(source.read_bytes()).hexdigest()}\n".encode())
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
    if made.is_dir():
        return made
    with _locked(home / f".{name}.lock"):
        if made.is_dir():
            return made
        say("making the site's history (once; kept in the cache)")
        _make(layout.Place.at(home / f".making-{name}"), tools, flags, made)
        for other in home.iterdir():
            if other.is_dir() and other.name != name and not other.name.startswith("."):
                _forget(other)
    return made


def _forget(folder: Path) -> None:
    """Remove a set that no source makes any more, unless it was made or used within the last day."""
    if time.time() - folder.stat().st_mtime > 24 * 3600:
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
        raise PartFailed(f"the site's history was not made within {_BOUND_S:.0f} s", do=f"see {place.logs()}") from error
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


def contents(scene: parts.Scene) -> tuple[list[parts.Part], list[parts.Job]]:
    """What the sandbox runs to make the data: database, store, and the jobs that fill them."""
    known = Secrets.read(scene.place.root)
    started = [dataclasses.replace(parts.postgres(scene), after=("initdb",)), parts.store(scene)]
    jobs = [
        parts.Job(name="initdb", work=lambda: _initdb(scene, known)),
        parts.Job(name="databases", work=lambda: _databases(known), after=("postgres",)),
        parts.Job(name="buckets", work=lambda: _buckets(known), after=("store",)),
        parts.Job(name="seed", work=lambda: _seed(scene.place, known), after=("databases", "buckets")),
    ]
    return started, jobs


def _initdb(scene: parts.Scene, known: Secrets) -> None:
    folder = scene.place.data("postgres")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    password = scene.place.root / "admin-password"
    password.touch(mode=0o600)
    password.write_text(known.admin_password, encoding="ascii")
    run_logged(
        scene.place,
        "initdb",
        parts.unprivileged(
            scene,
            (
                scene.tools["initdb"],
                "-D",
                str(folder),
                "--username=postgres",
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--no-sync",
            ),
        ),
    )
    password.unlink()
    (folder / "pg_hba.conf").write_text(_HBA, encoding="ascii")


def run_logged(place: layout.Place, part: str, argv: Sequence[str], environment: dict[str, str] | None = None) -> None:
    """Run a command to its end with its output in the part's log. Raises: PartFailed with the last lines."""
    with place.logs(part).open("ab") as log:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=layout.PROJECT,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    if done.returncode != 0:
        raise PartFailed(f"{part} ended with code {done.returncode}", seen=tail(place.logs(part)))


def tail(path: Path, lines: int = 8) -> str:
    """The last lines of a log, '' when there is none."""
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    return ""


def _databases(known: Secrets) -> None:
    with psycopg.connect(known.dsn("postgres", admin=True), autocommit=True) as connection:
        connection.execute(
            sql.SQL("create role {} login password {}").format(sql.Identifier(ROLE), sql.Literal(known.password))
        )
        for database in (DATABASE, LOG_DATABASE):
            connection.execute(
                sql.SQL("create database {} owner {}").format(sql.Identifier(database), sql.Identifier(ROLE))
            )


def _buckets(known: Secrets) -> None:
    client: Any = boto3.client(
        "s3",
        endpoint_url="http://store.stella.test:8333",
        aws_access_key_id=known.access_key,
        aws_secret_access_key=known.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, proxies={}, retries={"max_attempts": 5, "mode": "standard"}),
    )
    client.create_bucket(Bucket=EVIDENCE_BUCKET)
    client.create_bucket(Bucket=ARCHIVE_BUCKET, ObjectLockEnabledForBucket=True)
    client.put_bucket_versioning(Bucket=ARCHIVE_BUCKET, VersioningConfiguration={"Status": "Enabled"})


def _seed(place: layout.Place, known: Secrets) -> None:
    """Let the platform make its history. Its files for the operator land in `seed/`."""
    run_logged(
        place,
        "seed",
        (sys.executable, "-m", "rehearsal.platform.app.seed", "--items", str(ITEMS), "--out", str(place.root / "seed")),
        {
            "DATABASE_URL": known.dsn(DATABASE),
            "LOG_DATABASE_URL": known.dsn(LOG_DATABASE),
            "LOG_ORIGIN": LOG_ORIGIN,
            "STORE_ENDPOINT": "http://store.stella.test:8333",
            "STORE_BUCKET": EVIDENCE_BUCKET,
            "STORE_ACCESS_KEY": known.access_key,
            "STORE_SECRET_KEY": known.secret_key,
        },
    )
