"""Where sentences begin and end."""

from __future__ import annotations

import re
from itertools import accumulate, pairwise

MAX_CHARS = 2000
"""A longer "sentence" (a table, a log, a text without full stops) is cut at white space, so that every limit holds."""

# What closes the sentence before it: a citation group, quotation marks, brackets, stray punctuation.
_TAIL = re.compile(r"(?:\[[^\[\]]{1,80}\]|\(\s*[A-Z]+-?\d+[^()]{0,60}\)|[\"'”’)\]*_.…!?]+)(?=\s|$)")
# sentencex takes two apostrophes for a quotation and never cuts inside one ("the library's bug. The authors' fix").
_APOSTROPHES = str.maketrans(dict.fromkeys("'‘’", "\u02bc"))
# sentencex takes the unit of "13 km/h." and "5 m." for an initial.
_UNIT = re.compile(r"(?:\w/[a-z]|\d\s?[A-Za-z])\.\s+(?=[A-Z])")
_WORD = re.compile(r"\w")


def sentence_spans(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Sentences of `text[start:end]` as (start, end), in order, disjoint, none empty; between them only white space.

    Boundaries are sentencex's; a citation group or closing quotation mark that follows a full stop goes with the
    sentence before it.

    >>> text = 'It rose 3.5 points vs. SFT. [E009] Dr. Roe et al. agreed.'
    >>> [text[a:b] for a, b in sentence_spans(text, 0, len(text))]
    ['It rose 3.5 points vs. SFT. [E009]', 'Dr. Roe et al. agreed.']
    """
    spans: list[tuple[int, int]] = []
    for left, right in _raw(text, start, end):
        left = _skip_space(text, left, right)
        while spans and left < right and (tail := _TAIL.match(text, left, right)):
            spans[-1] = (spans[-1][0], tail.end())
            left = _skip_space(text, tail.end(), right)
        right = left + len(text[left:right].rstrip())
        if left == right:
            continue
        if spans and not _WORD.search(text, left, right):
            spans[-1] = (spans[-1][0], right)
        else:
            spans.append((left, right))
    return [piece for left, right in spans for piece in _bounded(text, left, right)]


def _raw(text: str, start: int, end: int) -> list[tuple[int, int]]:
    from sentencex import segment

    masked = text[start:end].translate(_APOSTROPHES)
    pieces = segment("en", masked)
    if "".join(pieces) != masked:  # offsets count on it; were a character ever lost, do not cut at all
        return [(start, end)]
    ends = set(accumulate(map(len, pieces), initial=start))
    ends.update(m.end() for m in _UNIT.finditer(text, start, end))
    return list(pairwise(sorted(ends)))


def _skip_space(text: str, left: int, right: int) -> int:
    return right - len(text[left:right].lstrip())


def _bounded(text: str, left: int, right: int) -> list[tuple[int, int]]:
    pieces = []
    while right - left > MAX_CHARS:
        space = max(text.rfind(" ", left + 1, left + MAX_CHARS), text.rfind("\n", left + 1, left + MAX_CHARS))
        cut = space if space > left else left + MAX_CHARS
        pieces.append((left, len(text[:cut].rstrip())))
        left = _skip_space(text, cut, right)
    return [*pieces, (left, right)]
