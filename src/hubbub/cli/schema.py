"""`hubbub schema`: what a hub takes and says, for machines."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from hubbub.cli.options import Options
from hubbub.errors import ConfigError

__all__ = ["schema"]

# The file and the environment may have settings of the server's.
Shared = Annotated[Options, Parameter(show=False)]
DEFAULTS = Options()

Format = Literal["asyncapi", "openapi", "typescript", "python"]


def schema(
    hub: str | None = None,
    /,
    *,
    format_: Annotated[Format, Parameter(name="--format")] = "asyncapi",
    output: Path | None = None,
    settings: Shared = DEFAULTS,
) -> None:
    """Write what a hub takes and says, for machines: its events, both ways, or its HTTP side.

    `hubbub schema votes:hub --format typescript --output events.ts` writes the types of its events for programs that
    use the JavaScript client.

    Parameters
    ----------
    hub
        MODULE:HUB, the hub: `votes:hub` is the variable `hub` in votes.py. Without one, the built-in chat.
    format_
        asyncapi: the events, AsyncAPI 3 in JSON. openapi: the HTTP side, OpenAPI 3.1 in JSON. typescript: types of the
        events for the JavaScript client. python: the application's own events, as a module for the Python client.
    output
        The file to write, in place of any that is there; without one, it is printed.
    """
    from hubbub.cli.loading import load_hub
    from hubbub.engine.memory import MemoryEngine
    from hubbub.hub import Hub, handlers_of, put_to_work
    from hubbub.schema.contract import application_events, contract_of
    from hubbub.schema.documents import document

    served = load_hub(hub) if hub else Hub()
    put_to_work(served, MemoryEngine(clock=time.monotonic, wall=time.time), settings)
    text = document(format_, contract_of(handlers_of(served), application_events()), hub or "Hubbub")
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--output {output}: {error.strerror}") from None
