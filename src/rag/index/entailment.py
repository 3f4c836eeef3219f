"""Premise and hypothesis -> a probability, by a cross-encoder that a user brings."""

from __future__ import annotations

from typing import Any

from rag.errors import UserError

_LABEL = "entailment"


class CrossEncoderEntailment:
    """An entailment model of sentence-transformers, such as `cross-encoder/nli-deberta-v3-base`.

    No package carries the weights of such a model, so this is tested with a stand-in alone and never with real ones;
    nothing of the default depends on it. `model` is a name or folder for `sentence_transformers.CrossEncoder`, or an
    object that has its `predict` and its `config.id2label`.
    """

    def __init__(self, model: str | Any) -> None:
        """Raises UserError where sentence-transformers is missing, or where the model knows no entailment."""
        self.name = model if isinstance(model, str) else type(model).__name__
        self._model = _load(model) if isinstance(model, str) else model
        labels = {str(label).casefold(): int(at) for at, label in self._model.config.id2label.items()}
        if _LABEL not in labels:
            raise UserError(
                f"{self.name} has the labels {sorted(labels)}, wanted one {_LABEL!r}; it judges no entailment"
            )
        self._at = labels[_LABEL]

    def probability(self, premise: str, hypothesis: str) -> float:
        """The model's probability of "entailment", 0..1."""
        found = self._model.predict([(premise, hypothesis)], apply_softmax=True, show_progress_bar=False)
        return float(found[0][self._at])


def _load(name: str) -> Any:
    try:
        from sentence_transformers import CrossEncoder
    except ImportError as error:
        raise UserError(
            f"the entailment model {name} needs sentence-transformers, of the `build` extra: pip install '.[build]'"
        ) from error
    return CrossEncoder(name)
