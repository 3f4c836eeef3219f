"""Episode markers in text, and who a sentence is attributed to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rag.corpus.sentences import sentence_spans
from rag.records import Attribution, Document, Paragraph, Sentence

DEFAULT_PATTERN = r"E\d{3,}"

# A sentence that weighs several episodes at once continues none of them.
_SOURCES = r"(?:papers?|episodes?|results?|findings?|studies|works?|lines|threads|examples)"
_SYNTHESIS = re.compile(
    rf"(?:(?:taken|put|read|viewed|seen) together|together\b,?|collectively|between them|neither {_SOURCES}"
    rf"|(?:these|those|the) (?:(?:two|three|four|five|several|many) (?:\w+ )?)?{_SOURCES}"
    rf"|(?:both|all) (?:of (?:these|them)|{_SOURCES}|three|four|five)"
    rf"|across (?:these|the|both|all)\b|the (?:common|shared) \w+"
    r"|the (?:lesson|upshot|pattern|moral|thread|theme) (?:across|of all|of both|common|running))\b",
    re.IGNORECASE,
)
_SEVERAL = re.compile(
    rf"(?:two|three|four|five|several|many|a number of|a handful of) (?:\w+ ){{0,2}}{_SOURCES}\b", re.I
)


@dataclass(frozen=True, slots=True)
class Marker:
    """Episode IDs at `text[start:end]`: one, a run (`E121E142`), or a group (`[E030, E035]`, brackets included)."""

    start: int
    end: int
    episodes: tuple[str, ...]


@lru_cache(maxsize=16)
def _patterns(id_pattern: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    one = re.compile(id_pattern)
    run = rf"(?<!\w)(?:{id_pattern})+(?!\w)"
    listed = rf"{run}(?:(?:\s*[,;/&+]\s*(?:and\s+)?|\s+and\s+){run})*"
    return one, re.compile(rf"\[\s*{listed}\s*\]|\(\s*{listed}\s*\)|{listed}")


def find_markers(text: str, id_pattern: str = DEFAULT_PATTERN) -> Iterator[Marker]:
    """Markers from left to right.

    >>> [m.episodes for m in find_markers("so E026. Others [E030, E035] and E121E142; E2E, E5, 1E600, E. coli")]
    [('E026',), ('E030', 'E035'), ('E121', 'E142')]
    """
    one, group = _patterns(id_pattern)
    for found in group.finditer(text):
        yield Marker(found.start(), found.end(), tuple(dict.fromkeys(m.group() for m in one.finditer(found.group()))))


# A bare marker that is a word of its sentence ("E026 shows", "as in E009") must stay; one behind a claim may go.
_BEHIND = re.compile(r"\s*(?:[.,;:!?)\]]|[—–]|-\s|$)")
_GOVERNS = re.compile(
    r"\b(?:in|of|from|by|see|with|and|to|as|than|like|unlike|whereas|while|both|for|after|on|versus|vs\.?|episodes?)\s*$",
    re.I,
)
_EMPHASIS = re.compile(r"(?<!\w)(\*\*|__|\*|_|`)(?=\S)(.+?)(?<=\S)\1(?!\w)", re.S)


def plain(text: str, id_pattern: str = DEFAULT_PATTERN) -> str:
    """Text to read and to index: markers behind claims, emphasis marks and line breaks gone.

    >>> plain("RL equals *calibration* on a 32B model E026. As E009 shows, baselines matter [E010].")
    'RL equals calibration on a 32B model. As E009 shows, baselines matter.'
    """
    while (once := _plain(text, id_pattern)) != text:
        text = once
    return once


def _plain(text: str, id_pattern: str) -> str:
    kept, last = [], 0
    for marker in find_markers(text, id_pattern):
        governed = _GOVERNS.search(text, max(0, marker.start - 20), marker.start) or not text[: marker.start].strip()
        if not governed and (text[marker.start] in "[(" or _BEHIND.match(text, marker.end)):
            kept.append(text[last : marker.start].rstrip())
            last = marker.end
    kept.append(text[last:])
    words = _EMPHASIS.sub(r"\2", "".join(kept))
    return " ".join(words.split()).lstrip("—–-; ")


def sentences(document: Document, id_pattern: str = DEFAULT_PATTERN) -> tuple[Sentence, ...]:
    """Every sentence of a document in order, with the episodes it is attributed to.

    In a document about an episode, a sentence without a marker belongs to that episode. Elsewhere it continues the
    marked claim before it in its paragraph, or, at the head of a paragraph, prepares the one after it, unless it
    weighs several sources at once; a paragraph without a marker is the document's own word.
    """
    return tuple(s for paragraph in document.paragraphs for s in _attribute(document, paragraph, id_pattern))


def _attribute(document: Document, paragraph: Paragraph, id_pattern: str) -> Iterator[Sentence]:
    claims = [
        (
            start,
            end,
            tuple(dict.fromkeys(e for m in find_markers(document.text[start:end], id_pattern) for e in m.episodes)),
        )
        for start, end in claim_spans(document.text, paragraph.start, paragraph.end, id_pattern)
    ]
    marked = [episodes for _, _, episodes in claims]
    for at, (start, end, episodes) in enumerate(claims):
        how: Attribution = "explicit"
        if not episodes and document.episode is not None:
            episodes, how = (document.episode,), "document"
        elif not episodes:
            episodes = _neighbour(document.text[start:end], marked[:at], marked[at + 1 :])
            how = "inherited" if episodes else "none"
        yield Sentence(start, end, document.text[start:end], episodes, how)


def _neighbour(text: str, before: Sequence[tuple[str, ...]], after: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    preceding = [episodes for episodes in before if episodes]
    following = [episodes for episodes in after if episodes]
    if _SYNTHESIS.match(text) and len({e for episodes in preceding for e in episodes}) > 1:
        return ()
    if preceding:
        return preceding[-1]
    if _SEVERAL.match(text) and len({e for episodes in following for e in episodes}) > 1:
        return ()
    return following[0] if following else ()


_CLOSES = re.compile(r"[.!?…]+[\"'”’)\]*_]*(?=\s)|;(?=\s)|(?=\s+(?:[—–]|--?)\s)")
_CLAIM_WORDS = 5  # fewer words before a marker are its subject's surroundings ("Unlike E026 — …"), not a claim


def claim_spans(text: str, start: int, end: int, id_pattern: str = DEFAULT_PATTERN) -> list[tuple[int, int]]:
    """Sentences of `text[start:end]`, cut further where a marker ends a claim; between them only white space.

    A marker and a full stop end a claim whatever comes next ("… for ~$25 E026. turns this …"). So does a marker
    before a dash or a semicolon, where what follows has a marker of its own to stand on.
    """
    claims: list[tuple[int, int]] = []
    for left, right in sentence_spans(text, start, end):
        markers = list(find_markers(text[left:right], id_pattern))
        begin = left
        for marker in markers:
            more = marker is not markers[-1]
            closes = _CLOSES.match(text, left + marker.end, right)
            if closes is None or closes.end() >= right:
                continue
            if closes.group()[:1] in ("", ";"):
                words = text[begin : left + marker.start].split()
                if not more or len(words) < _CLAIM_WORDS or _GOVERNS.search(text, begin, left + marker.start):
                    continue
            claims.append((begin, closes.end()))
            begin = closes.end() + len(text[closes.end() : right]) - len(text[closes.end() : right].lstrip())
        claims.append((begin, right))
    return claims
