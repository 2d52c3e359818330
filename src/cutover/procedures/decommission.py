"""Observation and decommission of blue (5.1, 5.2a, 5.2b, F.12, F.14, F.15).

Invariants: a gap in what was watched is a gap, never a pass; nothing that still routes, stores or is referenced is
deleted. Another process goes on with the window, days later too: Prometheus says what became of it meanwhile, and a gap
that it shows begins the window anew. Blue's removal, broken off at any point, is gone on with from what is left of it.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cutover.clock import parse_rfc3339, rfc3339
from cutover.errors import ClauseFailed, CouldNotMeasure, Refused, Timeout
from cutover.procedures import connections, health, traffic
from cutover.procedures.release import INSTANCE_LABEL
from cutover.procedures.routes import routes_to
from cutover.runbook import gates
from cutover.runbook.checks import expect
from cutover.runbook.gates import GateVerdict

if TYPE_CHECKING:
    from datetime import datetime

    from cutover.model import Environment
    from cutover.runbook.gates import GateResult, Watched
    from cutover.runbook.journal import Entry
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site


_ROUTES = ("Ingress ", "HTTPRoute ", "Gateway ")
_REMOVE = "decommission"
"""The action after whose intent blue cannot serve again by routing alone (`upgrade.FINAL_ACTIONS`)."""
_ABSENT = "absent"
_DRAINED = "blue queue"
_ANEW = "window begun anew"
_MOST_WINDOWS = 3
"""So often at most one attempt begins the window anew."""
_DATA_BOUND_S = 20.0
_MINUTE_S, _HOUR_S = 60, 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The observation window as it was watched."""

    began: datetime
    ended: datetime
    live: tuple[GateResult, ...]
    """The worst sample of each gate while the run waited for the window's end."""
    watched: tuple[Watched, ...]
    """Each gate over the whole window, from range queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceUse:
    """What in a namespace is still in use, and by what; empty when nothing."""

    namespace: str
    in_use: tuple[str, ...]
    deleted: bool


def observe_window(site: Site, upgrade: Upgrade) -> Window:
    """Stay until the window that began with the cutover has passed, then look at the whole of it (5.1, F.14).

    What the run did since the cutover takes up a part of the window. The gates are sampled while the rest is waited
    for, until a limit is broken, Prometheus is silent or another colour than green answers; the window itself, from
    its beginning on, is read from what Prometheus recorded. In a further attempt a gap in that, in which nobody
    watched, begins the window anew. That it is complete is for `complete_observation` to say.
    Raises:
        Refused: there was no cutover in this upgrade.
        CouldNotMeasure: Prometheus does not answer.
        ClauseFailed: the public host is not served by green alone.
    """
    began = window_began(upgrade)
    if upgrade.attempt > 1:
        _wait_for_data(site, upgrade)
        began = _since_last_gap(site, upgrade, began)
    observation = upgrade.policy.observation
    samples: list[tuple[GateResult, ...]] = []
    waited_from = upgrade.clock.now()
    for _ in range(_MOST_WINDOWS if upgrade.attempt > 1 else 1):
        ends = began + timedelta(seconds=observation.window_s)
        upgrade.remember("observation", state="running", until=rfc3339(ends), window_s=observation.window_s)
        samples += upgrade.hold(
            "the observation window",
            lambda: _look(site, upgrade),
            duration_s=max(0.0, (ends - upgrade.clock.now()).total_seconds()),
            interval_s=observation.interval_s,
            describe=gates.describe,
            stop=gates.is_decided,
        )
        if upgrade.attempt == 1 or gates.is_decided(samples[-1]):
            break
        before, began = began, _since_last_gap(site, upgrade, began)
        if began == before:
            break
    ended = upgrade.clock.now()
    watched = gates.over_window(upgrade, site, began=began, ended=ended)
    waited_s = (ended - waited_from).total_seconds()
    live_for = f"for the last {waited_s:.0f} s, {len(samples)} times" if len(samples) > 1 else "once, at its end"
    since_words = "since the cutover" if began == cutover_finished(upgrade) else "since the last gap"
    upgrade.deviation(
        "F.14",
        did=(
            f"sampled the gates live {live_for}, "
            f"and judged all {(ended - began).total_seconds():.0f} s {since_words} afterwards, every "
            f"{observation.interval_s:g} s, from range queries of Prometheus"
        ),
        instead_of="72 hours in which nobody looks",
        why="a window nobody watched proves nothing",
    )
    live = gates.worst_of_each(result for sample in samples for result in sample)
    return Window(began=began, ended=ended, live=live, watched=watched)


def _look(site: Site, upgrade: Upgrade) -> tuple[GateResult, ...]:
    """See for ourselves who serves, and sample the gates: they say how green works, not that users reach it.

    In a window of days a request may fail: as many of a sample as the policy's error ratio makes likely.
    """
    policy = upgrade.policy
    _, borne = gates.interval(traffic.SAMPLE, 100 * policy.gates.error_ratio.max, policy.traffic.confidence)
    traffic.require_served_by(site, upgrade.roles.green, borne=borne)
    return gates.sample(upgrade, site)


def window_began(upgrade: Upgrade) -> datetime:
    """Return when the window began: with the cutover, or anew after a gap. Raises: Refused `not-promoted`."""
    began = cutover_finished(upgrade)
    anew = upgrade.journal.last("observation", what=_ANEW)
    since = parse_rfc3339(anew.data["since"]) if anew is not None else began
    return max(began, since)


def _wait_for_data(site: Site, upgrade: Upgrade) -> None:
    """Let the gates see the load that has just begun, so that the first live samples rest on something."""
    with contextlib.suppress(Timeout):
        upgrade.wait_for(
            "the gates to have data",
            lambda: gates.look(upgrade, site),
            until=lambda found: all(result.result in {GateVerdict.PASS, GateVerdict.FAIL} for result in found),
            bound_s=_DATA_BOUND_S + 2 * max(gate.window_s(upgrade.policy) for gate in gates.GATES.values()),
            interval_s=1.0,
            tolerate=(CouldNotMeasure,),
            describe=gates.describe,
        )


def _since_last_gap(site: Site, upgrade: Upgrade, began: datetime) -> datetime:
    """Return from when on the window has no gap up to now, and say so where that is not its beginning.

    A gate that has failed is none: the window stays as it is, to be judged. Raises: CouldNotMeasure.
    """
    now = upgrade.clock.now()
    if now <= began:
        return began
    watched = gates.so_far(upgrade, site, began=began, ended=now)
    if any(gates.has_failed(item, upgrade.policy) for item in watched):
        return began
    since = gates.whole_since(watched, upgrade.policy, began=began, ended=now)
    if since > began:
        gaps = {item.name: item.longest_gap_s for item in watched if not item.is_whole}
        upgrade.journal.write("observation", what=_ANEW, began=began, since=since, longest_gap_s=gaps)
    return max(since, began)


def require_gates_held(window: Window) -> None:
    """Demand that no live sample broke a limit or went unanswered, and that every gate passes over the window (5.1).

    A live sample over too few requests decides nothing: the steps of the window do.
    Raises:
        ClauseFailed, CouldNotMeasure, Undecided: as `gates.require_passed`.
    """
    bad = [result for result in window.live if gates.is_decided((result,))]
    gates.require_passed(gates.worst_of_each([*bad, *(item.verdict for item in window.watched)]))


def require_window_whole(upgrade: Upgrade, window: Window) -> None:
    """Demand that the window is as long as the policy says and that no gate has a gap in it (5.1, F.14).

    Raises:
        ClauseFailed: it is shorter, or a gate was not measured throughout.
    """
    length_s = (window.ended - window.began).total_seconds()
    expected_s = upgrade.policy.observation.window_s
    gaps = [item for item in window.watched if not item.is_whole]
    expect(
        length_s >= expected_s and bool(window.watched) and not gaps,
        "the observation window was not watched as a whole",
        seen="\n".join(
            [f"{length_s:.0f} s watched"]
            + [f"{item.title}: {item.longest_gap_s:.1f} s without a measurement" for item in gaps]
        ),
        expected="\n".join(
            [f"at least {expected_s:g} s"]
            + [f"{item.title}: no more than {item.allowed_gap_s:g} s between measurements" for item in gaps]
        ),
        do="see gates/window.json in the record, and observe a whole window again before blue is removed",
        code="window-has-gaps",
    )


def complete_observation(upgrade: Upgrade, window: Window) -> None:
    """Remember that the window was observed to its end and found good, which allows blue's removal (5.2)."""
    window_s = upgrade.policy.observation.window_s
    upgrade.remember("observation", state="complete", until=rfc3339(window.ended), window_s=window_s)


def cutover_finished(upgrade: Upgrade) -> datetime:
    """When the public route was promoted to green.

    Raises:
        Refused: it was not promoted in this upgrade.
    """
    entry = _promotion(upgrade)
    if entry is None:
        raise Refused(
            "there is nothing to observe: the public route was not promoted to green in this upgrade",
            code="not-promoted",
            guide="5.1",
            do="run phase 3 first",
            state="nothing was changed",
        )
    return entry.time


def _promotion(upgrade: Upgrade) -> Entry | None:
    """Return the entry that says that green alone is named; None when it never was, or blue serves again since."""
    for entry in reversed(upgrade.journal.entries()):
        facts = entry.data
        if entry.event == "rollback_finished" and facts.get("serves") == upgrade.roles.blue.name:
            return None
        is_done = entry.event == "done" or (entry.event == "observation" and facts.get("what") == "already")
        if is_done and facts.get("action") == "promote":
            return entry
    return None


def require_window_proven(upgrade: Upgrade) -> None:
    """Refuse to remove blue before its window was observed to the end (5.1, 5.2).

    Raises:
        Refused: the window has not ended, or nobody watched it; says how much is left of it.
    """
    promotion, observed = _promotion(upgrade), upgrade.journal.last("fact", name="observation")
    facts = observed.data["facts"] if observed is not None else {"state": "absent", "until": None}
    is_of_this_cutover = promotion is not None and observed is not None and observed.seq > promotion.seq
    if facts["state"] == "complete" and is_of_this_cutover:
        return
    until = parse_rfc3339(facts["until"]) if facts["until"] and is_of_this_cutover else None
    if until is None and promotion is not None:
        until = window_began(upgrade) + timedelta(seconds=upgrade.policy.observation.window_s)
    left_s = (until - upgrade.clock.now()).total_seconds() if until is not None else 0.0
    raise Refused(
        "blue may not be removed before the observation window has ended"
        if left_s > 0 or until is None
        else "blue may not be removed before somebody has judged the observation window",
        code="too-early",
        seen=f"observation {facts['state']}"
        + (f", until {rfc3339(until)}" if until is not None else "")
        + (f", {in_words(left_s)} left" if left_s > 0 else ""),
        guide="5.1",
        do="let the observation window pass, then judge it: ./cutover observe",
        state="nothing was changed",
        left_s=round(max(0.0, left_s), 3),
    )


def in_words(duration_s: float) -> str:
    """Return a duration as a person says it: `47 h 12 min`, `12 min 5 s`, `8 s`; never less than there is."""
    seconds = math.ceil(duration_s)
    if seconds >= _HOUR_S:
        minutes = math.ceil(seconds / _MINUTE_S)
        return f"{minutes // _MINUTE_S} h {minutes % _MINUTE_S} min"
    if seconds >= _MINUTE_S:
        return f"{seconds // _MINUTE_S} min {seconds % _MINUTE_S} s"
    return f"{seconds} s"


def drain_blue(site: Site, upgrade: Upgrade) -> None:
    """Prove blue's queue empty: jobs that blue acknowledged and green never saw would vanish with its cache (F.15).

    Where blue's removal was begun before, its cache may be gone: what was proven then stands.
    Raises:
        Refused: the queue is not empty at the policy's bound.
    """
    cache = connections.of(site, upgrade.roles.blue).cache
    try:
        upgrade.wait_for(
            "blue's queue to drain",
            cache.queue_depth,
            until=lambda depth: depth == 0,
            bound_s=upgrade.policy.limits.queue_drain_s,
            describe=lambda depth: f"{depth} jobs",
        )
    except Timeout as error:
        raise Refused(
            "blue may not be removed while jobs are in its queue",
            code="blue-queue-not-empty",
            seen=error.seen,
            guide="5.2, deviation F.15",
            do="see what blue's worker does; when the queue is empty: ./cutover decommission",
            state="nothing was changed",
        ) from error
    except CouldNotMeasure as error:
        if not (upgrade.decommissioned and upgrade.knows(_DRAINED)):
            raise
        upgrade.journal.write("observation", what="already", action="drain", seen=error.message)
        return
    upgrade.remember(_DRAINED, jobs=0)
    upgrade.deviation(
        "F.15",
        did="drained blue's queue and proved it empty before removing blue",
        instead_of="removing blue with whatever its queue holds",
        why="jobs that blue acknowledged would vanish with its cache",
    )


def require_green_holds(site: Site, upgrade: Upgrade) -> None:
    """Demand at this moment that no route leads to blue and that green serves alone: behind this there is no way back.

    The window may have been proven days ago (5.2).
    Raises:
        Refused: a route still leads to blue.
        ClauseFailed: green is not fully available, or another colour answers, or a request fails.
    """
    _require_unrouted(site, upgrade.roles.blue)
    health.require_available(site, upgrade.roles.green)
    traffic.require_served_by(site, upgrade.roles.green)


def _require_unrouted(site: Site, blue: Environment) -> None:
    left = routes_to(site, blue)
    if left:
        raise Refused(
            "blue may not be removed while a route leads to it",
            code="blue-still-routed",
            seen="; ".join(left),
            guide="5.2",
            do="take blue out of it, or delete it, whatever its weight is",
            state="nothing was changed",
        )


def uninstall_blue(site: Site, upgrade: Upgrade) -> str:
    """Uninstall blue's release; return its state afterwards, `absent` when it is gone (5.2a).

    Raises:
        Refused: a route still leads to blue.
    """
    blue = upgrade.roles.blue
    _require_unrouted(site, blue)
    facts = {"release": blue.release, "namespace": blue.namespace}
    if upgrade.decommissioned and site.helm.status(blue.release, blue.namespace) is None:
        upgrade.journal.write("observation", what="already", action=_REMOVE, **facts)
        return _ABSENT
    with upgrade.journal.action(_REMOVE, **facts):
        _uninstall(site, blue)
    status = site.helm.status(blue.release, blue.namespace)
    return status.status if status else _ABSENT


def _uninstall(site: Site, blue: Environment) -> None:
    """Remove a release that may be gone, or that a helm which outlived a killed attempt is removing right now."""
    if site.helm.status(blue.release, blue.namespace) is None:
        return
    try:
        site.helm.uninstall(blue.release, blue.namespace)
    except ClauseFailed:
        if site.helm.status(blue.release, blue.namespace) is not None:
            raise


def clean_namespace(site: Site, upgrade: Upgrade) -> NamespaceUse:
    """Delete blue's namespace, unless something in it is still in use (5.2b, F.12); one that is gone stays gone."""
    namespace = upgrade.roles.blue.namespace
    if not site.cluster.has_namespace(namespace):
        upgrade.journal.write("observation", what="already", action="delete namespace", namespace=namespace)
        return NamespaceUse(namespace=namespace, in_use=(), deleted=True)
    in_use = site.cluster.in_use(namespace, release=upgrade.roles.blue.release)
    if in_use:
        upgrade.deviation(
            "F.12",
            did=f"kept namespace {namespace}, which holds {', '.join(in_use)}, and proved blue's workloads gone",
            instead_of="deleting the namespace",
            why="deleting it would delete the public route itself"
            if any(one.startswith(_ROUTES) for one in in_use)
            else "deleting it would delete what somebody else still uses",
        )
    else:
        with upgrade.journal.action("delete namespace", namespace=namespace) as done:
            site.cluster.delete_namespace(namespace)
            done(namespace=namespace)
    return NamespaceUse(namespace=namespace, in_use=in_use, deleted=not in_use)


def require_workloads_gone(site: Site, upgrade: Upgrade) -> None:
    """Wait until no workload of blue is left in its namespace (5.2b).

    Raises:
        Timeout: something is left at the policy's bound.
    """
    blue = upgrade.roles.blue

    def left() -> list[str]:
        deployments = [
            item.name
            for item in site.cluster.deployments(blue.namespace)
            if item.labels.get(INSTANCE_LABEL) == blue.release
        ]
        pods = site.cluster.list("Pod", blue.namespace, selector={INSTANCE_LABEL: blue.release})
        return [*deployments, *(pod["metadata"]["name"] for pod in pods)]

    upgrade.wait_for(
        "blue's workloads to be gone",
        left,
        until=lambda names: not names,
        bound_s=upgrade.policy.limits.ready_s,
        describe=lambda names: ", ".join(names) or "none left",
        do="see what holds them: finalizers, or another owner",
        code="blue-workloads-left",
    )


def require_blue_available(site: Site, upgrade: Upgrade) -> None:
    """Demand that blue can still take the traffic back at the end of the window (5.1)."""
    blue = upgrade.roles.blue
    deployments = [
        item for item in site.cluster.deployments(blue.namespace) if item.labels.get(INSTANCE_LABEL) == blue.release
    ]
    expect(
        bool(deployments) and all(item.is_complete for item in deployments),
        "blue was not kept to the end of the observation window",
        seen=", ".join(f"{item.name} {item.ready}/{item.desired}" for item in deployments) or "no deployment of blue",
        do="find out who removed it; there is no immediate way back now",
        code="blue-not-kept",
    )
