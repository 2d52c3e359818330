"""The manifests for a load from inside a cluster, as a real API server sees them.

Skipped without the built binaries or without namespaces.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cutover import project
from rehearsal.tools import ensure
from tests.sandboxed import world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Run = Callable[..., Mapping[str, Any]]

pytestmark = pytest.mark.real_programs

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
MANIFESTS = project.ROOT / "load" / "kubernetes"
WORLD = project.ROOT / "tests" / "node" / "control_plane.py"
NAMES = {
    ("Namespace", "cutover"),
    ("Job", "cutover-run"),
    ("PersistentVolumeClaim", "cutover-records"),
    ("Service", "cutover-load-master"),
    ("NetworkPolicy", "cutover-load-master"),
    ("NetworkPolicy", "cutover-load-worker"),
    ("Deployment", "cutover-load-worker"),
    ("PodDisruptionBudget", "cutover-load-worker"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Return what runs a command beside a control plane of its own."""
    tools = ensure(PROGRAMS)
    programs = json.dumps({name: str(tools.path(name)) for name in PROGRAMS})
    with world([sys.executable, str(WORLD), str(tmp_path_factory.mktemp("live")), programs]) as ask:

        def do(*command: str) -> Mapping[str, Any]:
            answer: Mapping[str, Any] = ask(json.dumps(command))
            return answer

        yield do


@pytest.fixture(scope="module")
def objects(run: Run) -> Mapping[tuple[str, str], dict[str, Any]]:
    """Return the objects that the folder is made into."""
    made = run("kubectl", "kustomize", str(MANIFESTS))
    assert made["code"] == 0, made["err"]
    return {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(made["out"])}


def test_the_api_server_takes_every_object_and_warns_of_none(
    run: Run, objects: Mapping[tuple[str, str], dict[str, Any]], tmp_path: Path
) -> None:
    assert set(objects) == NAMES
    namespace = tmp_path / "namespace.yaml"
    namespace.write_text(yaml.safe_dump(objects["Namespace", "cutover"]), encoding="utf-8")
    assert run("kubectl", "apply", "-f", str(namespace))["code"] == 0
    done = run("kubectl", "apply", "-k", str(MANIFESTS), "--dry-run=server", "--validate=strict")
    assert done["code"] == 0, done["err"]
    assert done["err"] == ""  # what is against the pod security standard, or old, would be warned of
    assert done["out"].count("(server dry run)") == len(NAMES)


def test_a_field_that_does_not_exist_is_refused(run: Run, tmp_path: Path) -> None:
    text = (MANIFESTS / "workers.yaml").read_text(encoding="utf-8").replace("readinessProbe:", "readyProbe:")
    (tmp_path / "wrong.yaml").write_text(text, encoding="utf-8")
    done = run("kubectl", "apply", "-f", str(tmp_path / "wrong.yaml"), "--dry-run=server", "--validate=strict")
    assert done["code"] != 0
    assert "readyProbe" in done["err"]


def test_the_parts_fit_together(objects: Mapping[tuple[str, str], dict[str, Any]]) -> None:
    job = objects["Job", "cutover-run"]["spec"]["template"]
    worker = objects["Deployment", "cutover-load-worker"]["spec"]["template"]
    service = objects["Service", "cutover-load-master"]["spec"]
    assert service["selector"].items() <= job["metadata"]["labels"].items()
    (port,) = job["spec"]["containers"][0]["ports"]
    assert port["containerPort"] == service["ports"][0]["port"]
    arguments = worker["spec"]["containers"][0]["args"]
    assert arguments[arguments.index("--master-host") + 1] == "cutover-load-master"
    assert arguments[arguments.index("--master-port") + 1] == str(port["containerPort"])
    assert f":{port['containerPort']:04X} 01 " in worker["spec"]["containers"][0]["readinessProbe"]["exec"]["command"]
    allowed = objects["NetworkPolicy", "cutover-load-master"]["spec"]
    assert allowed["podSelector"]["matchLabels"].items() <= job["metadata"]["labels"].items()
    (source,) = allowed["ingress"][0]["from"]
    assert source["podSelector"]["matchLabels"].items() <= worker["metadata"]["labels"].items()
    assert objects["Deployment", "cutover-load-worker"]["spec"]["replicas"] == 2


def test_the_workers_have_the_locust_of_the_lock_file(objects: Mapping[tuple[str, str], dict[str, Any]]) -> None:
    template = objects["Deployment", "cutover-load-worker"]["spec"]["template"]
    image = template["spec"]["containers"][0]["image"]
    lock = (project.ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert f"locust=={image.rpartition(':')[2]} " in lock
