"""What a client says of itself with `connect`, for the application's hooks, and what they answer."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from hubbub.client import Client
from hubbub.door.codes import DoorCode, DoorError
from hubbub.door.commands import ConnectRequest
from hubbub.events import encode

__all__ = ["answer_of", "introduce"]

# Headers that a client may name, and the characters of one; as many as one request for a WebSocket could have.
MAX_HEADERS = 32
MAX_HEADER_CHARS = 4096

# Where hooks find it in `Client.info`, and where they leave what is answered.
SAID, ANSWER = "connect", "connect_data"


def introduce(client: Client, request: ConnectRequest) -> None:
    """Have hooks find in `Client.info` what a client says of itself.

    Raises:
        DoorError: 107 where that is too much, or no JSON.
    """
    if len(request.headers) > MAX_HEADERS or any(
        len(name) + len(value) > MAX_HEADER_CHARS for name, value in request.headers.items()
    ):
        why = f"there are at most {MAX_HEADERS} headers of {MAX_HEADER_CHARS} characters"
        raise DoorError(DoorCode.BAD_REQUEST, why)
    said: dict[str, Any] = {"name": request.name, "version": request.version, "data": None}
    said["headers"] = {name.lower(): value for name, value in request.headers.items()}
    if request.data is not UNSET:
        try:
            said["data"] = msgspec.json.decode(request.data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise DoorError(DoorCode.BAD_REQUEST, f"data is JSON: {error}") from None
    client.info[SAID] = said


def answer_of(client: Client) -> Raw | UnsetType:
    """What hooks have left for a client's answer; what it has said of itself is for them alone, and is forgotten.

    Raises:
        TypeError: it cannot be written as JSON.
    """
    info = client.info
    info.pop(SAID, None)
    return Raw(encode(info.pop(ANSWER))) if ANSWER in info else UNSET
