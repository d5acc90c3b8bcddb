"""The wheel: a ping each round, and patience counted from the first ping that nothing followed."""

from __future__ import annotations

import pytest

from hubbub.heartbeat import BUCKETS, Wheel


class Peer:
    """A connection that answers as it is told."""

    def __init__(self) -> None:
        self.is_alive = True
        self.pinged_at = 0
        self.bucket = 0
        self.pings: list[int] = []
        self.lost_at: int | None = None
        self.turn = 0
        self.answers = True

    def ping(self) -> None:
        self.pings.append(self.turn)
        if self.answers:
            self.is_alive = True

    def is_lost(self) -> bool:
        return self.lost_at is not None

    def pulse_lost(self) -> None:
        self.lost_at = self.turn


def turn(wheel: Wheel, peer: Peer, times: int) -> None:
    for _ in range(times):
        peer.turn += 1
        wheel.turn()


def test_nine_seconds_and_ten_are_ticks_of_one() -> None:
    wheel, peer = Wheel(9, 10), Peer()
    assert wheel.tick_s == 1
    wheel.add(peer)
    turn(wheel, peer, 30)
    assert peer.pings == [9, 18, 27]
    assert peer.lost_at is None


def test_a_peer_silent_for_ten_seconds_past_a_ping_is_lost() -> None:
    wheel, peer = Wheel(9, 10), Peer()
    peer.answers = False
    wheel.add(peer)
    turn(wheel, peer, 18)
    assert not peer.is_lost()
    turn(wheel, peer, 1)
    assert peer.lost_at == 19
    turn(wheel, peer, 40)
    assert len(peer.pings) == 2


def test_the_ten_seconds_begin_again_with_the_first_unanswered_ping() -> None:
    wheel, peer = Wheel(9, 10), Peer()
    peer.answers = False
    wheel.add(peer)
    turn(wheel, peer, 14)
    peer.is_alive = True  # a frame, five seconds after the ping at nine
    turn(wheel, peer, 13)
    assert not peer.is_lost()
    turn(wheel, peer, 1)
    assert peer.lost_at == 28  # ten after the ping at 18


@pytest.mark.parametrize(("interval", "timeout"), [(9, 3), (9, 9), (9, 18), (9, 40), (0.9, 1), (1, 0.01)])
def test_other_settings_hold_too(interval: float, timeout: float) -> None:
    wheel, silent, alive = Wheel(interval, timeout), Peer(), Peer()
    silent.answers = False
    wheel.add(silent)
    wheel.add(alive)
    limit = 0
    while silent.lost_at is None:
        turn(wheel, silent, 1)
        limit += 1
        assert limit < 1000
    waited_s = (silent.lost_at - BUCKETS) * wheel.tick_s
    assert timeout <= waited_s + 1e-9 < timeout + 2 * wheel.tick_s
    assert alive.lost_at is None


def test_a_removed_connection_is_left_alone() -> None:
    wheel, peer = Wheel(9, 10), Peer()
    wheel.add(peer)
    turn(wheel, peer, 4)
    wheel.remove(peer)
    wheel.remove(peer)
    turn(wheel, peer, 40)
    assert peer.pings == []
