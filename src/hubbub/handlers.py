"""Handlers: what an application registers, and what comes of calling it."""

from __future__ import annotations

import functools
import inspect
import time
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from hubbub.acts import Act
from hubbub.client import Client
from hubbub.engine import Receipt
from hubbub.events import Event, encode, encode_payload, rfc3339
from hubbub.holding import Holding
from hubbub.posting import Posting
from hubbub.signatures import check_callable, name_of, takes
from hubbub.signing_in import Check, Credentials, RequestView

__all__ = ["Handle", "Handler", "Handlers", "ack_payload", "call_hooks"]

Handle = Callable[..., Any]
H = TypeVar("H", bound=Handle)

# What the functions of an application are given.
CLIENT = ("client", Client)
ROOM_NAME = ("room_name", str)
OF_POLICY = (CLIENT, ("act", Act), ("room", str))


class Handler(msgspec.Struct, frozen=True):
    """A registered handler.

    Attributes:
        decoder: reads its event's payload.
        call: calls it, with the event and the client.
        room_field: the field of the event that names the room it is about, if there is one.
        act: what its client has to be allowed to do; None where nothing is asked before it is called.
        tag: the type of its event.
        function: as it was registered.
    """

    decoder: msgspec.json.Decoder[Any]
    call: Callable[[Any, Client], Any]
    is_async: bool
    room_field: str | None
    act: Act | None
    tag: str
    function: Handle


class Handlers:
    """Which function handles which event, and what is called when clients come and go.

    Attributes:
        by_type: the handler of each type of event.
        holding: times what the application registers.
        policy: the application's own answer to who may do what.
        check: the application's own answer to who signs in.
    """

    def __init__(self) -> None:
        self.by_type: dict[str, Handler] = {}
        self.holding = Holding(time.monotonic)
        self.connect_hooks: list[Handle] = []
        self.disconnect_hooks: list[Handle] = []
        self.join_hooks: list[Handle] = []
        self.policy: Callable[[Client, Act, str | None], bool | None] | None = None
        self.check: Check | None = None
        self._of_application: set[str] = set()

    def on(self, handle: H, act: Act | None = Act.POST) -> H:
        """Register an application's handler for the type of event that its first parameter is annotated with.

        Raises:
            TypeError: the annotation is no event, or the application has a handler for it already.
        """
        tag, handler = handler_of(handle, act, self.holding)
        if tag in self._of_application:
            raise TypeError(f"{tag!r} has a handler already; one event has one handler")
        self._of_application.add(tag)
        self.by_type[tag] = handler
        return handle

    @property
    def has_own(self) -> bool:
        """Whether the application handles any type of event itself."""
        return bool(self._of_application)

    def own(self, tag: str) -> Handler | None:
        """The application's own handler of a type of event."""
        return self.by_type[tag] if tag in self._of_application else None

    def offer(self, act: Act | None) -> Callable[[H], H]:
        """Register a built-in handler, where the application has none of its own for the event.

        Args:
            act: what its client has to be allowed to do; None for a handler that asks by itself, or has no need to.
        """

        def register(handle: H) -> H:
            tag, handler = handler_of(handle, act)
            if tag not in self._of_application:
                self.by_type[tag] = handler
            return handle

        return register

    def on_connect(self, hook: H) -> H:
        """Register what is called before a client is let in.

        Raises:
            TypeError: it cannot be called like that, as for those that follow.
        """
        check_callable("on_connect", hook, (CLIENT,))
        self.connect_hooks.append(self.holding.watched("on_connect", hook))
        return hook

    def on_disconnect(self, hook: H) -> H:
        """Register what is called after a client is gone."""
        check_callable("on_disconnect", hook, (CLIENT,))
        self.disconnect_hooks.append(self.holding.watched("on_disconnect", hook))
        return hook

    def on_join(self, hook: H) -> H:
        """Register what is called before a client enters a room."""
        check_callable("on_join", hook, (ROOM_NAME, CLIENT))
        self.join_hooks.append(self.holding.watched("on_join", hook))
        return hook

    def authenticate(self, check: H) -> H:
        """Register the application's check of who signs in.

        Raises:
            TypeError: it cannot be called with the credentials and the request, or there is one already.
        """
        check_callable("authenticate", check, (("credentials", Credentials), ("request", RequestView)), least=1)
        if self.check is not None:
            raise TypeError("authenticate: there is a check already; one hub has one")
        # A plain one runs in a thread.
        self.check = self.holding.watched("authenticate", check) if inspect.iscoroutinefunction(check) else check
        return check

    def decide(self, policy: H) -> H:
        """Register the application's policy.

        Raises:
            TypeError: it cannot be called as one, is a coroutine function, or there is a policy already.
        """
        check_callable("policy", policy, OF_POLICY)
        if inspect.iscoroutinefunction(policy):
            raise TypeError("a policy is a plain function: nothing may wait between its answer and what it allows")
        if self.policy is not None:
            raise TypeError("there is a policy already; one hub has one policy")
        self.policy = self.holding.watched("policy", policy)
        return policy


def handler_of(handle: Handle, act: Act | None, holding: Holding | None = None) -> tuple[str, Handler]:
    """The type of the events that a function handles, by its annotation, and the handler that it makes.

    Args:
        holding: what times its calls.

    Raises:
        TypeError: the annotation is no event.
    """
    event = event_type_of(handle)
    check_callable("handler", handle, (("event", event), CLIENT), least=1)
    watched = handle if holding is None else holding.watched("handler", handle)
    call = watched if takes(handle, 2) else functools.partial(without_client, watched)
    room_field = "room" if "room" in event.__struct_fields__ else None
    is_async, tag = inspect.iscoroutinefunction(handle), str(event.__struct_config__.tag)
    handler = Handler(msgspec.json.Decoder(event), call, is_async, room_field, act, tag, handle)
    return tag, handler


def event_type_of(handler: Handle) -> type[msgspec.Struct]:
    """The event type that a handler's first parameter is annotated with."""
    name = name_of(handler)
    if not callable(handler):
        raise TypeError(f"handler {name} is no function; write @hub.on above def count(vote: Vote, client: Client)")
    try:
        hints = typing.get_type_hints(handler)
    except NameError as error:
        raise TypeError(f"handler {name}: its annotations cannot be resolved: {error}") from None
    parameters = list(inspect.signature(handler).parameters)
    hint = hints.get(parameters[0]) if parameters else None
    if not (isinstance(hint, type) and issubclass(hint, msgspec.Struct) and hint.__struct_config__.tag):
        raise TypeError(f"handler {name}: annotate its first parameter with an Event, as (vote: Vote, client: Client)")
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
