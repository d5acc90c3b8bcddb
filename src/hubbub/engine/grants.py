"""Who somebody has turned out to be, and on which terms; and how the terms are kept beside a session or a password."""

from __future__ import annotations

import msgspec

from hubbub.acts import Role
from hubbub.events import encode

__all__ = ["Grant", "grant_of", "terms_of"]


class Grant(msgspec.Struct, frozen=True):
    """Who a one-time password or a session stands for.

    Attributes:
        session: the hash of a token, never the token: what its connections end with.
        role: in place of what the ledger has by the user's name; None for that.
        info: what the application wants to know of the user on each of its connections.
        expires_at: seconds since 1970 after which it stands for nobody; None for a session that only the vault ends.
        is_kept: whether the vault has the session.  It has none where something outside vouches for the user, such as
            a JWT or an application's own cookie: then nothing but a notice ends it before its time.
    """

    user: str
    session: str
    role: Role | None = None
    info: dict[str, object] | None = None
    expires_at: float | None = None
    is_kept: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether it says nothing but whose it is, so that a connection need not keep it."""
        return self == Grant(self.user, self.session)


class Terms(msgspec.Struct, omit_defaults=True):
    """What a grant says besides whose it is."""

    role: Role | None = None
    info: dict[str, object] | None = None
    expires_at: float | None = None


decode_terms = msgspec.json.Decoder(Terms).decode


def terms_of(grant: Grant) -> bytes:
    """What is to be kept of a grant besides its user and its session, as JSON; empty where there is nothing."""
    terms = Terms(grant.role, grant.info, grant.expires_at)
    return b"" if terms == Terms() else encode(terms)


def grant_of(user: str, session: str, terms: bytes, *, is_kept: bool = True) -> Grant:
    """The grant that these were kept of."""
    if not terms and is_kept:
        return Grant(user, session)
    found = decode_terms(terms or b"{}")
    return Grant(user, session, found.role, found.info, found.expires_at, is_kept)
