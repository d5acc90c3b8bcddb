"""HTTP: whatever bytes come, in whatever pieces, each request is answered once, and the pieces make no difference."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.cuts import cut, cuts, mutate, mutations
from fuzz.effort import effort
from fuzz.watch import run, work
from hubbub.wire.denial import Denied
from hubbub.wire.head import MAX_BODY, MAX_FIELDS, MAX_HEAD, Gauge
from hubbub.wire.request import Request, read_target
from unit.test_app import office
from unit.test_http_connection import Site

STEPS_PER_BYTE, STEPS = 60, 2000
STATUSES = {200, 400, 413, 414, 417, 421, 426, 431, 501, 505}
# Seconds of the processor for what takes milliseconds: only an explosion of steps, which no line counts, takes longer.
FAR_TOO_LONG_S = 2.0

methods = st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "PUT", "CONNECT", "get", "M-SEARCH", "PRI", ""])
targets = st.one_of(
    st.sampled_from(
        ["/", "/ws", "/login", "*", "//", "/%2e%2e/", "/%ff", "/%", "/a?b=c#d", "http://a/x", "http://evil/"]
    ),
    st.text("/%?#:@[]ab.*", max_size=12),
)
versions = st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "RTSP/1.0", ""])
fields = st.one_of(
    st.sampled_from(
        [
            "Host: a", "Host: b", "host:a:8080", "Host:", "Host: [::1", "Content-Length: 3", "Content-Length: 0",
            "Content-Length: +3", "Content-Length: 3, 3", "Content-Length: 99999999999999999999", "Content-Length: -1",
            "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding : chunked", "Transfer-Encoding:\tchunked", "Connection: close", "Connection: keep-alive",
            "Expect: 100-continue", "Expect: 100-Continue", "Expect: tea", "X-Long: " + "y" * 3000, " folded",
            "Forwarded: for=127.0.0.1", "X-Forwarded-For: 127.0.0.1", "\tfolded: yes", "No colon", ":", "A\0B: c",
        ]
    ),
    st.builds("{}: {}".format, st.text("ab-:; ", max_size=5), st.text("c,;=\"\\\r\n\xff", max_size=9)),
)  # fmt: skip
bodies = st.sampled_from(
    [
        b"",
        b"abc",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"3;x=y\r\nabc\r\n0\r\nHost: evil\r\n\r\n",
        b"0\r\n\r\n",
        b"fffffffffffffffff\r\n",
    ]
) | st.binary(max_size=30)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request, which may be wrong."""
    lines = [" ".join([draw(methods), draw(targets), draw(versions)]), *draw(st.lists(fields, max_size=4))]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + draw(bodies)


def good(path: str, body: bytes, *, in_chunks: bool) -> bytes:
    """A request that nothing is wrong with."""
    if in_chunks:
        framed = b"".join(
            b"%x\r\n%b\r\n" % (len(body[at : at + 5]), body[at : at + 5]) for at in range(0, len(body), 5)
        )
        return b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\nX-Trailer: y\r\n\r\n" % (
            path.encode(),
            framed,
        )
    return b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


good_requests = st.builds(
    good, st.text("/ab", max_size=6).map("/".__add__), st.binary(max_size=40), in_chunks=st.booleans()
)
streams = st.one_of(
    st.builds(mutate, st.lists(good_requests, max_size=4).map(b"".join), mutations),
    st.builds(
        lambda before, bad, after: b"".join(before) + bad + b"".join(after),
        st.lists(good_requests, max_size=3),
        requests(),
        st.lists(good_requests | requests(), max_size=2),
    ),
    st.binary(max_size=100),
)


# What comes of it


class Answer(NamedTuple):
    """One answer of the server."""

    status: int
    headers: dict[str, str]
    body: bytes


def answers(data: bytes, *, heads: list[bool]) -> list[Answer]:
    """The answers that a server has sent, all of them whole.

    Args:
        heads: for each, whether its request was for the head alone.
    """
    found = []
    for is_head in heads:
        head, separator, data = data.partition(b"\r\n\r\n")
        assert separator, head
        line, *lines = head.decode("latin-1").split("\r\n")
        [status] = re.fullmatch(r"HTTP/1\.1 (\d{3}) [ -~]+", line).groups()  # type: ignore[union-attr]  # without a match, this fails
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        assert len(headers) == len(lines)
        size = 0 if is_head else int(headers["content-length"])
        assert len(data) >= size
        found.append(Answer(int(status), headers, data[:size]))
        data = data[size:]
    assert not data, data
    return found


class Outcome(NamedTuple):
    """What has become of a connection.

    Attributes:
        asked: method, path and body of each request that was taken.
        refusal: the answer after theirs, if there is one.
        is_over: whether nothing more is answered.
    """

    asked: list[tuple[str, str, bytes]]
    refusal: Answer | None
    is_over: bool


async def outcome(pieces: list[bytes]) -> tuple[Outcome, int]:
    """Send a stream; what has become of it, and how much was written."""
    site = Site()
    for piece in pieces:
        site.transport.feed(piece)
        await asyncio.sleep(0)  # a request may be answered before the next piece comes
    await site.transport.settle()
    written = site.transport.take()
    size = len(written)
    written = written.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    is_over = site.transport.is_half_closed or site.transport.is_closed
    heads = [request.method == "HEAD" for request in site.asked]
    try:
        found, refusal = answers(written, heads=heads), None
    except AssertionError:
        # One more, whose request was refused and may have been for the head alone.
        try:
            found = answers(written, heads=[*heads, False])
        except (AssertionError, KeyError):
            found = answers(written, heads=[*heads, True])
        refusal = found.pop()
    assert all(answer.status == 200 and "x-common" in answer.headers for answer in found)
    if refusal is not None:
        assert refusal.status in STATUSES and refusal.headers["connection"].endswith("close") and is_over
        assert not refusal.body or json.loads(refusal.body)["error"]["message"]
    for request in site.asked:
        assert len(request.body) <= MAX_BODY
        assert "x-trailer" not in request.headers
        assert "transfer-encoding" not in request.headers or "content-length" not in request.headers
    asked = [(request.method, request.path, request.body) for request in site.asked]
    return Outcome(asked, refusal and refusal._replace(headers={}), is_over), size


@effort(200)
@given(streams, cuts)
def test_each_request_is_answered_once_however_the_bytes_come(data: bytes, places: list[int]) -> None:
    found, size = run(outcome(cut(data, places)))
    assert size <= 700 * (data.count(b"\r\n\r\n") + 2) + 6 * len(data)
    if b"upgrade" in data.lower():
        return  # frames that come before the answer to an upgrade are refused, so pieces matter
    for pieces in ([data] if data else [], [data[at : at + 1] for at in range(len(data))]):
        other, _ = run(outcome(pieces))
        # Of two faults, another one may be told.
        assert (other.asked, bool(other.refusal), other.is_over) == (found.asked, bool(found.refusal), found.is_over)


@effort(40)
@given(st.lists(good_requests, min_size=1, max_size=6), cuts)
def test_good_requests_are_taken_as_they_were_sent(sent: list[bytes], places: list[int]) -> None:
    found, _ = run(outcome(cut(b"".join(sent), places)))
    assert len(found.asked) == len(sent) and found.refusal is None and not found.is_over
    for (method, path, _), data in zip(found.asked, sent, strict=True):
        assert data.startswith(f"{method} {path} HTTP/1.1\r\n".encode())


@effort(60)
@given(streams, cuts)
def test_the_work_is_in_proportion_to_what_comes(data: bytes, places: list[int]) -> None:
    async def scene() -> int:
        site = Site()
        with work() as done:
            for piece in cut(data, places):
                site.transport.feed(piece)
            await site.transport.settle()
        return done.steps

    assert run(scene()) <= STEPS + STEPS_PER_BYTE * len(data)


@effort(150)
@given(streams | st.builds(mutate, st.just(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), mutations), cuts)
def test_the_end_of_a_head_is_the_same_however_it_comes(data: bytes, places: list[int]) -> None:
    def measure(pieces: list[bytes]) -> int | tuple[int, str]:
        gauge, come = Gauge(), bytearray()
        try:
            for piece in pieces:
                come += piece
                end = gauge.end(come)
                if end:
                    assert come[:end].endswith(b"\r\n\r\n") and end <= MAX_HEAD
                    assert come[:end].count(b"\n") <= MAX_FIELDS + 2
                    return end
        except Denied as denied:
            return denied.status, denied.message
        return 0

    # What is wrong after the end of a head is no matter of that head.
    head = data[: data.find(b"\r\n\r\n", len(data) - len(data.lstrip(b"\r\n"))) + 4] if b"\r\n\r\n" in data else data
    assert bool(measure(cut(head, places))) == bool(measure([head[at : at + 1] for at in range(len(head))]))


@effort(200)
@given(st.text(st.characters(max_codepoint=255), max_size=40) | st.text("/%2eE?#:*ahtp", max_size=20), methods)
def test_a_target_is_read_or_refused(target: str, method: str) -> None:
    try:
        found = read_target(target, method)
    except Denied as denied:
        assert denied.status == 400
        return
    assert found.path == "*" or found.path.startswith("/")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", found.path) or "%" not in target
    fields = Request(method, found.path, found.query, {})
    try:
        fields.query_fields()
    except Denied as denied:
        assert denied.status == 400


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 40_000,
        b"\r\n" * 100_000,
        b"GET /" + b"%" * 200_000,
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: " + b"x, " * 60_000,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 30_000,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 200_000,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 30_000,
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 8_000,
        b"GET / HTTP/1.1\r\nHost: " + b"a." * 4_000 + b"!\r\n\r\n",
    ],
    ids=["fields", "empty lines", "target", "offers", "chunks", "chunk size", "trailers", "requests", "host"],
)
def test_a_long_stream_takes_no_explosion_of_work(data: bytes) -> None:
    started = time.process_time()
    _, size = run(outcome([data]))
    assert time.process_time() - started < FAR_TOO_LONG_S
    assert size <= 10 * len(data) + 1000


# The routes

good_bodies: list[dict[str, Any]] = [
    {"username": "percy", "password": "wrong"},
    {"username": "percy", "password": "right"},
    {"secret": "s", "username": "p", "password": "q"},
]
route_bodies = st.one_of(
    st.builds(lambda body, faults: mutate(json.dumps(body).encode(), faults), st.sampled_from(good_bodies), mutations),
    st.binary(max_size=60),
    st.integers(1, MAX_BODY).map(lambda size: b"[" * size),
    st.dictionaries(
        st.sampled_from(["username", "password", "secret"]), st.none() | st.integers() | st.text(max_size=40)
    ).map(lambda body: json.dumps(body).encode()),
)
route_headers = st.dictionaries(
    st.sampled_from(["authorization", "origin", "content_type", "if_none_match", "host"]),
    st.sampled_from(["Bearer", "Bearer x", "bearer  " + "y" * 4000, "Basic Og==", "null", "https://evil", "\xff", ""]),
    max_size=3,
)
paths = st.sampled_from(
    ["/login", "/otp", "/logout", "/setup", "/ws", "/", "/debug", "/healthz", "/readyz", "/metrics", "*"]
) | st.text(max_size=20)


@effort(60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]), paths, route_bodies, route_headers), max_size=6
    )
)
def test_every_route_answers_whatever_it_is_asked(
    asked: list[tuple[str, str, bytes, dict[str, str]]],
) -> None:
    async def scene() -> None:
        with pytest.MonkeyPatch.context() as patch:
            async with office(patch) as place:
                for method, path, body, headers in asked:
                    response = await place.ask(method, path, body, **headers)
                    assert 200 <= response.status < 500 or response.status == 503
                    head = response.to_bytes(b"", keep_alive=True, head_only=True)
                    assert head.count(b"\r\n\r\n") == 1 and head.endswith(b"\r\n\r\n")
                    if response.status == 200 and path == "/login":
                        assert json.loads(body)["password"] == "right"
                assert set(await place.log_in()) == {"otp", "token", "expires_in"}

    run(scene())
