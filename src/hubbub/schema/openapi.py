"""The HTTP side of a server as OpenAPI 3.1."""

from __future__ import annotations

import re
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from hubbub.http.operation import ANYWHERE, JSON, Operation, Reply
from hubbub.http.operations import OPERATIONS
from hubbub.schema.components import Schema, schemas_of

__all__ = ["openapi"]

PARAMETER = re.compile(r"{(\w+)}")

# The ways to say who asks, where nobody has to.
CREDENTIALS: dict[str, list[Schema]] = {
    "": [],
    "session": [{"token": []}, {"cookie": []}],
    "session?": [{}, {"token": []}, {"cookie": []}],
    "key": [{"key": []}],
}


def openapi(title: str, *, has_accounts: bool = True) -> dict[str, Any]:
    """The document.

    Args:
        has_accounts: whether the accounts are the server's, and not an application's.
    """
    kind = "accounts" if has_accounts else "check"
    operations = [each for each in OPERATIONS if each.of in ("", kind)]
    types: list[Any] = []
    for operation in operations:
        types += [] if operation.body is None else [operation.body]
        types += [reply.body for reply in (ANYWHERE | operation.replies).values() if reply.body is not None]
    types = list(dict.fromkeys(types))
    found, schemas = schemas_of(types)
    by_type = dict(zip(types, found, strict=True))
    paths: dict[str, Schema] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = described(operation, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version("hubbub")},
        "servers": [{"url": "..", "description": "The server that this document is from: it is served at /schema/."}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "The token of a login, or a signed one."},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "Of another program."},
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-hubbub",
                    "description": "Of a login with `remember`, in pages of the server's own; `hubbub` without TLS.",
                },
            },
        },
    }


def described(operation: Operation, by_type: dict[Any, Schema]) -> Schema:
    """An operation."""
    replies = dict(sorted((ANYWHERE | operation.replies).items()))
    told: Schema = {
        "operationId": operation.id,
        "summary": operation.about,
        "security": CREDENTIALS[operation.credentials],
        "responses": {
            str(status): answered(status, reply, by_type, has_content=operation.method != "HEAD")
            for status, reply in replies.items()
        },
    }
    if operation.parameters:
        told["parameters"] = [
            {"name": name, "in": "path", "required": True, "description": about, "schema": {"type": "string"}}
            for name, about in operation.parameters.items()
        ]
    if operation.body is not None:
        told["requestBody"] = {
            "required": not operation.may_lack_body,
            "content": {JSON: {"schema": by_type[operation.body]}},
        }
    return told


def answered(status: int, reply: Reply, by_type: dict[Any, Schema], *, has_content: bool) -> Schema:
    """An answer with some status."""
    told: Schema = {"description": f"{HTTPStatus(status).phrase}. {reply.about}"}
    if reply.headers:
        told["headers"] = {
            name: {"description": about, "schema": {"type": "string"}} for name, about in reply.headers.items()
        }
    if reply.media_type and has_content:
        schema = {"type": "string"} if reply.body is None else by_type[reply.body]
        told["content"] = {reply.media_type: {"schema": schema}}
    return told
