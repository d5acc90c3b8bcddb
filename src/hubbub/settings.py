"""One Settings class.  Flags come before the environment, that before hubbub.toml, that before these defaults."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import CoercionError, Group, Parameter, Token

__all__ = ["Settings", "data_home", "raise_file_limit"]

SERVING = Group("Serving", sort_key=1)
TLS = Group("TLS", sort_key=2)
LIMITS = Group("Limits (0 means none)", sort_key=3)
TIMES = Group("Times, in seconds", sort_key=4)

# Descriptors that are not clients': the log, the listening sockets, the engine's, and HTTP requests in flight.
RESERVED_FILES = 256


def data_home() -> Path:
    """Where data lives unless a setting says otherwise: the XDG Base Directory Specification's place."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "hubbub"


def raise_file_limit() -> int:
    """Raise this process's limit of open files to the hard limit; the limit then in force."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def whole(_type: object, tokens: Sequence[Token]) -> int:
    """Read a whole number; `int` alone would take 1.5 for 1."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise CoercionError(target_type=int, token=tokens[0]) from None


Whole = Annotated[int, Parameter(converter=whole)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set."""

    host: Annotated[str, Parameter(group=SERVING)] = "127.0.0.1"
    """Address to listen on; 0.0.0.0 or :: for all."""

    port: Annotated[Whole, Parameter(group=SERVING)] = 8080
    """Port to listen on; 0 takes a free one."""

    engine: Annotated[str | None, Parameter(group=SERVING)] = None
    """Where accounts and messages live: sqlite:///FILE, with ?durability=full for an fsync with each batch, or
    memory:// (gone with the process). Without one, hubbub.db in the data folder; demo.db with --demo."""

    data_dir: Annotated[Path, Parameter(group=SERVING)] = field(default_factory=data_home)
    """Folder for the certificate and the database."""

    keep_messages: Annotated[Whole, Parameter(group=LIMITS)] = 100_000
    """Messages kept of a room; the oldest beyond them are deleted. memory:// keeps 10000 at most."""

    keep_seconds: Annotated[float, Parameter(group=LIMITS)] = 0.0
    """Time that a message is kept; older ones are deleted."""

    demo: Annotated[bool, Parameter(group=SERVING, negative=())] = False
    """Make the accounts percy, alice and bob, password 123. Only on a loopback address."""

    allow_origin: Annotated[tuple[str, ...], Parameter(group=SERVING, negative=())] = ()
    """Origin of a page on another host that may log in and connect, such as https://example.com. Repeatable."""

    debug_public: Annotated[bool, Parameter(group=SERVING, negative=())] = False
    """Answer /debug (the number of connected clients) to other machines too."""

    log_format: Annotated[Literal["text", "json"], Parameter(group=SERVING)] = "text"
    """How log lines look."""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], Parameter(group=SERVING)] = "info"
    """The least important log lines to write."""

    no_tls: Annotated[bool, Parameter(group=TLS, negative=())] = False
    """Serve http and ws instead of https and wss."""

    tls_cert: Annotated[Path | None, Parameter(group=TLS)] = None
    """Certificate chain, PEM. Without one, a local CA in the data folder issues one for this machine."""

    tls_key: Annotated[Path | None, Parameter(group=TLS)] = None
    """The certificate's private key, PEM."""

    max_frame: Annotated[Whole, Parameter(group=LIMITS)] = 16 * 1024
    """Bytes in a WebSocket message, all its frames together; a larger one closes the connection with 1009."""

    max_message: Annotated[Whole, Parameter(group=LIMITS)] = 4000
    """Characters in a chat message; a longer one is refused with too_large."""

    max_room_name: Annotated[Whole, Parameter(group=LIMITS)] = 64
    """Characters in a room's name; a longer one is refused with bad_payload."""

    max_user_name: Annotated[Whole, Parameter(group=LIMITS)] = 32
    """Characters in a user's name; a longer one cannot be given an account."""

    max_rooms: Annotated[Whole, Parameter(group=LIMITS)] = 256
    """Rooms that one v1 connection may be in; one more is refused with forbidden."""

    max_outbox: Annotated[Whole, Parameter(group=LIMITS)] = 1024 * 1024
    """Bytes waiting for one client that reads too slowly; beyond them a v1 client is fed from the log when it has
    drained, and a classic one is closed with 4001."""

    max_clients: Annotated[Whole | None, Parameter(group=LIMITS)] = None
    """Connected clients; the next is answered 503. Without a number, what the limit of open files allows."""

    max_clients_per_address: Annotated[Whole, Parameter(group=LIMITS)] = 256
    """Connected clients from one address, loopback exempt; the next is answered 503."""

    max_otps: Annotated[Whole, Parameter(group=LIMITS)] = 100_000
    """Unused one-time passwords in all; a login or /otp beyond them is answered 429."""

    max_otps_per_account: Annotated[Whole, Parameter(group=LIMITS)] = 64
    """Unused one-time passwords of one account; a login or /otp beyond them is answered 429."""

    client_rate: Annotated[float, Parameter(group=LIMITS)] = 50.0
    """Events a second from one client; more are dropped (classic) or refused with rate_limited (v1), and over ten
    times as many for about five seconds close the connection with 4102."""

    client_burst: Annotated[float, Parameter(group=LIMITS)] = 200.0
    """Events that one client may send at once before its rate counts; at least 1."""

    otp_ttl: Annotated[float, Parameter(group=TIMES)] = 5.0
    """Life of a one-time password."""

    session_ttl: Annotated[float, Parameter(group=TIMES)] = 7 * 24 * 3600.0
    """Life of a login's token."""

    heartbeat_interval: Annotated[float, Parameter(group=TIMES)] = 9.0
    """Time between the pings to a client; 0 sends none and never misses an answer."""

    heartbeat_timeout: Annotated[float, Parameter(group=TIMES)] = 10.0
    """Silence after a ping that closes a connection with 4000."""

    request_timeout: Annotated[float, Parameter(group=TIMES)] = 10.0
    """Time for a client to finish its TLS handshake or a request; then it is cut off. 0 waits for ever."""

    @property
    def engine_url(self) -> str:
        """The engine, as set, or the embedded default."""
        # The demo's accounts, whose password everybody knows, stay out of the real database.
        return self.engine or f"sqlite:///{self.data_dir / ('demo.db' if self.demo else 'hubbub.db')}"

    @property
    def clients_limit(self) -> int:
        """The most clients at once: as set, or what the limit of open files leaves room for; 0 is no limit."""
        if self.max_clients is not None:
            return self.max_clients
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return max(1, files - RESERVED_FILES)
