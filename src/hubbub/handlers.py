"""Handlers: what an application registers, and what comes of calling it."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from hubbub.client import Client
from hubbub.engine import Receipt
from hubbub.events import Event, encode, encode_payload, rfc3339
from hubbub.posting import Posting

__all__ = ["Handle", "Handler", "Handlers", "ack_payload", "call_hooks"]

Handle = Callable[..., Any]
H = TypeVar("H", bound=Handle)


class Handler(msgspec.Struct, frozen=True):
    """A registered handler.

    Attributes:
        decoder: reads its event's payload.
        call: calls it, with the event and the client.
        room_field: the field of the event that names the room it is about, if there is one.
    """

    decoder: msgspec.json.Decoder[Any]
    call: Callable[[Any, Client], Any]
    is_async: bool
    room_field: str | None


class Handlers:
    """Which function handles which event, and what is called when clients come and go.

    Attributes:
        by_type: the handler of each type of event.
    """

    def __init__(self) -> None:
        self.by_type: dict[str, Handler] = {}
        self.connect_hooks: list[Handle] = []
        self.disconnect_hooks: list[Handle] = []
        self.join_hooks: list[Handle] = []
        self._of_application: set[str] = set()

    def on(self, handle: H) -> H:
        """Register an application's handler for the type of event that its first parameter is annotated with.

        Raises:
            TypeError: the annotation is no event, or the application has a handler for it already.
        """
        tag, handler = handler_of(handle)
        if tag in self._of_application:
            raise TypeError(f"{tag!r} has a handler already; one event has one handler")
        self._of_application.add(tag)
        self.by_type[tag] = handler
        return handle

    def offer(self, handle: H) -> H:
        """Register a built-in handler, where the application has none of its own for the event."""
        tag, handler = handler_of(handle)
        if tag not in self._of_application:
            self.by_type[tag] = handler
        return handle


def handler_of(handle: Handle) -> tuple[str, Handler]:
    """The type of the events that a function handles, by its annotation, and the handler that it makes.

    Raises:
        TypeError: the annotation is no event.
    """
    event = event_type_of(handle)
    wants_client = len(inspect.signature(handle).parameters) > 1
    call = handle if wants_client else functools.partial(without_client, handle)
    room_field = "room" if "room" in event.__struct_fields__ else None
    handler = Handler(msgspec.json.Decoder(event), call, inspect.iscoroutinefunction(handle), room_field)
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
    """What a handler returned, as the payload of an ack; a posting is kept already."""
    if isinstance(result, Posting):
        receipt = result.outcome
        assert isinstance(receipt, Receipt), "an answer waits until all that it tells of is kept"
        return b'{"room":%b,"seq":%d,"sent":"%b"}' % (encode(result.room), receipt.seq, rfc3339(receipt.sent))
    if isinstance(result, Event):
        return encode_payload(result)
    return b"{}" if result is None else encode(result)
