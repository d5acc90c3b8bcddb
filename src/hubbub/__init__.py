"""Hubbub: a real-time messaging server and toolkit."""

from typing import TYPE_CHECKING

from hubbub.client import Client
from hubbub.errors import CloseCode, ErrorCode, HubbubError, Refused
from hubbub.events import Event
from hubbub.hub import Hub
from hubbub.room import Posting, Room

if TYPE_CHECKING:
    from hubbub.sdk.client import connect

__all__ = ["Client", "CloseCode", "ErrorCode", "Event", "Hub", "HubbubError", "Posting", "Refused", "Room", "connect"]


def __getattr__(name: str) -> object:
    # The client is for programs that are one; a server does without it, and starts sooner.
    if name == "connect":
        from hubbub.sdk.client import connect

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
