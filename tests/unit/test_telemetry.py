"""Spans of events, batches and requests; none where nobody asks for them."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from hubbub import Client, Event, Hub, Posting, Refused, telemetry, testing
from hubbub.dispatch import Dispatch
from hubbub.door.namespaces import Namespace
from hubbub.engine import Draft
from hubbub.engine.memory import MemoryEngine
from hubbub.errors import ConfigError, NotKept
from hubbub.http.app import App
from hubbub.hub import put_to_work
from hubbub.pump import Pump
from hubbub.service import Service, parts_for
from hubbub.settings import Settings
from hubbub.testing import CLASSIC, Clock, at_work
from hubbub.wire.request import Request
from unit.knocking import porch

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Vote(Event, tag="vote"):
    poll: str


class Tally(Event, tag="tally"):
    poll: str


class Spans:
    """What was exported since the last look."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def take(self) -> list[ReadableSpan]:
        found = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return found

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.take() if span.name == name]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """A hub's events and requests have spans."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("hubbub"))
    traced = functools.partial(put_to_work, dispatch=telemetry.TracedDispatch, pump=telemetry.TracedPump)
    monkeypatch.setattr(testing, "put_to_work", traced)
    yield Spans(exporter)
    provider.shutdown()


def about(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def linked(span: ReadableSpan) -> set[int]:
    return {link.context.span_id for link in span.links}


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


# Events


async def test_a_message_has_a_span_until_it_is_kept_and_its_batch_links_to_it(spans: Spans) -> None:
    async with at_work() as stage:
        percy, alice = await stage.client("percy"), await stage.client("alice")
        await percy.join("lunch")
        await alice.join("lunch")
        spans.take()
        await percy.ask("send_message", {"room": "lunch", "message": "hi"})
        await stage.settle()
        append, event = sorted(spans.take(), key=lambda span: span.name)
    assert (append.name, event.name) == ("append", "event send_message")
    assert event.parent is None and append.parent is None
    told = about(event)
    assert told.pop("code.function.name").endswith("send_message")
    assert told == {"hubbub.event": "send_message", "hubbub.room": "lunch", "hubbub.seq": 1}
    assert linked(append) == {id_of(event)}
    assert about(append) == {"hubbub.messages": 1}
    assert event.status.is_ok or event.status.is_unset
    assert event.start_time and append.start_time and event.end_time and append.end_time
    assert event.start_time <= append.start_time, "it begins with what comes, and not with what is kept"
    assert event.end_time >= append.start_time, "and ends when it is kept"


async def test_a_batch_links_to_each_of_its_events_and_members_have_none(spans: Spans) -> None:
    async with at_work() as stage:
        guests = [await stage.client(f"user{number}") for number in range(5)]
        for guest in guests:
            await guest.join("lunch")
        spans.take()
        for guest in guests:
            guest.say("send_message", {"room": "lunch", "message": "hi"})
        await stage.settle()
        found = spans.take()
    events = [span for span in found if span.name == "event send_message"]
    [append] = [span for span in found if span.name == "append"]
    assert len(found) == 6
    assert linked(append) == set(map(id_of, events))
    assert {about(span)["hubbub.seq"] for span in events} == {1, 2, 3, 4, 5}


async def test_an_event_without_an_ack_ends_when_it_is_kept(spans: Spans) -> None:
    async with at_work() as stage:
        percy = await stage.client("percy", CLASSIC)
        spans.take()
        percy.say("send_message", {"message": "hi"})
        await stage.settle()
        [event] = spans.named("event send_message")
    assert about(event)["hubbub.room"] == "general"


async def test_an_asynchronous_handler_has_a_span_that_its_own_are_within(spans: Spans) -> None:
    hub = Hub()

    @hub.on
    async def count(vote: Vote, client: Client) -> Posting:
        await asyncio.sleep(0)
        with telemetry.tracer.start_as_current_span("inner"):
            first = hub.room(vote.poll).post(Tally(vote.poll))
        await first
        return hub.room(vote.poll).post(Tally(vote.poll))

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        await percy.join("lunch")
        spans.take()
        await percy.ask("vote", {"poll": "lunch"})
        await percy.ask("vote", {"poll": "lunch"})
        await stage.settle()
        found = spans.take()
    events = [span for span in found if span.name == "event vote"]
    inner = [span for span in found if span.name == "inner"]
    appends = [span for span in found if span.name == "append"]
    assert (len(events), len(inner), len(appends)) == (2, 2, 4)
    assert [span.parent.span_id for span in inner if span.parent] == list(map(id_of, events))
    assert [about(span)["hubbub.seq"] for span in events] == [2, 4]
    assert {id_of(span) for span in inner} | set(map(id_of, events)) == set().union(*map(linked, appends))
    for event in events:
        assert event.context and event.end_time
        of_it = [span for span in appends if linked(span) & {id_of(event)}]
        assert all(span.start_time and span.start_time <= event.end_time for span in of_it)


async def test_the_span_of_an_event_that_waits_in_line_begins_when_it_came(spans: Spans) -> None:
    hub, go_on = Hub(), asyncio.Event()

    @hub.on
    async def wait(vote: Vote, client: Client) -> None:
        await go_on.wait()

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        spans.take()
        percy.say("vote", {"poll": "a"})
        percy.say("vote", {"poll": "b"})
        await asyncio.sleep(0)
        go_on.set()
        await stage.settle()
        first, second = sorted(spans.named("event vote"), key=lambda span: span.start_time or 0)
    assert second.start_time and first.end_time and second.start_time < first.end_time


async def test_what_is_refused_says_why(spans: Spans) -> None:
    hub = Hub()

    @hub.on
    def refuse(vote: Vote, client: Client) -> None:
        raise Refused("too_late", "it is over")

    @hub.on
    async def fail(tally: Tally, client: Client) -> None:
        raise ZeroDivisionError

    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        spans.take()
        for type_, payload in (("vote", {"poll": "a"}), ("tally", {"poll": "a"}), ("vote", {}), ("nothing", {})):
            with pytest.raises(Refused):
                await percy.ask(type_, payload)
        await stage.settle()
        found = spans.take()
    assert [(span.name, about(span).get("error.type"), span.status.is_ok) for span in found] == [
        ("event vote", "too_late", False),
        ("event tally", "internal", False),
        ("event", "bad_payload", False),
        ("event", "unknown_type", False),
    ]
    assert found[0].status.description == "it is over"


async def test_what_is_not_kept_says_so(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_engine: MemoryEngine, _batch: list[Draft]) -> None:
        raise NotKept("the disk is full")

    async with at_work() as stage:
        percy = await stage.client("percy")
        await percy.join("lunch")
        spans.take()
        monkeypatch.setattr(MemoryEngine, "append", refuse)
        with pytest.raises(Refused, match="the disk is full"):
            await percy.ask("send_message", {"room": "lunch", "message": "hi"})
        [event] = spans.named("event send_message")
    assert event.status.description == "the disk is full"


async def test_what_an_application_posts_by_itself_is_linked_to_its_own_span(spans: Spans) -> None:
    hub = Hub()
    async with at_work(hub) as stage:
        with telemetry.tracer.start_as_current_span("nightly"):
            await hub.room("lunch").post(Tally("lunch"))
        await hub.room("lunch").post(Tally("lunch"))
        await stage.settle()
        found = {span.name: span for span in spans.take()}
    assert found.keys() == {"append", "nightly"}, "where nobody traces, there is no span"
    assert linked(found["append"]) == {id_of(found["nightly"])}


async def test_what_is_not_sampled_is_not_linked(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "tracer", TracerProvider(sampler=ALWAYS_OFF).get_tracer("hubbub"))
    async with at_work() as stage:
        percy = await stage.client("percy")
        await percy.join("lunch")
        await percy.ask("send_message", {"room": "lunch", "message": "hi"})
        assert isinstance(stage.core._pump, telemetry.TracedPump)
        assert not stage.core._pump._spans
    assert not spans.take()


# Requests


@pytest.fixture
def service(tmp_path: Path, spans: Spans) -> Service:
    clock = Clock()
    settings = Settings(telemetry=True, engine="memory://", data_dir=tmp_path, no_tls=True)
    return Service(Hub(), settings, MemoryEngine(clock=clock, wall=clock))


async def test_a_request_has_a_span_of_the_trace_that_it_names(service: Service, spans: Spans) -> None:
    async with service.at_work():
        header = {"traceparent": [f"00-{TRACE}-b7ad6b7169203331-01"]}
        await service._app.answer(Request("GET", "/healthz", "", header))
        [span] = spans.named("GET /healthz")
    assert span.context is not None and f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None and f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert about(span) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/healthz",
    }


@pytest.mark.parametrize("header", [[], ["nonsense"], ["00-" + "0" * 32 + "-" + "0" * 16 + "-01"], ["x" * 10_000]])
async def test_a_request_that_names_no_trace_begins_one(service: Service, spans: Spans, header: list[str]) -> None:
    async with service.at_work():
        await service._app.answer(Request("GET", "/no/such/path/4711", "", {"traceparent": header} if header else {}))
        [span] = spans.take()
    assert span.parent is None
    assert span.name == "GET", "there are as many paths as a stranger likes, and few names of spans"
    assert about(span) == {"http.request.method": "GET", "http.response.status_code": 404}


async def test_a_request_of_a_mounted_hub_is_within_the_span_of_the_application(service: Service, spans: Spans) -> None:
    header = {"traceparent": [f"00-{TRACE}-b7ad6b7169203331-01"]}
    async with service.at_work():
        with telemetry.tracer.start_as_current_span("of the application"):
            await service._app.answer(Request("GET", "/healthz", "", {}, scope={}))
            await service._app.answer(Request("GET", "/readyz", "", header))
        found = {span.name: span for span in spans.take()}
    outer, inner, alone = found["of the application"], found["GET /healthz"], found["GET /readyz"]
    assert inner.parent is not None and inner.parent.span_id == id_of(outer)
    assert alone.parent is not None and alone.parent.span_id == int("b7ad6b7169203331", 16)


# Off


def test_nothing_of_it_is_there_where_it_is_off() -> None:
    assert parts_for(Settings()) == (Dispatch, Pump, App)
    program = "import sys, hubbub.server; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_where_it_is_on_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "hubbub.telemetry")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError, match=r"--telemetry needs OpenTelemetry: pip install 'hubbub\[otel\]'"):
        parts_for(Settings(telemetry=True))


async def test_commands_of_the_second_door_have_spans_like_any_event(spans: Spans) -> None:
    namespace = Namespace(allow_subscribe_for_client=True, allow_publish_for_client=True)
    async with porch(namespace=namespace) as door:
        guest = await door.guest()
        guest.say({"id": 1, "subscribe": {"channel": "a"}}, {"id": 2, "publish": {"channel": "a", "data": 1}})
        await door.settle()
        assert [answer.get("id") for answer in guest.take() if "id" in answer] == [1, 2]
    assert [span.name for span in spans.take() if span.name.startswith("event")] == ["event subscribe", "event publish"]
