"""What is varied: names -> settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Variation:
    """One way to search: what it sets, by dotted names ("search.fusion"), and what that is in words.

    `own_only` is for our own set alone: a collection has one passage a document, and neither headings nor neighbours.
    """

    name: str
    group: str
    sets: Mapping[str, Any]
    own_only: bool = False

    @property
    def own_index(self) -> bool:
        """Whether it needs an index of its own."""
        return any(name.startswith("split.") for name in self.sets)


_FUSIONS = ("weighted", "convex", "rrf")


def variations(*, own: bool, quick: bool = False) -> tuple[Variation, ...]:
    """Every variation, the default first: one change at a time, and each fusion with and without feedback.

    One that sets what the default has already is there too, whatever the default is; who runs them knows which.
    `own` takes those of our own set alone too; `quick` leaves out whatever needs an index of its own.

    >>> [v.name for v in variations(own=False)][:6]
    ['default', 'dense', 'bm25', 'weighted', 'weighted + feedback', 'convex']
    """
    out = [
        Variation(DEFAULT, "default", {}),
        *(Variation(name, "retriever", {"search.retriever": name}) for name in ("dense", "bm25")),
    ]
    for fusion in _FUSIONS:
        hybrid = {"search.retriever": "hybrid", "search.fusion": fusion}
        out.append(Variation(fusion, "retriever", hybrid | {"search.feedback": 0.0}))
        out.append(Variation(f"{fusion} + feedback", "feedback", hybrid | {"search.feedback": 0.3}))
    out += _sweep("sentence weight", "search.sentence_weight", (0.0, 0.3, 0.5))
    out += _sweep("sparse weight", "search.sparse_weight", (0.05, 0.1, 0.2))
    out += _sweep("neighbours", "search.neighbours", (0.0, 0.3), own_only=True)
    out.append(Variation("without authors' questions", "questions", {"split.questions": False}, own_only=True))
    out += _sweep("titled", "split.titled", (True, False), own_only=True)
    out += _sweep("passage size", "split.max_chars", (300, 600, 1200), own_only=True)
    return tuple(v for v in out if (own or not v.own_only) and not (quick and v.own_index))


def _sweep(group: str, setting: str, values: tuple[Any, ...], *, own_only: bool = False) -> list[Variation]:
    def name(value: Any) -> str:
        if isinstance(value, bool):
            return group if value else f"not {group}"
        return f"{group} {value:g}"

    return [Variation(name(value), group, {setting: value}, own_only) for value in values]
