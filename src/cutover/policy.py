"""The policy file: limits with their units, the approval, and how far a run goes.

Parsed once against `contract/policy.schema.json`; its digest is in the plan and the record.
Invariants: weights are the runbook's; every time is aware; ratios are in 0 ... 1; durations are in seconds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutover import _documents
from cutover.errors import PolicyInvalid
from cutover.model import Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping


WEIGHTS = (10, 25, 50, 100)
"""Percent to green, in the order of clauses 3.1a to 3.1d."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """`[approval]`: who asked, who agreed, when it may happen, who was told (1.3f)."""

    requested_by: str
    approved_by: str
    meaning: str
    approved_at: datetime
    channel: str
    announced_to: str
    window_start: datetime
    window_end: datetime


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyGate:
    """3.3b."""

    max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceGate:
    """3.3c."""

    min_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationGate:
    """3.3d. `min_ratio`: successes by attempts."""

    min_ratio: float
    min_attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """`[gates]`: absolute limits, over a range of so many seconds."""

    range_s: float
    error_ratio: ErrorRatioGate
    latency_p99: LatencyGate
    evidence_operations: EvidenceGate
    attestation_success: AttestationGate


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
    """`[probe]`: reads of the public host by the clock, each measured from the time at which it was meant to be sent."""

    requests_per_s: float = 20.0
    timeout_s: float = 5.0
    max_p99_s: float = 1.0
    """Over a bake, from the intended start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`[limits]`: bounds of waits and ages."""

    queue_drain_s: float
    ready_s: float
    backup_max_age_s: float
    rollback_s: float
    archive_retention_days: float
    """How long an archived artifact may not be removed, where the archive has a lock; a year unless stated (4.3c)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """`[observation]`: how long blue is kept (5.1)."""

    window_s: float
    interval_s: float
    in_run: bool
    """Phase 5 is part of the run itself; elsewhere the run ends with phase 4 and the observation goes on."""


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
        requested_by=content["requested_by"],
        approved_by=content["approved_by"],
        meaning=content["meaning"],
        approved_at=_moment(content, "approved_at", path),
        channel=content["channel"],
        announced_to=content["announced_to"],
        window_start=_moment(content, "window_start", path),
        window_end=_moment(content, "window_end", path),
    )


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
        gates=Gates(
            range_s=gates["range_s"],
            error_ratio=ErrorRatioGate(**gates["error_ratio"]),
            latency_p99=LatencyGate(**gates["latency_p99"]),
            evidence_operations=EvidenceGate(**gates["evidence_operations"]),
            attestation_success=AttestationGate(**gates["attestation_success"]),
        ),
        load=Load(**load),
        probe=Probe(**content.get("probe", {})),
        limits=Limits(**{"archive_retention_days": 365, **content["limits"]}),
        observation=Observation(**{"in_run": False, **observation}),
    )
    weights = policy.traffic.weights
    if weights != WEIGHTS:
        raise PolicyInvalid(
            f"the policy file {path} cannot be used",
            seen=f"traffic.weights: {list(weights)}, the guide's 3.1 and the runbook have {list(WEIGHTS)}",
            do=f"write weights = {list(WEIGHTS)}; other steps would be other clauses",
        )
    approval = policy.approval
    if approval is not None and approval.window_start >= approval.window_end:
        raise PolicyInvalid(
            f"the policy file {path} cannot be used",
            seen="approval: the window ends before it starts",
            do="correct window_start or window_end",
        )
    return policy
