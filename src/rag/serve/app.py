"""Questions over HTTP. What the index does runs in threads; every error is a problem document (RFC 9457)."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import date
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.errors import IndexUnusable, NotFound, QuestionError, RagError, UserError
from rag.records import Filters
from rag.search.query import MAX_CHARS, understand
from rag.serve.models import AnswerOut, DocumentOut, EpisodeOut, EpisodesOut, ProblemOut, SearchOut
from rag.wire import answer_json, document_json, episode_json, search_json

if TYPE_CHECKING:
    from rag.assemble import Service

MAX_BODY = 64 * 1024
"""The largest request body, in bytes."""
LOOK_SECONDS = 1.0
"""How often the server looks whether there is a new index."""

_log = logging.getLogger("rag.serve")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _day(text: str) -> str:
    return date.fromisoformat(text).isoformat()


_Text = Annotated[str, Field(min_length=1, max_length=MAX_CHARS)]
_Names = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=100)]
_Day = Annotated[
    str, Field(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", json_schema_extra={"format": "date"}), AfterValidator(_day)
]
_K = Annotated[int, Field(ge=1, le=100, strict=True)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FiltersIn(_Wire):
    """Which passages may be found; values of one field are alternatives, fields add up, both dates are inclusive."""

    kinds: _Names = ()
    topics: _Names = ()
    episodes: _Names = ()
    since: _Day | None = None
    until: _Day | None = None

    def record(self) -> Filters:
        """The same, for the rooms behind the edge."""
        return Filters(self.kinds, self.topics, self.episodes, self.since, self.until)


class AskIn(_Wire):
    """A question; without `k`, the server's settings say how many passages."""

    question: _Text
    k: _K | None = None
    filters: FiltersIn | None = None


class SearchIn(_Wire):
    """A query; without `k`, the server's settings say how many passages."""

    query: _Text
    k: _K | None = None
    filters: FiltersIn | None = None
    neighbours: Annotated[int, Field(ge=0, le=5, strict=True)] = 0


class _State:
    """The service, or why there is none yet."""

    def __init__(self, open_service: Callable[[], Service], changed: Callable[[], object]) -> None:
        self._open_service, self._changed = open_service, changed
        self.opened: Service | None = None
        self.failed: str | None = None

    async def keep(self) -> None:
        """Open the service, and anew whenever `changed` gives another token or the last time failed.

        The service opened before answers until the new one can. Failing may take a tenth of the time at most.
        """
        token, again = object(), 0.0
        while True:
            now = await run_sync(self._changed, abandon_on_cancel=True)
            began = time.monotonic()
            if now != token or (self.failed is not None and began >= again):
                await self._open()
                token, again = now, began + 10 * (time.monotonic() - began)
            await anyio.sleep(LOOK_SECONDS)

    async def _open(self) -> None:
        failed, cause = None, None
        try:
            self.opened = await run_sync(self._open_service, abandon_on_cancel=True)
        except RagError as error:
            failed = str(error)
        except Exception as error:
            failed, cause = "the index could not be opened; the server's log says why", error
        if failed not in (None, self.failed):
            _log.error("the index is not served: %s", failed, exc_info=cause)
        self.failed = failed

    def service(self) -> Service:
        """Raises IndexUnusable."""
        if self.opened is None:
            raise IndexUnusable(self.failed or "the index is still loading; try again in a moment")
        return self.opened


def create_app(open_service: Callable[[], Service], changed: Callable[[], object] = lambda: None) -> FastAPI:
    """The application; it answers `/healthz` at once and opens the service behind it, off the event loop.

    `changed` is cheap, never raises, and gives another token whenever there is something else to open.
    """
    state = _State(open_service, changed)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(state.keep)
            yield
            group.cancel_scope.cancel()

    app = FastAPI(title="podcast-rag", version=version("podcast-rag"), lifespan=lifespan)
    registry = CollectorRegistry()
    app.add_middleware(_Edge, registry=registry)
    _problems(app, state)
    _routes(app, state)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return app


_PROBLEM = {"application/problem+json": {"schema": ProblemOut.model_json_schema()}}


def _responses(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """What a route may answer; the objects are made by `rag.wire` and not validated again on the way out."""
    responses: dict[int | str, dict[str, Any]] = {200: {"model": model}}
    for status, text in (
        (400, "The corpus has no such episode to filter by."),
        (404, "There is no such thing."),
        (422, "The request is not well formed."),
        (503, "The index is not loaded."),
    ):
        responses[status] = {"description": text, "content": _PROBLEM}
    return responses


def _routes(app: FastAPI, state: _State) -> None:
    @app.post("/v1/ask", responses=_responses(AnswerOut))
    async def ask(body: AskIn) -> Response:
        """Answer a question from the corpus, with the quotes that the answer stands on."""
        return await _off_loop(_ask, state.service(), body)

    @app.post("/v1/search", responses=_responses(SearchOut))
    async def search(body: SearchIn) -> Response:
        """List the passages nearest to a query."""
        return await _off_loop(_search, state.service(), body)

    @app.get("/v1/episodes", responses=_responses(EpisodesOut))
    async def episodes() -> Response:
        """Every episode that a document is about or cites."""
        return await _off_loop(_episodes, state.service())

    @app.get("/v1/episodes/{id}", responses=_responses(EpisodeOut))
    async def episode(id: str) -> Response:
        """An episode's document, and the sentences of other documents that cite the episode."""
        return await _off_loop(_episode, state.service(), id)

    @app.get("/v1/documents/{id:path}", responses=_responses(DocumentOut))
    async def document(id: str) -> Response:
        """A document with its sentences and who they are attributed to."""
        return await _off_loop(_document, state.service(), id)

    @app.get("/healthz")
    async def healthz() -> Response:
        """The process is up."""
        return _json({"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        """The index is loaded."""
        return _json({"status": "ready", "index": asdict(state.service().library.info)})


async def _off_loop(work: Callable[..., object], *arguments: object) -> Response:
    def run() -> Response:
        return _json(work(*arguments))

    return await run_sync(run)


def _ask(service: Service, body: AskIn) -> object:
    filters = service.known(body.filters.record() if body.filters else Filters())
    return answer_json(service.answerer.ask(body.question, body.k or service.k, filters))


def _search(service: Service, body: SearchIn) -> object:
    filters = service.known(body.filters.record() if body.filters else Filters())
    question = understand(body.query, service.library.episodes(), filters)
    hits = service.retriever.retrieve(question, body.k or service.k)
    return search_json(question.text, hits, service.library, body.neighbours)


def _episodes(service: Service) -> object:
    rows = []
    for id in service.library.episodes():
        about = service.library.about(id)
        rows.append(
            {
                "id": id,
                "title": about.title if about else id,
                "document": about.id if about else None,
                "date": about.date if about else None,
                "url": about.url if about else None,
            }
        )
    return {"episodes": rows}


def _episode(service: Service, id: str) -> object:
    episode = service.episode(id)
    if episode is None:
        raise NotFound(f"no episode {id!r}; GET /v1/episodes lists them")
    return episode_json(service.library, episode, service.id_pattern)


def _document(service: Service, id: str) -> object:
    return document_json(service.library.document(id), service.id_pattern)


def _json(value: object) -> Response:
    # A lone surrogate, which a corpus may hold, has no UTF-8; one "?" for it keeps every offset.
    return Response(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), media_type="application/json")


def _problem(status: int, detail: str, headers: dict[str, str] | None = None, **more: object) -> Response:
    value = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return Response(json.dumps(value), status, headers, media_type="application/problem+json")


def _problems(app: FastAPI, state: _State) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        errors = [{"field": ".".join(map(str, e["loc"])), "detail": str(e["msg"])} for e in error.errors()]
        detail = "; ".join(f"{e['field']}: {e['detail']}" for e in errors[:5])
        return _problem(422, detail, errors=errors[:100])

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return _problem(error.status_code, str(error.detail), dict(error.headers or {}))

    async def user(status: int, _: Request, error: Exception) -> Response:
        return _problem(status, str(error))

    for kind, status in ((UserError, 400), (QuestionError, 422), (NotFound, 404)):
        app.add_exception_handler(kind, partial(user, status))

    @app.exception_handler(IndexUnusable)
    async def unusable(_: Request, error: IndexUnusable) -> Response:
        loading = state.opened is None and state.failed is None
        return _problem(503, str(error), {"retry-after": "1"} if loading or error.retry else None)


class _Edge:
    """Around every request: its ID, the limit on its body, its measures, and what nobody foresaw as a plain 500."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        labels = ["route", "method"]
        self._requests = Counter("rag_http_requests", "Requests answered.", [*labels, "status"], registry=registry)
        self._seconds = Histogram("rag_http_request_seconds", "Seconds a request.", labels, registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        began = time.perf_counter()
        try:
            replay = await _bounded(scope, receive)
            if replay is None:
                refusal = _problem(413, f"the body is larger than {MAX_BODY} bytes; shorten it")
                await refusal(scope, receive, send_named)
            else:
                await self._app(scope, replay, send_named)
        except Exception:
            _log.exception("request %s failed", request_id)
            if status:
                raise
            failure = _problem(500, f"something went wrong here; the server's log has it as request {request_id}")
            await failure(scope, receive, send_named)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            self._requests.labels(route, method, str(status)).inc()
            self._seconds.labels(route, method).observe(time.perf_counter() - began)


async def _bounded(scope: Scope, receive: Receive) -> Receive | None:
    """What gives the body again, read whole; None where it is too large, whether or not it said so."""
    declared = Headers(scope=scope).get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > MAX_BODY):
        return None
    held: list[Message] = []
    size, more = 0, True
    while more:
        message = await receive()
        held.append(message)
        size += len(message.get("body", b""))
        if size > MAX_BODY:
            return None
        more = message["type"] == "http.request" and message.get("more_body", False)
    held.reverse()

    async def replay() -> Message:
        return held.pop() if held else await receive()

    return replay
