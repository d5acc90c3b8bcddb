"""Connections of the second door: who is let in and how it is said that one is not, and what holds while it lasts."""

from __future__ import annotations

import asyncio
import json
import math
import uuid

import pytest
import structlog

from hubbub import Client, Hub, Refused
from hubbub.counts import CLOSES
from hubbub.door import session as session_module
from hubbub.door.codes import DoorClose
from hubbub.door.namespaces import Namespace
from hubbub.door.session import LARGE_FRAME, MAX_ATTEMPTS, MAX_STRAY, MAX_WAITING, SHORT_FRAME, SessionState
from hubbub.engine import Grant
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import CloseCode, EngineError
from hubbub.otp import digest
from unit.knocking import PING_S, PLACES, Knocker, porch, token

pytestmark = pytest.mark.anyio

OPEN = Namespace(allow_subscribe_for_client=True, allow_publish_for_client=True)


async def until_read(knocker: Knocker) -> int:
    """Wait until a connection is read again, or closed; the turns of the loop that it took."""
    turns = 0
    while not knocker.is_reading and knocker.closed is None:
        await asyncio.sleep(0)
        turns += 1
    return turns


# Letting in


async def test_a_connection_is_answered_who_it_is_and_how_it_is_kept_alive() -> None:
    async with porch() as door:
        knocker = door.knock()
        found = await knocker.connect(token=token(sub="7"))
        assert uuid.UUID(found["client"]).version == 4
        assert found["version"].startswith("Hubbub ")
        assert (found["ping"], found["pong"]) == (PING_S, True)
        assert "expires" not in found
        assert knocker.is_watched
        assert door.core.counts.connections["centrifugo"] == 1
        knocker.hang_up()
        assert door.core.counts.connections["centrifugo"] == 0


async def test_no_pings_are_told_of_where_none_come() -> None:
    async with porch() as door:
        knocker = door.knock(carriage=door.json._replace(ping=0))
        assert "ping" not in (found := await knocker.connect(token=token(sub="7")))
        assert "pong" not in found


async def test_nothing_comes_before_connect() -> None:
    async with porch() as door:
        for text in ('{"id":1,"ping":{}}', '{"id":1,"publish":{"channel":"a","data":1}}', "{", '{"id":1}', "[]"):
            knocker = door.knock()
            knocker.session.receive_text(text)
            assert knocker.closed == 3501, text
            assert knocker.written == []


async def test_one_that_is_turned_away_is_read_so_that_its_close_is_heard() -> None:
    async with porch() as door:
        knocker = door.knock()
        knocker.say({"id": 1, "connect": {"token": token("another secret, which is as long", sub="7")}})
        was_read = [knocker.is_reading]  # most say nothing more until they have their answer
        knocker.say({"id": 2, "ping": {}})
        was_read.append(knocker.is_reading)
        await door.settle()
        was_read.append(knocker.is_reading)
        assert (was_read, knocker.closed) == ([True, False, True], 3500)


async def test_the_log_says_why_a_connection_is_refused() -> None:
    async with porch() as door:
        for connect, why in (
            ({}, "it has no token, and client.allow_anonymous_connect_without_token is off"),
            ({"token": "abc"}, "its token is neither a JSON Web Token nor that of a session of this server"),
            ({"token": token("another secret, which is as long", sub="7")}, "its token: "),
        ):
            with structlog.testing.capture_logs() as lines:
                door.knock().say({"id": 1, "connect": connect})
                await door.settle()
            [line] = [line for line in lines if line["event"] == "connect refused"]
            assert line["log_level"] == "info"
            assert line["why"].startswith(why)


async def test_the_formats_are_kept_apart() -> None:
    async with porch() as door:
        knocker = door.knock()
        knocker.session.receive_binary(b"{}")
        assert knocker.closed == 3501
        knocker = door.knock(carriage=door.json._replace(is_binary=True))
        knocker.session.receive_text("{}")
        assert knocker.closed == 3501


async def test_pongs_before_connect_mean_nothing_as_long_as_they_are_few() -> None:
    async with porch() as door:
        knocker = door.knock()
        for _ in range(MAX_STRAY):
            knocker.session.receive_text("{}")
        assert knocker.is_open()
        assert not knocker.session.admit(1)
        assert knocker.closed == 3501


@pytest.mark.parametrize("frame", ["\n", "\n" * 60_000, "\n{}"], ids=["one line", "many", "and a pong"])
async def test_empty_lines_before_connect_are_few_too(frame: str) -> None:
    async with porch() as door:
        knocker = door.knock()
        for _ in range(MAX_STRAY + 1):
            knocker.session.receive_text(frame)
        assert knocker.closed == 3501


async def test_an_empty_frame_is_no_command() -> None:
    async with porch() as door:
        knocker, guest = door.knock(), await door.guest()
        protobuf = door.knock(carriage=door.json._replace(dialect=door.door.protobuf, is_binary=True))
        knocker.session.receive_text("")
        guest.session.receive_text("")
        protobuf.session.receive_binary(b"")
        assert (knocker.closed, guest.closed, protobuf.closed) == (3501, 3501, 3501)


async def test_one_that_does_not_say_who_it_is_is_closed_in_time() -> None:
    async with porch(stale_close_delay=10.0) as door:
        early, late = door.knock(), door.knock()
        door.pass_time(9.9)
        await early.connect(token=token(sub="7"))
        assert late.is_open()
        door.pass_time(0.1)
        assert late.closed == 3502
        assert early.is_open()
        late.hang_up()
        assert len(door.door.strangers) == 0


async def test_a_second_connect_closes() -> None:
    async with porch() as door:
        guest = await door.guest()
        guest.say({"id": 2, "connect": {"token": token(sub="7")}})
        assert guest.closed == 3501


async def test_who_brings_no_token_is_let_in_where_that_is_allowed() -> None:
    async with porch() as door:
        knocker = door.knock()
        knocker.say({"id": 1, "connect": {}})
        await door.settle()
        assert knocker.closed == 3501
    for is_insecure in (False, True):
        async with porch(insecure=is_insecure, allow_anonymous=not is_insecure) as door:
            knocker = door.knock()
            await knocker.connect()
            assert knocker.session.client is not None
            assert knocker.session.client.user == ""


@pytest.mark.parametrize(
    "wrong",
    [
        token("another secret, which is as long", sub="7"),
        token(sub="7", channel="chat"),
        token(sub="7")[:-4],
        "a.b.c",
        "no session of ours",
        "..",
    ],
)
async def test_a_wrong_token_closes_for_good(wrong: str) -> None:
    async with porch() as door:
        knocker = door.knock()
        knocker.say({"id": 1, "connect": {"token": wrong}})
        await door.settle()
        assert (knocker.closed, knocker.reason) == (3500, "invalid token")
        assert door.core.counts.connections["centrifugo"] == 0


async def test_an_expired_token_is_an_error_after_which_another_one_is_taken() -> None:
    async with porch() as door:
        knocker = door.knock()
        answer = await knocker.ask(connect={"token": token(sub="7", exp=door.clock() - 1)})
        assert answer == {"id": 1, "error": {"code": 109, "message": "token expired"}}
        assert knocker.session.state is SessionState.STRANGER
        assert knocker.is_reading
        await knocker.connect(token=token(sub="7"))
        assert len(door.door.strangers) == 0


async def test_nobody_tries_without_end() -> None:
    async with porch() as door:
        knocker = door.knock()
        for _ in range(MAX_ATTEMPTS):
            await knocker.ask(connect={"token": token(sub="7", exp=1)})
        knocker.say({"id": 1, "connect": {"token": token(sub="7")}})
        assert knocker.closed == 3501


async def test_a_session_of_the_house_opens_a_connection() -> None:
    async with porch() as door:
        await door.stage.engine.put_session(Grant("percy", digest("a session token")), math.inf)
        knocker = door.knock()
        await knocker.connect(token="a session token")
        assert knocker.session.client is not None
        assert knocker.session.client.user == "percy"
        door.core.sessions.end(digest("a session token"))
        assert knocker.closed == 3503


async def test_what_a_token_says_besides_is_for_the_application() -> None:
    async with porch() as door:
        guest = await door.guest(meta={"plan": "gold"}, info={"name": "Percy"})
        assert guest.session.client is not None
        assert guest.session.client.info == {"plan": "gold"}
        assert guest.session.client.conn_info == b'{"name":"Percy"}'


async def test_an_account_that_is_blocked_stays_away() -> None:
    async with porch() as door:
        await door.stage.account("percy")
        await door.stage.hub.block("percy")
        knocker = door.knock()
        knocker.say({"id": 1, "connect": {"token": token(sub="percy")}})
        await door.settle()
        assert knocker.closed == 3507


async def test_a_session_that_has_just_ended_stays_away() -> None:
    async with porch() as door:
        guest = await door.guest()
        assert guest.session.client is not None
        door.core.sessions.end(guest.session.client.session)
        assert guest.closed == 3503
        again = door.knock()
        again.say({"id": 1, "connect": {"token": token(sub="7")}})
        await door.settle()
        assert again.closed == 3503


@pytest.mark.parametrize(
    ("error", "closed", "answer"),
    [
        (Refused("forbidden", "not today"), 3507, None),
        (Refused("forbidden", '{"reconnect": true}'), 3507, None),
        (Refused("unavailable", "soon"), None, {"code": 100, "message": "soon", "temporary": True}),
        (EngineError("gone"), None, {"code": 100, "message": "gone", "temporary": True}),
        (ValueError(), None, {"code": 100, "message": "internal server error", "temporary": True}),
        (asyncio.CancelledError(), None, {"code": 100, "message": "internal server error", "temporary": True}),
    ],
)
async def test_what_a_hook_raises(error: BaseException, closed: int | None, answer: object) -> None:
    hub = Hub()

    @hub.on_connect
    async def refuse(_client: Client) -> None:
        raise error

    async with porch(hub) as door:
        knocker = door.knock()
        knocker.say({"id": 1, "connect": {"token": token(sub="7")}})
        await door.settle()
        assert knocker.closed == closed
        assert not knocker.reason.startswith("{"), "an SDK would take that for advice"
        assert knocker.take() == ([] if answer is None else [{"id": 1, "error": answer}])
        assert len(door.core.clients) == 0


async def test_an_engine_that_cannot_be_asked_is_a_reason_to_come_back() -> None:
    class Silent(MemoryEngine):
        async def session(self, session: str) -> Grant | None:
            raise EngineError("no answer")

    async with porch() as door:
        door.core.engine.session = Silent.session.__get__(door.core.engine)  # type: ignore[method-assign]
        knocker = door.knock()
        answer = await knocker.ask(connect={"token": "an opaque one"})
        assert answer["error"] == {"code": 100, "message": "no answer", "temporary": True}


async def test_a_user_has_no_more_connections_than_are_allowed() -> None:
    async with porch(user_connection_limit=2, allow_anonymous=True) as door:
        first, _second = await door.guest(), await door.guest()
        third = door.knock()
        third.say({"id": 1, "connect": {"token": token(sub="7")}})
        await door.settle()
        assert third.closed == 3504
        await door.guest("8")
        first.hang_up()
        await door.guest()
        for _ in range(3):  # nobody's connections are not one user's
            await door.knock().connect()


async def test_a_connection_that_goes_while_it_is_looked_at_is_not_there_afterwards() -> None:
    hub, is_looked_at, go_on = Hub(), asyncio.Event(), asyncio.Event()

    @hub.on_connect
    async def wait(_client: Client) -> None:
        is_looked_at.set()
        await go_on.wait()

    async with porch(hub) as door:
        knocker = door.knock()
        knocker.say({"id": 1, "connect": {"token": token(sub="7")}})
        await is_looked_at.wait()
        was_read = knocker.is_reading
        knocker.say({})
        assert was_read and not knocker.is_reading
        knocker.hang_up()
        go_on.set()
        await door.settle()
        assert len(door.core.clients) == 0
        assert door.core.counts.connections["centrifugo"] == 0
        assert knocker.written == []


async def test_each_connection_gives_its_place_back() -> None:
    async with porch() as door:
        for _ in range(2):
            stranger, guest, refused = door.knock(), await door.guest(), door.knock()
            refused.session.receive_text("{")
            others = [door.knock() for _ in range(PLACES - 3)]
            assert door.places.are_taken
            for each in (stranger, guest, refused, *others):
                each.hang_up()
        assert not door.places.are_taken


# Commands


async def test_what_comes_in_the_frame_of_connect_is_answered_after_it() -> None:
    async with porch() as door:
        knocker = door.knock()
        commands = [{"id": number, "ping": {}} for number in range(2, 200)]
        knocker.say({"id": 1, "connect": {"token": token(sub="7")}}, *commands)
        knocker.say({"id": 200, "ping": {}})
        assert not knocker.is_reading
        await door.settle()
        await until_read(knocker)
        assert [answer["id"] for answer in knocker.take()] == list(range(1, 201))


async def test_the_commands_of_a_long_frame_leave_turns_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "AT_ONCE", 10)
    async with porch() as door:
        guest, other = await door.guest(), await door.guest("8")
        commands = [{"id": number, "ping": {}} for number in range(1, SHORT_FRAME // 10)]
        guest.say(*commands)
        guest.say({"id": 9999, "ping": {}})
        assert len(guest.written) == 10
        assert not guest.is_reading
        other.say({"id": 1, "ping": {}})
        assert other.take() == [{"id": 1, "ping": {}}]
        turns = await until_read(guest)
        assert turns >= len(commands) // 10
        assert [answer["id"] for answer in guest.take()] == [command["id"] for command in commands] + [9999]


async def test_large_frames_have_turns_for_themselves() -> None:
    async with porch() as door:
        guest = await door.guest()
        for number in range(1, 9):
            guest.session.receive_text(json.dumps({"id": number, "ping": {}}) + " " * LARGE_FRAME)
        guest.say({"id": 9, "ping": {}})
        assert not guest.is_reading
        answered: list[int] = []
        while len(answered) < 9:
            found = [answer["id"] for answer in guest.take()]
            assert len(found) <= 2, "one that is large, and a small one after it"
            answered += found
            await asyncio.sleep(0)
        assert answered == list(range(1, 10))
        await until_read(guest)
        guest.say({"id": 10, "ping": {}})
        assert [answer["id"] for answer in guest.take()] == [10]


async def test_what_is_broken_in_a_long_frame_ends_it_where_it_is() -> None:
    async with porch() as door:
        guest = await door.guest()
        lines = ['{"id":1,"ping":{}}'] * SHORT_FRAME
        lines[40] = "{"
        guest.session.receive_text("\n".join(lines))
        await until_read(guest)
        assert guest.closed == 3501
        assert len(guest.written) == 40


async def test_no_more_frames_wait_than_one_read_can_hold() -> None:
    async with porch() as door:
        knocker = door.knock()
        knocker.say({"id": 1, "connect": {"token": token(sub="7")}})
        for _ in range(MAX_WAITING):
            knocker.session.receive_text("{}")
        assert knocker.closed == 3501


async def test_each_command_counts_and_so_does_each_pong() -> None:
    async with porch() as door:
        guest = await door.guest()
        burst = int(door.core.settings.client_burst)
        guest.say(*({"id": number, "ping": {}} for number in range(1, burst + 2)))
        answers = guest.take()
        while len(answers) <= burst:
            await asyncio.sleep(0)
            answers += guest.take()
        assert answers[-1]["error"]["code"] == 111
        assert all("ping" in answer for answer in answers[:-1])
        guest.session.receive_text("{}")
        assert not guest.is_reading, "a client over its rate rests"


async def test_each_empty_line_counts() -> None:
    async with porch() as door:
        guest = await door.guest()
        guest.session.receive_text("\n" * (int(door.core.settings.client_burst) + 1))
        assert not guest.is_reading, "a client over its rate rests"


async def test_unknown_and_broken_commands() -> None:
    async with porch() as door:
        guest = await door.guest()
        assert await guest.ask(ping={}) == {"id": 1, "ping": {}}
        guest.say({"ping": {}})
        assert guest.closed == 3501, "what is answered has an id"


# Refreshing


async def test_a_connection_ends_some_time_after_its_token_unless_it_is_refreshed() -> None:
    async with porch(expired_close_delay=25.0) as door:
        guest, other = door.knock(), await door.guest("8", exp=door.clock() + 60)
        found = await guest.connect(token=token(sub="7", exp=door.clock() + 60))
        assert (found["expires"], found["ttl"]) == (True, 60)
        door.pass_time(84.9)
        assert guest.is_open()
        answer = await guest.ask(refresh={"token": token(sub="7", exp=door.clock() + 100)})
        assert answer["refresh"]["expires"] is True
        assert answer["refresh"]["ttl"] == 100
        door.pass_time(0.2)
        assert other.closed == 3005
        assert guest.is_open()
        door.pass_time(124.9)
        assert guest.closed == 3005


@pytest.mark.parametrize(
    ("refreshed", "closed"),
    [
        ("", 3501),
        (token(sub="8"), 3500),
        (token("another secret, which is as long", sub="7"), 3500),
        (token(sub="7", exp=1), 3005),
    ],
)
async def test_what_does_not_refresh_closes(refreshed: str, closed: int) -> None:
    async with porch() as door:
        guest = await door.guest(exp=door.clock() + 60)
        guest.say({"id": 2, "refresh": {"token": refreshed}})
        await door.settle()
        assert guest.closed == closed
        assert guest.written == []


async def test_a_connection_goes_on_by_another_token_and_ends_with_that() -> None:
    async with porch() as door:
        guest = await door.guest(meta={"plan": "gold"})
        client = guest.session.client
        assert client is not None
        before = client.session
        await guest.ask(refresh={"token": token(sub="7", meta={"plan": "tin"}, info=3)})
        assert client.info == {"plan": "tin"}
        assert client.conn_info == b"3"
        door.core.sessions.end(before)
        assert guest.is_open()
        door.core.sessions.end(client.session)
        assert guest.closed == 3503


async def test_the_server_says_how_long_a_connection_lasts() -> None:
    async with porch() as door:
        guest = await door.guest()
        assert guest.session.client is not None
        door.door.entering.extend(guest.session.client, door.clock() + 10)
        assert guest.take() == [{"push": {"refresh": {"expires": True, "ttl": 10}}}]
        door.pass_time(36)
        assert guest.closed == 3005


# The end


async def test_closes_are_told_by_numbers_that_make_sdks_do_what_is_meant() -> None:
    async with porch() as door:
        for ours, theirs in (
            (CloseCode.KICKED, 3503),
            (CloseCode.SESSION_ENDED, 3503),
            (CloseCode.FLOODING, 3503),
            (CloseCode.LOST_PLACE, 3008),
            (CloseCode.RESTART, 3001),
            (3005, 3005),
        ):
            guest = await door.guest()
            assert guest.session.client is not None
            guest.session.client.close(ours, "because")
            assert guest.closed == theirs
            guest.hang_up()


async def test_a_server_that_stops_closes_all_of_them_after_their_answers() -> None:
    async with porch(namespace=OPEN) as door:
        guest, stranger = await door.guest(), door.knock()
        guest.say({"id": 2, "publish": {"channel": "chat", "data": 1}})
        door.core.close()
        door.core.start_draining()
        await door.settle()
        door.door.strangers.turn_out_all()
        for _ in door.core.goodbyes(0):
            pass
        assert guest.take() == [{"id": 2, "publish": {}}]
        assert (guest.closed, stranger.closed) == (3001, 3001)


async def test_who_connects_while_the_server_stops_is_sent_elsewhere() -> None:
    async with porch() as door:
        knocker = door.knock()
        door.core.close()
        knocker.say({"id": 1, "connect": {"token": token(sub="7")}})
        await door.settle()
        assert knocker.closed == 3001


async def test_nothing_is_handled_after_the_end() -> None:
    async with porch() as door:
        guest = await door.guest()
        guest.say({"id": 2, "connect": {}}, {"id": 3, "ping": {}})
        guest.session.receive_text('{"id":4,"ping":{}}')
        assert guest.closed == 3501
        assert guest.written == []


def test_each_close_is_counted_by_its_number() -> None:
    assert {str(code.value) for code in DoorClose} <= set(CLOSES)


# What hooks are told, and what they answer


async def test_hooks_hear_what_a_client_says_of_itself_and_answer_it() -> None:
    hub, heard = Hub(), []

    @hub.on_connect
    def greet(client: Client) -> None:
        heard.append(client.info["connect"])
        client.info["connect_data"] = {"hello": client.user}

    async with porch(hub) as door:
        knocker = door.knock()
        found = await knocker.connect(
            token=token(sub="7"), name="js", version="5", data={"a": 1}, headers={"X-Page": "main"}
        )
        assert found["data"] == {"hello": "7"}
        assert heard == [{"name": "js", "version": "5", "data": {"a": 1}, "headers": {"x-page": "main"}}]
        assert knocker.session.client is not None
        assert knocker.session.client.info == {}


async def test_what_hooks_are_to_be_told_has_bounds() -> None:
    hub = Hub()
    hub.on_connect(lambda client: None)
    async with porch(hub) as door:
        for headers in ({f"x-{number}": "" for number in range(33)}, {"x": "y" * 5000}):
            answer = await door.knock().ask(connect={"token": token(sub="7"), "headers": headers})
            assert answer["error"]["code"] == 107
        nested = "[" * 30000 + "]" * 30000
        deep = f'{{"id":1,"connect":{{"token":"{token(sub="7")}","data":{nested}}}}}'
        knocker = door.knock()
        knocker.session.receive_text(deep)
        await door.settle()
        assert knocker.closed == 3501 or knocker.take()[0]["error"]["code"] == 107


async def test_an_answer_that_is_none_is_the_servers_failure() -> None:
    hub = Hub()

    @hub.on_connect
    def greet(client: Client) -> None:
        client.info["connect_data"] = object()

    async with porch(hub) as door:
        answer = await door.knock().ask(connect={"token": token(sub="7")})
        assert answer["error"]["code"] == 100
        assert len(door.core.clients) == 0


async def test_connections_that_come_at_once_do_not_pass_the_limit_together() -> None:
    hub, go_on = Hub(), asyncio.Event()

    @hub.on_connect
    async def wait(_client: Client) -> None:
        await go_on.wait()

    async with porch(hub, user_connection_limit=2) as door:
        knockers = [door.knock() for _ in range(4)]
        for knocker in knockers:
            knocker.say({"id": 1, "connect": {"token": token(sub="7")}})
        go_on.set()
        await door.settle()
        assert [knocker.closed for knocker in knockers] == [None, None, 3504, 3504]


async def test_a_token_for_ever_and_a_day_lasts_as_long_as_can_be_told() -> None:
    async with porch() as door:
        found = await door.knock().connect(token=token(sub="7", exp=1e300))
        assert found["ttl"] == (1 << 31) - 1


async def test_nothing_is_read_while_commands_wait_that_were_held_up_by_others() -> None:
    async with porch() as door:
        guest = await door.guest()
        client = guest.session.client
        assert client is not None
        client.rate = None
        one = token(sub="7")
        for number in range(1, 61):
            guest.say({"id": number, "refresh": {"token": one}})
        guest.say(*({"id": number, "refresh": {"token": one}} for number in range(61, 201)))
        answers: list[object] = []
        while len(answers) < 200:
            assert not guest.is_reading or guest.session._waiting is None
            await asyncio.sleep(0)
            answers += [answer["id"] for answer in guest.take()]
        assert answers == list(range(1, 201))
        await until_read(guest)
        assert guest.is_reading
