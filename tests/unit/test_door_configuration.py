"""Centrifugo's own configuration: what is read of it, told of it, and refused."""

from __future__ import annotations

import importlib
import json
import math
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hubbub.checks import check_settings
from hubbub.configuration import given as given_settings
from hubbub.door.configuration import door_settings
from hubbub.door.environment import VARIABLES
from hubbub.door.namespaces import Namespace
from hubbub.door.options import NAMESPACE, OPTIONS, Fate
from hubbub.door.patterns import Expression
from hubbub.door.settings import DoorSettings
from hubbub.door.values import ValueKind, read_value
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import ConfigError
from hubbub.hub import Hub
from hubbub.mount.service import MountedService
from hubbub.service import second_door_of
from hubbub.settings import Settings
from hubbub.testing import Clock

SECRET = "s" * 32
KEYED = {"client": {"token": {"hmac_secret_key": SECRET}}}

DOCS = Path(__file__).parents[2] / "docs" / "centrifugo.md"


def read(document: object = (), environ: dict[str, str] | None = None, **settings: Any) -> DoorSettings:
    """What a table, or a file, makes."""
    centrifugo: Any = document if isinstance(document, Path) else dict(document)  # type: ignore[call-overload]
    found = door_settings(Settings(centrifugo=centrifugo, **settings), environ or {})
    assert found is not None
    return found


def refusal(document: object = (), environ: dict[str, str] | None = None, **settings: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        read(document, environ, **settings)
    told = str(refused.value)
    assert "\n" not in told
    assert len(told) < 400
    return told


def table(option: str, value: object) -> dict[str, Any]:
    """A document with one option."""
    document: Any = value
    for name in reversed(option.split(".")):
        document = {name: document}
    return dict(document)


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def public(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


# Where it is


def test_it_is_off_unless_configured() -> None:
    assert door_settings(Settings(), {"CENTRIFUGO_CLIENT_INSECURE": "true", "CENTRIFUGO_NONSENSE": "1"}) is None


def test_variables_that_are_not_looked_at_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CENTRIFUGO_SERVICE_HOST", "10.0.0.1")
    with structlog.testing.capture_logs() as lines:
        assert second_door_of(Settings()) is None
        assert lines == []
        monkeypatch.setenv("CENTRIFUGO_CLIENT_CHANNEL_LIMIT", "64")
        assert second_door_of(Settings()) is None
    [line] = lines
    assert line["log_level"] == "warning"
    assert line["event"].startswith("not in effect without --centrifugo FILE")
    assert line["variable"] == "CENTRIFUGO_CLIENT_CHANNEL_LIMIT"


AS_JSON = json.dumps(
    {
        "client": {"token": {"hmac_secret_key": SECRET}, "allowed_origins": ["https://a.example"]},
        "channel": {"namespaces": [{"name": "chat", "presence": True, "history_size": 10, "history_ttl": "1h30m"}]},
    }
)
AS_TOML = f"""
[client]
allowed_origins = ["https://a.example"]
[client.token]
hmac_secret_key = "{SECRET}"
[[channel.namespaces]]
name = "chat"
presence = true
history_size = 10
history_ttl = "1h30m"
"""
AS_YAML = f"""
client:
  token: {{hmac_secret_key: {SECRET}}}
  allowed_origins:
    - https://a.example
  proxy:
channel:
  namespaces:
    - {{name: chat, presence: true, history_size: 10, history_ttl: 1h30m}}
"""


@pytest.mark.parametrize(
    ("name", "content"), [("c.json", AS_JSON), ("c.toml", AS_TOML), ("c.yaml", AS_YAML), ("c.YML", AS_YAML)]
)
def test_a_file_is_read_as_its_name_ends(tmp_path: Path, name: str, content: str) -> None:
    found = read(file(tmp_path, name, content))
    assert found.tokens.hmac_secret_key == SECRET
    assert found.allowed_origins == ("https://a.example",)
    assert found.namespaces.of("chat:a") == Namespace(name="chat", presence=True, history_size=10, history_ttl=5400.0)
    assert found.warnings == ()


def test_it_may_be_a_table_of_hubbub_toml(tmp_path: Path) -> None:
    text = AS_TOML.replace("[client", "[centrifugo.client").replace("[channel", "[centrifugo.channel")
    settings = Settings(**given_settings({}, file(tmp_path, "hubbub.toml", f"port = 1\n{text}")))
    found = door_settings(settings, {})
    assert found is not None
    assert found.namespaces.named.keys() == {"chat"}
    # A file that is named comes before it.
    other = given_settings({"HUBBUB_CENTRIFUGO": "other.json"}, tmp_path / "hubbub.toml")
    assert other["centrifugo"] == Path("other.json")
    empty = given_settings({}, file(tmp_path, "hubbub.toml", "[centrifugo]"))
    assert door_settings(Settings(**empty), {}) is not None


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("c.json", "", "it is not JSON"),
        ("c.json", "[]", "it is a table of options, and not a list"),
        ("c.json", "null", "and not a NoneType"),
        ("c.json", "[" * 100_000, "recursion"),
        ("c.json", b"\xff", "it is not JSON"),
        ("c.json", " " * (1 << 20) + "{}", "more than 1048576 bytes"),
        ("c.toml", "a = ", "it is not TOML"),
        ("c.toml", b"\xff", "utf-8"),
        ("c.yaml", "a: [", "it is not YAML"),
        ("c.yaml", "- a", "and not a list"),
        ("c.yaml", "a: &a [*a]", "a part of it is in itself"),
        ("c.yaml", "a: !!python/object/apply:os.system ['true']", "it is not YAML"),
        ("c.yaml", "[" * 100_000, ""),
        ("c.txt", "{}", "ends with .json, .toml, .yaml or .yml"),
        ("c", "{}", "ends with .json, .toml, .yaml or .yml"),
    ],
)
def test_what_is_no_file_of_options_is_refused(tmp_path: Path, name: str, content: str | bytes, sentence: str) -> None:
    told = refusal(file(tmp_path, name, content))
    assert told.startswith("--centrifugo ")
    assert sentence in told


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.json").endswith("none.json: No such file or directory")
    (tmp_path / "a.json").mkdir()
    assert refusal(tmp_path / "a.json").endswith("Is a directory")
    with pytest.raises(ConfigError, match="No such file"):
        check_settings(Settings(centrifugo=tmp_path / "none.json"))


@pytest.mark.parametrize("merge", ["{}: &{} [{}]", "{}: &{} {{<<: [{}]}}"])
def test_a_few_lines_of_yaml_do_not_stand_for_millions(tmp_path: Path, merge: str) -> None:
    lines = ["a: &a {x: 1}"]
    for name, inner in zip("bcdefghij", "abcdefghi", strict=True):
        lines.append(merge.format(name, name, ", ".join([f"*{inner}"] * 9)))
    assert "more than 100000 parts" in refusal(file(tmp_path, "c.yaml", "\n".join(lines)))


def test_yaml_may_refer_to_its_own_parts(tmp_path: Path) -> None:
    text = """
    channel:
      without_namespace: &usual {presence: true}
      namespaces:
        - {<<: *usual, name: chat, join_leave: true}
    """
    found = read(file(tmp_path, "c.yaml", text))
    assert found.namespaces.of("chat:a") == Namespace(name="chat", presence=True, join_leave=True)


def test_yaml_needs_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert refusal(file(tmp_path, "c.yaml", "{}")).endswith("pip install 'hubbub[centrifugo]'")
    assert read(file(tmp_path, "c.json", "{}"))


# Names


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"client": {"tokn": {}}}, "client.tokn is no option of Centrifugo 6; did you mean client.token?"),
        ({"token_hmac_secret_key": "x"}, "did you mean client.token.hmac_secret_key?"),
        ({"client": {"token": {"hmac-secret": 1}}}, "did you mean client.token.hmac_secret_key?"),
        ({"clinet": 1}, "did you mean client?"),
        ({"Client": {}}, "did you mean client?"),
        ({"xyzzy": 1}, "; docs/centrifugo.md lists those that are"),
        ({"": 1}, "is no option"),
        ({7: 1}, "7 is no option"),
        ({None: 1}, "None is no option"),
        ({"x" * 9999: 1}, "is no option"),
        (table("channel.namespaces", [{"name": "chat", "presense": True}]), "did you mean presence?"),
        (table("channel.without_namespace.presense", 1), "did you mean channel.without_namespace.presence?"),
    ],
)
def test_a_name_that_is_no_option_is_refused_with_the_nearest(document: dict[Any, Any], told: str) -> None:
    assert told in refusal(document)


def test_tables_of_what_is_not_here_are_passed_over() -> None:
    document = {
        "engine": {"redis": {"address": "redis:6379", "tls": {"enabled": True}}},
        "client": KEYED["client"] | {"proxy": {"connect": {"endpoint": "http://x", "http": {"a": [1]}}}},
        "channel": {
            "proxy": {"subscribe": {"endpoint": "x"}},
            "without_namespace": {"map": {"mode": "x"}, "shared_poll": {"mode": "x"}},
            "namespaces": [{"name": "chat", "map": {"mode": "x"}}],
        },
        "consumers": [{"name": "k", "kafka": {"brokers": []}}],
        "proxies": [{"name": "p", "endpoint": "x"}],
        "http_server": {"tls": {"cert_pem": "x"}},
        "uni_sse": {"handler_prefix": "/x"},
        "shared_poll": {"hmac_secret_key": "x"},
        "sse": None,
    }
    assert read(document).warnings == ()


# Values


def as_(kind: ValueKind, value: object, *written: object) -> list[tuple[ValueKind, object, object]]:
    """Several ways to write a value."""
    return [(kind, each, value) for each in written]


def of(kind: ValueKind, *written: object) -> list[tuple[ValueKind, object]]:
    """Several values for options of a kind."""
    return [(kind, each) for each in written]


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        *as_(ValueKind.BOOL, True, True, "true", "True", "TRUE", "t", "1", 1),
        *as_(ValueKind.BOOL, False, False, "false", "F", "0", 0),
        *as_(ValueKind.INT, 7, 7, "7", "+7", "007"),
        *as_(ValueKind.TEXT, "7", 7, "7"),
        *as_(ValueKind.TEXTS, ("a",), "a", ["a"], ("a",)),
        *as_(ValueKind.TEXTS, (), "", []),
        *as_(ValueKind.DURATION, 90.0, "90s", "1m30s", "1.5m", "90000ms", "+90s", 90 * 10**9),
        (ValueKind.DURATION, "1h30m", 5400.0),
        (ValueKind.DURATION, "1m.5s", 60.5),
        (ValueKind.DURATION, "100us", 0.0001),
        (ValueKind.DURATION, "100µs", 0.0001),
        (ValueKind.DURATION, "720h", 2592000.0),
        *as_(ValueKind.DURATION, 0.0, "0", 0, "0s", "-0s"),
        (ValueKind.DURATION, "-1s", -1.0),
        (ValueKind.DURATION, -1, -1e-9),
        (ValueKind.PATTERN, "^a$", Expression("^a$")),
        (ValueKind.PATTERN, "", None),
        (ValueKind.TABLES, [{"name": "a"}], [{"name": "a"}]),
    ],
)
def test_values_are_written_as_centrifugo_takes_them(kind: ValueKind, written: object, value: object) -> None:
    assert read_value(kind, written, "here") == value


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        *of(ValueKind.BOOL, "yes", "on", "", 2, 1.0, None, [], {}),
        *of(ValueKind.INT, "1.5", 1.5, True, "", "9" * 99, 2**63, None, "1e3", "٣"),
        *of(ValueKind.TEXT, True, 1.5, None, [], {}),
        *of(ValueKind.TEXTS, 7, {}, [None], [["a"]], None),
        *of(ValueKind.DURATION, 300, "300", 999_999, "5 s", "s", "", "1d", "1", ".s", "1..s"),
        *of(ValueKind.DURATION, 1.5, True, None, "9" * 400 + "h", 2**70, math.nan, "1h-1m"),
        *of(ValueKind.PATTERN, "(", r"(a)\1", "(?=a)", 7.5, "a" * 2000),
        *of(ValueKind.TABLES, "a", {}, [1], ["a"], 7),
    ],
)
def test_a_value_of_another_kind_is_refused(kind: ValueKind, written: object) -> None:
    with pytest.raises(ConfigError) as refused:
        read_value(kind, written, "here")
    told = str(refused.value)
    assert told.startswith("here: ")
    assert kind.value in told
    assert len(told) < 250


def test_a_secret_that_cannot_be_is_not_shown() -> None:
    told = refusal({"client": {"token": {"hmac_secret_key": [SECRET]}}})
    assert told == "[centrifugo]: client.token.hmac_secret_key: it is a secret text"
    assert "12.5" not in refusal({"http_api": {"key": 12.5}})


def test_a_number_of_seconds_is_told_how_it_is_written() -> None:
    assert refusal(table("client.stale_close_delay", 10)).endswith('right may be "10s"')
    assert read(table("client.stale_close_delay", 5 * 10**9)).stale_close_delay == 5.0
    assert refusal(table("client.expired_close_delay", "-1s")).endswith("client.expired_close_delay: it is from 0 on")


def test_what_is_empty_is_the_default_as_with_centrifugo() -> None:
    found = read(
        {
            "client": {"channel_limit": 0, "stale_close_delay": "0s"},
            "channel": {"max_length": 0, "private_prefix": "", "without_namespace": {"history_size": 0}},
        }
    )
    assert (found.channel_limit, found.stale_close_delay, found.channel.private_prefix) == (128, 10.0, "$")
    assert found.channel_max_length == 255
    # This one is said: publications are not kept.
    assert not found.namespaces.without.keeps
    assert read({}).namespaces.without.keeps


def test_what_tunes_nothing_here_may_be_any_number() -> None:
    assert read(KEYED | {"websocket": {"compression_level": -1, "read_buffer_size": "7"}}).warnings == ()
    assert "is not one of json" in refusal(table("channel.publication_data_format", "xml"))


def test_everything_that_is_there_is_read() -> None:
    found = read(
        {
            "client": {
                "token": {
                    "hmac_secret_key": SECRET,
                    "hmac_previous_secret_key": SECRET[::-1],
                    "hmac_previous_secret_key_valid_until": 7,
                    "audience_regex": "^a",
                    "issuer": "i",
                    "user_id_claim": "uid",
                },
                "subscription_token": {"enabled": True, "hmac_secret_key": "t" * 32, "audience": "a"},
                "allowed_origins": "*",
                "allow_anonymous_connect_without_token": True,
                "disallow_anonymous_connection_tokens": True,
                "subscribe_to_user_personal_channel": {
                    "enabled": True,
                    "personal_channel_namespace": "me",
                },
                "channel_limit": 5,
                "user_connection_limit": 6,
                "stale_close_delay": "7s",
                "expired_close_delay": "8s",
                "expired_sub_close_delay": "9s",
            },
            "channel": {
                "max_length": 100,
                "private_prefix": "!",
                "namespace_boundary": "::",
                "user_boundary": "@",
                "user_separator": "+",
                "namespaces": [{"name": "me", "presence": True}],
            },
            "http_api": {"key": "k"},
            "websocket": {"disabled": True},
            "http_stream": {"enabled": True},
            "sse": {"enabled": True},
        }
    )
    assert found.warnings == ()
    assert (found.tokens.hmac_previous_until, found.tokens.audience_regex) == (7, Expression("^a"))
    assert (found.tokens.issuer, found.tokens.user_id_claim) == ("i", "uid")
    assert (found.subscription_tokens.hmac_secret_key, found.subscription_tokens.audience) == ("t" * 32, "a")
    assert (found.allowed_origins, found.allow_anonymous, found.disallow_anonymous_tokens) == (("*",), True, True)
    assert (found.personal.enabled, found.personal.personal_channel_namespace) == (True, "me")
    assert (found.channel_limit, found.user_connection_limit, found.stale_close_delay) == (5, 6, 7.0)
    assert (found.expired_close_delay, found.expired_sub_close_delay) == (8.0, 9.0)
    assert (found.channel_max_length, found.channel.user_boundary, found.channel.user_separator) == (100, "@", "+")
    assert (found.namespaces.private_prefix, found.namespaces.boundary) == ("!", "::")
    assert (found.api_key, found.websocket, found.http_stream, found.sse) == ("k", False, True, True)
    assert found.api
    assert not read({"http_api": {"key": "k", "disabled": True}}).api
    assert read(KEYED).subscription_tokens is not None
    assert read(KEYED).subscription_tokens == read(KEYED).tokens


# The environment


def test_the_environment_comes_before_the_file() -> None:
    found = read(
        table("client.channel_limit", 5),
        {
            "CENTRIFUGO_CLIENT_CHANNEL_LIMIT": "6",
            "CENTRIFUGO_CLIENT_ALLOWED_ORIGINS": "https://a.example https://b.example",
            "CENTRIFUGO_CLIENT_STALE_CLOSE_DELAY": "3s",
            "CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY": SECRET,
            "CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_PRESENCE": "true",
            "CENTRIFUGO_HTTP_API_KEY": "",
            "CENTRIFUGO_ENGINE_REDIS_ADDRESS": "redis:6379",
            "CENTRIFUGO_CONSUMERS_KAFKA_KAFKA_TLS_ENABLED": "false",
            "CENTRIFUGO_VAR_ANYTHING": "1",
            "CENTRIFUGO_SERVICE_HOST": "10.0.0.1",
            "CENTRIFUGO_PORT_8000_TCP": "tcp://10.0.0.1:8000",
            "CENTRIFUGO_API_SERVICE_PORT": "1",
            "PATH": "/bin",
        },
    )
    assert (found.channel_limit, found.stale_close_delay) == (6, 3.0)
    assert found.allowed_origins == ("https://a.example", "https://b.example")
    assert found.namespaces.without.presence
    assert found.warnings == ()


def test_namespaces_may_be_in_the_environment() -> None:
    document = table("channel.namespaces", [{"name": "old"}])
    as_json = {"CENTRIFUGO_CHANNEL_NAMESPACES": '[{"name": "my-chat.1", "presence": true}]'}
    found = read(document, as_json | {"CENTRIFUGO_CHANNEL_NAMESPACES_MY_CHAT_1_HISTORY_SIZE": ""})
    assert found.namespaces.named == {"my-chat.1": Namespace(name="my-chat.1", presence=True)}
    options = {
        "CENTRIFUGO_CHANNEL_NAMESPACES_MY_CHAT_1_PRESENCE": "false",
        "CENTRIFUGO_CHANNEL_NAMESPACES_MY_CHAT_1_HISTORY_SIZE": "10",
        "CENTRIFUGO_CHANNEL_NAMESPACES_MY_CHAT_1_HISTORY_TTL": "10s",
        "CENTRIFUGO_CHANNEL_NAMESPACES_MY_CHAT_1_MAP_MODE": "x",
    }
    found = read(document, as_json | options)
    assert found.namespaces.of("my-chat.1:a") == Namespace(name="my-chat.1", history_size=10, history_ttl=10.0)
    found = read(document, {"CENTRIFUGO_CHANNEL_NAMESPACES": "chat news"})
    assert list(found.namespaces.named) == ["old", "chat", "news"]
    assert list(read({}, {"CENTRIFUGO_CHANNEL_NAMESPACES": "chat news"}).namespaces.named) == ["chat", "news"]


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"CENTRIFUGO_CLIENT_INSECUR": "1"}, "did you mean CENTRIFUGO_CLIENT_INSECURE?"),
        ({"CENTRIFUGO_TOKEN_HMAC_SECRET_KEY": "1"}, "did you mean CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY?"),
        ({"CENTRIFUGO_XYZZY": "1"}, "docs/centrifugo.md lists those that are"),
        ({"CENTRIFUGO_CLIENT_INSECURE": "maybe"}, "CENTRIFUGO_CLIENT_INSECURE: 'maybe' is not true or false"),
        ({"CENTRIFUGO_CHANNEL_NAMESPACES": "[{]"}, "is neither JSON"),
        ({"CENTRIFUGO_CHANNEL_NAMESPACES": "[" * 99_999}, "is neither JSON"),
        ({"CENTRIFUGO_CHANNEL_NAMESPACES": "[1]"}, "is not a list of tables"),
        ({"CENTRIFUGO_CHANNEL_NAMESPACES": "chat chat"}, "two of the name 'chat'"),
        ({"CENTRIFUGO_CHANNEL_NAMESPACES_CHAT_PRESENCE": "true"}, "no option of a namespace that there is"),
        (
            {"CENTRIFUGO_CHANNEL_NAMESPACES": "chat", "CENTRIFUGO_CHANNEL_NAMESPACES_CHAT_PRESENC": "true"},
            "did you mean CENTRIFUGO_CHANNEL_NAMESPACES_CHAT_PRESENCE?",
        ),
    ],
)
def test_a_variable_that_cannot_be_is_refused(environ: dict[str, str], told: str) -> None:
    assert told in refusal({}, environ)


def test_no_two_options_have_one_variable() -> None:
    assert len(VARIABLES) == len(OPTIONS)


# What is refused


@pytest.mark.parametrize("name", ["client.insecure", "http_api.insecure", "admin.insecure"])
def test_what_lets_everybody_in_is_for_this_machine_alone(name: str) -> None:
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        assert read(table(name, True), host=host)
    for host in ("0.0.0.0", "::", "192.0.2.1", "chat.example.com", ""):
        assert refusal(table(name, True), host=host).startswith(f"{name} lets everybody in")
    assert refusal(table(name, True), trusted_proxy=("10.0.0.1",)).startswith(f"{name} lets everybody in")
    assert read(table(name, False), host="0.0.0.0")
    assert refusal({}, {f"CENTRIFUGO_{name.upper().replace('.', '_')}": "1"}, host="0.0.0.0")
    with pytest.raises(ConfigError, match="lets everybody in"):
        check_settings(Settings(host="0.0.0.0", centrifugo=table(name, True)))


@pytest.mark.parametrize("name", ["client.insecure", "http_api.insecure"])
def test_what_lets_everybody_in_looks_at_where_the_server_is_really_reached(name: str) -> None:
    """Sockets may come from whoever has started the server, and another server may be around it."""
    settings = Settings(centrifugo=table(name, True))
    here, there = ip_address("127.0.0.1"), ip_address("192.0.2.1")
    assert second_door_of(settings) is not None
    assert second_door_of(settings, [here, ip_address("::1")]) is not None
    for listening in ([], [there], [here, there], [ip_address("0.0.0.0")], [ip_address("::")]):
        with pytest.raises(ConfigError, match="let everybody in"):
            second_door_of(settings, listening)
        assert second_door_of(Settings(centrifugo={}), listening) is not None
    assert second_door_of(Settings(), []) is None
    with pytest.raises(ConfigError, match="let everybody in"):
        MountedService(Hub(), settings, MemoryEngine(clock=Clock(), wall=Clock()))


def test_signatures_are_always_verified() -> None:
    name = "client.insecure_skip_token_signature_verify"
    assert refusal(table(name, True)).startswith(f"{name}: anybody would be whoever they say")
    assert read(table(name, False))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"history_size": 1}, "history_size needs history_ttl beside it"),
        ({"history_ttl": "1s"}, "history_ttl needs history_size beside it"),
        ({"history_size": 0, "history_ttl": "1s"}, "history_ttl needs history_size beside it"),
        ({"force_recovery": True}, "force_recovery needs history_size and history_ttl beside it"),
        ({"history_size": 1, "history_ttl": "1500ms"}, "history_ttl: 1.5 s; right are whole seconds"),
        ({"history_size": 1, "history_ttl": "721h"}, "history_ttl is longer than history_meta_ttl"),
        ({"history_size": 1, "history_ttl": "2h", "history_meta_ttl": "1h"}, "history_ttl is longer than"),
        ({"history_size": -1}, "history_size: it is from 0 on"),
        ({"force_recovery_mode": "cash"}, "force_recovery_mode: 'cash' is not one of stream, cache"),
        ({"publication_data_format": "xml"}, "publication_data_format: 'xml' is not one of json, json_object, binary"),
        ({"subscription_type": "x"}, "subscription_type: 'x' is not one of stream, map,"),
        ({"channel_regex": "("}, "channel_regex: '(' is not a regular expression of RE2: it has a ( without its )"),
        ({"presence": []}, "presence: a list is not true or false"),
    ],
)
def test_what_centrifugo_refuses_of_channels_is_refused(options: dict[str, object], told: str) -> None:
    assert f"channel.without_namespace.{told}" in refusal(table("channel.without_namespace", options))
    named = table("channel.namespaces", [{"name": "chat"} | options])
    assert f"channel.namespaces.chat.{told}" in refusal(named)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([{}], "number 1: its name has two or more letters"),
        ([{"name": "ok"}, {"name": "a"}], "number 2: its name has"),
        ([{"name": "a b"}], "its name has"),
        ([{"name": "chat\n"}], "its name has"),
        ([{"name": "a:b"}], "its name has"),
        ([{"name": "é" * 3}], "its name has"),
        ([{"name": 42}], "its name has"),
        ([{"name": None}], "its name has"),
        ([{"name": ["chat"]}], "its name has"),
        ([{"name": "dm"}], "'dm' is what rooms of two users begin with"),
        ([{"name": "chat"}, {"name": "chat"}], "there are two of the name 'chat'"),
    ],
)
def test_a_namespace_has_a_name_of_its_own(names: list[dict[str, object]], told: str) -> None:
    assert told in refusal(table("channel.namespaces", names))


RSA = public(rsa.generate_private_key(65537, 2048))
CURVE = public(ec.generate_private_key(ec.SECP256R1()))


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ({"hmac_secret_key": RSA}, "hmac_secret_key: it is a key in PEM"),
        ({"hmac_previous_secret_key": CURVE}, "hmac_previous_secret_key: it is a key in PEM"),
        ({"rsa_public_key": "x"}, "rsa_public_key: it is no public key in PEM"),
        ({"rsa_public_key": CURVE}, "rsa_public_key: it is a key of another kind"),
        ({"ecdsa_public_key": RSA}, "ecdsa_public_key: it is a key of another kind"),
        ({"rsa_public_key": "-----BEGIN PRIVATE KEY-----\n"}, "rsa_public_key: it is a private key"),
        (
            {"rsa_public_key": public(rsa.generate_private_key(65537, 1024))},
            "rsa_public_key: an RSA key of 1024 bits is too short",
        ),
        ({"audience": "a", "audience_regex": "b"}, "audience and audience_regex exclude each other"),
        ({"issuer": "a", "issuer_regex": "b"}, "issuer and issuer_regex exclude each other"),
        ({"user_id_claim": "user id"}, "user_id_claim: 'user id' has other characters than letters and _"),
        ({"user_id_claim": "uid\n"}, "user_id_claim: "),
        ({"jwks_public_endpoint": "id.example"}, "jwks_public_endpoint: 'id.example' is no URL"),
        ({"jwks_public_endpoint": "file:///etc/passwd"}, "jwks_public_endpoint: 'file:///etc/passwd' is no URL"),
        ({"jwks_public_endpoint": "http://id.example/"}, "keys that come by http are anybody's; right is https"),
        ({"jwks_public_endpoint": "https://{{realm}}.example/"}, "parts of a token in the URL are not taken"),
    ],
)
def test_a_key_that_cannot_be_is_refused(token: dict[str, object], told: str) -> None:
    assert f"{told}" in refusal(table("client.token", token))
    assert "client.subscription_token." in refusal(table("client.subscription_token", token | {"enabled": True}))
    assert read(table("client.subscription_token", token))


def test_good_keys_are_taken() -> None:
    found = read(table("client.token", {"rsa_public_key": RSA, "ecdsa_public_key": CURVE}))
    assert found.tokens.has_keys
    assert found.warnings == ()
    assert read(table("client.token", {"jwks_public_endpoint": "https://id.example/jwks"})).tokens.has_keys
    assert read(table("client.token", {"jwks_public_endpoint": "http://127.0.0.1:1/jwks"})).tokens.has_keys


@pytest.mark.parametrize(
    ("personal", "told"),
    [
        ({"personal_channel_namespace": "me"}, "personal_channel_namespace: there is no namespace 'me'"),
        ({"personal_channel_namespace": "Chat"}, "personal_channel_namespace: there is no namespace 'Chat'"),
    ],
)
def test_personal_channels_need_their_namespace(personal: dict[str, object], told: str) -> None:
    document = table("client.subscribe_to_user_personal_channel", {"enabled": True} | personal)
    assert told in refusal(document | table("channel.namespaces", [{"name": "chat"}]))
    off = table("client.subscribe_to_user_personal_channel", personal)
    assert not read(off).personal.enabled


@pytest.mark.parametrize("name", ["private_prefix", "namespace_boundary", "user_boundary", "user_separator"])
def test_marks_of_names_can_be_in_names(name: str) -> None:
    for mark in (" ", "é", "a b", "\n"):
        assert "from ! to ~" in refusal(table(f"channel.{name}", mark))


# What is told


SAMPLES: dict[ValueKind, object] = {
    ValueKind.BOOL: True,
    ValueKind.INT: 7,
    ValueKind.TEXT: "7",
    ValueKind.TEXTS: ["fossil"],
    ValueKind.DURATION: "7s",
    ValueKind.TABLES: [{"name": "x", "enabled": True, "proxy_enabled": True}],
}
CHOSEN = {"force_recovery_mode": "cache", "publication_data_format": "binary", "subscription_type": "map"}
TOLD = (Fate.ELSEWHERE, Fate.LATER, Fate.NEVER)


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.fate in TOLD])
def test_what_is_not_in_effect_is_told_by_name_once_it_is_set(name: str) -> None:
    option = OPTIONS[name]
    value = CHOSEN.get(name.rpartition(".")[2], SAMPLES[option.kind])
    [line] = read(KEYED | table(name, value) if not name.startswith("client.") else both(name, value)).warnings
    assert line == f"{name} is not in effect: {option.instead}"
    # Its own default, as the whole configuration that Centrifugo writes has it, is nothing to tell.
    default = f"{option.default}s" if option.kind is ValueKind.DURATION else option.default
    assert read(KEYED | table(name, default) if not name.startswith("client.") else both(name, default)).warnings == ()


def both(name: str, value: object) -> dict[str, Any]:
    """A document with an option of clients beside the key of their tokens."""
    return {"client": KEYED["client"] | table(name, value)["client"]}


def test_what_is_not_in_effect_in_a_namespace_is_told_with_its_name() -> None:
    for name, option in NAMESPACE.items():
        if option.fate in TOLD:
            value = CHOSEN.get(name, SAMPLES[option.kind])
            [line] = read(KEYED | table("channel.namespaces", [{"name": "chat", name: value}])).warnings
            assert line == f"channel.namespaces.chat.{name} is not in effect: {option.instead}"
            assert "\n" not in line


@pytest.mark.parametrize("name", ["force_recovery_mode", "subscription_type"])
def test_a_value_that_makes_no_difference_is_nothing_to_tell(name: str) -> None:
    assert read(KEYED | table(f"channel.without_namespace.{name}", "stream")).warnings == ()


def test_where_a_back_end_would_decide_nobody_is_let_in() -> None:
    """With Centrifugo the other options do not count where a proxy is on."""
    every = {
        "allow_subscribe_for_client": True,
        "allow_publish_for_client": True,
        "allow_publish_for_subscriber": True,
        "allow_history_for_client": True,
    }

    def found(**more: bool) -> Namespace:
        return read(table("channel.without_namespace", every | more)).namespaces.without

    assert not found(subscribe_proxy_enabled=True).allow_subscribe_for_client
    assert found(subscribe_proxy_enabled=True).allow_publish_for_client
    for name in ("publish_proxy_enabled", "subscribe_stream_proxy_enabled"):
        assert not found(**{name: True}).allow_publish_for_client
        assert not found(**{name: True}).allow_publish_for_subscriber
    assert found(publish_proxy_enabled=True).allow_subscribe_for_client
    assert not found(subscribe_stream_proxy_enabled=True).allow_subscribe_for_client
    assert found(subscribe_stream_proxy_enabled=True).allow_history_for_client


def test_what_the_operator_may_not_have_meant_is_told() -> None:
    [line] = read({}).warnings
    assert line.startswith("client.token has no key")
    assert read(table("client.allow_anonymous_connect_without_token", True)).warnings == ()
    [line] = read(table("client.token.hmac_secret_key", "secret")).warnings
    assert line.startswith("client.token.hmac_secret_key: a secret of 6 bytes can be guessed")
    assert "'secret'" not in line
    [line] = read(both("client.subscription_token.enabled", True)).warnings
    assert line.startswith("client.subscription_token is enabled and has no key")
    [line] = read(table("client.insecure", True)).warnings
    assert line.startswith("client.insecure is on")
    found = read(KEYED | table("channel.max_length", 1000))
    assert found.warnings == ("channel.max_length: a channel's name has at most 255 characters",)
    assert found.channel_max_length == 255


# The documentation


def test_the_documentation_has_every_option() -> None:
    listed = dict(re.findall(r"^\| `([\w.]+)` \| ([\w ]+?) \|", DOCS.read_text(), re.MULTILINE))
    names = {name: option for name, option in OPTIONS.items() if not name.startswith("channel.without_namespace.")}
    for name, option in (names | NAMESPACE).items():
        if name.startswith("client.subscription_token.") and name != "client.subscription_token.enabled":
            continue
        assert listed.get(name) == option.fate.value, name


def test_the_example_of_the_page_is_read(tmp_path: Path) -> None:
    [example] = re.findall(r"^```toml\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    found = door_settings(Settings(**given_settings({}, file(tmp_path, "hubbub.toml", example))), {})
    assert found is not None
    assert found.warnings == ()
    assert found.tokens.has_keys
    assert found.api_key
    assert found.namespaces.named["chat"].has_history
