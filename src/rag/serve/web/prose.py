"""A document's text in pieces: sentences, the episodes that they name, and a span that is highlighted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rag.corpus.markdown import WITHIN
from rag.corpus.markers import find_markers, sentences
from rag.records import Document, Paragraph, Sentence

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """Characters in a row that are shown alike; those that name an episode lead to it."""

    text: str
    episode: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """Pieces in a row, highlighted or not."""

    pieces: tuple[Piece, ...]
    highlighted: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence to show, and what it is attributed to; `carried` says from where, if that is a neighbour."""

    sentence: Sentence
    runs: tuple[Run, ...]
    carried: str | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph of sentences, or where it has none, `raw` text that is no prose: a table, code."""

    claims: tuple[Claim, ...] = ()
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks under a heading ("" before the first one)."""

    heading: str
    blocks: tuple[Block, ...]


def sections(document: Document, id_pattern: str, highlight: Span | None = None) -> tuple[Section, ...]:
    """The whole document, in reading order."""
    out: list[tuple[str, list[Block]]] = []
    last, heading = 0, ""
    for paragraph in document.paragraphs:
        raw, turned = _between(document.text[last : paragraph.start], paragraph.heading)
        if raw:
            _under(out, heading).append(Block(raw=raw))
        if not out or turned or paragraph.heading != heading:
            heading = paragraph.heading
            out.append((heading, []))
        out[-1][1].append(Block(claims(document, paragraph, id_pattern, highlight)))
        last = paragraph.end
    if raw := _between(document.text[last:], "")[0]:
        _under(out, heading).append(Block(raw=raw))
    return tuple(Section(heading, tuple(blocks)) for heading, blocks in out)


def _under(out: list[tuple[str, list[Block]]], heading: str) -> list[Block]:
    if not out:
        out.append((heading, []))
    return out[-1][1]


_MARK = re.compile(r"\s*(?:[-*+>]|\d{1,9}[.)]|=+|-+|\||#+)?\s*")


def _between(text: str, heading: str) -> tuple[str, bool]:
    """What stands between two paragraphs and is no prose, and whether their heading does."""
    names = {heading, *heading.split(WITHIN)} - {""}
    kept, turned = list[str](), False
    for line in text.splitlines():
        bare = line.strip().strip("#").strip()
        if line.lstrip().startswith("#") or bare in names:
            turned |= bare in names
        elif not _MARK.fullmatch(line) or kept:
            kept.append(line.rstrip())
    while kept and _MARK.fullmatch(kept[-1]):
        kept.pop()
    raw = "\n".join(kept)
    return (raw if any(c.isalnum() for c in raw) else ""), turned


def paragraph_at(document: Document, at: int) -> Paragraph:
    """The paragraph where a character stands; the text around it where it stands in none."""
    inside = (p for p in document.paragraphs if p.start <= at < p.end)
    return next(inside, Paragraph(at, min(at + 1, len(document.text))))


def claims(document: Document, paragraph: Paragraph, id_pattern: str, highlight: Span | None) -> tuple[Claim, ...]:
    """The sentences of a paragraph."""
    held = sentences(replace(document, paragraphs=(paragraph,)), id_pattern)
    return tuple(
        Claim(s, tuple(_runs(document.text, (s.start, s.end), id_pattern, highlight)), carried(held, at))
        for at, s in enumerate(held)
    )


def carried(held: Sequence[Sentence], at: int) -> str | None:
    """Where the attribution of a paragraph's sentence comes from; None where it is its own.

    "the sentence before", "an earlier sentence", "the sentence after" or "a later sentence": the one that is marked.
    """
    sentence = held[at]
    if sentence.attribution != "inherited":
        return None
    marked = [
        n for n, s in enumerate(held) if s.attribution == "explicit" and set(sentence.episodes) <= set(s.episodes)
    ]
    before = [n for n in marked if n < at]
    if before:
        return "the sentence before" if before[-1] == at - 1 else "an earlier sentence"
    return "the sentence after" if marked and marked[0] == at + 1 else "a later sentence"


def _runs(text: str, span: Span, id_pattern: str, highlight: Span | None) -> Iterator[Run]:
    start, end = span
    left, right = (min(max(at, start), end) for at in highlight or (start, start))
    for a, b in ((start, left), (left, right), (right, end)):
        if a < b:
            yield Run(tuple(_pieces(text[a:b], id_pattern)), highlighted=(a, b) == (left, right))


def _pieces(text: str, id_pattern: str) -> Iterator[Piece]:
    r"""Text with its episode IDs set apart; a link that goes elsewhere is left out.

    >>> list(_pieces("so [E026](https://example.org), E2E", r"E\d{3}"))
    [Piece(text='so ', episode=None), Piece(text='[', episode=None), Piece(text='E026', episode='E026'),
     Piece(text=']', episode=None), Piece(text=', E2E', episode=None)]
    """
    last = 0
    for marker in find_markers(text, id_pattern):
        if last < marker.start:
            yield Piece(text[last : marker.start])
        yield from _marker_pieces(text[marker.start : marker.end].partition("](")[0:2], id_pattern)
        last = marker.end
    if last < len(text):
        yield Piece(text[last:])


def _marker_pieces(parts: tuple[str, str], id_pattern: str) -> Iterator[Piece]:
    shown, link = parts
    last = 0
    for found in re.finditer(rf"(?a:{id_pattern})", shown):
        if last < found.start():
            yield Piece(shown[last : found.start()])
        yield Piece(found.group(), found.group())
        last = found.end()
    if rest := shown[last:] + ("]" if link else ""):
        yield Piece(rest)
