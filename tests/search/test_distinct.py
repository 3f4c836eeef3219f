"""Overlapping reviews do not crowd the list."""

from collections.abc import Sequence

from fakes import Rarity
from rag.records import Hit, Passage, Question, Ranking
from rag.search.compose import Distinct, Reranked

SAID = [
    ("a", "A contrastive loss on fifty problems costs 25 dollars", ("E026",)),
    ("b", "A contrastive loss on fifty problems costs 25 dollars only", ("E026",)),
    ("c", "A contrastive loss on fifty problems costs 25 dollars", ("E001",)),
    ("d", "Entropy misses collapse of the template", ("E010",)),
]


class Fixed:
    name = "fixed"

    def retrieve(self, question: Question, k: int) -> Ranking:
        return tuple(
            Hit(Passage(id, id, text, 0, len(text), episodes), 1 / rank, rank)
            for rank, (id, text, episodes) in enumerate(SAID[:k], start=1)
        )


def test_a_repetition_of_the_same_episode_moves_behind_what_is_new() -> None:
    found = Distinct(Fixed(), Rarity()).retrieve(Question("q"), 4)
    assert [hit.passage.id for hit in found] == ["a", "c", "d", "b"]
    assert [hit.rank for hit in found] == [1, 2, 3, 4]


def test_only_what_shares_words_is_read_closely() -> None:
    class Reading(Rarity):
        def __init__(self) -> None:
            super().__init__()
            self.read: list[str] = []

        def terms(self, text: str) -> list[str]:
            self.read.append(text)
            return super().terms(text)

    reading = Reading()
    Distinct(Fixed(), reading).retrieve(Question("q"), 4)
    assert sorted(reading.read) == sorted(text for id, text, _ in SAID if id in "ab")


def test_a_reranker_puts_the_best_passages_in_order() -> None:
    class Length:
        name = "length"

        def score(self, question: str, texts: Sequence[str]) -> list[float]:
            return [float(len(text)) for text in texts]

    found = Reranked(Fixed(), Length()).retrieve(Question("q"), 2)
    assert [hit.passage.id for hit in found] == ["b", "a"]
    assert [hit.score for hit in found] == [58.0, 53.0]
