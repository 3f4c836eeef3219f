"""No sentence without evidence."""

import pytest

from rag.records import Answer, AnswerSentence, Evidence, Question


def evidence(quote: str = "It costs $25 E026.", **changes: object) -> Evidence:
    values = {
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
    return Evidence(**{**values, **changes})  # type: ignore[arg-type]


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
