"""What a kubelet serves on port 10250, as far as this node has it: logs, health, pods.

HTTPS with a certificate made at the first start; the API server does not verify it unless told to. There is no client
authentication: the port is reachable only inside the sandbox's network. exec, attach and port-forward answer 501.
"""

from __future__ import annotations

import logging
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rehearsal.node.loglines import LogQuery, parse_query
from rehearsal.node.logs import read_log
from rehearsal.node.status import Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rehearsal.node.pod import PodRunner
    from rehearsal.node.shapes import Json

PORT = 10250
CERTIFICATE_DAYS = 3650
_log = logging.getLogger(__name__)


class Pods(Protocol):
    """The pods a server tells of."""

    def find_pod(self, namespace: str, name: str) -> PodRunner | None:
        """Return a pod by name, or None."""

    def list_pods(self) -> list[Json]:
        """Return the pods of the node."""


@asynccontextmanager
async def serve(pods: Pods, address: str, state: Path, port: int = PORT) -> AsyncIterator[None]:
    """Serve on address:port until the context ends. Raises OSError when the port is taken."""
    application = web.Application()
    handlers = _Handlers(pods)
    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", handlers.logs)
    application.router.add_get("/healthz", handlers.health)
    application.router.add_get("/pods", handlers.pods)
    for verb in ("exec", "attach", "portForward", "run", "checkpoint"):
        application.router.add_route("*", f"/{verb}/{{rest:.*}}", handlers.absent)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port, ssl_context=_tls(address, state)).start()
        yield
    finally:
        await runner.cleanup()


class _Handlers:
    def __init__(self, pods: Pods) -> None:
        self._pods = pods

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def pods(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": self._pods.list_pods()}
        )

    async def absent(self, request: web.Request) -> web.Response:
        what = request.path.split("/")[1]
        return web.Response(
            status=501,
            text=f"{what} is not available: this node runs containers as plain processes of the rehearsal's sandbox; "
            "use `./cutover env exec -- CMD` or `./cutover env shell` to run a command beside them\n",
        )

    async def logs(self, request: web.Request) -> web.StreamResponse:
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        try:
            query = parse_query(request.query, now=datetime.now(UTC))
        except ValueError as problem:
            return web.Response(status=422, text=f"Invalid request: {problem}")
        pod = self._pods.find_pod(namespace, name)
        if pod is None:
            return web.Response(status=404, text=f'pod "{name}" does not exist')
        container = pod.find_container(request.match_info["container"])
        if container is None:
            text = f'container "{request.match_info["container"]}" not found in pod "{name}"'
            return web.Response(status=404, text=text)
        path, live = pod.logs_of(container, previous=query.previous)
        if path is None:
            return web.Response(status=400, text=_no_log(container.name, name, container.view.state, query))
        response = web.StreamResponse(headers={"Content-Type": "text/plain", "Transfer-Encoding": "chunked"})
        await response.prepare(request)
        try:
            async for part in read_log(path, live, query):
                await response.write(part)
            await response.write_eof()
        except (ConnectionError, OSError) as problem:
            _log.debug("log reader left: %s", problem)
        return response


def _no_log(container: str, pod: str, state: object, query: LogQuery) -> str:
    if query.previous:
        return f'previous terminated container "{container}" in pod "{pod}" not found'
    if not isinstance(state, Waiting):
        return f'container "{container}" in pod "{pod}" is terminated'
    words = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }.get(state.reason, state.reason)
    return f'container "{container}" in pod "{pod}" is waiting to start: {words}'


def _tls(address: str, state: Path) -> ssl.SSLContext:
    certificate_file, key_file = state / "kubelet.crt", state / "kubelet.key"
    if not (certificate_file.exists() and key_file.exists()):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node agent")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
            .sign(key, hashes.SHA256())
        )
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return context
