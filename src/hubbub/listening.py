"""Sockets to listen on."""

from __future__ import annotations

import errno
import socket

from hubbub.errors import ConfigError

__all__ = ["bind", "bind_slots"]


def bind_slots(host: str, port: int, count: int) -> list[list[socket.socket]]:
    """So many times the sockets of `bind`, on one port: the kernel spreads connections over those that listen.

    Raises:
        ConfigError: the host has no address here, or the port cannot be had.
    """
    slots = [bind(host, port)]
    # Only once it is bound, so that a port is refused that others of this user share among themselves.
    for sock in slots[0]:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        for _ in range(count - 1):
            slots.append([bind_beside(sock) for sock in slots[0]])
    except OSError as error:
        for sock in (sock for sockets in slots for sock in sockets):
            sock.close()
        raise ConfigError(cannot_bind(host, port, error)) from None
    return slots


def bind_beside(first: socket.socket) -> socket.socket:
    """Another socket with the address of one that can be shared."""
    sock = new_socket(first.family, first.type, first.proto)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind(first.getsockname())
    except OSError:
        sock.close()
        raise
    return sock


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of the host.

    Raises:
        ConfigError: the host has no address here, or the port cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError, OverflowError):
        raise ConfigError(f"--host {host}: no such address; it is one of this machine's, or 0.0.0.0 for all") from None
    sockets: list[socket.socket] = []
    for family, kind, protocol, _name, address in dict.fromkeys(found):
        sock = new_socket(family, kind, protocol)
        sockets.append(sock)
        try:
            # With port 0, all addresses get the port that the first one was given.
            sock.bind((address[0], port or sockets[0].getsockname()[1], *address[2:]))
        except OSError as error:
            for opened in sockets:
                opened.close()
            raise ConfigError(cannot_bind(host, port, error)) from None
    return sockets


def new_socket(family: int, kind: int, protocol: int) -> socket.socket:
    """A socket for an address of its own family alone, which may still be that of ended connections."""
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def cannot_bind(host: str, port: int, error: OSError) -> str:
    """Why a port cannot be had, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"--port {port} is taken on {host}; stop what listens there, or name another port"
    if error.errno == errno.EACCES:
        return f"--port {port} is not for this user; name one from 1024 on"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is no address of this machine; name one that is, or 0.0.0.0 for all"
    return f"cannot listen on {host} port {port}: {error.strerror}"
