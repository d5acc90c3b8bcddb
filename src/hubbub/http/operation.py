"""What a machine is told of a route: what it takes, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

__all__ = [
    "ANYWHERE",
    "JSON",
    "NOTHING",
    "RETRY",
    "TEXT",
    "UNAUTHORIZED",
    "UNAVAILABLE",
    "HttpErrorBody",
    "Of",
    "Operation",
    "Reply",
    "Time",
    "refused",
]

JSON, TEXT = "application/json", "text/plain"

Of = Literal["", "accounts", "check"]

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class ErrorDetail(msgspec.Struct, frozen=True):
    """A short machine-readable word, and a sentence for a person."""

    code: str
    message: str


class HttpErrorBody(msgspec.Struct, frozen=True):
    """Why a request was not done."""

    error: ErrorDetail


class Reply(NamedTuple):
    """An answer with some status.

    Attributes:
        body: the type of its content; None where it has none, or where that is no JSON.
        media_type: of the content; empty for none.
        headers: those that it has, or may have, each with what it is.
    """

    about: str
    body: Any = None
    media_type: str = JSON
    headers: Mapping[str, str] = {}


class Operation(NamedTuple):
    """A path with a method.

    Attributes:
        id: names it in programs.
        about: what it does.
        replies: by status, besides those of `ANYWHERE`.
        body: the type of the content that it takes; None for none.
        may_lack_body: whether it does without.
        credentials: what it asks for: the session's token or cookie, those or nothing, the key of a program, or
            nothing.
        parameters: of the path, and what they are.
        of: the hubs that have it: those with accounts of the server's, those whose application checks who signs in, or
            all.
    """

    method: str
    path: str
    id: str
    about: str
    replies: dict[int, Reply]
    body: Any = None
    may_lack_body: bool = False
    credentials: Literal["", "session", "session?", "key"] = ""
    parameters: Mapping[str, str] = {}
    of: Of = ""


NOTHING = Reply("Done.", media_type="")
RETRY = {"Retry-After": "seconds until asking again makes sense"}


def refused(about: str, headers: Mapping[str, str] = {}) -> Reply:
    """An answer with an error."""
    return Reply(about, HttpErrorBody, JSON, headers)


UNAUTHORIZED = {401: refused("No token, or one that is dead.", {"WWW-Authenticate": "Bearer"})}
UNAVAILABLE = {503: refused("The server stops, or cannot reach what it keeps.", RETRY)}

# What any request may be answered with.
ANYWHERE: dict[int, Reply] = {
    400: refused("The request cannot be read."),
    413: refused("The body is too large."),
    417: refused("There is such an expectation as cannot be met."),
    421: refused("The server does not go by the name that was asked for."),
    431: refused("The head is too large."),
    501: refused("The body is in a transfer coding that is not understood."),
}
