"""Which words of a question the corpus, or what was found of it, does not hold."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import Rarity
from rag.answer.uncovered import Uncovered, uncovered
from rag.index.library import IndexLibrary, write_library
from rag.index.sparse import RankBM25Retriever
from rag.records import Hit, IndexInfo, Passage, Question, Sentence
from rag.search.query import understand

TEXTS = {
    "a": "The corrected baseline gains 3.8 points over DeepSeek's mixed-policy methods and costs $25 [E026].",
    "b": "Whales sing in the naïve sea; a GPT-4 run of 103,000 steps used 7.5% of it.",
}

Ask = Callable[..., tuple[tuple[str, ...], tuple[str, ...]]]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Asks an index of both texts, of which the first is found; gives the unknown words and those elsewhere."""
    folder: Path = tmp_path_factory.mktemp("index")
    heard = Sentence(0, len(TEXTS["a"]), TEXTS["a"], ("E026",), "explicit", ("Is it cheap?",))
    passages = [
        Passage("a:0", "a", TEXTS["a"], 0, len(TEXTS["a"]), title="On training", heading="Tuning", sentences=(heard,)),
        Passage("b:0", "b", TEXTS["b"], 0, len(TEXTS["b"])),
    ]
    write_library([], passages, folder)
    texts = [f"{p.title} {p.heading} {p.text} {' '.join(q for s in p.sentences for q in s.asked)}" for p in passages]
    statistics = RankBM25Retriever(texts, IndexLibrary(folder, IndexInfo("g", len(passages), "e")))

    def asking(
        text: str, *, known: tuple[str, ...] = ("E026",), found: int = 1
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        hits = tuple(Hit(p, 1.0, rank) for rank, p in enumerate(passages[:found], start=1))
        missing = uncovered(understand(text, known), hits, statistics)
        return missing.unknown, missing.elsewhere

    return asking


@pytest.mark.parametrize(
    "question",
    [
        "What did the correction of baselines gain?",
        "HOW MUCH DID IT COST, $25?",
        "Isn't DeepSeek’s training cheap, tuned - or what's it ... ?!",
        "tell me about mixed policies, please",
    ],
)
def test_words_that_the_passages_hold_in_any_form_are_not_listed(ask: Ask, question: str) -> None:
    unknown, elsewhere = ask(question)
    assert (unknown, elsewhere) == ((), ())


@pytest.mark.parametrize(
    ("question", "unknown", "elsewhere"),
    [
        ("what did the basline gain", ("basline",), ()),
        ("DO WHALES SING TO ZEBRAS?", ("ZEBRAS",), ("WHALES", "SING")),
        ("did it cost $30, 7.5% or 103,000 steps?", ("$30",), ("7.5%", "103,000", "steps")),
        ("Wann kostet der Zug 30€?", ("Wann", "kostet", "der", "Zug", "30€"), ()),
        ("什么是强化学习？ 鲸鱼。", ("什么是强化学习", "鲸鱼"), ()),
        ("हिन्दी में बताओ।", ("हिन्दी", "में", "बताओ"), ()),
        ("does GPT-4 beat “GPT-5” (the zebra's)?", ("beat", "GPT-5", "zebra's"), ("GPT-4",)),
        ("is C++ a zebra—or zebras, or Zebra?", ("C++", "zebra"), ()),
        ("do naive whales, whale and Whales' sing", (), ("naive", "whales", "sing")),
    ],
)
def test_other_words_are_listed_as_typed_in_order_and_once(
    ask: Ask, question: str, unknown: tuple[str, ...], elsewhere: tuple[str, ...]
) -> None:
    assert ask(question) == (unknown, elsewhere)


@pytest.mark.parametrize(
    "question",
    ["E026 on zebras", "e26: zebras", "ep. #26, zebras", "E-026's zebras", "Episode no. 26 and zebras", "#26 zebras?"],
)
def test_the_episodes_that_are_named_are_not_listed_in_any_spelling(ask: Ask, question: str) -> None:
    assert ask(question) == (("zebras",), ())


@pytest.mark.parametrize(
    "question", ["POD7 on zebras", "pod 7's zebras", "podcasts: pod-7–POD8 on zebras", "pod07 and zebras"]
)
def test_so_it_is_with_ids_of_another_form(ask: Ask, question: str) -> None:
    assert ask(question, known=("POD7", "POD8")) == (("zebras",), ())
    assert ask("what does s01e05 say of zebras", known=("S01E05",)) == (("zebras",), ())


def test_what_more_passages_hold_is_not_elsewhere(ask: Ask) -> None:
    assert ask("do whales cost zebras", found=2) == (("zebras",), ())
    assert ask("do whales cost zebras", found=0) == (("zebras",), ("whales", "cost"))


@given(st.text(max_size=200), st.lists(st.sampled_from(["E026", "S01E05", "a-1", ".", ""]), max_size=2))
def test_any_question_gives_parts_of_itself(text: str, named: list[str]) -> None:
    missing = uncovered(Question(text, named=tuple(named)), (), Rarity())
    assert isinstance(missing, Uncovered)
    assert missing.elsewhere == ()
    assert all(word in text and word.split() == [word] for word in missing.unknown)
