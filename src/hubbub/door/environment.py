"""Centrifugo's options in the environment: `CENTRIFUGO_CLIENT_CHANNEL_LIMIT=64`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from hubbub.door.options import NAMESPACE, NAMESPACE_WILD, OPTIONS, WILD, nearest
from hubbub.door.values import ValueKind
from hubbub.errors import ConfigError

__all__ = ["PREFIX", "named_tables", "namespace_variables", "variables"]

PREFIX = "CENTRIFUGO_"
NAMESPACES = "CENTRIFUGO_CHANNEL_NAMESPACES"

# What Kubernetes adds on behalf of a service of that name, and what only other options refer to.
_foreign = re.compile(r"CENTRIFUGO(_[A-Z0-9_]+)?_(PORT|SERVICE_)|CENTRIFUGO_VAR_")


def variable_of(option: str) -> str:
    """The variable of an option, or what those of a table begin with."""
    return PREFIX + re.sub(r"[.-]", "_", option).upper()


VARIABLES = {variable_of(option): option for option in OPTIONS}
WILD_VARIABLES = tuple(f"{variable_of(table)}_" for table in (*WILD, "consumers", "proxies", "rpc.namespaces"))


def variables(environ: Mapping[str, str]) -> dict[str, tuple[str, object]]:
    """What the environment says of options, those of namespaces aside.

    An empty variable says nothing, as it is with Centrifugo.

    Returns:
        the variable and its value, by option.

    Raises:
        ConfigError: a variable is that of no option.
    """
    found: dict[str, tuple[str, object]] = {}
    for variable, text in sorted(environ.items()):
        option = VARIABLES.get(variable)
        if option is not None:
            if text:
                found[option] = variable, parsed(OPTIONS[option].kind, text, variable)
        elif is_unknown(variable):
            hint = nearest(variable, VARIABLES, PREFIX)
            raise ConfigError(f"{variable} is no option of Centrifugo 6{hint}")
    return found


def is_unknown(variable: str) -> bool:
    """Whether a variable looks like that of an option, and is of none; those of namespaces are looked at later."""
    if not variable.startswith(PREFIX) or variable.startswith((*WILD_VARIABLES, f"{NAMESPACES}_")):
        return False
    return _foreign.match(variable) is None


def parsed(kind: ValueKind, text: str, variable: str) -> object:
    """The value of a variable: lists are written with spaces between, tables in JSON or by their names alone."""
    if kind is ValueKind.TEXTS:
        return text.split()
    return named_tables(text, variable) if kind is ValueKind.TABLES else text


def named_tables(text: str, variable: str) -> list[object]:
    """A list of tables: JSON, or names with spaces between them."""
    if not text.startswith("["):
        return [{"name": name} for name in text.split()]
    try:
        return msgspec.json.decode(text, type=list[object])
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise ConfigError(f"{variable} is neither JSON, a list of tables, nor names with spaces between them") from None


def namespace_variables(environ: Mapping[str, str], names: Sequence[str]) -> dict[tuple[str, str], tuple[str, object]]:
    """What the environment says of options of namespaces: `CENTRIFUGO_CHANNEL_NAMESPACES_CHAT_PRESENCE=true`.

    Args:
        names: the namespaces that there are.

    Returns:
        the variable and its value, by namespace and option.

    Raises:
        ConfigError: a variable is that of no namespace, or of no option.
    """
    known: dict[str, tuple[str, str]] = {}
    wild: list[str] = []
    for name in names:
        start = f"{NAMESPACES}_{variable_of(name).removeprefix(PREFIX)}_"
        known |= {start + option.upper(): (name, option) for option in NAMESPACE}
        wild += [f"{start}{table.upper()}_" for table in NAMESPACE_WILD]
    found: dict[tuple[str, str], tuple[str, object]] = {}
    for variable, text in sorted(environ.items()):
        if variable in known:
            name, option = known[variable]
            if text:
                found[name, option] = variable, parsed(NAMESPACE[option].kind, text, variable)
        elif variable.startswith(f"{NAMESPACES}_") and not variable.startswith(tuple(wild)):
            hint = nearest(variable, known, f"{NAMESPACES}_")
            raise ConfigError(f"{variable} is no option of a namespace that there is{hint}")
    return found
