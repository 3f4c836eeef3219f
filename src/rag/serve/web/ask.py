"""The pages of questions and answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rag.errors import QuestionError, RagError
from rag.records import Answer, Event, Filters, Turn
from rag.search.query import MAX_CHARS, understand
from rag.serve.admission import Admission
from rag.serve.state import Current
from rag.serve.streaming import Stream, html, last
from rag.serve.web import chart
from rag.serve.web.catalogue import examples
from rag.serve.web.site import Site, catalogue, shared
from rag.serve.web.views import NEAREST, views
from rag.wire import answer_json

if TYPE_CHECKING:
    from rag.assemble import Service

MOST_AFTER = 5
"""Questions before a follow-up that its address carries."""

_log = logging.getLogger("rag.serve")

Blank = BeforeValidator(lambda value: value or None)
"""What a form leaves empty is not given."""
_Filled = BeforeValidator(lambda values: [value for value in values if value.strip()])
_Before = Annotated[str, Field(max_length=MAX_CHARS)]
_Name = Annotated[str | None, Field(max_length=200), Blank]


class AskedIn(BaseModel):
    """What the address of an answer says: the question, those it follows, where to look, and who words the answer."""

    model_config = ConfigDict(frozen=True)

    q: Annotated[str, Field(max_length=4 * MAX_CHARS)] = ""
    after: Annotated[tuple[_Before, ...], Field(max_length=MOST_AFTER), _Filled] = ()
    kind: _Name = None
    topic: _Name = None
    episode: _Name = None
    generator: Annotated[Literal["extractive", "llm"] | None, Blank] = None

    def address(self, **changes: object) -> dict[str, object]:
        """The values of an address, some of them changed."""
        return self.model_dump() | changes

    @property
    def follow_up(self) -> tuple[str, ...]:
        """The questions that a question after this one follows."""
        return (*self.after, " ".join(self.q.split())[:MAX_CHARS])[-MOST_AFTER:]

    @property
    def within(self) -> tuple[tuple[str, str], ...]:
        """Where alone to look, as names and values."""
        given = (("episode", self.episode), ("topic", self.topic), ("kind", self.kind))
        return tuple((name, value) for name, value in given if value)


def router(site: Site, admission: Admission) -> APIRouter:
    """`/` and what is kept of an answer; questions for a language model have threads of their own, by `admission`."""
    out = APIRouter(include_in_schema=False)
    making = anyio.Lock()

    async def home(request: Request, asked: AskedIn, problem: str | None = None) -> Response:
        """The first page. Its examples are asked once an index, in a place for questions; without one, left out."""
        current = site.state.current()
        async with making:
            if current.known(examples) is None and not admission.full:
                try:
                    await admission.place(request).run(current.made, examples)
                except Exception:
                    _log.exception("the examples failed")
        return await site.page(lambda current: _home(site, current, asked, problem))

    @out.api_route("/", methods=["GET", "HEAD"])
    async def ask(asked: Annotated[AskedIn, Query()], request: Request) -> Response:
        """The first page, or an answer as it comes."""
        if request.method == "HEAD":
            return Response(media_type="text/html")
        if not asked.q.strip():
            return await home(request, asked)
        current = site.state.current()
        try:
            stream = stream_of(current.service, asked)
        except QuestionError as error:
            return await home(request, asked, plainly(error))
        drafter = current.service.drafter(asked.generator)
        place = admission.place(request, drafter is not None)
        values = await run_sync(lambda: shared(current) | _asking(current, asked))

        def page(*, stop: Callable[[], bool] = lambda: False) -> Iterator[str]:
            events = _seen(stream(stop=stop), current.service)
            model = drafter.name if drafter else None
            return site.templates.stream("answer.html", **values, events=events, model=model, nearest=NEAREST)

        return html(page, place)

    @out.get("/answer.json")
    async def answer(asked: Annotated[AskedIn, Query()], request: Request) -> Response:
        """An answer as a file."""
        service = site.state.service()
        stream = stream_of(service, asked)
        place = admission.place(request, service.drafter(asked.generator) is not None)
        try:
            found = await last(stream, request, place)
        except RagError:
            raise
        except Exception:
            _log.exception("an answer failed")
            return await site.error(500, "The server's log says more. Try again, or ask otherwise.")
        return _file(found) if found else Response(status_code=499)  # nobody is there to read it

    return out


def plainly(error: QuestionError) -> str:
    """What is wrong with a question, without the mend of the command line."""
    return str(error).partition("; ask something like")[0]


def _home(site: Site, current: Current, asked: AskedIn, problem: str | None = None) -> Response:
    held = catalogue(current)
    counts = [("episode", len(held.episodes)), *((kind, len(of)) for kind, of in held.documents.items())]
    shown = {"problem": problem, "counts": counts, "examples": current.known(examples)}
    return site.show(current, "home.html", 422 if problem else 200, **_asking(current, asked), **shown)


def _asking(current: Current, asked: AskedIn) -> dict[str, Any]:
    service = current.service
    return {
        "asked": asked,
        "chart": current.made(chart.draw),
        "generator": service.generator.name if service.generator else None,
        "drafting": service.drafter(asked.generator) is not None,
    }


def stream_of(service: Service, asked: AskedIn) -> Stream[Event]:
    """What answers. Raises QuestionError and UserError at once."""
    filters = Filters(kinds=_one(asked.kind), topics=_one(asked.topic), episodes=_one(asked.episode))
    understand(asked.q, service.library.episodes())
    return partial(
        service.answerer.stream,
        asked.q,
        service.k,
        service.known(filters),
        history=tuple(map(Turn, asked.after)),
        generator=service.drafter(asked.generator),
    )


def _one(name: str | None) -> tuple[str, ...]:
    return (name,) if name else ()


def _seen(events: Iterator[Event], service: Service) -> Iterator[tuple[str, object]]:
    """The views of events; what goes wrong on the way is one more, since the page has begun."""
    try:
        yield from views(events, service)
    except RagError as error:
        yield "error", str(error)
    except Exception:
        _log.exception("a page failed")
        yield "error", "something went wrong here; the server's log has it"


def _file(answer: Answer) -> Response:
    return Response(
        json.dumps(answer_json(answer), ensure_ascii=False, indent=1).encode("utf-8", "replace"),
        headers={"content-disposition": 'attachment; filename="answer.json"', "cache-control": "no-store"},
        media_type="application/json",
    )
