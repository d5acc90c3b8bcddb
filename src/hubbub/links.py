"""Where a server is opened, as URLs: from its machine, and from others."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Iterable

from hubbub.addresses import Address, is_private
from hubbub.names import is_local, is_one, names_in, plain
from hubbub.policy import is_loopback
from hubbub.settings import Settings

__all__ = ["bound_addresses", "link_from_here", "links_for_others"]

# A machine may have many addresses, and nobody reads more links.
MAX_LINKS = 8


def bound_addresses(sockets: Iterable[socket.socket]) -> list[Address]:
    """The addresses that sockets are bound to."""
    return [ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]) for sock in sockets]


def link_from_here(settings: Settings, port: int, listening: Collection[Address]) -> str:
    """Where it is opened on its own machine.

    Args:
        port: where the server listens.
        listening: the addresses that it listens on.
    """
    is_local = any(each.is_loopback or each.is_unspecified for each in listening)
    return url_of(settings, "localhost" if is_local else str(next(iter(listening))), port)


def links_for_others(
    settings: Settings, port: int, listening: Collection[Address], addresses: Iterable[Address]
) -> list[str]:
    """Where others open the page, best first: by each name, then by addresses that the certificate is for.

    Args:
        port: where the server listens.
        listening: the addresses that it listens on.
        addresses: this machine's.
    """
    if is_local(settings.host):
        return []
    names = list(settings.name)
    if is_one(settings.host):
        names.append(settings.host)
    elif settings.tls_cert is not None:
        names += [name for name in names_in(settings.tls_cert) if "*" not in name]
    else:
        everywhere = {each.version for each in listening if each.is_unspecified}
        reached = [each for each in addresses if each.version in everywhere]
        names += [str(each) for each in reached if settings.no_tls or is_private(each)]
    hosts = dict.fromkeys(plain(name) for name in names if not is_loopback(plain(name)))
    return [url_of(settings, host, port) for host in hosts][:MAX_LINKS]


def url_of(settings: Settings, host: str, port: int) -> str:
    """The URL of a server that goes by a name or an address."""
    return f"{'http' if settings.no_tls else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"
