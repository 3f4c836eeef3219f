"""A logistic model whose coefficients stand in a file: names, weights, nothing to unpickle."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Logistic:
    """Named values -> a probability, 1 / (1 + exp(-(intercept + Σ weight · value))).

    `fitted_by` is the command that gave the weights, `fitted_on` says what data.

    >>> model = Logistic({"covered": 2.0, "missing": -1.0}, intercept=-0.5)
    >>> round(model.probability({"covered": 1.0, "missing": 0.5}), 3)
    0.731
    """

    weights: Mapping[str, float]
    intercept: float
    fitted_by: str = ""
    fitted_on: str = ""

    def probability(self, values: Mapping[str, float]) -> float:
        """In 0..1. Raises KeyError where a value is missing."""
        z = self.log_odds(values)
        return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))

    def log_odds(self, values: Mapping[str, float]) -> float:
        """ln(p / (1 - p)) of the probability. Raises KeyError where a value is missing."""
        return self.intercept + math.fsum(weight * values[name] for name, weight in self.weights.items())

    @classmethod
    def read(cls, path: Path) -> Logistic:
        """A model as `write` left it."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """JSON, weights rounded to what matters."""
        rounded = {name: round(weight, 4) for name, weight in self.weights.items()}
        values = asdict(self) | {"weights": rounded, "intercept": round(self.intercept, 4)}
        path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
