"""Which process has which worker's slot: what the parent of workers does about what happens to them.

A slot is a listening socket for each address, which the parent keeps.  Its connections wait in it while nobody takes
them, so it never stays without a process that does: a process that dies is replaced, and until then, or while its loop
does not run, another one takes connections there too.  When all are replaced, a successor is ready before its
predecessor is told to leave.

Nothing here waits, starts or ends a process: it is told what happens and when, and tells an `Overseer` what to do.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import structlog

from hubbub.occupant import Occupant, Overseer, ProcessPhase, Slot

__all__ = ["ALONE_DELAY_S", "KILL_S", "LEAVE_S", "MAX_DELAY_S", "SILENT_S", "START_S", "STEADY_S", "Slots"]

log = structlog.get_logger("hubbub.workers")

# A process that is not ready after this time is killed: a hub's module may load much.
START_S = 120.0
# A worker that was told to stop has ten seconds, and ends itself before they are over.
KILL_S = 9.7
# The same for one that hands its slot over before: nobody waits for it.
LEAVE_S = 12.0
# A loop that gives no sign of life for so long is blocked, or its process was stopped: others take its connections.
SILENT_S = 4.0

# A worker that has died is replaced at once, the next time after the first delay, then twice that and so on.
FIRST_DELAY_S = 0.5
MAX_DELAY_S = 30.0
# While none is left, the next one is started after this time at the latest.
ALONE_DELAY_S = 1.0
# One that has served for so long has not died of its start: the delays begin anew.
STEADY_S = 60.0


class Slots:
    """The slots, and the processes that have them.

    Args:
        count: how many slots there are.
        overseer: does what has to be done.
        clock: seconds that never go back.
        drain_delay_s: how much longer than else a worker may take for its stop (`Settings.drain_delay`).

    Attributes:
        exit_code: what the parent ends with; None as long as it goes on.
        is_reloading: whether all are being replaced.
    """

    def __init__(self, count: int, overseer: Overseer, clock: Callable[[], float], drain_delay_s: float = 0.0) -> None:
        self.exit_code: int | None = None
        self.is_reloading = False
        self._overseer = overseer
        self._clock = clock
        self._drain_delay_s = drain_delay_s
        self._slots = [Slot(number) for number in range(1, count + 1)]
        self._occupants: dict[int, Occupant] = {}
        self._has_started = False
        self._is_stopping = False
        self._is_unclean = False
        # Whose turn is to come, and whose it is: with the successor and, until it has left, the predecessor.
        self._turns: deque[Slot] = deque()
        self._turn: Slot | None = None
        self._successor: Occupant | None = None
        self._predecessor: Occupant | None = None
        self._reloads_again = False

    @property
    def is_ready(self) -> bool:
        """Whether there is, or has been, a worker that serves."""
        return self._has_started

    @property
    def is_complete(self) -> bool:
        """Whether each slot is served by a process of its own."""
        return all(slot.serving is not None for slot in self._slots)

    # What the operator wants

    def begin(self) -> None:
        """Start the first worker, and the others once it is ready: what is made once is made by it.

        Raises:
            OSError: the system starts no process.
        """
        self._start(self._slots[0])

    def reload(self) -> None:
        """Replace every process, one slot after the other; once more where that is being done already."""
        if not self._is_stopping:
            self._reloads_again = True
            self._settle()

    def stop(self) -> None:
        """Have all processes stop."""
        if self._is_stopping:
            return
        self._is_stopping = True
        now = self._clock()
        for slot in self._slots:
            slot.start_at = math.inf
        for occupant in self._occupants.values():
            if occupant.phase is ProcessPhase.STARTING:
                self._overseer.terminate(occupant.pid)
            else:
                self._overseer.stop(occupant.pid)
            occupant.kill_at = min(occupant.kill_at, now + KILL_S + self._drain_delay_s)
        self._settle()

    def cut(self) -> None:
        """End all processes at once."""
        for occupant in self._occupants.values():
            self._overseer.kill(occupant.pid)

    # What the processes tell

    def ready(self, pid: int) -> None:
        """A process takes the connections of its slot."""
        occupant = self._occupants.get(pid)
        if occupant is None or occupant.phase is not ProcessPhase.STARTING:
            return
        slot = self._slot_of(occupant)
        now = self._clock()
        occupant.phase, occupant.since, occupant.heard_at = ProcessPhase.SERVING, now, now
        occupant.accepts = (slot.number,)
        if self._is_stopping:
            self._overseer.stop(pid)
            return
        occupant.kill_at = math.inf
        before, slot.serving, slot.coming = slot.serving, occupant, None
        slot.has_listened = True
        if before is not None:
            self._predecessor = before
            self._let_go(before)
            self._overseer.leave(before.pid)
        if not self._has_started:
            self._has_started = True
            for other in self._slots[1:]:
                other.start_at = now
        if self.is_complete and not self.is_reloading:
            log.info("all workers serve")
        self._settle()

    def alive(self, pid: int) -> None:
        """A process gives a sign of life."""
        occupant = self._occupants.get(pid)
        if occupant is not None:
            occupant.heard_at = self._clock()
            if occupant.is_silent:
                occupant.is_silent = False
                log.info("worker is back", worker=occupant.slot)
                self._settle()

    def leaving(self, pid: int) -> None:
        """A process stops, by order or because somebody else has told it to."""
        occupant = self._occupants.get(pid)
        if occupant is None or occupant.phase is not ProcessPhase.SERVING or self._is_stopping:
            return
        log.info("worker was told to stop by others", worker=occupant.slot)
        self._vacate(occupant)
        self._let_go(occupant)
        self._settle()

    def ended(self, pid: int, code: int) -> None:
        """A process has ended, with an exit code or minus the signal that has ended it."""
        occupant = self._occupants.pop(pid, None)
        if occupant is None:
            return
        slot = self._slot_of(occupant)
        if self._is_stopping:
            self._is_unclean |= bool(code) and occupant.phase is not ProcessPhase.STARTING
        elif occupant.phase is ProcessPhase.SERVING:
            log.error("worker died", worker=slot.number, **told(code))
            self._vacate(occupant)
        elif occupant.phase is ProcessPhase.STARTING:
            self._not_come(slot, occupant, code)
        if occupant is self._predecessor:
            self._predecessor = None
        self._settle()

    # Time

    def next_at(self) -> float:
        """When to call `tick` at the latest; infinite where no time helps."""
        times = [slot.start_at for slot in self._slots]
        for occupant in self._occupants.values():
            times.append(occupant.kill_at)
            if occupant.phase is ProcessPhase.SERVING and not occupant.is_silent and not self._is_stopping:
                times.append(occupant.heard_at + SILENT_S)
        return min(times)

    def tick(self) -> None:
        """Do what is due."""
        now = self._clock()
        for occupant in self._occupants.values():
            if occupant.kill_at <= now:
                log.error("worker is killed: it did not get on in time", worker=occupant.slot, was=occupant.phase.value)
                occupant.kill_at = math.inf
                self._overseer.kill(occupant.pid)
            if (
                occupant.phase is ProcessPhase.SERVING
                and not occupant.is_silent
                and now - occupant.heard_at >= SILENT_S
            ):
                occupant.is_silent = True
                log.warning("worker does not get on; others take its connections", worker=occupant.slot)
        for slot in self._slots:
            if slot.start_at <= now:
                self._start_again(slot)
        self._settle()

    # Starting, and what becomes of it

    def _start(self, slot: Slot) -> Occupant:
        slot.start_at = math.inf
        pid = self._overseer.start(slot.number, is_first=not self._has_started)
        now = self._clock()
        slot.coming = self._occupants[pid] = Occupant(slot.number, pid, since=now, kill_at=now + START_S)
        return slot.coming

    def _start_again(self, slot: Slot) -> None:
        try:
            self._start(slot)
        except OSError as error:
            log.error("no process can be started", worker=slot.number, error=error.strerror)  # noqa: TRY400  # the reason says it all
            self._delay(slot)

    def _not_come(self, slot: Slot, occupant: Occupant, code: int) -> None:
        """A process has ended before it was ready."""
        slot.coming = None
        if not self._has_started:
            # As with one process: what is wrong was said, and is for the operator to mend.
            self.exit_code = code if code >= 0 else 128 - code
            return
        if occupant is not self._successor:
            log.error("worker did not start", worker=slot.number, **told(code))
        if slot.serving is None:
            self._delay(slot)

    def _vacate(self, occupant: Occupant) -> None:
        """A slot has lost the process that served it."""
        slot = self._slot_of(occupant)
        slot.serving = None
        if self._clock() - occupant.since >= STEADY_S:
            slot.deaths = 0
        if slot.coming is None:
            self._delay(slot)

    def _delay(self, slot: Slot) -> None:
        """Have a process started, the later the more of them have died."""
        delay = min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** (slot.deaths - 1)) if slot.deaths else 0.0
        slot.deaths = min(slot.deaths + 1, 16)
        slot.start_at = self._clock() + delay
        if delay:
            log.info("worker is started later", worker=slot.number, seconds=delay)

    def _let_go(self, occupant: Occupant) -> None:
        """A process leaves; it is not waited for beyond its time."""
        now = self._clock()
        occupant.phase, occupant.since = ProcessPhase.LEAVING, now
        occupant.kill_at = now + LEAVE_S + self._drain_delay_s

    # Replacing all

    def _settle(self) -> None:
        """After each change: go on replacing, have all slots taken care of, and notice the end."""
        if self._is_stopping:
            if not self._occupants and self.exit_code is None:
                self.exit_code = int(self._is_unclean)
            return
        self._go_on()
        self._leave_none_alone()
        self._cover()

    def _leave_none_alone(self) -> None:
        """Where nobody serves and nobody comes, have somebody come soon: the delays are for those who have others."""
        if self._has_started and all(slot.serving is None and slot.coming is None for slot in self._slots):
            next_ = min(self._slots, key=lambda slot: slot.start_at)
            next_.start_at = min(next_.start_at, self._clock() + ALONE_DELAY_S)

    def _go_on(self) -> None:
        """Take the next step in replacing all processes, as far as it can be taken."""
        if self._turn is not None and self._has_turn_ended(self._turn):
            self._turn = self._successor = None
        if self._turn is not None or not self._has_started:
            return
        if not self._turns and self._reloads_again:
            self._reloads_again = False
            self._turns.extend(self._slots)
            self.is_reloading = True
            log.info("replacing all workers")
        if self._turns and self._turns[0].coming is None:
            self._turn = self._turns.popleft()
            try:
                self._successor = self._start(self._turn)
            except OSError as error:
                self._give_up(self._turn, error.strerror or str(error))
        elif not self._turns and self.is_reloading:
            self.is_reloading = False
            log.info("all workers are replaced")

    def _has_turn_ended(self, slot: Slot) -> bool:
        """Whether a slot has its new process and is rid of the old one, or keeps the old one."""
        if self._successor is slot.coming or self._predecessor is not None:
            return False
        if self._successor is not slot.serving and self._successor not in self._occupants.values():
            self._give_up(slot, "the new one did not start, or died")
        return True

    def _give_up(self, slot: Slot, reason: str) -> None:
        """Leave the workers that have not been replaced as they are."""
        log.error("not all workers are replaced; the others go on as they are", worker=slot.number, reason=reason)
        self._turn = self._successor = None
        self._turns.clear()
        self.is_reloading = False
        if slot.serving is None and slot.coming is None and slot.start_at == math.inf:
            self._delay(slot)

    # Taking care of slots

    def _cover(self) -> None:
        """Tell each process whose connections it takes: its own, and those of slots that nobody sees to."""
        able = [slot.serving for slot in self._slots if slot.serving is not None and not slot.serving.is_silent]
        wanted = {slot.number: [slot.number] for slot in self._slots}
        helpers = 0
        for slot in self._slots:
            if slot.has_listened and (slot.serving is None or slot.serving.is_silent) and able:
                wanted[able[helpers % len(able)].slot].append(slot.number)
                helpers += 1
        for occupant in able:
            accepts = tuple(wanted[occupant.slot])
            if accepts != occupant.accepts:
                occupant.accepts = accepts
                self._overseer.accept(occupant.pid, accepts)

    def _slot_of(self, occupant: Occupant) -> Slot:
        return self._slots[occupant.slot - 1]


def told(code: int) -> dict[str, int]:
    """How a process has ended, for the log."""
    return {"signal": -code} if code < 0 else {"exit_code": code}
