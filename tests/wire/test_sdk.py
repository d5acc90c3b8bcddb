"""The Python client and the real server, and what happens to them when the server dies."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hubbub import Event
from hubbub.errors import AuthError, HubbubError, Rejected, SessionEnded, Unreachable
from hubbub.sdk import Connection, Heard, MemberJoined, Message, Offline, Online, Read, Typing, connect
from servers import ServerProcess, running

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

# Reached only where something is broken.
DEADLINE_S = 30.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def chatting(url: str, user: str, **options: Any) -> AsyncIterator[Connection]:
    async with asyncio.timeout(DEADLINE_S), connect(url, user, "123", **options) as chat:
        yield chat


class LastingServer:
    """A server that keeps its port and its messages when it dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._running = ExitStack()
        self.url = f"http://127.0.0.1:{self._port}"
        self.process: ServerProcess

    def start(self) -> None:
        engine = f"sqlite:///{self._folder / 'lasting.db'}"
        flags = ("--port", str(self._port), "--engine", engine, "--client-rate", "0")
        self.process = self._running.enter_context(running(self._folder, *flags))

    async def kill(self) -> None:
        await asyncio.to_thread(self.process.kill)

    async def restart(self) -> None:
        await asyncio.to_thread(self._running.close)
        await asyncio.to_thread(self.start)

    def stop(self) -> None:
        self._running.close()


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[LastingServer]:
    server = LastingServer(tmp_path)
    server.start()
    yield server
    server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def next_of(events: AsyncIterator[Heard], kind: type[Any]) -> Any:
    async for item in events:
        if isinstance(item, kind):
            return item
    raise AssertionError("the conversation has ended")


async def test_two_people_talk(server: ServerProcess, room: str) -> None:
    async with chatting(server.origin, "percy") as percy, chatting(server.origin, "alice") as alice:
        heard = percy.events()
        await percy.join(room)
        receipt = await percy.send(room, "hi")
        joined = await alice.join(room)
        assert [message.text for message in joined.messages] == ["hi"]
        assert joined.members == ["alice", "percy"]
        assert await next_of(heard, Message) == joined.messages[0]
        assert await next_of(heard, MemberJoined) == MemberJoined(room, "alice")
        alice.typing(room, True)
        assert await next_of(heard, Typing) == Typing(room, "alice", on=True)
        await alice.mark_read(room, receipt.seq)
        assert await next_of(heard, Read) == Read(room, "alice", receipt.seq)
        await percy.send(room, "still there?")
        assert (await anext(alice)).text == "still there?"
        assert [message.text for message in (await alice.history(room, limit=1)).messages] == ["still there?"]
        assert await alice.presence(room) == ["alice", "percy"]
        await alice.leave(room)
        with pytest.raises(Rejected, match="not_in_room"):
            await alice.send(room, "hi")


async def give_up(work: Coroutine[Any, Any, Any], turns: int) -> None:
    """Begin something, and give it up after so many turns of the loop."""
    task = asyncio.create_task(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def test_leaving_and_joining_can_be_given_up_at_any_moment(server: ServerProcess, room: str) -> None:
    async with chatting(server.origin, "percy") as chat:
        for turns in range(30):
            await give_up(chat.join(room), turns)
            assert (await chat.join(room)).members == ["percy"]
            await give_up(chat.leave(room), turns)
            assert (await chat.join(room)).members == ["percy"]
            assert chat.rooms == [room]
            await chat.leave(room)
            with pytest.raises(Rejected, match="not_in_room"):
                await chat.presence(room)
            assert chat.rooms == []


async def test_a_key_is_kept_once(server: ServerProcess, room: str) -> None:
    async with chatting(server.origin, "percy") as chat:
        await chat.join(room)
        first, second = [await chat.send(room, "hi", key=f"of {room}") for _ in range(2)]
        assert first == second


async def test_a_local_authority_is_trusted_where_it_is_named(tls_server: ServerProcess, tmp_path: Path) -> None:
    assert tls_server.tls is not None
    async with chatting(tls_server.origin, "percy", ssl=tls_server.tls) as chat:
        assert chat.user == "percy"
    with pytest.raises(Unreachable, match=r"its certificate is not trusted \(.*ca_file="):
        async with chatting(tls_server.origin, "percy"):
            pass


async def test_a_wrong_password_is_told(server: ServerProcess) -> None:
    for user, password in (("percy", "124"), ("nobody", "123")):
        with pytest.raises(AuthError, match="wrong name or password"):
            async with connect(server.origin, user, password):
                pass


async def test_a_login_that_is_ended_elsewhere_ends_the_conversation(server: ServerProcess, room: str) -> None:
    async with chatting(server.origin, "percy") as chat:
        await chat.join(room)
        token = chat._keeper._way_in._session._token  # type: ignore[attr-defined]  # no way in is public
        await asyncio.to_thread(server.post, "/logout", token=token)
        with pytest.raises(SessionEnded):
            await anext(chat)


async def test_closing_logs_out(server: ServerProcess) -> None:
    async with chatting(server.origin, "percy") as chat:
        token = chat._keeper._way_in._session._token  # type: ignore[attr-defined]  # no way in is public
    status, _ = await asyncio.to_thread(server.post, "/otp", token=token)
    assert status == 401


@pytest.mark.parametrize("deaths", ["SIGKILL", "SIGTERM"])
async def test_a_server_that_dies_loses_nothing_and_repeats_nothing(lasting: LastingServer, deaths: str) -> None:
    receipts: dict[str, int] = {}
    heard: list[Message] = []
    has_heard = {50: asyncio.Event(), 150: asyncio.Event()}

    async def talk(chat: Connection, name: str) -> None:
        for number in range(150):
            text = f"{name} {number}"
            receipts[text] = (await chat.send("general", text)).seq
            await asyncio.sleep(0.01)

    async def listen(chat: Connection) -> None:
        async for message in chat:
            heard.append(message)
            if len(heard) in has_heard:
                has_heard[len(heard)].set()
            if len(heard) == 300:
                return

    async with chatting(lasting.url, "percy") as percy, chatting(lasting.url, "alice") as alice:
        states: list[object] = []
        percy.on(Offline, states.append)
        percy.on(Online, states.append)
        await percy.join("general")
        await alice.join("general")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen(alice))
            tasks.create_task(talk(percy, "percy"))
            tasks.create_task(talk(alice, "alice"))
            for enough in has_heard:
                await has_heard[enough].wait()
                if deaths == "SIGKILL":
                    await lasting.kill()
                await lasting.restart()
        # The second death may have come while one of them was still away from the first.
        assert [type(state) for state in states][:2] == [Offline, Online]
    assert [message.seq for message in heard] == list(range(1, 301))
    assert {message.text: message.seq for message in heard} == receipts
    for name in ("percy", "alice"):
        mine = [message.text for message in heard if message.sender == name]
        assert mine == [f"{name} {number}" for number in range(150)]


async def test_a_server_that_was_away_with_nothing_said_before_is_resumed(lasting: LastingServer) -> None:
    async with chatting(lasting.url, "percy") as percy:
        await percy.join("general")
        await lasting.kill()
        await lasting.restart()
        async with chatting(lasting.url, "alice") as alice:
            await alice.join("general")
            await alice.send("general", "hi")
        assert (await anext(percy)).text == "hi"


async def test_an_application_that_does_not_read_misses_nothing(lasting: LastingServer) -> None:
    async with (
        chatting(lasting.url, "percy", max_incoming=20) as percy,
        chatting(lasting.url, "alice") as alice,
    ):
        await percy.join("general")
        await alice.join("general")
        await asyncio.gather(*(alice.send("general", str(number)) for number in range(700)))
        assert (await percy.send("general", "not blocked")).seq == 701
        assert [(await anext(percy)).seq for _ in range(701)] == list(range(1, 702))


class Tally(Event, tag="tally"):
    poll: str
    counts: dict[int, int]


async def test_events_of_ones_own_are_asked_answered_and_heard(tmp_path: Path) -> None:
    with running(tmp_path, target="votes:hub", cwd=EXAMPLES) as server:
        async with chatting(server.origin, "percy") as chat:
            await chat.join("lunch")
            assert await chat.request("vote", {"poll": "lunch", "option": 2}) == {"poll": "lunch", "counts": {"2": 1}}
            heard = await anext(chat)
            assert heard.read_as(Tally) == Tally(poll="lunch", counts={2: 1})
            assert (heard.type, heard.seq, heard.sender) == ("tally", 1, None)
            with pytest.raises(Rejected, match="option is 1 or 2"):
                await chat.request("vote", {"poll": "lunch", "option": 3})
            with pytest.raises(HubbubError, match="tally is no"):
                heard.read_as(Other)
            [again] = (await chat.history("lunch")).messages
            assert again == heard


class Other(Event, tag="other"):
    name: str
