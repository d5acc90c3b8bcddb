"""Checks of the v1 dialect: a user's rooms, and lists of rooms and users."""

from __future__ import annotations

from typing import Any

from hubbub.check.peer import V1Peer
from hubbub.check.target import Target, room_of
from hubbub.check.v1_requests import expect_fields, is_seq

__all__ = ["direct_arrives", "follow", "list_rooms", "list_users", "not_followed", "unread"]


def expect_entry(peer: V1Peer, entry: object, room: str) -> None:
    """An entry of a room that its user follows."""
    if not isinstance(entry, dict):
        raise peer.trace.failed("the entry of a room, an object")
    expect_fields(peer, entry, room=room)
    for name in ("seq", "read", "unread"):
        peer.trace.expect(is_seq(entry.get(name)), f"{name}, a whole number")
    for name in ("title", "epoch"):
        peer.trace.expect(isinstance(entry.get(name), str), f"{name}, a string")
    for name in ("muted", "joined"):
        peer.trace.expect(isinstance(entry.get(name), bool), f"{name}, true or false")


def welcomed(peer: V1Peer, room: str) -> dict[str, Any] | None:
    """The entry of a room in a welcome."""
    rooms = peer.welcome.get("rooms")
    found = [each for each in rooms if isinstance(each, dict)] if isinstance(rooms, list) else []
    return next((entry for entry in found if entry.get("room") == room), None)


async def follow(target: Target) -> None:
    room = target.room()
    async with target.v1() as peer, target.v1() as second:
        expect_entry(peer, await peer.ack("follow", {"room": room}), room)
        expect_entry(second, (await second.next("room_added")).payload.get("entry"), room)
        async with target.v1() as third:
            expect_entry(third, welcomed(third, room), room)
        expect_fields(peer, await peer.ack("mute", {"room": room, "on": True}), room=room, muted=True)
        expect_fields(second, (await second.next("room_changed")).payload, room=room, muted=True)
        expect_fields(peer, await peer.ack("unfollow", {"room": room}), room=room)
        expect_fields(second, (await second.next("room_removed")).payload, room=room)
        async with target.v1() as last:
            target.trace.expect(welcomed(last, room) is None, "a welcome without the room")
        told = [event for event in peer.heard if event.type.startswith("room_")]
        target.trace.expect(not told, "no event about it on the connection that asked")


async def unread(target: Target) -> None:
    target.need_two_users()
    room = target.room()
    async with target.v1() as peer, target.members(target.other, room=room) as (other,):
        await peer.ack("follow", {"room": room})
        for text in ("one", "two"):
            await other.say(room, text)
        async with target.v1() as second:
            entry = welcomed(second, room) or {}
            expect_fields(second, entry, seq=2, read=0, unread=2)
        await peer.ack("unfollow", {"room": room})


async def not_followed(target: Target) -> None:
    async with target.v1() as peer:
        await peer.assert_refused("no_such_room", "mute", {"room": target.room(), "on": True})
        await peer.assert_refused("forbidden", "follow", {"room": "dm:check-a,check-b"})


async def direct_arrives(target: Target) -> None:
    target.need_two_users()
    room = room_of(target.user, target.other)
    async with target.v1() as peer, target.v1(target.other) as other:
        await other.ack("unfollow", {"room": room})
        await peer.join(room)
        await peer.say(room, "hello ☃")
        entry = (await other.next("room_added")).payload.get("entry")
        expect_entry(other, entry, room)
        for each in (peer, other):
            await each.ack("unfollow", {"room": room})


async def list_rooms(target: Target) -> None:
    room = target.room()
    async with target.members(target.user, room=room) as (peer,):
        await peer.say(room, "hello ☃")
        answer = await peer.ack("list_rooms", {"prefix": room.upper()})
        listed = answer.get("rooms")
        if not isinstance(listed, list) or not listed or not isinstance(listed[0], dict):
            raise peer.trace.failed("rooms, a list with the room")
        expect_fields(peer, listed[0], room=room, members=1, seq=1, followed=False)
        peer.trace.expect("next" in answer and answer["next"] is None, "next, null on the last page")
        await peer.assert_refused("bad_payload", "list_rooms", {"limit": 101})


async def list_users(target: Target) -> None:
    async with target.v1() as peer:
        await peer.need_account()
        listed = (await peer.ack("list_users", {"prefix": target.user, "limit": 1})).get("users")
        if not isinstance(listed, list) or not listed or not isinstance(listed[0], dict):
            raise peer.trace.failed("users, a list with the user")
        expect_fields(peer, listed[0], user=target.user)
