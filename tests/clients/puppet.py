"""The Python client on strings: a command in each line of standard input, answers and events in lines of output."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import hubbub
from hubbub.errors import AuthError, ConnectionClosed, HubbubError, Rejected, Unanswered, Unreachable
from hubbub.sdk import (
    Changed,
    Connection,
    Gap,
    MemberJoined,
    MemberLeft,
    Members,
    Message,
    Offline,
    Online,
    Read,
    RoomLost,
    Signal,
    Typing,
)
from hubbub.sdk.messages import Joined, Page

NAMES: dict[type, str] = {
    Message: "message",
    Gap: "gap",
    Online: "online",
    Offline: "offline",
    RoomLost: "removed",
    Read: "read",
    Signal: "signal",
}
FIELDS: dict[type, tuple[str, ...]] = {
    Message: ("room", "seq", "sender", "text", "type"),
    Gap: ("room", "first", "last", "is_new_log"),
    RoomLost: ("room", "code"),
    Read: ("room", "user", "seq"),
    Signal: ("type", "payload"),
}
# What the JavaScript client calls it.
OTHERWISE = {"sender": "from", "first": "from", "last": "to", "is_new_log": "isNewLog"}


def write(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def shown(page: Joined | Page) -> dict[str, Any]:
    """An answer that has messages."""
    fields = {"room": page.room, "texts": [message.text for message in page.messages]}
    if isinstance(page, Page):
        return {**fields, "more": page.more}
    return {**fields, "title": page.title, "seq": page.seq, "members": page.members, "read": page.read}


class Puppet:
    """One client, and what it does on command."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.chat: Connection
        self.token = ""
        self.members: dict[str, set[str]] = {}
        self.typists: dict[str, set[str]] = {}

    async def obey(self, command: dict[str, Any]) -> None:
        id_ = command.pop("id")
        try:
            write({"id": id_, "result": await getattr(self, command.pop("do"))(**command)})
        except HubbubError as error:
            write({"id": id_, "error": code_of(error), "message": getattr(error, "message", "")})

    async def sign_in(self, user: str, password: str) -> None:
        await self.open(hubbub.connect(self.url, user, password))

    async def sign_in_by_token(self, token: str, is_lasting: bool = False) -> None:
        self.token = token
        await self.open(hubbub.connect(self.url, token=token if is_lasting else self.give_token))

    async def set_token(self, token: str) -> None:
        self.token = token

    async def give_token(self) -> str:
        write({"event": "token"})
        return self.token

    async def open(self, chat: Connection) -> None:
        self.chat = chat
        self.hearing = asyncio.create_task(self.hear(chat))
        await chat.__aenter__()

    async def hear(self, chat: Connection) -> None:
        try:
            async for item in chat.events():
                self.tell(item)
        except ConnectionClosed as closed:
            write({"event": "closed", "code": closed.code})

    def tell(self, item: Any) -> None:
        fields = {name: getattr(item, name) for name in FIELDS.get(type(item), ())}
        if isinstance(item, Typing):
            self.note("typing", self.typists, item.room, item.user, item.on)
        elif isinstance(item, MemberJoined | MemberLeft):
            self.note("members", self.members, item.room, item.user, isinstance(item, MemberJoined))
        elif isinstance(item, Members):
            self.members[item.room] = set(item.members)
            write({"event": "members", "room": item.room, "users": sorted(item.members)})
        elif isinstance(item, Changed):
            is_deleted = item.type == "message_deleted"
            fields = {"text": "" if is_deleted else item.text, "deleted": is_deleted, "emoji": item.emoji}
            write({"event": "changed", "room": item.room, "seq": item.of, **fields})
        elif type(item) in NAMES:
            write({"event": NAMES[type(item)], **{OTHERWISE.get(name, name): value for name, value in fields.items()}})

    def note(self, event: str, known: dict[str, set[str]], room: str, user: str, is_there: bool) -> None:
        users = known.setdefault(room, set())
        (users.add if is_there else users.discard)(user)
        write({"event": event, "room": room, "users": sorted(users)})

    async def join(self, room: str, history: int = 50) -> dict[str, Any]:
        joined = await self.chat.join(room, history=history)
        self.members[joined.room] = set(joined.members)
        return shown(joined)

    async def leave(self, room: str) -> None:
        await self.chat.leave(room)

    async def send(self, room: str, text: str, key: str | None = None) -> dict[str, Any]:
        receipt = await self.chat.send(room, text, key=key)
        return {"room": receipt.room, "seq": receipt.seq}

    async def history(self, room: str, **where: int) -> dict[str, Any]:
        return shown(await self.chat.history(room, **where))

    async def presence(self, room: str) -> list[str]:
        return await self.chat.presence(room)

    async def typing(self, room: str, on: bool) -> None:
        self.chat.typing(room, on)

    async def mark_read(self, room: str, seq: int) -> None:
        await self.chat.mark_read(room, seq)

    async def edit(self, room: str, seq: int, text: str) -> None:
        await self.chat.edit(room, seq, text)

    async def delete(self, room: str, seq: int) -> None:
        await self.chat.delete(room, seq)

    async def react(self, room: str, seq: int, emoji: str, on: bool) -> None:
        await self.chat.react(room, seq, emoji, on)

    async def request(self, type: str, payload: dict[str, Any]) -> dict[str, Any]:  # noqa: A002  # as on the wire
        return await self.chat.request(type, payload)

    async def close(self) -> None:
        await self.chat.close()


def code_of(error: HubbubError) -> str:
    """An error by the name that the JavaScript client has for it."""
    names = {AuthError: "unauthorized", Unanswered: "unanswered", Unreachable: "unreachable"}
    if isinstance(error, Rejected):
        return error.code
    if isinstance(error, ConnectionClosed):
        return "closed"
    return names.get(type(error), repr(error))


async def main() -> None:
    puppet = Puppet(sys.argv[1])
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    write({"event": "ready"})
    tasks = set()
    while line := await commands.readline():
        task = asyncio.create_task(puppet.obey(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
