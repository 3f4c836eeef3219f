"""Episode markers in text, and who a sentence is attributed to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rag.corpus.sentences import MAX_CHARS, sentence_spans
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
    id = rf"(?a:{id_pattern})"
    run = rf"(?<![^\W_])(?>(?:{id})+)(?:[-–](?>{id}|\d{{1,6}}))?(?![^\W_])"  # "_" may be emphasis, so it may touch
    bare = rf"{run}(?:(?:\s*[,/&+]\s*(?:and\s+)?|\s+and\s+){run})*"
    listed = rf"{run}(?:(?:\s*[,;/&+]\s*(?:and\s+)?|\s+and\s+){run})*"
    link = r"(?:\([^()\s]{0,300}\))?"
    group = rf"\[{{1,2}}\^?\s*{listed}\s*\]{{1,2}}{link}|\(\s*{listed}\s*\)|{bare}"
    return re.compile(rf"({id})(?:[-–]({id}|\d+))?"), re.compile(group)


def find_markers(text: str, id_pattern: str = DEFAULT_PATTERN) -> Iterator[Marker]:
    """Markers from left to right; a range stands for the episodes between its ends too.

    >>> [m.episodes for m in find_markers("so E026. Others [E030, E035] and E121E142; E2E, E5, 1E600, E. coli")]
    [('E026',), ('E030', 'E035'), ('E121', 'E142')]
    >>> [m.episodes for m in find_markers("[E026](https://example.org/26), _E030_, E041–43")]
    [('E026',), ('E030',), ('E041', 'E042', 'E043')]
    """
    one, group = _patterns(id_pattern)
    for found in group.finditer(text):
        ids = (
            id
            for m in one.finditer(found.group().partition("](")[0])
            for id in _range(m.group(1), m.group(m.lastindex or 1))
        )
        yield Marker(found.start(), found.end(), tuple(dict.fromkeys(ids)))


_NUMBER_AT_END = re.compile(r"\d+$")
_LONGEST_RANGE = 50


def _range(first: str, last: str) -> list[str]:
    low, high = _NUMBER_AT_END.search(first), _NUMBER_AT_END.search(last)
    if first == last or low is None or high is None:
        return [first]
    digits = low.group()
    end = high.group() if len(high.group()) >= len(digits) else digits[: -len(high.group())] + high.group()
    if not 0 < int(end) - int(digits) <= _LONGEST_RANGE:
        return [first, last] if last != high.group() else [first]
    return [f"{first[: low.start()]}{n:0{len(digits)}d}" for n in range(int(digits), int(end) + 1)]


# A bare marker that is a word of its sentence ("E026 shows", "as in E009") must stay; one behind a claim may go.
_BEHIND = re.compile(r"\s*(?:[.,;:!?)\]]|[—–]|-\s|$)")
_GOVERNS = re.compile(
    r"\b(?:in|of|from|by|see|with|and|to|as|than|like|unlike|whereas|while|both|for|after|on|versus|vs\.?|episodes?)\s*$",
    re.I,
)
_EMPHASIS = re.compile(r"(?<!\w)(\*\*|__|\*|_|`)(?=\S)(.{1,500}?)(?<=\S)\1(?!\w)", re.S)


@lru_cache(maxsize=8192)
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
        bracketed = text[marker.start] in "[("
        if not _governed(text, marker) and (bracketed or _BEHIND.match(text, marker.end)):
            kept.append(text[last : marker.start].rstrip())
            last = marker.end
    kept.append(text[last:])
    words = _EMPHASIS.sub(r"\2", "".join(kept))
    return " ".join(words.split()).lstrip("—–-; ")


def _governed(text: str, marker: Marker) -> bool:
    """Whether the words before a marker need it: a preposition, a colon, a bracket that holds more than the marker."""
    before = text[: marker.start].rstrip()
    inside = any(before.count(left) > before.count(right) for left, right in ("[]", "()"))
    return not before or inside or before[-1] in ",:;/–—" or _GOVERNS.search(before[-20:]) is not None


def sentences(document: Document, id_pattern: str = DEFAULT_PATTERN) -> tuple[Sentence, ...]:
    """Every sentence of a document in order, with the episodes it is attributed to.

    In a document about an episode, a sentence without a marker belongs to that episode. Elsewhere it continues the
    marked claim before it in its paragraph, or, at the head of a paragraph, prepares the one after it, unless it
    weighs several sources at once; a paragraph without a marker is the document's own word.
    """
    return tuple(s for paragraph in document.paragraphs for s in _attribute(document, paragraph, id_pattern))


def _attribute(document: Document, paragraph: Paragraph, id_pattern: str) -> Iterator[Sentence]:
    spans = claim_spans(document.text, paragraph.start, paragraph.end, id_pattern)
    claims = [_Claim(document.text[start:end], id_pattern) for start, end in spans]
    preceding = _nearest(claims)
    following = _nearest(claims[::-1])[::-1]
    for (start, end), claim, before, after in zip(spans, claims, preceding, following, strict=True):
        episodes = claim.episodes
        how: Attribution = "explicit"
        if not episodes and document.episode is not None:
            episodes, how = (document.episode,), "document"
        elif not episodes:
            episodes = _neighbour(claim.text, before, after)
            how = "inherited" if episodes else "none"
        yield Sentence(start, end, claim.text, episodes, how)


class _Claim:
    def __init__(self, text: str, id_pattern: str) -> None:
        self.text, self.markers = text, tuple(find_markers(text, id_pattern))
        self.episodes = tuple(dict.fromkeys(e for m in self.markers for e in m.episodes))


@dataclass(frozen=True, slots=True)
class _Marked:
    """The nearest claim on one side that has a marker, if any has, and whether that side cites several episodes."""

    claim: _Claim | None
    several: bool


def _nearest(claims: Sequence[_Claim]) -> list[_Marked]:
    """What stands before each claim, in one pass: a paragraph may be as long as a file."""
    found = []
    nearest: _Claim | None = None
    seen: set[str] = set()
    for claim in claims:
        found.append(_Marked(nearest, len(seen) > 1))
        if claim.episodes:
            nearest = claim
            seen.update(claim.episodes)
    return found


# What turns against the sentence before it was not prepared by it.
_TURNS = re.compile(
    r"[—–-]?\s*(?:however|but|yet|still|in contrast|by contrast|conversely|unlike|other|another)\b", re.I
)


def _neighbour(text: str, before: _Marked, after: _Marked) -> tuple[str, ...]:
    if before.several and _SYNTHESIS.match(text):
        return ()
    if before.claim:
        return before.claim.episodes
    if after.claim is None or (after.several and _SEVERAL.match(text)):
        return ()
    # A claim that weighs one episode against another does not say which of them was prepared.
    prepared = after.claim
    return () if len(prepared.markers) > 1 or _TURNS.match(prepared.text) else prepared.episodes


_CLOSES = re.compile(r"[.!?…]+[\"'”’)\]*_]*(?=\s)|;(?=\s)|(?=\s+(?:[—–]|--?)\s)")
_CLAIM_WORDS = 5  # fewer words before a marker are its subject's surroundings ("Unlike E026 — …"), not a claim


def claim_spans(text: str, start: int, end: int, id_pattern: str = DEFAULT_PATTERN) -> list[tuple[int, int]]:
    """Sentences of `text[start:end]`, cut further where a marker ends a claim; between them only white space.

    A marker and a full stop end a claim whatever comes next ("… for ~$25 E026. turns this …"). So does a marker
    before a dash or a semicolon, where what follows has a marker of its own to stand on.
    """
    claims: list[tuple[int, int]] = []
    for left, right in _moved(text, sentence_spans(text, start, end), id_pattern):
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


_CAPITAL = re.compile(r"\s+[^\W\d_a-zà-ÿ]")


def _moved(text: str, spans: list[tuple[int, int]], id_pattern: str) -> list[tuple[int, int]]:
    """Sentences, where a bare marker behind a full stop goes with the sentence that it closes.

    "The lion roars. E026 The tiger jumps. E030" cites E026 for the lion; "The lion roars. E026 finds …" does not.
    """
    moved: list[tuple[int, int]] = []
    for left, right in spans:
        marker = next(find_markers(text[left:right], id_pattern), None)
        if moved and marker is not None and marker.start == 0 and right - moved[-1][0] <= MAX_CHARS:
            end = left + marker.end
            alone = not re.search(r"\w", text[end:right])
            unmarked = next(find_markers(text[slice(*moved[-1])], id_pattern), None) is None
            if alone or (unmarked and _CAPITAL.match(text, end, right)):
                moved[-1] = (moved[-1][0], right if alone else end)
                left = right if alone else end + len(text[end:right]) - len(text[end:right].lstrip())
        if left < right:
            moved.append((left, right))
    return moved
