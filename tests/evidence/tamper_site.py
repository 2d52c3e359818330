"""A real site for the tamper suite: PostgreSQL, object store, log and trees as the platform makes them, and no cluster.

Run as the first process of a sandbox: `python -m tests.evidence.tamper_site --state DIR --cases N --seed S`. It brings
database and store up, lets the platform seed a history, takes the baseline, and lets the platform go on: the new leaf
schema, cross-references, later scans. Then case after case: strike, verify with the harness's own drivers and library,
undo. One JSON line a case on standard output; whoever started it judges.

Invariants: nothing here decides whether a case passed; a site is verified untouched before the first case, after every
so many, and after the last.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import itertools
import json
import os
import random
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import psycopg

from cutover.evidence import diff, snapshot, trust, verify
from cutover.site.contents import Contents
from cutover.site.database import Database
from cutover.site.store import Store as Reader
from rehearsal.environment import faults, layout, objects, parts, seeding, sitedata, tampering
from rehearsal.environment.supervisor import Supervisor, make_mounts, make_network
from rehearsal.platform.app.evidence import EvidenceTree
from rehearsal.platform.app.log import TransparencyLog
from rehearsal.platform.core import keys, makers, migrations
from rehearsal.platform.core.settings import StoreSettings
from rehearsal.platform.core.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.evidence.verify import Report
    from rehearsal.environment.tampering import Struck

SCANS_BEFORE = 25
SCANS_AFTER = 2
BASELINE = 4 * SCANS_BEFORE
UNTOUCHED_EVERY = 25
NEW_SCHEMA = 2
_START = dt.datetime(2027, 4, 1, 8, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One case as it is written out: what was done, what must be found, what was; `kind` is empty for no case at all.

    Findings are `GUARANTEE code item`; `balance` is `WHAT id` of what is not unchanged, items since the baseline left
    aside.
    """

    case: int
    kind: str
    layer: str
    expected: list[str]
    expected_balance: list[str]
    found: list[str]
    balance: list[str]
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The site as the suite works with it: where it lies, how the harness reads it, how it is altered."""

    folder: Path
    database: Database
    log: Database
    contents: Contents
    trust: Path
    site: tampering.Site

    def take(self, name: str) -> Path:
        """Take a snapshot with the harness's own drivers."""
        snapshot.take(
            self.database, self.contents, self.folder / name, trust=trust.load(self.trust), log=self.log, readers=4
        )
        return self.folder / name

    def verify(self) -> Report:
        """Take the later snapshot and verify the five guarantees against the baseline."""
        return verify.five_guarantees(
            self.folder / "before",
            self.take("after"),
            trust=trust.load(self.trust),
            tree_source=self.database,
            log_source=self.log,
            new_schema=NEW_SCHEMA,
        )

    def examine(self) -> tuple[list[str], list[str]]:
        """Return what verification finds, and what the balance names, of the site as it is."""
        shutil.rmtree(self.folder / "after", ignore_errors=True)
        report = self.verify()
        found = sorted(
            {
                f"{guarantee.clause} {finding.code} {finding.item}"
                for guarantee in report.guarantees
                for finding in guarantee.findings
            }
        )
        if report.holds != (not found):
            found.append("a guarantee breaks without a finding")
        watermark = snapshot.load(self.folder / "before").manifest.watermark.last_id or ""
        balance = sorted(
            f"{'unaccounted' if change.what == 'added' else change.what} {change.id}"
            for change in diff.changes(self.folder / "before", self.folder / "after")
            if change.what != "added" or change.id <= watermark
        )
        return found, balance


async def perform(place: layout.Place, programs: dict[str, str], cases: int, seed: int) -> None:
    """Bring the site up, tell every case, and end the servers in order."""
    scene = parts.Scene(
        place=place,
        tools=parts.Tools(programs=programs),
        uid_is_root=os.getuid() == 0,
        user_namespaces=bool(os.environ.get("TAMPER_USER_NAMESPACES")),
    )
    started, jobs = seeding.contents(scene)
    supervisor = Supervisor(place=place, parts=started, jobs=jobs)
    await supervisor.bring_up()
    known = sitedata.Secrets.read(place.root)
    await asyncio.to_thread(trust_everybody, place, known)
    settings = StoreSettings(
        endpoint=objects.ENDPOINT,
        bucket=sitedata.EVIDENCE_BUCKET,
        access_key=known.access_key,
        secret_key=known.secret_key,
    )
    seeded = place.root / "seed"
    with (
        psycopg.connect(known.dsn(sitedata.DATABASE), autocommit=True) as database,
        psycopg.connect(known.dsn(sitedata.LOG_DATABASE), autocommit=True) as log,
        Store(settings) as store,
    ):
        site = tampering.Site(
            database=database,
            log=log,
            store=store,
            trust=seeded / "trust.json",
            signing_key=keys.load_signing_key((seeded / "signing-key.pem").read_text()),
            log_key=keys.load_log_key((seeded / "log-signing-key.pem").read_text()),
            baseline=BASELINE,
        )
        reader = Reader(
            endpoint=settings.endpoint,
            bucket=settings.bucket,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
        )
        bench = Bench(
            folder=place.root / "evidence",
            database=Database(known.dsn(sitedata.DATABASE)),
            log=Database(known.dsn(sitedata.LOG_DATABASE), label="transparency log"),
            contents=Contents(reader),
            trust=site.trust,
            site=site,
        )
        bench.take("before")
        await go_on(site, known)
        await asyncio.to_thread(tell, bench, cases, seed)
    await supervisor.stop()


def trust_everybody(place: layout.Place, known: sitedata.Secrets) -> None:
    """Ask for no password any more: proving one takes longer than most of the questions of a case."""
    (place.data("postgres") / "pg_hba.conf").write_text("host all all 10.0.0.0/8 trust\n", encoding="ascii")
    with psycopg.connect(known.dsn("postgres", admin=True), autocommit=True) as connection:
        connection.execute("select pg_reload_conf()")


async def go_on(site: tampering.Site, known: sitedata.Secrets) -> None:
    """Let the platform live on as during an upgrade: category A, the tree of the new schema, later scans."""
    await asyncio.to_thread(migrations.run, site.database, "2027.Q2", "A")
    tree = EvidenceTree(site.signing_key)
    async with asyncpg.create_pool(known.dsn(sitedata.LOG_DATABASE), min_size=1, max_size=1) as pool:
        entries = TransparencyLog(pool, sitedata.LOG_ORIGIN)
        connection = await asyncpg.connect(known.dsn(sitedata.DATABASE))
        try:
            await tree.derive(connection, _START)
            for number in range(SCANS_AFTER):
                now = _START + dt.timedelta(seconds=1 + number)
                scan = makers.Scan(
                    id=f"scan-later-{number}", image=f"registry.stella.test/later/{number}:1", created=now
                )
                await connection.execute(
                    "INSERT INTO scans (id, image, status, created) VALUES ($1, $2, 'running', $3)",
                    scan.id,
                    scan.image,
                    now,
                )
                items = makers.make_evidence(scan, site.signing_key)
                for item in items:
                    await asyncio.to_thread(site.store.put, item.object_key, item.content, item.media_type)
                logged = await entries.append(items, site.log_key, now)
                await tree.record(connection, scan, logged, now)
                await tree.derive(connection, now)
        finally:
            await connection.close()


def tell(bench: Bench, cases: int, seed: int) -> None:
    """Write every case, and the untouched site in between."""
    kinds = itertools.cycle(tampering.deeds())
    say(untouched(bench, 0))
    for case in range(1, cases + 1):
        say(attempt(bench, case, next(kinds), seed))
        if case % UNTOUCHED_EVERY == 0 or case == cases:
            say(untouched(bench, case))


def untouched(bench: Bench, case: int) -> Told:
    """Verify the site as it is."""
    began = time.monotonic()
    found, balance = bench.examine()
    return Told(
        case=case,
        kind="",
        layer="",
        expected=[],
        expected_balance=[],
        found=found,
        balance=balance,
        took_s=round(time.monotonic() - began, 3),
    )


def attempt(bench: Bench, case: int, kind: str, seed: int) -> Told:
    """Strike once, verify, undo."""
    began = time.monotonic()
    struck = tampering.strike(kind, bench.site, random.Random(f"{seed} {case}"))  # noqa: S311 - cases, not secrets
    with contextlib.closing(_undone(struck)) as held:
        next(held)
        found, balance = bench.examine()
    return Told(
        case=case,
        kind=kind,
        layer=struck.layer,
        expected=sorted(map(str, struck.findings)),
        expected_balance=expected_balance(struck),
        found=found,
        balance=balance,
        took_s=round(time.monotonic() - began, 3),
    )


def _undone(struck: Struck) -> Iterator[None]:
    try:
        yield
    finally:
        struck.undo()


def expected_balance(struck: Struck) -> list[str]:
    """Return what the balance must name: the altered items, each with what becomes of them."""
    what = faults.alterations()[struck.kind].balance
    return sorted(f"{what} {item}" for item in struck.names.get("item", ())) if what != "unchanged" else []


def say(told: Told) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(asdict(told)) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Make the sandbox's network and names, then perform."""
    parser = argparse.ArgumentParser(prog="tests.evidence.tamper_site")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    place = layout.Place.at(arguments.state)
    programs = json.loads((place.root / "programs.json").read_text())
    make_network()
    make_mounts(place)
    os.environ["PATH"] = parts.path_variable(place)
    asyncio.run(perform(place, programs, arguments.cases, arguments.seed))


if __name__ == "__main__":
    main()
