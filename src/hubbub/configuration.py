"""The settings that the environment and hubbub.toml give: `HUBBUB_CLIENT_RATE=10`, and `client-rate = 10`.

A name that is no setting is refused, with the nearest one: a limit that is misspelt would not hold, and nobody would
know.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
import re
import tomllib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from hubbub.errors import ConfigError
from hubbub.rules import Rule
from hubbub.settings import Settings, Table

__all__ = ["FILE", "PREFIX", "given", "settings_from"]

PREFIX = "HUBBUB_"
FILE = Path("hubbub.toml")

# What else goes by such a name: what the command line takes, what a server tells its own processes, and, where the
# tests run, what they are told.
ALSO_GIVEN = ("HUBBUB_HUB", "HUBBUB_PASSWORD", "HUBBUB_OTHER_PASSWORD")
OTHERS = {
    *ALSO_GIVEN,
    *("HUBBUB_TALLIES", "HUBBUB_WORKER"),
    *("HUBBUB_CHAOS", "HUBBUB_CHAOS_ROUNDS", "HUBBUB_CHROMIUM", "HUBBUB_CLIENT_MESSAGES", "HUBBUB_FUZZ", "HUBBUB_NPM"),
    *("HUBBUB_STOPS", "HUBBUB_TIMELINE_PAST", "HUBBUB_WALKS"),
}

# What Kubernetes, and Docker before it, put into the environment on behalf of a service that is called hubbub.
LINK = re.compile(r"HUBBUB_(SERVICE_(HOST|PORT)|PORT_\d+_)")
LINK_HINT = "it is of a service that is called hubbub; in Kubernetes, `enableServiceLinks: false` leaves it out"

YES = ("yes", "y", "1", "true", "t")
NO = ("no", "n", "0", "false", "f")

# How many characters of a value an error shows.
SHOWN_CHARS = 40


def settings_from(environ: Mapping[str, str] = os.environ, file: Path = FILE, **changes: Any) -> Settings:
    """The settings as `hubbub serve` has them where no flag is given, with changes to them.

    Args:
        environ: what comes before the file.
        file: hubbub.toml, which need not be there.
        changes: settings by their names, which come before all.

    Raises:
        ConfigError: something that is given is no setting, or cannot be one; one line that says what would be right.
        TypeError: a change is no setting.
    """
    names = setting_types()
    for name in changes:
        if name not in names:
            raise TypeError(f"{name!r} is no setting{nearest(name, names)}")
    return Settings(**(given(environ, file) | changes))


def given(environ: Mapping[str, str] = os.environ, file: Path = FILE) -> dict[str, Any]:
    """What the environment gives, and the file where the environment says nothing, by the names of the settings.

    Raises:
        ConfigError: as for `settings_from`.
    """
    return from_file(file) | from_environment(environ)


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """What the environment gives."""
    settings = {PREFIX + name.upper(): name for name in setting_types()}
    found = {}
    for variable in sorted(environ):
        if variable in settings:
            found[settings[variable]] = read_text(settings[variable], environ[variable], variable)
        elif variable.startswith(PREFIX) and variable not in OTHERS:
            hint = f"; {LINK_HINT}" if LINK.match(variable) else nearest(variable, [*settings, *ALSO_GIVEN])
            raise ConfigError(f"{variable} is no setting{hint}")
    return found


def from_file(file: Path) -> dict[str, Any]:
    """What a file gives; nothing, if there is none."""
    try:
        table = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{file.name} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file.name} is not TOML: {error}") from None
    names = {name.replace("_", "-"): name for name in setting_types()}
    found = {}
    for key, value in table.items():
        name = names.get(key.replace("_", "-"))
        if name is None:
            raise ConfigError(f"{file.name}: {key!r} is no setting{nearest(key, names)}")
        found[name] = read_value(name, value, f"{file.name}: {key}")
    return found


@functools.cache
def setting_types() -> dict[str, Any]:
    """The type of each setting."""
    hints = get_type_hints(Settings)
    return {field.name: hints[field.name] for field in dataclasses.fields(Settings)}


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known: the most similar one, if there is one."""
    known = sorted(known)
    # How it is written is seldom the mistake.
    folded = {fold(other): other for other in known}
    found = difflib.get_close_matches(fold(name), folded, n=1, cutoff=0.7)
    return f"; did you mean {folded[found[0]]}?" if found else "; `hubbub serve --help` lists them all"


def fold(name: str) -> str:
    return name.removeprefix(PREFIX).lower().replace("_", "-")


# Reading values


def read_text(name: str, text: str, where: str) -> Any:
    """The value of a setting that is written as a text."""
    type_ = plain_type(setting_types()[name])
    if type_ == tuple[str, ...]:
        return tuple(text.split())
    if type_ == tuple[Rule, ...]:
        try:
            return read_rules(msgspec.json.decode(text), where)
        except (msgspec.DecodeError, RecursionError):
            raise ConfigError(f"{where} is not JSON; rules are best written in {FILE}") from None
    return read_scalar(type_, text, where)


def read_value(name: str, value: object, where: str) -> Any:
    """The value of a setting that is written in TOML."""
    type_ = plain_type(setting_types()[name])
    if isinstance(value, dict) and Table in get_args(setting_types()[name]):
        return value
    if type_ == tuple[Rule, ...]:
        return read_rules(value, where)
    if type_ == tuple[str, ...]:
        return read_texts(value, where)
    if isinstance(value, bool):
        value = "true" if value else "false"
        is_kind = type_ is bool
    else:
        is_kind = isinstance(value, str) if type_ in (str, Path) else isinstance(value, int | float | str)
    if not is_kind:
        raise ConfigError(f"{where}: it is {kind(type_)}")
    return read_scalar(type_, str(value), where)


def plain_type(type_: Any) -> Any:
    """A type without None, which a setting has that is not set, and without what only a file can say."""
    if get_origin(type_) in (Union, types.UnionType):
        [type_] = [part for part in get_args(type_) if part not in (type(None), Table)]
    return type_


def read_scalar(type_: Any, text: str, where: str) -> Any:
    """One value of a simple type, as it is written."""
    try:
        if type_ is bool:
            return {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)}[text.lower()]
        if get_origin(type_) is Literal:
            return get_args(type_)[get_args(type_).index(text)]
        return type_(text)
    except (ValueError, KeyError):
        shown = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."
        hint = f"; {LINK_HINT}" if where.startswith(PREFIX) and text.startswith("tcp://") else ""
        raise ConfigError(f"{where}: {shown!r} is not {kind(type_)}{hint}") from None


def kind(type_: Any) -> str:
    """What the values of a type are, in words."""
    if get_origin(type_) is Literal:
        return f"one of {', '.join(get_args(type_))}"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(type_, "a text")


def read_texts(value: object, where: str) -> tuple[str, ...]:
    """A list of texts, in TOML or JSON, where one may stand alone."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ConfigError(f'{where}: it is a list of texts, as in ["one", "two"]')
    return tuple(value)


def read_rules(value: object, where: str) -> tuple[Rule, ...]:
    """Rules of who may do what, in TOML or JSON."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ConfigError(f"{where}: it is a list of rules, each of which begins with [[permissions]] in {FILE}")
    known = [field.name for field in dataclasses.fields(Rule)]
    rules = []
    for number, rule in enumerate(value, 1):
        for key in rule:
            if key not in known:
                similar = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {similar[0]}?" if similar else f"it has {', '.join(known)}"
                raise ConfigError(f"{where}, rule {number}: {key!r} is no part of a rule; {hint}")
        rules.append(Rule(**{key: read_texts(part, f"{where}, rule {number}: {key}") for key, part in rule.items()}))
    return tuple(rules)
