"""What requests take, as OpenTelemetry spans, for the collector that the operator names.

A span holds no question, no header and no key: an error's message may repeat what was asked, so none is recorded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.errors import UserError
from rag.records import Answer, Event, Found
from rag.serve.edge import kind_of

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
    from opentelemetry.trace import SpanKind, StatusCode, Tracer, use_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as missing:
    raise UserError("traces need OpenTelemetry's packages; pip install 'podcast-rag[otel]'") from missing

if TYPE_CHECKING:
    from rag.answer.answerer import Answerer
    from rag.assemble import Service

FLUSH_SECONDS = 2.0
"""How long a server that stops may take to send what is left."""
_PATH = "/v1/traces"


def collector(address: str) -> SpanExporter:
    """What sends spans there, as OTLP over HTTP; `/v1/traces` is added where the address has no such end."""
    return OTLPSpanExporter(endpoint=address if address.endswith(_PATH) else address + _PATH)


class Traces:
    """A span for each request and each stage of its answer, sent in a thread that nobody waits for.

    Where they come faster than they can be sent, the oldest are dropped.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        resource = Resource.create({"service.name": "podcast-rag", "service.version": version("podcast-rag")})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self._provider.get_tracer("rag")

    def of(self, service: Service) -> Service:
        """The same service, the stages of its answers traced."""
        return replace(service, answerer=cast("Answerer", _Staged(service.answerer, self.tracer)))

    def close(self) -> None:
        """Send what is left, and wait for that FLUSH_SECONDS at most; what is not sent by then is lost."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(FLUSH_SECONDS)


class Traced:
    """Around every request: its span, which continues the caller's trace (W3C `traceparent`) where it has one."""

    def __init__(self, app: ASGIApp, traces: Traces) -> None:
        self._app, self._tracer = app, traces.tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The caller's IDs alone: its tracestate is any text, and would be sent on.
        given = {"traceparent": Headers(scope=scope).get("traceparent", "")}
        parent = TraceContextTextMapPropagator().extract(given)
        span = self._tracer.start_span("request", context=parent, kind=SpanKind.SERVER)

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                span.set_attribute("rag.request_id", Headers(raw=message["headers"])["x-request-id"])
                if message["status"] >= 500:
                    span.set_status(StatusCode.ERROR)
            await send(message)

        with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                await self._app(scope, receive, send_noted)
            except BaseException:
                span.set_status(StatusCode.ERROR)
                raise
            finally:
                route, method = kind_of(scope)
                span.update_name(f"{method} {route}")
                span.set_attributes({"http.request.method": method, "http.route": route})


class _Staged:
    """An Answerer with a span for each stage that an answer says it had, from when it began to when it was over."""

    def __init__(self, answerer: Answerer, tracer: Tracer) -> None:
        self._answerer, self._tracer = answerer, tracer

    def stream(self, *arguments: Any, **options: Any) -> Iterator[Event]:
        began = found = time.time_ns()
        for event in self._answerer.stream(*arguments, **options):
            if isinstance(event, Found):
                found = time.time_ns()
            if isinstance(event, Answer):
                for stage, start, end in (("retrieve", began, found), ("answer", found, time.time_ns())):
                    if stage in event.timings_ms:  # one that was at hand had none
                        self._tracer.start_span(stage, start_time=start).end(end)
            yield event

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answerer, name)
