"""What a record says, as plain data: the one form in which every builder gets it.

Invariants: nothing is read here and nothing judged; what a record does not say is None, or empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

NO_VERDICT = "NONE"
"""The outcome of a record without a readable verdict."""
PHASES: Mapping[str, str] = {
    "prerequisites": "Prerequisites",
    "1": "1 Preparation",
    "2": "2 Green",
    "3": "3 Cutover",
    "4": "4 Validation",
    "evidence": "Evidence",
    "5": "5 Cleanup",
    "contract": "Contraction",
    "rollback": "Rollback",
    "troubleshooting": "Troubleshooting",
    "support": "Support",
}
PERCENTILES = ("p50", "p90", "p99", "p99_9", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the journal."""

    seq: int
    time: datetime
    event: str
    clause: str
    """Empty where the line belongs to none."""
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """A step of a scenario as it ran."""

    keyword: str
    text: str
    status: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandView:
    """A command that was run on the operator's host."""

    number: int
    """From 1, in the journal's order."""
    time: datetime
    clause: str
    argv: tuple[str, ...]
    exit_code: int | None
    """None when it never ended by itself."""
    duration_s: float
    transcript: str
    """Relative to the record; empty when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateView:
    """One measurement of a gate."""

    time: datetime
    clause: str
    name: str
    title: str
    result: str
    value: float | None
    """None when nothing was measured."""
    limit: float | None
    unit: str
    query: str
    percent: int | None
    """The weight at which it was measured; None for a whole window."""
    samples: int
    reason: str
    source: str = ""
    """Who answered: prometheus, load, postgresql, kubernetes or platform; empty in older records."""
    blue: float | None = None
    """Blue's value over the same window, where the two were compared."""
    line: int | None = None
    """Of gates/samples.jsonl, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseView:
    """A clause with everything the record says of it."""

    id: str
    title: str
    phase: str
    result: str
    scenario: str
    started: datetime | None
    finished: datetime | None
    reason: str
    cause: str
    remedy: str
    guide: str
    """The guide's section."""
    check: str
    """What the harness observes itself."""
    risk: str
    changes: str
    undo: str
    seen: str
    """What was observed when it failed."""
    state: str
    """What the failure left behind, where the error says so."""
    kind: str
    """Why it was not run: not-built, strategy, not-needed, observation, scope, not-reached, interrupted, skipped."""
    steps: tuple[StepView, ...]
    links: tuple[str, ...]
    """Files of the record that its result rests on, relative to the record."""

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to finish; None when it did not run to its end."""
        if self.started is None or self.finished is None:
            return None
        return (self.finished - self.started).total_seconds()

    @property
    def anchor(self) -> str:
        """The name by which a page links to it."""
        return "clause-" + self.id.lower().replace(".", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviationView:
    """Where the harness did something else than the guide says."""

    id: str
    did: str
    instead_of: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadView:
    """One second of load; counts are of that second, or of the time since the one before where the journal tells it."""

    time: datetime
    attempted: int
    failed: int
    by_colour: Mapping[str, int]
    p50_ms: Mapping[str, float]
    p99_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightView:
    """The public route after a change that was read back."""

    time: datetime
    percent: float
    """How much of the traffic green gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareView:
    """What green served at a weight; low and high are the ends of the weight's exact interval, as shares."""

    clause: str
    percent: float
    green: int
    total: int
    low: float
    high: float
    inside: bool = True

    @property
    def share(self) -> float | None:
        """Green's part of the requests; None when there were none."""
        return self.green / self.total if self.total else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView:
    """What the gates decided at the end of a bake."""

    time: datetime
    clause: str
    percent: int | None
    goes_back: bool
    gate: str
    """The gate that decided; empty where all of them agreed."""
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """How long it took from the first bad sample to blue."""

    gate: str
    percent: int | None
    first_bad: datetime | None
    decided: datetime
    serves: str
    bad_to_decision_s: float | None
    decision_to_blue_s: float | None
    bad_to_blue_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkersView:
    """The acknowledged writes, over every comparison with the table."""

    compared: int
    acknowledged: int
    missing: int
    repeated: int
    last: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyView:
    """The requests of one phase that one colour answered; latencies by the name of their percentile."""

    phase: str
    colour: str
    count: int
    failed: int
    ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeView:
    """One second of the open-loop probe, by the intended start."""

    time: datetime
    sent: int
    failed: int
    p99_ms: float | None
    """None when nothing was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """The way back, when it was taken."""

    performed: bool = False
    took_s: float | None = None
    serves: str = ""
    trigger: str = ""
    verified_requests: int = 0
    began: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalView:
    """A signed approval."""

    name: str
    at: str
    meaning: str
    covers: tuple[str, ...]
    """The points of no return that it allows."""
    signed_with: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisView:
    """A cause that was looked for and found, or that none was."""

    time: datetime
    clause: str
    id: str
    """Of contract/causes; empty when no known cause fits."""
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBackStep:
    """A clause of the way back from where the journal ends."""

    clause: str
    needed: bool
    why: str
    changes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One process's work on the record."""

    number: int
    procedure: str
    operator: str
    started: datetime | None
    finished: datetime | None
    """The time of its last line."""
    broken_off: bool
    """It never ended in order."""
    stopped_by: str
    result: str
    """Empty of the newest: the verdict is its result."""
    reason: str
    """Why a person asked for it."""
    kept: int
    """Clauses whose earlier result stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record's folder."""

    folder: Path
    verdict: Mapping[str, Any]
    """verdict.json; empty when there is none."""
    verdict_sha256: str
    """Of verdict.json as it is in the folder; empty when there is none."""
    plan: Mapping[str, Any]
    lines: tuple[Line, ...]
    journal_head: str
    """The digest of the journal's last line."""
    journal_problem: str
    """Empty when the chain holds and ends where the verdict says."""
    id: str
    result: str
    """verdict.json's result, or NONE."""
    exit_code: int | None
    from_release: str
    to_release: str
    target_name: str
    target_kind: str
    notice: str
    strategy: str
    scope: str
    operator: str
    approval: Mapping[str, str]
    approvals: tuple[ApprovalView, ...]
    """Those that are signed, further attempts' too."""
    started: datetime | None
    finished: datetime | None
    reasons: tuple[str, ...]
    clauses: tuple[ClauseView, ...]
    deviations: tuple[DeviationView, ...]
    commands: tuple[CommandView, ...]
    gates: tuple[GateView, ...]
    seconds: tuple[LoadView, ...]
    load: Mapping[str, Any]
    """The sums of every attempt's summary.json, or what the verdict holds of them."""
    evidence: Mapping[str, int]
    weights: tuple[WeightView, ...]
    shares: tuple[ShareView, ...]
    decisions: tuple[DecisionView, ...]
    way_back: WayBack | None
    """None when no gate decided to go back."""
    markers: MarkersView | None
    """None when they were never compared, or an older record does not say so."""
    probe: Mapping[str, float]
    """The open-loop probe's totals; empty without one."""
    probed: tuple[ProbeView, ...]
    latencies: tuple[LatencyView, ...]
    """By phase and colour; empty in older records."""
    rollback: Rollback
    observation: Mapping[str, Any]
    points_of_no_return: tuple[str, ...]
    serving_first: str
    """The colour that served when the run began; empty when unknown."""
    versions: Mapping[str, str]
    attempts: tuple[AttemptView, ...] = ()
    """Every process that worked on the record; empty in older ones."""
    images_from: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The digests that the release before ran, by colour; empty where nobody looked."""
    images_to: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The digests that the new release ran when it was looked at last."""
    diagnoses: tuple[DiagnosisView, ...] = ()
    standing: str = ""
    """How far the upgrade has come, as far as the way back is concerned; empty when the journal does not hold."""
    way_back_now: tuple[WayBackStep, ...] = ()
    """Every clause of the way back from where the journal ends, those that are needed in their order."""
    manifest_sha256: str = ""
    """Of manifest.json, which names every input's digest; empty as long as there is none."""
    attested: tuple[str, ...] = ()
    """The attestations' files that are signed, by their names."""
    signed_with: tuple[str, ...] = ()
    """The ids of the keys that signed them, as the envelopes give them: a hint, proven by `cutover verify` alone."""
    sealed: int = 0
    """How many times it was sealed, this time included, by the manifest's number; 0 without a manifest."""
    sealed_before: str = ""
    """The digest of the seal before this one; empty where there is none."""
    clock_ahead_s: float = 0.0
    """By how much the harness's clock was put ahead at the most, in any attempt; then its times are not the site's."""
    previous: Mapping[str, str] = field(default_factory=dict)
    """The upgrade before on the same site, where this one names it: id, from, to, result, journal, verdict."""
    problems: tuple[str, ...] = field(default=())

    def count(self, result: str) -> int:
        """Return how many clauses have a result."""
        return sum(clause.result == result for clause in self.clauses)

    def clause(self, clause_id: str) -> ClauseView | None:
        """Return a clause by its id."""
        return next((clause for clause in self.clauses if clause.id == clause_id), None)

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to finish."""
        if self.started is None or self.finished is None:
            return None
        return (self.finished - self.started).total_seconds()

    def events(self, *names: str) -> Iterator[Line]:
        """Yield the journal's lines of some events."""
        return (line for line in self.lines if line.event in names)
