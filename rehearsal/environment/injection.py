"""The injector: follows the journal of a run and switches each armed fault on at its clause.

Runs inside the sandbox, beside the run, and ends with the `rehearse` that started it. Invariants: a fault strikes once;
what it did is in `logs/injector.log`; nothing of the run knows of it. Some faults are switches, files in the
environment's `faults/` that the stand-in platform looks at; the others change the real thing: a route, a lock, a
process, a selector, an object.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import functools
import json
import os
import random
import signal
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import rt_type

from rehearsal.environment import faults, layout, objects, tampering
from rehearsal.environment.api import ApiClient
from rehearsal.environment.sitedata import DATABASE, EVIDENCE_BUCKET, LOG_DATABASE, Secrets
from rehearsal.node.catalogue import REPOSITORY
from rehearsal.node.images import remove_tag
from rehearsal.platform.core import keys
from rehearsal.platform.core.migrations import MIGRATION_LOCK_KEY
from rehearsal.platform.core.settings import StoreSettings
from rehearsal.platform.core.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

READY = "injector-ready"
"""File in the environment's folder: what strikes at the start has struck, and the journal is awaited."""
_LOOK_S = 0.03
_SELECTOR_BOUND_S = 120.0
_QUEUED_SCANS = 6
_READ_BY_THE_LOAD = 200
"""The items at the beginning of the history: the load reads them, and must not find out first."""
_LOCAL_TABLE = 255
_FINDINGS_SAID = 20
_SERVICE = f"/api/v1/namespaces/{layout.GREEN_NAMESPACE}/services/stellaops-green"


@dataclass(slots=True, kw_only=True)
class Injector:
    """Strikes the site of one environment."""

    place: layout.Place
    known: Secrets
    held: list[psycopg.Connection[Any]] = field(default_factory=list)
    """Sessions that keep a lock for as long as this process lives."""
    journal: Path | None = None
    """Of the run that is followed, once it has one."""

    def strike(self, fault: faults.Fault) -> None:
        """Switch one fault on, and say so in the log."""
        self.actions()[fault.name]()
        self.say(f"{fault.name} struck at {fault.strikes_at}")

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what each fault does."""
        altering = {fault.name: functools.partial(self._alter, fault) for fault in faults.load() if fault.kind}
        return altering | {
            "image-missing": self._image_missing,
            "crash-loop": lambda: self._switch("crash-loop", colour="green"),
            "init-stuck": self._init_stuck,
            "readiness-fails": lambda: self._switch("readiness-fails", colour="green", after_s=0),
            "database-down": self._database_down,
            "database-lost": lambda: self._kill("postgres", signal.SIGQUIT),
            "selector-wrong": self._selector_wrong,
            "green-errors": lambda: self._switch("green-errors", colour="green", percent=33),
            "green-slow": lambda: self._switch("green-slow", colour="green", ms=2000),
            "queue-stuck": self._queue_stuck,
            "stella-hangs": lambda: self._switch("stella-hangs", command="test smoke"),
            "stella-lies": lambda: self._switch("stella-lies", command="evidence verify-continuity"),
            "prometheus-down": lambda: self._kill("prometheus", signal.SIGKILL),
        }

    @staticmethod
    def say(line: str) -> None:
        """Write one line to the log, with the time."""
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        sys.stdout.write(f"{now} {line}\n")
        sys.stdout.flush()

    def _switch(self, name: str, **parameters: object) -> None:
        fresh = self.place.root / f".switch-{name}"
        fresh.write_text(json.dumps(parameters), encoding="utf-8")
        fresh.replace(self.place.faults / name)

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

    def _selector_wrong(self) -> None:
        threading.Thread(target=self._break_selector, daemon=True).start()

    def _break_selector(self) -> None:
        """Change the selector as soon as the Service is there."""
        change = {"op": "replace", "path": "/spec/selector/app.kubernetes.io~1component", "value": "web-frontend"}
        deadline = time.monotonic() + _SELECTOR_BOUND_S
        with ApiClient(self.place) as api:
            while time.monotonic() < deadline:
                try:
                    api.patch(_SERVICE, [change])
                except httpx.HTTPError:
                    time.sleep(_LOOK_S)
                else:
                    self.say("selector-wrong: the Service's selector is changed")
                    return
        self.say("selector-wrong: the Service did not appear")

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
        status = json.loads(self.place.status.read_text(encoding="utf-8"))
        os.kill(int(status["parts"][part]["pid"]), number)


def journals(record: Path) -> set[Path]:
    """Journals in a record folder or in the folders right below it."""
    return {*record.glob("journal.jsonl"), *record.glob("*/journal.jsonl")}


def fresh_journal(record: Path, before: set[Path]) -> Path:
    """Wait for a run that is not in `before`, and return its journal."""
    while not (fresh := journals(record) - before):
        time.sleep(_LOOK_S)
    return min(fresh)


def clauses_started(journal: Path) -> Iterator[str]:
    """Yield the id of each clause that a run begins, for ever."""
    with journal.open(encoding="utf-8") as file:
        held = ""
        while True:
            held += file.readline()
            if not held.endswith("\n"):
                time.sleep(_LOOK_S)
                continue
            entry, held = json.loads(held), ""
            if entry.get("event") == "clause_started" and entry.get("clause"):
                yield str(entry["clause"])


def inject(injector: Injector, armed: Sequence[faults.Fault], record: Path) -> None:
    """Strike with every armed fault at its time; returns when all have struck."""
    before = journals(record)
    waiting = [fault for fault in armed if fault.strikes_at != faults.START]
    for fault in armed:
        if fault not in waiting:
            injector.strike(fault)
    (injector.place.root / READY).touch()
    if not waiting:
        return
    injector.journal = fresh_journal(record, before)
    for clause in clauses_started(injector.journal):
        for fault in [each for each in waiting if each.strikes_at == clause]:
            injector.strike(fault)
            waiting.remove(fault)
        if not waiting:
            return


def main() -> None:
    """Inject the faults named on the command line, then keep what is held until killed."""
    parser = argparse.ArgumentParser(prog="rehearsal.environment.injection")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--strategy", default="gradual")
    parser.add_argument("--fault", action="append", default=[])
    arguments = parser.parse_args()
    place = layout.Place.at(arguments.state)
    injector = Injector(place=place, known=Secrets.read(place.root))
    inject(injector, faults.named(arguments.fault, arguments.strategy), arguments.record)
    signal.pause()


if __name__ == "__main__":
    main()
