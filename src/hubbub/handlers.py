"""Handlers: what an application registers, and what comes of calling it."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

import msgspec

from hubbub.client import Client
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.events import Event, encode, encode_payload, rfc3339
from hubbub.room import Posting

__all__ = ["Handle", "Handler", "ack_payload", "call_hooks", "handler_of", "rate_limited", "unavailable"]

Handle = Callable[..., Any]


class Handler(msgspec.Struct, frozen=True):
    """A registered handler: how to read its event's payload, and how to call it."""

    decoder: msgspec.json.Decoder[Any]
    call: Callable[[Any, Client], Any]
    is_async: bool


def handler_of(handle: Handle) -> tuple[str, Handler]:
    """The type of the events that a function handles, by its annotation, and the handler that it makes.

    Raises:
        TypeError: the annotation is no event.
    """
    event = event_type_of(handle)
    wants_client = len(inspect.signature(handle).parameters) > 1
    call = handle if wants_client else functools.partial(without_client, handle)
    handler = Handler(msgspec.json.Decoder(event), call, inspect.iscoroutinefunction(handle))
    return str(event.__struct_config__.tag), handler


def event_type_of(handler: Handle) -> type[msgspec.Struct]:
    """The event type that a handler's first parameter is annotated with."""
    name = getattr(handler, "__qualname__", repr(handler))
    try:
        hints = typing.get_type_hints(handler)
    except NameError as error:
        raise TypeError(f"handler {name}: its annotations cannot be resolved: {error}") from None
    parameters = list(inspect.signature(handler).parameters)
    hint = hints.get(parameters[0]) if parameters else None
    if not (isinstance(hint, type) and issubclass(hint, msgspec.Struct) and hint.__struct_config__.tag):
        raise TypeError(f"handler {name}: annotate its first parameter with an Event, as (vote: Vote, client: Client)")
    if len(parameters) > 2:
        raise TypeError(f"handler {name} has {len(parameters)} parameters; it is called with the event and the client")
    return hint


def without_client(handler: Handle, event: Event, _client: Client) -> Any:
    """Call a handler that only wants the event."""
    return handler(event)


async def call_hooks(hooks: list[Handle], *args: Any) -> None:
    """Call each hook, plain or asynchronous, in the order registered."""
    for hook in hooks:
        result = hook(*args)
        if inspect.isawaitable(result):
            await result


def ack_payload(result: Any) -> bytes:
    """What a handler returned, as the payload of an ack."""
    if result is None:
        return b"{}"
    if isinstance(result, Posting):
        assert result.receipt is not None
        return encode({"room": result.room, "seq": result.receipt.seq, "sent": rfc3339(result.receipt.sent).decode()})
    if isinstance(result, Event):
        return encode_payload(result)
    return encode(result)


def rate_limited(client: Client) -> Refused:
    """Tell a client over its rate when the next event will be let in."""
    assert client.rate is not None
    return Refused(ErrorCode.RATE_LIMITED, "too many events a second", round(client.rate.retry_after, 3))


def unavailable(error: EngineError) -> Refused:
    """Tell a client that nothing was kept."""
    return Refused(ErrorCode.UNAVAILABLE, f"not kept: {error}")
