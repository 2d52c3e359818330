"""Making the seeded data, inside a sandbox: database and store are filled, then stopped in order.

Invariants: runs only in a sandbox started for it by `sitedata`; passwords and keys are those in that sandbox's folder.
"""

from __future__ import annotations

import dataclasses
import sys

import psycopg
from psycopg import sql

from rehearsal.environment import layout, objects, parts
from rehearsal.environment.commands import run_logged
from rehearsal.environment.sitedata import (
    ARCHIVE_BUCKET,
    DATABASE,
    EVIDENCE_BUCKET,
    LOG_DATABASE,
    LOG_ORIGIN,
    ROLE,
    History,
    Secrets,
)

_HBA = "host all all 10.0.0.0/8 {method}\nhost all all 127.0.0.1/32 {method}\n"


def contents(scene: parts.Scene) -> tuple[list[parts.Part], list[parts.Job]]:
    """Return what the sandbox runs to make the data: database, store, and the jobs that fill them."""
    known = Secrets.read(scene.place.root)
    started = [dataclasses.replace(parts.postgres(scene), after=("initdb",)), parts.store(scene)]
    jobs = [
        parts.Job(name="initdb", work=lambda: _initdb(scene)),
        parts.Job(name="databases", work=lambda: _databases(scene.place, known), after=("postgres",)),
        parts.Job(name="buckets", work=lambda: _buckets(known), after=("store",)),
        parts.Job(name="seed", work=lambda: _seed(scene.place, known), after=("databases", "buckets")),
    ]
    return started, jobs


def _initdb(scene: parts.Scene) -> None:
    """Make the database cluster; until the passwords are set, whoever is in this sandbox is trusted."""
    folder = scene.place.data("postgres")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    arguments = [
        *("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"),
        *("--builtin-locale=C.UTF-8", "--no-sync", "--no-instructions"),
    ]
    run_logged(scene.place, "initdb", parts.postgres_program(scene, "initdb", *arguments))
    (folder / "pg_hba.conf").write_text(_HBA.format(method="trust"), encoding="ascii")


def _databases(place: layout.Place, known: Secrets) -> None:
    """Make role and databases, set the passwords, and demand them from now on."""
    with psycopg.connect(known.dsn("postgres", admin=True), autocommit=True) as connection:
        password = sql.Literal(known.password)
        connection.execute(sql.SQL("alter role postgres password {}").format(sql.Literal(known.admin_password)))
        connection.execute(sql.SQL("create role {} login password {}").format(sql.Identifier(ROLE), password))
        for database in (DATABASE, LOG_DATABASE):
            connection.execute(
                sql.SQL("create database {} owner {}").format(sql.Identifier(database), sql.Identifier(ROLE))
            )
        rules = place.data("postgres") / "pg_hba.conf"
        rules.write_text(_HBA.format(method="scram-sha-256"), encoding="ascii")
        connection.execute("select pg_reload_conf()")


def _buckets(known: Secrets) -> None:
    client = objects.client(known)
    client.create_bucket(Bucket=EVIDENCE_BUCKET)
    client.create_bucket(Bucket=ARCHIVE_BUCKET, ObjectLockEnabledForBucket=True)
    client.put_bucket_versioning(Bucket=ARCHIVE_BUCKET, VersioningConfiguration={"Status": "Enabled"})


def _seed(place: layout.Place, known: Secrets) -> None:
    """Let the platform make its history. Its files for the operator land in `seed/`."""
    history = History.read(place.root)
    command = [sys.executable, "-m", "rehearsal.platform.app.seed", "--items", str(history.items)]
    command += ["--out", str(place.root / "seed")]
    if history.object_bytes is not None:
        command += ["--object-bytes", str(history.object_bytes)]
    run_logged(
        place,
        "seed",
        command,
        {
            "DATABASE_URL": known.dsn(DATABASE),
            "LOG_DATABASE_URL": known.dsn(LOG_DATABASE),
            "LOG_ORIGIN": LOG_ORIGIN,
            "STORE_ENDPOINT": objects.ENDPOINT,
            "STORE_BUCKET": EVIDENCE_BUCKET,
            "STORE_ACCESS_KEY": known.access_key,
            "STORE_SECRET_KEY": known.secret_key,
        },
    )
