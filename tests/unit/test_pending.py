"""When an HTTP connection keeps the server waiting, and may be cut for another, and when it does not."""

from __future__ import annotations

import time

import pytest

from hubbub.wire.arrivals import Arrivals
from hubbub.wire.connection import HttpConnection
from unit.test_http_connection import UPGRADE, Site, get
from unit.transports import FakeTransport

pytestmark = pytest.mark.anyio

REQUEST = get("/")


class Full:
    """A server with one place, which a connection has."""

    def __init__(self) -> None:
        self.site = Site(at_once=False)
        self.arrivals = Arrivals(1, 0, lambda _address: False, time.monotonic)
        arrival = self.arrivals.enter("10.0.0.1", lambda: None)
        assert arrival is not None
        connection = HttpConnection(self.site.shared, self.site.loop, arrival)  # type: ignore[arg-type]  # as in Site
        self.site.transport = self.transport = FakeTransport(connection)
        connection.connection_made(self.transport)

    def has_room(self) -> bool:
        """Whether another one comes in."""
        return self.arrivals.enter("10.0.0.2", lambda: None) is not None


@pytest.mark.parametrize("part", [b"", REQUEST[:10], REQUEST[:-1]])
async def test_one_that_has_not_finished_its_request_is_cut(part: bytes) -> None:
    full = Full()
    await full.site.send(part)
    assert full.has_room()
    assert full.transport.is_cut


async def test_one_that_is_being_answered_is_not() -> None:
    full = Full()
    await full.site.send(REQUEST)
    assert not full.has_room()
    await full.site.answer()
    assert full.has_room()
    assert full.transport.is_cut


async def test_one_that_has_ended_or_become_a_websocket_has_no_place() -> None:
    ended = Full()
    ended.transport.abort()
    await ended.site.send(b"")
    upgraded = Full()
    await upgraded.site.send(UPGRADE)
    assert upgraded.site.upgraded
    for full in (ended, upgraded):
        assert full.has_room()
        assert full.arrivals.cut == 0
    assert not upgraded.transport.is_cut
