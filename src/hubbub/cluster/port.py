"""Ports that are free, and stay so while their server is down."""

from __future__ import annotations

import random
import socket
from pathlib import Path

__all__ = ["HOST", "free_port", "is_free"]

HOST = "127.0.0.1"

LOWEST = 10_000
# Where Linux begins to take the ports of connections that go out, unless it says otherwise.
EPHEMERAL = 32_768
EPHEMERAL_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")

TRIES = 200


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now, below those that the system gives to outgoing connections.

    One of these may be taken while its server restarts; a client that tries such a port again and again may even
    connect to itself (a simultaneous open, RFC 9293 section 3.5).

    Raises:
        OSError: none was found.
    """
    # Not for secrets; and not the generator that a test may have seeded, so that two processes ask for different ones.
    chance = random.SystemRandom()
    for _ in range(TRIES):
        port = chance.randrange(LOWEST, highest())
        if is_free(port):
            return port
    raise OSError(f"no port of {TRIES} tried from {LOWEST} to {highest()} is free")


def highest() -> int:
    try:
        first = int(EPHEMERAL_FILE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = EPHEMERAL
    return first if first > LOWEST + TRIES else EPHEMERAL


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As servers do, which take a port whose last connections are still in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
