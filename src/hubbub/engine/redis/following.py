"""Which rooms users follow, in the vault's slot: a hash to each user, and a sorted set to each room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hubbub.engine.following import MAX_FOLLOWED, Following
from hubbub.engine.redis.calls import Arg, Calls
from hubbub.engine.redis.keys import VAULT_SLOT

__all__ = ["RedisFollowing"]

# Followers that are forgotten in one step.
AT_ONCE = 500


class RedisFollowing:
    """The rooms that users follow."""

    _calls: Calls

    async def follow(self, user: str, room: str) -> Following:
        answer = await self._run_follow("follow", self._keys_of([(user, room)]), [user, room, MAX_FOLLOWED])
        return Following[answer.decode()]

    async def unfollow(self, user: str, room: str) -> bool:
        return bool(await self._unfollow([(user, room)]))

    async def mute(self, user: str, room: str, *, is_muted: bool) -> bool:
        return bool(await self._run_follow("mute", [self._follows(user)], [room, int(is_muted)]))

    async def followers(self, room: str, *, after: str = "", limit: int) -> list[str]:
        found = await self._run_follow("followers", [self._followers(room)], [after, limit])
        return [user.decode() for user in found]

    async def muted(self, user: str) -> dict[str, bool]:
        """The rooms that a user follows, each with whether it is muted."""
        found = await self._run_follow("followed", [self._follows(user)], [])
        return {room.decode(): is_muted == b"1" for room, is_muted in zip(found[::2], found[1::2], strict=True)}

    async def forget_follows(self, user: str) -> None:
        """Forget all that a user follows.

        Raises:
            EngineError: some of it may still be there.
        """
        await self._unfollow([(user, room) for room in await self.muted(user)])

    async def forget_followers(self, room: str) -> None:
        """Forget all that follow a room, some at a time.

        Raises:
            EngineError: some may still be there.
        """
        while users := await self.followers(room, limit=AT_ONCE):
            await self._unfollow([(user, room) for user in users])

    async def _unfollow(self, pairs: Sequence[tuple[str, str]]) -> int:
        if not pairs:
            return 0
        return int(await self._run_follow("unfollow", self._keys_of(pairs), [name for pair in pairs for name in pair]))

    def _follows(self, user: str) -> bytes:
        return self._calls.servers.keys.of_vault(f"fu:{user}")

    def _followers(self, room: str) -> bytes:
        return self._calls.servers.keys.of_vault(f"fr:{room}")

    def _keys_of(self, pairs: Sequence[tuple[str, str]]) -> list[bytes]:
        return [key for user, room in pairs for key in (self._follows(user), self._followers(room))]

    async def _run_follow(self, script: str, keys: Sequence[bytes], args: Sequence[Arg]) -> Any:
        return await self._calls.run(script, VAULT_SLOT, keys, args)
