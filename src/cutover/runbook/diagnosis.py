"""Why something failed, in words, with the guide's remedy where it has one (Troubleshooting, T.1 to T.4).

First the facts are gathered: what the error says, what the colour's pods, Service and dependencies show. Then the table
of causes is read. A site can be examined without any failure too.
Invariants: diagnosing changes nothing and never raises; no cause fitting is said, not guessed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cutover.errors import ClauseFailed, CouldNotMeasure, CutoverError
from cutover.runbook.causes import EXAMINED, Diagnosis, Facts, cause_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cutover.model import Environment
    from cutover.runbook.ports import Deployment, Pod, SitePorts

__all__ = ["Diagnosis", "Examined", "Facts", "cause_of", "diagnose", "examine", "explain", "gather"]

T = TypeVar("T")

FACT = "diagnosis"
"""Under which an error's facts name the row of the table."""
_INSTANCE = "app.kubernetes.io/instance"
_PATH_TIMEOUT_S = 3.0
_MOST_PODS = 4
_OF_TRAFFIC = frozenset(
    {
        "served-by-other",
        "round-trip-failed",
        "share-outside-interval",
        "public-unreachable",
        "weight-not-kept",
        "route-not-kept",
        "route-not-taken",
        "gate-failed",
        "gate-not-measured",
        "gate-undecided",
    }
)
"""Errors that routes can cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One colour as it was found."""

    environment: Environment
    is_installed: bool
    ready_pods: int
    pods: int
    ready_endpoints: int | None
    """Behind its Service; None when nobody could be asked."""
    diagnosis: Diagnosis | None
    """The first row of the table that fits; None when none does."""


def diagnose(site: SitePorts, environment: Environment, error: CutoverError) -> Diagnosis | None:
    """Return the cause of an error that struck a colour, or None when no known cause fits. Raises nothing."""
    return cause_of(gather(site, environment, error))


def explain(site: SitePorts, environment: Environment, error: CutoverError) -> None:
    """Add the cause in words, the remedy and the table's row to an error, once. Raises nothing.

    Of an error that brings a cause of its own, only the row is added, by what the error itself says.
    """
    if FACT in error.facts:
        return
    own = bool(error.cause_text)
    found = cause_of(Facts(environment=environment, error=error)) if own else diagnose(site, environment, error)
    if found is None:
        return
    error.facts[FACT] = found.id
    if found.clause:
        error.facts["troubleshooting"] = found.clause
    if own:
        return
    error.cause_text = found.cause
    if found.remedy:
        error.do = found.remedy


def examine(site: SitePorts, environment: Environment) -> Examined:
    """Look at a colour though nothing has failed, and say what is wrong with it. Raises nothing."""
    facts = gather(site, environment, ClauseFailed(f"{environment.name} is examined", code=EXAMINED))
    return Examined(
        environment=environment,
        is_installed=bool(facts.pods or facts.deployments),
        ready_pods=len(facts.pods) - len(facts.unready),
        pods=len(facts.pods),
        ready_endpoints=facts.ready_endpoints,
        diagnosis=cause_of(facts),
    )


# -- facts -------------------------------------------------------------------------------------------------------------


def gather(site: SitePorts, environment: Environment, error: CutoverError) -> Facts:
    """Look at the colour; what cannot be looked at stays unknown. Raises nothing."""
    namespace = environment.namespace
    pods: tuple[Pod, ...] = _tried(lambda: site.cluster.pods(namespace, selector={_INSTANCE: environment.release}), ())
    service = _tried(lambda: site.cluster.service(namespace, environment.service), None)
    endpoints: int | None = _tried(lambda: site.cluster.ready_endpoints(namespace, environment.service), None)
    waiting = next((pod for pod in pods if pod.problem_in_init or pod.init_running), None)
    crashing = next((pod for pod in pods if pod.problem and not pod.problem_in_init), None)
    return Facts(
        environment=environment,
        error=error,
        pods=pods,
        deployments=_tried(lambda: _deployments(site, environment), ()),
        selector=(service["spec"].get("selector") or {}) if service else None,
        ready_endpoints=endpoints,
        readiness=_readiness(site, namespace, [pod for pod in pods if not pod.ready or error.code in _OF_TRAFFIC]),
        init_log=_log(site, waiting, waiting.problem_container or waiting.init_running) if waiting else "",
        crash_log=_log(site, crashing, crashing.problem_container) if crashing else "",
        database_problem=_database_problem(site),
        warnings=_tried(lambda: _warnings(site, namespace), ()),
        routes=_tried(lambda: (*site.routing.drift(), *site.routing.lint()), ()) if error.code in _OF_TRAFFIC else (),
    )


def _tried(look: Callable[[], T], unknown: T) -> T:
    try:
        return look()
    except CutoverError:
        return unknown


def _deployments(site: SitePorts, environment: Environment) -> tuple[Deployment, ...]:
    found = site.cluster.deployments(environment.namespace)
    return tuple(each for each in found if each.labels.get(_INSTANCE) == environment.release)


def _readiness(site: SitePorts, namespace: str, pods: Sequence[Pod]) -> dict[str, dict[str, str]]:
    """Ask pods what they lack, past their Service: the cluster may not have noticed yet that one is not ready."""
    found: dict[str, dict[str, str]] = {}
    for pod in [pod for pod in pods if pod.ip and pod.container_port and not pod.problem][:_MOST_PODS]:
        port = pod.container_port or 0
        try:
            answer = site.cluster.proxy_pod(namespace, pod.name, port, "/readyz", timeout_s=_PATH_TIMEOUT_S)
            checks = json.loads(answer.body).get("checks", {})
            found[pod.name] = {str(name): str(said) for name, said in checks.items() if said not in {"ok", True}}
        except (CutoverError, ValueError, AttributeError):
            continue
    return found


def _log(site: SitePorts, pod: Pod, container: str) -> str:
    """Return the last lines of a container, of its run before this one where this one has said nothing yet."""

    def read(*, previous: bool) -> str:
        return site.cluster.pod_log(pod.namespace, pod.name, container, previous=previous, tail_lines=5).strip()

    return _tried(lambda: read(previous=False), "") or _tried(lambda: read(previous=True), "")


def _database_problem(site: SitePorts) -> str:
    try:
        site.database.identity()
    except CouldNotMeasure as error:
        return error.seen or error.message
    except CutoverError:
        return ""
    return ""


def _warnings(site: SitePorts, namespace: str) -> tuple[str, ...]:
    return tuple(f"{event.name}: {event.message}" for event in site.cluster.events(namespace) if event.is_warning)
