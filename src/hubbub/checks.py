"""Refusing settings that cannot be, before anything is opened."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from hubbub.errors import ConfigError
from hubbub.names import is_local, read_address
from hubbub.rules import Rules
from hubbub.settings import Settings
from hubbub.signers import source_of
from hubbub.wire.hosts import is_pattern
from hubbub.wire.proxy import read_networks

__all__ = ["check_settings"]

MAX_PORT = 65535
MAX_NUMBER = 1 << 48
MAX_WORKERS = 64
# Whatever waits for the end of the process has given up by then.
MAX_DRAIN_DELAY_S = 600


def check_settings(settings: Settings) -> None:
    """Refuse what cannot be.

    Raises:
        ConfigError: with one line that names the option, what is wrong with it, and what would be right.
    """
    check_numbers(settings)
    check_proxies(settings)
    Rules(settings.permissions, settings.private_rooms)
    check_tokens(settings)
    check_second_door(settings)
    check_compression(settings)
    if settings.demo and not is_local(settings.host):
        raise ConfigError(
            f"--demo makes accounts with a known password, not for --host {settings.host}; leave one of them out"
        )
    if (settings.tls_cert is None) != (settings.tls_key is None):
        given, missing = ("--tls-cert", "--tls-key") if settings.tls_cert else ("--tls-key", "--tls-cert")
        raise ConfigError(f"{given} needs {missing} beside it")
    if settings.tls_cert is not None and settings.no_tls:
        raise ConfigError("--tls-cert and --no-tls exclude each other; leave one of them out")
    for origin in settings.allow_origin:
        parts = split_url(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or "*" in origin:
            raise ConfigError(
                f"--allow-origin {origin!r}: an origin is like https://chat.example.com, without path or *"
            )
    for name in settings.name:
        address = read_address(name)
        if "*" in name or not is_pattern(name) or (address is not None and address.is_unspecified):
            raise ConfigError(
                f"--name {name!r}: a name is like chat.example.com or 192.0.2.1, without https:// and port"
            )
    for name in settings.allow_host:
        if not is_pattern(name):
            raise ConfigError(
                f"--allow-host {name!r}: a name is like chat.example.com, *.example.com or 192.0.2.1, without port"
            )


def check_tokens(settings: Settings) -> None:
    """Refuse a key that verifies nothing, and what means nothing without one."""
    if settings.jwt_key is not None:
        source_of(settings.jwt_key)
        return
    for name in ("jwt_audience", "jwt_issuer", "jwt_role_claim", "jwt_info_claim"):
        if getattr(settings, name):
            raise ConfigError(f"--{name.replace('_', '-')} needs --jwt-key beside it")


def check_proxies(settings: Settings) -> None:
    """Refuse proxies that are no addresses, and a protocol that nobody is trusted to speak."""
    for text in settings.trusted_proxy:
        try:
            read_networks([text])
        except ValueError as error:
            raise ConfigError(
                f"--trusted-proxy {text!r}: {error}; an address or a network is like 10.0.0.1 or 10.0.0.0/8"
            ) from None
    if settings.proxy_protocol and not settings.trusted_proxy:
        raise ConfigError("--proxy-protocol needs --trusted-proxy beside it: the proxy's address")


def check_second_door(settings: Settings) -> None:
    """Refuse what is configured of the door for Centrifugo's clients, and cannot be."""
    if settings.centrifugo is None:
        return
    from hubbub.door.configuration import door_settings  # nothing of it is loaded where it is not configured

    door_settings(settings)


def check_compression(settings: Settings) -> None:
    """Refuse to inflate without end."""
    if settings.compression and not settings.max_frame:
        raise ConfigError("--compression needs a --max-frame above 0: a few bytes may be inflated to any number")


def check_numbers(settings: Settings) -> None:
    """Refuse numbers that mean nothing."""
    for name, value in vars(settings).items():
        if isinstance(value, (int, float)) and not 0 <= value <= MAX_NUMBER:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: a number from 0 on, 0 for none")
    if settings.port > MAX_PORT:
        raise ConfigError(f"--port {settings.port}: a number from 0 to {MAX_PORT}, 0 for a free one")
    if not 1 <= settings.workers <= MAX_WORKERS:
        raise ConfigError(f"--workers {settings.workers}: a number from 1 to {MAX_WORKERS}")
    if settings.drain_delay > MAX_DRAIN_DELAY_S:
        raise ConfigError(f"--drain-delay {settings.drain_delay:g}: a number of seconds up to {MAX_DRAIN_DELAY_S}")
    for name in ("otp_ttl", "session_ttl"):
        if not getattr(settings, name):
            raise ConfigError(f"--{name.replace('_', '-')} 0: a number of seconds above 0")
    if settings.heartbeat_interval and not settings.heartbeat_timeout:
        raise ConfigError("--heartbeat-timeout 0: a number of seconds above 0 (--heartbeat-interval 0 sends no pings)")


def split_url(url: str) -> SplitResult:
    """The parts of a URL; none of it for what is not one."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
