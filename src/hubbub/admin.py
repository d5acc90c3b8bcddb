"""What admins do: accounts blocked and given roles, sessions ended, rooms closed and deleted, users invited.

Each of it is kept first, then acts on the live connections at once, and is a line of the audit log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable

import msgspec
import structlog

from hubbub.acts import Role
from hubbub.audit import Audit
from hubbub.client import Participant
from hubbub.engine import Change, Engine, WhyNot
from hubbub.errors import CloseCode, EngineError, ErrorCode, Refused
from hubbub.events import encode
from hubbub.following import Follows
from hubbub.ledger import Affected, Ledger
from hubbub.naming import DM
from hubbub.notices import Notices
from hubbub.pump import Pump
from hubbub.rooms import Rooms
from hubbub.tasks import Tasks

__all__ = ["Admin"]

log = structlog.get_logger("hubbub")

# What was posted to a room before it was closed is kept with the next batch; a server that is never idle has more to
# keep after that, which is none of this room's.
LAST_POSTS_S = 2.0

DISCONNECTED = "disconnected"
DISCONNECTED_OTHERS = "disconnected_others"

decode_user = msgspec.json.Decoder(str).decode


class Admin:
    """The acts of admins.  Whether somebody may act is for the caller to ask.

    Each act takes who it is by, for the audit log.  It raises `Refused` for what cannot be (`bad_payload` where there
    is no such account, `conflict` for the last admin and for more invitations than are kept), and `EngineError` where
    it is not kept.

    Args:
        clients: those connected.
        tasks: owns the deletion of rooms.
        notices: tells all nodes.
        sign_out: ends a user's sessions that the vault does not keep.
    """

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        rooms: Rooms,
        follows: Follows,
        pump: Pump,
        tasks: Tasks,
        clients: Collection[Participant],
        audit: Audit,
        notices: Notices,
        sign_out: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._ledger = ledger
        self._rooms = rooms
        self._follows = follows
        self._pump = pump
        self._tasks = tasks
        self._clients = clients
        self._audit = audit
        self._notices = notices
        self._sign_out = sign_out
        self._deleting: set[str] = set()
        notices.on(DISCONNECTED, self._hear_disconnected)
        notices.on(DISCONNECTED_OTHERS, self._hear_disconnected_others)

    # Users

    def disconnect(self, user: str, by: str) -> int:
        """Close a user's connections, on every node; they may come back.  How many there were here."""
        found = self._close_connections(user)
        self._notices.tell(DISCONNECTED, encode(user))
        self._audit.note("disconnect", actor=by, target=user, outcome="done", count=len(found))
        return len(found)

    def disconnect_others(self, user: str) -> None:
        """Close those connections of a user, on every node, that have not come by the second door."""
        self._close(client for client in self._connections_of(user) if not client.uses_channels)
        self._notices.tell(DISCONNECTED_OTHERS, encode(user))

    def _close_connections(self, user: str) -> list[Participant]:
        found = self._connections_of(user)
        self._close(found)
        return found

    def _close(self, clients: Iterable[Participant]) -> None:
        for client in clients:
            client.close(CloseCode.KICKED, "disconnected by an admin")

    def _hear_disconnected(self, payload: bytes) -> None:
        """Take a notice of any node, this one included."""
        with contextlib.suppress(msgspec.DecodeError):  # a node of another version
            self._close_connections(decode_user(payload))

    def _hear_disconnected_others(self, payload: bytes) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            user = decode_user(payload)
            self._close(client for client in self._connections_of(user) if not client.uses_channels)

    async def revoke(self, user: str, by: str) -> int:
        """End a user's sessions: their connections are closed, and who wants to come back has to log in.

        Those that the vault does not keep end, too; what keeps the user out then is up to who vouches for it.
        How many sessions the vault had.
        """
        count = await self._engine.end_sessions(user)
        self._sign_out(user)
        self._audit.note("revoke", actor=by, target=user, outcome="done", count=count)
        return count

    async def set_blocked(self, user: str, by: str, *, is_blocked: bool) -> None:
        """Block a user: its sessions end, and it cannot log in; or unblock it."""
        act = "block" if is_blocked else "unblock"
        await self._change(act, by, user, lambda: self._ledger.set_blocked(user, is_blocked=is_blocked))
        self.review(Affected({user}, set()))

    async def set_role(self, user: str, role: Role, by: str) -> None:
        """Give a user another role."""
        await self._change(f"role {role}", by, user, lambda: self._ledger.set_role(user, role))
        self.review(Affected({user}, set()))

    # Rooms

    async def invite(self, room: str, user: str, by: str) -> None:
        """Invite a user to a room."""
        if room.startswith(DM):
            raise Refused(ErrorCode.BAD_PAYLOAD, f"{room[:80]!r} is open to its two users, and nobody is invited to it")
        await self._change("invite", by, user, lambda: self._ledger.invite(room, user), room)
        self.review(Affected(set(), {room}))

    async def uninvite(self, room: str, user: str, by: str) -> None:
        """Take an invitation back; a user that is in the room only by it has to leave."""
        await self._change("uninvite", by, user, lambda: self._ledger.uninvite(room, user), room)
        self.review(Affected(set(), {room}))

    async def close_room(self, room: str, by: str) -> None:
        """Close a room: everybody leaves it, and nobody may enter it."""
        await self._change("close_room", by, None, lambda: self._ledger.close_room(room), room)
        self.review(Affected(set(), {room}))

    async def reopen_room(self, room: str, by: str) -> None:
        """Let users enter a closed room again."""
        await self._change("reopen_room", by, None, lambda: self._ledger.reopen_room(room), room)

    async def delete_room(self, room: str, by: str) -> None:
        """Delete a room: everybody leaves it, and all that was said in it and every invitation to it are gone.

        The name is free then.  Seqs go on after the last one, so that nobody who resumes takes another's messages for
        those that it knows.
        """
        await self._change("delete_room", by, None, lambda: self._ledger.doom_room(room), room)
        self.review(Affected(set(), {room}))
        await self._delete(room)

    async def _delete(self, room: str) -> None:
        """Delete what a closed room holds, then note that it is as if there had never been one."""
        if room in self._deleting:
            return
        self._deleting.add(room)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_POSTS_S):
                    await self._pump.emptied()
            await self._follows.forget_room(room)
            await self._engine.clear(room)
            self._rooms.drop(room)
            await self._ledger.forget_room(room)
        finally:
            self._deleting.discard(room)

    # What others have changed

    async def refresh(self) -> None:
        """Act on what another process has changed; to be called every few seconds.

        Raises:
            EngineError: it cannot be read.
        """
        self.review(await self._ledger.load())
        for room in self._ledger.access.doomed - self._deleting:
            self._tasks.start(self._delete_later(room))

    async def _delete_later(self, room: str) -> None:
        try:
            await self._delete(room)
        except EngineError as error:
            log.warning("a room is not deleted yet", room=room, error=str(error))

    def review(self, affected: Affected | None = None) -> None:
        """Have live connections lose what is not theirs any more: those of some users and rooms, by default all."""
        if affected is not None and not affected.users and not affected.rooms:
            return
        self._follows.review(affected)
        for client in list(self._clients):
            if affected is None or client.user in affected.users:
                self.review_client(client)
            else:
                self._rooms.review(client, [name for name in affected.rooms if name in client.joined])

    def review_client(self, client: Participant) -> None:
        """Have a connection lose what is not its user's any more."""
        client.role = self._ledger.role_in(client)
        if self._ledger.is_blocked(client.user):
            client.close(CloseCode.KICKED, "this account is blocked")
        self._rooms.review(client, client.rooms)

    # Helpers

    def _connections_of(self, user: str) -> list[Participant]:
        return [client for client in self._clients if client.user == user]

    async def _change(
        self, act: str, by: str, user: str | None, change: Callable[[], Awaitable[Change]], room: str | None = None
    ) -> None:
        """Make a change, and note it."""
        try:
            made = await change()
            if made.why_not is not None:
                raise refusal(made.why_not, user)
        except (Refused, EngineError) as error:
            outcome = error.code if isinstance(error, Refused) else str(ErrorCode.UNAVAILABLE)
            self._audit.note(act, actor=by, target=user, room=room, outcome=outcome)
            raise
        self._audit.note(act, actor=by, target=user, room=room, outcome="done")


def refusal(why_not: WhyNot, user: str | None) -> Refused:
    """Why a change was not made, as a client is told."""
    match why_not:
        case WhyNot.NO_ACCOUNT:
            return Refused(ErrorCode.BAD_PAYLOAD, f"there is no account {str(user)[:40]!r} - at `payload.user`")
        case WhyNot.LAST_ADMIN:
            return Refused(ErrorCode.CONFLICT, f"{user} is the last admin that can log in; make another one first")
        case WhyNot.TOO_MANY:
            return Refused(ErrorCode.CONFLICT, "there are as many invitations, or closed rooms, as are kept")
