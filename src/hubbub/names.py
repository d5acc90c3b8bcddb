"""The names that a server goes by: where it listens, what its certificate says, and what is set."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from pathlib import Path

from cryptography import x509

from hubbub.addresses import Address, is_private
from hubbub.certs import Names, local_names
from hubbub.policy import is_loopback
from hubbub.settings import Settings

__all__ = ["certified_names", "is_local", "is_one", "names_in", "plain", "read_address", "server_names"]


def certified_names(settings: Settings, addresses: Collection[Address]) -> Names:
    """What our own certificate is for: this machine's names, those that are set, and its private addresses.

    A public address is not the machine's for long, as a rule: who wants it certified sets it as a name.

    Args:
        addresses: this machine's; they play a part only where others can connect.
    """
    is_open = not is_local(settings.host)
    own = set(addresses) if is_open else set()
    # A mistyped host is refused later, and must not cost the CA that others trust.
    wanted = [*([settings.host] if is_one(settings.host) and own & addresses_of(settings.host) else []), *settings.name]
    seen = [str(each) for each in addresses if is_private(each) and each in own]
    return Names(list(dict.fromkeys([*local_names(), *map(plain, wanted)])), seen, is_open)


def addresses_of(host: str) -> set[Address]:
    """The addresses that a host stands for."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return set()
    return {ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found}


def is_local(host: str) -> bool:
    """Whether a host to listen on is this machine alone."""
    return is_loopback(host) or host == "localhost"


def is_one(host: str) -> bool:
    """Whether what is listened to is one name or address that others know."""
    address = read_address(host)
    return host.isascii() and bool(host) and "%" not in host and (address is None or not address.is_unspecified)


def server_names(settings: Settings) -> list[str]:
    """The names and addresses that a request to the server may be for, besides loopback's."""
    certified = local_names() if settings.tls_cert is None else names_in(settings.tls_cert)
    return [settings.host, *certified, *settings.name, *settings.allow_host]


def names_in(chain: Path) -> list[str]:
    """The names and addresses of the certificate that a file begins with; its CN is none (RFC 9525 section 6.1)."""
    certificate = x509.load_pem_x509_certificate(chain.read_bytes())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    ]


def plain(name: str) -> str:
    """A name as it is written shortest: in lower case, without the last dot and an address' brackets."""
    address = read_address(name)
    return str(address) if address is not None else name.lower().removesuffix(".")


def read_address(name: str) -> Address | None:
    """The IP address that a name is, in brackets or not; None for one that is none."""
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
