"""All that clients do in channels, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hubbub.core import Core
from hubbub.door.asking import Asking
from hubbub.door.channels import ChannelRules
from hubbub.door.client import DoorClient
from hubbub.door.crowd import DoorCrowd
from hubbub.door.past import Past
from hubbub.door.settings import DoorSettings
from hubbub.door.subscribing import Subscribing
from hubbub.door.tokens import DoorTokens
from hubbub.handlers import Handler

__all__ = ["DoorFloor"]


class DoorFloor:
    """Opens a hub's rooms to clients of the door.

    Args:
        note_expiry: is told of each subscription that ends at a moment (`DoorExpiry.note`).

    Attributes:
        channels: what is a channel, and who may do what there.
        crowd: who is in which channel.
        handlers: of the commands that concern channels, and of those that the application answers.
        past: what was said.
        subscribing: subscribes clients, for themselves or for the server.
    """

    def __init__(
        self,
        core: Core,
        settings: DoorSettings,
        tokens: DoorTokens,
        note_expiry: Callable[[DoorClient, str], None],
    ) -> None:
        self.channels = ChannelRules(settings)
        self.crowd = core.rooms.crowd = DoorCrowd(core.rooms, core.engine, self.channels)
        self.past = Past(core.engine, core.rooms, core.wall)
        self.subscribing = Subscribing(core, settings, self.channels, tokens, self.crowd, note_expiry)
        asking = Asking(core, self.channels, self.crowd, self.past)
        self.handlers: Mapping[str, Handler] = {**self.subscribing.handlers, **asking.handlers}
        core.doorkeeper = self.subscribing
        core.rooms.entrance.open_channels()
