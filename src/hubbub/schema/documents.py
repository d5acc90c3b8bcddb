"""All that there is to read about a hub, in each format; and the pages that a server shows it on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from hubbub.http.pages import Page, make_page
from hubbub.schema.asyncapi import asyncapi
from hubbub.schema.components import describe
from hubbub.schema.contract import Contract
from hubbub.schema.openapi import openapi
from hubbub.schema.stubs import stubs
from hubbub.schema.typescript import typescript

__all__ = ["FORMATS", "document", "schema_pages"]

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


def document(format_: str, contract: Contract, title: str) -> str:
    """What there is to read about a hub in a format of `FORMATS`.

    Raises:
        ConfigError: its events cannot be described.
    """
    return FORMATS[format_](contract, title)


def as_asyncapi(contract: Contract, title: str) -> str:
    """The events, both ways."""
    return written(asyncapi(describe(contract), title))


def as_openapi(contract: Contract, title: str) -> str:
    """The HTTP side."""
    return written(openapi(title, has_accounts=contract.has_accounts))


def as_typescript(contract: Contract, title: str) -> str:
    """The events as types of TypeScript."""
    return typescript(describe(contract), title)


FORMATS: dict[str, Callable[[Contract, str], str]] = {
    "asyncapi": as_asyncapi,
    "openapi": as_openapi,
    "typescript": as_typescript,
    "python": stubs,
}

PAGES = {
    ("asyncapi", JSON): ("/schema", "/schema/asyncapi.json"),
    ("openapi", JSON): ("/schema/openapi.json",),
    ("typescript", TEXT): ("/schema/types.ts",),
}


def schema_pages(contract: Contract, title: str) -> Iterator[tuple[str, Page]]:
    """The pages that a server shows, each by its path.

    Raises:
        ConfigError: its events cannot be described.
    """
    for (format_, media_type), paths in PAGES.items():
        page = make_page(document(format_, contract, title).encode(), media_type)
        yield from ((path, page) for path in paths)


def written(document: object) -> str:
    """JSON that people can read, too."""
    # What is no number in JSON, such as an infinite default, becomes null.
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"
