"""How likely passages support a claim."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import HashedTokens
from rag.answer.logistic import Logistic
from rag.answer.support import VECTORS, WORDS, Support, missing, model_path, opposed

SCORERS = [Support(), Support(HashedTokens())]
TRUE = [
    ("RL beats SFT by 3.8 points on a 32B model.", "In that setup RL beats SFT by 3.8 points on a 32B model, at once."),
    ("DeepSpeed lowers the cost of training to $25.", "DeepSpeed lowers the cost of training to $25. Others pay more."),
    ("97-99% of tokens keep their rank in Qwen2.5-Math-7B.", "In Qwen2.5-Math-7B, 97-99% of tokens keep their rank."),
]


@pytest.mark.parametrize("support", SCORERS)
@pytest.mark.parametrize(("claim", "passage"), TRUE)
def test_a_claim_is_supported_by_its_own_words_and_by_no_other_passage(
    support: Support, claim: str, passage: str
) -> None:
    others = [other for _, other in TRUE if other != passage]
    assert support.score(claim, [passage]) > 0.5
    assert support.score(claim, ["Cats sleep.", passage]) > 0.5
    assert support.score(claim, others) < 0.3
    assert support.score(claim, []) < 0.3


@pytest.mark.parametrize("support", SCORERS)
@given(st.sampled_from(TRUE), st.data())
def test_a_changed_digit_is_never_supported(support: Support, case: tuple[str, str], data: st.DataObject) -> None:
    claim, passage = case
    at = data.draw(st.sampled_from([i for i, c in enumerate(claim) if c.isdigit()]))
    put = data.draw(st.sampled_from("0123456789").filter(lambda digit: digit != claim[at]))
    assert support.score(claim[:at] + put + claim[at + 1 :], [passage]) < 0.5


@pytest.mark.parametrize("support", SCORERS)
@pytest.mark.parametrize(
    ("written", "put"),
    [("SFT", "DPO"), ("32B", "32M"), ("DeepSpeed", "OpenRLHF"), ("$25", "25%"), ("Math", "Code"), ("Qwen2", "Llama2")],
)
def test_a_changed_name_or_unit_is_never_supported(support: Support, written: str, put: str) -> None:
    for claim, passage in TRUE:
        if written in claim and not claim.startswith(written):
            assert support.score(claim.replace(written, put), [passage]) < 0.5


@pytest.mark.parametrize("support", SCORERS)
@pytest.mark.parametrize(
    ("claim", "turned"),
    [
        ("RL beats SFT by 3.8 points on a 32B model.", "RL never beats SFT by 3.8 points on a 32B model."),
        ("DeepSpeed lowers the cost of training to $25.", "DeepSpeed does not lower the cost of training to $25."),
        ("DeepSpeed lowers the cost of training to $25.", "DeepSpeed raises the cost of training to $25."),
    ],
)
def test_the_opposite_is_never_supported(support: Support, claim: str, turned: str) -> None:
    passage = dict(TRUE)[claim]
    assert support.score(turned, [passage]) < 0.5 < support.score(claim, [passage])


@pytest.mark.parametrize(
    ("claim", "passage"),
    [
        ("It gains 3.8% in the US.", "In the United States it gains 3.8 per cent."),
        ("It costs 25 dollars.", "It costs $25."),
        ("It has three layers.", "It has 3 layers."),
        ("One of these is Slovenian law.", "The law of Slovenia."),
        ("It is in Italy and Pakistan.", "Italian and Pakistani law"),
        ("The Chinese models.", "models of China"),
        ("The lab's GPT-4 and SREBP2.", "GPT4, SREBP-2"),
        ("It is 97% there.", "97-99% of it"),
        ("It is 1,500 there.", "1500 of it"),
        ("Here Zoë's Reinforcement-Learning (RL) wins.", "zoe on reinforcement learning"),
        ("1. It wins [3].", "It wins."),
        ("Setup: Create a file.", "make a file"),
        ("Here mRNA and RNAs are meant.", "the mRNA"),
    ],
)
def test_a_figure_or_name_may_be_spelled_otherwise(claim: str, passage: str) -> None:
    assert missing(claim, [passage]) == ()


@pytest.mark.parametrize(
    ("claim", "passage"),
    [
        ("It gains 3.8%.", "It gains 3.8 points."),
        ("It gains 38.", "It gains 3.8."),
        ("It gains -5.", "It gains 5."),
        ("It has 235B.", "An 8B model and one of 235M."),
        ("We use GPT-4.", "We use Llama-4."),
        ("Here it is Qwen2.5-Math-70B.", "Qwen2.5-Math-7B"),
        ("In 2001 it was there.", "In 2010 it was there."),
        ("Here the DPO wins.", "The endpoint wins."),
        ("Here Anna wins.", "Here she wins."),
        ("Here Maria wins.", "Here Marie wins."),
        ("It is in Georgia.", "It is by George."),
        ("It is in Austria.", "It is in Australia."),
        ("We use GPT3.", "We use GPT-3.5."),
        ("It is 98-99% there.", "It is 97-99% there, and 98% here."),
    ],
)
def test_what_is_another_figure_or_name_is_missing(claim: str, passage: str) -> None:
    assert missing(claim, [passage])


@pytest.mark.parametrize(
    ("claim", "sentence", "found"),
    [
        ("X reduces pain.", "X increases pain.", True),
        ("X reduces pain.", "X lowers pain.", False),
        ("X does not reduce pain.", "X reduces pain.", True),
        ("X isn't safe.", "X is safe.", True),
        ("X is not only safe.", "X is safe.", False),
        ("X reduces pain.", "X is blue.", False),
    ],
)
def test_opposites(claim: str, sentence: str, found: bool) -> None:
    assert opposed(claim, [sentence]) is found


@pytest.mark.parametrize("support", SCORERS)
def test_every_word_more_that_the_passage_holds_counts(support: Support) -> None:
    claim = "Contrastive training on fifty problems matches the accuracy of reinforcement learning."
    held = claim.split()
    scores = [support.score(claim, [" ".join(held[:n]) + "."]) for n in (1, 4, 8, len(held))]
    assert scores == sorted(scores)
    assert scores[0] < 0.3 < 0.7 < scores[-1]


@pytest.mark.parametrize("support", SCORERS)
def test_a_page_is_weaker_evidence_than_a_sentence(support: Support) -> None:
    claim, passage = TRUE[0]
    assert support.score(claim, [passage + " Cats sleep on mats." * 400]) < support.score(claim, [passage])


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text_gets_a_score(claim: str, passages: list[str]) -> None:
    for support in SCORERS:
        values = support.features(claim, passages)
        assert 0 <= support.score(claim, passages) <= 1
        assert all(0 <= values[name] <= 1 for name in ("window", "pairs", "far_figures", "missing", "opposed"))
        assert support.score(claim, passages) == support.score(claim, passages)


@pytest.mark.parametrize("names", [WORDS, VECTORS])
def test_the_weights_say_where_they_come_from_and_point_the_right_way(names: tuple[str, ...]) -> None:
    model = Logistic.read(model_path(names))
    assert tuple(model.weights) == names
    assert model.fitted_by.startswith("rag eval fit verifier ")
    assert model.fitted_on
    assert all((weight < 0) == (name in ("far_figures", "long")) for name, weight in model.weights.items())


def test_an_entailment_model_takes_the_place_of_the_logistic_model() -> None:
    class Reader:
        name = "reader"

        def probability(self, premise: str, hypothesis: str) -> float:
            return 0.9 if "sleeps" in premise else 0.2

    support = Support(entailment=Reader())
    assert support.score("The cat is at rest.", ["It eats.", "It sleeps."]) == 0.9
    assert support.score("The cat is at rest.", []) == 0
    assert support.score("The cat is at rest since 2001.", ["It sleeps."]) == 0.45


def test_a_score_is_had_while_a_question_waits() -> None:
    claim, passage = TRUE[0]
    Support().score(claim, [passage])
    began = time.perf_counter()
    for number in range(20):
        Support().score(f"{claim} {number}", [f"{passage} {number}"])
    assert (time.perf_counter() - began) / 20 < 0.05


def test_most_of_attributionbench_is_told_rightly(shared: Path) -> None:
    """By words alone and on the very rows that the weights were fitted on: that they are read and used as fitted."""
    path = shared / "data" / "attributionbench" / "dev.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[::6]]
    right = [(Support().score(row["claim"], row["passages"]) >= 0.5) == (row["label"] == "SUPPORTED") for row in rows]
    assert sum(right) / len(right) > 0.65
