"""Back ends that use Centrifugo's own library, against a server with its configuration, and clients that feel it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cent
import jwt
import pytest
from cent import AsyncClient, CentApiResponseError, CentRequest, CentResult, CentUnauthorizedError
from cent import Client as BlockingClient
from centrifuge import (  # type: ignore[import-untyped]
    Client,
    ClientEventHandler,
    ConnectedContext,
    DisconnectedContext,
    ServerPublicationContext,
    ServerSubscribedContext,
    ServerUnsubscribedContext,
)

from servers import ServerProcess, running

pytestmark = pytest.mark.anyio

KEY = "the key of the door's configuration"
SECRET = "a secret of the door that has enough characters"
CONFIGURATION = {
    "http_api": {"key": KEY},
    "client": {"token": {"hmac_secret_key": SECRET}},
    "channel": {
        "without_namespace": {"presence": True, "history_size": 100, "history_ttl": "300s"},
        "namespaces": [{"name": "bare"}],
    },
}
HEARD_S = 10.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server_api")
    file = folder / "centrifugo.json"
    file.write_text(json.dumps(CONFIGURATION))
    with running(folder, "--centrifugo", str(file)) as server:
        yield server


class Backends:
    """Both clients of the library, which are to be answered the same."""

    def __init__(self, blocking: BlockingClient, waiting: AsyncClient) -> None:
        self._blocking = blocking
        self._waiting = waiting

    async def ask(self, request: CentRequest[Any]) -> tuple[Any, Any]:
        """What each is answered."""
        method = request.api_method
        first = await asyncio.to_thread(getattr(self._blocking, method), request)
        return first, await getattr(self._waiting, method)(request)

    async def done(self, request: CentRequest[Any]) -> None:
        """Have both do something that is answered with nothing."""
        for result in await self.ask(request):
            assert isinstance(result, CentResult)
            assert not result.model_dump()

    async def code(self, request: CentRequest[Any]) -> int:
        """The number of the error that both are answered with."""
        with pytest.raises(CentApiResponseError) as waiting:
            await getattr(self._waiting, request.api_method)(request)
        with pytest.raises(CentApiResponseError) as blocking:
            getattr(self._blocking, request.api_method)(request)
        assert waiting.value.code == blocking.value.code
        return waiting.value.code


@pytest.fixture
async def backends(door: ServerProcess) -> AsyncIterator[Backends]:
    url = f"{door.origin}/api"
    waiting = AsyncClient(url, KEY)
    blocking = BlockingClient(url, KEY)
    yield Backends(blocking, waiting)
    await waiting.close()
    blocking.close()


class Heard(ClientEventHandler):  # type: ignore[misc]
    """What a client hears of subscriptions that the server makes, and of its connection."""

    def __init__(self) -> None:
        self.client = ""
        self._events: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    async def next(self) -> tuple[Any, ...]:
        async with asyncio.timeout(HEARD_S):
            return await self._events.get()

    async def on_connected(self, ctx: ConnectedContext) -> None:
        self.client = ctx.client
        self._events.put_nowait(("connected",))

    async def on_disconnected(self, ctx: DisconnectedContext) -> None:
        self._events.put_nowait(("disconnected", ctx.code, ctx.reason))

    async def on_subscribed(self, ctx: ServerSubscribedContext) -> None:
        self._events.put_nowait(("subscribed", ctx.channel, ctx.data))

    async def on_unsubscribed(self, ctx: ServerUnsubscribedContext) -> None:
        self._events.put_nowait(("unsubscribed", ctx.channel))

    async def on_publication(self, ctx: ServerPublicationContext) -> None:
        self._events.put_nowait(("publication", ctx.channel, ctx.pub.data))


@asynccontextmanager
async def connected(door: ServerProcess, user: str) -> AsyncIterator[Heard]:
    """A client of a user's."""
    heard = Heard()
    token = jwt.encode({"sub": user, "exp": time.time() + 600}, SECRET, "HS256")
    client = Client(f"ws://127.0.0.1:{door.port}/connection/websocket", heard, token=token, proxy=None)
    await client.connect()
    assert await heard.next() == ("connected",)
    try:
        yield heard
    finally:
        await client.disconnect()
        # It closes its connection in the background.
        await asyncio.gather(*client._background_tasks, return_exceptions=True)


async def test_what_is_published_is_found_again(backends: Backends) -> None:
    first, again = await backends.ask(
        cent.PublishRequest(channel="a", data={"x": 1}, idempotency_key="k", tags={"t": "u"})
    )
    assert (first.offset, again.offset, first.epoch) == (1, 1, again.epoch)
    told, _ = await backends.ask(cent.BroadcastRequest(channels=["a", "b"], data=[2], idempotency_key="l"))
    assert [each.result.offset for each in told.responses] == [2, 1]
    for history in await backends.ask(cent.HistoryRequest(channel="a", limit=10)):
        assert [(each.data, each.offset, each.tags) for each in history.publications] == [
            ({"x": 1}, 1, {"t": "u"}),
            ([2], 2, None),
        ]
        assert (history.offset, history.epoch) == (2, first.epoch)
    since = cent.StreamPosition(offset=2, epoch=first.epoch)
    for history in await backends.ask(cent.HistoryRequest(channel="a", limit=10, since=since, reverse=True)):
        assert [each.offset for each in history.publications] == [1]
    await backends.done(cent.HistoryRemoveRequest(channel="a"))
    for history in await backends.ask(cent.HistoryRequest(channel="a", limit=10)):
        assert (history.publications, history.offset) == ([], 2)


PAGE = (Path(__file__).parents[2] / "docs" / "centrifugo.md").read_text()


def test_the_example_of_the_page_runs(door: ServerProcess) -> None:
    [example] = re.findall(r"^```python\n(import cent\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    code = example.replace("https://chat.example.com", door.origin).replace("the key that the back end has", KEY)
    exec(compile(code.replace("chat:a", "chat"), "example", "exec", dont_inherit=True), {})


async def test_what_is_not_kept_has_no_place(backends: Backends) -> None:
    for request in (
        cent.PublishRequest(channel="bare:a", data=1),
        cent.PublishRequest(channel="unkept", data=1, skip_history=True),
    ):
        for result in await backends.ask(request):
            assert (result.offset, result.epoch) == (0, "")


async def test_a_batch_is_answered_in_its_order(backends: Backends) -> None:
    requests: list[CentRequest[Any]] = [
        cent.PublishRequest(channel="batch", data=1, idempotency_key="b"),
        cent.BroadcastRequest(channels=["batch"], data=2, idempotency_key="c"),
        cent.PresenceRequest(channel="batch"),
    ]
    for parallel in (False, True):
        for answer in await backends.ask(cent.BatchRequest(requests=requests, parallel=parallel)):
            published, told, present = answer.replies
            assert (published.offset, told.responses[0].result.offset, present.presence) == (1, 2, {})


async def test_what_cannot_be_done_has_its_number(door: ServerProcess, backends: Backends) -> None:
    assert await backends.code(cent.PublishRequest(channel="undefined:a", data=1)) == 102
    assert await backends.code(cent.PublishRequest(channel="", data=1)) == 107
    for request in (cent.HistoryRequest, cent.HistoryRemoveRequest, cent.PresenceRequest, cent.PresenceStatsRequest):
        assert await backends.code(request(channel="bare:a")) == 108
    stranger = BlockingClient(f"{door.origin}/api", "another key")
    with pytest.raises(CentUnauthorizedError):
        stranger.info(cent.InfoRequest())
    stranger.close()
    assert KEY not in door.log()


async def test_a_user_is_subscribed_and_unsubscribed(door: ServerProcess, backends: Backends) -> None:
    async with connected(door, "42") as heard:
        info = {"in": "channel"}
        await backends.done(cent.SubscribeRequest(user="42", channel="bare:news", info=info, data={"d": 1}))
        assert await heard.next() == ("subscribed", "bare:news", {"d": 1})
        await backends.done(cent.SubscribeRequest(user="42", channel="ops", info=info))
        assert await heard.next() == ("subscribed", "ops", None)
        for present in await backends.ask(cent.PresenceRequest(channel="ops")):
            [(id_, found)] = present.presence.items()
            assert (id_, found.user, found.client, found.chan_info) == (heard.client, "42", heard.client, info)
        for stats in await backends.ask(cent.PresenceStatsRequest(channel="ops")):
            assert (stats.num_clients, stats.num_users) == (1, 1)
        for channels in await backends.ask(cent.ChannelsRequest(pattern="bare:*")):
            assert channels.model_dump() == {"channels": {"bare:news": {"num_clients": 1}}}
        for nodes in await backends.ask(cent.InfoRequest()):
            [node] = nodes.nodes
            assert (node.num_clients, node.num_users) == (1, 1)
        await backends.ask(cent.PublishRequest(channel="bare:news", data="hi", idempotency_key="once"))
        assert await heard.next() == ("publication", "bare:news", "hi")
        await backends.done(cent.UnsubscribeRequest(user="42", channel="bare:news", client="another"))
        await backends.done(cent.UnsubscribeRequest(user="42", channel="bare:news"))
        assert await heard.next() == ("unsubscribed", "bare:news")


async def test_a_user_goes_on_is_over_or_is_put_out(door: ServerProcess, backends: Backends) -> None:
    async with connected(door, "7") as stays, connected(door, "7") as goes:
        later = int(time.time()) + 1000
        await backends.done(cent.RefreshRequest(user="7", expire_at=later))
        close = cent.Disconnect(code=4900, reason="over")
        await backends.done(cent.DisconnectRequest(user="7", whitelist=[stays.client], disconnect=close))
        assert await goes.next() == ("disconnected", 4900, "over")
        await backends.done(cent.DisconnectRequest(user="7", client=stays.client))
        assert await stays.next() == ("disconnected", 3503, "force disconnect")
    async with connected(door, "8") as heard:
        await backends.done(cent.RefreshRequest(user="8", expired=True))
        assert await heard.next() == ("connected",)  # it is closed by 3005, and comes back with its token
