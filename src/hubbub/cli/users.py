"""`hubbub user`: the accounts, kept while the server runs or not."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Annotated, Any, TypeVar

import cyclopts
from argon2 import PasswordHasher
from cyclopts import Parameter

from hubbub.cli.options import Options
from hubbub.engine import Account, Vault
from hubbub.engine.urls import vault_at
from hubbub.errors import ConfigError, EngineError, Refused
from hubbub.policy import check_password, check_user_name

__all__ = ["app"]

HELP = """Add, change, list and remove accounts.

The accounts are in the server's database (`--engine`, `--data-dir`, as for `serve`); the server may be running.
A password is asked for at the terminal, or taken from `HUBBUB_PASSWORD` or the first line of standard input.
"""

app = cyclopts.App(name="user", help=HELP)

# The same file, environment and flags as the server's; the rest of them does not matter here.
Shared = Annotated[Options, Parameter(show=False)]
DEFAULTS = Options()

T = TypeVar("T")


@app.command
def add(name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Add an account."""
    with accounts(settings) as kept:
        check(check_user_name, name, settings.max_user_name)
        if kept.has(name):
            raise ConfigError(f"there is an account {name!r} already; `hubbub user passwd {name}` changes its password")
        kept.put(name, read_password(name))
    print(f"added {name}")


@app.command
def passwd(name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Change an account's password; its sessions end."""
    with accounts(settings) as kept:
        if not kept.has(name):
            raise no_account(name)
        kept.put(name, read_password(name))
    print(f"changed the password of {name}")


@app.command(name="list")
def list_(*, settings: Shared = DEFAULTS) -> None:
    """List the accounts, one a line."""
    with accounts(settings) as kept:
        for name in kept.names():
            print(name)


@app.command
def remove(name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Remove an account; its sessions end. What it said stays."""
    with accounts(settings) as kept:
        if not kept.remove(name):
            raise no_account(name)
    print(f"removed {name}")


class AccountDesk:
    """The accounts in a vault, for a program without a loop: one that asks at the terminal is to end at Ctrl-C."""

    def __init__(self, vault: Vault, runner: asyncio.Runner) -> None:
        self._vault = vault
        self._runner = runner

    def has(self, name: str) -> bool:
        return self._do(self._vault.account(name)) is not None

    def names(self) -> list[str]:
        return self._do(self._vault.accounts())

    def put(self, name: str, password: str) -> None:
        """Add an account, or change its password and end its sessions."""
        self._do(self._vault.put_account(Account(name, PasswordHasher().hash(password))))

    def remove(self, name: str) -> bool:
        """Remove an account; whether there was one."""
        return self._do(self._vault.remove_account(name))

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)


@contextmanager
def accounts(settings: Options) -> Iterator[AccountDesk]:
    """The accounts of the engine that the settings name."""
    url = settings.engine_url
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        vault = runner.run(stack.enter_async_context(vault_at(url, clock=time.monotonic, wall=time.time)))
        try:
            yield AccountDesk(vault, runner)
        except EngineError as error:
            raise ConfigError(f"{url}: {error}; nothing was changed, try again") from None
        finally:
            runner.run(stack.aclose())


def no_account(name: str) -> ConfigError:
    return ConfigError(f"there is no account {name!r}; `hubbub user list` lists them")


def read_password(name: str) -> str:
    """A new password, from where there is one."""
    password = os.environ.get("HUBBUB_PASSWORD")
    if password is None and sys.stdin.isatty():
        password = ask_password(name)
    elif password is None:
        password = sys.stdin.readline().rstrip("\r\n")
    check(check_password, password)
    return password


def ask_password(name: str) -> str:
    """A new password from the terminal, typed twice."""
    try:
        password = getpass.getpass(f"new password for {name}: ")
        again = getpass.getpass("again: ")
    except EOFError:
        raise ConfigError(f"no password for {name}: nothing was typed, and nothing was changed") from None
    if again != password:
        raise ConfigError("the two passwords differ; nothing was changed")
    return password


def check(rule: object, *values: object) -> None:
    """Apply a rule; what it refuses is the operator's to mend."""
    assert callable(rule)
    try:
        rule(*values)
    except Refused as refused:
        raise ConfigError(refused.message) from None
