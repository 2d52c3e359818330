"""A thin client of the environment's own API server, for the parts that build and serve the site.

Invariants: speaks only to the API server of its own sandbox, as the component it was made for; an answer outside
2xx raises `httpx.HTTPStatusError`.
"""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any, Self

import httpx

from rehearsal.environment import layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

Object = dict[str, Any]
"""A Kubernetes object or list, as JSON gives it."""


class ApiClient:
    """The API server, seen by one component (`admin`, `services`, …)."""

    def __init__(self, place: layout.Place, component: str = "admin") -> None:
        context = ssl.create_default_context(cafile=str(place.pki("ca.crt")))
        context.load_cert_chain(place.pki(f"{component}.crt"), place.pki(f"{component}.key"))
        self._client = httpx.Client(
            base_url=f"https://{layout.API_SERVER}:6443", verify=context, timeout=10, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def get(self, path: str, **query: str) -> Object:
        """Return the object or list at `path`."""
        return self._json(self._client.get(path, params=query))

    def create(self, path: str, body: Object) -> Object:
        """Create an object in the collection `path`; an existing one of that name is left as it is."""
        answer = self._client.post(path, json=body)
        if answer.status_code == httpx.codes.CONFLICT:
            return self.get(f"{path}/{body['metadata']['name']}")
        return self._json(answer)

    def create_text(self, path: str, text: str) -> Object:
        """Create an object from its YAML in the collection `path`."""
        return self._json(self._client.post(path, content=text, headers={"content-type": "application/yaml"}))

    def patch(self, path: str, operations: list[Object]) -> Object:
        """Apply a JSON Patch (RFC 6902) to the object at `path`."""
        headers = {"content-type": "application/json-patch+json"}
        return self._json(self._client.patch(path, content=json.dumps(operations), headers=headers))

    def watch(self, path: str, *, resource_version: str, timeout_s: int) -> Iterator[Object]:
        """Yield watch events (`{"type", "object"}`) of the collection until the server ends the watch."""
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_s),
            "allowWatchBookmarks": "true",
        }
        with self._client.stream("GET", path, params=query, timeout=httpx.Timeout(10, read=timeout_s + 10)) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                if line:
                    yield json.loads(line)

    @staticmethod
    def _json(answer: httpx.Response) -> Object:
        answer.raise_for_status()
        document: Object = answer.json()
        return document
