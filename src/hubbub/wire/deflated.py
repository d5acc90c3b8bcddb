"""Connections that have agreed on permessage-deflate, and what those of one server share."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import NamedTuple

from picows import WSFrame

from hubbub.client import Frame
from hubbub.errors import CloseCode
from hubbub.wire.deflate import Deflate, DeflatedFragments, DeflatingFrame, agree
from hubbub.wire.fragments import Fragments
from hubbub.wire.frames import BINARY, TEXT
from hubbub.wire.reader import NARROW_READ, Readers
from hubbub.wire.request import Request
from hubbub.wire.websocket import DEAD, SHORT_READ, SLOW_BYTE_S, Receiver, WebSocket, WireSettings

__all__ = ["Compression"]


class DeflatedWebSocket(WebSocket):
    """A connection whose client may send compressed messages.  It takes no more memory than any other."""

    __slots__ = ()

    def buffer_updated(self, size: int) -> None:
        readers = self._readers
        readers.inflated = 0
        started = readers.turnstile.clock()
        super().buffer_updated(size)
        inflated = readers.inflated
        if inflated > SHORT_READ and self._life < DEAD:
            # A few bytes may have become many, which cost what they would have if they had come like that.
            seconds = readers.turnstile.clock() - started
            if self._receiver.is_too_much(inflated) or seconds > inflated * SLOW_BYTE_S:
                self._wait(seconds)

    def _receive_reserved(self, frame: WSFrame, kind: int) -> None:
        """Take the first frame of a compressed message: only there RSV1 may be set (RFC 7692 section 6.1)."""
        if frame.rsv2 or frame.rsv3 or kind not in (TEXT, BINARY):
            super()._receive_reserved(frame, kind)
        elif self._fragments is not None:
            self.fail(CloseCode.PROTOCOL_ERROR, "a fragment out of turn")
        else:
            fragments = DeflatedFragments(is_text=kind == TEXT, most=self._settings.max_frame)
            self._fragments = fragments
            self._gather(frame, fragments)

    def _hand_over(self, fragments: Fragments) -> None:
        super()._hand_over(fragments)
        if isinstance(fragments, DeflatedFragments):
            self._readers.inflated += fragments.inflated_size


class Agreed(NamedTuple):
    """Opens connections that have agreed on compression (`websocket.Extension`)."""

    answer: str

    def new_socket(self, transport: asyncio.Transport, receiver: Receiver, settings: WireSettings) -> WebSocket:
        """Make such a connection."""
        return DeflatedWebSocket(transport, receiver, settings)


class Compression:
    """What the compressed connections of one server share; it is of one thread."""

    def __init__(self) -> None:
        self._frames: dict[tuple[int, int], Frame] = {}
        self._settings: dict[tuple[int, str], tuple[WireSettings, WireSettings]] = {}

    def frame_for(self, request: Request, opcode: int = TEXT) -> Frame | None:
        """How messages go to the client of a request; None where it has not agreed on compression.

        Those with the same window share one frame: they are one audience.
        """
        deflate = agree_with(request)
        if deflate is None:
            return None
        frame = self._frames.get((deflate.window, opcode))
        if frame is None:
            frame = self._frames[deflate.window, opcode] = DeflatingFrame(deflate.window, opcode)
        return frame

    def settings_for(self, request: Request, plain: WireSettings) -> WireSettings:
        """The settings of the connection of a request: `plain` where it has not agreed on compression."""
        deflate = agree_with(request)
        if deflate is None:
            return plain
        key = id(plain), deflate.answer
        if key not in self._settings:
            # A read of these inflates to much more: so it is as small as for one that waits for its turns.
            readers = Readers(plain.max_frame, plain.readers.turnstile, NARROW_READ)
            made = replace(plain, readers=readers, extension=Agreed(deflate.answer))
            self._settings[key] = plain, made  # kept, so that no other is at its address
        return self._settings[key][1]


def agree_with(request: Request) -> Deflate | None:
    """What is agreed with the client of a request; None for no compression."""
    offered = request.headers.get("sec-websocket-extensions")
    return agree(",".join(offered)) if offered else None
