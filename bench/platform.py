"""How many requests a second the stand-in platform holds behind the Ingress, against a bare route on the same way.

    .venv/bin/python bench/platform.py [--json] [--seconds 15]

Makes an embedded site of its own, measures both in one run, and removes the site: one Locust process of 30 users, a
quarter of the reads from PostgreSQL, through the ingress controller to the platform's two web pods; then the same load
on a bare ASGI route in two processes behind the same controller (the anchor).
Keys: `platform_per_s`, `platform_failed`, `bare_per_s`, `bare_failed`, `ratio`, `cpu_count`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
NAME = "bench"
USERS = 30
BARE_PORT = 8090
BARE_ADDRESSES = ("10.244.250.1", "10.244.250.2")

LOCUSTFILE = '''
import itertools, os
from locust import FastHttpUser, task

class Reader(FastHttpUser):
    """Three reads from memory for each one from PostgreSQL, or one bare route."""
    ids = itertools.cycle([f"ev-{number:012d}" for number in range(0, 2000, 7)])
    turn = itertools.count()

    @task
    def read(self):
        if os.environ["BENCH_KIND"] == "bare":
            self.client.get("/", name="bare", headers={"Host": "bare.example"})
        elif next(self.turn) % 4 == 0:
            self.client.get(f"/api/v1/evidence/{next(self.ids)}", name="item")
        else:
            self.client.get("/api/v1/catalogue", name="catalogue")
'''

BARE_APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"ok"})
"""


def bare_objects() -> str:
    """Return the Service, endpoints and Ingress of the anchor."""
    slices = [{"addresses": [address], "conditions": {"ready": True}} for address in BARE_ADDRESSES]
    metadata = {"name": "bare", "namespace": "default"}
    backend = {"service": {"name": "bare", "port": {"number": 80}}}
    rule = {"host": "bare.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    documents: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"port": 80, "targetPort": BARE_PORT}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "bare"}},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": BARE_PORT}],
            "endpoints": slices,
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": metadata,
            "spec": {"ingressClassName": "nginx", "rules": [rule]},
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})


def cutover(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401 (those of subprocess.run)
    """Run a command of the project."""
    return subprocess.run([str(ROOT / "cutover"), *arguments], check=True, text=True, **options)


def inside(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401 (those of subprocess.run)
    """Run a command inside the site."""
    return cutover("env", "exec", "--name", NAME, "--", *command, **options)


def measure(kind: str, host: str, seconds: int, folder: Path) -> tuple[float, int]:
    """Return requests a second and failed requests, the first two seconds left out."""
    (folder / "locustfile.py").write_text(LOCUSTFILE, encoding="utf-8")
    command = [sys.executable, "-m", "locust", "-f", str(folder / "locustfile.py"), "--headless", "--only-summary"]
    command += ["--users", str(USERS), "--spawn-rate", "1000", "--run-time", f"{seconds + 2}s", "--reset-stats"]
    command += ["--host", host, "--json", "--exit-code-on-error", "0"]
    done = inside(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "BENCH_KIND": kind})
    rows = json.loads(done.stdout)
    requests = sum(row["num_requests"] for row in rows)
    began = min(row["start_time"] for row in rows)
    ended = max(row["last_request_timestamp"] for row in rows)
    return requests / (ended - began), sum(row["num_failures"] for row in rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--seconds", type=int, default=15, help="of each measurement (default 15)")
    arguments = parser.parse_args()
    cutover("env", "up", "--name", NAME, stdout=sys.stderr)
    servers: list[subprocess.Popen[bytes]] = []
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "bare.py").write_text(BARE_APP, encoding="utf-8")
            platform, platform_failed = measure("platform", "http://stellaops.example", arguments.seconds, folder)
            inside("kubectl", "apply", "-f", "-", input=bare_objects(), stdout=subprocess.DEVNULL)
            for address in BARE_ADDRESSES:
                command = [sys.executable, "-m", "uvicorn", "bare:app", "--app-dir", str(folder), "--host", address]
                command += ["--port", str(BARE_PORT), "--no-access-log", "--log-level", "warning"]
                entered = [str(ROOT / "cutover"), "env", "exec", "--name", NAME, "--", *command]
                servers.append(subprocess.Popen(entered))
            hosts = "until curl -fs -o /dev/null -H 'Host: bare.example' http://10.245.0.80/; do sleep 0.2; done"
            inside("timeout", "30", "sh", "-c", hosts)
            bare, bare_failed = measure("bare", "http://10.245.0.80", arguments.seconds, folder)
    finally:
        for server in servers:
            server.terminate()
        cutover("env", "down", "--name", NAME, stdout=sys.stderr)
    result = {
        "platform_per_s": round(platform),
        "platform_failed": platform_failed,
        "bare_per_s": round(bare),
        "bare_failed": bare_failed,
        "ratio": round(platform / bare, 3),
        "cpu_count": os.cpu_count(),
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        print(f"{name:16} {value}")


if __name__ == "__main__":
    main()
