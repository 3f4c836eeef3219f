"""What a question names, fusion, and retrievers made of retrievers."""

import itertools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fakes import Rarity
from rag.errors import QuestionError
from rag.ports import Scorer
from rag.records import Hit, Key, Passage, Question, Ranking, Scores
from rag.search.compose import Feedback, Hybrid, Neighbourly, Tempered
from rag.search.fuse import Fusion, convex, rrf, weighted
from rag.search.query import MAX_CHARS, understand

KNOWN = ["E005", "E009", "E026"]


def ranked(*ids: str) -> Scores:
    return [(id, 1 / rank) for rank, id in enumerate(ids, start=1)]


def passage_of(id: Key) -> Passage:
    return Passage(str(id), "d", str(id), 0, 1)


class Shelf:
    """A library of passages that are their own keys; `read` is those that were asked for."""

    def __init__(self) -> None:
        self.read: list[Key] = []

    def passages(self, keys: Sequence[Key]) -> Sequence[Passage]:
        self.read += keys
        return list(map(passage_of, keys))

    def neighbours(self, passage: Passage, n: int = 1) -> Sequence[Passage]:
        return [p for p in map(passage_of, "abcd") if abs(ord(p.id) - ord(passage.id)) == 1]


def hybrid_of(scorers: Sequence[Scorer], fusion: Fusion, shelf: Shelf | None = None, depth: int = 100) -> Hybrid:
    return Hybrid(scorers, fusion, shelf or Shelf(), depth)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["what does e26 say", "E26?", "in E026", "episode 26", "ep. #26 cost", "e026's cost"])
def test_every_spelling_names_one_episode(text: str) -> None:
    assert understand(text, KNOWN).named == ("E026",)
    assert understand(text, KNOWN).filters.episodes == ("E026",)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("compare episodes 9, 26 and E5", ("E009", "E026", "E005")),
        ("episodes 5-26", ("E005", "E009", "E026")),
        ("E26–27?", ("E026", "E027")),
        ("E009E026", ("E009", "E026")),
        ("what does e9 say", ("E009",)),
    ],
)
def test_several_may_be_named(text: str, named: tuple[str, ...]) -> None:
    assert understand(text, KNOWN).named == named


@pytest.mark.parametrize(
    ("known", "text", "named"),
    [
        (["S01E05", "S02E05"], "what does s01e05 say, and episode 5", ("S01E05",)),
        (["026", "027"], "026 or 27", ("026",)),
        (["ep-26", "ep-27"], "EP-26 and ep 27", ("ep-26", "ep-27")),
        ([], "episode 26", ()),
    ],
)
def test_any_scheme_of_ids_will_do(known: list[str], text: str, named: tuple[str, ...]) -> None:
    assert understand(text, known).named == named


@pytest.mark.parametrize(
    "text",
    [
        "E5 embeddings",
        "e5-large",
        "E2E training",
        "1E6 steps",
        "E. coli",
        "26 papers",
        "E9 lattices",
        "eps 8/255",
        "type e 26",
    ],
)
def test_what_only_looks_like_an_episode_names_none(text: str) -> None:
    assert understand(text, KNOWN).named == ()


def test_an_unknown_episode_is_named_as_such() -> None:
    assert understand("what does episode 999 say", KNOWN).named == ("E999",)


@pytest.mark.parametrize("text", ["", "  ", "?!", "x" * (MAX_CHARS + 1), "caf\udce9"])
def test_a_question_without_words_or_without_end_is_refused(text: str) -> None:
    with pytest.raises(QuestionError):
        understand(text, KNOWN)


def test_a_passage_found_twice_outranks_one_found_once_at_the_top() -> None:
    fused = rrf()([ranked("a", "b"), ranked("c", "b")], ["x", "y"])
    assert [key for key, _ in fused] == ["b", "a", "c"]


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), min_size=2, max_size=2))
@example([["a", "b", "c", "d", "f", "e"], ["a", "e", "b", "c", "d", "f"]])  # e and f differ by less than rounding
def test_fusion_keeps_every_passage_once_in_order_of_score(lists: list[list[str]]) -> None:
    for fusion in (rrf(), convex({"dense": 0.8, "bm25": 0.2}), weighted({"dense": 1, "bm25": 0.1})):
        fused = fusion([ranked(*ids) for ids in lists], ["dense", "bm25"])
        assert sorted(str(key) for key, _ in fused) == sorted(set(lists[0]) | set(lists[1]))
        assert all((-a, x) < (-b, y) for (x, a), (y, b) in itertools.pairwise(fused))


def test_a_hybrid_is_spelled_from_its_parts() -> None:
    class Fixed:
        def __init__(self, name: str, *ids: str) -> None:
            self.name, self.ids = name, ids

        def scores(self, question: Question, k: int) -> Scores:
            return ranked(*self.ids)[:k]

    shelf = Shelf()
    hybrid = hybrid_of([Fixed("dense", "a", "b", "c"), Fixed("bm25", "b")], convex({"dense": 0.5, "bm25": 0.5}), shelf)
    assert hybrid.name == "hybrid(dense+bm25)"
    found = hybrid.retrieve(Question("q"), 2)
    assert [(hit.passage.id, hit.rank, hit.found_by) for hit in found] == [
        ("b", 1, ("dense", "bm25")),
        ("a", 2, ("dense",)),
    ]
    assert shelf.read == ["b", "a"]  # what is not shown is not read


class Scored:
    """Always finds the same."""

    def __init__(self, name: str, found: dict[str, float]) -> None:
        self.name, self.found = name, found

    def scores(self, question: Question, k: int) -> Scores:
        return sorted(self.found.items(), key=lambda item: (-item[1], item[0]))[:k]

    def retrieve(self, question: Question, k: int) -> Ranking:
        best = enumerate(self.scores(question, k), start=1)
        return tuple(Hit(passage_of(id), score, rank, (self.name,)) for rank, (id, score) in best)


def scores(ranking: Ranking) -> dict[str, float]:
    return {hit.passage.id: hit.score for hit in ranking}


def test_a_weak_best_match_stays_weak() -> None:
    """Where BM25 hardly matches, its best passage must not be lifted as if it matched in full."""
    dense = Scored("dense", {"a": 0.5, "b": 0.45})
    for best, first in ((0.2, "a"), (4.0, "b")):
        hybrid = hybrid_of([dense, Scored("bm25", {"b": best})], weighted({"dense": 1, "bm25": 0.1}))
        assert hybrid.retrieve(Question("q"), 1)[0].passage.id == first


def test_who_is_missing_from_a_list_that_was_cut_gets_its_last_score() -> None:
    cut, whole = Scored("dense", {"a": 0.9, "b": 0.5}), Scored("bm25", {"c": 2.0})
    fused = hybrid_of([cut, whole], weighted({"dense": 1, "bm25": 0.1}), depth=2).retrieve(Question("q"), 3)
    assert scores(fused) == pytest.approx({"a": 0.9, "c": 0.7, "b": 0.5})


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(-1, 1), min_size=1),
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 9)),
)
def test_weighted_fusion_of_whole_lists_is_the_weighted_sum(dense: dict[str, float], bm25: dict[str, float]) -> None:
    dense = {id: dense.get(id, -0.5) for id in "abcdef"}  # a dense list has everything
    fused = hybrid_of([Scored("dense", dense), Scored("bm25", bm25)], weighted({"dense": 0.7, "bm25": 0.1}))
    floor = min(bm25.values()) if len(bm25) == 6 else 0.0
    wanted = {id: 0.7 * dense[id] + 0.1 * bm25.get(id, floor) for id in "abcdef"}
    assert scores(fused.retrieve(Question("q"), 6)) == pytest.approx(wanted)


def test_a_question_of_four_times_the_words_is_tempered_by_half() -> None:
    inner = Scored("bm25", {"a": 6.0})
    tempered = Tempered(inner, Rarity(), k1=1.0)
    short, long = (tempered.scores(Question(q), 1)[0][1] for q in ("yeast", "yeast bread dough gas"))
    assert (short, long) == pytest.approx((6 / 2**0.5, 3 / 2**0.5))


def test_feedback_moves_the_question_towards_what_was_found() -> None:
    class Vectors:
        name, dimension = "two", 2
        rows: ClassVar = {"q": (1.0, 0.0), "A": (0.0, 1.0)}

        def encode(self, texts: Sequence[str]) -> np.ndarray:
            return np.array([self.rows[text] for text in texts], dtype=np.float32)

    class Nearest(Scored):
        asked: np.ndarray

        def nearest(self, vector: np.ndarray, question: Question, k: int) -> Scores:
            self.asked = vector
            return self.scores(question, k)

    dense = Nearest("dense", {"a": 1.0})
    first = Scored("bm25", {"a": 1.0})
    Feedback(dense, first, Vectors(), lambda p: p.text.upper(), 0.5).scores(Question("q"), 1)
    assert dense.asked[0] == pytest.approx(np.array([1.0, 0.5]) / 1.25**0.5)
    Feedback(dense, Scored("bm25", {}), Vectors(), lambda p: p.text.upper(), 0.5).scores(Question("q"), 1)
    assert dense.asked[0] == pytest.approx([1.0, 0.0])


def test_a_neighbour_on_the_list_lifts_a_passage() -> None:
    inner = Scored("x", {"a": 0.9, "d": 0.95, "b": 0.8})
    found = Neighbourly(inner, Shelf(), 0.5).retrieve(Question("q"), 9)  # type: ignore[arg-type]
    assert scores(found) == pytest.approx({"a": 1.3, "b": 1.25, "d": 0.95})
    assert [hit.rank for hit in found] == [1, 2, 3]
