"""The audit log: whole lines, a bounded file, and a disk that fails."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from hubbub import audit as audit_module
from hubbub.audit import MAX_OF_ADDRESS, REFUSALS_A_MINUTE, AuditFile, Refusals, append_line, audit_line
from hubbub.testing import Clock


@contextmanager
def written(path: Path, clock: Clock | None = None) -> Iterator[AuditFile]:
    """An audit log, closed at the end of the block: then the file has it."""
    audit = AuditFile(path, clock or Clock(), lambda: 1000.25)
    yield audit
    audit.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_line_says_when_who_what_and_how_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "audit.log"
    with written(path) as audit:
        audit.note("login", actor="percy", address="10.0.0.1", outcome="ok")
        audit.note("invite", actor="percy", target="alice", room="team", outcome="done", reason=None)
    assert lines(path) == [
        {
            "time": "1970-01-01T00:16:40.250Z",
            "act": "login",
            "actor": "percy",
            "outcome": "ok",
            "address": "10.0.0.1",
        },
        {
            "time": "1970-01-01T00:16:40.250Z",
            "act": "invite",
            "actor": "percy",
            "outcome": "done",
            "target": "alice",
            "room": "team",
        },
    ]


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with written(path) as audit:
        audit.note("login", actor="percy", outcome="ok")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_goes_on_where_an_earlier_server_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with written(tmp_path / "audit.log") as audit:
            audit.note("login", actor="percy", outcome="ok")
    assert len(lines(tmp_path / "audit.log")) == 2


@pytest.mark.parametrize("name", ['percy"}\n{"act":"login', "percy\r\n", "\x00\x1b[2J", "\u2028\u0085", "a" * 10_000])
def test_no_name_forges_a_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "audit.log"
    with written(path) as audit:
        audit.refuse("login", actor=name, address="10.0.0.1", outcome="unauthorized")
    assert path.read_bytes().count(b"\n") == 1
    [line] = lines(path)
    assert line["actor"] == name[:80]
    assert len(path.read_bytes()) < 1000


# Floods


def test_of_many_refusals_of_one_only_the_first_have_lines_and_the_rest_a_count(tmp_path: Path) -> None:
    clock = Clock()
    with written(tmp_path / "audit.log", clock) as audit:
        for _ in range(1000):
            audit.refuse("send_message", actor="percy", address="10.0.0.1", outcome="forbidden")
        audit.refuse("login", actor="percy", address="10.0.0.1", outcome="forbidden")
        audit.refuse("send_message", actor="alice", address="10.0.0.2", outcome="forbidden")
        clock.go(59)
        audit.tick()
        clock.go(1)
        audit.tick()
        audit.tick()
        audit.refuse("send_message", actor="percy", address="10.0.0.1", outcome="forbidden")
    found = [(line["actor"], line["act"], line.get("count")) for line in lines(tmp_path / "audit.log")]
    assert found == [
        *[("percy", "send_message", None)] * 5,
        ("percy", "login", None),
        ("alice", "send_message", None),
        ("percy", "send_message", 995),
        ("percy", "send_message", None),
    ]


def test_of_refusals_of_many_names_there_are_only_so_many_lines() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    names = [(f"name {number % 5000}", f"10.0.{number % 5000 // 250}.{number % 250}") for number in range(50_000)]
    assert sum(refusals.count("login", name, address) for name, address in names) <= 101 * 5
    clock.go(60)
    rest = refusals.take_rest()
    assert len(rest) <= 101
    assert sum(rest.values()) > 49_000
    assert refusals.count("login", "name 4999", "10.0.19.249")


def test_the_names_that_one_address_makes_up_hide_no_other() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    noted = sum(refusals.count("signup", f"name {number}", f"2001:db8::{number:x}") for number in range(1000))
    assert noted == MAX_OF_ADDRESS + REFUSALS_A_MINUTE
    assert refusals.count("login", "percy", "10.0.0.1")
    clock.go(60)
    assert refusals.take_rest() == {("(anything)", "2001:db8::/64"): 1000 - noted}
    assert refusals.count("signup", "name 999", "2001:db8::1")


# The file


def test_a_large_file_is_put_aside_and_only_so_many_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "MAX_FILE_BYTES", 10)
    path = tmp_path / "audit.log"
    for number in range(9):
        with written(path) as audit:
            audit.note("login", actor=f"user{number}", outcome="ok")
    kept = {file.name: lines(file)[0]["actor"] for file in tmp_path.iterdir()}
    assert kept == {"audit.log": "user8"} | {f"audit.log.{number}": f"user{8 - number}" for number in range(1, 6)}


def test_a_large_file_that_another_worker_has_put_aside_just_now_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "MAX_FILE_BYTES", 10)
    path = tmp_path / "audit.log"

    def wait_for_another(_descriptor: int, how: int) -> None:
        assert how == fcntl.LOCK_EX | fcntl.LOCK_NB
        path.replace(tmp_path / "audit.log.1")
        append_line(path, audit_line(1000.0, {"actor": "another's"}))

    with written(path) as audit:
        audit.note("login", actor="first", outcome="ok")
    with written(path) as audit:
        monkeypatch.setattr(fcntl, "flock", wait_for_another)
        audit.note("login", actor="second", outcome="ok")
    kept = {file.name: [line["actor"] for line in lines(file)] for file in tmp_path.iterdir()}
    assert kept == {"audit.log": ["another's", "second"], "audit.log.1": ["first"]}


def test_a_large_file_that_another_worker_is_putting_aside_is_written_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "MAX_FILE_BYTES", 10)
    path = tmp_path / "audit.log"
    with written(path) as audit:
        audit.note("login", actor="first", outcome="ok")
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with written(path) as audit:
            audit.note("login", actor="second", outcome="ok")
    assert [line["actor"] for line in lines(path)] == ["first", "second"]


def test_what_another_program_appends_or_moves_is_respected(tmp_path: Path) -> None:
    path, moved = tmp_path / "audit.log", tmp_path / "moved"
    with written(path) as audit:
        audit.note("login", actor="percy", outcome="ok")
    with written(path) as audit:
        path.rename(moved)
        audit.note("login", actor="alice", outcome="ok")
        audit.close()
        append_line(path, audit_line(0, {"act": "block", "actor": "(shell)", "outcome": "done"}))
    assert [line["actor"] for line in lines(moved)] == ["percy"]
    assert [line["actor"] for line in lines(path)] == ["alice", "(shell)"]


class Disk:
    """Stands in for `os.write`: it fails, or hangs, for as long as it is told to."""

    def __init__(self) -> None:
        self.is_full = False
        self.takes = -1
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.is_asked = threading.Event()
        self.has_failed = threading.Event()
        self._write = os.write

    def write(self, file: int, data: bytes) -> int:
        self.is_asked.set()
        self.goes_on.wait(20)
        if self.is_full:
            self.has_failed.set()
            raise OSError(28, "No space left on device")
        if self.takes >= 0:
            data, self.takes = data[: self.takes], -1
            self.has_failed.set()
        return self._write(file, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "write", disk.write)
    return disk


def test_lines_that_a_disk_does_not_take_are_counted_by_the_next_one_that_it_does(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "audit.log"
    disk.is_full = True
    with structlog.testing.capture_logs() as logged, written(path) as audit:
        for _ in range(3):
            disk.has_failed.clear()
            audit.note("login", actor="percy", outcome="ok")
            assert disk.has_failed.wait(20)
        disk.is_full = False
        audit.note("login", actor="alice", outcome="ok")
    assert [line["event"] for line in logged] == ["the audit log cannot be written"]
    assert [(line["act"], line.get("count")) for line in lines(path)] == [("dropped lines", 3), ("login", None)]


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "audit.log"
    disk.takes = 10
    with written(path) as audit:
        audit.note("login", actor="percy", outcome="ok")
        assert disk.has_failed.wait(20)
        audit.note("login", actor="alice", outcome="ok")
    torn, *whole = path.read_bytes().splitlines()
    assert len(torn) == 10
    assert [json.loads(line)["act"] for line in whole] == ["dropped lines", "login"]


def test_a_disk_that_hangs_holds_nobody_up_and_the_queue_is_bounded(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "MAX_QUEUED", 10)
    path = tmp_path / "audit.log"
    disk.goes_on.clear()
    with written(path) as audit:
        audit.note("login", actor="first", outcome="ok")
        assert disk.is_asked.wait(20)
        for _ in range(100):
            audit.note("login", actor="percy", outcome="ok")
        assert len(audit._lines) == 10
        disk.goes_on.set()
    found = lines(path)
    assert [line["actor"] for line in found if line["act"] == "login"] == ["first", *["percy"] * 10]
    assert [line["count"] for line in found if line["act"] == "dropped lines"] == [90]


def test_a_file_that_cannot_be_made_stops_nothing_and_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with structlog.testing.capture_logs() as logged, written(tmp_path / "file" / "audit.log") as audit:
        audit.note("login", actor="percy", outcome="ok")
    assert [line["event"] for line in logged] == ["the audit log cannot be written"]
