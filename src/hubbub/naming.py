"""Names of rooms: what is one, and which of them are the same; and what a name for show may have.

Names that look the same are the same room.  A name's identity is its compatibility caseless form (NFKC_Casefold, the
Unicode Standard section 3.13, D147): "Ops", "OPS" and fullwidth letters are all "ops".  Everything goes by the
identity: the log, the events, rules, invitations.  How a name was written is only shown.

What nobody sees is in no name: default-ignorable characters, and spaces but one at a time between others.  A word has
not both Latin letters and Cyrillic or Greek ones.  Whole words that look alike in two scripts stay two names (UTS #39
section 4 calls them whole-script confusables).
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple
from urllib.parse import unquote

from hubbub.errors import ErrorCode, Refused

__all__ = [
    "DM",
    "MAX_MARKS",
    "MAX_OUTSIDE_NAME",
    "RoomName",
    "check_dm",
    "check_outside_name",
    "check_room_name",
    "escaped",
    "find_fault",
    "fold",
    "fold_prefix",
    "is_channel",
    "is_channel_name",
    "is_user_name",
    "old_identity",
    "read_display_name",
    "read_room_name",
    "users_of_dm",
]

# What the name of a room of two users begins with.
DM = "dm:"

# Characters of the name of a user that an application or a token vouches for, and of that of a room of two users: two
# such names, each in an escape or two for ten characters.
MAX_OUTSIDE_NAME = 128
MAX_DM = 600

# Control characters, halves of characters, and what ends a line or a paragraph.
UNWRITABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})

# NFC makes at most one character of four (UAX #15 section 9), so a longer name need not be normalized to be refused.
NFC_SHRINKS = 4
# Of combining marks in a row.  Putting a run of them in order takes time that grows with the square of its length; no
# language needs more than this (the Stream-Safe Text Format, UAX #15 section 13).
MAX_MARKS = 30

_ascii_room_name = re.compile(r"[A-Za-z0-9._-]+(?: [A-Za-z0-9._-]+)*")
_user_name = re.compile(r"[a-z0-9._-]+")
_channel_name = re.compile(r"[!-~]+")
_unplain = re.compile(r"[^a-z0-9._-]+")
_word = re.compile(r"[^ ._-]+")
# Letters of any script, their combining marks, digits, and four others: `\w` alone would drop the marks.
_punctuation = frozenset(" ._-")
# Names of people have apostrophes, too, typed or typeset.
_apostrophes = frozenset("'\u2019")

# Default_Ignorable_Code_Point (DerivedCoreProperties.txt) among letters, marks and digits; others are refused anyway.
_ignorable = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")

# Scripts with letters that look like Latin ones.
LOOKALIKES = frozenset({"CYRILLIC", "GREEK"})


class RoomName(NamedTuple):
    """A room's name.

    Attributes:
        identity: what the room goes by.
        title: as it was written, in NFC.
    """

    identity: str
    title: str


def is_user_name(name: str) -> bool:
    """Whether a name has only characters that users' names have, and any."""
    return _user_name.fullmatch(name) is not None


def check_room_name(name: str, longest: int) -> str:
    """Return what a room goes by; see `read_room_name`."""
    return read_room_name(name, longest).identity


def read_room_name(name: str, longest: int) -> RoomName:
    """Return what a room goes by, and how it is written.  The time it takes is linear in the name's length.

    Args:
        longest: characters that a name may have, as it is written and as its identity; 0 is no limit.  That of a room
            of two users may have `MAX_DM`.

    Raises:
        Refused: `bad_payload` for what is not a room name.
    """
    if name.startswith(DM):
        check_dm_name(name)
        return RoomName(name, name)
    if len(name) <= (longest or len(name)) and _ascii_room_name.fullmatch(name):
        return RoomName(name.lower(), name)  # the usual case, told fast
    fault = find_fault(name, longest)
    if not fault:
        title, identity = unicodedata.normalize("NFC", name), fold(name)
        fault = find_fault(identity, longest)
        if longest and max(len(title), len(identity)) > longest:
            fault = f"has more than {longest} characters"
        if not fault:
            return RoomName(identity, title)
    raise Refused(
        ErrorCode.BAD_PAYLOAD,
        f"{name[:80]!r} is not a room name, it {fault}: 1 to {longest or 'any number of'} letters, digits and . _ -, "
        "with single spaces between them",
    )


def is_channel(name: str, longest: int) -> bool:
    """Whether a name is of a channel that clients of the second door alone can name.

    Those of printable ASCII are channels.  What such a name goes by as that of a room is itself without its capitals,
    if it is one at all.

    Args:
        longest: characters that the name of a room may have; 0 is no limit.
    """
    return is_channel_name(name) and (not is_user_name(name) or len(name) > longest > 0)


def is_channel_name(name: str) -> bool:
    """Whether a channel can have a name: of printable ASCII, and not that of a room of two."""
    return not name.startswith(DM) and _channel_name.fullmatch(name) is not None


def fold(name: str) -> str:
    """The NFKC_Casefold form of a name, default-ignorable characters aside; the same again for its own result.

    Raises nothing, and takes linear time where `find_fault` has found no long run of combining marks.
    """
    folded = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", folded).casefold())


def fold_prefix(prefix: str, longest: int) -> str:
    """What the folded forms of names begin with that begin with a prefix.  It takes linear time.

    Raises:
        Refused: `bad_payload` for what no name can begin with.
    """
    if len(prefix) > (longest or len(prefix)) or has_long_run_of_marks(prefix):
        raise Refused(ErrorCode.BAD_PAYLOAD, f"no name begins with {prefix[:80]!r} - at `payload.prefix`")
    return fold(prefix)


def find_fault(name: str, longest: int, also: frozenset[str] = frozenset()) -> str:
    """What is wrong with a name, before or after it was folded; empty where nothing is.

    Args:
        also: characters that it may have besides those of rooms' names.
    """
    if not name:
        return "has no character"
    if longest and len(name) > longest * NFC_SHRINKS:
        return f"has more than {longest} characters"
    if has_long_run_of_marks(name):
        return f"has more than {MAX_MARKS} combining marks in a row"
    if _ignorable.search(name):
        return "has characters that nobody sees"
    if not all(character in also or is_room_character(character) for character in name):
        return "has other characters"
    if name != " ".join(name.split()):
        return "has a space at an end, or two in a row"
    if any(map(is_mixed, _word.findall(name))):
        return "mixes letters of scripts that look alike in a word"
    return ""


def read_display_name(name: str, longest: int) -> str:
    """Return a person's name for show, in NFC.

    Args:
        longest: characters that it may have.

    Raises:
        Refused: `bad_payload` for what is none.
    """
    fault = find_fault(name, longest, _apostrophes)
    shown = "" if fault else unicodedata.normalize("NFC", name)
    if not fault and len(shown) > longest:
        fault = f"has more than {longest} characters"
    if not fault and not any(map(str.isalnum, shown)):
        fault = "has no letter or digit"
    if fault:
        raise Refused(
            ErrorCode.BAD_PAYLOAD,
            f"{name[:80]!r} is not a name to be shown, it {fault}: 1 to {longest} letters, digits and . _ - ', with"
            " single spaces between them",
        )
    return shown


def has_long_run_of_marks(name: str) -> bool:
    """Whether more than `MAX_MARKS` combining marks follow each other."""
    run = 0
    for character in name:
        # By category: the combining class of U+0F73 is that of a letter, but the marks it is made of have their own.
        run = run + 1 if unicodedata.category(character)[0] == "M" else 0
        if run > MAX_MARKS:
            return True
    return False


def is_room_character(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _punctuation
    return unicodedata.category(character)[0] in "LM" or unicodedata.category(character) == "Nd"


def is_mixed(word: str) -> bool:
    """Whether a word has both Latin letters and ones that look like them."""
    if word.isascii():
        return False
    scripts = {unicodedata.name(character, "").partition(" ")[0] for character in word if character.isalpha()}
    return "LATIN" in scripts and not scripts.isdisjoint(LOOKALIKES)


def old_identity(name: str) -> str:
    """What a room of an earlier version goes by, whose name may have what names have no more; empty for nothing.

    It is what a client that writes the name without what nobody sees gets.
    """
    if name.startswith(DM):
        return name
    try:
        return check_room_name(" ".join(_ignorable.sub("", name).split()), 0)
    except Refused:
        return ""


# Rooms of two users


def escaped(user: str) -> str:
    """A user's name as that of a room of two has it: with nothing in it that could be taken for something else."""
    return _unplain.sub(lambda found: as_escapes(found.group()), user)


def as_escapes(text: str) -> str:
    """Each byte of a text as `%XX`."""
    return "".join(f"%{byte:02X}" for byte in text.encode(errors="surrogatepass"))


def check_dm_name(name: str) -> None:
    """Refuse (`bad_payload`) what is not the room of two users, written in the one way that there is."""
    if len(name) > MAX_DM:
        raise Refused(ErrorCode.BAD_PAYLOAD, f"{name[:80]!r} is not a room name, it has more than {MAX_DM} characters")
    parts = name.removeprefix(DM).split(",")
    if len(parts) != 2 or parts[0] >= parts[1] or not all(map(is_escaped, parts)):
        raise Refused(
            ErrorCode.BAD_PAYLOAD,
            f"{name[:80]!r} is not a room of two users: {DM}a,b with the names sorted, and what is none of"
            " a-z 0-9 . _ - written as %XX",
        )


def is_escaped(part: str) -> bool:
    """Whether a part of such a name is a user's, written in the one way that there is."""
    if _user_name.fullmatch(part):
        return len(part) <= MAX_OUTSIDE_NAME
    user = unquote(part, errors="replace")  # what is no UTF-8 is not written so
    return escaped(user) == part and not fault_of_outside_name(user)


def users_of_dm(name: str) -> list[str]:
    """The two users whom a room is named after; none for any other room."""
    if not name.startswith(DM):
        return []
    users = name.removeprefix(DM).split(",")
    return [unquote(user) for user in users] if "%" in name else users


# Users that somebody else vouches for


def check_outside_name(name: str) -> None:
    """Refuse (`ValueError`) what is no name of a user that an application or a token vouches for."""
    fault = fault_of_outside_name(name)
    if fault:
        raise ValueError(fault)


def fault_of_outside_name(name: str) -> str:
    """What is wrong with such a name; empty where nothing is."""
    if not 1 <= len(name) <= MAX_OUTSIDE_NAME:
        return f"a user's name has 1 to {MAX_OUTSIDE_NAME} characters, and not {len(name)}"
    if name.isascii() and name.isprintable():  # the usual case, told fast
        return ""
    if any(unicodedata.category(character) in UNWRITABLE for character in name):
        return f"a user's name has no control characters, and {name!r} has some"
    return ""


def check_dm(name: str, user: str) -> None:
    """Refuse (`forbidden`) a room of two others."""
    if name.startswith(DM) and user not in users_of_dm(name):
        raise Refused(ErrorCode.FORBIDDEN, f"{name[:80]!r} is open to the two users it is named after")
