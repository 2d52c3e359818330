"""A registry in this process, over real HTTP: as much of the OCI distribution specification 1.1 as pushing needs.

Uploads in two steps with a location of its own, manifests by tag and digest, the referrers API where it is switched on,
and tokens where it wants them. Nothing is accepted whose digest is not that of its bytes.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.local_server import LocalServer

if TYPE_CHECKING:
    from types import TracebackType

TOKEN = "a token for this repository"  # of a server that ends with the test


def digest_of(content: bytes) -> str:
    """Return `sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass(slots=True, kw_only=True)
class Registry:
    """One repository, and how the registry is."""

    has_referrers_api: bool
    password: str = ""
    """Asked for where it is set."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """By digest and by tag: media type and bytes."""
    asked: list[str] = field(default_factory=list)
    server: LocalServer = field(init=False)

    def __enter__(self) -> Self:
        registry = self

        class Handler(_Handler):
            held = registry

        self.server = LocalServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def place(self) -> str:
        """Host, port and repository."""
        return f"127.0.0.1:{self.server.server_address[1]}/stellaops/web"

    def put_image(self) -> str:
        """Put an image there; return its digest."""
        content = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}).encode()
        self.manifests[digest_of(content)] = ("application/vnd.oci.image.manifest.v1+json", content)
        return digest_of(content)


class _Handler(BaseHTTPRequestHandler):
    held: Registry
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _reply(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.held.asked.append(f"{self.command} {url.path}")
        if url.path == "/token":
            self._give_token()
        elif self.held.password and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            realm = f"http://{self.headers['Host']}/token"
            self._reply(401, WWW_Authenticate=f'Bearer realm="{realm}",service="test",scope="repository:x:pull,push"')
        elif not url.path.startswith("/v2/stellaops/web/"):
            self._reply(404)
        else:
            kind, _, name = url.path.removeprefix("/v2/stellaops/web/").partition("/")
            getattr(self, f"_{kind}")(name, body, parse_qs(url.query))

    do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815  # the base class calls them so

    def _give_token(self) -> None:
        import base64  # noqa: PLC0415

        known = base64.b64encode(f"pusher:{self.held.password}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {known}":
            self._reply(401)
            return
        self._reply(200, json.dumps({"token": TOKEN}).encode(), Content_Type="application/json")

    def _blobs(self, name: str, body: bytes, query: dict[str, list[str]]) -> None:
        if self.command == "POST":
            self._reply(202, Location="/v2/stellaops/web/blobs/uploads/one?state=kept")
        elif self.command == "PUT":
            [digest] = query["digest"]
            if digest != digest_of(body) or query.get("state") != ["kept"]:
                self._reply(400)
                return
            self.held.blobs[digest] = body
            self._reply(201)
        else:
            self._reply(200 if name in self.held.blobs else 404)

    def _manifests(self, name: str, body: bytes, _query: dict[str, list[str]]) -> None:
        if self.command == "PUT":
            self._take(name, body)
        elif name not in self.held.manifests:
            self._reply(404)
        else:
            kind, content = self.held.manifests[name]
            self._reply(200, content, Content_Type=kind)

    def _take(self, name: str, body: bytes) -> None:
        document: dict[str, Any] = json.loads(body)
        wanted = [one["digest"] for one in (document.get("config"), *document.get("layers", ())) if one]
        if (name.startswith("sha256:") and name != digest_of(body)) or not set(wanted) <= set(self.held.blobs):
            self._reply(400)
            return
        held = (self.headers["Content-Type"], body)
        self.held.manifests[name] = self.held.manifests[digest_of(body)] = held
        subject = document.get("subject", {}).get("digest")
        knows = {"OCI_Subject": subject} if subject and self.held.has_referrers_api else {}
        self._reply(201, **knows)

    def _referrers(self, name: str, _body: bytes, _query: dict[str, list[str]]) -> None:
        if not self.held.has_referrers_api:
            self._reply(404)
            return
        found = []
        for digest, (kind, content) in self.held.manifests.items():
            document = json.loads(content)
            if digest.startswith("sha256:") and document.get("subject", {}).get("digest") == name:
                found.append({"mediaType": kind, "digest": digest, "size": len(content), **_told(document)})
        self._reply(200, json.dumps({"schemaVersion": 2, "manifests": found}).encode(), Content_Type="application/json")


def _told(document: dict[str, Any]) -> dict[str, Any]:
    return {"artifactType": document["artifactType"], "annotations": document["annotations"]}
