"""`hubbub room`: which rooms are closed, and who is invited to which, kept while the server runs or not."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import cyclopts

from hubbub.cli.options import Options
from hubbub.cli.users import DEFAULTS, Shared, accounts
from hubbub.engine import Change, Vault
from hubbub.errors import ConfigError, Refused
from hubbub.naming import DM, check_room_name

__all__ = ["app"]

HELP = """Close, reopen and delete rooms, and invite users to private ones.

It is kept in the server's database (`--engine`, `--data-dir`, as for `serve`); a server that runs acts on it within two
seconds.
"""

app = cyclopts.App(name="room", help=HELP)


@app.command
def close(room: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Close a room: everybody is out of it, and nobody enters it."""
    print(f"closed {change(settings, 'close_room', room, lambda vault, name: vault.close_room(name))}")


@app.command
def reopen(room: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Open a closed room."""
    print(f"reopened {change(settings, 'reopen_room', room, lambda vault, name: vault.reopen_room(name))}")


@app.command
def delete(room: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Delete a room: what was said in it and the invitations to it are gone, for good.

    The server does it, at its next start if it does not run; until then the room is closed.
    """
    name = change(settings, "delete_room", room, lambda vault, name: vault.doom_room(name))
    print(f"{name} is closed, and the server deletes it")


@app.command
def invite(room: str, name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Invite a user to a room."""
    invited = change(settings, "invite", room, lambda vault, room: vault.invite(room, name), name)
    print(f"invited {name} to {invited}")


@app.command
def uninvite(room: str, name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Take an invitation back; the user is out of the room, if it is private."""
    left = change(settings, "uninvite", room, lambda vault, room: vault.uninvite(room, name), name)
    print(f"{name} is not invited to {left}")


@app.command(name="list")
def list_(*, settings: Shared = DEFAULTS) -> None:
    """List the rooms that are closed, and those that somebody is invited to, one a line."""
    with accounts(settings) as kept:
        access = kept.access()
    for room in sorted(access.closed | access.invited.keys()):
        more = ["to be deleted"] if room in access.doomed else ["closed"] if room in access.closed else []
        more += [f"invited: {', '.join(sorted(access.invited[room]))}"] if room in access.invited else []
        print("\t".join([room, *more]))


def change(
    settings: Options,
    act: str,
    room: str,
    make: Callable[[Vault, str], Coroutine[Any, Any, Change]],
    user: str = "",
) -> str:
    """Change something about a room; its name in its one spelling."""
    try:
        name = check_room_name(room, settings.max_room_name)
    except Refused as refused:
        raise ConfigError(refused.message) from None
    if user and name.startswith(DM):
        raise ConfigError(f"{name} is open to its two users, and nobody is invited to it")
    with accounts(settings) as kept:
        kept.change(act, lambda vault: make(vault, name), target=user, room=name)
    return name
