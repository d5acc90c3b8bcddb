"""`hubbub chat`: the terminal client, as far as it needs no screen."""

from __future__ import annotations

import asyncio
import getpass
import importlib.util
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts
from cyclopts import Parameter

from hubbub.errors import ConfigError, HubbubError
from hubbub.settings import data_home

if TYPE_CHECKING:
    from hubbub.sdk.client import Connection

__all__ = ["app"]

URL = "https://localhost:8080"
ROOM = "general"

HELP = """Talk in a terminal.

The password is asked for, or taken from `HUBBUB_PASSWORD`. A server of this machine's own is trusted by the CA file in
the data folder.
"""

# The settings of the server, in hubbub.toml and the environment, are not for its clients.
app = cyclopts.App(name="chat", help=HELP, config=())


@app.default
def chat(
    url: str = URL,
    /,
    *,
    user: str | None = None,
    room: str = ROOM,
    ca_file: Path | None = None,
    insecure: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Talk in a terminal.

    Parameters
    ----------
    url
        The server, as https://host:port.
    user
        The name to log in with; asked for without one.
    room
        The room to begin in.
    ca_file
        The certificate authority to trust, PEM.
    insecure
        Trust any certificate: whoever is on the line can read the password.
    """
    if importlib.util.find_spec("textual") is None:
        raise ConfigError("the terminal client needs Textual: pip install 'hubbub[chat]'")
    connection = connection_to(url, user or ask_user(), ca_file, insecure=insecure)
    try:
        parting = asyncio.run(talk(connection, room))
    except HubbubError as error:
        raise ConfigError(str(error)) from None
    if parting:
        raise ConfigError(parting)


async def talk(connection: Connection, room: str) -> str | None:
    """Open the connection, then the screen; why it ended, if the user did not want it to."""
    from hubbub.cli.chat_screen import ChatScreen

    async with connection as chat:
        return await ChatScreen(chat, room).run_async()


def connection_to(url: str, user: str, ca_file: Path | None, *, insecure: bool) -> Connection:
    """A connection, not yet open."""
    from hubbub.sdk.client import connect

    try:
        trusted = trust(url, ca_file, insecure=insecure)
        return connect(url, user, read_password(user), ssl=trusted)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def trust(url: str, ca_file: Path | None, *, insecure: bool) -> ssl.SSLContext | None:
    """What to trust: what the user said, or else this machine's own authority beside the system's."""
    if ca_file is not None and insecure:
        raise ConfigError("--ca-file or --insecure, not both")
    if not url.startswith("https:"):
        if ca_file is not None or insecure:
            raise ConfigError(f"{url} is plain HTTP, where there is nothing to trust")
        return None
    if insecure:
        return trust_anyone()
    local = data_home() / "ca.pem"
    context = ssl.create_default_context()
    try:
        if ca_file is not None:
            context = ssl.create_default_context(cafile=ca_file)
        elif local.exists():
            context.load_verify_locations(local)
    except OSError as error:
        raise ConfigError(f"{ca_file or local} cannot be read as certificates: {error.strerror or error}") from None
    return context


def trust_anyone() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask_user() -> str:
    """Ask who this is."""
    try:
        return input("name: ").strip()
    except EOFError:
        raise ConfigError("no name: give one with --user") from None


def read_password(user: str, variable: str = "HUBBUB_PASSWORD") -> str:
    """A user's password from an environment variable, or from the terminal."""
    password = os.environ.get(variable)
    if password is not None:
        return password
    try:
        return getpass.getpass(f"password of {user}: ")
    except EOFError:
        raise ConfigError(f"no password of {user}: set {variable}, or type it at a terminal") from None
