"""Protobuf's wire format, by tables: what number a struct's field has, and of what kind it is.

A `Shape` is such a table for one msgspec struct; the structs themselves are the same as for JSON.  What is JSON inside
of JSON, such as `data`, is bytes here, unchanged.

Reading is strict where bytes could mean two things: a number that does not end or does not fit 64 bits, a length past
the end, a field of another wire type, a string that is not UTF-8, a message inside a message given twice.  Unknown
fields are skipped, as the format wants it; groups, which it has given up, are refused.  Of a scalar given twice the
last one counts.  Shapes do not contain themselves, so nesting is bounded by the tables, and the time that a message
takes is in proportion to its size.

The rules are those of https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

__all__ = [
    "DELIMITED",
    "VARINT",
    "Field",
    "FieldKind",
    "Malformed",
    "Shape",
    "delimited",
    "number",
    "parts",
    "tag_of",
    "tagged",
    "text",
    "varint",
]

VARINT, FIXED64, DELIMITED, _START_GROUP, _END_GROUP, FIXED32 = range(6)

MAX_NUMBER = 0xFFFF_FFFF_FFFF_FFFF
# Below this, a number is the same in all kinds.
SAME = 1 << 31
MAX_FIELD_NUMBER = (1 << 29) - 1
# Entries of a map, and members of a list.
MAX_ENTRIES = 1024


class Malformed(ValueError):
    """Bytes that are no message of this shape; the text says why."""


class FieldKind(IntEnum):
    """What a field holds."""

    UINT32 = 0
    UINT64 = 1
    INT32 = 2
    INT64 = 3
    BOOL = 4
    # The kinds after this one have a length.
    STRING = 5
    JSON = 6
    """JSON as it is, in a field of bytes: a `msgspec.Raw`, empty where there is none."""
    MESSAGE = 7
    """A struct, or None."""
    LIST = 8
    """Structs, one after the other."""
    STRINGS = 9
    """A map from strings to strings."""
    MESSAGES = 10
    """A map from strings to structs."""
    ENCODED = 11
    """Fields that are encoded already, tags and all: a `msgspec.Raw`, or several.  They are written, and not read."""


# The same as plain numbers: reading compares with them for each field.
UINT32: Final = 0
UINT64: Final = 1
INT32: Final = 2
INT64: Final = 3
BOOL: Final = 4
STRING: Final = 5
JSON: Final = 6
MESSAGE: Final = 7
LIST: Final = 8
STRINGS: Final = 9
MESSAGES: Final = 10


class Field(NamedTuple):
    """One field of a struct.

    Attributes:
        number: in the schema.
        name: in the struct.
        of: the shape of the struct, or structs, in it.
    """

    number: int
    name: str
    kind: FieldKind
    of: Shape | None = None


class TextEntry(msgspec.Struct):
    """One entry of a map of strings."""

    key: str = ""
    value: str = ""


class MapEntry(msgspec.Struct):
    """One entry of a map of structs."""

    key: str = ""
    value: msgspec.Struct | None = None


Raw = msgspec.Raw

# Numbers of one byte.
SMALL = tuple(bytes([number]) for number in range(128))


# Numbers and lengths


def varint(number: int) -> bytes:
    """A number in groups of seven bits, the lowest first; a negative one as 64 bits in two's complement."""
    if 0 <= number < 128:
        return SMALL[number]
    if 0 < number < 16384:
        return bytes((number & 127 | 128, number >> 7))
    number &= MAX_NUMBER
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends.

    Raises:
        Malformed: it has more than 64 bits.
        IndexError: it is cut off.
    """
    number = shift = 0
    while shift < 70:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            if number > MAX_NUMBER:
                break
            return number, at
        shift += 7
    raise Malformed("a number has more than 64 bits")


def tag_of(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def tagged(place: int, payload: bytes) -> bytes:
    """A field that holds bytes: a string, or a message."""
    return with_size(tag_of(place, DELIMITED), payload)


def text(place: int, value: str) -> bytes:
    """A field that holds a string.  A surrogate, which JSON may have in one, cannot be said in UTF-8."""
    return tagged(place, value.encode(errors="replace"))


def number(place: int, value: int) -> bytes:
    """A field that holds a number."""
    return tag_of(place, VARINT) + varint(value)


def delimited(message: bytes) -> bytes:
    """A message behind its length, as one of several in a frame."""
    return varint(len(message)) + message


def parts(frame: bytes, most: int) -> list[tuple[int, int]]:
    """Where each message of a frame begins and ends, each being behind its length.

    Raises:
        Malformed: a length is cut off, or points past the end, or there are more than `most`.
    """
    found: list[tuple[int, int]] = []
    at, end = 0, len(frame)
    while at < end:
        size = frame[at]
        at += 1
        if size > 127:
            try:
                size, at = read_varint(frame, at - 1)
            except IndexError:
                raise Malformed("a length is cut off") from None
        stop = at + size
        if stop > end:
            raise Malformed(f"a message of {size} bytes, where {end - at} are left of the frame")
        if len(found) >= most:
            raise Malformed(f"a frame has more than {most} messages")
        found.append((at, stop))
        at = stop
    return found


class Shape:
    """How a struct looks in Protobuf.

    Args:
        struct: has a default for each of its fields, which is what is left out: zero, empty or None.
        fields: in the order in which they are written.
    """

    __slots__ = ("_inner", "_names", "_writers", "fields", "struct")

    def __init__(self, struct: type[msgspec.Struct], *fields: Field) -> None:
        self.struct = struct
        self.fields = fields
        # By tag: name, kind, and the shape of what is inside.
        self._inner: dict[int, tuple[str, int, Shape | None]] = {}
        self._names: dict[int, str] = {}
        self._writers: list[tuple[str, Callable[[Any], bytes]]] = []
        for field in fields:
            inner = entry_of(field) or field.of
            if field.kind != FieldKind.ENCODED:
                tag = field.number << 3 | (VARINT if field.kind <= FieldKind.BOOL else DELIMITED)
                self._inner[tag] = (field.name, int(field.kind), inner)
                self._names[field.number] = field.name
            self._writers.append((field.name, writer_of(field, inner)))

    # Reading

    def decode(self, data: bytes, at: int = 0, end: int | None = None) -> Any:
        """Read a struct from a part of `data`.

        Raises:
            Malformed: it is not one.
        """
        if end is None:
            end = len(data)
        try:
            values, at = self._read(data, at, end)
        except IndexError:
            at = end + 1
        except UnicodeDecodeError as error:
            raise Malformed(f"a string is not UTF-8: {error.reason}") from None
        if at != end:
            raise Malformed("a field is cut off")
        return self.struct(**values)

    # One loop without calls: each publish of a client comes through here.
    def _read(  # noqa: C901
        self, data: bytes, at: int, end: int
    ) -> tuple[dict[str, Any], int]:
        """Read fields up to an end, or beyond where the last one is cut off; and where that is."""
        values: dict[str, Any] = {}
        inner = self._inner
        while at < end:
            tag = data[at]
            at += 1
            if tag > 127:
                tag, at = read_varint(data, at - 1)
            field = inner.get(tag)
            if field is None:
                at = self._skip(tag, data, at)
                continue
            name, kind, shape = field
            size = data[at]
            at += 1
            if size > 127:
                size, at = read_varint(data, at - 1)
            if kind <= BOOL:
                values[name] = size if size < SAME and kind != BOOL else number_of(size, kind)
                continue
            stop = at + size
            if stop > end:
                raise Malformed(f"{name} has {size} bytes, which is more than is left of its message")
            if kind == STRING:
                values[name] = data[at:stop].decode()
            elif kind == JSON:
                values[name] = Raw(data[at:stop]) if size else UNSET
            elif shape is not None:
                found = shape.decode(data, at, stop)
                if kind == MESSAGE and name not in values:
                    values[name] = found
                else:
                    shape.add_to(values, name, kind, found)
            at = stop
        return values, at

    def add_to(self, values: dict[str, Any], name: str, kind: int, found: Any) -> None:
        """Add a message of this shape to those that a field of many holds."""
        if kind == MESSAGE:
            raise Malformed(f"{name} is given twice")
        held = values.setdefault(name, [] if kind == LIST else {})
        if len(held) >= MAX_ENTRIES:
            raise Malformed(f"{name} has more than {MAX_ENTRIES} entries")
        if kind == LIST:
            held.append(found)
        elif found.key in held:
            raise Malformed(f"{name} has the key {found.key[:80]!r} twice")
        else:
            # A message that is left out is an empty one.
            held[found.key] = shape_of(self.fields[1]).decode(b"") if found.value is None else found.value

    def _skip(self, tag: int, data: bytes, at: int) -> int:
        """Where the field ends that has a tag which is none of this shape's."""
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number <= MAX_FIELD_NUMBER:
            raise Malformed(f"{number} is no field number")
        if number in self._names:
            raise Malformed(f"{self._names[number]} has the wire type {wire_type}")
        if wire_type == VARINT:
            return read_varint(data, at)[1]
        if wire_type == DELIMITED:
            size, at = read_varint(data, at)
            return at + size
        if wire_type == FIXED32:
            return at + 4
        if wire_type == FIXED64:
            return at + 8
        raise Malformed(f"field {number} has the wire type {wire_type}: groups are not read")

    # Writing

    def encode(self, value: msgspec.Struct) -> bytes:
        """Write a struct; what is zero, empty or None is left out.  A struct in it is never empty."""
        written = []
        for name, write in self._writers:
            held = getattr(value, name)
            if held:
                written.append(write(held))
        return b"".join(written)


def number_of(number: int, kind: int) -> int | bool:
    """What a number of 64 bits is as one of a kind: those of 32 bits are its lower half."""
    if kind == UINT32:
        return number & 0xFFFF_FFFF
    if kind == BOOL:
        return number != 0
    if kind == INT32:
        number &= 0xFFFF_FFFF
        return number - (1 << 32) if number >> 31 else number
    if kind == INT64 and number >> 63:
        return number - (1 << 64)
    return number


def entry_of(field: Field) -> Shape | None:
    """The shape of a map's entries: a message with the key and the value; None for what is no map."""
    key = Field(1, "key", FieldKind.STRING)
    if field.kind == FieldKind.STRINGS:
        return Shape(TextEntry, key, Field(2, "value", FieldKind.STRING))
    if field.kind == FieldKind.MESSAGES:
        return Shape(MapEntry, key, Field(2, "value", FieldKind.MESSAGE, field.of))
    return None


def shape_of(field: Field) -> Shape:
    assert field.of is not None, f"{field.name} has messages of no shape"
    return field.of


def writer_of(field: Field, inner: Shape | None) -> Callable[[Any], bytes]:
    """What writes a field's value, which is neither zero nor empty."""
    if field.kind == FieldKind.ENCODED:
        return write_encoded
    if field.kind == FieldKind.BOOL:
        true = number(field.number, 1)
        return lambda _: true
    if field.kind <= FieldKind.BOOL:
        number_tag = tag_of(field.number, VARINT)
        return lambda value: number_tag + varint(value)
    tag = tag_of(field.number, DELIMITED)
    if field.kind == FieldKind.STRING:
        return lambda value: with_size(tag, value.encode(errors="replace"))
    if field.kind == FieldKind.JSON:
        return lambda value: with_size(tag, bytes(value))
    assert inner is not None
    encode = inner.encode
    if field.kind == FieldKind.MESSAGE:
        return lambda value: with_size(tag, encode(value))
    if field.kind == FieldKind.LIST:
        return lambda value: b"".join([with_size(tag, encode(each)) for each in value])
    entry = TextEntry if field.kind == FieldKind.STRINGS else MapEntry
    return lambda value: b"".join([with_size(tag, encode(entry(*each))) for each in value.items()])


def with_size(tag: bytes, payload: bytes) -> bytes:
    """A field that holds bytes, by its tag."""
    size = len(payload)
    return b"%b%b%b" % (tag, SMALL[size] if size < 128 else varint(size), payload)


def write_encoded(value: msgspec.Raw | list[msgspec.Raw]) -> bytes:
    return b"".join(value) if isinstance(value, list) else bytes(value)
