"""Rankings -> one Ranking; pure arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rag.records import Hit, Ranking

Fusion = Callable[[Sequence[Ranking], Sequence[str]], Ranking]
"""(rankings, names of their retrievers) -> one ranking of all their passages."""


def convex(weights: Mapping[str, float]) -> Fusion:
    """Weighted sum of scores normalised by their theoretical minimum (Bruch, Gai & Ingber 2023).

    A cosine becomes (s + 1) / (max + 1), since its minimum is -1; any other score becomes s / max, its minimum being
    0. A passage that a retriever did not find gets 0 from it. `weights` are by retriever name and need not sum to 1.
    """
    if not weights or min(weights.values()) < 0 or not sum(weights.values()) > 0:
        raise ValueError(f"weights are at least 0 and not all 0: {dict(weights)}")

    def fuse(rankings: Sequence[Ranking], names: Sequence[str]) -> Ranking:
        share = [weights.get(name, 0.0) / sum(weights.values()) for name in names]
        return _ranked(
            [
                (hit, weight * score)
                for ranking, name, weight in zip(rankings, names, share, strict=True)
                for hit, score in zip(ranking, _normalised(ranking, -1.0 if name == "dense" else 0.0), strict=True)
            ]
        )

    return fuse


def _normalised(ranking: Ranking, least: float) -> list[float]:
    top = max((hit.score for hit in ranking), default=0.0) - least
    return [(hit.score - least) / top if top > 0 else 0.0 for hit in ranking]


def weighted(weights: Mapping[str, float]) -> Fusion:
    """Weighted sum of scores as they are, so that a weak best match stays weak. `weights` are by retriever name.

    A list as long as the longest was cut there: whoever is missing from it scored at most its last score, and gets
    that. From a shorter one, which holds all that its retriever found, it gets 0.
    """
    if not weights or min(weights.values()) < 0 or not sum(weights.values()) > 0:
        raise ValueError(f"weights are at least 0 and not all 0: {dict(weights)}")

    def fuse(rankings: Sequence[Ranking], names: Sequence[str]) -> Ranking:
        share = [weights.get(name, 0.0) for name in names]
        longest = max(map(len, rankings), default=0)
        floors = [
            weight * min(hit.score for hit in ranking) if ranking and len(ranking) == longest else 0.0
            for ranking, weight in zip(rankings, share, strict=True)
        ]
        above = [
            (hit, weight * hit.score - floor)
            for ranking, weight, floor in zip(rankings, share, floors, strict=True)
            for hit in ranking
        ]
        return tuple(replace(hit, score=hit.score + sum(floors)) for hit in _ranked(above))

    return fuse


def rrf(k: int = 60) -> Fusion:
    """Reciprocal rank fusion (Cormack, Clarke & Büttcher 2009): the sum of 1 / (k + rank)."""

    def fuse(rankings: Sequence[Ranking], names: Sequence[str]) -> Ranking:  # noqa: ARG001
        return _ranked([(hit, 1 / (k + hit.rank)) for ranking in rankings for hit in ranking])

    return fuse


def _ranked(scored: Sequence[tuple[Hit, float]]) -> Ranking:
    totals: dict[str, float] = {}
    hits: dict[str, list[Hit]] = {}
    for hit, score in scored:
        totals[hit.passage.id] = totals.get(hit.passage.id, 0.0) + score
        hits.setdefault(hit.passage.id, []).append(hit)
    return tuple(
        Hit(
            passage=hits[id][0].passage,
            score=totals[id],
            rank=rank,
            found_by=tuple(dict.fromkeys(name for hit in hits[id] for name in hit.found_by)),
        )
        for rank, id in enumerate(sorted(totals, key=lambda id: (-totals[id], id)), start=1)
    )
