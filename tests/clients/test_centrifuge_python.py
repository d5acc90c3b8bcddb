"""The second door, to a client that is not ours: the published Python SDK, in JSON and in Protobuf."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import jwt
import pytest
from centrifuge import (  # type: ignore[import-untyped]
    CentrifugeError,
    Client,
    PublicationContext,
    SubscribedContext,
    SubscriptionEventHandler,
    SubscriptionState,
)
from websockets.asyncio.client import connect as websocket

from chaos.killable import Killable
from hubbub.sdk import connect

pytestmark = pytest.mark.anyio

# Reached only where something is broken.
DEADLINE_S = 60.0

SECRET = "that of an application, and 32 bytes at least"

OPEN = {
    "presence": True,
    "history_size": 5000,
    "history_ttl": "3600s",
    "force_recovery": True,
    "force_positioning": True,
    "allow_subscribe_for_client": True,
    "allow_publish_for_client": True,
    "allow_history_for_client": True,
    "allow_presence_for_client": True,
}
CONFIGURED = {
    "client": {"token": {"hmac_secret_key": SECRET}},
    "channel": {"without_namespace": OPEN, "namespaces": [{"name": "chat", **OPEN}]},
}
FLAGS = ("--client-rate", "0", "--otp-ttl", "60")

MISSED = 3000
KILLS = 3
ACKS_BETWEEN = 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killable]:
    folder = tmp_path_factory.mktemp("centrifugo")
    file = folder / "centrifugo.json"
    file.write_text(json.dumps(CONFIGURED))
    with Killable(folder, "--centrifugo", str(file), *FLAGS) as server:
        yield server


class Listener(SubscriptionEventHandler):  # type: ignore[misc]
    """What a subscription is told.

    Attributes:
        heard: offsets and what was said there.
        places: how each subscription has begun.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[int, Any]] = []
        self.infos: list[Any] = []
        self.places: list[SubscribedContext] = []
        self._news = asyncio.Event()

    async def on_publication(self, ctx: PublicationContext) -> None:
        said = ctx.pub.data
        self.heard.append((ctx.pub.offset, json.loads(said) if isinstance(said, bytes) else said))
        self.infos.append(ctx.pub.info)
        self._news.set()

    async def on_subscribed(self, ctx: SubscribedContext) -> None:
        self.places.append(ctx)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what it was told fulfils a condition."""
        while not condition():
            self._news.clear()
            await self._news.wait()

    @property
    def said(self) -> list[Any]:
        return [said for _, said in self.heard]


class Speaker:
    """A client of the SDK, in one channel.

    Attributes:
        acked: what it has published, and the server has said to have kept.
    """

    def __init__(self, server: Killable, user: str, channel: str, *, is_protobuf: bool) -> None:
        claims = {"sub": user, "exp": time.time() + 3600}
        self.client = Client(
            f"ws://127.0.0.1:{server.port}/connection/websocket",
            token=jwt.encode(claims, SECRET, "HS256"),
            use_protobuf=is_protobuf,
            min_reconnect_delay=0.05,
            max_reconnect_delay=0.2,
            proxy=None,
        )
        self.listener = Listener()
        self.subscription = self.client.new_subscription(
            channel, events=self.listener, min_resubscribe_delay=0.05, max_resubscribe_delay=0.2
        )
        self.acked: list[str] = []
        self._is_protobuf = is_protobuf

    async def say(self, said: object) -> None:
        await self.subscription.publish(json.dumps(said).encode() if self._is_protobuf else said)

    async def talk(self, name: str) -> None:
        """Publish for ever, through whatever happens to the server."""
        number = 0
        while True:
            number += 1
            said = f"{name} {number}"
            try:
                await self.say(said)
            except CentrifugeError:
                await self.subscription.ready(DEADLINE_S)  # kept or not: nobody knows
            else:
                self.acked.append(said)


@asynccontextmanager
async def speaking(server: Killable, user: str, channel: str, *, is_protobuf: bool) -> AsyncIterator[Speaker]:
    """A client that has subscribed to a channel."""
    speaker = Speaker(server, user, channel, is_protobuf=is_protobuf)
    await speaker.client.connect()
    await speaker.subscription.subscribe()
    await speaker.listener.until(lambda: bool(speaker.listener.places))
    try:
        yield speaker
    finally:
        await speaker.client.disconnect()
        # It closes its connections in the background.
        await asyncio.gather(*speaker.client._background_tasks, return_exceptions=True)


@asynccontextmanager
async def both(server: Killable, channel: str) -> AsyncIterator[tuple[Speaker, Speaker]]:
    """One client of each format."""
    async with (
        asyncio.timeout(DEADLINE_S),
        speaking(server, "7", channel, is_protobuf=False) as json_speaker,
        speaking(server, "ann@example.org", channel, is_protobuf=True) as protobuf_speaker,
    ):
        yield json_speaker, protobuf_speaker


async def test_what_was_acknowledged_outlives_three_kills(server: Killable) -> None:
    async with both(server, "chat:killed") as speakers:
        names = zip(speakers, ("json", "protobuf"), strict=True)
        talking = [asyncio.create_task(each.talk(name)) for each, name in names]
        for _ in range(KILLS):
            wanted = [len(each.acked) + ACKS_BETWEEN for each in speakers]
            for each, count in zip(speakers, wanted, strict=True):
                await each.listener.until(lambda each=each, count=count: len(each.acked) >= count)  # type: ignore[misc]
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        for each in speakers:
            await each.listener.until(lambda each=each: len(each.listener.places) > KILLS)  # type: ignore[misc]
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        await speakers[0].say("the end")
        for each in speakers:
            await each.listener.until(lambda each=each: "the end" in each.listener.said)  # type: ignore[misc]
        acked = {said for each in speakers for said in each.acked}
        for each in speakers:
            listener = each.listener
            assert acked - set(listener.said) == set()
            assert [offset for offset, _ in listener.heard] == list(range(1, len(listener.heard) + 1))
            assert all(place.was_recovering and place.recovered for place in listener.places[1:])
        assert speakers[0].listener.heard == speakers[1].listener.heard


async def test_all_that_was_missed_comes(server: Killable) -> None:
    async with both(server, "chat:missed") as (json_speaker, protobuf_speaker):
        await json_speaker.say(0)
        for each in (json_speaker, protobuf_speaker):
            await each.listener.until(lambda each=each: len(each.listener.heard) == 1)  # type: ignore[misc]
        await protobuf_speaker.client.disconnect()
        for begin in range(1, MISSED + 1, 500):
            await asyncio.gather(*[json_speaker.say(number) for number in range(begin, begin + 500)])
        await protobuf_speaker.client.connect()
        everything = [(number + 1, number) for number in range(MISSED + 1)]
        for each in (json_speaker, protobuf_speaker):
            await each.listener.until(lambda each=each: len(each.listener.heard) > MISSED)  # type: ignore[misc]
            assert each.listener.heard == everything
        assert protobuf_speaker.subscription.state == SubscriptionState.SUBSCRIBED
        first, again = protobuf_speaker.listener.places
        assert (first.recovered, again.recovered) == (False, True)


async def test_clients_of_all_kinds_share_a_room(server: Killable) -> None:
    async with both(server, "general") as (json_speaker, protobuf_speaker), AsyncExitStack() as others:
        url = f"http://127.0.0.1:{server.port}"
        v1 = await others.enter_async_context(connect(url, "percy", "123"))
        await v1.join("general")
        otp = server.otp(server.now.login("alice")["token"])
        classic = await others.enter_async_context(websocket(f"{server.ws_url}?otp={otp}", proxy=None))
        await json_speaker.say({"by": "json"})
        await protobuf_speaker.say({"by": "protobuf", "é": "\u2028"})
        await v1.send("general", "by v1")
        await classic.send(json.dumps({"type": "send_message", "payload": {"message": "by classic", "from": "x"}}))
        expected = [
            {"by": "json"},
            {"by": "protobuf", "é": "\u2028"},
            {"message": "by v1"},
            {"message": "by classic"},
        ]
        for each in (json_speaker, protobuf_speaker):
            await each.listener.until(lambda each=each: len(each.listener.heard) == 4)  # type: ignore[misc]
            assert each.listener.heard == list(enumerate(expected, 1))
            assert [info.user for info in each.listener.infos] == ["7", "ann@example.org", "percy", "alice"]
        told = [await anext(v1) for _ in range(4)]
        assert [message.seq for message in told] == [1, 2, 3, 4]
        assert [message.payload.get("data", message.text) for message in told] == [*expected[:2], "by v1", "by classic"]
        # A page of the earlier servers hears what was said in words, and nothing else.
        pages = [json.loads(await classic.recv()) for _ in range(2)]
        assert [page["payload"]["message"] for page in pages] == ["by v1", "by classic"]
