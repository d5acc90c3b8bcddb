"""The folder of a trial: its owner's alone, and of one trial at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hubbub.errors import ConfigError

__all__ = ["claimed", "default_folder"]


def default_folder() -> Path:
    """Where a trial is that was given no folder: the same for every terminal of a user."""
    return Path(tempfile.gettempdir()) / f"hubbub-cluster-{os.getuid()}"


@contextmanager
def claimed(folder: Path, *, is_kept: bool) -> Iterator[None]:
    """A folder for this trial alone, made if need be; emptied before and removed after unless it is to be kept.

    Raises:
        ConfigError: it is another user's, others may look into it, or a trial runs there.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_owner(folder)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be used: {error.strerror or error}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"a trial runs in {folder} already; give this one a --dir of its own") from None
        if not is_kept:
            # What a trial has left that was killed.
            empty(folder)
        yield
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def check_owner(folder: Path) -> None:
    # In /tmp, somebody else may have made it first.
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigError(f"{folder} is not a folder of yours; give the trial a --dir of its own")
    if found.st_mode & 0o077:
        raise ConfigError(f"others may look into {folder}: chmod 700 it, or give the trial a --dir of its own")


def empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.name == "lock":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
