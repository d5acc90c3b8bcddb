"""Functions that cannot be called as they would be are refused when they are registered."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from hubbub import Act, Client, Event, Hub

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]


class Vote(Event, tag="vote"):
    poll: str


# Hooks of every kind, wrong in every way: what registers them, and what is told.


def nothing() -> None: ...
def one(client: Client) -> None: ...
def two(room: str, client: Client) -> None: ...
def three(client: Client, act: Act, room: str | None) -> None: ...
def swapped(client: Client, room: str) -> None: ...
def named(*, client: Client) -> None: ...
def of_text(client: str) -> None: ...
def policy_of_text(client: Client, act: str, room: str) -> None: ...
def generator(client: Client) -> Iterator[None]:
    yield


async def async_generator(client: Client) -> AsyncIterator[None]:
    yield


WRONG: list[tuple[str, Any, str]] = [
    ("on_connect", nothing, "on_connect nothing takes () -> 'None'; it is called with (client): def nothing(client)"),
    ("on_connect", two, "it is called with (client): def two(client)"),
    ("on_connect", named, "on_connect named takes (*, client: 'Client') -> 'None'; it is called with (client)"),
    ("on_connect", "one", "on_connect 'one' is no function; write def hook(client)"),
    ("on_connect", None, "on_connect None is no function"),
    (
        "on_connect",
        of_text,
        "its parameter 'client' is annotated with str, and gets the client, which is of Client; write def of_text(",
    ),
    ("on_connect", generator, "yields, and nobody would take what it does; write def generator(client) without yield"),
    ("on_disconnect", async_generator, "on_disconnect async_generator yields"),
    ("on_disconnect", two, "it is called with (client)"),
    ("on_join", one, "on_join one takes (client: 'Client') -> 'None'; it is called with (room_name, client)"),
    (
        "on_join",
        swapped,
        "its parameter 'client' is annotated with Client, and gets the room_name, which is of str; write def swapped(",
    ),
    ("policy", one, "policy one takes (client: 'Client') -> 'None'; it is called with (client, act, room)"),
    ("policy", policy_of_text, "its parameter 'act' is annotated with str, and gets the act, which is of Act"),
    ("on", "vote", "handler 'vote' is no function; write @hub.on above def"),
]


@pytest.mark.parametrize(("kind", "function", "told"), WRONG)
def test_what_cannot_be_called_as_it_would_be_is_refused(kind: str, function: Any, told: str) -> None:
    with pytest.raises(TypeError) as refused:
        getattr(Hub(), kind)(function)
    assert told in str(refused.value)


def test_a_handler_that_cannot_be_called_is_refused() -> None:
    def by_name(vote: Vote, *, client: Client) -> None: ...
    def not_a_client(vote: Vote, client: str) -> None: ...
    def more(vote: Vote, client: Client, more: int) -> None: ...
    async def yields(vote: Vote) -> AsyncIterator[None]:
        yield

    for handler in (by_name, not_a_client, more, yields):
        with pytest.raises(TypeError, match=handler.__name__):
            Hub().on(handler)


class Named(Protocol):
    """What a hook wants of a client."""

    user: str


class Hooks:
    """Hooks that are methods, or what is called like a function."""

    def hook(self, client: Client) -> None: ...
    def __call__(self, client: Client) -> None: ...


def unresolved(client: Unknown) -> None: ...
def of_everything(*args: object) -> None: ...
def with_more(client: Client, times: int = 1) -> None: ...
def of_object(client: object) -> None: ...
def of_protocol(client: Named) -> None: ...


def of_nonsense(client: Any) -> None: ...


of_nonsense.__annotations__["client"] = "1 +"


@pytest.mark.parametrize(
    "hook",
    [
        one,
        Hooks().hook,
        Hooks(),
        functools.partial(two, "lunch"),
        unresolved,
        of_everything,
        with_more,
        of_object,
        of_protocol,
        of_nonsense,
        print,
    ],
)
def test_what_can_be_called_is_taken(hook: Callable[..., object]) -> None:
    hub = Hub()
    assert hub.on_connect(hook) is hook
    assert hub.on_disconnect(hook) is hook


def test_policies_joins_and_handlers_that_can_be_called_are_taken() -> None:
    hub = Hub()
    hub.policy(three)
    hub.on_join(two)
    hub.on_join(of_everything)

    @hub.on
    def alone(vote: Vote) -> None: ...
