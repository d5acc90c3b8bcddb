"""What the parent of workers does about them, without processes: deaths, successors, who takes whose connections."""

from __future__ import annotations

import errno
import itertools
import math
import random

import pytest
from structlog.testing import capture_logs

from hubbub.slots import ALONE_DELAY_S, KILL_S, LEAVE_S, MAX_DELAY_S, SILENT_S, START_S, STEADY_S, Slots


class House:
    """Slots, the processes that they want, and the time.

    Attributes:
        slot_of: the living processes, by their pids.
        told: what was done about processes, in order.
        accepts: whose connections each process takes.
        firsts: the processes that do what is done once.
        refusing: whether the system starts no process.
    """

    def __init__(self, count: int = 3, drain_delay_s: float = 0.0) -> None:
        self.now = 1000.0
        self.slot_of: dict[int, int] = {}
        self.told: list[tuple[str, int]] = []
        self.accepts: dict[int, tuple[int, ...]] = {}
        self.firsts: list[int] = []
        self.refusing = False
        self._pids = itertools.count(1)
        self.slots = Slots(count, self, lambda: self.now, drain_delay_s)

    # An overseer

    def start(self, slot: int, *, is_first: bool) -> int:
        if self.refusing:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        pid = next(self._pids)
        self.slot_of[pid] = slot
        if is_first:
            self.firsts.append(pid)
        return pid

    def accept(self, pid: int, slots: tuple[int, ...]) -> None:
        assert pid in self.slot_of, "it has ended"
        self.accepts[pid] = slots

    def leave(self, pid: int) -> None:
        self._note("leave", pid)

    def stop(self, pid: int) -> None:
        self._note("stop", pid)

    def terminate(self, pid: int) -> None:
        self._note("terminate", pid)

    def kill(self, pid: int) -> None:
        self._note("kill", pid)

    def _note(self, what: str, pid: int) -> None:
        assert pid in self.slot_of, "it has ended"
        self.told.append((what, pid))

    # What happens

    def begun(self) -> House:
        """All slots are served, by processes of the same numbers."""
        self.slots.begin()
        self.ready(1)
        self.tick()
        for pid in list(self.slot_of):
            if pid != 1:
                self.ready(pid)
        assert self.served() == {number: number for number in self.slot_of}
        return self

    def ready(self, pid: int) -> None:
        self.accepts[pid] = (self.slot_of[pid],)
        self.slots.ready(pid)

    def die(self, pid: int, code: int = -9) -> None:
        del self.slot_of[pid]
        self.accepts.pop(pid, None)
        self.slots.ended(pid, code)

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass, for processes whose loops run."""
        self.now += seconds
        for pid in self.accepts:
            self.slots.alive(pid)
        self.slots.tick()

    def served(self) -> dict[int, int]:
        """Which process takes the connections of each slot; the slots that nobody sees to are missing."""
        return {slot: pid for pid, slots in self.accepts.items() for slot in slots}

    def newest(self) -> int:
        return max(self.slot_of)

    def take_told(self) -> list[tuple[str, int]]:
        told, self.told = self.told, []
        return told


# The start


def test_the_first_worker_comes_alone_and_does_what_is_done_once() -> None:
    house = House()
    house.slots.begin()
    house.tick()
    assert house.slot_of == {1: 1}
    house.ready(1)
    house.tick()
    assert house.slot_of == {1: 1, 2: 2, 3: 3}
    assert house.firsts == [1]
    house.ready(2)
    completed = [house.slots.is_complete]
    house.ready(3)
    completed.append(house.slots.is_complete)
    assert completed == [False, True]
    assert house.accepts == {1: (1,), 2: (2,), 3: (3,)}


def test_sockets_in_which_nobody_has_listened_are_left_alone() -> None:
    house = House()
    house.slots.begin()
    house.ready(1)
    house.tick()
    assert house.accepts == {1: (1,)}, "the kernel sends nobody to them"


@pytest.mark.parametrize(("code", "exit_code"), [(2, 2), (1, 1), (-9, 137), (0, 0)])
def test_where_the_first_does_not_start_nothing_does(code: int, exit_code: int) -> None:
    house = House()
    house.slots.begin()
    house.die(1, code)
    assert house.slots.exit_code == exit_code
    assert house.slot_of == {}


def test_a_start_without_end_is_killed() -> None:
    house = House()
    house.slots.begin()
    house.tick(START_S - 1)
    assert house.told == []
    house.tick(1)
    assert house.told == [("kill", 1)]


# Deaths


def test_the_dead_are_replaced_at_once_and_their_slot_is_served_meanwhile() -> None:
    house = House().begun()
    house.die(2)
    assert house.served() == {1: 1, 2: 1, 3: 3}
    house.tick()
    assert house.slot_of[house.newest()] == 2
    assert house.served() == {1: 1, 2: 1, 3: 3}, "the successor is not ready yet"
    house.ready(house.newest())
    assert house.served() == {1: 1, 2: house.newest(), 3: 3}
    assert house.accepts[1] == (1,)
    assert house.firsts == [1], "what is done once is done"


def test_many_dead_are_spread_over_the_living() -> None:
    house = House(6).begun()
    for pid in (1, 2, 3, 4):
        house.die(pid)
    assert sorted(len(slots) for slots in house.accepts.values()) == [3, 3]
    assert set(house.served()) == {1, 2, 3, 4, 5, 6}
    house.die(5)
    assert house.accepts == {6: (6, 1, 2, 3, 4, 5)}
    house.die(6)
    assert house.slots.exit_code is None


def test_one_that_dies_again_and_again_is_started_later_and_later() -> None:
    house = House().begun()
    waits = []
    house.die(2)
    for _ in range(10):
        waits.append(house.slots._slots[1].start_at - house.now)
        assert house.slots.next_at() <= house.now + waits[-1]
        if waits[-1]:
            house.tick(waits[-1] - 0.25)
            assert 2 not in house.slot_of.values()
            house.tick(0.25)
        house.tick()
        assert house.slot_of[house.newest()] == 2
        house.ready(house.newest())
        house.die(house.newest())
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, *[MAX_DELAY_S] * 3]


def test_where_none_is_left_one_comes_soon() -> None:
    house = House(2).begun()
    for _ in range(20):
        for pid in list(house.slot_of):
            house.die(pid)
        assert house.slots.next_at() <= house.now + ALONE_DELAY_S
        house.tick(ALONE_DELAY_S)
        assert house.slot_of
        house.ready(house.newest())


def test_one_that_was_steady_is_replaced_at_once_again() -> None:
    house = House().begun()
    for _ in range(4):
        house.die(next(pid for pid, slot in house.slot_of.items() if slot == 2))
        house.tick(MAX_DELAY_S)
        house.ready(house.newest())
    for _ in range(30):
        house.tick(STEADY_S / 30)
    house.die(house.newest())
    assert house.slots.next_at() <= house.now


@pytest.mark.parametrize("code", [2, 1, -11])
def test_one_that_does_not_start_later_on_is_tried_again_for_ever(code: int) -> None:
    house = House().begun()
    house.die(2)
    for _ in range(50):
        house.tick(MAX_DELAY_S)
        house.die(house.newest(), code)
    assert house.slots.exit_code is None
    assert set(house.served()) == {1, 2, 3}


def test_where_the_system_starts_no_process_it_is_tried_later() -> None:
    house = House().begun()
    house.refusing = True
    house.die(2)
    with capture_logs() as lines:
        house.tick()
    assert "no process can be started" in [line["event"] for line in lines]
    assert house.now < house.slots.next_at() < math.inf
    house.refusing = False
    house.tick(MAX_DELAY_S)
    assert house.slot_of[house.newest()] == 2


def test_one_that_others_have_told_to_stop_is_replaced() -> None:
    house = House().begun()
    house.slots.leaving(2)
    del house.accepts[2]  # it has handed its connections over
    assert house.served() == {1: 1, 2: 1, 3: 3}
    house.tick()
    house.ready(house.newest())
    assert house.served() == {1: 1, 2: house.newest(), 3: 3}
    house.die(2, 0)
    house.tick()
    assert sorted(house.slot_of.values()) == [1, 2, 3]


# Loops that do not run


def test_the_connections_of_one_that_is_silent_are_taken_by_another_until_it_is_back() -> None:
    house = House().begun()
    house.now += SILENT_S
    for pid in (1, 3):
        house.slots.alive(pid)
    house.slots.tick()
    assert house.accepts == {1: (1, 2), 2: (2,), 3: (3,)}
    assert house.told == [], "a blocked loop is no reason to end it"
    house.slots.alive(2)
    assert house.accepts == {1: (1,), 2: (2,), 3: (3,)}


def test_where_all_are_silent_nothing_is_done() -> None:
    house = House().begun()
    house.now += SILENT_S
    house.slots.tick()
    assert house.accepts == {1: (1,), 2: (2,), 3: (3,)}
    assert house.slots.next_at() == math.inf
    house.slots.alive(3)
    assert house.accepts[3] == (3, 1, 2)


# Replacing all


def test_successors_are_ready_before_the_others_leave_one_slot_after_the_other() -> None:
    house = House().begun()
    house.slots.reload()
    for slot in (1, 2, 3):
        successor = house.newest()
        assert (successor, house.slot_of[successor]) == (3 + slot, slot)
        assert house.take_told() == []
        house.ready(successor)
        assert house.take_told() == [("leave", slot)]
        assert house.newest() == successor, "the next one comes when this one has gone"
        house.die(slot, 0)
    assert house.served() == {1: 4, 2: 5, 3: 6}
    assert not house.slots.is_reloading
    assert house.firsts == [1]


def test_a_successor_that_does_not_start_leaves_all_as_they_are() -> None:
    house = House().begun()
    house.slots.reload()
    house.ready(4)
    house.die(1, 0)
    with capture_logs() as lines:
        house.die(5, 2)
    assert [line["log_level"] for line in lines] == ["error"]
    house.tick(1)
    assert house.slot_of == {4: 1, 2: 2, 3: 3}
    assert house.served() == {1: 4, 2: 2, 3: 3}
    assert not house.slots.is_reloading
    house.slots.reload()
    assert house.newest() == 6, "the next time it is tried again"


def test_one_that_does_not_leave_is_killed_and_the_others_have_their_turn() -> None:
    house = House().begun()
    house.slots.reload()
    house.ready(4)
    house.take_told()
    house.tick(LEAVE_S)
    assert house.take_told() == [("kill", 1)]
    house.tick(1)
    assert house.take_told() == [], "once"
    house.die(1)
    assert house.slot_of[house.newest()] == 2


def test_a_storm_of_reloads_is_one_more() -> None:
    house = House().begun()
    for _ in range(100):
        house.slots.reload()
    assert len(house.slot_of) == 4
    replaced = 0
    while house.slots.is_reloading:
        before = min(pid for pid, slot in house.slot_of.items() if slot == house.slot_of[house.newest()])
        house.ready(house.newest())
        house.die(before, 0)
        replaced += 1
    assert replaced == 6, "what was changed between two of them is read"


def test_a_slot_that_is_down_has_its_turn_too() -> None:
    house = House().begun()
    for _ in range(3):
        house.die(next(pid for pid, slot in house.slot_of.items() if slot == 1))
        house.tick(MAX_DELAY_S)
        house.ready(house.newest())
    house.die(house.newest())
    assert 1 not in house.slot_of.values()
    house.slots.reload()
    assert house.slot_of[house.newest()] == 1, "at once"
    house.ready(house.newest())
    assert house.slot_of[house.newest()] == 2


def test_a_slot_whose_process_is_coming_has_its_turn_afterwards() -> None:
    house = House().begun()
    house.die(1)
    house.tick()
    coming = house.newest()
    house.slots.reload()
    assert house.newest() == coming, "it may have read what was there before"
    house.ready(coming)
    assert house.slot_of[house.newest()] == 1
    assert house.newest() != coming


def test_a_reload_before_all_have_started_waits() -> None:
    house = House()
    house.slots.begin()
    house.slots.reload()
    assert house.newest() == 1
    house.ready(1)
    assert house.slot_of == {1: 1, 2: 1}


def test_a_predecessor_that_dies_first_is_no_matter() -> None:
    house = House().begun()
    house.slots.reload()
    house.die(1)
    house.tick()
    assert sorted(house.slot_of.values()) == [1, 2, 3], "its successor is under way"
    house.ready(4)
    assert house.slot_of[house.newest()] == 2


def test_a_successor_that_dies_while_the_other_leaves_is_replaced_and_no_more_are() -> None:
    house = House().begun()
    house.slots.reload()
    house.ready(4)
    house.die(4)
    assert house.served()[1] in (2, 3)
    house.tick()
    assert house.slot_of[house.newest()] == 1
    house.ready(house.newest())
    house.die(1, 0)
    assert not house.slots.is_reloading
    assert sorted(house.slot_of.values()) == [1, 2, 3]


# Stopping


def test_all_stop_in_order() -> None:
    house = House().begun()
    house.slots.stop()
    house.slots.stop()
    assert house.take_told() == [("stop", 1), ("stop", 2), ("stop", 3)]
    house.slots.leaving(1)
    for pid in (1, 2, 3):
        assert house.slots.exit_code is None
        house.die(pid, 0)
    assert house.slots.exit_code == 0
    assert house.slot_of == {}


def test_who_may_take_longer_for_a_stop_is_waited_for_longer() -> None:
    house = House(drain_delay_s=5.0).begun()
    house.slots.reload()
    house.ready(4)
    house.take_told()
    house.tick(LEAVE_S)
    assert house.take_told() == []
    house.tick(5.0)
    assert house.take_told() == [("kill", 1)]
    house.slots.stop()
    assert house.slots.next_at() - house.now == pytest.approx(KILL_S + 5.0)


def test_who_does_not_stop_in_time_is_killed_and_that_shows() -> None:
    house = House().begun()
    house.slots.stop()
    house.die(1, 0)
    house.die(2, 0)
    house.take_told()
    assert house.slots.next_at() - house.now == pytest.approx(KILL_S)
    house.now += KILL_S
    house.slots.tick()
    assert house.take_told() == [("kill", 3)]
    house.die(3)
    assert house.slots.exit_code == 1


def test_a_stop_during_a_reload_stops_the_new_ones_too() -> None:
    house = House().begun()
    house.slots.reload()
    house.slots.stop()
    assert house.take_told() == [("stop", 1), ("stop", 2), ("stop", 3), ("terminate", 4)]
    house.slots.reload()
    for pid, code in ((4, -15), (1, 0), (2, 0), (3, 0)):
        house.die(pid, code)
        house.slots.tick()
    assert house.slots.exit_code == 0
    assert house.slot_of == {}


def test_one_that_is_ready_only_after_the_stop_is_told() -> None:
    house = House()
    house.slots.begin()
    house.slots.stop()
    house.slots.ready(1)
    assert house.take_told() == [("terminate", 1), ("stop", 1)]
    house.die(1, 0)
    assert house.slots.exit_code == 0


def test_a_cut_kills_all() -> None:
    house = House().begun()
    house.slots.stop()
    house.take_told()
    house.slots.cut()
    assert house.take_told() == [("kill", 1), ("kill", 2), ("kill", 3)]


# Anything at all


def something_happens(house: House, chance: random.Random) -> None:
    pid = chance.choice(list(house.slot_of) or [0])
    match chance.randrange(8):
        case 0 if pid:
            house.die(pid, chance.choice([0, 1, 2, -9]))
        case 1 | 2 | 3 if pid and pid not in house.accepts:
            house.ready(pid)
        case 4:
            house.slots.reload()
        case 5 if pid in house.accepts and ("leave", pid) not in house.told:
            house.slots.leaving(pid)
            house.told.append(("leave", pid))
        case _:
            house.tick(chance.choice([0.0, 0.1, 1.0, 30.0]))
    house.tick()
    for what, pid in list(house.told):
        if what == "kill" and pid in house.slot_of:
            house.die(pid)


def come_to_rest(house: House) -> None:
    """Let every process do what it is told, for a while."""
    for _ in range(40):
        house.tick(MAX_DELAY_S)
        for pid in list(house.slot_of):
            if pid not in house.accepts:
                house.ready(pid)
        for what, pid in house.take_told():
            if pid in house.slot_of:
                assert what in ("leave", "kill")
                house.die(pid, 0)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_each_slot_is_served_as_long_as_one_worker_is(seed: int) -> None:
    chance = random.Random(seed)
    house = House(4).begun()
    for _ in range(400):
        something_happens(house, chance)
        left = [pid for what, pid in house.told if what == "leave"]
        taking = {slot for pid, slots in house.accepts.items() if pid not in left for slot in slots}
        assert taking in (set(), {1, 2, 3, 4})
    come_to_rest(house)
    assert sorted(house.slot_of.values()) == [1, 2, 3, 4]
    assert all(house.accepts[pid] == (slot,) for pid, slot in house.slot_of.items())
    assert not house.slots.is_reloading
