"""Connections that are kept: used again, given up when stale, and never trusted with a body that is too short."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cutover.site import kept
from cutover.site.kept import KeptConnections, ReadError

if TYPE_CHECKING:
    from collections.abc import Iterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
ABSENT = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"
SHORT_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab"
RUBBISH = b"SSH-2.0-OpenSSH_10.0\r\n"


class Scripted:
    """A server that answers as it is told: for each connection the answers in order, then it closes it."""

    def __init__(self, *connections: list[bytes]) -> None:
        self.accepted = 0
        self._script = connections
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for answers in self._script:
            connection, _ = self._listening.accept()
            self.accepted += 1
            with connection:
                for answer in answers:
                    while not connection.recv(65536).endswith(b"\r\n\r\n"):
                        pass
                    connection.sendall(answer)

    def close(self) -> None:
        self._listening.close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_PAUSE_S", 0.0)


def reading(server: Scripted) -> closing[KeptConnections]:
    return closing(KeptConnections(server.url, connect_timeout_s=2, read_timeout_s=2))


def get(connections: KeptConnections) -> tuple[int, bytes]:
    status, body = connections.get("/k", {"Host": "store"})
    return status, b"".join(body)


@pytest.fixture
def scripted(request: pytest.FixtureRequest) -> Iterator[Scripted]:
    server = Scripted(*request.param)
    yield server
    server.close()


@pytest.mark.parametrize("scripted", [[[OK, CHUNKED, ABSENT]]], indirect=True)
def test_a_connection_serves_one_request_after_the_other(scripted: Scripted):
    with reading(scripted) as connections:
        assert [get(connections) for _ in range(3)] == [(200, b"ok"), (200, b"abcde"), (404, b"none")]
    assert scripted.accepted == 1


@pytest.mark.parametrize("scripted", [[[CLOSING], [OK]], [[OK], [OK]]], indirect=True, ids=["announced", "silently"])
def test_a_connection_that_the_server_closed_costs_nothing(scripted: Scripted):
    with reading(scripted) as connections:
        assert [get(connections) for _ in range(2)] == [(200, b"ok")] * 2
    assert scripted.accepted == 2


@pytest.mark.parametrize("scripted", [[[], [], [OK]]], indirect=True)
def test_a_server_that_hangs_up_is_asked_three_times(scripted: Scripted):
    with reading(scripted) as connections:
        assert get(connections) == (200, b"ok")


@pytest.mark.parametrize(
    "scripted",
    [[[], [], []], [[RUBBISH]] * 3, [[SHORT]], [[SHORT_CHUNKED]]],
    indirect=True,
    ids=["hangs up", "speaks something else", "too short", "too short, chunked"],
)
def test_what_is_not_a_whole_answer_is_an_error(scripted: Scripted):
    with reading(scripted) as connections, pytest.raises(ReadError):
        get(connections)


@pytest.mark.parametrize("scripted", [[[OK], [OK]]], indirect=True)
def test_a_body_that_was_not_read_to_its_end_does_not_keep_its_connection(scripted: Scripted):
    with reading(scripted) as connections:
        _, body = connections.get("/k", {"Host": "store"})
        assert next(body) == b"ok"
        body.close()  # type: ignore[attr-defined]
        assert get(connections) == (200, b"ok")
    assert scripted.accepted == 2


def test_nobody_there_is_an_error():
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with closing(KeptConnections(url, connect_timeout_s=1, read_timeout_s=1)) as connections, pytest.raises(ReadError):
        get(connections)
