"""Which sentences answer, and when none does."""

from dataclasses import replace

import pytest

from fakes import HashedWords, Rarity
from rag.answer.extract import Candidate, ExtractValues, asked_terms, candidates, choose, shown
from rag.records import Filters, Hit, Passage, Question, Sentence

TEXTS = {
    "E001": ["Peer models forge timestamps to keep one another running.", "This undercuts oversight by machines."],
    "E009": ["Fixed baselines gain 3.8 points over mixed-policy methods.", "Two library bugs had hidden it."],
    "E026": ["A contrastive loss on 50 problems costs $25.", "Fixed baselines gain 3.8 points over mixed policies."],
}


def hits(*episodes: str) -> tuple[Hit, ...]:
    found = []
    for rank, episode in enumerate(episodes or tuple(TEXTS), start=1):
        text, sentences = " ".join(TEXTS[episode]), []
        for sentence in TEXTS[episode]:
            at = text.index(sentence)
            sentences.append(Sentence(at, at + len(sentence), sentence, (episode,), "document"))
        passage = Passage(
            f"{episode}:0", f"episodes/{episode}", text, 0, len(text), (episode,), sentences=tuple(sentences)
        )
        found.append(Hit(passage, 1 / rank, rank))
    return tuple(found)


def answer(text: str, *named: str) -> tuple[list[str], str | None]:
    question = Question(text, Filters(episodes=named), named)
    ranked = candidates(question, hits(*named), HashedWords(), Rarity(), ExtractValues())
    chosen, reason = choose(question, ranked, ExtractValues())
    return [shown(c).text for c in chosen], reason


def test_the_sentence_that_covers_the_question_is_shown_alone() -> None:
    assert answer("what does a contrastive loss on 50 problems cost") == ([TEXTS["E026"][0]], None)


def test_what_two_documents_say_in_one_wording_is_said_once() -> None:
    sentences, _ = answer("how much do fixed baselines gain over mixed-policy methods")
    assert sentences == [TEXTS["E009"][0]]


def test_each_episode_that_is_named_has_its_say() -> None:
    sentences, _ = answer("compare E009 and E026 on points gained", "E009", "E026")
    assert any(s in TEXTS["E009"] for s in sentences)
    assert any(s in TEXTS["E026"] for s in sentences)


def test_a_sentence_that_leans_on_another_is_shown_after_it() -> None:
    assert answer("what undercuts oversight by machines")[0] == TEXTS["E001"]


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("who discovered penicillin", "close enough"),
        ("what learning rate did the contrastive loss on 50 problems use", "learning rate"),
        ("how many gpus did the contrastive loss on 50 problems need", "gpus"),
        ("how did the contrastive loss reach 90 points on 50 problems", "90"),
        ("how much oversight is undercut by machines", "figure"),
    ],
)
def test_what_the_passages_do_not_say_is_said_so(question: str, why: str) -> None:
    sentences, reason = answer(question)
    assert sentences == []
    assert reason is not None
    assert why in reason


@pytest.mark.parametrize("text", ["compare E009 and E026", "E009 vs E026", "what do E009 and E026 say?"])
def test_a_question_of_nothing_but_episodes_gets_the_start_of_each(text: str) -> None:
    sentences, _ = answer(text, "E009", "E026")
    assert sentences == [*TEXTS["E009"], TEXTS["E026"][0]]


def test_the_digits_of_a_marker_are_no_figure() -> None:
    said = "As E026 shows, the contrastive loss has a cost."
    sentence = Sentence(0, len(said), said, ("E026",), "explicit")
    hit = Hit(Passage("p", "d", said, 0, len(said), ("E026",), sentences=(sentence,)), 1.0, 1)
    question = Question("how much does the contrastive loss cost")
    ranked = candidates(question, (hit,), HashedWords(), Rarity(), ExtractValues())
    assert choose(question, ranked, ExtractValues()) == ([], "the corpus gives no such figure")


def test_no_more_sentences_are_shown_than_asked_for_however_many_episodes_are_named() -> None:
    sentences, _ = answer("compare E001, E009 and E026", "E001", "E009", "E026")
    assert len(sentences) == ExtractValues().sentences
    only, _ = choose(
        Question("x", named=("E001", "E009", "E026")),
        candidates(Question("x y z", named=("E001", "E009", "E026")), hits(), HashedWords(), Rarity(), ExtractValues()),
        ExtractValues(sentences=2, least_named=-1.0),
    )
    assert len(only) == 2


def test_a_rhetorical_question_answers_nothing() -> None:
    asks = "What does a contrastive loss cost?"
    sentence = Sentence(0, len(asks), asks, ("E026",), "document")
    hit = Hit(Passage("p", "d", asks, 0, len(asks), ("E026",), sentences=(sentence,)), 1.0, 1)
    question = Question("what does a contrastive loss cost")
    assert candidates(question, (hit,), HashedWords(), Rarity(), ExtractValues()) == []


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("turns this around E026.", "Turns this around."),
        ("vLLM serves E026.", "vLLM serves."),
        ("It serves E026;", "It serves."),
        ("µP scales.", "µP scales."),
    ],
)
def test_a_sentence_starts_with_a_capital_where_it_is_a_word(written: str, said: str) -> None:
    sentence = Sentence(0, len(written), written, ("E026",), "explicit")
    passage = Passage("p", "d", written, 0, len(written), sentences=(sentence,))
    assert shown(Candidate(passage, sentence, 1, 1.0, 1.0, frozenset())).text == said


def test_a_filter_of_episodes_leaves_out_what_others_say_beside_them() -> None:
    question = Question("what do baselines gain, what does the loss cost", Filters(episodes=("E009",)))
    found = candidates(question, hits(), HashedWords(), Rarity(), ExtractValues())
    assert {c.sentence.episodes for c in found} == {("E009",)}


def test_without_hits_there_is_no_answer() -> None:
    assert choose(Question("x"), [], ExtractValues())[0] == []


def found(*rows: tuple[str, tuple[str, ...], tuple[str, ...]]) -> tuple[Hit, ...]:
    """A hit for each (sentence, episodes, questions that it is said to answer)."""
    return tuple(
        Hit(
            Passage(f"p{n}", f"d{n}", text, 0, len(text), episodes,
                    sentences=(Sentence(0, len(text), text, episodes, "explicit", asked),)),
            1 / n,
            n,
        )
        for n, (text, episodes, asked) in enumerate(rows, start=1)
    )  # fmt: skip


def said(question: Question, hits: tuple[Hit, ...]) -> list[str]:
    ranked = candidates(question, hits, HashedWords(), Rarity(), ExtractValues())
    return [shown(c).text for c in choose(question, ranked, ExtractValues())[0]]


def test_asked_of_an_episode_a_sentence_on_a_group_gives_way_to_its_own() -> None:
    group, own = "Harness layers decide what agents achieve on tasks.", "Harness layers help agents on tasks."
    rows = found((group, ("E001", "E009"), ()), (own, ("E009",), ()))
    question = Question(
        "what does E009 say of harness layers, agents and tasks", Filters(episodes=("E009",)), ("E009",)
    )
    assert said(question, rows) == [own]
    assert said(question, rows[:1]) == [group]


def test_a_definition_that_names_no_episode_takes_one_along_that_bears_on_it() -> None:
    defined = "Exploration hacking steers which behaviours come up in sampling."
    bears = "Frontier models steer sampling, known as exploration hacking, on behaviours."
    assert said(Question("explain exploration hacking please"), found((defined, (), ()), (bears, ("E007",), ()))) == [
        defined,
        bears,
    ]


def test_the_question_that_a_sentence_is_said_to_answer_leads_to_it() -> None:
    asked = "bots that lie so a friend survives"
    row = ("Peer models forge timestamps to keep one another running.", ("E001",), (asked,))
    assert said(Question(asked), found(row)) == [row[0]]
    assert said(Question(asked), found((row[0], row[1], ()))) == []


def test_asked_for_its_limits_a_sentence_that_states_one_stands_first() -> None:
    result = "Confidence shaping makes the chain of thought faithful on hard problems."
    limit = "A limit of confidence shaping is its reward, which sees the answers."
    rows = tuple(replace(hit, score=1.0) for hit in found((result, ("E081",), ()), (limit, ("E081",), ())))
    assert said(Question("how weak is confidence shaping"), rows)[0] == limit
    assert said(Question("how faithful is confidence shaping"), rows)[0] == result


def test_of_two_sentences_alike_the_one_in_the_better_passage_stands_first() -> None:
    first, second = found(("Baselines gain points.", ("E001",), ()), ("Baselines gain points.", ("E002",), ()))
    best = [candidates(Question("baselines gain"), order, HashedWords(), Rarity(), ExtractValues())[0]
            for order in ((first, second), (second, first))]  # fmt: skip
    assert [c.sentence.episodes for c in best] == [("E001",), ("E001",)]
    raised = replace(second, score=1.0, rank=1), replace(first, score=0.5, rank=2)
    best = candidates(Question("baselines gain"), raised, HashedWords(), Rarity(), ExtractValues())
    assert best[0].sentence.episodes == ("E002",)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("What does E026 find?", []),
        ("What is the main result of E026?", []),
        ("What did E026 conclude?", []),
        ("Key takeaways from E026, please", []),
        ("What does E026 find about bananas?", ["find", "banana"]),
        ("How many results does E026 report?", ["result", "report"]),
    ],
)
def test_who_asks_an_episode_for_what_each_has_asks_what_it_is_about(text: str, wanted: list[str]) -> None:
    assert asked_terms(Question(text, named=("E026",)), Rarity()) == wanted
    assert asked_terms(Question("What does the bakery find?"), Rarity()) == ["bakeri", "find"]
