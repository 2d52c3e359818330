"""A real PostgreSQL on a port of its own, for as long as a test needs one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import psycopg

from rehearsal.tools import ensure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER = "stellaops"
_START_BOUND_S = 20.0


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run it over a new data folder; yield the prefix of its databases' URLs."""
    binaries = ensure(["postgres", "initdb"]).postgres.bin
    data, log_path = folder / "data", folder / "postgres.log"
    # PostgreSQL refuses to run as uid 0: then it gets a user namespace in which it is somebody else.
    other = ["unshare", "-U", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    initialise = [*other, str(binaries / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "--no-sync"]
    subprocess.run([*initialise, "-E", "UTF8"], check=True, capture_output=True, timeout=60)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["-p", str(port), "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    with log_path.open("wb") as log:
        process = subprocess.Popen([*other, str(binaries / "postgres"), "-D", str(data), *options], stderr=log)
    prefix = f"postgresql://{USER}@127.0.0.1:{port}"
    try:
        deadline_s = time.monotonic() + _START_BOUND_S
        while True:
            try:
                psycopg.connect(f"{prefix}/postgres").close()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline_s, log_path.read_text()
                time.sleep(0.05)
        yield prefix
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def create(prefix: str, name: str) -> str:
    """Make an empty database and return its URL."""
    with psycopg.connect(f"{prefix}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return f"{prefix}/{name}"
