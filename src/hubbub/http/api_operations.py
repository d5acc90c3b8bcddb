"""What the routes of other programs take and answer, for machines."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from hubbub.http.api_calls import (
    BatchCall,
    BroadcastCall,
    DisconnectCall,
    EmptyCall,
    HistoryCall,
    PublishCall,
    RoomCall,
    RoomsCall,
)
from hubbub.http.operation import UNAVAILABLE, Operation, Reply, Time, refused

__all__ = ["API_OPERATIONS"]


class ApiErrorDetail(msgspec.Struct, frozen=True):
    """Why a call was not done; `temporary` where asking again may help."""

    code: int
    message: str
    temporary: bool | UnsetType = UNSET
    retry_after: float | UnsetType = UNSET


class PlaceResult(msgspec.Struct, frozen=True):
    """Where it was kept; neither, where it was not to be kept."""

    offset: int | UnsetType = UNSET
    epoch: str | UnsetType = UNSET


class BroadcastResult(msgspec.Struct, frozen=True):
    """What each room is answered, in the order of the rooms."""

    responses: list[dict[str, Any]]


class PublicationInfo(msgspec.Struct, frozen=True):
    """The user on whose behalf something was said."""

    user: str
    client: str


class PublicationResult(msgspec.Struct, frozen=True):
    """What was said: its data, its place, when, and of which type the event is."""

    data: Any
    offset: int
    sent: Time
    type: str
    info: PublicationInfo | UnsetType = UNSET
    tags: dict[str, str] | UnsetType = UNSET


class HistoryResult(msgspec.Struct, frozen=True):
    """What was said, and where the room's log stands."""

    publications: list[PublicationResult]
    epoch: str
    offset: int


class RoomPresenceResult(msgspec.Struct, frozen=True):
    """The users in a room, each under its name."""

    presence: dict[str, PublicationInfo]


class PresenceStatsResult(msgspec.Struct, frozen=True):
    """How many are in a room."""

    num_clients: int
    num_users: int


class RoomStatsResult(msgspec.Struct, frozen=True):
    """How many are in a room of a list."""

    num_clients: int


class ChannelsResult(msgspec.Struct, frozen=True):
    """Rooms, each under its name; where there are more, what to go on after."""

    channels: dict[str, RoomStatsResult]
    next: str | UnsetType = UNSET


class NodeResult(msgspec.Struct, frozen=True):
    """A process of the server."""

    uid: str
    name: str
    version: str
    num_clients: int
    num_users: int
    num_subs: int
    num_channels: int
    uptime: int


class InfoResult(msgspec.Struct, frozen=True):
    """The process that answers."""

    nodes: list[NodeResult]


class BatchReply(msgspec.Struct, frozen=True):
    """What each call is answered, in their order; or why none was done."""

    replies: list[dict[str, Any]] | UnsetType = UNSET
    error: ApiErrorDetail | UnsetType = UNSET


class DoneResult(msgspec.Struct, frozen=True):
    """Nothing: it was done."""


class AbsentResult(msgspec.Struct, frozen=True):
    """Nothing: it was done; with a key of the hub's own such a call is answered with error 108."""


@functools.cache
def reply_of(result: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The type of an answer: a result, or why there is none."""
    if result is BatchReply:
        return result
    fields = [("result", result | UnsetType, UNSET), ("error", ApiErrorDetail | UnsetType, UNSET)]
    name = result.__name__.removesuffix("Result") + "Reply"
    return msgspec.defstruct(name, fields, namespace={"__doc__": result.__doc__}, module=__name__, frozen=True)


REFUSED = {
    401: refused("No key, or one that is unknown or was revoked.", {"WWW-Authenticate": "apikey"}),
    **UNAVAILABLE,
}

ABOUT_CALLS = "A call that is not done is answered with 200, too, and has `error` in place of `result`."


def call(name: str, about: str, body: type[msgspec.Struct], result: type[msgspec.Struct]) -> Operation:
    """A method."""
    return Operation(
        "POST",
        f"/api/{name}",
        f"api_{name}",
        about,
        {200: Reply(ABOUT_CALLS, reply_of(result)), **REFUSED},
        body,
        may_lack_body=True,
        credentials="key",
    )


API_OPERATIONS = (
    call("publish", "Say something in a room.", PublishCall, PlaceResult),
    call("broadcast", "Say it in several rooms.", BroadcastCall, BroadcastResult),
    call("history", "What was said in a room.", HistoryCall, HistoryResult),
    call("presence", "Who is in a room, 1,000 users at most.", RoomCall, RoomPresenceResult),
    call("presence_stats", "How many are in a room.", RoomCall, PresenceStatsResult),
    call("channels", "Rooms in which something was said.", RoomsCall, ChannelsResult),
    call("rooms", "The same.", RoomsCall, ChannelsResult),
    call("disconnect", "Close a user's connections.", DisconnectCall, DoneResult),
    call("info", "The process that answers.", EmptyCall, InfoResult),
    call("batch", "Several calls at once, each an object of its method with its fields.", BatchCall, BatchReply),
    *(
        call(name, "Of another server's interface: for the key of its configuration alone.", EmptyCall, AbsentResult)
        for name in ("subscribe", "unsubscribe", "refresh", "history_remove")
    ),
)
