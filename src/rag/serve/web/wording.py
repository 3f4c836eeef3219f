"""What the page says about a source, in words."""

from __future__ import annotations

from collections.abc import Sequence

from rag.records import Attribution

_PLURALS = {"episode": "Episodes", "review": "Reviews", "concept": "Concepts", "document": "Documents"}
_SPEAKERS = {"review": "the review", "concept": "the glossary", "episode": "the episode's own summary"}


def plural(kind: str) -> str:
    """What several documents of a kind are called.

    >>> plural("review"), plural("essay")
    ('Reviews', 'Essay')
    """
    return _PLURALS.get(kind, kind[:1].upper() + kind[1:])


def says(kind: str, attribution: Attribution, episodes: Sequence[str], carried: str | None = None) -> str:
    """Who says so, of whom, and how that is known; the episodes themselves are named where it ends in a preposition.

    >>> says("review", "explicit", ["E026"])
    'The review says so of'
    >>> says("review", "inherited", ["E026"], "the sentence before")
    'Carried over from the sentence before, which the review says of'
    >>> says("concept", "none", [])
    'The glossary says so and names no episode'
    >>> says("episode", "document", ["E026"])
    "The episode's own summary says so of"
    """
    who = _SPEAKERS.get(kind, "the document")
    if attribution == "inherited":
        return f"Carried over from {carried or 'another sentence'}, which {who} says of"
    who = who[0].upper() + who[1:]
    return f"{who} says so of" if episodes else f"{who} says so and names no episode"


def counted(count: int, one: str, several: str = "") -> str:
    """A number of things.

    >>> counted(1, "passage"), counted(1200, "passage")
    ('1 passage', '1,200 passages')
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"
