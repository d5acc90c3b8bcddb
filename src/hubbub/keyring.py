"""Keys of other programs: which there can be, and what each is good for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hubbub.engine import ApiKey, KeyRight
from hubbub.errors import ErrorCode, Refused
from hubbub.naming import DM
from hubbub.otp import new_secret
from hubbub.rules import MAX_PATTERN_CHARS, Pattern

__all__ = ["MAX_SECRET_CHARS", "PREFIX", "KeyScope", "new_key"]

# What a key begins with, so that whoever finds one somewhere knows what it is.
PREFIX = "hbk_"

# More than any key has; what is longer need not be looked up.
MAX_SECRET_CHARS = 100

KEY_NAME = re.compile(r"[a-z0-9._-]{1,64}")

# Of rooms that one key is for: each request looks at them one after the other.
MAX_KEY_PATTERNS = 50


def new_key(name: str, rights: Sequence[str], rooms: Sequence[str], now: float) -> tuple[str, ApiKey]:
    """A new key and its secret, which is kept nowhere.

    Args:
        rights: words of `KeyRight`.
        rooms: names of rooms; `*` in one stands for any characters.
        now: seconds since 1970.

    Raises:
        Refused: `bad_payload` for what no key is.
    """
    if not KEY_NAME.fullmatch(name):
        raise bad(f"{name[:80]!r} is no name of a key: 1 to 64 of a-z 0-9 . _ -")
    unknown = [right for right in rights if right not in tuple(KeyRight)]
    if unknown or not rights:
        raise bad(f"a key may not {', '.join(unknown)[:80] or 'do nothing'}; it may {', '.join(KeyRight)}")
    if not 0 < len(rooms) <= MAX_KEY_PATTERNS or not all(0 < len(text) <= MAX_PATTERN_CHARS for text in rooms):
        raise bad(
            f"a key is for 1 to {MAX_KEY_PATTERNS} names of rooms, of 1 to {MAX_PATTERN_CHARS} characters, as news-*"
        )
    key = ApiKey(name, tuple(sorted(map(KeyRight, set(rights)))), tuple(rooms), int(now * 1000))
    return f"{PREFIX}{new_secret()}", key


def bad(message: str) -> Refused:
    return Refused(ErrorCode.BAD_PAYLOAD, message)


class KeyScope:
    """What a key is good for.

    Who talks to whom is for the two to know: only a pattern that begins with `dm:` covers rooms of two users.
    """

    def __init__(self, key: ApiKey) -> None:
        self.name = key.name
        self._rights = frozenset(key.rights)
        self._patterns = [Pattern(text) for text in key.rooms if not text.startswith(DM)]
        self._direct = [Pattern(text) for text in key.rooms if text.startswith(DM)]

    def allows(self, right: KeyRight) -> bool:
        """Whether it is for something."""
        return right in self._rights

    def covers(self, room: str) -> bool:
        """Whether it is for what a room goes by."""
        return any(pattern.fits(room) for pattern in (self._direct if room.startswith(DM) else self._patterns))
