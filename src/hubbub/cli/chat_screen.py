"""The terminal client's screen: rooms on the left, a conversation, and who is there."""

from __future__ import annotations

import unicodedata
from collections import deque
from typing import ClassVar

import msgspec
from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, OptionList, RichLog, Static
from textual.widgets.option_list import Option

from hubbub.errors import HubbubError
from hubbub.events import CHANGES
from hubbub.sdk import (
    Changed,
    Connection,
    Gap,
    Heard,
    MemberJoined,
    MemberLeft,
    Members,
    Message,
    RoomLost,
    Typing,
)

__all__ = ["ChatScreen"]

# Lines of one room that can be scrolled back to.
MAX_LINES = 2000
HISTORY = 100

# Typing is told at most this often; the server ends it after six seconds.
TYPING_S = 3.0

HELP = (
    "/join ROOM    enter a room",
    "/leave        leave this one",
    "/older        earlier messages",
    "/edit TEXT    gives your last message here another text; /edit 12 TEXT: the message 12",
    "/delete       takes your last message here back; /delete 12: the message 12",
    "/react EMOJI  reacts to the last message here, or takes that back; /react 12 EMOJI: to the message 12",
    "/numbers      shows the messages' numbers, or hides them",
    "/quit         or Ctrl+Q",
    "//text        says /text",
    "Ctrl+N, Ctrl+P: the next room, the previous one; PageUp, PageDown: scroll",
)

COLORS = ("cyan", "green", "magenta", "yellow", "blue", "red")


class RoomView:
    """One room, as it is drawn."""

    def __init__(self, name: str) -> None:
        self.name = name
        # Messages, and lines of our own.
        self.lines: deque[Message | Text] = deque(maxlen=MAX_LINES)
        self.members: set[str] = set()
        self.typing: set[str] = set()
        self.unread = 0
        self.oldest: int | None = None

    def change(self, change: Changed) -> bool:
        """Apply a change to the message that it is about; whether that is here."""
        for index, line in enumerate(self.lines):
            if isinstance(line, Message) and line.seq == change.of:
                self.lines[index] = change.apply_to(line)
                return True
        return False

    def find(self, seq: int) -> Message | None:
        """A message by its number."""
        return next((line for line in self.lines if isinstance(line, Message) and line.seq == seq), None)

    def last(self, sender: str | None) -> Message | None:
        """The newest message, of a sender or of anybody, that was not deleted."""
        for line in reversed(self.lines):
            if isinstance(line, Message) and not line.deleted and sender in (None, line.sender):
                return line
        return None


class ChatScreen(App[str]):
    """The screen, on a connection that is open.

    Its result is the reason that it ended for, where the user did not ask for that.
    """

    CSS = """
    #rooms { width: 22; height: 1fr; border: none; border-right: solid $primary; background: $background; }
    #members { width: 18; height: 1fr; padding: 0 1; border-left: solid $primary; }
    #log { padding: 0 1; }
    #status { height: 1; padding: 0 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "turn(1)", "next room", priority=True),
        Binding("ctrl+p", "turn(-1)", "previous room", priority=True),
        Binding("pageup", "scroll_log(-1)", "up", priority=True),
        Binding("pagedown", "scroll_log(1)", "down", priority=True),
    ]
    ENABLE_COMMAND_PALETTE = False
    TITLE = "Hubbub"

    def __init__(self, chat: Connection, room: str) -> None:
        super().__init__()
        self._chat = chat
        self._first_room = room
        self._events = chat.events()
        self._rooms: dict[str, RoomView] = {}
        self._current: RoomView | None = None
        self._typed_at = 0.0
        self._shows_numbers = False

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield OptionList(id="rooms")
            with Vertical():
                yield RichLog(id="log", wrap=True, min_width=1, max_lines=MAX_LINES)
                yield Static(id="status", markup=False)
                yield Input(placeholder="say something, or /help", id="say")
            yield Static(id="members", markup=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self.query_one(RichLog).can_focus = False
        self.query_one(Input).focus()
        self.listen()
        self.enter(self._first_room)

    # Hearing

    @work
    async def listen(self) -> None:
        """Draw what is heard, until the conversation ends."""
        try:
            async for item in self._events:
                self.hear(item)
        except HubbubError as error:
            self.exit(str(error))

    def hear(self, item: Heard) -> None:
        match item:
            case Message(room=room):
                self.show_message(item)
            case Changed():
                self.show_change(item)
            case Gap():
                self.show_gap(item)
            case MemberJoined(room=room, user=user) if room in self._rooms:
                self._rooms[room].members.add(user)
            case MemberLeft(room=room, user=user) if room in self._rooms:
                self._rooms[room].members.discard(user)
            case Members(room=room, members=members) if room in self._rooms:
                self._rooms[room].members = set(members)
            case Typing(room=room, user=user, on=is_on) if room in self._rooms:
                (self._rooms[room].typing.add if is_on else self._rooms[room].typing.discard)(user)
            case RoomLost(room=room, message=message):
                self.note(room, f"-- you are no longer in this room: {message} --")
            case _:
                pass  # nothing of it is drawn but whether there is a connection
        self.draw_sides()

    def show_message(self, message: Message) -> None:
        view = self._rooms.get(message.room)
        if view is None:
            return
        view.typing.discard(message.sender or "")
        if view is not self._current:
            view.unread += 1
        self.add_line(view, message)

    def show_change(self, change: Changed) -> None:
        """Draw a message that has changed, if it is still among the lines."""
        view = self._rooms.get(change.room)
        if view is not None and view.change(change) and view is self._current:
            self.show_room(view)

    def show_gap(self, gap: Gap) -> None:
        view = self._rooms.get(gap.room)
        if view is not None and gap.is_new_log:
            view.oldest = None  # what came before is in no log
            self.note(gap.room, "-- the server's log began anew --")
        if gap.last >= gap.first:
            self.note(gap.room, f"-- messages {gap.first} to {gap.last} are gone --")

    def note(self, room: str, text: str) -> None:
        """Add a line of our own to a room; to the current one, where that room is not shown."""
        view = self._rooms.get(room, self._current)
        if view is not None:
            self.add_line(view, Text(printable(text), style="dim"))

    def add_line(self, view: RoomView, line: Message | Text) -> None:
        view.lines.append(line)
        if view is self._current:
            self.query_one(RichLog).write(self.drawn(line))

    def drawn(self, line: Message | Text) -> Text:
        return line if isinstance(line, Text) else line_of(line, is_numbered=self._shows_numbers)

    # Drawing

    def show_room(self, view: RoomView) -> None:
        self._current = view
        view.unread = 0
        log = self.query_one(RichLog)
        log.clear()
        for line in view.lines:
            log.write(self.drawn(line))
        self.draw_sides()

    def draw_sides(self) -> None:
        rooms = self.query_one(OptionList)
        rooms.clear_options()
        rooms.add_options([Option(room_label(view)) for view in self._rooms.values()])
        if self._current is not None:
            rooms.highlighted = list(self._rooms.values()).index(self._current)
        members = sorted(self._current.members) if self._current else []
        self.query_one("#members", Static).update("\n".join(printable(member) for member in members))
        self.query_one("#status", Static).update(self.status())

    def status(self) -> str:
        if not self._chat.is_online:
            return "the connection is gone; coming back ..."
        typing = sorted(self._current.typing - {self._chat.user}) if self._current else []
        if not typing:
            return f"{self._chat.user} in {self._current.name}" if self._current else self._chat.user
        return printable(f"{', '.join(typing)} {'types' if len(typing) == 1 else 'type'} ...")

    # Saying

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        event.input.clear()
        if text.startswith("/") and not text.startswith("//"):
            self.command(*text[1:].split(maxsplit=1))
        elif text and self._current is not None:
            self.say(self._current.name, text.removeprefix("/") if text.startswith("//") else text)
        elif text:
            self.notify("You are in no room: /join one first.")

    @on(Input.Changed)
    def changed(self, event: Input.Changed) -> None:
        """Tell the others, now and then, that there is something to come."""
        now = self._loop_time()
        if event.value and not event.value.startswith("/") and self._current and now - self._typed_at > TYPING_S:
            self._typed_at = now
            self._chat.typing(self._current.name, True)

    def _loop_time(self) -> float:
        assert self._loop is not None
        return self._loop.time()

    @work
    async def say(self, room: str, text: str) -> None:
        self._typed_at = 0.0
        try:
            await self._chat.send(room, text)
        except HubbubError as error:
            self.note(room, f"-- not said: {text!r}: {error} --")

    def command(self, name: str = "", argument: str = "") -> None:
        match name:
            case "join" if argument:
                self.enter(argument)
            case "leave" if self._rooms:
                self.leave(argument)
            case "older" if self._current:
                self.fetch_older(self._current)
            case "edit" | "delete" | "react" if self._current:
                self.change(self._current, name, argument)
            case "numbers" if self._current:
                self._shows_numbers = not self._shows_numbers
                self.show_room(self._current)
            case "quit":
                self.exit()
            case "help":
                for line in HELP:
                    self.tell(line)
            case _:
                self.tell(f"there is no /{name} like this; /help lists what there is")

    @work
    async def change(self, view: RoomView, what: str, argument: str) -> None:
        """Edit or delete a message, or react to it: one that is named by its number, or the last that it may be."""
        number, _, rest = argument.partition(" ")
        is_named = number.isascii() and number.isdigit() and (what == "delete" or bool(rest))
        message = view.find(int(number)) if is_named else view.last(None if what == "react" else self._chat.user)
        text = rest.strip() if is_named else argument
        if message is None or (what != "delete" and not text):
            self.tell("there is no such message, or nothing to make of it; /help says how")
            return
        try:
            if what == "edit":
                await self._chat.edit(view.name, message.seq, text)
            elif what == "delete":
                await self._chat.delete(view.name, message.seq)
            else:
                is_there = self._chat.user in message.reactions.get(text, ())
                await self._chat.react(view.name, message.seq, text, not is_there)
        except HubbubError as error:
            self.tell(f"-- not done: {error} --")

    def tell(self, text: str) -> None:
        """Say something to the user alone."""
        if self._current is not None:
            self.note(self._current.name, text)
        else:
            self.notify(printable(text))

    # Rooms

    @work
    async def enter(self, name: str) -> None:
        try:
            joined = await self._chat.join(name, history=HISTORY)
        except HubbubError as error:
            self.tell(f"-- not entered: {error} --")
            return
        view = self._rooms.get(joined.room)
        if view is None:
            view = self._rooms[joined.room] = RoomView(joined.room)
            view.lines.extend(message for message in joined.messages if message.type not in CHANGES)
            view.oldest = joined.messages[0].seq if joined.messages else None
        view.members = set(joined.members)
        self.show_room(view)

    @work
    async def leave(self, name: str) -> None:
        view = self._rooms.get(name) if name else self._current
        if view is None:
            self.tell(f"-- you are not in {name} --")
            return
        try:
            await self._chat.leave(view.name)
        except HubbubError as error:
            self.tell(f"-- not left: {error} --")
            return
        self._rooms.pop(view.name, None)
        if view is self._current:
            self._current = None
            self.query_one(RichLog).clear()
            if self._rooms:
                self.show_room(next(reversed(self._rooms.values())))
        self.draw_sides()

    @work(exclusive=True, group="older")
    async def fetch_older(self, view: RoomView) -> None:
        if view.oldest is None:
            self.tell("-- that is all --")
            return
        try:
            page = await self._chat.history(view.name, before=view.oldest, limit=HISTORY)
        except HubbubError as error:
            self.tell(f"-- no earlier messages: {error} --")
            return
        view.oldest = page.messages[0].seq if page.messages and page.more else None
        later = list(view.lines)
        view.lines.clear()
        older = [message for message in page.messages if message.type not in CHANGES]
        view.lines.extend([*older, *later][-MAX_LINES:])
        if view is self._current:
            self.show_room(view)
            self.query_one(RichLog).scroll_home(animate=False)

    def action_turn(self, step: int) -> None:
        views = list(self._rooms.values())
        if self._current in views:
            self.show_room(views[(views.index(self._current) + step) % len(views)])

    def action_scroll_log(self, step: int) -> None:
        log = self.query_one(RichLog)
        (log.scroll_page_up if step < 0 else log.scroll_page_down)()

    @on(OptionList.OptionSelected)
    def selected(self, event: OptionList.OptionSelected) -> None:
        self.show_room(list(self._rooms.values())[event.option_index])


def room_label(view: RoomView) -> Text:
    unread = f" ({view.unread})" if view.unread else ""
    return Text(printable(view.name) + unread, style="bold" if view.unread else "")


def line_of(message: Message, *, is_numbered: bool = False) -> Text:
    """A message as a line: when, who, what, and what was made of it."""
    what = message.text or f"[{message.type}] {msgspec.json.encode(message.payload).decode()}"
    if message.deleted:
        what = "(deleted)"
    elif message.edited is not None:
        what += " (edited)"
    for emoji, users in message.reactions.items():
        what += f"  {emoji} {len(users)}"
    sender = message.sender or "-"
    color = COLORS[sum(sender.encode()) % len(COLORS)]
    return Text.assemble(
        (f"{message.seq} " if is_numbered else "", "dim"),
        (f"{message.sent.astimezone():%H:%M} ", "dim"),
        (printable(sender), color),
        f": {printable(what)}",
    )


def printable(text: str) -> str:
    """Text that does nothing to a terminal but show: what others write may hold its commands, or turn lines round."""
    return "".join(character if is_harmless(character) else "\N{REPLACEMENT CHARACTER}" for character in text)


def is_harmless(character: str) -> bool:
    # Joiners (U+200C, U+200D) belong to words and emoji; the other format characters hide or reverse text.
    return character in "\n\u200c\u200d" or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
