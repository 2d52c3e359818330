"""A site for the tests of `stella`: an HTTP server on loopback that answers as its API server and its object store."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from rehearsal.platform.core import keys
from tests.local_server import LocalServer
from tests.platform.stella.stella_world import LOG_KEY, ORIGIN, SIGNING_KEY, World, make_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMESPACE = "stellaops-prod"
RELEASE_NAME = "stellaops-blue"


@pytest.fixture
def world() -> World:
    return make_world()


@dataclass(slots=True)
class Server:
    """An HTTP server on loopback. `answers` are (status, body) by path without query; `seen` are (method, target)."""

    url: str
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def answer(self, path: str, body: object, status: int = 200) -> None:
        self.answers[path] = (status, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            made.seen.append((self.command, self.path))
            made.headers = {name.lower(): value for name, value in self.headers.items()}
            status, body = made.answers.get(urlsplit(self.path).path, (404, b'{"message": "no such object"}'))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Stella-Colour", "blue")
            self.send_header("X-Stella-Pod", "web-1")
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET  # noqa: N815 -- the names that http.server calls

        def log_message(self, *_: object) -> None: ...

    listener = LocalServer(("127.0.0.1", 0), Handler)
    made = Server(url=f"http://127.0.0.1:{listener.server_address[1]}")
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    listener.shutdown()
    thread.join()
    listener.server_close()


@pytest.fixture
def kubeconfig(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point KUBECONFIG at the server, and nothing else of this machine at anything."""
    path = tmp_path / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "current-context": "site",
                "contexts": [{"name": "site", "context": {"cluster": "site", "user": "operator"}}],
                "clusters": [{"name": "site", "cluster": {"server": server.url}}],
                "users": [{"name": "operator", "user": {"token": "secret-token"}}],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.delenv("STELLA_NAMESPACE", raising=False)
    monkeypatch.delenv("STELLA_FAULTS_DIR", raising=False)
    return path


@pytest.fixture
def site(server: Server, kubeconfig: Path, world: World) -> Server:
    """Make the server the API server of a namespace with one healthy deployment, and its object store."""
    del kubeconfig
    labels = {
        "app.kubernetes.io/name": "stellaops",
        "app.kubernetes.io/instance": RELEASE_NAME,
        "app.kubernetes.io/version": "2027.Q1",
        "stellaops.io/colour": "blue",
    }
    configuration = {
        "STELLA_RELEASE": "2027.Q1",
        "STELLA_COLOUR": "blue",
        "CACHE_URL": "redis://127.0.0.1:9/0",
        "STORE_ENDPOINT": server.url,
        "STORE_BUCKET": "evidence",
        "LOG_ORIGIN": ORIGIN,
    }
    secrets = {
        "DATABASE_URL": "postgresql://stellaops:correct-horse@127.0.0.1:9/stellaops",
        "STORE_ACCESS_KEY": "access-key",
        "STORE_SECRET_KEY": "store-secret-key",
        "SIGNING_KEY": keys.private_pem(SIGNING_KEY),
        "LOG_SIGNING_KEY": keys.private_pem(LOG_KEY),
    }
    secret = {
        "metadata": {"name": f"{RELEASE_NAME}-secrets"},
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in secrets.items()},
    }
    core, apps = f"/api/v1/namespaces/{NAMESPACE}", "/apis/apps/v1"
    container = {"name": "web", "image": "registry.stella.test/stellaops:2027.Q1"}
    deployment = {
        "metadata": {"name": f"{RELEASE_NAME}-web", "labels": labels, "generation": 1},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [container]}}},
        "status": {"observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 2},
    }
    pod = {
        "metadata": {"name": "web-1", "labels": labels},
        "spec": {"containers": [{**container, "env": [{"name": "COPY", "value": secrets["DATABASE_URL"]}]}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "web", "ready": True, "restartCount": 0, "state": {"running": {}}}],
        },
    }
    server.answer("/version", {"gitVersion": "v1.36.3"})
    server.answer(
        f"{core}/configmaps",
        {"items": [{"metadata": {"name": f"{RELEASE_NAME}-config", "labels": labels}, "data": configuration}]},
    )
    server.answer(f"{core}/secrets/{RELEASE_NAME}-secrets", secret)
    server.answer(f"{core}/secrets", {"items": [secret]})
    server.answer(f"{core}/pods", {"items": [pod]})
    server.answer("/api/v1/pods", {"items": [pod]})
    server.answer(f"{core}/pods/web-1/log", f"connecting to {secrets['DATABASE_URL']}\n".encode())
    for kind in ("services", "endpoints", "events"):
        server.answer(f"{core}/{kind}", {"items": []})
    server.answer(f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/ingresses", {"items": []})
    server.answer(f"{apps}/namespaces/{NAMESPACE}/deployments", {"items": [deployment]})
    server.answer(f"{apps}/deployments", {"items": [deployment]})
    server.answer(f"{apps}/namespaces/{NAMESPACE}/deployments/{RELEASE_NAME}-web", deployment)
    web = f"{core}/services/http:{RELEASE_NAME}:80/proxy"
    worker = f"{core}/services/http:{RELEASE_NAME}-worker:9100/proxy"
    server.answer(f"{web}/version", {"version": "2027.Q1", "colour": "blue", "pod": "web-1"})
    server.answer(f"{web}/healthz", {"status": "ok"})
    server.answer(f"{web}/readyz", {"ready": True, "checks": {"database": "ok"}})
    server.answer(f"{worker}/readyz", {"ready": True, "checks": {}})
    for key, content in world.contents.items():
        server.answer(f"/evidence/{key}", content)
    return server
