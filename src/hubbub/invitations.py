"""Links by which others sign up: who may make one, who may see and end which."""

from __future__ import annotations

from secrets import token_hex

from hubbub.acts import Role
from hubbub.engine import SignUpLink, Vault, WhyNot
from hubbub.errors import ErrorCode, Refused
from hubbub.otp import digest, new_secret
from hubbub.permissions import Permissions

__all__ = ["MAX_DAYS", "MAX_NOTE", "MAX_USES", "Invitations", "check_terms", "new_link"]

# What a link may be good for.
MAX_USES = 1000
MAX_DAYS = 90
DAY_S = 86_400.0

# Characters of what is noted beside a link.
MAX_NOTE = 100


def check_terms(uses: int, days: int, note: str) -> None:
    """Refuse (`bad_payload`) what a link cannot be good for."""
    if not 1 <= uses <= MAX_USES:
        raise Refused(ErrorCode.BAD_PAYLOAD, f"a link has 1 to {MAX_USES} uses, not {uses}")
    if not 1 <= days <= MAX_DAYS:
        raise Refused(ErrorCode.BAD_PAYLOAD, f"a link is good for 1 to {MAX_DAYS} days, not {days}")
    if len(note) > MAX_NOTE or not note.isprintable():
        raise Refused(ErrorCode.BAD_PAYLOAD, f"a note has at most {MAX_NOTE} characters, on one line")


def new_link(by: str, role: Role, uses: int, days: int, note: str) -> tuple[str, SignUpLink]:
    """A new link, and the secret that stands in it; it begins when it is kept."""
    return new_secret(), SignUpLink(token_hex(8), by, role, uses, days * DAY_S, note)


class Invitations:
    """The links of this server, for users that are logged in.

    Args:
        permissions: who may make one, and with which role.
    """

    def __init__(self, vault: Vault, permissions: Permissions) -> None:
        self._vault = vault
        self._permissions = permissions

    def may_use(self, link: SignUpLink) -> bool:
        """Whether a link is good by what its maker may do now; the operator's always are."""
        return not link.by or self._permissions.may_invite(link.by, link.role)

    async def make(self, user: str, role: Role, uses: int, days: int, note: str) -> tuple[str, SignUpLink]:
        """A new link of a user, and its secret.

        Raises:
            Refused: `bad_payload` for what it cannot be good for, `forbidden` for who may not make it, `conflict` where
                there are as many as are kept.
            EngineError: it could not be kept.
        """
        if not self._permissions.may_invite(user, role):
            what = "invite" if role is not Role.ADMIN else "give the role admin"
            raise Refused(ErrorCode.FORBIDDEN, f"you may not {what}")
        check_terms(uses, days, note)
        secret, link = new_link(user, role, uses, days, note)
        match await self._vault.put_link(digest(secret), link):
            case None:
                return secret, link
            case WhyNot.TOO_MANY:
                raise Refused(ErrorCode.CONFLICT, "there are as many open invitations as are kept; end one first")
            case _:
                raise Refused(ErrorCode.FORBIDDEN, "this account is blocked, or there is none")

    async def seen_by(self, user: str) -> list[SignUpLink]:
        """The open links that a user may see and end: all, for an admin, and its own.

        Raises:
            Refused: `forbidden` for who may not invite; its own links are not good any more.
            EngineError: they cannot be read.
        """
        if not self._permissions.may_invite(user, Role.MEMBER):
            raise Refused(ErrorCode.FORBIDDEN, "you may not invite")
        is_admin = self._permissions.may_invite(user, Role.ADMIN)
        return [link for link in await self._vault.links() if is_admin or link.by == user]

    async def end(self, user: str, id_: str) -> SignUpLink | None:
        """End an open link that a user may see; None where there is none by that id.

        Raises:
            Refused: `forbidden` for who may not invite.
            EngineError: it could not be ended.
        """
        for link in await self.seen_by(user):
            if link.id == id_ and await self._vault.drop_link(id_):
                return link
        return None
