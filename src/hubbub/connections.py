"""The connections of each user that are told of what concerns the user, whatever rooms they are in."""

from __future__ import annotations

from hubbub.client import Participant

__all__ = ["Connections"]


class Connections:
    """Connections by user: those whose dialect can tell it."""

    def __init__(self) -> None:
        # Most users have one connection, which is there without a tuple around it.
        self._of: dict[str, Participant | tuple[Participant, ...]] = {}

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

    def add(self, client: Participant) -> None:
        """Take up a connection; a dialect without a greeting is told nothing."""
        if client.dialect.is_greeted:
            user = client.user
            self._of[user] = (*self.of(user), client) if user in self._of else client

    def remove(self, client: Participant) -> None:
        """Forget a connection that was taken up, or was not."""
        user = client.user
        found = self._of.get(user)
        if found is client:
            del self._of[user]
        elif isinstance(found, tuple):
            left = tuple(other for other in found if other is not client)
            self._of[user] = left if len(left) > 1 else left[0]
