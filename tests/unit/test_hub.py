"""The hub as an application sees it: what it registers, its hooks, and moving clients."""

from __future__ import annotations

import pytest

from heard import seqs, types
from hubbub import Client, Event, Hub, Refused
from hubbub.errors import ConfigError
from hubbub.testing import CLASSIC, Stage, at_work

pytestmark = pytest.mark.anyio


class Vote(Event, tag="vote"):
    poll: str


class Tally(Event, tag="tally"):
    poll: str
    count: int


class Shout(Event, tag="send_message"):
    message: str


# Registering


async def test_an_application_can_take_over_a_built_in_event_but_not_twice() -> None:
    hub = Hub()

    @hub.on
    def shout(event: Shout, client: Client) -> dict[str, str]:
        return {"heard": event.message.upper()}

    with pytest.raises(TypeError, match="has a handler already"):
        hub.on(shout)
    for _ in range(2):
        async with at_work(hub) as stage:
            percy = await stage.client("percy")
            assert await percy.ask("send_message", {"message": "hi"}) == {"heard": "HI"}


def test_a_handler_must_name_its_event() -> None:
    hub = Hub()

    def no_annotation(vote, client):  # type: ignore[no-untyped-def]  # on purpose
        pass

    def no_event(vote: int, client: Client) -> None:
        pass

    def too_many(vote: Vote, client: Client, more: int) -> None:
        pass

    for handler in (no_annotation, no_event, too_many):
        with pytest.raises(TypeError, match=handler.__name__):
            hub.on(handler)


# Hooks


async def test_hooks_may_refuse_a_connection_and_a_room() -> None:
    hub = Hub()

    @hub.on_connect
    async def no_bob(client: Client) -> None:
        if client.user == "bob":
            raise Refused("forbidden", "not you")

    @hub.on_join
    def no_cellar(room: str, client: Client) -> None:
        if room == "cellar":
            raise Refused("forbidden", "not there")

    async with at_work(hub) as stage:
        with pytest.raises(Refused, match="not you"):
            await stage.client("bob")
        percy = await stage.client("percy")
        await percy.join("kitchen")
        for way_in in (percy.join("cellar"), percy.ask("change_room", {"name": "cellar"})):
            with pytest.raises(Refused, match="not there"):
                await way_in
        with pytest.raises(Refused, match="not there"):
            await hub.join(percy.client, "cellar")
        assert list(percy.client.rooms) == ["kitchen"]
        assert stage.core.rooms.find("cellar") is None


async def test_a_classic_client_that_is_refused_the_first_room_is_let_in_all_the_same() -> None:
    hub = Hub()

    @hub.on_join
    def closed(room: str, client: Client) -> None:
        if room == "general":
            raise Refused("forbidden", "closed today")

    async with at_work(hub) as stage:
        percy = await stage.client("percy", CLASSIC)
        assert list(percy.client.rooms) == []
        assert percy.refused == 1
        percy.say("change_room", {"name": "kitchen"})
        await stage.settle()
        assert list(percy.client.rooms) == ["kitchen"]


async def test_a_hook_that_fails_leaves_no_ghost() -> None:
    hub = Hub()

    @hub.on_join
    def fail(room: str, client: Client) -> None:
        raise ZeroDivisionError

    async with at_work(hub) as stage:
        with pytest.raises(ZeroDivisionError):
            await stage.client("percy", CLASSIC)
        assert not stage.core.clients
        assert stage.core.rooms.find("general") is None


async def test_the_disconnect_hook_is_told_once_and_its_failure_is_its_own() -> None:
    hub = Hub()
    gone: list[tuple[str, tuple[str, ...]]] = []

    @hub.on_disconnect
    async def note(client: Client) -> None:
        gone.append((client.user, client.rooms))
        raise ZeroDivisionError

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        await percy.join("general")
        percy.hang_up()
        percy.hang_up()
        await stage.settle()
        assert gone == [("percy", ())]


async def test_what_is_sent_before_the_connection_stands_is_written_when_it_does() -> None:
    hub = Hub()

    @hub.on_connect
    def greet(client: Client) -> None:
        client.send(Tally(poll="lunch", count=0))

    async with at_work(hub) as stage:
        percy, alice = await stage.client("percy"), await stage.client("alice", CLASSIC)
        assert percy.take() == [{"type": "tally", "payload": {"poll": "lunch", "count": 0}}]
        assert alice.take() == []


async def test_one_that_a_hook_puts_out_is_closed_when_its_connection_stands() -> None:
    hub = Hub()

    @hub.on_connect
    def put_out(client: Client) -> None:
        client.close(reason="not today")

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        assert percy.closed == (4101, "not today")


# Rooms


async def test_an_application_moves_clients(stage: Stage) -> None:
    percy = await stage.client("percy")
    kitchen = await stage.hub.join(percy.client, "kitchen")
    await stage.hub.join(percy.client, "cellar")
    await stage.hub.join(percy.client, "kitchen")
    assert list(percy.client.rooms) == ["kitchen", "cellar"]
    stage.hub.leave(percy.client, "kitchen")
    stage.hub.leave(percy.client, "kitchen")
    stage.hub.leave(percy.client, "nowhere")
    assert list(percy.client.rooms) == ["cellar"]
    kitchen.post(Tally(poll="lunch", count=1))
    assert await percy.hear() == []
    stage.hub.room("cellar").post(Tally(poll="lunch", count=1))
    assert seqs(await percy.hear()) == [1]


async def test_the_only_room_of_a_client_need_not_be_named(stage: Stage) -> None:
    percy = await stage.client("percy")
    with pytest.raises(Refused, match="no room"):
        stage.hub.room_of(percy.client)
    await percy.join("kitchen")
    assert stage.hub.room_of(percy.client).name == "kitchen"
    assert stage.hub.room_of(percy.client, "kitchen").name == "kitchen"
    with pytest.raises(Refused, match="not in the room 'cellar'"):
        stage.hub.room_of(percy.client, "cellar")
    await percy.join("cellar")
    with pytest.raises(Refused, match="say which"):
        stage.hub.room_of(percy.client)


async def test_a_room_of_two_others_cannot_be_joined_on_anybodys_behalf(stage: Stage) -> None:
    bob = await stage.client("bob")
    with pytest.raises(Refused, match="the two users"):
        await stage.hub.join(bob.client, "dm:alice,percy")


def test_a_hub_that_does_not_run_says_how_it_would() -> None:
    with pytest.raises(ConfigError, match="hubbub serve"):
        Hub().room_of(Client("percy"))


async def test_a_client_has_a_place_for_notes(stage: Stage) -> None:
    percy, alice = await stage.client("percy"), await stage.client("alice")
    percy.client.info["language"] = "en"
    assert percy.client.info == {"language": "en"}
    assert alice.client.info == {}


async def test_an_event_can_be_sent_to_one_client_alone(stage: Stage) -> None:
    percy, alice = await stage.client("percy"), await stage.client("alice")
    percy.client.send(Tally(poll="lunch", count=1))
    assert types(percy.take()) == ["tally"]
    assert alice.take() == []
