"""A pod's phase, conditions and container states, as tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rehearsal.node.status import (
    ContainerView,
    Running,
    State,
    Terminated,
    Waiting,
    ended,
    lose,
    phase,
    pod_status,
    quality_of_service,
    should_restart,
)

if TYPE_CHECKING:
    from rehearsal.node.shapes import Json

NOW = datetime(2027, 1, 4, 12, 0, 0, tzinfo=UTC)
WAIT = Waiting(reason="ContainerCreating")
RUN = Running(started_at=NOW)
GOOD = Terminated(exit_code=0, reason="Completed", started_at=NOW, finished_at=NOW, container_id="process://a")
BAD = Terminated(exit_code=1, reason="Error", started_at=NOW, finished_at=NOW, container_id="process://a")
LOOP = Waiting(reason="CrashLoopBackOff", message="back-off 10s")


def view(
    state: State,
    name: str = "c",
    *,
    last: Terminated | None = None,
    ready: bool = False,
    started: bool = False,
    is_sidecar: bool = False,
) -> ContainerView:
    return ContainerView(
        name=name, image="i", state=state, last_state=last, ready=ready, started=started, is_sidecar=is_sidecar
    )


@pytest.mark.parametrize(
    ("policy", "init", "main", "expected"),
    [
        ("Always", [], [view(WAIT)], "Pending"),
        ("Always", [], [view(RUN)], "Running"),
        ("Always", [], [view(RUN), view(WAIT)], "Pending"),
        ("Always", [], [view(RUN), view(LOOP, last=BAD)], "Running"),
        ("Always", [], [view(LOOP, last=BAD)], "Running"),
        ("Always", [], [view(GOOD)], "Running"),
        ("Always", [view(RUN)], [view(WAIT)], "Pending"),
        ("Always", [view(LOOP, last=BAD)], [view(WAIT)], "Pending"),
        ("Always", [view(GOOD)], [view(WAIT)], "Pending"),
        ("Always", [view(GOOD)], [view(RUN)], "Running"),
        ("Never", [view(BAD)], [view(WAIT)], "Failed"),
        ("OnFailure", [view(BAD)], [view(WAIT)], "Pending"),
        ("Never", [], [view(GOOD)], "Succeeded"),
        ("Never", [], [view(BAD)], "Failed"),
        ("Never", [], [view(GOOD), view(BAD)], "Failed"),
        ("Never", [], [view(GOOD), view(RUN)], "Running"),
        ("OnFailure", [], [view(GOOD)], "Succeeded"),
        ("OnFailure", [], [view(BAD)], "Running"),
        ("OnFailure", [], [view(LOOP, last=BAD)], "Running"),
        ("Never", [view(RUN, is_sidecar=True)], [view(WAIT)], "Pending"),
        ("Never", [view(RUN, is_sidecar=True, started=True)], [view(RUN)], "Running"),
        ("Never", [view(GOOD, is_sidecar=True)], [view(GOOD)], "Succeeded"),
    ],
)
def test_phase(policy: str, init: list[ContainerView], main: list[ContainerView], expected: str) -> None:
    if any(item.is_sidecar and isinstance(item.state, Terminated) for item in init):
        assert phase(policy, init, main, is_terminal=True) == expected
    else:
        assert phase(policy, init, main) == expected


@pytest.mark.parametrize(
    ("policy", "main", "expected"),
    [
        ("Always", [view(GOOD)], "Succeeded"),
        ("Always", [view(BAD)], "Failed"),
        ("OnFailure", [view(BAD)], "Failed"),
        ("Always", [view(lose(view(WAIT)))], "Failed"),
    ],
)
def test_a_terminated_pod_has_a_final_phase(policy: str, main: list[ContainerView], expected: str) -> None:
    assert phase(policy, [], main, is_terminal=True) == expected


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policy(policy: str, code: int, again: bool) -> None:
    assert should_restart(policy, code) is again


@pytest.mark.parametrize(("code", "shown", "reason"), [(0, 0, "Completed"), (3, 3, "Error"), (-9, 137, "Error")])
def test_exit_codes(code: int, shown: int, reason: str) -> None:
    end = ended(exit_code=code, started_at=NOW, finished_at=NOW, container_id="x", message="")
    assert (end.exit_code, end.reason) == (shown, reason)


@pytest.mark.parametrize(("state", "last", "code"), [(WAIT, None, 137), (LOOP, BAD, 1), (GOOD, BAD, 0)])
def test_what_a_container_is_left_as(state: State, last: Terminated | None, code: int) -> None:
    left = lose(view(state, last=last))
    assert isinstance(left, Terminated)
    assert left.exit_code == code


def status(
    init: list[ContainerView] | None = None,
    main: list[ContainerView] | None = None,
    *,
    spec: Json | None = None,
    previous: list[Json] | None = None,
    pod_ip: str = "10.244.0.7",
    now: datetime = NOW,
    verdict: tuple[str, str] | None = None,
) -> Json:
    pod = {"metadata": {"name": "p", "generation": 2}, "spec": {"containers": [{"name": "c"}], **(spec or {})}}
    return pod_status(
        pod,
        init or [],
        main or [view(RUN, ready=True, started=True)],
        pod_ip=pod_ip,
        host_ip="10.245.0.2",
        now=now,
        started_at=NOW,
        previous=previous or [],
        verdict=verdict,
    )


def conditions(found: Json) -> dict[str, tuple[str, str | None]]:
    return {item["type"]: (item["status"], item["reason"]) for item in found["conditions"]}


def test_a_ready_pod() -> None:
    found = status()
    assert conditions(found) == {
        "PodScheduled": ("True", None),
        "PodReadyToStartContainers": ("True", None),
        "Initialized": ("True", None),
        "ContainersReady": ("True", None),
        "Ready": ("True", None),
    }
    assert found["phase"] == "Running"
    assert found["observedGeneration"] == 2
    assert {item["observedGeneration"] for item in found["conditions"]} == {2}
    assert (found["podIP"], found["podIPs"], found["hostIP"]) == ("10.244.0.7", [{"ip": "10.244.0.7"}], "10.245.0.2")
    assert found["startTime"] == "2027-01-04T12:00:00Z"


def test_an_unready_container_is_named() -> None:
    found = status(main=[view(RUN, "web"), view(RUN, "side", ready=True)])
    assert conditions(found)["Ready"] == ("False", "ContainersNotReady")
    assert found["conditions"][-1]["message"] == "containers with unready status: [web]"


def test_a_waiting_init_container_holds_the_pod() -> None:
    found = status(init=[view(RUN, "migrate")], main=[view(Waiting(reason="PodInitializing"))])
    assert conditions(found)["Initialized"] == ("False", "ContainersNotInitialized")
    assert found["phase"] == "Pending"
    assert found["initContainerStatuses"][0]["state"] == {"running": {"startedAt": "2027-01-04T12:00:00Z"}}
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}


def test_a_restarting_init_container_does_not_undo_initialised() -> None:
    assert conditions(status(init=[view(RUN)], main=[view(RUN)]))["Initialized"] == ("True", None)


@pytest.mark.parametrize(("main", "reason"), [([view(GOOD)], "PodCompleted"), ([view(BAD)], "PodFailed")])
def test_an_ended_pod_is_not_ready_because_it_ended(main: list[ContainerView], reason: str) -> None:
    found = status(main=main, spec={"restartPolicy": "Never"})
    assert conditions(found)["Ready"] == ("False", reason)
    assert conditions(found)["PodReadyToStartContainers"] == ("False", None)


def test_the_nodes_own_verdict_fails_the_pod() -> None:
    found = status(verdict=("DeadlineExceeded", "too long"))
    assert (found["phase"], found["reason"], found["message"]) == ("Failed", "DeadlineExceeded", "too long")


def test_transition_times_stay_while_the_status_stays() -> None:
    first = status(main=[view(RUN)])
    later = NOW + timedelta(seconds=30)
    second = status(main=[view(RUN, ready=True)], previous=first["conditions"], now=later)
    times = {item["type"]: item["lastTransitionTime"] for item in second["conditions"]}
    assert times["Initialized"] == "2027-01-04T12:00:00Z"
    assert times["Ready"] == times["ContainersReady"] == "2027-01-04T12:00:30Z"


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([], ("False", "ReadinessGatesNotReady")),
        ([{"type": "example.test/gate", "status": "False"}], ("False", "ReadinessGatesNotReady")),
        ([{"type": "example.test/gate", "status": "True"}], ("True", None)),
    ],
)
def test_readiness_gates(held: list[Json], expected: tuple[str, str | None]) -> None:
    found = status(spec={"readinessGates": [{"conditionType": "example.test/gate"}]}, previous=held)
    assert conditions(found)["Ready"] == expected
    assert conditions(found)["ContainersReady"] == ("True", None)


def test_the_schedulers_condition_is_left_to_it() -> None:
    found = status(previous=[{"type": "PodScheduled", "status": "True", "lastTransitionTime": "x"}])
    assert "PodScheduled" not in conditions(found)


def test_a_crash_loop_shows_the_wait_and_the_last_end() -> None:
    found = status(main=[view(LOOP, last=BAD)])["containerStatuses"][0]
    assert found["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert found["lastState"]["terminated"] == {
        "exitCode": 1,
        "reason": "Error",
        "startedAt": "2027-01-04T12:00:00Z",
        "finishedAt": "2027-01-04T12:00:00Z",
        "containerID": "process://a",
    }


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"limits": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"ephemeral-storage": "1Gi"}}], "BestEffort"),
    ],
)
def test_quality_of_service(resources: list[Json], expected: str) -> None:
    assert quality_of_service({"spec": {"containers": [{"resources": item} for item in resources]}}) == expected
