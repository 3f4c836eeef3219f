"""Vectors -> places in the plane, for a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag.index.vectors import Gathered
    from rag.ports import Vectors

    Places = NDArray[np.float32]

TSNE, PCA = "t-SNE", "PCA"
MOST = 4_000
"""How many passages get a place, so that a build's time stays bounded."""
FEWEST = 5
"""Below, PCA: t-SNE weighs neighbours against the rest, and there is no rest."""
PERPLEXITY = 15.0
EXAGGERATION = 4.0
_START, _KEPT = 1e-4, 10.0
"""The standard deviation of where t-SNE begins: of a new map, next to nothing; of one to be kept, about its own."""
_NEAREST = 5
_SAME = 1e-5
"""Vectors within this are one; float32 tells no more."""


def spread(n: int) -> np.ndarray:
    """Which of n rows get a place: at most `MOST`, evenly spaced."""
    return np.linspace(0, n - 1, min(n, MOST)).round().astype(np.int64)


def place(vectors: Vectors | Gathered, before: Places | None = None) -> tuple[Places, str]:
    """Where each vector lies in the plane, near to what means nearly the same; and by which method.

    `vectors` has shape (n, dimension), float32, rows of length 1. The places have shape (n, 2), float32, in 0..1: the
    longer side of the map spans it and the other is centred. At most `MOST` rows, evenly spaced, have one; the rest
    are NaN. The same vectors give the same places, on one machine bit for bit.

    The method is t-SNE (van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 9, 2008), begun from the
    principal components; those alone ("PCA") where scikit-learn is not installed, and for fewer than `FEWEST` rows or
    rows that are all the same. Perplexity 15 and early exaggeration 4 were chosen on our 343 passages, by eye and by
    how many of a place's ten nearest in other documents share a topic with it: 0.58, against 0.54 with scikit-learn's
    30 and 12, and 0.22 by PCA. More perplexity spreads topics into each other. Less shares as much (0.59 at 5 or 8)
    and tears topics into islets of a document or two. The 50 first principal components gain nothing over the vectors.

    `before` are places by t-SNE of the same rows, NaN where there is none, shape (n, 2). Where at least half of the
    rows that get a place have one, the map begins from those and stays recognisable.
    """
    n = len(vectors)
    rows = spread(n)
    chosen = np.asarray(vectors[rows], dtype=np.float32)
    found, method = _components(chosen), PCA
    if n >= FEWEST and np.ptp(found, axis=0).max() > _SAME:
        start = None if before is None else _kept(chosen, before[rows])
        moved = _tsne(chosen, found, start)
        if moved is not None:
            found, method = moved, TSNE
    places = np.full((n, 2), np.nan, dtype=np.float32)
    places[rows] = _scaled(found)
    return places, method


def _tsne(vectors: Vectors, components: np.ndarray, kept: np.ndarray | None) -> np.ndarray | None:
    """Places by t-SNE, on one thread, whose sums have one order; None where scikit-learn is not installed."""
    try:
        from sklearn import manifold
        from threadpoolctl import threadpool_limits
    except ImportError:
        return None
    # Exaggeration pulls groups together from a point; a map that has its groups would only be torn up by it.
    start, scale, exaggeration = (components, _START, EXAGGERATION) if kept is None else (kept, _KEPT, 1.0)
    with threadpool_limits(1):
        places: np.ndarray = manifold.TSNE(
            init=(start / start[:, 0].std() * scale).astype(np.float32),
            random_state=0,
            perplexity=min(PERPLEXITY, (len(vectors) - 1) / 3),
            early_exaggeration=exaggeration,
        ).fit_transform(vectors)
    return places


def _kept(vectors: Vectors, before: Places) -> np.ndarray | None:
    """The places before, a new row amid its nearest known; None where fewer than half are known, or lie in a line."""
    known = np.isfinite(before).all(axis=1)
    if 2 * known.sum() < len(vectors) or np.ptp(before[known], axis=0).min() <= _SAME:
        return None
    start = before.astype(np.float64)
    nearest = np.argsort(-(vectors[~known] @ vectors[known].T), axis=1, kind="stable")[:, :_NEAREST]
    start[~known] = start[known][nearest].mean(axis=1)
    start -= start.mean(axis=0)
    return start


def _components(vectors: Vectors) -> np.ndarray:
    """The two first principal components, shape (n, 2), float64; a component's largest weight is positive."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    places = np.zeros((len(vectors), 2))
    places[:, : len(axes)] = centred @ (axes * np.sign(largest)).T
    return places


def _scaled(places: np.ndarray) -> Places:
    """Into 0..1: the longer side spans it, the other is centred; what is all in one place lies in the middle."""
    low, high = places.min(axis=0), places.max(axis=0)
    side = float((high - low).max())
    if side <= _SAME:
        return np.full(places.shape, 0.5, dtype=np.float32)
    scaled: Places = np.clip((places - (low + high) / 2) / side + 0.5, 0, 1).astype(np.float32)
    return scaled
