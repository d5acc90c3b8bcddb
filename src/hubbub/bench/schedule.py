"""When things are due, and how a message says when it was."""

from __future__ import annotations

import asyncio
import heapq
import signal
import time
from collections.abc import Callable

from hubbub.bench.orders import Seat

__all__ = ["STAMP", "Pacer", "due_in", "seats_for", "stamp"]

# Characters of a stamp after its mark: the phase, when the message was due, and who sends it.
PHASE, DUE, SENDER = 3, 20, 6
STAMP = PHASE + DUE + SENDER

# Never set to nothing, which would switch it off.
SHORTEST_S = 1e-6


def stamp(phase: int, due_ns: int, sender: int) -> str:
    """What a message's text goes on with after the run's mark."""
    return f"{phase:0{PHASE}}{due_ns:0{DUE}}{sender:0{SENDER}}"


def due_in(text: str, start: int) -> int:
    """When a message was due whose mark and phase end at `start`; 0 where it does not say."""
    try:
        return int(text[start : start + DUE])
    except ValueError:
        return 0


class Pacer:
    """Calls when something is due, and not up to a millisecond later as the loop's own timers do.

    It is the process's interval timer, so there is one to a process. What is late is called at once, so that a sender
    which was held up sends everything it owes.
    """

    def __init__(self, send: Callable[[Seat, int], None]) -> None:
        self._send = send
        self._due: list[tuple[int, int, Seat]] = []
        self._end_ns = 0
        self._is_over = asyncio.Event()

    async def run(self, seats: list[Seat], begin_ns: int, end_ns: int) -> None:
        """Call for each seat, at each of its times before the end."""
        self._end_ns = end_ns
        self._due = [(begin_ns + seat.first_ns, seat.number, seat) for seat in seats]
        heapq.heapify(self._due)
        self._is_over.clear()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGALRM, self._turn)
        self._turn()
        try:
            await self._is_over.wait()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            loop.remove_signal_handler(signal.SIGALRM)

    def _turn(self) -> None:
        """Send all that is due."""
        now = time.monotonic_ns()
        due = self._due
        while due and due[0][0] <= now:
            at, number, seat = due[0]
            if at >= self._end_ns:
                heapq.heappop(due)
                continue
            heapq.heapreplace(due, (at + seat.every_ns, number, seat))
            self._send(seat, at)
        if due and due[0][0] < self._end_ns:
            left_s = (due[0][0] - time.monotonic_ns()) / 1e9
            signal.setitimer(signal.ITIMER_REAL, max(left_s, SHORTEST_S))
        else:
            self._is_over.set()


def seats_for(clients: int, rooms: list[str], rate: float, senders: int) -> list[Seat]:
    """Seats in rooms, filled evenly; messages are due at `rate` a second in all, evenly, the rooms taking turns.

    Args:
        senders: in each room, as far as there are that many.
    """
    sizes = [len(range(room, clients, len(rooms))) for room in range(len(rooms))]
    every_ns = int(1e9 * len(rooms) / rate) if rate else 0
    seats = []
    for number in range(clients):
        place, room = divmod(number, len(rooms))
        turns = min(senders, sizes[room])
        is_sender = place < turns and every_ns > 0
        first_ns = place * every_ns + room * every_ns // len(rooms)
        own_ns = every_ns * turns if is_sender else 0
        seats.append(Seat(number, rooms[room], first_ns=first_ns, every_ns=own_ns, leads=place == 0))
    return seats
