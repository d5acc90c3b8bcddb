"""Who stands behind a proxy: X-Forwarded-For, Forwarded (RFC 7239), and the PROXY protocol, version 2.

Each proxy adds the address that it was called from at the end of what it was sent, and what it was sent may be made up.
So the chain is read from its end, for as long as it goes through proxies that are trusted: the first other address is
the client's, and nothing before it is looked at.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple

from hubbub.policy import is_loopback
from hubbub.wire.denial import Denied

__all__ = [
    "PREFIX_SIZE",
    "Proxies",
    "Sender",
    "apart",
    "proxy_header_size",
    "proxy_header_source",
    "read_networks",
]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Headers = Mapping[str, Sequence[str]]

# Hops that a chain may have.
MAX_HOPS = 64

WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
PAIR = re.compile(rf'[ \t]*({WORD})=({WORD}|"(?:[^"\\]|\\.)*")[ \t]*')
ESCAPE = re.compile(r"\\(.)")
NODE = re.compile(r"\[([^\]]*)\](?::[\w.-]+)?|([^:]*)(?::[\w.-]+)?")

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
# The signature, version and command, family, and the length of the rest.
PREFIX_SIZE = 16
# Addresses, and as many extensions (TLVs) as there is a use for.
MAX_REST = 2048
# By family and transport (section 2.2): how many bytes of the rest are the source's address.
TCP = {0x11: 4, 0x21: 16}


class Sender(NamedTuple):
    """Who sends a request.

    Attributes:
        address: the client's.  Behind a proxy it never passes for one of this machine's own: it has a word before it.
        is_secure: whether a trusted proxy says that the client speaks HTTPS to it.
    """

    address: str
    is_secure: bool = False


class Hop(NamedTuple):
    """A hop of a chain: the node that has called, as it is written, and whether by HTTPS."""

    node: str
    is_secure: bool = False


class Proxies:
    """The proxies that are trusted; of no other peer does a header mean anything.

    Args:
        trusted: addresses and networks.

    Raises:
        ValueError: one is neither.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._networks = read_networks(trusted)

    def is_trusted(self, address: str) -> bool:
        """Whether an address is a trusted proxy's."""
        if not self._networks:
            return False
        try:
            found = plain(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)

    def sender(self, peer: str, headers: Headers) -> Sender:
        """Who sends a request with these headers over a connection from `peer`.

        Raises:
            Denied: 400, when a trusted proxy's header cannot be read, or two name different clients.
        """
        if not self.is_trusted(peer):
            return Sender(peer)
        found = []
        if "x-forwarded-for" in headers:
            found.append(follow("X-Forwarded-For", peer, x_forwarded_hops(headers), self.is_trusted))
        if "forwarded" in headers:
            found.append(follow("Forwarded", peer, forwarded_hops(headers["forwarded"]), self.is_trusted))
        if not found:
            found.append(Sender(peer, is_secure(headers.get("x-forwarded-proto", ()))))
        if len({each.address for each in found}) > 1:
            # One of them is from the client: a proxy that sets one header mostly passes on the other.
            raise bad(
                "X-Forwarded-For and Forwarded name different clients; the proxy has to drop the one it does not set"
            )
        return Sender(apart(found[0].address), any(each.is_secure for each in found))


def read_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks; `ValueError` for what is neither."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def apart(address: str) -> str:
    """An address that came through a proxy: one of a loopback is not this machine's own, and has no privileges."""
    return f"proxied:{address}" if is_loopback(address) else address


def plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; one of IPv4 that is written as IPv6 is one of IPv4.  `ValueError` for what is none."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{text!r} has a scope")
        return address.ipv4_mapped or address
    return address


def bad(message: str) -> Denied:
    return Denied(HTTPStatus.BAD_REQUEST, "bad_request", message)


# The headers


def follow(header: str, peer: str, hops: Sequence[Hop], is_trusted: Callable[[str], bool]) -> Sender:
    """Go back from the peer through trusted proxies to whoever called the first of them.

    Where a proxy does not tell who has called it, that proxy is as far as is known.
    """
    if len(hops) > MAX_HOPS:
        raise bad(f"{header} has {len(hops)} hops, {MAX_HOPS} at most are read")
    last = Sender(peer)
    for node, secure in reversed(hops):
        try:
            address = read_node(node)
        except ValueError:
            raise bad(f"{header}: {node[:60]!r} is no address; the proxy has to send one, as in 192.0.2.1") from None
        if address is None:
            return Sender(last.address, secure)
        last = Sender(address, secure)
        if not is_trusted(address):
            break
    return last


def read_node(node: str) -> str | None:
    """The address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.

    None for one that its proxy keeps to itself: `unknown`, or a word after `_` (RFC 7239 sections 6.2 and 6.3).
    """
    if node.count(":") > 1 and not node.startswith("["):
        return str(plain(node))
    parts = NODE.fullmatch(node)
    if parts is None:
        raise ValueError(node)
    bracketed, bare = parts.groups()
    if bracketed is not None:
        return str(plain(str(ipaddress.IPv6Address(bracketed))))
    if bare.lower() == "unknown" or (bare.startswith("_") and len(bare) > 1):
        return None
    return str(ipaddress.IPv4Address(bare))


def x_forwarded_hops(headers: Headers) -> list[Hop]:
    """The chain in X-Forwarded-For, of which several lines are one list (RFC 9110 section 5.3)."""
    secure = is_secure(headers.get("x-forwarded-proto", ()))
    return [Hop(node.strip(), secure) for node in ",".join(headers["x-forwarded-for"]).split(",")]


def is_secure(lines: Sequence[str]) -> bool:
    """Whether the nearest proxy's X-Forwarded-Proto says HTTPS."""
    return bool(lines) and lines[-1].rpartition(",")[2].strip().lower() in ("https", "wss")


def forwarded_hops(lines: Sequence[str]) -> list[Hop]:
    """The chain in Forwarded (RFC 7239 section 4).  Each line is read by itself, so that no quote reaches over two."""
    return [hop for line in lines for hop in forwarded_line(line)]


def forwarded_line(line: str) -> list[Hop]:
    hops: list[Hop] = []
    pairs: dict[str, str] = {}
    at = 0
    while True:
        found = PAIR.match(line, at)
        if found is None or found[1].lower() in pairs:
            raise bad(f"Forwarded: {line[at : at + 60]!r} cannot be read; it is like for=192.0.2.1;proto=https")
        value = found[2]
        pairs[found[1].lower()] = ESCAPE.sub(r"\1", value[1:-1]) if value.startswith('"') else value
        at = found.end()
        mark = line[at : at + 1]
        if mark in (",", ""):
            hops.append(Hop(pairs.get("for", "unknown"), pairs.get("proto", "").lower() in ("https", "wss")))
            pairs = {}
        elif mark != ";":
            raise bad(f"Forwarded: {line[at : at + 60]!r} cannot be read; it is like for=192.0.2.1;proto=https")
        if not mark:
            return hops
        at += 1


# The PROXY protocol, version 2 (the specification that comes with HAProxy, section 2.2)


def proxy_header_size(prefix: bytes) -> int:
    """How many bytes follow a header's first 16.

    Raises:
        ValueError: it is no such header, or too long.
    """
    if not prefix.startswith(SIGNATURE):
        raise ValueError("no PROXY protocol header of version 2")
    if prefix[12] >> 4 != 2:
        raise ValueError(f"version {prefix[12] >> 4} of the PROXY protocol, 2 is right")
    size = int.from_bytes(prefix[14:16], "big")
    if size > MAX_REST:
        raise ValueError(f"a PROXY protocol header of {size} bytes, {MAX_REST} at most are read")
    return size


def proxy_header_source(prefix: bytes, rest: bytes) -> str | None:
    """Where a proxied connection comes from; None where the proxy does not tell, or itself connects.

    Raises:
        ValueError: the header is broken.
    """
    command = prefix[12] & 0xF
    if command > 1:
        raise ValueError(f"command {command} of the PROXY protocol, 0 and 1 are known")
    size = TCP.get(prefix[13])
    if command == 0 or size is None:
        return None
    if len(rest) < 2 * size + 4:
        raise ValueError(f"{len(rest)} bytes for two addresses and ports, {2 * size + 4} are right")
    return str(plain(str(ipaddress.ip_address(rest[:size]))))
