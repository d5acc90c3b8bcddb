"""The Protobuf of the second door, next to an implementation that is not ours: what the Python SDK is built on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from centrifuge.protocol import client_pb2  # type: ignore[import-untyped]
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hubbub.door.codes import DoorCode, DoorError
from hubbub.door.commands import (
    Asked,
    ConnectionInfo,
    ConnectReply,
    DisconnectPush,
    Empty,
    HistoryReply,
    JoinPush,
    MessagePush,
    PresenceReply,
    PresenceStatsReply,
    PublicationPush,
    RefreshPush,
    RefreshReply,
    RpcReply,
    SubscribePush,
    SubscribeReply,
    UnsubscribePush,
)
from hubbub.door.dialect import Broken, JsonDialect
from hubbub.door.protobuf import FieldKind, Shape, delimited, varint
from hubbub.door.protobuf_dialect import MAX_COMMANDS, ProtobufDialect
from hubbub.door.schema import COMMAND, INFO, PUSHES, REPLIES
from hubbub.errors import ErrorCode, Refused
from hubbub.events import Message, encode
from hubbub.recent import Recent

Raw = msgspec.Raw
DIALECT = ProtobufDialect(lambda channel: not channel.startswith("live:"))

CHANNEL = "chat:a"
BODY = b'{"data":{"text":"h\xc3\xa9"},"info":{"user":"7","client":"c1","conn_info":{"n":1}},"tags":{"kind":"note"}}'


def framed(*commands: Any) -> bytes:
    return b"".join(delimited(command.SerializeToString()) for command in commands)


def replies(data: bytes) -> Iterator[Any]:
    """The messages of a frame, as the other implementation reads them."""
    at = 0
    while at < len(data):
        size, shift = 0, 0
        while data[at] > 127:
            size |= (data[at] & 127) << shift
            shift += 7
            at += 1
        size |= data[at] << shift
        at += 1
        yield client_pb2.Reply.FromString(data[at : at + size])
        at += size


def one(data: bytes) -> Any:
    (reply,) = replies(data)
    return reply


def command(id_: int, name: str, **fields: Any) -> Any:
    made = client_pb2.Command(id=id_)
    request = getattr(made, name)
    request.SetInParent()
    for field, value in fields.items():
        setattr(request, field, value)
    return made


def post(body: bytes = BODY, type_: str = "publication", *, room: str = CHANNEL, sender: str | None = None) -> Message:
    return Message(room, 7, 1_700_000_000_000, sender, type_, body)


# The tables


# What the other implementation calls kinds.
OTHER_KINDS = {
    FieldKind.UINT32: {13},
    FieldKind.UINT64: {4},
    FieldKind.INT32: {5},
    FieldKind.INT64: {3},
    FieldKind.BOOL: {8},
    FieldKind.STRING: {9},
    FieldKind.JSON: {12, 11},
    FieldKind.MESSAGE: {11},
    FieldKind.LIST: {11},
    FieldKind.STRINGS: {11},
    FieldKind.MESSAGES: {11},
    FieldKind.ENCODED: {11},
}
# Fields that are younger than the SDK.
YOUNGER = {("SubscribeRequest", "type"), ("SubscribeRequest", "flag"), ("ConnectRequest", "flag")}


def pairs(shape: Shape, descriptor: Any) -> Iterator[tuple[Any, Any, str]]:
    """Each field of a shape with the other implementation's, those of inner shapes included."""
    by_name = {field.name: field for field in descriptor.fields}
    for field in shape.fields:
        other = by_name.get(field.name)
        if other is None:
            assert (descriptor.name, field.name) in YOUNGER
            continue
        yield field, other, descriptor.name
        if field.of is not None:
            inner = other.message_type
            is_map = field.kind in (FieldKind.MESSAGES, FieldKind.STRINGS)
            yield from pairs(field.of, inner.fields_by_name["value"].message_type if is_map else inner)


def test_tables_are_those_of_the_schema() -> None:
    found = list(pairs(COMMAND, client_pb2.Command.DESCRIPTOR))
    reply, push = client_pb2.Reply.DESCRIPTOR, client_pb2.Push.DESCRIPTOR
    for fields, table in ((reply.fields_by_name, REPLIES), (push.fields_by_name, PUSHES)):
        for name, (number, shape) in table.items():
            assert fields[name].number == number
            found += pairs(shape, fields[name].message_type)
    assert len(found) > 70
    for field, other, where in found:
        assert field.number == other.number, (where, field.name)
        assert other.type in OTHER_KINDS[field.kind], (where, field.name)


def test_every_field_of_the_structs_has_a_number() -> None:
    def check(shape: Shape) -> None:
        struct = shape.struct
        left = set(struct.__struct_fields__) - {field.name for field in shape.fields}
        assert left <= ({"client", "version"} if shape is REPLIES["sub_refresh"][1] else set()), struct
        for field in shape.fields:
            if field.of is not None:
                check(field.of)

    for shape in (COMMAND, *(shape for _, shape in (*REPLIES.values(), *PUSHES.values()))):
        check(shape)


# Reading

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
booleans = st.booleans()
jsons = st.sampled_from([b"{}", b"1", b'"x"', b'{"a":[1,2,{"b":null}]}', b'"\xc3\xa9"', b" [ 1 ] "])
data = st.just(b"") | jsons
offsets = st.integers(0, 2**64 - 1)
subscriptions = st.fixed_dictionaries(
    {},
    optional={
        "channel": texts,
        "token": texts,
        "recover": booleans,
        "epoch": texts,
        "offset": offsets,
        "data": data,
        "positioned": booleans,
        "recoverable": booleans,
        "join_leave": booleans,
        "delta": texts,
    },
)
requests = st.one_of(
    st.tuples(st.just("subscribe"), subscriptions),
    st.tuples(st.just("publish"), st.fixed_dictionaries({}, optional={"channel": texts, "data": data})),
    st.tuples(
        st.sampled_from(["unsubscribe", "presence", "presence_stats"]), st.fixed_dictionaries({"channel": texts})
    ),
    st.tuples(
        st.just("history"),
        st.fixed_dictionaries(
            {},
            optional={
                "channel": texts,
                "limit": st.integers(-(2**31), 2**31 - 1),
                "since": st.fixed_dictionaries({}, optional={"offset": offsets, "epoch": texts}),
                "reverse": booleans,
            },
        ),
    ),
    st.tuples(st.just("ping"), st.just({})),
    st.tuples(st.just("rpc"), st.fixed_dictionaries({}, optional={"data": data, "method": texts})),
    st.tuples(st.just("refresh"), st.fixed_dictionaries({"token": texts})),
    st.tuples(st.just("sub_refresh"), st.fixed_dictionaries({"channel": texts, "token": texts})),
    st.tuples(
        st.just("connect"),
        st.fixed_dictionaries(
            {},
            optional={
                "token": texts,
                "data": data,
                "subs": st.dictionaries(texts, subscriptions, max_size=3),
                "name": texts,
                "version": texts,
                "headers": st.dictionaries(texts, texts, max_size=3),
            },
        ),
    ),
)


def fill(message: Any, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if name in ("subs", "headers"):
            held = getattr(message, name)
            for key, each in value.items():
                if name == "headers":
                    held[key] = each
                else:
                    fill(held[key], each)
        elif isinstance(value, dict):
            getattr(message, name).SetInParent()
            fill(getattr(message, name), value)
        else:
            setattr(message, name, value)


def held_by(struct: msgspec.Struct) -> dict[str, Any]:
    """What of a struct is no default, as plain values."""
    found: dict[str, Any] = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, msgspec.Struct):
            found[name] = held_by(value)
        elif isinstance(value, Raw):
            found[name] = bytes(value)
        elif isinstance(value, dict):
            found[name] = {k: held_by(v) if isinstance(v, msgspec.Struct) else v for k, v in value.items()}
        else:
            found[name] = value
    return {name: value for name, value in found.items() if value or value == {}}


def trimmed(fields: dict[str, Any]) -> dict[str, Any]:
    return {k: trimmed(v) if isinstance(v, dict) and k != "headers" else v for k, v in fields.items() if v or v == {}}


@given(st.lists(st.tuples(st.integers(1, 2**32 - 1), requests), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_commands_are_read_as_they_were_meant(asked: list[tuple[int, tuple[str, dict[str, Any]]]]) -> None:
    made = []
    for id_, (name, fields) in asked:
        one_made = command(id_, name)
        fill(getattr(one_made, name), fields)
        made.append(one_made)
    found = DIALECT.read(framed(*made))
    assert len(found) == len(asked)
    for each, (id_, (name, fields)) in zip(found, asked, strict=True):
        assert each is not None
        assert (each.id, each.type) == (id_, name)
        got, expected = held_by(each.payload), trimmed(fields)
        for defaulted in ("subs", "headers"):
            if not expected.get(defaulted):
                got.pop(defaulted, None), expected.pop(defaulted, None)
        assert got == expected


def read_by_both(message: bytes) -> tuple[Any, Any]:
    """What both make of the bytes of one command: it, or None for an error."""
    try:
        other = client_pb2.Command.FromString(message)
    except Exception:
        other = None
    try:
        ours = COMMAND.decode(message)
    except ValueError as error:
        ours = error
    return ours, other


@given(st.binary(max_size=64))
@example(b"\x0b\x0c")
@settings(max_examples=300, deadline=None)
def test_noise_is_read_as_the_other_implementation_reads_it(noise: bytes) -> None:
    check_alike(noise)


def check_alike(message: bytes) -> None:
    ours, other = read_by_both(message)
    if isinstance(ours, ValueError):
        # Stricter than the other one in these alone.
        strict = ("groups", "twice", "64 bits", "wire type", "no field number")
        assert other is None or any(word in str(ours) for word in strict), (message, ours)
        return
    assert other is not None, message
    assert ours.id == other.id
    for name in ("publish", "subscribe", "history", "connect"):
        assert (getattr(ours, name) is not None) == other.HasField(name)
    if ours.publish is not None:
        assert ours.publish.channel == other.publish.channel
        assert bytes(ours.publish.data or b"") == other.publish.data
    if ours.history is not None:
        assert (ours.history.limit, ours.history.reverse) == (other.history.limit, other.history.reverse)


def test_broken_commands_are_read_as_the_other_implementation_reads_them() -> None:
    rng = random.Random(13)
    whole = command(300, "connect")
    fill(
        whole.connect,
        {"token": "t" * 150, "data": b"{}", "subs": {"a": {"recover": True, "offset": 2**63}}, "headers": {"a": "b"}},
    )
    history = command(2, "history")
    fill(history.history, {"channel": "c", "limit": -1, "since": {"offset": 5, "epoch": "e"}, "reverse": True})
    seeds = [each.SerializeToString() for each in (whole, history, command(1, "publish", channel="é", data=b"[1]"))]
    for seed in seeds:
        for end in range(len(seed)):
            check_alike(seed[:end])
        for _ in range(1000):
            broken = bytearray(seed)
            for _ in range(rng.randrange(1, 4)):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            check_alike(bytes(broken))


def test_of_a_scalar_given_twice_the_last_one_counts() -> None:
    message = b"\x08\x05" + b"\x3a\x06\x0a\x01a\x0a\x01b" + b"\x08\x06"
    assert DIALECT.read(delimited(message)) == [Asked("publish", COMMAND.decode(message).publish, 6)]
    assert COMMAND.decode(message).publish.channel == "b"


def test_unknown_fields_are_skipped() -> None:
    known = command(1, "publish", channel="a", data=b"1").SerializeToString()
    unknown = b"\xa0\x06\x01" + b"\xa2\x06\x03abc" + b"\xa5\x06abcd" + b"\xa1\x06abcdefgh"
    (asked,) = DIALECT.read(delimited(unknown + known + unknown))
    assert asked is not None
    assert asked.id == 1


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"\x08", "cut off"),
        (b"\x08\x80", "cut off"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "64 bits"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "64 bits"),
        (b"\x3a\x05\x0a\x01a", "publish has 5 bytes, which is more"),
        (b"\x3a\x03\x0a\x02a", "channel has 2 bytes, which is more"),
        (b"\x3a\x02\x0a\x80\x80\x01", "channel has 16384 bytes, which is more"),
        (b"\x3a\x03\x0a\x01\xff", "not UTF-8"),
        (b"\x0d\x01\x02\x03\x04", "id has the wire type 5"),
        (b"\x38\x01", "publish has the wire type 0"),
        (b"\x3a\x00\x3a\x00", "publish is given twice"),
        (b"\xa3\x06\xa4\x06", "groups are not read"),
        (b"\x00\x01", "0 is no field number"),
        (b"\xa5\x06abc", "cut off"),
        (b"\xa2\x06\x04abc", "cut off"),
        (b"\x22\x08\x32\x02\x0a\x00\x32\x02\x0a\x00", "headers has the key '' twice"),
    ],
)
def test_what_is_wrong_is_named(message: bytes, why: str) -> None:
    with pytest.raises(Broken, match=why):
        DIALECT.read(delimited(message))


def test_lengths_of_a_frame_are_checked() -> None:
    for frame in (b"\x05\x08\x01", b"\x80", b"\xff" * 11, b"\x02\x08\x01\x80"):
        with pytest.raises(Broken):
            DIALECT.read(frame)
    with pytest.raises(Broken, match=f"more than {MAX_COMMANDS}"):
        DIALECT.read(b"\0" * 65536)


def test_a_frame_has_commands_and_answers_to_pings() -> None:
    frame = framed(command(1, "ping"), client_pb2.Command(), command(2, "publish", channel="a"))
    assert [asked and (asked.type, asked.id) for asked in DIALECT.read(frame)] == [("ping", 1), None, ("publish", 2)]
    assert DIALECT.read(DIALECT.ping) == [None]
    with pytest.raises(Broken, match="id from 1"):
        DIALECT.read(framed(command(0, "publish", channel="a")))
    with pytest.raises(Broken, match="one request"):
        DIALECT.read(framed(client_pb2.Command(id=3)))


def test_maps_have_as_many_entries_as_a_bound_allows() -> None:
    # An entry of a map may leave its value out.
    entries = b"".join(b"\x1a" + delimited(b"\x0a" + delimited(b"%d" % number)) for number in range(1025))
    asked = COMMAND.decode(b"\x08\x01\x22" + delimited(entries[: entries.index(b"\x0a\x014") - 2]))
    assert [*asked.connect.subs] == ["0", "1", "2", "3"]
    with pytest.raises(ValueError, match="subs has more than 1024 entries"):
        COMMAND.decode(b"\x08\x01\x22" + delimited(entries))


@pytest.mark.parametrize("broken", [b"{", b"\xff", b'"\xff"', b'"\xed\xa0\x80"', b"nope", b"1 2", b"[" * 5000])
def test_data_that_is_no_json_is_refused(broken: bytes) -> None:
    for name in ("publish", "rpc", "subscribe", "send"):
        (asked,) = DIALECT.read(framed(command(4, name, data=broken)))
        assert asked is not None
        with pytest.raises(DoorError, match="data is JSON") as caught:
            DIALECT.decode(asked)
        assert caught.value.number == DoorCode.BAD_REQUEST
        assert DIALECT.id_of(asked) == (None if name == "send" else 4)
    with pytest.raises(Broken, match="data is JSON"):
        DIALECT.read(framed(command(1, "connect", data=broken)))


def test_data_is_taken_as_it_is() -> None:
    (asked,) = DIALECT.read(framed(command(1, "publish", channel="a", data=b'{"a": "\\u00e9"}')))
    assert asked is not None
    assert bytes(DIALECT.decode(asked).payload.data) == b'{"a": "\\u00e9"}'  # type: ignore[attr-defined]


# Writing


def test_results() -> None:
    def answer(name: str, result: msgspec.Struct, id_: int = 1) -> Any:
        return getattr(one(DIALECT.ack(id_, DIALECT.result(name, result))), name)

    for name in ("publish", "unsubscribe", "ping"):
        reply = one(DIALECT.ack(70000, DIALECT.result(name, Empty())))
        assert reply.HasField(name)
        assert reply.id == 70000
    connected = answer(
        "connect",
        ConnectReply(
            client="c1",
            version="1",
            expires=True,
            ttl=600,
            data=Raw(b"{}"),
            subs={"#7": SubscribeReply(epoch="k", offset=2**40, recoverable=True), "b": SubscribeReply()},
            ping=9,
            pong=True,
            session="s",
            node="n",
        ),
    )
    assert (connected.client, connected.ttl, connected.ping, connected.pong) == ("c1", 600, 9, True)
    assert (connected.session, connected.node, connected.data, connected.expires) == ("s", "n", b"{}", True)
    assert connected.subs["#7"].offset == 2**40
    assert sorted(connected.subs) == ["#7", "b"]
    infos = {"c1": ConnectionInfo("7", "c1", Raw(b'{"n":1}')), "c2": ConnectionInfo("", "c2", chan_info=Raw(b"[]"))}
    present = answer("presence", PresenceReply(infos)).presence
    assert (present["c1"].conn_info, present["c2"].chan_info, present["c2"].user) == (b'{"n":1}', b"[]", "")
    assert answer("presence_stats", PresenceStatsReply(300, 2)).num_clients == 300
    assert answer("rpc", RpcReply(Raw(b'"x"'))).data == b'"x"'
    assert answer("rpc", RpcReply()).data == b""
    for name in ("refresh", "sub_refresh"):
        refreshed = answer(name, RefreshReply("c1", "1", expires=True, ttl=5))
        assert (refreshed.expires, refreshed.ttl) == (True, 5)


def test_a_surrogate_does_not_make_a_string_that_is_no_text() -> None:
    assert INFO.encode(ConnectionInfo("\ud800", "c")) == b"\x0a\x01?\x12\x01c"


def test_refusals() -> None:
    reply = one(DIALECT.error(9, Refused(ErrorCode.RATE_LIMITED, "slower", retry_after=1.0)))
    assert (reply.id, reply.error.code, reply.error.message, reply.error.temporary) == (9, 111, "slower", True)
    reply = one(DIALECT.error(9, DoorError(DoorCode.PERMISSION_DENIED, "no")))
    assert (reply.error.code, reply.error.temporary) == (103, False)
    assert DIALECT.error(None, DoorError(DoorCode.PERMISSION_DENIED, "no")) == b""


def test_pushes() -> None:
    def told(name: str, push: msgspec.Struct, channel: str = CHANNEL) -> Any:
        push_ = one(DIALECT.push(channel, name, push)).push
        assert push_.channel == channel
        return getattr(push_, name)

    info = ConnectionInfo("7", "c1", chan_info=Raw(b"1"))
    assert told("join", JoinPush(info)).info.chan_info == b"1"
    assert told("leave", JoinPush(info)).info.client == "c1"
    assert told("unsubscribe", UnsubscribePush(2500, "gone")).code == 2500
    assert told("subscribe", SubscribePush(epoch="k", offset=4, recoverable=True)).offset == 4
    assert told("message", MessagePush(Raw(b"1")), "").data == b"1"
    assert told("refresh", RefreshPush(expires=True, ttl=3), "").ttl == 3
    assert told("disconnect", DisconnectPush(3503, "out", reconnect=True), "").reconnect
    assert told("pub", PublicationPush(Raw(b"1"))).data == b"1"


def test_messages() -> None:
    push = one(DIALECT.message(post())).push
    assert (push.channel, push.pub.offset, push.pub.data) == (CHANNEL, 7, '{"text":"hé"}'.encode())
    assert (push.pub.info.user, push.pub.info.client, push.pub.info.conn_info) == ("7", "c1", b'{"n":1}')
    assert dict(push.pub.tags) == {"kind": "note"}
    assert one(DIALECT.message(post(room="live:a"))).push.pub.offset == 0
    foreign = one(DIALECT.message(post(b'{"message":"hi"}', "new_message", sender="ann"))).push.pub
    assert (foreign.data, foreign.info.user, dict(foreign.tags)) == (
        b'{"message":"hi"}',
        "ann",
        {"type": "new_message"},
    )
    # An application may keep other things under these names.
    for body in (b'{"data":1,"info":5}', b'{"data":1,"info":{"client":"c1"}}'):
        odd = one(DIALECT.message(post(body))).push.pub
        assert (odd.data, odd.HasField("info")) == (b"1", False)
    assert one(DIALECT.message(post(b'{"other":1}'))).push.pub.data == b'{"other":1}'


def test_what_is_not_kept() -> None:
    assert one(DIALECT.cast(CHANNEL, "publication", BODY)).push.pub.info.client == "c1"
    assert dict(one(DIALECT.cast(CHANNEL, "vote", b'{"n":1}')).push.pub.tags) == {"type": "vote"}
    assert DIALECT.cast(CHANNEL, "typing", b"{}") == b""
    assert one(DIALECT.event("vote", b'{"n":1}')).push.message.data == b'{"type":"vote","payload":{"n":1}}'
    assert one(DIALECT.event("removed", encode({"room": CHANNEL}))).push.unsubscribe.code == 2000


def listed(count: int) -> list[bytes]:
    return [DIALECT.listed(Message(CHANNEL, seq, 0, None, "publication", BODY)) for seq in range(1, count + 1)]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_lists(count: int) -> None:
    array = DIALECT.extended(listed(count)[:1], DIALECT.array(listed(count)[1:]))
    reply = one(
        DIALECT.ack(1, DIALECT.result("subscribe", SubscribeReply(epoch="k", publications=Raw(array), offset=1)))
    )
    past = HistoryReply([Raw(each) for each in listed(count)], "k", count)
    history = one(DIALECT.ack(1, DIALECT.result("history", past))).history
    for found in (reply.subscribe.publications, history.publications):
        assert [publication.offset for publication in found] == [*range(1, count + 1)]
        assert all(publication.info.client == "c1" for publication in found)
    assert history.offset == count


def test_a_room_keeps_the_lists_of_both_formats_apart() -> None:
    json = JsonDialect(lambda _: True)
    recent = Recent()
    recent.extend([Message(CHANNEL, seq, 0, None, "publication", BODY) for seq in (1, 2)])
    for _ in range(2):
        assert [each["offset"] for each in msgspec.json.decode(recent.joined_after(0, json))] == [1, 2]
        assert recent.joined_after(0, DIALECT) == b"".join(listed(2))


@given(st.integers(0, 2**64 - 1))
def test_numbers_of_any_size(number: int) -> None:
    made = client_pb2.SubscribeResult(offset=number).SerializeToString()
    assert SHAPE_OF_SUBSCRIBED.encode(SubscribeReply(offset=number)) == made
    assert len(varint(number)) == max(len(made) - 1, 1)


SHAPE_OF_SUBSCRIBED = REPLIES["subscribe"][1]
