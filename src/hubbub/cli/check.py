"""`hubbub check`: any server that speaks the protocol, held to it."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts
from cyclopts import Parameter

from hubbub.cli.chat import read_password, trust
from hubbub.errors import ConfigError, HubbubError

if TYPE_CHECKING:
    from hubbub.check import Report, Result, Target
    from hubbub.check.target import Bearer

__all__ = ["app"]

HELP = """Hold a server to the protocol, as an outside client.

One line for each promise: pass, fail with what was sent and what came, or not offered. A server that does not speak
hubbub.v1 is judged by the classic part. Exit code 0 when nothing failed, 1 when something did, 2 when there was no way
in. Passwords are asked for, or taken from `HUBBUB_PASSWORD` and `HUBBUB_OTHER_PASSWORD`; a `--password` or a `--token`
can be read by others on this machine.
"""

# The settings of the server, in hubbub.toml and the environment, are not for its clients.
app = cyclopts.App(name="check", help=HELP, config=())

Flag = Annotated[bool, Parameter(negative=())]


@app.default
def check(
    url: str,
    /,
    *,
    user: str = "percy",
    password: str | None = None,
    other: str | None = None,
    token: tuple[str, ...] = (),
    path: str = "/ws",
    slow: Flag = False,
    ca_file: Path | None = None,
    insecure: Flag = False,
    json: Flag = False,
    junit: Path | None = None,
) -> None:
    """Hold a server to the protocol, as an outside client.

    Parameters
    ----------
    url
        The server, as https://host:port.
    user
        The name to log in with.
    password
        Its password.
    other
        A second name, for what takes two users; without one, those checks are left out.
    token
        NAME=JWT, for users of an application's own, in place of names and passwords; given twice, for two users.
    path
        Where the WebSocket is.
    slow
        Run the checks that wait on purpose too: a minute more.
    ca_file
        The certificate authority to trust, PEM.
    insecure
        Trust any certificate: whoever is on the line can read the password.
    json
        Print one JSON document instead of lines.
    junit
        Write the results to this file, as JUnit XML.
    """
    if token and (password is not None or other is not None):
        raise ConfigError("give names with passwords, or --token for each user, and not both")
    if token:
        target = target_with_tokens(url, token, path, ca_file, insecure=insecure)
    else:
        target = target_at(url, user, password, other, path, ca_file, insecure=insecure)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may know few of the characters that came
    report = asyncio.run(examine(target, is_slow=slow, is_json=json))
    finish(report, junit, is_json=json)
    if not report.is_good:
        sys.exit(1)


def target_at(
    url: str, user: str, password: str | None, other: str | None, path: str, ca_file: Path | None, *, insecure: bool
) -> Target:
    """What to examine."""
    from hubbub.check import Target
    from hubbub.sdk.session import Login

    trusted = trust(url, ca_file, insecure=insecure)
    try:
        Target(url, trusted, Login(user, ""))  # before a password is asked for
        known = Login(user, read_password(user) if password is None else password)
        second = Login(other, read_password(other, "HUBBUB_OTHER_PASSWORD")) if other else None
        return Target(url, trusted, known, second, path)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def target_with_tokens(url: str, tokens: tuple[str, ...], path: str, ca_file: Path | None, *, insecure: bool) -> Target:
    """What to examine, as users of an application's own."""
    from hubbub.check import Target

    if len(tokens) > 2:
        raise ConfigError(f"the checks take two users at most, and there are {len(tokens)} times --token")
    known = [bearer(token) for token in tokens]
    try:
        return Target(url, trust(url, ca_file, insecure=insecure), known[0], known[-1], path)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def bearer(text: str) -> Bearer:
    """A user and its token, from NAME=JWT."""
    from hubbub.check.target import Bearer

    name, _, token = text.rpartition("=")  # A name may have a =, and a JWT has none.
    if not name or not token:
        # What was given is not shown: it may be a whole token.
        raise ConfigError("--token takes NAME=JWT")
    return Bearer(name, token)


async def examine(target: Target, *, is_slow: bool, is_json: bool) -> Report:
    """Run the checks, and say how each went as it ends."""
    from hubbub.check import run
    from hubbub.check.outcome import printable
    from hubbub.check.report import line
    from hubbub.sdk.session import HttpRefused

    def tell(result: Result) -> None:
        if not is_json:
            print(line(result), flush=True)

    try:
        return await run(target, is_slow=is_slow, tell=tell)
    except (HubbubError, HttpRefused, OSError) as error:
        reason = printable(str(error)) or "no answer in time"
        raise ConfigError(f"cannot log in at {target.server.url} as {target.user}: {reason}") from None


def finish(report: Report, junit: Path | None, *, is_json: bool) -> None:
    """Say how it went in all."""
    from hubbub.check.report import as_json, summary, write_junit

    print(as_json(report) if is_json else summary(report))
    if junit is not None:
        try:
            write_junit(report, junit)
        except OSError as error:
            raise ConfigError(f"{junit} cannot be written: {error.strerror or error}") from None
