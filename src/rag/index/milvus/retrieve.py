"""The Retrievers over Milvus: filters and scores are the engine's, ties and ranks are ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rag.index.dense import is_whole, ranking
from rag.index.milvus.library import MilvusLibrary
from rag.index.milvus.tables import (
    ASKED,
    MOST,
    OWN,
    PASSAGES,
    ROWS,
    SENTENCE,
    TERMS,
    VECTORS,
    among,
    hexed,
    leaves,
    visible,
)
from rag.index.milvus.terms import dimension_of
from rag.index.sparse import lucene_idf, telling
from rag.index.terms import terms
from rag.records import Filters, Question, Ranking, Scores

if TYPE_CHECKING:
    from rag.ports import Encoder, Vectors

_VECTORS_A_PASSAGE = 3
"""How many vectors are asked for each passage that is wanted, to begin with."""
_TIES = 8
"""Rows that are asked beyond those: of passages as good as the last one wanted, the first by id are."""
_TERMS = 100_000
"""Terms of which it is remembered how many passages hold them."""


class MilvusDense:
    """Passages by the cosine of a vector that speaks for them with the question's; the best one counts.

    "dense" asks for passages' own, "sentences" for those of their sentences; questions that a passage is said to answer
    speak for it in both.
    """

    def __init__(self, library: MilvusLibrary, encoder: Encoder, name: Literal["dense", "sentences"] = "dense") -> None:
        self._library, self._encoder = library, encoder
        self.name: str = name
        self._partitions = [SENTENCE if name == "sentences" else OWN, ASKED]

    def retrieve(self, question: Question, k: int) -> Ranking:
        """Scores are cosines, -1..1."""
        return ranking(self._library, self.scores(question, k), self.name)

    def scores(self, question: Question, k: int) -> Scores:
        """As `retrieve`, no passage read."""
        return self.nearest(self._encoder.encode([question.text]), question, k)

    def nearest(self, vector: Vectors, question: Question, k: int) -> Scores:
        """As `scores`, by another vector than the question's own, of shape (1, dimension)."""
        options = {"data": vector.tolist(), "anns_field": "vector", "partition_names": self._partitions}
        return _search(self._library, VECTORS, question.filters, k, k * _VECTORS_A_PASSAGE + _TIES, options)


class MilvusSparse:
    """Passages by BM25 (Robertson & Zaragoza 2009; k1 1.2, b 0.75, Lucene's idf), and how rare terms are."""

    name = "bm25"

    def __init__(self, library: MilvusLibrary) -> None:
        self._library = library
        self._known: dict[str, int] = {}

    def retrieve(self, question: Question, k: int) -> Ranking:
        """Scores are BM25's, above 0; passages that share no term with the question are not found."""
        return ranking(self._library, self.scores(question, k), self.name)

    def scores(self, question: Question, k: int) -> Scores:
        """As `retrieve`, no passage read."""
        asked, of = terms(question.text), len(self._library)
        holding = self._holding(asked)
        wanted = telling(asked, holding.__getitem__, of)
        vector = {dimension_of(t): n * lucene_idf(holding[t], of) for t, n in wanted.items() if holding[t]}
        options = {"data": [vector], "anns_field": "terms"}
        return _search(self._library, PASSAGES, question.filters, k, k + _TIES, options) if vector else ()

    def terms(self, text: str) -> list[str]:
        """Index terms of a text."""
        return terms(text)

    def idf(self, term: str) -> float:
        """Lucene's idf over passages."""
        return lucene_idf(self._holding([term])[term], len(self._library))

    def _holding(self, wanted: Sequence[str]) -> dict[str, int]:
        """How many passages hold each term."""
        known = self._known
        found = {term: known[term] for term in wanted if term in known}
        if new := {hexed(term): term for term in wanted if term not in found}:
            lineage, where = self._library.lineage, visible(self._library.generation)
            found |= dict.fromkeys(new.values(), 0)
            names = list(new)
            for start in range(0, len(names), ROWS):
                rows = lineage.engine.call(
                    "query",
                    lineage.collection(TERMS),
                    filter=f"{where} and {among('name', names[start : start + ROWS])}",
                    output_fields=["name", "passages"],
                )
                found |= {new[row["name"]]: int(row["passages"]) for row in rows}
            self._known = (known if len(known) < _TERMS else {}) | found
        return found


def _search(
    library: MilvusLibrary, table: str, filters: Filters, k: int, asked: int, options: Mapping[str, Any]
) -> Scores:
    """The best k passages by what speaks best for each; more rows than `asked` are asked where those do not suffice."""
    lineage, where = library.lineage, leaves(filters, library.generation)
    while k > 0:
        asked = min(MOST, asked)
        (found,) = lineage.engine.call(
            "search", lineage.collection(table), limit=asked, filter=where, output_fields=["passage"], **options
        )
        best: dict[str, float] = {}
        for hit in sorted(found, key=lambda hit: -hit["distance"]):
            best.setdefault(hit["entity"]["passage"], float(hit["distance"]))
        if len(found) < asked or asked == MOST or is_whole(list(best.values()), found[-1]["distance"], k):
            return sorted(best.items(), key=lambda item: (-item[1], item[0]))[:k]
        asked *= 4
    return ()
