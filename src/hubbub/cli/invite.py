"""`hubbub invite`: links by which others make an account of their own, made while the server runs or not."""

from __future__ import annotations

import time
from typing import Annotated

from cyclopts import Parameter

from hubbub.acts import Role
from hubbub.cli.options import Options
from hubbub.cli.users import DEFAULTS, AccountDesk, Shared, accounts, check
from hubbub.engine import WhyNot
from hubbub.engine.people import MAX_LINKS
from hubbub.errors import ConfigError
from hubbub.events import rfc3339
from hubbub.invitations import check_terms, new_link
from hubbub.names import plain
from hubbub.otp import digest
from hubbub.policy import is_loopback

__all__ = ["invite"]

# What a server may listen on that is this machine to those on it.
EVERYWHERE = ("localhost", "0.0.0.0", "::")  # noqa: S104  # nothing listens here


def invite(
    *,
    uses: int = 1,
    days: int = 7,
    role: Role = Role.MEMBER,
    note: str = "",
    url: str | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative="")] = False,
    revoke: str | None = None,
    settings: Shared = DEFAULTS,
) -> None:
    """Print a link by which somebody makes an account, or list the open ones, or end one.

    Whoever has the link can use it: send it on a way that you trust. It is printed once, and kept nowhere.

    Parameters
    ----------
    uses
        How many may use it.
    days
        How long it is good for.
    role
        What those who use it become.
    note
        What it is for, to be listed with it.
    url
        Where they reach the server, such as https://chat.example.com. Without one, by its `--name`, or as this
        machine does.
    list_
        List the open invitations: id, by whom, role, uses left, end, note.
    revoke
        The id of an open invitation to end.
    """
    with accounts(settings) as kept:
        if list_:
            show(kept)
        elif revoke is not None:
            end(kept, revoke)
        else:
            check(check_terms, uses, days, note)
            token = make(kept, role, uses, days, note)
            print(f"{(url or url_of(settings)).rstrip('/')}/#/signup/{token}")


def make(kept: AccountDesk, role: Role, uses: int, days: int, note: str) -> str:
    """Make an invitation; its secret."""
    secret, link = new_link("", role, uses, days, note)
    if kept.do(lambda vault: vault.put_link(digest(secret), link)) is WhyNot.TOO_MANY:
        raise ConfigError(f"{MAX_LINKS} invitations are open, the most; `hubbub invite --revoke ID` ends one")
    kept.note("invitation", invitation=link.id, role=role, uses=uses)
    return secret


def show(kept: AccountDesk) -> None:
    """List the open invitations, one a line."""
    now = time.time()
    for link in kept.do(lambda vault: vault.links()):
        ends = rfc3339(round(now + link.left_s) * 1000).decode()
        print("\t".join([link.id, link.by or "(shell)", link.role, str(link.uses), ends, link.note]).rstrip())


def end(kept: AccountDesk, id_: str) -> None:
    """End an open invitation."""
    if not kept.do(lambda vault: vault.drop_link(id_)):
        raise ConfigError(f"no invitation is open by the id {id_[:40]!r}; `hubbub invite --list` lists them")
    kept.note("end invitation", invitation=id_)
    print(f"ended {id_}")


def url_of(settings: Options) -> str:
    """Where a server with these settings is reached: by its name, or from this machine."""
    host = settings.host
    if settings.name:
        host = plain(settings.name[0])
    elif is_loopback(host) or host in EVERYWHERE:
        host = "localhost"
    shown = f"[{host}]" if ":" in host else host
    return f"{'http' if settings.no_tls else 'https'}://{shown}:{settings.port}"
