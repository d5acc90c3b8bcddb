"""Looking for words in the rooms of a user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from hubbub.acts import Act
from hubbub.budgets import Use, spend
from hubbub.client import Participant
from hubbub.engine import Engine, Spot, TooLong
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.handlers import Handlers
from hubbub.permissions import Permissions
from hubbub.rooms import Rooms
from hubbub.words import read_query

__all__ = ["Search", "features", "install_search"]

# Searches under way or in line, of all accounts; each takes a second at most.
MAX_SEARCHES = 16

# What the time of a search counts as, of the bytes that an account may ask for: at the usual `replay_rate`, one that
# searches all the time has a quarter of the thread.
BYTES_A_SECOND = 64 << 20
LEAST_BYTES = 64 << 10

MAX_SPOT = 200


class Search(msgspec.Struct, tag="search", frozen=True):
    """Asks for the newest messages that have some words."""

    text: str
    room: str | None = None
    before: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=50)] = 20


def features(engine: Engine) -> list[str]:
    """What a server can do that not every one can, as `welcome` tells."""
    return ["search"] if engine.can_search else []


def install_search(
    handlers: Handlers,
    rooms: Rooms,
    engine: Engine,
    permissions: Permissions,
    clock: Callable[[], float],
) -> None:
    """Register the handler, unless the application handles the event itself."""
    searching: set[str] = set()

    def is_open(client: Participant, room: str) -> bool:
        return permissions.may(client, Act.JOIN, room) and permissions.may(client, Act.READ, room)

    async def rooms_of(client: Participant, room: str | None) -> list[str]:
        """The rooms to search: those that the user follows or is in, or one of them."""
        found = {followed.room for followed in await engine.followed(client.user)} | set(client.joined)
        if room is not None:
            name = rooms.identity(room)
            if name not in found:
                raise Refused(ErrorCode.NOT_IN_ROOM, f"you are not in the room {room[:80]!r}, and do not follow it")
            permissions.check(client, Act.READ, name)
            found = {name}
        return [name for name in found if is_open(client, name)]

    def pay(client: Participant, spent_s: float) -> None:
        spend(client.purses, Use.SENT, LEAST_BYTES + spent_s * BYTES_A_SECOND, clock())

    @handlers.offer(None)
    async def search(request: Search, client: Participant) -> dict[str, Any]:
        if not engine.can_search:
            raise Refused(ErrorCode.UNAVAILABLE, "messages cannot be searched here: the server's engine has no index")
        query, before = read_query(request.text), read_spot(request.before)
        if client.user in searching or len(searching) >= MAX_SEARCHES:
            whose = "of this account" if client.user in searching else "of others"
            raise Refused(ErrorCode.RATE_LIMITED, f"a search {whose} is under way", 1.0)
        searching.add(client.user)
        try:
            names = await rooms_of(client, request.room)
            found = await engine.search(query, names, before, request.limit)
        except EngineError as error:
            pay(client, error.spent_s if isinstance(error, TooLong) else 0.0)
            raise Refused(ErrorCode.UNAVAILABLE, f"messages cannot be searched now: {error}") from error
        finally:
            searching.discard(client.user)
        pay(client, found.spent_s)
        may_see = {room for room in {each.room for each in found.messages} if is_open(client, room)}
        # One may have been changed while the others were looked for.
        shown = [rooms.changed(each.room, [each])[0] for each in found.messages if each.room in may_see]
        listed = [msgspec.Raw(client.dialect.listed(each)) for each in shown]
        answer: dict[str, Any] = {"messages": listed, "next": written(found.next)}
        return answer | ({"partial": True} if found.is_partial else {})


def written(spot: Spot | None) -> str | None:
    """A spot as clients carry it."""
    return None if spot is None else f"{spot.sent}.{spot.seq}.{spot.room}"


def read_spot(text: str | None) -> Spot | None:
    """The spot that an earlier answer has told.

    Raises:
        Refused: `bad_payload`.
    """
    if text is None:
        return None
    sent, _, rest = text.partition(".")
    seq, _, room = rest.partition(".")
    is_number = all(each.isascii() and each.isdigit() and len(each) < 19 for each in (sent, seq))
    if not is_number or len(text) > MAX_SPOT:
        raise Refused(ErrorCode.BAD_PAYLOAD, "`next` of an earlier answer is asked for - at `payload.before`")
    return Spot(int(sent), room, int(seq))
