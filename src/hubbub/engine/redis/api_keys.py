"""Keys by which other programs publish and ask; a part of the vault."""

from __future__ import annotations

from operator import attrgetter

import msgspec

from hubbub.engine.keys import MAX_KEYS, ApiKey, KeyKept
from hubbub.engine.redis.access import RedisAccess
from hubbub.engine.redis.calls import QUICK_S
from hubbub.events import encode

__all__ = ["RedisApiKeys"]

decode = msgspec.json.Decoder(ApiKey).decode


class RedisApiKeys(RedisAccess):
    """What is kept of keys."""

    async def put_api_key(self, secret: str, key: ApiKey) -> KeyKept:
        # Where the answer is lost and it is run again, the key is there with the same secret: that is no other one.
        [outcome] = await self._run("put_key", secret, key.name, encode(key), MAX_KEYS)
        return KeyKept[outcome.decode()]

    async def api_keys(self) -> list[ApiKey]:
        return sorted(map(decode, await self._run("find_keys")), key=attrgetter("name"))

    async def api_key(self, secret: str) -> ApiKey | None:
        found = await self._run("find_keys", secret, within_s=QUICK_S)
        return decode(found[0]) if found else None

    async def drop_api_key(self, name: str) -> bool:
        [was_there] = await self._run("drop_key", name, is_repeatable=False)
        return bool(was_there)
