"""`hubbub user`: the accounts, kept while the server runs or not."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import cyclopts
from argon2 import PasswordHasher
from cyclopts import Parameter

from hubbub.acts import Role
from hubbub.audit import append_line, audit_line
from hubbub.cli.options import Options
from hubbub.engine import MAX_INVITATIONS, Access, Account, Change, Vault, WhyNot
from hubbub.engine.urls import shown_url, vault_at
from hubbub.errors import ConfigError, EngineError, Refused
from hubbub.policy import check_password, check_user_name

__all__ = ["DEFAULTS", "AccountDesk", "Shared", "accounts", "app", "check"]

HELP = """Add, change, list, block and remove accounts, and give them roles.

The accounts are in the server's database (`--engine`, `--data-dir`, as for `serve`); the server may be running.
A password is asked for at the terminal, or taken from `HUBBUB_PASSWORD` or the first line of standard input.
"""

app = cyclopts.App(name="user", help=HELP)

# The same file, environment and flags as the server's; the rest of them does not matter here.
Shared = Annotated[Options, Parameter(show=False)]
DEFAULTS = Options()

T = TypeVar("T")


@app.command
def add(name: str, /, *, role: Role = Role.MEMBER, settings: Shared = DEFAULTS) -> None:
    """Add an account.

    Parameters
    ----------
    role
        What it may do: an admin keeps accounts and rooms, a guest reads and says nothing.
    """
    with accounts(settings) as kept:
        check(check_user_name, name, settings.max_user_name)
        if kept.has(name):
            raise ConfigError(f"there is an account {name!r} already; `hubbub user passwd {name}` changes its password")
        kept.put(name, read_password(name), role)
        kept.note("add", target=name, role=role)
    print(f"added {name}")


@app.command
def passwd(name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Change an account's password; its sessions end."""
    with accounts(settings) as kept:
        if not kept.has(name):
            raise no_account(name)
        kept.put(name, read_password(name))
        kept.note("passwd", target=name)
    print(f"changed the password of {name}")


@app.command
def role(name: str, role: Role, /, *, settings: Shared = DEFAULTS) -> None:
    """Make an account an admin, a member or a guest."""
    with accounts(settings) as kept:
        kept.change(f"role {role}", lambda vault: vault.set_role(name, role), target=name)
    print(f"{name} is {'an' if role is Role.ADMIN else 'a'} {role}")


@app.command
def block(name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Block an account: its sessions end, and it cannot log in."""
    with accounts(settings) as kept:
        kept.change("block", lambda vault: vault.set_blocked(name, is_blocked=True), target=name)
    print(f"blocked {name}")


@app.command
def unblock(name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Let a blocked account log in again."""
    with accounts(settings) as kept:
        kept.change("unblock", lambda vault: vault.set_blocked(name, is_blocked=False), target=name)
    print(f"unblocked {name}")


@app.command
def revoke(name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """End an account's sessions; it may log in again."""
    with accounts(settings) as kept:
        if not kept.has(name):
            raise no_account(name)
        count = kept.end_sessions(name)
    print(f"ended {count} {'session' if count == 1 else 'sessions'} of {name}")


@app.command(name="list")
def list_(*, settings: Shared = DEFAULTS) -> None:
    """List the accounts, one a line, with what is not a plain member's."""
    with accounts(settings) as kept:
        access = kept.access()
        for name in kept.names():
            more = [str(access.roles[name])] if name in access.roles else []
            more += ["blocked"] if name in access.blocked else []
            print("\t".join([name, *more]))


@app.command
def remove(name: str, /, *, settings: Shared = DEFAULTS) -> None:
    """Remove an account; its sessions end. What it said stays."""
    with accounts(settings) as kept:
        if not kept.remove(name):
            raise no_account(name)
        kept.note("remove", target=name)
    print(f"removed {name}")


class AccountDesk:
    """The accounts in a vault, for a program without a loop: one that asks at the terminal is to end at Ctrl-C.

    Args:
        audit_path: the audit log of the server, which has a line for what is done here.
    """

    def __init__(self, vault: Vault, runner: asyncio.Runner, audit_path: Path) -> None:
        self._vault = vault
        self._runner = runner
        self._audit_path = audit_path

    def has(self, name: str) -> bool:
        return self._do(self._vault.account(name)) is not None

    def names(self) -> list[str]:
        return self._do(self._vault.accounts())

    def put(self, name: str, password: str, role: Role = Role.MEMBER) -> None:
        """Add an account with a role, or change its password and end its sessions."""
        self._do(self._vault.put_account(Account(name, PasswordHasher().hash(password), role)))

    def access(self) -> Access:
        """Who may do what."""
        return self._do(self._vault.access())

    def end_sessions(self, name: str) -> int:
        """End a user's sessions; how many there were."""
        count = self._do(self._vault.end_sessions(name))
        self.note("revoke", target=name, count=count)
        return count

    def change(
        self, act: str, change: Callable[[Vault], Coroutine[Any, Any, Change]], *, target: str = "", room: str = ""
    ) -> None:
        """Change who may do what, and note it.

        Raises:
            ConfigError: it cannot be changed so.
        """
        why_not = self._do(change(self._vault)).why_not
        self.note(act, outcome=why_not.name.lower() if why_not else "done", target=target, room=room)
        match why_not:
            case None:
                return
            case WhyNot.NO_ACCOUNT:
                raise no_account(target)
            case WhyNot.LAST_ADMIN:
                raise ConfigError(
                    f"{target} is the last admin that can log in; `hubbub user role NAME admin` makes another one"
                )
            case WhyNot.TOO_MANY:
                raise ConfigError(f"at most {MAX_INVITATIONS} invitations, and closed rooms, are kept; take one back")

    def note(self, act: str, *, outcome: str = "done", **more: object) -> None:
        """Put a line into the audit log; where that cannot be written, it is said, and the act stands."""
        actor = f"(shell) {user_of_shell()}"
        try:
            append_line(
                self._audit_path, audit_line(time.time(), {"act": act, "actor": actor, "outcome": outcome, **more})
            )
        except OSError as error:
            print(f"hubbub: {self._audit_path}: {error.strerror}; this is not in the audit log", file=sys.stderr)

    def remove(self, name: str) -> bool:
        """Remove an account; whether there was one."""
        return self._do(self._vault.remove_account(name))

    def do(self, work: Callable[[Vault], Coroutine[Any, Any, T]]) -> T:
        """Have something done with the vault."""
        return self._do(work(self._vault))

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
            yield AccountDesk(vault, runner, settings.audit_path)
        except EngineError as error:
            raise ConfigError(f"{shown_url(url)}: {error}; nothing was changed, try again") from None
        finally:
            runner.run(stack.aclose())


def user_of_shell() -> str:
    """Who runs this program."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


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
