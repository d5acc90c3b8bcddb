"""What was said in a channel, as far back as its namespace lets clients look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hubbub.catchup import View
from hubbub.door.codes import DoorCode, DoorError
from hubbub.door.commands import StreamPosition
from hubbub.door.namespaces import Namespace
from hubbub.door.subscribing import view_of
from hubbub.engine import Engine, Head
from hubbub.events import Message
from hubbub.feeding import LOG_FACTOR
from hubbub.rooms import Rooms

__all__ = ["Past", "PastPage", "PastQuery"]


class PastQuery(NamedTuple):
    """What is asked for.

    Attributes:
        limit: messages at most; 0 asks where the log stands alone.
        since: the messages next to this place: after it, or before it where they are in reverse.
        is_reversed: the newest first.
    """

    limit: int
    since: StreamPosition | None = None
    is_reversed: bool = False


class PastPage(NamedTuple):
    """What was found, and where the log stands.

    Attributes:
        size: what reading it counts as, in bytes that are sent, besides what is.
    """

    head: Head
    messages: Sequence[Message]
    size: int = 0


class Past:
    """Reads logs of channels.

    Args:
        wall: seconds since 1970.
    """

    def __init__(self, engine: Engine, rooms: Rooms, wall: Callable[[], float]) -> None:
        self._engine = engine
        self._rooms = rooms
        self._wall = wall

    async def read(self, channel: str, namespace: Namespace, query: PastQuery) -> PastPage:
        """What was said in a channel.

        Raises:
            DoorError: 112 where the place that is asked for is in another log.
            EngineError: the log cannot be read.
        """
        view, since = view_of(namespace, self._wall()), query.since
        head = await self._engine.head(channel)
        if since is not None and since.epoch not in ("", head.epoch):
            raise DoorError(DoorCode.UNRECOVERABLE_POSITION, "unrecoverable position")
        first = head.seq - view.size + 1
        if not query.limit or not head.seq:
            return PastPage(head, ())
        if query.is_reversed:
            found = await self._before(channel, head, first, query)
            found = [message for message in found if message.sent >= view.oldest_ms]
        else:
            found = await self._after(channel, head, view, query)
        size = sum(len(message.body) for message in found) * (LOG_FACTOR - 1)
        return PastPage(head, self._rooms.changed(channel, found), size)

    async def _before(self, channel: str, head: Head, first: int, query: PastQuery) -> list[Message]:
        """Messages from a seq on, the newest first."""
        since = query.since
        if since is not None and since.offset > head.seq + 1:
            return []
        before = head.seq + 1 if since is None else since.offset
        page = await self._engine.read(channel, before=before, limit=query.limit)
        return [message for message in reversed(page.messages) if message.seq >= first]

    async def _after(self, channel: str, head: Head, view: View, query: PastQuery) -> list[Message]:
        """Messages of a view, the oldest first."""
        after = max(head.seq - view.size, query.since.offset if query.since is not None else 0, 0)
        if after >= head.seq:
            return []
        page = await self._engine.read(channel, after=after, limit=query.limit)
        if page.messages and page.messages[0].sent < view.oldest_ms:
            # `sent` never goes back in a room, and the log finds the first one of a time by itself.
            first = await self._engine.first_since(channel, int(view.oldest_ms))
            page = await self._engine.read(channel, after=max(after, first - 1), limit=query.limit)
        return [message for message in page.messages if message.seq <= head.seq and message.sent >= view.oldest_ms]
