"""The hub that MODULE:HUB names; where its module cannot be loaded, the lines of the module are shown and not ours."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from hubbub.errors import ConfigError

if TYPE_CHECKING:
    from hubbub.hub import Hub

__all__ = ["is_loading", "load_hub"]

OWN = str(Path(__file__).parents[1]) + os.sep
LOADING: ContextVar[bool] = ContextVar("LOADING", default=False)


def is_loading() -> bool:
    """Whether a module is being loaded here for the sake of its hub."""
    return LOADING.get()


def load_hub(target: str) -> Hub:
    """The hub that `MODULE:HUB` names; the working folder is searched first.

    Raises:
        ConfigError: there is no such module, or nothing in it of that name, or that is no hub.
        SystemExit: the module cannot be loaded, with what its author has to know.
    """
    from hubbub.hub import Hub

    module_name, colon, name = target.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module_name.split("."), name]):
        raise ConfigError(f"{target!r} names no hub; write MODULE:HUB, as in votes:hub for the hub in votes.py")
    sys.path.insert(0, str(Path.cwd()))
    module = load_module(target, module_name)
    found = getattr(module, name, None)
    if not isinstance(found, Hub):
        hubs = [other for other, value in vars(module).items() if isinstance(value, Hub)]
        hint = f"it has {', '.join(hubs)}" if hubs else "it has no hub"
        raise ConfigError(f"{target}: {name!r} in {module_name} is no hub; {hint}")
    return found


def load_module(target: str, name: str) -> ModuleType:
    before = LOADING.set(True)
    try:
        return importlib.import_module(name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            raise ConfigError(f"{target}: there is no module {name!r} here or among the installed ones") from None
        told = traceback.TracebackException.from_exception(error)
        leave_out_own(told)
        raise SystemExit(f"hubbub: {target} cannot be loaded\n{''.join(lines_of(told)).rstrip()}") from None
    finally:
        LOADING.reset(before)


def leave_out_own(told: traceback.TracebackException) -> None:
    """Leave out what is not the author's: Hubbub's own frames, and those of the import system."""
    frames = [frame for frame in told.stack if not frame.filename.startswith((OWN, "<frozen "))]
    # importlib.import_module itself.
    frames = [frame for frame in frames if frame.filename != importlib.__file__]
    told.stack = traceback.StackSummary.from_list(frames)
    for inner in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if inner is not None:
            leave_out_own(inner)


def lines_of(told: traceback.TracebackException) -> list[str]:
    """The lines of an error: where it is a mistake of syntax in the module itself, nothing leads there."""
    if told.stack or told.__cause__ or told.__context__:
        return list(told.format())
    return list(told.format_exception_only())
