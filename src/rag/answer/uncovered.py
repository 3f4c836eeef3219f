"""A question, and the passages found for it -> the words of it that they do not hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rag.answer.extract import asked_terms
from rag.ports import TermStatistics
from rag.records import Passage, Question, Ranking


@dataclass(frozen=True, slots=True)
class Uncovered:
    """Words of a question as typed, in its order, each once: `unknown` to the whole index, and known `elsewhere` in it.

    Neither are in the passages that were found.
    """

    unknown: tuple[str, ...]
    elsewhere: tuple[str, ...]


# Read from a mask: "w" for letters and their marks, "d" for digits, "$" for currencies, other characters as they are.
_WORD = re.compile(r"\$?[wd]+(?:(?:[-‐‑'’ʼ.&+_·]|(?<=d),(?=d))[wd]+)*(?:[%‰°$#]|\++)?")
_JOINERS = "\u200c\u200d"  # stand inside words of Persian and of India's languages
_SUFFIX = re.compile(r"['’ʼ](?:s|re|ve|ll|d|m)$", re.IGNORECASE)
# "don't", "isnt": nothing but function words.
_CONTRACTED = re.compile(
    r"[^\W\d_]+n['’ʼ]t|(?:do|does|did|is|are|was|were|ca|could|should|would|wo|has|have|had)nt", re.IGNORECASE
)
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def uncovered(question: Question, hits: Ranking, statistics: TermStatistics) -> Uncovered:
    """The words of a question that no passage of the index holds in any form, and those that none of the hits does.

    A passage holds what its text, title and heading say, and the questions that its document says it answers. Words are
    compared by their index terms; one of several ("GPT-5") is held where all of them are. Not among them: function
    words, words that only ask (`extract.ASKING`), and the episodes that the question names, in any spelling.

    >>> class Statistics:
    ...     def terms(self, text): return [w for w in re.findall("[a-z]+", text.lower()) if w not in ("is", "the")]
    ...     def idf(self, term): return 1.0 if term in ("model", "costs", "apart") else 2.0
    >>> from rag.records import Hit
    >>> hits = (Hit(Passage("a:0", "a", "the model costs", 0, 15), 1.0, 1),)
    >>> uncovered(Question("Is the model apart, (Zebra)?"), hits, Statistics())
    Uncovered(unknown=('Zebra',), elsewhere=('apart',))
    """
    asked = {term for term in asked_terms(question, statistics) if statistics.terms(term)}  # "whats" is cut to "what"
    rarest = statistics.idf("")
    foreign = {term for term in asked if statistics.idf(term) >= rarest}
    held = {term for hit in hits for term in statistics.terms(_said(hit.passage))}
    unknown: dict[frozenset[str], str] = {}
    elsewhere: dict[frozenset[str], str] = {}
    for word in _words(question.text, question.named):
        own = asked.intersection(statistics.terms(_SUFFIX.sub("", word)))
        lacking = frozenset(own - held)
        if lacking & foreign:
            unknown.setdefault(frozenset(own), word)
        elif lacking:
            elsewhere.setdefault(frozenset(own), word)
    return Uncovered(tuple(unknown.values()), tuple(elsewhere.values()))


def _said(passage: Passage) -> str:
    return "\n".join(
        (passage.title, passage.heading, passage.text, *(ask for s in passage.sentences for ask in s.asked))
    )


def _words(text: str, named: Sequence[str]) -> Iterator[str]:
    """The words of a text without the punctuation around them, nor what names an episode."""
    text = _unnumbered(text, named)
    ids = re.compile("|".join(re.escape(id) for id in sorted(map(_folded, named), key=len, reverse=True)))
    for found in _WORD.finditer("".join(map(_kind, text))):
        word = text[found.start() : found.end()]
        if not _CONTRACTED.fullmatch(word) and (not named or ids.sub("", _folded(_SUFFIX.sub("", word)))):
            yield word


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Sc":
        return "$"
    if category[0] == "N":
        return "d"
    return "w" if category[0] in "LM" or character in _JOINERS else character


def _folded(text: str) -> str:
    """Letters and numbers alone, so that "e-26" is "E026"."""
    return _ZEROS.sub("", "".join(c for c in text.casefold() if c.isalnum()))


def _unnumbered(text: str, named: Sequence[str]) -> str:
    """A text without what introduces an episode's number ("ep. #26", "episodes no. 26", "Show 26")."""
    letters = {"ep", "episode", *(re.escape(m.group()) for id in named if (m := re.match(r"[^\W\d_]+", id)))}
    introduces = rf"(?<!\w)(?:{'|'.join(sorted(letters))})s?[.\s#-]+(?:(?:numbers?|nos?\.?)\s*)?#?(?=\d)"
    return re.sub(introduces, " ", text, flags=re.IGNORECASE) if named else text
