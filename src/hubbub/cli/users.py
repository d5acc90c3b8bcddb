"""`hubbub user`: the accounts, kept while the server runs or not."""

from __future__ import annotations

import getpass
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import cyclopts
from argon2 import PasswordHasher
from cyclopts import Parameter

from hubbub.engine import Account
from hubbub.engine.schema import AccountFile, connect_file
from hubbub.errors import ConfigError, Refused
from hubbub.policy import check_password, check_user_name
from hubbub.settings import Settings

__all__ = ["app"]

HELP = """Add, change, list and remove accounts.

The accounts are in the server's database (`--engine`, `--data-dir`, as for `serve`); the server may be running.
A password is asked for at the terminal, or taken from `HUBBUB_PASSWORD` or the first line of standard input.
"""

app = cyclopts.App(name="user", help=HELP)

# The same file, environment and flags as the server's; the rest of them does not matter here.
Shared = Annotated[Settings, Parameter(name="*", show=False)]
DEFAULTS = Settings()


@app.command
def add(name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Add an account."""
    with accounts(settings) as file:
        check(check_user_name, name, settings.max_user_name)
        if file.find(name) is not None:
            raise ConfigError(f"there is an account {name!r} already; `hubbub user passwd {name}` changes its password")
        file.put(Account(name, hashed(read_password(name))))
    print(f"added {name}")


@app.command
def passwd(name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Change an account's password; its sessions end."""
    with accounts(settings) as file:
        find(file, name)
        file.put(Account(name, hashed(read_password(name))))
        file.end_sessions(name)
    print(f"changed the password of {name}")


@app.command(name="list")
def list_(*, settings: Shared = DEFAULTS) -> None:
    """List the accounts, one a line."""
    with accounts(settings) as file:
        for name in file.names():
            print(name)


@app.command
def remove(name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Remove an account; its sessions end. What it said stays."""
    with accounts(settings) as file:
        find(file, name)
        file.remove(name)
    print(f"removed {name}")


@contextmanager
def accounts(settings: Settings) -> Iterator[AccountFile]:
    """The accounts of the engine that the settings name."""
    url = settings.engine_url
    if not url.startswith("sqlite:///"):
        raise ConfigError(f"--engine {url}: its accounts live in the server's memory; name a sqlite:///FILE")
    connection = connect_file(Path(url.removeprefix("sqlite:///").partition("?")[0]))
    try:
        yield AccountFile(connection)
    except sqlite3.Error as error:
        raise ConfigError(f"{url}: {error}; nothing was changed, try again") from None
    finally:
        connection.close()


def find(file: AccountFile, name: str) -> None:
    if file.find(name) is None:
        raise ConfigError(f"there is no account {name!r}; `hubbub user list` lists them")


def read_password(name: str) -> str:
    """A new password, from where there is one."""
    password = os.environ.get("HUBBUB_PASSWORD")
    if password is None and sys.stdin.isatty():
        password = getpass.getpass(f"new password for {name}: ")
        if getpass.getpass("again: ") != password:
            raise ConfigError("the two passwords differ; nothing was changed")
    elif password is None:
        password = sys.stdin.readline().rstrip("\r\n")
    check(check_password, password)
    return password


def hashed(password: str) -> str:
    return PasswordHasher().hash(password)


def check(rule: object, *values: object) -> None:
    """Apply a rule; what it refuses is the operator's to mend."""
    assert callable(rule)
    try:
        rule(*values)
    except Refused as refused:
        raise ConfigError(refused.message) from None
