"""What proxies send: it is read or refused, and nobody gets the privileges of this machine by it."""

from __future__ import annotations

import ipaddress
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.cuts import mutate, mutations
from fuzz.effort import effort
from fuzz.watch import unharmed, work
from hubbub.policy import is_loopback, network_of
from hubbub.wire.denial import Denied
from hubbub.wire.hosts import Hosts, host_name
from hubbub.wire.proxy import (
    MAX_REST,
    PREFIX_SIZE,
    SIGNATURE,
    Proxies,
    apart,
    proxy_header_size,
    proxy_header_source,
)

TRUSTED = Proxies(["10.0.0.0/8", "2001:db8::/32"])
STEPS_PER_BYTE, STEPS = 30, 400
FAR_TOO_LONG_S = 2.0

nodes = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(
        ["127.0.0.1", "::1", "[::1]:80", "::ffff:127.0.0.1", "10.0.0.2", "10.0.0.2:1", "unknown", "_x", ""]
    ),
    st.text('0123456789abcdef.:[]"\\%_ ', max_size=20),
)
chains = st.lists(nodes, max_size=5).map(", ".join)
pairs = st.builds(
    "{}{}{}".format,
    st.sampled_from(["for", "For", "proto", "by", "host", "x"]),
    st.sampled_from(["=", "", " = "]),
    st.one_of(nodes, nodes.map('"{}"'.format), st.sampled_from(["https", '"\\', "wss"])),
)
forwarded = st.lists(st.lists(pairs, max_size=3).map(";".join), max_size=4).map(",".join) | st.text(max_size=30)
headers = st.fixed_dictionaries(
    {},
    optional={
        "x-forwarded-for": st.lists(chains, min_size=1, max_size=3),
        "forwarded": st.lists(forwarded, min_size=1, max_size=3),
        "x-forwarded-proto": st.lists(
            st.sampled_from(["https", "http", "wss,http", "", "\xff"]), min_size=1, max_size=2
        ),
    },
)


@effort(300)
@given(st.sampled_from(["10.0.0.1", "2001:db8::1", "192.0.2.1", "127.0.0.1"]), headers)
def test_a_sender_is_an_address_that_is_not_this_machines(peer: str, sent: dict[str, list[str]]) -> None:
    with unharmed(), work() as done:
        try:
            address, is_secure = TRUSTED.sender(peer, sent)
        except Denied as denied:
            assert denied.status == 400 and TRUSTED.is_trusted(peer)
            return
    assert done.steps <= STEPS + STEPS_PER_BYTE * sum(len(line) for lines in sent.values() for line in lines)
    if not TRUSTED.is_trusted(peer):
        assert (address, is_secure) == (peer, False)
    else:
        assert not is_loopback(address)
        ipaddress.ip_address(address.removeprefix("proxied:"))
    assert network_of(address)


addresses = st.one_of(st.binary(min_size=12, max_size=12), st.binary(min_size=36, max_size=36), st.binary(max_size=60))
proxy_headers = st.builds(
    lambda command, family, rest: SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2, "big") + rest,
    st.sampled_from([0x20, 0x21, 0x22, 0x11]),
    st.sampled_from([0x11, 0x21, 0x00, 0x12, 0x31]),
    addresses,
)


@effort(500)
@given(st.builds(mutate, proxy_headers, mutations) | st.binary(max_size=40))
def test_a_proxy_protocol_header_is_read_or_refused(data: bytes) -> None:
    prefix = data[:PREFIX_SIZE]
    if len(prefix) < PREFIX_SIZE:
        return  # the reader waits for the rest
    try:
        size = proxy_header_size(prefix)
        assert 0 <= size <= MAX_REST
        source = proxy_header_source(prefix, data[PREFIX_SIZE : PREFIX_SIZE + size])
    except ValueError as error:
        assert str(error)
        return
    assert data.startswith(SIGNATURE) and prefix[12] in (0x20, 0x21)
    if source is not None:
        ipaddress.ip_address(source)
        assert not is_loopback(apart(source))


@effort(300)
@given(
    st.one_of(
        st.text(max_size=30),
        st.text("ab.:[]0123456789%-*", max_size=30),
        st.builds("{}{}".format, nodes, st.sampled_from(["", ":80", ":99999", ".", ":"])),
    )
)
def test_a_host_is_ours_or_refused(host: str) -> None:
    hosts = Hosts(["chat.example", "*.wild.example"])
    name = host_name(host)
    try:
        hosts.check(host, lambda: "192.0.2.1", "203.0.113.9", 0.0)
    except Denied as denied:
        assert denied.status == (400 if name is None else 421)
        return
    assert name is not None
    is_named = name in ("localhost", "chat.example", "192.0.2.1") or name.endswith(".wild.example")
    assert is_named or ipaddress.ip_address(name).is_loopback


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("forwarded", 'for="' + "\\" * 16_000),
        ("forwarded", "for=1;" * 2_500),
        ("forwarded", " \t" * 8_000),
        ("forwarded", "for=x" * 3_000 + '"'),
        ("x-forwarded-for", "," * 16_000),
        ("x-forwarded-for", ":" * 16_000),
        ("x-forwarded-for", "[" * 16_000),
        ("x-forwarded-for", "1" * 16_000),
    ],
)
def test_a_long_header_takes_no_explosion_of_work(header: str, value: str) -> None:
    started = time.process_time()
    with pytest.raises(Denied):
        TRUSTED.sender("10.0.0.1", {header: [value]})
    assert time.process_time() - started < FAR_TOO_LONG_S
