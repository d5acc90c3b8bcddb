"""The Python client: reconnects, resumes, never repeats.  `hubbub.connect` is its front door."""

from hubbub.sdk.backoff import Backoff
from hubbub.sdk.client import Connection, connect
from hubbub.sdk.messages import (
    Gap,
    Heard,
    Joined,
    MemberJoined,
    MemberLeft,
    Members,
    Message,
    Offline,
    Online,
    Page,
    Read,
    Receipt,
    RoomLost,
    Signal,
    Typing,
)

__all__ = [
    "Backoff",
    "Connection",
    "Gap",
    "Heard",
    "Joined",
    "MemberJoined",
    "MemberLeft",
    "Members",
    "Message",
    "Offline",
    "Online",
    "Page",
    "Read",
    "Receipt",
    "RoomLost",
    "Signal",
    "Typing",
    "connect",
]
