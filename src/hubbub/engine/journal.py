"""The journal: batches of the log in files of their own, each appended to the end of the newest file.

A file has a head, `<8s Q I I`: the magic, the file's number, its mark, and the CRC-32 of these.  Records follow it,
`<I I I`: the file's mark, the length of a payload, a CRC-32; then the payload.  The mark is random, so that nothing a
client writes looks like a record, and begins the CRC, so that no record of another file does.

Everything here waits for the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hubbub.engine.disk import sync

__all__ = [
    "FILE_HEAD",
    "Journal",
    "JournalFile",
    "Records",
    "SyncFailed",
    "journal_files",
    "mark_of",
    "read_records",
    "records_from",
    "records_of",
]

MAGIC = b"hubbub\x00\x01"
FILE_HEAD = struct.Struct("<8sQII")
RECORD_HEAD = struct.Struct("<III")


class SyncFailed(OSError):
    """The disk has not confirmed what was written: it may be kept or not."""


class Records(NamedTuple):
    """What a file has.

    Attributes:
        payloads: those of the records up to the first bad one.
        end: bytes up to there.
        size: bytes of the file.
        is_damaged: whether good records come after the bad one, or the head is bad.
        is_cut: whether what follows the last good record is what a write leaves that was cut off, or nothing.
    """

    payloads: list[bytes]
    end: int
    size: int
    is_damaged: bool
    is_cut: bool = True


class JournalFile:
    """One file of the journal, to be written.

    Args:
        path: a file that is not there yet.
        number: files are read in the order of their numbers.
        syncs: whether a write waits until the disk has it.

    Attributes:
        is_spoiled: whether the disk has failed to confirm a write; the file takes no more.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: Path, number: int, *, syncs: bool) -> None:
        self.path = path
        self.number = number
        self._syncs = syncs
        self._mark = secrets.randbits(32)
        self.is_spoiled = False
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._end = 0
        found = os.fstat(self._descriptor)
        self._identity = found.st_dev, found.st_ino
        try:
            head = FILE_HEAD.pack(MAGIC, number, self._mark, 0)[:-4]
            self._put(head + zlib.crc32(head).to_bytes(4, "little"))
            if syncs:
                os.fsync(self._descriptor)
                sync(path.parent)
        except OSError:
            self.close()
            path.unlink(missing_ok=True)
            raise

    def write(self, payload: bytes) -> None:
        """Append a record.

        Raises:
            SyncFailed: whether it was kept is not known; the file takes no more.
            OSError: nothing of it was kept.
        """
        if self.is_spoiled:
            raise OSError(errno.EIO, "an earlier write was not confirmed")
        size = len(payload)
        self._put(RECORD_HEAD.pack(self._mark, size, zlib.crc32(payload, self._mark ^ size)) + payload)
        if self._syncs:
            try:
                os.fdatasync(self._descriptor)
            except OSError as error:
                # The kernel forgets what it could not write, so a later sync would succeed without it.
                self.is_spoiled = True
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._end - RECORD_HEAD.size - size)
                raise SyncFailed(error.errno, error.strerror) from error

    def _put(self, data: bytes) -> None:
        end, left = self._end, data
        try:
            while left:
                written = os.pwrite(self._descriptor, left, end)  # on a disk that is almost full, a part
                end += written
                left = left[written:]
        except OSError:
            # What was written of it is overwritten by the next record; a reader takes it for a write that was cut off.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            raise
        self._end = end

    def probe(self, size: int) -> None:
        """Write some bytes after the last record, and take them back.

        Raises:
            OSError: they could not be written.
        """
        if self.is_spoiled:
            raise OSError(errno.EIO, "an earlier write was not confirmed")
        end = self._end
        self._put(bytes(size))
        os.ftruncate(self._descriptor, end)
        self._end = end

    @property
    def is_there(self) -> bool:
        """Whether the file's name still leads to it."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return self._identity == (found.st_dev, found.st_ino)

    def close(self) -> None:
        os.close(self._descriptor)


class Journal:
    """The files of a database's journal: one is written, and those before it are removed once they are not needed.

    Args:
        path: the database, whose name begins theirs.
        syncs: whether a write waits until the disk has it.
    """

    current: JournalFile

    def __init__(self, path: Path, *, syncs: bool) -> None:
        self._path = path
        self._syncs = syncs
        self._retired: list[Path] = []

    def found(self) -> list[tuple[int, Path]]:
        """The files that are there, by their numbers."""
        return journal_files(self._path)

    def make(self, number: int) -> JournalFile:
        """Make the file with a number; one that is there has nothing that is needed.

        Raises:
            OSError: it cannot be made.
        """
        path = self._path.with_name(f"{self._path.name}.journal.{number}")
        path.unlink(missing_ok=True)
        return JournalFile(path, number, syncs=self._syncs)

    def turn_to(self, file: JournalFile) -> None:
        """Write to another file from now on."""
        self.current.close()
        self._retired.append(self.current.path)
        self.current = file

    def remove_retired(self) -> None:
        """Remove the files before the current one: the table has what is in them, and the disk has the table."""
        while self._retired:
            self._retired.pop().unlink(missing_ok=True)

    def turn_away(self) -> None:
        """Close the current file; it stays, with those before it, for the next one who opens the database."""
        self.current.close()
        self._retired.append(self.current.path)


def journal_files(path: Path) -> list[tuple[int, Path]]:
    """The files of a database's journal that are there, by their numbers."""
    pattern = re.compile(re.escape(path.name) + r"\.journal\.(\d+)")
    matches = ((pattern.fullmatch(each.name), each) for each in path.parent.iterdir())
    return sorted((int(match[1]), each) for match, each in matches if match)


def read_records(path: Path) -> Records:
    """Read a file of the journal.

    Raises:
        OSError: it cannot be read.
    """
    return records_of(path.read_bytes())


def records_of(data: bytes) -> Records:
    """What a file of the journal has, by its bytes."""
    size = len(data)
    mark = mark_of(data)
    if mark is None:
        return Records([], 0, size, is_damaged=size >= FILE_HEAD.size)
    payloads, end = [], FILE_HEAD.size
    for payload, stop in records_from(data, end, mark):
        payloads.append(payload)
        end = stop
    return Records(payloads, end, size, has_record_after(data, end + 1, mark), is_cut=is_cut_off(data[end:], mark))


def mark_of(data: bytes) -> int | None:
    """The mark in a file's head; None for a head that is not whole, or not ours."""
    if len(data) < FILE_HEAD.size:
        return None
    magic, _, mark, crc = FILE_HEAD.unpack_from(data)
    is_good = magic == MAGIC and zlib.crc32(data[: FILE_HEAD.size - 4]) == crc
    return int(mark) if is_good else None


def records_from(data: bytes, start: int, mark: int) -> Iterator[tuple[bytes, int]]:
    """The payloads of the good records that follow each other from a byte on, each with the byte where it stops."""
    while len(data) - start >= RECORD_HEAD.size:
        found, size, crc = RECORD_HEAD.unpack_from(data, start)
        stop = start + RECORD_HEAD.size + size
        payload = data[start + RECORD_HEAD.size : stop]
        if found != mark or stop > len(data) or zlib.crc32(payload, mark ^ size) != crc:
            return
        yield payload, stop
        start = stop


def is_cut_off(rest: bytes, mark: int) -> bool:
    """Whether some bytes are the beginning of a record, or what a probe leaves."""
    if len(rest) < RECORD_HEAD.size:
        return rest[:4] == mark.to_bytes(4, "little")[: len(rest)] or not any(rest)
    found, size, _ = RECORD_HEAD.unpack_from(rest)
    return (found == mark and len(rest) < RECORD_HEAD.size + size) or not any(rest)


def has_record_after(data: bytes, start: int, mark: int) -> bool:
    """Whether a good record begins anywhere from a byte on."""
    sought = mark.to_bytes(4, "little")
    while (start := data.find(sought, start)) >= 0:
        if next(records_from(data, start, mark), None) is not None:
            return True
        start += 1
    return False
