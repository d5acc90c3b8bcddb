"""`hubbub key`: keys by which other programs publish and ask, made and revoked while the server runs or not."""

from __future__ import annotations

import time
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from hubbub.cli.users import DEFAULTS, Shared, accounts
from hubbub.engine import MAX_KEYS, KeyKept, KeyRight
from hubbub.errors import ConfigError, Refused
from hubbub.events import rfc3339
from hubbub.keyring import new_key
from hubbub.otp import digest

__all__ = ["app"]

HELP = """Make, list and revoke keys, by which workers and other programs publish and ask over HTTP.

Only hashes of them are kept, in the server's database (`--engine`, `--data-dir`, as for `serve`). A server that runs
knows of a new key, and of one that was revoked, at once.
"""

# One form of the option, and no `--empty-` beside it.
Words = Annotated[tuple[str, ...], Parameter(negative="")]

app = cyclopts.App(name="key", help=HELP)


@app.command
def add(
    name: str,
    /,
    *,
    may: Words = (KeyRight.PUBLISH.value,),
    rooms: Words = ("*",),
    settings: Shared = DEFAULTS,
) -> None:
    """Make a key, and print it: once, it is kept nowhere.

    Parameters
    ----------
    name
        What it is listed and revoked by.
    may
        What it is for: some of publish, history, presence, rooms, disconnect and info, with commas. Repeatable.
    rooms
        Names of the rooms that it is for; * stands for any characters, as in news-*. Rooms of two users only where one
        begins with dm: itself. Repeatable.
    """
    rights = [word.strip() for words in may for word in words.split(",")]
    try:
        secret, key = new_key(name, rights, rooms, time.time())
    except Refused as refused:
        raise ConfigError(refused.message) from None
    with accounts(settings) as kept:
        match kept.do(lambda vault: vault.put_api_key(digest(secret), key)):
            case KeyKept.TAKEN:
                raise ConfigError(f"there is a key {name!r} already; `hubbub key revoke {name}` ends it")
            case KeyKept.TOO_MANY:
                raise ConfigError(f"there are {MAX_KEYS} keys, the most; `hubbub key revoke NAME` ends one")
            case KeyKept.DONE:
                kept.note("add key", target=name, may=", ".join(key.rights), rooms=", ".join(key.rooms))
    print(secret)


@app.command(name="list")
def list_(*, settings: Shared = DEFAULTS) -> None:
    """List the keys, one a line: name, what each is for, in which rooms, when it was made."""
    with accounts(settings) as kept:
        for key in kept.do(lambda vault: vault.api_keys()):
            print("\t".join([key.name, ",".join(key.rights), ",".join(key.rooms), rfc3339(key.made).decode()]))


@app.command
def revoke(name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Revoke a key: the next request with it is refused."""
    with accounts(settings) as kept:
        if not kept.do(lambda vault: vault.drop_api_key(name)):
            raise ConfigError(f"there is no key {name[:80]!r}; `hubbub key list` lists them")
        kept.note("revoke key", target=name)
    print(f"revoked {name}")
