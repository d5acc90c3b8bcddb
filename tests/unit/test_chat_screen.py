"""The terminal client's screen, driven by Textual's pilot, on a server with no socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, RichLog, Static

from hubbub.cli.chat_screen import ChatScreen, line_of, printable
from hubbub.sdk.reading import read_message
from sdk_stage import SENT, FakeServer, client, refusal

pytestmark = [pytest.mark.anyio, pytest.mark.thorough]


@asynccontextmanager
async def screen(server: FakeServer, room: str = "general") -> AsyncIterator[Pilot[str]]:
    async with client(server) as chat, ChatScreen(chat, room).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        yield pilot


def lines(pilot: Pilot[str]) -> list[str]:
    return [strip.text.rstrip()[6:] for strip in pilot.app.query_one(RichLog).lines]


def rooms(pilot: Pilot[str]) -> list[str]:
    found = pilot.app.query_one(OptionList)
    return [str(found.get_option_at_index(index).prompt) for index in range(found.option_count)]


def text_of(pilot: Pilot[str], id_: str) -> str:
    return str(pilot.app.query_one(id_, Static).render())


async def write(pilot: Pilot[str], text: str) -> None:
    pilot.app.query_one(Input).value = text
    await pilot.press("enter")
    await pilot.pause()


async def test_the_past_the_present_and_who_is_there_are_shown() -> None:
    server = FakeServer()
    server.say("general", "said before")
    async with screen(server) as pilot:
        server.say("general", "said now", by="bob")
        await pilot.pause()
        assert lines(pilot) == ["alice: said before", "bob: said now"]
        assert rooms(pilot) == ["general"]
        assert text_of(pilot, "#members") == "alice\npercy"
        server.push("member_joined", {"room": "general", "user": "bob"})
        server.push("member_left", {"room": "general", "user": "alice"})
        server.push("typing", {"room": "general", "user": "bob", "on": True})
        await pilot.pause()
        assert text_of(pilot, "#members") == "bob\npercy"
        assert text_of(pilot, "#status") == "bob types ..."
        server.say("general", "there", by="bob")
        await pilot.pause()
        assert text_of(pilot, "#status") == "percy in general"


async def test_what_is_written_is_said_once_and_typing_is_told() -> None:
    server = FakeServer()
    async with screen(server) as pilot:
        await pilot.press(*"hey")
        await pilot.press("enter")
        await pilot.pause()
        await write(pilot, "//not a command")
        assert lines(pilot) == ["percy: hey", "percy: /not a command"]
        assert server.asked("typing")[0] == {"room": "general", "on": True}
        server.refusals["send_message"] = [refusal("forbidden")]
        await write(pilot, "no")
        assert "said: 'no': forbidden" in " ".join(lines(pilot))


async def test_rooms_are_joined_left_and_turned_to() -> None:
    server = FakeServer()
    async with screen(server) as pilot:
        await write(pilot, "/join lunch")
        server.say("general", "over here")
        server.say("lunch", "soup")
        await pilot.pause()
        assert lines(pilot) == ["alice: soup"]
        assert rooms(pilot) == ["general (1)", "lunch"]
        await pilot.press("ctrl+p")
        assert lines(pilot) == ["alice: over here"]
        assert rooms(pilot) == ["general", "lunch"]
        await write(pilot, "/leave")
        assert rooms(pilot) == ["lunch"]
        await write(pilot, "/leave")
        assert (rooms(pilot), lines(pilot), text_of(pilot, "#members")) == ([], [], "")
        await write(pilot, "into the void")
        server.refusals["join_room"] = [refusal("forbidden")]
        await write(pilot, "/join private")
        await write(pilot, "/join general")
        assert rooms(pilot) == ["general"]


async def test_earlier_messages_are_fetched_when_asked_for() -> None:
    server = FakeServer()
    for number in range(1, 251):
        server.say("general", str(number))
    async with screen(server) as pilot:
        for count in (100, 200, 250, 251):
            assert len(lines(pilot)) == count
            await write(pilot, "/older")
        assert lines(pilot)[:250] == [f"alice: {number}" for number in range(1, 251)]


async def test_help_and_what_is_no_command() -> None:
    async with screen(FakeServer()) as pilot:
        await write(pilot, "/help")
        assert any("/older" in strip.text for strip in pilot.app.query_one(RichLog).lines)
        for text in ("/dance", "/", "/join", "/leave nowhere"):
            await write(pilot, text)
        assert rooms(pilot) == ["general"]


async def test_a_lost_connection_and_a_gap_are_told() -> None:
    server = FakeServer()
    async with screen(server) as pilot:
        server.say("general", "seen")
        await pilot.pause()
        server.doors.append(OSError("nobody"))
        server.drop()
        await pilot.pause()
        assert "coming back" in text_of(pilot, "#status")
        for _ in range(5):
            server.say("general", "missed")
        server.trimmed["general"] = 5
        while "coming back" in text_of(pilot, "#status"):
            await pilot.pause(0.05)
        text = " ".join(strip.text for strip in pilot.app.query_one(RichLog).lines)
        assert "messages 2 to 5 are gone" in text


async def test_the_end_of_the_conversation_is_the_end_of_the_screen() -> None:
    server = FakeServer()
    async with screen(server) as pilot:
        server.drop(4101, "go away")
        await pilot.pause()
        assert pilot.app.return_value == "the connection is closed (4101: go away)"
    async with screen(FakeServer()) as pilot:
        await write(pilot, "/quit")
        assert pilot.app.return_value is None


def test_what_others_write_does_nothing_to_the_terminal() -> None:
    hostile = "\x1b[2Jclear \x07bell \u202eright-to-left [red]markup[/red]\r\n👩\u200d💻"
    said = {"room": "r", "seq": 1, "from": "eve", "message": hostile, "sent": SENT}
    shown = line_of(read_message("new_message", said)).plain
    assert shown[6:] == "eve: �[2Jclear �bell �right-to-left [red]markup[/red]�\n👩\u200d💻"
    assert printable("naïve 日本語") == "naïve 日本語"


def test_an_event_of_an_applications_own_is_shown_as_it_is() -> None:
    tally = read_message("tally", {"room": "r", "seq": 1, "sent": SENT, "counts": {"1": 2}})
    assert line_of(tally).plain[6:] == '-: [tally] {"counts":{"1":2}}'
