"""Byte streams in pieces, and with faults."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

__all__ = ["Mutation", "cut", "cuts", "mutate", "mutations"]

# What is done to a stream: where, in thousandths of its length; how; and with what.
Mutation = tuple[int, str, bytes]

KINDS = ("flip", "put", "drop", "repeat", "end")

cuts: st.SearchStrategy[list[int]] = st.lists(st.integers(0, 999), max_size=12)
mutations: st.SearchStrategy[list[Mutation]] = st.lists(
    st.tuples(st.integers(0, 999), st.sampled_from(KINDS), st.binary(min_size=1, max_size=8)), max_size=4
)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """A stream in pieces, cut at places that are given in thousandths of its length."""
    at = sorted({len(data) * place // 1000 for place in places} - {0})
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True) if start < end]


def mutate(data: bytes, faults: Sequence[Mutation]) -> bytes:
    """A stream with faults."""
    for place, kind, value in faults:
        at = len(data) * place // 1000
        if kind == "flip" and data:
            data = data[:at] + bytes([data[at] ^ (value[0] or 1)]) + data[at + 1 :]
        elif kind == "put":
            data = data[:at] + value + data[at:]
        elif kind == "drop":
            data = data[:at] + data[at + len(value) :]
        elif kind == "repeat":
            data = data[:at] + data[max(0, at - 4 * value[0]) : at] + data[at:]
        elif kind == "end":
            data = data[:at]
    return data
