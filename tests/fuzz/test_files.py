"""The journal's files: whatever has become of one, what is read of it was written."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fuzz.cuts import Mutation, mutate, mutations
from fuzz.effort import effort
from hubbub.engine.journal import FILE_HEAD, RECORD_HEAD, JournalFile, read_records, records_of

payloads = st.lists(st.binary(max_size=60) | st.just(b"x" * 5000), max_size=8)


def journal(written: list[bytes], number: int = 1) -> bytes:
    """A file of the journal with these payloads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        file = JournalFile(path, number, syncs=False)
        for payload in written:
            file.write(payload)
        file.close()
        return path.read_bytes()


def ends(written: list[bytes]) -> list[int]:
    """Where each record stops."""
    at, stops = FILE_HEAD.size, []
    for payload in written:
        at += RECORD_HEAD.size + len(payload)
        stops.append(at)
    return stops


@effort(200)
@given(payloads, mutations, st.integers(0, 1000))
def test_what_is_read_of_a_damaged_file_was_written(written: list[bytes], faults: list[Mutation], cut_at: int) -> None:
    whole = journal(written)
    data = mutate(whole, faults)
    data = data[: len(data) * cut_at // 1000]
    records = records_of(data)
    assert all(payload in written for payload in records.payloads)
    assert records.size == len(data) and records.end <= records.size
    # Up to the first byte that has changed nothing is lost.
    same = next((at for at, (one, other) in enumerate(zip(whole, data, strict=False)) if one != other), len(data))
    unharmed = sum(stop <= same for stop in ends(written))
    assert records.payloads[:unharmed] == written[:unharmed]
    if data == whole:
        assert records.payloads == written and not records.is_damaged


@effort(60)
@given(payloads, payloads, st.binary(max_size=100))
def test_nothing_of_another_file_is_read(written: list[bytes], others: list[bytes], between: bytes) -> None:
    whole, other = journal(written), journal(others, 2)
    assert records_of(whole + between + other).payloads == written
    assert records_of(whole + between + other[FILE_HEAD.size :]).payloads == written
    assert records_of(whole[: FILE_HEAD.size] + other[FILE_HEAD.size :]).payloads == []


@effort(100)
@given(st.binary(max_size=200))
def test_any_bytes_are_no_journal(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        path.write_bytes(data)
        records = read_records(path)
    assert records.payloads == [] and records.end == 0
