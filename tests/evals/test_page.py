"""The page and the pictures on it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree, html  # type: ignore[import-untyped]

from rag.evals.calibration import reliability, wilson
from rag.evals.datasets import EvalQuestion
from rag.evals.markdown import to_markdown
from rag.evals.report import AnswerReport, Estimate
from rag.evals.results import MEASURES, Results, answers, confidences, tabulate

pytest.importorskip("matplotlib", reason="pictures need the `build` extra")

from rag.evals import pictures
from rag.evals.page import to_page

NASTY = "<script>alert('x')</script> & | `why`?"


def results() -> Results:
    queries = [f"q{n}" for n in range(12)]
    base = {query: dict.fromkeys(MEASURES, 0.5) for query in queries}
    good = {query: dict.fromkeys(MEASURES, 0.75) for query in queries}
    table = tabulate("evals", "episode", "test", {"default": base, "bm25": good, "rrf": base})
    questions = tuple(
        EvalQuestion(q, NASTY if q == "q1" else f"what is {q}?", "single" if n % 3 else "unanswerable/premise",
                     ("E001",) if n % 3 else (), split="test")
        for n, q in enumerate(queries)
    )  # fmt: skip
    rows = {
        q.id: {
            "answered_share": float(n % 4 > 0), "abstention_accuracy": 1.0, "correct": float(q.answerable and n % 2),
            "latency_ms": 5.0 + n, "confidence": n / 12, **({"citation_recall": 0.5} if q.answerable else {}),
        }
        for n, q in enumerate(questions)
    }  # fmt: skip
    of = Estimate(0.5, 0.25, 0.75, 12)
    report = AnswerReport(
        "evals", "fake", 12, {"answered_share": of}, {}, rows, {"p50": 11.0, "p95": 16.0}, of, of,
        {q.id: q.text for q in questions}, {"q1": [{"text": "An <b>answer</b>.", "citations": ["E001", "E002"]}]},
    )  # fmt: skip
    scored = confidences("verifier", "set/claims.jsonl", [0.1, 0.4, 0.8, 0.9], [False, True, True, True])
    return Results(
        "1.0", "hybrid", 3, 9, "fake (int8)", {"default": "", "bm25": 'search.retriever = "bm25"', "rrf": "x"},
        (table,), (answers("test", report, questions),), (scored,),
    )  # fmt: skip


@pytest.fixture(scope="module")
def page() -> str:
    return to_page(results())


def test_the_page_is_well_formed_with_a_picture_of_everything(page: str) -> None:
    root = etree.fromstring(page.encode())
    names = [svg.get("aria-label") for svg in root.iter("svg")]
    assert len(names) == 8  # types, risk, reliability, kinds, latency; verifier's reliability and kinds; a table
    assert all(names)
    assert "nDCG@10 of the default 0.500" in names[-1]
    ids = root.xpath("//@id")
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:url\(|href=")#([^")]+)', page)
    assert used
    assert set(used) <= set(ids)


def test_nothing_is_loaded_and_nothing_runs(page: str) -> None:
    assert "http" not in page
    assert not re.search(r"<(?:script|link|img|iframe|object|embed)\b|@import|\bon\w+=", page)


def test_the_text_of_a_question_is_text(page: str) -> None:
    cells = [cell.text_content() for cell in html.fromstring(page.encode()).iter("td")]
    assert NASTY in cells
    assert "An <b>answer</b>." in cells
    assert "E001, E002" in cells


def test_what_was_fitted_on_is_said_not_to_be_held_out() -> None:
    found = [confidences("verifier", "set/claims.jsonl", [0.1, 0.9], [False, True], [on]).held_out
             for on in ("set/claims.jsonl, 4 claims", "other/claims.jsonl, 4 claims")]  # fmt: skip
    assert found == [False, True]
    scored = tuple(replace(one, held_out=False) for one in results().confidences)
    fitted = replace(results(), confidences=scored, fitted=("evals, 9 dev questions",))
    for text in (to_page(fitted), to_markdown(fitted)):
        assert "the weights were fitted on it: not held out" in text
        assert "were fitted on: evals, 9 dev questions. What is said of these is not held out." in text


def test_the_page_is_the_same_every_time(page: str) -> None:
    assert to_page(results()) == page
    assert not re.search(r"20\d\d-\d\d|Matplotlib", page)


def test_page_and_markdown_have_the_same_numbers(page: str) -> None:
    text = to_markdown(results())
    assert "| bm25 | 0.750 (0.750 to 0.750) | +0.250 (+0.250 to +0.250) | \\<0.001 | \\<0.001 | 12 / 0 / 0 |" in text
    row = html.fromstring(page.encode()).xpath("//tr[@class='beyond']")[0]
    assert [cell.text for cell in row][:5] == [
        "bm25", "0.750 (0.750 to 0.750)", "+0.250 (+0.250 to +0.250)", "<0.001", "<0.001"
    ]  # fmt: skip
    assert "beyond chance better than the default: bm25; worse: none, of 2 variations" in text
    assert "`rag eval report`" in text
    numbers = re.findall(r"\d\.\d{3}", text)
    assert not [number for number in numbers if number not in page]


def test_answers_without_confidence_have_no_curve_and_the_page_says_so() -> None:
    (one,) = results().answers
    rows = {id: {k: v for k, v in row.items() if k != "confidence"} for id, row in one.report.rows.items()}
    bare = replace(one, report=replace(one.report, rows=rows, auroc=None, aurc=None))
    text = to_page(replace(results(), answers=(bare,), confidences=()))
    assert "no confidence" in text
    assert len(list(etree.fromstring(text.encode()).iter("svg"))) == 3


def test_a_dot_stands_at_its_mean_and_its_whisker_at_the_ends_of_the_interval() -> None:
    of = {"RR": Estimate(0.5, 0.25, 0.75, 9)}, {"RR": Estimate(0.625, 0.5, 0.875, 9)}
    figure = pictures.whiskers([("default", of[0], {}), ("other", of[1], {"RR": True})], ("RR",))
    (axes,) = figure.axes
    drawn = [(list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))) for line in axes.lines[1:]]
    assert drawn == [([0.25, 0.75], [0, 0]), ([0.5], [0]), ([0.5, 0.875], [1, 1]), ([0.625], [1])]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["default", "other"]
    assert axes.lines[2].get_marker() != axes.lines[4].get_marker()


def test_a_reliability_diagram_has_its_dots_and_counts() -> None:
    figure = pictures.reliability_diagram(reliability([0.25, 0.25, 0.75], [True, False, True], bins=2), "said", "true")
    dots, counts = figure.axes
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in dots.lines if line.get_marker() == "o"] == [
        (0.25, 0.5), (0.75, 1.0)
    ]  # fmt: skip
    assert [bar.get_height() for bar in counts.patches] == [2, 1]


def test_a_picture_has_a_name_for_those_who_do_not_see_it_and_colours_that_a_page_may_change() -> None:
    drawn = pictures.svg(pictures.latency_histogram([1.0, 2.0, 9.0], {"p50": 2.0}), "l", 'takes "2" < 3 ms')
    root = etree.fromstring(drawn)
    assert (root.get("role"), root.get("aria-label"), root[0].text) == ("img", 'takes "2" < 3 ms', 'takes "2" < 3 ms')
    assert "var(--blue)" in drawn
    assert not any(colour in drawn for colour in pictures.VARIABLES)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=40), st.integers(1, 20))
def test_bins_hold_every_confidence_once(pairs: list[tuple[float, bool]], bins: int) -> None:
    found = reliability([c for c, _ in pairs], [label for _, label in pairs], bins)
    assert (len(found), sum(b.n for b in found)) == (bins, len(pairs))
    assert sum(b.n * b.share for b in found if b.share is not None) == pytest.approx(sum(label for _, label in pairs))
    for b in found:
        if b.mean is not None and b.share is not None and b.low_share is not None and b.high_share is not None:
            assert b.low - 1e-9 <= b.mean <= b.high + 1e-9
            assert -1e-9 <= b.low_share <= b.share + 1e-9
            assert b.share - 1e-9 <= b.high_share <= 1 + 1e-9


def test_a_confidence_outside_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.1"):
        reliability([1.5], [True])


def test_wilson_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(9, 12).proportion_ci(0.95, method="wilson")
    assert wilson(9, 12) == pytest.approx((expected.low, expected.high), abs=1e-6)
