"""A team's conversation, kept at times of its own: the same in each picture."""

from __future__ import annotations

import datetime
from pathlib import Path

from hubbub.accounts import Accounts
from hubbub.engine.sqlite import SqliteEngine
from hubbub.testing import Clock, Guest, at_work

__all__ = ["FRIENDS", "LAST", "NOW", "PASSWORD", "READER", "ROOM", "seed"]

# When the pictures are taken, as their browser has it.
NOW = datetime.datetime(2026, 3, 12, 10, 20, tzinfo=datetime.UTC)
BEGIN = NOW - datetime.timedelta(hours=24, minutes=30)

PASSWORD = "123"
NAMES = {"percy": "Percy Bell", "alice": "Alice Okafor", "bob": "Bob Lindqvist", "chen": "Chen Wei"}
READER, ROOM = "percy", "general"
FRIENDS = ("alice", "bob")
ROOMS = ("general", "release 1.0", "garden", "reading club", "support")

# How many minutes after the one before, where, who, what.
TALK = (
    (0, "general", "alice", "Welcome, everyone. This is where we talk from now on."),
    (2, "general", "bob", "The old channel stays readable until Friday."),
    (60, "garden", "chen", "The tomatoes need somebody on Saturday."),
    (45, "reading club", "alice", "Next up: *The Left Hand of Darkness*. Two weeks?"),
    (200, "support", "bob", "Printer on the second floor is back."),
    (
        1080,
        "general",
        "bob",
        "Good morning! The new server is up: one process, one port, both old pages still work.",
    ),
    (1, "general", "bob", "I restarted it twice already, just to see."),
    (3, "general", "percy", "Did anyone notice?"),
    (1, "general", "bob", "Nobody had to reload, or to sign in again."),
    (2, "general", "alice", "My tab said \u201cReconnecting\u201d for a second, and that was all."),
    (30, "release 1.0", "chen", "Notes are in, the tag is not. @percy, would you look once more?"),
    (4, "release 1.0", "chen", "`make test` is green on three machines."),
    (20, "general", "chen", "For the notes: `hubbub serve --host 0.0.0.0` prints the link for the whole office."),
    (2, "general", "percy", "Lovely. Then let\u2019s open the doors: I\u2019ll tell the others at eleven."),
    (1, "general", "percy", "And there is cake in the garden at four \U0001f370"),
    (1, "general", "alice", "Now that is a release plan."),
)
LAST = TALK[-1][3]
# What one of them says to the reader alone, and the room that the reader has not looked into since.
DIRECT = ("dm:alice,percy", "alice", "Lunch at one?")
UNREAD = "release 1.0"
# The text, and who likes it.
REACTIONS = ((TALK[8][3], ("alice", "percy", "chen"), "\U0001f389"), (TALK[-2][3], ("alice", "bob"), "\U0001f370"))


async def seed(path: Path) -> None:
    """Make a database with accounts, rooms and what was said in them."""
    clock = Clock(BEGIN.timestamp())
    engine = SqliteEngine(path, clock=clock, wall=clock)
    accounts = Accounts(engine, session_ttl_s=1.0, max_user_name=32)
    async with at_work(engine=engine, clock=clock) as stage:
        guests: dict[str, Guest] = {}
        for user in NAMES:
            await accounts.add(user, PASSWORD)
        await stage.core.refresh_access()
        for user, name in NAMES.items():
            guests[user] = await stage.client(user)
            await guests[user].ask("set_profile", {"name": name})
            for room in ROOMS:
                await guests[user].join(room)
                await guests[user].ask("follow", {"room": room})
        seqs: dict[str, int] = {}
        for minutes, room, user, text in TALK:
            clock.go(minutes * 60)
            seqs[text] = (await guests[user].ask("send_message", {"room": room, "message": text}))["seq"]
        for text, users, emoji in REACTIONS:
            for user in users:
                await guests[user].ask("react", {"room": ROOM, "seq": seqs[text], "emoji": emoji, "on": True})
        direct, friend, text = DIRECT
        await guests[friend].join(direct)
        await guests[friend].ask("send_message", {"room": direct, "message": text})
        for room in ROOMS:
            if room != UNREAD:
                await guests[READER].ask("mark_read", {"room": room, "seq": len(TALK)})
    accounts.close()
