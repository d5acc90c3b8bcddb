"""Whose password is checked next: floods wait behind themselves, guessing is slow, and the owner gets in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count, repeat

import pytest

from hubbub import logins
from hubbub.errors import ErrorCode, Refused
from hubbub.logins import FORGET_S, HASHERS, MAX_WAIT_S, MAX_WAITING, MAX_WAITING_PER_SOURCE, Attempt, Queue

HERE = "192.0.2.1"
ELSEWHERE = "198.51.100.7"

# What a check takes.
CHECK_S = 0.06


class Office:
    """A queue, the hashers that check what it says, and the time.

    Attributes:
        checked: how often each user's password was.
        right: users whose passwords are right, with the time of each login.
        given_up: logins that were taken out of the line.
    """

    def __init__(self) -> None:
        self.queue = Queue()
        self.now = 1000.0
        self.checked: Counter[str] = Counter()
        self.right: list[tuple[str, float]] = []
        self.given_up: list[Attempt] = []
        self.refused = 0
        self._busy: list[tuple[float, Attempt]] = []
        self._right_ones: set[Attempt] = set()

    def attempt(
        self,
        user: str,
        source: str = HERE,
        *,
        is_right: bool = False,
        session: str = "",
        is_wanted: Callable[[], bool] = lambda: True,
        guess: int = 0,
    ) -> Attempt | None:
        """Log in; None where there is no room in the line."""
        attempt = Attempt(user, source, session, is_wanted, self.given_up.append, guess=guess)
        if is_right:
            self._right_ones.add(attempt)
        try:
            self.queue.add(attempt, self.now)
        except Refused as refused:
            assert refused.code == ErrorCode.RATE_LIMITED
            assert refused.retry_after
            self.refused += 1
            return None
        self.work()
        return attempt

    def work(self) -> None:
        """Begin what can be begun, and end what has been checked."""
        for due, attempt in list(self._busy):
            if due <= self.now:
                self._busy.remove((due, attempt))
                is_right = attempt in self._right_ones
                self.queue.end(attempt, self.now, is_right=is_right)
                self.checked[attempt.user] += 1
                if is_right:
                    self.right.append((attempt.user, self.now))
        while (chosen := self.queue.next(self.now)) is not None:
            self._busy.append((self.now + CHECK_S, chosen))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and do what is due."""
        end = self.now + seconds
        while True:
            due = min([self.queue.next_at(self.now), *(due for due, _ in self._busy)])
            if due > end:
                break
            assert due < math.inf
            self.now = max(self.now, due)
            self.queue.expire(self.now)
            self.work()
        self.now = end

    def flood(self, seconds: float, names: Iterator[str], source: str = HERE, connections: int = 64) -> None:
        """Keep so many guesses waiting for a time, each as soon as one is answered."""
        end = self.now + seconds
        while self.now < end:
            while self.waiting(source) < connections:
                self.attempt(next(names), source)
            self.pass_time(0.05)

    def storm(self, seconds: float, names: Iterator[str], guesses: Iterator[int]) -> None:
        """Send more guesses than find room: ten each 20th of a second, whether those before are answered."""
        end = self.now + seconds
        while self.now < end:
            for _ in range(10):
                self.attempt(next(names), guess=next(guesses))
            self.pass_time(0.05)

    def waiting(self, source: str) -> int:
        return sum(attempt.source == source for attempt in self.queue._waiting)


@pytest.fixture
def office() -> Office:
    return Office()


def always(name: str) -> Iterator[str]:
    while True:
        yield name


def ever_new() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"user{number}"


def test_logins_are_checked_a_few_at_a_time_in_their_order(office: Office) -> None:
    for number in range(5):
        office.attempt(f"user{number}", is_right=True)
    assert len(office.queue) == 5 - HASHERS
    office.pass_time(1.0)
    assert [user for user, _ in office.right] == [f"user{number}" for number in range(5)]


def test_right_logins_of_one_account_are_not_held_up(office: Office) -> None:
    for _ in range(32):
        office.attempt("percy", is_right=True)
    office.pass_time(32 * CHECK_S)
    assert len(office.right) == 32


def test_guessing_gets_slow(office: Office) -> None:
    office.flood(10.0, always("percy"))
    assert office.checked["percy"] <= 10 + 10 / 0.5 + 1
    office.flood(600.0, always("percy"))
    before = office.checked["percy"]
    office.flood(100.0, always("percy"))
    assert office.checked["percy"] - before <= 100 / 5.0 + 1


def test_guesses_from_many_addresses_are_as_slow_together(office: Office) -> None:
    for number in range(400):
        office.attempt("percy", f"203.0.113.{number}")
    office.pass_time(20.0)
    assert office.checked["percy"] <= 10 + 20 / 0.5 + 1


def test_a_flood_of_guesses_for_one_account_keeps_no_other_out_from_the_same_address(office: Office) -> None:
    office.flood(5.0, always("alice"))
    begun = office.now
    for _ in range(32):
        office.attempt("percy", is_right=True)
    office.pass_time(5.0)
    assert len(office.right) == 32
    assert office.right[-1][1] - begun < 4.0


def test_a_storm_of_guesses_for_one_account_leaves_room_for_others_at_the_same_address(office: Office) -> None:
    office.storm(60.0, always("percy"), count())
    assert office.refused
    asked_at = office.now
    assert office.attempt("alice", is_right=True)
    office.storm(3.0, always("percy"), count())
    assert [user for user, at in office.right if at - asked_at < 3.0] == ["alice"]


def test_who_is_known_passes_a_storm_of_guesses_for_others_from_the_same_address(office: Office) -> None:
    office.queue.recognize("percy", HERE)
    office.storm(60.0, ever_new(), count())
    assert office.refused
    asked_at = office.now
    assert office.attempt("percy", is_right=True)
    office.storm(1.0, ever_new(), count())
    assert [user for user, at in office.right if at - asked_at < 1.0] == ["percy"]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_storm_of_the_same_guess_leaves_room_for_the_right_password(office: Office, is_known: bool) -> None:
    if is_known:
        office.queue.recognize("percy", HERE)
    office.storm(60.0, always("percy"), repeat(7))
    assert office.refused
    assert office.attempt("percy", is_right=True, guess=8)
    office.storm(11.0, always("percy"), repeat(7))
    assert [user for user, _ in office.right] == ["percy"]


@pytest.mark.parametrize("names", [always("percy"), ever_new()], ids=["this account", "any account"])
def test_a_flood_keeps_nobody_out_elsewhere(office: Office, names: Iterator[str]) -> None:
    office.flood(10.0, names, connections=MAX_WAITING_PER_SOURCE)
    office.attempt("percy", ELSEWHERE, is_right=True)
    office.pass_time(5.0)
    assert [user for user, _ in office.right] == ["percy"]


def test_the_owner_passes_guesses_of_others_where_the_account_was_used_before(office: Office) -> None:
    office.attempt("percy", ELSEWHERE, is_right=True)
    office.pass_time(1.0)
    for number in range(100):
        office.flood(1.0, always("percy"), f"203.0.113.{number}", connections=3)
    begun = office.now
    for _ in range(8):
        office.attempt("percy", ELSEWHERE, is_right=True)
    office.pass_time(2.0)
    assert [user for user, at in office.right if at >= begun] == ["percy"] * 8


def test_the_owner_who_shows_a_session_passes_wherever_he_is(office: Office) -> None:
    office.flood(300.0, always("percy"), connections=MAX_WAITING_PER_SOURCE - 1)
    office.attempt("percy", is_right=True, session="a session")
    office.pass_time(2 * CHECK_S + 0.01)
    assert [user for user, _ in office.right] == ["percy"]


def test_guesses_from_a_known_address_are_slow_too_and_the_owner_waits_among_them(office: Office) -> None:
    office.attempt("percy", is_right=True)
    office.pass_time(1.0)
    before = office.checked["percy"]
    office.flood(10.0, always("percy"), connections=16)
    assert office.checked["percy"] - before <= 10 + 10 / 0.5 + 1
    office.attempt("percy", is_right=True)
    office.pass_time(20.0)
    assert len(office.right) == 2


def test_an_address_that_guesses_all_kinds_of_names_is_slow(office: Office) -> None:
    office.flood(10.0, ever_new())
    assert office.checked.total() <= 20 + 10 / 0.2 + HASHERS
    office.attempt("percy", is_right=True)
    office.pass_time(MAX_WAIT_S)
    assert [user for user, _ in office.right] == ["percy"], "it waits in line, and gets its turn"


def test_wrong_guesses_are_forgotten(office: Office) -> None:
    office.flood(300.0, always("percy"), connections=1)
    office.pass_time(FORGET_S + MAX_WAIT_S)
    before = office.checked["percy"]
    for _ in range(10):
        office.attempt("percy")
    office.pass_time(1.0)
    assert office.checked["percy"] - before == 10


def test_right_logins_without_end_leave_turns_to_others(office: Office) -> None:
    office.attempt("mallory", is_right=True)
    office.pass_time(1.0)
    for _ in range(100):
        office.attempt("mallory", is_right=True)
    office.attempt("percy", is_right=True)
    office.pass_time(4 * CHECK_S)
    assert "percy" in [user for user, _ in office.right]


def test_right_logins_of_one_account_have_a_rate(office: Office) -> None:
    def one_after_the_other() -> None:
        while office.waiting(HERE) < 4:
            office.attempt("mallory", is_right=True)

    for _ in range(1000):
        one_after_the_other()
        office.pass_time(0.1)
    assert len(office.right) <= 2 * 256 + 100 * 4.0 + HASHERS


def test_what_is_not_wanted_any_more_is_not_checked(office: Office) -> None:
    gone = [office.attempt(f"user{number}", is_wanted=lambda: False) for number in range(40)]
    office.pass_time(10.0)
    assert office.checked.total() < 40
    assert office.given_up == gone[-len(office.given_up) :]
    assert len(office.given_up) + office.checked.total() == 40


def test_who_has_ended_its_half_is_answered_where_there_is_no_line(office: Office) -> None:
    office.attempt("percy", is_right=True, is_wanted=lambda: False)
    office.pass_time(1.0)
    assert len(office.right) == 1


def test_the_line_of_an_address_has_an_end(office: Office) -> None:
    for _ in range(1000):
        office.attempt("percy")
    assert office.waiting(HERE) == MAX_WAITING_PER_SOURCE
    assert office.refused == 1000 - MAX_WAITING_PER_SOURCE - HASHERS


def test_a_full_line_makes_room_for_those_who_take_less_of_it(office: Office) -> None:
    for number in range(4):
        for _ in range(MAX_WAITING_PER_SOURCE + HASHERS):
            office.attempt("percy", f"203.0.113.{number}")
    assert len(office.queue) == MAX_WAITING
    assert office.attempt("alice", ELSEWHERE, is_right=True) is not None
    assert len(office.queue) <= MAX_WAITING
    office.pass_time(2.0)
    assert [user for user, _ in office.right] == ["alice"]


def test_a_full_line_of_all_kinds_of_addresses_refuses(office: Office) -> None:
    for number in range(MAX_WAITING + HASHERS):
        office.attempt("percy", f"address {number}")
    assert office.attempt("percy", "one more") is None
    assert len(office.queue) == MAX_WAITING


def test_who_has_waited_too_long_is_given_up(office: Office) -> None:
    for _ in range(100):
        office.attempt("percy")
    office.pass_time(MAX_WAIT_S)
    assert len(office.queue) == 0
    assert len(office.given_up) > 20
    assert len(office.given_up) + office.checked.total() == 100


def test_one_that_could_not_be_checked_counts_for_nothing(office: Office) -> None:
    queue = office.queue
    for _ in range(100):
        attempt = Attempt("percy", HERE, "", lambda: True, office.given_up.append)
        queue.add(attempt, office.now)
        assert queue.next(office.now) is attempt
        queue.end(attempt, office.now, is_right=None)


def test_what_is_remembered_is_bounded(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "MAX_REMEMBERED", 50)
    for number in range(500):
        office.attempt(f"user{number}", f"address {number}", is_right=bool(number % 2))
        office.pass_time(1.0)
    assert len(office.queue._gates) <= 50
    assert len(office.queue._known) <= 50


def test_what_has_had_its_time_is_forgotten(office: Office) -> None:
    for number in range(100):
        office.attempt(f"user{number}", f"address {number}")
        office.pass_time(1.0)
    office.pass_time(FORGET_S)
    for number in range(200):
        office.attempt("alice", f"another address {number}", is_right=True)
        office.pass_time(1.0)
    assert not [key for key in office.queue._gates if key[0] == "account" and key[1] != "alice"]


def test_the_work_for_a_flood_does_not_grow_with_its_rate(office: Office) -> None:
    office.flood(30.0, always("percy"), connections=MAX_WAITING_PER_SOURCE)
    looks = 0
    choose = office.queue._choose

    def counted(now: float) -> Attempt | None:
        nonlocal looks
        looks += 1
        return choose(now)

    office.queue._choose = counted  # type: ignore[method-assign]  # what it asks is counted
    for _ in range(10_000):
        office.attempt("percy")
    assert looks <= 2


def test_those_that_wait_are_not_asked_for_each_that_is_refused(office: Office) -> None:
    asked = 0

    def is_wanted() -> bool:
        nonlocal asked
        asked += 1
        return True

    for _ in range(MAX_WAITING_PER_SOURCE + HASHERS + 500):
        office.attempt("percy", is_wanted=is_wanted)
    assert office.refused == 500
    assert asked <= MAX_WAITING_PER_SOURCE + HASHERS


@pytest.mark.parametrize(("workers", "hashers", "waiting"), [(1, 2, 128), (2, 1, 64), (64, 1, 2), (1000, 1, 1)])
def test_workers_divide_the_places_and_the_hashers(workers: int, hashers: int, waiting: int) -> None:
    office = Office()
    office.queue = Queue(workers)
    assert office.queue.hashers == hashers
    for number in range(300):
        office.attempt(f"user{number}")
    assert len(office.queue) == waiting
    assert len(office._busy) == hashers
    assert office.queue.next(office.now) is None
