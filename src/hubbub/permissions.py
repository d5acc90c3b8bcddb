"""Who may do what: the one place that is asked before a handler runs, and before a client enters a room."""

from __future__ import annotations

from hubbub.client import Client
from hubbub.policy import DM, check_dm

__all__ = ["JOIN", "may"]

# What is asked when a client is about to enter a room, whoever has it enter.
JOIN = "join_room"


def may(client: Client, action: str, room: str | None) -> None:
    """Refuse what a client may not do.

    Args:
        action: the type of the event that it asks with.
        room: the room that the event names, as the client spells it; None for one that names none.

    Raises:
        Refused: `forbidden`.
    """
    if room is not None and room.startswith(DM):
        check_dm(room, client.user)
