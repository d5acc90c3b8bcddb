"""What admins do, and what it does to live connections."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gates import GatedEngine, turns
from heard import refusal, texts, types
from hubbub import EngineError, Hub, NotKept, Refused, Role
from hubbub.chat import NewMessage
from hubbub.engine import Draft, Grant
from hubbub.engine import access as access_module
from hubbub.engine.memory import MemoryEngine
from hubbub.rules import Rule
from hubbub.testing import CLASSIC, Clock, Guest, Stage, at_work

pytestmark = pytest.mark.anyio


class Noted:
    """An audit log in memory."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []

    def note(self, act: str, *, actor: str, outcome: str, **more: object) -> None:
        told = {name: value for name, value in more.items() if value is not None}
        self.lines.append({"act": act, "actor": actor, "outcome": outcome, **told})

    def refuse(self, act: str, *, actor: str, address: str, outcome: str, **more: object) -> None:
        self.lines.append({"act": act, "actor": actor, "outcome": outcome})

    def tick(self) -> None: ...


async def with_session(stage: Stage, user: str, session: str, **more: Any) -> Guest:
    """A client with a session in the vault."""
    await stage.engine.put_session(Grant(user, session), stage.clock() + 1000)
    return await stage.client(user, session=session, **more)


def removed(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The rooms that a client was taken out of, each with the code."""
    return [(event["payload"]["room"], event["payload"]["code"]) for event in events if event["type"] == "removed"]


ASKED: list[tuple[str, dict[str, object]]] = [
    ("admin_disconnect", {"user": "percy"}),
    ("admin_revoke", {"user": "percy"}),
    ("admin_block", {"user": "percy"}),
    ("admin_unblock", {"user": "percy"}),
    ("admin_role", {"user": "percy", "role": "guest"}),
    ("admin_invite", {"room": "team", "user": "percy"}),
    ("admin_uninvite", {"room": "team", "user": "percy"}),
    ("admin_close_room", {"room": "team"}),
    ("admin_reopen_room", {"room": "team"}),
    ("admin_delete_room", {"room": "team"}),
]


# Who may


@pytest.mark.parametrize(("type_", "payload"), ASKED)
@pytest.mark.parametrize("role", [Role.MEMBER, Role.GUEST])
async def test_only_admins_act_and_nobody_else_learns_which_accounts_there_are(
    role: Role, type_: str, payload: dict[str, object]
) -> None:
    noted = Noted()
    async with at_work(audit=noted) as stage:
        await stage.account("percy")
        percy = await stage.client("percy")
        await percy.join("team")
        eve = await stage.client("eve", role=role)
        told = set()
        for user in ("percy", "nobody"):
            with pytest.raises(Refused) as refused:
                await eve.ask(type_, payload | ({"user": user} if "user" in payload else {}))
            told.add((refused.value.code, refused.value.message))
        assert {code for code, _ in told} == {"forbidden"}
        assert len(told) == 1
        assert (percy.closed, percy.client.rooms, percy.client.role) == (None, ("team",), Role.MEMBER)
        assert {"act": type_, "actor": "eve", "outcome": "forbidden"} in noted.lines


@pytest.mark.parametrize(("type_", "payload"), ASKED)
async def test_an_admin_acts_and_each_act_is_noted(type_: str, payload: dict[str, object]) -> None:
    noted = Noted()
    async with at_work(audit=noted) as stage:
        await stage.account("percy")
        boss = await stage.client("boss", role=Role.ADMIN)
        answer = await boss.ask(type_, payload)
        assert answer.items() >= payload.items()
        [line] = noted.lines
        assert (line["actor"], line["outcome"]) == ("boss", "done")
        if "room" in payload:
            assert line["room"] == "team"
        if "user" in payload:
            assert line["target"] == "percy"


async def test_who_may_manage_a_room_by_a_rule_manages_that_room_and_nothing_else() -> None:
    rule = Rule(rooms=("team-*",), users=("percy",), may=("join", "read", "post", "presence", "create", "manage"))
    async with at_work(permissions=(rule,)) as stage:
        await stage.account("alice")
        percy = await stage.client("percy")
        for type_, payload in ASKED:
            mine = payload | ({"room": "team-a"} if "room" in payload else {}) | {"user": "alice"}
            assert await refusal(percy, type_, mine) == ("ok" if "room" in payload else "forbidden")
            assert await refusal(percy, type_, payload) == "forbidden"


async def test_no_policy_makes_an_admin() -> None:
    hub = Hub()
    hub.policy(lambda client, act, room: True)
    async with at_work(hub) as stage:
        eve = await stage.client("eve", role=Role.MEMBER)
        assert await refusal(eve, "admin_role", {"user": "eve", "role": "admin"}) == "forbidden"


# Users


async def test_a_disconnected_user_is_closed_and_may_come_back() -> None:
    async with at_work() as stage:
        guests = [await with_session(stage, "percy", name) for name in ("one", "two")]
        alice = await stage.client("alice")
        assert stage.hub.disconnect("percy") == 2
        assert [guest.close_code for guest in (*guests, alice)] == [4101, 4101, None]
        assert await stage.engine.alive(["one", "two"]) == {"one", "two"}


async def test_revoked_sessions_are_closed() -> None:
    async with at_work() as stage:
        guests = [await with_session(stage, "percy", name) for name in ("one", "two")]
        alice = await with_session(stage, "alice", "hers")
        assert await stage.hub.revoke("percy") == 2
        assert [guest.close_code for guest in (*guests, alice)] == [4100, 4100, None]
        assert await stage.hub.revoke("percy") == 0


async def test_a_blocked_user_is_out_and_stays_out() -> None:
    async with at_work() as stage:
        await stage.account("percy")
        percy = await with_session(stage, "percy", "one")
        without_session = await stage.client("percy")
        await percy.join("general")
        await stage.hub.block("percy")
        assert percy.close_code in (4100, 4101)
        assert without_session.close_code == 4101
        assert percy.client.rooms == ()
        assert await refusal(percy, "send_message", {"message": "hi", "room": "general"}) == "forbidden"
        with pytest.raises(Refused, match="blocked"):
            await stage.client("percy", session="new")
        await stage.hub.unblock("percy")
        await stage.client("percy", session="newer")


async def test_a_new_role_acts_on_live_connections() -> None:
    async with at_work(permissions=(Rule(rooms=("staff",), roles=("guest",), may=()),)) as stage:
        await stage.account("percy")
        percy = await stage.client("percy")
        for room in ("staff", "general"):
            await percy.join(room)
        await percy.ask("send_message", {"room": "general", "message": "hi"})
        percy.take()
        await stage.hub.set_role("percy", Role.GUEST)
        assert removed(percy.take()) == [("staff", "forbidden")]
        assert percy.client.rooms == ("general",)
        assert percy.client.role is Role.GUEST
        assert await refusal(percy, "send_message", {"message": "hi"}) == "forbidden"
        await stage.hub.set_role("percy", Role.MEMBER)
        assert await refusal(percy, "send_message", {"message": "hi"}) == "ok"


async def test_an_admin_that_is_one_no_more_acts_no_more(stage: Stage) -> None:
    await stage.account("root", Role.ADMIN)
    boss = await stage.client("boss", role=Role.ADMIN)
    await stage.hub.set_role("boss", Role.MEMBER)
    assert await refusal(boss, "admin_role", {"user": "boss", "role": "admin"}) == "forbidden"


async def test_the_last_admin_stays_one() -> None:
    noted = Noted()
    async with at_work(audit=noted) as stage:
        boss = await stage.client("boss", role=Role.ADMIN)
        for type_, payload in (
            ("admin_role", {"user": "boss", "role": "member"}),
            ("admin_block", {"user": "boss"}),
        ):
            assert await refusal(boss, type_, payload) == "conflict"
        assert (boss.closed, boss.client.role) == (None, Role.ADMIN)
        assert [line["outcome"] for line in noted.lines] == ["conflict", "conflict"]


async def test_of_an_account_that_is_not_there_an_admin_is_told_so(stage: Stage) -> None:
    boss = await stage.client("boss", role=Role.ADMIN)
    for type_, payload in ASKED:
        if "user" in payload and type_ not in ("admin_disconnect", "admin_revoke", "admin_uninvite"):
            assert await refusal(boss, type_, payload | {"user": "nobody"}) == "bad_payload"


# Invitations


async def test_an_invitation_taken_back_takes_its_user_out_at_once() -> None:
    async with at_work(private_rooms=("team-*",)) as stage:
        for user in ("percy", "alice"):
            await stage.account(user)
            await stage.hub.invite("team-a", user)
        percy, alice = await stage.client("percy"), await stage.client("alice")
        for guest in (percy, alice):
            await guest.join("team-a")
            await guest.join("general")
        percy.take()
        await stage.hub.uninvite("team-a", "percy")
        assert removed(percy.take()) == [("team-a", "forbidden")]
        assert (percy.client.rooms, alice.client.rooms) == (("general",), ("team-a", "general"))
        await alice.ask("send_message", {"room": "team-a", "message": "at last"})
        assert texts(await percy.hear()) == []
        assert await refusal(percy, "history", {"room": "team-a"}) == "forbidden"


async def test_what_was_said_before_is_not_flushed_to_who_was_taken_out() -> None:
    engine = GatedEngine()
    async with at_work(engine=engine, private_rooms=("team-*",)) as stage:
        await stage.account("percy")
        await stage.hub.invite("team-a", "percy")
        percy = await stage.client("percy")
        await percy.join("team-a")
        engine.appends[0].close()
        stage.hub.room("team-a").post(NewMessage("secret"))
        await engine.appends[0].reached()
        await stage.hub.uninvite("team-a", "percy")
        engine.appends[0].open()
        assert texts(await percy.hear()) == []


async def test_who_is_behind_in_a_room_is_not_fed_what_it_may_not_hear() -> None:
    async with at_work(private_rooms=("team-*",)) as stage:
        await stage.account("percy")
        await stage.hub.invite("team-a", "percy")
        percy = await stage.client("percy")
        await percy.join("team-a")
        percy.read_slowly()
        for text in ("more than it takes", "secret"):
            stage.hub.room("team-a").post(NewMessage(text))
            await stage.settle()
        assert texts(percy.take()) == ["more than it takes"]
        await stage.hub.uninvite("team-a", "percy")
        percy.read_on()
        assert texts(await percy.hear()) == []


async def test_nobody_is_invited_to_the_room_of_two_users(stage: Stage) -> None:
    await stage.account("percy")
    with pytest.raises(Refused) as refused:
        await stage.hub.invite("dm:alice,bob", "percy")
    assert refused.value.code == "bad_payload"


async def test_there_are_only_so_many_invitations(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubbub.engine.memory.MAX_INVITATIONS", 1)
    assert access_module.MAX_INVITATIONS > 1000
    await stage.account("percy")
    await stage.hub.invite("a", "percy")
    with pytest.raises(Refused) as refused:
        await stage.hub.invite("b", "percy")
    assert refused.value.code == "conflict"


# Rooms


async def test_from_a_closed_room_everybody_is_gone_and_nobody_enters_it() -> None:
    async with at_work() as stage:
        boss, percy = await stage.client("boss", role=Role.ADMIN), await stage.client("percy")
        classic = await stage.client("alice", CLASSIC)
        for guest in (boss, percy):
            await guest.join("general")
            guest.take()
        await boss.ask("admin_close_room", {"room": "general"})
        assert removed(percy.take()) == removed(boss.take()) == [("general", "forbidden")]
        assert (percy.client.rooms, boss.client.rooms, classic.client.rooms) == ((), (), ())
        assert classic.closed is None
        assert classic.take() == []
        for guest in (boss, percy):
            assert await refusal(guest, "join_room", {"room": "general"}) == "forbidden"
            assert await refusal(guest, "send_message", {"room": "general", "message": "hi"}) == "forbidden"
        classic.say("send_message", {"message": "hi"})
        await stage.settle()
        assert (await stage.engine.head("general")).seq == 0
        await boss.ask("admin_reopen_room", {"room": "general"})
        assert await refusal(percy, "join_room", {"room": "general"}) == "ok"


async def test_of_a_deleted_room_nothing_is_left_but_how_far_its_seqs_have_come() -> None:
    async with at_work(private_rooms=("team",)) as stage:
        boss = await stage.client("boss", role=Role.ADMIN)
        await stage.account("percy")
        await stage.hub.invite("team", "percy")
        percy = await stage.client("percy")
        before = await percy.join("team")
        for text in "abc":
            await percy.ask("send_message", {"message": text})
        await boss.ask("admin_delete_room", {"room": "team"})
        assert removed(percy.take()) == [("team", "forbidden")]
        assert await refusal(percy, "join_room", {"room": "team"}) == "forbidden"
        await stage.hub.invite("team", "percy")
        # Who resumes is not told that it has missed nothing.
        again = await percy.join("team", since={"epoch": before["epoch"], "seq": 1})
        assert (again["seq"], again["messages"], again["recovered"]) == (3, [], False)
        percy.take()
        assert (await percy.ask("send_message", {"message": "d"}))["seq"] == 4


async def test_what_was_posted_before_a_room_was_deleted_goes_with_it() -> None:
    engine = GatedEngine()
    async with at_work(engine=engine) as stage:
        percy = await stage.client("percy")
        await percy.join("old")
        engine.appends[0].close()
        for text in "ab":  # the first is being appended while the second one is gathered
            percy.say("send_message", {"message": text})
            await turns()
        deleting = asyncio.create_task(stage.hub.delete_room("old"))
        await turns()
        engine.appends[0].open()
        await deleting
        assert (await engine.read("old", limit=10)).messages == []
        assert (await engine.head("old")).seq == 2


async def test_who_was_on_the_way_into_a_deleted_room_is_not_shown_what_was_said_there() -> None:
    engine = GatedEngine()
    async with at_work(engine=engine) as stage:
        await engine.append([Draft("old", "new_message", b'{"message":"secret"}', "alice")])
        percy = await stage.client("percy")
        engine.reads.close()
        joining = asyncio.create_task(refusal(percy, "join_room", {"room": "old"}))
        await engine.reads.reached()
        await stage.hub.delete_room("old")
        engine.reads.open()
        assert await joining == "unavailable"
        joined = await percy.join("old")
        assert (joined["messages"], joined["seq"]) == ([], 1)


async def test_a_room_that_cannot_be_deleted_stays_closed_and_is_tried_again() -> None:
    class Stuck(MemoryEngine):
        is_stuck = True

        async def clear(self, room: str) -> None:
            if self.is_stuck:
                raise EngineError("the disk is full")
            await super().clear(room)

    engine = Stuck(clock=Clock(), wall=Clock())
    async with at_work(engine=engine) as stage:
        boss, percy = await stage.client("boss", role=Role.ADMIN), await stage.client("percy")
        await percy.join("old")
        await percy.ask("send_message", {"message": "hi"})
        assert await refusal(boss, "admin_delete_room", {"room": "old"}) == "unavailable"
        assert await refusal(boss, "admin_reopen_room", {"room": "old"}) == "ok"
        await stage.core.refresh_access()
        await stage.settle()
        assert await refusal(percy, "join_room", {"room": "old"}) == "forbidden"
        engine.is_stuck = False
        await stage.core.refresh_access()
        await stage.settle()
        assert (await percy.join("old"))["messages"] == []


async def test_what_cannot_be_kept_changes_nothing_and_is_noted() -> None:
    class Full(MemoryEngine):
        async def close_room(self, room: str) -> Any:
            raise NotKept("the disk is full")

    noted = Noted()
    async with at_work(engine=Full(clock=Clock(), wall=Clock()), audit=noted) as stage:
        boss = await stage.client("boss", role=Role.ADMIN)
        await boss.join("general")
        assert await refusal(boss, "admin_close_room", {"room": "general"}) == "unavailable"
        assert boss.client.rooms == ("general",)
        assert [line["outcome"] for line in noted.lines] == ["unavailable"]


# What another process changes


async def test_what_another_process_has_changed_acts_on_live_connections() -> None:
    async with at_work(private_rooms=("team",)) as stage:
        for user in ("percy", "alice", "bob"):
            await stage.account(user)
            await stage.hub.invite("team", user)
        percy, alice, bob = [await stage.client(user) for user in ("percy", "alice", "bob")]
        for guest in (percy, alice, bob):
            await guest.join("team")
            await guest.join("old")
        await percy.ask("send_message", {"room": "old", "message": "hi"})
        await stage.engine.set_blocked("percy", is_blocked=True)
        await stage.engine.set_role("alice", Role.GUEST)
        await stage.engine.uninvite("team", "bob")
        await stage.engine.doom_room("old")
        await stage.core.refresh_access()
        assert percy.close_code == 4101
        assert alice.client.role is Role.GUEST
        assert (alice.client.rooms, bob.client.rooms) == (("team",), ())
        await stage.settle()
        assert (await stage.engine.read("old", limit=10)).messages == []
        assert (await stage.engine.access()).doomed == set()


async def test_all_that_is_refused_to_a_client_is_noted() -> None:
    noted = Noted()
    async with at_work(audit=noted, private_rooms=("team",)) as stage:
        visitor = await stage.client("visitor", role=Role.GUEST)
        for type_, payload in (
            ("join_room", {"room": "team"}),
            ("join_room", {"room": "nowhere"}),
            ("send_message", {"room": "general", "message": "hi"}),
            ("join_room", {"room": "dm:alice,bob"}),
        ):
            await refusal(visitor, type_, payload)
        await refusal(visitor, "join_room", {"room": "/"})
        await stage.hub.close_room("general")
        noted.lines.pop()
        await stage.client("alice", CLASSIC)
        assert [(line["act"], line["outcome"]) for line in noted.lines] == [
            ("join_room", "forbidden"),
            ("join_room", "no_such_room"),
            ("send_message", "forbidden"),
            ("join_room", "forbidden"),
            ("join_room", "forbidden"),
        ]
        assert types(await visitor.hear()) == []
