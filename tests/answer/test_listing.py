"""Who asks which episodes there are on a subject gets a sentence of each."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import CORPUS, Writes, service_of
from rag.answer.extract import Candidate
from rag.answer.listing import ListValues, choose_listed, subject
from rag.assemble import Service
from rag.corpus.load import load
from rag.evals.datasets import load_questions
from rag.records import Passage, Sentence

VALUES = ListValues()
LISTINGS = CORPUS.parent / "evals" / "listings.jsonl"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return service_of(load(CORPUS / "episodes"), tmp_path_factory.mktemp("listing"))


def test_every_episode_that_names_the_subject_is_listed(service: Service) -> None:
    answer = service.answerer.ask("Which papers use GRPO?", k=3)
    assert {"E007", "E059", "E081", "E082", "E084"} <= {c.episode for c in answer.citations}
    assert all("GRPO" in s.text for s in answer.sentences)
    assert len(answer.sentences) <= VALUES.episodes
    assert answer.question.text == "Which papers use GRPO?"
    assert len(answer.hits) == 3  # as many as were asked for, however many were read


def test_a_draft_that_leaves_episodes_out_is_completed(service: Service) -> None:
    whole = service.answerer.ask("Which papers use GRPO?")
    first = whole.sentences[0]
    drafted = service.answerer.ask("Which papers use GRPO?", generator=Writes(f"{first.text} [{first.citations[0]}]"))
    assert drafted.draft is not None
    assert drafted.draft.kept == 1
    assert {c.episode for c in drafted.citations} == {c.episode for c in whole.citations}


def test_a_subject_that_no_episode_treats_is_said_to_be_lacking(service: Service) -> None:
    answer = service.answerer.ask("Which episodes are about zebras?")
    assert answer.abstained


def test_who_names_an_episode_wants_no_list(service: Service) -> None:
    answer = service.answerer.ask("Which episodes on GRPO does E007 mention?")
    assert {e for s in answer.sentences for e in s.citations} <= {"E007"}


def test_the_questions_of_the_evaluation_quote_their_documents_and_are_read_as_they_are_meant() -> None:
    rows = load_questions(LISTINGS)
    assert {row.split for row in rows} == {"dev", "test"}
    for row in rows:
        assert len(row.quotes) == len(row.episodes)
        for document, quote in row.quotes:
            text = (CORPUS / f"{document}.md").read_text(encoding="utf-8")
            assert " ".join(quote.split()) in " ".join(text.split()), row.id
    assert all(subject(row.text) for row in rows)


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("Which episodes are about agent memory?", "agent memory"),
        ("What episodes talk about benchmarks", "benchmarks"),
        ("List the episodes on reward hacking.", "reward hacking"),
        ("list all episodes that mention GRPO, please", "GRPO"),
        ("Is there an episode on “path patching”?", "path patching"),
        ("Do any episodes cover RL?", "RL"),
        ("Are there any papers on the topic of memory at all?", "memory"),
        ("Do you have any episodes about making inference cheaper?", "making inference cheaper"),
        ("Which of your episodes deal with the cost of training?", "the cost of training"),
        ("episodes about sycophancy", "sycophancy"),
        ("In which episodes is GRPO mentioned?", "GRPO"),
        ("which papers does sparse attention come up in?", "sparse attention"),
        ("Can you recommend an episode that explores self-improvement?", "self-improvement"),
        ("Which studies use process reward models?", "process reward models"),
        ("Which episodes should I listen to about security?", "security"),
        ("How many episodes are about memory?", "memory"),
        ("Give me three papers by Google", "Google"),
        ("what episodes say that tools can backfire", "tools can backfire"),
        ("WHICH EPISODES FOUND A BUG THAT MATTERS?", "A BUG THAT MATTERS"),
        ("Which papers reclaim lost tokens in training?", "reclaim lost tokens in training"),
        (
            "Which episodes pit models that show restraint against others?",
            "pit models that show restraint against others",
        ),
        ("Which episodes are about the role of the concept of memory?", "the role of the concept of memory"),
        ("Is there an episode where a machine runs a lab?", "a machine runs a lab"),
        ("do you have anything - an episode, I mean - about doubt?", "doubt"),
    ],
)
def test_who_wants_the_episodes_on_a_subject(question: str, wanted: str) -> None:
    assert subject(question) == wanted


@pytest.mark.parametrize(
    "question",
    [
        "Which episode found 12 security bugs?",
        "What does the episode about GRPO conclude?",
        "What do the papers on memory find?",
        "How do papers on agent memory evaluate forgetting?",
        "Are papers about RL reliable?",
        "Do papers on memory agree with each other?",
        "Summarise this paper on memory",
        "Which episodes disagree?",
        "How many episodes are there?",
        "What episodes are there?",
        "Why do papers on memory fail?",
        "What is agent memory about?",
        "Which episodes are about",
        "Who wrote the paper on sycophancy?",
        "Which episode is about " + "very " * 16 + "much?",
        "",
    ],
)
def test_any_other_question_is_none_of_these(question: str) -> None:
    assert subject(question) is None


WORDS = "about say that claim reclaim of the topic on memory RL how please episodes papers come up -".split()  # noqa: SIM905


@given(st.text(max_size=80) | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
def test_a_subject_is_part_of_the_question(text: str) -> None:
    for question in (text, f"Which episodes {text}?", f"Which episodes are about {text}?"):
        found = subject(question)
        assert found is None or found in " ".join(question.split())


def said(at: int, text: str, *episodes: str, standing: float = 1.0, coverage: float = 1.0) -> Candidate:
    sentence = Sentence(10 * at, 10 * at + len(text), text, episodes, "explicit" if episodes else "none")
    passage = Passage(f"p{at}", f"d{at}", text, 10 * at, 10 * at + len(text), episodes, sentences=(sentence,))
    return Candidate(passage, sentence, at, 0.8, coverage, frozenset(text.split()), standing=standing)


def test_an_episode_is_listed_once_and_by_what_tells_of_it_alone() -> None:
    both = said(1, "Both hack rewards", "E001", "E002")
    first, again, second = said(2, "One hacks", "E001"), said(3, "It too", "E001"), said(4, "Two hacks", "E002")
    assert choose_listed([both, first, again, second], VALUES) == [first, second]
    assert choose_listed([both, first], VALUES) == [both, first]  # the second of the two has no better one


def test_what_is_far_behind_the_best_that_cites_an_episode_is_not_listed() -> None:
    defined = said(5, "Memory is what is held", standing=1.5)
    best, near = said(1, "Memory", "E001"), said(2, "Memories", "E002", standing=0.7)
    far = said(3, "Agents", "E003", standing=0.69)
    assert choose_listed([defined, best, near, far], VALUES) == [best, near]
    assert choose_listed([defined], VALUES) == []


def test_what_has_no_word_of_the_subject_is_listed_only_where_the_best_has_none() -> None:
    named, off = said(1, "Google", "E001"), said(2, "Gemma", "E002", coverage=0.0)
    assert choose_listed([named, off], VALUES) == [named]
    paraphrase = replace(named, coverage=0.0)
    assert choose_listed([paraphrase, off], VALUES) == [paraphrase, off]


def test_what_leans_on_its_predecessor_brings_it_along() -> None:
    whole = "A router decides. It pays."
    before = Sentence(0, 17, "A router decides.", (), "none")
    leaning = Sentence(18, 26, "It pays.", ("E001",), "explicit")
    passage = Passage("p", "d", whole, 0, 26, ("E001",), sentences=(before, leaning))
    a, b = (Candidate(passage, s, 1, 0.8, 1.0, frozenset(), standing=1.0) for s in (before, leaning))
    assert choose_listed([b, a], VALUES) == [a, b]
    alone = said(7, "Routing pays", "E001", standing=0.9)
    assert choose_listed([b, a, alone], VALUES) == [alone]


def test_no_more_episodes_than_wanted_and_the_best_of_them() -> None:
    every = [said(at, f"Episode {at}", f"E{at:03}") for at in range(1, 20)]
    assert choose_listed(every, VALUES) == every[:8]
    assert choose_listed(every, replace(VALUES, episodes=3)) == every[:3]
