"""The contract of a hub: what its clients may send, what that is answered with, and what they hear.

All of it comes from the types that the hub itself works with: those that its handlers decode, and what these are
annotated to return.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from hubbub.errors import ConfigError
from hubbub.events import Event
from hubbub.handlers import Handler, Handlers
from hubbub.posting import Posting
from hubbub.schema.answers import ANSWERS, KeptAnswer, NoAnswer
from hubbub.schema.said import SAID

__all__ = ["Contract", "Exchange", "SaidEvent", "application_events", "contract_of"]

OURS = "hubbub"


class Exchange(NamedTuple):
    """A request, and its answer.

    Attributes:
        tag: its type on the wire.
        event: what its payload is read as.
        answers: what its ack may have for a payload; nothing where that cannot be told.
        is_own: whether it is the application's.
    """

    tag: str
    event: type[msgspec.Struct]
    answers: tuple[Any, ...]
    is_own: bool


class SaidEvent(NamedTuple):
    """An event that the server says.

    Attributes:
        tag: its type on the wire.
        event: its payload.
        is_own: whether it is the application's.
    """

    tag: str
    event: type[msgspec.Struct]
    is_own: bool


class Contract(NamedTuple):
    """What the clients of a hub may send, and what they hear.

    Attributes:
        has_accounts: whether the accounts are the server's, and not an application's.
    """

    requests: list[Exchange]
    said: list[SaidEvent]
    has_accounts: bool = True


def contract_of(handlers: Handlers, events: Iterable[type[Event]]) -> Contract:
    """The contract of a hub that has its built-in handlers.

    Args:
        events: the application's: those that a handler may pass on, and those that nobody sends but the server.

    Raises:
        ConfigError: two events have one type on the wire.
    """
    requests = [exchange(tag, handlers.by_type[tag]) for tag in sorted(handlers.by_type)]
    own: dict[str, type[Event]] = {}
    for event in events:
        other = own.setdefault(event.tag, event)
        if other is not event:
            raise ConfigError(
                f"{name_of(event)} and {name_of(other)} have the same tag {event.tag!r}; clients cannot tell them apart"
            )
    said = [SaidEvent(tag, SAID[tag], is_own=False) for tag in sorted(SAID.keys() - own.keys())]
    said += [SaidEvent(tag, own[tag], is_own=True) for tag in sorted(own)]
    return Contract(requests, said, has_accounts=handlers.check is None)


def application_events() -> Iterator[type[Event]]:
    """The events that the program has defined, and not Hubbub itself."""
    left: list[type[Event]] = Event.__subclasses__()
    seen: set[type[Event]] = set()
    while left:
        event = left.pop()
        left += event.__subclasses__()
        if event not in seen and not is_ours(event):
            seen.add(event)
            yield event


def exchange(tag: str, handler: Handler) -> Exchange:
    """A request as its handler takes and answers it."""
    function = handler.function
    event = handler.decoder.type
    if is_ours(function):
        return Exchange(tag, event, (ANSWERS[tag],) if tag in ANSWERS else (), is_own=False)
    return Exchange(tag, event, tuple(answers(returned(function))), is_own=True)


def returned(function: Any) -> Any:
    """What a function is annotated to return; anything, without an annotation."""
    try:
        return typing.get_type_hints(function, include_extras=True).get("return", Any)
    except NameError:
        return Any  # a name that only the type checker knows


def answers(returned: Any) -> Iterator[Any]:
    """What acks have for payloads whose handler returns this."""
    if returned is None or returned is type(None):
        yield NoAnswer
    elif returned is Posting:
        yield KeptAnswer
    elif isinstance(returned, types.UnionType) or typing.get_origin(returned) is typing.Union:
        for each in typing.get_args(returned):
            yield from answers(each)
    else:
        yield returned


def is_ours(thing: Any) -> bool:
    """Whether a class or a function is Hubbub's own."""
    return str(thing.__module__).partition(".")[0] == OURS


def name_of(event: type) -> str:
    """A class by its full name."""
    return f"{event.__module__}.{event.__qualname__}"
