"""Vectors in FAISS; the dense Retriever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rag.errors import IndexUnusable
from rag.index.store import reading
from rag.records import Filters, Hit, Question, Ranking, Scores

if TYPE_CHECKING:
    from rag.index.library import IndexLibrary
    from rag.ports import Encoder, Library, Vectors

PASSAGES, SENTENCES = "dense.faiss", "sentences.faiss"
"""A vector of every passage, or of every sentence; in both, of every question that a passage is said to answer."""

Kind = Literal["auto", "flat", "pq", "ivf"]
FLAT_UP_TO, PQ_UP_TO = 10_000, 300_000
"""Rows that a scan of whole vectors, and one of their codes, go through in 2 to 4 ms on one core: see
`benchmarks/scale.py`.
"""
PROBES = 32
"""How many of an inverted file's lists are looked through, where nothing is filtered; else, as many as hold what these
would.
"""
EXACT_UP_TO = 4_000
"""Rows that a filter leaves which are compared one by one."""
_REFINED, _FEWEST_REFINED = 2, 256
"""Vectors that are compared whole for each that is wanted, and at least, where what is searched are codes: of 48,000
sentences the 300 best are then the exact ones but for 1 in 120, the ten best always; unrefined for 1 in 7.
"""
_LISTS_A_ROOT = 1
"""Lists of an inverted file for each in the square root of its rows; as a power of two."""
_TRAINED_ON = 40
"""Vectors for each list that its centre is found from: faiss warns below 39."""
_FEWEST_TRAINED = 16
"""A code tells 16 centres apart, which are not found from fewer vectors."""
_CHUNK = 50_000
_VECTORS_A_PASSAGE = 3
"""How many vectors are asked for each passage that is wanted, to begin with."""
_TIES = 8
"""Vectors that are asked beyond those: of passages as good as the last one wanted, the first by id are."""


def kind_for(rows: int) -> Kind:
    """How so many vectors are searched: whole, by their codes, or by those in an inverted file.

    >>> kind_for(1_000), kind_for(150_000), kind_for(1_000_000)
    ('flat', 'pq', 'ivf')
    """
    return "flat" if rows <= FLAT_UP_TO else "pq" if rows <= PQ_UP_TO else "ivf"


def write_vectors(
    vectors: Vectors, rows: Sequence[int] | np.ndarray, path: Path, at: np.ndarray | None = None, kind: Kind = "auto"
) -> None:
    """Write one FAISS index, by inner product, of `vectors[at]`; "auto" chooses its kind by their number.

    A code is 4 bits for each two dimensions, looked up in registers (product quantisation, Jégou et al. 2011; fast
    scan, André et al. 2015): a sixteenth of the vector. `at` is all of them where it is None. Vector i belongs to the
    passage of row `rows[i]`; that is written beside the index, with `at`. Memory holds the index and some thousand
    vectors. Raises OSError where a file cannot be written.
    """
    import faiss

    links = np.array([rows, range(len(rows)) if at is None else at], dtype=np.int64)
    of = links[1]
    if kind == "auto":
        kind = kind_for(len(of))
    if kind == "flat" or len(of) < _FEWEST_TRAINED:
        index: Any = faiss.IndexFlatIP(vectors.shape[1])
    else:
        index = _coded(vectors, of, kind)
    for start in range(0, len(of), _CHUNK):
        index.add(np.asarray(vectors[of[start : start + _CHUNK]]))
    with path.open("wb") as file:  # faiss's own writer says nothing of a disk that is full at the last
        file.write(faiss.serialize_index(index).data)
    np.save(path.with_suffix(".npy"), links)


def _coded(vectors: Vectors, of: np.ndarray, kind: Kind) -> Any:
    """An index of codes, trained on `vectors[of]` and empty. One list is a scan of all that heeds a filter."""
    import faiss

    most = max(1, len(of) // _TRAINED_ON)
    lists = 1 if kind == "pq" else min(2 ** round(np.log2(_LISTS_A_ROOT * len(of) ** 0.5)), most)
    dimension = vectors.shape[1]
    codes = dimension // (1 if dimension % 2 else 2)
    index: Any = faiss.index_factory(dimension, f"IVF{lists},PQ{codes}x4fs", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 8
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
    sample = np.linspace(0, len(of) - 1, min(len(of), max(_CHUNK, _TRAINED_ON * lists))).astype(np.int64)
    index.train(np.asarray(vectors[of[sample]]))
    return index


class DenseRetriever:
    """Passages by the cosine of their vector with the question's; the best speaks where a passage has several.

    `vectors` are what the index was written from: where it keeps codes, what it finds is compared once more with
    those. Then the ten best of a million are the exact ones but for one in a hundred (`benchmarks/scale.py`).
    """

    def __init__(
        self,
        path: Path,
        library: IndexLibrary,
        encoder: Encoder,
        name: str = "dense",
        vectors: Vectors | None = None,
    ) -> None:
        import faiss

        self._library, self._encoder, self.name = library, encoder, name
        self._faiss: Any = faiss
        try:
            self._index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise IndexUnusable(f"{path} does not load ({error}); mend it with `rag index --rebuild`") from error
        with reading(path.with_suffix(".npy")):
            rows, self._at = np.load(path.with_suffix(".npy"), mmap_mode="r")
        self._rows = None if np.array_equal(rows, np.arange(len(library))) else rows
        found, wanted = (self._index.ntotal, self._index.d), (len(rows), encoder.dimension)
        if found != wanted:
            raise IndexUnusable(
                f"{path} holds {found} rows and columns, wanted {wanted}; mend it with `rag index --rebuild`"
            )
        self._lists = getattr(self._index, "nlist", 0)
        whole = isinstance(self._index, faiss.IndexFlat)
        self._vectors = None if whole or vectors is None else np.asarray(vectors)  # rows of a memmap cost more
        self._allowed = lru_cache(maxsize=16)(self._read_allowed)

    def retrieve(self, question: Question, k: int) -> Ranking:
        """Scores are cosines, -1..1."""
        return ranking(self._library, self.scores(question, k), self.name)

    def scores(self, question: Question, k: int) -> Scores:
        """As `retrieve`, no passage read."""
        return self.nearest(self._encoder.encode([question.text]), question, k)

    def nearest(self, vector: Vectors, question: Question, k: int) -> Scores:
        """As `scores`, by another vector than the question's own, of shape (1, dimension)."""
        allowed = self._allowed(question.filters) if question.filters else None
        most = self._index.ntotal if allowed is None else len(allowed.rows)
        if k < 1 or not most:
            return ()
        asked = _TIES + (k if self._rows is None else k * _VECTORS_A_PASSAGE)
        while True:
            found, cosines = self._search(vector, min(asked, most), most, allowed)
            rows, best = found, cosines
            if self._rows is not None:
                rows, first = np.unique(self._rows[found], return_index=True)  # the first of a passage is its best
                best = cosines[first]
            order = np.lexsort((rows, -best))[:k]
            scores = best[order].tolist()
            if asked >= most or is_whole(scores, float(cosines[-1]), k):
                return list(zip(rows[order].tolist(), scores, strict=True))
            asked *= 4

    def _search(self, vector: Vectors, k: int, most: int, allowed: _Allowed | None) -> tuple[np.ndarray, Vectors]:
        """The k nearest of `most` and their cosines, best first, each of shape (k,) or less."""
        if self._vectors is not None and allowed is not None and len(allowed.rows) <= EXACT_UP_TO:
            found = allowed.rows
        else:
            selector = None if allowed is None else allowed.selector
            probes = min(self._lists, PROBES) if allowed is None else self._probes(vector, allowed)
            wanted = k
            if self._vectors is not None:  # what the codes put a little too low is among some more
                wanted = min(most, max(k * _REFINED, _FEWEST_REFINED))
            while True:
                parameters = None
                if self._lists:
                    parameters = self._faiss.SearchParametersIVF(nprobe=probes, sel=selector)
                elif selector is not None:
                    parameters = self._faiss.SearchParameters(sel=selector)
                scores, rows = self._index.search(vector, wanted, params=parameters)
                found, exact = rows[0][rows[0] >= 0], scores[0][rows[0] >= 0]
                if len(found) == wanted or probes >= self._lists:
                    break
                probes = min(self._lists, probes * 4)
            if self._vectors is None:
                return found, exact
        exact = self._vectors[self._at[found]] @ vector[0]
        order = np.lexsort((found, -exact))[:k]
        return found[order], exact[order]

    def _probes(self, vector: Vectors, allowed: _Allowed) -> int:
        """How many of the lists nearest to a vector hold as many allowed vectors as those of an unfiltered search do.

        What a filter leaves may lie far from the question: a fixed number of lists could hold next to none of it.
        """
        if self._lists <= PROBES:
            return int(self._lists)
        _, nearest = self._faiss.downcast_index(self._index.quantizer).search(vector, self._lists)
        held = np.cumsum(allowed.in_list[nearest[0]])
        return min(self._lists, 1 + int(np.searchsorted(held, PROBES / self._lists * self._index.ntotal)))

    def _read_allowed(self, filters: Filters) -> _Allowed:
        rows = self._library.select(filters)
        keep = np.zeros(len(self._library), dtype=bool)
        keep[rows] = True
        if self._rows is not None:
            keep = keep[self._rows]
        selector = self._faiss.IDSelectorBitmap(np.packbits(keep, bitorder="little"))
        return _Allowed(np.flatnonzero(keep), selector, np.array([keep[ids].sum() for ids in self._ids()]))

    def _ids(self) -> Iterator[np.ndarray]:
        """The vectors of each list of an inverted file that has several; none of another index."""
        for at in range(self._lists if self._lists > 1 else 0):
            lists = self._index.invlists
            size = lists.list_size(at)
            yield self._faiss.rev_swig_ptr(lists.get_ids(at), size) if size else np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Allowed:
    """What a filter leaves: the vectors, what tells FAISS, and how many are in each list of an inverted file."""

    rows: np.ndarray
    selector: Any
    in_list: np.ndarray


def is_whole(best: Sequence[float], last: float, k: int) -> bool:
    """Whether k passages were found, and all as good as the k-th; scores are best first, `last` the least seen.

    >>> is_whole([0.9, 0.8, 0.8, 0.7], 0.7, 2), is_whole([0.9, 0.8, 0.8], 0.8, 2)
    (True, False)
    """
    return len(best) >= k and last < best[k - 1]


def ranking(library: Library, scores: Scores, name: str) -> Ranking:
    """Scores -> Ranking, each passage read."""
    passages = library.passages([key for key, _ in scores])
    return tuple(
        Hit(passage, score, rank, (name,))
        for rank, (passage, (_, score)) in enumerate(zip(passages, scores, strict=True), start=1)
    )
