"""Weights fitted from judged values."""

from __future__ import annotations

import numpy as np
import pytest

from rag.answer.logistic import Logistic
from rag.evals.fit import cross_validated, fit

pytest.importorskip("sklearn", reason="fitting needs the `build` extra")


def judged(n: int = 400) -> tuple[list[dict[str, float]], list[bool]]:
    random = np.random.default_rng(0)
    signal, noise = random.standard_normal(n) * 5 + 100, random.standard_normal(n)
    labels = (signal + random.standard_normal(n) > 100).tolist()
    return [{"signal": s, "noise": z} for s, z in zip(signal.tolist(), noise.tolist(), strict=True)], labels


def test_fitted_weights_are_for_the_values_as_they_are() -> None:
    rows, labels = judged()
    model = Logistic(*fit(rows, labels))
    right = sum((model.probability(row) > 0.5) == label for row, label in zip(rows, labels, strict=True))
    assert right > 0.9 * len(rows)
    assert abs(model.weights["noise"]) < 0.3 < model.weights["signal"]


def test_a_group_is_never_judged_by_a_model_that_saw_it() -> None:
    """Labels that only the group explains cannot be had out of it."""
    random = np.random.default_rng(1)
    groups = [number // 4 for number in range(400)]
    labels = [bool(random.integers(2)) for _ in range(100)]
    rows = [{f"g{n}": float(n == group % 40) for n in range(40)} for group in groups]
    found = cross_validated(rows, [labels[group] for group in groups], groups)
    right = np.mean([(p > 0.5) == labels[g] for p, g in zip(found, groups, strict=True)])
    assert 0.3 < right < 0.7


def test_a_model_is_read_back_as_it_was_written(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = Logistic({"a": 1.5, "b": -2.0}, 0.25, "a command", "some data")
    model.write(tmp_path / "model.json")
    assert Logistic.read(tmp_path / "model.json") == model
