"""The pages of what is in the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from rag.corpus.anchor import Anchor, find
from rag.errors import NotFound, QuestionError
from rag.records import Found, Ranking
from rag.search.query import MAX_CHARS
from rag.serve.requests import Day
from rag.serve.state import Current
from rag.serve.web import chart
from rag.serve.web.ask import AskedIn, Blank, plainly, stream_of
from rag.serve.web.catalogue import Entry, matching
from rag.serve.web.links import episode_href, query
from rag.serve.web.prose import sections
from rag.serve.web.site import Site, catalogue
from rag.serve.web.views import citing_views, passage_views
from rag.serve.web.wording import plural

MOST_LISTED = 1000
"""Entries of a list; narrower words show the others."""

_Words = Annotated[str, Field(max_length=4 * MAX_CHARS)]


class ListedIn(BaseModel):
    """Which entries of a list are wanted."""

    model_config = ConfigDict(frozen=True)

    q: _Words = ""
    kind: Annotated[str | None, Field(max_length=200), Blank] = None
    topic: Annotated[str | None, Field(max_length=200), Blank] = None
    since: Annotated[Day | None, Blank] = None
    until: Annotated[Day | None, Blank] = None


def router(site: Site) -> APIRouter:
    """Lists, episodes, documents, and the map."""
    out = APIRouter(include_in_schema=False)
    read = ["GET", "HEAD"]

    @out.api_route("/episodes", methods=read)
    async def episodes(listed: Annotated[ListedIn, Query()]) -> Response:
        """Episodes by words, topic and date."""
        return await site.page(lambda now: _list(site, now, "episode", catalogue(now).episodes, listed))

    @out.api_route("/documents", methods=read)
    async def documents(listed: Annotated[ListedIn, Query()]) -> Response:
        """The documents of a kind, by words and topic."""
        return await site.page(lambda now: _documents(site, now, listed))

    @out.api_route("/episodes/{id:path}", methods=read)
    async def episode(id: str) -> Response:
        """An episode's summary, and every sentence that cites it."""
        return await site.page(lambda now: _episode(site, now, id))

    @out.api_route("/documents/{id:path}", methods=read)
    async def document(id: str, quote: Annotated[str | None, Query(max_length=100)] = None) -> Response:
        """A document, a span of it highlighted."""
        return await site.page(lambda now: _document(site, now, id, quote))

    @out.api_route("/map", methods=read)
    async def map(asked: Annotated[AskedIn, Query()]) -> Response:
        """The map of the corpus, with what a question finds."""
        return await site.page(lambda now: _map(site, now, asked))

    return out


def _documents(site: Site, now: Current, listed: ListedIn) -> Response:
    held = catalogue(now)
    if listed.kind is None:
        every = (*held.episodes, *(entry for of in held.documents.values() for entry in of))
        return _list(site, now, None, every, listed)
    if listed.kind in held.documents:
        return _list(site, now, listed.kind, held.documents[listed.kind], listed)
    if listed.kind == "episode":
        more = query(listed.model_dump(exclude={"kind"}))
        return RedirectResponse(f"/episodes?{more}" if more else "/episodes")
    raise NotFound(f"no documents of the kind {listed.kind!r}; there are {', '.join(held.documents) or 'none'}")


def _list(site: Site, now: Current, kind: str | None, entries: Sequence[Entry], listed: ListedIn) -> Response:
    found = matching(entries, listed.q, listed.topic, listed.since, listed.until)
    return site.show(
        now,
        "list.html",
        heading=plural(kind or "document"),
        kind=kind,
        address="/episodes" if entries is catalogue(now).episodes else "/documents",
        entries=entries if len(entries) <= MOST_LISTED else found[:MOST_LISTED],
        hidden=frozenset(entries).difference(found),  # a script may show them again as one types
        found=len(found),
        of=len(entries),
        topics=sorted({t for e in entries for t in e.topics}, key=str.casefold),
        dated=any(e.date for e in entries),
        listed=listed,
    )


def _episode(site: Site, now: Current, id: str) -> Response:
    service = now.service
    name = service.episode(id)
    if name is None:
        raise NotFound(f"the corpus has no episode {id}")
    if name != id:
        return RedirectResponse(episode_href(name))
    held = catalogue(now)
    about = service.library.about(name)
    citing = tuple(citing_views(service, name))
    return site.show(
        now,
        "episode.html",
        id=name,
        document=about,
        sections=sections(about, service.id_pattern) if about else (),
        citing=citing,
        sentences=sum(len(rows) for _, rows in citing),
        related=[entry for e in held.related.get(name, ()) if (entry := held.entry(e))],
    )


def _document(site: Site, now: Current, id: str, quoted: str | None) -> Response:
    service = now.service
    document = service.library.document(id)
    span = find(document.text, Anchor.parse(quoted)) if quoted else None
    return site.show(
        now,
        "document.html",
        document=document,
        sections=sections(document, service.id_pattern, span),
        lost=bool(quoted) and span is None,
    )


def _map(site: Site, now: Current, asked: AskedIn) -> Response:
    problem: str | None = None
    hits: Ranking = ()
    if asked.q.strip():
        try:  # what an answer is found in, without the answer
            events = stream_of(now.service, asked.model_copy(update={"generator": "extractive"}))()
            hits = next(event.hits for event in events if isinstance(event, Found))
        except QuestionError as error:
            problem = plainly(error)
    return site.show(
        now,
        "map.html",
        422 if problem else 200,
        asked=asked,
        problem=problem,
        chart=now.made(chart.draw),
        lit=chart.light(now.service, hits),
        passages=passage_views(hits, now.service),
    )
