"""The policy file: limits with their units, the approval, and how far a run goes.

Parsed once against `contract/policy.schema.json`; its digest is in the plan and the record.
Invariants: weights are the runbook's; every time is aware; ratios are in 0 ... 1; durations are in seconds; a gate of
the policy has a query, a condition and a name of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutover import _documents
from cutover.errors import PolicyInvalid
from cutover.model import Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping


WEIGHTS = (10, 25, 50, 100)
"""Percent to green, in the order of clauses 3.1a to 3.1d."""
GUIDES_GATES = ("error_ratio", "latency_p99", "evidence_operations", "attestation_success")
"""The guide's four metrics (3.3a to 3.3d)."""
GATE_NAMES = (
    *GUIDES_GATES,
    *(f"{name}_vs_blue" for name in GUIDES_GATES),
    "failed_requests",
    "load_attempted",
    "probe_latency",
    "served_by",
    "write_markers",
    "route_topology",
    "route_unchanged",
    "green_ready",
)
"""Every gate that a run has, whatever its policy; a policy adds its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """`[approval]`: who asked, who agreed, when it may happen, who was told (1.3f)."""

    requested_by: str
    channel: str
    announced_to: str
    window_start: datetime
    window_end: datetime
    approved_by: str = ""
    """With the two after it: a name that nothing proves; enough where no signed approval is needed."""
    meaning: str = ""
    approved_at: datetime | None = None
    required: bool = False
    """Signed approvals of the very plan are needed; on a production site they always are."""
    min_approvals: int = 1
    """So many people must have signed the plan, and each point of no return."""
    separate: bool = True
    """Who asks, and who performs the run, may not approve it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """`[traffic]`: the weights and how long each is watched."""

    weights: tuple[int, ...]
    """Percent, ascending, for 3.1a to 3.1d."""
    bake_s: float
    interval_s: float
    confidence: float
    """Of the binomial interval that the observed share must lie in: 0.999."""
    min_requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRatioGate:
    """3.3a. `max`: failed requests by all requests."""

    max: float
    min_requests: int
    """Fewer in a sample decide nothing."""
    max_increase: float = 0.005
    """Over blue's ratio in the same window: 0.005 is half a percent of the requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyGate:
    """3.3b."""

    max_s: float
    max_increase_ratio: float = 0.5
    """Over blue's p99 in the same window, as a part of it: 0.5 allows one and a half times as much."""
    min_increase_s: float = 0.05
    """An increase over blue's p99 by less is none, whatever its ratio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceGate:
    """3.3c."""

    min_per_s: float
    max_decrease_ratio: float = 0.5
    """Below blue's operations a request, as a part of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationGate:
    """3.3d. `min_ratio`: successes by attempts."""

    min_ratio: float
    min_attempts: int
    """Fewer decide nothing."""
    max_decrease: float = 0.05
    """Below blue's ratio in the same window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """`[gates.compare]`: how green is compared with blue at the same weight.

    Green fails only when it is worse than blue significantly, beyond the gate's tolerance, and in its effect.
    """

    enabled: bool = True
    significance: float = 0.01
    """Of the one-sided exact tests: how often equal colours may look as different as this."""
    min_samples: int = 5
    """Pairs of samples, taken at the same moment; fewer decide nothing."""
    min_effect_size: float = 0.7
    """The chance that a sample of green is worse than one of blue, 0.5 for equal colours; less is no effect."""
    min_events: int = 10
    """For tests on counts: so many events must have been expected of each colour; fewer decide nothing."""


class Source(StrEnum):
    """Who answers the question of a gate of the policy."""

    PROMETHEUS = "prometheus"
    POSTGRESQL = "postgresql"
    PLATFORM = "platform"
    LOAD = "load"


class LoadMetric(StrEnum):
    """What the load generator and the probe can say of the time since a weight took effect."""

    FAILED = "failed"
    FAILED_RATIO = "failed_ratio"
    ATTEMPTED = "attempted"
    ATTEMPTED_RATIO = "attempted_ratio"
    REQUESTS_PER_S = "requests_per_s"
    SCANS = "scans"
    WRITES = "writes"
    GREEN_P99_S = "green_p99_s"
    PROBE_FAILED = "probe_failed"
    PROBE_P50_S = "probe_p50_s"
    PROBE_P99_S = "probe_p99_s"
    PROBE_MAX_S = "probe_max_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomGate:
    """`[[gates.custom]]`: a gate of the policy's own. Between success and failure it is inconclusive."""

    name: str
    title: str
    unit: str
    source: Source
    query: str = ""
    """PromQL with `{where}` and `{range}`, or one SELECT that returns a number and a count."""
    count_query: str = ""
    """PromQL that counts what the value rests on."""
    path: str = ""
    """Of green's own HTTP API."""
    field: str = ""
    """Where in its JSON the number is: names and indices, with dots."""
    count_field: str = ""
    metric: LoadMetric | None = None
    success_max: float | None = None
    """Success: at most this."""
    success_min: float | None = None
    """Success: at least this."""
    failure_above: float | None = None
    """Failure: above this; the bound of success where nothing is said."""
    failure_below: float | None = None
    """Failure: below this."""
    min_samples: int = 1
    """Fewer decide nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """`[gates]`: limits over a range of so many seconds, and how a bad sample counts."""

    range_s: float
    error_ratio: ErrorRatioGate
    latency_p99: LatencyGate
    evidence_operations: EvidenceGate
    attestation_success: AttestationGate
    initial_delay_s: float = 0.0
    """No sample, and no bake time, before a weight has been in effect for so long."""
    failure_limit: int = 0
    """So many failed samples of a gate are borne in a bake; one more and the gate has failed."""
    inconclusive_limit: int = 0
    """The same for samples that decide nothing."""
    consecutive_error_limit: int = 4
    """So many times in a row a question may go without an answer; one time more and the sample is an error."""
    compare: Compare = field(default_factory=Compare)
    custom: tuple[CustomGate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`[load]`: what is sent to the public host during phases 2 to 4."""

    users: int
    requests_per_s: float
    write_share: float
    scan_share: float
    max_failed: int = 0
    """More failed requests than this in the whole run and it has not passed."""
    warm_up_s: float = 0.0
    """From one user to all of them, evenly; nothing sent meanwhile counts as planned."""
    think_time_s: float = 0.0
    """The least pause of a user between an answer and the next request."""
    min_attempted_ratio: float = 0.9
    """Attempted by planned requests; below it the load was not what the policy asks for."""
    cutover_share: float = 1.0
    """Of the rate above, while traffic moves (3.1 to 3.3)."""
    validation_share: float = 1.0
    """Of the rate above, from phase 4 on."""
    processes: int = 1
    """Worker processes on this machine; 1 is one process that does everything."""
    expect_workers: int = 0
    """Workers that connect over the network to the master that the run starts; 0 for none."""
    bind: str = "127.0.0.1"
    """Address the master listens on for them."""
    port: int = 5557


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """`[probe]`: reads of the public host by the clock, each measured from when it was meant to be sent."""

    requests_per_s: float = 20.0
    timeout_s: float = 5.0
    max_p99_s: float = 1.0
    """Over a bake, from the intended start."""
    min_answers: int = 20
    """Fewer answers at a weight decide nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`[limits]`: bounds of waits and ages."""

    queue_drain_s: float
    ready_s: float
    backup_max_age_s: float
    rollback_s: float
    archive_retention_days: float
    """How long an archived artifact may not be removed, where the archive has a lock; a year unless stated (4.3c)."""
    lock_wait_s: float = 3.0
    """While migrations run, nothing may wait longer than this for a lock in the database (2.1a, 2.2a)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """`[observation]`: how long blue is kept (5.1)."""

    window_s: float
    interval_s: float
    in_run: bool
    """Phase 5 is part of the run itself; elsewhere the run ends with phase 4 and the observation goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locking:
    """`[lock]`: how the site is kept for one run at a time."""

    duration_s: float = 15.0
    """A run that could not renew its lock for so long stops."""
    renew_s: float = 5.0
    """From one renewal to the next. Nobody takes over before so much more has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy file."""

    path: Path
    text: str = field(repr=False)
    sha256: str
    """`sha256:<hex>` over the file's bytes."""
    strategy: Strategy
    approval: Approval | None
    traffic: Traffic
    gates: Gates
    load: Load
    probe: Probe
    limits: Limits
    observation: Observation
    lock: Locking = field(default_factory=Locking)

    @staticmethod
    def read(path: Path | str) -> Policy:
        """Read and check a policy file. Raises PolicyInvalid with one sentence."""
        return _parse(Path(path).absolute())


def _moment(content: Mapping[str, Any], key: str, path: Path) -> datetime:
    value = content[key]
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as problem:
        raise PolicyInvalid(f"the policy file {path} cannot be used", seen=f"approval.{key}: {problem}") from problem
    if moment.tzinfo is None:
        raise PolicyInvalid(
            f"the policy file {path} cannot be used",
            seen=f"approval.{key}: {value} names no time zone",
            do="write it with Z or an offset",
        )
    return moment.astimezone(UTC)


def _approval(content: Mapping[str, Any] | None, path: Path) -> Approval | None:
    if content is None:
        return None
    return Approval(
        **{
            **content,
            "approved_at": _moment(content, "approved_at", path) if "approved_at" in content else None,
            "window_start": _moment(content, "window_start", path),
            "window_end": _moment(content, "window_end", path),
        }
    )


def _gates(content: Mapping[str, Any], path: Path) -> Gates:
    custom = tuple(_custom(number, gate, path) for number, gate in enumerate(content.get("custom", ())))
    names = [gate.name for gate in custom]
    twice = next((name for name in names if name in GATE_NAMES or names.count(name) > 1), None)
    if twice is not None:
        raise PolicyInvalid(
            f"the policy file {path} cannot be used",
            seen=f"gates.custom: there are two gates {twice}",
            do="give each gate a name of its own",
        )
    return Gates(
        **{
            **content,
            "error_ratio": ErrorRatioGate(**content["error_ratio"]),
            "latency_p99": LatencyGate(**content["latency_p99"]),
            "evidence_operations": EvidenceGate(**content["evidence_operations"]),
            "attestation_success": AttestationGate(**content["attestation_success"]),
            "compare": Compare(**content.get("compare", {})),
            "custom": custom,
        }
    )


def _custom(number: int, content: Mapping[str, Any], path: Path) -> CustomGate:
    """Return a gate of the policy's own. Raises PolicyInvalid for one that nothing could satisfy, or fail."""
    plain = {key: value for key, value in content.items() if not key.endswith("_condition")}
    success, failure = content["success_condition"], content.get("failure_condition", {})
    gate = CustomGate(
        **{
            **plain,
            "source": Source(content["source"]),
            "metric": LoadMetric(content["metric"]) if "metric" in content else None,
            "success_max": success.get("max"),
            "success_min": success.get("min"),
            "failure_above": failure.get("above"),
            "failure_below": failure.get("below"),
        }
    )
    ceiling, floor = gate.success_max, gate.success_min
    wrong = ""
    if ceiling is not None and floor is not None and floor > ceiling:
        wrong = "no number satisfies success_condition"
    elif gate.failure_above is not None and (ceiling is None or gate.failure_above < ceiling):
        wrong = "failure_condition.above needs a success_condition.max that is not greater"
    elif gate.failure_below is not None and (floor is None or gate.failure_below > floor):
        wrong = "failure_condition.below needs a success_condition.min that is not less"
    if wrong:
        raise PolicyInvalid(
            f"the policy file {path} cannot be used",
            seen=f"gates.custom.{number}: {gate.name}: {wrong}",
            do="between success and failure a gate is inconclusive: success, then nothing or a gap, then failure",
        )
    return gate


def _parse(path: Path) -> Policy:
    text, content = _documents.read(path, "policy", error=PolicyInvalid, noun="policy file")
    gates, load, observation = content["gates"], content["load"], content["observation"]
    policy = Policy(
        path=path,
        text=text,
        sha256="sha256:" + hashlib.sha256(text.encode()).hexdigest(),
        strategy=Strategy(content["strategy"]),
        approval=_approval(content.get("approval"), path),
        traffic=Traffic(**{**content["traffic"], "weights": tuple(content["traffic"]["weights"])}),
        gates=_gates(gates, path),
        load=Load(**load),
        probe=Probe(**content.get("probe", {})),
        limits=Limits(**{"archive_retention_days": 365, **content["limits"]}),
        observation=Observation(**{"in_run": False, **observation}),
        lock=Locking(**content.get("lock", {})),
    )
    weights = policy.traffic.weights
    if weights != WEIGHTS:
        raise PolicyInvalid(
            f"the policy file {path} cannot be used",
            seen=f"traffic.weights: {list(weights)}, the guide's 3.1 and the runbook have {list(WEIGHTS)}",
            do=f"write weights = {list(WEIGHTS)}; other steps would be other clauses",
        )
    if policy.lock.renew_s * 2 > policy.lock.duration_s:
        raise PolicyInvalid(
            f"the policy file {path} cannot be used",
            seen=f"lock: renew_s = {policy.lock.renew_s:g}, duration_s = {policy.lock.duration_s:g}: one renewal that "
            "fails may lose the lock",
            do="let duration_s be at least twice renew_s",
        )
    approval = policy.approval
    if approval is not None and approval.window_start >= approval.window_end:
        raise PolicyInvalid(
            f"the policy file {path} cannot be used",
            seen="approval: the window ends before it starts",
            do="correct window_start or window_end",
        )
    return policy
