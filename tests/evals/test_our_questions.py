"""Our own questions against the corpus they are judged on."""

from __future__ import annotations

from pathlib import Path

from rag.corpus.load import load
from rag.evals.datasets import load_questions
from rag.evals.metrics import states

ROOT = Path(__file__).parents[2]
QUESTIONS = load_questions(ROOT / "evals")


def test_there_are_enough_of_them() -> None:
    assert len(QUESTIONS) >= 60
    assert sum(not question.answerable for question in QUESTIONS) >= 15


def test_every_quote_stands_in_its_document() -> None:
    texts = {document.id: document.text for document in load(ROOT / "corpus")}
    pairs = [(question.id, *pair) for question in QUESTIONS for pair in question.quotes]
    assert [pair for pair in pairs if pair[2] not in texts.get(pair[1], "")] == []


def test_every_fact_is_stated_in_a_quote() -> None:
    facts = [(question, fact) for question in QUESTIONS for fact in question.facts]
    assert [(q.id, fact) for q, fact in facts if not any(states(quote, fact) for _, quote in q.quotes)] == []


def test_no_episode_is_in_two_splits() -> None:
    places = {(episode, question.split) for question in QUESTIONS for episode in question.episodes}
    assert len(places) == len({episode for episode, _ in places})
