"""Questions over HTTP. What the index does runs in threads; every error is a problem document (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware

from rag.errors import NotFound
from rag.records import Answer, Event, Filters
from rag.search.query import understand
from rag.serve import chat
from rag.serve.admission import DRAFTS, WAITING, Admission, Place, Returned, cores
from rag.serve.edge import Edge
from rag.serve.gather import Gathered
from rag.serve.keys import Keyed, Keys
from rag.serve.measures import Measures
from rag.serve.models import PROBLEM, AnswerOut, DocumentOut, EpisodeOut, EpisodesOut, SearchOut
from rag.serve.names import Named
from rag.serve.problems import add_handlers
from rag.serve.rate import Rate
from rag.serve.requests import AskIn, SearchIn
from rag.serve.state import State
from rag.serve.streaming import Stream, last, sse, while_there
from rag.serve.web import ask, browse, reference
from rag.serve.web.site import Site
from rag.serve.web.static import Static
from rag.serve.workers import Worker
from rag.wire import answer_json, document_json, episode_json, search_json

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

    from rag.assemble import Service
    from rag.serve.traces import Traces


def create_app(
    open_service: Callable[[], Service],
    changed: Callable[[], object] = lambda: None,
    drafts: int = DRAFTS,
    names: Sequence[str] = (),
    waiting: int = WAITING,
    keys: Path | None = None,
    rate: int = 0,
    origins: Sequence[str] = (),
    log_questions: bool = False,
    traces: Traces | None = None,
    worker: Worker | None = None,
) -> FastAPI:
    """The application; it answers `/healthz` at once and opens the service behind it, off the event loop.

    `changed` is cheap, never raises, and gives another token whenever there is something else to open. At most `drafts`
    questions that are put to a language model have a thread; further ones wait, and hold up nothing else. Of the others
    as many are answered at once as there are cores, `waiting` wait, and what comes beyond is told to come again. Beside
    this machine's own, the server answers to `names`. With `keys`, a file, it answers those who bear one; raises
    UserError where the file holds none. Above 0, `rate` is how many requests a minute each key, else each address, may
    make. Pages of `origins` may ask too. The log holds what was asked only with `log_questions`. Spans go to `traces`.
    A `worker` has its share of the threads; `rate` holds for all workers together, and any tells all measures.
    """
    registry = CollectorRegistry()
    measures = Measures(registry)
    gathered = Gathered(registry, worker) if worker else None

    def opened() -> Service:
        service = measures.of(open_service())
        return traces.of(service) if traces else service

    state = State(opened, changed)
    measures.state(state)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            tried = anyio.Event()
            group.start_soon(state.keep, tried.set)
            if gathered:
                group.start_soon(gathered.tell)
                await tried.wait()  # until then no connection is taken: another worker may have an answer
            yield
            group.cancel_scope.cancel()
        if traces:
            await run_sync(traces.close)

    app = FastAPI(
        title="podcast-rag",
        version=version("podcast-rag"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry=_NOTHING_TOLD,
    )
    app.add_middleware(Returned)
    if rate:
        app.add_middleware(Rate, minute=rate, file=worker.folder / "rate" if worker else None)
    if keys:
        app.add_middleware(Keyed, keys=Keys(keys))
    if origins:  # around the keys: a browser asks without one whether it may ask
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "traceparent", "tracestate", "x-request-id"],
            expose_headers=["retry-after", "x-request-id"],
        )
    app.add_middleware(Named, names=names, origins=origins)
    app.add_middleware(Edge, registry=registry, log_questions=log_questions)
    if traces:
        from rag.serve.traces import Traced

        app.add_middleware(Traced, traces=traces)
    threads = cores()
    if worker:
        threads, drafts = worker.share(threads), worker.share(drafts)
    site, admission = Site(state), Admission(threads, waiting, drafts)
    measures.admission(admission)
    add_handlers(app, state, site)
    _routes(app, state, admission)
    app.include_router(chat.router(state, admission))
    app.include_router(ask.router(site, admission))
    app.include_router(browse.router(site))
    app.include_router(reference.router(site, app.openapi))
    app.mount("/static", Static())

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        told = await gathered.all() if gathered else generate_latest(registry)
        return Response(told, headers={"content-type": CONTENT_TYPE_LATEST})

    return app


_NOTHING_TOLD: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own telemetry tells query strings and errors, and the environment can turn it on."""


def _responses(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """What a route may answer; the objects are made by `rag.wire` and not validated again on the way out."""
    responses: dict[int | str, dict[str, Any]] = {200: {"model": model}}
    for status, text in (
        (400, "The corpus has no such episode to filter by."),
        (404, "There is no such thing."),
        (422, "The request is not well formed."),
        (503, "The index is not loaded, or more is asked than can be answered soon."),
    ):
        responses[status] = {"description": text, "content": PROBLEM}
    return responses


def _streamed(responses: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    """The same, with what comes where `stream` is asked for."""
    content = {"text/event-stream": {"itemSchema": _EVENT}}
    return responses | {200: responses[200] | {"content": content}}


_EVENT = {
    "type": "object",
    "description": "Each with a JSON object: `hits` (question, standalone, hits, index), then `sentence` (as in "
    "`sentences`) or `dropped` (objection), and `done` (the whole answer), or `error` (detail, retry).",
    "properties": {
        "event": {"enum": ["hits", "sentence", "dropped", "done", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}


def _routes(app: FastAPI, state: State, admission: Admission) -> None:
    @app.post("/v1/ask", responses=_streamed(_responses(AnswerOut)))
    async def ask(body: AskIn, request: Request) -> Response:
        """Answer a question from the corpus, with the quotes that the answer stands on."""
        service = state.service()
        stream = _asked(service, body)
        drafting = service.drafter(body.generator) is not None
        place = admission.place(request, drafting)
        if body.stream:
            return sse(stream, place)
        if not drafting:
            return await _in_turn(request, place, _ask, stream)
        answer = await last(stream, request, place)
        return _json(answer_json(answer)) if answer else Response(status_code=499)  # nobody is there to read it

    @app.post("/v1/search", responses=_responses(SearchOut))
    async def search(body: SearchIn, request: Request) -> Response:
        """List the passages nearest to a query."""
        service = state.service()
        return await _in_turn(request, admission.place(request), _search, service, body)

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
        """The index is loaded, and what keeps it answers."""
        service = state.service()
        await run_sync(service.reach)
        return _json({"status": "ready", "index": asdict(service.library.info)})


async def _off_loop(work: Callable[..., object], *arguments: object) -> Response:
    def run() -> Response:
        return _json(work(*arguments))

    return await run_sync(run)


async def _in_turn(request: Request, place: Place, work: Callable[..., object], *arguments: object) -> Response:
    def run() -> Response:
        return _json(work(*arguments))

    found = await while_there(request, lambda: place.run(run))
    return found or Response(status_code=499)  # nobody is there to read it


def _asked(service: Service, body: AskIn) -> Stream[Event]:
    """What answers a request, once it is known to be one that can be. Raises UserError and QuestionError."""
    understand(body.question, service.library.episodes())
    return partial(
        service.answerer.stream,
        body.question,
        body.k or service.k,
        service.known(body.filters.record() if body.filters else Filters()),
        history=body.turns(),
        generator=service.drafter(body.generator),
    )


def _ask(stream: Stream[Event]) -> object:
    return answer_json(next(event for event in stream() if isinstance(event, Answer)))


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
