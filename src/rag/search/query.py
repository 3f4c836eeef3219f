"""What a question names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rag.errors import QuestionError
from rag.records import Filters, Question

MAX_CHARS = 1000
"""The longest question, in characters."""

_DIGITS = re.compile(r"\d+")
_SPELLED = re.compile(r"\b(?:episodes?|eps?\.?)\s*#?\s*(\d{1,6})\b", re.IGNORECASE)
# "E5 embeddings" is a model, "e5" an episode.
_MODEL = re.compile(
    r"[\s-]+(?:embedd\w*|encoders?|models?|mistral|small|base|large|multilingual|instruct|vectors?)\b", re.I
)


def understand(text: str, known: Sequence[str], filters: Filters = Filters()) -> Question:
    """A question with the episodes it names, in any spelling: `e26`, `E026`, `episode 26`, `ep. #26`.

    Where it names some, only their passages may answer. `known` are the episodes of the index. Raises QuestionError.

    >>> understand("what does e26 say about cost", ["E026"]).named
    ('E026',)
    >>> understand("do E5 embeddings beat E2E training?", ["E005"]).named
    ()
    """
    text = " ".join(text.split())
    if not text:
        raise QuestionError("the question is empty; ask something like: rag ask 'What did E026 cost?'")
    if len(text) > MAX_CHARS:
        raise QuestionError(f"the question has {len(text)} characters, at most {MAX_CHARS} are taken; shorten it")
    if not any(c.isalnum() for c in text):
        raise QuestionError(f"the question {text!r} has no words; ask something like: rag ask 'What did E026 cost?'")
    named = named_episodes(text, known)
    if named and not filters.episodes:
        filters = replace(filters, episodes=named)
    return Question(text, filters, named)


def named_episodes(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Episodes that the text names, in order; an ID of the known kind that no document knows is named as typed."""
    of_number = {(_letters(id), int(m.group())): id for id in known if (m := _DIGITS.search(id))}
    kinds = sorted({letters for letters, _ in of_number if letters})
    found: list[tuple[int, str]] = []
    for letters in kinds:
        typed = re.finditer(rf"(?<!\w){re.escape(letters)}[ ]?0*(\d{{1,6}})(?!\w)", text, re.IGNORECASE)
        found += [
            (m.start(), of_number.get((letters, int(m.group(1))), m.group().upper().replace(" ", "")))
            for m in typed
            if not _MODEL.match(text, m.end())
        ]
    for m in _SPELLED.finditer(text):
        same = [id for (_, number), id in of_number.items() if number == int(m.group(1))]
        found.append((m.start(), same[0] if len(same) == 1 else f"{kinds[0] if kinds else ''}{int(m.group(1)):03d}"))
    return tuple(dict.fromkeys(id for _, id in sorted(found)))


def _letters(id: str) -> str:
    return _DIGITS.split(id)[0].upper()
