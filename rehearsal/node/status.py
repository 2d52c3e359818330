"""A pod's status, computed from what the node knows of its containers.

Pure. The caller keeps one `ContainerView` a container and calls `pod_status`; what the API server holds is compared
with the result, never patched field by field elsewhere.

Source: kubelet 1.36, getPhase and the generated conditions, as observable through the API.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from rehearsal.node.shapes import Json, format_time, metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

LOST_EXIT_CODE = 137


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Not started yet, or not again yet."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The process is there."""

    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminated:
    """The process has ended. An exit by signal n is exit code 128 + n. No times: it never ran."""

    exit_code: int
    reason: str
    started_at: datetime | None = None
    finished_at: datetime | None = None
    message: str = ""
    container_id: str = ""


State: TypeAlias = Waiting | Running | Terminated


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerView:
    """What is known of one container; `is_sidecar` is an init container that restarts always."""

    name: str
    image: str
    state: State
    last_state: Terminated | None = None
    image_id: str = ""
    container_id: str = ""
    restart_count: int = 0
    ready: bool = False
    started: bool = False
    is_sidecar: bool = False


def ended(
    *, exit_code: int, started_at: datetime, finished_at: datetime, container_id: str, message: str
) -> Terminated:
    """Return how a process ended; `exit_code` is negative for a signal, as Python's subprocess has it."""
    code = exit_code if exit_code >= 0 else 128 - exit_code
    return Terminated(
        exit_code=code,
        reason="Error" if code else "Completed",
        started_at=started_at,
        finished_at=finished_at,
        container_id=container_id,
        message=message,
    )


def should_restart(policy: str, exit_code: int) -> bool:
    """Return whether a container of a pod with this restartPolicy runs again after this exit."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def phase(  # noqa: PLR0911 - a decision table
    policy: str, init: Sequence[ContainerView], main: Sequence[ContainerView], *, is_terminal: bool = False
) -> str:
    """Return the pod's phase. `is_terminal`: no container of it will run again, whatever the policy."""
    regular = [view for view in init if not view.is_sidecar]
    ends = [_last_end(view) for view in regular]
    failed = any(end is not None and end.exit_code != 0 for end in ends)
    if failed and (policy == "Never" or is_terminal):
        return "Failed"
    if not is_terminal and not all(isinstance(v.state, Terminated) and v.state.exit_code == 0 for v in regular):
        return "Pending"
    if not is_terminal and any(v.is_sidecar and not v.started and not v.last_state for v in init):
        return "Pending"
    if any(isinstance(view.state, Waiting) and view.last_state is None for view in main):
        return "Pending"
    if any(isinstance(view.state, Running) for view in main):
        return "Running"
    exits = [end.exit_code for view in main if (end := _last_end(view)) is not None]
    if policy == "Always" and not is_terminal:
        return "Running"
    if all(code == 0 for code in exits):
        return "Succeeded"
    return "Failed" if policy == "Never" or is_terminal else "Running"


def pod_status(
    pod: Json,
    init: Sequence[ContainerView],
    main: Sequence[ContainerView],
    *,
    pod_ip: str,
    host_ip: str,
    now: datetime,
    started_at: datetime,
    previous: Iterable[Json] = (),
    is_terminal: bool = False,
    verdict: tuple[str, str] | None = None,
) -> Json:
    """Return the status a kubelet would report.

    `previous` are the conditions reported or read last: a condition keeps its transition time while its status stays.
    `verdict` (reason, message) is the node's own decision that the pod failed, such as DeadlineExceeded.
    """
    policy = pod["spec"].get("restartPolicy", "Always")
    reached = "Failed" if verdict else phase(policy, init, main, is_terminal=is_terminal)
    generation = metadata(pod).get("generation")
    held = {condition["type"]: condition for condition in previous}
    conditions = [
        _condition(
            kind,
            truth=truth,
            reason=reason,
            message=message,
            before=held.get(kind),
            now=now,
            generation=generation,
        )
        for kind, truth, reason, message in _conditions(pod, init, main, reached, held, has_sandbox=bool(pod_ip))
    ]
    result: Json = {
        "phase": reached,
        "conditions": conditions,
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "startTime": format_time(started_at),
        "qosClass": quality_of_service(pod),
        "containerStatuses": [_container_status(view) for view in main],
    }
    if generation is not None:
        result["observedGeneration"] = generation
    if init:
        result["initContainerStatuses"] = [_container_status(view) for view in init]
    if pod_ip:
        result["podIP"] = pod_ip
        result["podIPs"] = [{"ip": pod_ip}]
    if verdict:
        result["reason"], result["message"] = verdict
    return result


def quality_of_service(pod: Json) -> str:
    """Return the QoS class: Guaranteed, Burstable or BestEffort."""
    containers = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    guaranteed, any_given = True, False
    for container in containers:
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        any_given = any_given or any(name in {"cpu", "memory"} for name in (*limits, *requests))
        guaranteed = guaranteed and all(
            name in limits and requests.get(name, limits[name]) == limits[name] for name in ("cpu", "memory")
        )
    if not any_given:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def lose(view: ContainerView) -> State:
    """Return a container's state in a pod that ended; one that waited gets its last end, or one kubelet invents."""
    if not isinstance(view.state, Waiting):
        return view.state
    if view.last_state is not None:
        return view.last_state
    return Terminated(
        exit_code=LOST_EXIT_CODE,
        reason="ContainerStatusUnknown",
        message="The container could not be located when the pod was terminated",
    )


def _last_end(view: ContainerView) -> Terminated | None:
    return view.state if isinstance(view.state, Terminated) else view.last_state


def _conditions(
    pod: Json,
    init: Sequence[ContainerView],
    main: Sequence[ContainerView],
    reached: str,
    held: dict[str, Json],
    *,
    has_sandbox: bool,
) -> list[tuple[str, bool, str, str]]:
    found: list[tuple[str, bool, str, str]] = []
    if "PodScheduled" not in held:
        found.append(("PodScheduled", True, "", ""))
    found.append(("PodReadyToStartContainers", has_sandbox and reached not in {"Succeeded", "Failed"}, "", ""))
    waiting = [v.name for v in init if not (v.started if v.is_sidecar else v.ready)]
    has_started = any(not isinstance(view.state, Waiting) or view.last_state for view in main)
    if reached == "Succeeded":
        found.append(("Initialized", True, "PodCompleted", ""))
    elif not waiting or has_started:
        found.append(("Initialized", True, "", ""))
    else:
        message = f"containers with incomplete status: [{' '.join(waiting)}]"
        found.append(("Initialized", False, "ContainersNotInitialized", message))
    unready = [view.name for view in (*(v for v in init if v.is_sidecar), *main) if not view.ready]
    if reached == "Succeeded":
        ready = (False, "PodCompleted", "")
    elif reached == "Failed":
        ready = (False, "PodFailed", "")
    elif unready:
        ready = (False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    else:
        ready = (True, "", "")
    found.append(("ContainersReady", *ready))
    gates = _unmet_gates(pod, held) if ready[0] else []
    found.append(("Ready", *((False, "ReadinessGatesNotReady", ", ".join(gates)) if gates else ready)))
    return found


def _unmet_gates(pod: Json, held: dict[str, Json]) -> list[str]:
    messages = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        if kind not in held:
            messages.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif held[kind].get("status") != "True":
            messages.append(f'the status of pod readiness gate "{kind}" is not "True", but {held[kind].get("status")}')
    return messages


def _condition(
    kind: str, *, truth: bool, reason: str, message: str, before: Json | None, now: datetime, generation: int | None
) -> Json:
    text = "True" if truth else "False"
    changed = before is None or before.get("status") != text or not before.get("lastTransitionTime")
    result: Json = {
        "type": kind,
        "status": text,
        "lastProbeTime": None,
        "lastTransitionTime": format_time(now) if changed or before is None else before["lastTransitionTime"],
        # Explicit nulls: a strategic merge keeps what is not named.
        "reason": reason or None,
        "message": message or None,
    }
    if generation is not None:
        result["observedGeneration"] = generation
    return result


def _container_status(view: ContainerView) -> Json:
    result: Json = {
        "name": view.name,
        "image": view.image,
        "imageID": view.image_id,
        "restartCount": view.restart_count,
        "ready": view.ready,
        "started": view.started,
        "state": _state(view.state),
        "lastState": _state(view.last_state) if view.last_state else {},
    }
    if view.container_id:
        result["containerID"] = view.container_id
    return result


def _state(state: State) -> Json:
    if isinstance(state, Waiting):
        waiting = {"reason": state.reason}
        return {"waiting": waiting | ({"message": state.message} if state.message else {})}
    if isinstance(state, Running):
        return {"running": {"startedAt": format_time(state.started_at)}}
    fields: Json = {"exitCode": state.exit_code, "reason": state.reason}
    if state.started_at is not None:
        fields["startedAt"] = format_time(state.started_at)
    if state.finished_at is not None:
        fields["finishedAt"] = format_time(state.finished_at)
    if state.message:
        fields["message"] = state.message
    if state.container_id:
        fields["containerID"] = state.container_id
    return {"terminated": fields}
