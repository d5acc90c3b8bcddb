"""One Settings class: what can be set, what it means, and its default.

Flags come before the environment, that before hubbub.toml (`configuration.py` reads both), that before these defaults:
`cli/options.py` makes the command line from this class.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from hubbub.rules import Rule

__all__ = ["Settings", "Table", "data_home", "raise_file_limit"]

# A table of hubbub.toml that is a setting by itself.
Table: TypeAlias = Mapping[str, object]

# Descriptors that are not clients': an eighth of all, between these two, but never more than half.
RESERVED_FILES = 256
MAX_RESERVED_FILES = 4096
# Of them for the log, the listening sockets and the engine; the rest is for connections that are no WebSockets yet.
OWN_FILES = 64


def data_home() -> Path:
    """Where data lives unless a setting says otherwise: the XDG Base Directory Specification's place."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "hubbub"


def raise_file_limit() -> int:
    """Raise this process's limit of open files to the hard limit; the limit then in force."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set.

    The text below each attribute is its help on the command line.
    """

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 or :: for all."""

    port: int = 8080
    """Port to listen on; 0 takes a free one."""

    engine: str | None = None
    """Where accounts and messages live: sqlite:///FILE, with ?durability=full for an fsync with each batch; memory://
    (gone with the process); or redis://:PASSWORD@HOST, shared by many processes and machines, best set in the
    environment. Without one, hubbub.db in the data folder; demo.db with --demo."""

    workers: int = 1
    """Processes that serve the port together. More than one needs an engine that processes share. max_clients,
    max_pending, and both of them per address, are divided among them."""

    data_dir: Path = field(default_factory=data_home)
    """Folder for the certificate and the database."""

    keep_messages: int = 100_000
    """Messages kept of a room; the oldest beyond them are deleted. memory:// keeps 10000 at most."""

    keep_seconds: float = 0.0
    """Time that a message is kept; older ones are deleted."""

    demo: bool = False
    """Make the accounts percy, alice and bob, password 123. Only on a loopback address."""

    allow_origin: tuple[str, ...] = ()
    """Origin of a page on another host that may log in and connect, such as https://example.com. Repeatable."""

    name: tuple[str, ...] = ()
    """Name or address that others reach the server by, such as chat.example.com: the links that are printed have it,
    and so has the certificate that the server makes. Repeatable."""

    allow_host: tuple[str, ...] = ()
    """Name that the server is reached by, besides this machine's own and those of its certificate, such as
    chat.example.com or *.example.com; * for any. A request for another is answered 421. Repeatable."""

    permissions: tuple[Rule, ...] = ()
    """Rules of who may do what in which rooms, best written in hubbub.toml as [[permissions]] with rooms, roles, users
    and may; the first that fits decides."""

    private_rooms: tuple[str, ...] = ()
    """Names of rooms that need an invitation; * stands for any characters, as in team-*. Repeatable."""

    jwt_key: str | None = None
    """What a JSON Web Token that signs a user in has to be signed with: a secret of 32 bytes or more, best set in the
    environment; a file with one, with a public key in PEM or with a JWKS; or the https URL of a JWKS."""

    jwt_audience: str = ""
    """What the claim aud of such a token has to be, or to have in it. Without it, a token that has one is refused."""

    jwt_issuer: str = ""
    """What the claim iss of such a token has to be."""

    jwt_role_claim: str = ""
    """Name of the claim with the user's role: admin, member or guest. Without it, a user has the role of its account
    here, if there is one."""

    jwt_info_claim: str = ""
    """Name of the claim that an application finds in Client.info."""

    centrifugo: Path | Table | None = None
    """File with Centrifugo's own configuration, in JSON, TOML or YAML: its client SDKs and back-end libraries are
    served, too. In hubbub.toml its options may stand below [centrifugo] instead."""

    audit_log: Path | None = None
    """File with a line for each login, refusal and act of an admin. Without one, audit.log in the data folder."""

    debug_public: bool = False
    """Answer /debug (the number of connected clients) to other machines too."""

    metrics: Literal["loopback", "all", "off"] = "loopback"
    """Who is answered at /metrics: programs on this machine, everybody, or nobody."""

    telemetry: bool = False
    """Make spans of OpenTelemetry, of each event and each request; needs the extra otel."""

    schema: bool = False
    """Serve what the server takes and says, for machines: /schema, /schema/openapi.json and /schema/types.ts."""

    log_format: Literal["text", "json"] = "text"
    """How log lines look."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important log lines to write."""

    no_tls: bool = False
    """Serve http and ws instead of https and wss."""

    tls_cert: Path | None = None
    """Certificate chain, PEM. Without one, a local CA in the data folder issues one for this machine."""

    tls_key: Path | None = None
    """The certificate's private key, PEM."""

    compression: bool = False
    """Compress messages over 191 bytes for clients that offer permessage-deflate, as browsers do, and take compressed
    ones from them. It costs processor time and saves bandwidth."""

    max_frame: int = 16 * 1024
    """Bytes in a WebSocket message, all its frames together; a larger one closes the connection with 1009."""

    max_message: int = 4000
    """Characters in a chat message; a longer one is refused with too_large."""

    max_room_name: int = 64
    """Characters in a room's name; a longer one is refused with bad_payload."""

    max_user_name: int = 32
    """Characters in a user's name; a longer one cannot be given an account."""

    max_rooms: int = 256
    """Rooms that one v1 connection may be in; one more is refused with forbidden."""

    max_outbox: int = 1024 * 1024
    """Bytes waiting for one client that reads too slowly; beyond them a v1 client is fed from the log when it has
    drained, and a classic one is closed with 4001."""

    max_clients: int | None = None
    """Connected clients; the next is answered 503. Without a number, what the limit of open files allows."""

    max_clients_per_address: int = 256
    """Connected clients from one address (of IPv6, one /64), loopback exempt; the next is answered 503."""

    max_pending: int | None = None
    """Connections that are no WebSockets yet: in their TLS handshake, in an HTTP request, or idle. Over it, the one
    that has kept the server waiting for the longest is cut. Without a number, what the limit of open files allows."""

    max_pending_per_address: int = 256
    """The same, from one address (of IPv6, one /64). Loopback and a trusted proxy may have half of all instead."""

    trusted_proxy: tuple[str, ...] = ()
    """Address or network of a proxy whose X-Forwarded-For, Forwarded and X-Forwarded-Proto are believed, such as
    10.0.0.0/8. Repeatable."""

    proxy_protocol: bool = False
    """Connections from a trusted proxy begin with a PROXY protocol header, version 2."""

    max_otps: int = 100_000
    """Unused one-time passwords in all; a login or /otp beyond them is answered 429."""

    max_otps_per_account: int = 64
    """Unused one-time passwords of one account; a login or /otp beyond them is answered 429."""

    max_sessions_per_account: int = 500
    """Logins of one account that live at once; one more ends the oldest."""

    max_keys_per_account: int = 40_000
    """Keys of one account that are remembered at once, for five minutes each; a message with one more is refused with
    rate_limited."""

    daily_bytes: float = 1024.0**3
    """Bytes that one account may add to the log in a day, as much at once; more is refused with rate_limited."""

    daily_rooms: int = 1000
    """Rooms that one account may make in a day, as many at once; a first message in one more is refused with
    rate_limited."""

    client_rate: float = 50.0
    """Events a second from one client; more are dropped (classic) or refused with rate_limited (v1), and over ten
    times as many for about five seconds close the connection with 4102."""

    client_burst: float = 200.0
    """Events that one client may send at once before its rate counts; at least 1."""

    account_share: float = 16.0
    """Clients' worth of client_rate and client_burst that all connections of one account have together; more is
    refused like what is over client_rate."""

    address_share: float = 16.0
    """Accounts' worth of everything that all connections from one address have together, loopback exempt."""

    replay_rate: float = 16.0 * 1024 * 1024
    """Bytes a second that one account may have sent on request (joins, history), what comes from the log fourfold;
    beyond them requests are refused with rate_limited. 0 is no limit."""

    replay_burst: float = 128.0 * 1024 * 1024
    """Such bytes that one account may have at once before their rate counts."""

    limits: Literal["enforce", "count"] = "enforce"
    """What becomes of that which is over an account's or an address's budget: it is refused, or only counted and
    logged."""

    otp_ttl: float = 5.0
    """Life of a one-time password."""

    session_ttl: float = 7 * 24 * 3600.0
    """Life of a login's token."""

    heartbeat_interval: float = 9.0
    """Time between the pings to a client; 0 sends none and never misses an answer."""

    heartbeat_timeout: float = 10.0
    """Silence after a ping that closes a connection with 4000."""

    request_timeout: float = 10.0
    """Time for a client to finish its TLS handshake or a request; then it is cut off. 0 waits for ever."""

    drain_delay: float = 0.0
    """Time after SIGTERM for which everything is served and only /readyz says no, so that a load balancer sends no more
    clients here. The ten seconds of a stop begin after it."""

    @property
    def engine_url(self) -> str:
        """The engine, as set, or the embedded default."""
        # The demo's accounts, whose password everybody knows, stay out of the real database.
        return self.engine or f"sqlite:///{self.data_dir / ('demo.db' if self.demo else 'hubbub.db')}"

    @property
    def audit_path(self) -> Path:
        """The audit log, as set, or the default."""
        return self.audit_log or self.data_dir / "audit.log"

    @property
    def clients_limit(self) -> int:
        """The most clients of one process: its part of what is set, or what the limit of open files leaves room for.

        0 is no limit.
        """
        if self.max_clients is not None:
            return self.share(self.max_clients)
        return max(1, files_limit() - reserved_files())

    @property
    def pending_limit(self) -> int:
        """The most connections of a process that are no WebSockets yet; 0 is no limit."""
        if self.max_pending is not None:
            return self.share(self.max_pending)
        return max(1, reserved_files() - OWN_FILES, reserved_files() // 3)

    def share(self, number: int) -> int:
        """One worker's part of what all may have together, rounded up; 0, which is no limit, stays 0."""
        return -(-number // self.workers)


def files_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def reserved_files() -> int:
    """How many descriptors are not for WebSockets."""
    return min(max(RESERVED_FILES, files_limit() // 8), MAX_RESERVED_FILES, files_limit() // 2)
