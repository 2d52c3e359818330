"""Why something failed, in words, with the guide's remedy where it has one (Troubleshooting, T.1 to T.4).

First the facts are gathered: what the error says, what the colour's pods, Service and dependencies show. Then one
table of causes is read from the top; the first that fits is the diagnosis.
Invariants: diagnosing changes nothing and never raises; a cause names what was seen; no cause fitting is said, not
guessed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cutover.errors import CouldNotMeasure, CutoverError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cutover.model import Environment
    from cutover.runbook.ports import Pod, RouteFinding, SitePorts

T = TypeVar("T")

_INSTANCE = "app.kubernetes.io/instance"
_COMPONENT = "app.kubernetes.io/component"
_PATH_TIMEOUT_S = 3.0
_MOST_PODS = 4
_IMAGE_PROBLEMS = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"})
_OF_TRAFFIC = frozenset(
    {
        "served-by-other",
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
_DATABASE_WORDS = ("database does not answer", "connection refused", "could not connect", "connection timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One cause. `remedy` is one line; `clause` the guide's row that names it (T.1 to T.4), or empty."""

    cause: str
    remedy: str = ""
    clause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known when a cause is looked for."""

    environment: Environment
    error: CutoverError
    pods: tuple[Pod, ...] = ()
    selector: Mapping[str, str] | None = None
    """Of the colour's Service; None when there is no such Service, or nobody could be asked."""
    ready_endpoints: int | None = None
    """Behind the colour's Service; None when nobody could be asked."""
    readiness: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By pod that is not ready: its own checks that are not ok, name to sentence."""
    init_log: str = ""
    """The end of what a failing or waiting init container wrote."""
    crash_log: str = ""
    """The end of what a crashing container wrote."""
    database_problem: str = ""
    """Why the database does not answer on the operator's path; empty when it does."""
    warnings: tuple[str, ...] = ()
    """Warning events of the namespace, newest last."""
    routes: tuple[RouteFinding, ...] = ()
    """What somebody else changed of the routes, then what cannot work; looked at when traffic is not as it ought."""

    @property
    def unready(self) -> tuple[Pod, ...]:
        """The pods that are not ready."""
        return tuple(pod for pod in self.pods if not pod.ready)


def diagnose(site: SitePorts, environment: Environment, error: CutoverError) -> Diagnosis | None:
    """Return the cause of an error that struck a colour, or None when no known cause fits. Raises nothing."""
    return cause_of(gather(site, environment, error))


def explain(site: SitePorts, environment: Environment, error: CutoverError) -> None:
    """Add the cause in words, and the remedy where one is known, to an error. Raises nothing."""
    if error.cause_text:
        return
    found = diagnose(site, environment, error)
    if found is None:
        return
    error.cause_text = found.cause
    if found.remedy:
        error.do = found.remedy
    if found.clause:
        error.facts["troubleshooting"] = found.clause


def cause_of(facts: Facts) -> Diagnosis | None:
    """Return the first cause of the table that fits the facts; pure."""
    for rule in _CAUSES:
        found = rule(facts)
        if found is not None:
            return found
    return None


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
        selector=(service["spec"].get("selector") or {}) if service else None,
        ready_endpoints=endpoints,
        readiness=_readiness(site, namespace, [pod for pod in pods if not pod.ready]),
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


def _readiness(site: SitePorts, namespace: str, pods: Sequence[Pod]) -> dict[str, dict[str, str]]:
    """Ask pods that are not ready what they lack, past their Service."""
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


# -- causes ------------------------------------------------------------------------------------------------------------


def _command(facts: Facts) -> Diagnosis | None:
    if facts.error.code != "command-timeout":
        return None
    shown = str(facts.error.facts.get("argv", "a command"))
    return Diagnosis(
        cause=f"`{shown}` timed out: it neither ended nor failed by itself",
        remedy="see in its transcript what it waits for; raise its time limit only if it was still working",
    )


def _metrics(facts: Facts) -> Diagnosis | None:
    if facts.error.code.startswith("prometheus-") or (
        facts.error.code == "gate-not-measured" and "prometheus-" in facts.error.seen
    ):
        return Diagnosis(
            cause="Prometheus does not answer, so no gate can be measured",
            remedy="check that Prometheus runs and that url in [prometheus] of the target is right",
        )
    return None


def _database_lost(facts: Facts) -> Diagnosis | None:
    if not facts.database_problem:
        return None
    return Diagnosis(
        cause=f"the shared database does not answer, for either colour: {facts.database_problem}",
        remedy="bring PostgreSQL back first: neither colour can serve without it, and moving traffic does not help",
    )


def _image(facts: Facts) -> Diagnosis | None:
    pod = next((pod for pod in facts.pods if pod.problem in _IMAGE_PROBLEMS), None)
    if pod is None:
        return None
    return Diagnosis(
        cause=f"pod {pod.name}: {pod.problem}, image {', '.join(pod.images)} cannot be pulled ({pod.problem_detail})",
        remedy="push the image to the registry, or correct the release in [upgrade] of the target, then install again",
    )


def _init(facts: Facts) -> Diagnosis | None:
    pod = next((pod for pod in facts.pods if pod.problem_in_init or pod.init_running), None)
    if pod is None:
        return None
    container = pod.problem_container or pod.init_running
    last = facts.init_log.splitlines()[-1] if facts.init_log else pod.problem_detail
    if any(word in facts.init_log.lower() for word in _DATABASE_WORDS):
        return Diagnosis(
            cause=f"pod {pod.name} is stuck in init container {container}: it cannot reach the database ({last})",
            remedy="check database connectivity from the pod: address, route, credentials and connection limit",
            clause="T.2",
        )
    return Diagnosis(
        cause=f"pod {pod.name} is stuck in init container {container}: {last}",
        remedy="increase migrationTimeoutSeconds in the values, and see who holds the migration lock",
        clause="T.1",
    )


def _crash(facts: Facts) -> Diagnosis | None:
    pod = next((pod for pod in facts.pods if pod.problem and pod.problem not in _IMAGE_PROBLEMS), None)
    if pod is None:
        return None
    last = f"; it last wrote: {facts.crash_log.splitlines()[-1]}" if facts.crash_log else ""
    return Diagnosis(
        cause=f"pod {pod.name}: {pod.problem}, {pod.problem_detail}{last}",
        remedy=f"read its log: kubectl logs {pod.name} -c {pod.problem_container} -n {pod.namespace} --previous",
    )


def _dependency(facts: Facts) -> Diagnosis | None:
    for pod, checks in facts.readiness.items():
        for name in ("database", "schema", "cache", "store"):
            if name not in checks:
                continue
            if name in {"database", "schema"} and "pending" not in checks[name]:
                return Diagnosis(
                    cause=f"pod {pod} is not ready: it cannot reach its database ({checks[name]})",
                    remedy="check database connectivity from the pod: address, route, credentials, connection limit",
                    clause="T.2",
                )
            return Diagnosis(
                cause=f"pod {pod} is not ready: its {name} check says {checks[name]}",
                remedy=f"check the {name} of {facts.environment.name}: address and credentials in its values",
            )
    return None


def _unready(facts: Facts) -> Diagnosis | None:
    unready = [pod for pod in facts.unready if not pod.problem]
    if not unready:
        return None
    pod = unready[0]
    said = "; ".join(f"{name}: {text}" for name, text in facts.readiness.get(pod.name, {}).items())
    warning = next((text for text in reversed(facts.warnings) if text.startswith(pod.name)), "")
    return Diagnosis(
        cause=f"pod {pod.name} runs and is not ready, its probe fails: {said or warning or 'no reason given'}",
        remedy="check database connectivity first, then what the pod's /readyz names",
        clause="T.2",
    )


def _no_endpoints(facts: Facts) -> Diagnosis | None:
    if facts.ready_endpoints != 0 or not any(pod.ready for pod in facts.pods):
        return None
    environment = facts.environment
    if facts.selector is None:
        return Diagnosis(
            cause=f"no endpoint to route to: no Service {environment.service} in namespace {environment.namespace}",
            remedy="verify the Service's name in the target, and its selector labels",
            clause="T.4",
        )
    web = [pod for pod in facts.pods if pod.labels.get(_COMPONENT) in {None, "web"}] or list(facts.pods)
    wrong = [
        f"{key}={value} (pods carry {web[0].labels.get(key, 'none')})"
        for key, value in facts.selector.items()
        if web[0].labels.get(key) != value
    ]
    return Diagnosis(
        cause=f"Service {environment.service} has no ready endpoint though its pods are ready: "
        + (f"its selector wants {', '.join(wrong)}" if wrong else "its selector matches no ready pod"),
        remedy="verify the service selector labels against the labels of the pods",
        clause="T.4",
    )


def _queue(facts: Facts) -> Diagnosis | None:
    if "queue" not in facts.error.code:
        return None
    return Diagnosis(
        cause=f"scans are not finished, the queue does not drain: {facts.error.seen}",
        remedy="see whether the worker takes jobs (its log, its readiness); restart it, then run again",
    )


def _continuity(facts: Facts) -> Diagnosis | None:
    if not facts.error.code.startswith(("continuity", "evidence")):
        return None
    return Diagnosis(
        cause=f"evidence is not what it was before the upgrade: {facts.error.seen}",
        remedy="run `stella evidence reindex`: it mends an index; altered content must come back from the backup",
        clause="T.3",
    )


def _examined(facts: Facts) -> Diagnosis | None:
    """Read the platform's own examination where the pods have not noticed yet."""
    if facts.error.code != "doctor-not-ok" or "database" not in facts.error.seen:
        return None
    name = facts.environment.name
    return Diagnosis(
        cause=f"{name} cannot reach its database: {facts.error.seen.partition(';')[0]}",
        remedy=f"check database connectivity from {name}: address, route, credentials, connection limit",
        clause="T.2",
    )


def _routes(facts: Facts) -> Diagnosis | None:
    if not facts.routes:
        return None
    first = facts.routes[0]
    more = f", and {len(facts.routes) - 1} more" if len(facts.routes) > 1 else ""
    return Diagnosis(cause=f"{first.message}{more}", remedy=first.remedy)


def _gates(facts: Facts) -> Diagnosis | None:
    if facts.error.code != "gate-failed":
        return None
    name = facts.environment.name
    return Diagnosis(cause=f"{name} does worse than the policy allows: {facts.error.seen.replace(chr(10), '; ')}")


_CAUSES: tuple[Callable[[Facts], Diagnosis | None], ...] = (
    _command,
    _metrics,
    _queue,
    _continuity,
    _database_lost,
    _image,
    _init,
    _crash,
    _dependency,
    _unready,
    _no_endpoints,
    _examined,
    _routes,
    _gates,
)
