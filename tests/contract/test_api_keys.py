"""What every engine keeps of keys by which other programs publish and ask."""

from __future__ import annotations

import pytest

from contract.told import Restart
from hubbub.engine import ApiKey, Engine, KeyKept, KeyRight, memory_keys, sqlite_keys
from hubbub.engine.redis import api_keys as redis_keys

pytestmark = pytest.mark.anyio

WORKER = ApiKey("worker", (KeyRight.PUBLISH, KeyRight.HISTORY), ("news-*", "dm:alice,bob"), 1_700_000_000_000)
CRON = ApiKey("cron", (KeyRight.PUBLISH,), ("*",), 1_700_000_000_001)


async def test_a_key_is_found_by_its_secret_until_it_is_dropped(engine: Engine) -> None:
    assert await engine.api_keys() == []
    assert await engine.api_key("secret") is None
    assert await engine.put_api_key("secret", WORKER) is KeyKept.DONE
    assert await engine.put_api_key("other", CRON) is KeyKept.DONE
    assert await engine.api_keys() == [CRON, WORKER]
    assert await engine.api_key("secret") == WORKER
    assert await engine.api_key("worker") is None
    assert await engine.drop_api_key("worker") is True
    assert await engine.api_key("secret") is None
    assert await engine.api_keys() == [CRON]
    assert await engine.drop_api_key("worker") is False
    assert await engine.put_api_key("third", WORKER) is KeyKept.DONE
    assert await engine.api_key("third") == WORKER


async def test_no_two_keys_have_a_name(engine: Engine) -> None:
    assert await engine.put_api_key("secret", WORKER) is KeyKept.DONE
    assert await engine.put_api_key("other", WORKER) is KeyKept.TAKEN
    assert await engine.api_key("other") is None
    assert await engine.api_key("secret") == WORKER


async def test_there_are_so_many_keys_and_no_more(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (memory_keys, sqlite_keys, redis_keys):
        monkeypatch.setattr(module, "MAX_KEYS", 1)
    assert await engine.put_api_key("secret", WORKER) is KeyKept.DONE
    assert await engine.put_api_key("other", CRON) is KeyKept.TOO_MANY
    assert await engine.api_keys() == [WORKER]


async def test_keys_outlive_the_process(engine: Engine, restart: Restart) -> None:
    await engine.put_api_key("secret", WORKER)
    again = await restart()
    assert await again.api_key("secret") == WORKER
