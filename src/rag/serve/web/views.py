"""What happens to a question, as the page shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rag.corpus.markers import plain
from rag.records import Answer, AnswerSentence, Document, Draft, Event, Evidence, Found, Hit
from rag.serve.markdown import content
from rag.serve.web.chart import Asked, light
from rag.serve.web.links import passage_href, span_href
from rag.serve.web.prose import Claim, claims, paragraph_at
from rag.serve.web.wording import says
from rag.wire import answer_json

if TYPE_CHECKING:
    from rag.answer.uncovered import Uncovered
    from rag.assemble import Service

NEAREST = 5
"""Passages that an abstention shows."""
AROUND = 2
"""Sentences around a quote that are shown with it."""
_EXCERPT = 260  # characters of a passage in a list


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """A quote where it stands: the sentences around it, the quoted ones highlighted.

    `more` says whether the paragraph goes on before them, and behind them.
    """

    title: str
    document: str
    heading: str
    claims: tuple[Claim, ...]
    more: tuple[bool, bool]
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
    """The whole answer, once it is there; `lit` is where it stands on the map."""

    answer: Answer
    passages: tuple[PassageView, ...]
    uncovered: Uncovered | None
    draft: str | None
    lit: Asked | None
    markdown: str
    json: dict[str, Any]


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
        sentence.evidence[0].title or sentence.evidence[0].document,
        sentence.drafted,
        tuple(_evidence_view(e, service) for e in sentence.evidence),
    )


def _evidence_view(evidence: Evidence, service: Service) -> EvidenceView:
    document = service.library.document(evidence.document)
    paragraph = paragraph_at(document, evidence.start)
    held = claims(document, paragraph, service.id_pattern, (evidence.start, evidence.end))
    quoted = [n for n, c in enumerate(held) if c.sentence.start < evidence.end and evidence.start < c.sentence.end]
    first, last = max(min(quoted, default=0) - AROUND, 0), max(quoted, default=len(held)) + AROUND
    carried = next((c.carried for c in held if c.sentence.start == evidence.start), None)
    return EvidenceView(
        evidence.title or evidence.document,
        evidence.document,
        evidence.heading,
        held[first : last + 1],
        (first > 0, last + 1 < len(held)),
        says(document.kind, evidence.attribution, evidence.episodes, carried),
        evidence.episodes,
        evidence.support,
        span_href(evidence.document, document.text, evidence.start, evidence.end),
    )


def _answer_view(answer: Answer, service: Service) -> AnswerView:
    missing = service.answerer.uncovered(answer) if answer.abstained else None
    return AnswerView(
        answer,
        passage_views(answer.hits, service),
        missing,
        _drafted(answer.draft),
        light(service, answer.hits),
        content(answer),
        answer_json(answer),
    )


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
        cited = [s for passage in passages for s in passage.sentences if episode in s.episodes]
        shown = dict[int, Claim]()  # each paragraph is read once, however often it cites
        for sentence in cited:
            if sentence.start not in shown:
                paragraph = paragraph_at(document, sentence.start)
                shown |= {c.sentence.start: c for c in claims(document, paragraph, service.id_pattern, None)}
        yield document, tuple(_citing_view(document, shown[s.start]) for s in cited if s.start in shown)


def _citing_view(document: Document, claim: Claim) -> CitingView:
    sentence = claim.sentence
    where = says(document.kind, sentence.attribution, sentence.episodes, claim.carried)
    return CitingView(claim, where, span_href(document.id, document.text, sentence.start, sentence.end))


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
