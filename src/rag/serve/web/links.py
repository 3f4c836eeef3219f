"""The addresses of pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from rag.corpus.anchor import LONGEST, anchor
from rag.records import Passage

if TYPE_CHECKING:
    from rag.assemble import Service


def document_href(id: str) -> str:
    """The page of a document."""
    return f"/documents/{quote(id, errors='replace')}"


def episode_href(id: str) -> str:
    """The page of an episode."""
    return f"/episodes/{quote(id, safe='', errors='replace')}"


def span_href(document: str, text: str, start: int, end: int) -> str:
    """A span of a document, highlighted; it is found again where the document has changed around it."""
    if end - start > LONGEST:
        return document_href(document)
    return f"{document_href(document)}?quote={anchor(text, start, end)}#quote"


def passage_href(passage: Passage, service: Service) -> str:
    """A passage, highlighted in its document."""
    return span_href(passage.document, service.library.document(passage.document).text, passage.start, passage.end)


def query(values: dict[str, Any]) -> str:
    """The query of an address; lists give their name several times, what is empty is left out.

    >>> query({"q": "what & why", "after": ["a", "b"], "topic": None})
    'q=what+%26+why&after=a&after=b'
    """
    return urlencode([(name, value) for name, value in values.items() if value], doseq=True, errors="replace")
