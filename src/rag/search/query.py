"""What a question names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from rag.errors import QuestionError
from rag.records import Filters, Question

MAX_CHARS = 1000
"""The longest question, in characters."""

_NUMBERS = re.compile(r"\d+")
_MOST_IN_A_RANGE = 50
_LISTED = r"\d{1,6}(?:\s*(?:,|and|&|or|vs\.?|to|[-–])\s*(?:and\s+)?#?\d{1,6})*(?![\w/%]|\.\d)"
_SPELLED = re.compile(
    rf"\b(?:episodes?|eps?\.|ep)\s*(?:numbers?\s*|nos?\.?\s*)?#?({_LISTED})|(?<!\w)#(\d{{1,6}})\b", re.I
)
_IN_LIST = re.compile(r"(\d+)(?:\s*(?:to|[-–])\s*#?(\d+))?")
# "E5 embeddings" is a model and "E8 lattice" a lattice; "e5 says" and "in E5?" are an episode.
_MODEL = re.compile(
    r"[\s-]+(?:embedd\w*|encoders?|models?|mistral|small|base|large|multilingual|instruct|vectors?)\b", re.I
)
_ONE_DIGIT = re.compile(
    r"(?:['’]s\b|\s*[?!.,;:)]|\s*$|\s+(?:say|said|claim|find|found|show|report|argue|conclude|cost|mean|use|do|did|is|was|ha[sd]"
    r"|have|about|and|or|vs|versus|to|on)\w*\b)",
    re.I,
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
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise QuestionError("the question is not UTF-8; send it in that encoding")
    named = named_episodes(text, known)
    if named and not filters.episodes:
        filters = replace(filters, episodes=named)
    return Question(text, filters, named)


def named_episodes(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Episodes that the text names, in order, each once: as written, in short, or spelled out; lists and ranges too.

    Short and spelled forms need IDs with one number in them. An ID of their shape that no document knows is named
    all the same, so that it can be said that there is none.

    >>> named_episodes("compare episodes 26, 30-31 and e9", ["E009", "E026", "E030", "E031"])
    ('E026', 'E030', 'E031', 'E009')
    >>> named_episodes("what does s01e05 say", ["S01E05", "S02E05"])
    ('S01E05',)
    """
    scheme = _scheme(tuple(known))
    found = sorted(scheme.mentions(text))
    return tuple(dict.fromkeys(id for _, id in found))


@dataclass(frozen=True)
class _Scheme:
    """The known IDs: all of them by their folded spelling, and those of one number by their letters and number."""

    folded: dict[str, str]
    literal: re.Pattern[str] | None
    numbered: dict[tuple[str, int], str]
    prefixes: tuple[str, ...]  # the most common one first
    width: int

    def mentions(self, text: str) -> Iterator[tuple[int, str]]:
        taken: list[tuple[int, int]] = []
        for run in self.literal.finditer(text) if self.literal else ():
            taken.append(run.span())
            for number, m in enumerate(self.literal_one.finditer(run.group())):
                yield run.start() + number, self.folded[m.group().casefold()]
        for prefix in self.prefixes:
            gap = r"[-\s]?" if len(prefix) > 1 else "-?"
            letters = re.escape(prefix)
            short = rf"(?<![^\W_]){letters}{gap}(\d{{1,6}})(?:[-–](?:{letters})?(\d{{1,6}}))?(?![^\W_]|[./]\d)"
            for m in re.finditer(short, text, re.I | re.A) if prefix else ():
                if any(a < m.end() and m.start() < b for a, b in taken) and m.group(2) is None:
                    continue
                one = len(m.group(1)) == 1
                if not _MODEL.match(text, m.end()) and (not one or m.group(2) or _ONE_DIGIT.match(text, m.end())):
                    yield from ((m.start(), id) for id in self._ids(prefix, m.group(1), m.group(2)))
        for m in _SPELLED.finditer(text) if self.prefixes else ():
            for part in _IN_LIST.finditer(m.group(1) or m.group(2)):
                yield from ((m.start(), id) for id in self._ids(None, part.group(1), part.group(2)))

    @property
    def literal_one(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, sorted(self.folded, key=len, reverse=True))), re.I)

    def _ids(self, prefix: str | None, first: str, last: str | None) -> list[str]:
        """An episode, or a range of them: its ends, and what is known between."""
        low, high = int(first), int(last or first)
        between = range(low + 1, high) if high <= low + _MOST_IN_A_RANGE else range(0)
        inner = [id for id in (self._id(prefix, n) for n in between) if id in self.folded.values()]
        return list(dict.fromkeys((self._id(prefix, low), *inner, self._id(prefix, high))))

    def _id(self, prefix: str | None, number: int) -> str:
        for letters in (prefix,) if prefix is not None else self.prefixes:
            if (letters, number) in self.numbered:
                return self.numbered[letters, number]
        return f"{self.prefixes[0] if prefix is None else prefix}{number:0{self.width}d}"


@lru_cache(maxsize=8)
def _scheme(known: tuple[str, ...]) -> _Scheme:
    folded = {id.casefold(): id for id in known}
    any_of = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
    numbered = {(_NUMBERS.split(id)[0], int(_NUMBERS.findall(id)[0])): id for id in known if _one_number(id)}
    letters = Counter(prefix for prefix, _ in numbered)
    widths = Counter(len(_NUMBERS.findall(id)[0]) for id in numbered.values())
    return _Scheme(
        folded,
        re.compile(rf"(?<![^\W_])(?>(?:{any_of})+)(?![^\W_])", re.I) if known else None,
        numbered,
        tuple(prefix for prefix, _ in letters.most_common()),
        widths.most_common(1)[0][0] if widths else 1,
    )


def _one_number(id: str) -> bool:
    return len(_NUMBERS.findall(id)) == 1 and id[-1].isdigit()
