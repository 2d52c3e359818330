"""What the load generator sends to the public host during an upgrade, and how it is counted.

A mix of cheap reads, reads from the database and the store, numbered write markers and a few scans, at the rate that
the policy sets for the phase of the upgrade. This one file is all that a worker needs besides Locust: settings and pace
come from the master, and each second that has ended goes back to it. The master, or the one process that does
everything, follows the phase and writes the record's files (`load.ledger`).
Invariants: every request is counted once, in the second in which its answer came, by the colour that the answer names;
a marker is told of only after it was acknowledged, and no two workers use the same number; a request that is cut off
when the load ends has failed; every process ends by itself.
"""

from __future__ import annotations

import bisect
import ctypes
import itertools
import json
import logging
import math
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from locust import FastHttpUser, LoadTestShape, events, task
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from geventhttpclient.useragent import CompatResponse
    from locust.argument_parser import LocustArgumentParser
    from locust.env import Environment
    from locust.rpc.protocol import Message
    from locust.runners import Runner

    from load.ledger import Ledger

MOST_SCANS_PER_S = 10.0
"""A scan is work for the platform's workers, not for its web tier: more of them would only fill a queue."""
KNOWN_ITEMS = 200
MOST_FAILURES = 20
"""Told of a second; all are counted."""
CUT_OFF = "the answer was cut off"
NOBODY = "nobody"
"""What answers that name no colour, and requests without an answer, are counted under."""
MARKERS_A_WORKER = 1_000_000_000
"""Numbers of the first worker begin at 1, of the second at this and 1, and so on."""
READS = (("catalogue", 0.65), ("item", 0.20), ("list", 0.05), ("content", 0.10))
"""Reads by kind: a quarter of them from PostgreSQL."""
LOOK_S = 0.02
"""How often the master looks whether a second is complete."""
LAST_REPORT_S = 4.0
"""How long the master waits for the last reports; who is silent for so long is lost."""
BINARY_DIGITS = 11
"""Of a latency: HdrHistogram's buckets for three significant decimal ones."""
PR_SET_PDEATHSIG = 1
ITEMS_FOR_S = 1.0
"""How long the ids of an evidence list are used before those of another are."""
JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class Recorder:
    """Counts what this process sends, second by second."""

    def __init__(self, *, ahead_s: float = 0.0) -> None:
        # Seconds since the epoch that do not jump with the wall clock, as far ahead as the harness's are.
        self._offset_s = time.time() + ahead_s - time.perf_counter()
        self._closed: list[dict[str, Any]] = []
        self._begin(math.floor(self.now_s()))

    def now_s(self) -> float:
        """Return the time in seconds since the epoch."""
        return time.perf_counter() + self._offset_s

    def _begin(self, second: int) -> None:
        self._second = second
        self._ends_s = second + 1 - self._offset_s  # as perf_counter tells it
        self._counts: dict[tuple[str, str, bool, int], int] = {}
        self._markers: list[int] = []
        self._failures: list[dict[str, str]] = []

    def add(self, kind: str, colour: str, started_s: float, *, failed: bool = False) -> None:
        """Count a request that ends now. started_s: as perf_counter told it."""
        ended_s = time.perf_counter()
        if ended_s >= self._ends_s:
            self._close(ended_s)
        latency_us = int((ended_s - started_s) * 1_000_000)
        shift = latency_us.bit_length() - BINARY_DIGITS
        if shift > 0:
            latency_us = latency_us >> shift << shift
        key = (kind, colour, failed, latency_us)
        self._counts[key] = self._counts.get(key, 0) + 1

    def acknowledge(self, number: int) -> None:
        """Keep the number of a marker that was acknowledged."""
        self._markers.append(number)

    def explain(self, *, method: str, name: str, error: str, colour: str) -> None:
        """Say why a request failed."""
        if len(self._failures) < MOST_FAILURES:
            seconds, fraction = divmod(self.now_s(), 1)
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(fraction * 1e6):06}Z"
            self._failures.append({"time": moment, "method": method, "name": name, "error": error, "colour": colour})

    def _close(self, now_s: float) -> None:
        rows = [[*key, count] for key, count in self._counts.items()]
        one = {"second": self._second, "rows": rows, "markers": self._markers, "failures": self._failures}
        self._closed.append(one)
        self._begin(math.floor(now_s + self._offset_s))

    def report(self, users: int, *, is_last: bool = False) -> dict[str, Any]:
        """Return the seconds that have ended since the last report; with the last one, the one that goes on."""
        now_s = time.perf_counter()
        if is_last or now_s >= self._ends_s:
            self._close(now_s)
        closed, self._closed = self._closed, []
        return {"sent": self.now_s(), "users": users, "seconds": closed, "is_last": is_last}

    def until_report_s(self) -> float:
        """Return how long this second lasts."""
        return max(0.0, self._ends_s - time.perf_counter())


class Generator:
    """One process of the load generator: what it was told, and its part in the whole."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.recorder = Recorder()
        self.pace_s = 1.0
        """From one request of a user to its next."""
        self.ledger: Ledger | None = None
        self.numbers: Iterator[int] = itertools.count(1)
        self.choice = random.Random()  # noqa: S311 (the mix of a load is no secret)
        self.items: list[str] = []
        self._items_until_s = 0.0
        self.mix: tuple[list[float], list[str]] = ([], [])
        self._greenlets: list[gevent.Greenlet] = []
        self._asked = ("", 0.0)
        self._has_users = False

    def configure(self, settings: dict[str, Any], *, pace_s: float, index: int) -> None:
        """Take the settings. index: which of the workers this is, from 0."""
        self.settings, self.pace_s = settings, pace_s
        self.numbers = itertools.count(index * MARKERS_A_WORKER + 1)
        self.choice.seed(f"{settings['run']} {index}")
        self.mix = mix(settings)
        PublicUser.think_time_s = settings["think_time_s"]
        PublicUser.colour_header = settings["colour_header"]

    def learn(self, answer: bytes | None) -> None:
        """Take the ids of an evidence list, unless those of another are new enough: reading a list costs a request."""
        now_s = time.perf_counter()
        if now_s >= self._items_until_s and (items := identifiers(answer)):
            self.items, self._items_until_s = items, now_s + ITEMS_FOR_S

    def send_seconds(self, runner: Runner) -> None:
        """Report each second as it ends."""
        while True:
            gevent.sleep(self.recorder.until_report_s())
            runner.send_message("seconds", self.recorder.report(runner.user_count))

    def write_seconds(self) -> None:
        """Write each second as it becomes complete."""
        while True:
            gevent.sleep(LOOK_S)
            if self.ledger is not None:
                self.ledger.write_due(now_s=self.recorder.now_s())

    def open(self, options: Namespace) -> dict[str, Any]:
        """Open the record's files, once, and return the settings. The master alone."""
        if self.ledger is None:
            from load.ledger import Ledger  # noqa: PLC0415  # a worker has this one file alone

            self.settings = json.loads(options.cutover_settings)
            self.recorder = Recorder(ahead_s=self.settings["clock_ahead_s"])
            began_s = self.recorder.now_s()
            self.ledger = Ledger(Path(self.settings["folder"]), run=self.settings["run"], began_s=began_s)
        return self.settings

    def plan(self, phase: str, requests_per_s: float) -> None:
        """Write down what is asked for from now on; nothing is, before the first users are there."""
        self._asked = (phase, requests_per_s)
        if self.ledger is not None:
            self.ledger.plan(phase, requests_per_s if self._has_users else 0.0, now_s=self.recorder.now_s())

    def take_users(self) -> None:
        """Begin with the plan: the users that were asked for are there."""
        if not self._has_users:
            self._has_users = True
            self.plan(*self._asked)

    def begin(self, environment: Environment) -> None:
        """Start whatever this process does beside its users."""
        runner, options = environment.runner, environment.parsed_options
        if runner is None or options is None or self._greenlets:
            return
        index = 0 if isinstance(runner, MasterRunner) else getattr(runner, "worker_index", 0)
        self.configure(json.loads(options.cutover_settings), pace_s=options.cutover_pace_s, index=index)
        self.recorder = Recorder(ahead_s=self.settings["clock_ahead_s"])
        self._greenlets.append(gevent.spawn_later(self.settings["longest_run_s"] + 30, os._exit, 1))
        if not isinstance(runner, MasterRunner):
            self._greenlets.append(gevent.spawn(self.send_seconds, runner))
        if not isinstance(runner, WorkerRunner):
            self._greenlets.append(gevent.spawn(self.write_seconds))

    def end(self, runner: Runner | None) -> None:
        """Report the last second: the users have ended."""
        for greenlet in self._greenlets[1:]:
            greenlet.kill(block=False)
        if runner is not None and not isinstance(runner, MasterRunner) and self._greenlets:
            runner.send_message("seconds", self.recorder.report(0, is_last=True))

    def finish(self) -> None:
        """Write the last second: no report can come any more."""
        if self.ledger is not None:
            self.ledger.finish(now_s=self.recorder.now_s())


def mix(settings: dict[str, Any]) -> tuple[list[float], list[str]]:
    """Return the upper ends of what a draw between 0 and 1 means, and what it means."""
    scan_share, write_share = settings["scan_share"], settings["write_share"]
    if scan_share:
        scan_share = min(scan_share, MOST_SCANS_PER_S / settings["requests_per_s"])
    kinds = [("scan", scan_share), ("marker", max(0.0, write_share - scan_share))]
    reads = 1.0 - sum(share for _, share in kinds)
    kinds += [(kind, reads * share) for kind, share in READS]
    ends = list(itertools.accumulate(share for _, share in kinds))
    ends[-1] = 1.0
    return ends, [kind for kind, _ in kinds]


class PublicUser(FastHttpUser):
    """Somebody at the public host: mostly reads, some writes, now and then a scan."""

    connection_timeout = 10.0
    network_timeout = 10.0
    default_headers = {"Accept-Encoding": "gzip, deflate, br"}  # noqa: RUF012 (as Locust has it)
    max_redirects = 0
    """Who redirects does not serve: what stands there instead would answer for the platform."""
    think_time_s = 0.0
    colour_header = ""
    _due_s = 0.0
    _is_ending = False

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        # What lies below Locust's session: its statistics would count each request twice, for a tenth of the load.
        self._agent, self._url = self.client.client, self.client.base_url or ""
        if self.client.auth_header:
            self._agent.default_headers["Authorization"] = self.client.auth_header

    def on_start(self) -> None:
        """Begin somewhere within the pace, so that users do not go in step."""
        self._due_s = time.perf_counter() - GENERATOR.choice.random() * GENERATOR.pace_s
        self.wait()  # type: ignore[no-untyped-call]

    def stop(self, force: bool = False) -> bool:  # noqa: FBT002 (as Locust has it)
        """End it: at once while it waits. One whose waiting is over in that moment begins no request any more."""
        self._is_ending = True
        return bool(super().stop(force))

    def wait_time(self) -> float:
        """Return how long to wait for the next request's time; who is late does not hurry to catch up."""
        now_s = time.perf_counter()
        self._due_s = max(self._due_s + GENERATOR.pace_s, now_s + self.think_time_s)
        return self._due_s - now_s

    @task
    def act(self) -> None:
        """Send one request of the mix."""
        if self._is_ending:
            raise StopUser
        ends, kinds = GENERATOR.mix
        kind = kinds[bisect.bisect_left(ends, GENERATOR.choice.random())]
        if kind == "marker":
            self._marker()
        elif kind == "scan":
            body = {"image": f"registry.example/load/{GENERATOR.choice.randrange(100)}:1"}
            self._send("POST", "/api/v1/scans", "scan", kind="scan", expected=202, body=body)
        elif kind == "catalogue":
            self._send("GET", "/api/v1/catalogue", "catalogue")
        elif kind == "list" or not GENERATOR.items:
            GENERATOR.learn(self._send("GET", f"/api/v1/evidence?limit={KNOWN_ITEMS}", "evidence list"))
        else:
            path = f"/api/v1/evidence/{GENERATOR.choice.choice(GENERATOR.items)}"
            self._send("GET", path + ("/content" if kind == "content" else ""), "evidence " + kind)

    def _marker(self) -> None:
        number = next(GENERATOR.numbers)
        body = {"run": GENERATOR.settings["run"], "number": number}
        if self._send("POST", "/api/v1/markers", "marker", kind="write", expected=201, body=body) is not None:
            GENERATOR.recorder.acknowledge(number)

    def _send(
        self,
        method: str,
        path: str,
        name: str,
        *,
        kind: str = "read",
        expected: int = 200,
        body: dict[str, Any] | None = None,
    ) -> bytes | None:
        """Send a request and count it; return the body of a good answer, None otherwise."""
        recorder, started_s = GENERATOR.recorder, time.perf_counter()
        payload, headers = (None, None) if body is None else (json.dumps(body).encode(), JSON_HEADERS)
        response, content, error = None, b"", ""
        try:
            response = self._agent.urlopen(self._url + path, method, headers, payload)
            content = response.content or b""
        except FAILURE_EXCEPTIONS as problem:
            error = CUT_OFF
            if response is None:
                response = getattr(problem, "response", None)  # of a status that tells of an error
                error = "" if response is not None else f"no answer: {problem}"
        except BaseException as problem:  # what ends this user too: it was sent and not answered
            recorder.add(kind, NOBODY, started_s, failed=True)
            ended = isinstance(problem, gevent.GreenletExit)
            error = "no answer before the load ended" if ended else f"no answer: {problem!r}"
            recorder.explain(method=method, name=name, error=error, colour="")
            raise
        colour = str((response.headers.get(self.colour_header) if response is not None else None) or NOBODY)
        error = error or problem_of(response, expected)
        recorder.add(kind, colour, started_s, failed=bool(error))
        if not error:
            return content
        recorder.explain(method=method, name=name, error=error, colour="" if colour == NOBODY else colour)
        return None


def problem_of(response: CompatResponse | None, expected: int) -> str:
    """Return why an answer is none or not a good one; empty when it is. To Locust, half an answer is a whole one."""
    if response is None:
        return "no answer"
    if response.status_code != expected:
        return f"status {response.status_code}"
    is_whole = getattr(response._response, "message_complete", False)  # noqa: SLF001 (nothing else tells)
    return "" if is_whole else CUT_OFF


def identifiers(answer: bytes | None) -> list[str]:
    """Return the ids in an answer of the evidence list, under whatever key its list stands."""
    if answer is None:
        return []
    document = json.loads(answer)
    entries = (
        document if isinstance(document, list) else next((v for v in document.values() if isinstance(v, list)), [])
    )
    return [str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry]


class PhaseShape(LoadTestShape):
    """As many users, and each at such a pace, as the upgrade's phase asks for. Only the master asks it."""

    is_ending = False
    _asked: tuple[str, float, float] | None = None
    _users = 0

    def tick(self) -> tuple[int, float] | None:
        """Return the users to have now and how fast to get there; None when the longest run is over."""
        environment = self.runner.environment if self.runner is not None else None
        options = environment.parsed_options if environment is not None else None
        if self.runner is None or options is None:
            return None
        if self.is_ending:
            return self.runner.shape_last_tick  # type: ignore[return-value]  # two numbers, as below
        settings, run_s = GENERATOR.open(options), time.perf_counter() - self.start_time
        if run_s >= settings["longest_run_s"]:
            drain(self.runner)
            return None
        phase = control(settings)
        requests_per_s = settings["requests_per_s"] * share(phase, settings)
        all_users = max(1, math.ceil(settings["users"] * share(phase, settings)))
        warming = run_s < settings["warm_up_s"]
        users = max(1, int(all_users * run_s / settings["warm_up_s"])) if warming else all_users
        self._ask(options, phase, 0.0 if warming else requests_per_s, all_users / requests_per_s)
        at_once, self._users = float(max(users, self._users)), users
        return users, at_once

    def _ask(self, options: Namespace, phase: str, planned_per_s: float, pace_s: float) -> None:
        """Tell the workers their pace, and the ledger what is planned, where that has changed."""
        asked = (phase, planned_per_s, pace_s)
        if self.runner is None or asked == self._asked:
            return
        self._asked = asked
        options.cutover_pace_s = pace_s  # for workers that join later
        GENERATOR.pace_s = pace_s
        if isinstance(self.runner, MasterRunner):
            self.runner.send_message("pace", {"pace_s": pace_s})
        GENERATOR.plan(phase, planned_per_s)


def control(settings: dict[str, Any]) -> str:
    """Return the phase that the harness last named."""
    try:
        content = (Path(settings["folder"]) / "control.json").read_text(encoding="utf-8")
        return str(json.loads(content)["phase"])
    except FileNotFoundError:
        return "prepare"


def share(phase: str, settings: dict[str, Any]) -> float:
    """Return the share of the policy's rate that a phase asks for."""
    if phase.startswith("weight-") or phase in {"promoted", "rollback"}:
        return float(settings["cutover_share"])
    if phase in {"validate", "observe"}:
        return float(settings["validation_share"])
    return 1.0


def drain(runner: Runner) -> None:
    """End every user of every worker, each when its request is answered, and wait until the workers have said so."""
    shape = runner.environment.shape_class
    if not isinstance(shape, PhaseShape) or shape.is_ending:
        return
    shape.is_ending = True
    now_s = GENERATOR.recorder.now_s
    GENERATOR.plan(control(GENERATOR.settings), 0.0)
    if not isinstance(runner, MasterRunner) or GENERATOR.ledger is None:
        return
    if runner.user_count:
        runner.start(0, float(max(1, runner.target_user_count)))
        bound_s = now_s() + runner.environment.stop_timeout + 2
        while runner.user_count and now_s() < bound_s:
            gevent.sleep(LOOK_S)
    runner.send_message("report")
    bound_s = now_s() + LAST_REPORT_S
    while not GENERATOR.ledger.has_all_last_reports and now_s() < bound_s:
        gevent.sleep(LOOK_S)


GENERATOR = Generator()


def add_options(parser: LocustArgumentParser) -> None:
    """Add the options that Locust hands from the master to its workers."""
    parser.add_argument("--cutover-settings", default="{}", include_in_web_ui=False, help="JSON")
    parser.add_argument("--cutover-pace-s", type=float, default=1.0, include_in_web_ui=False, help="set by the master")


def prepare(environment: Environment, runner: Runner, **_: object) -> None:
    """Take part in the talk between master and workers; the local runner talks to itself."""
    options = environment.parsed_options
    if isinstance(runner, WorkerRunner):
        runner.register_message("pace", take_pace)
        runner.register_message("report", report_last)
        if options is not None and options.processes:  # forked: it would outlive a master that was killed
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        return
    runner.register_message("seconds", take_seconds)
    logging.getLogger("locust.stats_logger").setLevel(logging.ERROR)  # its table would be one of zeros
    if options is not None and isinstance(runner, MasterRunner):
        options.expect_workers = json.loads(options.cutover_settings)["workers"]
    # Locust minds SIGTERM only after a shape has come to its end.
    gevent.signal_handler(signal.SIGTERM, end_early, runner)


def end_early(runner: Runner) -> None:
    """End the load as the shape would: users first, then the workers."""
    if runner.shape_greenlet is None:  # workers are still awaited
        sys.exit(0)
    drain(runner)
    if runner.shape_greenlet is not None:
        runner.shape_greenlet.kill(block=False)


def take_pace(msg: Message, **_: object) -> None:
    """Send from now on at the pace that the master says."""
    GENERATOR.pace_s = msg.data["pace_s"]


def report_last(environment: Environment, **_: object) -> None:
    """Report what has been counted up to now: the master ends the load."""
    if environment.runner is not None:
        environment.runner.send_message("seconds", GENERATOR.recorder.report(0, is_last=True))


def take_seconds(msg: Message, **_: object) -> None:
    """Write down what a worker reports."""
    if GENERATOR.ledger is not None:
        GENERATOR.ledger.take(msg.node_id, msg.data, now_s=GENERATOR.recorder.now_s())


events.init_command_line_parser.add_listener(add_options)  # type: ignore[no-untyped-call]
events.init.add_listener(prepare)  # type: ignore[no-untyped-call]
events.test_start.add_listener(lambda environment, **_: GENERATOR.begin(environment))  # type: ignore[no-untyped-call]
events.spawning_complete.add_listener(lambda **_: GENERATOR.take_users())  # type: ignore[no-untyped-call]
events.test_stop.add_listener(lambda environment, **_: GENERATOR.end(environment.runner))  # type: ignore[no-untyped-call]
events.quit.add_listener(lambda **_: GENERATOR.finish())  # type: ignore[no-untyped-call]
