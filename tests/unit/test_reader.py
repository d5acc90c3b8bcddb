"""Many connections, few readers."""

from __future__ import annotations

from struct import pack

import pytest
from picows import WSFrame

from hubbub.wire import reader as reader_module
from hubbub.wire.reader import LARGEST_BUFFER, MAX_SPARE, NARROW_READ, ONE_READ, Reader, Readers

pytestmark = pytest.mark.anyio


class Owner:
    """A connection that keeps what is read for it."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.faults: list[tuple[int, str]] = []

    def receive_frame(self, frame: WSFrame) -> None:
        assert not self.faults
        self.payloads.append(frame.get_payload_as_bytes())

    def fail(self, code: int, reason: str) -> None:
        self.faults.append((code, reason))


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A client's frame, masked with zeros."""
    size = len(payload)
    return pack("!BB", 0x80 | opcode, 0x80 | size) + bytes(4) + payload if size < 126 else long_frame(payload, opcode)


def long_frame(payload: bytes, opcode: int = 1) -> bytes:
    if len(payload) < 65536:
        return pack("!BBH", 0x80 | opcode, 0x80 | 126, len(payload)) + bytes(4) + payload
    return pack("!BBQ", 0x80 | opcode, 0x80 | 127, len(payload)) + bytes(4) + payload


def feed(reader: Reader, owner: Owner, data: bytes) -> None:
    """Read bytes, as many at a time as there is room for."""
    while data:
        room = reader.buffer
        size = min(len(room), len(data))
        room[:size] = data[:size]
        reader.read(owner, size)
        data = data[size:]


async def test_a_reader_between_two_frames_reads_for_anybody() -> None:
    reader, first, second = Reader(16384), Owner(), Owner()
    for number in range(5):
        feed(reader, first, frame(b"a%d" % number))
        feed(reader, second, frame(b"b%d" % number) * 2)
        assert reader.is_between_frames
    assert first.payloads == [b"a%d" % number for number in range(5)]
    assert second.payloads == [b"b%d" % number for number in range(5) for _ in range(2)]


async def test_no_read_is_larger_than_what_may_be_handled_at_once() -> None:
    reader, owner = Reader(1 << 20), Owner()
    assert len(reader.buffer) == ONE_READ
    data = frame(b"x" * 100_000)
    for _ in range(90):
        feed(reader, owner, data[:ONE_READ])
        data = data[ONE_READ:]
        assert len(reader.buffer) <= ONE_READ


@pytest.mark.parametrize("cut", range(1, 6))
async def test_a_part_of_a_frame_is_not_between_frames(cut: int) -> None:
    reader, owner = Reader(16384), Owner()
    feed(reader, owner, frame(b"whole") + frame(b"")[:cut])
    was_between_frames = reader.is_between_frames
    feed(reader, owner, frame(b"")[cut:])
    assert (was_between_frames, reader.is_between_frames) == (False, True)
    assert owner.payloads == [b"whole", b""]


async def test_a_broken_frame_is_told_after_the_good_one_and_wears_the_reader() -> None:
    reader, owner = Reader(16384), Owner()
    feed(reader, owner, frame(b"good") + frame(b"bad", opcode=3) + frame(b"late"))
    assert owner.payloads == [b"good"]
    assert [code for code, _reason in owner.faults] == [1002]
    assert reader.is_worn


async def test_the_close_of_one_is_not_held_against_the_next() -> None:
    reader = Reader(16384)
    for _ in range(3):
        owner = Owner()
        feed(reader, owner, frame(pack("!H", 1000), opcode=8))
        assert owner.payloads == [pack("!H", 1000)]
        assert owner.faults == []
        assert not reader.is_worn


async def test_a_reader_keeps_no_connection() -> None:
    reader = Reader(16384)
    feed(reader, Owner(), frame(b"x"))
    assert not hasattr(reader, "_owner")


async def test_a_library_that_fails_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(reader_module.log, "exception", lambda event, **_more: logged.append(event), raising=False)
    reader, owner = Reader(16384), Owner()
    feed(reader, owner, frame(b"x"))
    log = reader_module.LibraryLog(reader)
    log.exception("a bug")
    log.error("and then a broken frame", (1002, "broken"))
    feed(reader, owner, frame(b"y"))
    assert [code for code, _reason in owner.faults] == [1011]
    assert logged == ["picows failed"]
    assert not log.isEnabledFor(0)


async def test_a_fault_without_a_code_is_the_librarys() -> None:
    reader, owner = Reader(16384), Owner()
    reader_module.LibraryLog(reader).error("something without a code")
    feed(reader, owner, frame(b"x"))
    assert owner.faults == [(1011, "")]


# Sharing


async def test_all_share_one_reader_until_somebody_keeps_it() -> None:
    readers = Readers(16384)
    shared = readers.shared
    assert readers.shared is shared
    readers.keep_shared()
    assert readers.shared is not shared


async def test_what_is_given_back_is_used_again() -> None:
    readers, owner = Readers(16384), Owner()
    kept = readers.shared
    feed(kept, owner, frame(b"half")[:3])
    readers.keep_shared()
    feed(kept, owner, frame(b"half")[3:])
    readers.give_back(kept)
    assert readers.shared is kept
    feed(kept, owner, frame(b"whole"))
    assert owner.payloads == [b"half", b"whole"]


async def test_one_that_was_narrowed_is_given_back_as_it_was() -> None:
    readers, owner = Readers(16384), Owner()
    reader = readers.take()
    for half in (False, True):
        reader.narrow()
        assert len(reader.buffer) == NARROW_READ
        feed(reader, owner, frame(b"x" * 100)[: 50 if half else None])
        assert len(reader.buffer) == NARROW_READ
        feed(reader, owner, frame(b"x" * 100)[50:] if half else b"")
        readers.give_back(reader)
        assert readers.take() is reader
        assert len(reader.buffer) == ONE_READ
    feed(reader, Owner(), frame(b"half")[:3])
    assert len(reader.buffer) == ONE_READ
    assert owner.payloads == [b"x" * 100] * 2


async def test_only_a_few_are_spared() -> None:
    readers = Readers(16384)
    kept = []
    for _ in range(MAX_SPARE + 5):
        kept.append(readers.shared)
        readers.keep_shared()
    for reader in kept:
        readers.give_back(reader)
    assert [reader.is_worn for reader in kept] == [False] * MAX_SPARE + [True] * 5


@pytest.mark.parametrize(("size", "is_kept"), [(16_000, True), (LARGEST_BUFFER + 1, False)])
async def test_one_that_has_grown_large_is_not_spared(size: int, is_kept: bool) -> None:
    readers, owner = Readers(0), Owner()
    reader = readers.shared
    readers.keep_shared()
    feed(reader, owner, frame(b"x" * size))
    assert [len(payload) for payload in owner.payloads] == [size]
    assert len(reader._protocol.get_buffer(-1)) > 4096
    readers.give_back(reader)
    assert reader.is_worn is not is_kept
    assert (readers.shared is reader) is is_kept


async def test_one_that_met_a_broken_frame_is_not_spared() -> None:
    readers, owner = Readers(16384), Owner()
    reader = readers.shared
    feed(reader, owner, frame(b"x" * 100, opcode=3))
    readers.keep_shared()
    readers.give_back(reader)
    assert readers.shared is not reader
