"""The events about people: what a client may ask of `people.People`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from hubbub.client import Participant
from hubbub.engine import Profile
from hubbub.events import rfc3339
from hubbub.handlers import Handlers
from hubbub.people import People, shown_name

__all__ = ["GetProfile", "GetProfiles", "SetProfile", "install_people"]

# Users in one request for their names.
MAX_ASKED = 200


class GetProfile(msgspec.Struct, tag="profile", frozen=True):
    """Asks what may be known of a user; of its own, without one."""

    user: str | None = None


class SetProfile(msgspec.Struct, tag="set_profile", frozen=True):
    """Asks to be shown by another name."""

    name: str


class GetProfiles(msgspec.Struct, tag="profiles", frozen=True):
    """Asks how users are shown."""

    users: Annotated[list[str], msgspec.Meta(max_length=MAX_ASKED)]


def install_people(handlers: Handlers, people: People) -> None:
    """Register the handlers, for the events that the application does not handle itself."""

    @handlers.offer(None)
    async def profile(request: GetProfile, client: Participant) -> dict[str, Any]:
        return told(await people.profile(client.user if request.user is None else request.user))

    @handlers.offer(None)
    async def set_profile(request: SetProfile, client: Participant) -> dict[str, Any]:
        return told(await people.set_name(client, request.name))

    @handlers.offer(None)
    async def profiles(request: GetProfiles, client: Participant) -> dict[str, Any]:
        return {"names": await people.names(client, request.users)}


def told(profile: Profile) -> dict[str, Any]:
    """A profile, as the protocol has it."""
    since = None if profile.since is None else rfc3339(profile.since).decode()
    return {"user": profile.user, "name": shown_name(profile), "role": profile.role, "since": since}
