"""Amending the log, as every engine promises it: with the event, whole or not at all."""

from __future__ import annotations

import pytest

from contract.told import Restart, Told
from hubbub.engine import Amend, Draft, Engine, Receipt
from hubbub.errors import Stale
from hubbub.testing import Clock
from receipts import kept

pytestmark = pytest.mark.anyio

FIRST = b'{"message":"first"}'


def said(body: bytes = FIRST, sender: str | None = "percy") -> Draft:
    return Draft("general", "new_message", body, sender)


def change(*amends: Amend, key: str | None = None) -> Draft:
    return Draft("general", "message_edited", b'{"of":1}', "percy", key, amends)


async def bodies(engine: Engine) -> list[bytes]:
    return [message.body for message in (await engine.read("general", after=0, limit=100)).messages]


@pytest.mark.parametrize("size", [1, 70_000])
@pytest.mark.parametrize("sender", [None, "percy"])
async def test_a_draft_replaces_what_it_amends(engine: Engine, told: Told, size: int, sender: str | None) -> None:
    long = b'{"message":"%b"}' % (b"x" * size)
    await engine.append([said(long, sender), said(b"{}")])
    await engine.subscribe("general")
    amends = (Amend(1, long, b'{"message":"new"}'), Amend(2, b"{}", long))
    (receipt,) = await kept(engine.append([change(*amends)]))
    assert receipt.seq == 3
    assert await bodies(engine) == [b'{"message":"new"}', long, b'{"of":1}']
    assert told.delivered["general"] == [3]
    (first,) = (await engine.read("general", after=0, limit=1)).messages
    assert (first.sender, first.type) == (sender, "new_message")


@pytest.mark.parametrize("seconds", [951_782_400, 1_709_164_799.5, 1_735_689_599.999, 4_107_542_399])
async def test_a_body_may_name_the_place_of_its_change(engine: Engine, clock: Clock, seconds: float) -> None:
    clock.go(seconds)
    await engine.append([said()])
    amend = Amend(1, FIRST, b'{"message":"new","edited":', b"}")
    (receipt,) = await kept(engine.append([change(amend)]))
    assert (await bodies(engine))[0] == amend.filled(receipt.seq, receipt.sent)


async def test_what_is_not_as_expected_is_stale_and_adds_nothing(engine: Engine, told: Told) -> None:
    await engine.append([said()])
    await engine.subscribe("general")
    batch = [
        change(Amend(1, b"{}", b"[]"), key="k"),
        change(Amend(1, FIRST, b'{"message":"new"}')),
        change(Amend(1, FIRST, b"[]")),
        change(Amend(1, b'{"message":"new"}', b"[]"), Amend(9, b"{}", b"{}")),
        change(Amend(0, b"", b"")),
        said(b"{}"),
    ]
    outcomes = await engine.append(batch)
    assert [type(outcome) for outcome in outcomes] == [Stale, Receipt, Stale, Stale, Stale, Receipt]
    assert await bodies(engine) == [b'{"message":"new"}', b'{"of":1}', b"{}"]
    assert told.delivered["general"] == [2, 3]
    (again,) = await kept(engine.append([change(Amend(1, b'{"message":"new"}', b"[]"), key="k")]))
    assert not again.repeated  # what was stale has left no key


async def test_a_known_key_is_looked_at_first(engine: Engine) -> None:
    await engine.append([said()])
    amend = Amend(1, FIRST, b'{"message":"new"}')
    (first,) = await kept(engine.append([change(amend, key="k")]))
    for again in (change(amend, key="k"), change(Amend(0, b"", b""), key="k")):
        (receipt,) = await kept(engine.append([again]))
        assert receipt.repeated
        assert receipt.seq == first.seq


async def test_many_changes_of_one_batch_follow_each_other(engine: Engine) -> None:
    await engine.append([said(b"0")])
    await engine.append([change(Amend(1, b"%d" % number, b"%d" % (number + 1))) for number in range(20)])
    assert (await bodies(engine))[0] == b"20"


async def test_amendments_outlive_the_process(engine: Engine, restart: Restart) -> None:
    await engine.append([said(), said()])
    await engine.append([change(Amend(1, FIRST, b"{}"))])
    again = await restart()
    await again.append([change(Amend(2, FIRST, b"[]"))])
    assert (await bodies(again))[:2] == [b"{}", b"[]"]
