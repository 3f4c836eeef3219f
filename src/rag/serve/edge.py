"""What is around every request: its ID, its body's limit, its measures, its line in the log, an unforeseen error."""

from __future__ import annotations

import logging
import re
import time
import uuid
from urllib.parse import unquote_plus

import anyio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.serve.log import REQUEST, path_of
from rag.serve.problems import problem

MAX_BODY = 64 * 1024
"""The largest request body, in bytes."""
BODY_SECONDS = 30.0
"""How long a body may take to arrive."""
MAX_CONVERSATION = 1024 * 1024
"""The largest one where whole conversations are sent with every question."""
LOGGED_BODY = 2048
"""Bytes of a body that the log holds where questions are to be logged."""
SECURITY = {
    # Nothing from elsewhere, no inline script or style, and no text that a script could take for markup.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",  # the address of an answer holds the question
    "cross-origin-opener-policy": "same-origin",
}
"""Headers of every response."""
_CONVERSATIONS = frozenset({"/v1/ask", "/v1/chat/completions"})

_log = logging.getLogger("rag.serve")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Edge:
    """Around every request: its ID, the limit on its body, its measures, and what nobody foresaw as a plain 500.

    With `log_questions` its line in the log holds its query string and the beginning of its body.
    """

    def __init__(self, app: ASGIApp, registry: CollectorRegistry, log_questions: bool = False) -> None:
        self._app, self._log_questions = app, log_questions
        labels = ["route", "method"]
        self._requests = Counter("rag_http_requests", "Requests answered.", [*labels, "status"], registry=registry)
        self._seconds = Histogram("rag_http_request_seconds", "Seconds a request.", labels, registry=registry)
        self._under_way = Gauge("rag_http_requests_in_flight", "Requests under way, this one too.", registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        REQUEST.set(request_id)  # for good: this task is the request's own
        status, body = 0, b""

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        began = time.perf_counter()
        self._under_way.inc()
        try:
            most = MAX_CONVERSATION if scope["path"] in _CONVERSATIONS else MAX_BODY
            replay, late = None, True
            with anyio.move_on_after(BODY_SECONDS):
                (replay, body), late = await _bounded(scope, receive, most), False
            if late:
                refusal = problem(408, f"the body did not arrive within {BODY_SECONDS:g} s; send it again")
                await refusal(scope, receive, send_named)
            elif replay is None:
                refusal = problem(413, f"the body is larger than {most} bytes; shorten it")
                await refusal(scope, receive, send_named)
            else:
                await self._app(scope, replay, send_named)
        except Exception:
            _log.exception("request %s failed", request_id)
            if status:
                raise
            failure = problem(500, f"something went wrong here; the server's log has it as request {request_id}")
            await failure(scope, receive, send_named)
        finally:
            route, method = kind_of(scope)
            seconds = time.perf_counter() - began
            self._under_way.dec()
            self._requests.labels(route, method, str(status)).inc()
            self._seconds.labels(route, method).observe(seconds)
            told = {"route": route, "method": method, "status": status, "milliseconds": round(1000 * seconds, 1)}
            if self._log_questions:
                told["query"] = unquote_plus(scope["query_string"].decode("latin-1"))
                told["body"] = body.decode("utf-8", "replace")
            _log.info("%s %s", method, path_of(scope["path"]), extra=told)


def kind_of(scope: Scope) -> tuple[str, str]:
    """The route and method of a request that is over, each of few values."""
    method = scope["method"] if scope["method"] in _METHODS else "OTHER"
    return getattr(scope.get("route"), "path", "unmatched"), method


async def _bounded(scope: Scope, receive: Receive, most: int) -> tuple[Receive | None, bytes]:
    """What gives the body again, read whole, and how it begins; None where it is too large, said so or not."""
    declared = Headers(scope=scope).get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > most):
        return None, b""
    held: list[Message] = []
    size, more = 0, True
    while more:
        message = await receive()
        held.append(message)
        size += len(message.get("body", b""))
        if size > most:
            return None, b""
        more = message["type"] == "http.request" and message.get("more_body", False)
    begins = b"".join(message.get("body", b"") for message in held)[:LOGGED_BODY]
    held.reverse()

    async def replay() -> Message:
        return held.pop() if held else await receive()

    return replay, begins
