"""Several nodes on one Redis: who wins, who is told, and what becomes of nodes that die, pause, or hear nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hubbub.acts import Role
from hubbub.cluster.redis import RedisServer
from hubbub.engine import Account, Grant, UserList
from hubbub.engine.redis import access, attendance
from hubbub.engine.redis.leases import LEASE_MS
from hubbub.errors import EngineError
from hubbub.testing import Clock
from redis_nodes import Node, new_prefix, node_at
from redis_servers import needs_redis, redis_server, redis_single

__all__ = ["redis_single"]

pytestmark = [pytest.mark.anyio, needs_redis]

LEASE_S = LEASE_MS / 1000
PERCY = Grant("percy", "session")


@pytest.fixture
def url(redis_single: RedisServer) -> str:
    return f"{redis_single.url}?prefix={new_prefix()}"


@pytest.fixture
async def nodes(url: str, clock: Clock) -> AsyncIterator[list[Node]]:
    """Three nodes on an empty Redis, whose shared time goes by one clock."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(node_at(url, clock)) for _ in range(3)]


async def members(node: Node, room: str = "a") -> list[str]:
    return (await node.attendance.members(room, 100)).users


async def beat(*nodes: Node) -> None:
    """Let leases be renewed, and what is found dead be swept."""
    for node in nodes:
        await node.attendance.beat()
        await node.attendance.leases.swept()


# The vault


async def test_of_two_nodes_that_take_a_one_time_password_one_wins_each_time(nodes: list[Node]) -> None:
    one, other, _ = nodes
    await one.vault.put_session(PERCY, 1000)
    for number in range(1000):
        await one.vault.issue_otp(f"otp {number}", PERCY, ttl_s=60, per_account=0, in_all=0)
        takes = await asyncio.gather(*(node.vault.take_otp(f"otp {number}") for node in (one, other)))
        assert sorted(takes, key=str) == sorted([None, PERCY], key=str)


async def test_limits_of_one_time_passwords_hold_over_all_nodes(nodes: list[Node]) -> None:
    for session in ("session", "other"):
        await nodes[0].vault.put_session(Grant("percy", session), 1000)
    asked = await asyncio.gather(
        *(
            node.vault.issue_otp(f"{node.id} {number}", PERCY, ttl_s=60, per_account=5, in_all=0)
            for node in nodes
            for number in range(5)
        )
    )
    assert asked.count(None) == 5


async def test_a_session_that_ends_anywhere_is_told_to_each_node_once(nodes: list[Node]) -> None:
    one, other, third = nodes
    await other.watch()
    await third.watch()
    for session in ("session", "more"):
        await one.vault.put_session(Grant("percy", session), 1000)
    await one.vault.end_session("session")
    await other.vault.end_sessions("percy")
    await third.vault.end_session("session")
    await one.told.exactly(("ended", "session"))
    assert sorted(await other.told.at_least(2)) == [("ended", "more"), ("ended", "session")]
    assert sorted(await third.told.at_least(2)) == [("ended", "more"), ("ended", "session")]


async def test_of_two_admins_that_demote_each_other_on_two_nodes_one_stays(nodes: list[Node]) -> None:
    one, other, _ = nodes
    for user in ("percy", "alice"):
        await one.vault.put_account(Account(user, "hash", Role.ADMIN))
    for _ in range(50):
        await asyncio.gather(one.vault.set_role("percy", Role.MEMBER), other.vault.set_role("alice", Role.MEMBER))
        roles = (await one.vault.access()).roles
        assert list(roles.values()) == [Role.ADMIN]
        for user in ("percy", "alice"):
            await one.vault.set_role(user, Role.ADMIN)


async def test_a_session_ends_by_the_time_that_all_nodes_share(url: str) -> None:
    slow, fast = Clock(5.0), Clock(1e6)
    async with node_at(url, slow) as one, node_at(url, fast) as other:
        await one.vault.put_session(PERCY, 10)
        fast.go(9.999)
        assert await other.vault.session("session") == PERCY
        fast.go(0.001)
        assert await other.vault.session("session") is None
        await other.attendance.leases.renew()
        assert await one.vault.session("session") is None


async def test_what_may_be_done_is_read_whole_while_it_is_changed(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, _ = nodes
    monkeypatch.setattr(access, "PAGE", 2)
    await one.vault.put_account(Account("percy", "hash"))
    for number in range(20):
        await one.vault.invite(f"room {number:02}", "percy")
    await one.vault.invite("zzz", "percy")

    async def change() -> None:
        while True:  # at each moment one of the two is there
            for come, go in (("aaa", "zzz"), ("zzz", "aaa")):
                await other.vault.invite(come, "percy")
                await other.vault.uninvite(go, "percy")

    changing = asyncio.ensure_future(change())
    try:
        for _ in range(30):
            invited = (await one.vault.access()).invited
            assert len(invited.keys() - {"aaa", "zzz"}) == 20
            assert invited.keys() & {"aaa", "zzz"}
    finally:
        changing.cancel()
        await asyncio.gather(changing, return_exceptions=True)


# Who is in a room


async def test_a_user_on_two_nodes_is_told_of_once(nodes: list[Node]) -> None:
    one, other, third = nodes
    await third.watch("a")
    one.attendance.enter("a", "percy")
    assert await members(one) == ["percy"]
    other.attendance.enter("a", "percy")
    other.attendance.enter("a", "alice")
    assert await members(other) == ["alice", "percy"]
    one.attendance.leave("a", "percy")
    assert await members(one) == ["alice", "percy"]
    other.attendance.leave("a", "percy")
    assert await members(other) == ["alice"]
    await third.told.exactly(("came", "a", "percy"), ("came", "a", "alice"), ("went", "a", "percy"))


async def test_users_of_a_dead_node_go_when_its_lease_ends(nodes: list[Node], clock: Clock) -> None:
    one, other, third = nodes
    await third.watch("a")
    for room in ("a", "b"):
        for user in ("percy", "alice"):
            one.attendance.enter(room, user)
    other.attendance.enter("a", "percy")
    for node, room in ((one, "a"), (one, "b"), (other, "a")):
        await members(node, room)
    await one.die()
    clock.go(LEASE_S - 0.001)
    await beat(other, third)
    assert await members(third) == ["alice", "percy"]
    clock.go(0.001)
    await beat(other, third)
    assert await members(third) == ["percy"]
    assert await members(third, "b") == []
    await third.told.exactly(("came", "a", "percy"), ("came", "a", "alice"), ("went", "a", "alice"))


async def test_a_sweeper_that_dies_is_followed_by_another(
    nodes: list[Node], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, third = nodes
    one.attendance.enter("a", "percy")
    await members(one)
    await one.die()
    clock.go(LEASE_S)
    with monkeypatch.context() as patch:
        patch.setattr(other.attendance.leases, "_sweep_soon", lambda _: None)
        await beat(other)
    await other.die()
    await beat(third)
    assert await members(third) == ["percy"]
    clock.go(LEASE_S)
    await beat(third)
    assert await members(third) == []


async def test_a_node_that_was_paused_comes_back_with_its_users(nodes: list[Node], clock: Clock) -> None:
    one, other, third = nodes
    await third.watch("a")
    one.attendance.enter("a", "percy")
    await members(one)
    clock.go(4 * LEASE_S)  # the others renew; it does not
    await beat(other)
    assert await members(third) == []
    one.attendance.enter("a", "alice")  # it does not know yet
    await beat(one)
    await beat(one)
    assert await members(one) == ["alice", "percy"]
    await beat(other, third)
    clock.go(LEASE_S - 0.001)
    await beat(one, other, third)
    assert await members(third) == ["alice", "percy"]
    events = await third.told.at_least(4)
    assert events[:2] == [("came", "a", "percy"), ("went", "a", "percy")]
    assert sorted(events[2:]) == [("came", "a", "alice"), ("came", "a", "percy")]


async def test_what_a_swept_node_writes_late_changes_nothing(nodes: list[Node], clock: Clock) -> None:
    one, other, _ = nodes
    one.attendance.enter("a", "percy")
    await members(one)
    name, parts = one.attendance.leases.name, one.attendance._parts
    clock.go(LEASE_S)
    await beat(other)
    for number in range(5):
        await parts.write(name, 0, number, number + 1, [("a", "+ghost")])
    assert await members(other) == []


async def test_a_batch_is_written_once_though_its_answer_is_lost(nodes: list[Node]) -> None:
    one, other, third = nodes
    await third.watch("a")
    parts = one.attendance._parts
    assert await parts.write("x.1", 0, 0, 1, [("a", "+percy")]) == 0
    assert await parts.write("x.1", 0, 1, 2, [("a", "-percy")]) == 1
    assert await parts.write("x.1", 0, 0, 1, [("a", "+percy")]) == 2
    assert await members(other) == []
    await third.told.exactly(("came", "a", "percy"), ("went", "a", "percy"))


async def test_who_has_missed_publications_is_told_the_difference(nodes: list[Node], clock: Clock) -> None:
    one, other, _ = nodes
    await other.watch("a")
    await beat(other)
    for user in ("percy", "alice"):
        one.attendance.enter("a", user)
    await members(one)
    await other.told.exactly(("came", "a", "percy"), ("came", "a", "alice"))
    clock.go(attendance.SETTLING_S)
    other.is_deaf = True
    one.attendance.leave("a", "percy")
    one.attendance.enter("a", "bob")
    await members(one)
    other.attendance.resync()
    await beat(other)
    assert (await other.told.at_least(4))[2:] == [("went", "a", "percy"), ("came", "a", "bob")]
    other.attendance.resync(["a", "elsewhere"])
    await beat(other)
    other.attendance.heard("a", b"+bob\0-percy")  # those that were on their way
    assert len(other.told.events) == 4


async def test_what_is_heard_while_the_users_are_read_is_newer(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, other, _ = nodes
    attended = other.attendance
    attended.watch("a")
    await beat(other)
    attended.heard("a", b"+percy\0+bob")
    read = attended._read

    async def read_and_hear(partition: int, rooms: list[str], limit: int) -> list[UserList]:
        assert await read(partition, rooms, limit) == [UserList([], 0)]
        attended.heard("a", b"+alice\0-percy\0+percy")
        return [UserList(["bob", "carol"], 2)]

    monkeypatch.setattr(attended, "_read", read_and_hear)
    attended.resync()
    await beat(other)
    assert other.told.events[-1] == ("came", "a", "carol")
    assert attended._watched["a"].users == {"alice", "bob", "carol", "percy"}


async def test_nobody_is_told_of_a_room_any_more_that_is_left(nodes: list[Node]) -> None:
    one, _, third = nodes
    await third.watch("a")
    third.attendance.unwatch("a")
    one.attendance.enter("a", "percy")
    await members(one)
    third.attendance.heard("a", b"+percy")
    third.attendance.resync()
    await beat(third)
    await third.told.exactly()


async def test_first_names_of_a_large_room_are_read_in_pages_and_kept_for_a_while(
    nodes: list[Node], clock: Clock
) -> None:
    one, other, _ = nodes
    names = [f"user {number:05}" for number in range(5000)]
    for name in names:
        one.attendance.enter("a", name)
    for name in names[:20]:
        other.attendance.enter("a", name)
    await members(one)
    clock.go(attendance.FRESH_S)
    assert await other.attendance.members("a", 10) == UserList(names[:10], 5000)
    found = await one.attendance.members("a", 1000)
    assert found == UserList(names[:1000], 5000)
    one.attendance.leave("a", names[0])
    assert await one.attendance.members("a", 5) == UserList(names[:5], 5000)
    other.attendance.leave("a", names[0])
    assert await members(other, "b") == []
    clock.go(attendance.FRESH_S)
    assert await one.attendance.members("a", 2) == UserList(names[1:3], 4999)


async def test_a_batch_that_was_given_up_and_comes_late_is_noticed(nodes: list[Node]) -> None:
    one, other, _ = nodes
    one.attendance.enter("a", "percy")
    await members(one)
    part, parts = one.attendance._own[0], one.attendance._parts
    part._last_used += 1  # a batch was sent, and its answer did not come
    part.doubt()
    await part.check()
    while part._task is not None:
        await asyncio.sleep(0)
    one.attendance.enter("a", "alice")
    assert await parts.write(one.attendance.leases.name, 0, 1, 2, [("a", "+ghost")]) == 1
    assert "ghost" in await members(other)
    await members(one)
    await beat(one)
    assert await members(one) == ["alice", "percy"]


async def test_a_node_that_lives_under_a_later_name_is_not_forgotten(nodes: list[Node], clock: Clock) -> None:
    one, other, third = nodes
    gone: list[str] = []
    for node in nodes:
        node.attendance.leases.forget = gone.append
    await third.die()
    clock.go(LEASE_S)
    await beat(other)
    await beat(one)
    assert one.attendance.leases.name == f"{one.id}.2"
    for _ in range(105):  # nobody is swept again meanwhile
        clock.go(LEASE_S - 1)
        await beat(one, other)
    assert gone == [third.id]


async def test_a_node_that_ends_takes_its_users_along(nodes: list[Node]) -> None:
    one, other, third = nodes
    await third.watch("a")
    one.attendance.enter("a", "percy")
    other.attendance.enter("a", "alice")
    await members(other)
    await one.attendance.close()
    assert await members(other) == ["alice"]
    assert ("went", "a", "percy") in await third.told.at_least(3)


async def test_a_node_long_gone_is_forgotten_once(nodes: list[Node], clock: Clock) -> None:
    one, other, third = nodes
    gone: list[str] = []
    for node in (other, third):
        node.attendance.leases.forget = gone.append
    await one.die()
    clock.go(LEASE_S)
    await beat(other, third)
    clock.go(599.999)
    await beat(other, third)
    assert gone == []
    clock.go(0.001)
    await beat(other, third, other, third)
    assert gone == [one.id]


async def test_a_node_without_a_lease_is_swept_unless_it_comes_for_another_one(nodes: list[Node], clock: Clock) -> None:
    one, other, third = nodes
    await third.watch("a")
    for node, user in ((one, "alice"), (other, "percy")):
        node.attendance.enter("a", user)
        await members(node)
    servers = one.calls.servers
    async with servers.opened(await servers.master()) as connection:
        await connection.send_command("DEL", servers.keys.of_vault("nodes"))
        await connection.read_response()
    await one.die()
    await beat(third)
    assert await members(third) == ["alice", "percy"]
    clock.go(LEASE_S - 0.001)
    await beat(other, third)
    assert await members(third) == ["alice", "percy"]
    clock.go(0.001)
    await beat(other, third)
    assert await members(third) == ["percy"]
    assert await third.told.at_least(3) == [("came", "a", "alice"), ("came", "a", "percy"), ("went", "a", "alice")]


# Servers that lose what they had


async def test_users_come_back_when_the_server_was_restarted_empty(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        async with node_at(server.url) as one, node_at(server.url) as other:
            one.attendance.enter("a", "percy")
            one.attendance.enter("b", "percy")
            other.attendance.enter("a", "alice")
            await members(one)
            await members(other)
            server.kill()
            server.start()
            await beat(one, other)
            await beat(one, other)
            assert await members(one) == await members(other) == ["alice", "percy"]
            assert await members(other, "b") == ["percy"]


async def test_what_a_server_has_lost_of_the_last_changes_is_written_again(nodes: list[Node], url: str) -> None:
    one, other, _ = nodes
    one.attendance.enter("a", "percy")
    await members(one)
    keys = one.calls.servers.keys
    kept = {}
    names = [keys.of_room(kind, "a") for kind in "nm"] + [keys.in_partition(0, f"r:{one.attendance.leases.name}")]
    async with one.calls.servers.opened(await one.calls.servers.master()) as connection:
        for name in names:
            await connection.send_command("DUMP", name)
            kept[name] = await connection.read_response()
        one.attendance.leave("a", "percy")
        one.attendance.enter("a", "alice")
        one.attendance.enter("c", "alice")
        await members(one)
        for name, dump in kept.items():  # as a replica has it that was behind when it was promoted
            await connection.send_command("RESTORE", name, 0, dump, "REPLACE")
            await connection.read_response()
    assert await members(other) == ["percy"]
    await beat(one)
    assert await members(one) == ["alice"]
    assert await members(other, "c") == ["alice"]


async def test_changes_that_could_not_be_written_are_written_later(tmp_path: Path, clock: Clock) -> None:
    with redis_server(tmp_path / "redis", appending="always") as server:
        async with node_at(server.url, clock) as one, node_at(server.url, clock) as other:
            one.attendance.enter("a", "percy")
            await members(one)
            one.calls.patience_s = 0.2
            server.kill()
            one.attendance.leave("a", "percy")
            one.attendance.enter("a", "alice")
            with pytest.raises(EngineError):
                await members(one)
            server.start()
            one.calls.patience_s = 10
            await beat(one)
            assert await members(one) == await members(other) == ["alice"]
