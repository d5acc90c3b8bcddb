"""The names and links of a server that others use."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import pytest

from hubbub import names
from hubbub.addresses import Address
from hubbub.certs import Names, local_names, new_ca, new_leaf, write_pair
from hubbub.links import link_from_here, links_for_others
from hubbub.names import certified_names
from hubbub.settings import Settings

HERE = [ipaddress.ip_address(text) for text in ("192.168.1.5", "203.0.113.9", "fd00::5", "2001:db8::5")]
NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def listening(*addresses: str) -> list[Address]:
    return [ipaddress.ip_address(address) for address in addresses]


@pytest.mark.parametrize(
    ("addresses", "link"),
    [
        (["127.0.0.1"], "https://localhost:8080"),
        (["0.0.0.0"], "https://localhost:8080"),
        (["::"], "https://localhost:8080"),
        (["192.168.1.5"], "https://192.168.1.5:8080"),
        (["fd00::5"], "https://[fd00::5]:8080"),
    ],
)
def test_no_link_is_to_all_addresses(addresses: list[str], link: str) -> None:
    assert link_from_here(Settings(), 8080, listening(*addresses)) == link


@pytest.mark.parametrize(
    ("settings", "addresses", "links"),
    [
        (Settings(), ["127.0.0.1"], []),
        (Settings(host="localhost", name=("chat.example",)), ["127.0.0.1"], []),
        (Settings(host="0.0.0.0"), ["0.0.0.0"], ["https://192.168.1.5:8080"]),
        (Settings(host="::"), ["::"], ["https://[fd00::5]:8080"]),
        (
            Settings(host="0.0.0.0", name=("Chat.Example", "203.0.113.9")),
            ["0.0.0.0"],
            ["https://chat.example:8080", "https://203.0.113.9:8080", "https://192.168.1.5:8080"],
        ),
        (Settings(host="203.0.113.9"), ["203.0.113.9"], ["https://203.0.113.9:8080"]),
        (
            Settings(host="0.0.0.0", no_tls=True),
            ["0.0.0.0"],
            ["http://192.168.1.5:8080", "http://203.0.113.9:8080"],
        ),
    ],
)
def test_others_get_links_to_what_the_certificate_is_for(
    settings: Settings, addresses: list[str], links: list[str]
) -> None:
    assert links_for_others(settings, 8080, listening(*addresses), HERE) == links


def test_with_a_certificate_of_ones_own_its_names_are_the_links(tmp_path: Path) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    named = Names(["chat.example", "*.chat.example", "127.0.0.1"])
    write_pair(chain, key, new_leaf(new_ca(Names(["another.example"]), NOW), named, NOW))
    settings = Settings(host="0.0.0.0", tls_cert=chain, tls_key=key)
    assert links_for_others(settings, 443, listening("0.0.0.0"), HERE) == ["https://chat.example:443"]


def test_a_machine_with_many_addresses_has_few_links() -> None:
    many = [ipaddress.ip_address(f"10.0.0.{number}") for number in range(1, 100)]
    assert len(links_for_others(Settings(host="0.0.0.0"), 8080, listening("0.0.0.0"), many)) == 8


# What the certificate is for


def test_on_loopback_it_is_for_this_machine_and_the_names_that_are_set() -> None:
    assert certified_names(Settings(name=("Chat.Example",)), HERE) == Names([*local_names(), "chat.example"], [], False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_where_others_connect_it_is_for_private_addresses_too(host: str) -> None:
    found = certified_names(Settings(host=host), HERE)
    assert found == Names(local_names(), ["192.168.1.5", "fd00::5"], True)


def test_a_host_is_in_it_where_it_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "203.0.113.9" in certified_names(Settings(host="203.0.113.9"), HERE).wanted
    assert "203.0.113.8" not in certified_names(Settings(host="203.0.113.8"), HERE).wanted
    monkeypatch.setattr(names, "addresses_of", {"box.lan": set(HERE[:1]), "bax.lan": set[Address]()}.__getitem__)
    assert "box.lan" in certified_names(Settings(host="box.lan"), HERE).wanted
    assert "bax.lan" not in certified_names(Settings(host="bax.lan"), HERE).wanted
