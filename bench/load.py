"""How much the load generator delivers, and how truly the probe shows a stall, each beside its anchor of the same run.

    .venv/bin/python bench/load.py [--json] [--rounds 5]

`load_ratio`: requests of the load generator with everything it writes down, by those of bare Locust: the same kind of
user, the same mix, nothing recorded. Both at once and as fast as they can, each against a server of its own, which
counts; by the second of CPU time, which is what bounds either process; the middle of the rounds' ratios.
`freeze_p99_error`: a server is stopped for two seconds; the p99 that the open-loop probe reports, against the one that
follows from its schedule and the time of the stop. Beside it, what the waiting users of the load generator saw.
`bench/cutover.py` takes both functions.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
if sys.path[0] == str(ROOT / "bench"):
    sys.path[0] = str(ROOT)  # a file beside this one has the name of a standard module

from bench.evidence_site import figure  # noqa: E402 (found on the path that is corrected above)
from cutover.policy import Load, Probe  # noqa: E402
from cutover.site.load import LoadRunner  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = 30
SETTLE_S, MEASURED_S = 2.0, 3.0
WRITE_SHARE = 0.1
FROZEN_S = 2.0
COLOUR_HEADER = "X-Stella-Colour"
LEAST_RATIO, MOST_ERROR = 0.9, 0.05

HOST = """
import asyncio, json, uvicorn

requests = 0
ITEMS = json.dumps({"items": [{"id": f"ev-{number}"} for number in range(200)]}).encode()

async def app(scope, receive, send):
    global requests
    path = scope["path"]
    body = str(requests).encode() if path == "/count" else ITEMS if path == "/api/v1/evidence" else b"{}"
    requests += path != "/count"
    headers = [(b"content-length", str(len(body)).encode()), (b"x-stella-colour", b"blue")]
    await send({"type": "http.response.start", "status": 201 if scope["method"] == "POST" else 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

async def main():
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off", access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving

asyncio.run(main())
"""

BARE = f"""
import itertools, random
from locust import FastHttpUser, constant, task

numbers = itertools.count(1)
items = [f"ev-{{number}}" for number in range(200)]

class Bare(FastHttpUser):
    wait_time = constant(0)
    connection_timeout = network_timeout = 10.0

    @task
    def act(self):
        draw = random.random()
        if draw < {WRITE_SHARE}:
            body = {{"run": "bench", "number": next(numbers)}}
            self.client.request("POST", "/api/v1/markers", name="marker", json=body)
        elif draw < 0.685:
            self.client.request("GET", "/api/v1/catalogue", name="catalogue")
        elif draw < 0.73:
            self.client.request("GET", "/api/v1/evidence?limit=200", name="evidence list")
        elif draw < 0.82:
            self.client.request("GET", f"/api/v1/evidence/{{random.choice(items)}}/content", name="evidence content")
        else:
            self.client.request("GET", f"/api/v1/evidence/{{random.choice(items)}}", name="evidence item")
"""


@contextlib.contextmanager
def host() -> Iterator[tuple[str, int]]:
    """Run a server that answers at once; yields its URL and process id."""
    process = subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}", process.pid
    finally:
        process.kill()
        process.communicate()


def load_ratio(rounds: int = 5) -> dict[str, Any]:
    """Measure what the load generator delivers against bare Locust."""
    ours: list[float] = []
    anchors: list[float] = []
    with (
        host() as (url, _),
        host() as (other_url, _),
        _bare(other_url) as bare,
        _runner(url, _policy(requests_per_s=1e6), Probe()) as (runner, _),
    ):
        runner.start()
        assert runner.process is not None
        time.sleep(SETTLE_S)
        for _ in range(rounds):
            one, other = _per_cpu_s((url, runner.process.pid), (other_url, bare.pid))
            ours.append(one)
            anchors.append(other)
    ratio = median(one / other for one, other in zip(ours, anchors, strict=True))
    return figure(
        ratio,
        ours=median(ours),
        anchor=median(anchors),
        unit="1/CPU s",
        what=f"load generator; anchor: bare Locust, {USERS} users, the same mix, nothing recorded",
        bar=f"at least {LEAST_RATIO}",
        met=ratio >= LEAST_RATIO,
    )


def freeze_p99_error(requests_per_s: float = 20.0) -> dict[str, Any]:
    """Measure how far the probe's p99 over a stall is from the truth."""
    probe = Probe(requests_per_s=requests_per_s)
    with host() as (url, pid), _runner(url, _policy(requests_per_s=250), probe) as (runner, folder):
        runner.start()
        time.sleep(SETTLE_S)
        since = datetime.now(UTC)
        time.sleep(2)
        os.kill(pid, signal.SIGSTOP)
        frozen_at_s = time.time()
        time.sleep(FROZEN_S)
        os.kill(pid, signal.SIGCONT)
        thawed_at_s = time.time()
        time.sleep(6)
        until = datetime.now(UTC)
        time.sleep(0.5)
        seen, closed = runner.probe(since, until), runner.window(since, until)
        with (folder / "probe.jsonl").open(encoding="utf-8") as lines:
            start_s = json.loads(next(lines))["start"]
    usual_s = (seen.p50_ms or 0.0) / 1000
    truth_ms = 1000 * scheduled_p99_s(
        start_s=start_s,
        requests_per_s=requests_per_s,
        since_s=since.timestamp(),
        until_s=until.timestamp(),
        frozen_s=(frozen_at_s, thawed_at_s),
        usual_s=usual_s,
    )
    error = abs((seen.p99_ms or 0.0) - truth_ms) / truth_ms
    waiting = ", ".join(f"{colour} {value:.0f} ms" for colour, value in closed.p99_ms.items())
    return figure(
        error,
        ours=seen.p99_ms or 0.0,
        anchor=truth_ms,
        unit="ms",
        what=f"the probe's p99 over a stop of {FROZEN_S:g} s; anchor: computed. Users who wait saw {waiting}",
        bar=f"at most {MOST_ERROR}",
        met=error <= MOST_ERROR,
    )


def scheduled_p99_s(
    *,
    start_s: float,
    requests_per_s: float,
    since_s: float,
    until_s: float,
    frozen_s: tuple[float, float],
    usual_s: float,
) -> float:
    """Return the p99 of requests that were due in a span: until the server went on for those due while it stood."""
    first, last = (math.ceil((moment - start_s) * requests_per_s) for moment in (since_s, until_s))
    dues = (start_s + number / requests_per_s for number in range(first, last))
    latencies = sorted(usual_s + (frozen_s[1] - due if frozen_s[0] <= due <= frozen_s[1] else 0.0) for due in dues)
    return latencies[math.ceil(0.99 * len(latencies)) - 1]


def _policy(*, requests_per_s: float) -> Load:
    return Load(users=USERS, requests_per_s=requests_per_s, write_share=WRITE_SHARE, scan_share=0.0)


@contextlib.contextmanager
def _runner(url: str, load: Load, probe: Probe) -> Iterator[tuple[LoadRunner, Path]]:
    with tempfile.TemporaryDirectory(prefix="bench-load-") as temporary:
        folder = Path(temporary)
        runner = LoadRunner(url=url, load=load, probe=probe, folder=folder, run="bench", colour_header=COLOUR_HEADER)
        try:
            yield runner, folder
        finally:
            runner.stop()


@contextlib.contextmanager
def _bare(url: str) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryDirectory(prefix="bench-bare-") as temporary:
        file = Path(temporary) / "bare.py"
        file.write_text(BARE, encoding="utf-8")
        command = [sys.executable, "-m", "locust", "-f", str(file), "--headless", "--only-summary", "--host", url]
        command += ["--users", str(USERS), "--spawn-rate", str(USERS), "--loglevel", "ERROR"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while _count(url) < USERS:
                time.sleep(0.1)
            yield process
        finally:
            process.terminate()
            process.wait()


def _per_cpu_s(*loads: tuple[str, int]) -> list[float]:
    """Return for each URL and process the requests that the server counts by the process's CPU seconds meanwhile."""
    before = [(_count(url), _cpu_s(pid)) for url, pid in loads]
    time.sleep(MEASURED_S)
    after = [(_count(url), _cpu_s(pid)) for url, pid in loads]
    return [(new[0] - old[0]) / (new[1] - old[1]) for old, new in zip(before, after, strict=True)]


def _cpu_s(pid: int) -> float:
    ticks = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")


def _count(url: str) -> int:
    with urlopen(f"{url}/count") as answer:  # noqa: S310 (an address of our own)
        return int(answer.read())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--rounds", type=int, default=5, help="how often the load is measured (default 5)")
    arguments = parser.parse_args()
    found = {"load_ratio": load_ratio(arguments.rounds), "freeze_p99_error": freeze_p99_error()}
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for name, one in found.items():
        print(f"{name:18} {one['value']:<8} {one['ours']:.0f} against {one['anchor']:.0f} {one['unit']}: {one['bar']}")


if __name__ == "__main__":
    main()
