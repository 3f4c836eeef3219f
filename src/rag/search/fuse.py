"""Lists of scores -> one; pure arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from rag.records import Key, Scores

Fusion = Callable[[Sequence[Scores], Sequence[str]], Scores]
"""(lists, names of their scorers) -> one list of all their passages."""


def convex(weights: Mapping[str, float]) -> Fusion:
    """Weighted sum of scores normalised by their theoretical minimum (Bruch, Gai & Ingber 2023).

    A cosine becomes (s + 1) / (max + 1), since its minimum is -1; any other score becomes s / max, its minimum being
    0. A passage that a scorer did not find gets 0 from it. `weights` are by scorer name and need not sum to 1.
    """
    if not weights or min(weights.values()) < 0 or not sum(weights.values()) > 0:
        raise ValueError(f"weights are at least 0 and not all 0: {dict(weights)}")

    def fuse(lists: Sequence[Scores], names: Sequence[str]) -> Scores:
        share = [weights.get(name, 0.0) / sum(weights.values()) for name in names]
        return _summed(
            (key, weight * score)
            for scores, name, weight in zip(lists, names, share, strict=True)
            for key, score in _normalised(scores, -1.0 if name == "dense" else 0.0)
        )

    return fuse


def _normalised(scores: Scores, least: float) -> Scores:
    top = max((score for _, score in scores), default=0.0) - least
    return [(key, (score - least) / top if top > 0 else 0.0) for key, score in scores]


def weighted(weights: Mapping[str, float]) -> Fusion:
    """Weighted sum of scores as they are, so that a weak best match stays weak. `weights` are by scorer name.

    A list as long as the longest was cut there: whoever is missing from it scored at most its last score, and gets
    that. From a shorter one, which holds all that its scorer found, it gets 0.
    """
    if not weights or min(weights.values()) < 0 or not sum(weights.values()) > 0:
        raise ValueError(f"weights are at least 0 and not all 0: {dict(weights)}")

    def fuse(lists: Sequence[Scores], names: Sequence[str]) -> Scores:
        share = [weights.get(name, 0.0) for name in names]
        longest = max(map(len, lists), default=0)
        floors = [
            weight * min(score for _, score in scores) if scores and len(scores) == longest else 0.0
            for scores, weight in zip(lists, share, strict=True)
        ]
        above = (
            (key, weight * score - floor)
            for scores, weight, floor in zip(lists, share, floors, strict=True)
            for key, score in scores
        )
        return _summed(above, sum(floors))

    return fuse


def rrf(k: int = 60) -> Fusion:
    """Reciprocal rank fusion (Cormack, Clarke & Büttcher 2009): the sum of 1 / (k + rank)."""

    def fuse(lists: Sequence[Scores], names: Sequence[str]) -> Scores:  # noqa: ARG001
        return _summed((key, 1 / (k + rank)) for scores in lists for rank, (key, _) in enumerate(scores, start=1))

    return fuse


def _summed(scored: Iterable[tuple[Key, float]], least: float = 0.0) -> Scores:
    totals: dict[Key, float] = {}
    for key, score in scored:
        totals[key] = totals.get(key, least) + score
    return sorted(totals.items(), key=lambda item: (-item[1], item[0]))
