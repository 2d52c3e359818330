"""What a run will do: the ordered clauses, what each changes, how that is undone, and what is left out and why.

Made from files alone: the catalogue, the scenarios, the target with what it names, the policy, the harness itself. One
digest over all, which an approval signs.
Invariants: a clause that will not be performed says why, in a kind that the verdict knows; whatever changes what a run
would do changes the digest, and `changes` can name it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import rfc8785

from cutover.errors import WrongInput
from cutover.model import Risk, Strategy
from cutover.runbook import materials
from cutover.runbook.catalogue import STAGES
from cutover.runbook.journal import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cutover.model import Clause
    from cutover.policy import Policy
    from cutover.runbook.catalogue import Catalogue
    from cutover.runbook.inventory import PlannedScenario
    from cutover.target import Target

SCHEMA = "cutover/plan/v1"
GRADUAL_CLAUSES = ("3.1a", "3.1b", "3.1c", "3.1d")
ROLLBACK_CLAUSE = "R.1"
OBSERVATION_STAGE = 5
_SHORT_DIGEST = len("sha256:") + 12
_BESIDE = {
    "rollback": "performed only when traffic has to go back",
    "contract": "performed by ./cutover contract, once nothing needs the old schema any more",
}
"""Why the clauses of a phase that belongs to no run are not performed by one."""


class NotRunKind(StrEnum):
    """Why a clause was not performed."""

    NOT_BUILT = "not-built"
    STRATEGY = "strategy"
    NOT_NEEDED = "not-needed"
    OBSERVATION = "observation"
    SCOPE = "scope"
    NOT_REACHED = "not-reached"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"
    UNREPORTED = "unreported"

    @property
    def allows_passing(self) -> bool:
        """Whether a run can have PASSED without this clause."""
        return self in {
            NotRunKind.NOT_BUILT,
            NotRunKind.STRATEGY,
            NotRunKind.NOT_NEEDED,
            NotRunKind.OBSERVATION,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRun:
    """A clause that is left out: why, for the verdict and in words."""

    kind: NotRunKind
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which phases a run performs."""

    stages: tuple[int, ...] = STAGES
    text: str = "all"

    @staticmethod
    def of(*, phases: Iterable[int] = (), until: int | None = None) -> Scope:
        """Return the scope that `--phase` and `--until` ask for; both absent: all.

        Raises WrongInput for a phase that is none, or when both are given.
        """
        chosen = tuple(sorted(set(phases)))
        for stage in (*chosen, *([] if until is None else [until])):
            if stage not in STAGES:
                raise WrongInput(f"there is no phase {stage}", code="phase-unknown", do="give 1, 2, 3, 4 or 5")
        if chosen and until is not None:
            raise WrongInput("--phase and --until exclude each other", code="scope", do="give one of them")
        if chosen:
            return Scope(stages=chosen, text="phases " + ", ".join(map(str, chosen)))
        if until is not None:
            return Scope(stages=tuple(stage for stage in STAGES if stage <= until), text=f"until {until}")
        return Scope()

    @property
    def complete(self) -> bool:
        """Whether nothing is left out."""
        return self.stages == STAGES and self.text == "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedClause:
    """One clause in the plan."""

    id: str
    title: str
    phase: str
    guide: str
    check: str
    risk: Risk
    changes: str
    undo: str
    scenarios: tuple[str, ...]
    not_run: NotRun | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole plan."""

    target_name: str
    from_release: str
    to_release: str
    strategy: Strategy
    scope: str
    target_sha256: str
    policy_sha256: str
    tools: Mapping[str, str]
    """The harness's version, and the digests of what it performs the run with."""
    inputs: Mapping[str, str]
    """The digest of each file that the target names, by its key there."""
    clauses: tuple[PlannedClause, ...]

    @property
    def points_of_no_return(self) -> tuple[str, ...]:
        """The ids of the clauses that are performed and cannot be undone."""
        return tuple(c.id for c in self.clauses if c.risk is Risk.IRREVERSIBLE and c.not_run is None)

    @property
    def later_points(self) -> tuple[str, ...]:
        """The ids of the clauses that cannot be undone either, and that a command of its own performs, later or never.

        An approval may cover them already.
        """
        return tuple(c.id for c in self.clauses if c.risk is Risk.IRREVERSIBLE and c.not_run is not None)

    def risks(self) -> Mapping[Risk, int]:
        """Return how many of the performed clauses there are of each risk."""
        return Counter(c.risk for c in self.clauses if c.not_run is None)

    def document(self) -> dict[str, Any]:
        """Return the plan in JSON's types, its digest included."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "target": {"name": self.target_name, "sha256": self.target_sha256},
            "policy": {"sha256": self.policy_sha256},
            "upgrade": {"from": self.from_release, "to": self.to_release},
            "strategy": self.strategy.value,
            "scope": self.scope,
            "tools": dict(self.tools),
            "inputs": dict(self.inputs),
            "points_of_no_return": list(self.points_of_no_return),
            "clauses": plain(self.clauses),
        }
        document["digest"] = digest_of(document)
        return document

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over the RFC 8785 form of everything in the plan."""
        return str(self.document()["digest"])


NOT_SIGNED = frozenset({"digest", "estimates", "approvals"})
"""What a plan's document may hold besides what the digest is over."""


def digest_of(document: Mapping[str, Any]) -> str:
    """Return `sha256:<hex>` over the RFC 8785 form of a plan's document. Raises ValueError when it has none."""
    signed = {key: value for key, value in document.items() if key not in NOT_SIGNED}
    try:
        return _sha256(signed)
    except (rfc8785.CanonicalizationError, RecursionError) as problem:
        raise ValueError(f"the plan has no canonical form: {problem}") from problem


def outline(document: Mapping[str, Any]) -> dict[str, str]:
    """Return a plan's document as a few named facts and digests, by which two plans can be told apart.

    An approval carries them, so that it can be said what has changed since. Raises KeyError when it is no plan.
    """
    return {
        "target": document["target"]["name"],
        "target file": document["target"]["sha256"],
        "policy file": document["policy"]["sha256"],
        "from": document["upgrade"]["from"],
        "to": document["upgrade"]["to"],
        "strategy": document["strategy"],
        "scope": document["scope"],
        **{f"tool {name}": value for name, value in document.get("tools", {}).items()},
        **{f"input {name}": value for name, value in document.get("inputs", {}).items()},
        "points of no return": ", ".join(document["points_of_no_return"]) or "none",
        "clauses": _sha256(document["clauses"]),
    }


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return in what two outlines differ, a line each, the two values short enough to be compared by eye."""
    return tuple(
        f"{name}: was {_short(before.get(name))}, now {_short(after.get(name))}"
        for name in dict.fromkeys([*after, *before])
        if before.get(name) != after.get(name)
    )


def _short(value: str | None) -> str:
    if value is None:
        return "not there"
    return f"{value[:_SHORT_DIGEST]}…" if value.startswith("sha256:") else value


def _sha256(value: Any) -> str:  # noqa: ANN401  # any JSON
    return "sha256:" + hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def make(
    *,
    catalogue: Catalogue,
    scenarios: Sequence[PlannedScenario],
    target: Target,
    policy: Policy,
    strategy: Strategy | None = None,
    scope: Scope | None = None,
) -> Plan:
    """Return the plan of a run; strategy and scope default to the policy's and to everything."""
    chosen_strategy = strategy or policy.strategy
    chosen_scope = scope or Scope()
    names: dict[str, list[str]] = {clause.id: [] for clause in catalogue}
    for scenario in scenarios:
        for clause in catalogue.tagged(scenario.tags):
            names[clause.id].append(scenario.name)
    fill = _values(target, policy)
    return Plan(
        target_name=target.name,
        from_release=target.upgrade.from_release,
        to_release=target.upgrade.to_release,
        strategy=chosen_strategy,
        scope=chosen_scope.text,
        target_sha256=target.sha256,
        policy_sha256=policy.sha256,
        tools=materials.of_harness(),
        inputs=materials.of_target(target),
        clauses=tuple(
            PlannedClause(
                id=clause.id,
                title=clause.title,
                phase=clause.phase,
                guide=clause.guide,
                check=clause.check,
                risk=clause.risk,
                changes=_fill(clause.changes, fill),
                undo=_fill(clause.undo, fill),
                scenarios=tuple(names[clause.id]),
                not_run=left_out(clause, policy=policy, strategy=chosen_strategy, scope=chosen_scope),
            )
            for clause in catalogue
        ),
    )


def left_out(clause: Clause, *, policy: Policy, strategy: Strategy, scope: Scope) -> NotRun | None:
    """Return why a run with these settings does not perform a clause, or None when it does."""
    if not clause.built:
        return NotRun(kind=NotRunKind.NOT_BUILT, reason=clause.not_built_reason)
    if clause.drill or clause.phase in _BESIDE:
        return NotRun(kind=NotRunKind.NOT_NEEDED, reason=clause.drill or _BESIDE[clause.phase])
    if clause.stage not in scope.stages:
        return NotRun(kind=NotRunKind.SCOPE, reason=f"not in the scope of this run: {scope.text}")
    if strategy is Strategy.INSTANT and clause.id in GRADUAL_CLAUSES:
        return NotRun(kind=NotRunKind.STRATEGY, reason="instant strategy")
    if clause.stage == OBSERVATION_STAGE and not policy.observation.in_run:
        window = _duration(policy.observation.window_s)
        return NotRun(kind=NotRunKind.OBSERVATION, reason=f"observation runs for {window} after the cutover")
    return None


def _duration(seconds: float) -> str:
    """Return a duration in its largest whole unit: 259200 is `72 h`."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _values(target: Target, policy: Policy) -> Mapping[str, str]:
    """Return what the placeholders of the catalogue stand for on this target."""
    roles = target.default_roles()
    return {
        "from": target.upgrade.from_release,
        "to": target.upgrade.to_release,
        "blue.namespace": roles.blue.namespace,
        "blue.release": roles.blue.release,
        "blue.service": roles.blue.service,
        "green.namespace": roles.green.namespace,
        "green.release": roles.green.release,
        "routing.namespace": target.routing.namespace,
        "routing.public_route": target.routing.public_route,
        "routing.split_by": target.routing.split_by,
        "routing.blue": target.routing.name_of(roles.blue),
        "routing.green": target.routing.name_of(roles.green),
        "store.bucket": target.store.bucket,
        "store.archive_bucket": target.store.archive_bucket,
        "documents.current_version": target.documents.current_version.name,
        "documents.changelog": target.documents.changelog.name,
        **{f"weight.{index}": str(weight) for index, weight in enumerate(policy.traffic.weights)},
    }


def _fill(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
