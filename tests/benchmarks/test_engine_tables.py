"""What the comparison of engines makes of its measurements."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("engines")


def cells(text: str, row: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_ratio_pairs_rounds_and_a_time_is_over_all_of_them(engines: ModuleType) -> None:
    took = {"folder": [[1.0, 1.0], [10.0, 10.0]], "milvus": [[4.0, 4.0], [10.0, 10.0]]}
    text = engines.asked_table([engines.Asked("dense", "none", took, [1.0, 0.5])])
    assert cells(text, "dense") == ["dense", "none", "5.50", "10.0", "7.00", "10.0", "2.5 (1.0 to 4.0)", "0.750"]


def test_order_does_not_lower_the_overlap_and_a_missing_passage_does(engines: ModuleType) -> None:
    assert engines.overlap(["a", "b"], ["b", "a"]) == 1.0
    assert engines.overlap(["a", "b", "c", "d"], ["a"]) == engines.overlap(["a"], ["a", "b", "c", "d"]) == 0.25


def built(seconds: float, server: float | None, disk: float | None) -> dict[str, Any]:
    one = {"passages": 1000, "seconds": seconds, "peak_mib": 100.0, "server_mib": server, "disk_mib": disk}
    return {"build": one, "change": one | {"seconds": seconds / 10}}


def test_what_a_cluster_does_not_tell_stays_empty(engines: ModuleType) -> None:
    found = {"folder": built(10.0, None, 50.0), "milvus": built(40.0, None, None)}
    text = engines.costs_table(engines.costs(found, {"folder": 80.0, "milvus": 40.0, "server": None}))
    assert cells(text, "passages a second") == ["passages a second", "100", "25.0", "0.250"]
    assert cells(text, "a change of 1 in 100, s")[1:] == ["1.00", "4.00", "4.00"]
    assert cells(text, "memory asking, our process, MiB")[1:] == ["80.0", "40.0", "0.500"]
    assert cells(text, "memory asking, server, MiB")[1:] == ["", "", ""]
    assert cells(text, "on disk, MiB")[1:] == ["50.0", "", ""]


def test_the_page_tells_milvus_lite_from_a_cluster(engines: ModuleType) -> None:
    given = argparse.Namespace(passages=1000, questions=5, kind="FLAT")
    lite = engines.page("", "", given, "", 0.1, "Python")
    cluster = engines.page("", "", given, "http://cluster:19530", 0.1, "Python")
    assert "speed and memory say nothing of a cluster's" in lite
    assert "speed and memory say nothing of a cluster's" not in cluster
    assert "http://cluster:19530" in cluster
