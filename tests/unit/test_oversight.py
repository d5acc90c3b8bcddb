"""What admins are shown, and nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hubbub import Refused, Role
from hubbub.audit import append_line, audit_line, read_newest
from hubbub.samples import Moment
from hubbub.testing import CLASSIC, Guest, Stage, at_work
from unit.test_samples import tally

pytestmark = pytest.mark.anyio

ASKED: list[tuple[str, dict[str, object]]] = [
    ("admin_stats", {}),
    ("admin_users", {}),
    ("admin_rooms", {}),
    ("admin_sessions", {"user": "percy"}),
    ("admin_audit", {}),
]


async def admin(stage: Stage) -> Guest:
    return await stage.client("root", role=Role.ADMIN)


@pytest.mark.parametrize(("type_", "payload"), ASKED)
@pytest.mark.parametrize("role", [Role.MEMBER, Role.GUEST])
async def test_only_admins_are_shown_anything(role: Role, type_: str, payload: dict[str, object]) -> None:
    async with at_work() as stage:
        eve = await stage.client("eve", role=role)
        with pytest.raises(Refused) as refused:
            await eve.ask(type_, payload)
        assert refused.value.code == "forbidden"
        root = await admin(stage)
        await root.ask(type_, payload)
        await stage.account("another", Role.ADMIN)
        await stage.account("root", Role.MEMBER)
        with pytest.raises(Refused):
            await root.ask(type_, payload)


async def test_samples_are_arrays_in_the_order_of_their_fields() -> None:
    async with at_work() as stage:
        root = await admin(stage)
        samples = stage.core.oversight.samples
        for step in range(3):
            samples.note(step * 5000, step * 5.0, tally(connections=step, messages=step * 10))
        stats = await root.ask("admin_stats", {})
        assert stats["fields"] == list(Moment._fields)
        assert [dict(zip(stats["fields"], each, strict=True))["messages"] for each in stats["samples"]] == [2.0, 2.0]
        assert (stats["engine"], stats["every"]) == ("memory", 5.0)
        later = await root.ask("admin_stats", {"since": 5000})
        assert [each[0] for each in later["samples"]] == [10000]


async def test_users_come_with_what_they_may_and_their_connections() -> None:
    async with at_work() as stage:
        root = await admin(stage)
        for user in ("percy", "alice"):
            await stage.account(user)
        for _ in range(2):
            await stage.client("percy")
        await root.ask("admin_block", {"user": "alice"})
        answer = await root.ask("admin_users", {})
        shown = [(each["user"], each["role"], each["blocked"], each["connections"]) for each in answer["users"]]
        assert shown == [("alice", "member", True, 0), ("percy", "member", False, 2), ("root", "admin", False, 1)]
        page = await root.ask("admin_users", {"limit": 1})
        assert ([each["user"] for each in page["users"]], page["next"]) == (["alice"], "alice")
        page = await root.ask("admin_users", {"prefix": "p", "after": "alice"})
        assert ([each["user"] for each in page["users"]], page["next"]) == (["percy"], None)


async def test_rooms_come_with_how_they_stand_and_rooms_of_two_do_not() -> None:
    async with at_work(private_rooms=("team*",)) as stage:
        root = await admin(stage)
        percy = await stage.client("percy", role=Role.MEMBER)
        await stage.account("alice")
        for room in ("Ops", "lunch", "dm:alice,percy", "tea"):
            await percy.join(room)
            await percy.ask("send_message", {"room": room, "message": "hello"})
        await root.ask("admin_close_room", {"room": "tea"})
        answer = await root.ask("admin_rooms", {})
        shown = [
            (each["room"], each["title"], each["members"], each["seq"], each["closed"]) for each in answer["rooms"]
        ]
        assert shown == [("lunch", "lunch", 1, 1, False), ("ops", "Ops", 1, 1, False), ("tea", "tea", 0, 1, True)]
        listed, after = [], ""
        while True:
            page = await root.ask("admin_rooms", {"limit": 1, "after": after})
            listed += [each["room"] for each in page["rooms"]]
            if page["next"] is None:
                break
            after = page["next"]
        assert listed == ["lunch", "ops", "tea"]
        assert [each["room"] for each in (await root.ask("admin_rooms", {"prefix": "d"}))["rooms"]] == []


async def test_sessions_are_the_connections_of_a_user_without_what_would_open_another() -> None:
    async with at_work() as stage:
        root = await admin(stage)
        percy = await stage.client("percy", session="0123456789abcdef", role=Role.MEMBER)
        await stage.client("percy", CLASSIC)
        await percy.join("ops")
        answer = await root.ask("admin_sessions", {"user": "percy"})
        assert answer["count"] == 2
        first, second = answer["connections"]
        assert (first["session"], first["dialect"], first["rooms"]) == ("01234567", "v1", ["ops"])
        assert (second["dialect"], second["rooms"]) == ("classic", ["general"])
        assert (await root.ask("admin_sessions", {"user": "nobody"})) == {
            "user": "nobody",
            "connections": [],
            "count": 0,
        }


# The audit log


def line(number: int) -> bytes:
    return audit_line(number, {"act": f"act {number}", "actor": "root", "outcome": "done"})


def acts(found: list[dict[str, Any]]) -> list[Any]:
    return [each["act"] for each in found]


async def test_the_newest_lines_of_the_audit_log_come_first(tmp_path: Path) -> None:
    async with at_work(data_dir=tmp_path) as stage:
        root = await admin(stage)
        assert await root.ask("admin_audit", {}) == {"lines": []}
        for number in range(5):
            append_line(stage.settings.audit_path, line(number))
        assert acts((await root.ask("admin_audit", {"limit": 2}))["lines"]) == ["act 4", "act 3"]


def test_the_end_of_a_large_audit_log_is_read_and_what_is_torn_left_out(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(line(number) for number in range(10_000)) + b'{"act": "to\n[1]\n' + line(10_000)[:20])
    assert acts(read_newest(path, 3)) == ["act 9999", "act 9998", "act 9997"]
    assert 500 < len(read_newest(path, 100_000)) < 10_000
    assert read_newest(tmp_path / "none", 10) == []
    assert read_newest(tmp_path, 10) == []
