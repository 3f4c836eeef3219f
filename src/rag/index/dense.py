"""Vectors in FAISS; the dense Retriever."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import IndexUnusable
from rag.index.store import reading
from rag.records import Hit, Question, Ranking

if TYPE_CHECKING:
    from rag.index.library import IndexLibrary
    from rag.ports import Encoder, Vectors

PASSAGES, SENTENCES = "dense.faiss", "sentences.faiss"
"""A vector of every passage, or of every sentence; in both, of every question that a passage is said to answer."""
FLAT_UP_TO = 90_000
"""Rows that an exact scan answers in 10 ms on one core; above, 8-bit scalars keep a scan within the bandwidth."""


_VECTORS_A_PASSAGE = 3
"""How many vectors are asked for each passage that is wanted, to begin with."""


def write_vectors(vectors: Vectors, rows: Sequence[int], path: Path) -> None:
    """Write one FAISS index of the vectors, by inner product: exact to `FLAT_UP_TO` of them, 8-bit scalars above.

    Vector i belongs to the passage of row `rows[i]`; that is written beside the index. Raises OSError where the file
    cannot be written.
    """
    import faiss

    index = faiss.index_factory(
        vectors.shape[1], "Flat" if len(vectors) <= FLAT_UP_TO else "SQ8", faiss.METRIC_INNER_PRODUCT
    )
    index.train(vectors)
    index.add(vectors)
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise OSError(errno.EIO, f"cannot be written ({error})", str(path)) from error
    np.save(path.with_suffix(".npy"), np.asarray(rows, dtype=np.int64))


class DenseRetriever:
    """Passages by the cosine of their vector with the question's; the best speaks where a passage has several."""

    def __init__(self, path: Path, library: IndexLibrary, encoder: Encoder, name: str = "dense") -> None:
        import faiss

        self._faiss, self._library, self._encoder, self.name = faiss, library, encoder, name
        try:
            self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise IndexUnusable(f"{path} does not load ({error}); build it again with `rag index`") from error
        with reading(path.with_suffix(".npy")):
            rows = np.load(path.with_suffix(".npy"))
        self._rows = None if np.array_equal(rows, np.arange(len(library))) else rows
        found, wanted = (self._index.ntotal, self._index.d), (len(rows), encoder.dimension)
        if found != wanted:
            raise IndexUnusable(f"{path} holds {found} rows and columns, wanted {wanted}; build it with `rag index`")

    def retrieve(self, question: Question, k: int) -> Ranking:
        """Scores are cosines, -1..1."""
        return self.nearest(self._encoder.encode([question.text]), question, k)

    def nearest(self, vector: Vectors, question: Question, k: int) -> Ranking:
        """As `retrieve`, by another vector than the question's own, of shape (1, dimension)."""
        allowed = self._library.select(question.filters)
        if allowed is not None and self._rows is not None:
            allowed = np.flatnonzero(np.isin(self._rows, allowed))
        most = self._index.ntotal if allowed is None else len(allowed)
        if k < 1 or not most:
            return ()
        parameters = None
        if allowed is not None:
            selector = self._faiss.IDSelectorBatch(allowed.astype(np.int64))
            parameters = self._faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        asked = k if self._rows is None else k * _VECTORS_A_PASSAGE
        while True:
            scores, found = self._index.search(vector, min(asked, most), params=parameters)
            best: dict[int, float] = {}
            for at, score in zip(found[0].tolist(), scores[0].tolist(), strict=True):
                if at >= 0:
                    best.setdefault(at if self._rows is None else int(self._rows[at]), score)
            if len(best) >= k or asked >= most:
                return ranking(self._library, list(best.items()), self.name)[:k]
            asked *= 4


def ranking(library: IndexLibrary, scored: object, name: str) -> Ranking:
    """(row, score) pairs -> Ranking, ties by row, which is the order of passage ids."""
    best = sorted(((row, score) for row, score in scored if row >= 0), key=lambda pair: (-pair[1], pair[0]))  # type: ignore[attr-defined]
    return tuple(
        Hit(passage=library.passage(row), score=score, rank=rank, found_by=(name,))
        for rank, (row, score) in enumerate(best, start=1)
    )
