"""A review page saved as plain text, and plain text without that page's furniture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rag.corpus.fields import Draft
from rag.corpus.markdown import WITHIN
from rag.corpus.source import Source, decode
from rag.records import Paragraph

Span = tuple[int, int]

_HEADER = re.compile(r"(?:[\w-]+ ){1,3}review\s*[·•|,]\s*\S.{0,80}", re.IGNORECASE)
_NAVIGATION = re.compile(r"←.{1,100}|.{1,100}→")
_TAIL = re.compile(r"episodes (?:anchoring|(?:covered |discussed )?in) this (?:\w+ ?){1,3}(?:\(.*\))?:?", re.IGNORECASE)
_LONGEST_HEADING = 120
_LONGEST_WRAPPED = 200  # a longer line was not wrapped, and then no line of its page was
_MOST_NESTED = 3  # more bare lines in a row are a list


def is_header(line: str) -> bool:
    """True for the line above a review page's title.

    >>> is_header("Literature review · 6 episode(s)"), is_header("Monthly audio review · Jun 30 2026 · 108 min")
    (True, True)
    >>> is_header("This is a review, in short.")
    False
    """
    return _HEADER.fullmatch(line.strip()) is not None and not line.rstrip().endswith(".")


def is_navigation(line: str) -> bool:
    """True for a line of links to other pages: "← all topics · Glossary →"."""
    return _NAVIGATION.fullmatch(line.strip()) is not None


def is_tail(line: str) -> bool:
    """True for the line below which a review page lists its episodes."""
    return _TAIL.fullmatch(line.strip()) is not None


def read(source: Source, id_pattern: str) -> Iterator[Draft]:
    """One document: the text is the whole file, the paragraphs are its prose."""
    text = decode(source.data, source.path)
    spans = blocks(text, wrapped=max(map(len, text.split("\n"))) <= _LONGEST_WRAPPED)
    lines = [text[start:end] for start, end in spans]
    header = next((at for at, line in enumerate(lines[:5]) if is_header(line)), None)
    if header is None:
        titled = len(spans) > 1 and _bare(lines[0], id_pattern)
        body = spans[1:] if titled else spans
        yield Draft(text, _sections(text, body, id_pattern), heading=lines[0] if titled else None)
        return
    end = next((at for at, line in enumerate(lines) if at > header and is_tail(line)), len(lines))
    body = [spans[at] for at in range(header + 1, end) if not is_navigation(lines[at])]
    title = text[slice(*body[0])] if body else ""
    titled = bool(title) and "\n" not in title and len(title) <= _LONGEST_WRAPPED
    paragraphs = _sections(text, body[1:] if titled else body, id_pattern)
    yield Draft(text, paragraphs, heading=title if titled else None, kind="review")


def blocks(text: str, *, wrapped: bool = True) -> list[Span]:
    r"""Spans between blank lines, or where the text is not wrapped every line; white space around them left out.

    >>> blocks("a\nb \n\n  c"), blocks("a\nb", wrapped=False)
    ([(0, 3), (8, 9)], [(0, 1), (2, 3)])
    """
    more = r"(?:\n(?![^\S\n]*[-*•]\s)[^\S\n]*\S[^\n]*)*" if wrapped else ""  # an item is a block of its own
    found = (match.span() for match in re.finditer(rf"\S[^\n]*{more}", text))
    return [(start, start + len(text[start:end].rstrip())) for start, end in found]


def _bare(line: str, id_pattern: str) -> bool:
    """A heading, as saved text shows it: one short line of words that does not end as a sentence or claim does."""
    said = line.rstrip("\"'”’)]*_")
    return (
        "\n" not in line
        and len(line) <= _LONGEST_HEADING
        and any(c.isalpha() for c in line)
        and not said.endswith((".", "!", ":", ";", ",", "…", "。"))
        and not re.match(r"[-*•–—>|]\s", line)
        and not re.search(rf"(?<!\w)(?:{id_pattern})+$", said)
    )


def _sections(text: str, spans: Sequence[Span], id_pattern: str) -> tuple[Paragraph, ...]:
    """Paragraphs under the bare lines right above them. Saved text has no levels: lines in a row are nested."""
    found: list[Paragraph] = []
    run: list[Span] = []
    heading = ""

    def names(some: Sequence[Span]) -> str:
        return WITHIN.join(text[start:end] for start, end in some)

    for span in spans:
        if _bare(text[slice(*span)], id_pattern):
            run.append(span)
            continue
        if run:
            kept = run if len(run) <= _MOST_NESTED else run[:1]
            heading = names(kept)
            found += [Paragraph(*item, heading) for item in run[len(kept) :]]
        found.append(Paragraph(*span, heading))
        run = []
    if len(run) > _MOST_NESTED:
        heading, run = names(run[:1]), run[1:]
    found += [Paragraph(*item, heading) for item in run]
    return tuple(replace(p, start=p.start + len(_item_mark(text[p.start : p.end]))) for p in found)


def _item_mark(text: str) -> str:
    mark = re.match(r"[-*•]\s+(?=\S)", text)
    return mark.group() if mark else ""
