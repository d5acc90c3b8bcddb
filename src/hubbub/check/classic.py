"""Checks of the classic dialect: what the pages of the two earlier servers rely on."""

from __future__ import annotations

import json
import re
import secrets
from datetime import datetime

from hubbub.check.outcome import NotOffered
from hubbub.check.target import Target

__all__ = [
    "binary_is_survived",
    "from_is_the_server_s",
    "named_hears_no_echo",
    "new_message",
    "nonsense_is_survived",
    "nothing_of_v1",
    "one_message",
    "other_rooms_are_quiet",
    "own_copy",
    "starts_in_general",
    "unknown_types_are_survived",
]

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

NONSENSE = ("", "{", "[]", "null", "\x00", '"send_message"', '{"payload": {}}', '{"type": 1, "payload": {}}')
BAD_PAYLOADS = ("null", "[]", "{}", '{"message": 1}')


async def new_message(target: Target) -> None:
    room = target.room()
    async with target.pages(target.user, target.other, room=room) as (listener, speaker):
        await speaker.say("hello ☃")
        event = await listener.hears("hello ☃")
        target.trace.expect(set(event.keys) == {"type", "payload"}, "type and payload, nothing else")
        is_right = set(event.payload) == {"message", "from", "sent"}
        target.trace.expect(is_right, "a payload of message, from and sent, nothing else")
        sent = event.payload["sent"]
        target.trace.expect(isinstance(sent, str) and is_time(sent), "sent in RFC 3339")


def is_time(text: str) -> bool:
    if not RFC3339.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


async def from_is_the_server_s(target: Target) -> None:
    async with target.pages(target.user, target.other, room=target.room()) as (listener, speaker):
        await speaker.say("who is it", by="somebody else")
        event = await listener.hears("who is it")
        target.trace.expect(event.payload.get("from") == speaker.user, f"from {speaker.user}, who has logged in")


async def own_copy(target: Target) -> None:
    async with target.pages(target.user, room=target.room()) as (page,):
        await page.say("hello myself")
        if not target.echoes and not target.has_v1:
            raise NotOffered("this server leaves a user's own messages to the page, as the Node server does")
        await page.hears("hello myself")


async def named_hears_no_echo(target: Target) -> None:
    room = target.room()
    async with target.pages(target.user, room=room) as (plain,), target.classic(query="name=somebody") as named:
        await named.enter(room)
        await named.say("from a page with a name")
        if target.echoes:
            await plain.hears("from a page with a name")
        said = target.trace.sent
        await named.quiet()
        target.trace.sent = f"name= in the URL, then {said}"
        hears = [event for event in named.heard if event.payload.get("message") == "from a page with a name"]
        if hears and not target.has_v1:
            raise NotOffered("this server sends every page its own messages, as the Go server does")
        target.trace.expect(not hears, "no copy of its own message")


async def starts_in_general(target: Target) -> None:
    async with target.classic(target.user) as newcomer, target.pages(target.other, room="general") as (speaker,):
        text = f"hubbub check {secrets.token_hex(4)}"
        if not target.echoes:
            target.need_two_users()
        await speaker.say(text)
        await newcomer.hears(text)


async def other_rooms_are_quiet(target: Target) -> None:
    here, there = target.room(), target.room()
    async with target.pages(target.user, target.other, room=here) as (listener, speaker):
        await speaker.enter(there)
        await speaker.say("said elsewhere")
        await speaker.enter(here)
        await speaker.say("said here")
        await listener.hears("said here")
        listener.assert_only_messages("said elsewhere")
        await listener.enter(there)
        await listener.assert_up()
        if not listener.echoes:
            await listener.quiet()  # a pong may overtake the change of the room
        await speaker.say("said where it was")
        await speaker.enter(there)
        await speaker.say("said where it is")
        await listener.hears("said where it is")
        listener.assert_only_messages("said where it was")


async def survives(target: Target, *frames: str | bytes) -> None:
    """A page sends these, stays connected and hears nothing of it."""
    async with target.pages(target.user, room=target.room()) as (page,):
        for frame in frames:
            await page.send(frame)
            await page.assert_up()
            page.assert_only_messages()
        if not page.echoes:
            await page.quiet()
            page.assert_only_messages()


async def nonsense_is_survived(target: Target) -> None:
    bad = (f'{{"type": "send_message", "payload": {payload}}}' for payload in BAD_PAYLOADS)
    await survives(target, *NONSENSE, *bad)


async def unknown_types_are_survived(target: Target) -> None:
    types = ("no_such_type", "join_room", "presence", "new_message", "ack")
    await survives(target, *(json.dumps({"type": each, "id": "c1", "payload": {"room": "x"}}) for each in types))


async def binary_is_survived(target: Target) -> None:
    await survives(target, b"\x00\xff")


async def one_message(target: Target) -> None:
    """Both dialects share rooms."""
    room = target.room()
    async with target.pages(target.user, room=room) as (page,), target.v1(target.other) as peer:
        await peer.join(room)
        await peer.say(room, "from v1")
        event = await page.hears("from v1")
        target.trace.expect(event.payload.get("from") == peer.user, f"from {peer.user}")
        await page.say("from classic")
        while (heard := await peer.next("new_message")).payload.get("message") != "from classic":
            pass
        target.trace.expect(heard.payload.get("from") == page.user, f"from {page.user}")


async def nothing_of_v1(target: Target) -> None:
    room = target.room()
    async with target.pages(target.user, room=room) as (page,):
        async with target.v1(target.other) as peer:
            await peer.join(room)
            said = await peer.say(room, "first", key=secrets.token_hex(4))
            await peer.ack("typing", {"room": room, "on": True})
            await peer.ack("mark_read", {"room": room, "seq": said.get("seq")})
            await peer.ack("typing", {"room": room, "on": False})
            await peer.ack("leave_room", {"room": room})
            await page.hears("first")
        await page.quiet()
        page.assert_only_messages()
