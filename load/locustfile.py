"""What the load generator sends to the public host during an upgrade, and how it is counted.

A mix of cheap reads, reads from the database and the store, numbered write markers and a few scans, at the arrival rate
that the policy sets. Settings come as JSON in CUTOVER_LOAD_SETTINGS; files go to the folder they name:
requests.jsonl (one line a second), markers.jsonl (one line an acknowledged marker), summary.json (at the end).
Invariants: every request is counted in the second in which its answer came, by the colour that the answer names; a
marker is written down only after it was acknowledged; the process ends by itself.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from locust import FastHttpUser, constant_throughput, events, task

if TYPE_CHECKING:
    from locust.env import Environment
    from locust.runners import Runner

SETTINGS: dict[str, Any] = json.loads(os.environ["CUTOVER_LOAD_SETTINGS"])
FOLDER = Path(SETTINGS["folder"])
COLOUR_HEADER = SETTINGS["colour_header"]
WRITE_SHARE: float = SETTINGS["write_share"]
SCAN_SHARE: float = SETTINGS["scan_share"]
MOST_SCANS_PER_S = 10.0
"""A scan is work for the platform's workers, not for its web tier: more of them would only fill a queue."""
SCAN_EVERY = max(1.0 / SCAN_SHARE, SETTINGS["requests_per_s"] / MOST_SCANS_PER_S) if SCAN_SHARE else 0.0
KNOWN_ITEMS = 200
MOST_FAILURES = 100
NOBODY = "nobody"
"""What answers that name no colour, and requests without an answer, are counted under."""

# Reads by kind: a quarter of them from PostgreSQL.
READS = (("catalogue", 0.65), ("item", 0.20), ("list", 0.05), ("content", 0.10))


def percentile(ordered: list[float], share: float) -> float:
    """Return the nearest-rank percentile of a sorted, non-empty list."""
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1))]


class Second:
    """What happened since the last line was written."""

    def __init__(self) -> None:
        self.attempted = 0
        self.failed = 0
        self.reads = 0
        self.writes = 0
        self.scans = 0
        self.by_colour: Counter[str] = Counter()
        self.latencies_ms: dict[str, list[float]] = {}

    def add(self, *, colour: str, kind: str, failed: bool, latency_ms: float) -> None:
        """Count one request."""
        self.attempted += 1
        self.failed += failed
        self.by_colour[colour] += 1
        self.latencies_ms.setdefault(colour, []).append(latency_ms)
        if kind == "read":
            self.reads += 1
        else:
            self.writes += 1
            self.scans += kind == "scan" and not failed

    def line(self, *, moment: datetime, elapsed_s: float, users: int) -> dict[str, Any]:
        """Return the second as it is written."""
        ordered = {colour: sorted(values) for colour, values in self.latencies_ms.items()}
        return {
            "time": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "elapsed_s": round(elapsed_s, 3),
            "users": users,
            "attempted": self.attempted,
            "failed": self.failed,
            "by_colour": dict(self.by_colour),
            "p50_ms": {colour: round(percentile(values, 0.50), 3) for colour, values in ordered.items()},
            "p99_ms": {colour: round(percentile(values, 0.99), 3) for colour, values in ordered.items()},
            "reads": self.reads,
            "writes": self.writes,
            "scans": self.scans,
        }


class Recorder:
    """Counts requests, writes a line each second and the summary at the end."""

    def __init__(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._requests = (FOLDER / "requests.jsonl").open("w", encoding="utf-8", buffering=1)
        self._markers = (FOLDER / "markers.jsonl").open("w", encoding="utf-8", buffering=1)
        self._second = Second()
        self._totals: Counter[str] = Counter()
        self._by_colour: Counter[str] = Counter()
        self._failures: list[dict[str, str]] = []
        self._acknowledged = 0
        self._started: float | None = None
        self._ended = False

    def add(self, *, method: str, name: str, kind: str, colour: str, error: str, latency_ms: float) -> None:
        """Count one request; `error` is empty for a good one."""
        self._second.add(colour=colour or NOBODY, kind=kind, failed=bool(error), latency_ms=latency_ms)
        if error and len(self._failures) < MOST_FAILURES:
            moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            self._failures.append({"time": moment, "method": method, "name": name, "error": error, "colour": colour})

    def acknowledge(self, number: int) -> None:
        """Write down that a marker was acknowledged."""
        self._acknowledged += 1
        self._markers.write(f'{{"run":{json.dumps(SETTINGS["run"])},"number":{number}}}\n')

    def run(self, runner: Runner | None) -> None:
        """Write a line each second until the end."""
        start_s = self._started = time.monotonic()
        for number in itertools.count(1):
            gevent.sleep(max(0.0, start_s + number - time.monotonic()))
            self._write(runner.user_count if runner is not None else 0)

    def _write(self, users: int) -> None:
        second, self._second = self._second, Second()
        elapsed_s = time.monotonic() - (self._started or 0.0)
        line = second.line(moment=datetime.now(UTC), elapsed_s=elapsed_s, users=users)
        for key in ("attempted", "failed", "reads", "writes", "scans"):
            self._totals[key] += line[key]
        self._by_colour.update(second.by_colour)
        self._requests.write(json.dumps(line, separators=(",", ":")) + "\n")

    def finish(self) -> None:
        """Write the last part of a second and the summary. Idempotent."""
        if self._ended or self._started is None:
            return
        self._ended = True
        elapsed_s = time.monotonic() - self._started
        self._write(0)
        summary = {
            "planned": round(SETTINGS["requests_per_s"] * elapsed_s),
            **{key: self._totals[key] for key in ("attempted", "failed")},
            "by_colour": dict(self._by_colour),
            **{key: self._totals[key] for key in ("reads", "writes", "scans")},
            "markers_acknowledged": self._acknowledged,
            "seconds": round(elapsed_s, 3),
            "failures": self._failures,
        }
        temporary = FOLDER / "summary.json.part"
        temporary.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        temporary.replace(FOLDER / "summary.json")


RECORDER = Recorder()
GREENLETS: list[gevent.Greenlet] = []
NUMBERS = itertools.count(1)
ITEMS: list[str] = []
CHOICE = random.Random(SETTINGS["run"])  # noqa: S311 (the mix of a load is no secret, and is the same in each run)


def begin(environment: Environment, **_: object) -> None:
    """Start writing, and see to it that the process ends however long the load is left alone."""
    GREENLETS.append(gevent.spawn(RECORDER.run, environment.runner))
    GREENLETS.append(gevent.spawn_later(SETTINGS["longest_run_s"] + 30, os._exit, 1))


def end(**_: object) -> None:
    """Stop writing and sum up: every request has ended by now."""
    for greenlet in GREENLETS:
        greenlet.kill(block=False)
    RECORDER.finish()


events.test_start.add_listener(begin)  # type: ignore[no-untyped-call]
events.quit.add_listener(end)  # type: ignore[no-untyped-call]


class PublicUser(FastHttpUser):
    """Somebody at the public host: mostly reads, some writes, now and then a scan."""

    wait_time = constant_throughput(SETTINGS["requests_per_s"] / SETTINGS["users"])
    connection_timeout = 10.0
    network_timeout = 10.0

    @task
    def act(self) -> None:
        """Send one request of the mix."""
        draw = CHOICE.random()
        if SCAN_EVERY and draw < 1.0 / SCAN_EVERY:
            self._scan()
        elif draw < WRITE_SHARE:
            self._marker()
        else:
            self._read()

    def _read(self) -> None:
        (kind,) = CHOICE.choices([name for name, _ in READS], [share for _, share in READS])
        if kind == "catalogue":
            self._send("GET", "/api/v1/catalogue", name="catalogue", kind="read", expected=200)
        elif kind == "list" or not ITEMS:
            answer = self._send("GET", f"/api/v1/evidence?limit={KNOWN_ITEMS}", "evidence list", "read", 200)
            ITEMS[:] = identifiers(answer) or ITEMS
        else:
            path = f"/api/v1/evidence/{CHOICE.choice(ITEMS)}" + ("/content" if kind == "content" else "")
            self._send("GET", path, name=f"evidence {kind}", kind="read", expected=200)

    def _marker(self) -> None:
        number = next(NUMBERS)
        body = {"run": SETTINGS["run"], "number": number}
        if self._send("POST", "/api/v1/markers", "marker", "write", 201, body=body) is not None:
            RECORDER.acknowledge(number)

    def _scan(self) -> None:
        body = {"image": f"registry.example/load/{CHOICE.randrange(100)}:1"}
        self._send("POST", "/api/v1/scans", name="scan", kind="scan", expected=202, body=body)

    def _send(
        self, method: str, path: str, name: str, kind: str, expected: int, *, body: dict[str, Any] | None = None
    ) -> bytes | None:
        """Send a request and count it; return the body of a good answer, None otherwise."""
        started_s = time.monotonic()
        with self.client.request(method, path, name=name, json=body, catch_response=True) as response:
            latency_ms = (time.monotonic() - started_s) * 1000
            colour = (response.headers.get(COLOUR_HEADER) if response.headers else None) or ""
            error = ""
            if response.status_code != expected:
                error = f"status {response.status_code}" if response.status_code else f"no answer: {response.error}"
                response.failure(error)
            RECORDER.add(method=method, name=name, kind=kind, colour=colour, error=error, latency_ms=latency_ms)
            return None if error else bytes(response.content or b"")


def identifiers(answer: bytes | None) -> list[str]:
    """Return the ids in an answer of the evidence list, under whatever key its list stands."""
    if answer is None:
        return []
    document = json.loads(answer)
    entries = (
        document if isinstance(document, list) else next((v for v in document.values() if isinstance(v, list)), [])
    )
    return [str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry]
