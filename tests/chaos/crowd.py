"""Many clients on a few nodes, and what must be true of all that they were told."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from chaos.witness import Gone, Witness, post

__all__ = ["PRESENCE_S", "Crowd"]

CLIENTS = 100
# A client is in so many of the rooms.
ROOMS_EACH = 2
# Who connects where: percy to the first node, alice to the last one, bob to one after the other.
USERS = ("percy", "alice", "bob")

# Within so many seconds from the end of a fault, everybody knows who is there.
PRESENCE_S = 15.0
# And everything is said, acked and heard.
QUIET_S = 60.0
LOOK_S = 0.1
PAGE = 200

Log = dict[int, str]


class Crowd:
    """The clients.

    Args:
        ports: where the nodes listen.
        rooms: how many rooms they are in.

    Attributes:
        figures: what was counted in all rounds so far, as of the last `settle`: messages that were `acked`, those of
            them that are `lost`, how often a client had been shown one that was `revoked`, how many clients were
            `told` of losses, and what each of them has counted.
    """

    def __init__(self, ports: Sequence[int], rooms: int) -> None:
        self.ports = ports
        self.rooms = [f"room {number}" for number in range(rooms)]
        self.witnesses: list[Witness] = []
        self.figures: Counter[str] = Counter()
        self.visitors = 0
        self._living: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Crowd:
        tokens = {user: await log_in(self.ports[0], user) for user in USERS}
        for number in range(CLIENTS):
            user = USERS[number % len(USERS)]
            first = {"percy": 0, "alice": len(self.ports) - 1}.get(user, number // len(USERS))
            ports = [self.ports[(first + turn) % len(self.ports)] for turn in range(len(self.ports))]
            rooms = [self.rooms[(number * (step + 1) + step) % len(self.rooms)] for step in range(ROOMS_EACH)]
            self.witnesses.append(
                Witness(
                    f"{user} {number}",
                    user,
                    tokens[user],
                    ports if user == "bob" else ports[:1],
                    list(dict.fromkeys(rooms)),
                )
            )
        self._living = [asyncio.create_task(witness.live()) for witness in self.witnesses]
        await self._until("all are in their rooms", lambda: all(witness.is_in for witness in self.witnesses), QUIET_S)
        return self

    async def __aexit__(self, *_error: Any) -> None:
        for task in self._living:
            task.cancel()
        await asyncio.gather(*self._living, return_exceptions=True)

    # What is so at the moment

    def count(self, what: str) -> int:
        """How often something was counted by all witnesses together."""
        return sum(witness.counts[what] for witness in self.witnesses)

    @property
    def acked(self) -> int:
        """How many messages were acked so far."""
        return sum(len(witness.acked) for witness in self.witnesses)

    def on(self, port: int) -> list[Witness]:
        """Those that only ever connect to one node."""
        return [witness for witness in self.witnesses if witness.ports == [port]]

    def assert_no_faults(self) -> None:
        faults = [fault for witness in self.witnesses for fault in witness.faults]
        assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults[:20])

    async def until_some_are_acked(self, count: int = 50) -> None:
        """Wait until so many more messages were acked."""
        wanted = self.acked + count
        await self._until(f"{count} more are acked", lambda: self.acked >= wanted, QUIET_S)

    async def until_counted(self, what: str, count: int = 1) -> None:
        """Wait until something was counted so often more than it is now."""
        wanted = self.count(what) + count
        await self._until(f"{what} {count} times more", lambda: self.count(what) >= wanted, QUIET_S)

    async def until_presence_is_right(self, witnesses: Collection[Witness] | None = None) -> float:
        """Wait until those witnesses, or all, know who is in each of their rooms; how long it took."""
        began = asyncio.get_running_loop().time()
        some = self.witnesses if witnesses is None else witnesses
        await self._until("all know who is there", lambda: not self._wrong(some), PRESENCE_S, lambda: self._wrong(some))
        return asyncio.get_running_loop().time() - began

    def _wrong(self, witnesses: Collection[Witness]) -> list[str]:
        present: dict[str, set[str]] = {room: set() for room in self.rooms}
        for witness in witnesses:
            for view in witness.views.values():
                if view.is_in:
                    present[view.room].add(witness.user)
        return [
            f"{witness.name}, {view.room}: {sorted(view.members)} and not {sorted(present[view.room])}"
            for witness in witnesses
            for view in witness.views.values()
            if not view.is_in or view.members != present[view.room]
        ]

    async def come_elsewhere(self) -> None:
        """Let somebody on each node come to a room that nobody is in: it is answered in time, whatever it is."""
        rooms = [f"elsewhere {self.visitors + number}" for number in range(len(self.ports))]
        self.visitors += len(rooms)
        visitors = [self._witness_on(port, self.rooms[0]) for port in self.ports]
        await asyncio.gather(*(come_and_go(*each) for each in zip(visitors, rooms, strict=True)))

    # The end of a round

    async def settle(self, *, may_lose: bool) -> None:
        """Let all fall silent, then hold what each was told against the log as each node reads it.

        Args:
            may_lose: whether acked messages may be lost, where everybody concerned was told.
        """
        for witness in self.witnesses:
            witness.is_talking = False
        await self._until("all is said and acked", lambda: not self._saying(), QUIET_S, self._saying)
        await self._until("all stand at the same place", lambda: not self._apart(), QUIET_S, self._apart)
        await self._ask_who_is_there()
        await self.hear_each_other()
        logs = [await self._read_logs(port) for port in self.ports]
        assert all(log == logs[0] for log in logs), "two nodes read two logs"
        self._check(logs[0], may_lose=may_lose)
        self.assert_no_faults()
        for witness in self.witnesses:
            witness.is_talking = True

    def _saying(self) -> list[str]:
        return [
            f"{witness.name}: {witness.unacked or 'not in its rooms'}"
            for witness in self.witnesses
            if witness.unacked or not witness.is_in
        ]

    def _apart(self) -> list[str]:
        return [f"{room}: {places}" for room in self.rooms if len(places := self._places(room)) > 1]

    def _places(self, room: str) -> set[tuple[str, int]]:
        views = [witness.views[room] for witness in self.witnesses if room in witness.views]
        return {(view.epoch, view.seq) for view in views}

    def _witness_on(self, port: int, room: str) -> Witness:
        return next(each for each in self.witnesses if each.port == port and room in each.views)

    async def _ask_who_is_there(self) -> None:
        for port in self.ports:
            for room in self.rooms:
                witness = self._witness_on(port, room)
                answer = (await witness.ask("presence", {"room": room}))["payload"]
                assert set(answer["members"]) == witness.views[room].members, answer

    async def hear_each_other(self) -> None:
        """Let somebody on each node type: all others of the room hear it, wherever they are."""
        for port in self.ports:
            room = self.rooms[0]
            typist = self._witness_on(port, room)
            others = [each for each in self.witnesses if room in each.views and each.user != typist.user]
            for each in others:
                each.typed.clear()
            await typist.ask("typing", {"room": room, "on": True})
            typed = (room, typist.user)
            await self._until("all hear who types", lambda: all(typed in each.typed for each in others), 10.0)  # noqa: B023  # ends here
            await typist.ask("typing", {"room": room, "on": False})

    async def _read_logs(self, port: int) -> dict[str, Log]:
        return {room: await self._read_log(port, room) for room in self.rooms}

    async def _read_log(self, port: int, room: str) -> Log:
        log: Log = {}
        witness = self._witness_on(port, room)
        while True:
            after = max(log, default=0)
            answer = await witness.ask("history", {"room": room, "after": after, "limit": PAGE})
            assert answer["type"] == "ack", answer
            log |= {each["seq"]: each["message"] for each in answer["payload"]["messages"]}
            if not answer["payload"]["more"]:
                break
        assert list(log) == list(range(1, len(log) + 1)), f"the log of {room} has a hole"
        assert len(set(log.values())) == len(log), f"the log of {room} has something twice"
        places = self._places(room)
        assert places == {(answer["payload"]["epoch"], len(log))}, f"{room}: {places}, {len(log)}"
        return log

    def _check(self, logs: Mapping[str, Log], *, may_lose: bool) -> None:
        figures = self.figures = Counter[str]()
        for witness in self.witnesses:
            told = False
            for view in witness.views.values():
                figures["revoked"] += view.check(logs[view.room])
                figures["recovered: false"] += view.losses
                told = told or view.losses > 0
            figures["told"] += told
            lost = [each for each in witness.acked if logs[each.room].get(each.seq) != each.text]
            figures["acked"] += len(witness.acked)
            figures["lost"] += len(lost)
            untold = [each for each in lost if witness.views[each.room].changes == each.changes]
            if untold:
                witness.faults.append(f"{witness.name}: acked, lost, and not told: {untold[:3]}")
            if not may_lose:
                witness.faults += [f"{witness.name}: acked and lost: {each}" for each in lost[:3]]
                if told:
                    witness.faults.append(f"{witness.name} was told to have lost its place, and nothing may be lost")
            for name, count in witness.counts.items():
                figures[name] += count
        figures["slowest ms"] = round(1000 * max(witness.slowest_s for witness in self.witnesses))

    async def _until(
        self, what: str, is_so: Callable[[], bool], limit_s: float, why_not: Callable[[], object] = lambda: ""
    ) -> None:
        """Wait until something is so, which no event tells, of many clients."""
        try:
            async with asyncio.timeout(limit_s):
                while not is_so():
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            self.assert_no_faults()
            raise AssertionError(f"after {limit_s:g} s it is not so: {what}; {str(why_not())[:2000]}") from None


async def come_and_go(witness: Witness, room: str) -> None:
    with contextlib.suppress(Gone):
        await witness.ask("mark_read", {"room": next(iter(witness.views)), "seq": 1})
        await witness.ask("presence", {"room": next(iter(witness.views))})
        if (await witness.ask("join_room", {"room": room}))["type"] == "ack":
            await witness.ask("leave_room", {"room": room})


async def log_in(port: int, user: str) -> str:
    status, answer = await post(port, "/login", {"username": user, "password": "123"})
    assert status == 200, answer
    return str(answer["token"])
