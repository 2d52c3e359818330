"""The verdict: computed once, from the journal alone.

Pure and total: the same lines give the same verdict, and lines that end in the middle give one too, never a green one.
Invariants: of several results of a clause the worst counts; PASSED needs every clause that the plan performs, at least
one scenario, at least one request and at least one evidence item; a gate's verdict counts as a clause's does, whatever
the clause said, and so do lost writes and a rollback; exit code 0 goes with PASSED and with nothing else; exit code 2
says that nothing was done, so it is never given once an action was begun.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cutover import _documents
from cutover.clock import parse_rfc3339, rfc3339
from cutover.errors import CouldNotMeasure
from cutover.model import ClauseRecord, Deviation, ExitCode, Outcome, Result, worst
from cutover.runbook import attempts, proof
from cutover.runbook.attempts import Procedure
from cutover.runbook.plan import NotRunKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from cutover.model import Clause
    from cutover.runbook.attempts import Attempt
    from cutover.runbook.journal import Entry

SCHEMA = "cutover/verdict/v1"
_EVIDENCE = ("before", "after", "missing", "changed", "added")
_ROLLBACK_PHASE = "rollback"
SCENARIOS_APART = " · "
"""Between the scenarios of one clause, in the plan's line and in a verdict."""
_HARDLY_ANY = 3
"""So many clauses are named in a reason; of more, the first ones and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A clause's record, and what of it the outcome needs."""

    clause: Clause
    record: ClauseRecord
    kind: NotRunKind | None
    """Of a clause that was not run, why."""
    exit_code: ExitCode
    """What it alone would give the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a run came to."""

    outcome: Outcome
    exit_code: ExitCode
    reasons: tuple[str, ...]
    clauses: tuple[Judged, ...]
    deviations: tuple[Deviation, ...]
    started: datetime
    finished: datetime
    head: Mapping[str, Any] = field(default_factory=dict)
    """The data of `run_started`."""
    scope: str = ""
    """What all attempts together performed."""
    plan_digest: str = ""
    observation_state: str = "none"
    observation_until: str | None = None
    observation_window_s: float | None = None
    load: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, int] = field(default_factory=dict)
    rollback: Mapping[str, Any] = field(default_factory=dict)
    traffic: Mapping[str, Any] = field(default_factory=dict)
    """Shares, gates, decisions, markers, load and probe, by `cutover.runbook.proof`."""
    commands: int = 0
    attempts: tuple[Attempt, ...] = ()
    """Every process that worked on the record, oldest first."""

    @property
    def process_exit_code(self) -> ExitCode:
        """What the newest attempt's process tells its caller: a rollback that was asked for and proven is a success.

        The upgrade's own code stays what it is: nobody takes a rolled back upgrade for one that passed.
        """
        if not self.attempts or self.attempts[-1].procedure is not Procedure.ROLLBACK or self.attempts[-1].stopped_by:
            return self.exit_code
        back = [entry.data["result"] for entry in self.attempts[-1].entries if entry.event == "clause_finished"]
        is_proven = Result.PASS in back and set(back) <= {Result.PASS, Result.NOT_RUN}
        return ExitCode.PASSED if is_proven else (self.exit_code or ExitCode.FAILED)

    def count(self, result: Result) -> int:
        """Return how many clauses have a result."""
        return sum(judged.record.result is result for judged in self.clauses)

    def document(self, *, entries: int = 0, journal_head: str = "") -> dict[str, Any]:
        """Return verdict.json's content (`contract/verdict.schema.json`); entries and head are the sealed journal's."""
        head = self.head
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "result": self.outcome.value,
            "exit_code": int(self.exit_code),
            "upgrade": {"id": head["upgrade_id"], "from": head["from"], "to": head["to"]},
            "previous": head.get("previous"),
            "target": {
                "name": head["target"]["name"],
                "kind": head["target"]["kind"],
                "sha256": head["target_sha256"],
            },
            "policy": {"sha256": head["policy_sha256"]},
            "notice": head["target"]["notice"],
            "strategy": head["strategy"],
            "scope": self.scope or head["scope"],
            "observation": {
                "state": self.observation_state,
                "until": self.observation_until,
                "window_s": self.observation_window_s,
            },
            "clauses": [_clause_document(judged) for judged in self.clauses],
            "counts": {result.value: self.count(result) for result in Result},
            "deviations": [
                {"id": d.id, "did": d.did, "instead_of": d.instead_of, "why": d.why} for d in self.deviations
            ],
            "load": dict(self.load),
            "evidence": dict(self.evidence),
            "rollback": dict(self.rollback),
            "traffic": dict(self.traffic),
            "reasons": list(self.reasons),
            "started": rfc3339(self.started),
            "finished": rfc3339(self.finished),
            "approval": dict(head.get("approval") or {}),
            "operator": head.get("operator", ""),
            "attempts": [_attempt_document(attempt, is_last=attempt is self.attempts[-1]) for attempt in self.attempts],
            "commands": self.commands,
            "versions": dict(head.get("versions") or {}),
        }
        if self.plan_digest:
            document["plan"] = {"digest": self.plan_digest}
        if journal_head:
            document["journal"] = {"entries": entries, "head": journal_head}
        return document


def _clause_document(judged: Judged) -> dict[str, Any]:
    record = judged.record
    return {
        "id": record.id,
        "title": judged.clause.title,
        "phase": judged.clause.phase,
        "result": record.result.value,
        "scenario": record.scenario,
        "started": rfc3339(record.started) if record.started else None,
        "finished": rfc3339(record.finished) if record.finished else None,
        "reason": record.reason,
        "cause": record.cause,
        "remedy": record.remedy,
    }


def _attempt_document(attempt: Attempt, *, is_last: bool) -> dict[str, Any]:
    """Return one process's work. The newest is being judged right now: what it came to is the verdict itself."""
    first, last = attempt.entries[0], attempt.entries[-1]
    return {
        "number": attempt.number,
        "procedure": attempt.procedure.value,
        "operator": str(first.data.get("operator", "")),
        "started": rfc3339(first.time),
        "finished": rfc3339(last.time),
        "broken_off": not is_last and attempt.finished is None,
        "stopped_by": attempt.stopped_by,
        "result": "" if is_last else attempt.outcome,
        "reason": str(first.data.get("reason", "")),
        "kept": sum(entry.event == "clause_kept" for entry in attempt.entries),
    }


def compute(entries: Sequence[Entry], clauses: Iterable[Clause]) -> Verdict:
    """Return the verdict of a journal's lines over the catalogue's clauses.

    Raises CouldNotMeasure when the lines are not a run's: there is no `run_started`.
    """
    head = next((entry for entry in entries if entry.event == "run_started"), None)
    if head is None:
        raise CouldNotMeasure("the journal holds no run", code="journal-empty", seen=f"{len(entries)} lines")
    known = attempts.split(entries)
    planned = _planned_scenarios(entries)
    judged = tuple(_judge(clause, known, planned.get(clause.id, ())) for clause in clauses)
    load, evidence = _load(entries), _evidence(entries)
    newest = known[-1]
    since = _last_beginning(known)
    rollback = _rollback(since)
    interrupted = newest.stopped_by
    is_over = rollback["performed"] or bool(interrupted)
    scope = _scope(known, judged)
    outcome, exit_code, reasons = _decide(
        judged,
        load=load,
        evidence=evidence,
        rollback=rollback,
        gates=proof.bad_gates(_judged_gates(known)),
        against=proof.contradictions(since, rolled_back=is_over),
        unmeasured=[] if is_over else proof.cut_short(since),
        scope=scope,
        max_failed=int(head.data.get("max_failed", 0)),
        interrupted=interrupted,
        fault=str(_last(newest.entries, "fault").get("message", "")),
        acted=any(entry.event == "intent" for entry in entries),
        by_request=newest.procedure is Procedure.ROLLBACK,
        is_drill=bool(head.data.get("drill")),
    )
    reasons = (*reasons, *_broken_off(known))
    plan = next((entry for entry in reversed(entries) if entry.event == "plan"), None)
    observed = next((e for e in reversed(entries) if e.event == "fact" and e.data.get("name") == "observation"), None)
    facts = observed.data["facts"] if observed else {}
    return Verdict(
        outcome=outcome,
        exit_code=exit_code,
        reasons=reasons,
        clauses=judged,
        deviations=_deviations(entries),
        started=head.time,
        finished=entries[-1].time,
        head=_with_approvals(head.data, entries),
        scope=scope,
        plan_digest=str(plan.data.get("digest", "")) if plan else "",
        observation_state=str(facts.get("state", "none")),
        observation_until=facts.get("until"),
        observation_window_s=facts.get("window_s"),
        load=load,
        evidence=evidence,
        rollback=rollback,
        traffic=proof.document(entries),
        commands=sum(entry.event == "command" for entry in entries),
        attempts=known,
    )


def _with_approvals(head: Mapping[str, Any], entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the data of `run_started` with every approval that the record holds, those made later too."""
    signed = [dict(entry.data) for entry in entries if entry.event == "approval"]
    return {**head, "approval": {**(head.get("approval") or {}), "approvals": signed}} if signed else dict(head)


def _last_beginning(known: Sequence[Attempt]) -> tuple[Entry, ...]:
    """Return the lines from where traffic last began to move: a resumed run after one that went back begins anew.

    Of a run that never went back between two attempts, that is every line.
    """
    lines: list[Entry] = []
    for attempt in known:
        if attempt.procedure.follows_plan and any(entry.event == "rollback_finished" for entry in lines):
            lines = [entry for entry in lines if entry.event in _ALWAYS_COUNT]
        lines += attempt.entries
    return tuple(lines)


_ALWAYS_COUNT = frozenset({"run_started", "markers"})


def _judged_gates(known: Sequence[Attempt]) -> tuple[Entry, ...]:
    """Return every line but the gates' of a bake that was broken off and made again from its beginning.

    A bake in which a gate had failed is not made again: it went back. What it bore, or had not decided, ended with it.
    """
    lines: list[Entry] = []
    for index, attempt in enumerate(known):
        again = {e.clause for later in known[index + 1 :] for e in later.entries if e.event == "clause_started"}
        finished = {e.clause for e in attempt.entries if e.event == "clause_finished" and e.data["result"] != "NOT_RUN"}
        lines += [
            entry
            for entry in attempt.entries
            if entry.event != "gate"
            or entry.clause not in again
            or entry.clause in finished
            or proof.verdict_of(entry) is Result.FAIL
        ]
    return tuple(lines)


def _scope(known: Sequence[Attempt], judged: Sequence[Judged]) -> str:
    """Return what the newest attempt that follows the plan was to perform; `all` when together nothing was left out."""
    said = next(a for a in reversed(known) if a.procedure.follows_plan or a.number == 1)
    scope = str(said.entries[0].data.get("scope", "all"))
    return scope if len(known) == 1 or any(j.kind is NotRunKind.SCOPE for j in judged) else "all"


def _broken_off(known: Sequence[Attempt]) -> tuple[str, ...]:
    """Return a sentence for each attempt that was broken off, or had a clause performed again that had not passed."""
    found = [
        f"attempt {attempt.number} ({attempt.procedure}) was broken off"
        + (f" during {attempt.entries[-1].clause}" if attempt.entries[-1].clause else "")
        for attempt in known[:-1]
        if attempt.finished is None
    ]
    for attempt, later in pairwise(known):
        begun = {entry.clause for entry in later.entries if entry.event == "clause_started"}
        found += [
            f"{entry.clause} was {entry.data['result']} in attempt {attempt.number} and performed again"
            for entry in attempt.entries
            if entry.event == "clause_finished" and entry.data["result"] in set(_OUTCOME_OF) and entry.clause in begun
        ]
    return tuple(found)


def _planned_scenarios(entries: Sequence[Entry]) -> dict[str, tuple[str, ...]]:
    """Return the scenarios that the newest plan has for each clause; of a clause with one alone, none need be named."""
    plan = next((entry for entry in reversed(entries) if entry.event == "plan"), None)
    found = {}
    for clause in plan.data.get("clauses", ()) if plan is not None else ():
        scenarios = tuple(str(clause.get("scenario") or "").split(SCENARIOS_APART))
        if len(scenarios) > 1:
            found[str(clause.get("id"))] = scenarios
    return found


def _judge(clause: Clause, known: Sequence[Attempt], planned: Sequence[str] = ()) -> Judged:
    """Return what a clause came to. planned: its scenarios, where it has several; each must have reported."""
    mine = attempts.decisive(known, clause.id)
    started = [entry for entry in mine if entry.event == "clause_started"]
    finished = [entry for entry in mine if entry.event == "clause_finished"]
    last = next((entry.event for entry in reversed(mine) if entry in (*started, *finished)), "")
    if last == "clause_started":
        return _unfinished(clause, started[-1])
    if not finished:
        kind = NotRunKind.UNREPORTED if clause.built else NotRunKind.NOT_BUILT
        reason = clause.not_built_reason or "no scenario of it reported a result"
        return _judged(clause, Result.NOT_RUN, kind=kind, reason=reason)
    result = worst(Result(entry.data["result"]) for entry in finished)
    decisive = next(entry for entry in finished if entry.data["result"] == result)
    scenarios = dict.fromkeys(str(entry.data.get("scenario", "")) for entry in finished)
    silent = [name for name in planned if name not in scenarios and clause.phase != _ROLLBACK_PHASE]
    if result is Result.PASS and silent:
        reason = f"planned, and no result was reported: {silent[0]}"
        return _judged(clause, Result.NOT_RUN, kind=NotRunKind.UNREPORTED, reason=reason, started=finished[0].time)
    return Judged(
        record=ClauseRecord(
            id=clause.id,
            result=result,
            scenario=SCENARIOS_APART.join(name for name in scenarios if name),
            started=started[0].time if started else None,
            finished=finished[-1].time if started else None,
            reason=str(decisive.data.get("reason", "")),
            remedy=str(decisive.data.get("remedy", "")),
            cause=str(decisive.data.get("cause", "")),
        ),
        clause=clause,
        kind=NotRunKind(decisive.data["kind"]) if result is Result.NOT_RUN else None,
        exit_code=ExitCode(int(decisive.data.get("exit_code", _EXIT_OF[result]))),
    )


def _unfinished(clause: Clause, started: Entry) -> Judged:
    return _judged(
        clause,
        Result.NOT_RUN,
        kind=NotRunKind.INTERRUPTED,
        reason="started and never finished",
        scenario=str(started.data.get("scenario", "")),
        started=started.time,
    )


def _judged(
    clause: Clause,
    result: Result,
    *,
    kind: NotRunKind,
    reason: str,
    scenario: str = "",
    started: datetime | None = None,
) -> Judged:
    return Judged(
        record=ClauseRecord(
            id=clause.id, result=result, scenario=scenario, started=started, finished=None, reason=reason
        ),
        clause=clause,
        kind=kind,
        exit_code=_EXIT_OF[result],
    )


_EXIT_OF = {
    Result.PASS: ExitCode.PASSED,
    Result.NOT_RUN: ExitCode.UNDECIDED,
    Result.INCONCLUSIVE: ExitCode.UNDECIDED,
    Result.ERROR: ExitCode.COULD_NOT_MEASURE,
    Result.FAIL: ExitCode.FAILED,
}

_OUTCOME_OF = {
    Result.INCONCLUSIVE: Outcome.INCONCLUSIVE,
    Result.ERROR: Outcome.ERROR,
    Result.FAIL: Outcome.FAILED,
}


def _decide(
    judged: Sequence[Judged],
    *,
    load: Mapping[str, Any],
    evidence: Mapping[str, int],
    rollback: Mapping[str, Any],
    gates: Sequence[tuple[Result, str]],
    against: Sequence[str],
    unmeasured: Sequence[str],
    scope: str,
    max_failed: int,
    interrupted: str,
    fault: str,
    acted: bool,
    by_request: bool,
    is_drill: bool,
) -> tuple[Outcome, ExitCode, tuple[str, ...]]:
    """Return outcome, exit code and reasons, the decisive reason first.

    gates: each gate's worst verdict that is no PASS; against: what else in the journal forbids passing;
    unmeasured: what was not measured, whatever the clauses say.
    acted: whether an action was begun; wrong input is then no longer "nothing was done". by_request: a person asked for
    the way back. is_drill: going back is what a drill is for.
    """
    reasons = [f"{j.record.id} {j.record.result}: {j.record.reason}" for j in judged if j.record.result in _OUTCOME_OF]
    measured, unsaid = _measured(judged, gates)
    reasons[:0] = unsaid
    if rollback["performed"]:
        reasons.append(f"rolled back; served by {rollback['serves'] or 'nobody knows whom'}")
    if interrupted:
        reasons.append(f"interrupted by {interrupted}")
    if scope != "all":
        reasons.append(f"scope: {scope}")
    contradictions = [*_contradictions(load=load, evidence=evidence, max_failed=max_failed), *against]
    if rollback["performed"] and measured is Result.PASS and not (interrupted or fault or by_request or is_drill):
        contradictions.append("the run went back to blue though no clause failed")
    if measured is Result.FAIL or contradictions:
        codes = {j.exit_code for j in judged if j.record.result is Result.FAIL}
        refused = codes == {ExitCode.REFUSED} and not contradictions
        return Outcome.FAILED, ExitCode.REFUSED if refused else ExitCode.FAILED, (*contradictions, *reasons)
    if fault:
        return Outcome.ERROR, ExitCode.COULD_NOT_MEASURE, (f"fault of the harness: {fault}", *reasons)
    if unmeasured:
        return Outcome.ERROR, ExitCode.COULD_NOT_MEASURE, (*unmeasured, *reasons)
    if measured in _OUTCOME_OF:
        codes = {j.exit_code for j in judged if j.record.result is measured}
        only_input = codes == {ExitCode.WRONG_INPUT} and not acted
        code = ExitCode.WRONG_INPUT if only_input else _EXIT_OF[measured]
        return _OUTCOME_OF[measured], code, tuple(reasons)
    went_back = by_request and rollback["performed"] and not interrupted
    return _unspoiled(
        judged,
        reasons,
        load=load,
        evidence=evidence,
        is_cut_short=bool(interrupted or scope != "all"),
        went_back=went_back,
    )


def _is_way_back(judged: Judged) -> bool:
    return judged.clause.phase == _ROLLBACK_PHASE and judged.record.result is Result.PASS


def _unspoiled(
    judged: Sequence[Judged],
    reasons: list[str],
    *,
    load: Mapping[str, Any],
    evidence: Mapping[str, int],
    is_cut_short: bool,
    went_back: bool,
) -> tuple[Outcome, ExitCode, tuple[str, ...]]:
    """Return the outcome of a run in which nothing that was measured speaks against passing."""
    if went_back:
        return Outcome.ROLLED_BACK, ExitCode.FAILED, tuple(reasons)
    left = [j for j in judged if j.kind and not j.kind.allows_passing and j.kind is not NotRunKind.UNREPORTED]
    if left or is_cut_short:
        named = [_naming("not run", left)] if left else []
        return Outcome.INCOMPLETE, ExitCode.UNDECIDED, (*reasons, *named)
    empty = _empty(judged, load=load, evidence=evidence)
    if empty:
        return Outcome.ERROR, ExitCode.COULD_NOT_MEASURE, (*empty, *reasons)
    return Outcome.PASSED, ExitCode.PASSED, tuple(reasons)


def _measured(judged: Sequence[Judged], gates: Sequence[tuple[Result, str]]) -> tuple[Result, list[str]]:
    """Return the worst of clauses and gates, and what gates say worse than every clause."""
    told = worst([Result.PASS, *(j.record.result for j in judged if j.record.result is not Result.NOT_RUN)])
    measured = worst([told, *(result for result, _ in gates)])
    if measured is told:
        return measured, []
    return measured, [f"{sentence}, and no clause says so" for result, sentence in gates if result is measured]


def _contradictions(*, load: Mapping[str, Any], evidence: Mapping[str, int], max_failed: int) -> list[str]:
    """Return what the totals say against passing, whatever the scenarios said."""
    found = []
    if load["failed"] > max_failed:
        found.append(f"{load['failed']} of {load['attempted']} requests failed at the public host")
    found += [f"{evidence[key]} evidence items are {key}" for key in ("missing", "changed") if evidence[key]]
    return found


def _empty(judged: Sequence[Judged], *, load: Mapping[str, Any], evidence: Mapping[str, int]) -> list[str]:
    """Return what there was none of, though nothing can pass without it."""
    unreported = [j for j in judged if j.kind is NotRunKind.UNREPORTED]
    found = [_naming("no result was reported", unreported)] if unreported else []
    if not any(j.record.result is Result.PASS for j in judged):
        found.append("no scenario ran")
    if not load["attempted"]:
        found.append("no request was sent to the public host")
    if not evidence["before"] or not evidence["after"]:
        found.append("no evidence was compared")
    return found


def _naming(what: str, judged: Sequence[Judged]) -> str:
    ids = [j.record.id for j in judged]
    more = f" and {len(ids) - _HARDLY_ANY} more" if len(ids) > _HARDLY_ANY else ""
    reasons = Counter(j.record.reason for j in judged)
    common = reasons.most_common(1)[0][0]
    return f"{what}: {', '.join(ids[:_HARDLY_ANY])}{more} ({common})"


def _last(entries: Sequence[Entry], *events: str) -> Mapping[str, Any]:
    return next((entry.data for entry in reversed(entries) if entry.event in events), {})


def _load(entries: Sequence[Entry]) -> dict[str, Any]:
    total = proof.load_totals(entries)
    attempted = int(total.get("attempted", 0))
    return {
        "planned": round(total.get("planned", attempted)),
        "attempted": attempted,
        "failed": int(total.get("failed", 0)),
        "by_colour": {str(name): int(number) for name, number in total.get("by_colour", {}).items()},
    }


def _evidence(entries: Sequence[Entry]) -> dict[str, int]:
    total = _last(entries, "evidence")
    return {key: int(total.get(key, 0)) for key in _EVIDENCE}


def _rollback(entries: Sequence[Entry]) -> dict[str, Any]:
    began, ended = _last(entries, "rollback_started"), _last(entries, "rollback_finished")
    return {
        "performed": bool(began),
        "serves": str(ended.get("serves", "")),
        "took_s": ended.get("took_s"),
        "trigger": str(began.get("trigger", "")),
    }


def _deviations(entries: Sequence[Entry]) -> tuple[Deviation, ...]:
    """Return the last wording of each deviation, by number."""
    found = {
        entry.data["id"]: Deviation(
            id=entry.data["id"],
            did=entry.data["did"],
            instead_of=entry.data["instead_of"],
            why=entry.data.get("why", ""),
        )
        for entry in entries
        if entry.event == "deviation"
    }
    return tuple(sorted(found.values(), key=lambda deviation: int(deviation.id.removeprefix("F."))))


def write(document: Mapping[str, Any], path: Path) -> None:
    """Write verdict.json, once it satisfies its schema. Raises CouldNotMeasure when it does not: a harness fault."""
    problem = _documents.first_problem("verdict", dict(document))
    if problem:
        raise CouldNotMeasure("the verdict does not fit its own schema", code="verdict-invalid", seen=problem)
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", "utf-8")


def observation_until(started: datetime | str, window_s: float) -> str:
    """Return when an observation of `window_s` seconds that began at `started` ends, RFC 3339."""
    moment = parse_rfc3339(started) if isinstance(started, str) else started
    return rfc3339(moment + timedelta(seconds=window_s))
