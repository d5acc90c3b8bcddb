"""What can be done in a room, and the roles of those who do it: words that the rules and the accounts share."""

from __future__ import annotations

from enum import IntEnum, StrEnum

__all__ = ["Act", "Role"]


class Act(IntEnum):
    """What a client may be allowed to do.  Each is one bit, so that rights are a plain number."""

    JOIN = 1  # enter, and hear what is said from then on
    READ = 2  # hear what was said before: the past that a join brings, and `history`
    POST = 4  # say something
    PRESENCE = 8  # see who is there, who comes and goes, who types and who has read what
    CREATE = 16  # enter a room that nobody is in and nothing was said in
    MANAGE = 32  # close and delete the room, invite to it
    INVITE = 64  # let others sign up, by a link; it is about the server, and not about a room


class Role(StrEnum):
    """What an account is, whatever the room."""

    ADMIN = "admin"  # what a member may do, and manage rooms and accounts
    MEMBER = "member"  # uses every open room
    GUEST = "guest"  # looks into open rooms, and says nothing
