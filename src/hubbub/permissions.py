"""Who may do what: the one place that is asked before a handler runs, and before a client enters a room."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from hubbub.acts import Act, Role
from hubbub.client import Client, Participant
from hubbub.errors import ErrorCode, Refused
from hubbub.handlers import Handlers
from hubbub.ledger import Ledger
from hubbub.naming import DM, check_dm
from hubbub.rules import BY_ROLE, Rules

__all__ = ["Permissions", "Policy"]

log = structlog.get_logger("hubbub")

# An application's own answer to whether a client may do something in a room: None leaves it to the rules.
Policy = Callable[[Client, Act, str | None], bool | None]

IN_A_ROOM = (Act.JOIN, Act.READ, Act.POST, Act.PRESENCE, Act.CREATE)

VERBS = {
    Act.JOIN: "enter",
    Act.READ: "read what was said in",
    Act.POST: "say anything in",
    Act.PRESENCE: "see who is in",
    Act.CREATE: "make",
    Act.MANAGE: "manage",
    Act.INVITE: "let others sign up from",
}


class Permissions:
    """Decides what clients may do.

    What a client may do in a room that it is in is worked out when it enters, and noted with its membership
    (`Participant.joined`); whoever changes a role or an invitation has it worked out again (`Rooms.review`).  So a
    message costs one look at a number.  An application's policy may change its mind at any time: it is asked each time.

    Args:
        handlers: where the application has registered its policy.
        ledger: roles, blocks, invitations and closed rooms.

    Attributes:
        is_channel: whether a name is for clients of the second door alone; None without one.
    """

    def __init__(self, handlers: Handlers, ledger: Ledger, rules: Rules) -> None:
        self._handlers = handlers
        self._ledger = ledger
        self._rules = rules
        self._is_ruled_by_roles = rules.is_empty
        self.is_channel: Callable[[str], bool] | None = None

    def check(self, client: Participant, act: Act, room: str | None) -> None:
        """Refuse what a client may not do in a room, by what that goes by; without one, wherever it does not matter.

        Raises:
            Refused: `forbidden`.
        """
        if self._handlers.policy is None and room is not None:
            rights = client.joined.get(room)
            if rights is not None and rights & act:
                return
        self._decide(client, act, room)

    def check_admin(self, client: Client) -> None:
        """Refuse (`forbidden`) to who is no admin what concerns the whole server; no rule and no policy is asked."""
        if client.role is not Role.ADMIN or self._ledger.is_blocked(client.user):
            raise Refused(ErrorCode.FORBIDDEN, "this is for admins")

    def may_invite(self, user: str, role: Role) -> bool:
        """Whether a user may let others sign up with a role; for more than a member's one has to be an admin."""
        ledger = self._ledger
        if ledger.is_blocked(user):
            return False
        own = ledger.role_of(user)
        return own is Role.ADMIN or (role is not Role.ADMIN and bool(self._rules.rights(user, own, None) & Act.INVITE))

    def may(self, client: Client, act: Act, room: str | None) -> bool:
        """Whether a client may do something in a room."""
        try:
            self._decide(client, act, room)
        except Refused:
            return False
        return True

    def rights_in(self, client: Client, room: str) -> int:
        """What a client may do in a room that it is in, or is about to enter, as bits.

        Raises:
            Refused: `forbidden` where it may not be there.
        """
        access, user = self._ledger.access, client.user
        if (
            self._is_ruled_by_roles
            and self._handlers.policy is None
            and user not in access.blocked
            and room not in access.closed
            and not room.startswith(DM)
            and (self.is_channel is None or client.uses_channels or not self.is_channel(room))
        ):
            return BY_ROLE[client.role]  # the usual case, told fast: every role may enter
        self._decide(client, Act.JOIN, room)
        if self._handlers.policy is None:
            return self._rights(client, room)
        return sum(act for act in IN_A_ROOM if self.may(client, act, room))

    def entry_rights(self, client: Client, room: str) -> int:
        """What a client may do in a room that it may enter, as bits; 0 for a room that it may not."""
        try:
            return self.rights_in(client, room)
        except Refused:
            return 0

    # Deciding

    def _decide(self, client: Client, act: Act, room: str | None) -> None:
        """Refuse (`forbidden`) what a client may not do.

        What a room is comes last, so that who may not enter it learns nothing of it.
        """
        if self._ledger.is_blocked(client.user):
            raise Refused(ErrorCode.FORBIDDEN, "this account is blocked")
        if room is not None and act is not Act.MANAGE:
            check_dm(room, client.user)
            if self._is_elsewhere(client, room):
                raise Refused(ErrorCode.FORBIDDEN, f"the room {room[:80]!r} is not for clients of this kind")
        verdict = self._ask_policy(client, act, room)
        if verdict is None:
            verdict = bool(self._rights(client, room) & act)
        if not verdict:
            where = "here" if room is None else f"the room {room[:80]!r}"
            raise Refused(ErrorCode.FORBIDDEN, f"you may not {VERBS[act]} {where}")
        if room is not None and act is not Act.MANAGE and self._ledger.is_closed(room):
            raise Refused(ErrorCode.FORBIDDEN, f"the room {room[:80]!r} is closed")

    def _is_elsewhere(self, client: Client, room: str) -> bool:
        """Whether a room is one that clients of this kind do not see: a channel, or for the second door one of two.

        Users of the second door are no accounts, and may have the name of one.
        """
        if client.uses_channels:
            return room.startswith(DM)
        return self.is_channel is not None and self.is_channel(room)

    def _rights(self, client: Client, room: str | None) -> int:
        """What the rules say, and the invitations."""
        rights = self._rules.rights(client.user, client.role, room)
        if room is None or room.startswith(DM) or not self._rules.is_private(room):
            return rights
        return rights if self._ledger.is_invited(client.user, room) else rights & Act.MANAGE

    def _ask_policy(self, client: Client, act: Act, room: str | None) -> bool | None:
        """What the application says.  What is neither an answer nor None is a refusal: an error must open no door."""
        policy = self._handlers.policy
        if policy is None:
            return None
        try:
            answer: object = policy(client, act, room)
        except Exception:
            log.exception("the policy failed", user=client.user, act=act.name.lower(), room=room)
            return False
        if answer is None or isinstance(answer, bool):
            return answer
        log.error("the policy did not answer True, False or None", answer=type(answer).__name__, act=act.name.lower())
        return False
