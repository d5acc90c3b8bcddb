"""Who may do what, asked of a hub at work: roles, rules, private rooms, the application's policy."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog.testing

from gates import Gate, GatedEngine
from heard import refusal, types
from hubbub import Act, Client, Event, Hub, Refused, Role
from hubbub.engine import Draft
from hubbub.rules import Rule
from hubbub.testing import CLASSIC, Guest, Stage, at_work

pytestmark = pytest.mark.anyio

# A room that is there, as a guest needs it.
NEWS = Draft("news", "new_message", b'{"message":"hi"}', "percy")


class Vote(Event, tag="vote"):
    option: int = 1


class Look(Event, tag="look"):
    pass


class Wave(Event, tag="wave"):
    pass


async def refusals(guest: Guest, room: str) -> dict[str, str]:
    """What comes of everything that can be asked in a room."""
    asked = {
        "join_room": {"room": room},
        "history": {"room": room},
        "send_message": {"room": room, "message": "hi"},
        "presence": {"room": room},
        "typing": {"room": room, "on": True},
        "mark_read": {"room": room, "seq": 1},
    }
    return {type_: await refusal(guest, type_, payload) for type_, payload in asked.items()}


ALL_OK = dict.fromkeys(("join_room", "history", "send_message", "presence", "typing", "mark_read"), "ok")
NOTHING = dict.fromkeys(ALL_OK, "forbidden")
NO_POSTS = ALL_OK | {"send_message": "forbidden", "typing": "forbidden"}


# Roles


async def test_members_and_admins_use_every_open_room(stage: Stage) -> None:
    for role in (Role.MEMBER, Role.ADMIN):
        guest = await stage.client(f"a.{role}", role=role)
        assert await refusals(guest, f"room of {role}") == ALL_OK
        assert guest.client.role is role


async def test_a_guest_looks_into_rooms_that_are_there_and_says_nothing(stage: Stage) -> None:
    await stage.engine.append([NEWS])
    guest = await stage.client("visitor", role=Role.GUEST)
    assert await refusals(guest, "news") == NO_POSTS
    assert await refusal(guest, "join_room", {"room": "elsewhere"}) == "no_such_room"
    assert await refusal(guest, "change_room", {"name": "elsewhere"}) == "no_such_room"
    percy = await stage.client("percy")
    await percy.join("elsewhere")
    assert await refusal(guest, "join_room", {"room": "elsewhere"}) == "ok"


async def test_a_classic_guest_reads_along_and_is_refused_without_a_word(stage: Stage) -> None:
    guest = await stage.client("visitor", CLASSIC, role=Role.GUEST)
    percy = await stage.client("percy", CLASSIC)
    assert guest.client.rooms == ("general",)
    guest.say("send_message", {"message": "hi", "room": "elsewhere"})
    percy.say("send_message", {"message": "ho"})
    assert [event["payload"]["from"] for event in await percy.hear()] == ["percy"]
    assert types(await guest.hear()) == ["new_message"]
    assert guest.refused == 1


async def test_a_classic_client_gains_nothing_by_naming_a_room() -> None:
    rule = Rule(rooms=("lobby",), roles=("guest",), may=("join", "post"))
    async with at_work(permissions=(rule,)) as stage:
        guest = await stage.client("visitor", CLASSIC, role=Role.GUEST)
        guest.say("send_message", {"message": "hi", "room": "lobby"})
        await stage.settle()
        assert guest.refused == 1
        assert [(await stage.engine.head(room)).seq for room in ("general", "lobby")] == [0, 0]


async def test_without_a_room_a_request_is_about_the_room_that_its_client_is_in(stage: Stage) -> None:
    await stage.engine.append([NEWS])
    guest = await stage.client("visitor", role=Role.GUEST)
    await guest.join("news")
    assert await refusal(guest, "send_message", {"message": "hi"}) == "forbidden"
    assert await refusal(guest, "history", {}) == "ok"


async def test_an_applications_events_are_posts_unless_it_says_otherwise() -> None:
    hub = Hub()
    hub.on(lambda_handler(Vote))
    hub.on(act=Act.READ)(lambda_handler(Look))
    hub.on(act=None)(lambda_handler(Wave))
    async with at_work(hub, permissions=(Rule(rooms=("*",), users=("nobody",), may=()),)) as stage:
        guest, nobody, percy = [
            await stage.client("visitor", role=Role.GUEST),
            await stage.client("nobody"),
            await stage.client("percy"),
        ]
        asked = ("vote", "look", "wave")
        assert [await refusal(percy, type_, {}) for type_ in asked] == ["ok", "ok", "ok"]
        assert [await refusal(guest, type_, {}) for type_ in asked] == ["forbidden", "ok", "ok"]
        assert [await refusal(nobody, type_, {}) for type_ in asked] == ["forbidden", "forbidden", "ok"]


def lambda_handler(event: type[Event]) -> Any:
    """A handler of an event that does nothing."""

    def handle(event: Event) -> None: ...

    handle.__annotations__["event"] = event
    return handle


# Rules


async def test_a_rule_says_what_may_be_done_in_its_rooms() -> None:
    rules = (
        Rule(rooms=("news",), roles=("admin",), may=("join", "read", "post", "presence", "create")),
        Rule(rooms=("news",), may=("join", "presence", "create")),
        Rule(rooms=("dark",), may=("join", "read", "post", "create")),
        Rule(rooms=("secret*",), may=()),
    )
    async with at_work(permissions=rules) as stage:
        admin, percy = await stage.client("boss", role=Role.ADMIN), await stage.client("percy")
        assert await refusals(admin, "news") == ALL_OK
        assert await refusals(percy, "news") == NO_POSTS | {"history": "forbidden", "mark_read": "forbidden"}
        assert await refusals(percy, "dark") == ALL_OK | {"presence": "forbidden"}
        assert await refusals(percy, "secret 2") == NOTHING
        assert await refusals(percy, "elsewhere") == ALL_OK


async def test_who_may_not_read_hears_what_is_said_from_now_on_and_nothing_of_the_past() -> None:
    async with at_work(permissions=(Rule(rooms=("news",), users=("percy",), may=("join", "create")),)) as stage:
        alice, percy = await stage.client("alice"), await stage.client("percy")
        await alice.join("news")
        said = await alice.ask("send_message", {"message": "before"})
        joined = await percy.join("news")
        assert (joined["messages"], joined["seq"], joined["recovered"]) == ([], said["seq"], False)
        since = {"epoch": joined["epoch"], "seq": 0}
        again = await percy.join("news", since=since, history=10)
        assert (again["messages"], again["recovered"]) == ([], False)
        await alice.ask("send_message", {"message": "after"})
        assert [event["payload"]["message"] for event in await percy.hear()] == ["after"]


async def test_who_may_not_see_presence_is_told_of_nobody() -> None:
    async with at_work(permissions=(Rule(rooms=("news",), users=("percy",), may=("join", "create", "post")),)) as stage:
        bob, percy, alice = [await stage.client(name) for name in ("bob", "percy", "alice")]
        await bob.join("news")
        joined = await percy.join("news")
        assert (joined["members"], joined["count"]) == ([], 0)
        bob.take()
        await alice.join("news")
        await alice.ask("typing", {"on": True})
        await alice.ask("send_message", {"message": "hi"})
        await alice.ask("mark_read", {"seq": 1})
        alice.hang_up()
        await stage.pass_time(10)
        assert types(await percy.hear()) == ["new_message"]
        assert types(await bob.hear()) == ["member_joined", "typing", "new_message", "read", "typing", "member_left"]


async def test_dm_rooms_belong_to_their_two_users_whatever_the_rules_and_the_policy_say() -> None:
    hub = Hub()
    hub.policy(lambda client, act, room: True)
    everything = ("join", "read", "post", "presence", "create", "manage")
    async with at_work(hub, permissions=(Rule(rooms=("*",), may=everything),), private_rooms=("*",)) as stage:
        for user in ("alice", "bob"):
            await stage.account(user)
        for user in ("alice", "bob"):
            assert await refusals(await stage.client(user), "dm:alice,bob") == ALL_OK
        boss = await stage.client("boss", role=Role.ADMIN)
        assert await refusals(boss, "dm:alice,bob") == NOTHING


async def test_nobody_enters_the_room_of_two_others_whoever_has_it_enter(stage: Stage) -> None:
    boss = await stage.client("boss", role=Role.ADMIN)
    assert await refusal(boss, "change_room", {"name": "dm:alice,bob"}) == "forbidden"
    with pytest.raises(Refused, match="two users"):
        await stage.hub.join(boss.client, "dm:alice,bob")
    assert boss.client.rooms == ()


async def test_a_rule_narrows_dm_rooms() -> None:
    async with at_work(permissions=(Rule(rooms=("dm:*",), users=("alice",), may=("join", "read")),)) as stage:
        bob, alice = await stage.client("bob"), await stage.client("alice")
        await stage.account("alice")
        await stage.account("bob")
        await bob.join("dm:alice,bob")
        await bob.ask("send_message", {"message": "hi"})
        assert await refusals(alice, "dm:alice,bob") == NO_POSTS | {"presence": "forbidden"}


# Private rooms


async def test_a_private_room_needs_an_invitation() -> None:
    async with at_work(private_rooms=("team-*",)) as stage:
        await stage.account("percy")
        await stage.account("visitor", Role.GUEST)
        await stage.hub.invite("team-a", "percy")
        await stage.hub.invite("team-a", "visitor")
        percy, alice = await stage.client("percy"), await stage.client("alice")
        boss, visitor = await stage.client("boss", role=Role.ADMIN), await stage.client("visitor")
        assert await refusals(percy, "team-a") == ALL_OK
        assert await refusals(percy, "team-b") == NOTHING
        assert await refusals(alice, "team-a") == NOTHING
        assert await refusals(boss, "team-a") == NOTHING
        assert await refusals(visitor, "team-a") == NO_POSTS


async def test_no_rule_opens_a_private_room() -> None:
    rule = Rule(rooms=("*",), may=("join", "read", "post", "presence", "create"))
    async with at_work(private_rooms=("team-*",), permissions=(rule,)) as stage:
        assert await refusals(await stage.client("alice"), "team-a") == NOTHING


@pytest.mark.parametrize("role", [Role.MEMBER, Role.GUEST])
async def test_a_stranger_cannot_tell_whether_a_private_room_is_there_or_closed(role: Role) -> None:
    async with at_work(private_rooms=("team-*",)) as stage:
        await stage.account("percy")
        for room in ("team-a", "team-closed"):
            await stage.hub.invite(room, "percy")
            await (await stage.client("percy")).join(room)
        await stage.hub.close_room("team-closed")
        stranger = await stage.client("alice", role=role)
        told = set()
        for room in ("team-a", "team-b", "team-closed"):
            with pytest.raises(Refused) as refused:
                await stranger.join(room)
            told.add((refused.value.code, refused.value.message.replace(room, "ROOM")))
        assert len(told) == 1


# The application's policy


async def test_a_policy_comes_before_the_rules_and_may_leave_it_to_them() -> None:
    hub = Hub()
    asked: list[tuple[str, Act, str | None]] = []

    @hub.policy
    def decide(client: Client, act: Act, room: str | None) -> bool | None:
        asked.append((client.user, act, room))
        if room == "forbidden":
            return False
        return True if room == "team-a" else None

    async with at_work(hub, private_rooms=("team-*",)) as stage:
        percy = await stage.client("percy")
        assert await refusals(percy, "team-a") == ALL_OK
        assert await refusals(percy, "team-b") == NOTHING
        assert await refusals(percy, "forbidden") == NOTHING
        assert await refusals(percy, "elsewhere") == ALL_OK
        assert ("percy", Act.POST, "team-a") in asked


async def test_a_policy_is_asked_at_each_message() -> None:
    hub = Hub()
    is_open = True

    @hub.policy
    def decide(client: Client, act: Act, room: str | None) -> bool | None:
        return is_open if act is Act.POST else None

    async with at_work(hub) as stage:
        for dialect in (None, CLASSIC):
            percy = await stage.client("percy", *([dialect] if dialect else []))
            if not dialect:
                await percy.join("general")
            for is_open in (True, False, True):  # noqa: B007  # the policy looks at it
                percy.say("send_message", {"message": "hi"})
                await stage.settle()
            assert percy.refused == 1
        assert (await stage.engine.head("general")).seq == 4


@pytest.mark.parametrize("answer", [ValueError("broken"), 1, "yes", [], object()])
async def test_a_policy_that_fails_or_answers_anything_else_refuses_and_is_logged(answer: object) -> None:
    hub = Hub()

    @hub.policy
    def decide(client: Client, act: Act, room: str | None) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        with structlog.testing.capture_logs() as logged:
            assert await refusal(percy, "join_room", {"room": "general"}) == "forbidden"
        assert any(line["log_level"] == "error" for line in logged)
        assert percy.closed is None
        assert await refusal(percy, "leave_room", {"room": "general"}) == "not_in_room"


def test_a_policy_is_one_plain_function() -> None:
    hub = Hub()

    async def slow(client: Client, act: Act, room: str | None) -> bool:
        return True

    def quick(client: Client, act: Act, room: str | None) -> bool:
        return True

    with pytest.raises(TypeError, match="plain function"):
        hub.policy(slow)
    assert hub.policy(quick) is quick
    with pytest.raises(TypeError, match="one policy"):
        hub.policy(quick)


async def test_a_policy_that_changes_its_mind_is_asked_anew_about_all_who_are_there() -> None:
    hub = Hub()
    banned: set[str] = set()

    @hub.policy
    def decide(client: Client, act: Act, room: str | None) -> bool | None:
        return False if client.user in banned else None

    async with at_work(hub) as stage:
        percy, alice = await stage.client("percy"), await stage.client("alice")
        for guest in (percy, alice):
            await guest.join("general")
            await guest.join("other")
        percy.take()
        banned.add("percy")
        hub.review()
        assert (percy.client.rooms, alice.client.rooms) == ((), ("general", "other"))
        assert [event["payload"]["room"] for event in percy.take() if event["type"] == "removed"] == [
            "general",
            "other",
        ]


async def test_an_application_asks_what_a_client_may_do(stage: Stage) -> None:
    guest = await stage.client("visitor", role=Role.GUEST)
    hub = stage.hub
    assert hub.may(guest.client, Act.READ, "general")
    assert not hub.may(guest.client, Act.POST, "general")
    assert not hub.may(guest.client, Act.POST)
    assert not hub.may(guest.client, Act.READ, "dm:alice,bob")


# What changes meanwhile


async def test_who_loses_a_right_on_the_way_in_stays_outside() -> None:
    engine = GatedEngine()
    async with at_work(engine=engine, private_rooms=("team-*",)) as stage:
        await stage.account("percy")
        await stage.hub.invite("team-a", "percy")
        percy = await stage.client("percy")
        for gate in (engine.reads, engine.subscribes):
            gate.close()
            joining = asyncio.create_task(refusal(percy, "join_room", {"room": "team-a"}))
            await gate.reached()
            await stage.hub.uninvite("team-a", "percy")
            gate.open()
            assert await joining == "forbidden"
            assert percy.client.rooms == ()
            assert stage.core.rooms.find("team-a") is None
            await stage.hub.invite("team-a", "percy")


async def test_who_loses_a_right_while_a_hook_thinks_stays_outside() -> None:
    hub = Hub()
    gate = Gate(is_open=False)

    @hub.on_join
    async def think(room: str, client: Client) -> None:
        await gate.enter()

    async with at_work(hub) as stage:
        for dialect in (None, CLASSIC):
            await stage.account("percy")
            gate.close()
            arriving = asyncio.create_task(stage.client("percy", *([dialect] if dialect else [])))
            if dialect is None:
                percy = await arriving
                joining = asyncio.create_task(refusal(percy, "join_room", {"room": "general"}))
            await gate.reached()
            await stage.hub.close_room("general")
            gate.open()
            if dialect is None:
                assert await joining == "forbidden"
            else:
                percy = await arriving
            assert percy.client.rooms == ()
            await stage.hub.reopen_room("general")


@pytest.mark.parametrize("payload", [{"before": 1}, {"before": 1, "room": "team-a"}])
async def test_a_page_that_is_read_when_the_right_is_lost_is_not_shown(payload: dict[str, object]) -> None:
    engine = GatedEngine()
    async with at_work(engine=engine, private_rooms=("team-*",)) as stage:
        await stage.account("percy")
        await stage.hub.invite("team-a", "percy")
        percy = await stage.client("percy")
        await percy.join("team-a")
        engine.reads.close()
        reading = asyncio.create_task(refusal(percy, "history", payload))
        await engine.reads.reached()
        await stage.hub.uninvite("team-a", "percy")
        engine.reads.open()
        assert await reading == "forbidden"


async def test_a_message_that_waits_in_line_is_judged_when_its_turn_comes() -> None:
    engine = GatedEngine()
    async with at_work(engine=engine) as stage:
        await stage.account("percy")
        percy = await stage.client("percy")
        await percy.join("general")
        engine.reads.close()
        percy.say("history", {"before": 5}, 1)
        percy.say("send_message", {"message": "hi"}, 2)
        await engine.reads.reached()
        await stage.hub.set_role("percy", Role.GUEST)
        engine.reads.open()
        answers = {event["id"]: event["type"] for event in await percy.hear() if "id" in event}
        assert answers == {1: "ack", 2: "error"}
        assert (await engine.head("general")).seq == 0
