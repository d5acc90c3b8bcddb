"""The loads of the classic dialect: as fast as a server goes, clients that come and go, clients that do not read."""

from __future__ import annotations

from comparison.loads import HALF_OF_GO, Amount, Words, Workload, duration

__all__ = ["LOADS"]


def talk(rooms: int, members: int, *how: str, senders: int = 1) -> Words:
    """Rooms in which some talk."""

    def words(amount: Amount, _tls: bool) -> list[str]:
        # Rooms of two stay rooms of two: then there are fewer.
        in_all, each = (amount.of(rooms), members) if members == 2 else (rooms, amount.of(members, 2))
        sizes = ["--clients", str(in_all * each), "--rooms", str(in_all), "--senders", str(min(senders, each))]
        return [*sizes, *how, *duration(amount.seconds)]

    return words


def half_of_go(amount: Amount, _tls: bool) -> list[str]:
    """An open loop in one room, at half the pace that Go was seen to reach in it."""
    members = amount.of(100, 2)
    senders = min(10, members)
    sizes = ["--clients", str(members), "--senders", str(senders)]
    return [*sizes, "--rate", f"{amount.half_of_go / members / senders:.4g}", *duration(amount.seconds)]


def storm(amount: Amount, _tls: bool) -> list[str]:
    connects = amount.of(2000)
    return ["--connects", str(connects), "--in-flight", str(min(50, connects))]


def idle(amount: Amount, tls: bool) -> list[str]:
    """Long enough that each server pings each connection: all of them do it every nine seconds."""
    clients = amount.of(2000 if tls else 5000)
    return ["--clients", str(clients), "--idle", *duration(3 * amount.seconds, warm_up=False)]


def resume(amount: Amount, _tls: bool) -> list[str]:
    return ["--clients", str(amount.of(200, 10)), *duration(amount.seconds, warm_up=False)]


def slow(amount: Amount, _tls: bool) -> list[str]:
    return ["--clients", str(amount.of(50, 4)), *duration(5 * amount.seconds, warm_up=False)]


NO_RESUME = dict.fromkeys(("go", "node", "fastapi", "floor"), "no resume")
DROPS = {"floor": "not put to it: it drops whoever does not read at once"}
AT_ONCE = ["--rate", "10", "--together"]

LOADS = {
    load.name: load
    for load in (
        Workload("fanout-100", "One room of 100, as fast as it goes", talk(1, 100, "--window", "16")),
        Workload("rooms-10x50", "Ten rooms of 50, as fast as it goes", talk(10, 50, "--window", "4")),
        Workload(
            "fanout-1000",
            "One room of 1,000, ten messages at the same moment, ten times a second",
            talk(1, 1000, *AT_ONCE, senders=10),
        ),
        Workload(
            "fanout-1000-spread",
            "One room of 1,000, 100 messages a second, one after another",
            talk(1, 1000, "--rate", "10", senders=10),
        ),
        Workload("pairs-200", "200 rooms of two, as fast as it goes", talk(200, 2, "--window", "2")),
        Workload(HALF_OF_GO, "One room of 100, at half of Go's pace", half_of_go),
        Workload("connect-storm", "Connections that come and go, 50 at a time", storm),
        Workload("idle", "Idle connections: 5,000, under TLS 2,000", idle),
        Workload(
            "resume-storm",
            "All come back at once, and have missed something (one round)",
            resume,
            scenario="resume-storm",
            rounds=1,
            unfit=NO_RESUME,
        ),
        Workload(
            "slow-reader",
            "One in ten does not read for a while (one round)",
            slow,
            scenario="slow-reader",
            rounds=1,
            unfit=DROPS,
        ),
    )
}
