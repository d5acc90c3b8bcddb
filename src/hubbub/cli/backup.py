"""`hubbub backup` and `hubbub restore`: copies of the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hubbub.cli.options import Options
from hubbub.engine.backup import back_up
from hubbub.engine.backup import restore as put_back
from hubbub.engine.urls import path_of

__all__ = ["backup", "restore"]

# The same file, environment and flags as the server's; the rest of them does not matter here.
Shared = Annotated[Options, Parameter(show=False)]
DEFAULTS = Options()


def backup(file: Path, /, *, settings: Shared = DEFAULTS) -> None:
    """Write all that the database has to a new file.

    The database is the server's (`--engine`, `--data-dir`, as for `serve`); the server may be running. Whatever was
    acknowledged before is in the file. It holds password hashes and all messages: keep it as safe as the database.

    Parameters
    ----------
    file
        A file that is not there yet.
    """
    path = path_of(settings.engine_url)
    back_up(path, file)
    print(f"backed up {path} to {file}")


def restore(file: Path, /, *, settings: Shared = DEFAULTS) -> None:
    """Put a backup in the place of the database.

    The database is the server's (`--engine`, `--data-dir`, as for `serve`); the server must not be running. The
    database that is there is kept under another name. Everyone has to log in again.

    Parameters
    ----------
    file
        A file that `hubbub backup` or `hubbub doctor --save` has written.
    """
    path = path_of(settings.engine_url)
    aside = put_back(path, file)
    print(f"restored {file} to {path}")
    if aside is not None:
        print(f"what was there is kept as {aside}")
