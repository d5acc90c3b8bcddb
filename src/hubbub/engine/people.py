"""What an engine keeps of people besides their passwords: display names, and links by which others sign up."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto
from typing import Protocol

import msgspec

from hubbub.acts import Role
from hubbub.engine.access import WhyNot

__all__ = ["MAX_LINKS", "MAX_LINKS_OF_USER", "NewUser", "PeopleVault", "Profile", "SignUp", "SignUpLink"]

# Open links: in all, and of one user.
MAX_LINKS = 1000
MAX_LINKS_OF_USER = 100


class Profile(msgspec.Struct, frozen=True):
    """What others may know of a user.

    Attributes:
        user: the name that it goes by.
        name: how it wants to be shown; empty where it has not said.
        since: when the account was made, in milliseconds since 1970; None where that was not kept.
    """

    user: str
    name: str = ""
    role: Role = Role.MEMBER
    since: int | None = None


class SignUpLink(msgspec.Struct, frozen=True):
    """A link by which others sign up.  The secret in it is kept apart, hashed.

    Attributes:
        id: what it is listed and ended by.
        by: the user that has made it; empty for the operator.
        role: what those who use it become.
        uses: how many may still use it.
        left_s: for how many seconds it is still good.
    """

    id: str
    by: str
    role: Role
    uses: int
    left_s: float
    note: str = ""


class NewUser(msgspec.Struct, frozen=True):
    """Who wants to sign up.

    Attributes:
        user: the name of the account.
        password_hash: as in `Account`.
        name: how it is to be shown; may be empty.
        keys: what both names look like (`looks.keys_of`), without order.
    """

    user: str
    password_hash: str
    name: str = ""
    keys: Collection[str] = ()


class SignUp(Enum):
    """What came of signing up."""

    DONE = auto()
    NO_LINK = auto()  # unknown, used up, expired or ended
    TAKEN = auto()  # somebody has the name of the account, or one that looks like one of the two names


class PeopleVault(Protocol):
    """The part of a vault that keeps them.

    No two accounts have display names that look alike, and none has one that looks like the name of another account: a
    display name is kept with its keys, and so is the name of each account (`looks.key_of_user`).  What the operator
    calls accounts is not asked about.

    A link ends with its expiry, with its last use, and when the account of who has made it is blocked or removed.
    Each method raises `EngineError` where shared state cannot be read or changed.
    """

    async def profiles(self, users: Collection[str]) -> dict[str, Profile]:
        """What is known of users; those without an account are left out, unless `show_as` has named them."""
        ...

    async def name_of(self, user: str) -> str:
        """How a user is to be shown; empty where nobody has said it."""
        ...

    async def show_as(self, user: str, name: str) -> None:
        """Keep how a user without an account is shown, as whoever vouches for it says; nothing is held against it.

        It counts until there is an account of that name.

        Args:
            name: empty to be shown by the user's name.
        """
        ...

    async def set_name(self, user: str, name: str, keys: Collection[str]) -> bool | None:
        """Keep how a user wants to be shown.  Atomic: of two that want the same name, one gets it.

        Args:
            name: empty to be shown by the account's name.
            keys: what the name looks like.

        Returns:
            False where it looks like a name of another account, None where there is no such account.
        """
        ...

    async def change_password(self, user: str, old_hash: str, new_hash: str, keep: str) -> bool:
        """Change the password of an account, where the hash is the old one; all sessions but one of the user end.

        Args:
            keep: the session that goes on.

        Returns:
            False where the hash is another one by now, or there is no such account: nothing was changed.
        """
        ...

    async def put_link(self, secret: str, link: SignUpLink) -> WhyNot | None:
        """Keep a link that begins now, by the hash of its secret; or why it is not kept.

        `NO_ACCOUNT` where its maker has none, or a blocked one; `TOO_MANY` beyond `MAX_LINKS`, or its maker's part.
        """
        ...

    async def links(self) -> list[SignUpLink]:
        """The links that are open, in the order of their ends."""
        ...

    async def link(self, secret: str) -> SignUpLink | None:
        """The open link with a secret, by its hash."""
        ...

    async def drop_link(self, id_: str) -> bool:
        """End a link; False where none is open by that id."""
        ...

    async def sign_up(self, secret: str, new: NewUser) -> SignUp:
        """Make an account with the role of a link, and use the link once.

        Atomic: a link is used no more often than it may be, whoever races, and not where the names are taken.
        """
        ...
