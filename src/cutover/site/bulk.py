"""Read many objects of one bucket over S3, each with as little work as the protocol allows.

The libraries spend several times the request itself on preparing it, signing it and reading the answer's head; with a
hundred thousand small objects that is what a pass over the evidence waits for. So a GET is signed and its answer read
here: AWS Signature Version 4 over HTTP/1.1, on connections that are kept.

Invariants: the bytes are those of the object, whatever encoding its metadata names; a body that ends before its length
is an error, never a shorter object; a connection is kept only after a body that was read to its end; safe from many
threads at once; pickles without its connections.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Self
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHUNK_BYTES: Final = 1 << 20
_BUFFER_BYTES: Final = 1 << 16
_SAID_BYTES: Final = 300
_LINE_BYTES: Final = 1 << 16
_HEADERS: Final = 200
_ATTEMPTS: Final = 3
_PAUSE_S: Final = 0.1
_PORTS: Final = {"http": 80, "https": 443}
_NO_BODY: Final = hashlib.sha256(b"").hexdigest()
_SIGNED: Final = "host;x-amz-content-sha256;x-amz-date"


class ReadError(Exception):
    """An object could not be read: no connection, or an answer that ends early or is none. Says what was seen."""


class StatusError(Exception):
    """The store answered something else than the object; `said` is the beginning of its answer."""

    def __init__(self, status: int, said: bytes) -> None:
        super().__init__(f"{status} {said!r}")
        self.status = status
        self.said = said


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the bucket is, who asks, and how long one step of a request may take."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    region: str
    connect_timeout_s: float
    read_timeout_s: float


class BulkReader:
    """One bucket of one endpoint, to read from."""

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet."""
        self._settings = settings
        parts = urlsplit(settings.endpoint)
        self._is_tls = parts.scheme == "https"
        usual = _PORTS.get(parts.scheme, 80)
        self._address = (parts.hostname or "", parts.port or usual)
        host = f"[{self._address[0]}]" if ":" in self._address[0] else self._address[0]
        self._host = host if self._address[1] == usual else f"{host}:{self._address[1]}"
        self._base = f"{parts.path.rstrip('/')}/{settings.bucket}/"
        self._signer = Signer(settings.access_key, settings.secret_key, settings.region)
        self._tls: ssl.SSLContext | None = None
        self._idle: deque[_Connection] = deque()

    def __reduce__(self) -> tuple[type[BulkReader], tuple[Settings]]:
        """Pickle what it was made from."""
        return type(self), (self._settings,)

    def open(self, key: str) -> Iterable[bytes]:
        """Ask for an object and return its bytes in order, a long one chunk by chunk.

        Raises:
            StatusError: the store refused, or has no such object.
            ReadError: it did not answer; of a long object also while the chunks are read.

        """
        connection, answer = self._ask(self._request(key))
        if answer.status != 200:
            try:
                said = connection.stream.read(min(_SAID_BYTES, answer.length if answer.length is not None else 0))
            except OSError:
                said = b""
            connection.close()
            raise StatusError(answer.status, said)
        if answer.length is not None and answer.length <= _CHUNK_BYTES:
            return (self._short(connection, answer.length, is_kept=answer.is_kept),)
        return self._long(connection, answer)

    def close(self) -> None:
        """Close every connection that is kept."""
        while self._idle:
            self._idle.pop().close()

    # -- one request -----------------------------------------------------------------------------------------------

    def _request(self, key: str) -> bytes:
        path = self._base + quote(key, safe="/~")
        stamp, authorization = self._signer.sign_get(self._host, path)
        return (
            f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nx-amz-date: {stamp}\r\nx-amz-content-sha256: {_NO_BODY}\r\n"
            f"Authorization: {authorization}\r\nAccept-Encoding: identity\r\nUser-Agent: cutover\r\n\r\n"
        ).encode("ascii")

    def _ask(self, request: bytes) -> tuple[_Connection, _Answer]:
        """Send a request and read the head of its answer.

        A kept connection may have been closed by the other side meanwhile: that costs no attempt. A GET may be
        repeated.
        """
        attempts = 0
        while True:
            connection = self._kept()
            is_kept = connection is not None
            try:
                if connection is None:
                    connection = self._connect()
                connection.socket.sendall(request)
                return connection, _head(connection.stream)
            except (OSError, ReadError) as error:
                if connection is not None:
                    connection.close()
                if is_kept and not isinstance(error, TimeoutError):
                    continue
                attempts += 1
                if attempts >= _ATTEMPTS:
                    raise ReadError(str(error) or type(error).__name__) from error
            time.sleep(_PAUSE_S * attempts)

    def _kept(self) -> _Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connect(self) -> _Connection:
        made = socket.create_connection(self._address, timeout=self._settings.connect_timeout_s)
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._is_tls:
                if self._tls is None:
                    self._tls = ssl.create_default_context()
                made = self._tls.wrap_socket(made, server_hostname=self._address[0])
            made.settimeout(self._settings.read_timeout_s)
        except BaseException:
            made.close()
            raise
        return _Connection(socket=made, stream=io.BufferedReader(made.makefile("rb", buffering=0), _BUFFER_BYTES))

    # -- bodies ----------------------------------------------------------------------------------------------------

    def _short(self, connection: _Connection, length: int, *, is_kept: bool) -> bytes:
        try:
            content = _exactly(connection.stream, length)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                raise ReadError(str(error)) from error
            raise
        self._done(connection, is_kept=is_kept)
        return content

    def _long(self, connection: _Connection, answer: _Answer) -> Iterator[bytes]:
        complete = False
        try:
            if answer.is_chunked:
                yield from _chunked(connection.stream)
            elif answer.length is None:
                while chunk := connection.stream.read(_CHUNK_BYTES):
                    yield chunk
            else:
                left = answer.length
                while left:
                    chunk = _exactly(connection.stream, min(left, _CHUNK_BYTES))
                    left -= len(chunk)
                    yield chunk
            complete = True
        except OSError as error:
            raise ReadError(str(error)) from error
        finally:
            self._done(connection, is_kept=complete and answer.is_kept)

    def _done(self, connection: _Connection, *, is_kept: bool) -> None:
        if is_kept:
            self._idle.append(connection)
        else:
            connection.close()


class Signer:
    """Signs requests for one service's objects. Source: AWS Signature Version 4, with S3's rules for paths."""

    def __init__(self, access_key: str, secret_key: str, region: str) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._region = region
        self._now: tuple[int, str, str, bytes] = (-1, "", "", b"")

    def sign_get(self, host: str, path: str) -> tuple[str, str]:
        """Return `x-amz-date` and `Authorization` of a GET without query; `path` is percent-encoded already."""
        stamp, scope, key = self._at(int(time.time()))
        canonical = (
            f"GET\n{path}\n\nhost:{host}\nx-amz-content-sha256:{_NO_BODY}\nx-amz-date:{stamp}\n\n{_SIGNED}\n{_NO_BODY}"
        )
        digest = hashlib.sha256(canonical.encode("ascii")).hexdigest()
        signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}".encode("ascii"), "sha256").hex()
        return stamp, (
            f"AWS4-HMAC-SHA256 Credential={self._access_key}/{scope}, SignedHeaders={_SIGNED}, Signature={signature}"
        )

    def _at(self, second: int) -> tuple[str, str, bytes]:
        """Return the stamp of a second, the scope of its day, and that day's key; made once a second."""
        known = self._now
        if known[0] != second:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
            day = stamp[:8]
            key = b"AWS4" + self._secret_key.encode("utf-8")
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode("utf-8"), "sha256")
            known = self._now = (second, stamp, f"{day}/{self._region}/s3/aws4_request", key)
        return known[1:]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connection:
    socket: socket.socket
    stream: IO[bytes]

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """The head of an answer. `length` in bytes is None when the body is chunked or ends with the connection."""

    status: int
    length: int | None
    is_chunked: bool
    is_kept: bool

    @classmethod
    def of(cls, status: int, version: bytes, headers: dict[bytes, bytes]) -> Self:
        is_chunked = headers.get(b"transfer-encoding", b"").lower() == b"chunked"
        length = None if is_chunked else headers.get(b"content-length")
        if length is not None and not length.isdigit():
            raise ReadError(f"the answer's length is {length[:40]!r}")
        said = headers.get(b"connection", b"").lower()
        return cls(
            status=status,
            length=None if length is None else int(length),
            is_chunked=is_chunked,
            is_kept=(is_chunked or length is not None) and said != b"close" and version == b"HTTP/1.1",
        )


def _head(stream: IO[bytes]) -> _Answer:
    """Read status line and headers.  Source: RFC 9112 §4, §5; a head of 1xx is followed by the real one."""
    while True:
        version, _, rest = _line(stream).partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise ReadError(f"the answer begins with {(version + b' ' + rest)[:60]!r}")
        headers: dict[bytes, bytes] = {}
        for _ in range(_HEADERS):
            line = _line(stream)
            if not line:
                break
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        else:
            raise ReadError(f"the answer has more than {_HEADERS} headers")
        if rest[:1] != b"1":
            return _Answer.of(int(rest[:3]), version, headers)


def _line(stream: IO[bytes]) -> bytes:
    line = stream.readline(_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise ReadError("the connection ended within the answer's head" if line else "the connection was closed")
    return line.rstrip(b"\r\n")


def _exactly(stream: IO[bytes], length: int) -> bytes:
    content = stream.read(length)
    if len(content) != length:
        raise ReadError(f"the connection ended {length - len(content)} bytes early")
    return content


def _chunked(stream: IO[bytes]) -> Iterator[bytes]:
    """Read a chunked body.  Source: RFC 9112 §7.1."""
    while True:
        size = _line(stream).partition(b";")[0].strip()
        try:
            left = int(size, 16)
        except ValueError:
            raise ReadError(f"a chunk's length is {size[:40]!r}") from None
        if left == 0:
            break
        while left:
            chunk = _exactly(stream, min(left, _CHUNK_BYTES))
            left -= len(chunk)
            yield chunk
        _exactly(stream, 2)
    while _line(stream):  # trailers
        pass
