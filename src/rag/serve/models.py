"""The shapes of what HTTP answers, for the OpenAPI description; `rag.wire` makes the objects themselves."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from rag.records import Attribution, Objection


class _Out(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EvidenceOut(_Out):
    """A quoted span: `text[start:end]` of the document is the quote; offsets in characters, end exclusive."""

    document: str
    heading: str
    start: int
    end: int
    quote: str
    episodes: list[str]
    attribution: Attribution
    support: float


class AnswerSentenceOut(_Out):
    """A sentence, the episodes it cites, whether a model chose its words, and what it stands on."""

    text: str
    citations: list[str]
    drafted: bool
    evidence: list[EvidenceOut]


class CitationOut(_Out):
    """An episode that the answer cites; `document` is null where the corpus only mentions it."""

    episode: str
    title: str
    document: str | None
    url: str | None


class NeighbourOut(_Out):
    """A passage before or after a hit."""

    start: int
    end: int
    text: str
    episodes: list[str]


class HitOut(_Out):
    """A passage found."""

    rank: int
    score: float
    document: str
    title: str
    heading: str
    start: int
    end: int
    text: str
    episodes: list[str]
    found_by: list[str]
    neighbours: list[NeighbourOut] = []


class IndexOut(_Out):
    """Which index answered."""

    generation: str
    passages: int
    encoder: str


class DraftOut(_Out):
    """What became of a model's draft, in sentences: kept, kept under another citation, shown in the words of their
    quote, dropped (by objection); and how many of the corpus's own were added. `failed` says why there is no draft, or
    no more of it.
    """

    model: str
    kept: int
    mended: int
    quoted: int
    dropped: int
    objections: dict[Objection, int]
    added: int
    failed: str | None


class UnansweredOut(_Out):
    """One of several questions asked in one go for which no answer was found, and why not."""

    question: str
    reason: str


class AnswerOut(_Out):
    """An answer, or an abstention: then `sentences` is empty and `reason` says why.

    `unanswered` are those of several questions in one that have no answer; empty where only one thing was asked.
    `confidence` in 0..1 is how likely the corpus answers the question; null where nothing estimated it. `standalone` is
    the question as it was read in the light of `history`; `generator` says whose words are shown, and `draft` what
    became of those that a model wrote, null where none was asked.
    """

    question: str
    answer: str
    abstained: bool
    reason: str | None
    unanswered: list[UnansweredOut]
    standalone: str | None = None
    generator: Literal["extractive", "llm"]
    draft: DraftOut | None = None
    confidence: float | None = None
    sentences: list[AnswerSentenceOut]
    citations: list[CitationOut]
    hits: list[HitOut]
    index: IndexOut | None
    timings_ms: dict[str, float]


class SearchOut(_Out):
    """The passages nearest to a query, best first."""

    query: str
    hits: list[HitOut]


class SentenceOut(_Out):
    """A sentence of a document, and who it is attributed to."""

    start: int
    end: int
    text: str
    episodes: list[str]
    attribution: Attribution


class DocumentOut(_Out):
    """A document with its sentences."""

    id: str
    kind: str
    title: str
    text: str
    metadata: dict[str, Any]
    sentences: list[SentenceOut]


class CitingSentenceOut(SentenceOut):
    """A sentence that cites an episode, and the document it stands in."""

    document: str


class EpisodeOut(DocumentOut):
    """An episode's document (empty where the corpus only mentions it), and who cites it."""

    cited_by: list[CitingSentenceOut]


class EpisodeRowOut(_Out):
    """An episode of the list."""

    id: str
    title: str
    document: str | None
    date: str | None
    url: str | None


class EpisodesOut(_Out):
    """Every episode that a document is about or cites."""

    episodes: list[EpisodeRowOut]


class ProblemOut(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str


PROBLEM = {"application/problem+json": {"schema": ProblemOut.model_json_schema()}}
"""What an error's content is, in the description of a route."""
