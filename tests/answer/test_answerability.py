"""How likely what was found answers a question."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import HashedTokens, Rarity
from rag.answer.answerability import (
    ALONE,
    ALONE_MODEL,
    FOUND,
    MODEL,
    PAIR,
    PAIR_MODEL,
    Answerability,
    read_model,
    write_model,
)
from rag.answer.extract import Candidate, ExtractValues, choose
from rag.answer.logistic import Logistic
from rag.evals.answerability import (
    format_answerability,
    least_confidence,
    load_pairs,
    report_answerability,
    write_pair_scores,
)
from rag.evals.datasets import DatasetError
from rag.judge import score_pairs
from rag.records import Passage, Question, Sentence
from rag.settings import Settings

PASSAGE = "GRPO trained the model for 25 dollars. Supporters of pruning won the vote. The hub was frozen in March."


class Seen(Rarity):
    """Terms of PASSAGE are common; any other is as rare as one never seen."""

    def idf(self, term: str) -> float:
        return 1.0 if term in self.terms(PASSAGE) else 5.0


def answerability() -> Answerability:
    encoder = HashedTokens()
    return Answerability(encoder, encoder.tokens, Seen())


def candidate(text: str, asked: float = 0.0, valued: bool = True) -> Candidate:
    passage = Passage("r:0", "r", text, 0, len(text))
    sentence = Sentence(0, len(text), text, ("E001",), "explicit", ("any?",) if asked else ())
    return Candidate(passage, sentence, 1, 0.9, 0.9, frozenset(), valued, cosine=0.3, asked=asked)


@pytest.mark.parametrize(
    ("question", "spoilt"),
    [
        ("What did GRPO train for 25 dollars?", "What did Zyxomma train for 25 dollars?"),
        ("What did GRPO train for 25 dollars?", "What did GRPO train for 70 dollars?"),
        ("What did GRPO train for 25 dollars?", "What didn't GRPO train for 25 dollars?"),
        ("What did supporters of pruning win?", "What did opponents of pruning win?"),
        ("What did supporters of pruning win?", "What did supporters of pruning first win?"),
        ("Who won the vote?", "Who lost the vote?"),
        ("When was the hub frozen?", "When was the hub unfrozen?"),
    ],
)
def test_a_word_changed_for_another_makes_an_answer_less_likely(question: str, spoilt: str) -> None:
    judge = answerability()
    assert judge.score(question, PASSAGE) > judge.score(spoilt, PASSAGE)


def test_the_order_of_sentences_and_the_space_around_a_question_do_not_matter() -> None:
    turned = "The hub was frozen in March. Supporters of pruning won the vote. GRPO trained the model for 25 dollars."
    judge = answerability()
    assert judge.score("Who won the vote?", PASSAGE) == judge.score("  Who won the vote? ", turned)


@pytest.mark.parametrize(("question", "passage"), [("", PASSAGE), ("Who won?", ""), ("?!", "…")])
def test_a_text_without_words_has_a_score_all_the_same(question: str, passage: str) -> None:
    assert 0 <= answerability().score(question, passage) <= 1


def test_the_weights_are_for_the_values() -> None:
    judge = answerability()
    assert set(judge.pair_values("Who won?", PASSAGE)) == set(PAIR) == set(Logistic.read(PAIR_MODEL).weights)
    found = judge.found_values(Question("Who won?"), [candidate("Supporters won.")])
    assert set(found) == set(FOUND) == set(read_model(MODEL)[0].weights)
    assert set(ALONE) == set(read_model(ALONE_MODEL)[0].weights)


def test_a_corpus_without_questions_of_its_own_is_judged_by_weights_of_its_own() -> None:
    judge = Answerability(
        HashedTokens(), HashedTokens().tokens, Seen(),
        model=(Logistic({}, 9.0), 0.5), alone=(Logistic({}, -9.0), 0.5),
    )  # fmt: skip
    asked = Question("Who won?")
    assert judge.judge(asked, [candidate("Supporters won.", asked=0.5)])[1]
    assert not judge.judge(asked, [candidate("Supporters won.")])[1]


def confidence(question: str, text: str, *, asked: float = 0.0, valued: bool = True) -> float:
    return answerability().judge(Question(question), [candidate(text, asked, valued)])[0]


def test_what_the_corpus_never_says_lowers_the_confidence() -> None:
    text = "GRPO trained the model."
    assert confidence("what trained the model", text) > confidence("what trained the zyxomma", text)


def test_a_sentence_that_is_said_to_answer_raises_the_confidence() -> None:
    text = "GRPO trained the model."
    assert confidence("what trained the zyxomma", text, asked=0.9) > confidence("what trained the zyxomma", text)


def test_a_figure_counts_where_it_is_one_of_the_thing_asked_for() -> None:
    asked = "how many models were trained"
    assert confidence(asked, "GRPO trained 12 small models.") > confidence(asked, "GRPO trained models for 25 dollars.")
    assert confidence("how much did it cost", "It cost 5.") > confidence(
        "how much did it cost", "It cost.", valued=False
    )


def test_a_reason_has_to_be_given() -> None:
    asked = "why was the hub frozen"
    assert confidence(asked, "The hub was frozen because of March.") > confidence(asked, "The hub was frozen in March.")


def test_nothing_found_is_no_answer() -> None:
    assert answerability().judge(Question("anything"), []) == (0.0, False)


def test_confidence_decides_and_an_abstention_still_has_its_reason() -> None:
    question, far = Question("how did it reach 90% pass rates"), replace(candidate("Pass rates double."), score=0.1)
    assert choose(question, [far], ExtractValues(), sure=True) == ([far], None)
    assert choose(question, [far], ExtractValues())[1] == "no sentence of the corpus is close enough to the question"
    near = replace(far, score=0.9)
    assert choose(question, [near], ExtractValues(), sure=False)[0] == []
    assert "not likely" in str(choose(question, [near], ExtractValues(), sure=False)[1])


@pytest.mark.parametrize("sure", [True, False, None])
def test_a_stated_figure_that_is_missing_forbids_an_answer_in_any_case(sure: bool | None) -> None:
    held = replace(candidate("Pass rates double."), missing=frozenset({"90"}))
    found = choose(Question("how did it reach 90% pass rates"), [held], ExtractValues(), sure)
    assert found == ([], "nothing near the question names 90")


def test_a_model_and_its_threshold_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    model = Logistic({"lift": 1.5}, -0.25, "a command", "some data")
    write_model(tmp_path / "model.json", model, 0.4)
    assert read_model(tmp_path / "model.json") == (model, 0.4)


def written(folder: Path, *rows: object) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"passage": "x"}, "'question' is None"),
        ({"question": "x", "passage": 3}, "'passage' is 3"),
        ({"question": "x", "passage": "y", "unanswerable": "perhaps"}, "'unanswerable' is 'perhaps'"),
        ([], "'[]'"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, row: object, said: str) -> None:
    path = written(tmp_path, {"question": "x", "passage": "y"}, row)
    with pytest.raises(DatasetError) as error:
        load_pairs(path)
    assert str(error.value).startswith(f"{path}:2: {said}")


def test_scores_are_written_in_order_under_the_rows_ids(tmp_path: Path) -> None:
    pairs = load_pairs(
        written(tmp_path, {"id": "a", "question": "q", "passage": "p"}, {"question": "q", "passage": ""})
    )
    write_pair_scores(tmp_path / "out", pairs, [0.25, 0.5])
    lines = (tmp_path / "out").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"id": "a", "score": 0.25}, {"id": 2, "score": 0.5}]


def test_rows_without_a_label_are_left_out_of_the_report(tmp_path: Path) -> None:
    labels: list[bool | None] = [False, False, True, True, None]
    rows = [{"question": f"q{n}", "passage": "p", "unanswerable": label} for n, label in enumerate(labels)]
    report = report_answerability("x", load_pairs(written(tmp_path, *rows)), [0.9, 0.4, 0.3, 0.6, 0.99])
    assert (report.pairs, report.answerable) == (4, 2)
    assert report.measures["auroc"].mean == 0.75
    assert report.measures["accuracy"].mean == 0.5
    assert report.measures["auprc"].mean == pytest.approx((1 + 2 / 3) / 2)
    assert "auroc" in format_answerability(report)


def test_the_threshold_loses_no_more_of_the_answerable_than_it_may() -> None:
    scores = [n / 100 for n in range(100)]
    least = least_confidence(scores, [True] * 100, lost=0.05)
    assert sum(score < least for score in scores) == 5


def test_questions_on_one_article_are_told_apart(shared: Path, tmp_path: Path) -> None:
    """On rows of the fit, so a floor for a broken port, and no measure of quality."""
    path = shared / "data" / "squad2" / "qa.jsonl"
    if not path.exists() or not (Path("index") / "CURRENT").exists():
        pytest.skip("needs ../shared/data/squad2 and the index: rag index")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    pairs, scores = score_pairs(
        Settings(),
        written(tmp_path, *(row for row in rows if row["title"] == "Normans")),
        progress=lambda items, total, what: items,
    )
    assert report_answerability("Normans", pairs, scores).measures["auroc"].mean > 0.6


def test_who_asks_an_episode_for_its_limits_alone_asks_for_an_overview() -> None:
    for text, overview in (("limits of E026", 1.0), ("E026?", 1.0), ("what does E026 say about bananas", 0.0)):
        question = Question(text, named=("E026",))
        assert answerability().found_values(question, [candidate("The limits are many.")])["overview"] == overview


@pytest.mark.parametrize(
    ("question", "kind", "start", "overview"),
    [
        ("What is the logit lens?", "concept", 0, 1.0),
        ("Logit lens?", "concept", 0, 1.0),
        ("Explain the logit lens, please", "concept", 0, 1.0),
        ("Who made the logit lens?", "concept", 0, 0.0),
        ("Why the logit lens?", "concept", 0, 0.0),
        ("What is a lens?", "concept", 0, 0.0),
        ("What is the logit lens for bananas?", "concept", 0, 0.0),
        ("What is the logit lens?", "review", 0, 0.0),
        ("What is the logit lens?", "concept", 90, 0.0),
    ],
)
def test_who_asks_for_a_concept_alone_asks_for_an_overview(
    question: str, kind: str, start: int, overview: float
) -> None:
    first = candidate("The logit lens reads off what a model would answer.")
    first = replace(
        first,
        passage=replace(first.passage, kind=kind, title="Logit lens"),
        sentence=replace(first.sentence, start=start),
    )
    assert answerability().found_values(Question(question), [first])["overview"] == overview


def test_a_title_of_stop_words_is_not_what_a_question_of_stop_words_asks_for() -> None:
    first = candidate("The The was a band.")
    first = replace(first, passage=replace(first.passage, kind="concept", title="The The"))
    assert answerability().found_values(Question("What is it?"), [first])["overview"] == 0.0
