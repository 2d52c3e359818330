"""The API server is read with the user's credentials, and every way of not answering has its own error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rehearsal.platform.stella import deployment
from rehearsal.platform.stella.cluster import Cluster
from rehearsal.platform.stella.errors import NotFoundError, RefusedError, UnreachableError
from rehearsal.platform.stella.kubeconfig import Access

if TYPE_CHECKING:
    from conftest import Server


@pytest.mark.usefixtures("kubeconfig")
def test_requests_carry_the_token_and_the_selector(server: Server):
    server.answer("/api/v1/namespaces/n/pods", {"items": [{"metadata": {"name": "p"}}]})
    assert Cluster.from_kubeconfig().find("pods", "n", selector="a=b")[0]["metadata"]["name"] == "p"
    assert server.seen == [("GET", "/api/v1/namespaces/n/pods?labelSelector=a%3Db")]
    assert server.headers["authorization"] == "Bearer secret-token"


@pytest.mark.parametrize(
    ("kind", "namespace", "path"),
    [
        ("pods", None, "/api/v1/pods"),
        ("deployments", "n", "/apis/apps/v1/namespaces/n/deployments"),
        ("ingresses", "n", "/apis/networking.k8s.io/v1/namespaces/n/ingresses"),
    ],
)
@pytest.mark.usefixtures("kubeconfig")
def test_each_kind_is_asked_of_its_own_group(server: Server, kind: str, namespace: str | None, path: str):
    server.answer(path, {"items": []})
    assert Cluster.from_kubeconfig().find(kind, namespace) == []


@pytest.mark.usefixtures("kubeconfig")
def test_a_service_is_called_through_the_proxy_with_its_port(server: Server):
    server.answer("/api/v1/namespaces/n/services/http:web:80/proxy/x", b"not ready", status=503)
    answer = Cluster.from_kubeconfig().call_service("n", "web", "/x?y=1", method="POST", body=b"{}")
    assert (answer.status, answer.body) == (503, b"not ready")
    assert server.seen == [("POST", "/api/v1/namespaces/n/services/http:web:80/proxy/x?y=1")]


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (404, NotFoundError, "not-found"),
        (403, RefusedError, "cluster-forbidden"),
        (401, RefusedError, "cluster-forbidden"),
        (500, RefusedError, "cluster-refused"),
    ],
)
@pytest.mark.usefixtures("kubeconfig")
def test_an_answer_that_says_no_is_refused(server: Server, status: int, error: type[RefusedError], code: str):
    server.answer("/version", {"message": "because"}, status=status)
    with pytest.raises(error, match="because") as refusal:
        Cluster.from_kubeconfig().version()
    assert refusal.value.code == code


@pytest.mark.parametrize("body", [b"<html>", b"[]"])
@pytest.mark.usefixtures("kubeconfig")
def test_an_answer_that_is_no_object_is_not_an_api_servers(server: Server, body: bytes):
    server.answer("/version", body)
    with pytest.raises(UnreachableError, match="something that is"):
        Cluster.from_kubeconfig().version()


def test_no_answer_is_unreachable_with_exit_code_3():
    nowhere = Cluster(Access(server="http://127.0.0.1:9", headers={}, tls=None))
    with pytest.raises(UnreachableError, match="did not answer") as error:
        nowhere.version()
    assert (error.value.code, error.value.exit_code) == ("cluster-unreachable", 3)


def test_a_deployment_is_found_with_its_configuration(site: Server):
    found = deployment.find(Cluster.from_kubeconfig(), "stellaops-prod")
    assert (found.release_name, found.web, found.service) == ("stellaops-blue", "stellaops-blue-web", "stellaops-blue")
    assert (found.settings.release, found.settings.colour) == ("2027.Q1", "blue")
    assert found.settings.store.endpoint == site.url
    assert "correct-horse" not in repr(found)


@pytest.mark.usefixtures("site")
def test_the_releases_of_the_cluster_are_read_from_labels():
    cluster = Cluster.from_kubeconfig()
    assert deployment.releases_deployed(cluster) == ("2027.Q1",)
    assert deployment.releases_running(cluster) == ("2027.Q1",)


def test_an_ended_pod_does_not_run(site: Server):
    labels = {"app.kubernetes.io/version": "2027.Q1"}
    site.answer("/api/v1/pods", {"items": [{"metadata": {"labels": labels}, "status": {"phase": "Succeeded"}}]})
    assert deployment.releases_running(Cluster.from_kubeconfig()) == ()


@pytest.mark.usefixtures("kubeconfig")
def test_a_namespace_without_the_platform_is_named(server: Server):
    server.answer("/api/v1/namespaces/empty/configmaps", {"items": []})
    with pytest.raises(NotFoundError, match="no Stella Ops deployment in namespace empty"):
        deployment.find(Cluster.from_kubeconfig(), "empty")


def test_an_incomplete_configuration_is_refused_by_its_name(site: Server):
    site.answer("/api/v1/namespaces/stellaops-prod/secrets/stellaops-blue-secrets", {"data": {}})
    with pytest.raises(RefusedError, match="DATABASE_URL is not set"):
        deployment.find(Cluster.from_kubeconfig(), "stellaops-prod")
