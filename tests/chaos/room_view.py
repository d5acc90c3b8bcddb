"""What one client has been told of one room, and whether that can be true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["RoomView"]


class RoomView:
    """A room as one client knows it.

    Args:
        complain: is told what breaks a promise.

    Attributes:
        epoch, seq: the place to resume from; no epoch before the first join.
        heard: text by seq of all that it was shown since it was last told that something may be lost.
        revoked: the same of the times before.
        members: who is in the room.
        is_in: whether this client is.
        changes: how often it was told that its place may not be what it was: another epoch, or `recovered: false`.
        losses: how often it was told the latter.
    """

    def __init__(self, room: str, complain: Callable[[str], None]) -> None:
        self.room = room
        self.epoch = ""
        self.seq = 0
        self.heard: dict[int, str] = {}
        self.revoked: list[dict[int, str]] = []
        self.members: set[str] = set()
        self.is_in = False
        self.changes = 0
        self.losses = 0
        self._complain = complain

    @property
    def request(self) -> dict[str, Any]:
        """The payload of its next `join_room`."""
        since = {"since": {"epoch": self.epoch, "seq": self.seq}} if self.epoch else {"history": 0}
        return {"room": self.room} | since

    def joined(self, answer: Mapping[str, Any]) -> None:
        """Take the answer to that."""
        self.is_in = True
        self.members = set(answer["members"])
        messages = answer["messages"]
        if not self.epoch:
            self.seq = answer["seq"]
        elif not answer["recovered"]:
            self.losses += 1
            self.changes += 1
            self.revoked.append(self.heard)
            self.heard = {}
            self.seq = messages[0]["seq"] - 1 if messages else answer["seq"]
        elif answer["epoch"] != self.epoch:
            self.changes += 1
        self.epoch = answer["epoch"]
        for message in messages:
            self.hear(message)
        if self.seq != answer["seq"]:
            self._complain(f"an answer ends with {self.seq} and says that it ends with {answer['seq']}")

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take a message."""
        seq = message["seq"]
        if seq != self.seq + 1:
            self._complain(f"{seq} came after {self.seq} in epoch {self.epoch}")
        self.seq = seq
        self.heard[seq] = message["message"]

    def go_on(self, epoch: str, seq: int) -> None:
        """Take an `epoch` event."""
        if seq != self.seq:
            self._complain(f"epoch {epoch} is told to go on after {seq}, and {self.seq} was the last")
        self.changes += 1
        self.epoch = epoch

    def check(self, log: Mapping[int, str]) -> int:
        """Hold all that was heard against the log; how many were heard that are lost."""
        wrong = {seq: text for seq, text in self.heard.items() if log.get(seq) != text}
        if wrong:
            seq = min(wrong)
            self._complain(f"{len(wrong)} were shown and are not so, the first {seq}: {wrong[seq]!r}, {log.get(seq)!r}")
        return sum(log.get(seq) != text for heard in self.revoked for seq, text in heard.items())
