"""Centrifugo's options (version 6), each with what becomes of it here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from hubbub.door.values import ValueKind

__all__ = ["NAMESPACE", "NAMESPACE_WILD", "OPTIONS", "WILD", "Fate", "Option", "nearest"]


class Fate(Enum):
    """What becomes of an option."""

    THERE = "there"
    ELSEWHERE = "another setting"  # Hubbub has a setting of its own for it
    NOTHING = "nothing to set"  # what it tunes is not there, or goes by itself
    LATER = "later"
    NEVER = "never"
    REFUSED = "refused"


class Option(NamedTuple):
    """An option.

    Attributes:
        default: Centrifugo's; what is empty or 0 is this, as it is there.
        instead: what the operator is told where it is set to something else and is not `THERE`, or of what is refused.
        same: another value that makes no difference.
    """

    kind: ValueKind
    default: object
    fate: Fate = Fate.THERE
    instead: str = ""
    same: object = None


NO = False


def there(kind: ValueKind, default: object = "") -> Option:
    return Option(kind, default)


def elsewhere(kind: ValueKind, default: object, instead: str) -> Option:
    return Option(kind, default, Fate.ELSEWHERE, instead)


def nothing(kind: ValueKind, default: object = "") -> Option:
    return Option(kind, default, Fate.NOTHING)


def later(kind: ValueKind, default: object, instead: str, same: object = None) -> Option:
    return Option(kind, default, Fate.LATER, instead, same)


def never(kind: ValueKind, default: object, instead: str, same: object = None) -> Option:
    return Option(kind, default, Fate.NEVER, instead, same)


BOOL, INT, TEXT, TEXTS, DURATION = ValueKind.BOOL, ValueKind.INT, ValueKind.TEXT, ValueKind.TEXTS, ValueKind.DURATION

TOKEN = {
    "hmac_secret_key": there(ValueKind.SECRET),
    "hmac_previous_secret_key": there(ValueKind.SECRET),
    "hmac_previous_secret_key_valid_until": there(INT, 0),
    "rsa_public_key": there(TEXT),
    "ecdsa_public_key": there(TEXT),
    "jwks_public_endpoint": there(TEXT),
    "audience": there(TEXT),
    "audience_regex": there(ValueKind.PATTERN, None),
    "issuer": there(TEXT),
    "issuer_regex": there(ValueKind.PATTERN, None),
    "user_id_claim": there(TEXT),
    "insecure_skip_jwks_endpoint_safety_check": nothing(BOOL, NO),
}

PROXY = "there are no proxies to a back end yet; a hook of a Python application does it"

# Of channels: of those without a namespace and of each namespace.
NAMESPACE = {
    "presence": there(BOOL, NO),
    "join_leave": there(BOOL, NO),
    "force_push_join_leave": there(BOOL, NO),
    "history_size": there(INT, None),
    "history_ttl": there(DURATION, None),
    "history_meta_ttl": nothing(DURATION, 0.0),
    "force_positioning": there(BOOL, NO),
    "allow_positioning": there(BOOL, NO),
    "force_recovery": there(BOOL, NO),
    "allow_recovery": there(BOOL, NO),
    "force_recovery_mode": later(TEXT, "", "all that was missed comes, and not the newest alone", "stream"),
    "auto_cache_recover": later(BOOL, NO, "a subscription that asks for nothing begins with what comes next"),
    "allowed_delta_types": later(TEXTS, (), "publications come whole"),
    "delta_publish": later(BOOL, NO, "publications come whole"),
    "allow_tags_filter": later(BOOL, NO, "a subscription with a filter of tags is refused"),
    "allow_subscribe_for_client": there(BOOL, NO),
    "allow_subscribe_for_anonymous": there(BOOL, NO),
    "allow_publish_for_client": there(BOOL, NO),
    "allow_publish_for_subscriber": there(BOOL, NO),
    "allow_publish_for_anonymous": there(BOOL, NO),
    "allow_presence_for_client": there(BOOL, NO),
    "allow_presence_for_subscriber": there(BOOL, NO),
    "allow_presence_for_anonymous": there(BOOL, NO),
    "allow_history_for_client": there(BOOL, NO),
    "allow_history_for_subscriber": there(BOOL, NO),
    "allow_history_for_anonymous": there(BOOL, NO),
    "allow_user_limited_channels": there(BOOL, NO),
    "channel_regex": there(ValueKind.PATTERN, None),
    "publication_data_format": later(TEXT, "", "a publication is any JSON, and not empty", "json"),
    "subscribe_proxy_enabled": later(BOOL, NO, f"clients need a token to subscribe: {PROXY}"),
    "subscribe_proxy_name": nothing(TEXT, "default"),
    "publish_proxy_enabled": later(BOOL, NO, f"clients may not publish: {PROXY}"),
    "publish_proxy_name": nothing(TEXT, "default"),
    "sub_refresh_proxy_enabled": later(BOOL, NO, f"a subscription is refreshed by a token: {PROXY}"),
    "sub_refresh_proxy_name": nothing(TEXT, "default"),
    "subscribe_stream_proxy_enabled": later(BOOL, NO, f"clients need a token and may not publish: {PROXY}"),
    "subscribe_stream_proxy_name": nothing(TEXT, "default"),
    "subscribe_stream_proxy_bidirectional": nothing(BOOL, NO),
    "subscription_type": never(TEXT, "", "its channels are streams of publications", "stream"),
    "map_clients_presence_channel_prefix": never(TEXT, "", "there are no map channels; `presence` is there"),
    "map_users_presence_channel_prefix": never(TEXT, "", "there are no map channels; `presence` is there"),
}

LISTEN = "--host and --port say where the server listens"
TLS = "--tls-cert and --tls-key have the certificate; without them the server makes one"
ONE_WAY = "clients of this transport have to use a WebSocket, HTTP streaming or SSE with an SDK"
PING = "the pings of all clients go by --heartbeat-interval and --heartbeat-timeout"
PATH = "the path stays as it is by default"

OPTIONS = {
    # Who may connect
    **{f"client.token.{name}": option for name, option in TOKEN.items()},
    "client.subscription_token.enabled": there(BOOL, NO),
    **{f"client.subscription_token.{name}": option for name, option in TOKEN.items()},
    "client.allowed_origins": there(TEXTS, ()),
    "client.allow_anonymous_connect_without_token": there(BOOL, NO),
    "client.disallow_anonymous_connection_tokens": there(BOOL, NO),
    "client.insecure": there(BOOL, NO),
    "client.insecure_skip_token_signature_verify": Option(
        BOOL, NO, Fate.REFUSED, "anybody would be whoever they say; for trying things out there is client.insecure"
    ),
    "client.user_id_http_header": later(TEXT, "", "a header says nothing here; a token names the user"),
    "client.subscribe_to_user_personal_channel.enabled": there(BOOL, NO),
    "client.subscribe_to_user_personal_channel.personal_channel_namespace": there(TEXT),
    "client.subscribe_to_user_personal_channel.single_connection": later(
        BOOL, NO, "a user's older connections stay; client.user_connection_limit refuses newer ones"
    ),
    "client.proxy.connect.enabled": later(BOOL, NO, f"clients need a token to connect: {PROXY}"),
    "client.proxy.refresh.enabled": later(BOOL, NO, f"a connection is refreshed by a token: {PROXY}"),
    # How much, how long
    "client.channel_limit": there(INT, 128),
    "client.user_connection_limit": there(INT, 0),
    "client.stale_close_delay": there(DURATION, 10.0),
    "client.expired_close_delay": there(DURATION, 25.0),
    "client.expired_sub_close_delay": there(DURATION, 25.0),
    "client.ping_interval": elsewhere(DURATION, 25.0, PING),
    "client.pong_timeout": elsewhere(DURATION, 8.0, PING),
    "client.queue_max_size": elsewhere(INT, 1048576, "--max-outbox says how much may wait for a slow reader"),
    "client.connection_limit": elsewhere(INT, 0, "--max-clients says how many may be connected"),
    "client.connection_rate_limit": elsewhere(INT, 0, "--max-pending and --max-clients-per-address hold a rush back"),
    "client.concurrency": nothing(INT, 0),
    "client.presence_update_interval": nothing(DURATION, 27.0),
    "client.channel_position_check_delay": nothing(DURATION, 40.0),
    "client.channel_position_max_time_lag": nothing(DURATION, 0.0),
    "client.connect_include_server_time": later(BOOL, NO, "the answer to `connect` has no time"),
    "client.history_max_publication_limit": never(
        INT, 300, "a page of history has at most 300 publications, or about a megabyte"
    ),
    "client.recovery_max_publication_limit": never(INT, 300, "whatever the history has is recovered, up to its size"),
    "client.connect_code_to_unidirectional_disconnect.enabled": later(BOOL, NO, ONE_WAY),
    # Channels
    **{f"channel.without_namespace.{name}": option for name, option in NAMESPACE.items()},
    "channel.namespaces": there(ValueKind.TABLES, ()),
    "channel.history_meta_ttl": nothing(DURATION, 720 * 3600.0),
    "channel.publication_data_format": later(TEXT, "", "a publication is any JSON, and not empty", "json"),
    "channel.max_length": there(INT, 255),
    "channel.private_prefix": there(TEXT, "$"),
    "channel.namespace_boundary": there(TEXT, ":"),
    "channel.user_boundary": there(TEXT, "#"),
    "channel.user_separator": there(TEXT, ","),
    "rpc.without_namespace.proxy_enabled": later(BOOL, NO, f"the application's handlers answer: {PROXY}"),
    "rpc.without_namespace.proxy_name": nothing(TEXT, "default"),
    "rpc.namespaces": later(ValueKind.TABLES, (), f"the application's handlers answer: {PROXY}"),
    "rpc.namespace_boundary": nothing(TEXT, ":"),
    "rpc.ping.enabled": later(BOOL, NO, "the application's handlers answer, and none is made for it"),
    "rpc.ping.method": nothing(TEXT, "ping"),
    "proxies": nothing(ValueKind.TABLES, ()),
    # The server API
    "http_api.disabled": there(BOOL, NO),
    "http_api.key": there(ValueKind.SECRET),
    "http_api.insecure": there(BOOL, NO),
    "http_api.handler_prefix": later(TEXT, "/api", PATH),
    "http_api.external": nothing(BOOL, NO),
    "http_api.error_mode": later(TEXT, "", "an error is in the answer, whose status is 200"),
    "grpc_api.enabled": never(BOOL, NO, "the server API is at /api alone"),
    "consumers": never(ValueKind.TABLES, (), "nothing is consumed; a back end uses the server API or `hubbub.connect`"),
    # Transports
    "websocket.disabled": there(BOOL, NO),
    "websocket.handler_prefix": later(TEXT, "/connection/websocket", PATH),
    "websocket.compression": elsewhere(BOOL, NO, "--compression compresses messages"),
    "websocket.compression_min_size": nothing(INT, 0),
    "websocket.compression_level": nothing(INT, 1),
    "websocket.read_buffer_size": nothing(INT, 0),
    "websocket.use_write_buffer_pool": nothing(BOOL, NO),
    "websocket.write_buffer_size": nothing(INT, 0),
    "websocket.write_timeout": nothing(DURATION, 1.0),
    "websocket.message_size_limit": later(INT, 65536, "a frame has at most 65536 bytes"),
    "websocket.decompressed_message_size_limit": nothing(INT, 0),
    "http_stream.enabled": there(BOOL, NO),
    "http_stream.handler_prefix": later(TEXT, "/connection/http_stream", PATH),
    "http_stream.max_request_body_size": later(INT, 65536, "a body has at most 65536 bytes"),
    "sse.enabled": there(BOOL, NO),
    "sse.handler_prefix": later(TEXT, "/connection/sse", PATH),
    "sse.max_request_body_size": nothing(INT, 65536),
    "emulation.handler_prefix": later(TEXT, "/emulation", PATH),
    "emulation.max_request_body_size": later(INT, 65536, "a body has at most 65536 bytes"),
    "uni_websocket.enabled": later(BOOL, NO, ONE_WAY),
    "uni_sse.enabled": later(BOOL, NO, ONE_WAY),
    "uni_http_stream.enabled": later(BOOL, NO, ONE_WAY),
    "uni_grpc.enabled": never(BOOL, NO, ONE_WAY),
    "webtransport.enabled": never(BOOL, NO, "SDKs fall back to a WebSocket"),
    "init.enabled": never(BOOL, NO, "SDKs do without it"),
    # The server
    "http_server.address": elsewhere(TEXT, "", LISTEN),
    "http_server.port": elsewhere(INT, 8000, LISTEN),
    "http_server.internal_address": elsewhere(TEXT, "", LISTEN),
    "http_server.internal_port": elsewhere(TEXT, "", LISTEN),
    "http_server.tls.enabled": elsewhere(BOOL, NO, TLS),
    "http_server.tls_external": nothing(BOOL, NO),
    "http_server.internal_tls.enabled": elsewhere(BOOL, NO, TLS),
    "http_server.tls_autocert.enabled": elsewhere(BOOL, NO, "a proxy such as Caddy gets certificates; see scaling.md"),
    "http_server.http3.enabled": never(BOOL, NO, "HTTP/1.1 is spoken here; a proxy may speak HTTP/3"),
    "http_server.h2c_external": never(BOOL, NO, "HTTP/1.1 is spoken here"),
    "engine.type": elsewhere(TEXT, "memory", "--engine says where messages live"),
    "broker.enabled": elsewhere(BOOL, NO, "--engine says where messages live"),
    "presence_manager.enabled": elsewhere(BOOL, NO, "--engine says where presence lives"),
    "controller.enabled": elsewhere(BOOL, NO, "--engine says how nodes find each other"),
    "map_broker.type": never(TEXT, "memory", "there are no map channels"),
    "admin.enabled": elsewhere(BOOL, NO, "the page for admins is /admin, for accounts with that role"),
    "admin.insecure": Option(BOOL, NO, Fate.REFUSED, "it is only for loopback"),
    "prometheus.enabled": elsewhere(BOOL, NO, "--metrics says who is answered at /metrics"),
    "health.enabled": elsewhere(BOOL, NO, "/healthz and /readyz are always there"),
    "swagger.enabled": elsewhere(BOOL, NO, "--schema serves descriptions of Hubbub's own API"),
    "debug.enabled": never(BOOL, NO, "there is no profiler of Go's"),
    "opentelemetry.enabled": elsewhere(BOOL, NO, "--telemetry makes spans"),
    "graphite.enabled": never(BOOL, NO, "--metrics has them for Prometheus"),
    "usage_stats.disabled": nothing(BOOL, NO),
    "node.name": nothing(TEXT),
    "node.info_metrics_aggregate_interval": nothing(DURATION, 60.0),
    "log.level": elsewhere(TEXT, "info", "--log-level says what is logged"),
    "log.file": elsewhere(TEXT, "", "the log goes to standard error"),
    "shutdown.timeout": nothing(DURATION, 30.0),
    "pid_file": never(TEXT, "", "whatever starts the server knows its process"),
    "enable_unreleased_features": nothing(BOOL, NO),
}

# Tables whose other options mean something to what is not here, and are passed over.
WILD = (
    *("admin", "broker", "channel.proxy", "client.connect_code_to_unidirectional_disconnect", "client.proxy"),
    *("controller", "debug", "engine", "graphite", "grpc_api", "health", "http_server.internal_tls"),
    *("http_server.tls", "http_server.tls_autocert", "init", "map_broker", "opentelemetry", "presence_manager"),
    *("prometheus", "rpc.proxy", "shared_poll", "swagger", "uni_grpc", "uni_http_stream", "uni_sse", "uni_websocket"),
    *("webtransport", "channel.without_namespace.map", "channel.without_namespace.shared_poll"),
)
NAMESPACE_WILD = ("map", "shared_poll")


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of a sentence about an option that is not known: the most similar one, or table, if there is one.

    Args:
        prefix: what all of them begin with.
    """
    names = {each.removeprefix(prefix) for each in known}
    names |= {each[:dot] for each in names for dot, character in enumerate(each) if character == "."}
    # Options had other names before version 6, with the same words.
    folded = {fold(each): each for each in sorted(names)}
    found = difflib.get_close_matches(fold(name.removeprefix(prefix)), folded, n=1, cutoff=0.7)
    return f"; did you mean {prefix}{folded[found[0]]}?" if found else "; docs/centrifugo.md lists those that are"


def fold(name: str) -> str:
    return re.sub(r"[.-]", "_", name).lower()
