"""What is configured of the door, from Centrifugo's own configuration.

It is in a file (`--centrifugo FILE`) or in `[centrifugo]` of hubbub.toml, under the same names; `CENTRIFUGO_*` in the
environment comes before both, and counts only where there is one of them.  What is not here is said, one line each;
what would be unsafe, and what Centrifugo itself refuses, is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from hubbub.door.documents import read_document
from hubbub.door.environment import namespace_variables, variables
from hubbub.door.namespaces import Namespace, Namespaces
from hubbub.door.options import NAMESPACE, NAMESPACE_WILD, OPTIONS, WILD, Fate, Option, nearest
from hubbub.door.settings import ChannelSettings, DoorSettings, Hidden, PersonalChannel, TokenSettings
from hubbub.door.tokens import keys_of, secret_keys
from hubbub.door.values import ValueKind, read_value
from hubbub.errors import ConfigError
from hubbub.naming import DM
from hubbub.policy import is_loopback
from hubbub.settings import Settings
from hubbub.signers import check_key_url

__all__ = ["door_settings"]

# Characters of a channel's name, at most: those of a room's, where others may name it.
MAX_CHANNEL_CHARS = 255
# A secret as short as its hash, of the shortest one, can be guessed (RFC 7518 section 3.2).
MIN_SECRET_BYTES = 32

TABLE = "[centrifugo]: "
NAMESPACES = "channel.namespaces"
NAMED = "channel.namespaces."
# Characters of a name that an error shows.
SHOWN_CHARS = 80

# What an option takes that takes a text; the first of them is none.
CHOICES = {
    "force_recovery_mode": ("", "stream", "cache"),
    "publication_data_format": ("", "json", "json_object", "binary"),
    "subscription_type": ("", "stream", "map", "map_clients", "map_users", "shared_poll"),
}
KEY_FAMILIES = {"rsa_public_key": "RS", "ecdsa_public_key": "ES"}
TOLD = (Fate.ELSEWHERE, Fate.LATER, Fate.NEVER)
# What makes a table of a list count.
SWITCHES = ("enabled", "proxy_enabled")

_namespace_name = re.compile(r"[-a-zA-Z0-9_.]{2,}")
_claim_name = re.compile(r"[a-zA-Z_]+")
_mark = re.compile(r"[!-~]+")

# Options by their names: the value of each; and, of those that are given, where they are and how they are written.
Values = Mapping[str, Any]
Given = dict[str, tuple[str, object]]


def door_settings(settings: Settings, environ: Mapping[str, str] = os.environ) -> DoorSettings | None:
    """What is configured of the door; None where it is not.

    Raises:
        ConfigError: something in it is no option, cannot be, or would be unsafe; one line that says what is right.
    """
    if settings.centrifugo is None:
        return None
    if isinstance(settings.centrifugo, Path):
        where, document = f"{settings.centrifugo}: ", read_document(settings.centrifugo)
    else:
        where, document = TABLE, settings.centrifugo
    given = merged({option: (f"{where}{option}", value) for option, value in flatten(document, where)}, environ)
    values = read_all(OPTIONS, given)
    check_unsafe(values, settings)
    check_choice("channel.publication_data_format", values["channel.publication_data_format"])
    tables = namespace_tables(values["channel.namespaces"], where, environ)
    start = "channel.without_namespace."
    without = {option: values[start + option] for option in NAMESPACE}
    made = new_settings(
        values,
        new_namespace("", start, without, values),
        [new_namespace(name, f"{NAMED}{name}.", table, values) for name, table in tables.items()],
    )
    warnings = list(unsupported("", OPTIONS, values))
    for name, table in tables.items():
        warnings += unsupported(f"{NAMED}{name}.", NAMESPACE, table)
    return msgspec.structs.replace(made, warnings=(*warnings, *advice(values, made)))


# Reading


def flatten(
    table: Mapping[str, object],
    where: str,
    known: Mapping[str, Option] = OPTIONS,
    wild: Sequence[str] = WILD,
    prefix: str = "",
) -> Iterator[tuple[str, object]]:
    """The options in a table and those within it, by their full names; those that say nothing are left out.

    Args:
        where: what an error begins with.
        known: the options that there are.
        wild: tables whose other options are passed over.
        prefix: the table's own name, with a dot.
    """
    for key, value in table.items():
        option = f"{prefix}{key}"
        if option in known:
            if value is not None:
                yield option, value
        elif any(each.startswith(f"{option}.") for each in known):
            if not isinstance(value, Mapping | None):
                raise ConfigError(f"{where}{option} is a table of options, and not {type(value).__name__}")
            yield from flatten(value or {}, where, known, wild, f"{option}.")
        elif option not in wild and not option.startswith(tuple(f"{each}." for each in wild)):
            raise ConfigError(f"{where}{option[:SHOWN_CHARS]} is no option of Centrifugo 6{nearest(option, known)}")


def merged(given: Given, environ: Mapping[str, str]) -> Given:
    """What is given, with what the environment says instead; names of namespaces alone come to those of the file."""
    said = variables(environ)
    if NAMESPACES in said and NAMESPACES in given and not environ[said[NAMESPACES][0]].startswith("["):
        tables = given[NAMESPACES][1]
        if isinstance(tables, list) and isinstance(more := said[NAMESPACES][1], list):
            said[NAMESPACES] = said[NAMESPACES][0], [*tables, *more]
    return {**given, **said}


def read_all(options: Mapping[str, Option], given: Given) -> dict[str, Any]:
    """The values of all options; what is empty or 0 is the default, as it is with Centrifugo."""
    values = {}
    for name, option in options.items():
        values[name] = option.default
        if name not in given:
            continue
        where, raw = given[name]
        value = read_value(option.kind, raw, where)
        if option.fate is Fate.THERE and isinstance(value, int | float) and value < 0:
            raise ConfigError(f"{where}: it is from 0 on")
        if value or not option.default:
            values[name] = value
    return values


def namespace_tables(
    found: Sequence[Mapping[str, object]], where: str, environ: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """The options of each namespace, by its name."""
    given: dict[str, Given] = {}
    for number, table in enumerate(found, 1):
        name = table.get("name")
        if not isinstance(name, str) or not _namespace_name.fullmatch(name):
            raise ConfigError(
                f"{where}{NAMESPACES}, number {number}: its name has two or more letters, digits and - _ . of ASCII"
            )
        if f"{name}:" == DM:
            raise ConfigError(f"{where}{NAMESPACES}: {name!r} is what rooms of two users begin with; take another name")
        if name in given:
            raise ConfigError(f"{where}{NAMESPACES}: there are two of the name {name!r}")
        start = f"{where}{NAMED}{name}."
        rest = {key: value for key, value in table.items() if key != "name"}
        options = flatten(rest, start, NAMESPACE, NAMESPACE_WILD)
        given[name] = {option: (f"{start}{option}", value) for option, value in options}
    for (name, option), said in namespace_variables(environ, list(given)).items():
        given[name][option] = said
    return {name: read_all(NAMESPACE, each) for name, each in given.items()}


# Refusing


def check_unsafe(values: Values, settings: Settings) -> None:
    """Refuse what would let everybody in."""
    skips = "client.insecure_skip_token_signature_verify"
    if values[skips]:
        raise ConfigError(f"{skips}: {OPTIONS[skips].instead}")
    is_local = (is_loopback(settings.host) or settings.host == "localhost") and not settings.trusted_proxy
    for name in ("client.insecure", "http_api.insecure", "admin.insecure"):
        if values[name] and not is_local:
            raise ConfigError(
                f"{name} lets everybody in, and is only for a --host such as 127.0.0.1, without --trusted-proxy;"
                " leave it out"
            )


def check_history(where: str, table: Values, values: Values) -> None:
    """Refuse what Centrifugo refuses: a history without an end, and recovery without a history."""
    size, ttl = table["history_size"] or 0, table["history_ttl"] or 0.0
    if bool(size) != bool(ttl):
        given, missing = ("history_size", "history_ttl") if size else ("history_ttl", "history_size")
        raise ConfigError(f"{where}{given} needs {missing} beside it")
    if table["force_recovery"] and not size:
        raise ConfigError(f"{where}force_recovery needs history_size and history_ttl beside it")
    meta = table["history_meta_ttl"] or values["channel.history_meta_ttl"]
    for name, seconds in (("history_ttl", ttl), ("history_meta_ttl", meta)):
        if seconds != int(seconds):
            raise ConfigError(f"{where}{name}: {seconds:g} s; right are whole seconds")
    if ttl > meta:
        raise ConfigError(f"{where}history_ttl is longer than history_meta_ttl, {meta:g} s; make that longer, too")


def check_choice(where: str, text: str) -> None:
    """Refuse what is none of the texts that an option takes."""
    choices = CHOICES[where.rpartition(".")[2]]
    if text not in choices:
        raise ConfigError(f"{where}: {text[:SHOWN_CHARS]!r} is not one of {', '.join(choices[1:])}")


# Making


def new_namespace(name: str, where: str, table: Values, values: Values) -> Namespace:
    """A namespace of its options.

    Args:
        where: what the options' names begin with.
    """
    check_history(where, table, values)
    for option in CHOICES:
        check_choice(where + option, table[option])
    closed: list[str] = []
    # With Centrifugo the back end decides, and what else is allowed does not count: without one, nobody is let in.
    if table["subscribe_proxy_enabled"] or table["subscribe_stream_proxy_enabled"]:
        closed.append("allow_subscribe_for_client")
    if table["publish_proxy_enabled"] or table["subscribe_stream_proxy_enabled"]:
        closed += ["allow_publish_for_client", "allow_publish_for_subscriber"]
    there = {option: table[option] for option, each in NAMESPACE.items() if each.fate is Fate.THERE}
    return Namespace(name=name, **(there | dict.fromkeys(closed, False)))


def new_settings(values: Values, without: Namespace, named: list[Namespace]) -> DoorSettings:
    """The settings that some options make."""
    channel = new_channel_settings(values)
    namespaces = Namespaces(without, named, boundary=channel.namespace_boundary, private_prefix=channel.private_prefix)
    tokens = new_token_settings("client.token.", values)
    has_own = values["client.subscription_token.enabled"]
    return DoorSettings(
        tokens=tokens,
        subscription_tokens=new_token_settings("client.subscription_token.", values) if has_own else tokens,
        namespaces=namespaces,
        channel=channel,
        personal=new_personal(values, namespaces),
        allowed_origins=values["client.allowed_origins"],
        allow_anonymous=values["client.allow_anonymous_connect_without_token"],
        disallow_anonymous_tokens=values["client.disallow_anonymous_connection_tokens"],
        insecure=values["client.insecure"],
        api=not values["http_api.disabled"],
        api_key=Hidden(values["http_api.key"]),
        api_insecure=values["http_api.insecure"],
        websocket=not values["websocket.disabled"],
        http_stream=values["http_stream.enabled"],
        sse=values["sse.enabled"],
        channel_limit=values["client.channel_limit"],
        user_connection_limit=values["client.user_connection_limit"],
        stale_close_delay=values["client.stale_close_delay"],
        expired_close_delay=values["client.expired_close_delay"],
        expired_sub_close_delay=values["client.expired_sub_close_delay"],
    )


def new_channel_settings(values: Values) -> ChannelSettings:
    marks = ("private_prefix", "namespace_boundary", "user_boundary", "user_separator")
    for name in marks:
        if not _mark.fullmatch(values[f"channel.{name}"]):
            raise ConfigError(f"channel.{name}: it has characters from ! to ~ of ASCII alone")
    return ChannelSettings(
        max_length=min(values["channel.max_length"], MAX_CHANNEL_CHARS),
        **{name: values[f"channel.{name}"] for name in marks},
    )


def new_personal(values: Values, namespaces: Namespaces) -> PersonalChannel:
    start = "client.subscribe_to_user_personal_channel."
    personal = PersonalChannel(**{name: values[start + name] for name in PersonalChannel.__struct_fields__})
    name = personal.personal_channel_namespace
    if personal.enabled and name and name not in namespaces.named:
        raise ConfigError(f"{start}personal_channel_namespace: there is no namespace {name[:SHOWN_CHARS]!r}")
    return personal


def new_token_settings(where: str, values: Values) -> TokenSettings:
    """Whose tokens are believed.

    Args:
        where: what the options' names begin with.
    """
    table = {option.removeprefix(where): value for option, value in values.items() if option.startswith(where)}
    for name in ("audience", "issuer"):
        if table[name] and table[f"{name}_regex"]:
            raise ConfigError(f"{where}{name} and {name}_regex exclude each other; leave one of them out")
    claim, url = table["user_id_claim"], table["jwks_public_endpoint"]
    if claim and not _claim_name.fullmatch(claim):
        raise ConfigError(f"{where}user_id_claim: {claim[:SHOWN_CHARS]!r} has other characters than letters and _")
    if url:
        check_endpoint(f"{where}jwks_public_endpoint", url)
    made = TokenSettings(
        hmac_secret_key=Hidden(table["hmac_secret_key"]),
        hmac_previous_secret_key=Hidden(table["hmac_previous_secret_key"]),
        hmac_previous_until=table["hmac_previous_secret_key_valid_until"],
        rsa_public_key=table["rsa_public_key"],
        ecdsa_public_key=table["ecdsa_public_key"],
        jwks_public_endpoint=url,
        audience=table["audience"],
        audience_regex=table["audience_regex"],
        issuer=table["issuer"],
        issuer_regex=table["issuer_regex"],
        user_id_claim=claim,
    )
    check_keys(where, made)
    return made


def check_endpoint(where: str, url: str) -> None:
    """Refuse a URL that no keys can be had from."""
    if "{{" in url:
        raise ConfigError(f"{where}: parts of a token in the URL are not taken; right is one URL")
    if not url.startswith(("https://", "http://")):
        raise ConfigError(f"{where}: {url[:SHOWN_CHARS]!r} is no URL; right is https://...")
    check_key_url(url, where)


def check_keys(where: str, settings: TokenSettings) -> None:
    """Refuse a key that cannot be used."""
    for name in ("hmac_secret_key", "hmac_previous_secret_key", "rsa_public_key", "ecdsa_public_key"):
        text = getattr(settings, name)
        try:
            if name.startswith("hmac"):
                secret_keys(text)
                continue
            [*keys] = keys_of(TokenSettings(**{name: text}))
            if keys and keys[0].algorithms[0][:2] != KEY_FAMILIES[name]:
                raise ValueError("it is a key of another kind")  # noqa: TRY301  # told as all else that is wrong
        except ValueError as error:
            raise ConfigError(f"{where}{name}: {error or 'it is no public key in PEM'}") from None


# Telling


def unsupported(prefix: str, options: Mapping[str, Option], values: Values) -> Iterator[str]:
    """A line for each option that is set and is not as it is with Centrifugo."""
    for name, option in options.items():
        value = values[name]
        if option.kind is ValueKind.TABLES:
            value = [each for each in value if any(each.get(key) for key in SWITCHES)] or option.default
        if option.instead and option.fate in TOLD and value not in (option.default, option.same):
            yield f"{prefix}{name} is not in effect: {option.instead}"


def advice(values: Values, made: DoorSettings) -> Iterator[str]:
    """A line for each thing that is as it was asked for, and that the operator may not have meant."""
    for table in ("client.token", "client.subscription_token"):
        for name in ("hmac_secret_key", "hmac_previous_secret_key"):
            length = len(values[f"{table}.{name}"].encode())
            if 0 < length < MIN_SECRET_BYTES:
                yield (
                    f"{table}.{name}: a secret of {length} bytes can be guessed, and who has it can be any user;"
                    f" right are {MIN_SECRET_BYTES} or more"
                )
    if not made.tokens.has_keys and not made.allow_anonymous and not made.insecure:
        yield "client.token has no key: only those with a login of this server can connect"
    if not made.subscription_tokens.has_keys and made.subscription_tokens is not made.tokens:
        yield "client.subscription_token is enabled and has no key: no subscription token is good"
    for name in ("client.insecure", "http_api.insecure"):
        if values[name]:
            yield f"{name} is on: everybody on this machine may do everything"
    if values["channel.max_length"] > MAX_CHANNEL_CHARS:
        yield f"channel.max_length: a channel's name has at most {MAX_CHANNEL_CHARS} characters"
