"""Several questions asked in one go are each answered, or said to have no answer; a single one is left whole."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fakes import CORPUS, Writes, service_of
from rag.answer.abstain import Why
from rag.answer.parts import MOST, parts
from rag.assemble import Service
from rag.corpus.load import load
from rag.evals.datasets import load_questions
from rag.records import Turn
from rag.search.query import MAX_CHARS

COMPOUND = CORPUS.parent / "evals" / "compound.jsonl"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return service_of(load(CORPUS / "concepts"), tmp_path_factory.mktemp("parts"))


@pytest.mark.parametrize(
    ("asked", "questions"),
    [
        ("What is LoRA and what is an evidence graph?", ["What is LoRA", "what is an evidence graph?"]),
        ("what is lora, what is grpo", ["what is lora", "what is grpo"]),
        ("What is LoRA? And what is GRPO?", ["What is LoRA?", "what is GRPO?"]),
        ("what is LoRA?? also, how do agents cheat", ["what is LoRA??", "how do agents cheat"]),
        ("What is LoRA; also who wrote the GRPO paper?", ["What is LoRA", "who wrote the GRPO paper?"]),
        ("explain LoRA. summarise E014.", ["explain LoRA.", "summarise E014."]),
        ("Tell me about LoRA and how many bugs did E014 find", ["Tell me about LoRA", "how many bugs did E014 find"]),
        ("Which model won, and what share of proofs did the expert accept?",
         ["Which model won, and what share of proofs did the expert accept?"]),
        ("Which model did best, and what share of proofs did the expert accept?",
         ["Which model did best", "what share of proofs did the expert accept?"]),
        ("How do agents cheat, what makes RL stall and is there a cure for sycophancy?",
         ["How do agents cheat", "what makes RL stall", "is there a cure for sycophancy?"]),
        ("What are majority voting and sycophancy?", ["What are majority voting", "What are sycophancy?"]),
        ("Explain GRPO, LoRA, and pass@k.", ["Explain GRPO", "Explain LoRA", "Explain pass@k."]),
        ("Do agents lie? Is RLHF to blame?", ["Do agents lie?", "Is RLHF to blame?"]),
        ("Can agents lie, and how is sycophancy cured?", ["Can agents lie", "how is sycophancy cured?"]),
        ("openseeker v2, how big is it and what did they change?",
         ["openseeker v2, how big is it", "openseeker v2, what did they change?"]),
        ("EvoLM's limits? and under what licence is it out", ["EvoLM's limits?", "under what licence is it out"]),
        ("Can probes spot it, and do judges agree?", ["Can probes spot it", "do judges agree?"]),
        ("what's grpo btw how do i install it", ["what's grpo", "how do i install it"]),
        ("what are bridge questions and pass@(k,T)", ["what are bridge questions", "what are pass@(k,T)"]),
        ("what's lora & grpo", ["what's lora", "what's grpo"]),
    ],
)  # fmt: skip
def test_questions_asked_together_are_told_apart(asked: str, questions: list[str]) -> None:
    assert list(parts(asked)) == questions


@pytest.mark.parametrize(
    "asked",
    [
        "What is LoRA?",
        "How do GRPO and PPO differ?",
        "Compare E003 and E014",
        "What is the difference between LoRA and full training?",
        "What are the strengths and weaknesses of LoRA?",
        "what is supervised and unsupervised learning",
        "Do agents know what they do and how they do it?",
        "My agent forgets what it was told. What could I use instead?",
        "openseeker v2, what did they actually change in the data?",
        "boil each long run down, then knockout rounds, how much better do bots do",
        "if a model is told that it is tested, does it behave?",
        "when an agent forgets, does it lie?",
        "What works better, LoRA or full training? And why?",
        "so political bias in llms is debunked by that auditor study? or not",
        "why do models end up flattering the user: whos asking, and rlhf maths",
        "Under what conditions, and how far in, is it linear?",
        "What can be forgotten, if anything, is it the rules?",
        "Does RL help small models, and if so, how much does it help?",
        "What was trained and evaluated in E026?",
        "Which papers show that agents lie and cheat?",
        "what is trial and error in the sense of E011",
        "",
        "?",
        "and",
        "what is " + " and what is ".join("abcdefg"),  # more than anybody asks
    ],
)
def test_one_question_stays_whole(asked: str) -> None:
    assert parts(asked) == (asked,)


_words = st.sampled_from(
    """
    what is LoRA and how does it work, ? . ; are GRPO the explain also who of tell me about but which in - when
    """.split()  # noqa: SIM905
)


@given(st.lists(_words, max_size=40).map(" ".join))
def test_parts_are_of_the_words_asked(asked: str) -> None:
    found = parts(asked)
    assert 1 <= len(found) <= MOST
    if len(found) == 1:
        assert found == (asked,)
    assert all(set(part.split()) <= set(re.split(r"\s|,", asked)) | set(asked.split()) for part in found)
    assert all(part.strip() for part in found) or not asked


@given(st.text(max_size=300) | st.lists(_words | st.text(max_size=3), max_size=20).map(" ".join))
@example("? what is LoRA? what is GRPO?")
def test_each_part_of_a_text_with_words_can_be_asked(asked: str) -> None:
    found = parts(asked)
    assert 1 <= len(found) <= MOST
    assert len(found) == 1 or all(any(c.isalnum() for c in part) and len(part) <= len(asked) for part in found)


def test_each_question_is_answered_in_its_turn(service: Service) -> None:
    answer = service.answerer.ask("What is sycophancy? And what is LoRA?", k=4)
    told = [s.evidence[0].document for s in answer.sentences]
    assert set(told) >= {"sycophancy", "lora"}
    assert told.index("sycophancy") < told.index("lora")
    assert answer.unanswered == ()
    assert answer.question.text == "What is sycophancy? And what is LoRA?"
    assert [hit.rank for hit in answer.hits] == [1, 2, 3, 4]
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
    assert len({hit.passage.id for hit in answer.hits}) == 4
    assert {"sycophancy", "lora"} <= {hit.passage.document for hit in answer.hits}


def test_what_has_no_answer_is_said_beside_what_has_one(service: Service) -> None:
    answer = service.answerer.ask("What is LoRA and what is a zebra?")
    assert answer.sentences
    assert answer.reason is None
    (without,) = answer.unanswered
    assert without.question == "what is a zebra?"
    assert Why.of(without.reason) is not None


def test_where_nothing_has_an_answer_each_is_told(service: Service) -> None:
    answer = service.answerer.ask("What is a zebra and what is a walrus?")
    assert answer.abstained
    assert [one.question for one in answer.unanswered] == ["What is a zebra", "what is a walrus?"]


def test_an_unknown_episode_leaves_the_other_question_answered(service: Service) -> None:
    answer = service.answerer.ask("What does E999 say and what is LoRA?")
    assert "lora" in {s.evidence[0].document for s in answer.sentences}
    assert [one.reason for one in answer.unanswered] == ["the corpus has no episode E999"]


def test_as_much_may_be_asked_in_one_go_as_in_one_question(service: Service) -> None:
    asked = "What is a {} LoRA? What is sycophancy? How does it work?"
    asked = asked.format("x" * (MAX_CHARS - len(asked) + 2))
    assert len(asked) == MAX_CHARS
    answer = service.answerer.ask(asked)
    assert answer.standalone is None  # with what the last one leans on it is longer than may be asked
    assert service.answerer.uncovered(answer) is not None


def test_who_asks_the_same_twice_is_told_once(service: Service) -> None:
    once = service.answerer.ask("What is LoRA?")
    twice = service.answerer.ask("What is LoRA? What is LoRA?")
    assert [s.text for s in twice.sentences] == [s.text for s in once.sentences]


def test_a_draft_on_one_of_them_is_completed(service: Service) -> None:
    asked = "What is sycophancy? And what is LoRA?"
    whole = service.answerer.ask(asked)
    drafted = service.answerer.ask(asked, generator=Writes(whole.sentences[-1].text))
    assert drafted.draft is not None
    assert drafted.draft.kept == 1
    assert {s.text for s in drafted.sentences} == {s.text for s in whole.sentences}


def test_a_model_that_finds_no_answer_leaves_every_question_without(service: Service) -> None:
    answer = service.answerer.ask("What is sycophancy? And what is LoRA?", generator=Writes("NO ANSWER"))
    assert answer.abstained
    assert [one.reason for one in answer.unanswered] == [Why.MODEL_DECLINED] * 2


def test_what_is_asked_further_of_a_thing_is_read_as_a_follow_up(service: Service) -> None:
    answer = service.answerer.ask("What is sycophancy? How is it explained? And what is LoRA?")
    assert answer.standalone == "What is sycophancy? How is it explained? (about sycophancy) what is LoRA?"
    assert {"sycophancy", "lora"} <= {s.evidence[0].document for s in answer.sentences}


def test_what_names_no_episode_is_asked_of_the_one_that_the_question_before_names(tmp_path: Path) -> None:
    service = service_of(load(CORPUS / "episodes"), tmp_path / "index")
    answer = service.answerer.ask("What did E026 find and how many problems did training take?")
    assert answer.standalone == "What did E026 find? how many problems did training take? (E026)"
    assert {e for s in answer.sentences for e in s.citations} == {"E026"}
    answer = service.answerer.ask("What did E026 find and what is sycophancy?")
    assert answer.standalone is None


def test_the_questions_of_the_evaluation_quote_their_documents() -> None:
    rows = load_questions(COMPOUND)
    assert {(row.split, row.type) for row in rows} == {
        (split, kind) for split in ("dev", "test") for kind in ("compound", "partial", "single")
    }
    for row in rows:
        assert bool(row.lacks) == (row.type == "partial")
        for document, quote in row.quotes:
            text = (CORPUS / f"{document}.md").read_text(encoding="utf-8")
            assert " ".join(quote.split()) in " ".join(text.split()), row.id
    assert not [row.id for row in rows if row.type == "single" and len(parts(row.text)) > 1]


def test_one_of_them_may_lean_on_the_conversation(service: Service) -> None:
    answer = service.answerer.ask("How does it work? And what is sycophancy?", history=[Turn("What is LoRA?")])
    assert answer.standalone == "How does it work? (about LoRA) what is sycophancy?"
    assert "sycophancy" in {s.evidence[0].document for s in answer.sentences}
