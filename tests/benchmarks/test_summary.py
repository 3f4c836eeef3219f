"""What the comparison makes of its measurements."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "benchmarks" / "summary.py"


def _summary() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_summary", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["benchmark_summary"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


summary = _summary()
TITLES = {"ours": "ours", "ours_documents": "variant", "a": "A", "b": "B"}


def test_a_ratio_pairs_rounds_and_not_medians() -> None:
    found = summary.ratio([1.0, 10.0], [10.0, 10.0], higher=False)
    assert (found.least, found.middle, found.greatest) == (1.0, 5.5, 10.0)


def test_more_documents_a_second_are_better() -> None:
    assert summary.ratio([50.0], [20.0], higher=True).middle == 2.5
    assert summary.best({"a": [20.0], "b": [30.0]}, higher=True) == "b"


def test_a_target_met_in_the_median_alone_is_said_to_be_no_more() -> None:
    assert summary.verdict(summary.Ratio(11, 10, 12), 10) == "met in every round"
    assert summary.verdict(summary.Ratio(11, 9, 12), 10) == "met in the median, not in every round"
    assert summary.verdict(summary.Ratio(9.9, 9, 12), 10) == "not met"


def test_the_target_is_against_the_best_of_the_others_and_a_variant_of_ours_is_none() -> None:
    rounds = {"ours": [1.0], "ours_documents": [0.5], "a": [8.0], "b": [20.0]}
    text = summary.speed_tables({"cold_seconds": rounds}, TITLES, "ours")
    assert "| cold question | A | 10 | 8.0 (8.0 to 8.0) | not met |" in text


def test_a_worse_ranking_is_called_worse() -> None:
    text = summary.quality_table(
        [summary.Quality("set", "ours", 0.5), summary.Quality("set", "a", 0.6, -0.1, 0.001)], TITLES
    )
    assert "| set: A | 0.6000 | -0.1000 | 0.0010 | ours is worse |" in text
