"""`hubbub doctor`: what is wrong with the database, and what can be saved of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hubbub.cli.options import Options
from hubbub.engine.checkup import describe, examine
from hubbub.engine.salvage import save as save_to
from hubbub.engine.urls import path_of

__all__ = ["doctor"]

DAMAGED = 1

# The same file, environment and flags as the server's; the rest of them does not matter here.
Shared = Annotated[Options, Parameter(show=False)]
DEFAULTS = Options()


def doctor(*, save: Path | None = None, settings: Shared = DEFAULTS) -> None:
    """Look for damage in the database, and save what can be read.

    The database is the server's (`--engine`, `--data-dir`, as for `serve`); the server may be running. Nothing is
    changed. One line for each finding; the exit code is 0 where all is well, 1 where something is to be mended, and 2
    where nothing can be said.

    Parameters
    ----------
    save
        A new file: a database with everything that can be read.
    """
    path = path_of(settings.engine_url)
    if save is not None:
        saved = save_to(path, save)
        print(f"saved {saved.messages} messages and {saved.accounts} accounts of {path} to {save}")
        for damage in saved.damage:
            print(f"left out: {describe(damage)} damaged")
        return
    is_well = True
    for finding in examine(path):
        is_well = is_well and not finding.is_bad
        print(f"{'bad' if finding.is_bad else 'ok'}: {finding.text}")
    if not is_well:
        sys.exit(DAMAGED)
