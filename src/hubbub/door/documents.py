"""Configuration as Centrifugo writes it in files: JSON, TOML or YAML."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from hubbub.errors import ConfigError

__all__ = ["read_document"]

MAX_BYTES = 1 << 20
# Of a YAML document with everything written out that it refers to: a few lines can stand for millions.
MAX_NODES = 100_000


def read_document(file: Path) -> Mapping[str, object]:
    """What a file has, by the way that its name ends.

    Raises:
        ConfigError: it cannot be read; one line that says why.
    """
    read = FORMATS.get(file.suffix.lower())
    if read is None:
        raise ConfigError(f"--centrifugo {file}: the name ends with .json, .toml, .yaml or .yml")
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"--centrifugo {file}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"--centrifugo {file}: it has more than {MAX_BYTES} bytes")
    try:
        document = read(data)
    except (ValueError, RecursionError) as error:
        line = " ".join(str(error).split())
        raise ConfigError(f"--centrifugo {file}: {line}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"--centrifugo {file}: it is a table of options, and not a {type(document).__name__}")
    return document


def read_json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from None


def read_toml(data: bytes) -> Any:
    try:
        return tomllib.loads(data.decode())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is not TOML: {error}") from None


def read_yaml(data: bytes) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ModuleNotFoundError:
        raise ConfigError("--centrifugo: YAML is read by PyYAML: pip install 'hubbub[centrifugo]'") from None
    try:
        check_size(yaml.compose(data, yaml.SafeLoader), {})
        return yaml.safe_load(data) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML: {error}") from None


def check_size(node: Any, known: dict[int, int]) -> int:
    """How many nodes there are of YAML, written out; refuse (`ValueError`) too many, and what is in itself.

    Args:
        known: the sizes of those that were counted; 0 of those that are being counted.
    """
    if known.setdefault(id(node), 1) == 0:
        raise ValueError("a part of it is in itself")
    if known[id(node)] > 1:
        return known[id(node)]
    known[id(node)] = 0
    size = 1
    for each in getattr(node, "value", ()) if not isinstance(getattr(node, "value", ""), str) else ():
        size += sum(check_size(part, known) for part in (each if isinstance(each, tuple) else (each,)))
        if size > MAX_NODES:
            raise ValueError(f"it has more than {MAX_NODES} parts, those counted each time that are referred to")
    known[id(node)] = size
    return size


FORMATS = {".json": read_json, ".toml": read_toml, ".yaml": read_yaml, ".yml": read_yaml}
