"""What all connections of one account, or of one address, may use together."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Any

import pytest
import structlog

from gates import turns
from heard import seqs
from hubbub import Refused, budgets, dispatch, feeding
from hubbub.budgets import FREE, FREE_A_LOOK, MAX_RETRY_S, Allowance, Bucket, Budgets, Use, spend, take_one, wait_for
from hubbub.chat import NewMessage
from hubbub.policy import CREDIT, CREDIT_S, Rate, RateLimit, network_of
from hubbub.settings import Settings
from hubbub.testing import CLASSIC, Guest, Stage, at_work

pytestmark = pytest.mark.anyio

KIB = 1024


# Buckets


def test_a_bucket_may_be_overdrawn_and_fills_up_again() -> None:
    bucket = Bucket(Allowance(10.0, 20.0), 0.0)
    assert not bucket.wait(0.0)
    bucket.spend(30.0, 0.0)
    assert bucket.wait(0.0) == pytest.approx(1.0, abs=0.01)
    assert bucket.wait(0.5) == pytest.approx(0.5, abs=0.01)
    assert not bucket.wait(1.1)


def test_no_more_than_a_burst_is_owed() -> None:
    bucket = Bucket(Allowance(10.0, 20.0), 0.0)
    for _ in range(1000):
        bucket.spend(1000.0, 0.0)
    assert bucket.wait(0.0) == pytest.approx(2.0, abs=0.01)


def test_no_more_than_a_burst_is_saved() -> None:
    bucket = Bucket(Allowance(10.0, 20.0), 0.0)
    bucket.spend(21.0, 1000.0)
    assert bucket.wait(1000.0)
    assert bucket.is_full(1003.0)


def test_those_that_are_refused_are_told_one_after_the_other() -> None:
    bucket = Bucket(Allowance(10.0, 20.0), 0.0)
    for _ in range(5):
        bucket.spend(5.0, 0.0)
    promised = [bucket.promise(0.0) for _ in range(10)]
    steps = [later - earlier for earlier, later in itertools.pairwise(promised)]
    assert steps == [pytest.approx(0.5)] * 9
    assert max(bucket.promise(0.0) for _ in range(1000)) <= MAX_RETRY_S


# Purses


def test_connections_of_one_account_share_a_purse_and_so_do_those_of_one_address() -> None:
    all_ = Budgets(Settings())
    first = all_.purses("percy", "192.0.2.1", 0.0)
    assert all_.purses("percy", "192.0.2.1", 0.0) == first
    other_place = all_.purses("percy", "192.0.2.2", 0.0)
    assert other_place[0] is first[0]
    assert other_place[1] is not first[1]
    assert all_.purses("alice", "192.0.2.1", 0.0)[1] is first[1]
    assert all_.purses("percy", None, 0.0) == first[:1]


def test_an_address_has_as_much_as_many_accounts() -> None:
    all_ = Budgets(Settings(address_share=4.0, replay_rate=10.0, replay_burst=100.0))
    for number in range(3):
        spend(all_.purses(f"user{number}", "192.0.2.1", 0.0), Use.SENT, 101.0, 0.0)
    assert not wait_for(all_.purses("one more", "192.0.2.1", 0.0), Use.SENT, 0.0)
    spend(all_.purses("user3", "192.0.2.1", 0.0), Use.SENT, 101.0, 0.0)
    assert wait_for(all_.purses("one more", "192.0.2.1", 0.0), Use.SENT, 0.0)
    assert not wait_for(all_.purses("one more", "192.0.2.2", 0.0), Use.SENT, 0.0)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:7:1:2:3:4", "2001:db8:0:7::/64"),
        ("2001:db8:0:7::9", "2001:db8:0:7::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("what: is this", "what: is this"),
    ],
)
def test_what_is_counted_as_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


def test_without_a_share_an_address_has_no_budget() -> None:
    purses = Budgets(Settings(address_share=0.0)).purses("percy", "192.0.2.1", 0.0)
    spend(purses[1:], Use.SENT, 1e18, 0.0)
    assert not wait_for(purses[1:], Use.SENT, 0.0)


def test_without_a_rate_for_clients_an_account_may_send_what_it_likes() -> None:
    purses = Budgets(Settings(client_rate=0.0, replay_rate=0.0)).purses("percy", None, 0.0)
    for use in (Use.EVENTS, Use.IDLE, Use.RECEIVED, Use.JOINS, Use.SENT):
        spend(purses, use, 1e18, 0.0)
        assert not wait_for(purses, use, 0.0)


def test_what_is_over_budget_is_only_counted_where_that_is_wanted() -> None:
    purses = Budgets(Settings(limits="count", replay_rate=1.0, replay_burst=100.0)).purses("percy", None, 0.0)
    spend(purses, Use.SENT, 1e18, 0.0)
    with structlog.testing.capture_logs() as lines:
        for _ in range(1000):
            assert not wait_for(purses, Use.SENT, 0.0)
        assert not wait_for(purses, Use.SENT, 11.0)
    first, second = lines
    assert first["event"] == second["event"] == "rate-limited"
    assert (first["account"], first["what"], first["is_refused"]) == ("percy", "bytes asked for", False)
    assert (first["times"], second["times"]) == (1, 1000)


def test_purses_that_nobody_needs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "LOOKS", 10)
    all_ = Budgets(Settings())
    for number in range(100):
        purses = all_.purses(f"user{number}", f"address {number}", 0.0)
        spend(purses, Use.SENT, 1e6, 0.0)
        take_one(purses, Use.OPENINGS, 0.0)
        if number == 50:
            purses[0].connections = 1
    for _ in range(5 * 10):
        all_.forget_idle(0.0)
    assert len(all_.accounts) == 100, "what was used is remembered until there is as much again"
    for _ in range(10):
        all_.forget_idle(1000.0)
    assert len(all_.accounts) == 1
    assert len(all_.addresses) == 0


def test_there_are_no_more_purses_than_connections_and_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "MAX_PURSES", 50)
    all_ = Budgets(Settings())
    for number in range(1000):
        spend(all_.purses("percy", f"address {number}", 0.0), Use.EVENTS, 100.0, 0.0)
    assert len(all_.addresses) <= 50


def test_who_opens_connections_without_end_is_told_to_wait() -> None:
    all_ = Budgets(Settings())
    purses = all_.purses("mallory", None, 0.0)
    opened = 0
    for step in range(1000):
        now = step * 0.25
        all_.forget_idle(now)
        purses = all_.purses("mallory", None, now)
        for _ in range(100):
            opened += not take_one(purses, Use.OPENINGS, now)
    allowance = budgets.allowances(Settings())[Use.OPENINGS]
    assert opened <= FREE + allowance.burst + 250 * (allowance.rate + FREE_A_LOOK / 0.25) + 1


# Events


def rates(count: int, burst: float = 1000.0) -> list[Rate]:
    """Connections of one account that may send 10 events a second and 100 at once, each of them much more."""
    purses = Budgets(Settings(client_rate=10.0, client_burst=100.0, account_share=1.0)).purses("percy", None, 0.0)
    return [Rate(RateLimit(1000.0, burst), 0.0, purses) for _ in range(count)]


def test_connections_of_an_account_share_what_it_may_send() -> None:
    many = rates(20)
    assert sum(rate.take(0.0) for _ in range(100) for rate in many) <= 20 * CREDIT + 100 + CREDIT
    assert not any(rate.take(0.0) for rate in many)
    assert all(0.0 < rate.retry_after <= 20 * CREDIT / 10.0 for rate in many)
    later = sum(rate.take(10.0) for _ in range(100) for rate in many)
    assert 10 * 10.0 - CREDIT <= later <= 10 * 10.0 + 20 + CREDIT


def test_who_says_little_is_not_held_up_by_what_else_its_account_sends() -> None:
    loud, quiet = rates(2)
    step = CREDIT_S / CREDIT * 1.01
    for number in range(1000):
        now = number * step
        while loud.take(now):
            pass
        assert quiet.take(now)


def test_pings_and_pongs_are_not_taken_from_what_an_account_may_say() -> None:
    talking, *idling = rates(20)
    for _ in range(1000):
        for rate in idling:
            rate.take_idle(0.0)
    assert not any(rate.take_idle(0.0) for rate in idling)
    assert sum(talking.take(0.0) for _ in range(100)) == 100


def test_pings_and_pongs_of_an_account_are_not_wanted_for_the_longer_the_more_there_are() -> None:
    one, *others = rates(20)
    while one.take_idle(0.0):
        pass
    before = one.rest_s
    for rate in others:
        for _ in range(100):
            rate.take_idle(0.0)
    for _ in range(CREDIT):
        one.take_idle(0.0)
    assert before < one.rest_s <= 100 / 10.0 + 0.01


def test_the_pongs_of_very_many_connections_that_answer_pings_are_welcome() -> None:
    many = rates(2000)
    for beat in range(40):
        assert all(rate.take_idle(beat * 9.0) for rate in many)


def test_one_that_floods_is_read_on_until_that_is_known() -> None:
    many = rates(20, burst=10.0)
    for rate in many:
        for _ in range(200):
            rate.take_idle(0.0)
    assert many[-1].rest_s == 0.0
    assert not any(many[-1].take_idle(1.0) for _ in range(CREDIT + 1))
    assert many[-1].rest_s > 1.0


async def test_a_connection_is_refused_for_what_others_of_its_account_send() -> None:
    async with at_work(client_rate=10.0, client_burst=100.0, account_share=1.0) as stage:
        many = [await stage.client("percy", rate=100.0) for _ in range(20)]
        for guest in many:
            for number in range(40):
                guest.say("nonsense", {}, number)
        found = [event["payload"] for guest in many for event in guest.take()]
        assert {error["code"] for error in found} == {"unknown_type", "rate_limited"}
        assert all(error["retry_after"] > 0 for error in found if error["code"] == "rate_limited")
        alice = await stage.client("alice", rate=100.0)
        for number in range(40):
            alice.say("nonsense", {}, number)
        assert {event["payload"]["code"] for event in alice.take()} == {"unknown_type"}


async def test_one_that_pings_with_many_connections_is_not_read_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    def noting(delay: float, *work: Any) -> asyncio.TimerHandle:
        rests.append(delay)
        return call_later(delay, *work)

    async with at_work(client_rate=10.0, client_burst=100.0, account_share=1.0) as stage:
        monkeypatch.setattr(loop, "call_later", noting)
        first, *others = [await stage.client("percy", rate=10.0) for _ in range(30)]
        while first.ping():
            pass
        assert rests == [dispatch.REST_S]
        for guest in others:
            for _ in range(2 * CREDIT):
                guest.ping()
        assert rests[-1] == dispatch.MAX_REST_S


def reads(guest: Guest) -> bool:
    return guest.is_reading


async def test_a_client_whose_account_has_sent_too_many_bytes_is_not_read_for_a_while() -> None:
    async with at_work(client_rate=1.0, client_burst=10.0, account_share=1.0) as stage:
        first, second = [await stage.client("percy", rate=100.0) for _ in range(2)]
        is_too_much = stage.core.dispatch.is_too_much
        assert not is_too_much(first._participant, 30 * KIB)
        assert not is_too_much(second._participant, 9 * KIB)
        assert reads(first)
        assert is_too_much(first._participant, 30 * KIB)
        assert not reads(first)
        alice = await stage.client("alice", rate=100.0)
        assert not is_too_much(alice._participant, 30 * KIB)


# What is sent on request


async def fill(stage: Stage, room: str, count: int, size: int = KIB) -> None:
    for _ in range(count):
        stage.hub.room(room).post(NewMessage("x" * size))
    await stage.settle()


async def test_joins_with_a_past_are_counted_by_their_size() -> None:
    async with at_work(replay_rate=10.0 * KIB, replay_burst=100.0 * KIB) as stage:
        await fill(stage, "general", 200)
        percy = await stage.client("percy")
        assert len((await percy.join("general", history=200))["messages"]) == 200, "the first is served, however large"
        with pytest.raises(Refused) as refused:
            await percy.join("general", history=200)
        assert refused.value.code == "rate_limited"
        assert refused.value.retry_after is not None
        assert 10.0 <= refused.value.retry_after <= 2 * MAX_RETRY_S
        another = await stage.client("percy")
        with pytest.raises(Refused):
            await another.ask("history", {"room": "general"})
        alice = await stage.client("alice")
        await alice.join("general", history=200)
        stage.clock.go(refused.value.retry_after)
        await percy.join("general", history=200)


async def test_talking_goes_on_while_an_account_has_asked_for_too_much() -> None:
    async with at_work(replay_rate=10.0, replay_burst=10.0) as stage:
        percy = await stage.client("percy")
        await percy.join("general")
        with pytest.raises(Refused):
            await percy.ask("history", {"room": "general"})
        assert (await percy.ask("send_message", {"room": "general", "message": "hi"}))["seq"] == 1


async def test_a_classic_client_may_change_its_room_all_the_same() -> None:
    async with at_work(replay_rate=10.0, replay_burst=10.0) as stage:
        modern, classic = await stage.client("percy"), await stage.client("percy", CLASSIC)
        await modern.join("general")
        classic.say("change_room", {"name": "kitchen"})
        await stage.settle()
        assert classic.client.rooms == ("kitchen",)


async def test_what_comes_from_the_log_counts_fourfold() -> None:
    async with at_work(replay_rate=1.0, replay_burst=1000.0 * KIB) as stage:
        await fill(stage, "general", 500)
        epoch = (await stage.engine.head("general")).epoch
        at_hand, from_the_log = await stage.client("percy"), await stage.client("alice")
        for _ in range(2):
            await at_hand.join("general", history=200)
        await from_the_log.join("general", since={"epoch": epoch, "seq": 0})
        await at_hand.join("general", history=200)
        with pytest.raises(Refused):
            await from_the_log.join("general", since={"epoch": epoch, "seq": 0})


async def test_one_that_is_far_behind_is_served_to_the_end_whatever_it_owes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "FEED_PAUSE_S", 0.0)
    async with at_work(replay_rate=1.0, replay_burst=1.0) as stage:
        await fill(stage, "general", 3000)
        epoch = (await stage.engine.head("general")).epoch
        percy = await stage.client("percy")
        answer = await percy.join("general", since={"epoch": epoch, "seq": 0})
        assert answer["recovered"]
        await stage.settle()
        heard = [message["seq"] for message in answer["messages"]] + seqs(percy.take())
        assert heard == list(range(1, 3001))


async def test_a_slow_reader_is_fed_at_the_pace_of_its_account(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noting(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)  # a turn, and no time

    async with at_work(replay_rate=100.0 * KIB, replay_burst=100.0 * KIB) as stage:
        percy = await stage.client("percy")
        await percy.join("general")
        percy.read_slowly()
        await fill(stage, "general", 1)
        await fill(stage, "general", 999)
        monkeypatch.setattr(asyncio, "sleep", noting)
        percy.read_on()
        await turns(100)
        monkeypatch.undo()
        await stage.settle()
        assert seqs(percy.take()) == list(range(1, 1001))
        assert feeding.FEED_PAUSE_S in pauses


async def test_who_enters_rooms_without_end_is_told_to_wait() -> None:
    async with at_work(client_rate=1.0, client_burst=10.0, account_share=1.0, max_rooms=0) as stage:
        percy = await stage.client("percy")
        entered = 0
        for number in range(FREE + 10 * budgets.JOINS_PER_EVENT + 10):
            try:
                await percy.join(f"room {number}")
                entered += 1
            except Refused as refused:
                assert refused.code == "rate_limited"
                assert refused.retry_after
        assert entered == FREE + 10 * budgets.JOINS_PER_EVENT


# Everybody at once


@pytest.mark.parametrize("accounts", [1, 1000], ids=["one account", "an account each"])
async def test_thousands_that_come_back_at_once_are_served_soon(accounts: int) -> None:
    """They resume within two seconds, each 100 messages behind; who is refused comes back when it is told."""
    count = 5000 if accounts == 1 else 1000
    async with at_work() as stage:
        await fill(stage, "general", 300, 150)
        head = await stage.engine.head("general")
        began = stage.clock.now
        due = [(began + 2.0 * number / count, number) for number in range(count)]
        guests: dict[int, Guest] = {}
        served: list[float] = []
        asked = 0
        while due:
            at, number = heapq.heappop(due)
            stage.clock.now = max(stage.clock.now, at)
            guest = guests.get(number)
            if guest is None:
                guest = guests[number] = await stage.client(f"user{number % accounts}", rate=50.0)
            asked += 1
            try:
                await guest.join("general", since={"epoch": head.epoch, "seq": head.seq - 100})
            except Refused as refused:
                assert refused.code == "rate_limited"
                assert refused.retry_after is not None
                heapq.heappush(due, (stage.clock.now + refused.retry_after, number))
            else:
                guest.take()
                served.append(stage.clock.now - began)
        assert len(served) == count
        assert max(served) < 10.0
        assert asked <= 2 * count


async def test_many_that_owe_much_and_obey_are_all_served_without_asking_again_and_again() -> None:
    """One after the other at the rate of their account, with few refusals for each."""
    count, cost, rate = 300, 64.0 * KIB, 1024.0 * KIB
    all_ = Budgets(Settings(replay_rate=rate, replay_burst=rate))
    purses = all_.purses("percy", None, 0.0)
    due = [(0.0, number) for number in range(count)]
    asked, last = 0, 0.0
    while due:
        now, number = heapq.heappop(due)
        asked += 1
        wait = wait_for(purses, Use.SENT, now)
        if wait:
            heapq.heappush(due, (now + wait, number))
        else:
            spend(purses, Use.SENT, cost, now)
            last = now
    assert last <= count * cost / rate * 1.5
    assert asked <= 4 * count
