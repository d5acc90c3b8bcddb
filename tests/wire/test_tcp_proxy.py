"""The proxy of the tests: what it lets through, and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from hubbub.cluster.port import HOST, free_port
from tcp_proxy import TcpProxy, tcp_proxy

pytestmark = pytest.mark.anyio

WAIT_S = 10.0
# Long for a byte on loopback, however busy the machine is: nothing is to come, or not yet.
A_WHILE_S = 0.2
LARGE = 20 * 1024 * 1024


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def target() -> AsyncIterator[int]:
    """A server that echoes."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write(b"end")
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def proxy(target: int) -> Iterator[TcpProxy]:
    with tcp_proxy(target) as proxy:
        yield proxy


class Peer:
    """A connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self, data: bytes) -> None:
        async with asyncio.timeout(WAIT_S):
            assert await self.reader.readexactly(len(data)) == data

    async def hear_nothing(self) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.reader.readexactly(1), A_WHILE_S)

    async def hear_the_end(self) -> None:
        async with asyncio.timeout(WAIT_S):
            try:
                assert await self.reader.read() == b""
            except ConnectionResetError:
                pass


Connect = Callable[[], Awaitable[Peer]]


@pytest.fixture
async def peer(proxy: TcpProxy) -> AsyncIterator[Connect]:
    """Connects to the proxy."""
    peers = []

    async def connect() -> Peer:
        peers.append(Peer(*await asyncio.open_connection(HOST, proxy.port)))
        return peers[-1]

    yield connect
    for each in peers:
        each.writer.transport.abort()


async def test_it_forwards(proxy: TcpProxy, peer: Connect) -> None:
    one, two = await peer(), await peer()
    await one.say(b"one")
    await two.say(b"two")
    await two.hear(b"two")
    await one.hear(b"one")
    assert (proxy.accepted, proxy.connections) == (2, 2)
    one.writer.write_eof()
    await one.hear(b"end")
    await one.hear_the_end()


async def test_a_sender_waits_for_who_does_not_read(peer: Connect) -> None:
    one = await peer()
    saying = asyncio.create_task(one.say(bytes(LARGE)))
    await one.hear(bytes(LARGE))
    await saying


async def test_a_cut_drops_and_refuses(proxy: TcpProxy, peer: Connect) -> None:
    one = await peer()
    await one.say(b"one")
    await one.hear(b"one")
    proxy.cut()
    assert proxy.connections == 0
    await one.hear_the_end()
    with pytest.raises(ConnectionRefusedError):
        await peer()
    proxy.heal()
    two = await peer()
    await two.say(b"two")
    await two.hear(b"two")


async def test_a_drop_takes_new_ones(proxy: TcpProxy, peer: Connect) -> None:
    one = await peer()
    await one.say(b"one")
    await one.hear(b"one")
    proxy.drop()
    await one.hear_the_end()
    two = await peer()
    await two.say(b"two")
    await two.hear(b"two")


async def test_what_is_held_comes_later(proxy: TcpProxy, peer: Connect) -> None:
    one = await peer()
    await one.say(b"one")
    await one.hear(b"one")
    proxy.hold()
    two = await peer()
    for each in (one, two):
        await each.say(b"held")
    one.writer.write_eof()
    for each in (one, two):
        await each.hear_nothing()
    proxy.heal()
    await one.hear(b"heldend")
    await two.hear(b"held")


async def test_a_delay_keeps_order(proxy: TcpProxy, peer: Connect) -> None:
    one = await peer()
    proxy.delay(A_WHILE_S)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(10):
        await one.say(b"%d" % number)
    await one.hear(b"0123456789")
    assert loop.time() - begun >= 2 * A_WHILE_S
    proxy.heal()
    await one.say(b"soon")
    await one.hear(b"soon")


async def test_who_is_not_there_is_refused(proxy: TcpProxy, peer: Connect) -> None:
    proxy.point_at(free_port())
    one = await peer()
    await one.hear_the_end()


async def test_it_can_point_elsewhere(proxy: TcpProxy, peer: Connect, target: int) -> None:
    proxy.point_at(free_port())
    proxy.point_at(target)
    one = await peer()
    await one.say(b"one")
    await one.hear(b"one")
