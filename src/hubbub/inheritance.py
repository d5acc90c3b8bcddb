"""What a worker has from its parent: its number, the listening sockets of all slots, and a line to the parent.

The descriptors are inherited, and an environment variable tells which they are.  On the line each packet is a word, and
some have numbers behind it; the end of the line is the end of the parent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping, MutableMapping
from enum import StrEnum

import msgspec

from hubbub.errors import ConfigError

__all__ = ["VARIABLE", "Inheritance", "Legacy", "News", "Order", "is_worker", "legacy_of", "read_order"]

VARIABLE = "HUBBUB_WORKER"

# Bytes of a packet: each slot has a number of two digits at most.
MAX_PACKET = 512


class Order(StrEnum):
    """What a parent tells a worker."""

    ACCEPT = "accept"
    """Take connections on the sockets of these slots, and of no others."""
    LEAVE = "leave"
    """Another process has your slot: take no more connections, and stop."""
    STOP = "stop"
    """All stop."""


class News(StrEnum):
    """What a worker tells its parent."""

    READY = "ready"
    """It takes connections."""
    ALIVE = "alive"
    """Its loop runs."""
    LEAVING = "leaving"
    """It stops, whoever has told it to."""


class Legacy(msgspec.Struct, frozen=True):
    """The environment variable's content.

    Attributes:
        number: which worker it is, from 1 on.
        workers: how many there are.
        is_first: whether it does what is done once for all of them: making the first account's link, and announcing.
        sockets: the descriptors that each slot listens on.
        line: the descriptor of the line to the parent.
        drain_delay: the setting of this name, by which the parent waits for its workers.
    """

    number: int
    workers: int
    is_first: bool
    sockets: list[list[int]]
    line: int
    drain_delay: float = 0.0


def is_worker(environ: Mapping[str, str]) -> bool:
    """Whether this process was started by a parent of workers."""
    return VARIABLE in environ


def legacy_of(environ: MutableMapping[str, str]) -> Legacy:
    """What the environment tells, and tells no more: it is not for processes that this one starts.

    Raises:
        ConfigError: somebody else has set it.
    """
    text = environ.pop(VARIABLE)
    try:
        return msgspec.json.decode(text, type=Legacy)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{VARIABLE} is set by Hubbub for its own workers, not by hand: {error}") from None


def read_order(packet: bytes) -> tuple[Order, list[int]]:
    """An order, and the slots that it is about."""
    word, *numbers = packet.decode("ascii").split()
    return Order(word), [int(number) for number in numbers]


class Inheritance:
    """What a worker has from its parent, for as long as it runs.

    Attributes:
        number: which worker it is, from 1 on.
        workers: how many there are.
        is_first: whether it does what is done once for all of them.
        sockets: what each slot listens on.
        drain_delay: the setting of this name.
    """

    def __init__(self, legacy: Legacy) -> None:
        self.number = legacy.number
        self.workers = legacy.workers
        self.is_first = legacy.is_first
        self.drain_delay = legacy.drain_delay
        try:
            self.sockets = [[own(number) for number in numbers] for numbers in legacy.sockets]
            self._line = own(legacy.line)
        except OSError as error:
            raise ConfigError(f"{VARIABLE} names no sockets of this process: {error.strerror}") from None
        self._obey: Callable[[Order, list[int]], None] = ignore
        self._parent_has_gone: Callable[[], None] = end_at_once

    @property
    def own_sockets(self) -> list[socket.socket]:
        """What its own slot listens on."""
        return list(self.sockets[self.number - 1])

    def sockets_of(self, slots: list[int]) -> list[socket.socket]:
        """What some slots listen on, by their numbers."""
        return [sock for number in slots for sock in self.sockets[number - 1]]

    def report(self, news: News) -> None:
        """Tell the parent; it is not waited for, and one that does not listen is not told."""
        with contextlib.suppress(OSError):
            self._line.send(news.encode(), socket.MSG_DONTWAIT)

    def watch(self) -> None:
        """Hear the parent from now on, in a thread: also while the loop is blocked, or does not run yet.

        Until `listen` is called, the end of the parent is that of this process, which has nothing to tidy up.
        """
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def listen(self, obey: Callable[[Order, list[int]], None], parent_has_gone: Callable[[], None]) -> None:
        """Have functions called, in the thread: one for each order, and one at the end of the parent."""
        self._obey, self._parent_has_gone = obey, parent_has_gone

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while packet := self._line.recv(MAX_PACKET):
                self._obey(*read_order(packet))
        self._parent_has_gone()


def ignore(_order: Order, _slots: list[int]) -> None:
    """No order is for a process that has not told that it is ready."""


def end_at_once() -> None:
    """End the process, wherever it is in its start."""
    os._exit(1)


def own(descriptor: int) -> socket.socket:
    """An inherited socket, which processes that this one starts do not inherit."""
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)
