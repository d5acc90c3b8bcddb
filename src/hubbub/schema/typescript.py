"""The events of a hub as types for TypeScript, and the JavaScript client with them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from hubbub.schema.components import REF, Described, Schema, references

__all__ = ["typescript"]

NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}

HEAD = """\
// The events of {title}, for the JavaScript client. Written by `hubbub schema --format typescript`.
//
//     import {{ Hubbub }} from "hubbub-chat";
//     import type {{ TypedHubbub }} from "./events";
//     const chat: TypedHubbub = new Hubbub();

import type {{ Events, Hubbub, Message }} from "hubbub-chat";
"""

CLIENT = """\
/** A kept event of the application's own, as `chat.on("message")` tells of it. */
export type KeptEvent = {
  [T in keyof OwnEvents]: Omit<Message, "type" | "payload"> & { type: T; payload: OwnEvents[T] };
}[keyof OwnEvents];

/** Something said in a room: a message of the chat, or one of those. */
export type TypedMessage = (Omit<Message, "type"> & { type: "new_message" }) | KeptEvent;

/** An event of the application's own that is not kept. */
export type TypedSignal = { [T in keyof OwnEvents]: { type: T; payload: OwnEvents[T] } }[keyof OwnEvents];

/** The client, which asks and hears these events alone. */
export interface TypedHubbub extends Omit<Hubbub, "request" | "on"> {
  request<T extends keyof Requests>(
    type: T,
    ...payload: {} extends Requests[T] ? [payload?: Requests[T]] : [payload: Requests[T]]
  ): Promise<Answers[T]>;
  on(type: "message", listener: (event: TypedMessage) => void): () => void;
  on(type: "signal", listener: (event: TypedSignal) => void): () => void;
  on<T extends Exclude<keyof Events, "message" | "signal">>(type: T, listener: (event: Events[T]) => void): () => void;
}
"""


def typescript(described: Described, title: str) -> str:
    """The module: an interface for each payload, and for each table of them."""
    parts = [HEAD.format(title=" ".join(title.split()))]
    parts += [declared(name, schema) for name, schema in sorted(needed(described).items())]
    requests = {each.tag: each.payload for each in described.requests}
    parts += [
        table("Requests", "What clients ask, by its type on the wire.", requests),
        table("Answers", "What each request is answered with.", {each.tag: each.answer for each in described.requests}),
        table(
            "OwnEvents",
            "What the application says by events of its own; one that is kept has `room`, `seq` and `sent`.",
            {each.tag: each.payload for each in described.events if each.is_own},
        ),
        CLIENT,
    ]
    return "\n".join(parts)


def needed(described: Described) -> dict[str, Schema]:
    """What the tables refer to, and what that refers to."""
    left = [schema for each in described.requests for schema in (each.payload, each.answer)]
    left += [each.payload for each in described.events if each.is_own]
    found: dict[str, Schema] = {}
    while left:
        for name in references(left.pop()):
            if name not in found:
                found[name] = described.schemas[name]
                left.append(found[name])
    return found


def declared(name: str, schema: Schema) -> str:
    """The declaration of a schema."""
    text = written(schema)
    about = comment(schema.get("description", ""))
    if text.startswith("{"):
        return f"{about}export interface {name} {text}\n"
    return f"{about}export type {name} = {text};\n"


def table(name: str, about: str, members: Mapping[str, Schema]) -> str:
    """An interface with a member for each type of events."""
    return f"{comment(about)}export interface {name} {braces((type_, '', members[type_]) for type_ in members)}\n"


def written(schema: Schema, indent: str = "") -> str:
    """A schema as a type."""
    match schema:
        case {"$ref": str(reference)}:
            return reference.removeprefix(REF)
        case {"enum": list(values)}:
            return " | ".join(json.dumps(value) for value in values)
        case {"anyOf": list(schemas)}:
            return " | ".join(dict.fromkeys(written(each, indent) for each in schemas))
        case {"type": "array"}:
            return array(schema, indent)
        case {"type": "object"}:
            return object_(schema, indent)
        case {"type": str(simple)}:
            return SIMPLE[simple]
    return "unknown"


def array(schema: Schema, indent: str) -> str:
    """The schema of an array as a type."""
    if "prefixItems" in schema:
        return f"[{', '.join(written(each, indent) for each in schema['prefixItems'])}]"
    return f"Array<{written(schema.get('items', {}), indent)}>"


def object_(schema: Schema, indent: str) -> str:
    """The schema of an object as a type."""
    if "properties" in schema:
        required = schema.get("required", ())
        members = schema["properties"].items()
        return braces(((name, "" if name in required else "?", member) for name, member in members), indent)
    values = schema.get("additionalProperties")
    return f"Record<string, {written(values, indent) if isinstance(values, dict) else 'unknown'}>"


def braces(members: Iterable[tuple[str, str, Schema]], indent: str = "") -> str:
    """The body of an interface: each member with its name, what follows that, and its schema."""
    inner = f"{indent}  "
    lines = [f"{inner}{quoted(name)}{mark}: {written(schema, inner)};\n" for name, mark, schema in members]
    return f"{{\n{''.join(lines)}{indent}}}" if lines else "{}"


def quoted(name: str) -> str:
    """A name, as members may be named."""
    return name if NAME.fullmatch(name) else json.dumps(name)


def comment(about: str) -> str:
    """A text as the comment of what follows."""
    text = " ".join(about.replace("*/", "* /").split())
    return f"/** {text} */\n" if text else ""
