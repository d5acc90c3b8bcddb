"""The events of a hub as AsyncAPI 3: one channel, a message for each event, an operation for each request."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from hubbub.schema.components import Described, DescribedRequest, Schema, resolved

__all__ = ["asyncapi"]

CHANNEL = "events"
NOT_IN_WORDS = re.compile(r"[^A-Za-z0-9_]")
# The id that a client has chosen for its request, in the request and in what it is answered with.
CORRELATION = {"location": "$message.payload#/id"}
ID: Schema = {"description": "Chosen by the client; the answer has it, too.", "type": ["string", "integer"]}

ABOUT = """\
Every WebSocket message is one JSON text with an event: `type`, `payload` and, in a request that is to be answered and
in its answer, `id`. Clients offer the subprotocol `hubbub.v1`, and a one-time password that they get by HTTP as a
second one, `otp.PASSWORD`.
"""


def asyncapi(described: Described, title: str) -> dict[str, Any]:
    """The document; its payloads are in JSON Schema draft 7, which AsyncAPI understands by itself."""
    requests = {name_of_request(each.tag): requested(each, described) for each in described.requests}
    acks = {name_of_ack(each.tag): acked(each) for each in described.requests}
    said = {
        name_of_said(each.tag): message(each.tag, each.about, envelope(each.tag, each.payload))
        for each in described.events
    }
    error = message(
        "error",
        "A request was turned down; without an id, it was none that could be read.",
        envelope("error", described.error, ID),
    )
    messages = {**requests, **acks, **said, "error": {**error, "correlationId": CORRELATION}}
    document = {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version("hubbub"), "description": ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "here": {
                "host": "{host}",
                "protocol": "wss",
                "variables": {"host": {"description": "Host and port.", "default": "localhost:8080"}},
            }
        },
        "channels": {
            CHANNEL: {
                "address": "/ws",
                "title": "Events",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            **{name_of_request(each.tag): asking(each) for each in described.requests},
            **{
                f"hear_{name_of_said(each.tag)}": {
                    "action": "send",
                    "summary": each.about,
                    "channel": {"$ref": f"#/channels/{CHANNEL}"},
                    "messages": [on_channel(name_of_said(each.tag))],
                }
                for each in described.events
            },
        },
        "components": {"messages": messages, "schemas": described.schemas},
    }
    changed: dict[str, Any] = as_draft_7(document)
    return changed


def name_of_request(type_: str) -> str:
    """What the message of a request goes by in the document."""
    return f"ask_{word(type_)}"


def name_of_ack(type_: str) -> str:
    """What the message of its ack goes by."""
    return f"ack_{word(type_)}"


def name_of_said(type_: str) -> str:
    """What the message of an event of the server's goes by."""
    return f"said_{word(type_)}"


def word(type_: str) -> str:
    """A type of events as names in the document may be; two stay two."""
    return NOT_IN_WORDS.sub(lambda character: f"-{ord(character[0]):x}-", type_)


def requested(request: DescribedRequest, described: Described) -> Schema:
    """The message of a request; its payload may be left out where it needs no field."""
    payload = envelope(request.tag, request.payload, ID)
    if not resolved(request.payload, described.schemas).get("required"):
        payload["required"] = ["type"]
    return {**message(request.tag, request.about, payload), "correlationId": CORRELATION}


def acked(request: DescribedRequest) -> Schema:
    """The message of its ack."""
    payload = envelope("ack", request.answer, ID)
    payload["required"] = ["type", "id", "payload"]
    return {**message("ack", f"The answer to `{request.tag}`.", payload), "correlationId": CORRELATION}


def on_channel(name: str) -> Schema:
    """A message, as operations refer to it."""
    return {"$ref": f"#/channels/{CHANNEL}/messages/{name}"}


def asking(request: DescribedRequest) -> Schema:
    """The operation of a request, with its reply."""
    return {
        "action": "receive",
        "summary": request.about,
        "channel": {"$ref": f"#/channels/{CHANNEL}"},
        "messages": [on_channel(name_of_request(request.tag))],
        "reply": {
            "channel": {"$ref": f"#/channels/{CHANNEL}"},
            "messages": [on_channel(name_of_ack(request.tag)), on_channel("error")],
        },
    }


def message(name: str, about: str, payload: Schema) -> Schema:
    """A message."""
    return {"name": name, "summary": about, "contentType": "application/json", "payload": payload}


def envelope(type_: str, payload: Schema, id_: Schema | None = None) -> Schema:
    """The whole JSON of an event."""
    ids = {} if id_ is None else {"id": id_}
    return {
        "type": "object",
        "properties": {"type": {"const": type_}, **ids, "payload": payload},
        "required": ["type", "payload"],
    }


def as_draft_7(schema: Any) -> Any:
    """A document whose schemas are in JSON Schema draft 7, where they were in 2020-12."""
    if isinstance(schema, list):
        return [as_draft_7(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: as_draft_7(value) for key, value in schema.items() if key != "prefixItems"}
    if isinstance(schema.get("prefixItems"), list):
        changed["additionalItems"] = changed.pop("items", True)
        changed["items"] = as_draft_7(schema["prefixItems"])
    return changed
