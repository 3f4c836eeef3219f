"""How vectors are kept: every kind finds what an exact scan finds, and leaves out what a filter leaves out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rag.index import dense
from rag.index.dense import PASSAGES, DenseRetriever, Kind, write_vectors
from rag.index.library import IndexLibrary, write_library
from rag.records import Filters, IndexInfo, Passage, Question

if TYPE_CHECKING:
    import faiss

    from rag.ports import Vectors

ROWS, DIMENSION, K = 6_000, 32, 10
KINDS = ("pq", "ivf")
FILTERS = (
    Filters(),
    Filters(kinds=("review",)),
    Filters(topics=("Rare",)),
    Filters(episodes=("E007", "E008")),
    Filters(since="2026-02-01", until="2026-02-10"),
    Filters(kinds=("review",), since="2026-06-01"),
)


class Numbered:
    """An encoder whose texts are the numbers of vectors."""

    name, dimension = "numbered", DIMENSION

    def __init__(self, vectors: "Vectors") -> None:
        self.vectors = vectors

    def encode(self, texts: Sequence[str]) -> "Vectors":
        found: Vectors = self.vectors[[int(text) for text in texts]]
        return found


def unit(rows: np.ndarray) -> "Vectors":
    found: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def vectors() -> "Vectors":
    random = np.random.default_rng(0)
    centres = random.standard_normal((60, DIMENSION))
    return unit(centres[random.integers(0, 60, ROWS)] + 0.7 * random.standard_normal((ROWS, DIMENSION)))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> IndexLibrary:
    folder = tmp_path_factory.mktemp("library")
    passages = [
        Passage(
            f"d/{row:05d}:0", f"d/{row:05d}", "text", 0, 4, (f"E{row % 100:03d}",),
            kind=("review", "episode", "concept")[row % 3],
            topics=("Rare",) if row % 150 == 0 else ("Common", "Other"),
            date=f"2026-{row % 12 + 1:02d}-{row % 28 + 1:02d}" if row % 5 else None,
        )
        for row in range(ROWS)
    ]  # fmt: skip
    write_library([], reversed(passages), folder)
    return IndexLibrary(folder, IndexInfo("g", ROWS, "numbered"))


def retriever(kind: Kind, vectors: "Vectors", library: IndexLibrary, folder: Path, asked: "Vectors") -> DenseRetriever:
    write_vectors(vectors, range(ROWS), folder / PASSAGES, kind=kind)
    return DenseRetriever(folder / PASSAGES, library, Numbered(asked), vectors=vectors)


def leaves(filters: Filters, passage: Passage) -> bool:
    """What a filter says, from its own words."""
    date = passage.date or ""
    return (
        (not filters.kinds or passage.kind in filters.kinds)
        and (
            not filters.topics or bool({t.casefold() for t in filters.topics} & {t.casefold() for t in passage.topics})
        )
        and (not filters.episodes or bool({*filters.episodes} & {*passage.episodes}))
        and (not filters.since or date >= filters.since)
        and (not filters.until or ("" < date <= filters.until))
    )


@pytest.mark.parametrize("filters", FILTERS)
def test_a_filter_leaves_what_it_says(library: IndexLibrary, filters: Filters) -> None:
    rows = library.select(filters)
    wanted = [row for row in range(ROWS) if leaves(filters, library.passage(row))]
    assert (list(range(ROWS)) if rows is None else rows.tolist()) == wanted
    assert wanted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("exact_up_to", [0, ROWS])
def test_every_kind_finds_the_exact_best_under_every_filter(
    kind: Kind,
    exact_up_to: int,
    vectors: "Vectors",
    library: IndexLibrary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dense, "EXACT_UP_TO", exact_up_to)
    asked = unit(vectors[::200] + 0.05)
    kept = retriever(kind, vectors, library, tmp_path, asked)
    found = wanted = 0
    for filters in FILTERS:
        rows = np.array([row for row in range(ROWS) if leaves(filters, library.passage(row))])
        exact = vectors[rows] @ asked.T
        for number in range(len(asked)):
            hits = kept.retrieve(Question(str(number), filters), K)
            best = rows[np.argsort(-exact[:, number], kind="stable")[:K]].tolist()
            assert len(hits) == min(K, len(rows))
            assert all(leaves(filters, hit.passage) for hit in hits)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            cosine = {row: float(vectors[row] @ asked[number]) for row in best}
            assert hits[0].score == pytest.approx(cosine[best[0]], abs=1e-5)
            found += len({int(hit.passage.document[2:]) for hit in hits} & {*best})
            wanted += len(best)
    assert found >= 0.98 * wanted


def test_a_filter_widens_an_inverted_file_by_as_much_as_it_leaves_out_near_the_question(
    vectors: "Vectors", library: IndexLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter that leaves one in three looks through some three times as many lists, one in 150 through all."""
    monkeypatch.setattr(dense, "PROBES", 4)
    monkeypatch.setattr(dense, "EXACT_UP_TO", 0)
    asked = unit(vectors[::200] + 0.05)
    kept = retriever("ivf", vectors, library, tmp_path, asked)
    lists, probed = kept._index.nlist, []
    search = type(kept._index).search

    def spy(self: object, *arguments: object, params: "faiss.SearchParametersIVF", **more: object) -> object:
        probed.append(params.nprobe)
        return search(self, *arguments, params=params, **more)

    monkeypatch.setattr(type(kept._index), "search", spy)
    for filters, least, most in (
        (Filters(), 4, 4),
        (Filters(kinds=("review",)), 6, 30),
        (Filters(topics=("Rare",)), lists, lists),
    ):
        probed.clear()
        for number in range(len(asked)):
            kept.retrieve(Question(str(number), filters), K)
        assert least <= np.median(probed) <= most


def test_kinds_answer_as_one_where_a_passage_has_several_vectors(
    vectors: "Vectors", library: IndexLibrary, tmp_path: Path
) -> None:
    rows = np.arange(ROWS) // 3
    answers = []
    for kind in ("flat", *KINDS):
        path = tmp_path / kind / PASSAGES
        path.parent.mkdir()
        write_vectors(vectors, rows, path, kind=kind)  # type: ignore[arg-type]
        kept = DenseRetriever(path, library, Numbered(vectors), vectors=vectors)
        hits = kept.retrieve(Question("17", Filters(kinds=("review",))), K)
        assert len({hit.passage.id for hit in hits}) == K
        answers.append([hit.passage.id for hit in hits])
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("kind", ["flat", *KINDS])
def test_of_passages_that_are_equally_near_the_first_by_id_are_found(
    kind: Kind, vectors: "Vectors", library: IndexLibrary, tmp_path: Path
) -> None:
    alike, better = vectors.copy(), range(3000, 3003)
    alike[1000:1100] = vectors[1000]
    alike[better] = asked = unit(vectors[[1000]] + 0.05)
    for k in (4, 50):
        hits = retriever(kind, alike, library, tmp_path, asked).retrieve(Question("0"), k)
        wanted = [*better, *range(1000, 1000 + k - len(better))]
        assert [hit.passage.document for hit in hits] == [f"d/{row:05d}" for row in wanted]


def test_a_ranking_of_another_kind_is_the_same_passage_record(library: IndexLibrary) -> None:
    passage = library.passage(4)
    assert library.neighbours(passage) == []
    assert library.neighbours(replace(passage, id="of another index")) == []
