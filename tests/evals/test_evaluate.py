from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from rag.errors import UserError
from rag.evals.datasets import EvalQuestion
from rag.evals.evaluate import (
    by_episode,
    by_passage,
    episode_qrels,
    evaluate_answers,
    evaluate_retrieval,
    passage_qrels,
    report_retrieval,
)
from rag.evals.table import format_table
from rag.records import Answer, AnswerSentence, Evidence, Hit, Passage, Question, Ranking

TEXTS = {
    "reviews/rl": "A loss on fifty problems reproduces RL for $25. Diversity was kept. Others disagree on diversity.",
    "reviews/data": "Synthetic data collapses. Mixing real data prevents collapse.",
}
EPISODES = [("E026",), ("E030", "E026"), (), ("E040",), ("E041",)]


def passages() -> list[Passage]:
    """One a sentence."""
    out: list[Passage] = []
    for document, text in TEXTS.items():
        start = 0
        for sentence in text.split(". "):
            end = min(start + len(sentence) + 1, len(text))
            ids = EPISODES[len(out)]
            out.append(Passage(f"{document}:{start:03d}", document, text[start:end], start, end, ids))
            start = end + 1
    return out


class Overlap:
    """Ranks by shared words; what shares none is not found. Ties are common, and it counts how often it is asked."""

    name = "overlap"

    def __init__(self, held: Sequence[Passage]) -> None:
        self.held, self.asked = held, list[int]()

    def retrieve(self, question: Question, k: int) -> Ranking:
        self.asked.append(k)
        words = set(question.text.lower().split())
        scored = [(len(words & set(p.text.lower().rstrip(".").split())), p) for p in self.held]
        best = sorted(((s, p) for s, p in scored if s), key=lambda pair: (-pair[0], pair[1].id))
        return tuple(Hit(p, float(s), rank) for rank, (s, p) in enumerate(best[:k], 1))


QUESTIONS = (
    EvalQuestion("cost", "loss problems", "numeric", ("E026",), (("reviews/rl", "reproduces RL for $25"),), ("$25",)),
    EvalQuestion("mix", "real data", "single", ("E041",), (("reviews/data", "prevents collapse"),), ("mixing",)),
    EvalQuestion("rate", "learning rate", "unanswerable"),
)
QUERIES = {question.id: question.text for question in QUESTIONS}


def test_a_document_counts_at_its_best_passage() -> None:
    run = evaluate_retrieval(Overlap(passages()), {"q": "diversity others real data"}).run
    assert list(run["q"]) == ["reviews/data", "reviews/rl"]
    assert run["q"]["reviews/data"] == 2.0


def test_more_passages_are_asked_for_until_k_documents_are_found_or_there_are_no_more() -> None:
    retriever = Overlap(passages())
    run = evaluate_retrieval(retriever, {"q": "diversity kept others on collapse"}, k=2).run
    assert (list(run["q"]), retriever.asked) == (["reviews/rl", "reviews/data"], [2, 8])
    retriever = Overlap(passages())
    evaluate_retrieval(retriever, {"q": "diversity kept"}, k=3)
    assert retriever.asked == [3]
    retriever = Overlap(passages())
    evaluate_retrieval(retriever, {"q": "diversity kept"}, k=2, depth=1)
    assert retriever.asked == [2]


def test_tied_hits_keep_their_ranks_and_nothing_found_is_an_empty_ranking() -> None:
    run = evaluate_retrieval(Overlap(passages()), {"tie": "diversity", "none": "zebra"}, key=by_passage).run
    assert list(run["tie"]) == ["reviews/rl:048", "reviews/rl:068"]
    assert len(set(run["tie"].values())) == 2
    assert run["none"] == {}


def test_the_first_ten_of_a_ranking_are_kept_with_the_start_of_their_passage() -> None:
    held = [Passage(f"d:{n}", "d", "real\ndata " * 40, 0, 400) for n in range(10, 25)]
    found = evaluate_retrieval(Overlap(held), {"q": "real data"}, key=by_passage).found["q"]
    assert [item["id"] for item in found] == [f"d:{n}" for n in range(10, 20)]
    assert (len(found[0]["text"]), found[0]["text"][:20]) == (160, "real data real data ")
    report = report_retrieval(
        {}, {"q": {"d:11": 1}}, name="", retriever="", questions=QUERIES | {"q": "?"}, found={"z": []}
    )
    assert (report.questions, report.found) == ({"q": "?"}, {})


def test_an_episode_counts_at_its_best_passage() -> None:
    run = evaluate_retrieval(Overlap(passages()), {"q": "diversity was others"}, key=by_episode).run
    assert list(run["q"]) == ["E030", "E026"]


def test_progress_wraps_the_queries_and_the_question_may_be_parsed() -> None:
    seen: list[int] = []

    def progress(items: Sequence[Any]) -> Iterable[Any]:
        seen.append(len(items))
        return items

    run = evaluate_retrieval(
        Overlap(passages()), QUERIES, progress=progress, question=lambda _: Question("collapses")
    ).run
    assert seen == [3]
    assert list(run["cost"]) == ["reviews/data"]


def test_gold_passages_hold_a_quote_and_gold_episodes_are_as_written() -> None:
    assert passage_qrels(QUESTIONS, passages()) == {"cost": {"reviews/rl:000": 1}, "mix": {"reviews/data:026": 1}}
    assert episode_qrels(QUESTIONS) == {"cost": {"E026": 1}, "mix": {"E041": 1}}


def test_a_quote_over_several_passages_is_held_by_those_with_half_of_it_or_wholly_inside() -> None:
    quote = TEXTS["reviews/rl"][30:]
    question = EvalQuestion("q", "?", "multi", quotes=(("reviews/rl", quote),))
    assert passage_qrels([question], passages()) == {"q": {"reviews/rl:048": 1, "reviews/rl:068": 1}}


def test_a_quote_that_no_passage_of_its_document_holds_is_an_error() -> None:
    question = replace(QUESTIONS[0], quotes=(("reviews/data", "reproduces RL for $25"),))
    with pytest.raises(UserError, match=r"'cost' quotes 'reproduces RL for \$25', which no passage of 'reviews/data'"):
        passage_qrels([question], passages())


def test_a_retrieval_report_has_means_intervals_types_and_rows() -> None:
    run = evaluate_retrieval(Overlap(passages()), {"cost": QUERIES["cost"]}, key=by_passage).run
    types = {question.id: question.type for question in QUESTIONS}
    qrels = passage_qrels(QUESTIONS, passages())
    report = report_retrieval(run, qrels, name="own", retriever="overlap", measures=["RR", "R@5"], types=types)
    assert report.queries == 2
    assert (report.measures["RR"].mean, report.measures["RR"].n) == (0.5, 2)
    assert (report.measures["RR"].low, report.measures["RR"].high) == (0.0, 1.0)
    assert report.by_type == {"numeric": {"RR": 1.0, "R@5": 1.0}, "single": {"RR": 0.0, "R@5": 0.0}}
    assert report.rows["mix"] == {"RR": 0.0, "R@5": 0.0}
    back = json.loads(json.dumps(report.to_dict()))
    assert back["kind"] == "retrieval"
    assert back["measures"]["RR"]["mean"] == 0.5
    assert format_table(report).splitlines() == [
        "own  overlap  2 questions",
        "measure   mean    95% interval  n  numeric  single",
        "RR       0.500  0.000 to 1.000  2    1.000   0.000",
        "R@5      0.500  0.000 to 1.000  2    1.000   0.000",
    ]


def ask(text: str) -> Answer:
    """Quotes the best passage; abstains where there is none."""
    hits = Overlap(passages()).retrieve(Question(text), 1)
    if not hits:
        return Answer(Question(text), (), "the corpus does not say", ())
    best = hits[0].passage
    item = Evidence(best.document, "", "", best.start, best.end, best.text, best.episodes, "explicit", 1.0)
    return Answer(Question(text), (AnswerSentence(best.text, (item,)),), None, hits)


def quote_of(item: Evidence) -> str:
    return TEXTS[item.document][item.start : item.end]


def test_an_answer_report_counts_a_measure_where_it_applies() -> None:
    report = evaluate_answers(lambda q: ask(q.text), QUESTIONS, quote_of, name="own", retriever="overlap")
    assert {name: (estimate.mean, estimate.n) for name, estimate in report.measures.items()} == {
        "citation_precision": (1, 2), "citation_recall": (1, 2), "quote_precision": (1, 2), "quote_recall": (1, 2),
        "fact_recall": (1, 2), "unsupported_share": (0, 2), "abstention_precision": (1, 1),
        "abstention_recall": (1, 1), "abstention_accuracy": (1, 3), "answered_share": (pytest.approx(2 / 3), 3),
    }  # fmt: skip
    assert report.by_type["unanswerable"]["answered_share"] == 0
    assert "fact_recall" not in report.by_type["unanswerable"]
    assert 0 < report.latency_ms["p50"] <= report.latency_ms["p95"]
    assert all(row["latency_ms"] > 0 for row in report.rows.values())
    assert json.loads(json.dumps(report.to_dict()))["kind"] == "answers"
    table = format_table(report)
    assert [len(line) for line in table.splitlines()[1:-1]] == [len(table.splitlines()[1])] * 11
    assert table.splitlines()[-1].startswith("latency  p50 ")


def test_a_report_on_answers_says_what_was_asked_and_shown() -> None:
    report = evaluate_answers(lambda q: ask(q.text), QUESTIONS, quote_of)
    assert report.questions == QUERIES
    assert report.found["rate"] == []
    assert report.found["mix"] == [{"text": "Mixing real data prevents collapse.", "citations": ["E041"]}]
    assert [row["correct"] for row in report.rows.values()] == [1, 1, 0]


def test_confidence_is_judged_where_answers_have_one() -> None:
    unsure = evaluate_answers(lambda q: ask(q.text), QUESTIONS, quote_of)
    assert (unsure.auroc, unsure.aurc) == (None, None)
    assert not {"auroc", "aurc"} & unsure.to_dict().keys()
    assert not any("confidence" in row for row in unsure.rows.values())

    sure = {"loss problems": 0.9, "real data": None, "learning rate": 0.4}
    report = evaluate_answers(lambda q: replace(ask(q.text), confidence=sure[q.text]), QUESTIONS, quote_of)
    assert [row["confidence"] for row in report.rows.values()] == [0.9, 0, 0.4]
    assert report.auroc is not None
    assert report.aurc is not None
    assert (report.auroc.mean, report.auroc.n) == (0.5, 3)
    assert report.auroc.low <= 0.5 <= report.auroc.high
    assert report.aurc.mean == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    assert report.to_dict()["auroc"]["mean"] == 0.5
    assert [line.split()[0] for line in format_table(report).splitlines()[-3:]] == ["auroc", "aurc", "latency"]

    answerable = evaluate_answers(lambda q: replace(ask(q.text), confidence=0.5), QUESTIONS[:2], quote_of)
    assert answerable.auroc is None
    assert answerable.aurc is not None
    assert answerable.aurc.mean == 0


def test_latency_is_the_milliseconds_around_the_question() -> None:
    def slow(text: str) -> Answer:
        time.sleep(0.02)
        return ask(text)

    assert 20 <= evaluate_answers(lambda q: slow(q.text), QUESTIONS, quote_of).latency_ms["p50"] < 10_000


def test_no_questions_are_an_empty_report() -> None:
    report = evaluate_answers(lambda q: ask(q.text), [], quote_of)
    assert (report.queries, report.measures, report.latency_ms) == (0, {}, {})
    assert format_table(report).startswith("answers  0 questions")
