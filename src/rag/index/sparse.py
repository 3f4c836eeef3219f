"""Terms in BM25; the sparse Retrievers, and what they know of terms."""

from __future__ import annotations

import contextlib
import errno
import math
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.errors import IndexUnusable
from rag.index.dense import ranking
from rag.index.terms import terms
from rag.records import Filters, Passage, Question, Ranking, Scores

if TYPE_CHECKING:
    from rag.index.library import IndexLibrary

FOLDER = "bm25"
_EVERYWHERE, _FEW = 0.3, 10_000
"""The share of passages beyond which a term is not looked for, unless they are few. What a question costs grows with
the passages that hold its terms, and such a term weighs 1.2 at most, where one of a passage in a thousand weighs 6.9:
without it no nDCG@10 differed by more than 0.0005 (SciFact, Cranfield, our own questions)."""
_LOOKED_THROUGH = 2_000
"""How many passages of any kind are looked through for those that a filter leaves."""


def _schema() -> Any:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("terms", tokenizer_name="whitespace", index_option="freq")  # our terms, already cut
    for name in ("kind", "topic", "episode", "date"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")  # to be filtered by
    builder.add_unsigned_field("number", fast=True)  # to be read back
    return builder.build()


def write_terms(passages: Iterable[Passage], text: Callable[[Passage], str], folder: Path) -> None:
    """Write a tantivy index whose document i holds the terms of what `text` gives for passage i.

    Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True)
    try:
        _write(passages, text, folder)
    except ValueError as error:  # what tantivy makes of a full disk
        raise OSError(errno.EIO, f"cannot be written ({error})", str(folder)) from error


def _write(passages: Iterable[Passage], text: Callable[[Passage], str], folder: Path) -> None:
    import tantivy

    index = tantivy.Index(_schema(), path=str(folder))
    writer = index.writer(heap_size=128_000_000, num_threads=1)  # one thread keeps documents in row order
    for row, passage in enumerate(passages):
        document = tantivy.Document()
        document.add_text("terms", " ".join(terms(text(passage))))
        document.add_text("kind", passage.kind)
        if passage.date:
            document.add_text("date", passage.date)
        for topic in passage.topics:
            document.add_text("topic", topic.casefold())
        for episode in passage.episodes:
            document.add_text("episode", episode)
        document.add_unsigned("number", row)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()


def _opened(folder: Path) -> tuple[Any, Any]:
    """An index, and what searches it: it has every file mapped."""
    import tantivy

    index = tantivy.Index.open(str(folder))
    return index, index.searcher()


def _opened_unwritten(folder: Path) -> tuple[Any, Any]:
    """The same of an index that only reading is allowed of: tantivy writes a lock beside it, here beside links to it.

    They are needed for as long as opening takes, so a server that is killed leaves none.
    """
    links = Path(tempfile.mkdtemp(prefix="rag-"))
    try:
        for path in folder.iterdir():
            if not path.name.startswith("."):
                (links / path.name).symlink_to(path.resolve())
        return _opened(links)
    finally:
        _remove(links)


def _remove(folder: Path) -> None:
    """Remove a folder that tantivy opened: a thread of its own looks at it once more, and may leave its lock there."""
    for pause in (0, 0.01, 0.1, 1):
        time.sleep(pause)
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
            break


class TantivyRetriever:
    """Passages by BM25 (Robertson & Zaragoza 2009; k1 1.2, b 0.75, Lucene's idf and one-byte lengths)."""

    name = "bm25"

    def __init__(self, folder: Path, library: IndexLibrary) -> None:
        import tantivy

        self._tantivy, self._library, self._folder = tantivy, library, folder
        self._allowed = lru_cache(maxsize=16)(self._read_allowed)
        try:
            try:
                self._index, self._searcher = _opened(folder)
            except ValueError as error:
                if "Lockfile" not in str(error):
                    raise
                self._index, self._searcher = _opened_unwritten(folder)
        except Exception as error:  # tantivy raises ValueError, OSError and its own
            raise IndexUnusable(f"{folder} does not load ({error}); mend it with `rag index --rebuild`") from error
        if self._searcher.num_docs != len(library):
            found, wanted = self._searcher.num_docs, len(library)
            raise IndexUnusable(f"{folder} holds {found} passages, wanted {wanted}; mend it with `rag index --rebuild`")

    def retrieve(self, question: Question, k: int) -> Ranking:
        """Scores are BM25's, above 0; passages that share no term with the question are not found."""
        return ranking(self._library, self.scores(question, k), self.name)

    def scores(self, question: Question, k: int) -> Scores:
        """As `retrieve`, no passage read."""
        tantivy, searcher, rows = self._tantivy, self._searcher, self._library.select(question.filters)
        wanted = telling(terms(question.text), lambda term: int(searcher.doc_freq("terms", term)), searcher.num_docs)
        if not wanted or k < 1 or (rows is not None and not len(rows)):
            return ()
        clauses = [
            (tantivy.Occur.Should, tantivy.Query.boost_query(query, float(count)) if count > 1 else query)
            for term, count in wanted.items()
            for query in [tantivy.Query.term_query(self._index.schema, "terms", term, index_option="freq")]
        ]
        query = tantivy.Query.boolean_query(clauses)
        if rows is None:
            found = self._found(query, k)
        else:
            allowed = self._allowed(question.filters)
            # The engine skips what cannot be among the best, but not beside a filter; so a wide one is looked through.
            more = min(len(allowed), 2 * k * len(allowed) // len(rows))
            unfiltered = self._found(query, more) if more <= _LOOKED_THROUGH else []
            found = [(row, score) for row, score in unfiltered if allowed[row]][:k]
            if len(found) < k and (not unfiltered or len(unfiltered) == more):
                found = self._found(
                    tantivy.Query.boolean_query([(tantivy.Occur.Must, query), *self._musts(question.filters)]), k
                )
        return sorted(found, key=lambda item: (-item[1], item[0]))

    def _read_allowed(self, filters: Filters) -> np.ndarray:
        """Whether the filters leave a row, for each; shape (number of passages,)."""
        allowed = np.zeros(len(self._library), dtype=bool)
        allowed[self._library.select(filters)] = True
        return allowed

    def _found(self, query: Any, k: int) -> list[tuple[int, float]]:
        try:
            hits = self._searcher.search(query, limit=k, count=False).hits
            numbers = self._searcher.fast_field_values("number", [address for _, address in hits])
            if None in numbers:
                raise ValueError("a passage without its number")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # tantivy's panics, over files damaged since they were opened, are no Exception
            raise IndexUnusable(
                f"{self._folder} cannot be read ({type(error).__name__}: {error}); mend it with `rag index --rebuild`"
            ) from error
        return list(zip(numbers, (score for score, _ in hits), strict=True))

    def _musts(self, filters: Filters) -> list[tuple[Any, Any]]:
        tantivy = self._tantivy
        dated = filters.since or filters.until
        fields = {
            "kind": filters.kinds,
            "topic": tuple(t.casefold() for t in filters.topics),
            "episode": filters.episodes,
            "date": self._library.days(filters) if dated else (),
        }
        return [
            (tantivy.Occur.Must, tantivy.Query.const_score_query(query, 0.0))
            for name, of in fields.items()
            if of
            for query in [tantivy.Query.term_set_query(self._index.schema, name, list(of))]
        ]

    def terms(self, text: str) -> list[str]:
        """Index terms of a text."""
        return terms(text)

    def idf(self, term: str) -> float:
        """Lucene's idf over passages."""
        return lucene_idf(self._searcher.doc_freq("terms", term), self._searcher.num_docs)


def telling(terms: Iterable[str], holding: Callable[[str], int], of: int) -> Counter[str]:
    """How often each term is wanted, without those that 3 in 10 of many passages hold, unless all are such.

    `holding` gives how many passages hold a term.
    """
    wanted = Counter(terms)
    most = max(_FEW, _EVERYWHERE * of)
    return Counter({term: count for term, count in wanted.items() if holding(term) <= most}) or wanted


def lucene_idf(holding: int, of: int) -> float:
    """ln(1 + (N - n + 0.5) / (n + 0.5)).

    >>> round(lucene_idf(1, 100), 3), round(lucene_idf(100, 100), 3)
    (4.21, 0.005)
    """
    return math.log(1 + (of - holding + 0.5) / (holding + 0.5))


class RankBM25Retriever:
    """Passages by rank-bm25's BM25Okapi: reads every passage at the start and scores each one at every question."""

    name = "rank-bm25"

    def __init__(self, texts: Iterable[str], library: IndexLibrary) -> None:
        from rank_bm25 import BM25Okapi

        cut = [terms(text) for text in texts]
        self._library = library
        self._holding = Counter(term for document in cut for term in set(document))
        # BM25Okapi divides by the number of terms; a corpus without any has nothing to find.
        self._bm25 = BM25Okapi(cut, k1=1.2, b=0.75) if any(cut) else None

    def retrieve(self, question: Question, k: int) -> Ranking:
        """Scores are BM25Okapi's; only passages that share a term with the question are found."""
        return ranking(self._library, self.scores(question, k), self.name)

    def scores(self, question: Question, k: int) -> Scores:
        """As `retrieve`, no passage read."""
        wanted = terms(question.text)
        if self._bm25 is None or not wanted or k < 1:
            return ()
        scores = self._bm25.get_scores(wanted)
        shared = np.fromiter((any(t in seen for t in wanted) for seen in self._bm25.doc_freqs), bool, len(scores))
        rows = self._library.select(question.filters)
        if rows is not None:
            allowed = np.zeros(len(scores), dtype=bool)
            allowed[rows] = True
            shared &= allowed
        found = np.flatnonzero(shared)
        best = found[np.lexsort((found, -scores[found]))][:k]
        return list(zip(best.tolist(), scores[best].tolist(), strict=True))

    def terms(self, text: str) -> list[str]:
        """Index terms of a text."""
        return terms(text)

    def idf(self, term: str) -> float:
        """Lucene's idf over passages."""
        return lucene_idf(self._holding[term], len(self._library))
