"""Do confidences come true? Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bin:
    """The `n` confidences from `low` to below `high` (the last bin has 1 too): their mean, and how many came true.

    `share` is in 0..1; `low_share` and `high_share` are its 95% interval (Wilson 1927). An empty bin has None.
    """

    low: float
    high: float
    n: int
    mean: float | None = None
    share: float | None = None
    low_share: float | None = None
    high_share: float | None = None


def reliability(confidences: Sequence[float], labels: Sequence[bool], bins: int = 10) -> tuple[Bin, ...]:
    """Bins of equal width over 0..1. Raises ValueError for a confidence outside.

    >>> [(b.n, b.mean, b.share) for b in reliability([0.1, 0.2, 0.9], [False, True, True], bins=2)]
    [(2, 0.15000000000000002, 0.5), (1, 0.9, 1.0)]
    """
    if any(not 0 <= confidence <= 1 for confidence in confidences):
        raise ValueError("a confidence lies in 0..1")
    held: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for confidence, label in zip(confidences, labels, strict=True):
        held[min(int(confidence * bins), bins - 1)].append((confidence, label))
    return tuple(_bin(at / bins, (at + 1) / bins, of) for at, of in enumerate(held))


def _bin(low: float, high: float, held: Sequence[tuple[float, bool]]) -> Bin:
    n = len(held)
    if not n:
        return Bin(low, high, 0)
    true = sum(label for _, label in held)
    return Bin(low, high, n, sum(confidence for confidence, _ in held) / n, true / n, *wilson(true, n))


def wilson(true: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95% score interval of a share of `n`: never outside 0..1, and of use where n is small.

    >>> [round(end, 3) for end in wilson(9, 10)]
    [0.596, 0.982]
    """
    share = true / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)
