"""What happens to a question, as the page shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING
from urllib.parse import quote

from rag.corpus.anchor import LONGEST, anchor
from rag.corpus.markers import plain
from rag.records import Answer, AnswerSentence, Document, Draft, Event, Evidence, Found, Hit, Passage
from rag.serve.web.prose import Claim, claims, paragraph_at
from rag.serve.web.wording import says

if TYPE_CHECKING:
    from rag.answer.uncovered import Uncovered
    from rag.assemble import Service

NEAREST = 5
"""Passages that an abstention shows."""
_EXCERPT = 260  # characters of a passage in a list


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """A quote where it stands: the sentences of its paragraph, the quoted ones highlighted."""

    title: str
    document: str
    heading: str
    claims: tuple[Claim, ...]
    says: str
    episodes: tuple[str, ...]
    support: float
    href: str


@dataclass(frozen=True, slots=True)
class SentenceView:
    """A sentence of an answer; one whose evidence names no episode is cited as its document, `source`."""

    text: str
    citations: tuple[str, ...]
    source: str
    drafted: bool
    evidence: tuple[EvidenceView, ...]


@dataclass(frozen=True, slots=True)
class PassageView:
    """A passage that was found."""

    rank: int
    title: str
    heading: str
    excerpt: str
    episodes: tuple[str, ...]
    href: str


@dataclass(frozen=True, slots=True)
class AnswerView:
    """The whole answer, once it is there."""

    answer: Answer
    passages: tuple[PassageView, ...]
    uncovered: Uncovered | None
    draft: str | None


def document_href(id: str) -> str:
    """The address of a document's page."""
    return f"/documents/{quote(id, errors='replace')}"


def episode_href(id: str) -> str:
    """The address of an episode's page."""
    return f"/episodes/{quote(id, safe='', errors='replace')}"


def span_href(document: str, text: str, start: int, end: int) -> str:
    """The address of a span of a document, highlighted; found again where the document has changed around it."""
    if end - start > LONGEST:
        return document_href(document)
    return f"{document_href(document)}?quote={anchor(text, start, end)}#quote"


def views(events: Iterator[Event], service: Service) -> Iterator[tuple[str, object]]:
    """The name and the view of what happens: found, sentence, answer. What was dropped is counted in the answer."""
    for event in events:
        if isinstance(event, Found):
            yield "found", event
        elif isinstance(event, AnswerSentence):
            yield "sentence", sentence_view(event, service)
        elif isinstance(event, Answer):
            yield "answer", _answer_view(event, service)


def sentence_view(sentence: AnswerSentence, service: Service) -> SentenceView:
    """A sentence with the paragraphs that its evidence stands in."""
    return SentenceView(
        sentence.text,
        sentence.citations,
        sentence.evidence[0].title,
        sentence.drafted,
        tuple(_evidence_view(e, service) for e in sentence.evidence),
    )


def _evidence_view(evidence: Evidence, service: Service) -> EvidenceView:
    document = service.library.document(evidence.document)
    paragraph = paragraph_at(document, evidence.start)
    around = claims(document, paragraph, service.id_pattern, (evidence.start, evidence.end))
    carried = next((c.carried for c in around if c.sentence.start == evidence.start), None)
    return EvidenceView(
        evidence.title,
        evidence.document,
        evidence.heading,
        around,
        says(document.kind, evidence.attribution, evidence.episodes, carried),
        evidence.episodes,
        evidence.support,
        span_href(evidence.document, document.text, evidence.start, evidence.end),
    )


def _answer_view(answer: Answer, service: Service) -> AnswerView:
    missing = service.answerer.uncovered(answer) if answer.abstained else None
    return AnswerView(answer, passage_views(answer.hits, service), missing, _drafted(answer.draft))


def passage_views(hits: tuple[Hit, ...], service: Service) -> tuple[PassageView, ...]:
    """Passages, best first."""
    return tuple(_passage_view(hit, service) for hit in hits)


def _passage_view(hit: Hit, service: Service) -> PassageView:
    passage = hit.passage
    text = plain(passage.text, service.id_pattern)
    return PassageView(
        hit.rank,
        passage.title or passage.document,
        passage.heading,
        text if len(text) <= _EXCERPT else text[:_EXCERPT].rsplit(" ", 1)[0] + " …",
        passage.episodes,
        passage_href(passage, service),
    )


def passage_href(passage: Passage, service: Service) -> str:
    """The address of a passage, highlighted in its document."""
    return span_href(passage.document, service.library.document(passage.document).text, passage.start, passage.end)


@dataclass(frozen=True, slots=True)
class CitingView:
    """A sentence that cites an episode."""

    claim: Claim
    says: str
    href: str


def citing_views(service: Service, episode: str) -> Iterator[tuple[Document, tuple[CitingView, ...]]]:
    """The sentences of other documents that are attributed to an episode, by document."""
    held = service.library.citing(episode)
    for id, passages in groupby(held, key=lambda p: p.document):
        document = service.library.document(id)
        rows = []
        for passage in passages:
            for sentence in passage.sentences:
                if episode in sentence.episodes:
                    around = claims(document, paragraph_at(document, sentence.start), service.id_pattern, None)
                    claim = next(c for c in around if c.sentence.start == sentence.start)
                    where = says(document.kind, sentence.attribution, sentence.episodes, claim.carried)
                    href = span_href(id, document.text, sentence.start, sentence.end)
                    rows.append(CitingView(claim, where, href))
        yield document, tuple(rows)


def _drafted(draft: Draft | None) -> str | None:
    """What became of a model's draft, in a sentence."""
    if draft is None:
        return None
    counts = (
        (draft.kept + draft.mended, "kept, in the corpus's own words"),
        (draft.quoted, "shown in the words of their quote"),
        (draft.dropped, "left out because no quote supports them"),
        (draft.added, "added from the corpus"),
    )
    line = "; ".join(f"{count} {what}" for count, what in counts if count)
    return ". ".join(
        filter(None, (f"{draft.model} drafted it", f"Of its sentences: {line}" if line else "", draft.failed))
    )
