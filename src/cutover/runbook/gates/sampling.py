"""Asking the sources of the gates: what was asked, when, and the raw answer, or why there was none.

Invariants: a question that nobody answers is asked again, as often in a row as the policy bears, and is then an answer
of its own kind; nothing is judged here; green and blue are asked the same at the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cutover.errors import CouldNotMeasure, CutoverError, Timeout
from cutover.policy import Source
from cutover.runbook.gates import reading
from cutover.runbook.gates.definitions import REQUESTS_QUERY, resolve
from cutover.runbook.gates.results import Asked, Taken
from cutover.runbook.journal import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from cutover.model import Roles
    from cutover.policy import CustomGate, Policy
    from cutover.runbook.gates.definitions import Gate
    from cutover.runbook.ports import Load, Pod, RouteFinding, SitePorts

T = TypeVar("T")

RETRY_S = 0.5
_POD_TIMEOUT_S = 3.0
_READY = "/readyz"


class Asker(Protocol):
    """Who asks: an upgrade, or a trial of its gates."""

    @property
    def policy(self) -> Policy:
        """The limits."""
        ...

    @property
    def roles(self) -> Roles:
        """Who is blue and who is green."""
        ...

    def wait_for(
        self,
        what: str,
        observe: Callable[[], T],
        *,
        until: Callable[[T], bool],
        bound_s: float,
        interval_s: float = ...,
        tolerate: tuple[type[CutoverError], ...] = ...,
        describe: Callable[[T], str] = ...,
    ) -> T:
        """Wait as `waiting.wait_for` does."""
        ...


def ask(asker: Asker, question: Callable[[], T]) -> T:
    """Ask, and ask again when there is no answer, as often as the policy bears. Raises: CouldNotMeasure."""
    try:
        return asker.wait_for(
            "an answer for a gate",
            question,
            until=lambda _: True,
            bound_s=asker.policy.gates.consecutive_error_limit * RETRY_S,
            interval_s=RETRY_S,
            tolerate=(CouldNotMeasure,),
            describe=lambda _: "an answer",
        )
    except Timeout as error:
        if isinstance(error.__cause__, CouldNotMeasure):
            raise error.__cause__ from None
        raise


def asked(asker: Asker, role: str, query: str, question: Callable[[], Any], *, at: datetime) -> Asked:
    """Ask one question and return it with its raw answer in JSON's types, or with why there is none."""
    try:
        return Asked(role=role, query=query, time=at, raw=plain(ask(asker, question)))
    except CutoverError as error:
        return Asked(role=role, query=query, time=at, raw=None, error=f"{error.code}: {error.message} ({error.seen})")


# -- Prometheus --------------------------------------------------------------------------------------------------------


def metric(
    asker: Asker,
    site: SitePorts,
    gate: Gate,
    *,
    percent: int | None,
    at: datetime,
    window_s: float,
    with_blue: bool = False,
) -> Taken:
    """Sample one of the guide's metrics on green and, where there is something to compare, on blue."""
    questions = {"value": gate.value_query, "count": gate.count_query}
    colours = {"": asker.roles.green, **({"blue_": asker.roles.blue} if with_blue else {})}
    found = tuple(
        promql(asker, site, prefix + role, resolve(query, namespace=colour.namespace, window_s=window_s), at=at)
        for prefix, colour in colours.items()
        for role, query in questions.items()
    )
    return Taken(name=gate.name, percent=percent, time=at, asked=found)


def promql(asker: Asker, site: SitePorts, role: str, query: str, *, at: datetime) -> Asked:
    """Ask Prometheus one resolved query."""
    return asked(asker, role, query, lambda: site.prometheus.query(query, at=at).raw, at=at)


def against_blue(asker: Asker, site: SitePorts, gate: Gate, sample: Taken, *, window_s: float, is_last: bool) -> Taken:
    """Return the counts by which a slow metric is compared, from the sample of both colours that is at hand."""
    answers = {one.role: one for one in sample.asked}
    if gate.name == "evidence_operations":
        roles = {"green": answers["count"], "blue": answers["blue_count"]}
        for name, colour in (("green", asker.roles.green), ("blue", asker.roles.blue)):
            query = resolve(REQUESTS_QUERY, namespace=colour.namespace, window_s=window_s)
            roles[f"{name}_requests"] = promql(asker, site, f"{name}_requests", query, at=sample.time)
    else:
        roles = {
            "green": answers["value"],
            "green_attempts": answers["count"],
            "blue": answers["blue_value"],
            "blue_attempts": answers["blue_count"],
        }
    found = tuple(
        Asked(role=role, query=one.query, time=one.time, raw=one.raw, error=one.error) for role, one in roles.items()
    )
    return Taken(name=gate.against_blue, percent=sample.percent, time=sample.time, asked=found, is_last=is_last)


def pairs(gate: Gate, found: Sequence[tuple[int, float, float]], *, percent: int, at: datetime, is_last: bool) -> Taken:
    """Return the comparison of a metric over pairs of samples: each pair's line, green's value and blue's."""
    query = f"green and blue of {gate.name} in these lines of gates/samples.jsonl"
    one = Asked(role="pairs", query=query, time=at, raw=[list(pair) for pair in found])
    return Taken(name=gate.against_blue, percent=percent, time=at, asked=(one,), is_last=is_last)


# -- the load generator and the probe ----------------------------------------------------------------------------------


def of_load(asker: Asker, load: Load, since: datetime | None, *, at: datetime) -> Asked:
    """Ask the load generator what it sent and got since a time, by default since it began."""
    words = f"what was sent and got since {plain(since)}" if since else "what was sent and got since the load began"
    green = asker.roles.green.name

    def question() -> dict[str, Any]:
        totals = load.window(since) if since else load.totals()
        elapsed_s = (at - since).total_seconds() if since else totals.seconds
        return {**plain(totals), "running": load.running(), "green": green, "elapsed_s": elapsed_s}

    return asked(asker, "load", words, question, at=at)


def of_probe(asker: Asker, load: Load, since: datetime, *, at: datetime) -> Asked:
    """Ask the open-loop probe what it got since a time."""
    words = f"what the probe got for the requests meant to be sent since {plain(since)}"
    return asked(asker, "probe", words, lambda: load.probe(since), at=at)


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


def markers(asker: Asker, site: SitePorts, run: str, acknowledged: Sequence[int], *, at: datetime) -> list[Asked]:
    """Ask the table for the write markers of a run, beside those that were acknowledged before it is asked."""
    raw = {"run": run, "acknowledged": reading.as_ranges(acknowledged)}
    said = Asked(role="load", query="acknowledged write markers", time=at, raw=raw)
    words = f"write markers of {run} in the table"
    there = asked(asker, "database", words, lambda: {"present": reading.as_ranges(site.database.markers(run))}, at=at)
    return [said, there]


# -- Kubernetes --------------------------------------------------------------------------------------------------------


def routes(asker: Asker, query: str, question: Callable[[], Sequence[RouteFinding]], *, at: datetime) -> Asked:
    """Ask the routes for findings."""
    return asked(asker, "routes", query, lambda: list(question()), at=at)


def green_pods(site: SitePorts, asker: Asker) -> tuple[Pod, ...]:
    """Return the pods that green's Service selects; none where it selects nothing or does not exist."""
    green = asker.roles.green
    service = site.cluster.service(green.namespace, green.service)
    selector = (service or {}).get("spec", {}).get("selector") or {}
    return site.cluster.pods(green.namespace, selector=selector) if selector else ()


def readiness(asker: Asker, site: SitePorts, before: Mapping[str, int], *, at: datetime) -> Asked:
    """Ask each pod of green's Service itself whether it is ready. before: restarts by pod when the weight was set."""
    green = asker.roles.green

    def question() -> dict[str, Any]:
        pods = green_pods(site, asker)
        names = {pod.name for pod in pods}
        return {
            "pods": [_pod(site, green.namespace, pod, before) for pod in pods],
            "gone": [name for name in before if name not in names],
        }

    words = f"{_READY} of each pod of Service {green.service} in {green.namespace}"
    return asked(asker, "pods", words, question, at=at)


def _pod(site: SitePorts, namespace: str, pod: Pod, before: Mapping[str, int]) -> dict[str, Any]:
    known = {"name": pod.name, "restarts": pod.restarts, "restarts_before": before.get(pod.name, 0)}
    try:
        answer = site.cluster.proxy_pod(namespace, pod.name, pod.container_port or 80, _READY, timeout_s=_POD_TIMEOUT_S)
    except CouldNotMeasure as error:
        return {**known, "status": 0, "said": error.seen or error.message}
    return {**known, "status": answer.status, "said": answer.body.decode("utf-8", "replace")[:200]}


# -- the policy's own --------------------------------------------------------------------------------------------------


def custom(
    asker: Asker,
    site: SitePorts,
    load: Load | None,
    gate: CustomGate,
    *,
    percent: int | None,
    at: datetime,
    since: datetime,
    namespace: str = "",
) -> Taken:
    """Sample a gate of the policy's own. since: when the weight took effect. namespace: green's, unless stated."""
    match gate.source:
        case Source.PROMETHEUS:
            where = namespace or asker.roles.green.namespace
            found = [
                promql(asker, site, role, resolve(query, namespace=where, window_s=asker.policy.gates.range_s), at=at)
                for role, query in (("value", gate.query), ("count", gate.count_query))
            ]
        case Source.POSTGRESQL:
            found = [asked(asker, "rows", gate.query, lambda: site.database.look(gate.query), at=at)]
        case Source.PLATFORM:
            found = _platform(asker, site, gate, at)
        case Source.LOAD if load is not None:
            found = [of_load(asker, load, since, at=at), of_probe(asker, load, since, at=at)]
        case Source.LOAD:
            found = [Asked(role="load", query=str(gate.metric), time=at, raw=None, error="no load runs")]
    return Taken(name=gate.name, percent=percent, time=at, asked=tuple(found))


def _platform(asker: Asker, site: SitePorts, gate: CustomGate, at: datetime) -> list[Asked]:
    green = asker.roles.green
    try:
        pods = ask(asker, lambda: green_pods(site, asker))
    except CutoverError as error:
        return [Asked(role="pod", query=gate.path, time=at, raw=None, error=f"{error.code}: {error.message}")]

    def question(pod: Pod) -> dict[str, Any]:
        answer = site.cluster.proxy_pod(
            green.namespace, pod.name, pod.container_port or 80, gate.path, timeout_s=_POD_TIMEOUT_S
        )
        return {"pod": pod.name, "status": answer.status, "body": answer.json() if answer.status == 200 else None}

    return [
        asked(asker, "pod", f"GET {gate.path} of {pod.name}", lambda pod=pod: question(pod), at=at)  # type: ignore[misc]
        for pod in pods
    ]
