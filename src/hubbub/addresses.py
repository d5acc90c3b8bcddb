"""The addresses of this machine, as the kernel has them (rtnetlink(7))."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator

__all__ = ["PRIVATE", "Address", "Network", "is_private", "own_addresses", "read_addresses"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Networks whose addresses mean something on the spot alone (RFC 1918, RFC 6598, RFC 4193).
PRIVATE: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)

RTM_NEWADDR, RTM_GETADDR, NLMSG_DONE = 20, 22, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x001, 0x300
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
SCOPE_UNIVERSE = 0
# Temporary, not unique, deprecated, tentative: none that others should be told of.
PASSING = 0x01 | 0x08 | 0x20 | 0x40

HEADER = struct.Struct("=IHHII")
# Family, bits of the prefix, flags, scope, index of the interface.
ADDRESS = struct.Struct("=BBBBI")
ATTRIBUTE = struct.Struct("=HH")

MAX_REPLIES = 1000
REPLY_SIZE = 1 << 16
# Addresses that a machine with many (of containers, say) is known by.
MAX_ADDRESSES = 32
TIMEOUT_S = 2.0
# For documentation alone (RFC 5737, RFC 3849): nothing is sent there, only the way to it is looked up.
FAR = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


def is_private(address: Address) -> bool:
    """Whether an address is of a private network."""
    return any(address in network for network in PRIVATE if network.version == address.version)


def own_addresses() -> list[Address]:
    """The lasting addresses of this machine that others may reach it by: those of its way out first."""
    with contextlib.suppress(OSError):
        found = list(dict.fromkeys(read_addresses(dump())))
        outward = [outward_address(family) for family in FAR]
        return sorted(found, key=lambda address: str(address) not in outward)[:MAX_ADDRESSES]
    return []


def dump() -> Iterator[bytes]:
    """What the kernel answers to who asks for all addresses."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as sock:
        sock.settimeout(TIMEOUT_S)
        size = HEADER.size + ADDRESS.size
        sock.send(HEADER.pack(size, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + ADDRESS.pack(0, 0, 0, 0, 0))
        for _ in range(MAX_REPLIES):
            reply = sock.recv(REPLY_SIZE)
            yield reply
            if any(kind == NLMSG_DONE for kind, _ in messages(reply)):
                return


def read_addresses(replies: Iterator[bytes]) -> Iterator[Address]:
    """The addresses in the kernel's replies: of all scopes but the machine's and the link's, and that last."""
    for reply in replies:
        for kind, body in messages(reply):
            if kind == RTM_NEWADDR and len(body) >= ADDRESS.size:
                family, _bits, flags, scope, _index = ADDRESS.unpack_from(body)
                values = dict(attributes(body[ADDRESS.size :]))
                if IFA_FLAGS in values:
                    flags = int.from_bytes(values[IFA_FLAGS], sys.byteorder)
                # Between two points, one is the own address and the other one's the peer's.
                packed = values.get(IFA_LOCAL, values.get(IFA_ADDRESS, b""))
                if scope == SCOPE_UNIVERSE and not flags & PASSING and family in FAR and len(packed) in (4, 16):
                    address = ipaddress.ip_address(packed)
                    if not (address.is_loopback or address.is_link_local or address.is_multicast):
                        yield address


def messages(reply: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages of a reply: the kind and the body of each."""
    at = 0
    while at + HEADER.size <= len(reply):
        size, kind, *_ = HEADER.unpack_from(reply, at)
        if size < HEADER.size:
            return
        yield kind, reply[at + HEADER.size : at + size]
        at += aligned(size)


def attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a message: the kind and the value of each."""
    at = 0
    while at + ATTRIBUTE.size <= len(body):
        size, kind = ATTRIBUTE.unpack_from(body, at)
        if size < ATTRIBUTE.size:
            return
        yield kind, body[at + ATTRIBUTE.size : at + size]
        at += aligned(size)


def aligned(size: int) -> int:
    """A size with the padding behind it."""
    return (size + 3) & ~3


def outward_address(family: int) -> str:
    """The address of this machine on its way to the others; nothing without one."""
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.connect((FAR[socket.AddressFamily(family)], 9))
        return str(sock.getsockname()[0])
    return ""
