from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import NotFound, UserError
from rag.evals.datasets import EvalQuestion
from rag.evals.metrics import (
    RETRIEVAL_MEASURES,
    answered_rightly,
    auroc,
    bootstrap_interval,
    bootstrap_interval_of,
    overlap,
    risk_coverage,
    score_answer,
    score_run,
    states,
)
from rag.records import Answer, AnswerSentence, Evidence, Question, Unanswered

TEXT = "A loss on 50 problems reproduces RL for $25 E026. RL kept diversity 3x better than SFT E030."
FIRST, SECOND = TEXT[:49], TEXT[50:]


def evidence(quote: str, *episodes: str, document: str = "reviews/rl") -> Evidence:
    start = TEXT.index(quote)
    return Evidence(document, "RL", "", start, start + len(quote), quote, episodes, "explicit", 1.0)


def answered(*items: Evidence) -> Answer:
    return Answer(Question("?"), tuple(AnswerSentence(item.quote, (item,)) for item in items), None, ())


ABSTAINED = Answer(Question("?"), (), "the corpus does not say", ())
COST = EvalQuestion("q", "?", "single", ("E026",), (("reviews/rl", FIRST),), ("$25 | 25 dollars", "50 problems"))


def in_text(item: Evidence) -> str:
    return TEXT[item.start : item.end]


def test_measures_are_those_of_pytrec_eval() -> None:
    rng = random.Random(7)  # noqa: S311 - a data set, not a secret
    documents = [f"d{n}" for n in range(200)]
    qrels = {f"q{n}": {d: rng.choice([0, 0, 1, 2]) for d in rng.sample(documents, 30)} for n in range(40)}
    run = {q: {d: rng.choice([rng.random(), 0.5]) for d in rng.sample(documents, 120)} for q in qrels}
    theirs = {
        "nDCG@10": "ndcg_cut_10", "R@5": "recall_5", "R@20": "recall_20", "R@100": "recall_100",
        "RR": "recip_rank", "Success@1": "success_1",
    }  # fmt: skip
    expected = pytrec_eval.RelevanceEvaluator(qrels, set(theirs.values())).evaluate(run)
    scores = score_run(run, qrels)
    assert tuple(scores) == RETRIEVAL_MEASURES
    for measure, name in theirs.items():
        assert scores[measure] == pytest.approx({query: expected[query][name] for query in qrels})


def test_a_judged_query_that_the_run_misses_scores_zero() -> None:
    qrels = {"found": {"a": 1}, "empty": {"a": 1}, "missing": {"a": 1}, "hopeless": {"a": 0}}
    run: dict[str, dict[str, float]] = {"found": {"a": 1}, "empty": {}, "hopeless": {"a": 1}, "unjudged": {"a": 1}}
    for values in score_run(run, qrels).values():
        assert values == {"found": 1.0, "empty": 0.0, "missing": 0.0, "hopeless": 0.0}
    assert score_run({}, qrels, ["RR"]) == {"RR": dict.fromkeys(qrels, 0.0)}


@pytest.mark.parametrize("name", ["ndcg@10", "nDCG@x", "R", "", "recall of 10"])
def test_an_unknown_measure_is_the_callers_to_mend(name: str) -> None:
    with pytest.raises(UserError, match="as ir-measures writes them"):
        score_run({"q": {"a": 1.0}}, {"q": {"a": 1}}, [name])


def test_the_room_imports_neither_numpy_nor_ir_measures_until_asked() -> None:
    code = "import sys, rag.evals.evaluate; print(sorted({'numpy', 'ir_measures', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_an_interval_holds_the_mean_and_stays_within_the_values(values: list[float], seed: int) -> None:
    low, high = bootstrap_interval(values, seed=seed, samples=500)
    assert low - 1e-9 <= sum(values) / len(values) <= high + 1e-9
    assert min(values) - 1e-9 <= low
    assert high <= max(values) + 1e-9
    assert bootstrap_interval(values, seed=seed, samples=500) == (low, high)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=8, max_size=30).filter(lambda v: 2 <= sum(v) <= len(v) - 2))
def test_an_interval_shrinks_as_questions_are_added_and_grows_with_its_level(values: list[float]) -> None:
    def width(low: float, high: float) -> float:
        return high - low

    assert width(*bootstrap_interval(values * 16)) < width(*bootstrap_interval(values))
    assert width(*bootstrap_interval(values, level=0.5)) < width(*bootstrap_interval(values, level=0.99))


def test_the_interval_is_that_of_the_normal_approximation_where_that_holds() -> None:
    low, high = bootstrap_interval([0.0, 1.0] * 500)
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.5 / 1000**0.5, 0.5 + 1.96 * 0.5 / 1000**0.5), abs=0.003)


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted values"):
        bootstrap_interval([])


confident = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1), st.booleans()), min_size=1)


@given(confident)
def test_auroc_is_that_of_scikit_learn(pairs: list[tuple[float, bool]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with the `build` extra")
    scores, labels = zip(*pairs, strict=True)
    if len(set(labels)) == 1:
        assert np.isnan(auroc(scores, labels))
    else:
        assert auroc(scores, labels) == pytest.approx(metrics.roc_auc_score(labels, scores))


def test_auroc_counts_pairs() -> None:
    assert auroc([3, 2, 1], [True, False, False]) == 1
    assert auroc([1, 2, 3], [True, False, False]) == 0
    assert auroc([1, 1, 1], [True, False, False]) == 0.5


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.booleans()), min_size=1, max_size=6))
def test_risk_is_its_mean_over_every_order_that_the_confidences_allow(pairs: list[tuple[float, bool]]) -> None:
    orders = [order for order in permutations(pairs) if list(order) == sorted(order, key=lambda pair: -pair[0])]
    risks = [[sum(not right for _, right in order[:n]) / n for n in range(1, len(order) + 1)] for order in orders]
    found = risk_coverage(*zip(*pairs, strict=True))
    assert found.risk == pytest.approx(np.mean(risks, axis=0))
    assert found.aurc == pytest.approx(np.mean(risks))
    assert found.coverage == pytest.approx([n / len(pairs) for n in range(1, len(pairs) + 1)])


@given(confident)
def test_no_confidence_does_better_than_the_one_that_knows_nor_worse_than_the_one_that_errs(
    pairs: list[tuple[float, bool]],
) -> None:
    sure, right = zip(*pairs, strict=True)
    best, worst = risk_coverage(right, right).aurc, risk_coverage([not r for r in right], right).aurc
    assert best - 1e-12 <= risk_coverage(sure, right).aurc <= worst + 1e-12
    assert risk_coverage([0.5] * len(right), right).aurc == pytest.approx(1 - sum(right) / len(right))


def test_a_curve_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        risk_coverage([], [])


def test_an_interval_of_a_mean_is_the_same_however_it_is_asked_for() -> None:
    values = np.arange(40) / 40
    low, high = bootstrap_interval_of(lambda at: float(values[at].mean()), 40)
    assert (low, high) == pytest.approx(bootstrap_interval(values.tolist()), abs=0.01)


def test_samples_without_a_value_are_left_out_of_an_interval() -> None:
    figures = iter([1.0, float("nan"), 3.0])
    low, high = bootstrap_interval_of(lambda _: next(figures), 5, samples=3, level=0.999)
    assert [low, high] == pytest.approx([1, 3], abs=0.01)
    with pytest.raises(ValueError, match="no sample"):
        bootstrap_interval_of(lambda _: float("nan"), 5, samples=3)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("It cost about $25.", "$25"),
        ("It cost about $25.", "25"),
        ("on 1,600 problems", "1600 problems"),
        ("on 1600\nproblems", "1,600  Problems"),
        ("a gain of 6 percent", "6%"),
        ("a gain of 6 %", "6 per cent"),
        ("a 6-percent gain", "6%"),
        ("a 32B model", "32 B"),
        ("a 4-bit model", "4 bit"),
        ("layers 3\u20136", "6"),
        ("it took 6.", "6"),
        ("fell by \u22123.5 points", "-3.5"),
        ("in a day\u20146 hours", "6 hours"),
        ("twenty-five dollars", "$25 | twenty-five dollars"),
    ],
)
def test_a_fact_is_found_however_it_is_set(text: str, fact: str) -> None:
    assert states(text, fact)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        *((text, "6") for text in ["16", "60", "6.5", "1.6", "1,6", "6,5", "6/10", "1e-6", "GPT-6", "6B", "6e4", "-6"]),
        *((text, "6") for text in ["6%", "6 percent", "6 million", "6-billion", "10^-6", "6^2", "6\u00d710^3", "E006"]),
        *((text, "6") for text in ["1,006", "6,000", "x -6", "6:30", "0.6", ".6", "6\u00b2"]),
        ("$250", "$25"),
        ("$25.50", "$25"),
        ("-$25", "$25"),
        ("1,600,000 problems", "1,600"),
        ("1,6000", "16000"),
        ("16%", "6%"),
        ("6 percentage points", "6%"),
        ("3-5", "-5"),
        ("remodels", "model"),
        ("models", "model"),
        ("anything", " "),
    ],
)
def test_a_fact_is_not_found_in_another(text: str, fact: str) -> None:
    assert not states(text, fact)


@given(st.decimals(0, 10**7, places=2), st.decimals(0, 10**7, places=2), st.sampled_from(["{}", "{:,}", "${:,} a day"]))
def test_number_matching_never_forgives_a_digit(a: object, b: object, form: str) -> None:
    assert states(f"it was {form.format(a)}.", str(a))
    assert states(f"it was {form.format(b)}.", str(a)) == (a == b)


@given(
    st.integers(0, 10**7).map(str),
    st.integers(0, 8),
    st.sampled_from([*"0123456789", ".1", ",1", "1.", "1,", "1/", "1e-"]),
    st.sampled_from(["", "%", "x", " hours", "B", ".", ","]),
)
def test_a_number_with_anything_put_into_it_is_another(number: str, at: int, more: str, unit: str) -> None:
    other = number[:at] + more + number[at:]
    fact = number + unit.rstrip(".,")
    assert states(f"from {number}{unit} on", fact)
    assert not states(f"from {other}{unit} on", fact)
    assert not states(number, other)


@given(st.text(), st.text())
def test_any_text_may_be_matched(text: str, fact: str) -> None:
    assert not states(text, fact) or states(f" {text} ", fact)


@given(st.text("ab ", min_size=12, max_size=40), st.data())
def test_an_overlap_found_by_words_is_at_least_the_one_by_offsets(text: str, data: st.DataObject) -> None:
    cuts = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(sorted)
    (a, b), (c, d) = data.draw(cuts), data.draw(cuts)
    start, end = overlap(text[a:b], text[c:d])
    assert text[a:b][start:end] in text[c:d]
    assert end - start >= min(b, d) - max(a, c)


def test_an_answer_that_quotes_the_gold_has_full_marks() -> None:
    assert score_answer(COST, answered(evidence(FIRST, "E026")), in_text) == {
        "answered_share": 1, "abstention_accuracy": 1, "unsupported_share": 0, "fact_recall": 1,
        "citation_recall": 1, "citation_precision": 1, "quote_recall": 1, "quote_precision": 1,
    }  # fmt: skip


def test_the_right_episode_by_another_document_has_the_citation_and_not_the_quote() -> None:
    row = score_answer(COST, answered(evidence(FIRST, "E026", document="episodes/E026")), in_text)
    assert (row["citation_recall"], row["quote_recall"], row["quote_precision"]) == (1, 0, 0)


def test_a_second_sentence_that_was_not_asked_for_halves_precision_alone() -> None:
    row = score_answer(COST, answered(evidence(FIRST, "E026"), evidence(SECOND, "E030")), in_text)
    assert (row["citation_precision"], row["citation_recall"]) == (0.5, 1)
    assert (row["quote_precision"], row["quote_recall"]) == (0.5, 1)


def test_half_of_a_quote_finds_it_and_less_does_not_and_pieces_add_up() -> None:
    half, less, rest = TEXT[:25], TEXT[:24], TEXT[30:49]
    found = [
        score_answer(COST, answered(*(evidence(quote, "E026") for quote in quotes)), in_text)["quote_recall"]
        for quotes in ([half], [less], [less, rest], [less, less])
    ]
    assert found == [1, 0, 1, 0]


def test_an_abstention_recalls_nothing_and_spoils_no_precision() -> None:
    assert score_answer(COST, ABSTAINED, in_text) == {
        "answered_share": 0, "abstention_accuracy": 0, "abstention_precision": 0,
        "citation_recall": 0, "quote_recall": 0, "fact_recall": 0,
    }  # fmt: skip


def test_an_unanswerable_question_asks_for_abstention_alone() -> None:
    nowhere = EvalQuestion("q", "?", "unanswerable")
    assert score_answer(nowhere, ABSTAINED, in_text) == {
        "answered_share": 0, "abstention_accuracy": 1, "abstention_precision": 1, "abstention_recall": 1,
    }  # fmt: skip
    assert score_answer(nowhere, answered(evidence(FIRST, "E026")), in_text) == {
        "answered_share": 1, "abstention_accuracy": 0, "abstention_recall": 0, "unsupported_share": 0,
    }  # fmt: skip


def test_what_the_corpus_lacks_of_several_questions_is_to_be_said_and_nothing_else() -> None:
    both = EvalQuestion("q", "What did it cost? What is a zebra?", "partial", ("E026",), lacks=("What is a zebra?",))
    cost, zebra = Unanswered("What did it cost?", "far"), Unanswered("what is a zebra", "far")

    def scored(*told: Unanswered) -> tuple[float | None, float | None]:
        row = score_answer(both, replace(answered(evidence(FIRST, "E026")), unanswered=told), in_text)
        return row.get("lack_precision"), row.get("lack_recall")

    assert scored() == (None, 0)
    assert scored(Unanswered("What is a zebra?", "far")) == (1, 1)
    assert scored(cost) == (0, 0)
    assert scored(cost, Unanswered("is a zebra?", "far")) == (0.5, 1)
    assert "lack_precision" not in score_answer(both, replace(ABSTAINED, unanswered=(cost, zebra)), in_text)
    assert score_answer(both, ABSTAINED, in_text)["lack_recall"] == 1
    spoiled = replace(answered(evidence(FIRST, "E026")), unanswered=(zebra,))
    assert score_answer(COST, spoiled, in_text)["lack_precision"] == 0


def test_a_quote_that_is_not_in_its_document_is_unsupported() -> None:
    def altered(item: Evidence) -> str:
        return in_text(item).replace("25", "26")

    def gone(item: Evidence) -> str:
        raise NotFound(item.document)

    answer = answered(evidence(FIRST, "E026"), evidence(SECOND, "E030"))
    assert score_answer(COST, answer, altered)["unsupported_share"] == 0.5
    assert score_answer(COST, answer, gone)["unsupported_share"] == 1


def test_an_answer_is_right_if_half_of_the_gold_is_cited_and_half_of_what_is_cited_is_gold() -> None:
    two = EvalQuestion("q", "?", "multi", ("E026", "E031"), (("reviews/rl", FIRST),))
    one, other = evidence(FIRST, "E026"), evidence(SECOND, "E030")
    assert answered_rightly(COST, answered(one))
    assert answered_rightly(COST, answered(one, other))
    assert answered_rightly(two, answered(one, other))
    assert not answered_rightly(two, answered(evidence(FIRST, "E026", "E027", "E028")))
    three = EvalQuestion("q", "?", "multi", ("E026", "E031", "E032"), (("reviews/rl", FIRST),))
    assert not answered_rightly(three, answered(one))
    assert not answered_rightly(COST, answered(other))
    assert not answered_rightly(COST, answered(evidence(FIRST)))
    assert not answered_rightly(COST, ABSTAINED)


def test_no_answer_to_an_unanswerable_question_is_right_nor_is_an_abstention() -> None:
    nowhere = EvalQuestion("q", "?", "unanswerable/premise", ("E026",))
    assert not answered_rightly(nowhere, answered(evidence(FIRST, "E026")))
    assert not answered_rightly(nowhere, ABSTAINED)


def test_where_the_gold_names_no_episode_its_documents_count() -> None:
    defined = EvalQuestion("q", "?", "definition", (), (("reviews/rl", FIRST),))
    assert answered_rightly(defined, answered(evidence(FIRST)))
    assert not answered_rightly(defined, answered(evidence(FIRST, document="episodes/E026")))


@pytest.mark.parametrize("measure", ["R", "P@5.5", "P(foo=3)@5", "nDCG(cutoff='x')"])
def test_a_measure_without_its_cutoff_or_with_another_parameter_is_refused(measure: str) -> None:
    with pytest.raises(UserError, match=r"^measure .* lacks a cutoff, or has a parameter that it cannot take; wanted"):
        score_run({}, {"q": {"a": 1}}, [measure])


@pytest.mark.parametrize("measure", ["ERR@10", "RBP", "alpha_nDCG@10"])
def test_a_measure_that_wants_another_program_is_refused_before_any_work(measure: str) -> None:
    with pytest.raises(UserError, match="cannot be computed here; wanted"):
        score_run({}, {"q": {"a": 1}}, [measure])


def test_a_relevance_level_that_trec_eval_cannot_hold_is_refused() -> None:
    with pytest.raises(UserError, match=r"cannot compute AP\(rel=2147483648\)"):
        score_run({"q": {"a": 1.0}}, {"q": {"a": 1}}, ["AP(rel=2147483648)"])


def test_reciprocal_rank_and_what_is_judged_may_have_a_cutoff() -> None:
    run, qrels = {"q": {"a": 3.0, "b": 2.0, "c": 1.0}}, {"q": {"a": 0, "c": 1}}
    scores = score_run(run, qrels, ["RR@2", "RR@3", "Judged@2"])
    assert scores == {"RR@2": {"q": 0.0}, "RR@3": {"q": pytest.approx(1 / 3)}, "Judged@2": {"q": 0.5}}


@pytest.mark.parametrize("measure", ["P@0", "nDCG@0", "nDCG@1000000001", "P@10000000000000000000000"])
def test_a_cutoff_below_one_or_of_billions_is_refused(measure: str) -> None:
    with pytest.raises(UserError, match="cutoff below 1"):
        score_run({"q": {"a": 1.0}}, {"q": {"a": 1}}, [measure])
