"""Requests on connections that are kept open, to a server that does what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from hubbub.errors import ProtocolError
from hubbub.sdk import courier
from hubbub.sdk.calls import Ask, HttpReply
from hubbub.sdk.courier import AsyncCourier, BlockingCourier
from hubbub.sdk.session import ServerAddress

ASK = Ask("/api/publish", b"{}", 5.0)
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
LATER = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"

Send = Callable[[Ask], HttpReply | OSError]


class Listening:
    """A server on one thread: each connection is answered by the bytes of its turn, then closed.

    Attributes:
        heads: of the requests that have come, by connection.
    """

    def __init__(self, *connections: list[bytes]) -> None:
        self.heads: list[list[bytes]] = []
        self._connections = connections
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self.address = ServerAddress(f"http://127.0.0.1:{self._socket.getsockname()[1]}/chat")

    def _serve(self) -> None:
        for answers in self._connections:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            heads: list[bytes] = []
            self.heads.append(heads)
            with connection:
                for answer in answers:
                    data = b""
                    while not data.endswith(b"{}"):
                        data += (more := connection.recv(4096))
                        if not more:
                            return
                    heads.append(data)
                    connection.sendall(answer)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # a turn that did not come is not waited for
        self._thread.join()
        self._socket.close()


@contextmanager
def listening(*connections: list[bytes]) -> Iterator[Listening]:
    server = Listening(*connections)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(params=["blocking", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[[ServerAddress], Send]]:
    """Both couriers, as functions that wait."""
    headers = {"X-API-Key": "k"}
    with contextlib.ExitStack() as ends:

        def connect_blocking(address: ServerAddress) -> Send:
            blocking = BlockingCourier(address, headers)
            ends.callback(blocking.close)
            return blocking.send

        def connect_async(address: ServerAddress) -> Send:
            runner = ends.enter_context(asyncio.Runner())
            waiting = AsyncCourier(address, headers)
            ends.callback(lambda: runner.run(waiting.close()))
            return lambda ask: runner.run(waiting.send(ask))

        yield connect_blocking if request.param == "blocking" else connect_async


def test_a_connection_is_used_again(connect: Callable[[ServerAddress], Send]) -> None:
    with listening([GOOD, CHUNKED, LATER, CLOSING], [CLOSING]) as server:
        send = connect(server.address)
        assert [send(ASK) for _ in range(5)] == [
            HttpReply(200, b"ok"),
            HttpReply(200, b"ok"),
            HttpReply(503, b"", 5.0),
            HttpReply(200, b"ok"),
            HttpReply(200, b"ok"),
        ]
    assert [len(heads) for heads in server.heads] == [4, 1]
    head = server.heads[0][1].lower()
    assert head.startswith(b"post /chat/api/publish http/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nx-api-key: k\r\n" in head
    assert head.count(b"\r\nhost:") == 1


def test_one_that_is_idle_for_too_long_is_not(
    connect: Callable[[ServerAddress], Send], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "IDLE_S", 0.0)
    with listening([GOOD], [GOOD]) as server:
        send = connect(server.address)
        assert [send(ASK) for _ in range(2)] == [HttpReply(200, b"ok")] * 2


@pytest.mark.parametrize("broken", [b"", b"HTTP/1.1 200 OK\r\n", GOOD[:-1], CHUNKED[:-8]])
def test_an_answer_that_is_broken_off_is_none(connect: Callable[[ServerAddress], Send], broken: bytes) -> None:
    with listening([broken], [CLOSING]) as server:
        send = connect(server.address)
        assert isinstance(send(ASK), OSError)
        assert send(ASK) == HttpReply(200, b"ok")


def test_an_answer_has_a_bound(connect: Callable[[ServerAddress], Send], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "MAX_REPLY", 1)
    with listening([GOOD]) as server, pytest.raises(ProtocolError, match="over 1 bytes"):
        connect(server.address)(ASK)


def test_what_is_no_http_is_no_answer(connect: Callable[[ServerAddress], Send]) -> None:
    with listening([b"SSH-2.0-OpenSSH_9.2\r\n"]) as server:
        try:
            assert isinstance(connect(server.address)(ASK), OSError)
        except ProtocolError as error:
            assert "does not speak HTTP" in str(error)


def test_an_answer_is_not_waited_for_for_ever(connect: Callable[[ServerAddress], Send]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = ServerAddress(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert isinstance(connect(address)(ASK._replace(timeout_s=0.01)), TimeoutError)
