"""The application's own events as a Python module, for programs that use `hubbub.connect` and have not the server's."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from msgspec import inspect as info

from hubbub.events import Event
from hubbub.schema.answers import KeptAnswer, NoAnswer
from hubbub.schema.contract import Contract, Exchange

__all__ = ["stubs"]

HEAD = '''\
"""The events of {title}, for programs that talk to it by `hubbub.connect`.

Written by `hubbub schema --format python`.
"""

from __future__ import annotations

{imports}


'''

# What the module may import, each with the sign that it is needed.
STANDARD = {"datetime": "datetime.", "decimal": "decimal.", "uuid": "uuid."}
TYPING = {"Any": "Any", "Literal": "Literal["}
SDK = {"Connection": "Connection", "Receipt": "Receipt"}
TAKEN = frozenset([*STANDARD, *TYPING, "msgspec", "Event", "Connection", "Receipt", "ask"])

ASK = '''\
async def ask(connection: Connection, event: msgspec.Struct) -> dict[str, Any]:
    """Send a request; the payload of its answer."""
    payload = msgspec.to_builtins(event, str_keys=True)
    return await connection.request(payload.pop(event.__struct_config__.tag_field), payload)
'''

# Types that are written by one word.
WORDS: dict[type[info.Type], str] = {
    info.NoneType: "None",
    info.BoolType: "bool",
    info.IntType: "int",
    info.FloatType: "float",
    info.StrType: "str",
    info.BytesType: "bytes",
    info.ByteArrayType: "bytes",
    info.MemoryViewType: "bytes",
    info.DateTimeType: "datetime.datetime",
    info.DateType: "datetime.date",
    info.TimeType: "datetime.time",
    info.TimeDeltaType: "datetime.timedelta",
    info.UUIDType: "uuid.UUID",
    info.DecimalType: "decimal.Decimal",
}
# Those of one item, by how they begin and end.
OF_ITEMS: dict[type[info.Type], tuple[str, str]] = {
    info.ListType: ("list[", "]"),
    info.VarTupleType: ("tuple[", ", ...]"),
    info.SetType: ("set[", "]"),
    info.FrozenSetType: ("frozenset[", "]"),
    info.CollectionType: ("list[", "]"),
}

Objects = info.StructType | info.DataclassType | info.TypedDictType | info.NamedTupleType

NOT_IN_NAMES = re.compile(r"\W")


def stubs(contract: Contract, title: str) -> str:
    """The module: a class for each event and what it consists of, and a function for each request."""
    asked = [request for request in contract.requests if request.is_own]
    types: list[Any] = [request.event for request in asked]
    types += [said.event for said in contract.said if said.is_own]
    types += [answer for request in asked for answer in request.answers]
    writer = Writer(types)
    body = "\n\n".join([*writer.classes(), ASK, *map(writer.function, asked)])
    imports = [f"import {module}" for module, sign in STANDARD.items() if sign in body]
    imports += [f"from typing import {used(TYPING, body)}", "", "import msgspec", ""]
    imports += ["from hubbub import Event"] if "(Event, " in body else []
    imports += [f"from hubbub.sdk import {used(SDK, body)}"]
    return HEAD.format(title=title, imports="\n".join(imports)) + body


def used(names: Mapping[str, str], body: str) -> str:
    """The names whose signs a text has, to be imported."""
    return ", ".join(name for name, sign in names.items() if sign in body)


class Writer:
    """Writes classes and functions for types.

    Args:
        types: those that there are to be names for, with all that they consist of.
    """

    def __init__(self, types: list[Any]) -> None:
        self._objects: dict[type, Objects] = {}
        for type_ in info.multi_type_info(types):
            self._collect(type_)
        self._taken = set(TAKEN)
        self._names = {class_: self._free(NOT_IN_NAMES.sub("_", class_.__name__)) for class_ in self._objects}

    def _free(self, name: str) -> str:
        """A name that the module has not yet, and that it has from now on."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def _collect(self, part: object) -> None:
        """Take note of the classes that a type, or a part of what is known of it, consists of."""
        if isinstance(part, Objects):
            if part.cls in self._objects or part.cls in (KeptAnswer, NoAnswer):
                return
            self._objects[part.cls] = part
        if isinstance(part, info.Type | info.Field):
            for name in part.__struct_fields__:
                self._collect(getattr(part, name))
        elif isinstance(part, tuple):
            for each in part:
                self._collect(each)

    # Classes

    def classes(self) -> Iterator[str]:
        """The definition of each class."""
        for class_, type_ in self._objects.items():
            docstring = [] if isinstance(type_, info.DataclassType) else docstring_of(class_)  # Python writes those
            fields = [self._field(field) for field in type_.fields]
            between = [""] if docstring and fields else []
            lines = [*docstring, *between, *fields] or ["pass"]
            indented = "".join(f"    {line}\n" if line else "\n" for line in lines)
            yield f"class {self._names[class_]}({base_of(type_)}):\n{indented}"

    def _field(self, field: info.Field) -> str:
        """The line of a field."""
        type_ = self.expression(field.type)
        named = [] if field.encode_name == field.name else [f"name={written(field.encode_name)}"]
        if field.required:
            return f"{field.name}: {type_}" + (f" = msgspec.field({named[0]})" if named else "")
        if field.default_factory in (list, dict, set):
            factory = f"default_factory={field.default_factory.__name__}"
            return f"{field.name}: {type_} = msgspec.field({', '.join([factory, *named])})"
        default = default_of(field)
        if default == UNSET and UNSET_TYPE not in type_:
            type_ = f"{type_} | {UNSET_TYPE}"
        if named:
            default = f"msgspec.field(default={default}, {named[0]})"
        return f"{field.name}: {type_} = {default}"

    # Types

    def expression(self, type_: info.Type) -> str:
        """A type, as annotations have it."""
        if isinstance(type_, Objects):
            return self._names[type_.cls]
        if type(type_) in OF_ITEMS:
            begin, end = OF_ITEMS[type(type_)]
            return f"{begin}{self.expression(type_.item_type)}{end}"  # type: ignore[attr-defined]  # those have one
        match type_:
            case info.Metadata(type=inner):
                return self.expression(inner)
            case info.UnionType(types=types):
                return " | ".join(dict.fromkeys(self.expression(each) for each in types))
            case info.LiteralType(values=values):
                return f"Literal[{', '.join(map(written, values))}]"
            case info.EnumType(cls=enum):
                return f"Literal[{', '.join(written(member.value) for member in enum)}]"
            case info.TupleType(item_types=items):
                return f"tuple[{', '.join(map(self.expression, items)) or '()'}]"
            case info.DictType(key_type=key, value_type=value):
                return f"dict[{self.expression(key)}, {self.expression(value)}]"
        return WORDS.get(type(type_), "Any")

    # Functions

    def function(self, request: Exchange) -> str:
        """The function that sends a request."""
        event, asked = self._names[request.event], "await ask(connection, event)"
        name = self._free(f"send_{NOT_IN_NAMES.sub('_', request.tag)}")
        head = f"async def {name}(connection: Connection, event: {event})"
        about = f'    """Send `{request.tag}`; returns what the server answers."""\n'
        answer, payload = "dict[str, Any]", asked
        if len(request.answers) == 1:
            [answered] = request.answers
            [told] = info.multi_type_info([answered])
            if answered is NoAnswer:
                return f"{head} -> None:\n{about}    {asked}\n"
            answer = "Receipt" if answered is KeptAnswer else self.expression(told)
            if isinstance(told, info.StructType) and issubclass(told.cls, Event):  # its tag stays in the envelope
                payload = f'{{**{asked}, "type": {written(told.tag)}}}'
        if answer in ("dict[str, Any]", "Any"):
            return f"{head} -> dict[str, Any]:\n{about}    return {asked}\n"
        convert = f"msgspec.convert({payload}, {answer}, str_keys=True)"
        return f"{head} -> {answer}:\n{about}    answer: {answer} = {convert}\n    return answer\n"


UNSET, UNSET_TYPE = "msgspec.UNSET", "msgspec.UnsetType"
# A default that the server fills in where the field is left out, or that there is where nothing is said.
SIMPLE = (type(None), bool, int, float, str)


def default_of(field: info.Field) -> str:
    """The default of a field as it is written; that it is not set, where the default is no simple value."""
    is_simple = isinstance(field.default, SIMPLE) and not isinstance(field.default, Enum)
    return written(field.default) if is_simple else UNSET


def base_of(type_: Objects) -> str:
    """The base and the settings of a class."""
    optional = [not field.required for field in type_.fields]
    more = ", kw_only=True" if optional != sorted(optional) else ""
    if not isinstance(type_, info.StructType):
        array = ", array_like=True" if isinstance(type_, info.NamedTupleType) else ""
        return f"msgspec.Struct, frozen=True{array}{more}"
    if issubclass(type_.cls, Event):
        return f"Event, tag={written(type_.tag)}{more}"
    tagged = "" if type_.tag is None else f", tag={written(type_.tag)}, tag_field={written(type_.tag_field)}"
    array = ", array_like=True" if type_.array_like else ""
    return f"msgspec.Struct, frozen=True{tagged}{array}{more}"


def docstring_of(class_: type) -> list[str]:
    """The lines of a class's own docstring; none without one."""
    text = inspect.cleandoc(class_.__dict__.get("__doc__") or "")
    safe = text.replace("\\", "\\\\").replace('"""', "'''")
    lines = safe.splitlines()
    match lines:
        case []:
            return []
        case [line]:
            return [f'"""{line}"""']
    return [f'"""{lines[0]}', *lines[1:], '"""']


def written(value: object) -> str:
    """A value, as programs have it."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
