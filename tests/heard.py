"""What a guest has heard, as the tests look at it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hubbub import Refused
from hubbub.testing import Guest

__all__ = ["codes", "members_told", "refusal", "seqs", "texts", "types"]

Events = Iterable[dict[str, Any]]


def types(events: Events) -> list[str]:
    """The types of the events."""
    return [event["type"] for event in events]


def codes(events: Events) -> list[tuple[Any, str]]:
    """The id and the code of each event, which must all be errors."""
    return [(event.get("id"), event["payload"]["code"]) for event in events]


def texts(events: Events) -> list[str]:
    """What was said in a room."""
    return [event["payload"]["message"] for event in events if event["type"] == "new_message"]


def seqs(events: Events) -> list[int]:
    """The seqs of the events that the log keeps."""
    return [event["payload"]["seq"] for event in events if event["type"] != "ack" and "seq" in event["payload"]]


def members_told(events: Events) -> list[tuple[str, str]]:
    """Who came and who went."""
    return [
        (event["type"], event["payload"]["user"])
        for event in events
        if event["type"] in ("member_joined", "member_left")
    ]


async def refusal(guest: Guest, type_: str, payload: object) -> str:
    """The code that a request is refused with; `ok` for one that is not."""
    try:
        await guest.ask(type_, payload)
    except Refused as refused:
        return refused.code
    return "ok"
