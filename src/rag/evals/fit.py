"""Judged values -> the weights of a logistic model, by scikit-learn (the `build` extra brings it)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

Row = Mapping[str, float]


def fit(rows: Sequence[Row], labels: Sequence[bool], c: float = 1.0) -> tuple[dict[str, float], float]:
    """Weights by name, and the intercept, of an L2-regularised logistic regression (C = `c`) on standardised values.

    The weights are for the values as they are. A value that never changes gets weight 0.
    """
    model = _pipeline(c).fit(_matrix(rows), np.asarray(labels, dtype=bool))
    scaler, regression = model[0], model[1]
    weights = regression.coef_[0] / scaler.scale_
    intercept = float(regression.intercept_[0] - weights @ scaler.mean_)
    return dict(zip(rows[0], weights.tolist(), strict=True)), intercept


def cross_validated(
    rows: Sequence[Row],
    labels: Sequence[bool],
    groups: Sequence[Hashable],
    c: float = 1.0,
    folds: int = 5,
    seed: int = 0,
) -> list[float]:
    """Each row's probability by a model that saw no row of its group; shape (len(rows),), 0..1."""
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    codes = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    found = cross_val_predict(
        _pipeline(c),
        _matrix(rows),
        np.asarray(labels, dtype=bool),
        groups=np.array([codes[group] for group in groups]),
        cv=splitter,
        method="predict_proba",
    )
    return [float(value) for value in found[:, 1]]


def _pipeline(c: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000))


def _matrix(rows: Sequence[Row]) -> np.ndarray:
    names = list(rows[0])
    return np.array([[row[name] for name in names] for row in rows], dtype=np.float64)
