from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rag.errors import UserError
from rag.evals.datasets import EvalQuestion
from rag.evals.gate import Baseline, gate, make_baseline, read_baseline, write_baseline
from rag.evals.report import Scored
from rag.evals.table import format_verdict
from rag.records import Turn

QUESTIONS = tuple(EvalQuestion(f"q{n:02d}", f"what is {n}?", "single", ("E001",)) for n in range(40))


def judged(recall: list[float], unsupported: list[float] | None = None, latency: float = 5.0) -> Baseline:
    """A ranking's recall, one value a question, and answers whose unsupported sentences are shares."""
    ids = [question.id for question in QUESTIONS]
    ranked = {id: {"R@5": value} for id, value in zip(ids, recall, strict=True)}
    said = {
        id: {"unsupported_share": value, "answered_share": 1.0, "abstention_precision": 1.0, "latency_ms": latency}
        for id, value in zip(ids, unsupported or [0.0] * 40, strict=True)
    }
    texts = {question.id: question.text for question in QUESTIONS}
    found = {id: [{"id": f"E00{n}", "text": "x" * 160} for n in (1, 2, 3)] for id in ids}
    measures = ("unsupported_share", "answered_share", "abstention_precision")
    return make_baseline(
        QUESTIONS,
        {
            "episodes": Scored("retrieval", "own (episodes)", "fake", ("R@5",), ranked, texts, found),
            "answers": Scored("answers", "own", "fake", measures, said, texts, {}),
        },
    )


GOOD = judged([1.0] * 40)


def test_what_is_the_same_passes_and_so_does_what_is_better() -> None:
    assert gate(GOOD, GOOD).worse == ()
    assert gate(judged([0.0] * 40), GOOD).worse == ()
    assert format_verdict(gate(GOOD, GOOD)).splitlines()[-1] == "nothing is worse beyond chance"


def test_what_is_worse_on_many_questions_fails_and_names_them() -> None:
    verdict = gate(GOOD, judged([0.0] * 9 + [1.0] * 31))
    assert [(worse.part, worse.difference.measure) for worse in verdict.worse] == [("episodes", "R@5")]
    assert [moved.query for moved in verdict.worse[0].moved] == [f"q{n:02d}" for n in range(9)]
    assert verdict.worse[0].moved[0].question == "what is 0?"
    assert verdict.worse[0].moved[0].found_before[0]["id"] == "E001"
    assert verdict.to_dict()["passed"] is False
    assert "worse: R@5 (episodes) 1.000 -> 0.775, p 0.0078 after Holm" in format_verdict(verdict)


def test_what_is_worse_on_a_few_questions_may_be_chance() -> None:
    assert gate(GOOD, judged([0.0] * 5 + [1.0] * 35)).worse == ()


def test_more_unsupported_sentences_are_worse() -> None:
    worse = gate(GOOD, judged([1.0] * 40, [1.0] * 20 + [0.0] * 20)).worse
    assert [(one.part, one.difference.measure) for one in worse] == [("answers", "unsupported_share")]
    assert [moved.query for moved in worse[0].moved] == [f"q{n:02d}" for n in range(10)]
    assert gate(judged([1.0] * 40, [1.0] * 40), GOOD).worse == ()


def test_holm_counts_every_measure_of_every_part() -> None:
    """7 of 7 have p 2 / 2^7 = 0.0156: enough by itself and for two measures, not for four."""
    after = judged([0.0] * 7 + [1.0] * 33)
    assert [d.holm for d in gate(GOOD, after).parts["episodes"].differences] == [2 * 2 / 2**7]
    assert gate(GOOD, after).worse

    def thrice(side: Baseline) -> Baseline:
        return replace(side, parts={**side.parts, "more": side.parts["answers"], "most": side.parts["answers"]})

    assert [d.holm for d in gate(thrice(GOOD), thrice(after)).parts["episodes"].differences] == [4 * 2 / 2**7]
    assert gate(thrice(GOOD), thrice(after)).worse == ()


def test_latency_and_the_share_answered_are_not_gated() -> None:
    assert gate(GOOD, judged([1.0] * 40, latency=500.0)).worse == ()
    assert GOOD.parts["answers"].measures == ("unsupported_share",)


def test_a_baseline_is_read_back_and_is_the_same_file_every_time(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    write_baseline(one, judged([1 / 3] * 40))
    turned = judged([0.333333] * 40, latency=7.0)
    turned.parts["episodes"].rows.update(dict(reversed(list(turned.parts["episodes"].rows.items()))))
    write_baseline(other, replace(turned, parts=dict(reversed(turned.parts.items()))))
    assert one.read_bytes() == other.read_bytes()
    back = read_baseline(one)
    assert back.parts["episodes"].rows["q00"] == {"R@5": 0.3333}
    assert [len(item["text"]) for item in back.parts["episodes"].found["q00"]] == [60, 60]
    write_baseline(other, back)
    assert one.read_bytes() == other.read_bytes()
    assert gate(back, judged([1 / 3] * 40)).parts["episodes"].moved == ()
    assert "latency" not in one.read_text(encoding="utf-8")
    assert '\n"q07":{"R@5":0.3333},\n' in one.read_text(encoding="utf-8")


def test_other_questions_or_other_gold_want_a_new_baseline() -> None:
    changed = [*QUESTIONS[1:-1], replace(QUESTIONS[-1], episodes=("E002",)), EvalQuestion("new", "?", "unanswerable")]
    current = replace(GOOD, questions=make_baseline(changed, {}).questions)
    with pytest.raises(UserError, match=r"1 new \(new\), 1 gone \(q00\), 1 changed \(q39\); .*gate --update"):
        gate(GOOD, current)
    with pytest.raises(UserError, match=r"the baseline has \['answers'\], wanted .*--update"):
        gate(replace(GOOD, parts={"answers": GOOD.parts["answers"]}), GOOD)


def test_a_conversation_is_part_of_a_question_and_none_is_as_before_there_were_any() -> None:
    (before,) = make_baseline([QUESTIONS[0]], {}).questions.values()
    assert before == "2f4d5fa6932d"
    (after,) = make_baseline([replace(QUESTIONS[0], history=(Turn("what is 1?"),))], {}).questions.values()
    assert after != before


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "no baseline"), ("[]", "no baseline"), ('{"format": 0}', "format 0, this version reads 1")],
)
def test_a_file_that_is_no_baseline_says_so(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "baseline.json"
    with pytest.raises(UserError, match=r"baseline\.json: No such file .*--update"):
        read_baseline(path)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=says):
        read_baseline(path)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "null", '"x"', "true", "1e400", str(10**400)])
def test_a_baseline_whose_values_are_no_finite_numbers_passes_nothing(tmp_path: Path, value: str) -> None:
    path = tmp_path / "baseline.json"
    write_baseline(path, GOOD)
    text = path.read_text(encoding="utf-8")
    assert '"R@5":1.0' in text
    path.write_text(text.replace('"R@5":1.0', f'"R@5":{value}'), encoding="utf-8")
    with pytest.raises(UserError, match=r"baseline\.json"):
        read_baseline(path)
