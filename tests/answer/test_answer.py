"""No sentence without evidence."""

from dataclasses import replace
from typing import Any

import pytest

from rag.answer.extract import Candidate, ExtractValues, choose
from rag.records import Answer, AnswerSentence, Evidence, Passage, Question, Sentence


def evidence(quote: str = "It costs $25 E026.", **changes: Any) -> Evidence:
    values: dict[str, Any] = {
        "document": "reviews/r",
        "title": "R",
        "heading": "",
        "start": 3,
        "end": 3 + len(quote),
        "quote": quote,
        "episodes": ("E026",),
        "attribution": "explicit",
        "support": 1.0,
    }
    return Evidence(**{**values, **changes})


def test_a_sentence_without_evidence_cannot_exist() -> None:
    with pytest.raises(ValueError, match="no evidence"):
        AnswerSentence("It costs $25.", ())


def test_evidence_without_a_span_cannot_exist() -> None:
    with pytest.raises(ValueError, match="quoted span"):
        evidence(quote=" ")
    with pytest.raises(ValueError, match="quoted span"):
        evidence(end=4)


def test_a_sentence_cites_what_its_evidence_is_attributed_to_and_nothing_else() -> None:
    sentence = AnswerSentence("It costs $25.", (evidence(), evidence(episodes=("E009", "E026"))))
    assert sentence.citations == ("E026", "E009")


def test_an_answer_has_sentences_or_a_reason_for_having_none() -> None:
    with pytest.raises(ValueError, match="reason"):
        Answer(Question("q"), (), None, ())
    with pytest.raises(ValueError, match="reason"):
        Answer(Question("q"), (AnswerSentence("It costs $25.", (evidence(),)),), "because", ())
    assert Answer(Question("q"), (), "the corpus does not say", ()).abstained


def test_a_figure_that_the_passage_does_not_state_is_no_premise_to_answer_on() -> None:
    passage = Passage("r:0", "reviews/r", "x", 0, 1)
    sentence = Sentence(0, 1, "Pass rates double.", ("E084",), "explicit")
    held = Candidate(passage, sentence, 1, 0.9, 0.9, frozenset({"pass"}))
    asked = Question("how did it reach 90% pass rates")
    assert choose(asked, [held], ExtractValues())[0] == [held]
    chosen, reason = choose(asked, [replace(held, missing=frozenset({"90"}))], ExtractValues())
    assert chosen == []
    assert reason is not None
    assert "90" in reason
