"""The record of a drill: the same folder, journal and verdict as an upgrade's, for clauses that no run performs.

Its scope is the drill alone, so it is INCOMPLETE by its own words and proves its clauses, never an upgrade. Invariants:
everything a scenario came to is in the journal; a record is sealed once, whatever the drill came to.
"""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import platform
import socket
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cutover import errors
from cutover.clock import SYSTEM_CLOCK
from cutover.errors import CutoverError
from cutover.model import Result
from cutover.redaction import Redactor
from cutover.runbook import inventory, leaks, plan, verdict
from cutover.runbook.journal import Journal, plain
from cutover.runbook.plan import NotRunKind, Scope
from cutover.runbook.upgrade import Upgrade, new_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cutover.model import Clause
    from cutover.policy import Policy
    from cutover.runbook.catalogue import Catalogue
    from cutover.runbook.verdict import Verdict
    from cutover.target import Target


@dataclass(slots=True, kw_only=True)
class DrillRecord:
    """One drill's record in the making."""

    name: str
    catalogue: Catalogue
    upgrade: Upgrade
    _clauses: tuple[Clause, ...] = ()
    _scenario: str = ""
    _started_s: float = 0.0
    _step_started_s: float = 0.0
    reported: set[str] = field(default_factory=set)
    """The clauses that a scenario of it performed."""

    @staticmethod
    def begin(name: str, *, target: Target, policy: Policy, catalogue: Catalogue, parent: Path) -> DrillRecord:
        """Make the folder and write down what is meant to happen. Raises: WrongInput, OSError."""
        record_id, folder = new_record(parent, now=SYSTEM_CLOCK.now())
        scope = Scope(stages=(), text=f"drill {name}")
        upgrade = Upgrade(
            id=record_id,
            folder=folder,
            target=target,
            policy=policy,
            journal=Journal(folder / "journal.jsonl", secrets=target.secrets()),
            strategy=policy.strategy,
            scope=scope.text,
        )
        intended = plan.make(catalogue=catalogue, scenarios=(), target=target, policy=policy, scope=scope)
        upgrade.path("policy.toml").write_text(policy.text, "utf-8")
        upgrade.path("target.redacted.toml").write_text(target.redacted_toml(), "utf-8")
        upgrade.path("plan.json").write_text(json.dumps(intended.document(), indent=2) + "\n", "utf-8")
        versions = {"cutover": importlib.metadata.version("cutover"), "python": platform.python_version()}
        upgrade.journal.write(
            "run_started",
            drill=name,
            upgrade_id=upgrade.id,
            target={"name": target.name, "kind": target.kind, "notice": target.notice, "file": target.path},
            **{"from": target.upgrade.from_release, "to": target.upgrade.to_release},
            strategy=policy.strategy,
            scope=scope.text,
            operator=f"{getpass.getuser()}@{socket.gethostname()}",
            versions=versions,
            cutover_version=versions["cutover"],
            policy_sha256=policy.sha256,
            target_sha256=target.sha256,
            approval=plain(policy.approval) or {},
            max_failed=policy.load.max_failed,
            failure_limit=policy.gates.failure_limit,
            inconclusive_limit=policy.gates.inconclusive_limit,
            record=folder,
        )
        upgrade.journal.write("plan", digest=intended.digest, clauses=[])
        return DrillRecord(name=name, catalogue=catalogue, upgrade=upgrade)

    def open(self, clauses: Sequence[Clause], *, scenario: str, feature: str) -> None:
        """Write the start of a scenario."""
        self._clauses, self._scenario = tuple(clauses), scenario
        self._started_s = self.upgrade.clock.monotonic()
        self.upgrade.journal.clause = self._clauses[0].id
        for clause in self._clauses:
            self.upgrade.journal.write(
                "clause_started",
                clause=clause.id,
                scenario=scenario,
                feature=feature,
                phase=clause.phase,
                title=clause.title,
            )

    def step_began(self) -> None:
        """Note the start of a step."""
        self._step_started_s = self.upgrade.clock.monotonic()

    def step_ended(self, keyword: str, text: str, status: str) -> None:
        """Write a step down. status: `passed` or `failed`."""
        if self._clauses:
            took_s = round(self.upgrade.clock.monotonic() - self._step_started_s, 3)
            self.upgrade.journal.write("step", keyword=keyword, text=text, status=status, duration_s=took_s)

    def close(self, error: BaseException | None) -> None:
        """Write what a scenario came to."""
        facts = self._facts(error)
        for clause in self._clauses:
            self.reported.add(clause.id)
            self.upgrade.journal.write(
                "clause_finished",
                clause=clause.id,
                scenario=self._scenario,
                **facts,
                duration_s=round(self.upgrade.clock.monotonic() - self._started_s, 3),
            )
        self._clauses = ()
        self.upgrade.journal.clause = None

    def _facts(self, error: BaseException | None) -> dict[str, Any]:
        if error is None:
            return {"result": Result.PASS, "reason": ""}
        path = self.upgrade.path("artifacts", "faults", f"{self._clauses[0].id}.txt")
        text = "".join(traceback.format_exception(error))
        path.write_text(Redactor(self.upgrade.target.secrets()).redact(text), "utf-8")
        facts: dict[str, Any] = {
            "result": errors.result_of(error),
            "reason": str(error).partition("\n")[0] or "a comparison did not hold",
            "exit_code": int(errors.exit_code_of(error)),
        }
        if isinstance(error, CutoverError):
            facts |= {"code": error.code, "seen": error.seen, "cause": error.cause_text, "remedy": error.do}
        return facts

    def seal(self) -> Verdict:
        """Complete the journal, compute the verdict and write it. Raises: CouldNotMeasure, OSError."""
        journal = self.upgrade.journal
        for clause in self.catalogue:
            if clause.id not in self.reported:
                journal.write(
                    "clause_finished",
                    clause=clause.id,
                    scenario="",
                    result=Result.NOT_RUN,
                    kind=NotRunKind.SCOPE,
                    reason=f"not part of the drill {self.name}",
                )
        searched = leaks.search(self.upgrade.folder, self.upgrade.target.secret_kinds())
        journal.write("observation", **searched.facts)
        if searched.leaks:
            journal.write("fault", message=f"the record holds secrets of the target: {searched.named}")
        judged = verdict.compute(journal.entries(), self.catalogue)
        journal.write(
            "run_finished", result=judged.outcome, exit_code=int(judged.exit_code), reasons=list(judged.reasons)
        )
        document = judged.document(entries=len(journal), journal_head=journal.head)
        verdict.write(document, self.upgrade.path("verdict.json"))
        journal.close()
        return judged


def scenarios_of(folder: Path, catalogue: Catalogue) -> dict[str, list[str]]:
    """Return the titles of the scenarios that perform each clause of a drill, by clause id."""
    found: dict[str, list[str]] = {clause.id: [] for clause in catalogue if clause.drill}
    for scenario in inventory.read_features(folder):
        for clause in catalogue.tagged(scenario.tags):
            found.setdefault(clause.id, []).append(scenario.name)
    return found
