"""The clients of one worker: what they do on an order, and what is counted of it."""

from __future__ import annotations

import asyncio
import os
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable

from picows import WSError, WSHandshakeError

from hubbub.bench.histogram import Histogram
from hubbub.bench.link import Body, Link
from hubbub.bench.orders import (
    Census,
    Destination,
    Drop,
    Gather,
    Measure,
    Part,
    Rest,
    Return,
    Seat,
    Settle,
    Setup,
    Talk,
    Tally,
    Tick,
)
from hubbub.bench.proc import occupied_s
from hubbub.bench.schedule import DUE, PHASE, SENDER, Pacer, due_in, stamp
from hubbub.bench.target import TicketSource, server_at
from hubbub.errors import AuthError, ProtocolError
from hubbub.sdk.session import HttpRefused

__all__ = ["Crew"]

# One connection, from asking for its password to its first frame, and to the answer to joining.
OPEN_S = 10.0
# Nothing more is expected after a silence of this length.
QUIET_S = 2.0
# How long those that came back may take to catch up.
CATCH_UP_S = 15.0
LOOK_S = 0.01
# A client that does not read shows by this that it lives: a server may close one that is silent for 10 s.
LIFE_S = 3.0
# The kernel's account of a process is not exact enough to say how busy it was in less.
SHORT_S = 0.2
# In a closed loop, a refused message is sent again after this time.
AGAIN_S = 0.25


class Crew:
    """The clients of one worker.

    Args:
        tell: gets a tick at the end of each interval.
    """

    def __init__(self, setup: Setup, tell: Callable[[Tick], None]) -> None:
        self._place: Destination = setup.place
        self._has_v1 = setup.place.dialect == "v1"
        self._server = server_at(setup.place)
        self._tickets = TicketSource(setup.place, self._server)
        self._mark = setup.mark
        self._doors = asyncio.Semaphore(setup.doors)
        self._links: list[Link] = []
        self._by_number: dict[int, Link] = {}
        self._pacer = Pacer(self._send)
        self._meter = Meter(tell, self._how_many)
        self._goals: dict[Link, int] = {}
        self._caught_up = asyncio.Event()
        self._returns: dict[Link, int] = {}
        self._behind: set[Link] = set()
        self._quiet_since = 0
        self._talk = Talk(0, 0, 0, 0)
        self._own_mark = ""
        self._reset()

    def _reset(self) -> None:
        self._tally = Tally(sent=Counter(), counts=Counter(), troubles=Counter())
        self._latencies: defaultdict[str, Histogram] = defaultdict(Histogram)
        self._began = time.monotonic(), occupied_s()

    def report(self) -> Tally:
        """What was counted since the last report."""
        wall = time.monotonic() - self._began[0]
        tally = self._tally
        tally.busy = (occupied_s() - self._began[1]) / wall if wall > SHORT_S else 0.0
        tally.latencies = {name: histogram.counts() for name, histogram in self._latencies.items()}
        for link in self._links:
            progress = link.progress
            room = link.seat.room
            tally.newest[room] = max(progress.seq, tally.newest.get(room, 0))
            tally.counts["holes"] += progress.holes
            tally.counts["repeats"] += progress.repeats
            tally.counts["pings"] += link.pings
            progress.holes = progress.repeats = link.pings = 0
        self._reset()
        return tally

    def standing(self) -> Census:
        """Who is there."""
        there = [link for link in self._links if link.is_open]
        silent = sum(not link.heard for link in there)
        members = Counter(link.seat.room for link in there if not link.seat.is_slow)
        return Census(len(there), silent, members, slow=sum(link.seat.is_slow for link in there))

    def _how_many(self) -> int:
        return sum(link.is_open for link in self._links)

    # Measuring

    def measure(self, order: Measure) -> None:
        """Report a tick at the end of each interval from now on."""
        self._meter.start(order.begin_ns, order.every_ns)

    def end(self) -> None:
        """Report no more."""
        self._meter.stop()

    # Coming and going

    async def gather(self, order: Gather) -> None:
        """Take seats, each when it is due; whoever is left over from before goes."""
        for link in self._links:
            link.drop()
        self._links = [Link(seat, self._on_message, self._on_trouble) for seat in order.seats]
        self._by_number = {link.seat.number: link for link in self._links}
        async with asyncio.TaskGroup() as tasks:
            for link in self._links:
                tasks.create_task(self._arrive(link, order.begin_ns + link.seat.opens_ns))

    async def _arrive(self, link: Link, due_ns: int, *, is_back: bool = False) -> bool:
        """Bring one client in; whether it got there."""
        await sleep_until(due_ns)
        self._latencies["lateness"].record(time.monotonic_ns() - due_ns)
        try:
            async with self._doors, asyncio.timeout(OPEN_S):
                otp = await self._tickets.take()
                asked_ns = time.monotonic_ns()
                await link.open(self._place, self._server, otp, has_v1=self._has_v1)
                now = time.monotonic_ns()
                if link.seat.room:
                    answer = await link.enter(is_back=is_back)
                    self._tally.counts["not recovered"] += is_back and not answer.recovered
                    self._tally.counts["replayed"] += len(answer.messages)
        except (WSError, HttpRefused, AuthError, ProtocolError, OSError, TimeoutError) as error:
            self._tally.troubles[trouble_of(error)] += 1
            link.drop()
            return False
        self._tally.counts["opened"] += 1
        self._tally.last_ns = now
        if not is_back:
            self._note("connect", now - due_ns)
        self._latencies["upgrade"].record(now - asked_ns)
        return True

    async def drop(self, _order: Drop) -> None:
        """All but those that stay vanish."""
        for link in self._links:
            if not link.seat.stays:
                link.drop()

    async def come_back(self, order: Return) -> None:
        """Those that dropped come back, evenly spread, and catch up."""
        away = [link for link in self._links if not link.seat.stays]
        self._goals = {link: order.until.get(link.seat.room, 0) for link in away}
        self._returns = {link: order.begin_ns + order.spread_ns * index // len(away) for index, link in enumerate(away)}
        self._caught_up.clear()
        async with asyncio.TaskGroup() as tasks:
            for link, due_ns in self._returns.items():
                tasks.create_task(self._resume(link, due_ns))
        if self._goals:
            try:
                async with asyncio.timeout(CATCH_UP_S):
                    await self._caught_up.wait()
            except TimeoutError:
                self._tally.troubles["not caught up"] += len(self._goals)
        self._goals = {}

    async def _resume(self, link: Link, due_ns: int) -> None:
        if await self._arrive(link, due_ns, is_back=True):
            self._look_at_goal(link)
        else:
            self._goals.pop(link, None)

    def _look_at_goal(self, link: Link) -> None:
        """A client that has come as far as it should is back."""
        if link.progress.seq >= self._goals.get(link, link.progress.seq + 1):
            del self._goals[link]
            self._tally.counts["returned"] += 1
            self._tally.last_ns = now = time.monotonic_ns()
            self._note("resume", now - self._returns[link])
            if not self._goals:
                self._caught_up.set()

    async def part(self, _order: Part) -> None:
        """Everyone says goodbye."""
        for link in self._links:
            link.close()

    async def rest(self, order: Rest) -> None:
        """Sit there."""
        await sleep_until(order.until_ns)

    # Talking

    async def talk(self, order: Talk) -> None:
        """Send, each on its schedule, or as fast as the window lets it."""
        self._talk = order
        self._own_mark = f"{self._mark}{order.phase:0{PHASE}}"
        for link in self._links:
            link.heard = link.under_way = 0
        async with asyncio.TaskGroup() as tasks:
            if order.deaf is not None:
                tasks.create_task(self._go_deaf(*order.deaf))
            await self._send_all(order)

    async def _send_all(self, order: Talk) -> None:
        if order.is_rehearsal:
            leads = [link.seat for link in self._links if link.seat.leads]
            await sleep_until(order.begin_ns)
            for seat in leads:
                self._send(seat, time.monotonic_ns())
            await sleep_until(order.end_ns)
        elif order.window:
            await sleep_until(order.begin_ns)
            for link in self._links:
                if link.seat.every_ns:
                    self._fill_window(link)
            await sleep_until(order.end_ns)
        else:
            senders = [link.seat for link in self._links if link.seat.every_ns]
            await self._pacer.run(senders, order.begin_ns, order.end_ns)
            await sleep_until(order.end_ns)

    def _send(self, seat: Seat, due_ns: int) -> None:
        link = self._by_number[seat.number]
        if not link.is_open:
            return
        text = self._mark + stamp(self._talk.phase, due_ns, seat.number)
        link.say(text.ljust(self._talk.size, ".").encode())
        self._tally.sent[seat.room] += 1
        self._meter.sent += 1
        if not self._talk.window:
            self._latencies["lateness"].record(time.monotonic_ns() - due_ns)

    def _fill_window(self, link: Link) -> None:
        while link.under_way < self._talk.window and link.is_open:
            now = time.monotonic_ns()
            if now >= self._talk.end_ns:
                return
            link.under_way += 1
            self._send(link.seat, now)

    async def _go_deaf(self, from_ns: int, to_ns: int) -> None:
        """The slow stop reading, and show every few seconds that they live."""
        slow = [link for link in self._links if link.seat.is_slow]
        self._behind = set(slow)
        await sleep_until(from_ns)
        for link in slow:
            link.read(is_on=False)
        while to_ns - time.monotonic_ns() > LIFE_S * 1e9:
            await asyncio.sleep(LIFE_S)
            for link in slow:
                link.show_life()
        await sleep_until(to_ns)
        for link in slow:
            link.read(is_on=True)

    async def settle(self, order: Settle) -> None:
        """Wait until everyone has heard everything, or nothing has come for a while."""
        self._quiet_since = time.monotonic_ns()
        expected = order.expected
        late = [link for link in self._links if link.is_open and link.heard < expected.get(link.seat.room, 0)]
        while late and time.monotonic_ns() - self._quiet_since < QUIET_S * 1e9:
            await asyncio.sleep(LOOK_S)
            late = [link for link in late if link.is_open and link.heard < expected[link.seat.room]]

    # What links call

    def _on_message(self, link: Link, body: Body) -> None:
        text = body.message
        if self._goals and link in self._goals:
            self._look_at_goal(link)
        if not text.startswith(self._own_mark):
            return
        now = self._quiet_since = time.monotonic_ns()
        start = len(self._own_mark)
        due_ns = due_in(text, start)
        link.heard += 1
        self._tally.last_ns = now
        self._meter.delivered += 1
        talk = self._talk
        if not link.seat.is_slow:
            self._tally.delivered += 1
            self._note(talk.parts[bisect_right(talk.bounds, due_ns)], now - due_ns)
        else:
            self._hear_slow(link, due_ns, now)
        if talk.window and int(text[start + DUE : start + DUE + SENDER]) == link.seat.number:
            link.under_way -= 1
            self._fill_window(link)

    def _hear_slow(self, link: Link, due_ns: int, now: int) -> None:
        self._tally.to_slow += 1
        if self._talk.deaf is not None and due_ns >= self._talk.deaf[1] and link in self._behind:
            # Messages come in their order, so whatever it had missed has come before.
            self._behind.remove(link)
            self._latencies["catch-up"].record(now - self._talk.deaf[1])

    def _note(self, name: str, latency_ns: int) -> None:
        self._latencies[name].record(latency_ns)
        self._meter.latencies.record(latency_ns)

    def _on_trouble(self, link: Link, what: str) -> None:
        self._tally.troubles[what] += 1
        if what.startswith("close "):
            self._goals.pop(link, None)
            if link.seat.is_slow:
                self._tally.counts["slow closed"] += 1
            if not self._goals:
                self._caught_up.set()
        elif what.startswith("error "):
            self._tally.sent[link.seat.room] -= 1
            if self._talk.window:
                link.under_way -= 1
                asyncio.get_running_loop().call_later(AGAIN_S, self._fill_window, link)


class Meter:
    """Counts what happens in an interval, and reports it at its end."""

    def __init__(self, tell: Callable[[Tick], None], connections: Callable[[], int]) -> None:
        self.sent = 0
        self.delivered = 0
        self.latencies = Histogram()
        self._tell = tell
        self._connections = connections
        self._number = 0
        self._begin_ns = 0
        self._every_ns = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self, begin_ns: int, every_ns: int) -> None:
        """Begin with the first interval."""
        self._begin_ns, self._every_ns, self._number = begin_ns, every_ns, 0
        self._clear()
        self._wait()

    def stop(self) -> None:
        """Report what is left of the last interval, and be quiet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._report((time.monotonic_ns() - self._begin_ns - self._number * self._every_ns) / 1e9)

    def _wait(self) -> None:
        end_ns = self._begin_ns + (self._number + 1) * self._every_ns
        delay_s = max(0.0, (end_ns - time.monotonic_ns()) / 1e9)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._turn)

    def _turn(self) -> None:
        self._report(self._every_ns / 1e9)
        self._number += 1
        self._wait()

    def _report(self, seconds: float) -> None:
        latencies = self.latencies.counts()
        self._tell(Tick(self._number, seconds, self.sent, self.delivered, self._connections(), latencies))
        self._clear()

    def _clear(self) -> None:
        self.sent = self.delivered = 0
        self.latencies = Histogram()


async def sleep_until(at_ns: int) -> None:
    """Sleep until then, and not up to a millisecond less, as uvloop's timers do."""
    while (left_ns := at_ns - time.monotonic_ns()) > 0:  # noqa: ASYNC110  # nothing but time will tell
        await asyncio.sleep(left_ns / 1e9)


def trouble_of(error: Exception) -> str:
    """What kept a client out, in few words that are the same for all whom it kept out."""
    if isinstance(error, HttpRefused):
        return f"http {error.status}"
    if isinstance(error, WSHandshakeError) and error.response is not None:
        return f"http {int(error.response.status)}"
    if isinstance(error, AuthError):
        return "http 401"
    if isinstance(error, TimeoutError):
        return f"no answer in {OPEN_S:.0f} s"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error)
