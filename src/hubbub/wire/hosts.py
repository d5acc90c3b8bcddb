"""The names that a server answers to: what a request's Host may be.

A page of a foreign site may have its own name resolve to this server (DNS rebinding), and is then of the same origin as
it; only the name in Host tells.  Such a page cannot have an IP address for its host, so the address that the connection
came to is right too.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus

import structlog

from hubbub.ration import Ration
from hubbub.wire.denial import Denied

__all__ = ["Hosts", "host_name", "is_pattern", "local_address", "no_host"]

log = structlog.get_logger("hubbub.http")

# RFC 3986 section 3.2.2, without a user; a port may be empty.
HOST = re.compile(
    r"(\[[0-9A-Fa-f:.]{2,45}\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2}){1,255})(?::([0-9]{0,5}))?", re.ASCII
)
PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", re.ASCII)
MAX_PORT = 65535
ANY = "*"
# Warnings of requests for another host.
LINES, LINES_EVERY_S = 5, 10.0
MAX_SHOWN = 80
# Ways to write the names, with ports and capitals, that are known again at once.
MAX_SEEN = 64


def host_name(host: str) -> str | None:
    """The name or address in a Host, in lower case, without port, brackets and last dot; None for what is no host."""
    found = HOST.fullmatch(host)
    if found is None or int(found[2] or 0) > MAX_PORT:
        return None
    name = found[1].lower()
    if name.startswith("["):
        address = read_address(name[1:-1])
        return str(address) if address is not None and address.version == 6 else None
    return name.removesuffix(".") or None


def no_host() -> Denied:
    """A request whose host is none."""
    message = "the request's host is not like example.org or example.org:8080"
    return Denied(HTTPStatus.BAD_REQUEST, "bad_request", message)


def is_pattern(name: str) -> bool:
    """Whether a name may stand in a list of them: a host name, an address, `*.` and a host name, or `*`."""
    return name == ANY or read_address(bare(name)) is not None or PATTERN.fullmatch(name.lower()) is not None


def bare(name: str) -> str:
    """A name without the brackets that an IPv6 address may have."""
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def local_address(transport: asyncio.Transport) -> str:
    """The address that a connection came to; nothing when it cannot be told."""
    here = transport.get_extra_info("sockname")
    return str(here[0]).partition("%")[0] if here else ""


def read_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a name is; None for one that is none."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


class Hosts:
    """The names and addresses that a server answers to; all of the loopback's are among them.

    Args:
        names: the others.  A name that begins with `*.` stands for those with any one label in the star's place
            (RFC 9525 section 6.3); `*` stands for every name.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        listed = {bare(name.lower()).removesuffix(".") for name in names}
        self._is_any = ANY in listed
        self._parents = {name[2:] for name in listed if name.startswith("*.")}
        self._names = {"localhost", "127.0.0.1", "::1"}
        for name in listed:
            address = read_address(name)
            # A page may call 0.0.0.0, which leads to this machine, by that name.
            if address is None or not address.is_unspecified:
                self._names.add(name if address is None else str(address))
        # What requests have asked for with right, as it stood in them: most ask for the same.
        self._seen: set[str] = set()
        self._lines = Ration(LINES, LINES_EVERY_S)

    def check(self, host: str, local_address: Callable[[], str], address: str, now: float) -> None:
        """Check that a request is for this server, and log that it is not.

        Args:
            host: what it is for, as in `Host`.
            local_address: the address that the connection came to.
            address: the client's.
            now: seconds.

        Raises:
            Denied: 400 for what is no host, 421 (RFC 9110 section 15.5.20) for another one.
        """
        if host in self._seen:
            return
        name = host_name(host)
        if name is None:
            raise no_host()
        if self.answer_to(name, local_address):
            if name in self._names and len(self._seen) < MAX_SEEN:
                self._seen.add(host)
            return
        left_out = self._lines.take(now)
        if left_out is not None:
            log.warning(
                "request for a host that is not ours; if it is, set --allow-host; else a proxy may not pass Host on",
                host=name[:MAX_SHOWN],
                address=address,
                left_out=left_out,
            )
        shown = name[:MAX_SHOWN]
        message = (
            f"this server does not go by the name {shown}; see --allow-host, or let the proxy pass Host on as it came"
        )
        raise Denied(HTTPStatus.MISDIRECTED_REQUEST, "misdirected", message)

    def answer_to(self, name: str, local_address: Callable[[], str]) -> bool:
        """Whether it answers to a name of `host_name`.

        Args:
            local_address: the address that the connection came to.
        """
        if name in self._names or self._is_any:
            return True
        if name[-1:].isdigit() or ":" in name:
            address = read_address(name)
            if address is not None:
                return address.is_loopback or (not address.is_unspecified and name == local_address())
        label, _, parent = name.partition(".")
        return bool(label) and parent in self._parents
