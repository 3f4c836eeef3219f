from __future__ import annotations

from dataclasses import replace

import pytest

from rag.evals.datasets import EvalQuestion
from rag.evals.lint import lint
from rag.evals.table import format_lint
from rag.index.terms import terms
from rag.records import Document, Paragraph


def document(id: str, text: str, episode: str | None = None) -> Document:
    cut = text.find("\n") if "\n" in text else len(text)
    paragraphs = (Paragraph(0, cut), *([Paragraph(cut + 1, len(text))] if cut < len(text) else []))
    return Document(id, "episode" if episode else "review", id, text, paragraphs, episode)


DOCUMENTS = (
    document("episodes/E001", "Yeast makes gas. The dough doubles in 2 hours.", "E001"),
    document("reviews/bread", "Salt slows the yeast E002. Nobody measured it.\nFlour is milled."),
)
DOUGH = EvalQuestion(
    "dough", "when has it doubled?", "numeric", ("E001",), (("episodes/E001", "doubles in 2 hours"),), ("2 hours",)
)
SALT = EvalQuestion("salt", "what does salt do?", "single", ("E002",), (("reviews/bread", "Salt slows the yeast"),))
NOWHERE = EvalQuestion("oven", "which oven was used?", "unanswerable/attribute", split="test")


def messages(*questions: EvalQuestion, level: str = "error") -> list[str]:
    return [f.message for f in lint(questions, DOCUMENTS, terms).findings if f.level == level]


def test_a_set_in_order_has_no_findings_and_is_counted_by_type_and_split() -> None:
    found = lint([DOUGH, SALT, replace(SALT, id="s", text="yeast, slowed by?", split="dev"), NOWHERE], DOCUMENTS, terms)
    assert found.findings == ()
    assert found.counts == {"numeric": {"dev": 1}, "single": {"dev": 2}, "unanswerable/attribute": {"test": 1}}
    assert format_lint(found).splitlines() == [
        "type                    dev  test",
        "numeric                   1     0",
        "single                    2     0",
        "unanswerable/attribute    0     1",
        "total                     3     1",
        "0 errors, 0 warnings",
    ]


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (replace(DOUGH, quotes=(("episodes/E001", "doubles in 3 hours"),), facts=()), "'episodes/E001' does not say"),
        (replace(DOUGH, quotes=(("episodes/E009", "doubles"),), facts=()), "'episodes/E009', which is no document"),
        (replace(DOUGH, facts=("2 hours", "3 hours")), "no quote states the fact '3 hours'"),
        (replace(DOUGH, episodes=("E001", "E077")), "names E077, which no document is about or attributed to"),
        (replace(DOUGH, type="trivia"), "unknown type 'trivia'"),
        (replace(DOUGH, type="single/hard"), "unknown type 'single/hard'"),
        (replace(NOWHERE, type="unanswerable/mood"), "unknown type 'unanswerable/mood'"),
        (replace(DOUGH, type="multi"), "of type multi with 1 episodes; wanted 2 to 4"),
    ],
)
def test_an_error_names_its_question(question: EvalQuestion, says: str) -> None:
    found = lint([question], DOCUMENTS, terms)
    (error,) = found.errors
    assert error.questions == (question.id,)
    assert says in error.message
    assert format_lint(found).startswith(f"error  {question.id}  {error.message}")


def test_errors_between_questions_name_both() -> None:
    found = lint([DOUGH, replace(DOUGH, id="again", split="test")], DOCUMENTS, terms)
    assert [(f.questions, f.message[:15]) for f in found.errors] == [
        (("dough", "again"), "E001 is in the "), (("dough", "again"), "near duplicates"),
    ]  # fmt: skip
    assert messages(SALT, replace(DOUGH, id="salt")) == ["the id is taken by 2 questions"]


def test_questions_are_near_duplicates_from_four_terms_in_five() -> None:
    def asked(id: str, text: str) -> EvalQuestion:
        return replace(NOWHERE, id=id, text=text)

    five = asked("a", "which flour, water, salt, sugar, yeast")
    assert messages(five, asked("b", "Flour and waters; salted sugar!"))
    assert not messages(five, asked("b", "flour, water, salt"))
    assert not messages(asked("a", "who?"), asked("b", "why?"))


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (replace(SALT, episodes=("E001",)), "the quote is attributed to E002: 'Salt slows the yeast'"),
        (
            replace(SALT, quotes=(("reviews/bread", "Flour is milled."),)),
            "the quote is attributed to no episode: 'Flour is milled.'",
        ),
        (replace(SALT, type="multi", episodes=("E001", "E002")), "no quote is attributed to E001"),
        (
            replace(SALT, type="paraphrase", text="salt against yeast?"),
            "a paraphrase in the words of its quote: salt, yeast",
        ),
        (replace(NOWHERE, type="unanswerable"), "says not why it is unanswerable"),
    ],
)
def test_a_warning_is_no_error(question: EvalQuestion, says: str) -> None:
    found = lint([question], DOCUMENTS, terms)
    assert found.errors == ()
    (warning,) = found.findings
    assert says in warning.message


def test_a_paraphrase_may_share_one_term_with_its_nearest_quote() -> None:
    assert messages(replace(SALT, type="paraphrase", text="does salt hold it back?"), level="warning") == []
