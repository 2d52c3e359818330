"""What each fault does to the site: the deeds of the injector.

Runs inside the sandbox. Some faults are switches, files in the environment's `faults/` that the stand-in platform
looks at; the others change the real thing: a route, a lock, a process, a selector, an object, a scrape.
Invariants: a deed returns at once, what it does later it does in a thread of its own; what a deed would put right by
itself, as a Deployment restarts a process, it puts right.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import yaml
from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import rt_type

from rehearsal.environment import faults, layout, meddling, objects, tampering
from rehearsal.environment.api import ApiClient
from rehearsal.environment.sitedata import DATABASE, EVIDENCE_BUCKET, LOG_DATABASE, Secrets
from rehearsal.node.catalogue import REPOSITORY
from rehearsal.node.images import remove_tag
from rehearsal.platform.core import keys
from rehearsal.platform.core.migrations import MIGRATION_LOCK_KEY
from rehearsal.platform.core.settings import StoreSettings
from rehearsal.platform.core.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_LOOK_S = 0.03
_SELECTOR_BOUND_S = 120.0
_QUEUED_SCANS = 6
_READ_BY_THE_LOAD = 200
"""The items at the beginning of the history: the load reads them, and must not find out first."""
_LOCAL_TABLE = 255
_FINDINGS_SAID = 20
_INGRESS_AWAY_S = 3.0
"""So long a Deployment takes to start a controller that was killed."""
_OTHERS_PER_S = 40.0
_ELSEWHERE = "/api/v1/log/checkpoint"
"""A route that the load does not use, and other users do."""
_SLOWER_MS = 600.0
_GREEN = f"/api/v1/namespaces/{layout.GREEN_NAMESPACE}/services/stellaops-green"
_GREEN_WEB = f"/apis/apps/v1/namespaces/{layout.GREEN_NAMESPACE}/deployments/stellaops-green-web"


@dataclass(slots=True, kw_only=True)
class Injector:
    """Strikes the site of one environment."""

    place: layout.Place
    known: Secrets
    held: list[psycopg.Connection[Any]] = field(default_factory=list)
    """Sessions that keep a lock for as long as this process lives."""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """What it has started in the place of something killed; it outlives this process."""
    journal: Path | None = None
    """Of the run that is followed, once it has one."""

    def strike(self, fault: faults.Fault) -> None:
        """Switch one fault on, and say so in the log."""
        self.actions()[fault.base](fault)
        self.say(f"{fault.name} struck at {fault.strikes_at}")

    def actions(self) -> Mapping[str, Callable[[faults.Fault], object]]:
        """Return what each fault does, by its name without a number."""
        altering = {fault.name: self._alter for fault in faults.load() if fault.kind}
        return altering | {
            "image-missing": lambda _: self._image_missing(),
            "crash-loop": lambda _: self._crash(),
            "init-stuck": lambda _: self._init_stuck(),
            "readiness-fails": lambda _: self._switch("readiness-fails", after_s=0),
            "database-down": lambda _: self._database_down(),
            "database-lost": lambda _: self._kill("postgres", signal.SIGQUIT),
            "selector-wrong": lambda _: self._later(self._break_selector),
            "selector-wrong-late": lambda _: self._break_selector(),
            "green-errors": lambda fault: self._switch("green-errors", percent=fault.value),
            "green-errors-elsewhere": self._errors_elsewhere,
            "green-errors-few": self._errors_elsewhere,
            "green-slow": lambda fault: self._switch("green-slow", ms=fault.value),
            "green-slow-p99-only": lambda fault: self._switch("green-slow", ms=_SLOWER_MS, percent=fault.value),
            "attestations-fail": lambda fault: self._switch("attestations-fail", percent=fault.value),
            "attestations-fail-some": lambda fault: self._switch("attestations-fail", percent=fault.value),
            "evidence-stalls": lambda _: self._switch("evidence-stalls"),
            "evidence-stalls-partly": lambda _: self._switch("evidence-stalls"),
            "metric-missing": lambda _: self._drop_metric("attestation_attempts_total"),
            "metric-nan": lambda _: self._switch("metric-nan", metric="http_request_duration_seconds"),
            "metric-stale": lambda _: self._switch("metric-stale", metric="http_requests_total"),
            "low-traffic": lambda _: None,
            "load-dead": lambda _: self._signal(_load(), signal.SIGKILL),
            "load-stalls": lambda _: self._signal(_load(), signal.SIGSTOP),
            "server-freezes": self._freeze,
            "canary-edited": lambda _: meddling.edit_route(self.place),
            "route-shadowed": lambda _: meddling.shadow_route(self.place),
            "sticky-sessions": lambda _: meddling.stick_sessions(self.place),
            "green-empty": lambda _: self._patch(_GREEN_WEB, {"op": "replace", "path": "/spec/replicas", "value": 0}),
            "ingress-down": lambda _: self._restart("ingress", _INGRESS_AWAY_S),
            "writes-lost": lambda fault: self._switch("writes-lost", percent=fault.value),
            "queue-stuck": lambda _: self._queue_stuck(),
            "stella-hangs": lambda fault: self._switch("stella-hangs", command=fault.command),
            "stella-lies": lambda fault: self._switch("stella-lies", command=fault.command),
            "prometheus-down": lambda _: self._kill("prometheus", signal.SIGKILL),
        }

    @staticmethod
    def say(line: str) -> None:
        """Write one line to the log, with the time."""
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        sys.stdout.write(f"{now} {line}\n")
        sys.stdout.flush()

    def _switch(self, name: str, *, colour: str = "green", **parameters: object) -> None:
        parameters |= {"colour": colour}
        fresh = self.place.root / f".switch-{name}"
        fresh.write_text(json.dumps(parameters), encoding="utf-8")
        fresh.replace(self.place.faults / name)

    def _crash(self) -> None:
        """Let green's web process end each time it starts; those that run end now."""
        self._switch("crash-loop")
        for pid in _processes("rehearsal.platform.app web", STELLA_COLOUR="green"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _image_missing(self) -> None:
        if not remove_tag(self.place.images, f"{REPOSITORY}:{layout.RELEASE_TO}"):
            raise LookupError(f"the registry had no {layout.RELEASE_TO}")

    def _init_stuck(self) -> None:
        connection = psycopg.connect(self.known.dsn(DATABASE), autocommit=True, application_name="another migration")
        connection.execute("select pg_advisory_lock(%s)", (MIGRATION_LOCK_KEY,))
        self.held.append(connection)

    def _database_down(self) -> None:
        """Cut green's address off: new connections are refused, open ones ended, then the address is unreachable.

        A connection to a local address comes from that same address, so PostgreSQL can tell green's path by the client.
        """
        rules = self.place.data("postgres") / "pg_hba.conf"
        text = rules.read_text(encoding="ascii")
        rules.write_text(f"host all all {layout.POSTGRES_GREEN}/32 reject\n{text}", encoding="ascii")
        with psycopg.connect(self.known.dsn("postgres", admin=True), autocommit=True) as connection:
            connection.execute("select pg_reload_conf()")
            ending = "select count(pg_terminate_backend(pid)) from pg_stat_activity where client_addr = %s"
            for _ in range(10):  # those that were being opened meanwhile too
                connection.execute(ending, (layout.POSTGRES_GREEN,))
                time.sleep(0.02)
        with IPRoute() as route:
            route.route("add", dst=f"{layout.POSTGRES_GREEN}/32", table=_LOCAL_TABLE, type=rt_type["unreachable"])

    def _break_selector(self) -> None:
        """Change the selector as soon as the Service is there."""
        change = {"op": "replace", "path": "/spec/selector/app.kubernetes.io~1component", "value": "web-frontend"}
        deadline = time.monotonic() + _SELECTOR_BOUND_S
        with ApiClient(self.place) as api:
            while time.monotonic() < deadline:
                try:
                    api.patch(_GREEN, [change])
                except httpx.HTTPError:
                    time.sleep(_LOOK_S)
                else:
                    self.say("the selector of green's Service is changed")
                    return
        self.say("the Service of green did not appear")

    def _queue_stuck(self) -> None:
        self._switch("queue-stuck", colour="blue")
        time.sleep(1)  # the worker looks at its switches twice a second
        for number in range(_QUEUED_SCANS):
            body = json.dumps({"image": f"registry.stella.test/stuck/service-{number}:1.0"}).encode()
            request = urllib.request.Request(
                f"http://{layout.PUBLIC_HOST}/api/v1/scans", data=body, headers={"content-type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                answer.read()

    def _alter(self, fault: faults.Fault) -> None:
        """Alter evidence of the sealed baseline; the victims follow from the kind alone."""
        place, known = self.place, self.known
        settings = StoreSettings(
            endpoint=objects.ENDPOINT,
            bucket=EVIDENCE_BUCKET,
            access_key=known.access_key,
            secret_key=known.secret_key,
        )
        with (
            psycopg.connect(known.dsn(DATABASE), autocommit=True) as database,
            psycopg.connect(known.dsn(LOG_DATABASE), autocommit=True) as log,
            Store(settings) as store,
        ):
            site = tampering.Site(
                database=database,
                log=log,
                store=store,
                trust=place.root / "trust.json",
                signing_key=keys.load_signing_key((place.root / "signing-key.pem").read_text(encoding="utf-8")),
                log_key=keys.load_log_key((place.root / "log-signing-key.pem").read_text(encoding="utf-8")),
                baseline=self._sealed_items(),
                first=_READ_BY_THE_LOAD,
            )
            struck = tampering.strike(fault.kind, site, random.Random(fault.kind))  # noqa: S311 - the same each time
        for finding in struck.findings[:_FINDINGS_SAID]:
            self.say(f"{fault.name} {faults.MUST_LEAD_TO} {finding}")

    def _sealed_items(self) -> int:
        """Return how many items the run's baseline has. Raises: LookupError before it is sealed."""
        for line in self.journal.read_text(encoding="utf-8").splitlines() if self.journal else ():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if entry.get("event") == "fact" and entry["data"]["name"] == "baseline":
                    return int(entry["data"]["facts"]["items"])
        raise LookupError("the run has no baseline yet: nothing can be altered after it")

    def _kill(self, part: str, number: signal.Signals) -> None:
        os.kill(self._pid(part), number)

    def _pid(self, part: str) -> int:
        status = json.loads(self.place.status.read_text(encoding="utf-8"))
        return int(status["parts"][part]["pid"])

    def _signal(self, processes: Iterator[int], number: signal.Signals) -> list[int]:
        """Send a signal to each process, and return which they were. Raises: LookupError when there is none."""
        found = list(processes)
        if not found:
            raise LookupError("there is no such process")
        for pid in found:
            os.kill(pid, number)
        return found

    @staticmethod
    def _later(deed: Callable[[], object], after_s: float = 0.0) -> None:
        def act() -> None:
            time.sleep(after_s)
            deed()

        threading.Thread(target=act, daemon=True).start()

    def _freeze(self, fault: faults.Fault) -> None:
        """Stop green's web processes, as a long pause of a machine would, and let them go on after some seconds."""
        frozen = self._signal(_processes("rehearsal.platform.app web", STELLA_COLOUR="green"), signal.SIGSTOP)

        def thaw() -> None:
            for pid in frozen:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self.say(f"{len(frozen)} processes of green go on after {fault.value:g} s")

        self._later(thaw, fault.value)

    def _restart(self, part: str, after_s: float) -> None:
        """Kill a part, and start the very same command again after some seconds, as its Deployment would."""
        pid = self._pid(part)
        process = Path(f"/proc/{pid}")
        argv = process.joinpath("cmdline").read_bytes().split(b"\0")[:-1]
        environment = dict(
            entry.split(b"=", 1) for entry in process.joinpath("environ").read_bytes().split(b"\0") if b"=" in entry
        )
        folder = process.joinpath("cwd").readlink()
        os.kill(pid, signal.SIGKILL)

        def start() -> None:
            with self.place.logs(part).open("ab") as log:
                again = subprocess.Popen(
                    argv,
                    env=environment,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self.started.append(again)
            self.say(f"{part} starts again as process {again.pid}")

        self._later(start, after_s)

    def _errors_elsewhere(self, fault: faults.Fault) -> None:
        """Let green fail a route that the load does not use, and let other users use it from now on."""
        self._switch("green-errors", percent=fault.value, path=_ELSEWHERE)
        self._later(self._use_elsewhere)

    def _use_elsewhere(self) -> None:
        began = time.monotonic()
        with httpx.Client(base_url=f"http://{layout.PUBLIC_HOST}", timeout=2, trust_env=False) as users:
            for number in range(sys.maxsize):
                time.sleep(max(0.0, began + number / _OTHERS_PER_S - time.monotonic()))
                with contextlib.suppress(httpx.HTTPError):
                    users.get(_ELSEWHERE)

    def _drop_metric(self, metric: str) -> None:
        """Let Prometheus drop a metric of green at the scrape, and read its configuration again."""
        path = self.place.root / "prometheus.yml"
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        rule = {
            "source_labels": ["namespace", "__name__"],
            "separator": ";",
            "regex": f"{layout.GREEN_NAMESPACE};{metric}",
            "action": "drop",
        }
        for job in document["scrape_configs"]:
            job.setdefault("metric_relabel_configs", []).append(rule)
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        self._kill("prometheus", signal.SIGHUP)

    def _patch(self, path: str, *operations: dict[str, Any]) -> None:
        with ApiClient(self.place) as api:
            api.patch(path, list(operations))


def _load() -> Iterator[int]:
    """Yield the processes of the load generator."""
    return _processes("locust")


def _processes(words: str, **environment: str) -> Iterator[int]:
    """Yield the processes of the sandbox whose command line holds `words` and whose environment is so."""
    wanted = {f"{name}={value}".encode() for name, value in environment.items()}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if words in command and wanted <= set((entry / "environ").read_bytes().split(b"\0")):
                yield int(entry.name)
