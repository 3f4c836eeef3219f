"""Why there is no answer."""

from __future__ import annotations

from enum import StrEnum


class Why(StrEnum):
    """Every reason for an abstention, as its words begin; what the question named may follow.

    >>> Why.of("the corpus has no episode E999").name
    'UNKNOWN_EPISODE'
    """

    UNKNOWN_EPISODE = "the corpus has no episode"
    NOTHING_FOUND = "nothing in the corpus matches the question"
    WORDS_MISSING = "nothing near the question names"
    TOO_FAR = "no sentence of the corpus is close enough to the question"
    NOT_COVERED = "the corpus does not cover what the question asks about"
    NO_FIGURE = "the corpus gives no such figure"
    UNLIKELY = "what was found is near, and not likely to be the answer"
    MODEL_DECLINED = "the model finds no answer in the passages that were found"
    UNSUPPORTED = "what was found does not stand up to its own quote"

    @classmethod
    def of(cls, reason: str) -> Why | None:
        """Which one it is; None for none of these."""
        return next((why for why in cls if reason.startswith(why)), None)
