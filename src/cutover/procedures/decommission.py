"""Observation and decommission of blue (5.1, 5.2a, 5.2b, F.12, F.14, F.15).

Invariants: a gap in what was watched is a gap, never a pass; nothing that still routes, stores or is referenced is
deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cutover.clock import parse_rfc3339, rfc3339
from cutover.errors import Refused
from cutover.procedures import connections
from cutover.procedures.release import INSTANCE_LABEL
from cutover.procedures.routes import routes_to
from cutover.runbook import gates
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from datetime import datetime

    from cutover.runbook.gates import GateResult, Watched
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site


_ROUTES = ("Ingress ", "HTTPRoute ", "Gateway ")


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
    for, until a limit is broken or Prometheus is silent; the window itself, from its beginning on, is read from what
    Prometheus recorded. That it is complete is for `complete_observation` to say.
    Raises:
        Refused: there was no cutover in this upgrade.
        CouldNotMeasure: Prometheus does not answer.
    """
    began = cutover_finished(upgrade)
    observation = upgrade.policy.observation
    ends = began + timedelta(seconds=observation.window_s)
    upgrade.remember("observation", state="running", until=rfc3339(ends), window_s=observation.window_s)
    waited_from = upgrade.clock.now()
    samples = upgrade.hold(
        "the observation window",
        lambda: gates.sample(upgrade, site),
        duration_s=max(0.0, (ends - waited_from).total_seconds()),
        interval_s=observation.interval_s,
        describe=gates.describe,
        stop=gates.is_decided,
    )
    ended = upgrade.clock.now()
    watched = gates.over_window(upgrade, site, began=began, ended=ended)
    waited_s = (ended - waited_from).total_seconds()
    live_for = f"for the last {waited_s:.0f} s, {len(samples)} times" if len(samples) > 1 else "once, at its end"
    upgrade.deviation(
        "F.14",
        did=(
            f"sampled the gates live {live_for}, "
            f"and judged all {(ended - began).total_seconds():.0f} s since the cutover afterwards, every "
            f"{observation.interval_s:g} s, from range queries of Prometheus"
        ),
        instead_of="72 hours in which nobody looks",
        why="a window nobody watched proves nothing",
    )
    live = gates.worst_of_each(result for sample in samples for result in sample)
    return Window(began=began, ended=ended, live=live, watched=watched)


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
    entry = upgrade.journal.last("done", action="promote")
    if entry is None:
        raise Refused(
            "there is nothing to observe: the public route was not promoted to green in this upgrade",
            code="not-promoted",
            guide="5.1",
            do="run phase 3 first",
            state="nothing was changed",
        )
    return entry.time if not isinstance(entry.time, str) else parse_rfc3339(entry.time)


def require_window_proven(upgrade: Upgrade) -> None:
    """Refuse to remove blue before its window was observed to the end (5.1, 5.2).

    Raises:
        Refused: the window has not ended, or nobody watched it.
    """
    facts = upgrade.recall("observation") if upgrade.knows("observation") else {"state": "absent", "until": ""}
    if facts["state"] != "complete":
        raise Refused(
            "blue may not be removed before the observation window has ended",
            code="too-early",
            seen=f"observation {facts['state']}, until {facts['until'] or 'unknown'}",
            guide="5.1",
            do="let the observation window pass first",
            state="nothing was changed",
        )


def drain_blue(site: Site, upgrade: Upgrade) -> None:
    """Prove blue's queue empty: jobs that blue acknowledged and green never saw would vanish with its cache (F.15).

    Raises:
        Timeout: the queue is not empty at the policy's bound.
    """
    cache = connections.of(site, upgrade.roles.blue).cache
    upgrade.wait_for(
        "blue's queue to drain",
        cache.queue_depth,
        until=lambda depth: depth == 0,
        bound_s=upgrade.policy.limits.queue_drain_s,
        describe=lambda depth: f"{depth} jobs",
        do="see what blue's worker does before anything of blue is removed",
        code="blue-queue-not-empty",
    )
    upgrade.deviation(
        "F.15",
        did="drained blue's queue and proved it empty before removing blue",
        instead_of="removing blue with whatever its queue holds",
        why="jobs that blue acknowledged would vanish with its cache",
    )


def uninstall_blue(site: Site, upgrade: Upgrade) -> str:
    """Uninstall blue's release; return its state afterwards, `absent` when it is gone (5.2a).

    Raises:
        Refused: a route still leads to blue.
    """
    blue = upgrade.roles.blue
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
    with upgrade.journal.action("decommission", release=blue.release, namespace=blue.namespace) as done:
        site.helm.uninstall(blue.release, blue.namespace)
        done(release=blue.release)
    status = site.helm.status(blue.release, blue.namespace)
    return status.status if status else "absent"


def clean_namespace(site: Site, upgrade: Upgrade) -> NamespaceUse:
    """Delete blue's namespace, unless something in it is still in use (5.2b, F.12)."""
    namespace = upgrade.roles.blue.namespace
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
