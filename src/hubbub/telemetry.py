"""Spans of OpenTelemetry: of each event from its arrival until what it posts is kept, of each batch that the log takes,
and of each HTTP request.

Nothing here is loaded without the setting `telemetry`; with it, these classes take the places of those that they are
made from.  A room's fan-out has no spans: one for each member would cost more than the delivery.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, cast

from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode

from hubbub.client import Participant
from hubbub.counts import HubCounts
from hubbub.dispatch import Dispatch
from hubbub.engine import Draft, Log, Outcome, Receipt
from hubbub.errors import Refused
from hubbub.handlers import Handler
from hubbub.http.app import App, shapes
from hubbub.posting import Posting
from hubbub.pump import Pump
from hubbub.signatures import name_of
from hubbub.wire.request import Request, Response

__all__ = ["TracedApp", "TracedDispatch", "TracedPump"]

tracer = trace.get_tracer("hubbub")

# Links of one batch; the SDK keeps as many.
MAX_LINKS = 128

SERVER_ERROR = 500


class UnderWay:
    """An event of a client that is under way: its span ends when its handler is done, and all that it posted is kept.

    Attributes:
        span: as it is.
        is_async: a task goes on with it.
    """

    __slots__ = ("_waits_for", "is_async", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.is_async = False
        self._waits_for = 1  # its handler

    def wait_for(self, posting: Posting) -> None:
        """Go on until something is kept that was posted for it."""
        if self._waits_for:  # otherwise it is over, and a task of its handler goes on by itself
            self._waits_for += 1
            posting.call_when_settled(self._settled)

    def _settled(self, posting: Posting) -> None:
        self.span.set_attribute("hubbub.room", posting.room)
        if isinstance(posting.outcome, Receipt):
            self.span.set_attribute("hubbub.seq", posting.outcome.seq)
        else:
            self.span.set_status(StatusCode.ERROR, str(posting.outcome))
        self.step_over()

    def step_over(self) -> None:
        """Take note that one thing that it waits for is over."""
        self._waits_for -= 1
        if not self._waits_for:
            self.span.end()


# The event that the code at work is for.
event_at_work: ContextVar[UnderWay | None] = ContextVar("event_at_work", default=None)


class Dated(NamedTuple):
    """A message that waits in line, with the time it came, in nanoseconds since 1970."""

    text: str
    at: int


class TracedDispatch(Dispatch):
    """Calls the handlers, with a span for each event."""

    def _line_up(self, client: Participant, text: str) -> None:
        super()._line_up(client, cast(str, Dated(text, time.time_ns())))

    def _handle(self, client: Participant, text: str | Dated) -> None:
        came = None
        if isinstance(text, Dated):
            text, came = text
        # In a context of its own: the one at work may be of the request that has opened the connection.
        span = tracer.start_span("event", Context(), SpanKind.SERVER, start_time=came)
        under_way = UnderWay(span)
        outer = event_at_work.set(under_way)
        token = attach(trace.set_span_in_context(span, Context()))
        try:
            super()._handle(client, text)
        finally:
            detach(token)
            event_at_work.reset(outer)
            if not under_way.is_async:
                under_way.step_over()

    def _check(self, client: Participant, handler: Handler, event: Any) -> str | None:
        under_way = event_at_work.get()
        if under_way is not None:
            under_way.span.update_name(f"event {handler.tag}")
            under_way.span.set_attributes(
                {"hubbub.event": handler.tag, "code.function.name": name_of(handler.function)}
            )
        return super()._check(client, handler, event)

    def _handle_async(self, *args: Any) -> Coroutine[Any, Any, None]:
        under_way = event_at_work.get()
        if under_way is not None:
            under_way.is_async = True
        return super()._handle_async(*args)

    async def _finish(self, *args: Any) -> None:
        try:
            await super()._finish(*args)
        finally:
            under_way = event_at_work.get()
            if under_way is not None:
                under_way.step_over()

    def _turn_down(self, client: Participant, id_: str | int | None, refused: Refused) -> None:
        under_way = event_at_work.get()
        if under_way is not None:
            under_way.span.set_attribute("error.type", str(refused.code))
            under_way.span.set_status(StatusCode.ERROR, refused.message)
        super()._turn_down(client, id_, refused)


class TracedPump(Pump):
    """Moves postings to the log, with a span for each batch that links to those of what is in it."""

    def __init__(self, log: Log, counts: HubCounts, clock: Callable[[], float]) -> None:
        self._spans: dict[int, SpanContext] = {}
        super().__init__(cast(Log, TracedLog(log, self._spans)), counts, clock)
        self._plainly_gather = self.gather
        self.gather = self._gather_traced

    def _gather_traced(self, posting: Posting) -> None:
        context = trace.get_current_span().get_span_context()
        if context.is_valid and context.trace_flags.sampled:
            self._spans[id(posting)] = context
        under_way = event_at_work.get()
        self._plainly_gather(posting)
        if posting.outcome is not None:  # the hub has stopped
            self._spans.pop(id(posting), None)
        elif under_way is not None:
            under_way.wait_for(posting)


class TracedLog:
    """What a pump calls of a log."""

    def __init__(self, log: Log, spans: dict[int, SpanContext]) -> None:
        self.lanes = log.lanes
        self.lane = log.lane
        self._log = log
        self._spans = spans

    async def append(self, batch: Sequence[Draft]) -> list[Outcome]:
        spans = self._spans
        found = [context for posting in batch if (context := spans.pop(id(posting), None)) is not None]
        links = [Link(context) for context in {context.span_id: context for context in found}.values()][:MAX_LINKS]
        if not links:
            return await self._log.append(batch)
        attributes = {"hubbub.messages": len(batch)}
        with tracer.start_as_current_span("append", Context(), SpanKind.INTERNAL, attributes, links):
            return await self._log.append(batch)


class TracedApp(App):
    """Answers requests, each with a span, which is of the trace that the request names (`traceparent`)."""

    async def answer(self, request: Request) -> Response:
        route = self._route_of(request.path)
        # Where it is mounted, the span at work is one of the application's own, for this request.
        parent = propagate.extract(request.headers, Context(), HEADERS) if request.scope is None else None
        name = f"{request.method} {route}" if route else request.method
        with tracer.start_as_current_span(name, parent, SpanKind.SERVER) as span:
            response = await super().answer(request)
            span.set_attributes({"http.request.method": request.method, "http.response.status_code": response.status})
            if route:
                span.set_attribute("http.route", route)
            if response.status >= SERVER_ERROR:
                span.set_status(StatusCode.ERROR)
        return response

    def _route_of(self, path: str) -> str | None:
        """The route of a path, of which there are few, and not the path, of which there are many."""
        return next((route for route in shapes(path) if route in self._routes), None)


class Headers(Getter[dict[str, list[str]]]):
    """Reads the headers of a request."""

    def get(self, carrier: dict[str, list[str]], key: str) -> list[str] | None:
        return carrier.get(key)

    def keys(self, carrier: dict[str, list[str]]) -> list[str]:
        return list(carrier)


HEADERS = Headers()
