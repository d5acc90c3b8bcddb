"""Settings that cannot be are refused before anything is opened, by the name of the option."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from hubbub.checks import MAX_NUMBER, MAX_WORKERS, check_settings
from hubbub.errors import ConfigError
from hubbub.names import is_local
from hubbub.settings import Settings

PEM = Path("some.pem")

NUMBERS = [field.name for field in fields(Settings) if type(getattr(Settings(), field.name)) in (int, float)] + [
    "max_clients"
]


def refusal(**settings: Any) -> str:
    """The one line with which settings are refused."""
    with pytest.raises(ConfigError) as refused:
        check_settings(Settings(**settings))
    line = str(refused.value)
    assert "\n" not in line
    return line


def assert_taken(**settings: Any) -> None:
    check_settings(Settings(**settings))


def test_the_defaults_are_right() -> None:
    assert_taken()


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), MAX_NUMBER * 2])
def test_a_number_that_means_nothing_is_refused_by_its_option(name: str, value: float) -> None:
    assert refusal(**{name: value}).startswith(f"--{name.replace('_', '-')} {value}: ")


@pytest.mark.parametrize("name", sorted({*NUMBERS} - {"otp_ttl", "session_ttl", "heartbeat_timeout", "workers"}))
def test_nought_is_for_none(name: str) -> None:
    assert_taken(**{name: 0})


@pytest.mark.parametrize("name", ["otp_ttl", "session_ttl"])
def test_a_life_of_no_time_is_refused(name: str) -> None:
    assert refusal(**{name: 0}).startswith(f"--{name.replace('_', '-')} 0: ")


@pytest.mark.parametrize("workers", [0, MAX_WORKERS + 1])
def test_workers_are_some_but_not_too_many(workers: int) -> None:
    assert refusal(workers=workers) == f"--workers {workers}: a number from 1 to {MAX_WORKERS}"


def test_what_is_inflated_needs_a_limit() -> None:
    assert refusal(compression=True, max_frame=0).startswith("--compression needs a --max-frame above 0")
    assert_taken(max_frame=0)
    assert_taken(compression=True)


def test_a_heartbeat_needs_a_timeout() -> None:
    assert refusal(compression=True, max_frame=0).startswith("--compression needs a --max-frame above 0")
    assert_taken(max_frame=0)
    assert_taken(compression=True)
    assert refusal(heartbeat_timeout=0).startswith("--heartbeat-timeout 0: ")
    assert_taken(heartbeat_timeout=0, heartbeat_interval=0)


def test_a_port_has_sixteen_bits() -> None:
    assert_taken(port=65535)
    assert refusal(port=65536) == "--port 65536: a number from 0 to 65535, 0 for a free one"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_the_demo_is_for_this_machine(host: str) -> None:
    assert is_local(host)
    assert_taken(demo=True, host=host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "chat.example", ""])
def test_the_demo_is_for_no_other(host: str) -> None:
    assert not is_local(host)
    assert_taken(host=host)
    line = refusal(demo=True, host=host)
    assert line.startswith("--demo ")
    assert f"--host {host}" in line


def test_a_certificate_has_its_key_beside_it() -> None:
    assert_taken(tls_cert=PEM, tls_key=PEM)
    assert refusal(tls_cert=PEM) == "--tls-cert needs --tls-key beside it"
    assert refusal(tls_key=PEM) == "--tls-key needs --tls-cert beside it"


def test_a_certificate_is_for_tls() -> None:
    line = refusal(tls_cert=PEM, tls_key=PEM, no_tls=True)
    assert "--tls-cert" in line
    assert "--no-tls" in line


@pytest.mark.parametrize("name", ["chat.example", "chat", "192.0.2.1", "[2001:db8::1]", "xn--bcher-kva.example"])
def test_a_name_for_others_is_one_name(name: str) -> None:
    assert_taken(name=("other.example", name))


@pytest.mark.parametrize(
    "name",
    ["", "*", "*.example", "0.0.0.0", "::", "https://a.example", "a.example:8080", "bücher.example", "a b"],
)
def test_what_is_no_name_for_others_is_refused(name: str) -> None:
    assert refusal(name=("other.example", name)).startswith(f"--name {name!r}: ")


@pytest.mark.parametrize("name", ["*", "chat.example", "*.chat.example", "192.0.2.1", "::1", "[::1]"])
def test_a_host_is_a_name_or_an_address(name: str) -> None:
    assert_taken(allow_host=("other.example", name))


@pytest.mark.parametrize("name", ["", "chat.example:80", "http://chat.example", "chat.*", "a b", "[", "[chat.example"])
def test_what_is_no_host_is_refused(name: str) -> None:
    assert refusal(allow_host=("other.example", name)).startswith(f"--allow-host {name!r}: ")


@pytest.mark.parametrize(
    "origin", ["https://chat.example", "http://chat.example:8080", "https://chat.example/", "https://[::1]:8443"]
)
def test_an_origin_is_a_scheme_a_host_and_a_port(origin: str) -> None:
    assert_taken(allow_origin=("https://other.example", origin))


@pytest.mark.parametrize(
    "origin",
    [
        "chat.example",
        "https://",
        "*",
        "https://*.example",
        "https://chat.example/page",
        "ftp://a.example",
        "http://[",
        "",
    ],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    assert refusal(allow_origin=("https://other.example", origin)).startswith(f"--allow-origin {origin!r}: ")


@pytest.mark.parametrize("proxy", ["10.0.0.1/8", "proxy.example", "10.0.0.0/33", ""])
def test_a_proxy_that_is_no_address_is_named(proxy: str) -> None:
    with pytest.raises(ConfigError, match=r"--trusted-proxy .*10\.0\.0\.0/8"):
        check_settings(Settings(trusted_proxy=("10.0.0.1", "2001:db8::/32", proxy)))


def test_the_proxy_protocol_needs_somebody_who_is_trusted_to_speak_it() -> None:
    check_settings(Settings(trusted_proxy=("::1",), proxy_protocol=True))
    with pytest.raises(ConfigError, match="needs --trusted-proxy"):
        check_settings(Settings(proxy_protocol=True))
