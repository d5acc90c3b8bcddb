"""Fixtures of the wire tests: servers that many tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers import ServerProcess, running
from wire.raw_clients import Tickets

# A slow machine must not let a one-time password die between two lines of a test.
PATIENT = ("--otp-ttl", "120", "--max-otps-per-account", "0")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on plain HTTP."""
    with running(tmp_path_factory.mktemp("plain"), *PATIENT) as server:
        yield server


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on TLS with its own certificate."""
    with running(tmp_path_factory.mktemp("tls"), *PATIENT, tls=True) as server:
        yield server


@pytest.fixture(scope="session")
def tickets(server: ServerProcess) -> Tickets:
    """One-time passwords of the plain server."""
    return Tickets(server)


@pytest.fixture(scope="session")
def tls_tickets(tls_server: ServerProcess) -> Tickets:
    """One-time passwords of the TLS server."""
    return Tickets(tls_server)


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A room for this test alone."""
    return "".join(character if character.isalnum() else "_" for character in request.node.name)[:64]
