"""What several processes have counted: nothing is lost, and nothing counts twice, whoever dies when."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubbub import tallies as tallies_module
from hubbub.tallies import Shown, Tallies, add_up, bury, new_folder, remove_abandoned

PID = os.getpid()


@pytest.fixture
def folder() -> Iterator[Path]:
    with new_folder() as made:
        yield made


def shown(said: float, here: float) -> Shown:
    return Shown({"said": [said]}, {"here": [here]})


def test_the_folder_is_its_owners_alone_and_goes() -> None:
    with new_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        Tallies(folder).write(shown(1, 1))
    assert not folder.exists()


def test_folders_of_parents_that_were_killed_are_removed_and_no_others(tmp_path: Path, folder: Path) -> None:
    abandoned, other = tmp_path / "hubbub-metrics-abandoned", tmp_path / "other"
    for each in (abandoned, other):
        each.mkdir()
    Tallies(abandoned).write(shown(1, 1))
    (tmp_path / "hubbub-metrics-linked").symlink_to(other)
    now = abandoned.stat().st_mtime
    remove_abandoned(tmp_path, now + 59)
    assert abandoned.exists(), "it may be new"
    remove_abandoned(tmp_path, now + 61)
    assert not abandoned.exists()
    assert other.exists()
    remove_abandoned(folder.parent, folder.stat().st_mtime + 61)
    assert folder.exists(), "somebody holds it"


def test_what_each_has_counted_is_added_up(folder: Path) -> None:
    one, other = Tallies(folder), Tallies(folder)
    one.write(shown(5, 2))
    other.write(shown(7, 1))
    one.write(shown(6, 0))
    assert one.read() == other.read() == {"said": [13], "here": [1]}


def test_what_the_dead_have_counted_stays_and_what_they_had_goes(folder: Path) -> None:
    Tallies(folder).write(shown(5, 2))
    bury(folder, PID)
    living = Tallies(folder)
    living.write(shown(1, 1))
    assert living.read() == {"said": [6], "here": [1]}
    bury(folder, PID)
    assert living.read() == {"said": [6]}
    assert [file.name for file in folder.iterdir()] == ["gone.json"]


def test_one_that_never_counted_is_buried_without_a_word(folder: Path) -> None:
    bury(folder, 1)
    assert Tallies(folder).read() == {}


def test_one_that_is_buried_while_somebody_reads_counts_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Tallies(folder).write(shown(5, 2))
    read = tallies_module.decode_shown

    def read_slowly(content: bytes) -> Shown:
        monkeypatch.setattr(tallies_module, "decode_shown", read)
        bury(folder, PID)
        return read(content)

    monkeypatch.setattr(tallies_module, "decode_shown", read_slowly)
    assert Tallies(folder).read() == {"said": [5]}


def test_a_burial_that_was_broken_off_counts_nobody_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Tallies(folder).write(shown(5, 2))

    def fail(_path: Path, missing_ok: bool = False) -> None:
        raise OSError

    with monkeypatch.context() as broken, pytest.raises(OSError):
        broken.setattr(Path, "unlink", fail)
        bury(folder, PID)
    assert Tallies(folder).read() == {"said": [5]}
    bury(folder, PID)
    assert Tallies(folder).read() == {"said": [5]}


def test_the_files_of_thousands_that_have_died_are_one(folder: Path) -> None:
    for _ in range(2 * tallies_module.MAX_BURIED):
        Tallies(folder).write(shown(1, 1))
        bury(folder, PID)
    assert [file.name for file in folder.iterdir()] == ["gone.json"]
    assert Tallies(folder).read() == {"said": [2 * tallies_module.MAX_BURIED]}
    assert (folder / "gone.json").stat().st_size < 16_000


def test_what_another_version_counts_in_another_way_is_left_out() -> None:
    assert add_up([{"said": [1, 2]}, {"said": [1]}, {"more": [1]}, {"said": [1, 2]}]) == {"said": [2, 4], "more": [1]}


def test_a_file_that_says_nothing_is_passed_over(folder: Path) -> None:
    (folder / "1-half.json").write_bytes(b'{"lasting":{"said":[1')
    Tallies(folder).write(shown(1, 1))
    assert Tallies(folder).read() == {"said": [1], "here": [1]}
    bury(folder, 1)
    assert Tallies(folder).read() == {"said": [1], "here": [1]}
