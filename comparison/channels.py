"""The eight loads of servers whose clients hear whether a message was taken: what one delivery costs each of them."""

from __future__ import annotations

from comparison.loads import Amount, Words, Workload, duration

__all__ = ["LOADS"]

SENDERS = 10
# Idle connections, and those that come and go, are spread over so many rooms.
ROOMS = 100
# Of the text of a message, where it is not the usual one.
LONG = "--size", "4096"


def at_rate(rooms: int, members: int, per_s: float, *how: str, senders: int = SENDERS) -> Words:
    """An open loop.

    Args:
        per_s: messages a second, in all.
        senders: of each room.
    """

    def words(amount: Amount, _tls: bool) -> list[str]:
        # Rooms of two stay rooms of two, and many small rooms get fewer: what one delivery costs depends on their size.
        in_all, each = (rooms, amount.of(members, 2)) if rooms < members else (amount.of(rooms), members)
        talking = min(senders, each)
        rate = per_s * amount.scale / (in_all * talking)
        sizes = ["--clients", str(in_all * each), "--rooms", str(in_all), "--senders", str(talking)]
        return [*sizes, "--rate", f"{rate:.4g}", *how, *duration(amount.seconds)]

    return words


def saturated(amount: Amount, _tls: bool) -> list[str]:
    """A closed loop: each sender has some messages in flight, all the time."""
    members = amount.of(100, 2)
    senders = min(SENDERS, members)
    return ["--clients", str(members), "--senders", str(senders), "--window", "8", *duration(amount.seconds)]


def idle(amount: Amount, _tls: bool) -> list[str]:
    clients = amount.of(5000)
    rooms = ["--rooms", str(min(ROOMS, clients))]
    return ["--clients", str(clients), *rooms, "--idle", *duration(amount.seconds, warm_up=False)]


def connects(amount: Amount, _tls: bool) -> list[str]:
    many = amount.of(2000)
    return ["--connects", str(many), "--in-flight", str(min(50, many)), "--rooms", str(ROOMS)]


LOADS = {
    load.name: load
    for load in (
        Workload("room-100", "One room of 100, 500 messages a second", at_rate(1, 100, 500)),
        Workload("room-1000", "One room of 1,000, 50 messages a second", at_rate(1, 1000, 50)),
        Workload(
            "rooms-7x33",
            "Seven rooms of 33, 1,400 messages a second at random",
            at_rate(7, 33, 1400, "--random", senders=33),
        ),
        Workload("pairs", "200 rooms of two, 5,000 messages a second", at_rate(200, 2, 5000, senders=1)),
        Workload("room-100-full", "One room of 100, as fast as it goes", saturated),
        Workload(
            "rooms-100x20",
            "100 rooms of 20, 200 messages of 4 KiB a second",
            at_rate(100, 20, 200, *LONG, senders=1),
        ),
        Workload("idle-in-room", "Idle connections, each in a room: 5,000", idle),
        Workload("connects", "Connections that come, enter a room and go, 50 at a time", connects),
    )
}
