"""Text -> index terms, the same for documents and questions."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

# A number keeps its decimals and its unit letter ("3.8", "103k", "32b"); anything else is a run of letters and digits.
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*[^\W_]*|[^\W\d_][^\W_]*")
_THOUSANDS = re.compile(r",(?<=\d,)(?=\d{3}(?!\d))")  # the comma first: it is what the search leaps to
_FOREIGN = re.compile(r"[^\x00-\x7f]")

# Lucene's English set, and the words that questions are made of.
STOP_WORDS = frozenset(
    """
    a an and are as at be but by for if in into is it no not of on or such that the their then there these they this
    to was will with what which who whom whose when where why how do does did done has have had can could would should
    may might i we you he she its from about than so were been being any some me my our your
    """.split()  # noqa: SIM905
)


def terms(text: str) -> list[str]:
    """Index terms in order, with repeats: folded to lower case without accents, stopped, stemmed (Snowball English).

    >>> terms("What did the corrected SFT-then-RL baselines gain? +3.8 points, $103,000, 97-99%")
    ['correct', 'sft', 'rl', 'baselin', 'gain', '3.8', 'point', '103000', '97', '99']
    """
    return list(_terms(text))


@lru_cache(maxsize=8192)  # the passages that answer one question answer others, and half of an answer's time went here
def _terms(text: str) -> tuple[str, ...]:
    folded = _fold(text) if not text.isascii() else text.lower()
    return tuple(filter(None, map(_stem, _TOKEN.findall(_THOUSANDS.sub("", folded)))))


def _fold(text: str) -> str:
    # Twice: a mathematical A folds only once it is a plain one, and what is folded may be composed.
    folded = unicodedata.normalize("NFKD", text).casefold()
    return _FOREIGN.sub(_plain, unicodedata.normalize("NFKD", folded))


def _plain(character: re.Match[str]) -> str:
    return "" if unicodedata.combining(character[0]) else character[0]


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=100_000)
def _stem(token: str) -> str:
    """Empty for a word that is stopped."""
    if token in STOP_WORDS:
        return ""
    return token if token[0].isdigit() else str(_stemmer().stemWord(token))
