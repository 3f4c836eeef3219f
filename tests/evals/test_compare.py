from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import UserError
from rag.evals.compare import compare
from rag.evals.evaluate import report_retrieval
from rag.evals.report import Scored, read_report, read_run_report, scored
from rag.evals.table import format_comparison
from rag.evals.trec import write_run


def report(kind: str = "retrieval", /, **values: dict[str, float]) -> Scored:
    """Values by question; the texts and what was found follow from the ids."""
    measures = tuple(dict.fromkeys(measure for row in values.values() for measure in row))
    questions = {query: f"what is {query}?" for query in values}
    found = {query: [{"id": f"E{row[measures[0]]:.0f}", "text": "some text"}] for query, row in values.items()}
    return Scored(kind, "own", "fake", measures, values, questions, found)


def column(measure: str, *values: float) -> Scored:
    return report("retrieval", **{f"q{n:02d}": {measure: value} for n, value in enumerate(values)})


def test_a_comparison_has_every_measure_and_what_moved_most() -> None:
    before = report(a={"RR": 1, "R@5": 1}, b={"RR": 0.5, "R@5": 0}, c={"RR": 0.25, "R@5": 0})
    after = report(a={"RR": 0, "R@5": 1}, b={"RR": 1, "R@5": 1}, c={"RR": 0.25, "R@5": 0})
    found = compare(before, after)
    rr, recall = found.differences
    assert (rr.measure, rr.better, rr.same, rr.worse, rr.n) == ("RR", 1, 1, 1, 3)
    assert [rr.before, rr.after, rr.difference] == pytest.approx([1.75 / 3, 1.25 / 3, -0.5 / 3])
    assert rr.for_the_worse
    assert (rr.p, rr.holm, recall.p, recall.holm) == (1, 1, 1, 1)
    assert rr.low < rr.difference < rr.high
    assert (found.moved_by, [moved.query for moved in found.moved]) == ("RR", ["a", "b"])
    first = found.moved[0]
    assert (first.question, first.before, first.after) == ("what is a?", 1, 0)
    assert (first.found_before[0]["id"], first.found_after[0]["id"]) == ("E1", "E0")


def test_how_much_of_the_ten_best_two_reports_share_is_told() -> None:
    before, after = column("RR", 0, 0, 0, 0), column("RR", 0, 0, 0, 0)
    ten = [{"id": f"E{n:03d}", "text": ""} for n in range(10)]
    before.found.update(q00=ten, q01=ten, q02=ten[:4], q03=[])
    after.found.update(
        q00=ten[::-1], q01=[*ten[5:], *({"id": f"E9{n}", "text": ""} for n in range(5))], q02=ten, q03=[]
    )
    assert compare(before, after).overlap == pytest.approx((1 + 0.5 + 0.4 + 1) / 4)


def test_no_more_than_ten_questions_are_shown() -> None:
    found = compare(column("RR", *[0] * 14), column("RR", *[0.1] * 7, *[0.5] * 7))
    assert [moved.query for moved in found.moved] == [f"q{n:02d}" for n in [*range(7, 14), 0, 1, 2]]


def test_a_measure_may_be_chosen_and_the_first_says_what_moved() -> None:
    before = report(a={"RR": 1, "R@5": 1, "latency_ms": 8})
    after = report(a={"RR": 1, "R@5": 0, "latency_ms": 4})
    found = compare(before, after, ["latency_ms", "R@5", "latency_ms"])
    assert [difference.measure for difference in found.differences] == ["latency_ms", "R@5"]
    assert [difference.better for difference in found.differences] == [1, 0]
    assert not found.differences[0].for_the_worse
    assert found.moved_by == "latency_ms"
    with pytest.raises(
        UserError, match=r"'own' and 'own': no question has 'MAP' in both; wanted of R@5, RR, latency_ms"
    ):
        compare(before, after, ["MAP"])


def test_answers_move_by_citation_recall_and_a_share_of_unsupported_sentences_is_better_low() -> None:
    row = {"citation_precision": 1.0, "citation_recall": 1.0, "unsupported_share": 0.0, "abstention_precision": 1.0}
    before = report("answers", a=row, b=row)
    after = report("answers", a=row | {"unsupported_share": 1.0}, b=row | {"citation_recall": 0.0})
    found = compare(before, after)
    assert [d.measure for d in found.differences] == ["citation_precision", "citation_recall", "unsupported_share"]
    assert [d.worse for d in found.differences] == [0, 1, 1]
    assert [d.for_the_worse for d in found.differences] == [False, True, True]
    assert [moved.query for moved in found.moved] == ["b"]


def test_a_measure_is_compared_over_the_questions_that_have_it_in_both() -> None:
    before = report("answers", a={"fact_recall": 1, "citation_precision": 1}, b={"fact_recall": 1})
    after = report("answers", a={"fact_recall": 1}, b={"fact_recall": 0, "citation_precision": 0})
    assert [(d.measure, d.n) for d in compare(before, after).differences] == [("fact_recall", 2)]


ROW = {"RR": 1.0}


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (report(a=ROW), report("answers", a=ROW), "'own' is on retrieval, 'own' on answers; compare two of a kind"),
        (
            report(a=ROW, b=ROW),
            report(a=ROW, c=ROW),
            r"1 only in the first \(b\), 1 only in the second \(c\); wanted .*, or --common for the 1 that both have",
        ),
        (report(a=ROW), replace(report(a=ROW), questions={"a": "else?"}), r"1 asked otherwise \(a\)"),
        (report(), report(), "there are none"),
        (report(a=ROW), report(a={"R@5": 1.0}), "no measure in common"),
    ],
)
def test_reports_that_cannot_be_compared_say_what_was_found_and_wanted(
    before: Scored, after: Scored, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        compare(before, after)


@pytest.mark.parametrize(
    ("after", "measures"),
    [(report("answers", a=ROW), []), (report(b=ROW), []), (report(a={"R@5": 1.0}), ["RR"]), (report(a=ROW), ["MAP"])],
)
def test_reports_that_cannot_be_compared_are_called_by_their_files(after: Scored, measures: list[str]) -> None:
    with pytest.raises(UserError, match=r"A\.json.* B\.json"):
        compare(report(a=ROW), after, measures, names=("A.json", "B.json"))


def test_questions_that_only_one_has_may_be_left_out_and_are_counted() -> None:
    other = replace(report(a=ROW, c=ROW, d=ROW), questions={"a": "what is a?", "c": "else?"})
    found = compare(report(a=ROW, b=ROW, c=ROW), other, common=True)
    assert (found.queries, found.left_out) == (1, (2, 2))
    with pytest.raises(UserError, match="differ in their questions"):
        compare(report(a=ROW), report(b=ROW), common=True)


share = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1)


@settings(max_examples=50)
@given(st.lists(st.tuples(share, share), min_size=1, max_size=30))
def test_swapping_the_reports_turns_every_sign_and_no_p(pairs: list[tuple[float, float]]) -> None:
    before, after = (column("RR", *values) for values in zip(*pairs, strict=True))
    there, back = compare(before, after).differences[0], compare(after, before).differences[0]
    assert 0 < there.p <= there.holm <= 1
    assert (there.p, there.holm) == (back.p, back.holm)
    assert there.difference == -back.difference
    assert (there.better, there.same, there.worse) == (back.worse, back.same, back.better)
    assert there.effect is None or back.effect is None or there.effect == pytest.approx(-back.effect)
    assert there.low <= there.difference + 1e-9
    assert there.difference <= there.high + 1e-9


def test_the_order_of_a_file_changes_nothing() -> None:
    before, after = column("RR", *[0.1, 0.5, 0.9] * 9), column("RR", *[0.5, 0.4, 1.0] * 9)
    turned = replace(after, rows=dict(reversed(after.rows.items())))
    assert compare(before, after) == compare(before, turned)


def test_a_report_is_read_back_from_the_json_of_the_command(tmp_path: Path) -> None:
    whole = report_retrieval(
        {"q": {"a": 1.0}}, {"q": {"a": 1}}, name="own", retriever="fake",
        questions={"q": "?"}, found={"q": [{"id": "a", "text": "A"}]},
    )  # fmt: skip
    path = tmp_path / "A.json"
    path.write_text(json.dumps(whole.to_dict() | {"passages": whole.to_dict() | {"name": "inner"}}), encoding="utf-8")
    assert read_report(path) == scored(whole)
    assert read_report(path, "passages").name == "inner"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("q Q0 d 1 0.5 rag\n", "not JSON; wanted .* a TREC run needs --qrels"),
        ("[1]", "no report"),
        ('{"kind": "verifier", "rows": {}}', "no report"),
        ('{"kind": "answers", "rows": {"q": {"RR": "high"}}}', "'rows' are not values"),
        ('{"kind": "answers", "rows": {}, "found": []}', "a key of another kind"),
        ('{"kind": "answers", "rows": {}, "questions": {"q": 1}}', "a key of another kind"),
    ],
)
def test_a_file_that_is_no_report_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "A.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"A\.json: .*{says}"):
        read_report(path)
    with pytest.raises(UserError, match=r"B\.json: No such file"):
        read_report(tmp_path / "B.json")
    if text.startswith("{"):
        with pytest.raises(UserError, match="no 'passages' in it"):
            read_report(path, "passages")


def test_runs_are_compared_by_judgements_and_a_query_that_one_lacks_scores_zero(tmp_path: Path) -> None:
    qrels = {"q1": {"a": 1}, "q2": {"b": 1}}
    write_run(tmp_path / "A.run", {"q1": {"a": 2.0, "b": 1.0}, "q2": {"b": 1.0}})
    write_run(tmp_path / "B.run", {"q1": {"b": 2.0, "a": 1.0}})
    before, after = (read_run_report(tmp_path / name, qrels, ["RR"]) for name in ("A.run", "B.run"))
    found = compare(before, after)
    assert [(moved.query, moved.before, moved.after) for moved in found.moved] == [("q2", 1, 0), ("q1", 1, 0.5)]
    assert [item["id"] for item in found.moved[1].found_after] == ["b", "a"]
    assert found.overlap == 0.5
    with pytest.raises(UserError, match="none of its 1 queries is judged"):
        read_run_report(tmp_path / "B.run", {"q9": {"a": 1}}, ["RR"])
    wanted = r"B\.run: none of its documents is judged; wanted a run on those of A\.qrels, of one level"
    with pytest.raises(UserError, match=wanted):
        read_run_report(tmp_path / "B.run", {"q1": {"a:0": 1}}, ["RR"], "A.qrels")
    assert read_run_report(tmp_path / "B.run", {"q1": {"c": 1}, "q2": {"a": 1}}, ["RR"]).rows["q1"] == {"RR": 0.0}


def test_a_comparison_as_text_has_a_line_a_measure_and_two_a_question() -> None:
    before, after = report(a={"RR": 1.0}, b={"RR": 0.0}), report(a={"RR": 0.0}, b={"RR": 0.0})
    after.found["a"][:] = [
        {"text": "An\x1b answer.", "citations": ["E001", "E002"]},
        {"text": "More.", "citations": []},
    ]
    assert format_comparison(compare(before, after)).splitlines() == [
        "own  fake -> own  fake  2 questions",
        "measure  before  after  difference          interval    d_z       p    Holm  better  same  worse  n",
        "RR        0.500  0.000      -0.500  -1.000 to +0.000  -0.71  1.0000  1.0000       0     1      1  2",
        "",
        "overlap@10  0.500",
        "",
        "Moved most on RR",
        "a  1.000 -> 0.000  what is a?",
        "  before  E1  some text",
        "  after   An  answer. [E001, E002]",
        "          More. []",
    ]
    assert json.loads(json.dumps(compare(before, after).to_dict()))["differences"][0]["measure"] == "RR"
