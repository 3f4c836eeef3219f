"""Claims with passages and labels, and how well scores tell them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rag.errors import IndexUnusable
from rag.evals.datasets import DatasetError
from rag.evals.verifier import format_verifier, load_claims, report_verifier, write_scores
from rag.judge import score_claims
from rag.settings import Settings


def written(folder: Path, *rows: object) -> Path:
    path = folder / "claims.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_labels_and_passages_come_in_several_spellings(tmp_path: Path) -> None:
    labels = ["SUPPORTED", "NOT_SUPPORTED", "CONTRADICTED", "not supported", True, False, 1, 0, None]
    path = written(tmp_path, *({"claim": "It wins.", "passages": "It wins.", "label": label} for label in labels))
    claims = load_claims(path)
    assert [c.label for c in claims] == [True, False, False, False, True, False, True, False, None]
    assert {c.passages for c in claims} == {("It wins.",)}
    assert [c.id for c in claims] == list(range(1, len(labels) + 1))


def test_rows_that_share_anything_are_one_group(tmp_path: Path) -> None:
    rows: list[tuple[str, list[str], str | None]] = [
        ("a", ["1"], "q"),
        ("b", ["2"], None),
        ("c", ["2", "3"], "r"),
        ("d", ["4"], "q"),
        ("e", ["3"], None),
    ]
    path = written(tmp_path, *({"claim": c, "passages": p, "question": q} for c, p, q in rows))
    assert [claim.group for claim in load_claims(path)] == [0, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"passages": []}, "'claim' is None"),
        ({"claim": "x", "passages": [1]}, "'passages' is [1]"),
        ({"claim": "x"}, "'passages' is None"),
        ({"claim": "x", "passages": [], "label": "perhaps"}, "'label' is 'perhaps'"),
        ({"claim": "x", "passages": [], "label": 2}, "'label' is 2"),
        ([], "'[]'"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, row: object, said: str) -> None:
    path = written(tmp_path, {"claim": "x", "passages": []}, row)
    with pytest.raises(DatasetError) as error:
        load_claims(path)
    assert str(error.value).startswith(f"{path}:2: {said}")


def test_a_file_without_rows_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no claims"):
        load_claims(written(tmp_path))


def test_claims_without_a_label_are_left_out_of_the_report(tmp_path: Path) -> None:
    labels: list[bool | None] = [True, True, False, False, None]
    rows: list[dict[str, object]] = [
        {"claim": f"c{n}", "passages": [], "label": label, "source": "ab"[n % 2]} for n, label in enumerate(labels)
    ]
    report = report_verifier("x", load_claims(written(tmp_path, *rows)), [0.9, 0.4, 0.3, 0.6, 0.99])
    assert (report.claims, report.supported) == (4, 2)
    assert report.measures["auroc"].mean == 0.75
    assert report.measures["macro_f1"].mean == 0.5
    assert report.measures["ece"].mean == pytest.approx((0.1 + 0.6 + 0.3 + 0.6) / 4)
    assert report.measures["auroc"].low <= 0.75 <= report.measures["auroc"].high
    assert set(report.by_source) == {"a", "b"}
    assert "auroc" in format_verifier(report)
    assert json.loads(json.dumps(report.to_dict()))["kind"] == "verifier"


def test_scores_are_written_in_order_under_the_rows_ids(tmp_path: Path) -> None:
    path = written(tmp_path, {"id": "x|1", "claim": "c", "passages": []}, {"claim": "d", "passages": []})
    write_scores(tmp_path / "out", load_claims(path), [0.25, 0.5])
    lines = (tmp_path / "out").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"id": "x|1", "score": 0.25}, {"id": 2, "score": 0.5}]


def test_without_an_index_the_error_names_the_mend(tmp_path: Path) -> None:
    path = written(tmp_path, {"claim": "x", "passages": []})
    with pytest.raises(IndexUnusable, match="rag index"):
        score_claims(Settings(index=tmp_path / "none"), path, progress=lambda items, total, what: items)


@pytest.mark.parametrize(
    "line",
    [
        '{"claim": "x", "passages": [], "label": NaN}',
        '{"claim": "x", "passages": [], "label": 1e400}',
        '{"claim": "x", "passages": [], "label": 0.5}',
        '{"claim": "x", "passages": [], "label": ' + "9" * 5000 + "}",
        "[" * 100_000,
        '{"claim": "\\ud800", "passages": []}',
    ],
)
def test_a_line_that_is_no_sound_json_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "claims.jsonl"
    path.write_text('{"claim": "x", "passages": []}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"claims\.jsonl:2: "):
        load_claims(path)
