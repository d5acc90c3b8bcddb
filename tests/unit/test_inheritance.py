"""What a worker has from its parent: sockets, and a line that tells when the parent has gone."""

from __future__ import annotations

import os
import queue
import socket
from collections.abc import Iterator

import msgspec
import pytest

from hubbub.errors import ConfigError
from hubbub.inheritance import VARIABLE, Inheritance, Legacy, News, Order, is_worker, legacy_of

PATIENCE_S = 30.0


class Parent:
    """A parent of one worker of two, the second.

    Attributes:
        line: its end of the line.
        worker: what the worker has.
        heard: the orders that the worker has heard; None for the end of the line.
    """

    def __init__(self) -> None:
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        slots = [[socket.socket().detach()], [socket.socket().detach(), socket.socket().detach()]]
        descriptors = [number for slot in slots for number in slot] + [theirs.detach()]
        for number in descriptors:
            os.set_inheritable(number, True)
        self.worker = Inheritance(Legacy(2, 2, False, slots, descriptors[-1]))
        self.heard: queue.Queue[tuple[Order, list[int]] | None] = queue.Queue()

    def listen(self) -> None:
        self.worker.watch()
        self.worker.listen(lambda order, slots: self.heard.put((order, slots)), lambda: self.heard.put(None))

    def close(self) -> None:
        self.line.close()
        for sock in self.worker.sockets_of([1, 2]):
            sock.close()
        self.worker._line.close()


@pytest.fixture
def parent() -> Iterator[Parent]:
    parent = Parent()
    yield parent
    parent.close()


def test_the_environment_tells_it_once() -> None:
    legacy = Legacy(2, 3, True, [[4, 5], [6, 7], [8, 9]], 10)
    environ = {VARIABLE: msgspec.json.encode(legacy).decode(), "HOME": "/"}
    assert is_worker(environ)
    assert legacy_of(environ) == legacy
    assert environ == {"HOME": "/"}
    assert not is_worker(environ)


@pytest.mark.parametrize("text", ["", "2", "{}", '{"number":"one"}'])
def test_what_somebody_else_has_put_there_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"^{VARIABLE} is set by Hubbub"):
        legacy_of({VARIABLE: text})


def test_descriptors_that_are_no_sockets_are_refused() -> None:
    with pytest.raises(ConfigError, match=f"^{VARIABLE} names no sockets"):
        Inheritance(Legacy(1, 1, False, [[987]], 987))


def test_sockets_are_known_by_their_slots_and_not_passed_on(parent: Parent) -> None:
    worker = parent.worker
    assert [len(worker.sockets_of(slots)) for slots in ([], [1], [2], [2, 1])] == [0, 1, 2, 3]
    assert worker.own_sockets == worker.sockets_of([2])
    everything = [*worker.sockets_of([1, 2]), worker._line]
    assert not [sock for sock in everything if sock.get_inheritable()]


def test_orders_are_heard_and_so_is_the_end_of_the_parent(parent: Parent) -> None:
    parent.listen()
    parent.line.send(b"accept 2 1")
    parent.line.send(b"leave")
    parent.line.send(b"stop")
    parent.line.close()
    heard = [parent.heard.get(timeout=PATIENCE_S) for _ in range(4)]
    assert heard == [(Order.ACCEPT, [2, 1]), (Order.LEAVE, []), (Order.STOP, []), None]


def test_a_parent_that_does_not_listen_is_not_waited_for(parent: Parent) -> None:
    parent.line.setblocking(False)
    for _ in range(100_000):
        parent.worker.report(News.ALIVE)
    assert parent.line.recv(64) == b"alive"
    parent.line.close()
    parent.worker.report(News.LEAVING)
