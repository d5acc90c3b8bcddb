"""The journal's files: what is read is what was written, and nothing else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hubbub.engine.journal import FILE_HEAD, RECORD_HEAD, Journal, JournalFile, SyncFailed, read_records

PAYLOADS = [b"one", b"", b"three" * 1000]


def written(path: Path, payloads: list[bytes] = PAYLOADS, *, syncs: bool = False) -> JournalFile:
    file = JournalFile(path, 7, syncs=syncs)
    for payload in payloads:
        file.write(payload)
    return file


@pytest.mark.parametrize("syncs", [False, True])
def test_what_was_written_is_read(tmp_path: Path, syncs: bool) -> None:
    path = tmp_path / "j"
    written(path, syncs=syncs).close()
    records = read_records(path)
    assert records.payloads == PAYLOADS
    assert records.end == records.size == path.stat().st_size
    assert not records.is_damaged
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_write_that_was_cut_off_anywhere_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, [b"first", b"second"]).close()
    data = path.read_bytes()
    ends = [FILE_HEAD.size, FILE_HEAD.size + RECORD_HEAD.size + 5, len(data)]
    for size in range(len(data)):
        path.write_bytes(data[:size])
        records = read_records(path)
        assert len(records.payloads) == max(0, sum(end <= size for end in ends) - 1)
        assert not records.is_damaged
        assert records.is_cut
        path.write_bytes(data[:size] + bytes(len(data) - size))  # a disk that knew the length before the bytes
        assert len(read_records(path).payloads) <= 2


def test_a_byte_that_changed_is_damage_unless_it_is_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, [b"first", b"second", b"third"]).close()
    data = path.read_bytes()
    third = len(data) - len(b"third") - RECORD_HEAD.size
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        records = read_records(path)
        assert records.payloads == [b"first", b"second", b"third"][: len(records.payloads)]
        assert len(records.payloads) < 3
        assert records.is_damaged == (place < third)
        if place >= third and place not in range(third + 4, third + 8):  # one that is longer looks cut off
            assert not records.is_cut


def test_what_a_client_writes_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, [b"first"]).close()
    with path.open("ab") as other:
        other.write(b"\0")  # the beginning of a write that was cut off
        other.write((tmp_path / "j").read_bytes()[FILE_HEAD.size + 4 :])
    assert read_records(path).payloads == [b"first"]
    another = tmp_path / "k"
    written(another, [b"other"]).close()
    path.write_bytes(path.read_bytes()[: FILE_HEAD.size] + another.read_bytes()[FILE_HEAD.size :])
    assert read_records(path).payloads == []


def test_a_write_that_fails_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j"
    file = written(path, [b"first"])
    pwrite = os.pwrite

    def write_some(descriptor: int, data: bytes, offset: int) -> int:
        if len(data) <= 20:
            raise OSError(errno.ENOSPC, "full")
        return pwrite(descriptor, data[:20], offset)

    def refuse(_descriptor: int, _size: int) -> None:
        raise OSError(errno.EIO, "not even that")

    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", write_some)
        full.setattr(os, "ftruncate", refuse)
        with pytest.raises(OSError, match="full"):
            file.write(b"second, which is long")
        with pytest.raises(OSError, match="full"):
            file.probe(100)
    assert read_records(path).payloads == [b"first"]
    file.write(b"2")
    file.close()
    assert read_records(path).payloads == [b"first", b"2"]


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite

    def write_some(descriptor: int, data: bytes, offset: int) -> int:
        return pwrite(descriptor, data[:3], offset)

    monkeypatch.setattr(os, "pwrite", write_some)
    written(tmp_path / "j").close()
    assert read_records(tmp_path / "j").payloads == PAYLOADS


def test_a_file_whose_write_was_not_confirmed_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j"
    file = written(path, [b"first"], syncs=True)

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "lost")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(SyncFailed):
            file.write(b"second")
    assert file.is_spoiled
    with pytest.raises(OSError, match="not confirmed"):
        file.write(b"third")
    with pytest.raises(OSError, match="not confirmed"):
        file.probe(10)
    file.close()
    assert read_records(path).payloads == [b"first"]


def test_a_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "j"
    file = written(path, [b"first"])
    file.probe(1 << 16)
    assert path.stat().st_size == FILE_HEAD.size + RECORD_HEAD.size + 5
    file.write(b"second")
    file.close()
    assert read_records(path).payloads == [b"first", b"second"]


def test_it_is_seen_when_the_file_is_not_there_any_more(tmp_path: Path) -> None:
    path = tmp_path / "j"
    file = written(path)
    seen = [file.is_there]
    path.rename(tmp_path / "elsewhere")
    seen.append(file.is_there)
    path.write_bytes(b"another")
    seen.append(file.is_there)
    (tmp_path / "elsewhere").rename(path)
    seen.append(file.is_there)
    file.close()
    assert seen == [True, False, False, True]


def test_the_files_are_found_in_order_and_removed_when_they_are_not_needed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.db", syncs=False)
    (tmp_path / "log.db.journal.x").touch()
    (tmp_path / "log.db.journal.5.bak").touch()
    (tmp_path / "other.db.journal.1").touch()
    journal.current = journal.make(9)
    journal.turn_to(journal.make(10))
    assert [number for number, _ in journal.found()] == [9, 10]
    journal.remove_retired()
    assert [number for number, _ in journal.found()] == [10]
    journal.turn_away()
    assert [number for number, _ in journal.found()] == [10]
    journal.remove_retired()
    assert journal.found() == []


def test_a_file_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(OSError, match="full"):
        JournalFile(tmp_path / "j", 1, syncs=False)
    assert list(tmp_path.iterdir()) == []
