"""Readiness probes of the parts: each returns a blocking callable that says whether the part answers now.

Invariants: a probe never raises for a part that is not there yet, and takes at most about two seconds.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from rehearsal.environment import layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from rehearsal.environment.layout import Place

_TIMEOUT_S = 2.0
_OK = 200
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http_status(url: str, context: ssl.SSLContext | None = None) -> int:
    """Return the status of a GET, or 0 when nobody answers."""
    opener = _OPENER
    if context is not None:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
    try:
        with opener.open(url, timeout=_TIMEOUT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return 0


def http_get(url: str, accepted: tuple[int, ...] = (200,)) -> Callable[[], bool]:
    """Ready when a GET gives an accepted status."""
    return lambda: http_status(url) in accepted


def https_insecure(url: str) -> Callable[[], bool]:
    """Ready when a GET gives 200; the certificate is the component's own, self-signed, on a loopback address."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return lambda: http_status(url, context) == _OK


def api_server(place: Place) -> Callable[[], bool]:
    """Ready when `/readyz` says so to the operator."""

    def ready() -> bool:
        context = ssl.create_default_context(cafile=str(place.pki("ca.crt")))
        context.load_cert_chain(place.pki("admin.crt"), place.pki("admin.key"))
        return http_status(f"https://{layout.API_SERVER}:6443/readyz", context) == _OK

    return ready


def tcp(address: str, port: int) -> Callable[[], bool]:
    """Ready when a connection is accepted."""

    def ready() -> bool:
        try:
            with socket.create_connection((address, port), timeout=_TIMEOUT_S):
                return True
        except OSError:
            return False

    return ready


def valkey(address: str, port: int = 6379) -> Callable[[], bool]:
    """Ready when PING is answered with PONG."""

    def ready() -> bool:
        try:
            with socket.create_connection((address, port), timeout=_TIMEOUT_S) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    return ready


def tcp_postgres(address: str, port: int = 5432) -> Callable[[], bool]:
    """Ready when the server asks for authentication (a server still starting answers with an error instead).

    Source: PostgreSQL protocol 3.0, StartupMessage and the one-byte type of the answer.
    """
    body = struct.pack("!i", 196608) + b"user\0probe\0database\0postgres\0\0"
    message = struct.pack("!i", len(body) + 4) + body

    def ready() -> bool:
        try:
            with socket.create_connection((address, port), timeout=_TIMEOUT_S) as connection:
                connection.sendall(message)
                return connection.recv(1) == b"R"
        except OSError:
            return False

    return ready
