"""Handlers of the commands of connected clients, as `Dispatch` takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import msgspec

from hubbub.handlers import Handler

__all__ = ["handler_for"]


class ReadAlready:
    """Stands for the decoder of a request that was read together with its frame."""

    def decode(self, request: Any) -> Any:
        return request


READ = cast("msgspec.json.Decoder[Any]", ReadAlready())


def handler_for(name: str, call: Callable[..., Any]) -> Handler:
    """The handler of a command.

    Args:
        call: gets the request and the client, and returns `dialect.result` of what is answered; one that is no
            coroutine function is answered when what it has posted is kept.
    """
    return Handler(READ, call, inspect.iscoroutinefunction(call), None, None, name, call)
