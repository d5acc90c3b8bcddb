"""What an application may use of a hub, a room and a client is what the page on writing a server explains."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hubbub import Client, Hub, Room

PAGE = Path(__file__).parents[2] / "docs" / "hub.md"

# What stands in code: blocks between fences, and spans.
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
# `hub.post`, but neither `sdk.hub.post` nor `votes:hub`; and what is called on the room that `hub.room(...)` returns.
NAME = {
    "hub": re.compile(r"(?<![\w.])hub\.([a-z]\w*)"),
    "room": re.compile(r"(?:(?<![\w.])room|(?<![\w.])hub\.room\([^()]*\))\.([a-z]\w*)"),
    "client": re.compile(r"(?<![\w.])client\.([a-z]\w*)"),
}

SAMPLES: dict[str, object] = {"hub": Hub(), "room": Room("lunch", Hub().room), "client": Client("percy")}  # type: ignore[arg-type]  # nobody speaks in it


def explained(kind: str, page: str) -> set[str]:
    """The names of a hub, a room or a client that a page has in its code."""
    return set(NAME[kind].findall("\n".join(CODE.findall(page))))


def public(sample: object) -> set[str]:
    """The names without an underscore that an object has."""
    return {name for name in dir(sample) if not name.startswith("_")}


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_public_name_is_explained(kind: str) -> None:
    unexplained = public(SAMPLES[kind]) - explained(kind, PAGE.read_text())
    assert not unexplained, f"docs/hub.md does not say what these are: {listed(kind, unexplained)}"


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_name_that_is_explained_is_there(kind: str) -> None:
    unknown = explained(kind, PAGE.read_text()) - public(SAMPLES[kind])
    assert not unknown, f"docs/hub.md explains what is not there: {listed(kind, unknown)}"


def listed(kind: str, names: set[str]) -> str:
    return ", ".join(f"{kind}.{name}" for name in sorted(names))


def test_names_are_found_in_code_alone() -> None:
    page = """
    A hub.like this is not code, and `sdk.hub.like` and `votes:hub` are no names.  `await hub.join(client, name)` is.

    ```python
    @hub.on
    def count(vote: Vote, client: Client) -> None:
        hub.room(vote.poll).post(Tally(client.user))
    ```
    """
    assert explained("hub", page) == {"join", "on", "room"}
    assert explained("room", page) == {"post"}
    assert explained("client", page) == {"user"}
