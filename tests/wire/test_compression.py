"""Compression from outside: clients of another implementation, our own, and what a flood of it costs."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from hubbub.sdk import Message
from servers import ServerProcess, running
from wire.conftest import PATIENT
from wire.raw_clients import DEADLINE_S, TEXT, Raw, Tickets, frame, say, upgrade_head
from wire.test_sdk import chatting, next_of

OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
LONG = "A message that is said once and heard by everybody in the room. " * 30


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def packing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that compresses."""
    with running(tmp_path_factory.mktemp("packing"), *PATIENT, "--compression") as server:
        yield server


@pytest.fixture(scope="module")
def tickets_of_packing(packing: ServerProcess) -> Tickets:
    return Tickets(packing)


@contextmanager
def member(server: ServerProcess, otp: str, compression: str | None) -> Iterator[ClientConnection]:
    """A v1 client of the library's, welcomed."""
    with connect(
        server.ws_url,
        subprotocols=[Subprotocol("hubbub.v1"), Subprotocol(f"otp.{otp}")],
        compression=compression,
        proxy=None,
        open_timeout=DEADLINE_S,
    ) as connection:
        assert '"welcome"' in connection.recv(DEADLINE_S)
        yield connection


def ask(connection: ClientConnection, type_: str, **payload: object) -> None:
    connection.send(json.dumps({"type": type_, "id": 1, "payload": payload}))
    answer = json.loads(connection.recv(DEADLINE_S))
    while answer["type"] != "ack":
        answer = json.loads(connection.recv(DEADLINE_S))


def test_all_hear_the_same_whether_they_have_agreed_on_it_or_not(
    packing: ServerProcess, tickets_of_packing: Tickets, room: str
) -> None:
    with (
        member(packing, tickets_of_packing.otp(), "deflate") as packed,
        member(packing, tickets_of_packing.otp("alice"), None) as plain,
    ):
        [extension] = packed.protocol.extensions
        assert isinstance(extension, PerMessageDeflate)
        assert extension.remote_no_context_takeover and extension.local_no_context_takeover
        assert plain.protocol.extensions == []
        for connection in (packed, plain):
            ask(connection, "join_room", room=room)
        for speaker in (packed, plain):
            speaker.send(json.dumps({"type": "send_message", "payload": {"room": room, "message": LONG.strip()}}))
            heard = []
            for connection in (packed, plain):
                text = connection.recv(DEADLINE_S)
                while '"new_message"' not in text:
                    text = connection.recv(DEADLINE_S)
                heard.append(text)
            assert heard[0] == heard[1]


def test_a_server_that_does_not_compress_answers_no_offer(server: ServerProcess, tickets: Tickets) -> None:
    with member(server, tickets.otp(), "deflate") as connection:
        assert connection.protocol.extensions == []


@pytest.mark.anyio
@pytest.mark.parametrize("compresses", [False, True])
async def test_our_own_client_speaks_with_both(
    packing: ServerProcess, server: ServerProcess, room: str, compresses: bool
) -> None:
    url = (packing if compresses else server).origin
    async with chatting(url, "percy") as percy, chatting(url, "alice") as alice:
        heard = alice.events()
        await alice.join(room)
        await percy.join(room)
        await percy.send(room, LONG.strip())
        message = await next_of(heard, Message)
        assert message.text == LONG.strip()
        assert (await percy.history(room, limit=1)).messages == [message]


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate; server_max_window_bits=9", "; server_max_window_bits=9"),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", ""),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate;;", None),
    ],
)
def test_what_cannot_be_accepted_is_no_reason_to_refuse(
    packing: ServerProcess, tickets_of_packing: Tickets, offer: str, answer: str | None
) -> None:
    with Raw(packing) as raw:
        raw.send(upgrade_head(f"/ws?otp={tickets_of_packing.otp()}", {"Sec-WebSocket-Extensions": offer}))
        found = raw.read_answer()
        both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        assert found.status == 101
        assert found.headers["Sec-WebSocket-Extensions"] == (None if answer is None else both + answer)
        raw.assert_up()


def test_a_bomb_is_refused_and_nobody_else_notices(packing: ServerProcess, tickets_of_packing: Tickets) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(say("x" * 14_000_000).encode()) + packer.flush(zlib.Z_SYNC_FLUSH)
    with Raw(packing) as other, Raw(packing) as raw:
        for each in (other, raw):
            each.send(upgrade_head(f"/ws?otp={tickets_of_packing.otp()}", OFFER))
            assert each.read_answer().status == 101
        raw.send(frame(TEXT, bomb, rsv=4))
        raw.assert_ended(1009)
        other.assert_up()
