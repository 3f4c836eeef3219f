"""The capacity plan: its arithmetic, the page that shows it and the cluster that is deployed by it."""

import doctest
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def _capacity() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_capacity", ROOT / "benchmarks" / "capacity.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["benchmark_capacity"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


capacity = _capacity()


def test_its_examples_are_so() -> None:
    found = doctest.testmod(capacity)
    assert found.attempted
    assert not found.failed


def test_the_page_shows_what_the_script_prints(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["capacity.py"])
    capacity.main()
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    for table in capsys.readouterr().out.strip().split("\n\n"):
        assert table in page


def test_it_reckons_as_milvus_does_for_128_dimensions() -> None:
    """By the examples of https://milvus.io/docs/index-explained.md, from their 128 dimensions and 32 links to ours."""
    bytes_of = {name: kind.memory for name, kind in capacity.INDEXES.items()}
    assert bytes_of["HNSW"] == 640 + (384 - 128) * 4 + (60 - 32) * 4
    assert bytes_of["IVF_SQ8"] == 130 + (384 - 128)
    assert bytes_of["IVF_PQ"] == 10 + (48 - 8)


def test_a_hundred_million_by_hand() -> None:
    [plan] = [plan for plan in capacity.PLANS if plan.passages == 100_000_000]
    assert plan.vectors == 450_000_000
    assert sum(plan.memory) == pytest.approx(450e6 * 1536 * 0.225 + 100e6 * 47 * 8)
    assert plan.nodes == 3  # 193.1 GB in nodes of 128 GB, 70% filled: 2.2
    assert plan.disk == pytest.approx((450e6 * (2048 + 274) + 100e6 * 2536) / 3 / 0.7)
    assert plan.core_hours == pytest.approx((100e6 / 64 + 350e6 / 139) / 3600)


def test_the_chart_is_given_the_cluster_of_a_hundred_million() -> None:
    values = yaml.safe_load((ROOT / "deploy" / "milvus" / "values.yaml").read_text(encoding="utf-8"))
    [plan] = [plan for plan in capacity.PLANS if plan.passages == 100_000_000]
    nodes, limits = values["queryNode"], values["queryNode"]["resources"]["limits"]
    assert nodes["replicas"] == plan.nodes * capacity.REPLICAS
    assert int(limits["memory"].removesuffix("Gi")) * 2**30 >= capacity.NODE
    assert int(limits["ephemeral-storage"].removesuffix("Gi")) * 2**30 >= plan.disk
    assert nodes["disk"]["enabled"]
    mapped = yaml.safe_load(values["extraConfigFiles"]["user.yaml"])["queryNode"]["mmap"]
    assert mapped == {"scalarField": True, "scalarIndex": True, "vectorField": True}
