"""An entailment model that a user brings."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from rag.errors import UserError
from rag.index.entailment import CrossEncoderEntailment


class FakeModel:
    def __init__(self, *labels: str) -> None:
        self.config = SimpleNamespace(id2label=dict(enumerate(labels)))

    def predict(self, pairs: list[tuple[str, str]], apply_softmax: bool, show_progress_bar: bool) -> list[list[float]]:
        assert apply_softmax
        return [[0.1, 0.7, 0.2] if premise == hypothesis else [0.8, 0.05, 0.15] for premise, hypothesis in pairs]


def test_the_probability_is_the_models_for_entailment() -> None:
    model = CrossEncoderEntailment(FakeModel("contradiction", "Entailment", "neutral"))
    assert (model.probability("It wins.", "It wins."), model.probability("It wins.", "It loses.")) == (0.7, 0.05)


def test_a_model_that_knows_no_entailment_is_refused() -> None:
    with pytest.raises(UserError, match="entailment"):
        CrossEncoderEntailment(FakeModel("LABEL_0"))


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UserError, match="build"):
        CrossEncoderEntailment("cross-encoder/nli-deberta-v3-base")
