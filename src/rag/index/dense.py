"""Vectors in FAISS; the dense Retriever."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import IndexUnusable
from rag.records import Hit, Question, Ranking

if TYPE_CHECKING:
    from rag.index.library import IndexLibrary
    from rag.ports import Encoder, Vectors

FILE = "dense.faiss"
FLAT_UP_TO = 90_000
"""Rows that an exact scan answers in 10 ms on one core; above, 8-bit scalars keep a scan within the bandwidth."""


def write_vectors(vectors: Vectors, path: Path) -> None:
    """Write one FAISS index of the rows, by inner product: exact to `FLAT_UP_TO` rows, 8-bit scalars above.

    Raises OSError where the file cannot be written.
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


class DenseRetriever:
    """Passages by the cosine of their vector with the question's."""

    name = "dense"

    def __init__(self, path: Path, library: IndexLibrary, encoder: Encoder) -> None:
        import faiss

        self._faiss, self._library, self._encoder = faiss, library, encoder
        try:
            self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise IndexUnusable(f"{path} does not load ({error}); build it again with `rag index`") from error
        found, wanted = (self._index.ntotal, self._index.d), (len(library), encoder.dimension)
        if found != wanted:
            raise IndexUnusable(f"{path} holds {found} rows and columns, wanted {wanted}; build it with `rag index`")

    def retrieve(self, question: Question, k: int) -> Ranking:
        """Scores are cosines, -1..1."""
        rows = self._library.select(question.filters)
        k = min(k, len(self._library) if rows is None else len(rows))
        if k < 1:
            return ()
        vector = self._encoder.encode([question.text])
        if rows is None:
            scores, found = self._index.search(vector, k)
        else:
            selector = self._faiss.IDSelectorBatch(rows.astype(np.int64))
            parameters = self._faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
            scores, found = self._index.search(vector, k, params=parameters)
        return ranking(self._library, zip(found[0].tolist(), scores[0].tolist(), strict=True), self.name)


def ranking(library: IndexLibrary, scored: object, name: str) -> Ranking:
    """(row, score) pairs -> Ranking, ties by row, which is the order of passage ids."""
    best = sorted(((row, score) for row, score in scored if row >= 0), key=lambda pair: (-pair[1], pair[0]))  # type: ignore[attr-defined]
    return tuple(
        Hit(passage=library.passage(row), score=score, rank=rank, found_by=(name,))
        for rank, (row, score) in enumerate(best, start=1)
    )
