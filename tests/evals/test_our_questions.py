"""Our own questions against the corpus they are judged on."""

from __future__ import annotations

from pathlib import Path

from rag.corpus.load import load
from rag.evals.datasets import load_questions
from rag.evals.lint import lint
from rag.index.terms import terms

ROOT = Path(__file__).parents[2]
QUESTIONS = load_questions(ROOT / "evals")


def test_there_are_enough_of_them() -> None:
    assert len(QUESTIONS) >= 400
    assert sum(not question.answerable for question in QUESTIONS) >= 120


def test_they_are_in_order() -> None:
    found = lint(QUESTIONS, load(ROOT / "corpus"), terms)
    assert [(finding.questions, finding.message) for finding in found.errors] == []
