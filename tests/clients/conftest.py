"""Fixtures of the tests of both clients: a server that can be killed, a network that can be cut, and a client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import jwt
import pytest

from chaos.killable import Killable
from clients.strings import Strings
from servers import SERVE
from tcp_proxy import TcpProxy, tcp_proxy

# What an application signs its tokens with.
SECRET = "that of an application, and 32 bytes at least"
# A slow machine must not let a one-time password die on its way; a dead network is to be noticed soon.
FLAGS = ("--otp-ttl", "60", "--max-otps-per-account", "0", "--heartbeat-interval", "1", "--heartbeat-timeout", "3")

# A hub that has somebody else's word on who may come in.
DOOR = """
import hubbub

hub = hubbub.Hub()


@hub.on_connect
async def check(client):
    if client.user == "mallory":
        raise hubbub.Refused("forbidden", "The cinema is full.")
"""

NewClient = Callable[..., Strings]


@pytest.fixture(scope="session")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killable]:
    """A server that tests share, and leave alone."""
    folder = tmp_path_factory.mktemp("lasting")
    (folder / "door.py").write_text(DOOR)
    with Killable(folder, *FLAGS, "--jwt-key", SECRET, program=(*SERVE, "door:hub")) as server:
        yield server


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Killable]:
    """The shared one; one of its own for a test that is marked with `mortal`."""
    if request.node.get_closest_marker("usefixtures") is None:
        yield request.getfixturevalue("lasting")
        return
    with Killable(tmp_path, *FLAGS) as server:
        yield server


@pytest.fixture
def mortal() -> None:
    """Marks a test that kills its server."""


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A room for this test alone."""
    return "".join(character if character.isalnum() else "-" for character in request.node.name)[-64:]


@pytest.fixture
def network(server: Killable) -> Iterator[TcpProxy]:
    with tcp_proxy(server.port) as proxy:
        yield proxy


def token_for(user: str, lasting_s: float = 3600.0) -> str:
    """What an application signs for a user."""
    return jwt.encode({"sub": user, "exp": time.time() + lasting_s, "jti": str(time.monotonic())}, SECRET, "HS256")


@pytest.fixture(params=["python", "javascript"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def new_client(network: TcpProxy, language: str) -> Iterator[NewClient]:
    """Makes clients, which are in the network and signed in."""
    with ExitStack() as all_clients:

        def make(user: str = "percy", *, is_signed_in: bool = True) -> Strings:
            client = Strings(language, f"http://127.0.0.1:{network.port}")
            all_clients.callback(client.end)
            if is_signed_in:
                client.sign_in(user)
            return client

        yield make
