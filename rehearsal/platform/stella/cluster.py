"""Reads the cluster through its API server, over one pooled connection and with no more than a request needs.

Invariants: nothing in the cluster is changed; every call has a time limit; a server that does not answer is
`UnreachableError`, an answer that says no is `RefusedError`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode

import urllib3

from rehearsal.platform.stella import kubeconfig
from rehearsal.platform.stella.errors import NotFoundError, RefusedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal.platform.stella.kubeconfig import Access

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAnswer:
    """What a Service answered through the API server's proxy. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 -- a document's shape is the caller's to check
        """Return the body as JSON; raises ValueError when it is none."""
        return json.loads(self.body)


class Cluster:
    """One API server, as the current context of the kubeconfig reaches it."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._pool = urllib3.PoolManager(
            maxsize=4,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            ssl_context=access.tls,
        )

    @classmethod
    def from_kubeconfig(cls) -> Self:
        """Return the cluster of the environment's kubeconfig."""
        return cls(kubeconfig.load())

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self._access.server

    def version(self) -> str:
        """Return the API server's version, such as ``v1.36.3``."""
        return str(self._object("/version")["gitVersion"])

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """Return one object. Raises: NotFoundError."""
        return self._object(f"{_collection(kind, namespace)}/{quote(name)}")

    def find(self, kind: str, namespace: str | None, *, selector: str = "") -> list[dict[str, Any]]:
        """Return the objects that have the labels `selector` asks for; of every namespace if none is given."""
        query = f"?{urlencode({'labelSelector': selector})}" if selector else ""
        items: list[dict[str, Any]] = self._object(_collection(kind, namespace) + query).get("items") or []
        return items

    def log_tail(self, namespace: str, pod: str, container: str, *, lines: int, previous: bool = False) -> str:
        """Return the last lines of a container's log. Raises: RefusedError when the node does not give them."""
        query = urlencode({"container": container, "tailLines": lines, "previous": str(previous).lower()})
        answer = self._request("GET", f"/api/v1/namespaces/{namespace}/pods/{quote(pod)}/log?{query}")
        _refuse_unless_ok(answer, f"the log of {pod}/{container}")
        return answer.body.decode(errors="replace")

    def call_service(
        self,
        namespace: str,
        service: str,
        path: str,
        *,
        port: int = 80,
        method: str = "GET",
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> ServiceAnswer:
        """Return what a Service answers to a request sent through the API server's proxy.

        `path` starts with a slash and may carry a query. A status of 503 may be the proxy's own, for a Service
        without a ready endpoint. Raises: UnreachableError when the API server itself does not answer.
        """
        proxy = f"/api/v1/namespaces/{namespace}/services/http:{service}:{port}/proxy{path}"
        return self._request(method, proxy, body=body, content_type=content_type)

    def _object(self, path: str) -> dict[str, Any]:
        answer = self._request("GET", path)
        _refuse_unless_ok(answer, path)
        try:
            found = answer.json()
        except ValueError as cause:
            raise self._unreachable(f"answered {path} with something that is not JSON") from cause
        if not isinstance(found, dict):
            raise self._unreachable(f"answered {path} with something that is no object")
        return found

    def _request(
        self, method: str, path: str, *, body: bytes | None = None, content_type: str = "application/json"
    ) -> ServiceAnswer:
        headers = dict(self._access.headers)
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            response: urllib3.BaseHTTPResponse = self._pool.request(
                method, self._access.server + path, headers=headers, body=body, redirect=False
            )
        except urllib3.exceptions.HTTPError as cause:
            raise self._unreachable(f"did not answer: {cause.__class__.__name__}") from cause
        return ServiceAnswer(
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=response.data,
        )

    def _unreachable(self, what: str) -> UnreachableError:
        return UnreachableError(
            f"the API server {self.server} {what}",
            code="cluster-unreachable",
            remedy="check that the cluster is up and that KUBECONFIG names it",
        )


def _collection(kind: str, namespace: str | None) -> str:
    group = {"deployments": "/apis/apps/v1", "ingresses": "/apis/networking.k8s.io/v1"}.get(kind, "/api/v1")
    return f"{group}/namespaces/{namespace}/{kind}" if namespace else f"{group}/{kind}"


def _refuse_unless_ok(answer: ServiceAnswer, what: str) -> None:
    if answer.status < 300:
        return
    try:
        message = str(answer.json().get("message", ""))
    except (ValueError, AttributeError):
        message = answer.body[:200].decode(errors="replace")
    if answer.status == 404:
        raise NotFoundError(
            message or f"{what} does not exist", code="not-found", remedy="check the namespace and the name"
        )
    if answer.status in {401, 403}:
        raise RefusedError(
            f"the API server refuses {what}: {message}",
            code="cluster-forbidden",
            remedy="use a kubeconfig whose user may read the platform's namespaces",
        )
    raise RefusedError(
        f"the API server answered {answer.status} to {what}: {message}", code="cluster-refused", remedy="retry"
    )
