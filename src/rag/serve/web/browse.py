"""The pages of what is in the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from rag.corpus.anchor import Anchor, find
from rag.errors import NotFound, QuestionError
from rag.records import Ranking
from rag.search.query import MAX_CHARS, understand
from rag.serve.requests import Day
from rag.serve.web import chart
from rag.serve.web.ask import Blank
from rag.serve.web.catalogue import Entry, matching
from rag.serve.web.prose import sections
from rag.serve.web.site import Site
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

    @out.get("/episodes")
    async def episodes(listed: Annotated[ListedIn, Query()]) -> Response:
        """Episodes by words, topic and date."""
        return await site.page(lambda: _list(site, "episode", site.catalogue.episodes, listed))

    @out.get("/documents")
    async def documents(listed: Annotated[ListedIn, Query()]) -> Response:
        """The documents of a kind, by words and topic."""
        return await site.page(lambda: _documents(site, listed))

    @out.get("/episodes/{id:path}")
    async def episode(id: str) -> Response:
        """An episode's summary, and every sentence that cites it."""
        return await site.page(lambda: _episode(site, id))

    @out.get("/documents/{id:path}")
    async def document(id: str, quote: Annotated[str | None, Query(max_length=100)] = None) -> Response:
        """A document, a span of it highlighted."""
        return await site.page(lambda: _document(site, id, quote))

    @out.get("/map")
    async def map(q: Annotated[str, Query(max_length=4 * MAX_CHARS)] = "") -> Response:
        """The map of the corpus, with what a question finds."""
        return await site.page(lambda: _map(site, q))

    return out


def _documents(site: Site, listed: ListedIn) -> Response:
    catalogue = site.catalogue
    held = catalogue.documents
    if listed.kind == "episode":
        return RedirectResponse("/episodes")
    if listed.kind is not None and listed.kind not in held:
        raise NotFound(f"no documents of the kind {listed.kind!r}; there are {', '.join(held) or 'none'}")
    every = (*catalogue.episodes, *(entry for of in held.values() for entry in of))
    return _list(site, listed.kind, held[listed.kind] if listed.kind else every, listed)


def _list(site: Site, kind: str | None, entries: Sequence[Entry], listed: ListedIn) -> Response:
    found = matching(entries, listed.q, listed.topic, listed.since, listed.until)
    return site.show(
        "list.html",
        heading=plural(kind or "document"),
        kind=kind,
        entries=found[:MOST_LISTED],
        found=len(found),
        of=len(entries),
        topics=sorted({t for e in entries for t in e.topics}, key=str.casefold),
        dated=any(e.date for e in entries),
        listed=listed,
    )


def _episode(site: Site, id: str) -> Response:
    service = site.state.service()
    name = service.episode(id)
    if name is None:
        raise NotFound(f"the corpus has no episode {id}")
    if name != id:
        return RedirectResponse(f"/episodes/{quote(name, safe='')}")
    catalogue = site.catalogue
    about = service.library.about(name)
    citing = tuple(citing_views(service, name))
    return site.show(
        "episode.html",
        id=name,
        document=about,
        sections=sections(about, service.id_pattern) if about else (),
        citing=citing,
        sentences=sum(len(rows) for _, rows in citing),
        related=[entry for e in catalogue.related.get(name, ()) if (entry := catalogue.entry(e))],
    )


def _document(site: Site, id: str, quoted: str | None) -> Response:
    service = site.state.service()
    document = service.library.document(id)
    span = find(document.text, Anchor.parse(quoted)) if quoted else None
    return site.show(
        "document.html",
        document=document,
        sections=sections(document, service.id_pattern, span),
        lost=bool(quoted) and span is None,
    )


def _map(site: Site, words: str) -> Response:
    service = site.state.service()
    problem: str | None = None
    hits: Ranking = ()
    if words.strip():
        try:
            hits = service.retriever.retrieve(understand(words, service.library.episodes()), service.k)
        except QuestionError as error:
            problem = str(error).partition("; ask something like")[0]
    return site.show(
        "map.html",
        422 if problem else 200,
        words=words,
        problem=problem,
        chart=site.state.made(chart.draw),
        lit=chart.light(service, hits),
        passages=passage_views(hits, service),
    )
