"""Many small requests to one server over connections that are kept: the standard library's client, and what it lacks.

urllib3 does the same and more, at twice the cost for each object; with a hundred thousand objects that is what counts.
Invariants: a connection is used by one reader at a time and kept only after a body that was read to its end; a body
that is shorter than was announced is an error; a kept connection that the server had closed meanwhile costs one more
try, and any other failure of the connection two.
"""

from __future__ import annotations

import contextlib
import http.client
import time
from collections import deque
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CHUNK_BYTES: Final = 1 << 20
_TRIES: Final = 3
_PAUSE_S: Final = 0.1

ReadError = (http.client.HTTPException, OSError)
"""What `KeptConnections` raises when the server does not answer, or not to the end."""


class KeptConnections:
    """Connections to one server, by its URL; safe from many threads at once."""

    def __init__(self, url: str, *, connect_timeout_s: float, read_timeout_s: float) -> None:
        parts = urlsplit(url)
        self.authority = parts.netloc
        self._is_tls = parts.scheme == "https"
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._idle: deque[http.client.HTTPConnection] = deque()

    def get(self, path: str, headers: Mapping[str, str]) -> tuple[int, Iterator[bytes]]:
        """Ask for a path; return the status and the body, chunk by chunk. Raises `ReadError`, also while it is read."""
        connection, answer = self._ask("GET", path, headers)
        return answer.status, self._body(connection, answer)

    def whole(
        self, method: str, path: str, headers: Mapping[str, str], *, content: bytes | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request that may be sent twice; return status, headers in lower case, and body. Raises `ReadError`."""
        connection, answer = self._ask(method, path, headers, content=content)
        told = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, told, b"".join(self._body(connection, answer))

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str], *, content: bytes | None = None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a request over a kept connection, or a new one; return it and the answer, whose body is to be read."""
        failures = 0
        while True:
            kept = self._take()
            connection = kept or self._connect()
            try:
                connection.request(method, path, body=content, headers=dict(headers))
                answer = connection.getresponse()
            except ReadError as error:
                connection.close()
                if kept is not None and not isinstance(error, TimeoutError):
                    continue  # the server closed it while nobody used it; the others may be as old
                failures += 1
                if failures == _TRIES:
                    raise
                time.sleep(_PAUSE_S * failures)
            else:
                return connection, answer

    def close(self) -> None:
        """Close what is kept."""
        while (connection := self._take()) is not None:
            connection.close()

    def _take(self) -> http.client.HTTPConnection | None:
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        return None

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = kind(self.authority, timeout=self._connect_timeout_s)
        with contextlib.suppress(OSError):  # what is wrong is told by the request, which connects again
            connection.connect()
            connection.sock.settimeout(self._read_timeout_s)
        return connection

    def _body(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        is_whole = False
        try:
            while chunk := answer.read(_CHUNK_BYTES):
                yield chunk
            if answer.length:  # `read` with a size does not say so itself
                raise http.client.IncompleteRead(b"", answer.length)
            is_whole = True
        finally:
            if is_whole and not answer.will_close:
                self._idle.append(connection)
            else:
                connection.close()
