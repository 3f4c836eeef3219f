"""The question's journey."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TypeVar

from rag.answer.abstain import Why
from rag.answer.answerability import Answerability
from rag.answer.converse import further
from rag.answer.drafting import Drafting, DraftValues, Tried
from rag.answer.extract import Candidate, ExtractValues, candidates, choose, shown, unsaid
from rag.answer.listing import ListValues, choose_listed, subject
from rag.answer.parts import parts
from rag.answer.uncovered import Uncovered, uncovered
from rag.answer.verify import verify
from rag.corpus.markers import DEFAULT_PATTERN
from rag.ports import Encoder, Generator, Library, Retriever, TermStatistics
from rag.records import (
    Answer,
    AnswerSentence,
    Citation,
    Dropped,
    Event,
    Filters,
    Found,
    Hit,
    Question,
    Ranking,
    Turn,
    Unanswered,
)
from rag.search.query import MAX_CHARS, understand

_T = TypeVar("_T")
_NAMED_DEPTH = 100
"""Passages read where the question names episodes: for an overview, all that an episode's own summary has."""


class Answerer:
    """Answers from the corpus alone: every sentence it shows stands on one of the corpus, whoever chose its words."""

    def __init__(
        self,
        retriever: Retriever,
        encoder: Encoder,
        statistics: TermStatistics,
        library: Library,
        values: ExtractValues = ExtractValues(),
        id_pattern: str = DEFAULT_PATTERN,
        answerability: Answerability | None = None,
        draft: DraftValues = DraftValues(),
        listed: ListValues = ListValues(),
    ) -> None:
        self._retriever, self._encoder, self._statistics, self._library = retriever, encoder, statistics, library
        self._values, self._draft, self._listed, self._id_pattern = values, draft, listed, id_pattern
        self.answerability = answerability
        self._episodes = library.episodes()

    def ask(
        self,
        text: str,
        k: int = 10,
        filters: Filters = Filters(),
        *,
        history: Sequence[Turn] = (),
        generator: Generator | None = None,
    ) -> Answer:
        """An answer, or an abstention with the nearest passages. Raises QuestionError."""
        for event in self.stream(text, k, filters, history=history, generator=generator):
            if isinstance(event, Answer):
                return event
        raise AssertionError("a stream that nobody stops ends with its answer")

    def stream(
        self,
        text: str,
        k: int = 10,
        filters: Filters = Filters(),
        *,
        history: Sequence[Turn] = (),
        generator: Generator | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Event]:
        """What happens to a question, as it happens: Found, sentences (or Dropped) as they pass, the Answer.

        `text` is read in the light of `history`. With a generator, sentences are what passes of its draft; else, and
        where nothing passes or it fails, the corpus's own. Ends early, without an Answer, soon after `stop()` is true.
        Raises QuestionError.
        """
        began = time.perf_counter()
        generator = Tried(generator) if generator else None
        whole = understand(text, self._episodes, filters)  # what cannot be asked is refused as a whole
        texts = parts(text)
        readings = [
            further(part, texts[:n], history, self._episodes, self._statistics, generator, stop)
            for n, part in enumerate(texts)
        ]
        alone = _in_a_line(texts, readings)
        looked = [self._look(read or part, k, filters) for part, read in zip(texts, readings, strict=True)]
        hits = _together([part.found for part in looked], k)
        retrieved = time.perf_counter()
        question = looked[0].question if len(looked) == 1 else replace(whole, text=alone or whole.text)
        asked = replace(question, text=" ".join(text.split()))
        yield Found(asked, hits, self._library.info, alone)
        judged = [self._judge(part) for part in looked]
        chosen = _each_once(part.chosen for part in judged)
        reason = None if chosen else judged[0].reason
        passed: list[AnswerSentence] = []
        drafting = None if generator is None or not chosen else Drafting(generator, self._draft, self._id_pattern)
        for event in drafting.run(question, _in_turn([p.ranked for p in judged if p.chosen]), stop) if drafting else ():
            if isinstance(event, Dropped):
                yield event
            elif self._supported(event):
                passed.append(event)
                yield event
        if stop():
            return
        if drafting and drafting.refused:
            chosen, reason = [], Why.MODEL_DECLINED
        drafted = len(passed)
        several = len(looked) > 1 or looked[0].listing
        enough = self._values.keep * chosen[0].score if chosen else 0.0
        if several or not (drafting and drafting.whole(enough)):  # the corpus's own, as far as they are not said yet
            places = {(e.document, e.start) for sentence in passed for e in sentence.evidence}
            said = {c for c in chosen if _place(c) in places}
            for sentence in (shown(c, self._id_pattern) for c in unsaid(chosen, said)):
                if self._supported(sentence):
                    passed.append(sentence)
                    yield sentence
        if chosen and not passed:
            reason = Why.UNSUPPORTED
        answered = time.perf_counter()
        without = [(part, reason or said.reason) for part, said in zip(texts, judged, strict=True)]
        yield Answer(
            question=asked,
            sentences=tuple(passed),
            reason=reason,
            hits=hits,
            citations=self._citations(passed),
            index=self._library.info,
            timings_ms={
                "retrieve": round(1000 * (retrieved - began), 2),
                "answer": round(1000 * (answered - retrieved), 2),
                "total": round(1000 * (answered - began), 2),
            },
            confidence=max((c for p in judged if (c := p.confidence) is not None), default=None),
            standalone=alone,
            draft=drafting.report(len(passed) - drafted) if drafting else None,
            unanswered=tuple(Unanswered(part, why) for part, why in without if why) if len(texts) > 1 else (),
        )

    def considered(self, text: str, k: int = 10) -> tuple[Question, list[Candidate]]:
        """A question as it is understood, and its candidates, best first; none where it names an unknown episode."""
        question = understand(text, self._episodes)
        if any(id not in self._episodes for id in question.named):
            return question, []
        sought = _sought(question)
        listing = sought is not question
        return sought, self._candidates(sought, self._found(sought, k, listing), listing)

    def uncovered(self, answer: Answer) -> Uncovered:
        """The words of an answer's question that the passages found do not hold."""
        question = _sought(understand(answer.standalone or answer.question.text, self._episodes))
        return uncovered(question, answer.hits, self._statistics)

    def _look(self, text: str, k: int, filters: Filters) -> _Looked:
        question = understand(text, self._episodes, filters)
        unknown = tuple(id for id in question.named if id not in self._episodes)
        if unknown:  # nothing can be said of it, so the nearest passages are those of the question's other words
            question = replace(question, filters=filters)
        sought = _sought(question)
        listing = sought is not question
        return _Looked(question, sought, listing, unknown, self._found(sought, k, listing))

    def _judge(self, part: _Looked) -> _Judged:
        if part.unknown:
            none = None if self.answerability is None else 0.0
            return _Judged([], [], f"{Why.UNKNOWN_EPISODE} {', '.join(part.unknown)}", none)
        ranked = self._candidates(part.sought, part.found, part.listing)
        confidence = sure = None
        if self.answerability is not None:
            confidence, sure = self.answerability.judge(part.sought, ranked)
        chosen, reason = choose(part.sought, ranked, self._values, sure)
        if part.listing and chosen:
            chosen = choose_listed(ranked, self._listed) or chosen
        return _Judged(ranked, chosen, reason, confidence)

    def _found(self, question: Question, k: int, listing: bool) -> Ranking:
        depth = _NAMED_DEPTH if question.named else self._listed.passages if listing else k
        return self._retriever.retrieve(question, max(k, depth))

    def _candidates(self, question: Question, found: Ranking, listing: bool) -> list[Candidate]:
        values = replace(self._values, passages=self._listed.passages) if listing else self._values
        return candidates(question, found, self._encoder, self._statistics, values, self._id_pattern)

    def _supported(self, sentence: AnswerSentence) -> bool:
        quotes = [e.quote for e in sentence.evidence]
        episodes = [e.episodes for e in sentence.evidence]
        found = verify(
            sentence.text, quotes, cited=sentence.citations, attributed=episodes, id_pattern=self._id_pattern
        )
        return found.verdict == "supported"

    def _citations(self, sentences: Sequence[AnswerSentence]) -> tuple[Citation, ...]:
        out = []
        for episode in dict.fromkeys(e for s in sentences for e in s.citations):
            about = self._library.about(episode)
            if about is None:
                out.append(Citation(episode, episode, None, None))
            else:
                out.append(Citation(episode, about.title, about.id, about.url))
        return tuple(out)


@dataclass(frozen=True, slots=True)
class _Looked:
    """One of the questions asked, as it is understood and sought, and the passages found for it."""

    question: Question
    sought: Question
    listing: bool
    unknown: tuple[str, ...]
    found: Ranking


@dataclass(frozen=True, slots=True)
class _Judged:
    """What there is to say to one of the questions asked: the candidates, best first, and those chosen, or why none."""

    ranked: list[Candidate]
    chosen: list[Candidate]
    reason: str | None
    confidence: float | None


def _in_a_line(texts: Sequence[str], readings: Sequence[str | None]) -> str | None:
    """How questions were read; None where that is as they were typed, or longer than a question may be."""
    read = [reading or text for text, reading in zip(texts, readings, strict=True)]
    line = " ".join(one if one.endswith(("?", ".", "!", ")")) or len(read) == 1 else f"{one}?" for one in read)
    return line if any(readings) and len(line) <= MAX_CHARS else None


def _together(found: Sequence[Ranking], k: int) -> Ranking:
    """The first k of several rankings, taken in turn, as one ranking by score."""
    if len(found) == 1:
        return found[0][:k]
    best: dict[str, Hit] = {}
    for hit in _in_turn(found):
        if len(best) < k or hit.passage.id in best:
            best[hit.passage.id] = max(hit, best.get(hit.passage.id, hit), key=lambda h: h.score)
    ordered = sorted(best.values(), key=lambda h: (-h.score, h.passage.id))
    return tuple(replace(hit, rank=rank) for rank, hit in enumerate(ordered, start=1))


def _each_once(several: Iterable[Sequence[Candidate]]) -> list[Candidate]:
    """The sentences chosen for several questions, none twice, except where one leans on what was said further up."""
    out: list[Candidate] = []
    for chosen in several:
        places = set(map(_place, out))
        out += unsaid(chosen, {c for c in chosen if _place(c) in places})
    return out


def _place(candidate: Candidate) -> tuple[str, int]:
    return candidate.passage.document, candidate.sentence.start


def _in_turn(rows: Sequence[Sequence[_T]]) -> list[_T]:
    """The first of each, then the second of each."""
    return [item for same in zip_longest(*rows) for item in same if item is not None]


def _sought(question: Question) -> Question:
    """The question itself, or the subject that someone wants the episodes on."""
    about = None if question.named else subject(question.text)
    return question if about is None else replace(question, text=about)
