"""One record as a finished run leaves it: small, complete, and by the live code wherever that can run without a site.

The journal, gates, evidence, approval and verdict are what the engine itself makes of a site in memory; reports are
short stand-ins but for the PDF, which is signed as a record's is.
"""

from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from reportlab.pdfgen.canvas import Canvas

from cutover import project
from cutover.clock import ManualClock
from cutover.evidence import bundle, signing, snapshot, trust
from cutover.policy import Policy
from cutover.record import pades, seal, signer
from cutover.runbook import approval, gates, plan, verdict
from cutover.runbook.catalogue import load_clauses
from cutover.runbook.journal import Journal
from cutover.runbook.upgrade import Upgrade
from cutover.target import Approvals, Approver, Target
from tests.evidence.world import TRUST
from tests.gates.quiet_site import GOOD_COUNTS, GOOD_VALUES, POLICY, SECRETS, FakeLoad, FakePrometheus, FakeSite
from tests.reports import evidence_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from cutover.record.keys import SigningKey
    from cutover.record.seal import Seal

ID = "2026-11-23-0412"
IMAGE = "sha256:" + "c1" * 32
PERSON = "B. Person"
AT = datetime(2026, 11, 23, 4, 40, tzinfo=UTC)
GATES_AT = "3.1a"
FAILS_AT = "2.1b"


class WholeRecord:
    """Writes one record, attempt by attempt."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in SECRETS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(os, "fsync", lambda _: None)
        folder.mkdir(parents=True)
        self.folder = folder
        self.clock = ManualClock(datetime(2026, 11, 23, 4, 12, 7, tzinfo=UTC))
        self.target = Target.load(project.CONTRACT / "examples" / "target.toml")
        (folder / "policy.toml").write_text(POLICY, "utf-8")
        (folder / "target.redacted.toml").write_text(self.target.redacted_toml(), "utf-8")
        self.policy = Policy.read(folder / "policy.toml")
        self.catalogue = load_clauses()
        self.journal = Journal(folder / "journal.jsonl", clock=self.clock)
        self.attempt = 1

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the record."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    # -- an attempt ----------------------------------------------------------------------------------------------------

    def run(self, *, fails_at: str = "") -> None:
        """Write a whole run; fails_at: the clause that fails, after which nothing is performed."""
        self.journal.write(
            "run_started",
            upgrade_id=ID,
            target={"name": "staging-eu", "kind": "staging", "notice": "", "file": "target.toml"},
            **{"from": "2027.Q1", "to": "2027.Q2"},
            strategy="gradual",
            scope="all",
            operator="ci@runner",
            versions={"cutover": "0.1.0"},
            policy_sha256=self.policy.sha256,
            target_sha256=self.target.sha256,
            approval={"requested_by": "A. Person", "approved_by": PERSON, "signed": True, "needed": True, "minimum": 1},
            max_failed=0,
            record=ID,
        )
        self._plan()
        self._perform(fails_at)
        self.finish()

    def resume(self, *, procedure: str = "observe", finishes: bool = True) -> None:
        """Go on with the record in another process."""
        self.journal = Journal(self.folder / "journal.jsonl", clock=self.clock)
        self.clock.advance(3600)
        self.attempt += 1
        self.journal.write(
            "run_resumed", procedure=procedure, attempt=self.attempt, scope="all", operator="ci@runner", versions={}
        )
        if finishes:
            self.finish()

    def finish(self) -> None:
        """Compute the verdict, write it and close the journal, as a run does."""
        judged = verdict.compute(self.journal.entries(), self.catalogue)
        self.journal.write(
            "run_finished", result=judged.outcome, exit_code=int(judged.exit_code), reasons=list(judged.reasons)
        )
        document = judged.document(entries=len(self.journal), journal_head=self.journal.head)
        verdict.write(document, self.folder / "verdict.json")
        self.journal.close()
        self.write("junit.xml", "<testsuites/>\n")
        self.write("allure-results/environment.properties", "site=staging-eu\n")

    def _plan(self) -> None:
        document: dict[str, Any] = {
            "schema": plan.SCHEMA,
            "target": {"name": "staging-eu", "sha256": self.target.sha256},
            "policy": {"sha256": self.policy.sha256},
            "upgrade": {"from": "2027.Q1", "to": "2027.Q2"},
            "strategy": "gradual",
            "scope": "all",
            "points_of_no_return": ["5.2a"],
            "clauses": [
                {
                    "id": clause.id,
                    "title": clause.title,
                    "risk": clause.risk.value,
                    "scenarios": [f"{clause.title}, performed"],
                    "not_run": None if self._is_planned(clause.id) else "not in this plan",
                }
                for clause in self.catalogue
            ],
        }
        document["digest"] = plan.digest_of(document)
        self.write("plan.json", json.dumps(document, indent=2) + "\n")
        self.journal.write("plan", digest=document["digest"], clauses=[])
        self._approve(document)

    def _approve(self, document: dict[str, Any]) -> None:
        key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        people = [{"name": PERSON, "key": pem.decode()}]
        said = approval.statement(
            document, name=PERSON, account="b@desk", meaning="go", at=self.clock.now(), covers=["all"]
        )
        content = signing.sign(bundle.IN_TOTO, said, key)
        approver = Approver(name=PERSON, key=people[0]["key"], identity="", issuer="", accounts=())
        held = Approvals(folder=self.folder, trusted_root=None, approvers=(approver,))
        signed = approval.verify(content, held, file="approval")
        self.write("approvals/approvers.json", json.dumps(people))
        self.write(f"approvals/{approval.file_name(signed)}", content)
        self.journal.write("approval", **signed.facts())

    def _is_planned(self, clause_id: str) -> bool:
        clause = self.catalogue[clause_id]
        return clause.built and not clause.drill and clause.stage is not None

    def _perform(self, fails_at: str) -> None:
        halted = ""
        for clause in self.catalogue:
            title = f"{clause.title}, performed"
            if halted or not self._is_planned(clause.id):
                kind, reason = ("not-reached", halted) if halted else ("not-needed", "not in this plan")
                self.journal.write(
                    "clause_finished", clause=clause.id, scenario="", result="NOT_RUN", kind=kind, reason=reason
                )
                continue
            self.journal.clause = clause.id
            self.journal.write("clause_started", scenario=title, title=clause.title)
            self.clock.advance(1)
            doing = _DOING.get(clause.id)
            if doing is not None:
                doing(self)
            failed = {"result": "FAIL", "reason": "its pods do not become ready", "exit_code": 1}
            came_to = failed if clause.id == fails_at else {"result": "PASS", "reason": ""}
            self.journal.write("clause_finished", scenario=title, **came_to)
            self.journal.clause = None
            halted = f"not reached: {clause.id} failed" if clause.id == fails_at else ""

    # -- what clauses do -----------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Green is installed, and its images are looked at."""
        running = {"web": [IMAGE], "worker": [IMAGE]}
        self.journal.write("observation", what="images", running=running, wanted=[IMAGE])
        self.write("artifacts/commands/001-helm-upgrade.txt", "$ helm upgrade stellaops-green\nexit code 0\n")

    def baseline(self) -> None:
        """Take the first snapshot; the second one is made with it, as both come from one site in memory."""
        evidence_folder.write(self.folder / "evidence", *evidence_folder.sites())
        (self.folder / trust.IN_RECORD).write_bytes(TRUST.raw)
        self._seal_snapshot("baseline", "before")

    def compare(self) -> None:
        """Take the second snapshot, and draw the balance."""
        self._seal_snapshot("second-snapshot", "after")
        found = json.loads((self.folder / "evidence" / "diff.json").read_bytes())
        self.journal.write("evidence", **{k: found[k] for k in ("before", "after", "missing", "changed", "added")})

    def _seal_snapshot(self, name: str, place: str) -> None:
        manifest = snapshot.load(self.folder / "evidence" / place).manifest
        facts = {"folder": f"evidence/{place}", "digest": manifest.digest, "items": manifest.items}
        self.journal.write("fact", name=name, facts=facts)

    def shift(self) -> None:
        """Two weights under load, each with its gates."""
        load = FakeLoad(clock=self.clock)
        site = FakeSite(prometheus=FakePrometheus(values=dict(GOOD_VALUES), counts=dict(GOOD_COUNTS)))
        upgrade = Upgrade(
            id=ID,
            folder=self.folder,
            target=self.target,
            policy=self.policy,
            journal=self.journal,
            strategy=self.policy.strategy,
        )
        for percent in (10, 100):
            load.share = percent / 100
            gates.bake(upgrade, site, load, percent=percent)  # type: ignore[arg-type]  # a site in memory
        self.journal.write(
            "load_finished", planned=1000, attempted=1000, failed=0, by_colour={"blue": 400, "green": 600}
        )
        self.journal.write("markers", compared=1, acknowledged=100, missing=0, repeated=0)
        self.write("load/summary.json", '{"attempted": 1000}\n')

    # -- sealing -------------------------------------------------------------------------------------------------------

    def seal(self, key: SigningKey | None, *, at: datetime = AT) -> Seal:
        """Seal the record as a run does: manifest and attestations, reports, seal."""
        return seal_folder(self.folder, key, at=at)


_DOING: dict[str, Callable[[WholeRecord], None]] = {
    "1.1c": WholeRecord.baseline,
    "2.1b": WholeRecord.install,
    GATES_AT: WholeRecord.shift,
    "4.1a": WholeRecord.compare,
}


def seal_folder(folder: Path, key: SigningKey | None, *, at: datetime = AT) -> Seal:
    """Seal a record's folder, with stand-ins for its reports."""
    prepared = seal.prepare(folder, signer.KeySigner(key=key) if key is not None else None)
    for name in ("summary.md", "report.html", "allure-report/index.html"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"record {prepared.manifest.digest}\n", "utf-8")
    (folder / "report.pdf").write_bytes(pdf(prepared.manifest.digest, key, at))
    return prepared.close(at=at)


def pdf(digest: str, key: SigningKey | None, at: datetime) -> bytes:
    """Return a page that names a digest, signed where there is a key."""
    written = io.BytesIO()
    canvas = Canvas(written, invariant=1)
    canvas.drawString(72, 720, digest)
    canvas.save()
    if key is None:
        return written.getvalue()
    moment = max(at, key.certificate.not_valid_before_utc + timedelta(minutes=1))
    return pades.sign(written.getvalue(), key, meaning="sealed", now=moment)
