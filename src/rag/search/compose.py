"""Retrievers made of retrievers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rag.ports import Reranker, Retriever, TermStatistics
from rag.records import Hit, Question, Ranking
from rag.search.fuse import Fusion


class Hybrid:
    """Several retrievers, fused. `depth` is how many passages each is asked for, at least k."""

    def __init__(self, retrievers: Sequence[Retriever], fusion: Fusion, depth: int = 100) -> None:
        self._retrievers, self._fusion, self._depth = tuple(retrievers), fusion, depth
        self._names = [r.name for r in self._retrievers]
        self.name = f"hybrid({'+'.join(self._names)})"

    def retrieve(self, question: Question, k: int) -> Ranking:
        """Scores are the fusion's."""
        rankings = [r.retrieve(question, max(k, self._depth)) for r in self._retrievers]
        return self._fusion(rankings, self._names)[:k]


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
        hits = self._inner.retrieve(question, k)
        kept: list[tuple[set[str], set[str]]] = []
        first: list[Hit] = []
        again: list[Hit] = []
        for hit in hits:
            words, episodes = set(self._statistics.terms(hit.passage.text)), set(hit.passage.episodes)
            repeats = any(
                (not episodes.isdisjoint(of) or episodes == of)
                and len(words & seen) >= self._overlap * min(len(words), len(seen))
                for seen, of in kept
                if words and seen
            )
            (again if repeats else first).append(hit)
            if not repeats:
                kept.append((words, episodes))
        return tuple(replace(hit, rank=rank) for rank, hit in enumerate([*first, *again], start=1))
