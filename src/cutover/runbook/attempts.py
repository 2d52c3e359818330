"""The attempts of one upgrade: each process that worked on its record, read from the journal.

The first begins with `run_started`, every further one with `run_resumed`; what each performs is its procedure. Pure.
Invariants: of a clause the newest attempt that performed it decides, within it the worst result; an attempt that was on
its way back to blue is never gone on with forwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cutover.model import Result, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cutover.model import Clause
    from cutover.runbook.journal import Entry

STARTED, RESUMED, FINISHED = "run_started", "run_resumed", "run_finished"
BEGINNINGS = frozenset({STARTED, RESUMED})
"""The events that begin an attempt."""

_PREFLIGHT = "1.3"
_GATES_OF_THE_MOMENT = ("1.3d", "1.3f")
"""The backups' age and the maintenance window: what passes before the first change may be stale by the next."""
_FIRST_CHANGE_STAGE, _CUTOVER_STAGE = 2, 3
_BAD = frozenset({Result.FAIL, Result.ERROR, Result.INCONCLUSIVE})


class Procedure(StrEnum):
    """What an attempt performs of the runbook."""

    RUN = "run"
    RESUME = "resume"
    OBSERVE = "observe"
    DECOMMISSION = "decommission"
    ROLLBACK = "rollback"
    CONTRACT = "contract"

    @property
    def follows_plan(self) -> bool:
        """Whether it performs what the plan holds, and not one procedure beside it."""
        return self in {Procedure.RUN, Procedure.RESUME}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One process's work on the record."""

    number: int
    """From 1."""
    procedure: Procedure
    entries: tuple[Entry, ...]

    @property
    def finished(self) -> Entry | None:
        """The line that ended it in order; None when it was broken off."""
        return next((entry for entry in reversed(self.entries) if entry.event == FINISHED), None)

    @property
    def outcome(self) -> str:
        """What it came to, in the verdict's words; empty when it was broken off."""
        return str(self.finished.data.get("result", "")) if self.finished is not None else ""

    @property
    def stopped_by(self) -> str:
        """The signal, or the word, that asked it to stop; empty when nobody did."""
        return next((str(e.data.get("signal", "")) for e in self.entries if e.event == "run_interrupted"), "")


def procedure_of(beginning: Entry) -> Procedure:
    """Return what the attempt performs that a line begins."""
    return Procedure(beginning.data.get("procedure", Procedure.RUN))


def split(entries: Sequence[Entry]) -> tuple[Attempt, ...]:
    """Return the attempts, oldest first; empty when the lines are no run's."""
    begins = [index for index, entry in enumerate(entries) if entry.event in BEGINNINGS]
    ends = [*begins[1:], len(entries)] if begins else []
    return tuple(
        Attempt(
            number=number,
            procedure=procedure_of(entries[begin]),
            entries=tuple(entries[begin:end]),
        )
        for number, (begin, end) in enumerate(zip(begins, ends, strict=True), 1)
    )


def decisive(attempts: Sequence[Attempt], clause_id: str) -> tuple[Entry, ...]:
    """Return the lines of a clause's start and end that count: those of the newest attempt that performed it.

    When none did, those of the newest that says why not.
    """
    passed_over: tuple[Entry, ...] = ()
    for attempt in reversed(attempts):
        mine = tuple(
            entry
            for entry in attempt.entries
            if entry.clause == clause_id and entry.event in {"clause_started", "clause_finished"}
        )
        if any(entry.event == "clause_started" or entry.data["result"] != Result.NOT_RUN for entry in mine):
            return mine
        passed_over = passed_over or mine
    return passed_over


def result_of(attempts: Sequence[Attempt], clause_id: str) -> Result | None:
    """Return what a clause came to; None while it has no result: never performed, or begun and never finished."""
    mine = decisive(attempts, clause_id)
    if not mine or mine[-1].event == "clause_started":
        return None
    return worst(Result(entry.data["result"]) for entry in mine if entry.event == "clause_finished")


def results(attempts: Sequence[Attempt], clauses: Iterable[Clause]) -> Mapping[str, Result | None]:
    """Return what each clause came to so far."""
    return {clause.id: result_of(attempts, clause.id) for clause in clauses}


def bad(found: Mapping[str, Result | None]) -> tuple[str, ...]:
    """Return the clauses whose result forbids going on, in the order of a run."""
    return tuple(clause_id for clause_id, result in found.items() if result in _BAD)


def begun_to_go_back(attempts: Sequence[Attempt]) -> str:
    """Return why the newest attempt was on its way back to blue when it was broken off; empty when it was not.

    A rollback that began, a gate's decision for one, or a gate that failed in a clause that has no result yet.
    """
    if not attempts:
        return ""
    for entry in reversed(attempts[-1].entries):
        match entry.event:
            case "rollback_finished" | "clause_finished":
                return ""
            case "rollback_started":
                return f"a rollback had begun ({entry.data.get('trigger', '')})"
            case "gate_decision" if entry.data.get("decision") == "rollback":
                return f"{entry.data.get('gate')} had decided to go back"
            case "gate" if entry.data.get("result") == Result.FAIL:
                return f"gate {entry.data.get('name')} had failed"
    return ""


def to_repeat(
    attempts: Sequence[Attempt], clauses: Iterable[Clause], *, traffic_on_green: bool, blue_serves_alone: bool
) -> Mapping[str, str]:
    """Return the clauses that have passed and are performed again when the plan is gone on with, each with the reason.

    traffic_on_green: by the journal, requests may reach green; blue_serves_alone: by the public host's own answers.
    Before the first change the pre-flight checks count for the moment alone. While blue has all the traffic, what
    phase 2 built is looked at again, and every step of the cutover is taken again. What passed under traffic stays.
    """
    known = list(clauses)
    begun = {entry.clause for attempt in attempts for entry in attempt.entries if entry.event == "clause_started"}
    stage_of = {clause.id: clause.stage or 0 for clause in known}
    changed = any(stage_of.get(clause_id or "", 0) >= _FIRST_CHANGE_STAGE for clause_id in begun)
    sent_back = traffic_on_green and blue_serves_alone
    found: dict[str, str] = {}
    for clause in known:
        stage = stage_of[clause.id]
        if clause.id.startswith(_PREFLIGHT) and not changed:
            found[clause.id] = "nothing was changed yet: the check is of the moment"
        elif clause.id in _GATES_OF_THE_MOMENT and not traffic_on_green:
            found[clause.id] = "no traffic had moved: the check is of the moment"
        elif stage == _FIRST_CHANGE_STAGE and not traffic_on_green:
            found[clause.id] = "no traffic had moved: green is looked at again"
        elif stage >= _CUTOVER_STAGE and (sent_back or not traffic_on_green):
            found[clause.id] = "blue has all the traffic"
    performed = results(attempts, known)
    return {clause_id: why for clause_id, why in found.items() if performed[clause_id] is Result.PASS}
