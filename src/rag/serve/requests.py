"""The shapes of what HTTP is asked, with their limits."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rag.records import Filters, Turn
from rag.search.query import MAX_CHARS

MAX_TURNS = 20
"""Turns of a conversation that are taken."""
MAX_ANSWER = 8000
"""Characters of an earlier answer."""


def _day(text: str) -> str:
    return date.fromisoformat(text).isoformat()


_Text = Annotated[str, Field(min_length=1, max_length=MAX_CHARS)]
_Names = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=100)]
Day = Annotated[
    str, Field(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", json_schema_extra={"format": "date"}), AfterValidator(_day)
]
_K = Annotated[int, Field(ge=1, le=100, strict=True)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FiltersIn(_Wire):
    """Which passages may be found; values of one field are alternatives, fields add up, both dates are inclusive."""

    kinds: _Names = ()
    topics: _Names = ()
    episodes: _Names = ()
    since: Day | None = None
    until: Day | None = None

    def record(self) -> Filters:
        """The same, for the rooms behind the edge."""
        return Filters(self.kinds, self.topics, self.episodes, self.since, self.until)


class TurnIn(_Wire):
    """A question asked before, and what was answered."""

    question: _Text
    answer: Annotated[str, Field(max_length=MAX_ANSWER)] = ""


class AskIn(_Wire):
    """A question; without `k` and `generator`, the server's settings say how many passages and what answers.

    `history` is the conversation before it, oldest first. With `stream`, what happens comes as server-sent events.
    """

    question: _Text
    k: _K | None = None
    filters: FiltersIn | None = None
    history: Annotated[tuple[TurnIn, ...], Field(max_length=MAX_TURNS)] = ()
    generator: Literal["extractive", "llm"] | None = None
    stream: Annotated[bool, Field(strict=True)] = False

    def turns(self) -> tuple[Turn, ...]:
        """The conversation, for the rooms behind the edge."""
        return tuple(Turn(turn.question, turn.answer) for turn in self.history)


class SearchIn(_Wire):
    """A query; without `k`, the server's settings say how many passages."""

    query: _Text
    k: _K | None = None
    filters: FiltersIn | None = None
    neighbours: Annotated[int, Field(ge=0, le=5, strict=True)] = 0
