"""Telling the service manager how far the server is (sd_notify(3)), where one has asked for it with `Type=notify`."""

from __future__ import annotations

import contextlib
import os
import socket
import time

__all__ = ["READY", "RELOADING", "STOPPING", "notify"]

READY = "READY=1"
RELOADING = "RELOADING=1"
STOPPING = "STOPPING=1"


def notify(state: str) -> None:
    """Tell the state; nothing where nobody listens.  It waits for nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if state == RELOADING:
        state += f"\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        # A name that begins with @ is an abstract one, which the kernel knows by a NUL in its place.
        sock.setblocking(False)
        sock.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
