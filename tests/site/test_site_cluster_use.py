"""What in a namespace is somebody's: nothing of it may vanish with blue (5.2b, F.12)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cutover.errors import CouldNotMeasure, Refused
from cutover.site.cluster import Cluster, Manifest

CORE = ["ConfigMap", "Secret", "Service", "Pod", "Event", "Endpoints", "PersistentVolumeClaim", "ServiceAccount"]
GROUPS = {
    "apps/v1": ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"],
    "batch/v1": ["Job", "CronJob"],
    "networking.k8s.io/v1": ["Ingress"],
    "discovery.k8s.io/v1": ["EndpointSlice"],
    "example.com/v1": ["Certificate"],
}


def plural(kind: str) -> str:
    return kind.lower() + "s"


class ListedCluster(Cluster):
    """A cluster that answers discovery and lists from a table of objects by kind."""

    def __init__(self, *objects: tuple[str, Manifest]) -> None:
        super().__init__(Path("unused"), context="c", allowed_contexts=["c"], allowed_namespaces=["prod"])
        self.objects = objects
        self.silent = ""

    def _json(self, method: str, path: str, **_: object) -> Manifest:
        assert method == "GET"
        if self.silent and path.startswith(self.silent):
            raise CouldNotMeasure("the API server refused", code="kubernetes-refused")
        if path == "/apis":
            return {"groups": [{"preferredVersion": {"groupVersion": group}} for group in GROUPS]}
        kinds = {"/api/v1": CORE} | {f"/apis/{group}": names for group, names in GROUPS.items()}
        if path in kinds:
            listed = [
                {"kind": kind, "name": plural(kind), "namespaced": True, "verbs": ["list"]} for kind in kinds[path]
            ]
            status = {"kind": "Pod", "name": "pods/status", "namespaced": True, "verbs": ["get"]}
            wide = {"kind": "Node", "name": "nodes", "namespaced": False, "verbs": ["list"]}
            review = {"kind": "Review", "name": "reviews", "namespaced": True, "verbs": ["create"]}
            return {"resources": [*listed, status, wide, review]}
        base, name = path.split("/namespaces/prod/")
        assert base in kinds
        return {"items": [item for kind, item in self.objects if plural(kind) == name]}


def item(name: str, *, of_type: str = "", **metadata: object) -> Manifest:
    found: dict[str, Any] = {"metadata": {"name": name, **metadata}}
    if of_type:
        found["type"] = of_type
    return found


OWNED = [{"kind": "Deployment", "name": "d"}]
NOTES = "helm.sh/release.v1"


@pytest.mark.parametrize(
    "kind",
    [
        "ConfigMap",
        "Secret",
        "Service",
        "Pod",
        "PersistentVolumeClaim",
        "ServiceAccount",
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "Job",
        "CronJob",
        "Ingress",
        "Certificate",
    ],
)
def test_an_object_that_nothing_generates_is_in_use(kind: str) -> None:
    assert ListedCluster((kind, item("x"))).in_use("prod", release="blue") == (f"{kind} x",)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("ConfigMap", item("kube-root-ca.crt")),
        ("ServiceAccount", item("default")),
        ("Secret", item("token", of_type="kubernetes.io/service-account-token")),
        ("Secret", item("sh.helm.release.v1.blue.v1", of_type=NOTES, labels={"name": "blue", "owner": "helm"})),
        ("Pod", item("blue-web-1", ownerReferences=OWNED)),
        ("ReplicaSet", item("blue-web", ownerReferences=OWNED)),
        ("Pod", item("going", deletionTimestamp="2026-01-01T00:00:00Z")),
        ("Event", item("x")),
        ("Endpoints", item("x")),
        ("EndpointSlice", item("x")),
    ],
)
def test_what_comes_and_goes_by_itself_is_not(kind: str, found: Manifest) -> None:
    assert ListedCluster((kind, found)).in_use("prod", release="blue") == ()


def test_the_notes_of_another_release_are_in_use() -> None:
    notes = item("sh.helm.release.v1.other.v1", of_type=NOTES, labels={"name": "other", "owner": "helm"})
    assert ListedCluster(("Secret", notes)).in_use("prod", release="blue") == ("Secret sh.helm.release.v1.other.v1",)


@pytest.mark.parametrize("silent", ["/apis/example.com", "/api/v1", "/apis"])
def test_what_cannot_be_listed_may_be_in_use(silent: str) -> None:
    cluster = ListedCluster()
    cluster.silent = silent
    with pytest.raises(CouldNotMeasure):
        cluster.in_use("prod")


def test_a_namespace_that_is_not_allowed_is_not_looked_at() -> None:
    with pytest.raises(Refused):
        ListedCluster().in_use("kube-system")
