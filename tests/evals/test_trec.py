"""Runs and judgements as TREC files, read by trec_eval itself."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import ir_measures
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import UserError
from rag.evals.datasets import DatasetError
from rag.evals.metrics import score_run
from rag.evals.trec import read_qrels, read_run, untied, write_qrels, write_run


def test_trec_eval_takes_scores_closer_than_float32_for_a_tie_and_untied_parts_them() -> None:
    ranked = [("a", 1.0), ("b", 1.0 - 1e-12), ("c", 1.5), ("d", -1e30)]
    qrels = {"q": {"a": 1}}
    assert score_run({"q": dict(ranked[:2])}, qrels, ["RR"])["RR"]["q"] == 0.5
    assert score_run({"q": untied(ranked)}, qrels, ["RR"])["RR"]["q"] == 1.0
    assert list(untied(ranked)) == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="does not rank"):
        untied([("a", float("nan"))])


names = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=5)
scores = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(-1e6, 1e6)


@given(st.dictionaries(names, st.dictionaries(names, scores, max_size=8), max_size=4))
def test_a_run_file_keeps_the_order(run: dict[str, dict[str, float]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.txt"
        write_run(path, run, "tag")
        back = read_run(path)
        write_run(path, back, "tag")
        assert read_run(path) == back
    assert list(back) == [query for query, found in run.items() if found]
    for query, found in back.items():
        assert list(found) == sorted(run[query], key=lambda id: -run[query][id])
        top = next(iter(found))
        assert score_run({query: found}, {query: {top: 1}}, ["RR"])["RR"][query] == 1.0


def test_a_run_file_holds_a_hundred_documents_a_query(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"q": {f"d{n}": float(n) for n in range(150)}}, "tag")
    lines = (tmp_path / "run").read_text(encoding="utf-8").splitlines()
    assert (len(lines), lines[0], lines[99]) == (100, "q Q0 d149 1 149 tag", "q Q0 d50 100 50 tag")


def test_a_run_file_that_cannot_be_written_or_read_says_why(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(UserError, match="'my notes' cannot stand"):
        write_run(path, {"q": {"my notes": 1.0}}, "tag")
    for text, says in [("q Q0 d 1\n", "wanted"), ("q Q0 d 1 x t\n", "wanted"), ("q Q0 d 1 nan t\n", "number")]:
        path.write_text("q Q0 a 1 1.0 t\n" + text, encoding="utf-8")
        with pytest.raises(DatasetError, match=rf"run:2: .*{says}"):
            read_run(path)


THEIRS = {
    "nDCG@10": "ndcg_cut_10", "R@5": "recall_5", "R@20": "recall_20", "R@100": "recall_100",
    "RR": "recip_rank", "Success@1": "success_1",
}  # fmt: skip

documents = st.sampled_from([f"d{n:02d}" for n in range(30)])
queries = st.sampled_from([f"q{n}" for n in range(6)])
judgements = st.dictionaries(
    queries, st.dictionaries(documents, st.integers(-1, 3), min_size=1, max_size=12), min_size=1
)
runs = st.dictionaries(queries, st.dictionaries(documents, st.sampled_from([0.0, 0.5, 1.0]) | st.floats(-9, 9)))


@given(judgements, runs)
def test_figures_on_written_files_are_those_of_trec_eval(
    qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]]
) -> None:
    """With ties, judged queries that the run misses, queries that nobody judged, and documents that nobody judged."""
    with TemporaryDirectory() as folder:
        run_file, qrels_file = Path(folder) / "run", Path(folder) / "qrels"
        write_run(run_file, run)
        write_qrels(qrels_file, qrels)
        judgements_read = read_qrels(qrels_file)
        ours = score_run(read_run(run_file), judgements_read)
        with run_file.open() as file, qrels_file.open() as judged:
            there, theirs = pytrec_eval.parse_run(file), pytrec_eval.parse_qrel(judged)
    assert theirs == judgements_read == qrels
    expected = pytrec_eval.RelevanceEvaluator(theirs, set(THEIRS.values())).evaluate(there)
    for measure, name in THEIRS.items():
        assert ours[measure] == pytest.approx({query: expected.get(query, {}).get(name, 0.0) for query in qrels})
    # What is written ranks as what was found: ties have been parted in the order that they came.
    found = {query: untied(sorted(of.items(), key=lambda item: -item[1])) for query, of in run.items()}
    assert score_run(found, qrels) == ours


@given(judgements, runs)
def test_reciprocal_rank_is_that_of_ms_marcos_own_script(
    qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]]
) -> None:
    found = {query: untied(of.items()) for query, of in ranked(run).items() if of and query in qrels}
    judged = {query: grades for query, grades in qrels.items() if any(grade > 0 for grade in grades.values())}
    provider = ir_measures.providers.registry["msmarco"]
    values = provider.iter_calc([ir_measures.RR], judged, found) if judged and found else ()
    expected = {value.query_id: value.value for value in values}
    ours = score_run(found, qrels, ["RR"])["RR"]
    assert ours == pytest.approx({query: expected.get(query, 0.0) for query in qrels})


def ranked(run: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {query: dict(sorted(of.items(), key=lambda item: -item[1])) for query, of in run.items()}


def test_qrels_are_read_from_trec_and_from_beir_files(tmp_path: Path) -> None:
    trec, beir = tmp_path / "qrels", tmp_path / "test.tsv"
    trec.write_text("q1 0 d1 1\nq1\tQ0\td2\t-1\n\n q2 0 d1 3\n", encoding="utf-8")
    beir.write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t-1\nq2\td1\t3\n", encoding="utf-8")
    assert read_qrels(trec) == read_qrels(str(beir)) == {"q1": {"d1": 1, "d2": -1}, "q2": {"d1": 3}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("q 0 a 1\nq 0 b\n", ":2: 'q 0 b'"),
        ("q 0 a 1\nq 0 b 0.5\n", ":2: 'q 0 b 0.5'"),
        ("q 0 a 999999\nq 0 b 1000000\n", ":2: 'q 0 b 1000000'; wanted `query 0 document grade`, the grade a small"),
        ("q 0 a 1_0\n", ":1: 'q 0 a 1_0'"),
        ("q 0 a 1\nq 0 a 0\n", ":2: 'q' and 'a' are judged twice"),
        ("\n", ": no judgements"),
    ],
)
def test_qrels_that_cannot_be_read_say_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "qrels"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError) as caught:
        read_qrels(path)
    assert str(caught.value).startswith(f"{path}{says}")


def test_an_id_with_a_blank_in_it_is_not_written_as_qrels(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'my notes' cannot stand in a TREC qrels file"):
        write_qrels(tmp_path / "qrels", {"q": {"my notes": 1}})
