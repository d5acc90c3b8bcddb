"""A room's events as a stream: who gets it, what it says, how it goes on and how it ends."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import jwt
import msgspec
import pytest

import hubbub
from hubbub import Act, Client, Hub, Refused
from hubbub.budgets import Use, allowances, spend
from hubbub.errors import CloseCode, EngineError, ErrorCode
from hubbub.events import Message
from hubbub.http.event_stream import EventStream, block, place, read_place
from hubbub.http.put_out import AWAY_S, MAX_SESSIONS
from hubbub.wire.request import Response
from hubbub.wire.streaming import Streaming
from unit.test_app import LISTED, Office, office

pytestmark = pytest.mark.anyio

SECRET = "k" * 32
CHUNK = re.compile(rb"([0-9a-f]+)\r\n")


class Block(NamedTuple):
    """One event, as a browser takes it (HTML standard, section 9.2.6)."""

    type: str
    data: Any
    id: str | None


class Ear:
    """The client's end of a stream (`client.Socket`).

    Attributes:
        outbox_size: what it says it has not taken.
        closed: the code and the reason, once the server has ended it.
        last_id: what a browser would come back with.
        retry: after so many milliseconds.
    """

    def __init__(self, answer: Streaming) -> None:
        self.answer = answer
        self.outbox_size = 0
        self.closed: tuple[int, str] | None = None
        self.last_id = ""
        self.retry: int | None = None
        self.written = b""
        answer.author.attach(self)

    def write(self, data: bytes) -> None:
        assert self.closed is None
        while data:
            found = CHUNK.match(data)
            assert found, data
            end = found.end() + int(found[1], 16)
            assert data[end : end + 2] == b"\r\n"
            self.written += data[found.end() : end]
            data = data[end + 2 :]

    def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.write(b"%x\r\n%b\r\n" % (len(last := self.answer.last(code, reason)), last))
            self.closed = int(code), reason
            self.answer.author.closing()

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def hang_up(self) -> None:
        """End the connection, whoever has ended the stream."""
        code, reason = self.closed or (1006, "")
        self.answer.author.closed(code, reason, by_us=self.closed is not None)

    def take(self) -> list[Block]:
        """The events since the last look."""
        text, self.written = self.written.decode(), b""
        assert not text or text.endswith("\n\n")
        assert "\r" not in text
        found = []
        for part in text.split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in part.split("\n"))
            assert fields.keys() <= {"event", "data", "id", "retry"}
            self.last_id = fields.get("id", self.last_id)
            if "retry" in fields:
                self.retry = int(fields["retry"])
            if "data" in fields:
                found.append(Block(fields["event"], msgspec.json.decode(fields["data"]), fields.get("id")))
        return found


class Hall(NamedTuple):
    """A hub with streams, percy's session, and alice, who is connected."""

    office: Office
    token: str
    alice: Any

    async def ask(self, path: str = "/rooms/general/events", *, token: str | None = None, **headers: str) -> Response:
        bearer = self.token if token is None else token
        return await self.office.ask("GET", path, authorization=f"Bearer {bearer}", **headers)

    async def listen(self, path: str = "/rooms/general/events", **more: str) -> Ear:
        answer = await self.ask(path, **more)
        assert isinstance(answer, Streaming), answer
        return Ear(answer)

    async def say(self, *texts: str) -> None:
        for text in texts:
            await self.alice.ask("send_message", {"room": "general", "message": text})


@asynccontextmanager
async def hall(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[Hall]:
    async with office(monkeypatch, **settings) as here:
        token = (await here.log_in())["token"]
        alice = await here.stage.client("alice")
        await alice.join("general")
        yield Hall(here, token, alice)


def types(blocks: list[Block]) -> list[str]:
    return [each.type for each in blocks]


def refusal(response: Response) -> tuple[int, str]:
    """The status and the code of a refusal, which is JSON and no stream."""
    assert not isinstance(response, Streaming)
    assert response.media_type == "application/json"
    return response.status, msgspec.json.decode(response.body)["error"]["code"]


# What it says


async def test_it_begins_with_how_the_room_stands_and_goes_on_live(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        await here.say("before")
        ear = await here.listen("/rooms/General/events")
        answer = ear.answer
        assert (answer.status, answer.media_type) == (200, "text/event-stream")
        assert answer.headers == {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        [joined] = ear.take()
        epoch = joined.data["epoch"]
        assert joined == Block(
            "joined",
            {
                "room": "general",
                "title": "general",
                "epoch": epoch,
                "seq": 1,
                "recovered": False,
                "members": ["alice", "percy"],
                "count": 2,
                "read": 0,
            },
            f"{epoch}:1",
        )
        assert ear.retry == 2000
        await here.say("one\nline")
        [said] = ear.take()
        assert (said.type, said.id) == ("new_message", f"{epoch}:2")
        assert said.data.pop("sent")
        assert said.data == {"room": "general", "seq": 2, "from": "alice", "message": "one\nline"}


async def test_what_is_not_kept_has_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        ear = await here.listen()
        ear.take()
        await here.office.stage.client("zoe")
        bob = await here.office.stage.client("bob")
        await bob.join("general")
        bob.say("typing", {"room": "general", "on": True})
        await here.office.stage.settle()
        assert [(each.type, each.id) for each in ear.take()] == [("member_joined", None), ("typing", None)]


async def test_changes_have_a_place_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        await here.say("hi")
        ear = await here.listen("/rooms/general/events?history=5")
        ear.take()
        await here.alice.ask("edit_message", {"room": "general", "seq": 1, "message": "ho"})
        [edited] = ear.take()
        assert (edited.type, edited.id) == ("message_edited", f"{ear.last_id.partition(':')[0]}:2")
        again = await here.listen("/rooms/general/events?history=5")
        _, message, change = again.take()
        assert (message.type, message.data["message"]) == ("new_message", "ho")
        assert change.type == "message_edited"


async def test_history_is_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        await here.say("a", "b", "c")
        ear = await here.listen("/rooms/general/events?history=2")
        joined, *messages = ear.take()
        assert joined.id is None  # the first of them would be missed by who comes back between the two
        assert [each.data["message"] for each in messages] == ["b", "c"]
        for history in ("x", "-1", "201", "9" * 99, "", "²"):
            assert refusal(await here.ask(f"/rooms/general/events?history={history}")) == (400, "bad_payload")


# Going on


async def test_who_comes_back_is_told_what_it_has_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        ear = await here.listen()
        ear.take()
        ear.hang_up()
        await here.say(*map(str, range(300)))  # more than is at hand
        back = await here.listen(last_event_id=ear.last_id)
        joined, *messages = back.take()
        assert (joined.type, joined.data["recovered"], joined.data["seq"]) == ("joined", True, 300)
        assert [each.data["seq"] for each in messages] == list(range(1, 301))
        back.hang_up()
        url = await here.listen(f"/rooms/general/events?last_event_id={messages[-2].id}")
        assert [each.data["message"] for each in url.take()[1:]] == ["299"]


async def test_the_header_is_newer_than_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        ear = await here.listen()
        ear.take()
        first = ear.last_id
        await here.say("a", "b")
        ear.take()
        back = await here.listen(f"/rooms/general/events?last_event_id={first}", last_event_id=ear.last_id)
        assert types(back.take()) == ["joined"]


async def test_who_has_lost_its_place_is_told_so_first_and_gets_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        await here.say(*map(str, range(60)))
        ear = await here.listen(last_event_id="another:3")
        reset, *messages = ear.take()
        assert (reset.type, reset.data["recovered"]) == ("reset", False)
        assert [each.data["seq"] for each in messages] == list(range(11, 61))
        few = await here.listen("/rooms/general/events?history=1", last_event_id="another:3")
        assert types(few.take()) == ["reset", "new_message"]


@pytest.mark.parametrize("id_", ["3", "a:", ":3", "a:b", "a:-1", f"a:{'9' * 30}", "a:²"])
async def test_an_id_that_is_none_of_ours_is_refused(monkeypatch: pytest.MonkeyPatch, id_: str) -> None:
    async with hall(monkeypatch) as here:
        assert refusal(await here.ask(last_event_id=id_)) == (400, "bad_payload")


async def test_a_new_epoch_is_a_new_place(monkeypatch: pytest.MonkeyPatch) -> None:
    dialect = EventStream(lambda _room: "new", lambda most: most)
    assert dialect.event("epoch", b'{"room":"a","epoch":"e2","seq":7}').startswith(b"id: e2:7\n")
    assert dialect.event("gap", b'{"room":"a","from":3,"to":9}').startswith(b"id: new:9\n")


# Who gets it


async def test_a_password_in_the_url_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        otp = (await here.office.log_in())["otp"]
        path = f"/rooms/general/events?otp={otp}"
        assert isinstance(await here.office.ask("GET", path), Streaming)
        assert refusal(await here.office.ask("GET", path)) == (401, "unauthorized")


async def test_a_signed_token_is_taken_in_the_url_and_as_a_bearer(monkeypatch: pytest.MonkeyPatch) -> None:
    token = jwt.encode({"sub": "zoe"}, SECRET, "HS256")
    async with hall(monkeypatch, jwt_key=SECRET) as here:
        assert isinstance(await here.office.ask("GET", f"/rooms/general/events?jwt={token}"), Streaming)
        assert isinstance(await here.ask(token=token), Streaming)
        for wrong in ("x", f"{token}x", jwt.encode({"sub": "zoe"}, "l" * 32, "HS256")):
            answer = await here.office.ask("GET", f"/rooms/general/events?jwt={wrong}")
            assert refusal(answer) == (401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    async with hall(monkeypatch) as here:
        assert refusal(await here.office.ask("GET", f"/rooms/general/events?jwt={token}")) == (401, "unauthorized")


async def test_the_cookie_of_a_page_of_the_servers_own_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch, no_tls=True) as here:
        cookie = f"hubbub={here.token}"
        # As an EventSource asks: a browser sends no Origin with it.
        answer = await here.office.ask("GET", "/rooms/general/events", cookie=cookie, sec_fetch_site="same-origin")
        assert isinstance(answer, Streaming)
        for site in ("same-site", "cross-site"):
            answer = await here.office.ask("GET", "/rooms/general/events", cookie=cookie, sec_fetch_site=site)
            assert refusal(answer) == (401, "unauthorized")


async def test_nobody_gets_none_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch, max_clients=1) as here:
        for _ in range(5):
            assert refusal(await here.office.ask("GET", "/rooms/general/events")) == (401, "unauthorized")
            assert refusal(await here.ask(token="wrong")) == (401, "unauthorized")
            assert refusal(await here.ask(origin="https://evil.example")) == (403, "forbidden")
            assert refusal(await here.ask("/rooms/a%20b/events")) == (400, "bad_payload")
        ear = await here.listen()
        assert refusal(await here.ask()) == (503, "unavailable")
        ear.hang_up()
        assert len(here.office.stage.core.clients) == 1
        await here.listen()


async def test_pages_of_listed_origins_may_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch, allow_origin=[LISTED]) as here:
        answer = await here.ask(origin=LISTED)
        assert isinstance(answer, Streaming)
        assert answer.headers["Access-Control-Allow-Origin"] == LISTED
        asked = await here.office.ask("OPTIONS", "/rooms/general/events", origin=LISTED)
        assert "Last-Event-ID" in asked.headers["Access-Control-Allow-Headers"]


async def test_rights_hooks_and_blocks_are_those_of_v1(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()

    @hub.policy
    def policy(client: Client, act: Act, room: str | None) -> bool | None:
        if act is Act.JOIN and room == "secret":
            return False
        return False if act is Act.CREATE and room != "open" else None

    @hub.on_join
    async def on_join(room_name: str, client: Client) -> None:
        if room_name == "open":
            raise Refused(ErrorCode.FORBIDDEN, "not today")

    async with hall(monkeypatch, hub=hub) as here:
        assert refusal(await here.ask("/rooms/secret/events")) == (403, "forbidden")
        assert refusal(await here.ask("/rooms/hooked/events")) == (404, "no_such_room")
        assert refusal(await here.ask("/rooms/nowhere/events")) == (404, "no_such_room")
        assert refusal(await here.ask("/rooms/open/events")) == (403, "forbidden")
        assert refusal(await here.ask("/rooms/dm:alice,bob/events")) == (403, "forbidden")
        await here.office.engine.set_blocked("percy", is_blocked=True)
        await here.office.stage.core.refresh_access()
        assert refusal(await here.ask()) == (401, "unauthorized")  # its sessions have ended


async def test_a_refusal_of_a_connection_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()

    @hub.on_connect
    def on_connect(client: Client) -> None:
        if client.user == "percy":
            raise Refused(ErrorCode.FORBIDDEN, "not you")

    async with hall(monkeypatch, hub=hub) as here:
        assert refusal(await here.ask()) == (403, "forbidden")
        assert len(here.office.stage.core.clients) == 1


async def test_it_pays_for_what_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        stage = here.office.stage
        purses = stage.core.budgets.purses("percy", None, stage.clock())
        await here.say("x" * 3900)
        spend(purses, Use.SENT, allowances(stage.settings)[Use.SENT].burst - 3900, stage.clock())
        await here.listen("/rooms/general/events?history=1")
        answer = await here.ask()
        assert refusal(answer) == (429, "rate_limited")
        assert int(answer.headers["Retry-After"]) > 0


# How it ends


async def test_who_is_out_of_the_room_is_told_why_and_that_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        ear = await here.listen()
        ear.take()
        admin = await here.office.stage.client("root", role=hubbub.Role.ADMIN)
        await admin.ask("admin_close_room", {"room": "general"})
        removed, closed = ear.take()
        assert (removed.type, removed.data["code"]) == ("removed", "forbidden")
        assert (closed.type, closed.data["code"]) == ("closed", 1000)
        assert ear.closed is not None
        ear.hang_up()
        assert refusal(await here.ask()) == (403, "forbidden")  # a browser that comes back stays away from now on


async def test_who_was_put_out_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        stage = here.office.stage
        ear = await here.listen()
        [client] = [each for each in stage.core.clients if each.user == "percy"]
        client.close(CloseCode.KICKED, "enough")
        assert types(ear.take()) == ["joined", "closed"]
        ear.hang_up()
        assert refusal(await here.ask()) == (403, "forbidden")
        other = (await here.office.log_in())["token"]
        assert isinstance(await here.ask(token=other), Streaming)  # somebody has logged in, and knows what happened
        stage.clock.go(AWAY_S)
        assert isinstance(await here.ask(), Streaming)


async def test_other_nodes_hear_of_who_was_put_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        notices = here.office.stage.core.notices
        grant = await here.office.accounts.grant_of(here.token)
        assert grant is not None
        notices.heard("@users", "put_out", b"of another version")
        for number in range(MAX_SESSIONS):
            notices.heard("@users", "put_out", b'{"session":"%d"}' % number)
        assert isinstance(await here.ask(), Streaming)
        notices.heard("@users", "put_out", msgspec.json.encode({"session": grant.session}))
        assert refusal(await here.ask()) == (403, "forbidden")


async def test_a_session_that_ends_takes_it_along(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        ear = await here.listen()
        await here.office.ask("POST", "/logout", authorization=f"Bearer {here.token}")
        assert ear.closed == (4100, "session ended")
        ear.hang_up()
        assert refusal(await here.ask()) == (401, "unauthorized")


async def test_a_stop_says_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        ear = await here.listen()
        ear.take()
        core = here.office.stage.core
        core.close()
        assert refusal(await here.ask()) == (503, "unavailable")
        # A browser that is back by itself would stay away for good.
        answer = await here.ask(last_event_id=ear.last_id)
        assert (answer.status, answer.media_type, answer.body) == (200, "text/event-stream", b"retry: 5000\n\n")
        for _ in core.goodbyes(800):
            pass
        assert types(ear.take()) == ["reconnect", "closed"]
        assert ear.retry is not None
        assert 0 <= ear.retry <= 800


async def test_an_engine_that_cannot_be_read_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:

        async def broken(*_args: object, **_more: object) -> None:
            raise EngineError("the disk is gone")

        monkeypatch.setattr(here.office.engine, "read", broken)
        assert refusal(await here.ask("/rooms/lunch/events")) == (503, "unavailable")
        assert len(here.office.stage.core.clients) == 1


async def test_a_slow_reader_falls_behind_and_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall(monkeypatch) as here:
        ear = await here.listen()
        ear.take()
        ear.outbox_size = here.office.stage.settings.max_outbox + 1
        ear.answer.author.writing_paused()
        await here.say(*map(str, range(250)))
        waiting = len(ear.take())
        assert waiting < 5
        ear.outbox_size = 0
        ear.answer.author.writing_resumed()
        await here.office.stage.settle()
        seqs = [each.data["seq"] for each in ear.take()]
        assert seqs == list(range(waiting + 1, 251))


# What cannot be smuggled in


@pytest.mark.parametrize("break_", ["\n", "\r", "\r\n", "\n\n", "\x00", "\u2028"])
def test_no_type_begins_another_line(break_: str) -> None:
    text = block(f"a{break_}id: evil", b'{"a":1}', place("e", 3)).decode()
    assert text.splitlines()[0] == "id: e:3"
    assert re.fullmatch(r"id: e:3\nevent: [^\r\n\0]*\ndata: \{\"a\":1\}\n\n", text)


@pytest.mark.parametrize("type_", ["joined", "reset", "closed", "open", "error"])
def test_no_event_passes_for_what_the_stream_tells_of_itself(type_: str) -> None:
    dialect = EventStream(lambda _room: "e", lambda most: most)
    kept = dialect.message(Message("general", 1, 0, "percy", type_, b'{"code":4101}'))
    for told in (kept, dialect.event(type_, b"{}"), dialect.cast("general", type_, b"{}")):
        assert b"event: .%b\n" % type_.encode() in told


def test_no_data_begins_another_line() -> None:
    text = block("a", b'{"a":\r\n\n1,"b":"\\n"}')
    assert text == b'event: a\ndata: {"a":   1,"b":"\\n"}\n\n'
    message = Message("general", 1, 0, "per\ncy", "publication", b'{"data":\n\nid: evil\n\n}')
    told = EventStream(lambda _room: "e", lambda most: most).message(message)
    assert told.count(b"\n") == 4
    assert told.endswith(b"\n\n")


def test_a_place_is_read_as_it_was_written() -> None:
    assert (read_place("a:b:41").epoch, read_place("a:b:41").seq) == ("a:b", 41)
    assert place("", 3) == b""
