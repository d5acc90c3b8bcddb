"""The audit log: one JSON line for each login, each refusal and each act of an admin, in a file of its own.

What is noted is queued, and written by a thread: a slow disk holds nobody up, and one that fails loses lines, which the
next line that can be written says.  A flood of refusals is counted after the first few, so that it fills no disk and
drives nothing else out of the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from hubbub.events import encode, rfc3339
from hubbub.policy import network_of

__all__ = [
    "MAX_OF_ADDRESS",
    "REFUSALS_A_MINUTE",
    "Audit",
    "AuditFile",
    "Refusals",
    "append_line",
    "audit_line",
    "read_newest",
]

log = structlog.get_logger("hubbub.audit")

# A file of this size is put aside, and so many of those are kept: 60 MiB in all.
MAX_FILE_BYTES = 10 << 20
KEPT_FILES = 5

# Lines that wait for the disk.
MAX_QUEUED = 10_000

# Characters of a name or an address; who asks chooses them.
MAX_NAME_CHARS = 80

# Refusals of one thing to one account or address that get a line each in a minute, and how many such are told apart, in
# all and of one address: who logs in or signs up chooses the names.
REFUSALS_A_MINUTE = 5
MAX_REFUSED = 100
MAX_OF_ADDRESS = 25
REFUSALS_S = 60.0
ANYTHING = "(anything)"
OTHERS = (ANYTHING, "(others)")

CLOSE_S = 2.0

# What is read of a file by who asks for its newest lines.
MOST_READ_BYTES = 128 << 10

decode_line = msgspec.json.Decoder(dict[str, object]).decode


class Audit(Protocol):
    """Takes note of what happens."""

    def note(self, act: str, *, actor: str, outcome: str, **more: object) -> None:
        """Note what somebody did, or tried.  Waits for nothing, and raises nothing.

        Args:
            act: a login, a refused event's type, or an act of an admin.
            actor: a user, as far as it is known.
            outcome: `ok` or `done`, or why it was refused.
            more: what else there is to say; None is left out.
        """
        ...

    def refuse(self, act: str, *, actor: str, address: str, outcome: str, **more: object) -> None:
        """Note a refusal; many of one account or address become a count."""
        ...

    def tick(self) -> None:
        """Note the counts that are due; to be called a few times a minute at least."""
        ...


class Unwritten:
    """An audit log that is not kept: a hub without a server has none."""

    def note(self, act: str, *, actor: str, outcome: str, **more: object) -> None: ...

    def refuse(self, act: str, *, actor: str, address: str, outcome: str, **more: object) -> None: ...

    def tick(self) -> None: ...


def audit_line(now: float, fields: dict[str, object]) -> bytes:
    """One line, with the time first.  JSON escapes what could end it, or forge another one."""
    told = {name: short(value) for name, value in fields.items() if value is not None and value != ""}
    return encode({"time": rfc3339(int(now * 1000)).decode(), **told}) + b"\n"


def short(value: object) -> object:
    return value[:MAX_NAME_CHARS] if isinstance(value, str) else value


def append_line(path: Path, line: bytes) -> None:
    """Append a line at once: for programs that act beside the server.

    Raises:
        OSError: it cannot be written.
    """
    file = open_file(path)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def open_file(path: Path) -> int:
    """Open the file to append to, made readable by its owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def read_newest(path: Path, limit: int) -> list[dict[str, object]]:
    """The newest lines of an audit log, as far as its end has them, the newest first.  It waits for the disk.

    None where there is no file, or it cannot be read; what is no line of ours is left out.
    """
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - MOST_READ_BYTES)
            file.seek(start)
            lines = file.read(MOST_READ_BYTES).split(b"\n")
    except OSError:
        return []
    found: list[dict[str, object]] = []
    for line in reversed(lines[1:] if start else lines):
        with contextlib.suppress(msgspec.DecodeError):
            found.append(decode_line(line))
        if len(found) == limit:
            break
    return found


class Refusals:
    """Which refusals get a line, and how many did not.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._counts: dict[tuple[str, str], int] = {}
        # How many of them are of an address.
        self._of_address: Counter[str] = Counter()

    def count(self, act: str, who: str, address: str) -> bool:
        """Count a refusal of what somebody tried; whether it gets a line."""
        refused = act, who
        if refused not in self._counts:
            refused = self._told_apart(refused, network_of(address))
        seen = self._counts[refused] = self._counts.get(refused, 0) + 1
        return seen <= REFUSALS_A_MINUTE

    def _told_apart(self, refused: tuple[str, str], source: str) -> tuple[str, str]:
        """What a refusal of a new kind counts as."""
        if self._of_address[source] >= MAX_OF_ADDRESS:
            refused = ANYTHING, source
        if refused not in self._counts:
            if len(self._counts) >= MAX_REFUSED:
                return OTHERS
            self._of_address[source] += 1
        return refused

    def take_rest(self) -> dict[tuple[str, str], int]:
        """After a minute: how many refusals of what and whom got no line; then all counts begin anew."""
        now = self._clock()
        if now - self._since < REFUSALS_S:
            return {}
        self._since = now
        counts, self._counts = self._counts, {}
        self._of_address.clear()
        return {refused: seen - REFUSALS_A_MINUTE for refused, seen in counts.items() if seen > REFUSALS_A_MINUTE}


class AuditFile:
    """An audit log in a file, written by a thread of its own.

    Args:
        path: the file; made, with its folder, where there is none.
        clock: seconds that never go back.
        wall: seconds since 1970.
    """

    def __init__(self, path: Path, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._path = path
        self._wall = wall
        self._refusals = Refusals(clock)
        self._lines: deque[bytes] = deque()
        self._dropped = 0
        self._is_over = False
        self._changed = threading.Condition()
        self._file: int | None = None
        self._is_failing = False
        self._is_torn = False
        # A disk that hangs must not keep the process.
        self._thread = threading.Thread(target=self._write_for_ever, name="audit", daemon=True)
        self._thread.start()

    # Noting, on the loop

    def note(self, act: str, *, actor: str, outcome: str, **more: object) -> None:
        line = audit_line(self._wall(), {"act": act, "actor": actor, "outcome": outcome, **more})
        with self._changed:
            if len(self._lines) >= MAX_QUEUED or self._is_over:
                self._dropped += 1
                return
            self._lines.append(line)
            self._changed.notify()

    def refuse(self, act: str, *, actor: str, address: str, outcome: str, **more: object) -> None:
        self.tick()
        if self._refusals.count(act, actor or address, address):
            self.note(act, actor=actor, address=address, outcome=outcome, **more)

    def tick(self) -> None:
        for (act, who), count in self._refusals.take_rest().items():
            self.note(act, actor=who, outcome="refused more often", count=count)

    def close(self) -> None:
        """Write what is queued, as far as the disk takes it in time, and end."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self._thread.join(CLOSE_S)

    # Writing, in the thread

    def _write_for_ever(self) -> None:
        self._write(0, deque())  # where it cannot be written, the operator hears of it at once
        is_over = False
        while not is_over:
            with self._changed:
                while not self._lines and not self._is_over:
                    self._changed.wait()
                lines, self._lines = self._lines, deque()
                dropped, self._dropped = self._dropped, 0
                is_over = self._is_over
            if dropped or lines:
                self._write(dropped, lines)
        if self._file is not None:
            os.close(self._file)

    def _write(self, dropped: int, lines: deque[bytes]) -> None:
        """Write how many lines were dropped, and the next ones; what the disk does not take is dropped, and counted."""
        try:
            self._open()
            if dropped:
                fields = {"act": "dropped lines", "actor": "server", "outcome": "lost", "count": dropped}
                self._write_line(audit_line(self._wall(), fields))
                dropped = 0
            while lines:
                self._write_line(lines[0])
                lines.popleft()
            self._is_failing = False
        except OSError as error:
            with self._changed:
                self._dropped += dropped + len(lines)
            if not self._is_failing:
                log.error("the audit log cannot be written", file=str(self._path), error=str(error))  # noqa: TRY400  # expected; no traceback
            self._is_failing = True

    def _write_line(self, line: bytes) -> None:
        assert self._file is not None
        if self._is_torn:
            line = b"\n" + line
        written = os.write(self._file, line)
        self._is_torn = written < len(line)  # a full disk takes a part
        if self._is_torn:
            raise OSError("there was no space for a whole line")

    def _open(self) -> None:
        """Open the file, if it is not, or is another one by now; put it aside when it is large."""
        if self._file is not None:
            found = os.fstat(self._file)
            is_full = stat.S_ISREG(found.st_mode) and found.st_size >= MAX_FILE_BYTES
            if self._is_mine() and not is_full:
                return
            if is_full:
                self._put_aside()
            os.close(self._file)
            self._file = None
        self._file = open_file(self._path)

    def _is_mine(self) -> bool:
        """Whether the file that is open is the one that has the name."""
        assert self._file is not None
        found, there = os.fstat(self._file), None
        with contextlib.suppress(FileNotFoundError):
            there = self._path.stat()
        return there is not None and (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)

    def _put_aside(self) -> None:
        """Give the file another name, unless another worker does it, or has done it just now."""
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:
            pass  # a filesystem that has no locks
        if not self._is_mine():
            return
        for number in range(KEPT_FILES - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._aside(number).replace(self._aside(number + 1))
        self._path.replace(self._aside(1))

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
