"""Which connections which session has opened, and what ends them together with it.

Most sessions are the vault's.  The others are vouched for from outside, by a token or by an application's own cookie:
nothing has them that could be asked, so what ends them is told to all nodes.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable

import msgspec

from hubbub.client import Participant
from hubbub.engine import Grant, Vault
from hubbub.errors import CloseCode, ErrorCode, Refused
from hubbub.events import encode
from hubbub.notices import Notices

__all__ = ["JustEnded", "Sessions"]

# No connection takes longer from taking its one-time password to being one of the hub's clients.
SESSION_RACE_S = 60.0

SIGNED_OUT = "signed_out"


class JustEnded(Refused):
    """A session has ended while a connection by it was on its way."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.FORBIDDEN, "this session has just ended")


class SignedOut(msgspec.Struct, omit_defaults=True):
    """What nodes tell each other of sessions that the vault does not keep.

    Attributes:
        session: the one that ends; empty for all of the user's.
    """

    user: str
    session: str = ""


decode_signed_out = msgspec.json.Decoder(SignedOut).decode


class Sessions:
    """The sessions of this process's connections.

    Args:
        notices: tells all nodes.
        clients: those connected.
        clock: seconds that never go back.
    """

    def __init__(
        self, vault: Vault, notices: Notices, clients: Iterable[Participant], clock: Callable[[], float]
    ) -> None:
        self._vault = vault
        self._notices = notices
        self._clients = clients
        self._clock = clock
        # The connections of each: of those that the vault keeps, and of the others.
        self._kept: dict[str, dict[Participant, None]] = {}
        self._outside: dict[str, dict[Participant, None]] = {}
        # What ended a moment ago: sessions, and users whose outside sessions have.
        self._ended: dict[str, float] = {}
        self._revoked: dict[str, float] = {}
        notices.on(SIGNED_OUT, self._hear_signed_out)

    # Connections

    def add(self, client: Participant) -> None:
        """Take up a connection."""
        terms = client.terms
        sessions = self._kept if terms is None or terms.is_kept else self._outside
        sessions.setdefault(client.session, {})[client] = None

    def remove(self, client: Participant) -> None:
        """Forget a connection that was taken up."""
        terms = client.terms
        sessions = self._kept if terms is None or terms.is_kept else self._outside
        of_session = sessions[client.session]
        del of_session[client]
        if not of_session:
            del sessions[client.session]

    def move(self, client: Participant, grant: Grant) -> None:
        """Have a connection go on under another grant of its user's.

        Raises:
            Refused: `forbidden` where that has just ended.
        """
        if grant.session in self._ended:
            raise JustEnded
        self.remove(client)
        earlier = client.terms.info if client.terms is not None else None
        for name, value in (earlier or {}).items():  # unless the application has put something else there
            if client.info.get(name) is value:
                del client.info[name]
        client.session, client.terms = grant.session, grant
        if grant.info:
            client.info.update(grant.info)
        self.add(client)

    def check(self, client: Participant, known_at: float) -> None:
        """Refuse (`forbidden`) a client whose session has just ended.

        Args:
            known_at: before it was found out who the client is.
        """
        if client.session in self._ended or (
            client.terms is not None and not is_kept(client) and self._revoked.get(client.user, -math.inf) >= known_at
        ):
            raise JustEnded

    # Ends

    def end(self, session: str) -> None:
        """Close every connection that a login opened, those just being opened included."""
        note_end(self._ended, session, self._clock())
        for sessions in (self._kept, self._outside):
            close_all(sessions.get(session, ()))

    def sign_out(self, user: str, session: str = "") -> None:
        """End a session of a user that the vault does not keep, or all of them: on every node, at once."""
        notice = SignedOut(user, session)
        self._end_outside(notice)
        self._notices.tell(SIGNED_OUT, encode(notice))

    async def end_dead(self) -> None:
        """Close the connections of sessions that have expired, or were ended by another process.

        Raises:
            EngineError: it cannot be told which those are.
        """
        mine = set(self._kept)
        for session in mine - await self._vault.alive(mine):
            self.end(session)

    def _hear_signed_out(self, payload: bytes) -> None:
        """Take a notice of any node, this one included."""
        with contextlib.suppress(msgspec.DecodeError):  # a node of another version
            self._end_outside(decode_signed_out(payload))

    def _end_outside(self, notice: SignedOut) -> None:
        if notice.session:
            self.end(notice.session)
            return
        note_end(self._revoked, notice.user, self._clock())
        close_all(client for client in self._clients if client.user == notice.user and not is_kept(client))


def is_kept(client: Participant) -> bool:
    """Whether the vault has a client's session."""
    return client.terms is None or client.terms.is_kept


def close_all(clients: Iterable[Participant]) -> None:
    """Close connections whose session has ended."""
    for client in list(clients):
        client.close(CloseCode.SESSION_ENDED, "session ended")


def note_end(ended: dict[str, float], name: str, now: float) -> None:
    """Remember that something has ended, for as long as what it has let in may still be on its way."""
    while ended:  # the oldest come first
        oldest = next(iter(ended))
        if now - ended[oldest] < SESSION_RACE_S:
            break
        del ended[oldest]
    ended.pop(name, None)
    ended[name] = now
