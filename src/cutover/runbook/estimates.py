"""How long a run will take: from past records of the same site where there are some, else from the policy's waits.

Invariants: an estimate says what it rests on, and what neither knows is left open, not guessed; it is no part of what
an approval signs. A record that cannot be read teaches nothing and stops nothing.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cutover.errors import PolicyInvalid
from cutover.policy import Policy
from cutover.runbook.plan import GRADUAL_CLAUSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cutover.model import Strategy
    from cutover.runbook.plan import Plan

AT_MOST = 10
"""So many past records are read, the newest."""
_BAKING = (*GRADUAL_CLAUSES, "3.2")
_OBSERVING = "5.1"


class Basis(StrEnum):
    """What an estimate rests on."""

    RECORDS = "records"
    POLICY = "policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What one past record teaches."""

    id: str
    policy: Policy = field(repr=False)
    took_s: Mapping[str, float]
    """By clause, of those that passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How long one clause will take."""

    id: str
    seconds: float
    basis: Basis


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """How long the clauses of a plan will take, in its order."""

    clauses: tuple[Estimate, ...]
    unknown: tuple[str, ...]
    """Clauses that neither a record nor the policy knows."""
    records: tuple[str, ...]
    """The past records, newest first."""

    @property
    def total_s(self) -> float:
        """Of the clauses that are known."""
        return sum(estimate.seconds for estimate in self.clauses)

    def of(self, clause_id: str) -> Estimate | None:
        """Return a clause's estimate, or None when it is unknown."""
        return next((estimate for estimate in self.clauses if estimate.id == clause_id), None)

    def document(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {
            "total_s": round(self.total_s, 1),
            "records": list(self.records),
            "clauses": [
                {"id": one.id, "seconds": round(one.seconds, 1), "basis": one.basis.value} for one in self.clauses
            ],
            "unknown": list(self.unknown),
        }


def make(plan: Plan, policy: Policy, past: Sequence[Past]) -> Estimates:
    """Return how long the performed clauses of a plan will take.

    From records: the median of what a clause took beyond its policy's wait then, and the policy's wait now.
    """
    found: list[Estimate] = []
    unknown: list[str] = []
    for clause in plan.clauses:
        if clause.not_run is not None:
            continue
        wait_s = waited_s(clause.id, policy)
        took = [
            max(0.0, run.took_s[clause.id] - waited_s(clause.id, run.policy)) for run in past if clause.id in run.took_s
        ]
        if took:
            seconds = statistics.median(took) + wait_s
            found.append(Estimate(id=clause.id, seconds=seconds, basis=Basis.RECORDS))
        elif wait_s:
            found.append(Estimate(id=clause.id, seconds=wait_s, basis=Basis.POLICY))
        else:
            unknown.append(clause.id)
    return Estimates(clauses=tuple(found), unknown=tuple(unknown), records=tuple(run.id for run in past))


def waited_s(clause_id: str, policy: Policy) -> float:
    """Return how long a clause waits because the policy says so."""
    if clause_id in _BAKING:
        return policy.gates.initial_delay_s + policy.traffic.bake_s
    return policy.observation.window_s if clause_id == _OBSERVING else 0.0


def past_runs(records: Path, *, target_name: str, strategy: Strategy, at_most: int = AT_MOST) -> tuple[Past, ...]:
    """Return what the newest records of a site teach about runs by one strategy, newest first."""
    if not records.is_dir():
        return ()
    found: list[Past] = []
    for folder in sorted((path for path in records.iterdir() if path.is_dir()), reverse=True):
        past = _past(folder, target_name, strategy)
        if past is not None:
            found.append(past)
        if len(found) == at_most:
            break
    return tuple(found)


def _past(folder: Path, target_name: str, strategy: Strategy) -> Past | None:
    try:
        lines = _lines(folder / "journal.jsonl")
        began = next(lines, {})
        if began.get("event") != "run_started":
            return None
        facts = began["data"]
        if (facts["target"]["name"], facts["strategy"]) != (target_name, strategy.value):
            return None
        took_s = {
            line["clause"]: float(line["data"]["duration_s"])
            for line in lines
            if line["event"] == "clause_finished" and line["data"]["result"] == "PASS"
        }
        policy = Policy.read(folder / "policy.toml")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, PolicyInvalid):
        return None
    return Past(id=folder.name, policy=policy, took_s=took_s) if took_s else None


def _lines(journal: Path) -> Iterator[dict[str, Any]]:
    """Yield the journal's first line and those of finished clauses."""
    with journal.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number == 0 or '"clause_finished"' in line:
                yield json.loads(line)


def in_words(seconds: float) -> str:
    """Return a duration as a person says it: `8 s`, `4 min 10 s`, `72 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest_s = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest_s} s" if rest_s else f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
