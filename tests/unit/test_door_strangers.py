"""Connections that have not said who they are, and what lasts until a moment."""

from __future__ import annotations

import pytest

from hubbub.door.client import DoorClient, Subscription
from hubbub.door.expiry import MOST_PAST, DoorExpiry
from hubbub.door.namespaces import Namespace
from hubbub.door.origins import MAX_ORIGIN_CHARS, origins_like
from hubbub.door.strangers import MOST, MOST_PER_NETWORK, Strangers
from hubbub.testing import Clock
from unit.knocking import porch


class Waiter:
    """A connection that has not said who it is."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.closed: int | None = None

    def close(self, code: int, _reason: str) -> None:
        self.closed = code


def waiting(strangers: Strangers, addresses: list[str]) -> list[Waiter]:
    """Strangers, one from each address."""
    waiters = [Waiter(address) for address in addresses]
    for waiter in waiters:
        strangers.add(waiter)
    return waiters


def test_the_one_that_has_waited_longest_makes_room_for_the_next() -> None:
    strangers = Strangers(10.0, Clock())
    waiters = waiting(strangers, [f"10.0.{number // 250}.{number % 250}" for number in range(MOST + 2)])
    assert [waiter.closed for waiter in waiters] == [3013, 3013] + [None] * MOST
    assert len(strangers) == MOST


def test_and_so_does_one_of_the_same_address() -> None:
    strangers = Strangers(10.0, Clock())
    [other] = waiting(strangers, ["10.0.0.2"])
    waiters = waiting(strangers, [f"2001:db8::{number:x}" for number in range(MOST_PER_NETWORK + 1)])
    assert [waiter.closed for waiter in waiters] == [3013] + [None] * MOST_PER_NETWORK
    assert other.closed is None


def test_a_proxy_on_this_machine_brings_as_many_as_there_may_be() -> None:
    strangers = Strangers(10.0, Clock())
    assert all(waiter.closed is None for waiter in waiting(strangers, ["127.0.0.1"] * MOST))


def test_most_places_are_for_others() -> None:
    strangers = Strangers(10.0, Clock(), places=40)
    assert (
        sum(waiter.closed is None for waiter in waiting(strangers, [f"10.0.0.{number}" for number in range(40)])) == 10
    )


def test_each_has_its_time() -> None:
    clock = Clock()
    strangers = Strangers(10.0, clock)
    [first] = waiting(strangers, ["10.0.0.1"])
    clock.go(5)
    second, third = waiting(strangers, ["10.0.0.1", "10.0.0.1"])
    clock.go(5)
    strangers.turn_out_late()
    assert (first.closed, second.closed) == (3502, None)
    strangers.remove(third)
    strangers.remove(third)
    clock.go(5)
    strangers.turn_out_late()
    assert (second.closed, third.closed) == (3502, None)
    assert len(strangers) == 0


# What lasts until a moment


@pytest.mark.anyio
async def test_a_subscription_ends_when_its_time_is_over_and_not_when_it_was() -> None:
    async with porch() as door:
        guest = await door.guest()
        client = guest.session.client
        assert client is not None
        ended: list[tuple[DoorClient, str]] = []
        expiry = DoorExpiry(25.0, 20.0, door.clock)
        expiry.unsubscribe = lambda client, channel: ended.append((client, channel))
        for channel in ("kept", "left", "late"):
            client.subscriptions[channel] = Subscription(Namespace(), expires_at=door.clock() + 10)
            expiry.note(client, channel)
        client.subscriptions["kept"].expires_at = door.clock() + 100
        expiry.note(client, "kept")
        del client.subscriptions["left"]
        door.clock.go(29.9)
        expiry.end_late()
        assert ended == []
        door.clock.go(0.1)
        expiry.end_late()
        assert ended == [(client, "late")]
        client.subscriptions["kept"].expires_at = None
        door.clock.go(1000)
        expiry.end_late()
        assert ended == [(client, "late")]
        assert len(expiry) == 0


@pytest.mark.anyio
async def test_what_was_refreshed_or_has_gone_is_not_kept_for_long() -> None:
    async with porch() as door:
        expiry = DoorExpiry(25.0, 25.0, door.clock)
        guest, other = await door.guest(), await door.guest("8")
        assert guest.session.client is not None
        assert other.session.client is not None
        for number in range(1000):
            for client in (guest.session.client, other.session.client):
                client.expires_at = door.clock() + 1000 + number
                expiry.note(client)
            if number == 500:
                other.hang_up()
            assert len(expiry) <= 2 * 2 + MOST_PAST
        guest.hang_up()
        expiry.note(other.session.client)


# Origins


@pytest.mark.parametrize(
    ("origin", "is_listed"),
    [
        ("https://app.example.com", True),
        ("https://a.b.example.com", True),
        ("HTTPS://App.Example.Com", True),
        ("https://example.com", False),
        ("https://.example.com", True),
        ("http://app.example.com", False),
        ("https://app.example.com.evil.example", False),
        ("https://evil.example/?.example.com:80", False),
        ("https://one.example:8080", True),
        ("https://one.example", False),
        ("http://localhost:3000", True),
        ("http://localhost", False),
        ("https://aba", False),
        ("https://ab.ba", True),
        ("https://" + "a" * MAX_ORIGIN_CHARS + ".example.com", False),
    ],
)
def test_origins_are_listed_as_centrifugo_writes_them(origin: str, is_listed: bool) -> None:
    listed = origins_like(
        ("https://*.example.com", "https://one.example:*", "http://localhost:*/", "https://ab*b*a", "https://ab*ba")
    )
    assert listed(origin) is is_listed


def test_any_origin_and_none() -> None:
    assert origins_like(("*",))("https://anything.example")
    assert not origins_like(())("https://anything.example")
