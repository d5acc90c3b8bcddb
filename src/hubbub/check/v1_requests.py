"""Checks of the v1 dialect: what is asked for, and how it is answered."""

from __future__ import annotations

import json
import secrets
import unicodedata
from typing import Any

from hubbub.check.outcome import NotOffered
from hubbub.check.peer import V1Peer
from hubbub.check.target import Target, room_of

__all__ = [
    "answers_carry_the_id",
    "bad_envelope",
    "bad_json",
    "bad_payload",
    "change_room",
    "direct_rooms",
    "history_limits",
    "history_pages",
    "join_answer",
    "join_with_history",
    "key_size",
    "leave_room",
    "mark_read",
    "members_only",
    "message_size",
    "no_id_no_ack",
    "not_in_room",
    "presence",
    "rate_limited",
    "room_may_be_left_out",
    "room_names",
    "send_answer",
    "typing_answer",
    "unknown_type",
]

# Messages said to see pages of them.
SOME = 5
MAX_KEY = 128


def is_seq(found: object) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and found >= 0


def expect_fields(peer: V1Peer, payload: dict[str, Any], **fields: object) -> None:
    """These fields have these values."""
    for name, value in fields.items():
        is_right = payload.get(name) == value and type(payload.get(name)) is type(value)
        peer.trace.expect(is_right, f"{name} {value!r}")


def texts(peer: V1Peer, payload: dict[str, Any]) -> list[object]:
    """What the messages of an answer say."""
    messages = payload.get("messages")
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise peer.trace.failed("messages, a list of objects")
    return [each.get("message") for each in messages]


def expect_texts(peer: V1Peer, payload: dict[str, Any], *wanted: str) -> None:
    found = texts(peer, payload)
    peer.trace.expect(
        found == list(wanted), f"the messages {', '.join(wanted) or 'of nobody'}", f"the messages {found}"
    )


async def say_some(peer: V1Peer, room: str) -> list[str]:
    said = [f"message {number}" for number in range(1, SOME + 1)]
    for text in said:
        await peer.say(room, text)
    return said


# Answers


async def answers_carry_the_id(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, room=room) as (peer,):
        for id_ in ("", "a ☃ b", 0, 7, -1, 2**53):
            await peer.request("presence", {"room": room}, id_)
            await peer.request("no_such_type", {}, id_)
            for type_ in ("ack", "error"):
                answer = await peer.answer(id_)
                peer.trace.expect(answer.type == type_, f"one {type_} with the id {id_!r}")


async def no_id_no_ack(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, room=room) as (peer,):
        await peer.request("presence", {"room": room})
        await peer.request("no_such_type", {})
        answer = await peer.answer(None)
        peer.trace.expect(answer.type == "error" and "id" not in answer.keys, "no ack, then an error without id")
        await peer.ack("presence", {"room": room})


async def room_may_be_left_out(target: Target) -> None:
    first = target.room()
    async with target.members(target.user, room=first) as (peer,):
        expect_fields(peer, await peer.ack("send_message", {"message": "here"}), room=first)
        expect_fields(peer, await peer.ack("presence", {}), room=first)
        await peer.join(target.room())
        answer = await peer.ask("send_message", {"message": "where?"})
        peer.trace.expect(answer.type == "error", "an error: in two rooms, which one?")


# Rooms


async def join_answer(target: Target) -> None:
    room = target.room()
    async with target.v1() as peer:
        answer = await peer.join(room)
        expect_fields(peer, answer, room=room, recovered=False, messages=[], members=[peer.user])
        is_right = isinstance(answer.get("epoch"), str) and is_seq(answer.get("seq"))
        peer.trace.expect(is_right, "epoch, a string, and seq, a whole number")


async def join_with_history(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, room=room) as (peer,), target.v1(target.other) as late:
        said = await say_some(peer, room)
        last = await peer.say(room, "the last one")
        answer = await late.join(room, history=3)
        expect_texts(late, answer, *said[-2:], "the last one")
        expect_fields(late, answer, seq=last.get("seq"), recovered=False)
        await late.ack("leave_room", {"room": room})
        expect_texts(late, await late.join(room), *said, "the last one")
        await late.ack("leave_room", {"room": room})
        expect_texts(late, await late.join(room, history=0))


async def leave_room(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, target.other, room=room) as (leaver, stayer):
        expect_fields(leaver, await leaver.ack("leave_room", {"room": room}), room=room)
        await leaver.assert_refused("not_in_room", "send_message", {"room": room, "message": "still here"})
        await stayer.say(room, "said after it left")
        members = (await stayer.ack("presence", {"room": room})).get("members")
        target.trace.expect(isinstance(members, list) and leaver.user in members, f"{leaver.user} among them for 5 s")
        await leaver.quiet()
        came = [event.text for event in leaver.heard if event.payload.get("message") == "said after it left"]
        target.trace.expect(not came, "nothing of a room that was left", *came[:1])


async def change_room(target: Target) -> None:
    first, second, third = target.room(), target.room(), target.room()
    async with target.members(target.user, room=first) as (peer,):
        await peer.join(second)
        answer = await peer.ack("change_room", {"name": third})
        expect_fields(peer, answer, room=third, recovered=False, messages=[], members=[peer.user])
        peer.trace.expect(isinstance(answer.get("epoch"), str) and is_seq(answer.get("seq")), "epoch and seq")
        for left in (first, second):
            await peer.assert_refused("not_in_room", "send_message", {"room": left, "message": "still here"})
        expect_fields(peer, await peer.ack("send_message", {"message": "here"}), room=third)


async def room_names(target: Target) -> None:
    async with target.v1() as peer:
        longest = peer.limit("max_room_name") or 64
        unseen = [f"check{each}room" for each in ("\n", "\u200b", "\u034f", "\u3164", "\ufe0f", "  ")]
        for name in ("", "check/room", *unseen, " check", "check ", "p\u0430ypal", "x" * (longest + 1)):
            answer = await peer.ask("join_room", {"room": name})
            peer.trace.expect(answer.type == "error", "an error: this is no name of a room")
        tail = secrets.token_hex(4)
        name = f"Chéck_ж.-{tail}"
        joined = await peer.join(unicodedata.normalize("NFD", name))
        expect_fields(
            peer, joined, room=unicodedata.normalize("NFC", name).casefold(), title=unicodedata.normalize("NFC", name)
        )
        for same in (name.upper(), name.replace("h", "\uff48")):
            expect_fields(peer, await peer.join(same), room=joined["room"])
            expect_fields(peer, await peer.say(same, "hello"), room=joined["room"])
        longest_name = f"check {tail} ".ljust(longest, "x")[:longest]
        expect_fields(peer, await peer.join(longest_name), room=longest_name)


async def direct_rooms(target: Target) -> None:
    async with target.v1() as peer:
        strangers = sorted(f"check-{secrets.token_hex(4)}" for _ in range(2))
        await peer.assert_refused("forbidden", "join_room", {"room": f"dm:{strangers[0]},{strangers[1]}"})
        if await target.has_accounts_alone(peer):
            nobody = room_of(peer.user, strangers[0])
            await peer.assert_refused("no_such_room", "join_room", {"room": nobody})
        if target.other != target.user:
            own = room_of(peer.user, target.other)
            expect_fields(peer, await peer.join(own), room=own)


async def presence(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, target.other, room=room) as (peer, _):
        answer = await peer.ack("presence", {"room": room})
        expect_fields(peer, answer, room=room, members=sorted({target.user, target.other}))


# Messages


async def send_answer(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, room=room) as (peer,):
        answer = await peer.say(room, "hello ☃")
        expect_fields(peer, answer, room=room)
        peer.trace.expect(is_seq(answer.get("seq")), "seq, a whole number")
        peer.trace.expect(isinstance(answer.get("sent"), str), "sent, a time")


async def history_pages(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, room=room) as (peer,):
        joined = await peer.join(room)
        said = await say_some(peer, room)
        newest = await peer.ack("history", {"room": room, "limit": 2})
        expect_fields(peer, newest, room=room, epoch=joined.get("epoch"), more=True)
        expect_texts(peer, newest, *said[-2:])
        first = newest["messages"][0].get("seq")
        before = await peer.ack("history", {"room": room, "before": first, "limit": 200})
        expect_texts(peer, before, *said[:-2])
        expect_fields(peer, before, more=False)
        start = before["messages"][0].get("seq")
        after = await peer.ack("history", {"room": room, "after": start, "limit": 2})
        expect_texts(peer, after, *said[1:3])
        expect_fields(peer, after, more=True)


async def history_limits(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, room=room) as (peer,):
        for limit in (1, 200):
            await peer.ack("history", {"room": room, "limit": limit})
        for limit in (0, 201):
            await peer.assert_refused("bad_payload", "history", {"room": room, "limit": limit})


async def mark_read(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, room=room) as (peer,):
        first, second = [(await peer.say(room, text)).get("seq") for text in ("one", "two")]
        for seq, furthest in ((first, first), (second, second), (first, second)):
            answer = await peer.ack("mark_read", {"room": room, "seq": seq})
            expect_fields(peer, answer, room=room, seq=furthest)


async def typing_answer(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, room=room) as (peer,):
        for is_on in (True, False):
            answer = await peer.ack("typing", {"room": room, "on": is_on})
            peer.trace.expect(answer == {}, "an ack with the payload {}")


async def message_size(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, room=room) as (peer,):
        longest, frame = peer.limit("max_message"), peer.limit("max_frame") or 1 << 20
        if not longest or longest > frame - 200:
            raise NotOffered("no limit of characters below that of frames")
        await peer.say(room, "x" * longest)
        await peer.assert_refused("too_large", "send_message", {"room": room, "message": "x" * (longest + 1)})
        answer = await peer.ask("send_message", {"room": room, "message": ""})
        peer.trace.expect(answer.type == "error", "an error: a message has 1 character at least")


async def key_size(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, room=room) as (peer,):
        await peer.say(room, "a long key", key="k" * MAX_KEY)
        answer = await peer.ask("send_message", {"room": room, "message": "too long a key", "key": "k" * (MAX_KEY + 1)})
        peer.trace.expect(answer.type == "error", f"an error: a key has {MAX_KEY} characters at most")


# Refusals


async def refuses(target: Target, code: str, *frames: str) -> None:
    """Each of these is answered with this code, and the connection stays up."""
    async with target.v1() as peer:
        for frame in frames:
            await peer.send(frame)
            peer.assert_error(await peer.answer(None), code)
        await peer.assert_refused("unknown_type", "no_such_type", {})


async def bad_json(target: Target) -> None:
    await refuses(target, "bad_json", "", "{", "nonsense", '{"type": "presence",}')


async def bad_envelope(target: Target) -> None:
    await refuses(target, "bad_envelope", "[]", "null", "1", '{"payload": {}}', '{"type": 1, "payload": {}}')
    async with target.v1() as peer:
        await peer.send(json.dumps({"id": 5, "type": None, "payload": {}}))
        peer.assert_error(await peer.answer(5), "bad_envelope")


async def bad_payload(target: Target) -> None:
    async with target.v1() as peer:
        for field, type_, payload in (
            ("room", "join_room", {"room": 1}),
            ("room", "join_room", {}),
            ("message", "send_message", {"room": "x", "message": ["y"]}),
            ("name", "change_room", {"name": None}),
            ("on", "typing", {"room": "x", "on": "yes"}),
        ):
            answer = await peer.assert_refused("bad_payload", type_, payload)
            peer.trace.expect(field in str(answer.payload.get("message")), f"a message that names {field}")


async def unknown_type(target: Target) -> None:
    async with target.v1() as peer:
        await peer.assert_refused("unknown_type", f"check_{secrets.token_hex(4)}", {})


async def not_in_room(target: Target) -> None:
    async with target.v1() as peer:
        room = target.room()
        await peer.assert_refused("not_in_room", "send_message", {"room": room, "message": "let me in"})
        await peer.assert_refused("not_in_room", "leave_room", {"room": room})


async def members_only(target: Target) -> None:
    room = target.room()
    async with target.members(target.other, room=room), target.v1() as peer:
        for type_, more in (("history", {}), ("presence", {}), ("typing", {"on": True}), ("mark_read", {"seq": 0})):
            await peer.assert_refused("not_in_room", type_, {"room": room, **more})


async def rate_limited(target: Target) -> None:
    async with target.v1() as peer:
        burst = peer.limit("client_burst")
        if not peer.limit("client_rate") or not 0 < burst <= 500:
            raise NotOffered("no limit, or one too high to try")
        room = target.room()
        await peer.join(room)
        requests = range(burst + 50)
        for number in requests:
            await peer.request("presence", {"room": room}, number)
        answers = [await peer.answer(number) for number in requests]
        refused = [answer for answer in answers if answer.type == "error"]
        peer.trace.sent = f"{len(requests)} requests at once, client_burst being {burst}"
        peer.trace.expect(bool(refused), "rate_limited for some", "an ack for each")
        peer.assert_error(refused[0], "rate_limited")
        is_right = isinstance(refused[0].payload.get("retry_after"), (int, float))
        peer.trace.expect(is_right, "retry_after in seconds", refused[0].text)
