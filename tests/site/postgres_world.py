"""A real PostgreSQL for tests, on a port of its own: an administrator, an owner without rights of his, no passwords."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from rehearsal.tools import ensure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_BOUND_S = 20.0
ADMIN, OWNER = "postgres", "stellaops"
MANAGER = "dba"
"""May create databases and act as the owner; no superuser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A running server. `programs` is the folder of pg_dump and pg_restore."""

    port: int
    programs: Path

    def dsn(self, name: str, *, user: str = OWNER) -> str:
        """Return the connection string of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{name}"

    def admin_dsn(self, name: str = "postgres") -> str:
        """Return it for the administrator."""
        return self.dsn(name, user=ADMIN)

    def create(self, *names: str) -> None:
        """Create databases that the owner owns."""
        with psycopg.connect(self.admin_dsn(), autocommit=True) as connection:
            for name in names:
                connection.execute(f'CREATE DATABASE "{name}" OWNER {OWNER}'.encode())

    def databases(self) -> set[str]:
        """Return the databases that there are, those of the server itself left out."""
        with psycopg.connect(self.admin_dsn()) as connection:
            rows = connection.execute("SELECT datname FROM pg_database WHERE NOT datistemplate").fetchall()
        return {row[0] for row in rows} - {"postgres"}


@contextlib.contextmanager
def running(folder: Path) -> Iterator[PostgresServer]:
    """Run a server as long as the block, its data in a new folder under `folder`."""
    programs = ensure(["postgres", "initdb", "pg_dump", "pg_restore"]).postgres.bin
    # PostgreSQL refuses to run as uid 0: then it gets a user namespace in which it is somebody else.
    other = ["unshare", "-U", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    data = folder / "data"
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", ADMIN, "-A", "trust", "--no-sync", "-E", "UTF8"]
    subprocess.run([*other, *initdb], check=True, capture_output=True, timeout=60)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = ("listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off", "synchronous_commit=off")
    options = ["-p", str(port), "-k", "", *(word for setting in settings for word in ("-c", setting))]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*other, str(programs / "postgres"), "-D", str(data), *options], stderr=log)
    server = PostgresServer(port=port, programs=programs)
    try:
        _wait(server, folder / "log")
        with psycopg.connect(server.admin_dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {OWNER} LOGIN".encode())
            connection.execute(f"CREATE ROLE {MANAGER} LOGIN CREATEDB IN ROLE {OWNER}".encode())
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def _wait(server: PostgresServer, log: Path) -> None:
    deadline = time.monotonic() + START_BOUND_S
    while True:
        try:
            psycopg.connect(server.admin_dsn()).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return
