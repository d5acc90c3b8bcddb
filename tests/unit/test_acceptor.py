"""Taking connections when that fails: no descriptor is left, or the one who calls has gone."""

from __future__ import annotations

import asyncio
import errno
import functools
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from hubbub.wire.acceptor import AT_ONCE, Acceptor
from hubbub.wire.arrivals import Arrivals
from hubbub.wire.proxy import Proxies

pytestmark = pytest.mark.anyio


class Listening:
    """A listening socket, which fails as it is told to, and has nobody waiting after that."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)
        self.calls = 0

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        self.calls += 1
        if self.errors:
            raise OSError(self.errors.pop(0), "as told")
        raise BlockingIOError

    def setblocking(self, _is_blocking: bool) -> None: ...

    def listen(self, _backlog: int) -> None: ...

    def close(self) -> None: ...


class Readers:
    """What the loop does about a socket: whether it is read, and what comes later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: Callable[[], None] | None = None
        self.later: list[Callable[[], object]] = []
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "add_reader", self._add)
        monkeypatch.setattr(loop, "remove_reader", self._remove)
        monkeypatch.setattr(loop, "call_later", lambda _s, call, *args: self.later.append(lambda: call(*args)))

    def _add(self, _sock: object, call: Callable[..., None], *args: Any) -> None:
        self.read = lambda: call(*args)

    def _remove(self, _sock: object) -> None:
        self.read = None

    def ready(self) -> None:
        assert self.read is not None
        self.read()


def started(listening: Listening) -> Acceptor:
    arrivals = Arrivals(0, 0, lambda _address: False, time.monotonic)
    acceptor = Acceptor(lambda _arrival: asyncio.Protocol(), arrivals, 0, Proxies(), reads_proxy_header=False)
    acceptor.start([listening], None)  # type: ignore[list-item]  # what is called of a socket
    return acceptor


async def test_it_takes_connections_from_the_sockets_that_it_is_told_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_reader", lambda sock, *_: read.append(sock))
    monkeypatch.setattr(loop, "remove_reader", read.remove)
    own, other = Listening(), Listening()
    acceptor = started(own)
    for wanted in ([own, other], [own, other], [other], [], [own]):
        acceptor.accept_on(wanted)  # type: ignore[arg-type]  # as above
        assert read == wanted


async def test_a_socket_that_it_rests_from_stays_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    readers = Readers(monkeypatch)
    acceptor = started(Listening(errno.EMFILE))
    readers.ready()
    acceptor.accept_on([])
    readers.later.pop()()
    assert readers.read is None


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_without_descriptors_it_rests_and_tries_again(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    readers = Readers(monkeypatch)
    listening = Listening(*[code] * 5)
    acceptor = started(listening)
    with capture_logs() as lines:
        for number in range(1, 6):
            readers.ready()
            assert readers.read is None, "a socket that stays readable would keep the loop busy"
            assert (listening.calls, acceptor.failures) == (number, number)
            readers.later.pop()()
    readers.ready()
    assert readers.read is not None
    assert [line["event"] for line in lines] == ["connections cannot be taken"]


async def test_without_descriptors_those_that_keep_it_waiting_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    readers = Readers(monkeypatch)
    arrivals = Arrivals(0, 0, lambda _address: False, time.monotonic)
    cut: list[int] = []
    for number in range(AT_ONCE + 1):
        arrivals.enter("192.0.2.1", functools.partial(cut.append, number))
    acceptor = Acceptor(lambda _arrival: asyncio.Protocol(), arrivals, 0, Proxies(), reads_proxy_header=False)
    acceptor.start([Listening(errno.EPROTO, errno.EMFILE)], None)  # type: ignore[list-item]  # as above
    readers.ready()
    assert cut == list(range(AT_ONCE)), "the longest first, and as many as can be taken next"


async def test_a_connection_counts_though_its_handshake_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    Readers(monkeypatch)
    opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def fail(*_args: object, **_more: object) -> None:
        await opened

    monkeypatch.setattr(asyncio.get_running_loop(), "connect_accepted_socket", fail)
    acceptor = started(Listening())
    ours, theirs = socket.socketpair()
    acceptor._begin(theirs, "192.0.2.1")
    await asyncio.sleep(0)  # its task begins
    assert (acceptor.accepted, acceptor.opening) == (1, 1)
    opened.set_exception(OSError("no handshake"))
    await acceptor._tasks.wait()
    assert (acceptor.accepted, acceptor.opening) == (1, 0)
    ours.close()


async def test_one_that_has_gone_already_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    readers = Readers(monkeypatch)
    listening = Listening(errno.ECONNABORTED, errno.ECONNABORTED)
    acceptor = started(listening)
    readers.ready()
    assert (listening.calls, acceptor.failures) == (3, 0)


async def test_a_turn_of_the_loop_takes_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    readers = Readers(monkeypatch)
    listening = Listening(*[errno.ECONNABORTED] * (2 * AT_ONCE))
    started(listening)
    readers.ready()
    assert listening.calls == AT_ONCE


async def test_who_has_just_come_is_not_cut_in_the_same_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    readers = Readers(monkeypatch)
    listening = Listening(*[errno.ECONNABORTED] * AT_ONCE)
    arrivals = Arrivals(36, 0, lambda _address: False, time.monotonic)
    acceptor = Acceptor(lambda _arrival: asyncio.Protocol(), arrivals, 0, Proxies(), reads_proxy_header=False)
    acceptor.start([listening], None)  # type: ignore[list-item]  # as above
    readers.ready()
    assert listening.calls == 9


async def test_one_that_rests_when_it_is_stopped_does_not_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    readers = Readers(monkeypatch)
    acceptor = started(Listening(errno.EMFILE))
    readers.ready()
    acceptor.stop()
    readers.later.pop()()
    assert readers.read is None
