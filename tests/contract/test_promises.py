"""The promises of the protocol (section 5), kept through any course of events, on every engine."""

from __future__ import annotations

import asyncio
import atexit
import functools
import itertools
import json
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gates import Gate, turns
from hubbub import Client, Event, Hub, Posting, Refused
from hubbub.amending import body_of
from hubbub.chat import NewMessage
from hubbub.cluster.redis import RedisServer
from hubbub.engine import folding
from hubbub.engine.redis.engine import make_redis_engine
from hubbub.engine.redis.target import RedisTarget, parse
from hubbub.engine.urls import make_engine
from hubbub.events import CHANGES
from hubbub.recent import RECENT
from hubbub.sdk import Message
from hubbub.sdk.reading import read_changed, read_message
from hubbub.testing import CLASSIC, V1, Clock, Guest, Stage, at_work
from redis_servers import RedisCluster, needs_redis, redis_cluster

ROOM = "general"
OTHER_ROOM = "kitchen"
NAMES = ("percy", "alice", "bob")

# For what comes from the other node.
DEADLINE_S = 5.0

names = st.sampled_from(NAMES)


class Relay(Event, tag="relay"):
    """Asks the application to say something, in one of the ways that a handler has."""

    text: str
    way: str


class Relayed(Event, tag="relayed"):
    """What it says then."""

    text: str


class Cursor(Event, tag="cursor"):
    """Something that is not kept."""

    at: int


WAYS = ("returns it", "awaits it", "goes on", "says it twice", "refuses after it", "fails after it", "waits")


def relaying(gate: Gate) -> Hub:
    """An application whose asynchronous handler posts; `waits` does so at a gate of the test's."""
    hub = Hub()

    @hub.on
    async def relay(relay: Relay, client: Client) -> Posting | dict[str, str]:
        posting = hub.room(ROOM).post(Relayed(relay.text), sender=client, key=relay.text)
        if relay.way == "returns it":
            return posting
        if relay.way == "waits":
            await gate.enter()
        elif relay.way == "says it twice":
            hub.room(OTHER_ROOM).post(Relayed(relay.text))
            await turns(3)
            hub.room(ROOM).post(Relayed(relay.text), sender=client, key=relay.text)
        else:
            await posting
        if relay.way == "goes on":
            await turns(5)
        elif relay.way == "refuses after it":
            raise Refused("forbidden", "on second thoughts")
        elif relay.way == "fails after it":
            raise ZeroDivisionError
        return {"relayed": relay.text}

    return hub


# What a person may do to a message of its own.
CHANGED: list[tuple[str, dict[str, Any]]] = [
    ("edit_message", {"message": "better"}),
    ("edit_message", {"message": "best"}),
    ("delete_message", {}),
    *(("react", {"emoji": emoji, "on": is_on}) for emoji in ("👍", "+1") for is_on in (True, False)),
]


def told(message: Message) -> tuple[object, ...]:
    """What a client shows of a message; the text of an edit that was overtaken is none of it."""
    if message.type in CHANGES:
        return message.seq, message.type, message.payload["of"]
    return message.seq, message.text, message.edited, message.deleted, message.reactions


class Person:
    """Someone who comes and goes, and remembers where they were.

    Attributes:
        acked: what the person has been told is kept, and where.
        unacked: what it has sent as a message, and was not answered yet.
        relayed: what it has asked the application to say, and was not answered yet.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.guest: Guest | None = None
        self.epoch = ""
        self.last_seq = 0
        self.is_slow = False
        self.cursor = 0
        self.acked: dict[str, int] = {}
        self.unacked: list[str] = []
        self.relayed: list[str] = []
        self.view: dict[int, Message] = {}

    def hear(self) -> None:
        """Take in what was written, and hold it against the promises."""
        for event in self.guest.take() if self.guest is not None else ():
            payload = event["payload"]
            if event["type"] == "ack" and event["id"] == "join":
                self._join(payload)
            elif event.get("id") == "change":
                assert event["type"] == "ack" or payload["code"] == "no_such_message", event
            elif event["type"] in ("ack", "error") and event["id"] in self.relayed:
                self.relayed.remove(event["id"])
                assert event["type"] == "ack" or payload["code"] in ("forbidden", "internal"), event
            elif event.get("id") == "changed":
                assert (event["type"], payload["code"]) == ("error", "conflict"), event
            elif event["type"] == "ack":
                self._ack(event["id"], payload["seq"])
            elif event["type"] in ("new_message", "relayed"):
                said = payload.get("message") or payload.get("text")
                assert said not in self.unacked + self.relayed, "the answer precedes the sender's own copy"
                self._note(event["type"], payload)
            elif event["type"] in CHANGES:
                self._note(event["type"], payload)
            elif event["type"] == "cursor":
                assert payload["at"] > self.cursor, "what is not kept comes in order too"
                self.cursor = payload["at"]
            else:
                assert event["type"] in ("member_joined", "member_left"), event

    def _join(self, payload: dict[str, Any]) -> None:
        if not self.epoch:
            self.last_seq = payload["seq"]
        elif payload["epoch"] == self.epoch:
            assert payload["recovered"], "the log has all of it"
        else:
            assert not payload["recovered"], "the log was begun anew"
            self.acked.clear()
            self.view.clear()
            self.last_seq = payload["seq"] - len(payload["messages"])
        self.epoch = payload["epoch"]
        for message in payload["messages"] if payload["recovered"] or self.last_seq < payload["seq"] else []:
            self._note(message.get("type", "new_message"), message)

    def _ack(self, text: str, seq: int) -> None:
        assert self.acked.setdefault(text, seq) == seq, "one key is kept once"
        if text in self.unacked:
            self.unacked.remove(text)

    def _note(self, type_: str, payload: dict[str, Any]) -> None:
        assert payload["seq"] == self.last_seq + 1, "no hole and no repeat"
        self.last_seq = payload["seq"]
        message = read_message(type_, payload)
        self.view[message.seq] = message
        if type_ in CHANGES:
            changed = read_changed(message)
            if changed.of in self.view:
                self.view[changed.of] = changed.apply_to(self.view[changed.of])


class Promises(RuleBasedStateMachine):
    """Random joins, sends, drops, resumes, duplicates, restarts, and handlers that post."""

    url = "memory://"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.people = {name: Person(name) for name in NAMES}
        self.said = 0
        self.casts = 0
        self.life = AsyncExitStack()
        self.gate = Gate(is_open=False)
        self.stage: Stage = self.do(self.start())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    async def start(self) -> Stage:
        self.gate = Gate(is_open=False)
        engine = await make_engine(self.url.format(Path(self.folder.name)), clock=self.clock, wall=self.clock)
        at_work_again = at_work(relaying(self.gate), engine=engine, clock=self.clock)
        return await self.life.enter_async_context(at_work_again)

    def teardown(self) -> None:
        self.do(self.life.aclose())
        self.loop.close()
        self.folder.cleanup()

    async def settle(self) -> None:
        """Let everything happen but the end of the handlers that wait at the gate."""
        await turns(3)
        if self.gate.waiting:
            # A posting that comes later is settled later.
            await self.stage.hub.room(OTHER_ROOM).post(Relayed("after all of it"))
            await turns()
        else:
            await self.stage.settle()

    # What can happen

    @rule(name=names)
    def come(self, name: str) -> None:
        person = self.people[name]
        if person.guest is None:
            self.do(self.let_in(person))

    async def let_in(self, person: Person) -> None:
        person.guest = await self.stage.client(person.name)
        person.is_slow = False
        since = {"since": {"epoch": person.epoch, "seq": person.last_seq}} if person.epoch else {"history": 0}
        person.guest.say("join_room", {"room": ROOM} | since, "join")
        for text in person.unacked:
            person.guest.say("send_message", {"room": ROOM, "message": text, "key": text}, text)
        await self.settle()

    @rule(name=names, are_seen=st.booleans())
    def say(self, name: str, are_seen: bool) -> None:
        person = self.people[name]
        if person.guest is None:
            return
        text = self.new_text(name)
        person.unacked.append(text)
        self.ask(person.guest, "send_message", {"message": text, "key": text}, text)
        if not are_seen:
            self.do(self.settle())
            self.drop(person)  # before the ack could be read

    @rule(name=names)
    def say_again(self, name: str) -> None:
        person = self.people[name]
        if person.guest is not None and person.acked:
            text = list(person.acked)[-1]
            self.ask(person.guest, "send_message", {"message": text, "key": text}, text)

    @rule(name=names)
    def say_another_thing_with_its_key(self, name: str) -> None:
        person = self.people[name]
        if person.guest is not None and person.acked:
            text = list(person.acked)[-1]
            self.ask(person.guest, "send_message", {"message": "changed", "key": text}, "changed")

    @rule(name=names, back=st.integers(0, 3), what=st.sampled_from(CHANGED))
    def change(self, name: str, back: int, what: tuple[str, dict[str, Any]]) -> None:
        person = self.people[name]
        if person.guest is not None and len(person.acked) > back:
            seq = list(person.acked.values())[-1 - back]
            self.ask(person.guest, what[0], {"room": ROOM, "seq": seq, **what[1]}, "change")

    @rule(name=names, way=st.sampled_from(WAYS))
    def ask_the_application_to_say(self, name: str, way: str) -> None:
        person = self.people[name]
        if person.guest is None:
            return
        text = self.new_text(name)
        person.relayed.append(text)
        self.ask(person.guest, "relay", {"text": text, "way": way}, text)

    @precondition(lambda self: self.gate.waiting)
    @rule()
    def let_handlers_go_on(self) -> None:
        self.gate.open()
        self.do(self.stage.settle())
        self.gate.close()

    @rule(count=st.sampled_from([1, 3, RECENT + 50]))
    def others_say(self, count: int) -> None:
        self.do(self.post(count))

    async def post(self, count: int) -> None:
        for _ in range(count):
            self.stage.hub.room(ROOM).post(NewMessage("meanwhile"))

    @rule()
    def cast(self) -> None:
        self.casts += 1
        self.do(self.cast_cursor())

    async def cast_cursor(self) -> None:
        self.stage.hub.room(ROOM).cast(Cursor(self.casts))

    @rule(name=names)
    def go(self, name: str) -> None:
        self.drop(self.people[name])

    def drop(self, person: Person) -> None:
        if person.guest is not None:
            self.do(self.hang_up(person.guest))
            person.guest = None
            person.relayed.clear()

    async def hang_up(self, guest: Guest) -> None:
        guest.hang_up()

    @rule(name=names)
    def read_slowly(self, name: str) -> None:
        person = self.people[name]
        if person.guest is not None and not person.is_slow:
            person.is_slow = True
            person.guest.read_slowly()

    @rule(name=names)
    def read_on(self, name: str) -> None:
        person = self.people[name]
        if person.guest is not None and person.is_slow:
            person.is_slow = False
            self.do(self.catch_up(person.guest))

    async def catch_up(self, guest: Guest) -> None:
        guest.read_on()

    @rule()
    def classic_comes(self) -> None:
        self.do(self.stage.client("classic", CLASSIC))

    @precondition(lambda self: self.said)
    @rule()
    def restart(self) -> None:
        for person in self.people.values():
            self.drop(person)
        self.do(self.life.aclose())
        self.life = AsyncExitStack()
        self.stage = self.do(self.start())
        for person in self.people.values():
            person.cursor = 0
        self.casts = 0

    def ask(self, guest: Guest, type_: str, payload: object, id_: str) -> None:
        async def say() -> None:
            guest.say(type_, payload, id_)

        self.do(say())

    def new_text(self, name: str) -> str:
        self.said += 1
        return f"{name} {self.said}"

    # What holds

    @invariant()
    def everyone_who_listens_has_heard_everything(self) -> None:
        self.do(self.settle())
        head = self.do(self.stage.engine.head(ROOM))
        for person in self.people.values():
            person.hear()
            if person.guest is not None and not person.is_slow and not self.gate.waiting:
                assert person.last_seq == head.seq
                assert not person.unacked + person.relayed
            assert person.guest is None or person.guest.close_code is None

    @invariant()
    def everyone_sees_what_the_log_has(self) -> None:
        head = self.do(self.stage.engine.head(ROOM))
        page = self.do(self.stage.engine.read(ROOM, after=0, limit=10_000))
        shown = {each.seq: told(read_message(each.type, json.loads(V1.listed(each)))) for each in page.messages}
        for person in self.people.values():
            if person.epoch == head.epoch and person.last_seq == head.seq:
                assert {seq: told(message) for seq, message in person.view.items()} == {
                    seq: shown[seq] for seq in person.view
                }

    @invariant()
    def what_was_acked_is_in_the_log_once(self) -> None:
        epoch = self.do(self.stage.engine.head(ROOM)).epoch
        page = self.do(self.stage.engine.read(ROOM, after=0, limit=10_000))
        said = {message.seq: body for message in page.messages if (body := body_of(message)) is not None}
        texts = [body.message for body in said.values() if body.edited is None and body.message != "meanwhile"]
        assert len(set(texts)) == len(texts)
        for person in self.people.values():
            if person.epoch == epoch:
                for text, seq in person.acked.items():
                    assert said[seq].message == text or said[seq].edited is not None


class SqlitePromises(Promises):
    """The same, where a restart loses nothing."""

    url = "sqlite:///{}/log.db"


class FoldingPromises(SqlitePromises):
    """The same, while the journal is folded at every other moment, a message at a time."""

    async def start(self) -> Stage:
        self.life.enter_context(patch.object(folding, "FOLD_MESSAGES", 2))
        self.life.enter_context(patch.object(folding, "FOLD_ROWS", 1))
        return await super().start()


@functools.cache
def redis_for_all() -> RedisServer:
    """One server for all examples, each with a prefix of its own; it ends with this process."""
    server = RedisServer(Path(tempfile.mkdtemp()))
    atexit.register(server.kill)
    server.start()
    return server


prefixes = itertools.count()


class RedisPromises(Promises):
    """The same on Redis, where a restart of all nodes loses nothing."""

    def __init__(self) -> None:
        self.target = self.new_target()
        super().__init__()

    def new_target(self) -> RedisTarget:
        return parse(f"{redis_for_all().url}?prefix=promises{next(prefixes)}")

    async def start(self) -> Stage:
        self.gate = Gate(is_open=False)
        return await self.start_node()

    async def start_node(self) -> Stage:
        engine = await make_redis_engine(self.target, clock=self.clock, wall=self.clock)
        at_work_again = at_work(relaying(self.gate), engine=engine, clock=self.clock)
        return await self.life.enter_async_context(at_work_again)


class NodesPromises(RedisPromises):
    """The same on two nodes: who comes is let in by the one or the other."""

    stages: tuple[Stage, Stage]

    async def start(self) -> Stage:
        self.gate = Gate(is_open=False)
        self.stages = await self.start_node(), await self.start_node()
        self.coming = 0
        return self.stages[0]

    async def let_in(self, person: Person) -> None:
        self.coming += 1
        self.stage = self.stages[self.coming % 2]
        await super().let_in(person)

    async def settle(self) -> None:
        await super().settle()
        if self.gate.waiting:
            return  # nobody is told what the one whose handler waits has not been told
        head = await self.stage.engine.head(ROOM)
        async with asyncio.timeout(DEADLINE_S):
            for person in self.people.values():
                while person.guest is not None and not person.is_slow and person.last_seq < head.seq:
                    await asyncio.sleep(0.001)
                    person.hear()


@functools.cache
def cluster_for_all() -> RedisCluster:
    """One cluster for all examples, each with a prefix of its own; it ends with this process."""
    running = ExitStack()
    cluster = running.enter_context(redis_cluster(Path(tempfile.mkdtemp())))
    atexit.register(running.close)
    return cluster


class ClusterPromises(NodesPromises):
    """The same on a cluster, whose rooms have lanes of their own."""

    def new_target(self) -> RedisTarget:
        return parse(f"{cluster_for_all().url}?prefix=promises{next(prefixes)}")

    async def settle(self) -> None:
        for stage in self.stages:
            await stage.core._pump.emptied()
        await super().settle()


slow_enough = settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))

Promises.TestCase.settings = slow_enough
TestMemory = pytest.mark.thorough(Promises.TestCase)
SqlitePromises.TestCase.settings = slow_enough
TestSqlite = pytest.mark.thorough(SqlitePromises.TestCase)
FoldingPromises.TestCase.settings = slow_enough
TestFolding = pytest.mark.thorough(FoldingPromises.TestCase)
RedisPromises.TestCase.settings = slow_enough
TestRedis = needs_redis(pytest.mark.thorough(RedisPromises.TestCase))
NodesPromises.TestCase.settings = slow_enough
TestNodes = needs_redis(pytest.mark.thorough(NodesPromises.TestCase))
ClusterPromises.TestCase.settings = settings(slow_enough, max_examples=10)
TestCluster = needs_redis(pytest.mark.thorough(ClusterPromises.TestCase))
