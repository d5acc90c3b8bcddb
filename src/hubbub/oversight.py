"""What admins are shown of a server: how it did, and who and what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import msgspec

from hubbub.audit import read_newest
from hubbub.client import Participant
from hubbub.directory import AFTER_DMS, Directory
from hubbub.engine import Engine
from hubbub.events import rfc3339
from hubbub.handlers import Handlers
from hubbub.ledger import Ledger
from hubbub.naming import DM
from hubbub.permissions import Permissions
from hubbub.samples import EVERY_S, Moment, Samples

__all__ = ["Oversight", "ShowAudit", "ShowRooms", "ShowSessions", "ShowStats", "ShowUsers", "install_oversight"]

# Of one user.
MOST_CONNECTIONS = 100
MOST_ROOMS = 20

# Characters of a session's name that tell it from others of its user.
SESSION_CHARS = 8

Limit = Annotated[int, msgspec.Meta(ge=1, le=100)]


class ShowStats(msgspec.Struct, tag="admin_stats", frozen=True):
    """Asks how the server did, over the last hour or since a time."""

    since: int = 0


class ShowUsers(msgspec.Struct, tag="admin_users", frozen=True):
    """Asks for accounts."""

    prefix: str = ""
    after: str = ""
    limit: Limit = 50


class ShowRooms(msgspec.Struct, tag="admin_rooms", frozen=True):
    """Asks for rooms."""

    prefix: str = ""
    after: str = ""
    limit: Limit = 50


class ShowSessions(msgspec.Struct, tag="admin_sessions", frozen=True):
    """Asks for the connections of a user."""

    user: str


class ShowAudit(msgspec.Struct, tag="admin_audit", frozen=True):
    """Asks for the newest lines of the audit log."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50


class Oversight:
    """Answers what admins ask.  Whether somebody may ask is for the caller to see to.

    Args:
        clients: those connected to this process.
        audit_path: where the audit log is.
    """

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        directory: Directory,
        clients: Collection[Participant],
        audit_path: Path,
    ) -> None:
        self.samples = Samples()
        self._engine = engine
        self._ledger = ledger
        self._directory = directory
        self._clients = clients
        self._audit_path = audit_path

    def stats(self, since: int) -> dict[str, Any]:
        """How the server did; each sample is an array, in the order of `fields`."""
        return {
            "version": version("hubbub"),
            "engine": type(self._engine).__name__.removesuffix("Engine").lower(),
            "every": EVERY_S,
            "fields": Moment._fields,
            "samples": self.samples.since(since),
        }

    async def users(self, client: Participant, prefix: str, after: str, limit: int) -> dict[str, Any]:
        """Accounts whose user names begin with a prefix: what they may, and how many connections each has here."""
        page = await self._directory.users(client, prefix, after, limit)
        names = {str(each["user"]) for each in page.found}
        counts: dict[str, int] = {}
        for other in self._clients:
            if other.user in names:
                counts[other.user] = counts.get(other.user, 0) + 1
        listed = [
            {
                **each,
                "role": self._ledger.role_of(str(each["user"])),
                "blocked": self._ledger.is_blocked(str(each["user"])),
                "connections": counts.get(str(each["user"]), 0),
            }
            for each in page.found
        ]
        return {"users": listed, "next": page.next}

    async def rooms(self, prefix: str, after: str, limit: int) -> dict[str, Any]:
        """Rooms whose names begin with a prefix, those of two users left out: who talks to whom is theirs to know."""
        names: list[str] = []
        while len(names) <= limit:
            found = await self._engine.room_names(prefix=prefix, after=after, limit=limit + 1)
            names += [name for name in found if not name.startswith(DM)]
            if len(found) <= limit:
                break
            after = AFTER_DMS if found[-1].startswith(DM) else found[-1]
        shown = names[:limit]
        outlines = await self._engine.outlines(shown)
        members = await asyncio.gather(*(self._engine.members(name, 0) for name in shown))
        listed = [
            {
                "room": name,
                "title": outlines[name].title or name,
                "members": here.count,
                "seq": outlines[name].seq,
                "active": rfc3339(outlines[name].sent).decode() if outlines[name].sent else None,
                "closed": self._ledger.is_closed(name),
            }
            for name, here in zip(shown, members, strict=True)
        ]
        return {"rooms": listed, "next": shown[-1] if len(names) > limit else None}

    def sessions(self, user: str) -> dict[str, Any]:
        """The connections of a user to this process."""
        found = [client for client in self._clients if client.user == user]
        listed = [
            {
                "session": client.session[:SESSION_CHARS],
                "address": client.address,
                "dialect": client.dialect.name,
                "rooms": [name for name in client.rooms if not name.startswith(DM)][:MOST_ROOMS],
                "refused": client.refused,
                "dropped": client.dropped,
            }
            for client in found[:MOST_CONNECTIONS]
        ]
        return {"user": user, "connections": listed, "count": len(found)}

    async def audit(self, limit: int) -> dict[str, Any]:
        """The newest lines of the audit log, the newest first."""
        return {"lines": await asyncio.to_thread(read_newest, self._audit_path, limit)}


def install_oversight(handlers: Handlers, oversight: Oversight, permissions: Permissions) -> None:
    """Register the handlers, for the events that the application does not handle itself."""
    check = permissions.check_admin

    async def still(client: Participant, answer: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        """An answer for who was an admin when it was asked for, and is one when it is there."""
        found = await answer
        check(client)
        return found

    @handlers.offer(None)
    def show_stats(request: ShowStats, client: Participant) -> dict[str, Any]:
        check(client)
        return oversight.stats(request.since)

    @handlers.offer(None)
    async def show_users(request: ShowUsers, client: Participant) -> dict[str, Any]:
        check(client)
        return await still(client, oversight.users(client, request.prefix, request.after, request.limit))

    @handlers.offer(None)
    async def show_rooms(request: ShowRooms, client: Participant) -> dict[str, Any]:
        check(client)
        return await still(client, oversight.rooms(request.prefix, request.after, request.limit))

    @handlers.offer(None)
    def show_sessions(request: ShowSessions, client: Participant) -> dict[str, Any]:
        check(client)
        return oversight.sessions(request.user)

    @handlers.offer(None)
    async def show_audit(request: ShowAudit, client: Participant) -> dict[str, Any]:
        check(client)
        return await still(client, oversight.audit(request.limit))
