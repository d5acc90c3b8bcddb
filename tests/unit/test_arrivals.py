"""Places for connections that are no WebSockets yet: who is cut, and who comes in."""

from __future__ import annotations

from structlog.testing import capture_logs

from hubbub.testing import Clock
from hubbub.wire.arrivals import LOG_EVERY_S, Arrival, Arrivals


class Hall:
    """Places, and who was cut."""

    def __init__(self, in_all: int = 0, per_address: int = 0) -> None:
        self.clock = Clock()
        self.arrivals = Arrivals(in_all, per_address, lambda address: address == "shared", self.clock)
        self.cut: list[str] = []

    def enter(self, name: str, address: str | None = None) -> Arrival | None:
        return self.arrivals.enter(address or name, lambda: self.cut.append(name))


def test_the_one_that_has_kept_the_server_waiting_for_the_longest_makes_room() -> None:
    hall = Hall(in_all=3)
    one, two, _three = (hall.enter(name) for name in ("one", "two", "three"))
    assert one is not None
    assert two is not None
    one.work()
    two.work()
    two.wait()  # it has had an answer: since then it is idle
    assert hall.enter("four") is not None
    assert hall.cut == ["three"]
    one.wait()
    assert hall.enter("five") is not None
    assert hall.cut == ["three", "two"]


def test_one_that_waits_for_the_server_is_not_cut() -> None:
    hall = Hall(in_all=1)
    one = hall.enter("one")
    assert one is not None
    one.work()
    assert hall.enter("two") is None
    assert (hall.cut, hall.arrivals.refused) == ([], 1)
    one.leave()
    assert hall.enter("two") is not None


def test_an_address_over_its_limit_pays_itself() -> None:
    hall = Hall(in_all=100, per_address=2)
    hall.enter("before", "other")
    for number in range(10):
        assert hall.enter(f"{number}", "many") is not None
    hall.enter("after", "other")
    assert hall.cut == [f"{number}" for number in range(8)]


def test_an_address_has_a_whole_network_of_ipv6() -> None:
    hall = Hall(per_address=1)
    hall.enter("one", "2001:db8::1")
    hall.enter("two", "2001:db8::2")
    hall.enter("elsewhere", "2001:db8:0:1::1")
    assert hall.cut == ["one"]


def test_an_address_that_many_share_has_half_of_the_places() -> None:
    hall = Hall(in_all=8, per_address=2)
    for number in range(5):
        hall.enter(f"{number}", "shared")
    assert hall.cut == ["0"]


def test_one_that_turns_out_to_be_behind_a_proxy_counts_for_its_own_address() -> None:
    hall = Hall(per_address=1, in_all=8)
    first = hall.enter("first", "shared")
    assert first is not None
    assert first.move("client")
    second = hall.enter("second", "shared")
    assert second is not None
    assert second.move("client")
    assert hall.cut == ["first"]
    second.work()
    third = hall.enter("third", "shared")
    assert third is not None
    assert not third.move("client")
    third.leave()
    second.leave()
    again = hall.enter("again", "shared")
    assert again is not None
    assert again.move("client")


def test_a_place_is_given_back_once() -> None:
    hall = Hall(in_all=2)
    one, _two = hall.enter("one"), hall.enter("two")
    assert one is not None
    one.leave()
    one.leave()
    one.wait()
    assert hall.enter("three") is not None
    assert hall.cut == []
    assert hall.enter("four") is not None
    assert hall.cut == ["two"]


def test_the_log_has_a_line_now_and_then() -> None:
    hall = Hall(in_all=1)
    with capture_logs() as lines:
        for number in range(1000):
            hall.enter(f"{number}")
        hall.clock.go(LOG_EVERY_S)
        hall.enter("last")
    assert [line["count"] for line in lines] == [1, 999]
