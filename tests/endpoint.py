"""A scripted endpoint that speaks OpenAI's protocol, well or badly: a real server on 127.0.0.1 in threads.

    with endpoint([status(500), says("It rains. [E001]")]) as served:
        generator = OpenAIGenerator(served.url, "m", None)

The nth request to /v1/chat/completions gets the nth behaviour, and further ones the last. Everything ends by itself:
after `LONGEST` seconds, `MOST` bytes, or when the block is left.
"""

import json
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from select import select
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

LONGEST = 20.0  # seconds
MOST = 256 * 2**20  # bytes of one response
MODEL = "scripted"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent; header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Any


class Dropped(Exception):
    """The client is gone, or the endpoint stops."""


class Exchange:
    """One request and the connection that its answer goes to."""

    def __init__(self, request: Request, connection: socket.socket, stopping: Event) -> None:
        self.request, self.connection, self._stopping = request, connection, stopping
        self._until, self._sent = monotonic() + LONGEST, 0

    def begin(self, status: int = 200, type: str = "text/event-stream", headers: Mapping[str, str] = {}) -> None:
        lines = [f"HTTP/1.1 {status} Scripted", f"Content-Type: {type}", "Transfer-Encoding: chunked"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "Connection: close", "", ""]).encode())

    def part(self, data: bytes) -> None:
        """A piece of the body, at once."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def event(self, payload: object) -> None:
        self.part(f"data: {payload if isinstance(payload, str) else json.dumps(payload)}\n\n".encode())

    def end(self) -> None:
        self.send(b"0\r\n\r\n")

    def send(self, data: bytes) -> None:
        self._sent += len(data)
        if self._stopping.is_set() or monotonic() > self._until or self._sent > MOST:
            raise Dropped
        try:
            self.connection.sendall(data)
        except OSError:
            raise Dropped from None

    def pause(self, seconds: float) -> None:
        """Wait, and see at once when the client is gone."""
        until = min(monotonic() + seconds, self._until)
        while (left := until - monotonic()) > 0 and not self._stopping.is_set():
            readable, _, _ = select([self.connection], [], [], min(left, 0.02))
            try:
                if readable and not self.connection.recv(1):
                    raise Dropped
            except OSError:
                raise Dropped from None


Behaviour = Callable[[Exchange], None]


@dataclass(slots=True)
class Served:
    """A running endpoint. `closed` is set when a client drops a connection before its answer has ended."""

    url: str
    requests: list[Request] = field(default_factory=list)
    closed: Event = field(default_factory=Event)

    @property
    def attempts(self) -> int:
        """How many drafts were asked for."""
        return len(self.requests)


@contextmanager
def endpoint(script: Sequence[Behaviour] | Behaviour) -> Iterator[Served]:
    """Serve until the block is left. A callable is the behaviour of every request."""
    behaviours = [script] if callable(script) else list(script)
    stopping, lock = Event(), Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = LONGEST

        def do_GET(self) -> None:
            listed = {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "tests"}]}
            known = self.path == "/v1/models"
            self._answer(Request(self.path, {}, None), status(200 if known else 404, listed if known else {}))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.path, headers, json.loads(body))
            with lock:
                behaviour = behaviours[min(len(served.requests), len(behaviours) - 1)]
                served.requests.append(request)
            self._answer(request, behaviour if self.path == "/v1/chat/completions" else status(404))

        def _answer(self, request: Request, behaviour: Behaviour) -> None:
            self.close_connection = True
            try:
                behaviour(Exchange(request, self.connection, stopping))
            except Dropped:
                if not stopping.is_set():
                    served.closed.set()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that leaving the block waits for them

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that is gone before it has sent a request

    server = Server(("127.0.0.1", 0), Handler)
    served = Served(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


def chunk(delta: object, finish: str | None = None) -> dict[str, object]:
    """One event of a streamed chat completion."""
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": choices}


def says(text: str, pieces: int = 5, pause: float = 0, finish: str | None = "stop", reasoning: str = "") -> Behaviour:
    """A well-formed stream of `text`, `pieces` characters an event and `pause` seconds behind each."""

    def behaviour(exchange: Exchange) -> None:
        exchange.begin()
        exchange.event(chunk({"role": "assistant", "content": ""}))
        if reasoning:
            exchange.event(chunk({"reasoning_content": reasoning}))
        for start in range(0, len(text), pieces):
            exchange.event(chunk({"content": text[start : start + pieces]}))
            exchange.pause(pause)
        if finish:
            exchange.event(chunk({}, finish))
            exchange.event("[DONE]")
        exchange.end()

    return behaviour


def events(*payloads: object) -> Behaviour:
    """A stream of these events, a string as it stands and all else as JSON."""

    def behaviour(exchange: Exchange) -> None:
        exchange.begin()
        for payload in payloads:
            exchange.event(payload)
        exchange.end()

    return behaviour


def status(code: int, body: object = "no", headers: Mapping[str, str] = {}) -> Behaviour:
    """An error, `body` as JSON unless it is a string."""

    def behaviour(exchange: Exchange) -> None:
        text = isinstance(body, str)
        exchange.begin(code, "text/plain" if text else "application/json", headers)
        exchange.part(str(body).encode() if text else json.dumps(body).encode())
        exchange.end()

    return behaviour


def retry_after(value: str, code: int = 429) -> Behaviour:
    """Too many requests; `value` is what Retry-After holds."""
    return status(code, "slow down", {"Retry-After": value})


def redirects(url: str, code: int = 307) -> Behaviour:
    return status(code, "elsewhere", {"Location": url})


def not_sse(body: str, type: str = "text/html", headers: Mapping[str, str] = {}) -> Behaviour:
    """Success, with a body that is no stream of events."""

    def behaviour(exchange: Exchange) -> None:
        exchange.begin(200, type, headers)
        exchange.part(body.encode())
        exchange.end()

    return behaviour


def half_event(text: str = "") -> Behaviour:
    """An event of `text`, then one that breaks off, and the end."""

    def behaviour(exchange: Exchange) -> None:
        exchange.begin()
        if text:
            exchange.event(chunk({"content": text}))
        exchange.part(b'data: {"choices": [{"del')
        exchange.end()

    return behaviour


def drip(seconds: float = 0.05, text: str = "") -> Behaviour:
    """An event of `text`, then one byte every so many seconds of an event that never ends."""

    def behaviour(exchange: Exchange) -> None:
        exchange.begin()
        if text:
            exchange.event(chunk({"content": text}))
        exchange.part(b'data: {"choices": "')
        while True:
            exchange.part(b"x")
            exchange.pause(seconds)

    return behaviour


def drips_headers(seconds: float = 0.05) -> Behaviour:
    """One byte every so many seconds of a header that never ends."""

    def behaviour(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            exchange.send(b"x")
            exchange.pause(seconds)

    return behaviour


def endless(text: str) -> Behaviour:
    """The same piece as fast as it is read."""

    def behaviour(exchange: Exchange) -> None:
        exchange.begin()
        while True:
            exchange.event(chunk({"content": text}))

    return behaviour


def endless_bytes(data: bytes, code: int = 200, head: bytes = b"") -> Behaviour:
    """`head`, then the same bytes as fast as they are read: a line without end, or events that hold nothing."""

    def behaviour(exchange: Exchange) -> None:
        exchange.begin(code)
        exchange.part(head or data)
        while True:
            exchange.part(data)

    return behaviour


def hangs(text: str = "", seconds: float = LONGEST) -> Behaviour:
    """Nothing at all, or an event of `text` and then nothing."""

    def behaviour(exchange: Exchange) -> None:
        if text:
            exchange.begin()
            exchange.event(chunk({"content": text}))
        exchange.pause(seconds)

    return behaviour


def resets(text: str = "") -> Behaviour:
    """The connection is reset, behind an event of `text` where there is one."""

    def behaviour(exchange: Exchange) -> None:
        if text:
            exchange.begin()
            exchange.event(chunk({"content": text}))
            exchange.pause(0.1)  # a reset discards what the client has not read
        exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(exchange.connection.detach())  # a mere shutdown would end it in good order

    return behaviour
