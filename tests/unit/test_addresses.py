"""The addresses of this machine, read from the kernel's replies."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import addresses
from hubbub.addresses import (
    ADDRESS,
    ATTRIBUTE,
    HEADER,
    IFA_ADDRESS,
    IFA_FLAGS,
    IFA_LOCAL,
    NLMSG_DONE,
    RTM_NEWADDR,
    is_private,
    own_addresses,
    read_addresses,
)

LINK = 253
TEMPORARY = 0x01


def message(kind: int, body: bytes) -> bytes:
    size = HEADER.size + len(body)
    return HEADER.pack(size, kind, 0, 1, 0) + body + bytes(-size % 4)


def attribute(kind: int, value: bytes) -> bytes:
    size = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(size, kind) + value + bytes(-size % 4)


def told(address: str, *, scope: int = 0, flags: int = 0, peer: str = "") -> bytes:
    """What the kernel says of an address."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    body = ADDRESS.pack(family, 24, flags & 0xFF, scope, 2)
    if peer:
        body += attribute(IFA_ADDRESS, socket.inet_aton(peer)) + attribute(IFA_LOCAL, packed)
    else:
        body += attribute(IFA_ADDRESS, packed)
    return message(RTM_NEWADDR, body + attribute(IFA_FLAGS, flags.to_bytes(4, "little")))


def test_lasting_addresses_of_the_network_are_read() -> None:
    reply = told("192.168.1.5") + told("10.0.0.1", peer="10.0.0.2") + told("2001:db8::5") + message(NLMSG_DONE, b"")
    assert [str(address) for address in read_addresses(iter([reply, told("fd00::5")]))] == [
        *("192.168.1.5", "10.0.0.1", "2001:db8::5", "fd00::5")
    ]


@pytest.mark.parametrize(
    "reply",
    [
        told("127.0.0.1"),
        told("::1"),
        told("fe80::1", scope=LINK),
        told("169.254.1.1"),
        told("2001:db8::5", flags=TEMPORARY),
        told("2001:db8::5", flags=0x40),  # tentative
        message(RTM_NEWADDR, b"short"),
        message(16, b"a link, and no address" * 2),
        b"",
    ],
)
def test_others_are_left_out(reply: bytes) -> None:
    assert list(read_addresses(iter([reply]))) == []


@given(st.lists(st.binary(max_size=80), max_size=3))
def test_whatever_comes_is_read_to_its_end(replies: list[bytes]) -> None:
    list(read_addresses(iter(replies)))


def test_the_way_out_comes_first_and_each_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def dump() -> Iterator[bytes]:
        yield told("172.17.0.1") + told("192.168.1.5") + told("172.17.0.1")

    monkeypatch.setattr(addresses, "dump", dump)
    monkeypatch.setattr(addresses, "outward_address", lambda _family: "192.168.1.5")
    assert [str(address) for address in own_addresses()] == ["192.168.1.5", "172.17.0.1"]


def test_where_the_kernel_does_not_tell_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Iterator[bytes]:
        raise PermissionError

    monkeypatch.setattr(addresses, "dump", refuse)
    assert own_addresses() == []


@pytest.mark.parametrize(
    ("address", "is_one"),
    [("10.1.2.3", True), ("172.32.0.1", False), ("fd12::1", True), ("2001:db8::1", False), ("192.0.2.1", False)],
)
def test_private_networks_are_told_apart(address: str, is_one: bool) -> None:
    assert is_private(ipaddress.ip_address(address)) == is_one
