"""Serving: in this process, as the parent of workers, or as one of them."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from hubbub.cli.loading import load_hub

if TYPE_CHECKING:
    from hubbub.hub import Hub
    from hubbub.settings import Settings

__all__ = ["serve_hub"]


def serve_hub(hub: Hub | str | None, settings: Settings) -> None:
    """Serve a hub: one that is here, one that MODULE:HUB names, or the built-in chat where there is none.

    Raises:
        ConfigError: with one line that says what is wrong and how to mend it.
        SystemExit: with the exit code of a parent of workers, which needs no hub of its own; or with what is wrong with
            the module of the hub.
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
