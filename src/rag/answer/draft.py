"""A model's text, piece by piece -> its finished sentences, as plain text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from rag.corpus.markers import DEFAULT_PATTERN, claim_spans

LONGEST = 1000
"""Characters of a sentence; what has no end by then is cut off as one that nothing supports."""
MOST = 12_000
"""Characters of a draft that are read; a model may never stop."""
MOST_THOUGHT = 200_000
"""Characters that are read with those of its thinking."""
_AHEAD = 24  # a sentence has ended when so much stands behind it: a marker there may still belong to it

_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")
_TAG = re.compile(r"<!--.*?(?:-->|\Z)|</?[A-Za-z][^<>]*(?:>|\Z)", re.S)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_LEAD = re.compile(r"\A\s*(?:#{1,6}\s+|>\s*|[-*+•]\s+|\d{1,2}[.)]\s+|```\w*)+")
_BARE = re.compile(r"[\W_]*(?:\d{1,2}[\W_]*)?")  # no word, or the number of one of a list
_LABEL = re.compile(r"\A(?:\*\*)?(?:answer|response)\s*:(?:\*\*)?\s*", re.I)
_INVISIBLE = ("Cc", "Cf", "Co", "Cs")
_NUMBERED = re.compile(r"\s*\[\d{1,3}\]")


def finished(pieces: Iterable[str], id_pattern: str = DEFAULT_PATTERN) -> Iterator[str]:
    r"""Each sentence as soon as it has ended, in plain text; the same whatever pieces the text comes in.

    A line's end ends a sentence; a marker behind a full stop belongs to the sentence before it. What a model says
    between <think> and </think> is not part of its draft.

    >>> list(finished(["- It cost $2", "5. [E0", "26] <b>RL</b> won.", "\n\nIt is [here](http://a.example)"]))
    ['It cost $25. [E026]', 'RL won.', 'It is here']
    """
    line = ""
    for c in _outside_thoughts(pieces):
        if c == "\n":
            yield from _sentences(line, id_pattern)
            line = ""
            continue
        line += c
        if len(line) > LONGEST:
            yield from _sentences(line, id_pattern)
            line = ""
        elif len(line) > _AHEAD and line[-_AHEAD - 1] in ".!?…":
            spans = claim_spans(line, 0, len(line), id_pattern)
            if len(spans) > 1 and spans[-1][0] >= len(line) - _AHEAD:
                yield from _sentences(line[: spans[-2][1]], id_pattern)
                line = line[spans[-1][0] :]
    yield from _sentences(line, id_pattern)


def _sentences(line: str, id_pattern: str) -> Iterator[str]:
    text = neutral(line)
    for start, end in claim_spans(text, 0, len(text), id_pattern):
        sentence = _LABEL.sub("", _LEAD.sub("", text[start:end]))  # "1. …  2. …" on one line
        if not _BARE.fullmatch(sentence):
            yield sentence


def neutral(text: str) -> str:
    r"""Text without markup, links, numbered references, terminal sequences, control and invisible characters.

    >>> neutral("## A <script>x</script>**b** \x1b[31mred\x1b[0m [c](javascript:d) e\u202ef\u200b g [1]")
    'A x**b** red c ef g'
    """
    text = unicodedata.normalize("NFC", _TERMINAL.sub("", text))
    text = "".join(
        " " if c.isspace() else c
        for c in text
        if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cs")
    )
    while (once := _LINK.sub(r"\1", _TAG.sub("", text))) != text:  # what is left may be one again
        text = once
    return " ".join(_NUMBERED.sub("", _LEAD.sub("", text, count=1)).split())


def _outside_thoughts(pieces: Iterable[str]) -> Iterator[str]:
    """Characters of what stands outside <think> … </think>."""
    held, thinking, read, kept = "", False, 0, 0
    for piece in pieces:
        for c in piece.replace("\r", "\n"):
            read, kept = read + 1, kept + (not thinking)
            if read > MOST_THOUGHT or kept > MOST:
                return
            held += c
            low = held.lower()
            if thinking:
                if low.endswith(("</think>", "</thinking>")):
                    held, thinking = "", False
                else:
                    held = held[-len("</thinking>") :]
            elif low in ("<think>", "<thinking>"):
                held, thinking = "", True
            elif not any(tag.startswith(low) for tag in ("<think>", "<thinking>")):
                yield from held[:-1] if c == "<" else held
                held = "<" if c == "<" else ""
    if not thinking:
        yield from held
