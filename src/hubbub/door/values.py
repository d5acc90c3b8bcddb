"""Values of Centrifugo's options: their kinds, and the forms in which Centrifugo takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from hubbub.door.patterns import Expression
from hubbub.errors import ConfigError

__all__ = ["ValueKind", "read_value"]

# Characters of a value that an error shows.
SHOWN_CHARS = 40

YES = frozenset({"1", "t", "true"})
NO = frozenset({"0", "f", "false"})

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
NANOSECONDS = 1e9
# A number alone counts nanoseconds in Centrifugo, so that a small one is one of seconds by mistake.
LEAST_NANOSECONDS = 1e6
# As much as fits 64 bits: 292 years.
MOST_S = 2**63 / NANOSECONDS

_duration = re.compile(r"([-+]?)((?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_amount = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_whole = re.compile(r"[-+]?[0-9]{1,18}")


class ValueKind(Enum):
    """What an option takes, in words."""

    BOOL = "true or false"
    INT = "a whole number"
    TEXT = "a text"
    SECRET = "a secret text"  # noqa: S105  # the words for one
    TEXTS = 'a list of texts, as in ["one", "two"]'
    DURATION = 'a duration such as "300s", "1h30m" or "500ms"'
    PATTERN = "a regular expression of RE2"
    TABLES = "a list of tables, each with its name"


def read_value(kind: ValueKind, value: object, where: str) -> Any:
    """The value of an option.

    Args:
        value: as a file has it, or a text of the environment.
        where: the option, for errors.

    Raises:
        ConfigError: it is of another kind.
    """
    try:
        return READERS[kind](value)
    except ValueError as error:
        shown = "it is " if kind is ValueKind.SECRET else f"{shorten(value)} is not "
        why = f": {error}" if str(error) else ""
        raise ConfigError(f"{where}: {shown}{kind.value}{why}") from None


def shorten(value: object) -> str:
    """A value as an error shows it."""
    shown = repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return shown if len(shown) <= SHOWN_CHARS else f"{shown[:SHOWN_CHARS]}..."


def read_bool(value: object) -> bool:
    text = str(value).lower() if isinstance(value, bool | int | str) else ""
    if text not in YES | NO:
        raise ValueError
    return text in YES


def read_int(value: object) -> int:
    if isinstance(value, str) and _whole.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise ValueError
    return value


def read_a_text(value: object) -> str:
    # A key that has digits alone is a number to YAML.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004  # of what is in the file
    return value


def read_list(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, Sequence):
        raise ValueError  # noqa: TRY004  # of what is in the file
    return tuple(map(read_a_text, value))


def read_duration(value: object) -> float:
    """Seconds; negative where something is switched off so."""
    if isinstance(value, str) and _whole.fullmatch(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 < value < LEAST_NANOSECONDS:
            raise ValueError(f'a number alone is one of nanoseconds; right may be "{value}s"')
        seconds = value / NANOSECONDS
    else:
        found = _duration.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError
        seconds = sum(float(amount) * UNITS[unit] for amount, unit in _amount.findall(found[2]))
        seconds = round(-seconds if found[1] == "-" else seconds, 9)
    if abs(seconds) > MOST_S:
        raise ValueError
    return seconds


def read_pattern(value: object) -> Expression | None:
    text = read_a_text(value)
    return Expression(text) if text else None


def read_tables(value: object) -> list[Mapping[str, object]]:
    if not isinstance(value, Sequence) or not all(isinstance(each, Mapping) for each in value):
        raise ValueError
    return list(value)


READERS = {
    ValueKind.BOOL: read_bool,
    ValueKind.INT: read_int,
    ValueKind.TEXT: read_a_text,
    ValueKind.SECRET: read_a_text,
    ValueKind.TEXTS: read_list,
    ValueKind.DURATION: read_duration,
    ValueKind.PATTERN: read_pattern,
    ValueKind.TABLES: read_tables,
}
