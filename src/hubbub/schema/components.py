"""JSON Schemas of payloads: what msgspec says of the types, without the tags that are the envelope's on the wire."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Set
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from hubbub.errors import ConfigError
from hubbub.events import Event
from hubbub.schema.contract import Contract
from hubbub.schema.said import ErrorSaid, KeptHead

__all__ = [
    "REF",
    "Described",
    "DescribedEvent",
    "DescribedRequest",
    "Schema",
    "describe",
    "references",
    "resolved",
    "schemas_of",
]

Schema = dict[str, Any]

REF = "#/components/schemas/"

NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]")


class DescribedRequest(NamedTuple):
    """A request: its type on the wire, what it is for, its payload, and that of its ack."""

    tag: str
    about: str
    payload: Schema
    answer: Schema
    is_own: bool


class DescribedEvent(NamedTuple):
    """An event that the server says: its type on the wire, what it is for, and its payload."""

    tag: str
    about: str
    payload: Schema
    is_own: bool


class Described(NamedTuple):
    """A contract in JSON Schema (2020-12); `schemas` are what the others refer to."""

    schemas: dict[str, Schema]
    requests: list[DescribedRequest]
    events: list[DescribedEvent]
    error: Schema


def describe(contract: Contract) -> Described:
    """A contract in JSON Schema.

    Raises:
        ConfigError: an event has a field of a type that JSON Schema has no word for.
    """
    types: list[Any] = [ErrorSaid, KeptHead]
    for request in contract.requests:
        types += [request.event, *request.answers]
    types += [said.event for said in contract.said]
    asked = {request.event for request in contract.requests}
    found, schemas = schemas_of(types)
    payloads = Payloads(schemas, asked)
    whole = iter([payloads.of(type_, schema) for type_, schema in zip(types, found, strict=True)])
    error, head = next(whole), payloads.at(next(whole))
    requests = []
    for each in contract.requests:
        payload, answers = next(whole), list(islice(whole, len(each.answers)))
        requests.append(DescribedRequest(each.tag, about(each.event), payload, any_of(answers), each.is_own))
    events = []
    for said, payload in zip(contract.said, whole, strict=True):
        told = with_head(payloads.at(payload), head) if said.is_own else payload
        events.append(DescribedEvent(said.tag, about(said.event), told, said.is_own))
    return Described(payloads.schemas, requests, events, error)


def schemas_of(types: list[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    """The schemas of types, and those that these refer to, by names that are good in any language.

    Raises:
        ConfigError: there is no word for one of them.
    """
    try:
        found, components = msgspec.json.schema_components(types, schema_hook=anything, ref_template=REF + "{name}")
    except TypeError as error:
        raise ConfigError(f"there is no JSON Schema for an event's field: {error}") from None
    named = {NOT_IN_NAMES.sub("_", name): renamed(schema) for name, schema in components.items()}
    return [renamed(schema) for schema in found], named


def anything(_type: type) -> Schema:
    """The schema of a type that only a hook of the application's can encode."""
    return {}


def renamed(schema: Any) -> Any:
    """A schema whose references are by names that are good in any language."""
    if isinstance(schema, dict):
        return {
            key: REF + NOT_IN_NAMES.sub("_", value.removeprefix(REF)) if key == "$ref" else renamed(value)
            for key, value in schema.items()
        }
    return [renamed(each) for each in schema] if isinstance(schema, list | tuple) else schema


class Payloads:
    """Turns the schemas of tagged types into those of payloads, whose tag is in the envelope.

    Attributes:
        schemas: those that others refer to, with the payloads among them.
    """

    def __init__(self, schemas: Mapping[str, Schema], asked: Set[type]) -> None:
        self._asked = asked
        self.schemas = dict(schemas)
        self._tagged = schemas
        # Those that are a part of something else keep their tags there.
        self._nested = set(references(list(schemas.values())))

    def of(self, type_: Any, schema: Schema) -> Schema:
        """The payload that a value of a type makes, whose schema this is."""
        # An answer has lost its tag where it is an `Event`; a request never needs it.
        is_payload = isinstance(type_, type) and (issubclass(type_, Event) or type_ in self._asked)
        if not is_payload:
            return schema
        name = schema["$ref"].removeprefix(REF)
        payload_name = f"{name}Payload" if name in self._nested else name
        self.schemas[payload_name] = without(self._tagged[name], str(type_.__struct_config__.tag_field))
        return {"$ref": REF + payload_name}

    def at(self, schema: Schema) -> Schema:
        """What a schema refers to."""
        return resolved(schema, self.schemas)


def resolved(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    """What a schema refers to; itself, where that is nothing."""
    return schemas[schema["$ref"].removeprefix(REF)] if "$ref" in schema else schema


def references(schema: Any) -> Iterator[str]:
    """The names that a schema refers to."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value.removeprefix(REF)
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for each in schema:
            yield from references(each)


def without(schema: Schema, field: str) -> Schema:
    """The schema of an object without one of its fields."""
    properties = {name: value for name, value in schema["properties"].items() if name != field}
    required = [name for name in schema.get("required", ()) if name != field]
    return {**schema, "properties": properties, "required": required}


def with_head(payload: Schema, head: Schema) -> Schema:
    """The payload of an event that is kept, or is not: the log adds its fields to one that is."""
    fields = {name: value for name, value in payload.items() if name != "additionalProperties"}
    return {**fields, "properties": {**head["properties"], **payload["properties"]}}


def any_of(schemas: list[Schema]) -> Schema:
    """What fits one of several schemas; any object, without one."""
    different = [schema for at, schema in enumerate(schemas) if schema not in schemas[:at]]
    if len(different) == 1:
        return different[0] or {"type": "object"}
    return {"anyOf": different} if different else {"type": "object"}


def about(type_: type) -> str:
    """The first paragraph of a class's own docstring, on one line."""
    text = inspect.cleandoc(type_.__dict__.get("__doc__") or "")
    return " ".join(text.partition("\n\n")[0].split())
