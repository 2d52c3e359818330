"""A public host in a process of its own, for tests that freeze it or ask it what it has answered."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBED = "/api/v1/evidence?limit=1"


@dataclass(frozen=True, slots=True, kw_only=True)
class BareHost:
    """The host and what it says of itself."""

    url: str
    pid: int

    def counts(self) -> tuple[int, int, list[int]]:
        """Return how many requests of the load and of the probe it answered, and the markers that it was sent."""
        with urlopen(f"{self.url}/count") as answer:  # noqa: S310 (an address of our own)
            facts = json.load(answer)
        probed = facts["answered"].pop(PROBED, 0)
        facts["answered"].pop("/count", None)
        return sum(facts["answered"].values()), probed, sorted(facts["markers"])

    def freeze(self, duration_s: float) -> tuple[float, float]:
        """Stop it for a while; return when it stood still, in seconds since the epoch."""
        os.kill(self.pid, signal.SIGSTOP)
        began_s = time.time()
        time.sleep(duration_s)
        os.kill(self.pid, signal.SIGCONT)
        return began_s, time.time()


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def bare_host() -> Iterator[BareHost]:
    """Run the host."""
    file = Path(__file__).parent / "bare_host.py"
    process = subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield BareHost(url=f"http://127.0.0.1:{process.stdout.readline().strip()}", pid=process.pid)
    process.kill()
    process.communicate()
