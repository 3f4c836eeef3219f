"""The pages of questions and answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rag.errors import QuestionError, RagError
from rag.records import Answer, Event, Filters, Turn
from rag.search.query import MAX_CHARS, understand
from rag.serve.markdown import content
from rag.serve.streaming import html
from rag.serve.web import chart
from rag.serve.web.catalogue import examples
from rag.serve.web.site import Site
from rag.serve.web.views import NEAREST, views
from rag.wire import answer_json

if TYPE_CHECKING:
    from rag.assemble import Service

MOST_AFTER = 5
"""Questions before a follow-up that its address carries."""

_log = logging.getLogger("rag.serve")

Blank = BeforeValidator(lambda value: value or None)
"""What a form leaves empty is not given."""
_Name = Annotated[str | None, Field(max_length=200), Blank]


class AskedIn(BaseModel):
    """What the address of an answer says: the question, those it follows, where to look, and who words the answer."""

    model_config = ConfigDict(frozen=True)

    q: Annotated[str, Field(max_length=4 * MAX_CHARS)] = ""
    after: Annotated[tuple[Annotated[str, Field(max_length=MAX_CHARS)], ...], Field(max_length=MOST_AFTER)] = ()
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


def router(site: Site, limiter: CapacityLimiter) -> APIRouter:
    """`/` and what is kept of an answer; questions for a language model have threads of their own, by `limiter`."""
    out = APIRouter(include_in_schema=False)

    @out.get("/")
    async def ask(asked: Annotated[AskedIn, Query()]) -> Response:
        """The first page, or an answer as it comes."""
        if not asked.q.strip():
            return await site.page(lambda: _home(site, asked))
        service = site.state.service()
        try:
            stream = _stream(service, asked)
        except QuestionError as error:
            problem = str(error).partition("; ask something like")[0]
            return await site.page(lambda: _home(site, asked, problem))
        drafter = service.drafter(asked.generator)
        values = await run_sync(lambda: site.shared() | _shared(site, asked))

        def page(*, stop: Callable[[], bool] = lambda: False) -> Iterator[str]:
            return site.templates.stream(
                "answer.html",
                **values,
                events=_seen(stream(stop=stop), service),
                model=drafter.name if drafter else None,
                nearest=NEAREST,
                markdown=content,
                as_json=answer_json,
                light=partial(chart.light, service),
            )

        return html(page, limiter if drafter else None)

    @out.get("/answer.json")
    async def answer(asked: Annotated[AskedIn, Query()]) -> Response:
        """An answer as a file."""
        service = site.state.service()
        stream = _stream(service, asked)
        work = partial(run_sync, lambda: _file(stream), limiter=limiter if service.drafter(asked.generator) else None)
        return await work()

    return out


def _home(site: Site, asked: AskedIn, problem: str | None = None) -> Response:
    catalogue = site.catalogue
    counts = [("episode", len(catalogue.episodes)), *((kind, len(of)) for kind, of in catalogue.documents.items())]
    shown = {"problem": problem, "counts": counts, "examples": site.state.made(examples)}
    return site.show("home.html", 422 if problem else 200, **_shared(site, asked), **shown)


def _shared(site: Site, asked: AskedIn) -> dict[str, Any]:
    service = site.state.service()
    return {
        "asked": asked,
        "chart": site.state.made(chart.draw),
        "generator": service.generator.name if service.generator else None,
        "drafting": service.drafter(asked.generator) is not None,
    }


def _stream(service: Service, asked: AskedIn) -> Callable[..., Iterator[Event]]:
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


def _file(stream: Callable[..., Iterator[Event]]) -> Response:
    answer = next(event for event in stream() if isinstance(event, Answer))
    return Response(
        json.dumps(answer_json(answer), ensure_ascii=False, indent=1).encode("utf-8", "replace"),
        headers={"content-disposition": 'attachment; filename="answer.json"', "cache-control": "no-store"},
        media_type="application/json",
    )
