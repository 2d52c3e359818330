"""Capacity of a colour: what it has ready, what its pods reserve, and how far it may scale (F.16).

Invariant: green is compared with blue component by component, and a blue of which nothing is seen is no measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cutover.procedures.release import COMPONENT_LABEL, INSTANCE_LABEL
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cutover.model import Environment
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

_RESOURCES = ("cpu", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """One component of a colour."""

    ready: int
    desired: int
    least: int
    """Replicas below which it may not be scaled: its autoscaler's bound, or `desired` without one."""
    most: int
    cpu: Decimal
    """Requested by one pod, cores; 0 where nothing is requested."""
    memory: Decimal
    """Requested by one pod, bytes."""


def of(site: Site, environment: Environment) -> dict[str, Capacity]:
    """Read the capacity of every component of a colour from its deployments and autoscalers."""
    scalers = {
        scaler["spec"]["scaleTargetRef"]["name"]: scaler["spec"]
        for scaler in site.cluster.list("HorizontalPodAutoscaler", environment.namespace)
        if scaler["spec"]["scaleTargetRef"]["kind"] == "Deployment"
    }
    found = {}
    for item in site.cluster.list("Deployment", environment.namespace, selector={INSTANCE_LABEL: environment.release}):
        name = item["metadata"]["name"]
        component = (item["metadata"].get("labels") or {}).get(COMPONENT_LABEL, name)
        found[component] = _capacity(item, scalers.get(name))
    return found


def _capacity(deployment: Mapping[str, Any], scaler: Mapping[str, Any] | None) -> Capacity:
    desired = int(deployment["spec"].get("replicas", 1))
    pod = deployment["spec"]["template"]["spec"]
    cpu, memory = (_requested(pod, resource) for resource in _RESOURCES)
    return Capacity(
        ready=int((deployment.get("status") or {}).get("readyReplicas") or 0),
        desired=desired,
        least=int(scaler.get("minReplicas", 1)) if scaler else desired,
        most=int(scaler["maxReplicas"]) if scaler else desired,
        cpu=cpu,
        memory=memory,
    )


def _requested(pod: Mapping[str, Any], resource: str) -> Decimal:
    """Sum what the containers of a pod request; a limit without a request is one, as the API server has it."""
    from kubernetes.utils.quantity import parse_quantity  # noqa: PLC0415 (slow to import)

    parse: Callable[[object], Decimal] = parse_quantity  # the client ships no types
    total = Decimal(0)
    for container in pod["containers"]:
        resources = container.get("resources") or {}
        asked = (resources.get("requests") or {}).get(resource, (resources.get("limits") or {}).get(resource, 0))
        total += parse(asked)
    return total


def require_not_smaller(site: Site, upgrade: Upgrade) -> None:
    """Refuse a green that is smaller than blue, component by component (F.16).

    Raises:
        ClauseFailed: blue has no deployment to compare with, or green has fewer ready replicas, smaller requests or
            narrower bounds of its autoscaler.
    """
    blue, green = upgrade.roles.blue, upgrade.roles.green
    ours, theirs = of(site, blue), of(site, green)
    expect(
        bool(ours),
        "blue has no deployment with which green could be compared",
        seen=f"no deployment labelled {INSTANCE_LABEL}={blue.release} in {blue.namespace}",
        do=f"correct release and namespace of [colours.{blue.name}] in the target file (F.16)",
        code="capacity-unknown",
    )
    for component, needed in ours.items():
        smaller = shortcomings(needed, theirs.get(component))
        expect(
            not smaller,
            f"green's {component} is smaller than blue's",
            seen="; ".join(smaller),
            do="raise replicas, requests or autoscaling bounds in green's values before more traffic moves (F.16)",
            code="green-too-small",
        )
    if upgrade.journal.last("deviation", id="F.16") is None:
        upgrade.deviation(
            "F.16",
            did="proved that green has at least blue's ready replicas, requests and autoscaling bounds before traffic "
            "moved",
            instead_of="moving traffic without looking at capacity",
            why="a smaller green is overrun at 50 percent",
        )


def shortcomings(needed: Capacity, given: Capacity | None) -> list[str]:
    """Say in what a component of green is smaller than blue's; empty when in nothing."""
    if given is None:
        return ["green has no such deployment"]
    compared = (
        ("ready replicas", given.ready, needed.desired),
        ("replicas at least", given.least, needed.least),
        ("replicas at most", given.most, needed.most),
        ("CPU requested by a pod", given.cpu, needed.cpu),
        ("bytes of memory requested by a pod", given.memory, needed.memory),
    )
    return [f"{what}: {has} of green, {needs} of blue" for what, has, needs in compared if has < needs]
