"""The API server as the node agent sees it: a few verbs over one HTTP session, and watches that survive.

`Informer` keeps a local copy of a collection by one list and one watch: it relists when its version is gone (410),
resumes at its last version when the connection is, and backs off while the server is away.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import ssl
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import yaml

from rehearsal.node.errors import ApiError, ConfigError
from rehearsal.node.shapes import Json, metadata

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path
    from types import TracebackType

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
REQUEST_S = 15.0
WATCH_S = 240
# The server sends a bookmark about once a minute: silence much longer than that is a dead connection.
WATCH_SILENCE_S = 150.0
RETRY_FIRST_S = 0.1
RETRY_LAST_S = 3.0
USER_AGENT = "cutover-node-agent/1"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the API server is and how to be let in."""

    server: str
    tls: ssl.SSLContext | None
    token: str


def read_kubeconfig(path: Path) -> Endpoint:
    """Return the endpoint of a kubeconfig's current context (certificates or a token; no exec plugins).

    Raises:
        ConfigError: the file cannot be read or lacks a part.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        name = document.get("current-context") or document["contexts"][0]["name"]
        context = _named(document["contexts"], name)["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        server = cluster["server"].rstrip("/")
    except (OSError, yaml.YAMLError, KeyError, IndexError, TypeError, AttributeError) as cause:
        raise ConfigError(f"cannot read kubeconfig {path}: {cause!r}") from cause
    tls = None
    if server.startswith("https:"):
        authority = _material(cluster, "certificate-authority", path.parent)
        tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        certificate = _material(user, "client-certificate", path.parent)
        key = _material(user, "client-key", path.parent)
        if certificate and key:
            with tempfile.NamedTemporaryFile() as handle:
                handle.write(certificate + b"\n" + key)
                handle.flush()
                tls.load_cert_chain(handle.name)
    return Endpoint(server=server, tls=tls, token=user.get("token") or "")


class Api:
    """Requests to one API server. Use as an async context manager."""

    def __init__(self, endpoint: Endpoint) -> None:
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
        if endpoint.token:
            headers["Authorization"] = f"Bearer {endpoint.token}"
        self._server = endpoint.server
        self._headers = headers
        self._tls = endpoint.tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True, limit=32)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **query: str) -> Json:
        """Return an object or a list. Raises ApiError."""
        return await self._call("GET", path, query=query)

    async def create(self, path: str, body: Json) -> Json:
        """Create an object in the collection at `path` and return it. Raises ApiError (409: it exists)."""
        return await self._call("POST", path, body=body)

    async def replace(self, path: str, body: Json) -> Json:
        """Replace an object. Raises ApiError (409: it was changed)."""
        return await self._call("PUT", path, body=body)

    async def patch(self, path: str, body: Json, kind: str = MERGE_PATCH) -> Json:
        """Patch an object and return it. Raises ApiError."""
        return await self._call("PATCH", path, body=body, content_type=kind)

    async def delete(self, path: str, body: Json) -> Json:
        """Delete an object with these DeleteOptions. Raises ApiError."""
        return await self._call("DELETE", path, body=body)

    async def watch(self, path: str, version: str, query: Mapping[str, str]) -> AsyncIterator[tuple[str, Json]]:
        """Yield (type, object) until the server ends the watch.

        Raises:
            ApiError: status 410 when `version` is gone; 0 when the connection is.
        """
        asked = {
            **query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_S),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_S, sock_read=WATCH_SILENCE_S)
        try:
            async with self._open().get(self._server + path, params=asked, timeout=timeout) as response:
                if response.status != 200:
                    raise _refusal(await response.read(), response.status)
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise _refusal(json.dumps(event["object"]).encode(), event["object"].get("code", 500))
                        yield event["type"], event["object"]
        except (aiohttp.ClientError, OSError, TimeoutError) as cause:
            raise ApiError(f"watch of {path} broke: {_words(cause)}", status=0) from cause

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise ApiError("the session to the API server is not open", status=0)
        return self._session

    async def _call(
        self,
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": content_type}
        try:
            async with self._open().request(
                verb,
                self._server + path,
                params=query,
                data=data,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=REQUEST_S),
            ) as response:
                content = await response.read()
                if response.status >= 400:
                    raise _refusal(content, response.status)
        except (aiohttp.ClientError, OSError, TimeoutError) as cause:
            raise ApiError(f"{verb} {path}: {_words(cause)}", status=0) from cause
        answer: Json = json.loads(content)
        return answer


class Informer:
    """A local copy of a collection, kept by a watch.

    `on_change(object)` is called for each object that is new or changed, `on_gone(object)` for each that is deleted.
    """

    def __init__(
        self,
        api: Api,
        path: str,
        query: Mapping[str, str],
        *,
        on_change: Callable[[Json], None],
        on_gone: Callable[[Json], None],
    ) -> None:
        self._api = api
        self._path = path
        self._query = dict(query)
        self._on_change = on_change
        self._on_gone = on_gone
        self._held: dict[str, Json] = {}

    async def run(self) -> None:
        """List and watch, for ever."""
        version = ""
        pause_s = RETRY_FIRST_S
        while True:
            try:
                if not version:
                    version = await self._list()
                async for kind, obj in self._api.watch(self._path, version, self._query):
                    version = metadata(obj).get("resourceVersion", version)
                    pause_s = RETRY_FIRST_S
                    if kind != "BOOKMARK":
                        self._take(kind, obj)
            except ApiError as problem:
                if problem.status == 410:
                    version = ""
                    continue
                _log.warning("%s; again in %.1f s", problem.message, pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_LAST_S)
                if problem.status:
                    version = ""

    async def _list(self) -> str:
        answer = await self._api.get(self._path, **self._query)
        found = {metadata(item)["uid"]: item for item in answer.get("items") or ()}
        for uid in [uid for uid in self._held if uid not in found]:
            self._on_gone(self._held.pop(uid))
        for uid, item in found.items():
            before = self._held.get(uid)
            self._held[uid] = item
            if before is None or metadata(before)["resourceVersion"] != metadata(item)["resourceVersion"]:
                self._on_change(item)
        return str(metadata(answer)["resourceVersion"])

    def _take(self, kind: str, obj: Json) -> None:
        uid = metadata(obj)["uid"]
        if kind == "DELETED":
            self._held.pop(uid, None)
            self._on_gone(obj)
        else:
            self._held[uid] = obj
            self._on_change(obj)


def _words(cause: BaseException) -> str:
    if isinstance(cause, aiohttp.ClientConnectorError) and cause.os_error.errno:
        return f"cannot connect: {os.strerror(cause.os_error.errno)}"
    return str(cause) or type(cause).__name__


def _refusal(content: bytes, status: int) -> ApiError:
    try:
        answer = json.loads(content)
        return ApiError(answer.get("message") or f"HTTP {status}", status=status, reason=answer.get("reason") or "")
    except (ValueError, AttributeError):
        return ApiError(f"HTTP {status}: {content[:200].decode(errors='replace')}", status=status)


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(name)


def _material(section: Mapping[str, Any], name: str, folder: Path) -> bytes:
    """Return a certificate or key, given inline (base64) or as a file; empty when it is not given."""
    if section.get(f"{name}-data"):
        return base64.b64decode(section[f"{name}-data"])
    return (folder / section[name]).read_bytes() if section.get(name) else b""
