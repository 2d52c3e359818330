"""The bulk reader: signed as botocore signs, and exact about what an answer is."""

from __future__ import annotations

import calendar
import pickle
import socket
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cutover.site import bulk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = b"HTTP/1.1 200 OK\r\n"
PLAIN = HEAD + b"Content-Length: 5\r\n\r\nhello"
LONG = bytes(range(256)) * 6000


class Scripted:
    """A server: each connection gets the answers of its own list in turn, and is closed after the last."""

    def __init__(self, *connections: list[bytes]) -> None:
        self.requests: list[bytes] = []
        self._script = connections
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for answers in self._script:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer, peer.makefile("rb") as stream:
                for answer in answers:
                    request = b""
                    while not request.endswith(b"\r\n\r\n"):
                        line = stream.readline()
                        if not line:
                            return
                        request += line
                    self.requests.append(request)
                    peer.sendall(answer)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[bulk.BulkReader, Scripted]]]:
    monkeypatch.setattr(bulk, "_PAUSE_S", 0.0)
    opened: list[bulk.BulkReader | Scripted] = []

    def make(*connections: list[bytes]) -> tuple[bulk.BulkReader, Scripted]:
        server = Scripted(*connections)
        reader = bulk.BulkReader(settings(server.url))
        opened.extend((reader, server))
        return reader, server

    yield make
    for each in opened:
        each.close()


def settings(endpoint: str) -> bulk.Settings:
    return bulk.Settings(
        endpoint=endpoint,
        bucket="evidence",
        access_key="AKID",
        secret_key="secret/+",
        region="us-east-1",
        connect_timeout_s=2.0,
        read_timeout_s=2.0,
    )


def chunked(content: bytes, size: int) -> bytes:
    parts = [content[start : start + size] for start in range(0, len(content), size)]
    body = b"".join(b"%x;note=1\r\n%b\r\n" % (len(part), part) for part in parts)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\nTrailer: 1\r\n\r\n"


@pytest.mark.parametrize("endpoint", ["http://store.test:8333", "http://store.test", "http://[::1]:9000"])
@pytest.mark.parametrize("key", ["evidence/ab/abcd", "a b+c/ü~é", "x/../y//z"])
def test_the_signature_is_botocores(endpoint: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    request = AWSRequest(method="GET", url=f"{endpoint}/evidence/{quote(key, safe='/~')}")
    S3SigV4Auth(Credentials("AKID", "secret/+"), "s3", "us-east-1").add_auth(request)
    known = {name.lower(): value for name, value in request.headers.items()}
    moment = time.strptime(known["x-amz-date"], "%Y%m%dT%H%M%SZ")
    monkeypatch.setattr(time, "time", lambda: calendar.timegm(moment))
    sent = bulk.BulkReader(settings(endpoint))._request(key).decode().split("\r\n")
    assert f"Authorization: {known['authorization']}" in sent
    assert f"x-amz-content-sha256: {known['x-amz-content-sha256']}" in sent


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        (PLAIN, b"hello"),
        (HEAD + b"content-length:0\r\n\r\n", b""),
        (HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(LONG), LONG), LONG),
        (chunked(LONG, 70_000), LONG),
        (chunked(b"hello", 2), b"hello"),
        (HEAD + b"Connection: close\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, b"hello"),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    ],
)
def test_the_bytes_are_the_objects(
    answer: bytes, content: bytes, reading: Callable[..., tuple[bulk.BulkReader, Scripted]]
) -> None:
    reader, _ = reading([answer])
    assert b"".join(reader.open("k")) == content


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (HEAD + b"Content-Length: 9\r\n\r\nhello", "4 bytes early"),
        (HEAD + b"Content-Length: 3000000\r\n\r\nhello", "early"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhello", "early"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello", "a chunk's length is b'zz'"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "closed"),
        (HEAD + b"Content-Length: five\r\n\r\nhello", "length is b'five'"),
        (HEAD + b"Content-Length: 5", "within the answer's head"),
        (b"SSH-2.0-x\r\n", "begins with b'SSH-2.0-x"),
        (HEAD + b"a: b\r\n" * 300, "headers"),
        (b"", "closed"),
    ],
)
def test_an_answer_that_is_none_or_ends_early_is_an_error(
    answer: bytes, said: str, reading: Callable[..., tuple[bulk.BulkReader, Scripted]]
) -> None:
    reader, _ = reading(*[[answer]] * 3)
    with pytest.raises(bulk.ReadError, match=said):
        b"".join(reader.open("k"))


def test_a_refusal_is_told_with_its_beginning(reading: Callable[..., tuple[bulk.BulkReader, Scripted]]) -> None:
    reader, server = reading([b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"], [PLAIN])
    with pytest.raises(bulk.StatusError) as caught:
        reader.open("k")
    assert (caught.value.status, caught.value.said) == (404, b"gone")
    assert b"".join(reader.open("k")) == b"hello"
    assert not [request for request in server.requests if b"secret/+" in request]


def test_a_connection_is_kept_and_a_stale_one_replaced(
    reading: Callable[..., tuple[bulk.BulkReader, Scripted]],
) -> None:
    reader, server = reading([PLAIN, PLAIN], [PLAIN])
    assert [b"".join(reader.open(key)) for key in ("a", "b", "c")] == [b"hello"] * 3
    assert [request.split()[1] for request in server.requests] == [b"/evidence/a", b"/evidence/b", b"/evidence/c"]


def test_a_connection_whose_body_is_still_read_is_nobody_elses(
    reading: Callable[..., tuple[bulk.BulkReader, Scripted]],
) -> None:
    reader, _ = reading([chunked(b"first", 2), PLAIN], [PLAIN])
    first = iter(reader.open("a"))
    assert next(first) == b"fi"
    # The server answers one connection after the other: "b" can only be answered on the one that "a" gives back.
    assert not reader._idle
    assert b"".join(first) == b"rst"
    assert b"".join(reader.open("b")) == b"hello"


def test_a_connection_whose_body_was_left_is_not_kept(
    reading: Callable[..., tuple[bulk.BulkReader, Scripted]],
) -> None:
    reader, _ = reading([chunked(b"first", 2)], [PLAIN])
    next(iter(reader.open("a")))
    assert b"".join(reader.open("b")) == b"hello"


def test_a_store_that_is_not_there_is_an_error(reading: Callable[..., tuple[bulk.BulkReader, Scripted]]) -> None:
    reader, server = reading()
    server.close()
    with pytest.raises(bulk.ReadError, match="refused"):
        reader.open("k")


def test_it_pickles_without_its_connections(reading: Callable[..., tuple[bulk.BulkReader, Scripted]]) -> None:
    reader, _ = reading([PLAIN], [PLAIN])
    assert b"".join(reader.open("a")) == b"hello"
    with_none = pickle.loads(pickle.dumps(reader))  # noqa: S301 - our own bytes
    assert b"".join(with_none.open("b")) == b"hello"
    with_none.close()
