"""What an engine keeps of keys: by which other programs may publish and ask over HTTP."""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import Protocol

import msgspec

__all__ = ["MAX_KEYS", "ApiKey", "KeyKept", "KeyRight", "KeyVault"]

# Keys at once.
MAX_KEYS = 1000


class KeyRight(StrEnum):
    """What a key may be for."""

    PUBLISH = "publish"  # saying something in rooms
    HISTORY = "history"  # reading what was said in them
    PRESENCE = "presence"  # asking who is in them
    ROOMS = "rooms"  # listing them
    DISCONNECT = "disconnect"  # closing the connections of a user
    INFO = "info"  # asking how the server does


class ApiKey(msgspec.Struct, frozen=True):
    """A key, without its secret, which is kept apart, hashed.

    Attributes:
        name: what it is listed and revoked by.
        rights: what it is for.
        rooms: names of rooms; `*` in one stands for any characters.
        made: when, in milliseconds since 1970.
    """

    name: str
    rights: tuple[KeyRight, ...]
    rooms: tuple[str, ...]
    made: int


class KeyKept(Enum):
    """What came of keeping a key."""

    DONE = auto()
    TAKEN = auto()  # there is one of this name
    TOO_MANY = auto()  # there are `MAX_KEYS`


class KeyVault(Protocol):
    """The part of a vault that keeps them.

    A key that is dropped, by whichever process, is not found by any question that is asked after that.
    Each method raises `EngineError` where shared state cannot be read or changed.
    """

    async def put_api_key(self, secret: str, key: ApiKey) -> KeyKept:
        """Keep a key, by the hash of its secret."""
        ...

    async def api_keys(self) -> list[ApiKey]:
        """All keys, sorted by their names."""
        ...

    async def api_key(self, secret: str) -> ApiKey | None:
        """The key with a secret, by its hash."""
        ...

    async def drop_api_key(self, name: str) -> bool:
        """Revoke a key; False where there is none of that name."""
        ...
