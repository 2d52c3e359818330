"""The node agent under a real control plane, as kubectl sees it.

Skipped without the built binaries or without namespaces. The tests share one control plane and look at objects of
their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal.environment.errors import NamespacesRefused
from rehearsal.environment.sandbox import namespace_flags
from rehearsal.tools import ensure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rehearsal.node.shapes import Json

pytestmark = pytest.mark.real_programs

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
IMAGE = "registry.stella.test/shell:1"
BOUND_S = 25.0


class Cluster:
    """Commands inside the sandbox of these tests."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._file = folder / "objects.json"

    def run(self, *command: str) -> Json:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer: Json = json.loads(self._process.stdout.readline())
        return answer

    def kubectl(self, *words: str) -> str:
        done = self.run("kubectl", *words)
        assert done["code"] == 0, done["err"]
        return str(done["out"])

    def apply(self, *objects: Json) -> None:
        self._file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        self.kubectl("apply", "-f", str(self._file))

    def get(self, kind: str, name: str) -> Json:
        found: Json = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def shown(self, name: str) -> str:
        """Return the STATUS column of a pod, empty when there is no such pod."""
        out = str(self.run("kubectl", "get", "pod", name, "--no-headers")["out"])
        return out.split()[2] if out else ""

    def events(self, name: str) -> set[tuple[str, str]]:
        selector = f"involvedObject.name={name}"
        found = json.loads(self.kubectl("get", "events", "-o", "json", "--field-selector", selector))
        return {(item["reason"], item["message"]) for item in found["items"]}

    @staticmethod
    def wait(observe: Callable[[], Any], expected: object) -> None:
        deadline_s = time.monotonic() + BOUND_S
        while (seen := observe()) != expected:
            assert time.monotonic() < deadline_s, f"expected {expected}, last seen {seen}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    tools = ensure(PROGRAMS)
    try:
        flags = namespace_flags()
    except NamespacesRefused as refusal:
        pytest.skip(str(refusal))
    programs = {name: str(tools.path(name)) for name in PROGRAMS}
    folder = tmp_path_factory.mktemp("live")
    world = Path(__file__).with_name("control_plane.py")
    process = subprocess.Popen(
        ["unshare", *flags, "--", sys.executable, str(world), str(folder), json.dumps(programs)],
        cwd=world.parents[2],
        env={**os.environ, "PYTHONPATH": str(world.parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield Cluster(process, folder)
    finally:
        process.kill()
        process.communicate()


def container(script: str, name: str = "main", **more: Any) -> Json:  # noqa: ANN401 - a container's further fields
    return {"name": name, "image": IMAGE, "args": [script], **more}


def pod(name: str, *containers: Json, **spec: Any) -> Json:  # noqa: ANN401 - a pod spec's further fields
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": list(containers), "terminationGracePeriodSeconds": 3, **spec},
    }


def test_a_deployment_rolls_out_with_its_environment_and_volumes(cluster: Cluster) -> None:
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    server = 'echo serving $FROM; exec python -m http.server --bind "$POD_IP" --directory /data/site 8080'
    script = 'cp /config/page /data/site/index.html; echo "$HOSTNAME: $(MODE)"' + " '$$(MODE)'"
    mounts = [{"name": "data", "mountPath": "/data/site"}]
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "initContainers": [container(script, "init")],
            "containers": [
                container(
                    server,
                    env=[address],
                    ports=[{"name": "http", "containerPort": 8080}],
                    readinessProbe={"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 1},
                    livenessProbe={"exec": {"command": ["test", "-e", "/data/site/index.html"]}, "periodSeconds": 1},
                    volumeMounts=mounts,
                )
            ],
            "volumes": [{"name": "data", "emptyDir": {}}, {"name": "config", "configMap": {"name": "web"}}],
        },
    }
    template["spec"]["initContainers"][0] |= {  # type: ignore[index]
        "envFrom": [{"configMapRef": {"name": "web"}}],
        "volumeMounts": [*mounts, {"name": "config", "mountPath": "/config"}],
    }
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"page": "hi", "MODE": "fast"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec},
    )
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=25s")
    pods = json.loads(cluster.kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"]
    addresses = {item["status"]["podIP"] for item in pods}
    assert len(addresses) == 2
    for found in addresses:
        assert cluster.run("curl", "-s", f"http://{found}:8080/")["out"] == "hi"
    status = pods[0]["status"]["containerStatuses"][0]
    assert status["imageID"].startswith("registry.stella.test/shell@sha256:")
    name = pods[0]["metadata"]["name"]
    assert cluster.kubectl("logs", name, "-c", "init") == f"{name}: fast $(MODE)\n"
    assert "serving image" in cluster.kubectl("logs", "deployment/web", "--tail", "20")
    assert not Path("/data/site").exists()
    cluster.kubectl("delete", "deployment/web", "--cascade=foreground", "--timeout=25s")


def test_a_crash_loop_is_shown_with_its_logs(cluster: Cluster) -> None:
    cluster.apply(pod("crash", container("echo run; exit 3")))
    cluster.wait(lambda: cluster.shown("crash"), "CrashLoopBackOff")
    status = cluster.get("pod", "crash")["status"]["containerStatuses"][0]
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=main pod=crash_")
    assert cluster.kubectl("logs", "crash", "--previous") == "run\n"
    cluster.wait(lambda: "BackOff" in {reason for reason, _ in cluster.events("crash")}, expected=True)
    cluster.kubectl("delete", "pod", "crash", "--wait=false")


def test_a_missing_image_is_shown_and_logs_say_so(cluster: Cluster) -> None:
    absent = "registry.stella.test/shell:2"
    cluster.apply(pod("absent", container("true") | {"image": absent}))
    cluster.wait(lambda: cluster.shown("absent"), "ImagePullBackOff")
    assert f'failed to resolve reference "{absent}"' in str(cluster.get("pod", "absent")["status"]["containerStatuses"])
    assert ("Failed", "Error: ErrImagePull") in cluster.events("absent")
    assert "trying and failing to pull image" in cluster.run("kubectl", "logs", "absent")["err"]
    cluster.kubectl("delete", "pod", "absent", "--wait=false")


def test_a_stuck_init_container_is_shown(cluster: Cluster) -> None:
    cluster.apply(pod("stuck", container("true"), initContainers=[container("sleep 60", "migrate")]))
    cluster.wait(lambda: cluster.shown("stuck"), "Init:0/1")
    assert "waiting to start: PodInitializing" in cluster.run("kubectl", "logs", "stuck")["err"]
    assert "exec is not available" in cluster.run("kubectl", "exec", "stuck", "-c", "migrate", "--", "true")["err"]
    cluster.kubectl("delete", "pod", "stuck", "--wait=false")


def test_a_failing_liveness_probe_restarts_the_container(cluster: Cluster) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1, "initialDelaySeconds": 1}
    cluster.apply(pod("sick", container("sleep 60", livenessProbe=probe)))
    cluster.wait(lambda: cluster.get("pod", "sick")["status"]["containerStatuses"][0]["restartCount"], 1)
    assert ("Killing", "Container main failed liveness probe, will be restarted") in cluster.events("sick")
    cluster.kubectl("delete", "pod", "sick", "--wait=false")


def test_jobs_end_well_or_badly(cluster: Cluster) -> None:
    def job(name: str, script: str) -> Json:
        template = {"spec": {"restartPolicy": "Never", "containers": [container(script)]}}
        meta, spec = {"name": name}, {"backoffLimit": 0, "template": template}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}

    cluster.apply(job("good", "exit 0"), job("bad", "exit 1"))
    cluster.kubectl("wait", "job/good", "--for=condition=complete", "--timeout=25s")
    cluster.kubectl("wait", "job/bad", "--for=condition=failed", "--timeout=25s")


def test_a_deleted_pod_gets_its_hook_its_signal_and_its_grace(cluster: Cluster) -> None:
    script = "trap 'echo asked' TERM; echo up; while true; do sleep 0.1; done"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook > /proc/$(pgrep -o -f 'echo asked')/fd/1"]}}}
    cluster.apply(pod("stubborn", container(script, lifecycle=hook)))
    cluster.wait(lambda: cluster.shown("stubborn"), "Running")
    began_s = time.monotonic()
    cluster.kubectl("delete", "pod", "stubborn", "--wait=false")
    seen = cluster.kubectl("logs", "stubborn", "--follow")
    assert [line for line in seen.splitlines() if line != "up"][-1] == "asked"
    cluster.wait(lambda: cluster.shown("stubborn"), "")
    assert 2.5 < time.monotonic() - began_s < 6
    assert ("Killing", "Stopping container main") in cluster.events("stubborn")


def test_pods_start_anew_after_the_agent_was_killed_and_end_with_it(cluster: Cluster) -> None:
    cluster.apply(pod("steady", container("echo up; exec sleep 60")))
    cluster.wait(lambda: cluster.shown("steady"), "Running")
    assert cluster.run("agent", "kill")["out"] == ""

    def restarts() -> tuple[int, str]:
        status = cluster.get("pod", "steady")["status"]["containerStatuses"][0]
        return status["restartCount"], next(iter(status["state"]))

    cluster.wait(restarts, (1, "running"))
    end = cluster.get("pod", "steady")["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (end["exitCode"], end["reason"]) == (255, "Unknown")
    ended = cluster.run("agent", "end")
    assert (ended["code"], ended["out"]) == (0, "")
    cluster.wait(restarts, (2, "running"))
