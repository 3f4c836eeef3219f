"""What is varied, and that nothing is measured twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins

from rag import ablate
from rag.ablate import Ablation, Kept, differing, varied
from rag.errors import UserError
from rag.evals.ablation import DEFAULT, Variation, variations
from rag.evals.datasets import EvalQuestion
from rag.evals.report import AnswerReport, Estimate, Rows
from rag.evals.results import MEASURES, tabulate
from rag.index.encode import EncoderCard
from rag.index.store import Manifest
from rag.settings import Settings

ALL = variations(own=True)


def flat(settings: Settings) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in to_builtins(settings, enc_hook=str).items():
        out |= {f"{name}.{key}": of for key, of in value.items()} if isinstance(value, dict) else {name: value}
    return out


def test_names_and_settings_are_unique() -> None:
    assert len({variation.name for variation in ALL}) == len(ALL)
    assert len({json.dumps(variation.sets, sort_keys=True) for variation in ALL}) == len(ALL)
    assert ALL[0].name == DEFAULT
    assert not ALL[0].sets


@pytest.mark.parametrize("variation", ALL, ids=lambda variation: variation.name)
def test_a_variation_changes_what_it_says_and_no_more(variation: Variation) -> None:
    before, after = flat(Settings()), flat(varied(Settings(), variation.sets))
    changed = {name for name in before if before[name] != after[name]}
    assert all(after[name] == value for name, value in variation.sets.items())
    follows = {"split.min_chars"} if "split.max_chars" in variation.sets else set()
    assert changed <= set(variation.sets) | follows


def test_whatever_the_default_is_both_sides_of_a_switch_are_tried_and_nothing_twice() -> None:
    for settings in (Settings(), varied(Settings(), {"search.feedback": 0.3, "split.titled": False})):
        kept = differing(settings, ALL)
        chosen = [varied(settings, variation.sets) for variation in kept]
        assert kept[0].name == DEFAULT
        assert len(set(chosen)) == len(chosen)
        assert {one.search.feedback for one in chosen} == {0.0, 0.3}
        assert {one.split.titled for one in chosen} == {True, False}
        assert {one.split.max_chars for one in chosen} == {300, 600, 1200}


def test_what_a_collection_has_not_is_not_varied_there_and_quick_needs_no_other_index() -> None:
    assert not any(v.own_index or "search.neighbours" in v.sets for v in variations(own=False))
    assert not any(v.own_index for v in variations(own=True, quick=True))
    assert any("search.neighbours" in v.sets for v in variations(own=True, quick=True))


QUESTIONS = [
    EvalQuestion("q1", "what does it cost?", "single", ("E001",), split="dev"),
    EvalQuestion("q2", "who says so?", "single", ("E002",), split="test"),
    EvalQuestion("q3", "what is not there?", "unanswerable", split="test"),
]


def values(value: float) -> dict[str, float]:
    return dict.fromkeys(MEASURES, value)


class FakeBench:
    """Counts what is measured, and can be interrupted."""

    def __init__(self, stop_after: int = 10_000) -> None:
        self.done, self.stop_after = list[str](), stop_after

    def _note(self, what: str) -> None:
        if len(self.done) == self.stop_after:
            raise KeyboardInterrupt
        self.done.append(what)

    def document_rows(self, settings: Settings, folder: Path, limit: int | None, what: str) -> Rows:
        self._note(what)
        return {"a": values(0.5), "b": values(settings.search.sparse_weight)}

    def own_rows(self, settings: Settings, folder: Path, variation: Variation, what: str) -> dict[str, Rows]:
        self._note(what)
        return {"episode": {"q1": values(1), "q2": values(0.5)}, "passage": {"q1": values(1), "q2": values(0.25)}}

    def answers(self, settings: Settings, folder: Path, split: str) -> AnswerReport:
        self._note(split)
        rows = {q.id: {"answered_share": 1.0, "correct": 1.0} for q in QUESTIONS if q.split == split}
        measures = {"answered_share": Estimate(1, 1, 1, len(rows))}
        return AnswerReport("evals", "fake", len(rows), measures, {}, rows, {"p50": 5.0})

    def scores(self, settings: Settings, kind: str, path: Path) -> tuple[list[float], list[bool | None]]:
        self._note(kind)
        return [0.9, 0.2, 0.4], [True, False, None]


@pytest.fixture
def ablation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ablation:
    manifest = Manifest("g", "c", EncoderCard("fake", "s", "int8", 8, 8), 600, 200, True, r"E\d{3,}", True, 3, 9, 20)
    monkeypatch.setattr(Ablation, "_manifest", manifest)
    own, collection = tmp_path / "evals", tmp_path / "set"
    (collection / "qrels").mkdir(parents=True)
    own.mkdir()
    rows = [{"id": q.id, "question": q.text, "type": q.type, "split": q.split} | {"episodes": list(q.episodes)}
            for q in QUESTIONS]  # fmt: skip
    (own / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        (collection / name).write_text("", encoding="utf-8")
    return Ablation(Settings(), own, [collection], FakeBench(), Kept(tmp_path / "kept"))


def measured(ablation: Ablation) -> list[str]:
    bench = FakeBench()
    replace(ablation, bench=bench).results()
    return bench.done


def test_a_second_run_measures_nothing_and_finds_the_same(ablation: Ablation) -> None:
    first = ablation.results()
    assert measured(ablation) == []
    assert replace(ablation, bench=FakeBench()).results() == first
    assert [(t.set, t.level, t.split, t.queries) for t in first.tables] == [
        ("evals", "episode", "dev", 1),
        ("evals", "passage", "dev", 1),
        ("evals", "episode", "test", 1),
        ("evals", "passage", "test", 1),
        ("set", "document", "test", 2),
    ]


def test_an_interrupted_run_goes_on_where_it_was(ablation: Ablation) -> None:
    whole = measured(replace(ablation, kept=Kept(ablation.kept.folder / "other")))
    with pytest.raises(KeyboardInterrupt):
        replace(ablation, bench=FakeBench(stop_after=5)).results()
    assert measured(ablation) == whole[5:]


def test_what_a_number_depends_on_is_measured_anew(ablation: Ablation, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(ablation)
    assert len(measured(replace(ablation, kept=Kept(ablation.kept.folder, fresh=True)))) == len(whole)
    (ablation.collections[0] / "qrels/test.tsv").write_text("changed", encoding="utf-8")
    assert all(what.startswith("set, ") for what in measured(ablation))
    text = (ablation.own / "questions.jsonl").read_text(encoding="utf-8")
    (ablation.own / "questions.jsonl").write_text(text.replace("cost", "price"), encoding="utf-8")
    again = measured(ablation)
    assert "dev" in again
    assert "test" not in again
    assert not any(what.startswith("set, ") for what in again)
    monkeypatch.setattr(ablate, "_code", lambda rooms: "other")
    assert len(measured(ablation)) == len(whole)


def test_an_index_of_another_split_is_not_taken_for_the_default(tmp_path: Path) -> None:
    from rag.errors import IndexUnusable

    other = Ablation(Settings(index=tmp_path), tmp_path, [], FakeBench(), Kept(tmp_path))
    with pytest.raises(IndexUnusable, match="rag index"):
        _ = other._manifest


def test_a_file_of_scores_that_is_not_there_is_named_before_anything_is_measured(ablation: Ablation) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl: no such file"):
        ablation.results(verifier=[Path("none.jsonl")])


def test_scores_are_read_with_their_labels(ablation: Ablation, tmp_path: Path) -> None:
    path = tmp_path / "claims.jsonl"
    path.write_text("{}", encoding="utf-8")
    (scored,) = ablation.results(verifier=[path]).confidences
    assert (scored.kind, scored.scores, scored.labels) == ("verifier", (0.9, 0.2), (True, False))
    assert scored.measures["auroc"].mean == 1


def test_a_table_has_the_difference_to_the_default_and_holm_over_its_variations() -> None:
    queries = [f"q{n}" for n in range(10)]
    base = {query: values(0.5) for query in queries}
    table = tabulate(
        "set", "document", "test",
        {"default": base, "better": {q: values(1) for q in queries}, "same": base, "one": base | {"q0": values(0)}},
    )  # fmt: skip
    default, better, same, one = table.rows
    assert default.against == {}
    found = better.against["nDCG@10"]
    assert (found.difference, found.p, found.holm) == (0.5, 2 / 2**10, 3 * 2 / 2**10)
    assert (found.better, found.same, found.worse) == (10, 0, 0)
    assert better.beyond_chance("nDCG@10")
    assert (same.against["RR"].p, one.against["RR"].worse) == (1, 1)
    assert not one.beyond_chance("RR")
