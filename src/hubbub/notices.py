"""What concerns users whatever room they are in, told to all nodes.

The bus carries what is not kept by room, and costs a subscription for each.  So all of it goes by one channel, which
has a name that no room can have, and says whom it is about.
"""

from __future__ import annotations

from collections.abc import Callable

from hubbub.engine import Bus

__all__ = ["CHANNEL", "Notices"]

CHANNEL = "@users"

Hear = Callable[[bytes], None]


class Notices:
    """The channel, as this process hears it.

    Args:
        bus: carries it to all nodes, this one included.
        hear_room: is told of what is said in rooms.
    """

    def __init__(self, bus: Bus, hear_room: Callable[[str, str, bytes], None]) -> None:
        self._bus = bus
        self._hear_room = hear_room
        self._by_type: dict[str, list[Hear]] = {}

    async def open(self) -> None:
        """Begin to hear of it.

        Raises:
            EngineError: the channel cannot be subscribed to.
        """
        await self._bus.subscribe(CHANNEL)

    def on(self, type_: str, hear: Hear) -> None:
        """Have a function called with the payload of each notice of a type."""
        self._by_type.setdefault(type_, []).append(hear)

    def tell(self, type_: str, payload: bytes) -> None:
        """Tell every process; some may miss it, and nobody waits for it."""
        self._bus.cast(CHANNEL, type_, payload)

    def heard(self, room: str, type_: str, payload: bytes) -> None:
        """Take what the bus tells (`engine.Listener.heard`)."""
        if room != CHANNEL:
            self._hear_room(room, type_, payload)
        else:
            for hear in self._by_type.get(type_, ()):
                hear(payload)
