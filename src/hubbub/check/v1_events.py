"""Checks of the v1 dialect: what the server says by itself, and what it promises."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from hubbub.check.peer import ReceivedEvent, V1Peer
from hubbub.check.target import SUBPROTOCOL, Target
from hubbub.check.v1_requests import expect_fields, expect_texts, is_seq

__all__ = [
    "ack_first",
    "echoes_subprotocol",
    "key_once",
    "lies_about_who",
    "member_joined",
    "member_left",
    "message_event",
    "other_epoch",
    "read_event",
    "resume",
    "same_order",
    "typing_ends",
    "typing_event",
    "welcome",
    "welcome_first",
]

SENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

LIMITS = ("max_frame", "max_message", "max_room_name", "client_rate", "client_burst")

# Messages of each of two senders.
SPOKEN = 10
LEAVE_GRACE_S = 5.0
TYPING_S = 6.0


# The opening


async def echoes_subprotocol(target: Target) -> None:
    async with target.connection(await target.ticket(), SUBPROTOCOL) as connection:
        echoed = connection.subprotocol
        target.trace.expect(echoed == SUBPROTOCOL, f"{SUBPROTOCOL} echoed", f"101 with the subprotocol {echoed}")


async def welcome_first(target: Target) -> None:
    async with target.v1() as peer:
        target.trace.expect(peer.heard[0].type == "welcome", "a welcome before anything else")


async def welcome(target: Target) -> None:
    async with target.v1(target.other) as peer:
        expect_fields(peer, peer.welcome, user=target.other)
        peer.trace.expect(bool(isinstance(peer.welcome.get("session"), str)), "session, a string")
        expect_numbers(peer, "heartbeat", "interval", "timeout")
        expect_numbers(peer, "limits", *LIMITS)
        peer.trace.expect(isinstance(peer.welcome.get("rooms"), list), "rooms, a list")


def expect_numbers(peer: V1Peer, field: str, *names: str) -> None:
    found = peer.welcome.get(field)
    for name in names:
        value = found.get(name) if isinstance(found, dict) else None
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
        peer.trace.expect(is_number, f"{field}.{name}, a number")


# Events


def expect_message(peer: V1Peer, event: ReceivedEvent, room: str, text: str, sender: str) -> None:
    payload = event.payload
    peer.trace.came = event.text
    expect_fields(peer, payload, **{"room": room, "message": text, "from": sender})
    peer.trace.expect(is_seq(payload.get("seq")), "seq, a whole number")
    peer.trace.expect(bool(SENT.fullmatch(str(payload.get("sent")))), "sent in RFC 3339, UTC, with milliseconds")


async def message_event(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, target.other, room=room) as (listener, speaker):
        answer = await speaker.say(room, "hello ☃")
        for peer in (listener, speaker):
            event = await peer.next("new_message")
            expect_message(peer, event, room, "hello ☃", speaker.user)
            expect_fields(peer, event.payload, seq=answer.get("seq"), sent=answer.get("sent"))


async def member_joined(target: Target) -> None:
    target.need_two_users()
    room = target.room()
    async with target.members(target.user, room=room) as (peer,), target.v1(target.other) as first:
        await first.join(room)
        expect_fields(peer, (await peer.next("member_joined")).payload, room=room, user=target.other)
        async with target.v1(target.other) as second:
            await second.join(room)
            await second.say(room, "a second connection")
            await peer.next("new_message")
        again = [event for event in peer.heard if event.type == "member_joined"]
        target.trace.expect(len(again) == 1, "member_joined for the first connection only", again[-1].text)


async def member_left(target: Target) -> None:
    target.need_two_users()
    room = target.room()
    now = asyncio.get_running_loop().time
    async with target.members(target.user, room=room) as (peer,):
        async with target.v1(target.other) as other:
            await other.join(room)
            await other.ack("leave_room", {"room": room})
            await other.join(room)
            await other.ack("leave_room", {"room": room})
            left_at = now()
        async with asyncio.timeout(LEAVE_GRACE_S + 3.0):
            expect_fields(peer, (await peer.next("member_left")).payload, room=room, user=target.other)
        waited = now() - left_at
        target.trace.expect(waited > LEAVE_GRACE_S - 0.5, f"it after {LEAVE_GRACE_S} s", f"it after {waited:.1f} s")


async def typing_event(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, target.other, room=room) as (listener, writer):
        for is_on in (True, False):
            await writer.ack("typing", {"room": room, "on": is_on})
            event = await listener.next("typing")
            expect_fields(listener, event.payload, room=room, user=writer.user, on=is_on)


async def typing_ends(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, target.other, room=room) as (listener, writer):
        await writer.ack("typing", {"room": room, "on": True})
        await listener.next("typing")
        async with asyncio.timeout(TYPING_S + 3.0):
            event = await listener.next("typing")
        expect_fields(listener, event.payload, room=room, user=writer.user, on=False)


async def read_event(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, target.other, room=room) as (listener, reader):
        seq = (await listener.say(room, "read me")).get("seq")
        await reader.ack("mark_read", {"room": room, "seq": seq})
        expect_fields(listener, (await listener.next("read")).payload, room=room, user=reader.user, seq=seq)


# Promises


async def same_order(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, target.other, room=room) as (first, second):
        for number in range(SPOKEN):
            await first.request("send_message", {"room": room, "message": f"first {number}"})
            await second.request("send_message", {"room": room, "message": f"second {number}"})
        target.trace.sent = f"{SPOKEN} messages of each of two members at once"
        heard = [[(await peer.next("new_message")).payload for _ in range(SPOKEN * 2)] for peer in (first, second)]
        expect_consecutive(target, heard[0])
        one, other = ([(each.get("seq"), each.get("message")) for each in payloads] for payloads in heard)
        pairs = [f"{a} to one, {b} to the other" for a, b in zip(one, other, strict=True) if a != b]
        target.trace.expect(not pairs, "the same messages in the same order", *pairs[:1])


def expect_consecutive(target: Target, payloads: list[dict[str, Any]]) -> None:
    seqs = [payload.get("seq") for payload in payloads]
    target.trace.expect(all(is_seq(seq) for seq in seqs), "a seq in each", f"the seqs {seqs}")
    wanted = [int(seqs[0] or 0) + number for number in range(len(seqs))]
    target.trace.expect(seqs == wanted, "seqs that rise by exactly one", f"the seqs {seqs}")


async def key_once(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, target.user, room=room) as (peer, elsewhere):
        first = await peer.say(room, "said once", key="check 1")
        for each in (peer, elsewhere):
            repeat = await each.say(room, "said once", key="check 1")
            expect_fields(each, repeat, seq=first.get("seq"))
        other = await peer.say(room, "said anew", key="check 2")
        peer.trace.expect(other.get("seq") == next_seq(first), f"seq {next_seq(first)}, the repeats adding nothing")
        page = await peer.ack("history", {"room": room})
        expect_texts(peer, page, "said once", "said anew")


def next_seq(payload: dict[str, Any]) -> int:
    seq = payload.get("seq")
    return seq + 1 if isinstance(seq, int) else -1


async def resume(target: Target) -> None:
    room = target.room()
    async with target.members(target.other, room=room) as (speaker,):
        async with target.v1() as peer:
            joined = await peer.join(room)
        said = ["while away 1", "while away 2", "while away 3"]
        last = [await speaker.say(room, text) for text in said][-1]
        since = {"epoch": joined.get("epoch"), "seq": joined.get("seq")}
        async with target.v1() as peer:
            answer = await peer.join(room, since=since)
            expect_fields(peer, answer, epoch=joined.get("epoch"), recovered=True, seq=last.get("seq"))
            expect_texts(peer, answer, *said)
            expect_consecutive(target, [{"seq": joined.get("seq")}, *answer["messages"]])
            await speaker.say(room, "back again")
            live = await peer.next("new_message")
            expect_fields(peer, live.payload, message="back again", seq=next_seq(last))


async def other_epoch(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, room=room) as (peer,), target.v1(target.other) as late:
        await peer.say(room, "the newest page")
        answer = await late.join(room, since={"epoch": "check: no such epoch", "seq": 0})
        expect_fields(late, answer, recovered=False)
        expect_texts(late, answer, "the newest page")


async def ack_first(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, room=room) as (peer,):
        for number in range(3):
            text = f"which comes first {number}"
            await peer.say(room, text)
            early = [event.text for event in peer.heard if event.payload.get("message") == text]
            target.trace.expect(not early, "the ack before it", *early[:1])
            await peer.next("new_message")


async def lies_about_who(target: Target) -> None:
    room, liar = target.room(), "somebody-else"
    async with target.members(target.user, target.other, room=room) as (listener, speaker):
        await speaker.say(room, "who is it", **{"from": liar, "user": liar})
        expect_message(listener, await listener.next("new_message"), room, "who is it", speaker.user)
        await speaker.ack("typing", {"room": room, "on": True, "user": liar, "from": liar})
        expect_fields(listener, (await listener.next("typing")).payload, user=speaker.user)
        answer = await speaker.ack("presence", {"room": room, "members": [liar]})
        expect_fields(speaker, answer, members=sorted({target.user, target.other}))
