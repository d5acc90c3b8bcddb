"""Event types and their JSON; and nothing a client sends raises anything but Refused."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub import Event, Refused
from hubbub.chat import SendMessage
from hubbub.events import decode_envelope, decode_payload, encode_payload, request_id, rfc3339


class Vote(Event, tag="vote"):
    poll: str
    option: int = 1


class Nothing(Event, tag="nothing"):
    pass


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def test_an_event_needs_a_tag() -> None:
    with pytest.raises(TypeError, match="needs a tag"):

        class NoTag(Event):
            poll: str


@pytest.mark.parametrize("name", ["room", "seq", "sent", "from"])
def test_reserved_names_are_refused_when_the_type_is_defined(name: str) -> None:
    with pytest.raises(TypeError, match="cannot have a field"):

        class Bad(Event, tag="bad", rename={"field": name}):
            field: str


def test_a_payload_is_the_fields_without_the_type() -> None:
    assert json.loads(encode_payload(Vote("lunch", 2))) == {"poll": "lunch", "option": 2}
    assert json.loads(encode_payload(Nothing())) == {}


@given(st.text(), st.integers(-(2**63), 2**63))
def test_a_payload_comes_back_as_it_was(poll: str, option: int) -> None:
    try:
        payload = encode_payload(Vote(poll, option))
    except UnicodeEncodeError:
        return  # half a surrogate pair is no text, and cannot have come in either
    assert decode_payload(msgspec.json.Decoder(Vote), msgspec.Raw(payload)) == Vote(poll, option)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_json"),
        ("{", "bad_json"),
        ("nonsense", "bad_json"),
        ('{"type": "a"} {}', "bad_json"),
        ('{"type": "\\ud800"}', "bad_json"),
        ("[" * 100_000, "bad_envelope"),
        ('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}", "bad_json"),
        ("[]", "bad_envelope"),
        ("5", "bad_envelope"),
        ("{}", "bad_envelope"),
        ('{"type": 5}', "bad_envelope"),
        ('{"type": "a", "id": []}', "bad_envelope"),
    ],
)
def test_broken_envelopes_say_what_is_broken(text: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        decode_envelope(text)
    assert refused.value.code == code


def test_a_bad_payload_names_the_field() -> None:
    with pytest.raises(Refused, match=r"payload\.option") as refused:
        decode_payload(msgspec.json.Decoder(Vote), msgspec.Raw(b'{"poll": "x", "option": "y"}'))
    assert refused.value.code == "bad_payload"


def test_the_id_is_found_in_an_envelope_that_is_broken_otherwise() -> None:
    assert request_id('{"type": 5, "id": "c1"}') == "c1"
    assert request_id('{"id": 7}') == 7
    for text in ("{", "[]", '{"id": true}', '{"id": {}}', "{}", '{"a": ' + "[" * 100_000):
        assert request_id(text) is None


def test_nothing_but_the_id_is_built_of_an_envelope_that_is_refused() -> None:
    text = '{"type": 5, "id": "c1", "x": [' + ",".join(["[]"] * 5000) + "]}"  # 280 KB, were it built
    tracemalloc.start()
    try:
        assert request_id(text) == "c1"
        _size, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(text)


@given(st.text())
def test_any_text_is_an_envelope_or_refused(text: str) -> None:
    try:
        decode_envelope(text)
    except Refused:
        pass
    request_id(text)


@given(anything)
def test_any_payload_is_a_message_or_refused(value: Any) -> None:
    try:
        raw = msgspec.json.encode(value)
    except UnicodeEncodeError:
        return
    try:
        decode_payload(msgspec.json.Decoder(SendMessage), msgspec.Raw(raw))
    except Refused:
        pass


def test_times_are_rfc_3339_with_milliseconds() -> None:
    assert rfc3339(0) == b"1970-01-01T00:00:00.000Z"
    assert rfc3339(1_700_000_000_123) == b"2023-11-14T22:13:20.123Z"
