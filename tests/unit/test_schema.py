"""The contract of a hub, as machines read it: it says all that the hub takes and says, and nothing else."""

from __future__ import annotations

import datetime
import importlib.util
import json
import sys
from collections.abc import AsyncIterator, Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import jsonschema_rs
import msgspec
import pytest

from hubbub import Client, Event, Hub, Posting, Refused, Role
from hubbub.errors import ConfigError
from hubbub.hub import handlers_of
from hubbub.schema.answers import ANSWERS
from hubbub.schema.asyncapi import asyncapi
from hubbub.schema.components import Described, describe
from hubbub.schema.contract import Contract, application_events, contract_of
from hubbub.schema.documents import schema_pages
from hubbub.schema.said import SAID
from hubbub.schema.stubs import stubs
from hubbub.schema.typescript import typescript
from hubbub.sdk import Message
from hubbub.testing import Guest, Stage, at_work
from hubbub.wire.request import Request
from unit.test_docs import DOCS, ROOT, examples, run, run_in_coroutine

pytestmark = pytest.mark.anyio


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Place(msgspec.Struct):
    """Where something is."""

    x: float
    y: float = 0.0


class Move(Event, tag="move"):
    """A piece was moved.

    Nobody has to say by whom.
    """

    piece: str
    to: Place
    colour: Colour = Colour.RED
    path: tuple[int, str] | None = None
    at: datetime.datetime | None = None
    mode: Literal["fast", "slow"] = "fast"
    notes: dict[int, list[Place]] = {}  # noqa: RUF012  # msgspec copies it


class Moved(Event, tag="moved"):
    moves: list[Move]


class Glance(Event, tag="chess.glance", rename="camel"):
    looked_at: str


class Tree(msgspec.Struct):
    """Has trees."""

    trees: list[Tree] = []
    height: float = float("inf")


class Odd(Event, tag="odd"):
    number: int
    tree: Tree | None = None


class Glancing(msgspec.Struct, tag="chess_glance"):
    """No `Event`, so that it may name a room."""

    room: str


class Say(Event, tag="send_message"):
    """Takes the place of a built-in request."""

    message: str


def chess() -> Hub:
    """A hub with a handler for each way to answer."""
    hub = Hub()

    @hub.on
    def move(event: Move, client: Client) -> Moved:
        return Moved([event])

    @hub.on(act=None)
    def glance(event: Glance) -> Posting:
        return hub.room("chess").post(event)

    @hub.on(act=None)
    def glancing(event: Glancing) -> None:
        pass

    @hub.on(act=None)
    async def odd(event: Odd) -> Moved | dict[str, int] | None:
        return {"number": event.number}

    return hub


EVENTS: list[type[Event]] = [Move, Moved, Glance, Odd]


async def contract(hub: Hub) -> Contract:
    """The contract of a hub with these events."""
    async with at_work(hub):
        return contract_of(handlers_of(hub), EVENTS)


class Judge:
    """Holds events to what AsyncAPI says of them.

    Attributes:
        heard: the messages that some event has fitted.
    """

    def __init__(self, described: Described) -> None:
        self.document = asyncapi(described, "a test")
        self.heard: set[str] = set()

    def validator(self, name: str) -> jsonschema_rs.Draft7Validator:
        """What judges the events of a message."""
        payload = self.document["components"]["messages"][name]["payload"]
        return jsonschema_rs.Draft7Validator({**payload, "components": self.document["components"]})

    def fits(self, name: str, event: object) -> bool:
        """Whether an event is as a message is said to be."""
        return self.validator(name).is_valid(event)

    def hold(self, name: str, event: dict[str, Any]) -> None:
        """Hold an event to what is said of it, and to that alone."""
        self.validator(name).validate(event)
        self.heard.add(name)
        payload = self.document["components"]["messages"][name]["payload"]["properties"]["payload"]
        listed = self.resolved(payload).get("properties")
        if listed is not None:
            assert set(event["payload"]) <= set(listed), f"{name} says nothing of a field of {event}"

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """What a schema refers to."""
        name = schema.get("$ref", "").rpartition("/")[2]
        return dict(self.document["components"]["schemas"][name] if name else schema)


class Asker:
    """Asks, and holds the question, its answer and all that is heard to what is said of them."""

    def __init__(self, guest: Guest, judge: Judge) -> None:
        self._guest = guest
        self._judge = judge

    async def ask(self, type_: str, payload: dict[str, Any]) -> Any:
        """Send a request; the payload of its ack."""
        self._judge.hold(f"ask_{type_}", {"type": type_, "id": 1, "payload": payload})
        answer = await self._guest.ask(type_, payload)
        self._judge.hold(f"ack_{type_}", {"type": "ack", "id": 1, "payload": answer})
        self.hear()
        return answer

    def hear(self) -> None:
        """Hold what was heard to what is said of it."""
        for event in self._guest.take():
            self._judge.hold("error" if event["type"] == "error" else f"said_{event['type']}", event)


async def talk(stage: Stage, percy: Asker, alice: Asker) -> None:
    """Ask for everything that a client of the chat may ask for."""
    for asker in (percy, alice):
        await asker.ask("join_room", {"room": "Lunch"})
    said = await percy.ask("send_message", {"room": "lunch", "message": "hello world", "key": "one"})
    await percy.ask("edit_message", {"seq": said["seq"], "message": "hello there"})
    await alice.ask("react", {"seq": said["seq"], "emoji": "x", "on": True})
    gone = await percy.ask("send_message", {"message": "never mind"})
    await percy.ask("delete_message", {"seq": gone["seq"]})
    await stage.core.rooms.publish("lunch", "publication", b'{"data":[1],"tags":{"a":"b"}}', None)
    percy.hear()
    await percy.ask("history", {"limit": 200})
    await alice.ask("join_room", {"room": "lunch", "since": None, "history": 200})
    await percy.ask("presence", {})
    await percy.ask("typing", {"on": True})
    await alice.ask("mark_read", {"seq": 1})
    await percy.ask("follow", {"room": "lunch"})
    await percy.ask("mute", {"room": "lunch", "on": True})
    await percy.ask("list_rooms", {"prefix": "l"})
    await percy.ask("list_users", {})
    await percy.ask("list_users", {"room": "lunch"})
    await percy.ask("profile", {"user": "alice"})
    await percy.ask("set_profile", {"name": "Percy Weasley"})
    await percy.ask("profiles", {"users": ["percy", "nobody"]})
    await percy.ask("unfollow", {"room": "lunch"})
    await percy.ask("change_room", {"name": "tea"})
    await percy.ask("leave_room", {})
    alice.hear()


async def govern(percy: Asker, alice: Asker) -> None:
    """Ask for everything that an admin may ask for."""
    await percy.ask("join_room", {"room": "lunch"})
    await percy.ask("send_message", {"message": "order"})
    await percy.ask("admin_stats", {"since": 0})
    await percy.ask("admin_users", {})
    await percy.ask("admin_rooms", {})
    await percy.ask("admin_sessions", {"user": "alice"})
    await percy.ask("admin_audit", {})
    await percy.ask("admin_invite", {"room": "tea", "user": "alice"})
    await percy.ask("admin_uninvite", {"room": "tea", "user": "alice"})
    await percy.ask("admin_close_room", {"room": "lunch"})
    alice.hear()
    await percy.ask("admin_reopen_room", {"room": "lunch"})
    await percy.ask("admin_delete_room", {"room": "lunch"})
    await percy.ask("admin_role", {"user": "alice", "role": "guest"})
    await percy.ask("admin_disconnect", {"user": "alice"})
    await percy.ask("admin_revoke", {"user": "alice"})
    await percy.ask("admin_block", {"user": "alice"})
    await percy.ask("admin_unblock", {"user": "alice"})


# What happens to connections and logs, and is not brought about by a request.
RARE = {"said_welcome", "said_reconnect", "said_gap", "said_epoch", "said_member_left"}
# The engine in memory has no index.
UNASKED = {"ask_search", "ack_search"}


async def test_all_that_the_chat_says_is_as_it_is_described(tmp_path: Path) -> None:
    async with at_work(audit_log=tmp_path / "audit.log") as stage:
        judge = Judge(describe(contract_of(handlers_of(stage.hub), [])))
        for user, role in (("percy", Role.ADMIN), ("alice", Role.MEMBER), ("bob", Role.ADMIN)):
            await stage.account(user, role)
        percy, alice, desk = [Asker(await stage.client(user), judge) for user in ("percy", "alice", "percy")]
        await talk(stage, percy, alice)
        desk.hear()
        await govern(percy, alice)
        percy_too = await stage.client("percy")
        with pytest.raises(Refused):
            await percy_too.ask("typing", {"on": True, "room": "nowhere"})
        percy_too.say("nothing", {})
        Asker(percy_too, judge).hear()
    assert set(judge.document["components"]["messages"]) - judge.heard == RARE | UNASKED


async def test_each_built_in_request_and_event_is_described() -> None:
    hub = Hub()
    async with at_work(hub, jwt_key="k" * 32):
        assert set(ANSWERS) == set(handlers_of(hub).by_type)
    ours = [each for each in Event.__subclasses__() if each.__module__.partition(".")[0] == "hubbub"]
    assert {each.tag for each in ours} <= set(SAID)


async def test_what_a_hub_takes_is_as_it_is_described() -> None:
    judge = Judge(describe(await contract(chess())))
    move = {"type": "move", "id": "a", "payload": {"piece": "rook", "to": {"x": 1.5}, "path": [1, "up"]}}
    assert judge.fits("ask_move", move)
    wrongs: list[dict[str, Any]] = [
        {"piece": 1},
        {"colour": "green"},
        {"path": [1]},
        {"path": [1, "up", 2]},
        {"to": {}},
    ]
    for wrong in wrongs:
        assert not judge.fits("ask_move", {**move, "payload": {**move["payload"], **wrong}})  # type: ignore[dict-item]
    assert not judge.fits("ask_move", {"type": "move", "id": "a"})
    assert judge.fits("ask_leave_room", {"type": "leave_room"})
    assert judge.fits("ask_chess-2e-glance", {"type": "chess.glance", "payload": {"lookedAt": "x"}})


async def test_what_handlers_answer_is_as_it_is_described() -> None:
    hub = chess()
    async with at_work(hub) as stage:
        judge = Judge(describe(contract_of(handlers_of(hub), EVENTS)))
        percy = Asker(await stage.client("percy"), judge)
        await percy.ask("join_room", {"room": "chess"})
        # An event inside another one keeps its type; the answer itself has it in the envelope.
        answer = await percy.ask("move", {"piece": "rook", "to": {"x": 1.0}})
        assert answer["moves"][0]["type"] == "move"
        await percy.ask("odd", {"number": 1})
        judge.hold("ask_chess-2e-glance", {"type": "chess.glance", "payload": {"lookedAt": "a1"}})
        guest = await stage.client("alice")
        await guest.join("chess")
        kept = await guest.ask("chess.glance", {"lookedAt": "a1"})
        judge.hold("ack_chess-2e-glance", {"type": "ack", "id": 1, "payload": kept})
        [heard] = [event for event in await guest.hear() if event["type"] == "chess.glance"]
        judge.hold("said_chess-2e-glance", heard)
        assert set(heard["payload"]) == {"room", "seq", "sent", "lookedAt"}
    assert not judge.fits("ack_move", {"type": "ack", "id": 1, "payload": {}})
    assert not judge.fits("ack_odd", {"type": "ack", "id": 1, "payload": {"number": "one"}})


async def test_a_replaced_handler_answers_as_it_is_annotated() -> None:
    hub = Hub()

    @hub.on
    def say(event: Say) -> Moved:
        return Moved([])

    async with at_work(hub):
        [request] = [each for each in contract_of(handlers_of(hub), []).requests if each.tag == "send_message"]
    assert request == ("send_message", Say, (Moved,), True)


async def test_two_events_with_one_tag_are_refused() -> None:
    class Move(Event, tag="move"):
        other: str

    with pytest.raises(ConfigError, match=r"Move and .*Move have the same tag 'move'"):
        contract_of(handlers_of(chess()), [*EVENTS, Move])


def test_the_applications_events_are_those_that_are_not_ours() -> None:
    found = set(application_events())
    assert set(EVENTS) <= found
    assert not [each for each in found if each.__module__.startswith("hubbub.")]


# Types


@pytest.fixture
def loaded(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Loads a module from its text."""
    names: list[str] = []

    def load(text: str) -> ModuleType:
        name = f"written_{len(names)}"
        names.append(name)
        file = tmp_path / f"{name}.py"
        file.write_text(text)
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # annotations are looked up there
        spec.loader.exec_module(module)
        return module

    yield load
    for name in names:
        del sys.modules[name]


async def test_the_module_in_python_has_the_same_events(loaded: Any) -> None:
    hub = chess()
    module = loaded(stubs(await contract(hub), "chess"))
    assert module.Move("rook", module.Place(1.0)).notes == {}
    async with at_work(hub) as stage:
        alice = await stage.client("alice")
        await alice.join("chess")

        class Connection:
            async def request(self, type_: str, payload: dict[str, Any]) -> Any:
                return await alice.ask(type_, payload)

        answer = await module.send_move(Connection(), module.Move("rook", module.Place(1.0), colour="blue"))
        assert answer == module.Moved([module.Move("rook", module.Place(1.0), colour="blue")])
        assert await module.send_odd(Connection(), module.Odd(3)) == {"number": 3}
        # Two types that look alike as names have two functions.
        receipt = await module.send_chess_glance(Connection(), module.Glance("a1"))
        assert (receipt.room, receipt.seq) == ("chess", 1)
        assert await module.send_chess_glance_(Connection(), module.Glancing("chess")) is None


async def test_the_example_of_the_page_runs(
    loaded: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = DOCS / "schema.md"
    votes = run((ROOT / "examples" / "votes.py").read_text())
    async with at_work(votes["hub"]) as stage:
        contract = contract_of(handlers_of(stage.hub), [votes["Vote"], votes["Tally"]])
        monkeypatch.setitem(sys.modules, "votes_events", loaded(stubs(contract, "votes")))
        alice = await stage.client("alice")
        await alice.join("lunch")
        [example] = examples(page)
        await run_in_coroutine(example, page, {"chat": Chat(alice)})
    assert capsys.readouterr().out == "{1: 1}\n"


class Chat:
    """A guest as a program at the other end has it, which hears one message."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    async def request(self, type_: str, payload: dict[str, Any]) -> Any:
        """Send an event; the payload of its ack."""
        return await self._guest.ask(type_, payload)

    async def __aiter__(self) -> AsyncIterator[Message]:
        for event in self._guest.take():
            payload = event["payload"]
            own = {name: value for name, value in payload.items() if name not in ("room", "seq", "sent")}
            sent = datetime.datetime.fromisoformat(payload["sent"])
            yield Message(payload["room"], payload["seq"], None, "", sent, event["type"], own)


async def test_types_have_what_the_schema_has() -> None:
    text = typescript(describe(await contract(chess())), "chess\n*/ evil")
    assert "// The events of chess */ evil, for" in text
    assert "/** Where something is. */\nexport interface Place {\n  x: number;\n  y?: number;\n}\n" in text
    assert "  colour?: Colour;\n  path?: [number, string] | null;\n" in text
    assert '  mode?: "fast" | "slow";\n  notes?: Record<string, Array<Place>>;\n' in text
    assert '  "chess.glance": Glance;\n' in text
    assert "  lookedAt: string;\n" in text


# Serving


async def test_a_server_shows_what_there_is() -> None:
    pages = dict(schema_pages(await contract(chess()), "chess"))
    shown = {path: page.answer(Request("GET", path, "", {})) for path, page in pages.items()}
    assert json.loads(shown["/schema"].body)["asyncapi"] == "3.0.0"
    assert shown["/schema/asyncapi.json"].body == shown["/schema"].body
    assert json.loads(shown["/schema/openapi.json"].body)["openapi"] == "3.1.0"
    assert b"interface Requests" in shown["/schema/types.ts"].body
    assert b"Infinity" not in shown["/schema"].body
