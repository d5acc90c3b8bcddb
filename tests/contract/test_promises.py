"""The promises of the protocol (section 5), kept through any course of events, on every engine."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubbub.chat import NewMessage
from hubbub.client import Client
from hubbub.engine import open_engine, sqlite
from hubbub.wire.dialects import CLASSIC, V1
from stage import Clock, FakeSocket, Stage, stage

ROOM = "general"
NAMES = ("percy", "alice", "bob")

names = st.sampled_from(NAMES)


class Person:
    """Someone who comes and goes, and remembers where they were."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client: Client | None = None
        self.socket = FakeSocket()
        self.epoch = ""
        self.last_seq = 0
        self.is_slow = False
        self.acked: dict[str, int] = {}
        self.unacked: dict[str, str] = {}

    def hear(self) -> None:
        """Take in what was written, and hold it against the promises."""
        for event in self.socket.take():
            payload = event["payload"]
            if event["type"] == "ack" and event["id"] == "join":
                self._join(payload)
            elif event["type"] == "ack":
                self._ack(event["id"], payload["seq"])
            elif event["type"] == "new_message":
                assert payload["message"] not in self.unacked, "the ack precedes the sender's own copy"
                self._note(payload)
            assert event["type"] != "error", event

    def _join(self, payload: dict[str, Any]) -> None:
        if not self.epoch:
            self.last_seq = payload["seq"]
        elif payload["epoch"] == self.epoch:
            assert payload["recovered"], "the log has all of it"
        else:
            assert not payload["recovered"], "the log was begun anew"
            self.acked.clear()
            self.last_seq = payload["seq"] - len(payload["messages"])
        self.epoch = payload["epoch"]
        for message in payload["messages"] if payload["recovered"] or self.last_seq < payload["seq"] else []:
            self._note(message)

    def _ack(self, text: str, seq: int) -> None:
        assert self.acked.setdefault(text, seq) == seq, "one key is kept once"
        self.unacked.pop(text, None)

    def _note(self, message: dict[str, Any]) -> None:
        assert message["seq"] == self.last_seq + 1, "no hole and no repeat"
        self.last_seq = message["seq"]


class Promises(RuleBasedStateMachine):
    """Random joins, sends, drops, resumes, duplicates and restarts."""

    url = "memory://"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.people = {name: Person(name) for name in NAMES}
        self.said = 0
        self.life = AsyncExitStack()
        self.stage: Stage = self.do(self.start())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    async def start(self) -> Stage:
        engine = open_engine(self.url.format(Path(self.folder.name)), clock=self.clock, wall=self.clock)
        return await self.life.enter_async_context(stage(engine=engine))

    def teardown(self) -> None:
        self.do(self.life.aclose())
        self.loop.close()
        self.folder.cleanup()

    # What can happen

    @rule(name=names)
    def come(self, name: str) -> None:
        person = self.people[name]
        if person.client is not None:
            return
        person.client, person.socket = self.do(self.stage.client(name, V1))
        person.is_slow = False
        since = {"since": {"epoch": person.epoch, "seq": person.last_seq}} if person.epoch else {"history": 0}
        self.do(self.stage.say(person.client, "join_room", {"room": ROOM} | since, "join"))
        person.hear()
        for text, key in list(person.unacked.items()):
            self.do(self.stage.say(person.client, "send_message", {"message": text, "key": key}, text))

    @rule(name=names, are_seen=st.booleans())
    def say(self, name: str, are_seen: bool) -> None:
        person = self.people[name]
        if person.client is None:
            return
        self.said += 1
        text = f"{name} {self.said}"
        person.unacked[text] = text
        self.do(self.stage.say(person.client, "send_message", {"message": text, "key": text}, text))
        if not are_seen:
            self.drop(person)  # before the ack could be read

    @rule(name=names)
    def say_again(self, name: str) -> None:
        person = self.people[name]
        if person.client is not None and person.acked:
            text = list(person.acked)[-1]
            self.do(self.stage.say(person.client, "send_message", {"message": "changed", "key": text}, text))

    @rule(count=st.sampled_from([1, 3, 250]))
    def others_say(self, count: int) -> None:
        for _ in range(count):
            self.stage.hub.room(ROOM).post(NewMessage("meanwhile"))
        self.do(self.stage.settle())

    @rule(name=names)
    def go(self, name: str) -> None:
        self.drop(self.people[name])

    def drop(self, person: Person) -> None:
        if person.client is not None:
            self.stage.hub.disconnect(person.client)
            person.client = None
            person.socket.take()

    @rule(name=names)
    def read_slowly(self, name: str) -> None:
        person = self.people[name]
        if person.client is not None and not person.is_slow:
            person.is_slow = True
            person.socket.outbox_size = self.stage.settings.max_outbox + 1
            self.stage.hub.mark_slow(person.client)

    @rule(name=names)
    def read_on(self, name: str) -> None:
        person = self.people[name]
        if person.client is not None and person.is_slow:
            person.is_slow = False
            person.socket.outbox_size = 0
            self.do(self.catch_up(person.client))

    async def catch_up(self, client: Client) -> None:
        self.stage.hub.mark_caught_up(client)

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

    # What holds

    @invariant()
    def everyone_who_listens_has_heard_everything(self) -> None:
        self.do(self.stage.settle())
        head = self.do(self.stage.engine.head(ROOM))
        for person in self.people.values():
            if person.client is not None:
                person.hear()
                assert person.is_slow or person.last_seq == head.seq

    @invariant()
    def what_was_acked_is_in_the_log_once(self) -> None:
        epoch = self.do(self.stage.engine.head(ROOM)).epoch
        page = self.do(self.stage.engine.read(ROOM, after=0, limit=10_000))
        texts = [message.body for message in page.messages if b"meanwhile" not in message.body]
        assert len(set(texts)) == len(texts)
        places = {message.body: message.seq for message in page.messages}
        for person in self.people.values():
            if person.epoch == epoch:
                for text, seq in person.acked.items():
                    assert places[b'{"message":"%b"}' % text.encode()] == seq


class SqlitePromises(Promises):
    """The same, where a restart loses nothing."""

    url = "sqlite:///{}/log.db"


class FoldingPromises(SqlitePromises):
    """The same, while the journal is folded at every other moment, a message at a time."""

    async def start(self) -> Stage:
        self.life.enter_context(patch.object(sqlite, "FOLD_MESSAGES", 2))
        self.life.enter_context(patch.object(sqlite, "FOLD_ROWS", 1))
        return await super().start()


slow_enough = settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))

TestMemory = Promises.TestCase
TestMemory.settings = slow_enough
TestSqlite = SqlitePromises.TestCase
TestSqlite.settings = slow_enough
TestFolding = FoldingPromises.TestCase
TestFolding.settings = slow_enough
