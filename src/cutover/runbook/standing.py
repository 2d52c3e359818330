"""Where an upgrade stands: what has been done, who should serve, what comes next; read from a record alone.

Pure. Invariants: what is not known is said to be unknown; nothing here looks at the site.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.clock import parse_rfc3339, rfc3339
from cutover.model import Outcome, Result
from cutover.runbook import attempts as attempted
from cutover.runbook.attempts import Procedure
from cutover.runbook.upgrade import MOVING_ACTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cutover.runbook.catalogue import Catalogue
    from cutover.runbook.journal import Entry
    from cutover.runbook.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One upgrade, as its record has it."""

    id: str
    folder: str
    site: str
    from_release: str
    to_release: str
    strategy: str
    state: str
    """`running`, `broken off`, or the newest attempt's outcome."""
    attempts: int
    procedure: str
    operator: str
    started: datetime
    last: datetime
    """The time of the newest line."""
    clause: str
    """The clause that is being performed, or was when the attempt was broken off; empty for none."""
    title: str
    passed: int
    planned: int
    """Clauses that the plan performs."""
    weight: int | None
    """Green's share in percent by the newest line that says so; None while nothing moved."""
    observation: str
    """`none`, `running` or `complete`."""
    observation_until: datetime | None
    reasons: tuple[str, ...]
    """What the newest verdict said."""
    next: str
    """What to do, one line."""

    def document(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {
            "id": self.id,
            "record": self.folder,
            "site": self.site,
            "from": self.from_release,
            "to": self.to_release,
            "strategy": self.strategy,
            "state": self.state,
            "attempts": self.attempts,
            "procedure": self.procedure,
            "operator": self.operator,
            "started": rfc3339(self.started),
            "last": rfc3339(self.last),
            "clause": self.clause,
            "passed": self.passed,
            "planned": self.planned,
            "weight": self.weight,
            "observation": {
                "state": self.observation,
                "until": rfc3339(self.observation_until) if self.observation_until else None,
            },
            "reasons": list(self.reasons),
            "next": self.next,
        }


def of(record: Record, catalogue: Catalogue, *, now: datetime) -> Standing:
    """Return where the upgrade of a record stands at a time."""
    entries, newest = record.entries, record.attempts[-1]
    head = record.head.data
    planned = {
        item["id"]
        for entry in entries
        if entry.event == "plan"
        for item in entry.data["clauses"]
        if not item["not_run"]
    }
    results = attempted.results(record.attempts, catalogue)
    observation = _fact(entries, "observation")
    until = observation.get("until")
    state = "running" if record.is_busy else newest.outcome or "broken off"
    clause = _open_clause(newest.entries)
    return Standing(
        id=str(head["upgrade_id"]),
        folder=str(record.folder),
        site=record.target_name,
        from_release=str(head["from"]),
        to_release=str(head["to"]),
        strategy=record.strategy,
        state=state,
        attempts=len(record.attempts),
        procedure=newest.procedure,
        operator=str(newest.entries[0].data.get("operator", "")),
        started=record.head.time,
        last=entries[-1].time,
        clause=clause,
        title=catalogue[clause].title if clause else "",
        passed=sum(results[clause_id] is Result.PASS for clause_id in planned if clause_id in results),
        planned=len(planned),
        weight=_weight(entries),
        observation=str(observation.get("state", "none")),
        observation_until=parse_rfc3339(until) if until else None,
        reasons=tuple(newest.finished.data.get("reasons", ())) if newest.finished is not None else (),
        next=_next(state, newest.procedure, observation, now=now, traffic=_weight(entries) or 0),
    )


def _next(state: str, procedure: str, observation: dict[str, Any], *, now: datetime, traffic: int) -> str:
    """Return what a person does next."""
    if state == Outcome.PASSED and observation.get("state") == "running" and observation.get("until"):
        left_s = (parse_rfc3339(observation["until"]) - now).total_seconds()
        return "./cutover observe" + (f", {_span(left_s)} before the window ends" if left_s > 0 else "")
    if state == Outcome.PASSED and procedure != Procedure.DECOMMISSION and observation.get("state") == "complete":
        return "./cutover decommission, unless the run removed blue itself"
    if state not in _NEXT:
        return _AFTER_FAILURE if traffic else "mend the cause; then ./cutover resume, or begin a new upgrade"
    return _NEXT[state]


_NEXT = {
    "running": "wait for it: ./cutover status --watch",
    "broken off": "./cutover resume",
    Outcome.INCOMPLETE: "./cutover resume",
    Outcome.PASSED: "nothing",
    Outcome.ROLLED_BACK: "mend the cause, then begin a new upgrade: ./cutover run",
}
_AFTER_FAILURE = "read the reasons; ./cutover rollback sends every request back to blue"


def _span(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _fact(entries: Sequence[Entry], name: str) -> dict[str, Any]:
    found = next((e for e in reversed(entries) if e.event == "fact" and e.data.get("name") == name), None)
    return dict(found.data["facts"]) if found is not None else {}


def _open_clause(entries: Sequence[Entry]) -> str:
    """Return the clause that was begun and has no result yet."""
    for entry in reversed(entries):
        if entry.event == "clause_finished":
            return ""
        if entry.event == "clause_started":
            return entry.clause or ""
    return ""


def _weight(entries: Sequence[Entry]) -> int | None:
    for entry in reversed(entries):
        if entry.event == "rollback_finished" and entry.data.get("serves") not in {"nobody", "mixed", None}:
            return 0
        if entry.event == "weight":
            return int(entry.data["percent"])
        if entry.event == "intent" and entry.data.get("action") in MOVING_ACTIONS:
            return int(entry.data.get("percent", 100))
    return None
