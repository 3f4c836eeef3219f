"""A drafted sentence and a quote -> the part of the quote that it repeats, where that can stand alone."""

from __future__ import annotations

import re

from rag.answer.wording import QUALIFIERS

_TOKEN = re.compile(r"\S+")
_EDGES = "\"'“”‘’„«»()[]{}.,;:!?…*_`|"
_DASHES = frozenset("-–—")
_SMALLEST = 4  # words
_DIVIDES = re.compile(r";\s|,\s+(?=(?:while|whereas|because)\s)")
_SETS_OFF = re.compile(r"[:\"“”„«»()\[\]]")


def cut(drafted: str, quote: str) -> str | None:
    """The characters of the quote that a drafted sentence repeats word for word: all of it, or clauses at one end.

    Clauses end at a semicolon, or before ", while", ", whereas" or ", because". What is left out may hold no qualifier
    ("only", "not", "said", …), no colon, no brackets and no quotation marks: what stands behind or before such a thing
    may be true with it alone. Every other way to shorten a sentence can turn it round, so for those there is None.

    >>> quote = "On code, RL beats SFT; the gap is about 3.8 points, while SFT costs less."
    >>> [cut(text, quote) for text in ("on **code** RL beats SFT", "the gap is about 3.8 points, while SFT costs less")]
    ['On code, RL beats SFT.', 'The gap is about 3.8 points, while SFT costs less.']
    >>> [cut(text, quote) for text in ("RL beats SFT.", "The gap is 3.8 points.", "SFT costs less.")]
    [None, None, None]
    """
    wanted = _words(drafted)
    if len(wanted) < _SMALLEST and wanted != _words(quote):
        return None
    if _same(wanted, _words(quote)):
        return _sentence(quote)
    cuts = [0, *(m.end() for m in _DIVIDES.finditer(quote)), len(quote)]
    for first, start in enumerate(cuts[:-1]):
        for end in cuts[first + 1 :]:
            if start and end < len(quote):
                continue
            part, rest = quote[start:end], quote[:start] + quote[end:]
            if _same(wanted, _words(part)) and not _SETS_OFF.search(rest) and _plainly(rest):
                return _sentence(part)
    return None


def _words(text: str) -> list[str]:
    found = (token.strip(_EDGES) for token in _TOKEN.findall(text))
    return [word for word in found if word and not set(word) <= _DASHES]


def _same(a: list[str], b: list[str]) -> bool:
    """Whether the words are the same ones, but for a capital letter at the beginning."""
    return len(a) == len(b) and all(
        x == y or (at == 0 and x[1:] == y[1:] and x[0].casefold() == y[0].casefold())
        for at, (x, y) in enumerate(zip(a, b, strict=True))
    )


def _plainly(text: str) -> bool:
    return not any(word.casefold() in QUALIFIERS for word in re.findall(r"[\w'’-]+", text))


def _sentence(text: str) -> str:
    """With a full stop, and a capital letter where that is sure to be right."""
    text = text.strip().rstrip(",;:-–— ")
    if re.match(r"[a-z]+(?![\w-])", text):
        text = text[0].upper() + text[1:]
    return text if re.search(r"[.!?…][\"'”’)\]]*$", text) else f"{text}."
