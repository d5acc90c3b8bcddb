"""Keys in the memory engine."""

from __future__ import annotations

from operator import attrgetter

from hubbub.engine.keys import MAX_KEYS, ApiKey, KeyKept

__all__ = ["MemoryKeys"]


class MemoryKeys:
    """Keys by the hashes of their secrets: a part of the memory engine."""

    def __init__(self) -> None:
        self._api_keys: dict[str, ApiKey] = {}

    async def put_api_key(self, secret: str, key: ApiKey) -> KeyKept:
        if any(other.name == key.name for other in self._api_keys.values()):
            return KeyKept.TAKEN
        if len(self._api_keys) >= MAX_KEYS:
            return KeyKept.TOO_MANY
        self._api_keys[secret] = key
        return KeyKept.DONE

    async def api_keys(self) -> list[ApiKey]:
        return sorted(self._api_keys.values(), key=attrgetter("name"))

    async def api_key(self, secret: str) -> ApiKey | None:
        return self._api_keys.get(secret)

    async def drop_api_key(self, name: str) -> bool:
        found = [secret for secret, key in self._api_keys.items() if key.name == name]
        for secret in found:
            del self._api_keys[secret]
        return bool(found)
