"""The connections of each user that are told of what concerns the user, whatever rooms they are in."""

from __future__ import annotations

from hubbub.client import Participant

__all__ = ["Connections"]


class Connections:
    """Connections by user: those whose dialect can tell it, and apart from them those of the second door."""

    def __init__(self) -> None:
        # Most users have one connection, which is there without a tuple around it.
        self._of: dict[str, Participant | tuple[Participant, ...]] = {}
        # Those without a user are all of one, which may have any number.
        self._of_door: dict[str, Participant | dict[Participant, None]] = {}

    def __contains__(self, user: str) -> bool:
        return user in self._of

    @property
    def users(self) -> list[str]:
        """The users that have any."""
        return list(self._of)

    def of(self, user: str) -> tuple[Participant, ...]:
        """Those of a user, in the order that they came."""
        found = self._of.get(user, ())
        return found if isinstance(found, tuple) else (found,)

    def of_door(self, user: str) -> tuple[Participant, ...]:
        """Those of a user that have come by the second door."""
        found = self._of_door.get(user, ())
        return (found,) if isinstance(found, Participant) else tuple(found)

    def add(self, client: Participant) -> None:
        """Take up a connection; a dialect without a greeting is told nothing."""
        if client.dialect.is_greeted:
            user = client.user
            self._of[user] = (*self.of(user), client) if user in self._of else client
        elif client.uses_channels:
            self._add_to_door(client)

    def _add_to_door(self, client: Participant) -> None:
        found = self._of_door.setdefault(client.user, client)
        if isinstance(found, dict):
            found[client] = None
        elif found is not client:
            self._of_door[client.user] = {found: None, client: None}

    def remove(self, client: Participant) -> None:
        """Forget a connection that was taken up, or was not."""
        user = client.user
        if client.uses_channels:
            self._remove_from_door(client)
            return
        found = self._of.get(user)
        if found is client:
            del self._of[user]
        elif isinstance(found, tuple):
            left = tuple(other for other in found if other is not client)
            self._of[user] = left if len(left) > 1 else left[0]

    def _remove_from_door(self, client: Participant) -> None:
        found = self._of_door.get(client.user)
        if isinstance(found, dict):
            found.pop(client, None)
        if found is client or found == {}:
            del self._of_door[client.user]
