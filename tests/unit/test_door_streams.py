"""The door without WebSockets: what its clients are told by an answer that does not end, and say by requests."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest

from doors import OPEN
from hubbub.door import session as session_module
from hubbub.door.door import CentrifugoDoor
from hubbub.door.emulation import FORGET_S, MAX_POSTS, EmulatedSession, Emulation
from hubbub.door.namespaces import Namespaces
from hubbub.door.protobuf import delimited, number, tagged, text
from hubbub.door.settings import DoorSettings, Hidden, TokenSettings
from hubbub.door.streams import EMULATION_PATH, HTTP_STREAM_PATH, SSE_PATH
from hubbub.engine.memory import MemoryEngine
from hubbub.heartbeat import Wheel
from hubbub.tasks import Tasks
from hubbub.testing import Clock, Stage, at_work
from hubbub.wire.denial import Denied
from hubbub.wire.door import Door, OtpCredentials
from hubbub.wire.reader import Readers
from hubbub.wire.request import Request, Response
from hubbub.wire.streaming import Streaming
from hubbub.wire.websocket import WireSettings
from unit.test_room_events import CHUNK

pytestmark = pytest.mark.anyio

SECRET = "the secret of the door, of many bytes"
HERE = "192.0.2.7"
LISTED = "https://chat.example"


class SharedEngine(MemoryEngine):
    """An engine that says it is shared: what it casts comes to this process alone."""

    is_shared = True


class Line:
    """The client's end of a stream (`session.DoorSocket`)."""

    def __init__(self, answer: Streaming) -> None:
        self.answer = answer
        self.outbox_size = 0
        self.closed: tuple[int, str] | None = None
        self.is_watched = False
        self.body = b""
        answer.author.attach(self)

    @property
    def session(self) -> EmulatedSession:
        assert isinstance(self.answer.author, EmulatedSession)
        return self.answer.author

    def write(self, data: bytes) -> None:
        assert self.closed is None
        while data:
            found = CHUNK.match(data)
            assert found, data
            end = found.end() + int(found[1], 16)
            self.body += data[found.end() : end]
            data = data[end + 2 :]

    def watch(self) -> None:
        self.is_watched = True

    def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.body += self.answer.last(code, reason)
            self.closed = int(code), reason
            self.answer.author.closing()

    def hang_up(self) -> None:
        """End the connection, whoever has ended the stream."""
        self.session.closed(*(self.closed or (1006, "")), by_us=self.closed is not None)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def take(self) -> list[dict[str, Any]]:
        """The objects since the last look."""
        body, self.body = self.body.decode(), b""
        mark, end = ("data: ", "\n\n") if self.answer.media_type == "text/event-stream" else ("", "\n")
        assert not body or body.endswith(end)
        parts = body.split(end)[:-1]
        assert all(part.startswith(mark) and "\n" not in part and "\r" not in part for part in parts)
        return [json.loads(part.removeprefix(mark)) for part in parts]


class Porch:
    """The door's routes, and what is behind them."""

    def __init__(self, stage: Stage, door: CentrifugoDoor, wire: WireSettings, entry: Door) -> None:
        self.stage = stage
        self.door = door
        self.wire = wire
        self.routes = door.open_streams(entry.take_place, wire)
        self.places = entry.places

    @property
    def emulation(self) -> Emulation:
        assert self.door.streams is not None
        return self.door.streams.emulation

    async def ask(self, method: str, path: str, body: bytes = b"", query: str = "", **headers: str) -> Response:
        named = {name.replace("_", "-"): [value] for name, value in {"host": "here", **headers}.items()}
        return await self.routes[path][method](Request(method, path, query, named, HERE, body))

    async def open(self, path: str = HTTP_STREAM_PATH, user: str = "percy", **connect: Any) -> Line:
        """Open a stream, and connect."""
        token = jwt.encode({"sub": user}, SECRET, "HS256")
        command = json.dumps({"id": 1, "connect": {"token": token, **connect}}).encode()
        answer = await self.ask("POST", path, command)
        assert isinstance(answer, Streaming)
        line = Line(answer)
        await self.settle()
        return line

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        await self.stage.settle()

    async def say(self, line: Line, *commands: Any, **more: Any) -> Response:
        """Send commands for a stream."""
        data = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in commands)
        asked = {"session": line.session.secret, "node": line.session.node, "data": data, **more}
        answer = await self.ask("POST", EMULATION_PATH, json.dumps(asked).encode())
        await self.settle()
        return answer


@asynccontextmanager
async def porch(*, is_shared: bool = False, **more: Any) -> AsyncIterator[Porch]:
    """A hub whose door has streams."""
    clock = Clock()
    engine = (SharedEngine if is_shared else MemoryEngine)(clock=clock, wall=clock)
    settings = DoorSettings(
        tokens=TokenSettings(hmac_secret_key=Hidden(SECRET)),
        namespaces=Namespaces(OPEN),
        http_stream=True,
        sse=True,
        allowed_origins=(LISTED,),
        **more,
    )
    async with at_work(engine=engine, clock=clock) as stage:
        wire = WireSettings(16384, Readers(16384), Wheel(9.0, 10.0))
        entry = Door(stage.core, OtpCredentials(None), stage.settings)  # type: ignore[arg-type]  # no passwords here
        tasks = Tasks()
        yield Porch(stage, CentrifugoDoor(stage.core, settings, entry.places, wire, tasks), wire, entry)
        await tasks.cancel()


def refusal(answer: Response) -> tuple[int, str]:
    assert not isinstance(answer, Streaming)
    return answer.status, json.loads(answer.body)["error"]["code"]


# What the server says


@pytest.mark.parametrize(
    ("path", "media_type"), [(HTTP_STREAM_PATH, "text/plain; charset=utf-8"), (SSE_PATH, "text/event-stream")]
)
async def test_a_client_connects_and_speaks_by_requests(path: str, media_type: str) -> None:
    async with porch() as here:
        line = await here.open(path)
        answer = line.answer
        assert answer.media_type == media_type
        assert answer.headers == {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        [reply] = line.take()
        connected = reply["connect"]
        assert (connected["ping"], connected["pong"]) == (9, True)
        assert (connected["session"], connected["node"]) == (line.session.secret, here.emulation.node)
        assert connected["client"] != connected["session"]
        assert line.is_watched
        assert answer.beat == (b"{}\n" if path == HTTP_STREAM_PATH else b"data: {}\n\n")
        said = await here.say(
            line, {"id": 2, "subscribe": {"channel": "a"}}, {"id": 3, "publish": {"channel": "a", "data": 1}}
        )
        assert said.status == 204
        told = line.take()
        assert [each.get("id") for each in told if "id" in each] == [2, 3]
        assert [each["push"]["pub"]["data"] for each in told if "pub" in each.get("push", {})] == [1]
        assert (await here.say(line, "{}")).status == 204  # a pong
        assert line.take() == []


async def test_an_event_source_has_its_command_in_the_url() -> None:
    async with porch() as here:
        token = jwt.encode({"sub": "percy"}, SECRET, "HS256")
        query = f'cf_connect={{"id":1,"connect":{{"token":"{token}"}}}}'
        answer = await here.ask("GET", SSE_PATH, query=query)
        assert isinstance(answer, Streaming)
        line = Line(answer)
        await here.settle()
        assert line.take()[0]["id"] == 1


async def test_protobuf_comes_as_it_is() -> None:
    async with porch() as here:
        token = jwt.encode({"sub": "percy"}, SECRET, "HS256")
        command = delimited(number(1, 1) + tagged(4, text(1, token)))
        answer = await here.ask("POST", HTTP_STREAM_PATH, command, content_type="application/octet-stream")
        assert isinstance(answer, Streaming)
        assert (answer.media_type, answer.beat) == ("application/octet-stream", b"\0")
        line = Line(answer)
        await here.settle()
        assert line.session.secret.encode() in line.body
        line.body = b""
        subscribe = delimited(number(1, 2) + tagged(5, text(1, "a")))
        asked = text(1, line.session.node) + text(2, line.session.secret) + tagged(3, subscribe)
        said = await here.ask("POST", EMULATION_PATH, asked, content_type="application/octet-stream")
        await here.settle()
        assert said.status == 204
        assert line.body


async def test_no_line_is_broken_by_what_others_say() -> None:
    async with porch() as here:
        lines, events = await here.open(), await here.open(SSE_PATH)
        for line in (lines, events):
            await here.say(line, {"id": 2, "subscribe": {"channel": "a"}})
            line.take()
        # Spaces of JSON, which a client may send as they are.
        await here.say(lines, '{"id":3,"publish":{"channel":"a","data":{"x":\r1}}}')
        assert [each["push"]["pub"]["data"] for each in events.take() if "push" in each] == [{"x": 1}]
        assert {"x": 1} in [each["push"]["pub"]["data"] for each in lines.take() if "push" in each]


async def test_a_close_is_told_and_has_their_number() -> None:
    async with porch() as here:
        line = await here.open()
        line.take()
        [client] = here.stage.core.clients
        client.close(4101, "enough")
        assert line.take() == [{"push": {"disconnect": {"code": 3503, "reason": "enough"}}}]
        assert line.closed == (3503, "enough")
        line.hang_up()
        assert (here.emulation.sessions, len(here.stage.core.clients)) == ({}, 0)


async def test_who_says_nothing_of_itself_is_put_out_in_time() -> None:
    async with porch() as here:
        answer = await here.ask("POST", HTTP_STREAM_PATH, b"{}")
        assert isinstance(answer, Streaming)
        line = Line(answer)
        here.stage.clock.go(11.0)
        here.door.tick()
        assert line.take() == [{"push": {"disconnect": {"code": 3502, "reason": "stale"}}}]
        assert not line.is_watched


async def test_half_open_streams_are_few() -> None:
    async with porch() as here:
        held = []
        for _ in range(3000):
            answer = await here.ask("POST", HTTP_STREAM_PATH, b"{}")
            assert isinstance(answer, Streaming)
            held.append(line := Line(answer))
            for other in held[:-1]:
                if other.closed is not None:
                    other.hang_up()
            held = [each for each in held if each.session.state is not session_module.SessionState.GONE or each is line]
        assert len(here.door.strangers) <= 128  # from one address
        assert len(here.emulation.sessions) <= 130


# What may not be


async def test_what_is_no_request_is_refused_and_takes_no_place() -> None:
    async with porch() as here:
        assert refusal(await here.ask("POST", HTTP_STREAM_PATH)) == (400, "bad_request")
        assert refusal(await here.ask("POST", HTTP_STREAM_PATH, b"\xff")) == (400, "bad_request")
        assert refusal(await here.ask("GET", SSE_PATH)) == (400, "bad_request")
        for body in (b"", b"{}", b"[]", b"\xff", b'{"session":1,"data":""}', b'{"session":"a","data":{}}'):
            assert refusal(await here.ask("POST", EMULATION_PATH, body)) == (400, "bad_request")
        cut = await here.ask("POST", EMULATION_PATH, b"\x0a\x05a", content_type="application/octet-stream")
        assert refusal(cut) == (400, "bad_request")
        here.stage.core.close()
        answer = await here.ask("POST", HTTP_STREAM_PATH, b"{}")
        assert (refusal(answer), answer.headers["Retry-After"]) == ((503, "unavailable"), "5")


async def test_pages_of_listed_origins_may_ask_and_read() -> None:
    async with porch() as here:
        for path in (HTTP_STREAM_PATH, SSE_PATH, EMULATION_PATH):
            allowed = await here.ask("OPTIONS", path, origin=LISTED)
            assert (allowed.status, allowed.headers["Access-Control-Allow-Origin"]) == (204, LISTED)
            assert "Content-Type" in allowed.headers["Access-Control-Allow-Headers"]
            for method in ("OPTIONS", "POST"):
                with pytest.raises(Denied):
                    await here.ask(method, path, b"{}", origin="https://evil.example")
        refused = await here.ask("POST", EMULATION_PATH, b"{", origin=LISTED)
        assert refused.headers["Access-Control-Allow-Origin"] == LISTED


async def test_a_secret_that_nobody_has_does_nothing() -> None:
    async with porch() as here:
        line = await here.open()
        line.take()
        for secret in ("", "x", line.session.secret[:-1], "percy"):
            answer = await here.say(line, {"id": 2, "subscribe": {"channel": "a"}}, session=secret)
            assert answer.status == 204
        assert line.take() == []
        assert refusal(await here.say(line, "{}", node="another")) == (404, "not_found")


# One after the other


async def test_requests_have_their_turn_in_the_order_in_which_they_come() -> None:
    async with porch() as here:
        line = await here.open()
        line.take()
        session = line.session
        session.pause_reading()
        asks = [
            asyncio.create_task(here.say(line, {"id": id_, "subscribe": {"channel": f"c{id_}"}}))
            for id_ in range(2, 10)
        ]
        await here.settle()
        assert not any(task.done() for task in asks)
        assert line.take() == []
        session.resume_reading()
        assert [answer.status for answer in await asyncio.gather(*asks)] == [204] * 8
        assert [each["id"] for each in line.take() if "id" in each] == list(range(2, 10))


async def test_a_client_that_has_too_many_waiting_is_sent_away_and_may_come_back() -> None:
    async with porch() as here:
        line = await here.open()
        session = line.session
        session.pause_reading()
        asks = [asyncio.create_task(here.say(line, "{}")) for _ in range(MAX_POSTS + 1)]
        await here.settle()
        assert line.closed is not None
        assert line.closed[0] == 3008
        line.hang_up()
        assert [answer.status for answer in await asyncio.gather(*asks)] == [204] * (MAX_POSTS + 1)


# Several nodes


async def test_commands_reach_the_node_that_has_the_stream() -> None:
    async with porch(is_shared=True) as here:
        other = Emulation(here.stage.core)
        here.door.tick()
        other.tick()
        await here.settle()
        line = await here.open()
        line.take()
        body = {"session": line.session.secret, "node": line.session.node}
        subscribe = json.dumps({**body, "data": '{"id":2,"subscribe":{"channel":"a"}}'}).encode()
        await other.receive(Request("POST", EMULATION_PATH, "", {}, HERE, subscribe))
        await here.settle()
        assert [each["id"] for each in line.take() if "id" in each] == [2]
        with pytest.raises(Denied):
            unknown = json.dumps({**body, "node": "nobody", "data": "{}"}).encode()
            await other.receive(Request("POST", EMULATION_PATH, "", {}, HERE, unknown))
        here.stage.clock.go(FORGET_S + 1)
        here.emulation._announced_at = here.stage.clock()  # it is gone, and says nothing any more
        other.tick()
        with pytest.raises(Denied):
            await other.receive(Request("POST", EMULATION_PATH, "", {}, HERE, subscribe))


async def test_an_address_pays_for_what_is_passed_on() -> None:
    async with porch(is_shared=True) as here:
        other = Emulation(here.stage.core)
        other.tick()
        here.door.tick()
        await here.settle()
        body = json.dumps({"session": "x", "node": here.emulation.node, "data": "x" * 60_000}).encode()
        ask = functools.partial(other.receive, Request("POST", EMULATION_PATH, "", {}, HERE, body))
        with pytest.raises(Denied) as refused:
            for _ in range(10_000):
                await ask()
        assert refused.value.status == 429
