"""What a question names, fusion, and retrievers made of retrievers."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import QuestionError
from rag.records import Hit, Passage, Question, Ranking
from rag.search.compose import Hybrid
from rag.search.fuse import convex, rrf
from rag.search.query import MAX_CHARS, understand

KNOWN = ["E005", "E009", "E026"]


def ranked(*ids: str) -> Ranking:
    return tuple(Hit(Passage(id, "d", id, 0, len(id)), 1 / rank, rank, ("x",)) for rank, id in enumerate(ids, start=1))


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
    assert [hit.passage.id for hit in fused] == ["b", "a", "c"]


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), min_size=2, max_size=2))
def test_fusion_keeps_every_passage_once_in_order_of_score(lists: list[list[str]]) -> None:
    rankings = [ranked(*ids) for ids in lists]
    for fusion in (rrf(), convex({"dense": 0.8, "bm25": 0.2})):
        fused = fusion(rankings, ["dense", "bm25"])
        assert sorted(hit.passage.id for hit in fused) == sorted(set(lists[0]) | set(lists[1]))
        assert [hit.rank for hit in fused] == list(range(1, len(fused) + 1))
        assert all(a.score >= b.score for a, b in itertools.pairwise(fused))


def test_a_hybrid_is_spelled_from_its_parts() -> None:
    class Fixed:
        def __init__(self, name: str, *ids: str) -> None:
            self.name, self.ids = name, ids

        def retrieve(self, question: Question, k: int) -> Ranking:
            return ranked(*self.ids)[:k]

    hybrid = Hybrid([Fixed("dense", "a", "b"), Fixed("bm25", "b")], convex({"dense": 0.5, "bm25": 0.5}))
    assert hybrid.name == "hybrid(dense+bm25)"
    assert [hit.passage.id for hit in hybrid.retrieve(Question("q"), 1)] == ["b"]
