"""Messages in rooms of two users: they are followed by both before the first message is kept.

So a message arrives at a user that has never been in the room: in its `welcome`, or as `room_added`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from hubbub.engine import Engine, Following
from hubbub.errors import EngineError, NotKept
from hubbub.naming import users_of_dm
from hubbub.posting import Posting
from hubbub.tasks import Tasks

__all__ = ["DirectMessages"]

# Rooms of which this process knows that both follow them.  Beyond that it asks again.
MOST_KNOWN = 10_000


class DirectMessages:
    """What is posted in rooms of two users, held until both of them follow the room.

    Args:
        gather: takes a posting on its way.
        is_user: whether somebody may go by a name.
        tell: tells users that they follow a room.
        tasks: owns the waits.
    """

    def __init__(
        self,
        engine: Engine,
        gather: Callable[[Posting], None],
        is_user: Callable[[str], Awaitable[bool]],
        tell: Callable[[Collection[str], str], None],
        tasks: Tasks,
    ) -> None:
        self._engine = engine
        self._gather = gather
        self._is_user = is_user
        self._tell = tell
        self._tasks = tasks
        self._known: set[str] = set()
        self._held: dict[str, list[Posting]] = {}

    def gather(self, posting: Posting) -> None:
        """Take a posting; it goes on at once where both users follow its room."""
        room = posting.room
        held = self._held.get(room)
        if held is not None:
            held.append(posting)
        elif room in self._known or posting.type != "new_message":
            self._gather(posting)
        else:
            held = self._held[room] = [posting]
            self._tasks.start(self._make_followers(room, held))

    def forget(self, room: str) -> None:
        """Ask again whether both follow a room."""
        self._known.discard(room)

    def forget_all(self) -> None:
        """Ask again for each room: accounts are others than before."""
        self._known.clear()

    async def _make_followers(self, room: str, held: list[Posting]) -> None:
        first = held[0]
        try:
            added = [user for user in users_of_dm(room) if await self._make_follower(user, room, first.sender)]
        except BaseException as error:  # the server stops, or the users cannot be told
            del self._held[room]
            for posting in held:
                posting.settle(NotKept(f"its two users cannot be told of it: {error}"))
            if not isinstance(error, EngineError):
                raise
            return
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known.add(room)
        del self._held[room]
        for posting in held:
            self._gather(posting)
        if added:
            await self._tell_when_kept(added, room, first)

    async def _make_follower(self, user: str, room: str, sender: str | None) -> bool:
        """Have a user that is there follow a room; whether it did not.  One that follows too many does not."""
        if user != sender and not await self._is_user(user):
            return False
        return await self._engine.follow(user, room) is Following.ADDED

    async def _tell_when_kept(self, users: Collection[str], room: str, first: Posting) -> None:
        """Tell the users once the first message counts."""
        try:
            await first
        except EngineError:
            pass  # the room is followed all the same
        self._tell(users, room)
