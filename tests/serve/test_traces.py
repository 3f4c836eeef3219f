"""Spans: one a request and one a stage of its answer, without what was asked, and nobody waits for them."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

pytest.importorskip("opentelemetry.sdk", reason="traces need the `otel` extra")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from fakes import service_of
from live import eventually, live
from rag.answer.answerer import Answerer
from rag.assemble import Service
from rag.errors import UserError
from rag.records import Document, Event, Paragraph
from rag.serve import server
from rag.serve.app import create_app
from rag.serve.traces import Traces, collector

TESTS = Path(__file__).resolve().parents[1]
TEXT = "Contrastive training on 50 problems costs $25 E026."
DOCUMENTS = [Document("reviews/r", "review", "R", TEXT, (Paragraph(0, len(TEXT)),))]
ASKED = "marmalade"
ASK = f"what does contrastive training on 50 problems cost, and {ASKED}?"
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def nothing_is_left_sending() -> Iterator[None]:
    """A sender that outlived its test would draw on the global `random`, which a property test takes for its own."""
    yield
    all_is_sent()


def all_is_sent() -> None:
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("OtelBatch")])


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return service_of(DOCUMENTS, tmp_path / "index")


@contextmanager
def traced(service: Service) -> Iterator[tuple[httpx.Client, list[ReadableSpan]]]:
    """A client of a server that answers, and the spans that were made, once the block is left."""
    kept, spans = InMemorySpanExporter(), list[ReadableSpan]()
    with live(create_app(lambda: service, traces=Traces(kept))) as url, httpx.Client(base_url=url) as client:
        eventually(lambda: client.get("/readyz").status_code == 200)
        yield client, spans
    spans += kept.get_finished_spans()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_request_is_a_span_that_continues_its_caller_s_trace_and_its_answer_s_stages_are_within(
    service: Service,
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": f"a={ASKED}", "x-request-id": "mine"}
    with traced(service) as (client, spans):
        assert client.post("/v1/ask", json={"question": ASK}, headers=headers).status_code == 200
    mine = [span for span in spans if f"{span.context.trace_id:032x}" == TRACE]
    [request] = [span for span in mine if span.kind is SpanKind.SERVER]
    assert request.name == "POST /v1/ask"
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == CALLER
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/v1/ask",
        "http.response.status_code": 200,
        "rag.request_id": "mine",
    }
    stages = {span.name: span for span in mine if span is not request}
    assert stages.keys() == {"retrieve", "answer"}
    retrieve, answer = stages["retrieve"], stages["answer"]
    times = [request.start_time, retrieve.start_time, retrieve.end_time, answer.end_time, request.end_time]
    assert times == sorted(times, key=lambda time: time or 0)
    assert retrieve.end_time == answer.start_time
    for stage in stages.values():
        assert stage.parent is not None
        assert stage.parent.span_id == request.context.span_id
        assert not stage.attributes
    assert request.resource.attributes["service.name"] == "podcast-rag"


def test_every_way_to_ask_has_its_stages_and_no_span_holds_what_was_asked_or_a_header(service: Service) -> None:
    with traced(service) as (client, spans):
        client.headers["authorization"] = client.headers["x-request-id"] = f"Bearer {ASKED}"
        client.headers["traceparent"] = client.headers["user-agent"] = ASKED
        client.post("/v1/ask", json={"question": ASK})
        client.post("/v1/ask", json={"question": ASK, "stream": True})
        chat = {"model": "podcast-rag", "messages": [{"role": "user", "content": ASK}]}
        client.post("/v1/chat/completions", json=chat)
        client.get("/", params={"q": ASK}, headers={"accept": "text/html"})
        client.post("/v1/search", json={"query": ASK})
        client.post("/v1/ask", json={ASKED: ASK})
        client.get(f"/v1/documents/{ASKED}", params={ASKED: ASKED})
        client.request(ASKED.upper(), f"/{ASKED}")
    requests = {span.context.span_id: span for span in spans if span.kind is SpanKind.SERVER}
    with_stages = [requests[span.parent.span_id].name for span in spans if span.parent]
    asked = ["GET /", "POST /v1/ask", "POST /v1/ask", "POST /v1/chat/completions"]
    assert sorted(with_stages) == sorted(2 * asked)
    others = {"GET /readyz", "POST /v1/search", "GET /v1/documents/{id:path}", "OTHER unmatched"}
    assert {span.name for span in requests.values()} == {*asked, *others}
    assert ASKED not in "".join(span.to_json() for span in spans).casefold()


class Breaks:
    def stream(self, text: str, *_: object, **__: object) -> Iterator[Event]:
        raise RuntimeError(text)


def test_an_error_is_a_status_and_not_its_message(service: Service) -> None:
    with traced(replace(service, answerer=cast(Answerer, Breaks()))) as (client, spans):
        assert client.post("/v1/ask", json={"question": ASK}).status_code == 500
    [span] = [span for span in spans if span.name == "POST /v1/ask"]
    assert span.status.status_code is StatusCode.ERROR
    assert not span.events
    assert ASKED not in span.to_json()


class AtHand:
    """An answerer whose answer says that it had no stages."""

    def __init__(self, inner: Answerer) -> None:
        self._inner = inner

    def stream(self, *arguments: Any, **options: Any) -> Iterator[Event]:
        *events, answer = self._inner.stream(*arguments, **options)
        yield from events
        yield replace(cast(Any, answer), timings_ms={"total": 0.1})


def test_an_answer_that_was_at_hand_has_no_stages(service: Service) -> None:
    with traced(replace(service, answerer=cast(Answerer, AtHand(service.answerer)))) as (client, spans):
        assert client.post("/v1/ask", json={"question": ASK}).status_code == 200
    assert {span.name for span in spans} == {"GET /readyz", "POST /v1/ask"}


@dataclass
class Collector:
    """What was sent to an endpoint, which answers once it is let."""

    url: str = ""
    paths: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    let: threading.Event = field(default_factory=threading.Event)


@contextmanager
def collecting(stuck: bool = False) -> Iterator[Collector]:
    """A real endpoint on 127.0.0.1 that reads OTLP; `stuck`, it answers no request before the block is left."""
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            scopes = [scope for resource in sent.resource_spans for scope in resource.scope_spans]
            found.names += [span.name for scope in scopes for span in scope.spans]
            found.paths.append(self.path)
            assert found.let.wait(60)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, *_: object) -> None:
            pass  # whoever sent it is gone

    with Server(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        found.url = f"http://127.0.0.1:{listening.server_address[1]}"
        if not stuck:
            found.let.set()
        try:
            yield found
        finally:
            found.let.set()
            all_is_sent()
            listening.shutdown()
            thread.join()


@pytest.mark.parametrize("end", ["", "/v1/traces"])
def test_spans_arrive_at_a_collector_once_the_server_has_stopped(service: Service, end: str) -> None:
    with collecting() as found:
        with live(create_app(lambda: service, traces=Traces(collector(found.url + end)))) as url:
            eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
            assert httpx.post(f"{url}/v1/ask", json={"question": ASK}).status_code == 200
        assert {"POST /v1/ask", "retrieve", "answer"} <= set(found.names)
        assert set(found.paths) == {"/v1/traces"}


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    monkeypatch.setattr("rag.serve.traces.FLUSH_SECONDS", 0.1)


@pytest.mark.usefixtures("eager")
def test_a_collector_that_never_answers_holds_up_no_answer_and_no_stop(service: Service) -> None:
    with collecting(stuck=True) as found:
        app = create_app(lambda: service, traces=Traces(collector(found.url)))
        with live(app) as url, httpx.Client(base_url=url) as client:
            eventually(lambda: client.get("/readyz").status_code == 200)
            eventually(lambda: bool(found.names))
            for _ in range(20):  # more spans than wait to be sent
                assert client.post("/v1/ask", json={"question": ASK}).status_code == 200
        assert not found.let.is_set()  # it has answered nothing until now


@pytest.mark.usefixtures("eager")
def test_a_collector_that_is_not_there_fails_no_answer(
    service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as bound:
        dead = f"http://127.0.0.1:{bound.getsockname()[1]}"
    with live(create_app(lambda: service, traces=Traces(collector(dead)))) as url:
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        assert httpx.post(f"{url}/v1/ask", json={"question": ASK}).status_code == 200
        eventually(lambda: "spans batch" in caplog.text)
        assert httpx.post(f"{url}/v1/ask", json={"question": ASK}).status_code == 200


CODE = """
import sys
from pathlib import Path
from fakes import service_of
from rag.records import Document, Paragraph
from rag.serve import server

text = "Contrastive training on 50 problems costs $25 E026."
service = service_of([Document("reviews/r", "review", "R", text, (Paragraph(0, len(text)),))], Path(sys.argv[1]))
server.listen, listen = (lambda *_: listen("127.0.0.1", 0)), server.listen
plain = server.uvicorn.Server.startup

async def startup(self, sockets=None):
    await plain(self, sockets)
    print(sockets[0].getsockname()[1], flush=True)

server.uvicorn.Server.startup = startup
try:
    server.run(lambda: lambda: service, lambda: None, traces=sys.argv[2] or None)
finally:
    print(*sys.modules)
"""


def run_and_stop(folder: Path, traces: str, **environment: str) -> list[str]:
    """The modules that a real process has at its end, which answered a question and was told to stop."""
    environment |= os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent / 'src'}"}
    command = [sys.executable, "-c", CODE, str(folder), traces]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        killed = threading.Timer(30, process.kill)
        killed.start()
        try:
            assert process.stdout
            with httpx.Client(base_url=f"http://127.0.0.1:{int(process.stdout.readline())}") as client:
                eventually(lambda: client.get("/readyz").status_code == 200)
                assert client.get("/", params={"q": ASK}).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            return process.stdout.read().split()
        finally:
            killed.cancel()
            process.kill()


@pytest.mark.parametrize("stuck", [False, True])
def test_a_server_told_to_stop_sends_its_spans_and_ends_whether_they_are_taken_or_not(
    tmp_path: Path, stuck: bool
) -> None:
    with collecting(stuck) as found:
        run_and_stop(tmp_path, found.url)
        assert found.let.is_set() is not stuck
        assert "GET /" in found.names


def test_where_no_collector_is_named_nothing_is_sent_whatever_the_environment_says(tmp_path: Path) -> None:
    with collecting() as found:
        environment = {"FASTAPI_OTEL_AUTO_CONFIGURE": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": found.url}
        modules = run_and_stop(tmp_path, "", **environment)
        assert not found.paths
    assert not [m for m in modules if m.startswith(("rag.serve.traces", "opentelemetry.sdk", "opentelemetry.exporter"))]
    assert "rag.serve.app" in modules


@pytest.mark.parametrize("package", ["sdk.trace", "exporter.otlp.proto.http.trace_exporter"])
def test_a_missing_extra_names_itself_before_anything_listens(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, f"opentelemetry.{package}", None)
    monkeypatch.delitem(sys.modules, "rag.serve.traces")
    monkeypatch.setattr("rag.serve.log.configure", lambda *_: None)
    monkeypatch.setattr(server, "listen", None)
    with pytest.raises(UserError, match=r"pip install 'podcast-rag\[otel\]'"):
        server.run(cast(Any, None), lambda: None, traces="http://127.0.0.1:4318")
