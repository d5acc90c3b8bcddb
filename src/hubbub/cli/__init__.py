"""The command line."""

from __future__ import annotations

import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts
from cyclopts import Parameter

from hubbub.cli import bench, chat, check, cluster, keys, rooms, users
from hubbub.cli.backup import backup, restore
from hubbub.cli.doctor import doctor
from hubbub.cli.invite import invite
from hubbub.cli.loading import is_loading
from hubbub.cli.options import Options, Sources
from hubbub.cli.schema import schema
from hubbub.cli.serve import serve_hub
from hubbub.errors import ConfigError

if TYPE_CHECKING:
    from hubbub.hub import Hub

__all__ = ["main", "run"]

HELP = """A real-time messaging server: rooms, typed events, a TLS chat in the browser.

Every option of `serve` can also be set in the environment (`--client-rate 10` is `HUBBUB_CLIENT_RATE=10`)
and in a file `hubbub.toml` in the working folder (`client-rate = 10`). Flags come first, then the environment,
then the file.
"""


def new_app(help_: str = HELP) -> cyclopts.App:
    """An empty command line that reads its options from flags, the environment and hubbub.toml."""
    return cyclopts.App(
        name="hubbub",
        help=help_,
        help_format="markdown",
        version=version("hubbub"),
        config=Sources(),
        default_parameter=Parameter(show_env_var=False),
    )


app = new_app()
app.command(users.app)
app.command(rooms.app)
app.command(keys.app)
app.command(invite)
app.command(backup)
app.command(restore)
app.command(doctor)
app.command(schema)
app.command(chat.app)
app.command(check.app)
app.command(bench.app)
app.command(cluster.app)


# Not a setting, and in the environment all the same.
Served = Annotated[str | None, Parameter(show_env_var=True)]


@app.command
def serve(hub: Served = None, /, *, settings: Options = Options()) -> None:  # noqa: B008  # frozen
    """Serve the built-in chat, or a hub of your own.

    `hubbub serve --demo` is a TLS chat at https://localhost:8080 with three accounts to try.

    Parameters
    ----------
    hub
        MODULE:HUB, the hub to serve: `votes:hub` is the variable `hub` in votes.py.
    """
    die_at_interrupt()
    serve_hub(hub, settings)


def run(hub: Hub) -> None:
    """Serve a hub until it is told to stop, with the command line, environment and file settings of `hubbub serve`.

    Raises:
        RuntimeError: the module that calls it is being loaded by a command, such as `hubbub serve MODULE:HUB`.
    """
    if is_loading():
        raise RuntimeError('the module is only loaded here: put hubbub.run(hub) below `if __name__ == "__main__":`')
    own = new_app(f"Serves the hub of {Path(sys.argv[0]).name}.")

    @own.default
    def serve_own(*, settings: Options = Options()) -> None:  # noqa: B008  # frozen
        die_at_interrupt()
        serve_hub(hub, settings)

    run_app(own)


def main() -> None:
    """Run the command line."""
    run_app(app)


def run_app(app: cyclopts.App) -> None:
    """Run a command line; what the operator got wrong is one line and exit code 2."""
    try:
        # Until here, Ctrl-C ends the process without an exception, which could come in the middle of an import.
        command, bound, _ignored = app.parse_args(exit_on_error=False, print_error=False)
        raise_at_interrupt()
        command(*bound.args, **bound.kwargs)
    except cyclopts.CycloptsError as error:
        what = " ".join(str(error).split()).rstrip(".")
        fail(what, f"see {' '.join(dict.fromkeys(['hubbub', *(error.command_chain or ())]))} --help")
    except ConfigError as error:
        fail(str(error))
    except KeyboardInterrupt:
        die_at_interrupt()  # a second one, while Python tidies up
        sys.exit(130)


def die_at_interrupt() -> None:
    """Let Ctrl-C end the process, without an exception: there is nothing to tidy up."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_at_interrupt() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt`: a command may have something to tidy up, if only the terminal's echo."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def fail(*parts: str) -> None:
    """Say what is wrong, on one line, and exit."""
    print(f"hubbub: {'; '.join(parts)}", file=sys.stderr)
    sys.exit(2)
