"""Retrievers made of retrievers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

from rag.index.terms import STOP_WORDS
from rag.ports import Encoder, Library, Reranker, Retriever, Scorer, TermStatistics, VectorScorer
from rag.records import Hit, Passage, Question, Ranking, Scores
from rag.search.fuse import Fusion


class Hybrid:
    """Several scorers, fused. `depth` is how many passages each is asked for, at least k; k of them are read."""

    def __init__(self, scorers: Sequence[Scorer], fusion: Fusion, library: Library, depth: int = 100) -> None:
        self._scorers, self._fusion, self._library, self._depth = tuple(scorers), fusion, library, depth
        self._names = [scorer.name for scorer in self._scorers]
        self.name = f"hybrid({'+'.join(self._names)})"

    def retrieve(self, question: Question, k: int) -> Ranking:
        """Scores are the fusion's."""
        lists = [scorer.scores(question, max(k, self._depth)) for scorer in self._scorers]
        best = self._fusion(lists, self._names)[:k]
        holding = [(name, {key for key, _ in scores}) for name, scores in zip(self._names, lists, strict=True)]
        passages = self._library.passages([key for key, _ in best])
        return tuple(
            Hit(passage, score, rank, tuple(name for name, keys in holding if key in keys))
            for rank, (passage, (key, score)) in enumerate(zip(passages, best, strict=True), start=1)
        )


class Tempered:
    """A BM25 scorer whose scores are divided by the square root of the most that the question could score.

    BM25 grows with the number and the rarity of a question's words, cosine does not. Mean nDCG@10 over SciFact, 1,500
    machine-learning questions and Cranfield, each power at its best weight: 0.645 undivided, 0.646 by the root, 0.644
    by the whole. That is no difference; the root keeps a question of a hundred words from being one of BM25 alone.
    """

    def __init__(self, inner: Scorer, statistics: TermStatistics, k1: float = 1.2) -> None:
        self._inner, self._statistics, self._k1 = inner, statistics, k1
        self.name = inner.name

    def scores(self, question: Question, k: int) -> Scores:
        """Scores are at least 0; in practice rarely above 10."""
        scores = self._inner.scores(question, k)
        most = sum(map(self._statistics.idf, self._statistics.terms(question.text))) * (self._k1 + 1)
        return [(key, score / math.sqrt(most)) for key, score in scores]


class Feedback:
    """A vector scorer asked a second time, by a question moved towards the best passages that another one found.

    The new vector is q + `weight` · the mean of the best `passages` passages' vectors, at unit length (Rocchio 1971,
    on vectors as Li et al. 2022 have it).
    """

    def __init__(
        self,
        dense: VectorScorer,
        first: Retriever,
        encoder: Encoder,
        text: Callable[[Passage], str],
        weight: float,
        passages: int = 3,
    ) -> None:
        self._dense, self._first, self._encoder, self._text = dense, first, encoder, text
        self._weight, self._passages = weight, passages
        self.name = dense.name

    def scores(self, question: Question, k: int) -> Scores:
        """Scores are cosines with the moved question."""
        found = self._first.retrieve(question, self._passages)
        vector = self._encoder.encode([question.text])
        if found:
            towards = self._encoder.encode([self._text(hit.passage) for hit in found]).mean(axis=0)
            vector = vector + self._weight * towards
            vector = vector / (vector @ vector.T) ** 0.5
        return self._dense.nearest(vector, question, k)


class Neighbourly:
    """A retriever whose passages get `weight` times the best score of the passages next to them, where on the list."""

    def __init__(self, inner: Retriever, library: Library, weight: float) -> None:
        self._inner, self._library, self._weight = inner, library, weight
        self.name = f"neighbourly({inner.name})"

    def retrieve(self, question: Question, k: int) -> Ranking:
        """Scores are the inner retriever's, with the share of the neighbour's."""
        hits = self._inner.retrieve(question, k)
        scores = {hit.passage.id: hit.score for hit in hits}
        raised = []
        for hit in hits:
            around = [scores.get(p.id, 0.0) for p in self._library.neighbours(hit.passage)]
            raised.append(replace(hit, score=hit.score + self._weight * max(around, default=0.0)))
        raised.sort(key=lambda hit: (-hit.score, hit.passage.id))
        return tuple(replace(hit, rank=rank) for rank, hit in enumerate(raised, start=1))


class Reranked:
    """A retriever whose best `depth` passages a reranker puts in order."""

    def __init__(self, inner: Retriever, reranker: Reranker, depth: int = 50) -> None:
        self._inner, self._reranker, self._depth = inner, reranker, depth
        self.name = f"reranked({inner.name})"

    def retrieve(self, question: Question, k: int) -> Ranking:
        """Scores are the reranker's."""
        hits = self._inner.retrieve(question, max(k, self._depth))
        scores = self._reranker.score(question.text, [hit.passage.text for hit in hits])
        scored = sorted(zip(scores, hits, strict=True), key=lambda pair: (-pair[0], pair[1].passage.id))
        return tuple(replace(hit, score=score, rank=rank) for rank, (score, hit) in enumerate(scored[:k], start=1))


_WORDS = 0.25
"""The share of words, as they are written, that a repetition has in common before the terms of both are looked at.

Telling words takes a sixth of the time. Of the 21 pairs of our passages that share 0.7 of their terms, 20 share 0.33 of
their words, and the other is a sentence of 75 characters; of the ten best passages for a question of SciFact, 1 pair in
100 shares 0.25.
"""


class Distinct:
    """A retriever whose repetitions come last: overlapping reviews say one thing in nearly the same words.

    A passage repeats an earlier one where they share episodes (or both name none) and the smaller one's terms lie
    in the other to `overlap`. Nothing is lost: what repeats moves behind what does not.
    """

    def __init__(self, inner: Retriever, statistics: TermStatistics, overlap: float = 0.7) -> None:
        self._inner, self._statistics, self._overlap = inner, statistics, overlap
        self.name = f"distinct({inner.name})"

    def retrieve(self, question: Question, k: int) -> Ranking:
        """Scores are the inner retriever's, but for repetitions they no longer fall with the rank."""
        kept: list[_Told] = []
        first: list[Hit] = []
        again: list[Hit] = []
        for hit in self._inner.retrieve(question, k):
            told = _Told(hit.passage, self._statistics)
            if any(told.repeats(earlier, self._overlap) for earlier in kept):
                again.append(hit)
            else:
                first.append(hit)
                kept.append(told)
        return tuple(replace(hit, rank=rank) for rank, hit in enumerate([*first, *again], start=1))


class _Told:
    """What a passage tells, taken apart no further than comparing it needs."""

    def __init__(self, passage: Passage, statistics: TermStatistics) -> None:
        self._text, self._statistics = passage.text, statistics
        self._episodes = frozenset(passage.episodes)

    @cached_property
    def _words(self) -> set[str]:
        return set(self._text.lower().split()) - STOP_WORDS

    @cached_property
    def _terms(self) -> set[str]:
        return set(self._statistics.terms(self._text))

    def repeats(self, earlier: _Told, overlap: float) -> bool:
        if self._episodes.isdisjoint(earlier._episodes) and self._episodes != earlier._episodes:
            return False
        return _shared(self._words, earlier._words) >= _WORDS and _shared(self._terms, earlier._terms) >= overlap


def _shared(some: set[str], others: set[str]) -> float:
    """The share of the smaller set that lies in the other, 0..1."""
    return len(some & others) / (min(len(some), len(others)) or 1)
