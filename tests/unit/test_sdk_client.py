"""The client against a server that drops, delays, repeats, refuses and lies; on a clock that goes by itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.errors import (
    AuthError,
    ConnectionClosed,
    Flooding,
    Kicked,
    ProtocolError,
    Rejected,
    SessionEnded,
    Unanswered,
    Unreachable,
)
from hubbub.sdk.client import Connection
from hubbub.sdk.messages import Gap, Heard, MemberJoined, Members, Message, Offline, Online, RoomLost, Signal, Typing
from hubbub.sdk.session import HttpRefused
from hubbub.sdk.transport import TransportClosed
from sdk_stage import FakeServer, client, mangling, refusal, run

Frame = dict[str, Any]


def now() -> float:
    return asyncio.get_running_loop().time()


async def take(chat: Connection, count: int) -> list[int]:
    """The seqs of the next messages."""
    return [(await anext(chat)).seq for _ in range(count)]


async def next_kept(chat: Connection) -> Message | Gap:
    """The next message, or the gap before it."""
    async for item in chat.events():
        if isinstance(item, Message | Gap):
            return item
    raise AssertionError("the conversation has ended")


async def settle() -> None:
    """Let everything happen that can happen at once."""
    for _ in range(200):
        await asyncio.sleep(0)


# Talking


def test_a_message_is_acked_and_comes_back_once() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            joined = await chat.join("general")
            assert (joined.seq, joined.members, joined.messages) == (0, ["alice", "percy"], [])
            receipt = await chat.send("general", "hi")
            message = await anext(chat)
            assert (receipt.room, receipt.seq, receipt.sent) == (message.room, message.seq, message.sent)
            assert (message.sender, message.text, message.type) == ("percy", "hi", "new_message")
            assert message.sent.isoformat() == "2026-01-02T03:04:05.678000+00:00"
            assert chat.rooms == ["general"]
            assert (chat.user, chat.is_online) == ("percy", True)

    run(story())


def test_events_of_ones_own_come_in_the_same_order_and_unkept_ones_to_callbacks() -> None:
    async def story() -> None:
        server, heard = FakeServer(), list[object]()
        async with client(server) as chat:
            for kind in (Typing, "cursor", "member_joined"):
                chat.on(kind, heard.append)
            await chat.join("lunch")
            assert await chat.request("vote", {"option": 1}) == {"did": {"option": 1}}
            server.push("typing", {"room": "lunch", "user": "alice", "on": True})
            server.push("cursor", {"x": 1})
            server.push("member_joined", {"room": "lunch", "user": "bob"})
            tally = {"room": "lunch", "seq": 1, "sent": "2026-01-02T03:04:05.678Z", "counts": {"1": 1}}
            server.log["lunch"] = [tally]
            server.push("tally", tally)
            message = await anext(chat)
            assert (message.type, message.text, message.sender) == ("tally", "", None)
            assert message.payload == {"counts": {"1": 1}}
            assert heard == [
                Typing("lunch", "alice", on=True),
                Signal("cursor", {"x": 1}),
                MemberJoined("lunch", "bob"),
            ]

    run(story())


def test_a_callback_is_a_plain_function_and_one_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async def coroutine(_event: object) -> None: ...

        def broken(_event: object) -> None:
            raise ValueError("broken")

        server = FakeServer()
        async with client(server) as chat:
            with pytest.raises(TypeError, match="plain function"):
                chat.on(Typing, coroutine)
            chat.on(Typing, broken)
            await chat.join("general")
            server.push("typing", {"room": "general", "user": "alice", "on": True})
            server.say("general", "still here")
            assert await take(chat, 1) == [1]

    run(story())
    assert "a callback failed" in caplog.text


def test_what_cannot_be_read_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            server.push("new_message", {"room": "general", "seq": "first"})
            server.push("typing", {})
            server.push("error", {"code": "bad_json", "message": "eh?"})
            server.push("ack", {})
            with mangling(server, lambda frame: [{**frame, "type": 7}]):
                server.push("odd", {})
            server.say("general", "hi")
            assert await take(chat, 1) == [1]
            with mangling(server, lambda frame: [{**frame, "payload": {"room": 3}}] if "id" in frame else [frame]):
                with pytest.raises(ProtocolError, match="Receipt"):
                    await chat.send("general", "hi")
                with pytest.raises(ProtocolError, match="RawPage"):
                    await chat.join("other")

    run(story())
    assert caplog.text.count("the server sent") == 3


def test_leaving_joining_twice_and_looking_around() -> None:
    async def story() -> None:
        server = FakeServer()
        for number in range(10):
            server.say("general", str(number))
        async with client(server) as chat:
            assert [each.seq for each in (await chat.join("general", history=3)).messages] == [8, 9, 10]
            again = await chat.join("general", history=2)
            assert ([each.seq for each in again.messages], again.seq) == ([9, 10], 10)
            assert (await chat.join("general", history=0)).seq == 10
            assert len(server.asked("join_room")) == 1
            page = await chat.history("general", before=4, limit=2)
            assert ([each.seq for each in page.messages], page.more) == ([2, 3], True)
            assert await chat.presence("general") == ["alice", "percy"]
            await chat.mark_read("general", 10)
            chat.typing("general", True)
            await chat.leave("general")
            assert server.asked("typing") == [{"room": "general", "on": True}]
            assert chat.rooms == []
            server.refusals["leave_room"] = [refusal("not_in_room")]
            await chat.leave("general")

    run(story())


def test_two_joins_at_once_hear_everything_once() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await asyncio.gather(chat.join("general"), chat.join("general"))
            server.say("general", "a")
            server.say("general", "b")
            assert await take(chat, 2) == [1, 2]

    run(story())


def test_a_join_tells_how_far_was_read_and_how_many_are_there() -> None:
    async def story() -> None:
        server = FakeServer()
        server.count = 25_000
        server.marks["general"] = 2
        for number in range(9):
            server.say("general", str(number))
        async with client(server) as chat:
            joined = await chat.join("general")
            assert (joined.read, joined.count, joined.members) == (2, 25_000, ["alice", "percy"])
            await chat.mark_read("general", 5)
            await chat.mark_read("general", 4)
            assert (await chat.join("general")).read == 5
            server.push("read", {"room": "general", "user": "alice", "seq": 9})
            server.push("read", {"room": "general", "user": "percy", "seq": 7})
            again = await chat.join("general")
            assert (again.read, again.count) == (7, 25_000)
            members = list[Members]()
            chat.on(Members, members.append)
            server.drop()
            await asyncio.sleep(1)
            assert members == [Members("general", ["alice", "percy"], 25_000)]
            assert await chat.presence("general") == ["alice", "percy"]

    run(story())


def test_an_old_server_says_neither() -> None:
    async def story() -> None:
        server = FakeServer()
        server.is_old = True
        async with client(server) as chat:
            for _ in range(2):
                joined = await chat.join("general")
                assert (joined.read, joined.count) == (0, 2)

    run(story())


# Lost connections


def test_a_log_that_goes_on_under_another_epoch_loses_nothing() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            server.say("general", "before")
            server.epoch = "two"
            server.push("epoch", {"room": "general", "epoch": "two", "seq": 1})
            server.push("epoch", {"room": "elsewhere", "epoch": "two", "seq": 1})
            server.say("general", "lost on the line", heard=False)
            server.say("general", "after")
            assert await take(chat, 3) == [1, 2, 3]
            server.drop()
            server.say("general", "while away")
            message = await next_kept(chat)
            assert isinstance(message, Message)
            assert message.seq == 4
            assert server.asked("join_room")[-1]["since"] == {"epoch": "two", "seq": 3}
            assert len(server.openings) == 2

    run(story())


def test_a_page_that_was_on_its_way_when_the_epoch_changed_is_taken() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            news = {"type": "epoch", "payload": {"room": "general", "epoch": "two", "seq": 2}}
            with mangling(server, lambda frame: [news, frame] if "more" in frame["payload"] else [frame]):
                server.say("general", "lost on the line", heard=False)
                server.say("general", "heard")
                assert await take(chat, 2) == [1, 2]
            assert len(server.openings) == 1

    run(story())


def test_a_log_that_goes_on_without_what_was_shown_is_asked_where_it_stands() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            for text in ("kept", "lost"):
                server.say("general", text)
            assert await take(chat, 2) == [1, 2]
            server.start_anew("two")
            server.say("general", "kept", heard=False)
            server.push("epoch", {"room": "general", "epoch": "two", "seq": 1})
            assert await next_kept(chat) == Gap("general", 1, 0, is_new_log=True)
            assert server.asked("join_room")[-1]["since"] == {"epoch": "one", "seq": 2}

    run(story())


def test_what_was_unanswered_is_sent_again_with_its_key_in_order_and_kept_once() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            server.deaf_to = {"send_message"}
            sends = [asyncio.create_task(chat.send("general", str(number))) for number in range(20)]
            await settle()
            assert len(server.log["general"]) == 20
            server.deaf_to = set()
            server.drop()
            receipts = await asyncio.gather(*sends)
            assert [receipt.seq for receipt in receipts] == list(range(1, 21))
            keys = [payload["key"] for payload in server.asked("send_message")]
            assert keys == [*keys[:20], *keys[:20]]
            assert len(set(keys)) == 20
            assert await take(chat, 20) == list(range(1, 21))

    run(story())


def test_what_is_said_while_away_is_shown_once_from_the_first_join_on() -> None:
    async def story() -> None:
        server = FakeServer()
        server.say("general", "before the join")
        async with client(server) as chat:
            await chat.join("general")
            for _ in range(3):
                server.drop()
                server.say("general", "while away")
                server.say("general", "while away")
                await settle()
                await asyncio.sleep(1)
                server.say("general", "live")
            assert await take(chat, 9) == list(range(2, 11))
            assert [each["since"]["seq"] for each in server.asked("join_room")[1:]] == [1, 4, 7]

    run(story())


def test_rooms_are_back_before_anything_is_said_in_them() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            for room in ("a", "b"):
                await chat.join(room)
            server.drop()
            await settle()
            sending = asyncio.create_task(chat.send("b", "hi"))
            server.requests.clear()
            await sending
            assert [request["type"] for request in server.requests] == ["join_room", "join_room", "send_message"]

    run(story())


def test_a_refused_resumption_is_told_in_its_place() -> None:
    async def story() -> None:
        server, gaps = FakeServer(), list[Gap]()
        async with client(server) as chat:
            chat.on("gap", gaps.append)
            await chat.join("general")
            server.say("general", "seen")
            await settle()
            server.drop()
            for _ in range(9):
                server.say("general", "missed")
            server.trimmed["general"] = 8
            await asyncio.sleep(1)
            server.start_anew("two")
            server.say("general", "in a new log", heard=False)
            server.drop()
            await asyncio.sleep(1)
            server.say("general", "live")
            heard = [item async for item in some(chat, 6) if isinstance(item, Message | Gap)]
            assert [item.seq if isinstance(item, Message) else item for item in heard] == [
                *(1, Gap("general", 2, 8), 9, 10),
                *(Gap("general", 1, 0, is_new_log=True), 1),
            ]
            assert gaps == [item for item in heard if isinstance(item, Gap)]
            assert await take(chat, 1) == [2]

    run(story())


async def some(chat: Connection, count: int) -> Any:
    async for item in chat.events():
        yield item
        count -= 1
        if not count:
            return


def test_a_hole_is_filled_from_history_before_later_messages_are_shown() -> None:
    async def story() -> None:
        server = FakeServer()
        server.page = 2
        async with client(server) as chat:
            await chat.join("general")
            for _ in range(5):
                server.say("general", "the line lost this", heard=False)
            server.say("general", "heard")
            assert await take(chat, 6) == [1, 2, 3, 4, 5, 6]
            assert [each["after"] for each in server.asked("history")] == [0, 2, 4]

    run(story())


@pytest.mark.parametrize("code", ["unknown_type", "internal", "forbidden"])
def test_what_cannot_be_fetched_is_a_gap(code: str) -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            server.refusals["history"] = [refusal(code)]
            server.say("general", "lost", heard=False)
            server.say("general", "heard")
            assert await anext(some(chat, 2)) == Gap("general", 1, 1)

    run(story())


def test_a_log_that_changes_under_a_live_room_is_noticed_when_a_hole_is_filled() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            server.start_anew("two")
            server.say("general", "lost", heard=False)
            server.say("general", "heard")
            items = [item async for item in some(chat, 6) if isinstance(item, Message | Gap)]
            assert items[0] == Gap("general", 1, 0, is_new_log=True)
            assert [item.seq for item in items[1:] if isinstance(item, Message)] == [1, 2]

    run(story())


def test_frames_that_are_lost_repeated_and_out_of_order_do_not_show() -> None:
    async def story() -> None:
        server, late = FakeServer(), list[Frame]()

        def mangle(frame: Frame) -> list[Frame]:
            seq = frame["payload"].get("seq", 0) if frame["type"] == "new_message" else 0
            if seq and seq % 7 == 0:
                return []
            if seq and seq % 5 == 0:
                late.append(frame)
                return []
            come, late[:] = [frame, *late, *([frame] if seq % 3 == 0 else [])], []
            return come

        async with client(server, max_incoming=50) as chat:
            await chat.join("general")
            with mangling(server, mangle):
                for number in range(500):
                    server.say("general", str(number))
                    if number % 60 == 59:
                        server.drop(4000)
                        await asyncio.sleep(1)
                server.say("general", "the last")
                server.say("general", "the very last")
                assert await take(chat, 500) == list(range(1, 501))

    run(story())


@pytest.mark.parametrize("code", [1001, 1005, 1006, 1011, 1012, 1013, 1014, 4000, 4001, 4099])
def test_these_closes_mean_come_back(code: int) -> None:
    async def story() -> None:
        server, states = FakeServer(), list[object]()
        chat = client(server)
        chat.on(Offline, states.append)
        chat.on(Online, states.append)
        async with chat:
            await chat.join("general")
            server.drop(code, "because")
            await asyncio.sleep(1)
            server.say("general", "hi")
            assert await take(chat, 1) == [1]
            assert states == [Online("percy"), Offline(code, "because"), Online("percy")]

    run(story())


@pytest.mark.parametrize(
    ("code", "error"),
    [(4100, SessionEnded), (4101, Kicked), (4102, Flooding), (4150, ConnectionClosed), (1002, ConnectionClosed)],
)
def test_these_closes_mean_stay_away(code: int, error: type[ConnectionClosed]) -> None:
    async def story() -> None:
        server = FakeServer()
        server.deaf_to = {"send_message"}
        async with client(server) as chat:
            await chat.join("general")
            sending = asyncio.create_task(chat.send("general", "hi"))
            await settle()
            server.drop(code, "because")
            with pytest.raises(error) as in_sending:
                await sending
            assert (in_sending.value.code, in_sending.value.reason, type(in_sending.value)) == (code, "because", error)
            assert await take(chat, 1) == [1], "what was heard before is not lost"
            with pytest.raises(error):
                await anext(chat)
            with pytest.raises(error):
                await chat.send("general", "hi")
            with pytest.raises(error):
                chat.typing("general", True)
            await asyncio.sleep(600)
            assert len(server.openings) == 1
            assert not chat.is_online

    run(story())


def test_pauses_grow_with_each_try_and_wait_for_what_the_server_wants() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            await asyncio.sleep(10)
            dropped_at = now()
            server.doors += [OSError("nobody"), HttpRefused(503, "full", 5.0), ProtocolError("a page of a proxy's")]
            server.doors += [TransportClosed(1006, "")] * 4
            server.drop()
            await chat.send("general", "hi")
            pauses = [
                later - earlier
                for earlier, later in zip([dropped_at, *server.openings[1:]], server.openings[1:], strict=False)
            ]
            assert pauses == pytest.approx([0.25, 0.5, 6, 2, 4, 8, 10, 10])

    run(story())


def test_a_server_that_accepts_and_drops_is_not_hammered() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server):
            for _ in range(10):
                await settle()
                server.drop()
                await asyncio.sleep(10.1)
            # Each connection lasted until the next drop, longer or shorter than what counts as lasting.
            assert len(server.openings) == 11
        short = FakeServer()
        async with client(short):
            begun = now()
            while now() < begun + 120:
                short.drop()
                await asyncio.sleep(0.01)
            assert len(short.openings) < 20

    run(story())


def test_a_server_that_goes_away_is_left_after_a_pause_and_with_nothing_in_doubt() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            asked_at = now()
            server.push("reconnect", {"within": 30_000, "reason": "restart"})
            await asyncio.sleep(14)
            assert len(server.openings) == 1, "until then the old connection is good"
            await chat.send("general", "hi")
            server.deaf_to = {"vote"}
            vote = asyncio.create_task(chat.request("vote"))
            await asyncio.sleep(1.5)
            assert len(server.openings) == 1, "an answer is still to come"
            late = asyncio.create_task(chat.request("late"))
            await settle()
            server.connections[0].push("ack", {"yes": 1}, server.requests[-1]["id"])
            assert await vote == {"yes": 1}
            await settle()
            assert server.openings[1:] == [pytest.approx(asked_at + 15.5, abs=0.1)]
            assert await late == {"did": {}}

    run(story())


def test_one_that_is_closed_before_it_has_moved_comes_back_at_its_moment_and_not_before() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            asked_at = now()
            server.push("reconnect", {"within": 30_000, "reason": "restart"})
            await asyncio.sleep(2)
            server.drop(1012)
            await chat.send("general", "hi")
            assert server.openings[1:] == [pytest.approx(asked_at + 15.25, abs=0.1)]
            server.drop(1012)
            await chat.send("general", "hi again")
            assert server.openings[2] - server.openings[1] < 1, "that was for once"

    run(story())


def test_a_dead_line_is_noticed_by_its_silence_and_pings_count_as_life() -> None:
    async def story() -> None:
        server = FakeServer()
        server.heartbeat = {"interval": 9, "timeout": 10}
        async with client(server) as chat:
            await chat.join("general")
            for _ in range(10):
                await asyncio.sleep(15)
                server.connections[0].heard_at = now()
            server.is_silent = True
            silent_at = now()
            server.say("general", "into a dead line")
            assert await take(chat, 1) == [1]
            assert server.openings[1] == pytest.approx(silent_at + 19.25)

    run(story())


def test_a_request_that_might_be_done_twice_is_not_repeated() -> None:
    async def story() -> None:
        server = FakeServer()
        server.deaf_to = {"vote"}
        async with client(server) as chat:
            vote = asyncio.create_task(chat.request("vote"))
            await settle()
            server.drop()
            with pytest.raises(Unanswered):
                await vote
            server.deaf_to = set()
            assert await chat.request("vote") == {"did": {}}, "one that was not written yet waits for a connection"
            assert len(server.asked("vote")) == 2

    run(story())


def test_a_message_is_in_doubt_when_the_server_has_forgotten_its_key() -> None:
    async def story() -> None:
        server = FakeServer()
        server.deaf_to = {"send_message"}
        async with client(server) as chat:
            await chat.join("general")
            sending = asyncio.create_task(chat.send("general", "hi"))
            await settle()
            server.doors += [OSError("nobody")] * 50
            server.drop()
            with pytest.raises(Unanswered):
                await sending
            assert len(server.asked("send_message")) == 1

    run(story())


def test_a_room_that_is_not_given_back_is_told() -> None:
    async def story() -> None:
        server, lost = FakeServer(), list[RoomLost]()
        async with client(server) as chat:
            chat.on(RoomLost, lost.append)
            for room in ("private", "general"):
                await chat.join(room)
            server.refusals["join_room"] = [refusal("forbidden")]
            server.drop()
            await chat.send("general", "hi")
            assert [(each.room, each.code) for each in lost] == [("private", "forbidden")]
            assert chat.rooms == ["general"]

    run(story())


def test_a_room_that_the_server_takes_this_client_out_of_is_told_and_not_asked_for_again() -> None:
    async def story() -> None:
        server, lost = FakeServer(), list[RoomLost]()
        async with client(server) as chat:
            chat.on(RoomLost, lost.append)
            for room in ("private", "general"):
                await chat.join(room)
            for room in ("private", "elsewhere"):
                server.push("removed", {"room": room, "code": "forbidden", "message": "closed"})
            await chat.send("general", "hi")
            assert lost == [RoomLost("private", "forbidden", "closed")]
            assert chat.rooms == ["general"]
            server.drop()
            await chat.send("general", "hi")
            assert [each["room"] for each in server.asked("join_room")] == ["private", "general", "general"]

    run(story())


def test_a_room_that_the_server_cannot_give_back_yet_is_asked_for_again() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            server.refusals["join_room"] = [refusal("unavailable", 20)] * 10
            server.drop()
            assert (await chat.send("general", "hi")).seq == 1
            assert await take(chat, 1) == [1]

    run(story())


# Refusals


def test_what_is_refused_for_now_is_sent_again_with_the_same_key() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            server.refusals["send_message"] = [refusal("rate_limited", 2.5), refusal("unavailable")]
            began = now()
            assert (await chat.send("general", "hi")).seq == 1
            assert 2.5 < now() - began < 10
            keys = [payload["key"] for payload in server.asked("send_message")]
            assert (len(keys), len(set(keys))) == (3, 1)

    run(story())


def test_a_key_that_is_given_is_sent_as_it_is() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            server.refusals["send_message"] = [refusal("bad_payload")]
            with pytest.raises(Rejected):
                await chat.send("general", "hi", key="")
            await chat.send("general", "hi", key="mine")
            assert [payload["key"] for payload in server.asked("send_message")] == ["", "mine"]

    run(story())


def test_after_the_deadline_and_for_other_reasons_a_refusal_is_raised() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server, retry_s=10) as chat:
            server.refusals["send_message"] = [refusal("rate_limited", 3)] * 10
            began = now()
            with pytest.raises(Rejected) as late:
                await chat.send("general", "hi")
            assert now() - began <= 10
            assert (late.value.code, late.value.message, late.value.retry_after) == (
                *("rate_limited", "because rate_limited"),
                3,
            )
            server.refusals["send_message"] = [refusal("not_in_room")]
            with pytest.raises(Rejected, match="not_in_room: because not_in_room"):
                await chat.send("general", "hi")
            server.refusals["join_room"] = [refusal("forbidden")]
            with pytest.raises(Rejected):
                await chat.join("private")
            assert chat._conversation.rooms == {}, "nothing is held for a room that was not entered"

    run(story())


def test_a_request_that_would_cost_the_connection_is_refused_here() -> None:
    async def story() -> None:
        server = FakeServer()
        server.limits = {"max_frame": 1000}
        async with client(server) as chat:
            await chat.join("general")
            with pytest.raises(Rejected, match="too_large: a request has at most 1000 bytes"):
                await chat.send("general", "é" * 600)
            assert server.asked("send_message") == []

    run(story())


def test_the_client_keeps_to_the_rate_of_the_server() -> None:
    async def story() -> None:
        server = FakeServer()
        server.limits = {"client_rate": 10.0, "client_burst": 20.0}
        async with client(server) as chat:
            await chat.join("general")
            began = now()
            await asyncio.gather(*(chat.send("general", str(number)) for number in range(104)))
            assert 9 < now() - began < 11
            assert [each["message"] for each in server.log["general"]] == [str(number) for number in range(104)]

    run(story())


# Bounds


def test_an_application_that_takes_nothing_costs_no_memory_and_still_sends() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server, max_incoming=100) as chat:
            await chat.join("general")
            for number in range(3000):
                server.say("general", str(number))
                if number % 100 == 0:
                    await settle()
            assert (await chat.send("general", "not blocked")).seq == 3001
            assert len(chat._inbox) == 100
            assert await take(chat, 3001) == list(range(1, 3002))
            server.say("general", "live again")
            assert await take(chat, 1) == [3002]

    run(story())


def test_a_bot_that_answers_everything_does_not_wait_for_itself() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server, max_incoming=1) as chat:
            await chat.join("general")
            for number in range(50):
                server.say("general", str(number))
            answered = 0
            async for message in chat:
                if message.sender != "percy":
                    await chat.send("general", f"echo {message.text}")
                    answered += 1
                elif answered == 50:
                    break

    run(story())


def test_one_room_that_floods_does_not_keep_another_from_being_fetched() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server, max_incoming=10) as chat:
            for room in ("loud", "quiet"):
                await chat.join(room)
            for _ in range(500):
                server.say("loud", "!")
            await settle()
            server.say("quiet", "hello?")
            await settle()
            seen = [(await anext(chat)).room for _ in range(60)]
            assert "quiet" in seen

    run(story())


def test_unkept_events_have_no_place_in_a_full_queue() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server, max_incoming=5) as chat:
            await chat.join("general")
            events = chat.events()
            server.say("general", "first")
            assert isinstance(await anext(events), Message)
            for _ in range(20):
                server.push("typing", {"room": "general", "user": "alice", "on": True})
            server.say("general", "second")
            await settle()
            heard: list[Heard] = []
            async for item in events:
                heard.append(item)
                if isinstance(item, Message):
                    break
            assert len(heard) == 6

    run(story())


def test_only_so_many_requests_are_without_an_answer() -> None:
    async def story() -> None:
        server = FakeServer()
        server.deaf_to = {"send_message"}
        async with client(server, max_unacked=5) as chat:
            await chat.join("general")
            sends = [asyncio.create_task(chat.send("general", str(number))) for number in range(12)]
            await settle()
            assert len(server.asked("send_message")) == 5
            server.deaf_to = set()
            server.drop()
            assert [receipt.seq for receipt in await asyncio.gather(*sends)] == list(range(1, 13))

    run(story())


# Beginning and end


def test_a_wrong_password_is_an_error_at_once() -> None:
    async def story() -> None:
        server = FakeServer()
        server.doors.append(AuthError("wrong name or password"))
        began = now()
        with pytest.raises(AuthError, match="wrong name or password"):
            async with client(server):
                pass
        assert now() == began

    run(story())


@pytest.mark.parametrize(
    ("door", "error"),
    [
        (HttpRefused(404, "no such page"), ProtocolError),
        (HttpRefused(403, "you are banned"), Rejected),
        (ProtocolError("not HTTP"), ProtocolError),
    ],
)
def test_what_will_not_get_better_is_an_error_at_once(door: Exception, error: type[Exception]) -> None:
    async def story() -> None:
        server = FakeServer()
        server.doors.append(door)
        with pytest.raises(error):
            async with client(server):
                pass
        assert len(server.openings) == 1

    run(story())


def test_the_first_connection_is_tried_for_a_while() -> None:
    async def story() -> None:
        server = FakeServer()
        server.doors += [OSError("nobody"), HttpRefused(401, "too late"), HttpRefused(503, "full", 2.0)]
        async with client(server) as chat:
            assert chat.is_online
        server = FakeServer()
        server.doors += [OSError("nobody")] * 100
        began = now()
        with pytest.raises(Unreachable, match="no server answered at https://fake: nobody"):
            async with client(server, open_timeout_s=3):
                pass
        assert now() - began == pytest.approx(3)

    run(story())


def test_what_does_not_begin_with_a_welcome_is_no_server() -> None:
    async def story() -> None:
        server = FakeServer()
        with (
            mangling(server, lambda frame: [{**frame, "type": "hello"}]),
            pytest.raises(ProtocolError, match="'hello', not with a welcome"),
        ):
            async with client(server):
                pass
        assert not server.connections

    run(story())


@pytest.mark.parametrize("door", [AuthError("the password was changed"), HttpRefused(403, "you are banned")])
def test_a_client_that_is_not_let_in_again_says_so(door: Exception) -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            server.doors.append(door)
            server.drop()
            with pytest.raises((AuthError, Rejected)):
                await anext(chat)
            with pytest.raises((AuthError, Rejected)):
                await chat.send("general", "hi")

    run(story())


def test_in_the_end_iterators_end_requests_are_told_and_the_login_is_ended() -> None:
    async def story() -> None:
        server = FakeServer()
        server.deaf_to = {"send_message"}
        async with client(server) as chat:
            await chat.join("general")

            async def listen() -> list[int]:
                return [message.seq async for message in chat]

            listening = asyncio.create_task(listen())
            sending = asyncio.create_task(chat.send("general", "hi"))
            await settle()
        assert await listening == [1]
        with pytest.raises(ConnectionClosed, match="closed by this program"):
            await sending
        with pytest.raises(ConnectionClosed):
            await chat.send("general", "hi")
        assert not server.connections
        assert server.has_left
        await chat.close()
        with pytest.raises(RuntimeError, match="opened once"):
            async with chat:
                pass

    run(story())


def test_a_client_can_be_closed_at_any_moment() -> None:
    async def story() -> None:
        for steps in range(40):
            server = FakeServer()
            server.doors += [OSError("nobody")] * (steps % 3)
            async with client(server) as chat:
                joining = asyncio.create_task(chat.join("general"))
                for step in range(steps):
                    if step == 10:
                        server.drop()
                    await asyncio.sleep(0 if step % 4 else 0.3)
            assert not server.connections
            with pytest.raises(ConnectionClosed):
                await joining
                raise ConnectionClosed(1000)

    run(story())


def test_cancelling_the_block_leaves_nothing_behind() -> None:
    async def story() -> None:
        server = FakeServer()

        async def talk() -> None:
            async with client(server) as chat:
                await chat.join("general")
                async for _ in chat:
                    pass

        talking = asyncio.create_task(talk())
        await settle()
        talking.cancel()
        await asyncio.wait([talking])
        assert talking.cancelled()
        assert not server.connections

    run(story())


def test_a_send_that_is_cancelled_is_not_sent_later() -> None:
    async def story() -> None:
        server = FakeServer()
        async with client(server) as chat:
            await chat.join("general")
            server.drop()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await chat.send("general", "never mind")
            await chat.send("general", "hi")
            assert [each["message"] for each in server.log["general"]] == ["hi"]

    run(story())


def test_before_it_is_open_nothing_can_be_asked() -> None:
    async def story() -> None:
        with pytest.raises(ConnectionClosed, match="async with"):
            await client(FakeServer()).send("general", "hi")

    run(story())


def test_one_that_was_closed_before_it_was_open_is_over() -> None:
    async def story() -> None:
        server = FakeServer()
        chat = client(server)
        await chat.close()
        with pytest.raises(ConnectionClosed, match="closed by this program"):
            await chat.send("general", "hi")
        with pytest.raises(RuntimeError, match="opened once"):
            async with chat:
                pass
        assert server.openings == []

    run(story())


def test_one_that_could_not_be_opened_can_be_tried_again() -> None:
    async def story() -> None:
        server = FakeServer()
        server.doors.append(AuthError("wrong name or password"))
        chat = client(server)
        with pytest.raises(AuthError):
            async with chat:
                pass
        with pytest.raises(ConnectionClosed, match="async with"):
            await chat.send("general", "hi")
        async with chat:
            await chat.join("general")

    run(story())
