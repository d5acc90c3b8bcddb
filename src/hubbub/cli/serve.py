"""Serving: in this process, as the parent of workers, or as one of them; and the hub that MODULE:HUB names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hubbub.errors import ConfigError

if TYPE_CHECKING:
    from hubbub.hub import Hub
    from hubbub.settings import Settings

__all__ = ["load_hub", "serve_hub"]


def serve_hub(hub: Hub | str | None, settings: Settings) -> None:
    """Serve a hub: one that is here, one that MODULE:HUB names, or the built-in chat where there is none.

    Raises:
        ConfigError: with one line that says what is wrong and how to mend it.
        SystemExit: with the exit code of a parent of workers, which needs no hub of its own.
    """
    from hubbub.inheritance import Inheritance, is_worker, legacy_of

    inheritance = None
    if is_worker(os.environ):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is for the parent
        inheritance = Inheritance(legacy_of(os.environ))
        inheritance.watch()
    elif settings.workers > 1:
        from hubbub.supervisor import supervise

        sys.exit(supervise(settings))
    from hubbub.hub import Hub
    from hubbub.process import serve

    if not isinstance(hub, Hub):
        hub = load_hub(hub) if hub else Hub()
    serve(hub, settings, inheritance)


def load_hub(target: str) -> Hub:
    """The hub that `MODULE:HUB` names; the working folder is searched first.

    Raises:
        ConfigError: there is no such module, or nothing in it of that name, or that is no hub.
    """
    from hubbub.hub import Hub

    module_name, colon, name = target.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module_name.split("."), name]):
        raise ConfigError(f"{target!r} names no hub; write MODULE:HUB, as in votes:hub for the hub in votes.py")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(f"{target}: there is no module {module_name!r} here or among the installed ones") from None
    found = getattr(module, name, None)
    if not isinstance(found, Hub):
        hubs = [other for other, value in vars(module).items() if isinstance(value, Hub)]
        hint = f"it has {', '.join(hubs)}" if hubs else "it has no hub"
        raise ConfigError(f"{target}: {name!r} in {module_name} is no hub; {hint}")
    return found
