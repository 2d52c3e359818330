"""A site on a real PostgreSQL, written by the platform's own code: an upgrade of it, contracted and taken back."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import asyncpg
import psycopg
import pyrage

from cutover import project
from cutover.errors import ClauseFailed
from cutover.redaction import Redactor
from cutover.runbook.journal import Journal
from cutover.runbook.ports import Served
from cutover.runbook.upgrade import Upgrade
from cutover.site.database import Database
from cutover.site.operator import Operator
from rehearsal.platform.app import seed
from rehearsal.platform.app.evidence import EvidenceTree
from rehearsal.platform.app.log import TransparencyLog
from rehearsal.platform.core import keys, makers, migrations
from tests.runbook.planned_site import PlannedSite

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.site import Site
    from tests.site.postgres_world import PostgresServer

KEY, LOG_KEY = keys.derived_signing_key(1), keys.derived_log_key(1)
ORIGIN = "log.stella.test"
SEEDED_SCANS = 4
APPROVER = "B. Person"
MIGRATIONS = project.ROOT / "rehearsal" / "platform" / "core" / "sql"
APP, LOG = "stellaops", "stella_log"
CONTRACT = "0102_contract_leaf_v1"


class Stella:
    """The platform's command, as far as migrations go: the same code, without the cluster that it finds its DSN in."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.refusals = 0

    def call(self, *words: str, namespace: str) -> dict[str, Any]:
        """Answer as the command does."""
        assert namespace == "stellaops-green"
        with psycopg.connect(self._dsn) as connection:
            if words == ("system", "migrations-status"):
                states = migrations.status(connection, "2027.Q2")
                listed = [
                    {
                        "id": state.migration.id,
                        "category": state.migration.category,
                        "release": state.migration.release,
                        "state": "pending" if state.applied_at is None else "applied",
                    }
                    for state in states
                ]
                return {"ok": True, "migrations": listed}
            assert words == ("system", "migrations-run", "--category", "B")
            try:
                done, _ = migrations.run(connection, "2027.Q2", "B")
            except migrations.MigrationError as error:
                self.refusals += 1
                raise ClauseFailed(str(error), code="stella-not-ok") from error
            return {"ok": True, "applied": [migration.id for migration in done]}


class World:
    """The site, its upgrade, and what happens on it."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        """Seed the databases with a history of the first release; the record is in `folder`."""
        self.server = server
        server.create(APP, LOG)
        self.planned = PlannedSite(folder=folder)
        self.planned.approvers(APPROVER)
        self.upgrade = self._upgrade(folder)
        self.stella = Stella(server.dsn(APP))
        self.pods: list[Any] = []
        self.served = Served(total=100, by_colour={"green": 100}, failed=0, pods={}, problems=())
        journal = self.upgrade.journal
        self.site = cast(
            "Site",
            SimpleNamespace(
                target=self.upgrade.target,
                journal=journal,
                database=Database(server.dsn(APP), admin_dsn=server.admin_dsn()),
                log=Database(server.dsn(LOG)),
                operator=Operator(
                    "local://",
                    path=[str(server.programs)],
                    redactor=Redactor(),
                    folder=self.upgrade.folder / "artifacts",
                    journal=journal,
                ),
                stella=self.stella,
                cluster=SimpleNamespace(pods=lambda *_, **__: tuple(self.pods)),
                routing=SimpleNamespace(who_serves=lambda _requests: self.served),
            ),
        )
        self._seed()

    def close(self) -> None:
        """Drop everything."""
        self.site.operator.close()
        self.upgrade.journal.close()
        with psycopg.connect(self.server.admin_dsn(), autocommit=True) as connection:
            for name in self.server.databases():
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())

    def _upgrade(self, folder: Path) -> Upgrade:
        record = folder / "record"
        record.mkdir()
        identity = pyrage.x25519.Identity.generate()
        (folder / "backup.agekey").write_text(f"{identity}\n", "utf-8")
        document = self.planned.plan().document()
        (record / "plan.json").write_text(json.dumps(document), "utf-8")
        target, server = self.planned.target(), self.server
        target = dataclasses.replace(
            target,
            database=dataclasses.replace(
                target.database,
                dsn=server.dsn(APP),
                log_dsn=server.dsn(LOG),
                admin_dsn=server.admin_dsn(),
                migrations=MIGRATIONS,
            ),
            backup=dataclasses.replace(
                target.backup,
                age_recipient=str(identity.to_public()),
                age_identity_file=folder / "backup.agekey",
            ),
        )
        journal = Journal(record / "journal.jsonl")
        journal.write("plan", digest=document["digest"])
        policy = self.planned.policy()
        limits = dataclasses.replace(policy.limits, ready_s=20.0)
        policy = dataclasses.replace(policy, limits=limits)
        return Upgrade(
            id="2026-11-23-0412",
            folder=record,
            target=target,
            policy=policy,
            journal=journal,
            strategy=policy.strategy,
        )

    def _seed(self) -> None:
        rows = [row for n in range(SEEDED_SCANS) for row, _ in seed.make_scan(n, seed.History(scans=SEEDED_SCANS))]
        with psycopg.connect(self.server.dsn(APP)) as database, psycopg.connect(self.server.dsn(LOG)) as log:
            migrations.run(database, "2027.Q1", "A")
            migrations.prepare_log(log)
            seed.write_log(log, rows, origin=ORIGIN, seed=1)
            seed.write_evidence(database, rows, seed=1)

    # -- what happens --------------------------------------------------------------------------------------------------

    def allow(self, *covers: str, meaning: str = "go") -> None:
        """Have points of no return approved by a person."""
        document = json.loads((self.upgrade.folder / "plan.json").read_text("utf-8"))
        self.planned.approve(APPROVER, covers=covers, meaning=meaning, plan=document, at=dt.datetime.now(dt.UTC))

    def migrate(self, category: str, *, release: str = "2027.Q2") -> None:
        """Run a release's migrations, by another hand than the harness's."""
        with psycopg.connect(self.server.dsn(APP)) as database:
            migrations.run(database, release, category)

    def work(self, *scans: str) -> None:
        """Let a worker make evidence."""
        asyncio.run(self._work(scans))

    async def _work(self, scans: tuple[str, ...]) -> None:
        async with (
            asyncpg.create_pool(self.server.dsn(APP)) as database,
            asyncpg.create_pool(self.server.dsn(LOG)) as log,
        ):
            for name in scans:
                now = dt.datetime.now(dt.UTC)
                scan = makers.Scan(id=name, image="registry.stella.test/team/app:1.0", created=now)
                await database.execute("INSERT INTO scans VALUES ($1, $2, 'queued', $3)", scan.id, scan.image, now)
                logged = await TransparencyLog(log, ORIGIN).append(makers.make_evidence(scan, KEY), LOG_KEY, now)
                async with database.acquire() as connection:
                    assert await EvidenceTree(KEY).record(connection, scan, logged, now)

    def derive(self) -> None:
        """Let green bring the second tree to the newest size and bind it to the first."""

        async def once() -> None:
            async with asyncpg.create_pool(self.server.dsn(APP)) as pool, pool.acquire() as connection:
                await EvidenceTree(KEY).derive(connection, dt.datetime.now(dt.UTC))

        asyncio.run(once())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the live database."""
        with psycopg.connect(self.server.dsn(APP)) as connection:
            return connection.execute(query.encode()).fetchall()
