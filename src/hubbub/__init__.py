"""Hubbub: a real-time messaging server and toolkit."""

from hubbub.client import Client
from hubbub.errors import CloseCode, ErrorCode, HubbubError, Refused
from hubbub.events import Event
from hubbub.hub import Hub
from hubbub.room import Posting, Room

__all__ = ["Client", "CloseCode", "ErrorCode", "Event", "Hub", "HubbubError", "Posting", "Refused", "Room"]
