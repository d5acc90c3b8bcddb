"""The desk for the key of the door's configuration, which opens all methods of Centrifugo's server API."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from secrets import token_hex

from hubbub.core import Core
from hubbub.door.api import EVERYTHING, DoorMethods
from hubbub.door.api_calls import (
    ChannelCall,
    ChannelsCall,
    ForcedCloseCall,
    RefreshCall,
    RpcCall,
    SubscribeCall,
    UnsubscribeCall,
    lenient,
)
from hubbub.door.entering import Entering
from hubbub.door.floor import DoorFloor
from hubbub.door.hands import ServerHands
from hubbub.door.orders import Orders
from hubbub.door.settings import DoorSettings
from hubbub.http.api_calls import BroadcastCall, EmptyCall, HistoryCall, PublishCall
from hubbub.http.api_desk import Call
from hubbub.http.app import is_from_here
from hubbub.keyring import PREFIX, KeyScope
from hubbub.wire.request import Request

__all__ = ["DoorDesk", "open_desk"]

# Commands in one batch.
MAX_COMMANDS = 1000


class DoorDesk:
    """The desk for the key of the door's configuration (`http.api_desk.Desk`)."""

    def __init__(self, methods: DoorMethods, settings: DoorSettings) -> None:
        self.begin = methods.begin
        self.answer = methods.answer
        self.most_commands = MAX_COMMANDS
        self._digest = hashlib.sha256(settings.api_key.encode()).digest() if settings.api_key else None
        self._is_insecure = settings.api_insecure
        self.calls: Mapping[str, Call] = {
            "publish": (lenient(PublishCall), methods.publish),
            "broadcast": (lenient(BroadcastCall), methods.broadcast),
            "subscribe": (lenient(SubscribeCall), methods.subscribe),
            "unsubscribe": (lenient(UnsubscribeCall), methods.unsubscribe),
            "disconnect": (lenient(ForcedCloseCall), methods.close_connections),
            "refresh": (lenient(RefreshCall), methods.refresh),
            "presence": (lenient(ChannelCall), methods.presence_by_client),
            "presence_stats": (lenient(ChannelCall), methods.presence_counts),
            "history": (lenient(HistoryCall), methods.history),
            "history_remove": (lenient(ChannelCall), methods.history_remove),
            "channels": (lenient(ChannelsCall), methods.channels),
            "info": (lenient(EmptyCall), methods.info),
            "rpc": (lenient(RpcCall), methods.rpc),
        }

    async def scope(self, request: Request, secret: str) -> KeyScope | None:
        if self._digest is not None and secret:
            # In constant time: what is compared has the same length, and is not what was sent.
            given = hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
            if hmac.compare_digest(given, self._digest):
                return EVERYTHING
        if self._is_insecure and not secret.startswith(PREFIX) and is_from_program_here(request):
            return EVERYTHING
        return None


def open_desk(core: Core, settings: DoorSettings, floor: DoorFloor, entering: Entering) -> DoorDesk | None:
    """The desk of a door; None where it is switched off, or nobody may use it."""
    if not settings.api or not (settings.api_key or settings.api_insecure):
        return None
    node = token_hex(8)
    orders = Orders(node, core.notices, ServerHands(core, floor.subscribing, entering))
    return DoorDesk(DoorMethods(core, floor, orders, node), settings)


def is_from_program_here(request: Request) -> bool:
    """Whether a program on this machine asks: a browser, which asks for any page that it shows, says that it is one."""
    return is_from_here(request) and not {"origin", "sec-fetch-site"} & request.headers.keys()
