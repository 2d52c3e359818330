"""The chart renders what the contract names, its parts fit together, and wrong values are refused beforehand."""

import base64
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from rehearsal.platform.core import keys
from rehearsal.platform.core.settings import from_environment
from rehearsal.tools import ensure

pytestmark = pytest.mark.real_programs

CHART = Path(__file__).parents[2] / "rehearsal" / "platform" / "chart"
VALUES: dict[str, Any] = {
    "colour": "green",
    "image": {"repository": "registry.stella.test/stellaops", "tag": "2027.Q2"},
    "database": {"url": "postgresql://stellaops:pass@postgres.stella.test:5432/stellaops"},
    "cache": {"url": "redis://valkey-green.stella.test:6379/0"},
    "store": {"endpoint": "http://store.stella.test:8333", "accessKey": "access", "secretKey": "secret"},
    "signing": {
        "key": keys.private_pem(keys.derived_signing_key(1)),
        "logKey": keys.private_pem(keys.derived_log_key(1)),
    },
}
WRONG = [
    ({"colour": "purple"}, "colour"),
    ({"image": {"repository": "r", "tag": "a tag"}}, "tag"),
    ({"database": {"url": "mysql://x"}}, "database"),
    ({"cache": {"url": ""}}, "cache"),
    ({"store": {"endpoint": "store:8333"}}, "store"),
    ({"signing": {"key": "no key"}}, "signing"),
    ({"migrations": {"mode": "hook"}}, "mode"),
    ({"migrationTimeoutSeconds": "soon"}, "migrationTimeoutSeconds"),
    ({"replica": {"web": 2}}, "replica"),
]
Objects = Mapping[tuple[str, str], Mapping[str, Any]]


@pytest.fixture(scope="module")
def helm() -> str:
    return shutil.which("helm") or str(ensure(["helm"]).path("helm"))


def run(helm: str, folder: Path, values: Mapping[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
    command = [helm, *arguments, "--values", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, env={"HOME": str(folder)})


def render(helm: str, folder: Path, **changes: object) -> Objects:
    done = run(helm, folder, {**VALUES, **changes}, "template", "stellaops-green", str(CHART), "-n", "stellaops-green")
    assert done.returncode == 0, done.stderr
    return {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(done.stdout) if item}


@pytest.fixture(scope="module")
def objects(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Objects:
    return render(helm, tmp_path_factory.mktemp("chart"))


def test_the_chart_is_clean(helm: str, tmp_path: Path) -> None:
    done = run(helm, tmp_path, VALUES, "lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_objects_are_those_of_the_contract(objects: Objects) -> None:
    assert set(objects) == {
        ("ConfigMap", "stellaops-green-config"),
        ("Secret", "stellaops-green-secrets"),
        ("Deployment", "stellaops-green-web"),
        ("Deployment", "stellaops-green-worker"),
        ("Service", "stellaops-green"),
        ("Service", "stellaops-green-worker"),
        ("PodDisruptionBudget", "stellaops-green-web"),
    }


@pytest.mark.parametrize(
    ("service", "deployment"),
    [("stellaops-green", "stellaops-green-web"), ("stellaops-green-worker", "stellaops-green-worker")],
)
def test_a_service_reaches_its_pods(objects: Objects, service: str, deployment: str) -> None:
    spec = objects["Service", service]["spec"]
    pod = objects["Deployment", deployment]["spec"]["template"]
    assert spec["selector"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    assert str(ports[spec["ports"][0]["targetPort"]]) == pod["metadata"]["annotations"]["prometheus.io/port"]


@pytest.mark.parametrize("component", ["web", "worker"])
def test_a_pod_says_its_colour_and_release(objects: Objects, component: str) -> None:
    deployment = objects["Deployment", f"stellaops-green-{component}"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    assert (labels["stellaops.io/colour"], labels["app.kubernetes.io/version"]) == ("green", "2027.Q2")
    spec = deployment["template"]["spec"]
    images = {container["image"] for container in (*spec["initContainers"], *spec["containers"])}
    assert images == {"registry.stella.test/stellaops:2027.Q2"}


def test_the_platform_understands_the_environment(objects: Objects) -> None:
    secret = objects["Secret", "stellaops-green-secrets"]["data"]
    environment = {
        **objects["ConfigMap", "stellaops-green-config"]["data"],
        **{name: base64.b64decode(value).decode() for name, value in secret.items()},
    }
    settings = from_environment(environment)
    assert (settings.colour, settings.release, settings.migrations_mode) == ("green", "2027.Q2", "init")
    assert settings.database_url == VALUES["database"]["url"]
    keys.load_signing_key(settings.signing_key_pem)
    keys.load_log_key(settings.log_signing_key_pem)


def test_no_secret_is_in_the_config_map(objects: Objects) -> None:
    shown = yaml.safe_dump(objects["ConfigMap", "stellaops-green-config"])
    assert "pass" not in shown
    assert "PRIVATE KEY" not in shown


@pytest.mark.parametrize(("mode", "command"), [("init", "migrate"), ("external", "wait-schema")])
def test_the_init_container_follows_the_mode(helm: str, tmp_path: Path, mode: str, command: str) -> None:
    objects = render(helm, tmp_path, migrations={"mode": mode})
    spec = objects["Deployment", "stellaops-green-web"]["spec"]["template"]["spec"]
    assert [(container["name"], container["args"]) for container in spec["initContainers"]] == [("migrate", [command])]


def test_changed_configuration_rolls_the_pods(helm: str, tmp_path: Path, objects: Objects) -> None:
    changed = render(helm, tmp_path, migrationTimeoutSeconds=600)
    key = ("Deployment", "stellaops-green-web")
    before, after = (tree[key]["spec"]["template"]["metadata"]["annotations"] for tree in (objects, changed))
    assert before["checksum/config"] != after["checksum/config"]
    assert before["checksum/secrets"] == after["checksum/secrets"]


def test_a_pod_may_finish_its_requests(objects: Objects) -> None:
    config = objects["ConfigMap", "stellaops-green-config"]["data"]
    spec = objects["Deployment", "stellaops-green-web"]["spec"]
    drain_s = int(config["DRAIN_DELAY_SECONDS"]) + int(config["DRAIN_TIMEOUT_SECONDS"])
    assert drain_s < spec["template"]["spec"]["terminationGracePeriodSeconds"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize(("change", "named"), WRONG, ids=[named for _, named in WRONG])
def test_wrong_values_are_refused(helm: str, tmp_path: Path, change: Mapping[str, object], named: str) -> None:
    done = run(helm, tmp_path, {**VALUES, **change}, "template", "r", str(CHART))
    assert done.returncode != 0
    assert named in done.stderr
