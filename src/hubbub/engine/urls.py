"""From a URL to the engine that it names."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from hubbub.engine import Engine, Vault
from hubbub.engine.database import Database
from hubbub.engine.local import Silent
from hubbub.engine.lock import Lock
from hubbub.engine.memory import MemoryEngine
from hubbub.engine.redis.target import is_redis, parse, shown
from hubbub.engine.schema import is_outdated
from hubbub.engine.sqlite import SqliteEngine
from hubbub.engine.sqlite_vault import SqliteVault
from hubbub.errors import ConfigError

__all__ = ["is_shared_url", "make_engine", "path_of", "shared_engine", "shown_url", "vault_at"]

MEMORY = "memory://"
SQLITE = "sqlite:///"


async def make_engine(
    url: str, *, clock: Callable[[], float], wall: Callable[[], float], keep: int = 0, keep_s: float = 0
) -> Engine:
    """Make the engine that a URL names; it is opened by the server.

    Args:
        url: `memory://`; or `sqlite:///` and a path (`sqlite:////` and the rest of an absolute one), with
            `?durability=full` for an fsync a batch; or that of a Redis (`redis.target`).
        clock: seconds that never go back.
        wall: seconds since 1970; a Redis goes by its own.
        keep: messages kept of a room; 0 for all.
        keep_s: seconds that a message is kept; 0 for ever.

    Raises:
        ConfigError: for a URL that names no engine, and for a Redis that cannot be used.
    """
    if url == MEMORY:
        return MemoryEngine(clock=clock, wall=wall, keep=keep, keep_s=keep_s)
    if is_redis(url):
        # Here, because redis-py is 7 MB that servers on other engines do not need.
        from hubbub.engine.redis.engine import make_redis_engine

        return await make_redis_engine(parse(url), clock=clock, keep=keep, keep_s=keep_s)
    path, durability = split_sqlite(url)
    return SqliteEngine(path, clock=clock, wall=wall, durability=durability, keep=keep, keep_s=keep_s)


@asynccontextmanager
async def vault_at(url: str, *, clock: Callable[[], float], wall: Callable[[], float]) -> AsyncIterator[Vault]:
    """Open the vault of the engine that a URL names, and nothing else of it; a server may be running on the engine.

    Args:
        url: as for `make_engine`.
        clock: seconds that never go back.
        wall: seconds since 1970.

    Raises:
        ConfigError: for a URL that names no engine, or one whose vault cannot be opened from outside its server.
    """
    if url == MEMORY:
        raise ConfigError(f"--engine {url}: its accounts live in the server's memory; name a sqlite:///FILE")
    if is_redis(url):
        from hubbub.engine.redis.vault import open_vault

        async with open_vault(parse(url), clock=clock) as vault:
            yield vault
        return
    path, durability = split_sqlite(url)
    path = path.resolve()
    database = Database(path, durability)
    with contextlib.ExitStack() as undo:
        if is_outdated(path):  # a server of an earlier version may be running on it, and would not know it again
            undo.callback(Lock(path).release)
        database.open()
    try:
        yield SqliteVault(database, clock=clock, wall=wall)
    finally:
        await database.close()


def is_shared_url(url: str) -> bool:
    """Whether a URL names an engine that several processes can use at once."""
    return is_redis(url)


@asynccontextmanager
async def shared_engine(url: str, *, clock: Callable[[], float], keep: int = 0) -> AsyncIterator[Engine]:
    """An engine that servers run on, for a program that is none: open, with a listener that hears nothing.

    Args:
        url: of one that several processes can use.
        clock: seconds that never go back.
        keep: messages kept of a room that something is appended to; 0 for all.

    Raises:
        ConfigError: it cannot be used.
    """
    from hubbub.engine.redis.engine import RedisEngine
    from hubbub.engine.redis.servers import connect

    engine = RedisEngine(await connect(parse(url), warns=False), clock=clock, keep=keep)
    await engine.open(Silent())
    try:
        yield engine
    finally:
        await engine.close()


def path_of(url: str) -> Path:
    """The database file that a URL names, by one name, whatever links lead to it.

    Raises:
        ConfigError: for a URL that names no file.
    """
    if url == MEMORY:
        raise ConfigError(f"--engine {url}: what it has is in the server's memory; name a sqlite:///FILE")
    if is_redis(url):
        raise ConfigError(f"--engine {shown(url)}: what it has is in Redis, and no file of this machine's")
    return split_sqlite(url)[0].resolve()


def shown_url(url: str) -> str:
    """An engine's URL for log lines and errors: without a password."""
    return shown(url)


def split_sqlite(url: str) -> tuple[Path, str]:
    """The file that a URL names, and its durability."""
    path, _, query = url.removeprefix(SQLITE).partition("?")
    if not url.startswith(SQLITE) or not path or query not in ("", "durability=full", "durability=normal"):
        forms = "memory://, sqlite:///FILE[?durability=full] or redis://HOST"
        raise ConfigError(f"--engine {shown(url)!r} names no engine; it is {forms}")
    return Path(path), query.removeprefix("durability=") or "normal"
